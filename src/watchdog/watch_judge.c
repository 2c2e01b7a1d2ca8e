#include "watchdog/watch_int.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "watchdog/trace.h"
#include "watchdog/wd_files.h"
#include "watchdog/wd_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define OWNER_MS 10000  // between two looks for who owns the limit
#define POLL_MS 2000    // pace of a quiet cgroup for which no event can be had
#define METRICS_MS 5000 // between two writings of the metrics file
#define CI_MS 200

// ---- metrics ------------------------------------------------------------------------------------

void st_wd_metrics_changed(struct st_wd_watch *w, uint64_t now_ms, bool soon)
{
    if (!w->opt.metrics.file)
        return;
    uint64_t at = soon ? now_ms : now_ms + METRICS_MS;
    w->metrics_ms = w->metrics_ms ? ST_MIN(w->metrics_ms, at) : at;
}

static bool metric_row(void *ctx, size_t i, struct st_wd_metric_row *ret)
{
    struct st_wd_watch *w = ctx;
    for (size_t k = 0; k < ST_WD_BENCHES; k++) {
        struct st_wd_bench *b = &w->bench[k];
        if (!b->used || b->resting || !b->series.n || b->verdict.state == ST_WD_BELOW || i-- > 0)
            continue;
        *ret = (struct st_wd_metric_row){.path = st_wd_cell_path(st_wd_cell_of(w, b)),
                                         .verdict = &b->verdict,
                                         .sample = st_wd_series_get(&b->series, b->series.n - 1)};
        return true;
    }
    return false;
}

struct st_sv st_wd_metrics_text(struct st_wd_watch *w)
{
    struct st_wd_text t;
    w->metrics.cgroups = w->cells.matched;
    w->metrics.dropped = w->opt.aide->dropped;
    if (w->opt.hook) {
        w->metrics.hooks_dropped = w->opt.hook->dropped;
        w->metrics.hooks_killed = w->opt.hook->killed;
    }
    st_wd_metrics_write(st_wd_text_init(&t, w->record, ST_WD_EVIDENCE_MAX), &w->metrics, metric_row, w);
    return st_wd_text_sv(&t);
}

// ---- records ------------------------------------------------------------------------------------

static void log_record(struct st_wd_watch *w, const struct st_wd_record *r)
{
    char held[ST_QUANTITY_TEXT] = "";
    if (r->is_action) {
        st_wd_aide_say(w->opt.aide, "/" ST_SV_FMT ": %s%s: %s: " ST_SV_FMT, ST_SV_ARG(r->path), r->rung,
                       r->dry_run ? " (dry run)" : "", r->outcome, ST_SV_ARG(r->detail));
        return;
    }
    if (w->opt.quiet)
        return;
    if (r->culprit)
        st_quantity_human(st_wd_process_bytes(r->culprit), held);
    st_wd_aide_say(w->opt.aide, "/" ST_SV_FMT ": " ST_SV_FMT "%s%s%s%s", ST_SV_ARG(r->path), ST_SV_ARG(r->text),
                   r->culprit ? "; the largest process is " : "", r->culprit ? r->culprit->comm : "",
                   r->culprit ? " with " : "", held);
}

void st_wd_watch_report(void *ctx, struct st_wd_record *r)
{
    struct st_wd_watch *w = ctx;
    struct st_wd_bench *b = w->reporting;
    struct st_wd_text t;
    r->owner = st_sv_of(b->owner);
    r->series = &b->series;
    log_record(w, r);
    uint64_t now_ms = st_wd_now_ms();
    if (w->opt.evidence || w->opt.hook) {
        struct st_out *o = st_wd_text_init(&t, w->record, ST_WD_EVIDENCE_MAX);
        st_wd_record_write(o, r);
        if (o->err.code == ST_E_NONE && w->opt.evidence)
            st_wd_aide_send(w->opt.aide, ST_WD_AIDE_EVIDENCE, ST_SV_NULL, st_wd_text_sv(&t));
        if (o->err.code == ST_E_NONE && w->opt.hook)
            st_wd_hook_run(w->opt.hook, st_wd_text_sv(&t), now_ms);
    }
    st_wd_metrics_changed(w, now_ms, true);
}

// ---- what it is about ---------------------------------------------------------------------------

struct about {
    struct st_wd_judged judged;
    struct st_wd_target targets[ST_WD_TARGETS_MAX];
    int opened[ST_WD_TARGETS_MAX]; // owns
    char text[1024];
};

