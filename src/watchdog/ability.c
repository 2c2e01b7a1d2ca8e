#include "watchdog/ability.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "command/option.h"
#include "watchdog/victim.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif
#define PROBED_MAX 256 // cgroups that are looked into for a process
#define CAP_KILL 5
#define CAP_IPC_LOCK 14
#define CAP_SYS_PTRACE 19

static const struct {
    const char *word, *lost;
} rows[ST_WD_ABILITY_COUNT] = {
#define ROW(id, word, lost) {word, lost},
    ST_WD_ABILITIES(ROW)
#undef ROW
};

const char *st_wd_ability_word(enum st_wd_ability a)
{
    return rows[a].word;
}

const char *st_wd_ability_lost(enum st_wd_ability a)
{
    return rows[a].lost;
}

int st_wd_ability_find(struct st_sv word, enum st_wd_ability *ret, struct st_err *err)
{
    unsigned distance = UINT32_MAX;
    const char *best = NULL;
    char all[200];
    size_t n = 0;
    for (int i = 0; i < ST_WD_ABILITY_COUNT; i++) {
        if (st_sv_eq(st_sv_of(rows[i].word), word)) {
            *ret = (enum st_wd_ability)i;
            return 0;
        }
        if (st_edit_near(word, st_sv_of(rows[i].word), &distance))
            best = rows[i].word;
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", rows[i].word);
    }
    word = st_sv_sub(word, 0, 100);
    if (best)
        return st_err_set(err, ST_E_USAGE, "unknown ability '" ST_SV_FMT "'; did you mean %s?", ST_SV_ARG(word), best);
    return st_err_set(err, ST_E_USAGE, "unknown ability '" ST_SV_FMT "' (one of %s)", ST_SV_ARG(word), all);
}

__attribute__((format(printf, 3, 4))) static void lost(struct st_wd_abilities *a, enum st_wd_ability i, const char *fmt,
                                                       ...)
{
    va_list ap;
    va_start(ap, fmt);
    a->has[i] = false;
    vsnprintf(a->why[i], sizeof a->why[i], fmt, ap);
    va_end(ap);
}

static void found(struct st_wd_abilities *a, enum st_wd_ability i, bool has, const char *what)
{
    a->has[i] = has;
    if (!has)
        lost(a, i, "%s: %s", what, strerror(errno));
}

static void probe_events(struct st_wd_abilities *a, int dir)
{
    ST_AUTO_CLOSE int ep = epoll_create1(EPOLL_CLOEXEC);
    ST_AUTO_CLOSE int fd = openat(dir, "memory.events", O_RDONLY | O_CLOEXEC);
    struct epoll_event e = {.events = EPOLLPRI};
    found(a, ST_WD_CAN_EVENTS, fd >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0, "memory.events");
}

