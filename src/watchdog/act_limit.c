// The two rungs that touch the limit: relieve and kernel.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/quantity.h"
#include "watchdog/act_int.h"
#include "watchdog/kernel_oom.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define RELIEF_LOOK_MS 3000       // after which the stall is compared
#define RELIEF_PROOF 0.3          // of the stall before: then the shortage is proven
#define HOST_SPARE (256 * ST_MIB) // that the host must keep beside a relief
#define LIMIT_STEP (64 * ST_KIB)  // the kernel cuts a limit down to whole pages, which are at most so large

// The limit must be the watched cgroup's own, and memory.max. Why it is not, or NULL.
static const char *not_ours(const struct st_wd_judged *j)
{
    return j->owner_ino != j->targets[0].ino   ? "the limit belongs to a cgroup that is not watched"
           : j->verdict->n.limit_is_high       ? "memory.high binds, not memory.max"
           : j->verdict->n.limit == ST_WD_NONE ? "it has no limit"
                                               : NULL;
}

// ---- relieve ------------------------------------------------------------------------------------

static bool host_has(uint64_t bytes)
{
    char buf[4096];
    uint64_t kib = 0;
    ssize_t n = st_wd_read_at(AT_FDCWD, "/proc/meminfo", buf, sizeof buf);
    return n > 0 && st_wd_key_number(st_sv_mem(buf, (size_t)n), ST_SV("MemAvailable:"), &kib) &&
           kib * 1024 >= 2 * bytes + HOST_SPARE;
}

static enum st_wd_did set(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                          const char *file, const char *now, const char *then)
{
    const struct st_wd_target *t = &j->targets[0];
    if (!st_wd_aide_hold(env->aide, t->path, t->ino, file, then))
        return st_wd_act_refuse(i, "the second process cannot promise to put it back");
    if (st_wd_write_at(t->dir, file, now, O_NONBLOCK)) {
        st_wd_act_refuse(i, "%s: %s", file, strerror(errno));
        st_wd_aide_drop(env->aide, t->ino, file);
        return ST_WD_DID_NOT;
    }
    i->relief.on = true;
    i->relief.measured = false;
    i->relief.until_ms = st_wd_now_ms() + ST_WD_RELIEF_MS;
    i->relief.ino = t->ino;
    snprintf(i->relief.path, sizeof i->relief.path, ST_SV_FMT, ST_SV_ARG(t->path));
    return ST_WD_DID;
}

enum st_wd_did st_wd_act_relieve(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    char old[24], raised[24], more[ST_QUANTITY_TEXT];
    uint64_t limit = j->verdict->n.limit, up = limit / 10 / LIMIT_STEP * LIMIT_STEP;
    if (env->ladder->freeze) {
        if (st_wd_holds_pid(j->targets[0].dir, getpid()))
            return st_wd_act_refuse(i, "this watchdog would freeze itself");
        snprintf(i->detail, sizeof i->detail, "frozen for %d s at most", ST_WD_RELIEF_MS / 1000);
        return env->ladder->dry_run ? ST_WD_DID : set(i, env, j, "cgroup.freeze", "1", "0");
    }
    const char *why = not_ours(j);
    if (why)
        return st_wd_act_refuse(i, "%s", why);
    st_quantity_human(up, more);
    if (!host_has(up))
        return st_wd_act_refuse(i, "the host has no room for %s more", more);
    snprintf(i->detail, sizeof i->detail, "limit raised by %s for %d s at most", more, ST_WD_RELIEF_MS / 1000);
    if (env->ladder->dry_run)
        return ST_WD_DID;
    i->relief.old_limit = limit;
    snprintf(old, sizeof old, "%llu", (unsigned long long)limit);
    snprintf(raised, sizeof raised, "%llu", (unsigned long long)(limit + up));
    enum st_wd_did did = set(i, env, j, "memory.max", raised, old);
    if (did == ST_WD_DID)
        st_wd_judge_limit_ours(j->judge, limit + up);
    return did;
}

void st_wd_act_relief_undo(struct st_wd_incident *i, struct st_wd_act_env *env)
{
    char old[24];
    if (!i->relief.on)
        return;
    const char *file = env->ladder->freeze ? "cgroup.freeze" : "memory.max";
    snprintf(old, sizeof old, "%llu", (unsigned long long)i->relief.old_limit);
    ST_AUTO_CLOSE int dir =
        openat(env->root, i->relief.path[0] ? i->relief.path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool same = dir >= 0 && st_wd_ino(dir) == i->relief.ino;
    if (!same || st_wd_write_at(dir, file, env->ladder->freeze ? "0" : old, O_NONBLOCK) == 0)
        st_wd_aide_drop(env->aide, i->relief.ino, file);
    i->relief.on = false; // not written: the aide will try when we end
}

static double stall(const struct st_wd_numbers *n)
{
    return ST_MAX(n->mem_some, 0) + ST_MAX(n->io_some, 0);
}

int st_wd_act_relief_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                          uint64_t now_ms)
{
    bool proof = !env->ladder->freeze && now_ms >= i->rung_ms + RELIEF_LOOK_MS && stall(&i->before) > 0 &&
                 stall(&j->verdict->n) <= RELIEF_PROOF * stall(&i->before);
    if (!proof && now_ms < i->relief.until_ms)
        return 0;
    st_wd_act_relief_undo(i, env);
    if (!env->ladder->freeze)
        st_wd_judge_limit_ours(j->judge, i->relief.old_limit);
    if (proof) {
        st_wd_act_add(i, "; the stall fell from %u%% to %u%%: the shortage is proven",
                      (unsigned)(stall(&i->before) * 100), (unsigned)(stall(&j->verdict->n) * 100));
        i->certain = i->strong = true;
        st_wd_judge_proven(j->judge);
    }
    return 1;
}

