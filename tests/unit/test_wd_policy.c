// The judgement on made-up worlds: one property each, four samples a second.
#include "base/ckd.h"
#include "base/out.h"
#include "tap.h"
#include "watchdog/policy.h"

#define MI (1u << 20)

// Rates per second of a world that stands still otherwise. Bytes in MiB.
struct world {
    double limit, high, anon, shmem, cache, mapped, dirty;
    double anon_grows, mapped_grows;
    double faults, refaults, kept, steals, scans, max_events, high_events, swap_in, swap_out;
    double mem_some, io_some, user, system, ooms;
    double swap_used, swap_free, swap_used_grows, anon_refaults; // no pswpin then, as before kernel 6.13
    bool no_psi;
};

static const struct world idle = {.limit = 512, .anon = 100, .cache = 100, .mapped = 50, .user = 0.5};
static const struct world plateau = {.limit = 512,
                                     .anon = 490,
                                     .cache = 14,
                                     .mapped = 13,
                                     .faults = 400,
                                     .refaults = 12000,
                                     .kept = 500,
                                     .steals = 12500,
                                     .scans = 16000,
                                     .max_events = 250,
                                     .mem_some = 0.35,
                                     .io_some = 0.15,
                                     .user = 0.25,
                                     .system = 0.6};
static const struct world growing = {.limit = 512,
                                     .anon = 220,
                                     .anon_grows = 2,
                                     .cache = 280,
                                     .mapped = 270,
                                     .mapped_grows = -2,
                                     .faults = 140,
                                     .refaults = 2300,
                                     .kept = 900,
                                     .steals = 3000,
                                     .max_events = 70,
                                     .mem_some = 0.95,
                                     .io_some = 0.25,
                                     .user = 0.08,
                                     .system = 1.7};
static const struct world stuck = {.limit = 512,
                                   .anon = 300,
                                   .cache = 205,
                                   .mapped = 200,
                                   .steals = 2,
                                   .scans = 500,
                                   .max_events = 0.4,
                                   .mem_some = 0.98,
                                   .user = 0.72,
                                   .system = 0.2};
static const struct world stream = {.limit = 512,
                                    .anon = 10,
                                    .cache = 495,
                                    .mapped = 5,
                                    .refaults = 16000,
                                    .steals = 20000,
                                    .scans = 24000,
                                    .max_events = 380,
                                    .mem_some = 0.15,
                                    .io_some = 0.1,
                                    .user = 0.02,
                                    .system = 0.85};

struct run {
    struct st_wd_series series;
    struct st_wd_judge judge;
    struct st_wd_sample now;
    struct st_wd_verdict v;
    double frac[ST_WD_FIELD_COUNT];
    double t, act_at, warn_at;
    uint32_t next;
    bool seen[ST_WD_STATE_COUNT], disarmed;
};

static void begin(struct run *r)
{
    memset(r, 0, sizeof *r);
    r->act_at = r->warn_at = -1;
    r->now.t_us = 1000000000;
}

static void gauge(struct run *r, enum st_wd_field f, double mib)
{
    r->now.v[f] = (uint64_t)(mib * MI);
    r->now.has |= (uint64_t)1 << f;
}

static void counter(struct run *r, enum st_wd_field f, double amount)
{
    r->frac[f] += amount;
    r->now.v[f] = (uint64_t)r->frac[f];
    r->now.has |= (uint64_t)1 << f;
}

