// Recorded hangs and recorded healthy jobs through the policy: tests/traces/expect.tsv says what must come out, also
// with samples dropped, moved in time, and without the files that some kernels do not have.
#include "base/fd.h"
#include "tap.h"
#include "watchdog/trace.h"

#include <fcntl.h>
#include <stdlib.h>

enum kind { MUST_END, LEAVE, EITHER };

struct expect {
    struct st_sv name, states;
    enum kind kind;
    double act_from, act_to; // seconds of the trace
};

struct outcome {
    double act, kernel; // seconds of the trace, or -1
    enum st_wd_state act_state;
    bool seen[ST_WD_STATE_COUNT];
    bool warned;
};

struct variant {
    const char *name;
    unsigned every;   // take one sample of so many
    double jitter;    // of the distance to the next sample
    uint64_t without; // fields
    double late;      // seconds later than act_to are good enough
    bool must_act;    // of what must end; else: must only leave alone what is to be left alone
    double from; // seconds after the limit was met (the first sample that says so: 0) from which on samples are seen
};

#define F(name) ((uint64_t)1 << ST_WD_F_##name)
#define NO_PSI (F(mem_some_us) | F(mem_full_us) | F(io_some_us) | F(io_full_us))
#define NO_LOCAL (F(local_high) | F(local_max) | F(local_oom) | F(local_oom_kill))

#define EVER -1e9

static const struct variant variants[] = {
    {"as recorded", 1, 0, 0, 0, true, EVER},
    {"every second sample", 2, 0, 0, 2, true, EVER},
    {"clock of the samples shakes", 1, 0.1, 0, 1, true, EVER},
    {"first seen at its limit", 1, 0, 0, 2, true, 0},
    {"first seen in the hang", 1, 0, 0, 60, true, 12},
    {"no events.local, cpu.stat, swap files, host", 1, 0,
     NO_LOCAL | F(cpu_user_us) | F(cpu_system_us) | F(cpu_usage_us) | F(host_swap_free) | F(host_available), 1, false,
     EVER},
    {"no LRU sizes", 1, 0, F(inactive_file) | F(active_file) | F(slab_reclaimable), 1, false, EVER},
    {"psi off", 1, 0, NO_PSI, 0, false, EVER},
    {"no memory.events", 1, 0, F(ev_high) | F(ev_max) | F(ev_oom) | F(ev_oom_kill), 0, false, EVER},
    {"no workingset figures", 1, 0, F(activate_file) | F(restore_file) | F(refault_file), 0, false, EVER},
};

static struct st_wd_series series;

static double seconds(const struct st_wd_trace *t, size_t i)
{
    return (double)(t->at[i].sample.t_us - t->at[0].sample.t_us) / 1e6;
}

// When it first met its limit.
static double limit_of(const struct st_wd_trace *t)
{
    const struct st_wd_sample *a = &t->at[0].sample;
    for (size_t i = 0; i < t->n; i++) {
        const struct st_wd_sample *s = &t->at[i].sample;
        if (s->v[ST_WD_F_ev_max] > a->v[ST_WD_F_ev_max] || s->v[ST_WD_F_ev_high] > a->v[ST_WD_F_ev_high])
            return seconds(t, i);
    }
    return 0;
}

static struct outcome run(const struct st_wd_trace *t, const struct variant *v)
{
    struct outcome o = {.act = -1, .kernel = -1};
    struct st_wd_judge judge = {0};
    uint32_t random = 12345;
    st_wd_series_clear(&series);
    double from = limit_of(t) + v->from;
    for (size_t i = 0; i < t->n; i += v->every) {
        struct st_wd_sample s = t->at[i].sample;
        if (seconds(t, i) < from)
            continue;
        struct st_wd_verdict verdict;
        uint32_t next;
        if (v->jitter > 0 && i > 0 && i + 1 < t->n) {
            random = random * 1103515245 + 12345;
            double gap = (double)(t->at[i + 1].sample.t_us - s.t_us);
            s.t_us += (uint64_t)(v->jitter * gap * (random >> 16 & 0x7fff) / 32768);
        }
        s.has &= ~v->without;
        for (unsigned f = 0; f < ST_WD_FIELD_COUNT; f++)
            if (!st_wd_has(&s, f))
                s.v[f] = 0;
        double at = seconds(t, i);
        st_wd_series_push(&series, &s);
        st_wd_judge_step(&judge, &st_wd_policy_default, &series, &verdict, &next);
        o.seen[verdict.state] = true;
        o.warned |= verdict.warn;
        if (verdict.act && o.act < 0) {
            o.act = at;
            o.act_state = verdict.state;
        }
        if (o.kernel < 0 && t->at[i].sample.v[ST_WD_F_ev_oom_kill] > t->at[0].sample.v[ST_WD_F_ev_oom_kill])
            o.kernel = at;
    }
    return o;
}

