// The pure parts of the supervisor: verdicts, row by row of docs/adr/0012; admission; records of the watchdog; timers.
#include "base/ckd.h"
#include "supervisor/admission.h"
#include "supervisor/loop.h"
#include "supervisor/verdict.h"
#include "supervisor/watch_record.h"
#include "tap.h"

#include <stdlib.h>
#include <time.h>

// ---- verdicts -----------------------------------------------------------------------------------

#define SAID(why) .said_end = true, .end_reason = ST_SV_INIT(why)

static const struct {
    const char *name;
    struct st_seen seen;
    enum st_verdict_do what;
    enum st_job_state state;
    const char *reason, *restart;
    bool memory;
    int exit_code;
} rows[] = {
    {"completed", {SAID("")}, ST_DO_FINISH, ST_JOB_COMPLETED, "", NULL, false, 0},
    {"said why", {SAID("corrupt_layer"), .end_code = 1}, ST_DO_FINISH, ST_JOB_FAILED, "corrupt_layer", NULL, false, 1},
    {"said retryable", {SAID("retryable"), .end_code = 10}, ST_DO_FINISH, ST_JOB_FAILED, "retryable", NULL, false, 10},
    {"spent budget", {SAID("oom"), .end_code = 1}, ST_DO_FINISH, ST_JOB_FAILED, "oom", "oom", true, 1},
    {"unknown word", {SAID("gremlins")}, ST_DO_FINISH, ST_JOB_FAILED, "internal", NULL, false, 1},
    {"said completed, then crashed",
     {SAID(""), .signal = 11},
     ST_DO_FINISH,
     ST_JOB_FAILED,
     "crash",
     "crash",
     false,
     139},
    {"said completed while told to stop",
     {SAID(""), .released = true},
     ST_DO_FINISH,
     ST_JOB_COMPLETED,
     "",
     NULL,
     false,
     0},
    {"said cancelled since told to",
     {SAID("internal"), .cancelled = true},
     ST_DO_FINISH,
     ST_JOB_CANCELLED,
     "",
     NULL,
     false,
     1},
    {"said so since released", {SAID("internal"), .released = true}, ST_DO_RELEASE, 0, "", NULL, false, 1},
    {"lost", {.lost = true, .signal = 9}, ST_DO_NOTHING, 0, "", NULL, false, 137},
    {"lost beats cancelled", {.lost = true, .cancelled = true, .signal = 9}, ST_DO_NOTHING, 0, "", NULL, false, 137},
    {"cancelled", {.cancelled = true, .exit_code = 143}, ST_DO_FINISH, ST_JOB_CANCELLED, "", NULL, false, 143},
    {"cancelled beats released",
     {.cancelled = true, .released = true, .signal = 15},
     ST_DO_FINISH,
     ST_JOB_CANCELLED,
     "",
     NULL,
     false,
     143},
    {"released", {.released = true, .signal = 15}, ST_DO_RELEASE, 0, "", NULL, false, 143},
    {"released beats oom", {.released = true, .oom_kill = true, .signal = 9}, ST_DO_RELEASE, 0, "", NULL, false, 137},
    {"stalled",
     {.watchdog = true, .signal = 9},
     ST_DO_FINISH,
     ST_JOB_FAILED,
     "memory_stall",
     "memory_stall",
     true,
     137},
    {"stalled beats oom",
     {.watchdog = true, .oom_kill = true, .signal = 9},
     ST_DO_FINISH,
     ST_JOB_FAILED,
     "memory_stall",
     "memory_stall",
     true,
     137},
    {"oom", {.oom_kill = true, .signal = 9}, ST_DO_FINISH, ST_JOB_FAILED, "oom", "oom", true, 137},
    {"oom of a child, worker exits",
     {.oom_kill = true, .exit_code = 1},
     ST_DO_FINISH,
     ST_JOB_FAILED,
     "oom",
     "oom",
     true,
     1},
    {"oom of an analyzer, yet completed",
     {SAID(""), .oom_kill = true},
     ST_DO_FINISH,
     ST_JOB_COMPLETED,
     "",
     NULL,
     false,
     0},
    {"over its limit, sampled",
     {.over_limit = true, .signal = 9},
     ST_DO_FINISH,
     ST_JOB_FAILED,
     "oom",
     "oom",
     true,
     137},
    {"timeout", {.timed_out = true, .signal = 9}, ST_DO_FINISH, ST_JOB_FAILED, "timeout", "timeout", false, 137},
    {"oom beats timeout",
     {.timed_out = true, .oom_kill = true, .signal = 9},
     ST_DO_FINISH,
     ST_JOB_FAILED,
     "oom",
     "oom",
     true,
     137},
    {"not started", {.not_started = true, .exit_code = 127}, ST_DO_RELEASE, 0, "", NULL, false, 127},
    {"137 alone is not oom", {.signal = 9}, ST_DO_FINISH, ST_JOB_FAILED, "killed", "killed", false, 137},
    {"SIGTERM from outside", {.signal = 15}, ST_DO_FINISH, ST_JOB_FAILED, "crash", "crash", false, 143},
    {"crash", {.signal = 11}, ST_DO_FINISH, ST_JOB_FAILED, "crash", "crash", false, 139},
    {"an exit without a word", {.exit_code = 3}, ST_DO_FINISH, ST_JOB_FAILED, "crash", "crash", false, 3},
    {"exit 0 without a word", {.exit_code = 0}, ST_DO_FINISH, ST_JOB_FAILED, "crash", "crash", false, 1},
};