static void step(struct run *r, const struct world *w, double dt, double t)
{
    double anon = w->anon + w->anon_grows * t, cache = w->cache + ST_MIN(w->mapped_grows, 0.0) * t;
    r->now.has = 0;
    r->now.t_us += (uint64_t)(dt * 1e6);
    gauge(r, ST_WD_F_anon, anon);
    gauge(r, ST_WD_F_shmem, w->shmem);
    gauge(r, ST_WD_F_file, w->shmem + cache);
    gauge(r, ST_WD_F_inactive_file, cache / 2);
    gauge(r, ST_WD_F_active_file, cache / 2);
    gauge(r, ST_WD_F_file_mapped, w->mapped + w->mapped_grows * t);
    gauge(r, ST_WD_F_file_dirty, w->dirty);
    gauge(r, ST_WD_F_max, w->limit);
    if (w->high > 0)
        gauge(r, ST_WD_F_high, w->high);
    gauge(r, ST_WD_F_current, ST_MIN(anon + w->shmem + cache + 7, w->high > 0 ? w->high + 2 : w->limit));
    counter(r, ST_WD_F_ev_max, w->max_events * dt);
    counter(r, ST_WD_F_ev_high, w->high_events * dt);
    counter(r, ST_WD_F_ev_oom, w->ooms * dt);
    counter(r, ST_WD_F_pgmajfault, w->faults * dt);
    counter(r, ST_WD_F_refault_file, w->refaults * dt);
    counter(r, ST_WD_F_activate_file, w->kept * dt);
    counter(r, ST_WD_F_pgsteal, w->steals * dt);
    counter(r, ST_WD_F_pgscan, w->scans * dt);
    if (w->swap_free > 0) {
        gauge(r, ST_WD_F_swap_current, w->swap_used + w->swap_used_grows * t);
        r->now.v[ST_WD_F_swap_max] = ST_WD_NONE;
        r->now.has |= (uint64_t)1 << ST_WD_F_swap_max;
        gauge(r, ST_WD_F_host_swap_free, w->swap_free);
        counter(r, ST_WD_F_refault_anon, w->anon_refaults * dt);
    } else {
        counter(r, ST_WD_F_pswpin, w->swap_in * dt);
        counter(r, ST_WD_F_pswpout, w->swap_out * dt);
    }
    counter(r, ST_WD_F_cpu_user_us, w->user * dt * 1e6);
    counter(r, ST_WD_F_cpu_system_us, w->system * dt * 1e6);
    if (!w->no_psi) {
        counter(r, ST_WD_F_mem_some_us, w->mem_some * dt * 1e6);
        counter(r, ST_WD_F_io_some_us, w->io_some * dt * 1e6);
    }
    st_wd_series_push(&r->series, &r->now);
    st_wd_judge_step(&r->judge, &st_wd_policy_default, &r->series, &r->v, &r->next);
    r->t += dt;
    r->seen[r->v.state] = true;
    r->disarmed |= r->next == 0;
    if (r->v.warn && r->warn_at < 0)
        r->warn_at = r->t;
    if (r->v.act && r->act_at < 0)
        r->act_at = r->t;
}

static void live(struct run *r, const struct world *w, double seconds)
{
    for (double t = 0; t < seconds; t += 0.25)
        step(r, w, 0.25, t);
}

static struct run r;

// After ten quiet seconds: seconds of this world until act, or -1.
static double acts_after(const struct world *w, double seconds)
{
    begin(&r);
    live(&r, &idle, 10);
    live(&r, w, seconds);
    return r.act_at < 0 ? -1 : r.act_at - 10;
}

static const struct world warm = {.limit = 512, .anon = 100, .cache = 280, .mapped = 270, .user = 0.5};

