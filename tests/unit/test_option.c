// The command line parser on a table of its own, and rules that every row of the real table keeps.
#include "base/ckd.h"
#include "cli/cli.h"
#include "tap.h"

#include <stdlib.h>

struct target {
    bool flag, quiet;
    const char *file;
    uint64_t bytes, time, count;
    int word;
    struct st_opt_list list;
};

static const struct st_choice words[] = {{"table", 0}, {"json", 1}, {"syft", 1, true}, {NULL}};
static const struct st_opt rows[] = {
    {"flag", 'f', ST_OPT_FLAG_AT(struct target, flag), .env = "ST_TEST_FLAG"},
    {"quiet", 'q', ST_OPT_FLAG_AT(struct target, quiet)},
    {"output", 0, ST_OPT_STRING_AT(struct target, file), .arg = "FILE"},
    {"memory", 'm', ST_OPT_BYTES_AT(struct target, bytes), .arg = "BYTES", .def = "64Mi", .min = 1024,
     .env = "ST_TEST_MEMORY"},
    {"timeout", 0, ST_OPT_DURATION_AT(struct target, time), .arg = "TIME"},
    {"limit", 0, ST_OPT_COUNT_AT(struct target, count), .arg = "N", .def = "50", .min = 1, .max = 100},
    {"format", 0, ST_OPT_ENUM_AT(struct target, word), .arg = "FORMAT", .def = "table", .choices = words},
    {NULL, 'o', ST_OPT_LIST_AT(struct target, list), .arg = "X"},
};

static struct target t;
static struct st_parsed p;
static struct st_err err;

// A command line in one string, words separated by blanks ("~" stands for an empty word).
static int parse(const char *line)
{
    static char copy[512];
    char *argv[32];
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *save = NULL, *w = strtok_r(copy, " ", &save); w && argc < 32; w = strtok_r(NULL, " ", &save))
        argv[argc++] = strcmp(w, "~") ? w : w + 1;
    memset(&t, 0, sizeof t);
    memset(&err, 0, sizeof err);
    return st_opt_parse(rows, ST_LEN(rows), &t, argc, argv, &p, &err);
}

static void test_forms(void)
{
    TAP_OK(parse("") == 0 && t.bytes == 64 << 20 && t.count == 50 && !t.word && !p.n_args, "defaults");
    TAP_OK(parse("--memory 1Gi --flag") == 0 && t.bytes == 1 << 30 && t.flag, "--opt value");
    TAP_OK(parse("--memory=2Ki --format=syft") == 0 && t.bytes == 2048 && t.word == 1, "--opt=value, an alias");
    TAP_OK(parse("-m 2Ki -o a -ob") == 0 && t.bytes == 2048 && t.list.n == 2 && !strcmp(t.list.at[1], "b"),
           "-o x, -ox, repeated");
    TAP_OK(parse("-fqm2Ki") == 0 && t.flag && t.quiet && t.bytes == 2048, "joined letters");
    TAP_OK(parse("x --flag y") == 0 && t.flag && p.n_args == 2 && !strcmp(p.args[1], "y"), "options after arguments");
    TAP_OK(parse("--flag -- --quiet -x") == 0 && !t.quiet && p.n_args == 2 && !strcmp(p.args[0], "--quiet"),
           "-- ends options");
    TAP_OK(parse("- --output -") == 0 && p.n_args == 1 && !strcmp(t.file, "-"), "- is an argument");
    TAP_OK(parse("--output=--quiet") == 0 && !strcmp(t.file, "--quiet"), "a value that looks like an option, joined");
    TAP_OK(parse("--output=a=b") == 0 && !strcmp(t.file, "a=b"), "a value with =");
    TAP_OK(parse("--limit 1 --limit 2") == 0 && t.count == 2, "the last one holds");
    TAP_OK(parse("--bad --help") == 0 && p.help, "help wins over a broken line");
    TAP_OK(parse("-- --help") == 0 && !p.help, "help behind -- is an argument");
    TAP_OK(parse("--flag --limit 7") == 0 && st_opt_source(&p, "limit") == ST_FROM_COMMAND_LINE &&
               st_opt_source(&p, "memory") == ST_FROM_DEFAULT,
           "sources are kept");
}

