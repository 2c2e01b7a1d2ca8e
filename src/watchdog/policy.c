// Thresholds and integrator. How it decides, in words and with measurements: docs/WATCHDOG.md.
#include "watchdog/policy_int.h"

#include "base/ckd.h"

const struct st_wd_policy st_wd_policy_default = {
    .warn_s = 2,
    .act_s = 5,
    .act_blind_s = 9,
    .act_stuck_s = 8,
    .act_swap_s = 8,
    .file_warn_s = 10,
    .grace_s = 5,
    .window_s = 2,
    .slope_s = 4,
    .disarm_s = 3,
    .kernel_eta_s = 2,
    .kernel_wait_s = 1.5,
    .fall_share = 0.02,
    .pinned = 0.30,
    .faults = 10,
    .waiting = 0.75,
    .waiting_sum = 1.25,
    .starved_pinned = 0.60,
    .starved_turnover_s = 5,
    .starved_stall = 0.15,
    .peace_faults = 50,
    .squeezed = 0.5,
    .squeezing = 0.05,
    .index_share = 0.15,
    .index_kept = 0.5,
    .all_waiting = 0.9,
    .kept = 3,
    .kept_unsure = 4.5,
    .unsure_weight = 0.25,
    .shrunk = 0.7,
    .user_gone = 0.03,
    .sure_turnover_s = 1,
    .sure_pinned = 0.85,
    .sure_weight = 1.5,
    .loading = 0.25,
    .stuck_tasks = 0.65,
    .stuck_steal = 3000,
    .stuck_dirty = 0.5,
    .computes = 0.25,
    .stands = 0.002,
    .collapse_share = 0.1,
    .collapse_before = 0.25,
    .collapse_eases = 0.25,
    .swap_stall = 0.6,
    .swap_in_share = 0.02,
    .leak_window_s = 60,
    .leak_r2 = 0.9,
    .leak_share = 0.02,
};

#define STEP_MAX_S 2.5    // a longer gap between samples counts as this
#define OPEN_AT_S 1.0     // evidence at which a must-end state is named
#define BUCKET_OVER_S 3.0 // the bucket holds so much more than act_s
#define DRAIN 0.5         // seconds of evidence lost in a second without any
#define LEAK_POINTS 16
#define NEXT_OPEN_MS 250
#define NEXT_MS 500
#define NEXT_MAX_MS 2000

// What a judge remembers. Times are those of samples.
struct memory {
    uint64_t state_us, grace_us, quiet_us, healthy_us;
    uint64_t limit, limit_ours;
    uint64_t before_us, before_user_us; // cpu.stat at the last sample
    uint64_t mapped_peak;               // bytes of mapped files, highest seen
    double bucket, file_bucket, kernel_waited_s;
    float cpu_before; // CPUs of user time while below the limit; < 0: not seen
    uint8_t state;    // verdict
    uint8_t kind;     // of the last evidence
    bool open, file_open, proven, started, cpu_seen, peace_seen;
    uint8_t steps; // steps with evidence since the bucket was empty
    struct leak_point {
        uint32_t ds;    // tenths of a second
        uint32_t pages; // pinned
    } leak[LEAK_POINTS];
    uint8_t leak_at, leak_n;
};
_Static_assert(sizeof(struct memory) <= sizeof(struct st_wd_judge), "the judge's memory does not fit");
_Static_assert(sizeof(struct st_wd_judge) <= 512, "an idle domain costs at most 512 bytes here");

static struct memory *memory_of(struct st_wd_judge *j)
{
    return (struct memory *)j->opaque;
}

// Series ---------------------------------------------------------------------------------------------------------

void st_wd_series_clear(struct st_wd_series *s)
{
    s->start = s->n = 0;
}

const struct st_wd_sample *st_wd_series_get(const struct st_wd_series *s, uint32_t i)
{
    return &s->at[(s->start + i) % ST_WD_SERIES_MAX];
}

void st_wd_series_push(struct st_wd_series *s, const struct st_wd_sample *sample)
{
    if (s->n && sample->t_us <= st_wd_series_get(s, s->n - 1)->t_us)
        return;
    if (s->n == ST_WD_SERIES_MAX)
        s->start = (s->start + 1) % ST_WD_SERIES_MAX;
    else
        s->n++;
    s->at[(s->start + s->n - 1) % ST_WD_SERIES_MAX] = *sample;
}

// Integrator -----------------------------------------------------------------------------------------------------

