// Traces as text: what is written is read back, what is odd is told with its line, what is cut is tolerated.
#include "tap.h"
#include "watchdog/trace.h"
#include "watchdog/wd_replay.h"

#include <stdlib.h>

static struct st_mem mem;

static int read_text(const char *text, struct st_wd_trace *t, struct st_err *err)
{
    *t = (struct st_wd_trace){0};
    *err = (struct st_err){0};
    return st_wd_trace_read(st_sv_of(text), &mem, t, err);
}

static void test_wd_trace_round(void)
{
    struct st_wd_sample s = {.t_us = 5, .has = 0};
    for (unsigned f = 0; f < ST_WD_FIELD_COUNT; f += 2) {
        s.has |= (uint64_t)1 << f;
        s.v[f] = f == ST_WD_F_high ? ST_WD_NONE : UINT64_MAX - 1 - f;
    }
    struct st_buf text;
    struct st_out o;
    struct st_wd_trace t;
    struct st_err err;
    st_buf_init(&text, &mem);
    st_out_init_buf(&o, &text);
    st_wd_trace_head(&o, ST_SV("/a \"b\""), ST_SV("note"));
    st_wd_trace_row(&o, &s);
    st_out_finish(&o, NULL);
    st_buf_addc(&text, 0, NULL);
    TAP_OK(read_text(text.ptr, &t, &err) == 0 && t.n == 1 && memcmp(&t.at[0].sample, &s, sizeof s) == 0,
           "written and read %s", err.text);
    st_wd_trace_release(&t, &mem);
    st_buf_release(&text);
}

static void test_wd_trace_columns(void)
{
    struct st_wd_trace t;
    struct st_err err;
    TAP_OK(read_text("{\"columns\":[\"p1\",\"newer\",\"anon\",\"t_us\",\"p9\"]}\n\n[7,{},1,2]\n", &t, &err) == -1 &&
               strstr(err.text, "line 3"),
           "%s", err.text);
    TAP_OK(read_text("{\"new\":{\"a\":[1]},\"columns\":[\"p1\",\"newer\",\"anon\",\"t_us\",\"p9\"]}\n\n[7,\"x\",1,2]\n"
                     "[8,null,null,3,4]\r\n[9,0,\"max\",4",
                     &t, &err) == 0 &&
               t.n == 2 && t.progress_n == 2 && t.at[1].progress[1] == 8 && t.at[0].sample.v[ST_WD_F_anon] == 1 &&
               st_wd_has(&t.at[0].sample, ST_WD_F_anon) && !st_wd_has(&t.at[1].sample, ST_WD_F_anon),
           "any columns, absent values, a cut last line %s", err.text);
    st_wd_trace_release(&t, &mem);
    TAP_OK(read_text("{\"samples\":{\"columns\":[\"t_us\",\"anon\"],\"rows\":[[1,2],[3,4]]},\"kind\":\"verdict\"}\n"
                     "{\"kind\":\"note\"}\n"
                     "{\"samples\":{\"columns\":[\"anon\",\"t_us\"],\"rows\":[[4,3],[6,5]]}}\n",
                     &t, &err) == 0 &&
               t.n == 3 && t.at[2].sample.t_us == 5 && t.at[2].sample.v[ST_WD_F_anon] == 6,
           "evidence records that overlap %s", err.text);
    st_wd_trace_release(&t, &mem);
}

static void test_wd_trace_refused(void)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "no line has \"columns\""},
        {"{\"trace\":1}\n", "no line has \"columns\""},
        {"[1]\n", "line 1: a row of values before any"},
        {"{\"columns\":[\"anon\"]}\n", "there is no t_us"},
        {"{\"columns\":[1]}\n", "names are wanted"},
        {"{\"columns\":[\"t_us\"]}\n[1,2]\n", "line 2: a row has more values"},
        {"{\"columns\":[\"t_us\",\"anon\"]}\n[1,-2]\n", "column 2: a whole number"},
        {"{\"columns\":[\"t_us\",\"anon\"]}\n[1,1.5]\n", "column 2: a whole number"},
        {"{\"columns\":[\"t_us\",\"anon\"]}\n[1,18446744073709551616]\n", "column 2: a whole number"},
        {"{\"columns\":[\"t_us\",\"anon\"]}\n[null,1]\n", "without t_us"},
        {"{\"columns\":[\"t_us\",\"anon\"]}\n[1,[2]]\n", "a list or an object"},
        {"{\"columns\":[\"t_us\"]}\n[1] [2]\n", "line 2"},
        {"{\"columns\":[\"t_us\"]}\n\"x\"\n", "an object or a list"},
        {"{\"columns\":[\"t_us\"],\"samples\":[1]}\n", "rows are wanted"},
        {"{\"columns\":[\"t_us\"]}\nnonsense\n", "line 2"},
        {"{\"columns\":[\"t_us\"]}\nnonsense\n[1]\n", "line 2"},
        {"t,current,ev_max\n0,1,2\n", "line 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct st_wd_trace t;
        struct st_err err;
        int rc = read_text(rows[i].text, &t, &err);
        TAP_OK(rc == -1 && err.code == ST_E_INPUT && strstr(err.text, rows[i].says) && t.n == 0, "%s", err.text);
        if (rc == 0)
            st_wd_trace_release(&t, &mem);
    }
    struct st_mem small;
    struct st_wd_trace t = {0};
    struct st_err err = {0};
    st_mem_init(&small, 1000, -1);
    TAP_OK(st_wd_trace_read(ST_SV("{\"columns\":[\"t_us\"]}\n[1]\n"), &small, &t, &err) == -1 && small.used == 0, "%s",
           err.text);
    st_mem_release(&small);
}

static void test_wd_trace_replay(const char *dir)
{
    struct st_buf text;
    struct st_out o;
    struct st_err err = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/traces/a-612-mg-hdd-plat.trace", dir);
    const char *files[] = {path};
    struct st_wd_replay_options json = {.json = true}, table = {0};
    st_buf_init(&text, &mem);
    st_out_init_buf(&o, &text);
    int rc = st_wd_replay(files, 1, &json, &o, &err);
    rc = rc ? rc : st_wd_replay(files, 1, &table, &o, &err);
    st_out_finish(&o, NULL);
    st_buf_addc(&text, 0, NULL);
    TAP_OK(rc == 0 && strstr(text.ptr, "\"last_state\":\"thrash\"") && strstr(text.ptr, "\"first_act_s\":") &&
               strstr(text.ptr, "At the end: live-locked"),
           "replay, as JSON and as a table %s", err.text);
    st_buf_release(&text);
    files[0] = "/nowhere/at/all";
    st_out_init_buf(&o, &text);
    TAP_OK(st_wd_replay(files, 1, &table, &o, &err) == -1 && err.code == ST_E_IO, "%s", err.text);
    st_out_finish(&o, NULL);
}

int main(void)
{
    const char *dir = getenv("ST_TESTS");
    st_mem_init(&mem, 64 << 20, -1);
    test_wd_trace_round();
    test_wd_trace_columns();
    test_wd_trace_refused();
    test_wd_trace_replay(dir ? dir : "tests");
    st_mem_release(&mem);
    return tap_done();
}
