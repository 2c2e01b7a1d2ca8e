// The command line parser: knows rows, not options.
#include "command/option.h"

#include "base/ckd.h"
#include "base/quantity.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_ 64 // of "--name" in messages

static int unknown_option(const struct st_opt *rows, size_t n, struct st_sv given, struct st_err *err)
{
    const char *best = NULL;
    unsigned distance = UINT32_MAX;
    struct st_sv name = st_sv_from(given, 2);
    for (size_t i = 0; i < n; i++)
        if (rows[i].name && st_edit_near(name, st_sv_of(rows[i].name), &distance))
            best = rows[i].name;
    given = st_sv_sub(given, 0, 100);
    if (best)
        return st_err_set(err, ST_E_USAGE, "unknown option '" ST_SV_FMT "'; did you mean --%s?", ST_SV_ARG(given),
                          best);
    return st_err_set(err, ST_E_USAGE, "unknown option '" ST_SV_FMT "' (--help lists the options)", ST_SV_ARG(given));
}

// ---- choices ------------------------------------------------------------------------------------

void st_choice_words(const struct st_choice *c, char *buf, size_t cap)
{
    size_t n = 0;
    buf[0] = '\0';
    for (; c->word; c++)
        if (!c->alias && n < cap) {
            int k = snprintf(buf + n, cap - n, "%s%s", n ? ", " : "", c->word);
            n += k > 0 ? (size_t)k : 0;
        }
}

const struct st_choice *st_choice_find(const struct st_choice *c, struct st_sv word)
{
    for (; c->word; c++)
        if (st_sv_eq(st_sv_of(c->word), word))
            return c;
    return NULL;
}

const char *st_choice_word(const struct st_choice *c, int value)
{
    for (; c->word; c++)
        if (c->value == value && !c->alias)
            return c->word;
    return "?";
}

// ---- values -------------------------------------------------------------------------------------

static void option_name(const struct st_opt *row, char ret[static NAME_MAX_])
{
    if (row->name)
        snprintf(ret, NAME_MAX_, "--%s", row->name);
    else
        snprintf(ret, NAME_MAX_, "-%c", row->letter);
}

static int set_enum(const struct st_opt *row, const char *name, const char *value, int *target, struct st_err *err)
{
    const struct st_choice *c = st_choice_find(row->choices, st_sv_of(value));
    if (c) {
        *target = c->value;
        return 0;
    }
    char words[200];
    const char *best = NULL;
    unsigned distance = UINT32_MAX;
    st_choice_words(row->choices, words, sizeof words);
    for (c = row->choices; c->word; c++)
        if (st_edit_near(st_sv_of(value), st_sv_of(c->word), &distance))
            best = c->word;
    if (best)
        return st_err_set(err, ST_E_USAGE, "unknown value '%.100s' for %s; did you mean %s? (one of %s)", value, name,
                          best, words);
    return st_err_set(err, ST_E_USAGE, "unknown value '%.100s' for %s (one of %s)", value, name, words);
}

static int set_flag(const char *name, const char *value, bool *target, struct st_err *err)
{
    static const struct st_choice words[] = {{"1", 1},     {"true", 1}, {"yes", 1}, {"on", 1}, {"0", 0},
                                             {"false", 0}, {"no", 0},   {"off", 0}, {NULL}};
    const struct st_choice *c = st_choice_find(words, st_sv_of(value));
    if (!c)
        return st_err_set(err, ST_E_USAGE, "unknown value '%.100s' for %s (1 or 0)", value, name);
    *target = c->value;
    return 0;
}

static int set_count(const struct st_opt *row, const char *name, const char *value, uint64_t *target,
                     struct st_err *err)
{
    uint64_t max = row->max ? row->max : UINT64_MAX;
    if (st_sv_u64(st_sv_of(value), 10, target) && *target >= row->min && *target <= max)
        return 0;
    return st_err_set(err, ST_E_USAGE, "invalid number '%.100s' for %s (%llu to %llu)", value, name,
                      (unsigned long long)row->min, (unsigned long long)max);
}

static int set_value(const struct st_opt *row, const char *name, const char *value, void *target, struct st_err *err)
{
    void *at = (char *)target + row->offset;
    switch (row->kind) {
    case ST_OPT_FLAG:
        return set_flag(name, value, at, err);
    case ST_OPT_STRING:
        if (!value[0])
            return st_err_set(err, ST_E_USAGE, "empty value for %s", name);
        *(const char **)at = value;
        return 0;
    case ST_OPT_BYTES:
        return st_quantity_for(name, st_sv_of(value), row->min, row->max ? row->max : UINT64_MAX, at, err);
    case ST_OPT_DURATION:
        return st_duration_for(name, st_sv_of(value), at, err);
    case ST_OPT_COUNT:
        return set_count(row, name, value, at, err);
    case ST_OPT_ENUM:
        return set_enum(row, name, value, at, err);
    case ST_OPT_LIST: {
        struct st_opt_list *list = at;
        if (list->n == ST_OPT_LIST_MAX)
            return st_err_set(err, ST_E_USAGE, "%s is given more than %d times", name, ST_OPT_LIST_MAX);
        list->at[list->n++] = value;
        return 0;
    }
    }
    return st_err_set(err, ST_E_INTERNAL, "option row of an unknown kind");
}