static void test_wd_policy_ends(void)
{
    double t = acts_after(&plateau, 20);
    TAP_OK(t > 3 && t < 5 && r.v.state == ST_WD_THRASH && r.v.confidence == ST_WD_STRONG,
           "plateau: thrash, act after %.2f s", t);
    TAP_OK(r.warn_at - 10 > 1.5 && r.warn_at - 10 < 4 && r.next == 250, "warned after %.2f s", r.warn_at - 10);
    TAP_OK(r.v.n.pinned_share > 0.95 && r.v.n.major_faults > 390 && r.v.n.major_faults < 410 && r.v.n.mem_some > 0.34 &&
               r.v.n.cpu_user_before > 0.4,
           "its numbers");
    TAP_OK(r.v.suggested_limit % (16 * MI) == 0 && r.v.suggested_limit > 512ull * MI &&
               r.v.suggested_limit < 700ull * MI,
           "a limit that would have done: %llu MiB", (unsigned long long)(r.v.suggested_limit / MI));
    begin(&r);
    live(&r, &warm, 10); // its 270 MiB of code are there before the limit is
    live(&r, &growing, 20);
    t = r.act_at - 10;
    TAP_OK(t > 4.5 && t < 8 && r.v.state == ST_WD_THRASH && r.v.suggested_limit == 0, "growing: act after %.2f s", t);
    t = acts_after(&stuck, 20);
    TAP_OK(t > 7 && t < 12 && r.v.state == ST_WD_STUCK, "stuck: act after %.2f s", t);
    struct world w = stuck; // four busy CPUs: one task that stands still is a quarter of the stall
    w.mem_some = 0.25, w.user = 3.6, w.system = 0.35;
    t = acts_after(&w, 20);
    TAP_OK(t > 7 && t < 12 && r.v.state == ST_WD_STUCK, "stuck on four CPUs: act after %.2f s", t);
    w = plateau; // hog's memory is shmem
    w.shmem = w.anon, w.anon = 0;
    TAP_OK(acts_after(&w, 20) < 7 && r.v.state == ST_WD_THRASH && r.v.n.shmem > 480ull * MI, "shmem is pinned");
    w = plateau; // slow disk: the stall is on files, not on memory
    w.kept = 80, w.faults = 115, w.refaults = 80, w.mem_some = 0.12, w.io_some = 0.96, w.user = 0.7, w.system = 0.2;
    TAP_OK(acts_after(&w, 20) < 7 && r.v.state == ST_WD_THRASH, "stall in io.pressure alone");
    w = plateau;
    w.limit = 600, w.high = 512, w.max_events = 0, w.high_events = 200;
    TAP_OK(acts_after(&w, 20) < 7 && r.v.n.limit_is_high && r.v.n.limit == 512ull * MI, "memory.high binds");
    w = (struct world){
        .limit = 512, .high = 460, .anon = 455, .cache = 1, .high_events = 3, .mem_some = 0.99, .user = 0.0};
    t = acts_after(&w, 20);
    TAP_OK(t > 0 && t < 15 && r.v.state == ST_WD_STUCK, "throttled above memory.high, nothing to free: %.2f s", t);
}

