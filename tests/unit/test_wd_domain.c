// Limit domains on trees of plain files that look like cgroupfs, and on this machine's cgroup v2 when it has one.
#include "base/fd.h"
#include "tap.h"
#include "watchdog/domain.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[] = "/tmp/wd-domain-XXXXXX";

static void put(const char *cgroup, const char *file, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s/%s", top, cgroup, file);
    ST_AUTO_CLOSE int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 || st_fd_write(fd, text, strlen(text)))
        perror(path);
}

static void make(const char *cgroup, const char *current, const char *max, const char *high)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", top, cgroup);
    if (mkdir(path, 0700))
        perror(path);
    put(cgroup, "cgroup.procs", "");
    put(cgroup, "cgroup.controllers", "memory\n");
    put(cgroup, "memory.current", current);
    put(cgroup, "memory.max", max);
    put(cgroup, "memory.high", high);
    put(cgroup, "memory.stat", "anon 4096\nfile 8192\npgmajfault 3\n");
}

static void drop(const char *cgroup) // as rmdir of a cgroup: its files go with it
{
    char path[512], file[1024];
    snprintf(path, sizeof path, "%s%s", top, cgroup);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_type == DT_REG) {
            snprintf(file, sizeof file, "%s/%s", path, e->d_name);
            unlink(file);
        }
    if (d)
        closedir(d);
    rmdir(path);
}

static void owner_is(const struct st_wd_root *root, const char *path, const char *owner, uint64_t limit, bool high)
{
    struct st_wd_domain d = {.dir_fd = -1};
    struct st_err err = {0};
    ST_AUTO_CLOSE int fd = -1;
    char buf[512] = "";
    int rc = st_wd_domain_open(&d, root, st_sv_of(path), &err);
    rc = rc ? rc : st_wd_domain_owner(&d, root, &fd, &err);
    rc = rc ? rc : st_wd_dir_path(root, fd, buf, sizeof buf);
    TAP_OK(rc == 0 && strcmp(buf, owner) == 0 && d.limit == limit && d.limit_is_high == high,
           "owner of %s is %s (%s %s)", path, owner, buf, err.text);
    st_wd_domain_close(&d);
}

static void test_wd_domain_owner(const struct st_wd_root *root)
{
    make("/k", "0\n", "max\n", "max\n");
    make("/k/pod", "450\n", "500\n", "max\n");
    make("/k/pod/equal", "450\n", "500\n", "max\n");
    owner_is(root, "/k/pod/equal", "/k/pod", 500, false);
    put("/k/pod", "memory.max", "1000\n");
    owner_is(root, "k/pod/equal", "/k/pod/equal", 500, false);
    put("/k/pod", "memory.current", "980\n"); // others in the pod
    owner_is(root, "/k/pod/equal", "/k/pod", 1000, false);
    put("/k/pod/equal", "memory.high", "460\n");
    owner_is(root, "/k/pod/equal", "/k/pod/equal", 460, true);
    put("/k/pod/equal", "memory.current", "470\n"); // above high: no headroom at all
    owner_is(root, "/k/pod/equal", "/k/pod/equal", 460, true);
    make("/free", "5\n", "max\n", "max\n");
    owner_is(root, "/free", "/free", ST_WD_NONE, false);
    put("", "memory.max", "7\n"); // a container's own root, seen from inside
    put("", "memory.current", "6\n");
    owner_is(root, "/free", "/", 7, false);
    put("", "memory.max", "max\n");
    put("/free", "memory.max", "12x\n");
    owner_is(root, "/free", "/free", ST_WD_NONE, false);
}

static void test_wd_domain_refused(const struct st_wd_root *root)
{
    static const struct {
        const char *path, *says;
        enum st_err_code code;
    } rows[] = {
        {"/none", "there is no cgroup", ST_E_NOTFOUND},
        {"/k/../k", "..", ST_E_INPUT},
        {"/plain", "is no cgroup", ST_E_INPUT},
        {"/unaccounted", "subtree_control", ST_E_INPUT},
        {"/k/memory.max", "there is no cgroup", ST_E_NOTFOUND},
    };
    char path[512];
    snprintf(path, sizeof path, "%s/plain", top);
    mkdir(path, 0700);
    make("/unaccounted", "0\n", "max\n", "max\n");
    snprintf(path, sizeof path, "%s/unaccounted/memory.current", top);
    unlink(path);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct st_wd_domain d = {.dir_fd = -1};
        struct st_err err = {0};
        int rc = st_wd_domain_open(&d, root, st_sv_of(rows[i].path), &err);
        TAP_OK(rc == -1 && err.code == rows[i].code && strstr(err.text, rows[i].says), "%s: %s", rows[i].path,
               err.text);
    }
    struct st_wd_root r = {.fd = -1};
    struct st_err err = {0};
    TAP_OK(st_wd_root_open(&r, top, false, &err) == -1 && err.code == ST_E_NOTFOUND && r.fd == -1, "%s", err.text);
    TAP_OK(st_wd_root_open(&r, "/nowhere", false, &err) == -1 && err.code == ST_E_NOTFOUND, "%s", err.text);
}