// ---- the walk over argv -------------------------------------------------------------------------

struct walk {
    struct st_parsed *ret;
    void *target;
    int argc, at;
    char *const *argv;
};

static int needs_value(const struct st_opt *row, const char *name, struct st_err *err)
{
    char words[200];
    if (row->kind != ST_OPT_ENUM)
        return st_err_set(err, ST_E_USAGE, "%s needs a value, %s", name, row->arg);
    st_choice_words(row->choices, words, sizeof words);
    return st_err_set(err, ST_E_USAGE, "%s needs a value (one of %s)", name, words);
}

// `joined` is what stood behind '=' or the letter, else NULL: then the next argument is the value.
static int take_option(struct walk *w, size_t index, const char *joined, struct st_err *err)
{
    const struct st_opt *row = &w->ret->rows[index];
    char name[NAME_MAX_];
    option_name(row, name);
    w->ret->source[index] = ST_FROM_COMMAND_LINE;
    if (row->kind == ST_OPT_FLAG) {
        if (joined)
            return st_err_set(err, ST_E_USAGE, "%s takes no value", name);
        *(bool *)((char *)w->target + row->offset) = true;
        return 0;
    }
    const char *value = joined;
    if (!value) {
        // "--output --quiet" is a forgotten value, not a file of that name ("--output=--quiet" is).
        if (w->at == w->argc || !strncmp(w->argv[w->at], "--", 2))
            return needs_value(row, name, err);
        value = w->argv[w->at++];
    }
    return set_value(row, name, value, w->target, err);
}

static int take_long(struct walk *w, const char *arg, struct st_err *err)
{
    struct st_sv name, value;
    bool joined = st_sv_cut(st_sv_of(arg + 2), '=', &name, &value);
    for (size_t i = 0; i < w->ret->n_rows; i++)
        if (w->ret->rows[i].name && st_sv_eq(st_sv_of(w->ret->rows[i].name), name))
            return take_option(w, i, joined ? value.ptr : NULL, err);
    if (st_sv_eq(name, ST_SV("help")) && !joined) {
        w->ret->help = true;
        return 0;
    }
    return unknown_option(w->ret->rows, w->ret->n_rows, st_sv_sub(st_sv_of(arg), 0, name.len + 2), err);
}

static int take_letters(struct walk *w, const char *arg, struct st_err *err)
{
    for (const char *p = arg + 1; *p; p++) {
        size_t i = 0;
        while (i < w->ret->n_rows && w->ret->rows[i].letter != *p)
            i++;
        if (i == w->ret->n_rows && *p == 'h') {
            w->ret->help = true;
            return 0;
        }
        if (i == w->ret->n_rows)
            return st_err_set(err, ST_E_USAGE, "unknown option '-%c' (--help lists the options)", *p);
        if (w->ret->rows[i].kind != ST_OPT_FLAG) // what follows the letter is its value
            return take_option(w, i, p[1] ? p + 1 : NULL, err);
        if (take_option(w, i, NULL, err))
            return -1;
    }
    return 0;
}

static int take_arg(struct walk *w, const char *arg, struct st_err *err)
{
    if (w->ret->n_args == ST_ARGS_MAX)
        return st_err_set(err, ST_E_USAGE, "too many arguments");
    w->ret->args[w->ret->n_args++] = arg;
    return 0;
}

static int defaults(struct walk *w, struct st_err *err)
{
    for (size_t i = 0; i < w->ret->n_rows; i++) {
        const struct st_opt *row = &w->ret->rows[i];
        const char *env = row->env ? getenv(row->env) : NULL;
        if (row->def && set_value(row, row->name, row->def, w->target, err))
            return -1;
        if (!env || !env[0])
            continue;
        if (set_value(row, row->env, env, w->target, err))
            return -1;
        w->ret->source[i] = ST_FROM_ENVIRONMENT;
    }
    return 0;
}

int st_opt_parse(const struct st_opt *rows, size_t n_rows, void *target, int argc, char *const *argv,
                 struct st_parsed *ret, struct st_err *err)
{
    *ret = (struct st_parsed){.rows = rows, .n_rows = n_rows};
    if (n_rows > ST_OPTS_MAX)
        return st_err_set(err, ST_E_INTERNAL, "option table is too long");
    struct walk w = {.ret = ret, .target = target, .argc = argc, .argv = argv};
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) // help works on a broken line too
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            ret->help = true;
            return 0;
        }
    if (defaults(&w, err))
        return -1;
    bool only_args = false;
    while (w.at < argc && !ret->help) {
        const char *arg = argv[w.at++];
        int rc;
        if (only_args || arg[0] != '-' || !arg[1]) {
            rc = take_arg(&w, arg, err);
        } else if (!strcmp(arg, "--")) {
            only_args = true;
            rc = 0;
        } else {
            rc = arg[1] == '-' ? take_long(&w, arg, err) : take_letters(&w, arg, err);
        }
        if (rc)
            return -1;
    }
    return 0;
}

enum st_opt_source st_opt_source(const struct st_parsed *p, const char *name)
{
    for (size_t i = 0; i < p->n_rows; i++)
        if (p->rows[i].name && !strcmp(p->rows[i].name, name))
            return (enum st_opt_source)p->source[i];
    return ST_FROM_DEFAULT;
}
