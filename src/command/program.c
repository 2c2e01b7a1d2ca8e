// The frame of the program: finds the verb, parses, runs, prints the one error line.
#include "command/program.h"
#include "base/ckd.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void print_line(const char *name, struct st_sv text, const char *suffix)
{
    struct st_out o;
    st_out_init_fd(&o, STDERR_FILENO);
    st_out_puts(&o, name);
    st_out_puts(&o, ": ");
    st_out_safe(&o, text);
    st_out_puts(&o, suffix);
    st_out_putc(&o, '\n');
    st_out_finish(&o, NULL); // nowhere left to report a failure to
}

void st_program_print_error(const char *name, const struct st_err *err)
{
    char suffix[96] = "";
    // The engine adds what the other processes need; a refusal in this one is advised on here, rounded up.
    if (err->code == ST_E_MEMORY && err->need_bytes && !strstr(err->text, "--memory"))
        snprintf(suffix, sizeof suffix, "; --memory %lluMi would do",
                 (unsigned long long)(err->need_bytes / ST_MIB + (err->need_bytes % ST_MIB != 0)));
    else if (err->has_offset)
        snprintf(suffix, sizeof suffix, " at byte %llu", (unsigned long long)err->offset);
    print_line(name, st_sv_of(err->text), suffix);
}

void st_program_vsay(const char *name, const char *fmt, va_list ap)
{
    char text[ST_ERR_TEXT_MAX];
    vsnprintf(text, sizeof text, fmt, ap);
    print_line(name, st_sv_of(text), "");
}

void st_program_say(const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    st_program_vsay(name, fmt, ap);
    va_end(ap);
}

bool st_words_start(const char *words, const char *prefix)
{
    size_t n = strlen(prefix);
    return !strncmp(words, prefix, n) && (words[n] == '\0' || words[n] == ' ');
}

const struct st_term st_exit_codes[] = {
    {"0", "done; also with named unknowns, unless --strict"},
    {"1", "failed: the message says what, where and why"},
    {"2", "bad input or usage"},
    {"3", "authentication failed"},
    {"4", "not found"},
    {"5", "the network was needed and --offline forbids it"},
    {"10", "failed for now: the same command may work later"},
    {NULL, NULL},
};

// How many of the leading argv words spell `words`: all of them, or 0.
static int spells(const char *words, int argc, char *const *argv)
{
    struct st_sv rest = st_sv_of(words), word;
    int n = 0;
    while (st_sv_word(&rest, &word)) {
        if (n == argc || !st_sv_eq(word, st_sv_of(argv[n])))
            return 0;
        n++;
    }
    return n;
}

static const struct st_verb *find_in(const struct st_verb *const *v, int argc, char *const *argv, int *ret_used)
{
    const struct st_verb *best = NULL;
    *ret_used = 0;
    for (; v && *v; v++) {
        int n = spells((*v)->words, argc, argv);
        if (!n && (*v)->alias)
            n = spells((*v)->alias, argc, argv);
        if (n > *ret_used) { // "doctor" may be an alias beside "doctor list"
            *ret_used = n;
            best = *v;
        }
    }
    return best;
}

static const struct st_verb *find_verb(const struct st_program *p, int argc, char *const *argv, int *ret_used)
{
    const struct st_verb *v = find_in(p->verbs, argc, argv, ret_used);
    return v ? v : find_in(p->hidden, argc, argv, ret_used);
}

static const struct st_group *find_group(const struct st_program *p, int argc, char *const *argv, int *ret_used)
{
    const struct st_group *best = NULL;
    *ret_used = 0;
    for (const struct st_group *g = p->groups; g->word; g++) {
        int n = spells(g->word, argc, argv);
        if (n > *ret_used) {
            best = g;
            *ret_used = n;
        }
    }
    return best;
}

// The one verb of a group, or NULL when it has several.
static const struct st_verb *only_verb(const struct st_program *p, const struct st_group *g)
{
    const struct st_verb *found = NULL;
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        if (st_words_start((*v)->words, g->word)) {
            if (found)
                return NULL;
            found = *v;
        }
    return found;
}

static int group_needs(const struct st_program *p, const struct st_group *g, struct st_err *err)
{
    char list[300] = "";
    size_t n = 0;
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        if (st_words_start((*v)->words, g->word) && n < sizeof list) {
            int k = snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", (*v)->words);
            n += k > 0 ? (size_t)k : 0;
        }
    return st_err_set(err, ST_E_USAGE, "'%s' is not a whole command (%s)", g->word, list);
}

