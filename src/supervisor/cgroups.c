#include "supervisor/cgroups.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/sv.h"
#include "watchdog/wd_files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIDS_MAX "512"
#define WEIGHT "50"  // a worker gives way to the supervisor and stella-api
#define LEFT_MS 2000 // for what an earlier supervisor left to die
#define TEXT 4096

// ---- finding CG ---------------------------------------------------------------------------------

static int open_dir(int at, const char *path)
{
    return openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static void explain(struct st_cgroups *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void explain(struct st_cgroups *g, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->why, sizeof g->why, fmt, ap);
    va_end(ap);
}

// The cgroup2 mount that shows the root of our namespace. mountinfo: ID PARENT DEV ROOT POINT OPTIONS ... - TYPE ...
static bool find_mount(struct st_cgroups *g)
{
    ST_AUTO_FREE char *buf = malloc(1 << 20);
    ssize_t n = buf ? st_wd_read_at(AT_FDCWD, "/proc/self/mountinfo", buf, 1 << 20) : -1;
    struct st_sv text = st_sv_mem(buf, n > 0 ? (size_t)n : 0), line;
    while (st_sv_line(&text, &line)) {
        struct st_sv w[5], word, rest = line;
        size_t i = 0;
        while (i < 5 && st_sv_word(&rest, &w[i]))
            i++;
        size_t dash = st_sv_search(rest, ST_SV(" - "));
        if (i < 5 || dash == ST_SV_NPOS)
            continue;
        rest = st_sv_from(rest, dash + 3);
        if (!st_sv_word(&rest, &word) || !st_sv_eq(word, ST_SV("cgroup2")) || !st_sv_eq(w[3], ST_SV("/")))
            continue;
        snprintf(g->mount, sizeof g->mount, ST_SV_FMT, ST_SV_ARG(w[4]));
        return true;
    }
    return false;
}

static bool find_own(struct st_cgroups *g)
{
    char buf[TEXT];
    ssize_t n = st_wd_read_at(AT_FDCWD, "/proc/self/cgroup", buf, sizeof buf);
    struct st_sv text = st_sv_mem(buf, n > 0 ? (size_t)n : 0), line;
    while (st_sv_line(&text, &line))
        if (st_sv_starts(line, ST_SV("0::/"))) {
            snprintf(g->path, sizeof g->path, ST_SV_FMT, ST_SV_ARG(st_sv_from(line, 4)));
            return !strstr(g->path, ".."); // above the root of our namespace: nothing there is ours
        }
    return false;
}

// ---- taking it over -------------------------------------------------------------------------------

static int kill_one(pid_t pid, void *ctx)
{
    (void)ctx;
    if (pid > 0 && pid != getpid())
        kill(pid, SIGKILL);
    return 0;
}

void st_cgroup_kill(const struct st_cgroups *g, int dir)
{
    if (!g->kill || st_wd_write_at(dir, "cgroup.kill", "1", 0))
        st_wd_each_pid(dir, kill_one, NULL);
}

bool st_cgroup_populated(int dir)
{
    char buf[256];
    uint64_t v = 0;
    ssize_t n = st_wd_read_at(dir, "cgroup.events", buf, sizeof buf);
    return n > 0 && st_wd_key_number(st_sv_mem(buf, (size_t)n), ST_SV("populated"), &v) && v;
}

static int remove_at(int parent, const char *name)
{
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 1 : errno == EBUSY ? 0 : -1;
}

// The slots of a supervisor that died.
static void end_left(struct st_cgroups *g)
{
    for (int waited = 0; waited < LEFT_MS; waited += 10) {
        struct st_wd_listing l;
        bool left = false;
        ST_AUTO_CLOSE int list = open_dir(g->workers, ".");
        if (list < 0)
            return;
        st_wd_listing_init(&l, list);
        for (const char *name; (name = st_wd_listing_next(&l, true));) {
            ST_AUTO_CLOSE int dir = open_dir(g->workers, name);
            if (dir >= 0)
                st_cgroup_kill(g, dir);
            left = remove_at(g->workers, name) == 0 || left;
        }
        if (!left)
            return;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
}

// memory is needed; pids and cpu are taken where they are given.
static int enable(int dir)
{
    st_wd_write_at(dir, "cgroup.subtree_control", "+pids", 0);
    st_wd_write_at(dir, "cgroup.subtree_control", "+cpu", 0);
    return st_wd_write_at(dir, "cgroup.subtree_control", "+memory", 0);
}

static const char how[] = "stella doctor --check check.host.cgroup says what helps";

static bool take_over(struct st_cgroups *g, int cg)
{
    bool given = faccessat(cg, "memory.max", F_OK, 0) == 0 || !g->path[0];
    if ((mkdirat(cg, "supervisor", 0755) && errno != EEXIST) || (mkdirat(cg, "workers", 0755) && errno != EEXIST)) {
        explain(g, "no cgroup can be made in /%.150s (%s). %s", g->path, strerror(errno), how);
        return false;
    }
    ST_AUTO_CLOSE int own = open_dir(cg, "supervisor");
    ST_AUTO_CLOSE int workers = open_dir(cg, "workers");
    if (own < 0 || workers < 0 || st_wd_write_at(own, "cgroup.procs", "0", 0)) {
        explain(g, "this process cannot move into /%.150s/supervisor (%s). %s", g->path, strerror(errno), how);
        return false;
    }
    if (enable(cg)) {
        explain(g,
                errno == EBUSY
                    ? "other processes are in /%.150s beside this one, so no limits can be set below it%s. %s"
                    : "the memory controller is not delegated to /%.150s%s. %s",
                g->path, given && errno != EBUSY ? " (it is there, but not writable)" : "", how);
        return false;
    }
    if (enable(workers)) {
        explain(g, "no limits can be set below /%.150s/workers (%s). %s", g->path, strerror(errno), how);
        return false;
    }
    g->workers = st_take_fd(&workers);
    return true;
}

static int open_cg(struct st_cgroups *g)
{
    char full[2 * PATH_MAX];
    struct st_sv last = st_sv_basename(st_sv_of(g->path));
    if (st_sv_eq(last, ST_SV("supervisor"))) { // of an earlier one, or after an upgrade
        snprintf(full, sizeof full, "%s/%s/../workers", g->mount, g->path);
        if (access(full, F_OK) == 0)
            g->path[last.ptr - g->path] = 0;
        for (size_t n = strlen(g->path); n && g->path[n - 1] == '/';)
            g->path[--n] = 0;
    }
    snprintf(full, sizeof full, "%s/%s", g->mount, g->path);
    return open_dir(AT_FDCWD, full);
}

void st_cgroups_open(struct st_cgroups *g, bool keep)
{
    *g = (struct st_cgroups){.workers = -1};
    if (!find_mount(g)) {
        explain(g,
                "there is no cgroup v2 here (mount | grep cgroup2). A kernel with systemd.unified_cgroup_hierarchy=1 "
                "has it");
        return;
    }
    if (!find_own(g)) {
        explain(g, "this process is in no cgroup v2 of its own namespace. %s", how);
        return;
    }
    ST_AUTO_CLOSE int cg = open_cg(g);
    if (cg < 0) {
        explain(g, "%.100s/%.150s: %s. %s", g->mount, g->path, strerror(errno), how);
        return;
    }
    if (!take_over(g, cg))
        return;
    g->kill = faccessat(g->workers, "cgroup.kill", F_OK, 0) == 0;
    if (!keep)
        end_left(g);
}

void st_cgroups_close(struct st_cgroups *g)
{
    char path[2 * PATH_MAX];
    if (g->workers < 0)
        return;
    close(g->workers);
    g->workers = -1;
    snprintf(path, sizeof path, "%s/%s/workers", g->mount, g->path);
    rmdir(path);
}

uint64_t st_cgroups_host_memory(const struct st_cgroups *g)
{
    uint64_t least = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), v;
    char path[2 * PATH_MAX];
    if (!g->mount[0])
        return least;
    snprintf(path, sizeof path, "%s/%s", g->mount, g->path);
    for (size_t n = strlen(path), root = strlen(g->mount); n > root;) {
        ST_AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir >= 0 && st_wd_number_at(dir, "memory.max", &v))
            least = ST_MIN(least, v);
        while (n > root && path[n - 1] != '/')
            n--;
        while (n > root && path[n - 1] == '/')
            n--;
        path[n] = 0;
    }
    return least;
}

