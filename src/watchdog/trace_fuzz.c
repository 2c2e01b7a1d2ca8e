// A trace of any bytes: read, judged, written, read again to the same samples and the same last verdict.
#include "watchdog/trace.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct st_wd_trace *t, struct st_wd_verdict *ret)
{
    static struct st_wd_series series;
    struct st_wd_judge j = {0};
    uint32_t next;
    st_wd_series_clear(&series);
    for (size_t i = 0; i < t->n; i++) {
        st_wd_series_push(&series, &t->at[i].sample);
        st_wd_judge_step(&j, &st_wd_policy_default, &series, ret, &next);
        assert(!ret->act || (ret->warn && st_wd_state_must_end(ret->state)));
        assert(next <= 2000 && ret->bucket >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_wd_trace a = {0}, b = {0};
    struct st_wd_verdict va = {0}, vb = {0};
    struct st_buf text;
    struct st_out o;
    char line[700];
    st_mem_init(&mem, 256 << 20, -1);
    st_buf_init(&text, &mem);
    if (st_wd_trace_read(st_sv_mem(data, size), &mem, &a, NULL) == 0) {
        judge(&a, &va);
        size_t n = st_wd_verdict_text(&va, ST_SV("pod"), line, sizeof line);
        assert(n < sizeof line && strlen(line) == n);
        st_out_init_buf(&o, &text);
        st_wd_trace_head(&o, ST_SV("/a"), ST_SV_NULL);
        for (size_t i = 0; i < a.n; i++)
            st_wd_trace_row(&o, &a.at[i].sample);
        if (st_out_finish(&o, NULL) == 0) {
            assert(st_wd_trace_read(st_buf_sv(&text), &mem, &b, NULL) == 0 && b.n == a.n);
            for (size_t i = 0; i < a.n; i++)
                assert(memcmp(&a.at[i].sample, &b.at[i].sample, sizeof a.at[i].sample) == 0);
            judge(&b, &vb);
            assert(va.state == vb.state && va.act == vb.act && va.bucket == vb.bucket);
        }
    }
    st_wd_trace_release(&a, &mem);
    st_wd_trace_release(&b, &mem);
    st_buf_release(&text);
    st_mem_release(&mem);
    return 0;
}
