// Verbs: one row a command. The row and its option table are all that parsing, help, manual pages and completion know.
#ifndef ST_CLI_VERB_H
#define ST_CLI_VERB_H

#include "base/out.h"
#include "cli/option.h"

struct st_call {
    const void *options; // the verb's options struct, filled
    const struct st_parsed *parsed;
    struct st_out *out; // standard output; flushed and checked by the caller
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

extern const struct st_verb *const st_verbs[]; // NULL-terminated, in the order that help shows
extern const struct st_group st_groups[];      // word NULL ends
extern const struct st_term st_exit_codes[];
extern const struct st_term st_environment[]; // variables that no option row has

// Does `words` begin with all of `prefix`, word by word?
bool st_words_start(const char *words, const char *prefix);

// ---- rendering, all pure -----------------------------------------------------------------------

#define ST_HELP_WIDTH 79
void st_help_top(struct st_out *o);
void st_help_group(struct st_out *o, const struct st_group *g);
void st_help_verb(struct st_out *o, const struct st_verb *v);
// Write every manual page and completion file into an existing directory.
int st_docs_write(const char *dir, struct st_err *err);
void st_man_page(struct st_out *o, const struct st_group *g); // NULL: stella(1)
void st_complete_bash(struct st_out *o);
void st_complete_zsh(struct st_out *o);
void st_complete_fish(struct st_out *o);

// ---- running ------------------------------------------------------------------------------------

// The whole program: exit code.
int st_cli_main(int argc, char *const *argv);
// One line on standard error, "stella: warning: ...", with untrusted bytes escaped.
void st_cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// The same without "warning: "; not for --quiet runs.
void st_cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void st_cli_print_error(const struct st_err *err);

extern const struct st_verb st_verb_scan_image, st_verb_image_inspect, st_verb_image_layers, st_verb_jobs_list,
    st_verb_jobs_show, st_verb_cache_stats, st_verb_cache_prune, st_verb_version, st_verb_help;

#endif
