// Whom it is about, the rungs that kill, and what a rung says.
#include "base/ckd.h"
#include "base/quantity.h"
#include "watchdog/act_int.h"
#include "watchdog/wd_files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define SCAN_MS 400 // for the list of processes
#define CI_MS 200   // for the CI step's environment and log line

// ---- what it says -------------------------------------------------------------------------------

enum st_wd_did st_wd_act_refuse(struct st_wd_incident *i, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(i->detail, sizeof i->detail, fmt, args);
    va_end(args);
    return ST_WD_DID_NOT;
}

enum st_wd_did st_wd_act_failed(struct st_wd_incident *i, const struct st_err *err)
{
    st_wd_act_refuse(i, "%s", err->text);
    return err->code == ST_E_NOTFOUND ? ST_WD_DID_AGAIN : ST_WD_DID_NOT;
}

void st_wd_act_add(struct st_wd_incident *i, const char *fmt, ...)
{
    size_t n = strlen(i->detail);
    va_list args;
    va_start(args, fmt);
    vsnprintf(i->detail + n, sizeof i->detail - n, fmt, args);
    va_end(args);
}

// ---- who ----------------------------------------------------------------------------------------

static void scan(struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    uint64_t until = st_wd_now_ms() + SCAN_MS;
    st_wd_processes_clear(env->processes, &env->ladder->protect);
    for (size_t t = 0; t < j->n_targets; t++)
        st_wd_processes_scan(env->processes, j->targets[t].dir, (uint8_t)t, (uint16_t)j->targets[t].path.len, until);
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
enum st_wd_line st_wd_act_ask_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_process *p,
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

static const char held_elsewhere_text[] = "the memory is held elsewhere under the same limit";

// The memory is not held by what is watched: killing would cost somebody his work and free nothing.
static bool held_elsewhere(const struct st_wd_incident *i, const struct st_wd_judged *j)
{
    return j->owner_ino != j->targets[0].ino && i->held_share < ST_WD_HELD_MIN;
}

// ---- rungs --------------------------------------------------------------------------------------

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
    enum st_wd_line line = st_wd_act_ask_step(i, env, p, st_sv_of(message), CI_MS);
    static const char *const words[] = {"", "; the step's log says so", "; the step's log could not be written",
                                        "; the step's environment could not be read in time"};
    st_wd_act_add(i, "%s", words[line]);
}

enum st_wd_did st_wd_act_culprit(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    struct st_err err = {0};
    char held[ST_QUANTITY_TEXT];
    const struct st_wd_process *p = st_wd_act_choose(i, env, j);
    if (!p) {
        const struct st_wd_process *big = st_wd_largest(env->processes);
        return st_wd_act_refuse(i, "no process may be killed (%zu seen, %llu in another pid namespace%s%s)",
                                env->processes->n, (unsigned long long)env->processes->unseen,
                                big ? "; the largest is protected: " : "", big ? big->comm : "");
    }
    st_quantity_human(st_wd_process_bytes(p), held);
    if (st_wd_process_bytes(p) < j->verdict->n.pinned / ST_WD_CULPRIT_SHARE)
        return st_wd_act_refuse(i, "no single process is to blame: the largest, %d (%s), holds %s", (int)p->pid,
                                p->comm, held);
    if (held_elsewhere(i, j))
        return st_wd_act_refuse(
            i, "what is watched holds %llu%% of the pinned memory: the rest is elsewhere under the same limit",
            (unsigned long long)i->held_share);
    snprintf(i->detail, sizeof i->detail, "SIGKILL to %d (%s), which held %s", (int)p->pid, p->comm, held);
    if (env->ladder->dry_run)
        return ST_WD_DID;
    tell_step(i, env, p);
    int pidfd = st_wd_kill(p, j->targets[p->target].dir, &err);
    if (pidfd < 0)
        return st_wd_act_failed(i, &err);
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

enum st_wd_did st_wd_act_tree(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    const struct st_wd_process *p = st_wd_act_choose(i, env, j);
    unsigned killed = 0, failed = 0;
    if (!p || held_elsewhere(i, j))
        return st_wd_act_refuse(i, "%s", p ? held_elsewhere_text : "no process may be killed");
    const struct st_wd_process *top = st_wd_tree_top(env->processes, p);
    if (tree_bytes(env->processes, top) < j->verdict->n.pinned / ST_WD_CULPRIT_SHARE)
        return st_wd_act_refuse(i, "no tree of processes is to blame: that of %d (%s) holds next to nothing",
                                (int)top->pid, top->comm);
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
    st_wd_act_add(i, "%sSIGKILL to %u processes, %d (%s) and all below it%s", i->detail[0] ? "; " : "", killed,
                  (int)top->pid, top->comm, failed ? "; some had ended" : "");
    return killed ? ST_WD_DID : failed ? ST_WD_DID_AGAIN : ST_WD_DID_NOT;
}

static uint64_t held_in(const struct st_wd_target *t)
{
    char buf[4096];
    uint64_t anon = 0, shmem = 0, sum;
    ssize_t n = st_wd_read_at(t->dir, "memory.stat", buf, sizeof buf);
    struct st_sv text = st_sv_mem(buf, n > 0 ? (size_t)n : 0);
    st_wd_key_number(text, ST_SV("anon"), &anon);
    st_wd_key_number(text, ST_SV("shmem"), &shmem);
    return st_ckd_add(&sum, anon, shmem) ? UINT64_MAX : sum;
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
    uint64_t most = held_in(best);
    if (j->n_targets == 1 && j->owner_ino == best->ino)
        return best;
    for (size_t k = 1; k < j->n_targets; k++) {
        const struct st_wd_target *t = &j->targets[k];
        uint64_t n = held_in(t);
        bool better = inside(t, best) ? n >= most / 4 * 3 : inside(best, t) ? most < n / 4 * 3 : n > most;
        best = better ? t : best;
        most = better ? n : most;
    }
    return most >= j->verdict->n.pinned / 100 * ST_WD_HELD_MIN ? best : NULL;
}

enum st_wd_did st_wd_act_cgroup(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    const struct st_wd_process *p = st_wd_act_choose(i, env, j);
    bool unseen = env->processes->n == 0; // another pid namespace: who holds it, only their cgroups say
    const struct st_wd_target *t = p ? &j->targets[p->target] : unseen ? holder(j) : &j->targets[0];
    if (unseen ? !t : held_elsewhere(i, j))
        return st_wd_act_refuse(i, "%s", held_elsewhere_text);
    i->target_ino = t->ino;
    snprintf(i->detail, sizeof i->detail, "cgroup.kill of /" ST_SV_FMT, ST_SV_ARG(t->path));
    if (st_wd_holds_pid(t->dir, getpid()))
        return st_wd_act_refuse(i, "this watchdog is in /" ST_SV_FMT " itself", ST_SV_ARG(t->path));
    if (env->ladder->dry_run)
        return ST_WD_DID;
    if (p)
        tell_step(i, env, p);
    if (st_wd_write_at(t->dir, "cgroup.kill", "1", 0) == 0) {
        env->metrics->kills++;
        return ST_WD_DID;
    }
    return st_wd_act_refuse(i, "cgroup.kill of /" ST_SV_FMT ": %s", ST_SV_ARG(t->path), strerror(errno));
}
