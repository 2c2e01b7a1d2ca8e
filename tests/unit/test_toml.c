// The rules of TOML 1.0 that configuration files meet; toml-test's cases are run by toml_cases.py.
#include "base/ckd.h"
#include "base/toml.h"
#include "tap.h"

#include <stdlib.h>

static struct st_arena arena;

static const struct st_toml *parse(const char *text, struct st_err *err)
{
    const struct st_toml *root = NULL;
    return st_toml_parse(st_sv_of(text), &arena, &root, err) ? NULL : root;
}

static void test_toml_values(void)
{
    static const struct {
        const char *text;
        enum st_toml_type type;
        const char *value;
        int64_t integer;
    } cases[] = {
        {"a = \"b\\tc\\u00e9\"", ST_TOML_STRING, "b\tc\xc3\xa9", 0},
        {"a = 'b\\c'", ST_TOML_STRING, "b\\c", 0},
        {"a = \"\"\"\nx\\\n   y\"\"\"\"\"", ST_TOML_STRING, "xy\"\"", 0},
        {"a = '''\r\nx'''", ST_TOML_STRING, "x", 0},
        {"a = +1_000", ST_TOML_INTEGER, "+1000", 1000},
        {"a = 0xff", ST_TOML_INTEGER, "", 255},
        {"a = -9223372036854775808", ST_TOML_INTEGER, "-9223372036854775808", INT64_MIN},
        {"a = 1e06", ST_TOML_FLOAT, "1e06", 0},
        {"a = -inf", ST_TOML_FLOAT, "-inf", 0},
        {"a = true # yes", ST_TOML_BOOL, "", 1},
        {"a = 1979-05-27 07:32:00.5-08:00", ST_TOML_DATETIME, "1979-05-27 07:32:00.5-08:00", 0},
        {"a = 2024-02-29", ST_TOML_DATE_LOCAL, "2024-02-29", 0},
        {"\"\" = 1\na = 07:32:00", ST_TOML_TIME_LOCAL, "07:32:00", 0},
        {"\xef\xbb\xbf"
         "a = 1",
         ST_TOML_INTEGER, "1", 1},
    };
    for (size_t i = 0; i < ST_LEN(cases); i++) {
        struct st_err err = {0};
        const struct st_toml *v = st_toml_get(parse(cases[i].text, &err), ST_SV("a"), cases[i].type);
        TAP_OK(v && st_sv_eq(v->text, st_sv_of(cases[i].value)) && v->integer == cases[i].integer, "value %zu %s", i,
               err.text);
    }
}

static void test_toml_refused(void)
{
    static const char *const cases[] = {
        "a",
        "a =",
        "= 1",
        "a = 1 b = 2",
        "a = 1\na = 2",
        "a = 01",
        "a = 1__0",
        "a = 1.",
        "a = .1",
        "a = 0xg",
        "a = 9223372036854775808",
        "a = \"x",
        "a = \"\\q\"",
        "a = \"\\ud800\"",
        "a = 'x\ny'",
        "a = \"\x01\"",
        "# \x01",
        "a = 2023-02-29",
        "a = 24:00:00",
        "a = [1",
        "a = [1 2]",
        "a = {b = 1,}",
        "a = {b = 1\n}",
        "a = {b = 1, b = 2}",
        "[a]\n[a]",
        "[a",
        "[[a]",
        "[]",
        "[a]]",
        "a = 1\n[a]",
        "[a]\n[[a]]",
        "[[a]]\n[a]",
        "a = {}\n[a.b]",
        "a = {}\na.b = 1",
        "a.b = 1\n[a]",
        "[a.b]\n[a]\nb.c = 1",
        "a = []\n[[a]]",
        "a = tru",
        "a = \xff",
        "a = 1\r",
        "a.b.=1",
        "a\nb = 1",
    };
    for (size_t i = 0; i < ST_LEN(cases); i++) {
        struct st_err err = {0};
        TAP_OK(!parse(cases[i], &err) && err.code == ST_E_FORMAT, "case %zu: %s", i, err.text);
    }
}

static void test_toml_tables(void)
{
    struct st_err err = {0};
    const struct st_toml *root =
        parse("[[r]]\nn = 1\n[[r.m]]\nl = 'a'\n[[r.m]]\nl = 'b'\n[[r]]\nn = 2\n[r.t]\nx.y = 3\n", &err);
    const struct st_toml *r = st_toml_get(root, ST_SV("r"), ST_TOML_ARRAY);
    const struct st_toml *m = r ? st_toml_get(r->first, ST_SV("m"), ST_TOML_ARRAY) : NULL;
    TAP_OK(m && m->first && m->first->next && !m->first->next->next, "tables in tables %s", err.text);
    const struct st_toml *t = r ? st_toml_get(r->first->next, ST_SV("t"), ST_TOML_TABLE) : NULL;
    const struct st_toml *y = st_toml_get(st_toml_get(t, ST_SV("x"), ST_TOML_TABLE), ST_SV("y"), ST_TOML_INTEGER);
    TAP_OK(y && y->integer == 3 && y->line == 10, "a table of the last element");
    TAP_OK(!st_toml_get(root, ST_SV("r"), ST_TOML_STRING) && !st_toml_get(NULL, ST_SV("r"), ST_TOML_ARRAY),
           "other types are not there");
}

static void test_toml_limits(void)
{
    struct st_err err = {0};
    char text[400] = "a = ";
    memset(text + 4, '[', 100);
    TAP_OK(!parse(text, &err) && err.code == ST_E_LIMIT, "nesting: %s", err.text);
    for (size_t i = 0; i < 140; i += 2)
        memcpy(text + i, "a.", 2);
    memcpy(text + 140, "a=1", 4);
    TAP_OK(!parse(text, &err) && err.code == ST_E_LIMIT, "parts of a key: %s", err.text);
    size_t n = 200000;
    char *many = malloc(n);
    memset(many, '\n', n);
    memcpy(many, "a=[", 3);
    for (size_t i = 3; i + 2 < n; i += 2)
        memcpy(many + i, "1,", 2);
    const struct st_toml *root;
    TAP_OK(st_toml_parse(st_sv_mem(many, n), &arena, &root, &err) < 0 && err.code == ST_E_LIMIT, "values: %s",
           err.text);
    free(many);
}

int main(void)
{
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    st_arena_init(&arena, &mem);
    test_toml_values();
    test_toml_refused();
    test_toml_tables();
    test_toml_limits();
    st_arena_release(&arena);
    st_mem_release(&mem);
    return tap_done();
}
