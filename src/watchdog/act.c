#include "watchdog/act.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "watchdog/act_int.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <stdio.h>

#define SCAN_MS 400    // for the list of processes
#define CI_MS 200      // for the CI step's environment and log line
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

// ---- who ----------------------------------------------------------------------------------------

static uint8_t depth_of(struct st_sv path)
{
    size_t n = path.len > 0;
    for (size_t i = 0; i < path.len; i++)
        n += path.ptr[i] == '/';
    return (uint8_t)ST_MIN(n, (size_t)UINT8_MAX);
}

static void scan(struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    uint64_t until = st_wd_now_ms() + SCAN_MS;
    st_wd_processes_clear(env->processes, &env->ladder->protect);
    for (size_t t = 0; t < j->n_targets; t++)
        st_wd_processes_scan(env->processes, j->targets[t].dir, (uint8_t)t, depth_of(j->targets[t].path), until);
    st_wd_processes_finish(env->processes);
}

const struct st_wd_process *st_wd_act_choose(struct st_wd_incident *i, struct st_wd_act_env *env,
                                             const struct st_wd_judged *j)
{
    scan(env, j);
    const struct st_wd_process *p = st_wd_culprit(env->processes);
    uint64_t pinned = j->verdict->n.pinned, held = st_wd_processes_bytes(env->processes);
    i->held_share = pinned ? (uint64_t)ST_MIN(100.0, (double)held * 100 / (double)pinned) : 100;
    i->has_culprit = p != NULL;
    if (p)
        i->culprit = *p;
    i->target_ino = j->targets[p ? p->target : 0].ino;
    return p;
}

// Which run is it, and a line into its log? What was found once is kept: who is asked later may know less.
static enum st_wd_line ask_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_process *p,
                                struct st_sv message, unsigned ms)
{
    struct st_wd_github found;
    pid_t pids[2] = {st_wd_tree_top(env->processes, p)->pid, p->pid};
    if (!message.len && i->github.run_id[0])
        return ST_WD_LINE_NONE;
    enum st_wd_line line = st_wd_ci_step(pids, pids[0] == pids[1] ? 1 : 2, message, ms, &found);
    if (found.run_id[0] || !i->github.run_id[0])
        i->github = found;
    return line;
}