static void test_verdict_rows(void)
{
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        struct st_verdict v = st_verdict_of(&rows[i].seen);
        bool restart = rows[i].restart ? v.restart && !strcmp(v.restart, rows[i].restart) : !v.restart;
        TAP_OK(v.what == rows[i].what && (v.what != ST_DO_FINISH || v.state == rows[i].state) &&
                   !strcmp(v.reason, rows[i].reason) && restart && v.memory == rows[i].memory &&
                   v.exit_code == rows[i].exit_code,
               "%s: %d %d %s %s %d", rows[i].name, (int)v.what, (int)v.state, v.reason, v.restart ? v.restart : "-",
               v.exit_code);
    }
}

// ---- admission ----------------------------------------------------------------------------------

#define POOL(mib, waited)                                            \
    {                                                                \
        .memory = (mib)*ST_MIB, .waited_ms = (waited), .wants = true \
    }

static void test_admission_limits(void)
{
    TAP_OK(st_admission_reserve(512 * ST_MIB) == 64 * ST_MIB && st_admission_reserve(24 * ST_GIB) == ST_GIB &&
               st_admission_reserve(4 * ST_GIB) == 512 * ST_MIB,
           "the reserve is an eighth, from 64 MiB to 1 GiB");
    TAP_OK(st_admission_effective(16 * ST_GIB, 4 * ST_GIB) == 4 * ST_GIB - 512 * ST_MIB &&
               st_admission_effective(ST_GIB, 4 * ST_GIB) == ST_GIB,
           "a limit over the host is what the host can give");
    TAP_OK(st_admission_reserve(64 * ST_MIB) == 32 * ST_MIB, "a tiny host keeps half");
}

static void test_admission_decide(void)
{
    uint64_t host = 8 * ST_GIB; // 7 GiB for workers
    struct st_admission_pool two[] = {POOL(4096, 10), POOL(3072, 20)};
    st_admission_decide(two, 2, 0, host);
    TAP_OK(two[0].admit && two[1].admit && !two[0].yield, "both fit");
    struct st_admission_pool turns[] = {POOL(4096, 10), POOL(7168, 20)};
    st_admission_decide(turns, 2, 0, host);
    TAP_OK(!turns[0].admit && turns[1].admit, "the one that waited longer has its turn");
    struct st_admission_pool other[] = {POOL(4096, 30), POOL(7168, 0)};
    other[1].wants = false;
    other[1].waiting = true;
    st_admission_decide(other, 2, 0, host);
    TAP_OK(!other[0].admit && other[1].yield, "who waits for a job while another may not is to be short");
    struct st_admission_pool full[] = {POOL(4096, 10)};
    st_admission_decide(full, 1, 4096 * ST_MIB, host);
    TAP_OK(!full[0].admit, "the sum of all stays within the host");
    struct st_admission_pool alone[] = {POOL(7168, 10)};
    st_admission_decide(alone, 1, 0, 2 * ST_GIB);
    TAP_OK(alone[0].admit, "one is always admitted");
    st_admission_decide(alone, 1, 1, 2 * ST_GIB);
    TAP_OK(!alone[0].admit, "but not beside another");
    struct st_admission_pool starving[] = {POOL(1024, 10), POOL(7168, 90000)};
    starving[1].starving = true;
    st_admission_decide(starving, 2, 4096 * ST_MIB, host);
    TAP_OK(!starving[0].admit && !starving[1].admit, "while one starves, memory is left free for it");
    starving[1].starving = false;
    st_admission_decide(starving, 2, 4096 * ST_MIB, host);
    TAP_OK(starving[0].admit && !starving[1].admit, "else smaller ones go on");
    struct st_admission_pool huge[] = {POOL(1024, 1)};
    huge[0].memory = UINT64_MAX;
    st_admission_decide(huge, 1, UINT64_MAX, host);
    TAP_OK(!huge[0].admit, "no sum runs over");
}

// What the rule promises, on random pools: the sum of used, waiting and admitted is within the host, or it is one
// alone.
static void test_admission_never_over(void)
{
    bool within = true;
    srand(7);
    for (int round = 0; round < 20000 && within; round++) {
        struct st_admission_pool p[6];
        uint64_t host = (uint64_t)(1 + rand() % 64) * ST_GIB, used = 0, sum;
        size_t n = (size_t)(1 + rand() % 6), some = 0;
        for (size_t i = 0; i < n; i++)
            p[i] =
                (struct st_admission_pool){.memory = st_admission_effective((uint64_t)(1 + rand() % 70) * ST_GIB, host),
                                           .waited_ms = rand() % 1000,
                                           .wants = rand() % 2,
                                           .starving = rand() % 8 == 0};
        if (rand() % 2)
            used = st_admission_effective((uint64_t)(1 + rand() % 8) * ST_GIB, host);
        st_admission_decide(p, n, used, host);
        sum = used;
        for (size_t i = 0; i < n; i++) {
            sum += p[i].admit ? p[i].memory : 0;
            some += p[i].admit;
            within = within && (!p[i].admit || p[i].wants);
        }
        within = within && (sum <= host - st_admission_reserve(host) || (used == 0 && some == 1));
    }
    TAP_OK(within, "20000 random hosts");
}