static void test_errors(void)
{
    static const struct {
        const char *line, *message;
    } bad[] = {
        {"--fromat json", "unknown option '--fromat'; did you mean --format?"},
        {"--fromat=json", "unknown option '--fromat'; did you mean --format?"},
        {"--mem 1Gi", "unknown option '--mem'; did you mean --memory?"},
        {"--zzzzzz", "unknown option '--zzzzzz' (--help lists the options)"},
        {"-z", "unknown option '-z' (--help lists the options)"},
        {"-fz", "unknown option '-z' (--help lists the options)"},
        {"--output", "--output needs a value, FILE"},
        {"--output --flag", "--output needs a value, FILE"},
        {"--output ~", "empty value for --output"},
        {"--format", "--format needs a value (one of table, json)"},
        {"-o", "-o needs a value, X"},
        {"--flag=1", "--flag takes no value"},
        {"--format xml", "unknown value 'xml' for --format (one of table, json)"},
        {"--format tabel", "unknown value 'tabel' for --format; did you mean table? (one of table, json)"},
        {"--memory 8gigs", "invalid quantity '8gigs' for --memory (examples: 64Mi, 1Gi, 2147483648)"},
        {"--memory 1", "quantity '1' for --memory is below the least accepted, 1Ki"},
        {"--timeout 5", "invalid duration '5' for --timeout (examples: 30s, 10m, 1h30m, 7d)"},
        {"--timeout 11y", "invalid duration '11y' for --timeout (examples: 30s, 10m, 1h30m, 7d)"},
        {"--limit 0", "invalid number '0' for --limit (1 to 100)"},
        {"--limit 101", "invalid number '101' for --limit (1 to 100)"},
        {"--limit x", "invalid number 'x' for --limit (1 to 100)"},
        {"a b c d e f g h i", "too many arguments"},
        {"-oa -oa -oa -oa -oa -oa -oa -oa -oa -oa -oa -oa -oa -oa -oa -oa -oa", "-o is given more than 16 times"},
    };
    for (size_t i = 0; i < ST_LEN(bad); i++)
        TAP_OK(parse(bad[i].line) == -1 && err.code == ST_E_USAGE && !strcmp(err.text, bad[i].message), "%s: %s",
               bad[i].line, err.text);
}

static void test_environment(void)
{
    setenv("ST_TEST_MEMORY", "4Ki", 1);
    setenv("ST_TEST_FLAG", "yes", 1);
    TAP_OK(parse("") == 0 && t.bytes == 4096 && t.flag && st_opt_source(&p, "memory") == ST_FROM_ENVIRONMENT,
           "environment over default");
    TAP_OK(parse("--memory 8Ki") == 0 && t.bytes == 8192, "flag over environment");
    setenv("ST_TEST_FLAG", "0", 1);
    TAP_OK(parse("") == 0 && !t.flag, "a flag switched off");
    setenv("ST_TEST_FLAG", "maybe", 1);
    TAP_OK(parse("") == -1 && !strcmp(err.text, "unknown value 'maybe' for ST_TEST_FLAG (1 or 0)"), "bad flag: %s",
           err.text);
    unsetenv("ST_TEST_FLAG");
    setenv("ST_TEST_MEMORY", "lots", 1);
    TAP_OK(parse("") == -1 && strstr(err.text, "for ST_TEST_MEMORY"), "bad value names the variable: %s", err.text);
    unsetenv("ST_TEST_MEMORY");
}

static void test_distance(void)
{
    static const struct {
        const char *a, *b;
        unsigned d;
    } pairs[] = {{"", "", 0}, {"a", "", 1}, {"format", "fromat", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}};
    for (size_t i = 0; i < ST_LEN(pairs); i++)
        TAP_OK(st_edit_distance(st_sv_of(pairs[i].a), st_sv_of(pairs[i].b)) == pairs[i].d &&
                   st_edit_distance(st_sv_of(pairs[i].b), st_sv_of(pairs[i].a)) == pairs[i].d,
               "distance %s %s", pairs[i].a, pairs[i].b);
    char big[5000];
    memset(big, 'x', sizeof big);
    TAP_OK(st_edit_distance(st_sv_mem(big, sizeof big), ST_SV("y")) <= 100, "a very long word is cut");
}

// Every row of the program: has help, parses its own default, fits its table.
static void test_table(void)
{
    size_t verbs = 0;
    for (const struct st_verb *const *v = st_cli_program.verbs; *v; v++, verbs++) {
        void *options = calloc(1, (*v)->options_size + 1);
        TAP_OK((*v)->n_opts <= ST_OPTS_MAX && (*v)->run && (*v)->examples[1].command && (*v)->max_args <= ST_ARGS_MAX,
               "%s: whole, with two examples", (*v)->words);
        int rc = st_opt_parse((*v)->opts, (*v)->n_opts, options, 0, NULL, &p, &err);
        TAP_OK(rc == 0, "%s: defaults parse", (*v)->words);
        bool good = true;
        for (size_t i = 0; i < (*v)->n_opts; i++) {
            const struct st_opt *o = &(*v)->opts[i];
            good = good && o->help && (o->name || o->letter) && (o->kind == ST_OPT_FLAG) == !o->arg &&
                   (o->kind == ST_OPT_ENUM) == !!o->choices && o->offset < (*v)->options_size;
        }
        TAP_OK(good, "%s: option rows are whole", (*v)->words);
        free(options);
    }
    TAP_OK(verbs >= 7, "verbs are there");
}

int main(void)
{
    unsetenv("STELLA_MEMORY");
    unsetenv("STELLA_THREADS");
    unsetenv("STELLA_CACHE");
    unsetenv("STELLA_PROGRESS");
    unsetenv("STELLA_OFFLINE");
    test_forms();
    test_errors();
    test_environment();
    test_distance();
    test_table();
    return tap_done();
}