static void test_wd_policy_leaves_alone(void)
{
    TAP_OK(acts_after(&stream, 60) < 0 && r.v.state == ST_WD_HEALTHY && !r.v.warn, "stream");
    struct world w = stream; // beside 92 % pinned
    w.anon = 470, w.cache = 35, w.mem_some = 0.3, w.io_some = 0.54, w.faults = 2;
    TAP_OK(acts_after(&w, 60) < 0 && r.v.state == ST_WD_HEALTHY && r.warn_at < 0, "stream beside a large process");
    w = growing; // a program that loads beside a heap, on a slow disk: what it reads stays
    w.anon_grows = 0, w.mapped = 180, w.mapped_grows = 3, w.faults = 60, w.mem_some = 0.99, w.io_some = 0.99;
    TAP_OK(acts_after(&w, 30) < 0 && r.warn_at < 0, "cold start beside 43 %% pinned");
    w = growing; // a third is pinned, and a fifth of the time nobody waits
    w.anon = 170, w.cache = 330, w.mapped = 300, w.anon_grows = 0, w.mapped_grows = 0, w.mem_some = 0.8, w.io_some = 0;
    w.steals = 9000, w.user = 0.5;
    TAP_OK(acts_after(&w, 30) < 0, "busy with a third pinned");
    w = plateau; // a linker in its last phase: a third of the speed, and most of what is read again stays
    w.anon = 430, w.cache = 75, w.mapped = 60, w.faults = 250, w.refaults = 7000, w.kept = 1600, w.mem_some = 0.5;
    TAP_OK(acts_after(&w, 300) < 0 && r.v.state == ST_WD_FILE_THRASH && r.v.warn && r.v.hold == ST_WD_HOLD_PROGRESS &&
               r.v.suggested_limit > 512ull * MI,
           "a room that is too small, and still a cache: warned of, with a limit");
    w.kept = 500; // an index of 900 MiB, mapped, beside a heap: it faults all day, and never had more room
    TAP_OK(acts_after(&w, 300) < 0 && r.v.state == ST_WD_FILE_THRASH, "a file larger than its room");
    w.mem_some = 0.9;
    TAP_OK(acts_after(&w, 300) < 0 && r.v.state == ST_WD_FILE_THRASH, "the same with many threads that wait for it");
    begin(&r); // the same counters, but its code had more room before
    live(&r, &warm, 10);
    live(&r, &w, 20);
    TAP_OK(r.act_at > 0 && r.act_at < 17, "what had more room before: act after %.2f s", r.act_at - 10);
    struct world index =
        w; // it reads itself in, then a heap grows into its room, and still more is mapped than in peace
    index.anon = 100, index.cache = 400, index.mapped = 50, index.mapped_grows = 20, index.kept = 900;
    begin(&r);
    live(&r, &idle, 10);
    live(&r, &index, 16);
    index.anon = 250, index.anon_grows = 15, index.cache = 250, index.mapped = 240, index.mapped_grows = -15;
    live(&r, &index, 12);
    TAP_OK(r.act_at < 0 && !r.seen[ST_WD_THRASH], "an index that gives way to a heap (%.2f of its peace)",
           r.v.n.mapped_left);
    w.kept = 900, w.mem_some = 0.5; // between the two
    begin(&r);
    live(&r, &warm, 10);
    live(&r, &w, 40);
    double t = r.act_at - 10;
    TAP_OK(t > 15 && t < 25 && r.v.state == ST_WD_THRASH, "one that hardly is a cache: act after %.2f s", t);
    w.kept = 2500, w.user = 0.01; // works as a cache, and that is all it works for
    begin(&r);
    live(&r, &warm, 10);
    live(&r, &w, 40);
    t = r.act_at - 10;
    TAP_OK(t > 15 && t < 25 && r.v.state == ST_WD_THRASH, "a cache that leaves its programs nothing: act after %.2f s",
           t);
    w.user = 0.05;
    begin(&r);
    live(&r, &warm, 10);
    live(&r, &w, 100);
    TAP_OK(r.act_at < 0 && r.v.state == ST_WD_FILE_THRASH, "one that leaves them a little: slow");
    w = growing; // a build on a slow machine: code is read again, and its processes compute
    w.anon = 300, w.cache = 200, w.mapped = 150, w.user = 0.4, w.system = 0.5;
    t = acts_after(&w, 8);
    TAP_OK(t < 0, "one that computes gets twice the time");
    w = (struct world){.limit = 512,
                       .anon = 10,
                       .cache = 495,
                       .mapped = 50,
                       .faults = 50,
                       .refaults = 1400,
                       .steals = 6000,
                       .max_events = 100,
                       .mem_some = 0.99,
                       .io_some = 0.99,
                       .system = 0.25};
    TAP_OK(acts_after(&w, 60) < 0 && r.v.state == ST_WD_FILE_THRASH && r.v.warn && r.v.hold == ST_WD_HOLD_NO_VICTIM,
           "file thrash warns only");
    w = stuck; // reclaim waits for a slow disk to write
    w.dirty = 150;
    TAP_OK(acts_after(&w, 60) < 0, "slow writeback");
    w = stuck; // a disk that does not answer: waiting for a page of a file is a memory stall too
    w.io_some = 0.98;
    TAP_OK(acts_after(&w, 60) < 0, "hung disk");
    w = stuck;
    w.steals = 3000;
    TAP_OK(acts_after(&w, 60) < 0, "reclaim that frees is not stuck");
    w = (struct world){.limit = 512, .anon = 505, .user = 1.0};
    TAP_OK(acts_after(&w, 60) < 0 && r.v.state == ST_WD_HEALTHY && r.disarmed, "at its limit with memory alone: quiet");
    w.max_events = 30; // network buffers are charged without a stall
    TAP_OK(acts_after(&w, 60) < 0 && r.warn_at < 0, "the same with forced charges");
    w = plateau;
    w.limit = 4096;
    TAP_OK(acts_after(&w, 30) < 0 && r.v.state == ST_WD_BELOW, "far below its limit");
    w = plateau;
    w.limit = (double)(UINT64_MAX / MI);
    TAP_OK(acts_after(&w, 30) < 0, "next to no limit");
}