// ---- one job's -----------------------------------------------------------------------------------

int st_cgroup_remove(const struct st_cgroups *g, const char *name, struct st_err *err)
{
    int rc = remove_at(g->workers, name);
    return rc < 0 ? st_err_sys(err, "removal of the cgroup workers/%s", name) : rc;
}

int st_cgroup_open(const struct st_cgroups *g, const char *name)
{
    return open_dir(g->workers, name);
}

int st_cgroup_make(const struct st_cgroups *g, const char *name, uint64_t memory, int *ret_dir, struct st_err *err)
{
    char text[24];
    if (mkdirat(g->workers, name, 0755) && errno != EEXIST)
        return st_err_sys(err, "cgroup workers/%s", name);
    ST_AUTO_CLOSE int dir = open_dir(g->workers, name);
    if (dir < 0)
        return st_err_sys(err, "cgroup workers/%s", name);
    snprintf(text, sizeof text, "%llu", (unsigned long long)memory);
    if (st_wd_write_at(dir, "memory.max", text, 0))
        return st_err_sys(err, "memory.max of workers/%s", name);
    st_wd_write_at(dir, "memory.oom.group", "1", 0);
    st_wd_write_at(dir, "memory.swap.max", "0", 0); // not there without swap accounting
    st_wd_write_at(dir, "pids.max", PIDS_MAX, 0);
    st_wd_write_at(dir, "cpu.weight", WEIGHT, 0);
    *ret_dir = st_take_fd(&dir);
    return 0;
}