// ---- records of the watchdog --------------------------------------------------------------------

static const char action[] = "{\"schema\":\"stella-watchdog/"
                             "1\",\"id\":\"0123456789abcdef\",\"time\":\"2026-11-26T01:00:00Z\",\"kind\":\"action\","
                             "\"dry_run\":false,\"cgroup\":{\"path\":\"a/workers/default-1\",\"inode\":7,\"owner\":\"/"
                             "a\"},\"verdict\":{\"state\":"
                             "\"thrash\",\"act\":true,\"text\":\"it "
                             "\\\"hangs\\\"\"},\"culprit\":null,\"action\":{\"rung\":\"cgroup\",\"outcome\":"
                             "\"done\",\"detail\":\"\"},\"github\":null,\"before\":{\"x\":1},\"after\":null,"
                             "\"samples\":{\"rows\":[[1,2],[3,4]]}}";

static void test_watch_record(void)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_watch_record r;
    struct st_err err = {0};
    st_mem_init(&mem, 1 << 20, -1);
    st_arena_init(&a, &mem);
    TAP_OK(st_watch_record_read(st_sv_of(action), &r, &a, &err) == 0, "reads: %s", err.text);
    TAP_OK(st_sv_eq(r.path, ST_SV("a/workers/default-1")) && r.acted && r.asks, "an action that was done");
    TAP_OK(st_sv_search(r.brief, ST_SV("samples")) == ST_SV_NPOS &&
               st_sv_search(r.brief, ST_SV("\"text\":\"it \\\"hangs\\\"\"")) != ST_SV_NPOS && r.brief.ptr[0] == '{',
           "what is kept has no samples: " ST_SV_FMT, ST_SV_ARG(r.brief));
    TAP_OK(st_watch_record_read(ST_SV("{\"kind\":\"verdict\",\"cgroup\":{\"path\":\"w\"},\"verdict\":{\"act\":false}}"),
                                &r, &a, &err) == 0 &&
               !r.acted && !r.asks,
           "a warning");
    size_t bad = 0;
    for (size_t n = 0; n < sizeof action - 1; n++) // cut anywhere
        bad += st_watch_record_read(st_sv_mem(action, n), &r, &a, NULL) != 0;
    TAP_OK(bad == sizeof action - 1, "cut anywhere it is refused");
    const char *const wrong[] = {
        "", "[]", "null", "{}", "{\"cgroup\":7}", "{\"cgroup\":{\"path\":7}}", "{\"cgroup\":{}}"};
    for (size_t i = 0; i < ST_LEN(wrong); i++)
        TAP_OK(st_watch_record_read(st_sv_of(wrong[i]), &r, &a, NULL) == -1, "refused: %s", wrong[i]);
    st_arena_release(&a);
    st_mem_release(&mem);
}

// ---- timers -------------------------------------------------------------------------------------

struct fired {
    struct st_loop *l;
    int order[16], n;
};
struct one {
    struct fired *f;
    int id;
    struct st_timer t;
};

static void on_fire(void *ctx)
{
    struct one *o = ctx;
    o->f->order[o->f->n++] = o->id;
    if (o->id == 9)
        st_loop_end(o->f->l);
}

static void test_timers(void)
{
    struct st_loop l;
    struct fired f = {.l = &l};
    struct one at[10];
    struct st_err err = {0};
    TAP_OK(st_loop_init(&l, &err) == 0, "loop");
    static const int in_ms[10] = {30, 5, 20, 10, 5000, 15, 25, 1, 5000, 40};
    for (int i = 0; i < 10; i++) {
        at[i] = (struct one){.f = &f, .id = i};
        st_loop_timer(&l, &at[i].t, on_fire, &at[i], &err);
        st_loop_arm(&l, &at[i].t, in_ms[i]);
    }
    st_loop_disarm(&l, &at[4].t);
    st_loop_arm(&l, &at[8].t, 12); // the new time holds
    st_loop_run(&l, &err);
    static const int want[] = {7, 1, 3, 8, 5, 2, 6, 0, 9};
    TAP_OK(f.n == 9 && memcmp(f.order, want, sizeof want) == 0 && !st_loop_armed(&at[4].t),
           "in the order of their times");
    st_loop_release(&l);
}

int main(void)
{
    test_verdict_rows();
    test_admission_limits();
    test_admission_decide();
    test_admission_never_over();
    test_watch_record();
    test_timers();
    return tap_done();
}