static double since(uint64_t from_us, uint64_t now_us)
{
    return now_us > from_us ? (double)(now_us - from_us) / 1e6 : 0;
}

static bool falling(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    return f->pinned_fall >= p->fall_share * (double)f->n.limit;
}

static void see_limit(struct memory *m, const struct st_wd_facts *f, const struct st_wd_policy *p, uint64_t now)
{
    if (m->started && f->n.limit != m->limit && f->n.limit != m->limit_ours) {
        m->grace_us = now + (uint64_t)(p->grace_s * 1e6);
        m->bucket = m->file_bucket = 0;
        m->steps = 0;
    }
    m->limit = f->n.limit;
}

// User CPU while below the limit, also over the time in which nobody looked: what "before" was.
static void see_cpu(struct memory *m, const struct st_wd_facts *f, const struct st_wd_sample *s)
{
    if (!st_wd_has(s, ST_WD_F_cpu_user_us))
        return;
    uint64_t user = s->v[ST_WD_F_cpu_user_us];
    double dt = since(m->before_us, s->t_us);
    if (m->before_us && dt > 0 && user >= m->before_user_us && (!f->at_limit || dt > 2 * STEP_MAX_S) && !m->open) {
        double now = (double)(user - m->before_user_us) / 1e6 / dt, k = ST_MIN(dt / 20, 1.0);
        m->cpu_before = (float)(m->cpu_seen ? m->cpu_before + (now - m->cpu_before) * k : now);
        m->cpu_seen = true;
    }
    m->before_us = s->t_us;
    m->before_user_us = user;
}

static void fill(struct memory *m, const struct st_wd_facts *f, const struct st_wd_policy *p, struct st_wd_evidence e,
                 bool in_grace)
{
    double dt = ST_MIN(f->dt_s, STEP_MAX_S);
    bool must_end = e.weight > 0 && e.state != ST_WD_FILE_THRASH;
    if (in_grace || falling(f, p))
        must_end = false;
    if (must_end) {
        m->bucket = ST_MIN(m->bucket + dt * e.weight, p->act_s + BUCKET_OVER_S);
        m->kind = (uint8_t)e.state;
        m->steps = (uint8_t)ST_MIN(m->steps + 1, 200);
    } else if (!falling(f, p)) {
        m->bucket = ST_MAX(m->bucket - DRAIN * dt, 0.0);
    }
    if (e.weight > 0 && e.state == ST_WD_FILE_THRASH)
        m->file_bucket = ST_MIN(m->file_bucket + dt, p->file_warn_s + BUCKET_OVER_S);
    else
        m->file_bucket = ST_MAX(m->file_bucket - dt, 0.0);

    if (m->bucket >= OPEN_AT_S)
        m->open = true;
    if (m->bucket <= 0) {
        m->open = m->proven = false;
        m->steps = 0;
        m->kernel_waited_s = 0;
    }
    if (m->file_bucket >= p->file_warn_s / 2)
        m->file_open = true;
    if (m->file_bucket <= 0)
        m->file_open = false;
}

// The most that was mapped while there was room for it. Where faults are few because everybody waits for a slow disk it
// may have been squeezed by then: that less is left of it says something, that all is left does not.
static void see_mapped(struct memory *m, struct st_wd_facts *f, const struct st_wd_policy *p)
{
    if (!m->open && !f->first && f->file_faults < p->peace_faults) {
        m->mapped_peak = ST_MAX(m->mapped_peak, f->mapped);
        m->peace_seen = m->peace_seen || f->stall < p->waiting;
    }
    f->n.mapped_left = -1;
    if (!m->mapped_peak)
        return;
    double left = (double)f->mapped / (double)m->mapped_peak;
    f->mapped_loss = ST_MAX(-f->mapped_slope, 0.0) / (double)m->mapped_peak;
    if (m->peace_seen || left <= p->squeezed || f->mapped_loss >= p->squeezing)
        f->n.mapped_left = left;
}

// Next to nothing of the CPU time is the program's own, and it was more before.
static bool collapsed(const struct st_wd_numbers *n, const struct st_wd_policy *p)
{
    return n->cpu_user >= 0 && n->cpu_system >= 0 && n->cpu_user <= p->collapse_share * (n->cpu_user + n->cpu_system) &&
           (n->cpu_user_before < 0 || n->cpu_user <= p->collapse_before * n->cpu_user_before);
}

