// A program of verbs: one row a command. The rows and their option tables are all that parsing, help, manual pages and
// completion know; stella, stella-act and others each describe themselves with one struct st_program.
#ifndef ST_COMMAND_PROGRAM_H
#define ST_COMMAND_PROGRAM_H

#include "base/out.h"
#include "command/option.h"

#include <stdarg.h>

struct st_program;

struct st_call {
    const struct st_program *program;
    const void *options; // the verb's options struct, filled
    const struct st_parsed *parsed;
    struct st_out *out;   // standard output; flushed and checked by the caller
    char *const *command; // what stood behind "--", for a verb with takes_command; NULL-terminated
    int n_command;
};

struct st_example {
    const char *what;    // one sentence, without a full stop
    const char *command; // one line
};
struct st_term {
    const char *term, *text; // term NULL ends a list
};

#define ST_VERB_EXAMPLES 4

struct st_verb {
    const char *words;           // "scan image"
    const char *alias;           // another spelling of `words`, accepted and not shown; NULL: none
    const char *summary;         // one line, for lists
    const char *args;            // positional arguments as usage shows them, "" for none
    const char *about;           // a paragraph or two, separated by a blank line
    bool takes_command;          // "-- COMMAND ARGUMENT...": not parsed, of any length
    size_t max_args;             // positional arguments; what is missing is for `run` to say
    const struct st_term *terms; // what an argument may look like; NULL: none
    const struct st_opt *opts;
    size_t n_opts;
    size_t options_size;
    struct st_example examples[ST_VERB_EXAMPLES]; // at least two, then zeroes
    int (*run)(const struct st_call *call, struct st_err *err);
};

struct st_group {
    const char *word;    // first words of its verbs: "scan", "scanner jobs"
    const char *summary; // one line
    const char *page;    // manual page "stella-scan"; NULL: part of its parent's
};

struct st_program {
    const char *name;        // "stella-act"
    unsigned section;        // of its manual: 1, or 8 for daemons and helpers
    const char *summary;     // one line, for the manual's NAME
    const char *about;       // one paragraph for --help
    const char *description; // paragraphs for the manual, separated by a blank line
    const struct st_verb *const
        *verbs; // NULL-terminated, in the order that help shows; verbs of a group stand together
    const struct st_verb *const *hidden; // verbs that no help, manual or completion shows; NULL: none
    const struct st_group *groups;       // word NULL ends
    const struct st_term *exit_codes;
    const struct st_term *environment; // variables that no option row has; NULL: none
    const struct st_verb *version;     // what --version runs
    const char *const *see_also;       // "stella-watchdog(8)", NULL-terminated; NULL: none
};

// The exit codes that all programs here keep.
extern const struct st_term st_exit_codes[];

// Does `words` begin with all of `prefix`, word by word?
bool st_words_start(const char *words, const char *prefix);

// ---- rendering, all pure -----------------------------------------------------------------------

#define ST_HELP_WIDTH 79
void st_help_top(struct st_out *o, const struct st_program *p);
void st_help_group(struct st_out *o, const struct st_program *p, const struct st_group *g);
void st_help_verb(struct st_out *o, const struct st_program *p, const struct st_verb *v);
// Write every manual page and completion file into an existing directory: NAME.SECTION, GROUP-PAGE.SECTION, NAME.bash,
// _NAME, NAME.fish.
int st_docs_write(const struct st_program *p, const char *dir, struct st_err *err);
void st_man_page(struct st_out *o, const struct st_program *p, const struct st_group *g); // NULL: the program's page
void st_complete_bash(struct st_out *o, const struct st_program *p);
void st_complete_zsh(struct st_out *o, const struct st_program *p);
void st_complete_fish(struct st_out *o, const struct st_program *p);

// ---- running ------------------------------------------------------------------------------------

// The whole program: exit code.
int st_program_main(const struct st_program *p, int argc, char *const *argv);
// One line on standard error, "NAME: TEXT", with untrusted bytes escaped.
void st_program_say(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void st_program_vsay(const char *name, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void st_program_print_error(const char *name, const struct st_err *err);

// The verb "help" that every program has, but for max_args (words of its longest command) and examples.
int st_help_run(const struct st_call *call, struct st_err *err);
#define ST_VERB_HELP                                                                                         \
    .words = "help", .summary = "explain a command", .args = "[COMMAND]",                                    \
    .about = "Shows what a command does, with examples and all its options. Without COMMAND: all commands.", \
    .run = st_help_run

#endif
