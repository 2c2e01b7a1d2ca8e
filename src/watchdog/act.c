#include "watchdog/act.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "watchdog/act_int.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <stdio.h>

#define EFFECT_MS 2000 // after which a rung without effect has failed
// A process that was sent SIGKILL is waited for nearly to the deadline: in reclaim on a starved CPU it took 7 to 16 s
// to die (6.1, emulated). The next rung would only kill those that were to live, and makes nobody die sooner.
#define DYING_MS (ST_WD_DEADLINE_MS - 2 * EFFECT_MS)
#define PAUSE_MS 1000  // before the next rung, when one has freed nothing
#define SETTLE_MS 2500 // for the judge to see what a rung that freed memory has done
#define STEP_MS 50
#define FRESH_MS 100 // memory of a process that is gone comes back a moment later

static bool must_end(const struct st_wd_judged *j)
{
    return st_wd_state_must_end(j->verdict->state);
}

// ---- whom ---------------------------------------------------------------------------------------

void st_wd_incident_look(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j, unsigned ms)
{
    if (i->phase == ST_WD_WAITING || i->phase == ST_WD_SETTLING)
        return; // whom the last rung was about stands until its record is written
    const struct st_wd_process *p = st_wd_act_choose(i, env, j);
    if (p)
        st_wd_act_ask_step(i, env, p, ST_SV_NULL, ms);
}

static const struct st_wd_target *target_of(const struct st_wd_incident *i, const struct st_wd_judged *j)
{
    for (size_t k = 0; k < j->n_targets; k++)
        if (j->targets[k].ino == i->target_ino)
            return &j->targets[k];
    return NULL;
}

const struct st_wd_target *st_wd_incident_target(const struct st_wd_incident *i, const struct st_wd_judged *j)
{
    const struct st_wd_target *t = target_of(i, j);
    return t ? t : &j->targets[0];
}

// ---- records ------------------------------------------------------------------------------------

enum seen {
    NOTHING_SEEN, // nothing was done, or nothing is waited for
    EFFECT_SEEN,  // and a sample after it
    GONE,         // with its cgroup: nothing can be read any more
};

static void report(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                   enum st_wd_outcome outcome, enum seen seen)
{
    const struct st_wd_target *t = st_wd_incident_target(i, j);
    struct st_wd_record r = {
        .id = i->id,
        .wall_ms = st_clock_wall_ms(),
        .path = t->path,
        .ino = t->ino,
        .is_action = true,
        .dry_run = env->ladder->dry_run,
        .verdict = j->verdict,
        .text = j->text,
        .culprit = i->has_culprit ? &i->culprit : NULL,
        .rung = st_wd_rungs[i->rung].word,
        .outcome = st_wd_outcome_words[outcome],
        .detail = st_sv_of(i->detail),
        .took_ms = seen ? (i->effect_ms ? i->effect_ms : st_wd_now_ms()) - i->rung_ms : 0,
        .github = &i->github,
        .before = &i->before,
        .after = seen == EFFECT_SEEN ? &j->verdict->n : NULL,
    };
    env->metrics->actions[i->rung][outcome]++;
    env->report(env->ctx, &r);
}

static void latency(struct st_wd_incident *i, struct st_wd_act_env *env, uint64_t now_ms)
{
    env->metrics->latency_s[i->rung] += (double)(now_ms - i->rung_ms) / 1000;
    env->metrics->latencies[i->rung]++;
}

// ---- rungs --------------------------------------------------------------------------------------
// Those that kill or touch the limit have files of their own (act_kill.c, act_limit.c).

static enum st_wd_did hand_over(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    if (!env->has_hook)
        return ST_WD_DID_SKIP;
    st_wd_act_choose(i, env, j);
    snprintf(i->detail, sizeof i->detail, "what may be done here is done: over to the hook");
    return ST_WD_DID;
}

static enum st_wd_did nothing(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    (void)i;
    (void)env;
    (void)j;
    return ST_WD_DID_SKIP; // looking and saying so is the watch's
}

static enum st_wd_did (*const rungs[ST_WD_RUNG_COUNT])(struct st_wd_incident *, struct st_wd_act_env *,
                                                       const struct st_wd_judged *) = {
    [ST_WD_RUNG_OBSERVE] = nothing,           [ST_WD_RUNG_WARN] = nothing,
    [ST_WD_RUNG_RELIEVE] = st_wd_act_relieve, [ST_WD_RUNG_CULPRIT] = st_wd_act_culprit,
    [ST_WD_RUNG_TREE] = st_wd_act_tree,       [ST_WD_RUNG_KERNEL] = st_wd_act_kernel,
    [ST_WD_RUNG_CGROUP] = st_wd_act_cgroup,   [ST_WD_RUNG_HOOK] = hand_over,
};

// ---- the ladder ---------------------------------------------------------------------------------