static void test_wd_policy_psi(void)
{
    struct world w = plateau;
    w.no_psi = true;
    double t = acts_after(&w, 30);
    TAP_OK(t > 3 && t < 6 && r.v.psi_blind && r.v.confidence == ST_WD_COUNTERS_ONLY, "no PSI: act after %.2f s", t);
    w = plateau;
    w.mem_some = 0;
    t = acts_after(&w, 30);
    TAP_OK(t > 3 && t < 6 && r.v.psi_blind, "PSI that counts nothing: act after %.2f s", t);
    w = stream;
    w.no_psi = true;
    TAP_OK(acts_after(&w, 60) < 0 && r.v.psi_blind && r.v.state == ST_WD_HEALTHY, "no PSI: stream is left alone");
    w = stuck;
    w.no_psi = true;
    TAP_OK(acts_after(&w, 60) < 0, "no PSI: stuck cannot be told from idle");
}

static void test_wd_policy_swap(void)
{
    struct world w = {.limit = 512,
                      .anon = 480,
                      .cache = 10,
                      .swap_in = 6000,
                      .swap_out = 6500,
                      .faults = 5000,
                      .steals = 7000,
                      .max_events = 100,
                      .mem_some = 0.9,
                      .user = 0.03,
                      .system = 0.9};
    double t = acts_after(&w, 30);
    TAP_OK(t > 4 && t < 12 && (r.v.state == ST_WD_SWAP_THRASH || r.v.state == ST_WD_THRASH),
           "swap thrash: act after %.2f s", t);
    w.swap_in = 50, w.mem_some = 0.2, w.faults = 60, w.user = 0.9; // cold pages leave, few come back
    TAP_OK(acts_after(&w, 60) < 0, "swapping out");
}

// Swap that has room, on a kernel that does not count pswpin per cgroup.
static void test_wd_policy_swap_room(void)
{
    struct world w = plateau;
    w.swap_used = 50, w.swap_free = 400;
    double t = acts_after(&w, 30);
    TAP_OK(t > 6 && t < 12 && r.v.state == ST_WD_THRASH && r.v.n.pinned_share > 0.9,
           "files only are reclaimed: act after %.2f s", t);
    w.swap_used_grows = 40; // the kernel does make room
    TAP_OK(acts_after(&w, 20) < 0 && r.v.n.pinned_share < 0.3 && r.v.n.swap_room == 400ull * MI,
           "pages go to swap: no hang yet");
    w = (struct world){.limit = 512,
                       .anon = 480,
                       .cache = 10,
                       .faults = 5000,
                       .steals = 7000,
                       .max_events = 100,
                       .mem_some = 0.9,
                       .user = 0.03,
                       .system = 0.9,
                       .swap_used = 50,
                       .swap_free = 400,
                       .anon_refaults = 4500};
    t = acts_after(&w, 30);
    TAP_OK(t > 4 && t < 12 && r.v.state == ST_WD_SWAP_THRASH && r.v.n.swap_in > 4400,
           "swap thrash by refaults: act after %.2f s", t);
}