static int unknown_verb(const struct st_program *p, const struct st_group *g, int used, char *const *argv,
                        struct st_err *err)
{
    const char *word = argv[used];
    struct st_sv best = ST_SV_NULL;
    unsigned distance = UINT32_MAX;
    for (const struct st_verb *const *v = p->verbs; *v; v++) {
        struct st_sv rest = st_sv_of((*v)->words), next;
        if (g && !st_words_start((*v)->words, g->word))
            continue;
        rest = st_sv_from(rest, g ? strlen(g->word) : 0);
        if (st_sv_word(&rest, &next) && st_edit_near(st_sv_of(word), next, &distance))
            best = next;
    }
    const char *in = g ? g->word : "", *blank = g ? " " : "";
    const struct st_verb *only = g ? only_verb(p, g) : NULL;
    if (best.len)
        return st_err_set(err, ST_E_USAGE, "unknown command '%s%s%.100s'; did you mean %s%s" ST_SV_FMT "?", in, blank,
                          word, in, blank, ST_SV_ARG(best));
    if (only) // "stella scan app.tar"
        return st_err_set(err, ST_E_USAGE, "unknown command '%s %.100s'; did you mean %s %.100s?", in, word,
                          only->words, word);
    return st_err_set(err, ST_E_USAGE, "unknown command '%s%s%.100s' (%s %s%s--help lists them)", in, blank, word,
                      p->name, in, blank);
}

// dry: only whether it parses.
static int run_verb(const struct st_program *p, const struct st_verb *v, bool dry, int argc, char *const *argv,
                    struct st_out *out, struct st_err *err)
{
    struct st_parsed parsed;
    void *options = calloc(1, v->options_size ? v->options_size : 1);
    if (!options)
        return st_err_nomem(err);
    int own = argc; // arguments before "--"
    for (int i = 0; v->takes_command && i < argc && own == argc; i++)
        if (!strcmp(argv[i], "--"))
            own = i;
    int rc = st_opt_parse(v->opts, v->n_opts, options, own, argv, &parsed, err);
    if (rc == 0 && parsed.help)
        st_help_verb(out, p, v);
    else if (rc == 0 && parsed.n_args > v->max_args)
        rc = st_err_set(err, ST_E_USAGE, "unexpected argument '%.100s' (%s %s --help)", parsed.args[v->max_args],
                        p->name, v->words);
    else if (rc == 0 && !dry)
        rc = v->run(&(struct st_call){.program = p,
                                      .options = options,
                                      .parsed = &parsed,
                                      .out = out,
                                      .command = own < argc ? argv + own + 1 : argv + argc,
                                      .n_command = own < argc ? argc - own - 1 : 0},
                    err);
    free(options);
    return rc;
}

static bool is_help(const char *arg)
{
    return !strcmp(arg, "--help") || !strcmp(arg, "-h");
}

static int dispatch(const struct st_program *p, int argc, char *const *argv, struct st_out *out, struct st_err *err)
{
    int used;
    bool dry = argc > 1 && !strcmp(argv[0], "--parse-only"); // for tests of documents, not for people
    if (dry) {
        argc--;
        argv++;
    }
    if (argc == 0)
        return st_err_set(err, ST_E_USAGE, "no command given (%s --help lists them)", p->name);
    if (!strcmp(argv[0], "--version") || !strcmp(argv[0], "-V"))
        return run_verb(p, p->version, dry, argc - 1, argv + 1, out, err);
    if (is_help(argv[0])) {
        st_help_top(out, p);
        return 0;
    }
    if (!strcmp(argv[0], "--dump-docs") && argc == 2) // for the build, not for people
        return st_docs_write(p, argv[1], err);
    const struct st_verb *v = find_verb(p, argc, argv, &used);
    if (v)
        return run_verb(p, v, dry, argc - used, argv + used, out, err);
    const struct st_group *g = find_group(p, argc, argv, &used);
    if (g && used == argc)
        return group_needs(p, g, err);
    if (g && is_help(argv[used])) {
        st_help_group(out, p, g);
        return 0;
    }
    if (argv[used][0] == '-')
        return st_err_set(err, ST_E_USAGE, "unknown option '%.100s' (%s%s%s --help)", argv[used], p->name, g ? " " : "",
                          g ? g->word : "");
    return unknown_verb(p, g, used, argv, err);
}

int st_help_run(const struct st_call *call, struct st_err *err)
{
    const struct st_program *p = call->program;
    const struct st_parsed *parsed = call->parsed;
    char *argv[ST_ARGS_MAX];
    int argc = (int)parsed->n_args, used = 0;
    for (int i = 0; i < argc; i++)
        argv[i] = (char *)(uintptr_t)parsed->args[i]; // only compared
    if (argc == 0) {
        st_help_top(call->out, p);
        return 0;
    }
    const struct st_verb *v = find_verb(p, argc, argv, &used);
    const struct st_group *g = v ? NULL : find_group(p, argc, argv, &used);
    if (used < argc)
        return unknown_verb(p, g, used, argv, err);
    if (v)
        st_help_verb(call->out, p, v);
    else
        st_help_group(call->out, p, g);
    return 0;
}

int st_program_main(const struct st_program *p, int argc, char *const *argv)
{
    struct st_err err = {0};
    struct st_out out;
    st_out_init_fd(&out, STDOUT_FILENO);
    int rc = dispatch(p, argc > 0 ? argc - 1 : 0, argc > 0 ? argv + 1 : argv, &out, &err);
    struct st_err write_err = {0};
    if (st_out_finish(&out, &write_err) && rc == 0) {
        err = write_err;
        st_err_wrap(&err, "standard output");
        rc = -1;
    }
    if (rc == 0)
        return 0;
    if (err.code == ST_E_NONE)
        st_err_set(&err, ST_E_INTERNAL, "failed without a reason");
    st_program_print_error(p->name, &err);
    return st_err_exit_code(err.code);
}