// Seconds until pinned reaches the limit, or -1.
static double eta_of(const struct st_wd_facts *f)
{
    if (f->n.limit == ST_WD_NONE || f->pinned_now <= 0 || f->first)
        return -1;
    return (double)f->n.room / f->pinned_now;
}

static bool kernel_near(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    double eta = eta_of(f);
    return !f->n.limit_is_high && f->at_limit && (f->oom || f->oom_kill || (eta >= 0 && eta < p->kernel_eta_s));
}

// A leak: pinned grows along a straight line. Returns its seconds to the limit, or -1.
static double leak_eta(struct memory *m, const struct st_wd_facts *f, const struct st_wd_policy *p, uint64_t now)
{
    uint32_t ds = (uint32_t)(now / 100000);
    const struct leak_point *last = &m->leak[(m->leak_at + LEAK_POINTS - 1) % LEAK_POINTS];
    if (m->leak_n == 0 || (double)(ds - last->ds) / 10 >= p->leak_window_s / (LEAK_POINTS - 4)) {
        m->leak[m->leak_at] = (struct leak_point){ds, (uint32_t)ST_MIN(f->n.pinned / 4096, (uint64_t)UINT32_MAX)};
        m->leak_at = (uint8_t)((m->leak_at + 1) % LEAK_POINTS);
        m->leak_n = (uint8_t)ST_MIN(m->leak_n + 1, LEAK_POINTS);
    }
    double n = 0, t = 0, y = 0, tt = 0, ty = 0, yy = 0, oldest = 0, first = 0;
    for (unsigned i = 0; i < m->leak_n; i++) {
        const struct leak_point *x = &m->leak[(m->leak_at + LEAK_POINTS - 1 - i) % LEAK_POINTS];
        double dt = -(double)(ds - x->ds) / 10, pages = (double)x->pages;
        if (-dt > 4 * p->leak_window_s)
            break;
        oldest = -dt, first = pages;
        n += 1, t += dt, y += pages, tt += dt * dt, ty += dt * pages, yy += pages * pages;
    }
    double d = n * tt - t * t, e = n * yy - y * y, c = n * ty - t * y;
    double grown = (double)f->n.pinned / ST_WD_PAGE - first, limit = (double)f->n.limit / ST_WD_PAGE;
    if (n < 6 || oldest < p->leak_window_s || d <= 0 || e <= 0 || c <= 0 || c * c / (d * e) < p->leak_r2 ||
        f->n.limit == ST_WD_NONE || grown < p->leak_share * limit)
        return -1;
    return (double)f->n.room / ST_WD_PAGE / (c / d);
}

static enum st_wd_hold hold_of(struct memory *m, const struct st_wd_facts *f, const struct st_wd_policy *p,
                               bool in_grace)
{
    if (in_grace)
        return ST_WD_HOLD_GRACE;
    if (m->bucket < p->act_s || m->steps < 3)
        return ST_WD_HOLD_EVIDENCE;
    if (falling(f, p))
        return ST_WD_HOLD_FALLING;
    if (kernel_near(f, p) && m->kernel_waited_s < p->kernel_wait_s) {
        m->kernel_waited_s += f->dt_s;
        return ST_WD_HOLD_KERNEL;
    }
    return ST_WD_HOLD_NONE;
}

// pinned + the mapped files as they were before they were squeezed + a tenth, in steps of 16 MiB. Not while pinned
// grows: no limit would have done.
static uint64_t suggest(const struct memory *m, const struct st_wd_facts *f)
{
    if (f->n.limit == ST_WD_NONE || f->n.pinned_slope > 0.002 * (double)f->n.limit)
        return 0;
    uint64_t want, files = ST_MAX(m->mapped_peak, f->n.cache), step = 16 * ST_MIB;
    if (st_ckd_add(&want, f->n.pinned, files) || st_ckd_add(&want, want, want / 10) ||
        st_ckd_add(&want, want, step - 1))
        return 0;
    want -= want % step;
    return want > f->n.limit ? want : 0;
}

static enum st_wd_state state_of(const struct memory *m, const struct st_wd_facts *f, const struct st_wd_policy *p,
                                 enum st_wd_hold hold, double leak)
{
    if (m->open)
        return hold == ST_WD_HOLD_KERNEL ? ST_WD_KERNEL : (enum st_wd_state)m->kind;
    if (f->oom_kill || (m->bucket > 0 && kernel_near(f, p)))
        return ST_WD_KERNEL;
    if (m->file_open)
        return ST_WD_FILE_THRASH;
    if (leak >= 0)
        return ST_WD_LEAK;
    return f->at_limit ? ST_WD_HEALTHY : ST_WD_BELOW;
}