static void test_wd_policy_collapse(void)
{
    struct world w = growing; // one CPU: two thirds of the time somebody waits, and nobody computes
    w.anon = 330, w.cache = 170, w.mapped = 120, w.mem_some = 0.6, w.io_some = 0.1, w.user = 0.01, w.system = 0.85,
    w.faults = 80, w.kept = 200;
    begin(&r);
    live(&r, &warm, 10);
    live(&r, &w, 20);
    TAP_OK(r.act_at > 0 && r.act_at < 18, "user CPU is gone: act after %.2f s", r.act_at - 10);
    w.user = 0.3;
    begin(&r);
    live(&r, &warm, 10);
    live(&r, &w, 20);
    TAP_OK(r.act_at < 0, "the same with user CPU left");
    w.user = 0.01, w.kept = 600;
    begin(&r);
    live(&r, &warm, 10);
    live(&r, &w, 60);
    TAP_OK(r.act_at < 0, "the same where the room still is a cache");
}

static void test_wd_policy_holds(void)
{
    struct world w = plateau;
    w.anon = 400, w.anon_grows = 8; // 512 in 14 s
    w.cache = 10;
    begin(&r);
    live(&r, &idle, 10);
    live(&r, &w, 11);
    TAP_OK(r.act_at > 0 || r.v.hold != ST_WD_HOLD_NONE, "growing fast");
    w.anon = 487, w.anon_grows = 4, w.cache = 1; // the kernel is near, and does not come
    double t = acts_after(&w, 12);
    TAP_OK(r.seen[ST_WD_KERNEL] && t > 4.5 && t < 7, "a kernel that does not act: we do, after %.2f s", t);

    w = plateau; // OOM is declared again and again, and finds nobody to kill
    w.ooms = 20;
    t = acts_after(&w, 20);
    TAP_OK(r.seen[ST_WD_KERNEL] && t > 4.5 && t < 7, "an OOM killer without a victim: act after %.2f s", t);

    begin(&r);
    live(&r, &idle, 10);
    live(&r, &plateau, 3);
    w = plateau;
    w.anon_grows = -20;
    live(&r, &w, 5);
    TAP_OK(r.act_at < 0, "pinned memory is given back: hold");

    begin(&r);
    live(&r, &idle, 10);
    live(&r, &plateau, 3);
    w = plateau;
    w.limit = 511;
    live(&r, &w, 4);
    TAP_OK(r.act_at < 0 && r.v.bucket == 0, "its limit was changed: grace");
    live(&r, &w, 8);
    TAP_OK(r.act_at > 0, "grace ends");
    begin(&r);
    live(&r, &idle, 10);
    live(&r, &plateau, 3);
    st_wd_judge_limit_ours(&r.judge, 511ull * MI);
    live(&r, &w, 4);
    TAP_OK(r.act_at > 0, "a limit that we set gives no grace");
    st_wd_judge_proven(&r.judge);
    live(&r, &w, 0.25);
    TAP_OK(r.v.confidence == ST_WD_CERTAIN, "proven by relief");
    live(&r, &idle, 10);
    live(&r, &plateau, 2);
    TAP_OK(r.v.confidence == ST_WD_STRONG, "until it was healthy again");
}