static bool word_in(struct st_sv list, const char *word)
{
    struct st_sv part;
    while (st_sv_split(&list, ',', &part))
        if (st_sv_eq(part, st_sv_of(word)))
            return true;
    return false;
}

static void check(const struct expect *e, const struct st_wd_trace *t, const struct variant *v)
{
    struct outcome o = run(t, v);
    switch (e->kind) {
    case LEAVE:
        TAP_OK(o.act < 0, ST_SV_FMT ", %s: left alone (act %.1f)", ST_SV_ARG(e->name), v->name, o.act);
        if (v == variants)
            for (unsigned s = 0; s < ST_WD_STATE_COUNT; s++)
                if (o.seen[s] && !word_in(e->states, st_wd_state_word(s)))
                    TAP_OK(0, ST_SV_FMT ": state %s is not among " ST_SV_FMT, ST_SV_ARG(e->name), st_wd_state_word(s),
                           ST_SV_ARG(e->states));
        break;
    case MUST_END: {
        if (!v->must_act || (v != variants && t->at[1].sample.t_us - t->at[0].sample.t_us > 700000))
            break; // the study's samples are 2 s apart: fewer say nothing about times
        if (seconds(t, t->n - 1) < limit_of(t) + v->from + 15)
            break; // somebody ended it soon after
        bool kernel_first = o.kernel >= 0 && o.kernel <= e->act_to + v->late && (o.act < 0 || o.kernel <= o.act);
        bool acted = o.act >= e->act_from - v->late && o.act <= e->act_to + v->late &&
                     word_in(e->states, st_wd_state_word(o.act_state));
        TAP_OK(kernel_first || acted, ST_SV_FMT ", %s: act %.1f (%s), kernel %.1f, wanted %.1f to %.1f (" ST_SV_FMT ")",
               ST_SV_ARG(e->name), v->name, o.act, o.act < 0 ? "-" : st_wd_state_word(o.act_state), o.kernel,
               e->act_from, e->act_to, ST_SV_ARG(e->states));
        break;
    }
    case EITHER:
        break;
    }
}

static int slurp(const char *path, struct st_buf *b)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    if (fd < 0 || st_buf_reserve(b, 4 << 20, NULL) || (n = st_fd_read(fd, b->ptr, 4 << 20)) < 0)
        return -1;
    b->len = (size_t)n;
    return 0;
}

static bool read_expect(struct st_sv line, struct expect *e)
{
    static const char *const kinds[] = {"must-end", "must-not-touch", "ambiguous"};
    struct st_sv kind, from, to;
    if (!st_sv_split(&line, '\t', &e->name) || !st_sv_split(&line, '\t', &kind) ||
        !st_sv_split(&line, '\t', &e->states) || !st_sv_split(&line, '\t', &from) || !st_sv_split(&line, '\t', &to))
        return false;
    unsigned k = 0;
    while (k < 3 && !st_sv_eq(kind, st_sv_of(kinds[k])))
        k++;
    e->kind = (enum kind)k;
    char a[32], b[32];
    snprintf(a, sizeof a, ST_SV_FMT, ST_SV_ARG(from));
    snprintf(b, sizeof b, ST_SV_FMT, ST_SV_ARG(to));
    e->act_from = strtod(a, NULL);
    e->act_to = strtod(b, NULL);
    return k < 3;
}

static void one(const char *dir, struct st_sv line, struct st_mem *mem)
{
    struct expect e;
    struct st_buf text;
    struct st_wd_trace t = {0};
    struct st_err err = {0};
    char path[4096];
    if (!read_expect(line, &e)) {
        TAP_OK(0, "expect.tsv: " ST_SV_FMT, ST_SV_ARG(line));
        return;
    }
    st_buf_init(&text, mem);
    snprintf(path, sizeof path, "%s/traces/" ST_SV_FMT ".trace", dir, ST_SV_ARG(e.name));
    if (slurp(path, &text) || st_wd_trace_read(st_buf_sv(&text), mem, &t, &err))
        TAP_OK(0, "%s: %s", path, err.text);
    else
        for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
            check(&e, &t, &variants[i]);
    st_wd_trace_release(&t, mem);
    st_buf_release(&text);
}

int main(void)
{
    const char *dir = getenv("ST_TESTS");
    char path[4096];
    struct st_mem mem;
    struct st_buf table;
    st_mem_init(&mem, 256 << 20, -1);
    st_buf_init(&table, &mem);
    snprintf(path, sizeof path, "%s/traces/expect.tsv", dir ? dir : "tests");
    if (slurp(path, &table))
        TAP_OK(0, "%s cannot be read", path);
    struct st_sv rest = st_buf_sv(&table), line;
    while (st_sv_line(&rest, &line))
        if (line.len && line.ptr[0] != '#')
            one(dir ? dir : "tests", line, &mem);
    st_buf_release(&table);
    st_mem_release(&mem);
    return tap_done();
}