static void probe_pressure(struct st_wd_abilities *a, int dir)
{
    char buf[256];
    static const char trigger[] = ST_WD_PSI_TRIGGER;
    found(a, ST_WD_CAN_PSI, st_wd_read_at(dir, "memory.pressure", buf, sizeof buf) > 0, "memory.pressure");
    if (!a->has[ST_WD_CAN_PSI] && errno == EOPNOTSUPP)
        lost(a, ST_WD_CAN_PSI, "the kernel runs with psi=0");
    ST_AUTO_CLOSE int fd = openat(dir, "memory.pressure", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    found(a, ST_WD_CAN_TRIGGER, fd >= 0 && write(fd, trigger, sizeof trigger) == sizeof trigger,
          "trigger on memory.pressure");
}

struct probe {
    uint64_t seen, unseen, cgroups;
    pid_t one;
};

static int count_pid(pid_t pid, void *ctx)
{
    struct probe *p = ctx;
    if (pid == 0)
        p->unseen++;
    else if (p->seen++ == 0 || pid != getpid())
        p->one = pid;
    return p->seen + p->unseen > 100;
}

static int visit(int dir, void *ctx)
{
    struct probe *p = ctx;
    st_wd_each_pid(dir, count_pid, ctx);
    return ++p->cgroups > PROBED_MAX || p->seen;
}

static bool capable(int cap)
{
    char buf[4096];
    ssize_t n = st_wd_read_at(AT_FDCWD, "/proc/self/status", buf, sizeof buf);
    struct st_sv text = st_sv_mem(buf, n > 0 ? (size_t)n : 0), line, word;
    uint64_t set;
    while (st_sv_line(&text, &line))
        if (st_sv_starts(line, ST_SV("CapEff:"))) {
            line = st_sv_from(line, ST_SV("CapEff:").len);
            return st_sv_word(&line, &word) && st_sv_u64(word, 16, &set) && (set >> cap & 1);
        }
    return false;
}

// No process to try it on yet: who owns the cgroup starts the processes in it.
static bool is_own(int dir)
{
    struct stat st;
    return fstat(dir, &st) == 0 && st.st_uid == geteuid();
}

static void probe_processes(struct st_wd_abilities *a, int dir)
{
    struct probe p = {0};
    char path[40];
    bool own = is_own(dir);
    st_wd_walk(dir, visit, &p);
    a->has[ST_WD_CAN_PROCESSES] = a->has[ST_WD_CAN_SIGNAL] = a->has[ST_WD_CAN_ENVIRON] = true;
    if (access("/proc/self/status", R_OK))
        lost(a, ST_WD_CAN_PROCESSES, "/proc is not mounted");
    else if (p.unseen && !p.seen)
        lost(a, ST_WD_CAN_PROCESSES, "its processes are in another pid namespace (hostPID or shareProcessNamespace)");
    if (!a->has[ST_WD_CAN_PROCESSES])
        lost(a, ST_WD_CAN_SIGNAL, "no process is seen");
    else if (p.one ? kill(p.one, 0) != 0 && errno == EPERM : !capable(CAP_KILL) && !own)
        lost(a, ST_WD_CAN_SIGNAL, "neither the same user nor CAP_KILL");
    snprintf(path, sizeof path, "/proc/%d/environ", p.one ? (int)p.one : (int)getpid());
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (!a->has[ST_WD_CAN_PROCESSES])
        lost(a, ST_WD_CAN_ENVIRON, "no process is seen");
    else if (p.one ? fd < 0 && errno == EACCES : !capable(CAP_SYS_PTRACE) && !own)
        lost(a, ST_WD_CAN_ENVIRON, "neither the same user nor CAP_SYS_PTRACE");
}

// There is no cgroup yet to try it on: only what the mount and the kernel forbid can be told.
static void probe_mount(struct st_wd_abilities *a, int dir)
{
    a->has[ST_WD_CAN_EVENTS] = a->has[ST_WD_CAN_TRIGGER] = true;
    found(a, ST_WD_CAN_PSI, access("/proc/pressure/memory", R_OK) == 0, "/proc/pressure");
    found(a, ST_WD_CAN_KILL, faccessat(dir, ".", W_OK, AT_EACCESS) == 0, "the mount");
    found(a, ST_WD_CAN_LIMIT, faccessat(dir, ".", W_OK, AT_EACCESS) == 0, "the mount");
}

void st_wd_abilities_probe(struct st_wd_abilities *a, int dir)
{
    if (faccessat(dir, "memory.events", F_OK, 0) && errno == ENOENT) {
        probe_mount(a, dir);
    } else {
        probe_events(a, dir);
        probe_pressure(a, dir);
        found(a, ST_WD_CAN_KILL, faccessat(dir, "cgroup.kill", W_OK, AT_EACCESS) == 0, "cgroup.kill");
        found(a, ST_WD_CAN_LIMIT, faccessat(dir, "memory.max", W_OK, AT_EACCESS) == 0, "memory.max");
    }
    ST_AUTO_CLOSE int watches = inotify_init1(IN_CLOEXEC);
    char self[32];
    snprintf(self, sizeof self, "/proc/self/fd/%d", dir);
    found(a, ST_WD_CAN_INOTIFY, watches >= 0 && inotify_add_watch(watches, self, IN_CREATE | IN_ONLYDIR) >= 0,
          "inotify");
    probe_processes(a, dir);
}

void st_wd_abilities_protect_self(struct st_wd_abilities *a, pid_t aide)
{
    char path[48];
    // What is there now is read in and stays; what is mapped later (large tables, little used) when it is touched.
    // Under RLIMIT_MEMLOCK a mapping that goes beyond it would fail (mm/mmap.c, mlock_future_check), so then it is not
    // asked for.
    struct rlimit l;
    bool all = capable(CAP_IPC_LOCK) || (getrlimit(RLIMIT_MEMLOCK, &l) == 0 && l.rlim_cur == RLIM_INFINITY);
    bool locked = mlockall(MCL_CURRENT) == 0 && (!all || mlockall(MCL_FUTURE | MCL_ONFAULT) == 0);
    if (all)
        found(a, ST_WD_CAN_MLOCK, locked, "mlockall");
    else
        lost(a, ST_WD_CAN_MLOCK, "RLIMIT_MEMLOCK, LimitMEMLOCK=infinity lifts it: %s",
             locked ? "only what is mapped at the start is locked" : "it is less than what is mapped");
    found(a, ST_WD_CAN_OOM_ADJ, st_wd_write_at(AT_FDCWD, "/proc/self/oom_score_adj", "-999", 0) == 0,
          "/proc/self/oom_score_adj");
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)aide); // forked before: it has not inherited that
    st_wd_write_at(AT_FDCWD, path, "-999", 0);
}