static void test_wd_policy_samples(void)
{
    struct world late = plateau; // seen first when it hangs, on a slow disk: what is left now is not what it had
    late.faults = 40, late.mem_some = 0.9, late.io_some = 0.9;
    begin(&r);
    live(&r, &late, 8);
    TAP_OK(r.v.n.mapped_left < 0, "who comes late does not take a squeezed size for the one in peace");
    begin(&r);
    live(&r, &idle, 10);
    step(&r, &plateau, 60, 0); // nobody looked for a minute
    TAP_OK(r.act_at < 0, "one sample is never enough");
    begin(&r);
    live(&r, &plateau, 0.25);
    TAP_OK(r.act_at < 0 && r.v.n.major_faults == -1 && r.v.bucket == 0 && r.next == 500,
           "the first sample has no rates");
    struct st_wd_sample again = r.now;
    st_wd_series_push(&r.series, &again);
    TAP_OK(r.series.n == 1, "a sample that is not newer is dropped");
    begin(&r);
    live(&r, &plateau, 60);
    TAP_OK(r.series.n == ST_WD_SERIES_MAX && st_wd_series_get(&r.series, r.series.n - 1)->t_us == r.now.t_us &&
               st_wd_series_get(&r.series, 0)->t_us == r.now.t_us - (ST_WD_SERIES_MAX - 1) * 250000ull,
           "the ring keeps the newest");
    memset(r.frac, 0, sizeof r.frac);
    begin(&r);
    live(&r, &plateau, 3);
    memset(r.frac, 0, sizeof r.frac); // another cgroup: counters start again
    step(&r, &plateau, 0.25, 0);
    TAP_OK(r.v.n.major_faults == -1 && r.act_at < 0, "counters that went back give no rate");
    begin(&r);
    live(&r, &stream, 120);
    TAP_OK(r.next == 2000 && r.act_at < 0, "a full cache is looked at every two seconds (%u)", r.next);
    TAP_OK(!r.disarmed, "as long as its limit is hit");
    live(&r, &idle, 5);
    TAP_OK(r.disarmed && r.v.state == ST_WD_BELOW, "quiet: disarmed");
    struct st_wd_verdict v;
    uint32_t next = 7;
    struct st_wd_series empty = {0};
    struct st_wd_judge j = {0};
    st_wd_judge_step(&j, &st_wd_policy_default, &empty, &v, &next);
    TAP_OK(v.state == ST_WD_BELOW && !v.act && next == 0, "no samples");
}

static void test_wd_policy_leak(void)
{
    struct world w = idle;
    w.anon_grows = 1;
    begin(&r);
    for (double t = 0; t < 150; t += 5)
        step(&r, &w, 5, t);
    TAP_OK(r.v.state == ST_WD_LEAK && r.v.n.eta_s > 200 && r.v.n.eta_s < 300 && !r.v.warn && !r.v.act,
           "leak: %.0f s to the limit", r.v.n.eta_s);
    begin(&r);
    for (double t = 0; t < 150; t += 5)
        step(&r, &idle, 5, t);
    TAP_OK(r.v.state == ST_WD_BELOW && !r.seen[ST_WD_LEAK], "no leak");
}

static void test_wd_policy_text(void)
{
    char text[900], small[40];
    acts_after(&plateau, 20);
    size_t n = st_wd_verdict_text(&r.v, ST_SV("/pod\n1"), text, sizeof text);
    printf("# %s\n", text);
    TAP_OK(n == strlen(text) && strstr(text, "97% of memory.max 512.0Mi of /pod\\x0a1") &&
               strstr(text, "400 major faults/s") && strstr(text, "would have done") && !strchr(text, '\n'),
           "one sentence");
    n = st_wd_verdict_text(&r.v, ST_SV("/pod"), small, sizeof small);
    TAP_OK(n == sizeof small - 1 && strlen(small) == n, "cut at its end");
    TAP_OK(st_wd_state_find(ST_SV("swap-thrash")) == ST_WD_SWAP_THRASH &&
               st_wd_state_find(ST_SV("dead")) == ST_WD_STATE_COUNT && st_wd_state_must_end(ST_WD_STUCK) &&
               !st_wd_state_must_end(ST_WD_FILE_THRASH),
           "words");
}

int main(void)
{
    test_wd_policy_ends();
    test_wd_policy_leaves_alone();
    test_wd_policy_psi();
    test_wd_policy_swap();
    test_wd_policy_swap_room();
    test_wd_policy_collapse();
    test_wd_policy_holds();
    test_wd_policy_samples();
    test_wd_policy_leak();
    test_wd_policy_text();
    return tap_done();
}
