#include "watchdog/victim.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/sort.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

#define STATUS_LINE_MAX 4096
#define ANCESTORS_MAX 64

// ---- /proc/PID/status ---------------------------------------------------------------------------

// The kernel writes a line end as \n and a backslash as \\ in Name.
static void unescape_comm(struct st_sv in, char ret[static ST_WD_COMM])
{
    size_t n = 0;
    for (size_t i = 0; i < in.len && n < ST_WD_COMM - 1; i++) {
        char c = in.ptr[i];
        if (c == '\\' && i + 1 < in.len)
            c = in.ptr[++i] == 'n' ? '\n' : in.ptr[i];
        ret[n++] = c;
    }
    ret[n] = '\0';
}

static uint64_t kilobytes(struct st_sv value)
{
    struct st_sv word;
    uint64_t n = 0;
    if (!st_sv_word(&value, &word) || !st_sv_u64(word, 10, &n) || st_ckd_mul(&n, n, (uint64_t)1024))
        return 0;
    return ST_MIN(n, (uint64_t)1 << 56); // sums of thousands fit
}

static bool last_number(struct st_sv value, uint64_t *ret)
{
    struct st_sv word;
    bool found = false;
    while (st_sv_word(&value, &word))
        found = st_sv_u64(word, 10, ret);
    return found;
}

struct status {
    struct st_wd_process p;
    bool has_name, has_parent;
};

static void status_line(struct status *s, struct st_sv line)
{
    struct st_sv key, value;
    struct st_wd_process *p = &s->p;
    uint64_t n = 0;
    if (!st_sv_cut(line, ':', &key, &value))
        return;
    if (st_sv_eq(key, ST_SV("Name")) && !s->has_name) { // "Name:\t" and then every byte is the name's
        unescape_comm(st_sv_from(value, 1), p->comm);
        s->has_name = true;
    } else if (st_sv_eq(key, ST_SV("PPid"))) {
        s->has_parent = last_number(value, &n) && n <= INT32_MAX;
        p->ppid = s->has_parent ? (pid_t)n : 0;
    } else if (st_sv_eq(key, ST_SV("State"))) {
        value = st_sv_trim(value);
        if (value.len && (value.ptr[0] == 'Z' || value.ptr[0] == 'X'))
            p->flags |= ST_WD_P_ZOMBIE;
    } else if (st_sv_eq(key, ST_SV("NSpid"))) { // innermost last
        if (last_number(value, &n) && n == 1)
            p->flags |= ST_WD_P_INIT;
    } else if (st_sv_eq(key, ST_SV("RssAnon"))) {
        p->anon = kilobytes(value);
    } else if (st_sv_eq(key, ST_SV("RssShmem"))) {
        p->shmem = kilobytes(value);
    } else if (st_sv_eq(key, ST_SV("VmSwap"))) {
        p->swap = kilobytes(value);
    }
}

// Takes all whole lines; of one that fills the buffer what is there, once. Bytes that are left for the next read.
static size_t take_lines(struct status *s, char *buf, size_t n, bool *cut)
{
    size_t from = 0;
    for (char *end; (end = memchr(buf + from, '\n', n - from)); from = (size_t)(end - buf) + 1) {
        if (!*cut)
            status_line(s, st_sv_mem(buf + from, (size_t)(end - buf) - from));
        *cut = false;
    }
    if (from == 0 && n == STATUS_LINE_MAX) {
        if (!*cut)
            status_line(s, st_sv_mem(buf, n));
        *cut = true;
        return 0;
    }
    memmove(buf, buf + from, n - from);
    return n - from;
}

bool st_wd_status_read(int fd, struct st_wd_process *ret)
{
    char buf[STATUS_LINE_MAX];
    struct status s = {.has_name = false};
    size_t n = 0;
    bool cut = false;
    for (ssize_t got; (got = read(fd, buf + n, sizeof buf - n)) != 0;) {
        if (got > 0)
            n = take_lines(&s, buf, n + (size_t)got, &cut);
        else if (errno != EINTR)
            return false;
    }
    if (n && !cut)
        status_line(&s, st_sv_mem(buf, n));
    if (!s.has_name || !s.has_parent)
        return false;
    *ret = s.p;
    return true;
}

