// Option tables: one row an option drives parsing, --help, the manual pages and completion. A row stores its value at
// an offset of the verb's own options struct; precedence is flag, then environment, then default.
#ifndef ST_COMMAND_OPTION_H
#define ST_COMMAND_OPTION_H

#include "base/err.h"
#include "base/near.h"
#include "base/sv.h"

#include <stddef.h>

enum st_opt_kind {
    ST_OPT_FLAG,     // bool
    ST_OPT_STRING,   // const char *, borrowed from argv or the environment
    ST_OPT_BYTES,    // uint64_t, quantity
    ST_OPT_DURATION, // uint64_t, seconds
    ST_OPT_COUNT,    // uint64_t
    ST_OPT_ENUM,     // int, a choice's value
    ST_OPT_LIST,     // struct st_opt_list, repeatable
};

struct st_choice {
    const char *word; // NULL ends the list
    int value;
    bool alias; // accepted, but not shown
};

#define ST_OPT_LIST_MAX 16
struct st_opt_list {
    const char *at[ST_OPT_LIST_MAX];
    size_t n;
};

struct st_out;
struct st_opt {
    const char *name; // long name without "--"; NULL: only the letter
    char letter;      // 0: none
    enum st_opt_kind kind;
    const char *arg; // placeholder of the value
    size_t offset;
    const char *help;
    const char *env;                 // variable that stands in for the option; NULL: none
    const char *def;                 // default, parsed like a value; NULL: zero
    const char *def_text;            // default as help says it, where that is not `def`
    const struct st_choice *choices; // ST_OPT_ENUM
    uint64_t min, max;               // ST_OPT_BYTES, ST_OPT_COUNT; max 0: no limit
    void (*words)(struct st_out *o); // what completion offers where there are no choices, separated by blanks;
                                     // NULL: names of files
};

// offsetof that fails to compile when the field has not the kind's type.
#define ST_OPT_AT(type, field, wanted) \
    .offset = (offsetof(type, field) + \
               0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((type *)0)->field), wanted) ? 1 : -1]))
#define ST_OPT_FLAG_AT(type, field) .kind = ST_OPT_FLAG, ST_OPT_AT(type, field, bool)
#define ST_OPT_STRING_AT(type, field) .kind = ST_OPT_STRING, ST_OPT_AT(type, field, const char *)
#define ST_OPT_BYTES_AT(type, field) .kind = ST_OPT_BYTES, ST_OPT_AT(type, field, uint64_t)
#define ST_OPT_DURATION_AT(type, field) .kind = ST_OPT_DURATION, ST_OPT_AT(type, field, uint64_t)
#define ST_OPT_COUNT_AT(type, field) .kind = ST_OPT_COUNT, ST_OPT_AT(type, field, uint64_t)
#define ST_OPT_ENUM_AT(type, field) .kind = ST_OPT_ENUM, ST_OPT_AT(type, field, int)
#define ST_OPT_LIST_AT(type, field) .kind = ST_OPT_LIST, ST_OPT_AT(type, field, struct st_opt_list)

#define ST_OPTS_MAX 48 // rows of one verb
#define ST_ARGS_MAX 8  // positional arguments of one verb

enum st_opt_source { ST_FROM_DEFAULT, ST_FROM_ENVIRONMENT, ST_FROM_COMMAND_LINE };

struct st_parsed {
    const struct st_opt *rows; // borrowed
    size_t n_rows;
    uint8_t source[ST_OPTS_MAX]; // enum st_opt_source of each row
    const char *args[ST_ARGS_MAX];
    size_t n_args;
    bool help; // --help or -h was given; the rest of the line was not looked at
};

// Fill `target` (zeroed by the caller) from the defaults, the environment and argv. --opt value, --opt=value, -o value,
// -ovalue, joined flag letters, options after positional arguments, "--". Every failure is ST_E_USAGE.
int st_opt_parse(const struct st_opt *rows, size_t n_rows, void *target, int argc, char *const *argv,
                 struct st_parsed *ret, struct st_err *err);
// Where the value of an option (by long name) is from.
enum st_opt_source st_opt_source(const struct st_parsed *p, const char *name);
// The visible words of a choice list, "a, b, c".
void st_choice_words(const struct st_choice *choices, char *buf, size_t cap);
// The choice that `word` names (aliases too), or NULL.
const struct st_choice *st_choice_find(const struct st_choice *choices, struct st_sv word);
// The visible word of a value.
const char *st_choice_word(const struct st_choice *choices, int value);

#endif