void st_wd_incident_open(struct st_wd_incident *i, const struct st_wd_judged *j, uint64_t now_ms)
{
    i->phase = ST_WD_READY;
    i->began_ms = i->next_ms = now_ms;
    i->rung = ST_WD_RUNG_WARN;
    i->tries = 0;
    i->watched_ms = 0;
    i->helped = false;
    i->strong = j->verdict->confidence >= ST_WD_STRONG;
    i->certain = j->verdict->confidence == ST_WD_CERTAIN;
    i->helper = 0;
    if (!i->id[0])
        st_wd_incident_id(j->targets[0].ino, now_ms, st_clock_wall_ms(), i->id);
}

static void drop_pidfd(struct st_wd_incident *i)
{
    if (i->pidfd >= 0)
        close(i->pidfd);
    i->pidfd = -1;
}

static void finish(struct st_wd_incident *i)
{
    drop_pidfd(i);
    i->phase = ST_WD_IDLE;
    i->id[0] = '\0';
    i->github = (struct st_wd_github){0};
}

static enum st_wd_rung last_rung(const struct st_wd_incident *i, const struct st_wd_ladder *l)
{
    int last = ST_WD_RUNG_WARN;
    for (int r = 0; r < ST_WD_RUNG_HOOK; r++)
        if (l->on[r] && (i->strong || !st_wd_rungs[r].strong))
            last = r;
    return (enum st_wd_rung)last;
}

// The next rung that is switched on and that this confidence allows; past the deadline only the highest.
static bool next_rung(struct st_wd_incident *i, const struct st_wd_ladder *l, uint64_t now_ms)
{
    bool late = now_ms >= i->began_ms + ST_WD_DEADLINE_MS - 2 * EFFECT_MS;
    enum st_wd_rung last = last_rung(i, l);
    if (!late && (i->again || i->rung == ST_WD_RUNG_CULPRIT) && i->tries > 0 && i->tries < ST_WD_CULPRITS_MAX)
        return true;
    for (int r = late && i->rung < last ? (int)last : (int)i->rung + 1; r < ST_WD_RUNG_COUNT; r++)
        if (l->on[r] && (i->strong || !st_wd_rungs[r].strong)) {
            i->rung = (enum st_wd_rung)r;
            i->tries = 0;
            return true;
        }
    return false;
}

static uint64_t climb(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                      uint64_t now_ms)
{
    while (next_rung(i, env->ladder, now_ms)) {
        i->before = j->verdict->n;
        i->rung_ms = now_ms;
        i->effect_ms = 0;
        i->tries++;
        enum st_wd_did did = rungs[i->rung](i, env, j);
        i->again = did == ST_WD_DID_AGAIN;
        if (did == ST_WD_DID_SKIP)
            continue;
        if (did == ST_WD_DID_AGAIN) { // it ended by itself: what that has freed is to be seen before anybody else goes
            i->phase = ST_WD_SETTLING;
            i->helped = false;
            i->next_ms = now_ms + PAUSE_MS;
            return i->next_ms;
        }
        if (did == ST_WD_DID_NOT) {
            report(i, env, j, ST_WD_OUTCOME_FAILED, NOTHING_SEEN);
            i->tries = ST_WD_CULPRITS_MAX;
            continue;
        }
        if (env->ladder->dry_run || i->rung == ST_WD_RUNG_HOOK) {
            report(i, env, j, env->ladder->dry_run ? ST_WD_OUTCOME_DRY_RUN : ST_WD_OUTCOME_DONE, NOTHING_SEEN);
            i->phase = ST_WD_SPENT;
            return now_ms + PAUSE_MS;
        }
        i->phase = ST_WD_WAITING;
        return now_ms + STEP_MS;
    }
    i->phase = ST_WD_SPENT;
    return now_ms + PAUSE_MS;
}

// Has the rung done what it was for? 1: yes, 0: not yet, -1: no.
static int effect(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j, uint64_t now_ms)
{
    bool killed = i->rung == ST_WD_RUNG_CULPRIT || i->rung == ST_WD_RUNG_TREE;
    bool late = now_ms >= i->rung_ms + (killed ? DYING_MS : EFFECT_MS);
    uint64_t populated = 1;
    char buf[256];
    switch (i->rung) {
    case ST_WD_RUNG_RELIEVE:
        return st_wd_act_relief_step(i, env, j, now_ms);
    case ST_WD_RUNG_KERNEL:
        return st_wd_act_kernel_step(i, env, j, now_ms);
    case ST_WD_RUNG_CGROUP: {
        const struct st_wd_target *t = target_of(i, j); // not there any more: gone with its processes
        ssize_t n = t ? st_wd_read_at(t->dir, "cgroup.events", buf, sizeof buf) : -1;
        if (n < 0 || (st_wd_key_number(st_sv_mem(buf, (size_t)n), ST_SV("populated"), &populated) && !populated))
            return 1;
        return late ? -1 : 0;
    }
    default:
        if (i->pidfd < 0 || st_wd_gone(i->pidfd))
            return 1;
        st_wd_reap(i->pidfd);
        return late ? -1 : 0;
    }
}