bool st_wd_process_read(pid_t pid, struct st_wd_process *ret)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !st_wd_status_read(fd, ret))
        return false;
    ret->pid = pid;
    return true;
}

// ---- protected names ----------------------------------------------------------------------------

void st_wd_protect_init(struct st_wd_protect *p)
{
    static const char *const names[] = {
        "Runner.Listener", "Runner.Worker", "dockerd", "containerd", "containerd-shim", "runc",
        "systemd",         "init",          "tini",    "dumb-init"};
    *p = (struct st_wd_protect){0};
    for (size_t i = 0; i < ST_LEN(names); i++)
        snprintf(p->name[p->n++], ST_WD_COMM, "%s", names[i]);
}

int st_wd_protect_add(struct st_wd_protect *p, struct st_sv names, struct st_err *err)
{
    struct st_sv name;
    while (st_sv_split(&names, ',', &name)) {
        name = st_sv_trim(name);
        if (!name.len)
            return st_err_set(err, ST_E_USAGE, "empty name in --protect (names are separated by commas)");
        if (p->n == ST_WD_PROTECT_MAX)
            return st_err_set(err, ST_E_USAGE, "more than %d protected names", ST_WD_PROTECT_MAX);
        snprintf(p->name[p->n++], ST_WD_COMM, ST_SV_FMT, ST_SV_ARG(name));
    }
    return 0;
}

bool st_wd_protect_has(const struct st_wd_protect *p, const char *comm)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->name[i], comm))
            return true;
    return false;
}

// ---- scan ---------------------------------------------------------------------------------------

void st_wd_processes_clear(struct st_wd_processes *ps, const struct st_wd_protect *protect)
{
    ps->protect = protect;
    ps->n = 0;
    ps->unseen = ps->left_out = 0;
}

struct scan {
    struct st_wd_processes *ps;
    uint8_t target;
    uint16_t depth;
    uint64_t deadline_ms;
    bool readable;
};

static int add_pid(pid_t pid, void *ctx)
{
    struct scan *s = ctx;
    struct st_wd_processes *ps = s->ps;
    if (pid == 0) {
        ps->unseen++;
        return 0;
    }
    if (ps->n == ST_WD_PROCESSES_MAX || (ps->n % 64 == 63 && st_wd_now_ms() > s->deadline_ms)) {
        ps->left_out++;
        return 0;
    }
    struct st_wd_process *p = &ps->at[ps->n];
    if (!st_wd_process_read(pid, p))
        return 0;
    p->target = s->target;
    p->depth = s->depth;
    if (st_wd_protect_has(ps->protect, p->comm))
        p->flags |= ST_WD_P_NAMED;
    if (pid == ps->protect->ours[0] || pid == ps->protect->ours[1])
        p->flags |= ST_WD_P_OURS;
    ps->n++;
    return 0;
}

static int add_cgroup(int dir, void *ctx)
{
    struct scan *s = ctx;
    if (st_wd_each_pid(dir, add_pid, s) >= 0)
        s->readable = true;
    return 0;
}

int st_wd_processes_scan(struct st_wd_processes *ps, int dir, uint8_t target, uint16_t depth, uint64_t deadline_ms)
{
    struct scan s = {.ps = ps, .target = target, .depth = depth, .deadline_ms = deadline_ms};
    st_wd_walk(dir, add_cgroup, &s);
    return s.readable ? 0 : -1;
}

static int by_pid(const void *a, const void *b) // of one pid the deepest first
{
    const struct st_wd_process *x = a, *y = b;
    return x->pid != y->pid ? (x->pid > y->pid) - (x->pid < y->pid) : (x->depth < y->depth) - (x->depth > y->depth);
}

static void drop_repeated(struct st_wd_processes *ps)
{
    size_t n = 0;
    for (size_t i = 0; i < ps->n; i++)
        if (n == 0 || ps->at[i].pid != ps->at[n - 1].pid)
            ps->at[n++] = ps->at[i];
    ps->n = n;
}

