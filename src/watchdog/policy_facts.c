// Numbers of a window of samples: no judgement here.
#include "watchdog/policy_int.h"

#include "base/ckd.h"

#include <math.h>

#define SWAP_AHEAD_S 10
#define BLIND_EVENTS 50 // entries into reclaim that cannot all have taken no time
// Change of a counter between two samples, or -1 when one lacks it or it went backwards (another cgroup).
static double delta(const struct st_wd_sample *a, const struct st_wd_sample *b, enum st_wd_field f)
{
    if (!st_wd_has(a, f) || !st_wd_has(b, f) || b->v[f] < a->v[f])
        return -1;
    return (double)(b->v[f] - a->v[f]);
}

static double rate(const struct st_wd_sample *a, const struct st_wd_sample *b, enum st_wd_field f, double dt)
{
    double d = delta(a, b, f);
    return d < 0 ? -1 : d / dt;
}

// Microseconds per second as a share. PSI totals may run ahead of the clock by a tick: at most 1 for stalls.
static double share(const struct st_wd_sample *a, const struct st_wd_sample *b, enum st_wd_field f, double dt)
{
    double r = rate(a, b, f, dt);
    return r < 0 ? -1 : ST_MIN(r / 1e6, 1.0);
}

static uint64_t limit_of(const struct st_wd_sample *s, bool *ret_high)
{
    uint64_t max = st_wd_has(s, ST_WD_F_max) ? s->v[ST_WD_F_max] : ST_WD_NONE;
    uint64_t high = st_wd_has(s, ST_WD_F_high) ? s->v[ST_WD_F_high] : ST_WD_NONE;
    *ret_high = high < max;
    return ST_MIN(max, high);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t swap_room(const struct st_wd_sample *s)
{
    if (!st_wd_has(s, ST_WD_F_swap_max))
        return 0; // a kernel without swap accounting for cgroups, or without swap
    uint64_t max = s->v[ST_WD_F_swap_max], used = s->v[ST_WD_F_swap_current];
    uint64_t room = max == ST_WD_NONE ? ST_WD_NONE : less(max, used);
    // A recorder that did not see the host: "max" is believed only of a cgroup that has swapped.
    uint64_t host = st_wd_has(s, ST_WD_F_host_swap_free)                           ? s->v[ST_WD_F_host_swap_free]
                    : max == ST_WD_NONE && used == 0 && s->v[ST_WD_F_pswpout] == 0 ? 0
                                                                                   : ST_WD_NONE;
    return ST_MIN(room, host);
}

static uint64_t cache_of(const struct st_wd_sample *s)
{
    return less(s->v[ST_WD_F_file], s->v[ST_WD_F_shmem]);
}

static bool has_lru(const struct st_wd_sample *s)
{
    return st_wd_has(s, ST_WD_F_inactive_file) && st_wd_has(s, ST_WD_F_active_file);
}

// File pages that reclaim may take: what is locked is not among them.
static uint64_t evictable(const struct st_wd_sample *s)
{
    return has_lru(s) ? s->v[ST_WD_F_inactive_file] + s->v[ST_WD_F_active_file] : cache_of(s);
}

// What reclaim cannot free without swap. From what it can free, where the kernel tells (so that kernel memory, mlocked
// files and whatever is added later count as pinned), else from what is known to be pinned.
static uint64_t unfreeable(const struct st_wd_sample *s)
{
    if (has_lru(s) && st_wd_has(s, ST_WD_F_current))
        return less(s->v[ST_WD_F_current], evictable(s) + s->v[ST_WD_F_slab_reclaimable]);
    return s->v[ST_WD_F_anon] + s->v[ST_WD_F_shmem];
}

static uint64_t swappable(const struct st_wd_sample *s)
{
    return ST_MIN(less(s->v[ST_WD_F_anon] + s->v[ST_WD_F_shmem], s->v[ST_WD_F_unevictable]), swap_room(s));
}

// file_mapped counts mapped shmem and locked pages too, the lists of file pages do not: at most the smaller of both.
static uint64_t mapped_of(const struct st_wd_sample *s)
{
    uint64_t mapped = s->v[ST_WD_F_file_mapped];
    return has_lru(s) ? ST_MIN(mapped, evictable(s)) : less(mapped, s->v[ST_WD_F_shmem]);
}

bool st_wd_blind(const struct st_wd_facts *f)
{
    return !f->first && !f->psi;
}

struct line {
    double n, t, y, tt, ty, yy;
};

static void line_add(struct line *l, double t, double y)
{
    l->n += 1, l->t += t, l->y += y;
    l->tt += t * t, l->ty += t * y, l->yy += y * y;
}

static double line_slope(const struct line *l)
{
    double d = l->n * l->tt - l->t * l->t;
    return l->n < 2 || d <= 0 ? 0 : (l->n * l->ty - l->t * l->y) / d;
}

static double seconds_between(const struct st_wd_sample *a, const struct st_wd_sample *b)
{
    return (double)(b->t_us - a->t_us) / 1e6;
}

// What swap will have taken shortly, at the pace of the window. Not all that it has room for: a kernel that reclaims
// files only (swappiness, hot anonymous pages) makes anonymous memory as good as pinned, however much swap is free; and
// where pages come back as fast as they go, nothing is gained either.
static uint64_t swap_takes(const struct st_wd_sample *a, const struct st_wd_sample *b)
{
    double grown = (double)b->v[ST_WD_F_swap_current] - (double)a->v[ST_WD_F_swap_current];
    double takes = ST_MAX(grown, 0.0) / seconds_between(a, b) * SWAP_AHEAD_S;
    uint64_t most = swappable(b);
    return takes >= (double)most ? most : (uint64_t)takes;
}

static double growth(const struct st_wd_sample *a, const struct st_wd_sample *b)
{
    return ((double)unfreeable(b) - (double)unfreeable(a)) / seconds_between(a, b);
}

// Index of the oldest sample that is at most `s` seconds old, at least one before the newest when there is one. A
// sample that is a little older than the window (jitter) still belongs to it.
static uint32_t window_start(const struct st_wd_series *s, double window_s)
{
    const struct st_wd_sample *b = st_wd_series_get(s, s->n - 1);
    uint32_t i = s->n - 1;
    if (i > 0)
        i--;
    while (i > 0 && seconds_between(st_wd_series_get(s, i - 1), b) <= window_s * 1.05)
        i--;
    return i;
}

static void take_gauges(const struct st_wd_sample *s, struct st_wd_facts *f)
{
    struct st_wd_numbers *n = &f->n;
    n->limit = limit_of(s, &n->limit_is_high);
    n->anon = s->v[ST_WD_F_anon];
    n->shmem = s->v[ST_WD_F_shmem];
    n->kernel = less(unfreeable(s), n->anon + n->shmem);
    n->cache = cache_of(s);
    n->dirty = s->v[ST_WD_F_file_dirty] + s->v[ST_WD_F_file_writeback];
    n->swap_room = swap_room(s);
    f->mapped = mapped_of(s);
}

// `taken`: of what cannot be freed, what swap takes.
static void take_pinned(const struct st_wd_sample *s, uint64_t taken, struct st_wd_facts *f)
{
    struct st_wd_numbers *n = &f->n;
    uint64_t held = unfreeable(s);
    bool limited = n->limit != ST_WD_NONE && n->limit != 0;
    n->pinned = less(held, taken);
    n->room = limited ? less(n->limit, n->pinned) : 0;
    n->pinned_share = limited ? (double)n->pinned / (double)n->limit : 0;
    f->held_share = limited ? (double)held / (double)n->limit : 0;
}

static void take_rates(const struct st_wd_sample *a, const struct st_wd_sample *b, struct st_wd_facts *f)
{
    struct st_wd_numbers *n = &f->n;
    double dt = seconds_between(a, b);
    n->window_s = dt;
    n->max_events = rate(a, b, ST_WD_F_ev_max, dt);
    n->high_events = rate(a, b, ST_WD_F_ev_high, dt);
    n->major_faults = rate(a, b, ST_WD_F_pgmajfault, dt);
    n->refaults = rate(a, b, ST_WD_F_refault_file, dt);
    n->steals = rate(a, b, ST_WD_F_pgsteal, dt);
    n->scans = rate(a, b, ST_WD_F_pgscan, dt);
    n->swap_in = rate(a, b, ST_WD_F_pswpin, dt);
    if (n->swap_in < 0) // kernels before 6.13: every page that comes back from swap has left its shadow there
        n->swap_in = rate(a, b, ST_WD_F_refault_anon, dt);
    n->swap_out = rate(a, b, ST_WD_F_pswpout, dt);
    n->mem_some = share(a, b, ST_WD_F_mem_some_us, dt);
    n->mem_full = share(a, b, ST_WD_F_mem_full_us, dt);
    n->io_some = share(a, b, ST_WD_F_io_some_us, dt);
    n->cpu_user = rate(a, b, ST_WD_F_cpu_user_us, dt * 1e6);
    n->cpu_system = rate(a, b, ST_WD_F_cpu_system_us, dt * 1e6);
    double cpus = n->cpu_user < 0 || n->cpu_system < 0 ? -1 : n->cpu_user + n->cpu_system;
    if (cpus >= 0)
        f->user_share = cpus > 0 ? n->cpu_user / cpus : 0;
    f->oom = delta(a, b, ST_WD_F_ev_oom) > 0;
    f->oom_kill = delta(a, b, ST_WD_F_ev_oom_kill) > 0;
    f->psi = n->mem_some >= 0 && !(n->mem_some == 0 && n->max_events * dt >= BLIND_EVENTS);
    if (f->psi) {
        double io = ST_MAX(n->io_some, 0.0);
        f->stall = ST_MIN(ST_MAX(n->mem_some, io) + ST_MIN(n->mem_some, io) / 2, 1.0);
        f->stuck_tasks = ST_MAX(n->mem_some - io, 0.0) * ST_MAX(cpus, 1.0);
        if (f->stuck_tasks > 0 && n->steals >= 0)
            f->steal_per_stuck = n->steals / f->stuck_tasks;
    }
    if (n->major_faults >= 0)
        f->file_faults = ST_MAX(n->major_faults - ST_MAX(n->swap_in, 0.0), 0.0);
    // MGLRU of 6.1 counts refaults of what it restores only, and activates few of them: the larger of both.
    double kept = ST_MAX(rate(a, b, ST_WD_F_activate_file, dt), rate(a, b, ST_WD_F_restore_file, dt));
    f->n.kept_share = kept < 0 || n->steals <= 0 ? -1 : kept / n->steals;
    if (f->file_faults > 0) {
        double read = ST_MIN(f->file_faults * ST_WD_BYTES_PER_FAULT, n->steals > 0 ? n->steals * ST_WD_PAGE : INFINITY);
        f->n.room_turnover_s = ST_MAX((double)evictable(b), ST_WD_PAGE) / read;
        f->n.kept_per_fault = kept < 0 ? -1 : kept / f->file_faults;
    }
}

void st_wd_facts_take(const struct st_wd_series *s, double window_s, double slope_s, struct st_wd_facts *ret)
{
    const struct st_wd_sample *now = st_wd_series_get(s, s->n - 1);
    *ret = (struct st_wd_facts){.first = s->n < 2,
                                .stall = -1,
                                .stuck_tasks = -1,
                                .steal_per_stuck = -1,
                                .file_faults = -1,
                                .user_share = -1,
                                .n = {.max_events = -1,
                                      .high_events = -1,
                                      .major_faults = -1,
                                      .refaults = -1,
                                      .steals = -1,
                                      .scans = -1,
                                      .room_turnover_s = -1,
                                      .kept_per_fault = -1,
                                      .kept_share = -1,
                                      .mapped_left = -1,
                                      .swap_in = -1,
                                      .swap_out = -1,
                                      .mem_some = -1,
                                      .mem_full = -1,
                                      .io_some = -1,
                                      .cpu_user = -1,
                                      .cpu_system = -1,
                                      .cpu_user_before = -1,
                                      .eta_s = -1}};
    take_gauges(now, ret);
    take_pinned(now, swappable(now), ret);
    if (ret->first)
        return;
    ret->dt_s = seconds_between(st_wd_series_get(s, s->n - 2), now);
    uint32_t from = window_start(s, window_s);
    take_rates(st_wd_series_get(s, from), now, ret);

    struct line pinned = {0}, mapped = {0};
    uint64_t highest = 0;
    uint32_t slope_from = window_start(s, slope_s);
    take_pinned(now, swap_takes(st_wd_series_get(s, slope_from), now), ret);
    for (uint32_t i = slope_from; i < s->n; i++) {
        const struct st_wd_sample *x = st_wd_series_get(s, i);
        double t = -seconds_between(x, now);
        line_add(&pinned, t, (double)unfreeable(x));
        line_add(&mapped, t, (double)mapped_of(x));
        if (i >= from)
            highest = ST_MAX(highest, unfreeable(x));
    }
    ret->n.pinned_slope = line_slope(&pinned);
    ret->mapped_slope = line_slope(&mapped);
    ret->pinned_fall = (double)less(highest, unfreeable(now));
    ret->pinned_growth = growth(st_wd_series_get(s, from), now);
    ret->pinned_now = growth(st_wd_series_get(s, window_start(s, window_s / 2)), now);

    const struct st_wd_numbers *n = &ret->n;
    bool full = n->limit != ST_WD_NONE && now->v[ST_WD_F_current] >= n->limit - n->limit / 32;
    bool near = n->limit != ST_WD_NONE && now->v[ST_WD_F_current] >= n->limit - n->limit / 8;
    ret->at_limit = full || (near && (n->max_events > 0 || (n->limit_is_high && n->high_events > 0)));
}
