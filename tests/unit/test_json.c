#include "base/json.h"
#include "tap.h"

#include <dirent.h>
#include <stdlib.h>

static struct st_mem mem;

static int parse_all(struct st_sv in, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok t;
    st_json_init(&j, in);
    do
        if (st_json_next(&j, &t, err))
            return -1;
    while (t.type != ST_JSON_END);
    return 0;
}

static const struct {
    const char *text;
    int ok;
    size_t at; // offset of the error
} rows[] = {
    {"{}", 1, 0},        {"[]", 1, 0},        {" [1, -0.5e+3, \"a\\u00e9\\n\", true, null, {\"k\":[]}] ", 1, 0},
    {"", 0, 0},          {"[1,]", 0, 3},      {"{\"a\":1,}", 0, 7},
    {"{\"a\" 1}", 0, 5}, {"[01]", 0, 2},      {"[1.]", 0, 3},
    {"[\"\t\"]", 0, 2},  {"[\"\\x\"]", 0, 3}, {"[\"\xff\"]", 0, 2},
    {"[1] x", 0, 4},     {"{\"a\":}", 0, 5},  {"[\"\\u12\"]", 0, 4},
    {"{1:2}", 0, 1},     {"[1 2]", 0, 3},     {"\"abc", 0, 4},
    {"nul", 0, 0},       {"]", 0, 0},         {"{]", 0, 1},
};

static void test_rows(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct st_err err = {0};
        int ok = parse_all(st_sv_of(rows[i].text), &err) == 0;
        TAP_OK(ok == rows[i].ok && (ok || err.offset == rows[i].at), "row %zu '%s': %s at %llu", i, rows[i].text,
               err.text, (unsigned long long)err.offset);
    }
}

static void test_deep(void)
{
    static char deep[100000];
    memset(deep, '[', sizeof deep);
    struct st_err err = {0};
    TAP_OK(parse_all(st_sv_mem(deep, sizeof deep), &err) && err.code == ST_E_LIMIT, "100,000 levels: %s", err.text);
}

static void test_text(void)
{
    struct st_arena a;
    st_arena_init(&a, &mem);
    struct st_json j;
    struct st_json_tok t;
    struct st_sv s;
    st_json_init(&j, ST_SV("\"\\u00e9\\uD83D\\uDC27\\ud800x\\\"\\/\""));
    TAP_OK(st_json_next(&j, &t, NULL) == 0 && st_json_text(&t, &a, &s, NULL) == 0 &&
               st_sv_eq(s, ST_SV("\xC3\xA9\xF0\x9F\x90\xA7\xEF\xBF\xBDx\"/")),
           "escapes, pairs, lone surrogates");
    st_arena_release(&a);
}

static void test_walk(void)
{
    struct st_json j;
    struct st_json_tok key, val;
    st_json_init(&j, ST_SV("{\"skip\":{\"a\":[1,2,{\"b\":{}}]},\"name\":\"x\",\"list\":[1,[2],3]}"));
    int members = 0, elements = 0, rc;
    st_json_next(&j, &val, NULL);
    while ((rc = st_json_member(&j, &key, &val, NULL)) > 0) {
        members++;
        if (st_json_is(&key, ST_SV("list"))) {
            while ((rc = st_json_element(&j, &val, NULL)) > 0) {
                elements++;
                st_json_skip(&j, &val, NULL);
            }
        } else {
            st_json_skip(&j, &val, NULL);
        }
    }
    TAP_OK(rc == 0 && members == 3 && elements == 3, "members and elements");
    TAP_OK(st_json_next(&j, &val, NULL) == 0 && val.type == ST_JSON_END, "and the end");
}

static void test_writer(void)
{
    struct st_buf b;
    st_buf_init(&b, &mem);
    struct st_out o;
    st_out_init_buf(&o, &b);
    struct st_json_out w;
    st_json_out_init(&w, &o, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "a\"", ST_SV("\n\x01\xff\xC3\xA9"));
    st_json_key(&w, "l");
    st_json_open(&w, '[');
    st_json_u64(&w, 1);
    st_json_open(&w, '{');
    st_json_close(&w, '}');
    st_json_bool(&w, true);
    st_json_close(&w, ']');
    st_json_close(&w, '}');
    struct st_sv want = ST_SV("{\"a\\\"\":\"\\n\\u0001\xEF\xBF\xBD\xC3\xA9\",\"l\":[1,{},true]}");
    TAP_OK(st_out_finish(&o, NULL) == 0 && st_sv_eq(st_buf_sv(&b), want), "writer: %.*s", (int)b.len, b.ptr);
    st_buf_release(&b);
}

// The published cases (nst/JSONTestSuite): y_ must be accepted, n_ refused.
static void test_suite(const char *dir)
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, NULL, alphasort);
    int seen = 0, wrong = 0;
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        char path[5120];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        FILE *f = (name[0] == 'y' || name[0] == 'n') && name[1] == '_' ? fopen(path, "rb") : NULL;
        if (f) {
            static char text[1 << 20];
            size_t len = fread(text, 1, sizeof text, f);
            fclose(f);
            seen++;
            if ((parse_all(st_sv_mem(text, len), NULL) == 0) != (name[0] == 'y')) {
                wrong++;
                printf("# %s\n", name);
            }
        }
        free(list[i]);
    }
    free(list);
    if (seen)
        TAP_OK(wrong == 0, "%d published cases in %s", seen, dir);
    else
        tap_skip("published JSON cases", "not on this machine");
}

int main(void)
{
    st_mem_init(&mem, 64 << 20, -1);
    test_rows();
    test_deep();
    test_text();
    test_walk();
    test_writer();
    char dir[4096];
    const char *tests = getenv("ST_TESTS");
    snprintf(dir, sizeof dir, "%s/../../shared/oracles/json/test_parsing", tests ? tests : ".");
    test_suite(dir);
    st_mem_release(&mem);
    return tap_done();
}