// The cgroup itself first, then the others that are watched under the same limit.
static void about_open(struct st_wd_watch *w, struct st_wd_bench *b, struct about *a)
{
    struct st_wd_cell *own = st_wd_cell_of(w, b);
    size_t n = 0;
    a->opened[n] = -1;
    a->targets[n++] = (struct st_wd_target){.path = st_wd_cell_path(own), .ino = own->ino, .dir = b->dir};
    for (uint32_t i = 0; i < w->cells.high && n < ST_WD_TARGETS_MAX; i++) {
        struct st_wd_cell *c = &w->cells.at[i];
        if (c == own || !(c->flags & ST_WD_C_LIVE) || !(c->flags & ST_WD_C_MATCHED) || c->owner_ino != own->owner_ino)
            continue;
        int dir = openat(w->opt.root.fd, c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (dir < 0 || st_wd_ino(dir) != c->ino) {
            if (dir >= 0)
                close(dir);
            continue;
        }
        a->opened[n] = dir;
        a->targets[n++] = (struct st_wd_target){.path = st_wd_cell_path(c), .ino = c->ino, .dir = dir};
    }
    st_wd_verdict_text(&b->verdict, st_sv_of(b->owner), a->text, sizeof a->text);
    a->judged = (struct st_wd_judged){.targets = a->targets,
                                      .n_targets = n,
                                      .owner = st_sv_of(b->owner),
                                      .owner_ino = own->owner_ino,
                                      .owner_dir = b->owner_dir,
                                      .verdict = &b->verdict,
                                      .sampled_ms = b->sampled_ms,
                                      .judge = &own->judge,
                                      .text = st_sv_of(a->text)};
}

static void about_close(struct about *a)
{
    for (size_t i = 0; i < a->judged.n_targets; i++)
        if (a->opened[i] >= 0)
            close(a->opened[i]);
}

// Another watched cgroup under the same limit is being dealt with, or this one was just now.
static bool not_now(struct st_wd_watch *w, struct st_wd_bench *b, uint64_t now_ms)
{
    struct st_wd_cell *own = st_wd_cell_of(w, b);
    for (size_t k = 0; k < ST_WD_BENCHES; k++) {
        struct st_wd_bench *o = &w->bench[k];
        if (o != b && o->used && o->incident.phase != ST_WD_IDLE && w->cells.at[o->cell].owner_ino == own->owner_ino)
            return true;
    }
    return now_ms < own->quiet_until_ms;
}

static void quieten(struct st_wd_watch *w, uint64_t owner_ino, uint64_t until_ms)
{
    for (uint32_t i = 0; i < w->cells.high; i++)
        if ((w->cells.at[i].flags & ST_WD_C_LIVE) && w->cells.at[i].owner_ino == owner_ino)
            w->cells.at[i].quiet_until_ms = until_ms;
}

// ---- verdicts -----------------------------------------------------------------------------------

static void report_verdict(struct st_wd_watch *w, struct st_wd_bench *b, struct about *a, uint64_t now_ms)
{
    struct st_wd_incident *i = &b->incident;
    st_wd_incident_look(i, &w->env, &a->judged, CI_MS);
    if (!i->id[0])
        st_wd_incident_id(st_wd_cell_of(w, b)->ino, now_ms, st_clock_wall_ms(), i->id);
    const struct st_wd_target *t = st_wd_incident_target(i, &a->judged);
    struct st_wd_record r = {
        .id = i->id,
        .path = t->path,
        .ino = t->ino,
        .wall_ms = st_clock_wall_ms(),
        .dry_run = w->opt.ladder.dry_run,
        .verdict = &b->verdict,
        .text = st_sv_of(a->text),
        .culprit = i->has_culprit ? &i->culprit : NULL,
        .github = &i->github,
        .before = &b->verdict.n,
    };
    w->metrics.verdicts[b->verdict.state]++;
    st_wd_watch_report(w, &r);
    b->told |= 1u << b->verdict.state;
    b->reported = b->verdict.state;
}

static void judge(struct st_wd_watch *w, struct st_wd_bench *b, uint64_t now_ms)
{
    const struct st_wd_policy *p = w->opt.policy ? w->opt.policy : &st_wd_policy_default;
    enum st_wd_state before = b->verdict.state;
    uint32_t next = 0;
    st_wd_judge_step(&st_wd_cell_of(w, b)->judge, p, &b->series, &b->verdict, &next);
    if (b->verdict.bucket > 0 || st_wd_state_must_end(b->verdict.state))
        b->quiet_ms = 0;
    else if (!b->quiet_ms)
        b->quiet_ms = now_ms;
    b->sample_ms = next ? now_ms + next : 0; // 0: it may rest
    st_wd_metrics_changed(w, now_ms, before != b->verdict.state);
}

static void recovered(struct st_wd_watch *w, struct st_wd_bench *b)
{
    char text[ST_QUANTITY_TEXT];
    st_duration_human((uint64_t)b->verdict.seconds, text);
    if (!w->opt.quiet)
        st_wd_aide_say(w->opt.aide, "/%s: no longer %s: %s (for %s)", st_wd_cell_of(w, b)->path,
                       st_wd_state_word(b->reported), st_wd_state_text(b->verdict.state), text);
    b->told = 0;
    b->incident.id[0] = '\0';
}

// Another watched cgroup under the same limit has told it already.
static bool told_by_other(struct st_wd_watch *w, const struct st_wd_bench *b)
{
    for (size_t k = 0; k < ST_WD_BENCHES; k++) {
        const struct st_wd_bench *o = &w->bench[k];
        if (o != b && o->used && !o->resting && (o->told >> b->verdict.state & 1) &&
            w->cells.at[o->cell].owner_ino == w->cells.at[b->cell].owner_ino)
            return true;
    }
    return false;
}

static void follow(struct st_wd_watch *w, struct st_wd_bench *b, uint64_t now_ms)
{
    struct st_wd_incident *i = &b->incident;
    bool report = b->verdict.warn && !(b->told >> b->verdict.state & 1); // each state once, until it is over
    report = report && !told_by_other(w, b);
    bool open = b->verdict.act && i->phase == ST_WD_IDLE && !not_now(w, b, now_ms);
    bool step = i->phase != ST_WD_IDLE && now_ms >= b->incident_ms;
    struct about a;
    if (b->told && !b->verdict.warn && i->phase == ST_WD_IDLE && b->verdict.state <= ST_WD_HEALTHY)
        recovered(w, b);
    if (!report && !open && !step)
        return;
    w->reporting = b;
    about_open(w, b, &a);
    if (report)
        report_verdict(w, b, &a, now_ms);
    if (open)
        st_wd_incident_open(i, &a.judged, now_ms);
    if (open || step) {
        b->incident_ms = st_wd_incident_step(i, &w->env, &a.judged, now_ms);
        if (i->phase == ST_WD_IDLE && !i->watched_ms)
            quieten(w, st_wd_cell_of(w, b)->owner_ino, st_wd_now_ms() + ST_WD_COOLDOWN_MS);
    }
    about_close(&a);
}

void st_wd_bench_gone(struct st_wd_watch *w, struct st_wd_bench *b)
{
    struct about a;
    if (b->incident.phase != ST_WD_WAITING)
        return;
    w->reporting = b;
    about_open(w, b, &a);
    st_wd_incident_gone(&b->incident, &w->env, &a.judged, st_wd_now_ms());
    about_close(&a);
}

void st_wd_bench_step(struct st_wd_watch *w, struct st_wd_bench *b, uint64_t now_ms)
{
    struct st_wd_sample s;
    // After a rung had its effect, what it brought is wanted at once.
    bool fresh = b->incident.effect_ms && now_ms >= b->incident_ms;
    bool due = now_ms >= b->sample_ms || fresh, polled = st_wd_cell_of(w, b)->flags & ST_WD_C_POLLED;
    if (due) {
        bool look = now_ms >= b->owner_ms + OWNER_MS && b->verdict.bucket <= 0 && b->incident.phase == ST_WD_IDLE;
        if ((look && !st_wd_owner_look(w, b, now_ms)) || st_wd_sampler_read(&b->sampler, &s)) {
            st_wd_discover_drop(&w->discover, b->cell); // the cgroup is gone
            return;
        }
        st_wd_series_push(&b->series, &s);
        b->sampled_ms = now_ms;
        if (b->trace[0] && w->opt.traces) {
            char row[2048];
            struct st_wd_text t;
            st_wd_trace_row(st_wd_text_init(&t, row, sizeof row), &s);
            st_wd_aide_send(w->opt.aide, ST_WD_AIDE_TRACE, st_sv_of(b->trace), st_wd_text_sv(&t));
        }
        judge(w, b, now_ms);
    }
    follow(w, b, now_ms);
    if (b->sample_ms)
        return;
    if (polled || b->incident.phase != ST_WD_IDLE)
        b->sample_ms = now_ms + (b->incident.phase != ST_WD_IDLE ? 250 : POLL_MS);
    else
        st_wd_disarm(w, b);
}