// ---- kernel -------------------------------------------------------------------------------------

// What memory.max is lowered to: under the pinned memory. 0: nothing is pinned.
static uint64_t low_limit(const struct st_wd_judged *j)
{
    uint64_t current = 0;
    st_wd_number_at(j->targets[0].dir, "memory.current", &current);
    uint64_t held = ST_MIN(j->verdict->n.pinned, current);
    return held < 16 * ST_MIB ? 0 : (held - 4 * ST_MIB) / LIMIT_STEP * LIMIT_STEP;
}

static void limit_back(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j, bool written)
{
    char old[24];
    snprintf(old, sizeof old, "%llu", (unsigned long long)i->before.limit);
    if (written || st_wd_write_at(j->targets[0].dir, "memory.max", old, O_NONBLOCK) == 0)
        st_wd_aide_drop(env->aide, i->relief.ino, "memory.max");
    st_wd_judge_limit_ours(j->judge, i->before.limit); // not written: the aide will try when we end
}

static enum st_wd_did lower(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                            const struct st_wd_process *p, uint64_t low)
{
    char old[24];
    struct st_err err = {0};
    ST_AUTO_CLOSE int pidfd = st_wd_hold_process(p, j->targets[p->target].dir, &err);
    if (pidfd < 0)
        return st_wd_act_failed(i, &err);
    snprintf(old, sizeof old, "%llu", (unsigned long long)i->before.limit);
    if (!st_wd_aide_hold(env->aide, j->targets[0].path, j->targets[0].ino, "memory.max", old))
        return st_wd_act_refuse(i, "the second process cannot promise to put the limit back");
    st_wd_judge_limit_ours(j->judge, low);
    i->relief.ino = j->targets[0].ino;
    i->helper = st_wd_kernel_oom(j->targets[0].dir, i->before.limit, low, p->pid, pidfd);
    if (i->helper > 0)
        return ST_WD_DID;
    i->helper = 0;
    st_wd_act_refuse(i, "fork: %s", strerror(errno));
    limit_back(i, env, j, true);
    return ST_WD_DID_NOT;
}

enum st_wd_did st_wd_act_kernel(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j)
{
    uint64_t group = 0, low = low_limit(j);
    const char *why = not_ours(j);
    if (why)
        return st_wd_act_refuse(i, "%s", why);
    const struct st_wd_process *p = st_wd_act_choose(i, env, j); // an earlier rung may have ended the one before
    if (!p || !low)
        return st_wd_act_refuse(i, "%s", p ? "nothing is pinned" : "no process to offer to the kernel");
    st_wd_number_at(j->targets[0].dir, "memory.oom.group", &group);
    snprintf(i->detail, sizeof i->detail, "memory.max under the pinned memory, %d (%s) first%s", (int)p->pid, p->comm,
             group ? "; memory.oom.group is 1: all of it goes" : "");
    return env->ladder->dry_run ? ST_WD_DID : lower(i, env, j, p, low);
}

int st_wd_act_kernel_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                          uint64_t now_ms)
{
    static const char *const words[] = {"; the kernel killed one process", "; the kernel killed nobody",
                                        "; the limit could not be written", "; the kernel killed more than one"};
    if (i->helper) {
        if (now_ms < i->rung_ms + ST_WD_KERNEL_OOM_MS + 1500)
            return 0;
        kill(i->helper, SIGKILL);
        i->helper = 0;
        i->helper_status = ST_WD_KERNEL_ERROR << 8;
    }
    int code = WIFEXITED(i->helper_status) ? WEXITSTATUS(i->helper_status) : ST_WD_KERNEL_ERROR;
    code = code < (int)ST_LEN(words) ? code : ST_WD_KERNEL_ERROR;
    limit_back(i, env, j, code != ST_WD_KERNEL_ERROR); // it may have died before that
    st_wd_act_add(i, "%s", words[code]);
    return code == ST_WD_KERNEL_KILLED || code == ST_WD_KERNEL_TWICE ? 1 : -1;
}