static uint32_t next_of(struct memory *m, const struct st_wd_facts *f, const struct st_wd_policy *p, uint64_t now)
{
    bool event = f->n.max_events > 0 || (f->n.limit_is_high && f->n.high_events > 0);
    bool suspicion = m->bucket > 0 || (f->at_limit && (f->stall >= p->waiting / 2 || f->n.major_faults >= p->faults));
    if (suspicion || m->file_bucket > 0 || event || m->quiet_us == 0)
        m->quiet_us = now;
    if (suspicion) {
        m->healthy_us = now;
        return NEXT_OPEN_MS;
    }
    if (since(m->quiet_us, now) >= p->disarm_s) {
        m->quiet_us = m->healthy_us = 0;
        return 0;
    }
    if (m->healthy_us == 0)
        m->healthy_us = now;
    return (uint32_t)ST_MIN(ST_MAX(since(m->healthy_us, now) * 100, (double)NEXT_MS), (double)NEXT_MAX_MS);
}

void st_wd_judge_step(struct st_wd_judge *j, const struct st_wd_policy *p, const struct st_wd_series *s,
                      struct st_wd_verdict *ret, uint32_t *ret_next_ms)
{
    struct memory *m = memory_of(j);
    struct st_wd_facts f;
    *ret = (struct st_wd_verdict){.state = ST_WD_BELOW, .n.eta_s = -1};
    *ret_next_ms = 0;
    if (s->n == 0)
        return;
    const struct st_wd_sample *sample = st_wd_series_get(s, s->n - 1);
    uint64_t now = sample->t_us;
    st_wd_facts_take(s, p->window_s, p->slope_s, &f);
    if (!m->started)
        m->state_us = now;
    see_limit(m, &f, p, now);
    see_cpu(m, &f, sample);
    m->started = true;
    f.n.cpu_user_before = m->cpu_seen ? m->cpu_before : -1;
    f.collapsed = collapsed(&f.n, p);
    see_mapped(m, &f, p);

    bool in_grace = now < m->grace_us;
    if (!f.first)
        fill(m, &f, p, st_wd_rules(&f, p), in_grace);
    double leak = leak_eta(m, &f, p, now);
    enum st_wd_hold hold = m->open ? hold_of(m, &f, p, in_grace) : ST_WD_HOLD_NONE;
    enum st_wd_state state = state_of(m, &f, p, hold, leak);
    if (state != m->state) {
        m->state = (uint8_t)state;
        m->state_us = now;
    }

    bool must_end = m->open;
    ret->state = state;
    if (state == ST_WD_FILE_THRASH)
        hold = f.held_share < p->pinned ? ST_WD_HOLD_NO_VICTIM : ST_WD_HOLD_PROGRESS;
    ret->hold = hold;
    ret->psi_blind = st_wd_blind(&f);
    ret->confidence = m->proven || f.oom_kill ? ST_WD_CERTAIN : ret->psi_blind ? ST_WD_COUNTERS_ONLY : ST_WD_STRONG;
    ret->warn = must_end ? m->bucket >= p->warn_s : m->file_open && m->file_bucket >= p->file_warn_s;
    ret->act = must_end && hold == ST_WD_HOLD_NONE;
    ret->seconds = since(m->state_us, now);
    ret->bucket = must_end || m->bucket > 0 ? m->bucket : m->file_bucket;
    ret->suggested_limit = must_end || hold == ST_WD_HOLD_PROGRESS ? suggest(m, &f) : 0;
    ret->n = f.n;
    ret->n.eta_s = state == ST_WD_LEAK ? leak : state == ST_WD_KERNEL ? eta_of(&f) : -1;
    *ret_next_ms = next_of(m, &f, p, now);
}

void st_wd_judge_limit_ours(struct st_wd_judge *j, uint64_t limit)
{
    memory_of(j)->limit_ours = limit;
}

void st_wd_judge_spent(struct st_wd_judge *j)
{
    struct memory *m = memory_of(j);
    m->bucket = m->kernel_waited_s = 0;
    m->steps = 0;
    m->open = m->proven = false;
}

void st_wd_judge_proven(struct st_wd_judge *j)
{
    memory_of(j)->proven = true;
}