// Has the last rung freed memory (it may come back some time after the process has gone)? Then what was seen before is
// of no weight any more, and whoever fills what was freed is the next to blame.
static bool see_freed(struct st_wd_incident *i, const struct st_wd_judged *j, uint64_t now_ms)
{
    if (i->rung == ST_WD_RUNG_RELIEVE || j->verdict->n.pinned + i->before.limit / 10 > i->before.pinned)
        return false;
    st_wd_judge_spent(j->judge);
    i->helped = true;
    i->began_ms = now_ms;
    i->next_ms = now_ms + SETTLE_MS;
    i->watched_ms = now_ms + ST_WD_COOLDOWN_MS;
    return true;
}

static uint64_t wait_for_effect(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                                uint64_t now_ms)
{
    int did = i->effect_ms ? 1 : effect(i, env, j, now_ms);
    if (did == 0)
        return now_ms + STEP_MS;
    if (did > 0 && !i->effect_ms) {
        i->effect_ms = now_ms;
        latency(i, env, now_ms);
    }
    if (did > 0 && j->sampled_ms < i->effect_ms + FRESH_MS)
        return i->effect_ms + FRESH_MS;
    report(i, env, j, did > 0 ? ST_WD_OUTCOME_DONE : ST_WD_OUTCOME_FAILED, EFFECT_SEEN);
    drop_pidfd(i);
    i->effect_ms = 0;
    i->phase = ST_WD_SETTLING;
    i->helped = false;
    if (i->rung == ST_WD_RUNG_RELIEVE)
        i->began_ms += now_ms - i->rung_ms; // a respite for the cgroup is none for the deadline
    // Nothing came back: the next one at once.
    i->next_ms = now_ms + (did < 0 || i->rung == ST_WD_RUNG_RELIEVE ? 0 : PAUSE_MS);
    see_freed(i, j, now_ms);
    return ST_MAX(i->next_ms, now_ms + STEP_MS);
}

uint64_t st_wd_incident_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                             uint64_t now_ms)
{
    bool over = now_ms >= i->began_ms + ST_WD_DEADLINE_MS;
    if (i->phase == ST_WD_WAITING)
        return wait_for_effect(i, env, j, now_ms);
    if (i->phase == ST_WD_IDLE)
        return 0;
    // A relief makes the domain look healthy; what it has shown stands, unless the peak is over by now.
    bool proven = i->rung == ST_WD_RUNG_RELIEVE && i->phase == ST_WD_SETTLING && i->certain &&
                  j->verdict->n.pinned > i->before.pinned - i->before.pinned / 10;
    if (i->phase == ST_WD_SETTLING && !i->helped && see_freed(i, j, now_ms))
        return i->next_ms;
    bool still = must_end(j) || proven;
    if (!still && i->phase == ST_WD_SETTLING && now_ms < i->watched_ms)
        return now_ms + PAUSE_MS;
    if (!still || (over && !j->verdict->act)) {
        finish(i);
        return 0;
    }
    if (i->phase == ST_WD_SPENT) {
        if (over && !env->ladder->dry_run) {
            finish(i);
            return 0;
        }
        return now_ms + PAUSE_MS;
    }
    if (now_ms < i->next_ms)
        return i->next_ms;
    if (!j->verdict->act && !proven)
        return now_ms + 4 * STEP_MS; // something forbids it just now
    if (i->helped) {                 // what hangs beside what was freed is another one, and has the whole time
        i->helped = false;
        i->began_ms = now_ms;
    }
    return climb(i, env, j, now_ms);
}

void st_wd_incident_gone(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                         uint64_t now_ms)
{
    if (i->phase != ST_WD_WAITING || i->rung == ST_WD_RUNG_RELIEVE)
        return;
    if (i->rung == ST_WD_RUNG_KERNEL)
        st_wd_aide_drop(env->aide, i->relief.ino, "memory.max");
    if (!i->effect_ms)
        i->effect_ms = now_ms;
    latency(i, env, i->effect_ms);
    st_wd_act_add(i, "; its cgroup is gone");
    report(i, env, j, ST_WD_OUTCOME_DONE, GONE);
}

void st_wd_incident_close(struct st_wd_incident *i, struct st_wd_act_env *env)
{
    st_wd_act_relief_undo(i, env);
    finish(i);
}

bool st_wd_incident_reaped(struct st_wd_incident *i, pid_t pid, int status)
{
    if (!i->helper || i->helper != pid)
        return false;
    i->helper = 0;
    i->helper_status = status;
    return true;
}