static struct st_wd_process *find(const struct st_wd_processes *ps, pid_t pid)
{
    size_t low = 0, high = ps->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (ps->at[mid].pid == pid)
            return (struct st_wd_process *)&ps->at[mid];
        if (ps->at[mid].pid < pid)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

void st_wd_processes_finish(struct st_wd_processes *ps)
{
    st_sort(ps->at, ps->n, sizeof ps->at[0], by_pid);
    drop_repeated(ps);
    for (size_t i = 0; i < ps->n; i++) {
        if (!(ps->at[i].flags & (ST_WD_P_NAMED | ST_WD_P_OURS | ST_WD_P_INIT)))
            continue;
        // Up through /proc, since the table may have left somebody out.
        pid_t up = ps->at[i].ppid;
        for (int level = 0; up > 1 && level < ANCESTORS_MAX; level++) {
            struct st_wd_process *p = find(ps, up), read;
            if (p) {
                p->flags |= ST_WD_P_ABOVE;
                up = p->ppid;
            } else {
                up = st_wd_process_read(up, &read) ? read.ppid : 0;
            }
        }
    }
}

uint64_t st_wd_processes_bytes(const struct st_wd_processes *ps)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ps->n; i++)
        sum += st_wd_process_bytes(&ps->at[i]);
    return sum;
}

// ---- choice -------------------------------------------------------------------------------------

static const struct st_wd_process *largest(const struct st_wd_processes *ps, bool killable)
{
    const struct st_wd_process *best = NULL;
    for (size_t i = 0; i < ps->n; i++) {
        const struct st_wd_process *p = &ps->at[i];
        if (killable && (!st_wd_may_kill(p) || st_wd_process_bytes(p) == 0))
            continue;
        if (!best || st_wd_process_bytes(p) > st_wd_process_bytes(best))
            best = p;
    }
    return best;
}

const struct st_wd_process *st_wd_culprit(const struct st_wd_processes *ps)
{
    return largest(ps, true);
}

const struct st_wd_process *st_wd_largest(const struct st_wd_processes *ps)
{
    return largest(ps, false);
}

const struct st_wd_process *st_wd_tree_top(const struct st_wd_processes *ps, const struct st_wd_process *p)
{
    for (int level = 0; level < ANCESTORS_MAX; level++) {
        const struct st_wd_process *up = find(ps, p->ppid);
        if (!up || !st_wd_may_kill(up) || up->target != p->target)
            break;
        p = up;
    }
    return p;
}

bool st_wd_in_tree(const struct st_wd_processes *ps, const struct st_wd_process *p, const struct st_wd_process *top)
{
    for (int level = 0; p && level < ANCESTORS_MAX; level++) {
        if (p->pid == top->pid)
            return true;
        p = find(ps, p->ppid);
    }
    return false;
}

// ---- kill ---------------------------------------------------------------------------------------

static int ended(const struct st_wd_process *p, struct st_err *err)
{
    return st_err_set(err, ST_E_NOTFOUND, "process %d has ended", (int)p->pid);
}

int st_wd_hold_process(const struct st_wd_process *p, int dir, struct st_err *err)
{
    struct st_wd_process now;
    if (!st_wd_may_kill(p))
        return st_err_set(err, ST_E_INTERNAL, "process %d is protected", (int)p->pid);
    // While this descriptor says alive, the number below is that process's and no one else's.
    ST_AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (pidfd < 0)
        return errno == ESRCH ? ended(p, err) : st_err_sys(err, "pidfd_open of %d", (int)p->pid);
    if (!st_wd_process_read(p->pid, &now) || (now.flags & ST_WD_P_ZOMBIE))
        return ended(p, err);
    if (strcmp(now.comm, p->comm) != 0 || (now.flags & ST_WD_P_INIT))
        return st_err_set(err, ST_E_NOTFOUND, "process %d is another one now", (int)p->pid);
    if (!st_wd_holds_pid(dir, p->pid))
        return st_err_set(err, ST_E_NOTFOUND, "process %d has left the cgroup", (int)p->pid);
    if (st_wd_gone(pidfd))
        return ended(p, err);
    return st_take_fd(&pidfd);
}

int st_wd_kill(const struct st_wd_process *p, int dir, struct st_err *err)
{
    ST_AUTO_CLOSE int pidfd = st_wd_hold_process(p, dir, err);
    if (pidfd < 0)
        return -1;
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0))
        return errno == ESRCH ? ended(p, err) : st_err_sys(err, "SIGKILL to %d", (int)p->pid);
    return st_take_fd(&pidfd);
}

void st_wd_reap(int pidfd)
{
    syscall(SYS_process_mrelease, pidfd, 0);
}

bool st_wd_gone(int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}