static void test_wd_domain_gone(const struct st_wd_root *root)
{
    struct st_wd_domain d = {.dir_fd = -1};
    struct st_err err = {0};
    int fd = -1;
    make("/job", "1\n", "2\n", "max\n");
    TAP_OK(st_wd_domain_open(&d, root, ST_SV("/job"), &err) == 0 && st_wd_domain_alive(&d) &&
               st_wd_domain_is(&d, root, ST_SV("job")),
           "open");
    drop("/job");
    TAP_OK(!st_wd_domain_alive(&d) && !st_wd_domain_is(&d, root, ST_SV("/job")), "removed");
    TAP_OK(st_wd_domain_owner(&d, root, &fd, &err) == -1 && err.code == ST_E_NOTFOUND && fd == -1, "%s", err.text);
    char buf[512];
    TAP_OK(st_wd_dir_path(root, d.dir_fd, buf, sizeof buf) == -1 && buf[0] == 0, "no path");
    make("/job", "1\n", "2\n", "max\n");
    TAP_OK(!st_wd_domain_alive(&d), "another cgroup of the same name is not it");
    st_wd_domain_close(&d);
    TAP_OK(d.dir_fd == -1 && !st_wd_domain_alive(&d), "closed");
    drop("/job");
}

static void test_wd_domain_sampler(const struct st_wd_root *root)
{
    struct st_wd_domain d = {.dir_fd = -1};
    struct st_wd_sampler s = ST_WD_SAMPLER_INIT;
    struct st_wd_sample a, b;
    struct st_err err = {0};
    uint32_t missing = 0;
    ST_AUTO_CLOSE int owner = -1;
    make("/s", "12288\n", "16384\n", "max\n");
    put("/s", "memory.events", "low 0\nhigh 0\nmax 7\noom 0\noom_kill 0\n");
    st_wd_domain_open(&d, root, ST_SV("s"), &err);
    st_wd_domain_owner(&d, root, &owner, &err);
    TAP_OK(st_wd_sampler_open(&s, owner, &missing, &err) == 0, "sampler opens %s", err.text);
    TAP_OK((missing >> ST_WD_FILE_MEMORY_PRESSURE & 1) && (missing >> ST_WD_FILE_CPU_STAT & 1) &&
               !(missing >> ST_WD_FILE_MEMORY_EVENTS & 1) && !(missing >> ST_WD_FILE_HOST_MEMINFO & 1),
           "what is missing is said (%x)", missing);
    TAP_OK(st_wd_sampler_read(&s, &a) == 0 && a.v[ST_WD_F_current] == 12288 && a.v[ST_WD_F_max] == 16384 &&
               a.v[ST_WD_F_high] == ST_WD_NONE && a.v[ST_WD_F_ev_max] == 7 && a.v[ST_WD_F_anon] == 4096 &&
               !st_wd_has(&a, ST_WD_F_mem_some_us) && a.t_us > 0,
           "a sample");
    put("/s", "memory.current", "16384\n");
    TAP_OK(st_wd_sampler_read(&s, &b) == 0 && b.v[ST_WD_F_current] == 16384 && b.t_us >= a.t_us,
           "the next one is fresh");
    st_wd_sampler_close(&s);
    char path[512];
    snprintf(path, sizeof path, "%s/s/memory.stat", top);
    unlink(path);
    TAP_OK(st_wd_sampler_open(&s, owner, NULL, &err) == -1 && err.code == ST_E_IO && s.fd[0] == -1, "%s", err.text);
    drop("/s");
    TAP_OK(st_wd_sampler_open(&s, owner, NULL, &err) == -1 && err.code == ST_E_NOTFOUND, "%s", err.text);
    st_wd_domain_close(&d);
}

// A cgroup v2 of this machine with memory accounting, by its own /proc/self/cgroup.
static void test_wd_domain_real(void)
{
    static const char what[] = "on this machine's cgroup v2";
    struct st_wd_root root = {.fd = -1};
    struct st_wd_domain d = {.dir_fd = -1};
    struct st_err err = {0};
    char buf[4096] = "";
    ST_AUTO_CLOSE int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : st_fd_read(fd, buf, sizeof buf - 1);
    struct st_sv rest = st_sv_mem(buf, n > 0 ? (size_t)n : 0), line, path = ST_SV_NULL;
    while (st_sv_line(&rest, &line))
        if (st_sv_starts(line, ST_SV("0::")))
            path = st_sv_from(line, 3);
    if (st_wd_root_open(&root, "/sys/fs/cgroup", false, &err) || st_wd_domain_open(&d, &root, path, &err)) {
        tap_skip(what, err.text);
        st_wd_root_close(&root);
        return;
    }
    struct st_wd_sampler s = ST_WD_SAMPLER_INIT;
    struct st_wd_sample sample = {0};
    ST_AUTO_CLOSE int owner = -1;
    int rc = st_wd_domain_owner(&d, &root, &owner, &err);
    rc = rc ? rc : st_wd_sampler_open(&s, owner, NULL, &err);
    rc = rc ? rc : st_wd_sampler_read(&s, &sample);
    TAP_OK(rc == 0 && sample.v[ST_WD_F_current] > 0 && sample.v[ST_WD_F_anon] > 0, "%s %s", what, err.text);
    st_wd_sampler_close(&s);
    st_wd_domain_close(&d);
    st_wd_root_close(&root);
}

int main(void)
{
    struct st_wd_root root = {.fd = -1};
    struct st_err err = {0};
    if (!mkdtemp(top) || st_wd_root_open(&root, top, true, &err))
        return 1;
    test_wd_domain_owner(&root);
    test_wd_domain_refused(&root);
    test_wd_domain_gone(&root);
    test_wd_domain_sampler(&root);
    test_wd_domain_real();
    st_wd_root_close(&root);
    static const char *const left[] = {"/k/pod/equal", "/k/pod", "/k", "/free", "/plain", "/unaccounted", ""};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        drop(left[i]);
    TAP_OK(access(top, F_OK) != 0, "nothing is left behind");
    return tap_done();
}