void st_wd_incident_look(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j, unsigned ms)
{
    if (i->phase == ST_WD_WAITING || i->phase == ST_WD_SETTLING)
        return; // whom the last rung was about stands until its record is written
    const struct st_wd_process *p = st_wd_act_choose(i, env, j);
    if (p)
        ask_step(i, env, p, ST_SV_NULL, ms);
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

// The memory is not held by what is watched: killing would cost somebody his work and free nothing.
static bool held_elsewhere(const struct st_wd_incident *i, const struct st_wd_judged *j)
{
    return j->owner_ino != j->targets[0].ino && i->held_share < ST_WD_HELD_MIN;
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
// Each does its thing and says in i->detail what it did (or, in a dry run, would do). WAITING: the effect is waited
// for. FAILED: there was nothing to do, or it could not be done.

// The out-of-memory line into the step's log, before its processes end.
static void tell_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_process *p)
{
    char message[600], held[ST_QUANTITY_TEXT], limit[ST_QUANTITY_TEXT];
    st_quantity_human(st_wd_process_bytes(p), held);
    st_quantity_human(i->before.limit, limit);
    snprintf(
        message, sizeof message,
        "This job ran into its memory limit of %s and hung. stella-watchdog ended %s (pid %d), which held %s. Give "
        "the job more memory, or let it use less.",
        limit, p->comm, (int)p->pid, held);
    enum st_wd_line line = ask_step(i, env, p, st_sv_of(message), CI_MS);
    static const char *const words[] = {"", "; the step's log says so", "; the step's log could not be written",
                                        "; the step's environment could not be read in time"};
    size_t n = strlen(i->detail);
    snprintf(i->detail + n, sizeof i->detail - n, "%s", words[line]);
}

static enum st_wd_did culprit(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    struct st_err err = {0};
    char held[ST_QUANTITY_TEXT];
    const struct st_wd_process *p = st_wd_act_choose(i, env, j);
    if (!p) {
        const struct st_wd_process *big = st_wd_largest(env->processes);
        snprintf(i->detail, sizeof i->detail, "no process may be killed (%zu seen, %llu in another pid namespace%s%s)",
                 env->processes->n, (unsigned long long)env->processes->unseen,
                 big ? "; the largest is protected: " : "", big ? big->comm : "");
        return ST_WD_DID_NOT;
    }
    st_quantity_human(st_wd_process_bytes(p), held);
    if (st_wd_process_bytes(p) < j->verdict->n.pinned / ST_WD_CULPRIT_SHARE) {
        snprintf(i->detail, sizeof i->detail, "no single process is to blame: the largest, %d (%s), holds %s",
                 (int)p->pid, p->comm, held);
        return ST_WD_DID_NOT;
    }
    if (held_elsewhere(i, j)) {
        snprintf(i->detail, sizeof i->detail,
                 "what is watched holds %llu%% of the pinned memory: the rest is elsewhere under the same limit",
                 (unsigned long long)i->held_share);
        return ST_WD_DID_NOT;
    }
    snprintf(i->detail, sizeof i->detail, "SIGKILL to %d (%s), which held %s", (int)p->pid, p->comm, held);
    if (env->ladder->dry_run)
        return ST_WD_DID;
    tell_step(i, env, p);
    int pidfd = st_wd_kill(p, j->targets[p->target].dir, &err);
    if (pidfd < 0) {
        snprintf(i->detail, sizeof i->detail, "%s", err.text);
        return err.code == ST_E_NOTFOUND ? ST_WD_DID_AGAIN : ST_WD_DID_NOT;
    }
    env->metrics->kills++;
    st_wd_reap(pidfd);
    i->pidfd = pidfd;
    return ST_WD_DID;
}

static bool is_in(const struct st_wd_processes *ps, const struct st_wd_process *p, const struct st_wd_process *top)
{
    return st_wd_may_kill(p) && st_wd_in_tree(ps, p, top);
}

static uint64_t tree_bytes(const struct st_wd_processes *ps, const struct st_wd_process *top)
{
    uint64_t sum = 0;
    for (size_t k = 0; k < ps->n; k++)
        sum += is_in(ps, &ps->at[k], top) ? st_wd_process_bytes(&ps->at[k]) : 0;
    return sum;
}

static enum st_wd_did tree(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    const struct st_wd_process *p = st_wd_act_choose(i, env, j);
    unsigned killed = 0, failed = 0;
    if (!p || held_elsewhere(i, j)) {
        snprintf(i->detail, sizeof i->detail,
                 p ? "the memory is held elsewhere under the same limit" : "no process may be killed");
        return ST_WD_DID_NOT;
    }
    const struct st_wd_process *top = st_wd_tree_top(env->processes, p);
    if (tree_bytes(env->processes, top) < j->verdict->n.pinned / ST_WD_CULPRIT_SHARE) {
        snprintf(i->detail, sizeof i->detail, "no tree of processes is to blame: that of %d (%s) holds next to nothing",
                 (int)top->pid, top->comm);
        return ST_WD_DID_NOT;
    }
    i->detail[0] = '\0';
    if (!env->ladder->dry_run)
        tell_step(i, env, p);
    for (size_t k = 0; k < env->processes->n; k++) {
        const struct st_wd_process *q = &env->processes->at[k];
        if (!is_in(env->processes, q, top))
            continue;
        int pidfd = env->ladder->dry_run ? -1 : st_wd_kill(q, j->targets[q->target].dir, NULL);
        killed += pidfd >= 0 || env->ladder->dry_run;
        failed += pidfd < 0 && !env->ladder->dry_run;
        if (pidfd < 0)
            continue;
        env->metrics->kills++;
        st_wd_reap(pidfd);
        if (q->pid == p->pid) {
            if (i->pidfd >= 0)
                close(i->pidfd);
            i->pidfd = pidfd;
        } else {
            close(pidfd);
        }
    }
    size_t n = strlen(i->detail);
    snprintf(i->detail + n, sizeof i->detail - n, "%sSIGKILL to %u processes, %d (%s) and all below it%s",
             n ? "; " : "", killed, (int)top->pid, top->comm, failed ? "; some had ended" : "");
    return killed ? ST_WD_DID : failed ? ST_WD_DID_AGAIN : ST_WD_DID_NOT;
}

static uint64_t unfreeable(const struct st_wd_target *t)
{
    char buf[4096];
    uint64_t anon = 0, shmem = 0;
    ssize_t n = st_wd_read_at(t->dir, "memory.stat", buf, sizeof buf);
    struct st_sv text = st_sv_mem(buf, n > 0 ? (size_t)n : 0);
    st_wd_key_number(text, ST_SV("anon"), &anon);
    st_wd_key_number(text, ST_SV("shmem"), &shmem);
    return ST_MIN(anon, UINT64_MAX / 200) + ST_MIN(shmem, UINT64_MAX / 200);
}

static bool inside(const struct st_wd_target *t, const struct st_wd_target *outer)
{
    return t->path.len > outer->path.len && st_sv_starts(t->path, outer->path) &&
           (!outer->path.len || t->path.ptr[outer->path.len] == '/');
}

// The watched cgroup that holds most of the memory, and of those in each other the inner, if it holds most of that.
// NULL: none holds a good part of it.
static const struct st_wd_target *holder(const struct st_wd_judged *j)
{
    const struct st_wd_target *best = &j->targets[0];
    uint64_t most = unfreeable(best);
    if (j->n_targets == 1 && j->owner_ino == best->ino)
        return best;
    for (size_t k = 1; k < j->n_targets; k++) {
        const struct st_wd_target *t = &j->targets[k];
        uint64_t n = unfreeable(t);
        bool better = inside(t, best) ? n >= most / 4 * 3 : inside(best, t) ? most < n / 4 * 3 : n > most;
        best = better ? t : best;
        most = better ? n : most;
    }
    return most >= j->verdict->n.pinned / 100 * ST_WD_HELD_MIN ? best : NULL;
}

static enum st_wd_did whole_cgroup(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    const struct st_wd_process *p = st_wd_act_choose(i, env, j);
    bool unseen = env->processes->n == 0; // another pid namespace: who holds it, only their cgroups say
    const struct st_wd_target *t = p ? &j->targets[p->target] : unseen ? holder(j) : &j->targets[0];
    if (unseen ? !t : held_elsewhere(i, j)) {
        snprintf(i->detail, sizeof i->detail, "the memory is held elsewhere under the same limit");
        return ST_WD_DID_NOT;
    }
    i->target_ino = t->ino;
    snprintf(i->detail, sizeof i->detail, "cgroup.kill of /" ST_SV_FMT, ST_SV_ARG(t->path));
    if (st_wd_holds_pid(t->dir, getpid())) {
        snprintf(i->detail, sizeof i->detail, "this watchdog is in /" ST_SV_FMT " itself", ST_SV_ARG(t->path));
        return ST_WD_DID_NOT;
    }
    if (env->ladder->dry_run)
        return ST_WD_DID;
    if (p)
        tell_step(i, env, p);
    if (st_wd_write_at(t->dir, "cgroup.kill", "1", 0) == 0) {
        env->metrics->kills++;
        return ST_WD_DID;
    }
    snprintf(i->detail, sizeof i->detail, "cgroup.kill of /" ST_SV_FMT ": %s", ST_SV_ARG(t->path), strerror(errno));
    return ST_WD_DID_NOT;
}

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
    [ST_WD_RUNG_OBSERVE] = nothing,     [ST_WD_RUNG_WARN] = nothing,   [ST_WD_RUNG_RELIEVE] = st_wd_act_relieve,
    [ST_WD_RUNG_CULPRIT] = culprit,     [ST_WD_RUNG_TREE] = tree,      [ST_WD_RUNG_KERNEL] = st_wd_act_kernel,
    [ST_WD_RUNG_CGROUP] = whole_cgroup, [ST_WD_RUNG_HOOK] = hand_over,
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
    size_t n = strlen(i->detail);
    snprintf(i->detail + n, sizeof i->detail - n, "; its cgroup is gone");
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
