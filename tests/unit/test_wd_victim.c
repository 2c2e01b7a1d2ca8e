#include "tap.h"
#include "watchdog/victim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS(name, rest) "Name:\t" name "\nUmask:\t0022\nState:\tS (sleeping)\nPPid:\t7\n" rest

static struct st_wd_processes ps; // 300 KiB

static void test_status(void)
{
    static const struct {
        const char *what, *text;
        bool ok;
        const char *comm;
        uint64_t bytes;
        uint8_t flags;
    } rows[] = {
        {"plain", STATUS("python3", "RssAnon:\t  100 kB\nRssShmem:\t 28 kB\nVmSwap:\t 4 kB\n"), true, "python3",
         132 * 1024, 0},
        {"name that looks like stat", STATUS("x) Z 1 (y", "RssAnon:\t 1 kB\n"), true, "x) Z 1 (y", 1024, 0},
        {"name with an escaped line end", STATUS("a\\nPPid: 1", "RssAnon:\t 1 kB\n"), true, "a\nPPid: 1", 1024, 0},
        {"name with a backslash", STATUS("a\\\\b", ""), true, "a\\b", 0, 0},
        {"name longer than the kernel keeps", STATUS("0123456789abcdefgh", ""), true, "0123456789abcde", 0, 0},
        {"empty name", STATUS("", "RssAnon:\t 2 kB\n"), true, "", 2048, 0},
        {"name of colons", STATUS("::::", ""), true, "::::", 0, 0},
        {"zombie", "Name:\tz\nState:\tZ (zombie)\nPPid:\t1\n", true, "z", 0, ST_WD_P_ZOMBIE},
        {"init of a namespace", STATUS("sh", "NSpid:\t4711\t1\n"), true, "sh", 0, ST_WD_P_INIT},
        {"not init", STATUS("sh", "NSpid:\t1\t7\n"), true, "sh", 0, 0},
        {"no name", "PPid:\t1\n", false, "", 0, 0},
        {"no parent", "Name:\tx\n", false, "", 0, 0},
        {"empty", "", false, "", 0, 0},
        {"number that does not fit", STATUS("x", "RssAnon:\t 99999999999999999999 kB\nRssShmem:\t 3 kB\n"), true, "x",
         3072, 0},
        {"number that overflows in bytes", STATUS("x", "RssAnon:\t 18446744073709551615 kB\n"), true, "x", 0, 0},
        {"cut line", STATUS("x", "RssAnon:"), true, "x", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct st_wd_process p = {0};
        FILE *f = tmpfile();
        fputs(rows[i].text, f);
        rewind(f);
        bool ok = st_wd_status_read(fileno(f), &p);
        fclose(f);
        TAP_OK(ok == rows[i].ok &&
                   (!ok || (!strcmp(p.comm, rows[i].comm) && st_wd_process_bytes(&p) == rows[i].bytes &&
                            p.flags == rows[i].flags && p.ppid == (strstr(rows[i].text, "\t7\n") ? 7 : 1))),
               "status: %s", rows[i].what);
    }
}

static void add(pid_t pid, pid_t ppid, const char *comm, uint64_t mib, uint8_t flags)
{
    struct st_wd_process *p = &ps.at[ps.n++];
    *p = (struct st_wd_process){.pid = pid, .ppid = ppid, .anon = mib << 20, .flags = flags};
    snprintf(p->comm, sizeof p->comm, "%s", comm);
    if (st_wd_protect_has(ps.protect, comm))
        p->flags |= ST_WD_P_NAMED;
}

// Numbers above pid_max, so that /proc knows none of them.
#define P(n) (5000000 + (n))

static void test_choice(void)
{
    struct st_wd_protect protect;
    st_wd_protect_init(&protect);
    st_wd_processes_clear(&ps, &protect);
    add(P(9), P(8), "cc1", 300, 0);
    add(P(1), 1, "runner.sh", 1, 0);
    add(P(2), P(1), "Runner.Listener", 700, 0);
    add(P(3), P(2), "Runner.Worker", 800, 0);
    add(P(5), P(3), "bash", 2, 0);
    add(P(8), P(5), "make", 3, 0);
    add(P(10), P(8), "cc1", 200, 0);
    add(P(11), P(3), "bash", 1, 0);
    st_wd_processes_finish(&ps);
    const struct st_wd_process *c = st_wd_culprit(&ps);
    TAP_OK(c && c->pid == P(9), "culprit: the largest that is not protected");
    TAP_OK(st_wd_largest(&ps)->pid == P(3), "largest: protected ones too");
    const struct st_wd_process *top = st_wd_tree_top(&ps, c);
    TAP_OK(top->pid == P(5), "tree: up to below the agent");
    int in = 0;
    for (size_t i = 0; i < ps.n; i++)
        in += st_wd_in_tree(&ps, &ps.at[i], top);
    TAP_OK(in == 4, "tree: four processes, the other step is not in it");
    for (size_t i = 0; i < ps.n; i++)
        if (ps.at[i].pid == P(1))
            TAP_OK(ps.at[i].flags & ST_WD_P_ABOVE, "an agent descends from it: never killed");

    st_wd_processes_clear(&ps, &protect);
    add(P(1), 1, "java", 900, ST_WD_P_INIT);
    add(P(2), P(1), "dockerd", 10, 0);
    st_wd_processes_finish(&ps);
    TAP_OK(!st_wd_culprit(&ps), "no culprit: all are protected");
    st_wd_processes_clear(&ps, &protect);
    add(P(1), 1, "idle", 0, 0);
    st_wd_processes_finish(&ps);
    TAP_OK(!st_wd_culprit(&ps), "no culprit: nobody holds anything");
    st_wd_processes_clear(&ps, &protect);
    add(P(1), P(2), "a", 1, 0); // parents in a circle (pids were used again between two reads)
    add(P(2), P(1), "b", 2, 0);
    st_wd_processes_finish(&ps);
    top = st_wd_tree_top(&ps, st_wd_culprit(&ps));
    TAP_OK(top && st_wd_in_tree(&ps, &ps.at[0], top), "tree: parents in a circle end");
}

static void test_protect(void)
{
    struct st_wd_protect p;
    struct st_err err = {0};
    st_wd_protect_init(&p);
    TAP_OK(st_wd_protect_has(&p, "containerd-shim") && !st_wd_protect_has(&p, "bash"), "protect: defaults");
    TAP_OK(st_wd_protect_add(&p, ST_SV("node, a-name-longer-than-comm"), &err) == 0 && st_wd_protect_has(&p, "node") &&
               st_wd_protect_has(&p, "a-name-longer-t"),
           "protect: added, as long as the kernel keeps names");
    TAP_OK(st_wd_protect_add(&p, ST_SV("a,,b"), &err) && err.code == ST_E_USAGE, "protect: empty name: %s", err.text);
}

static void test_long_status(void)
{
    struct st_wd_process p;
    FILE *f = tmpfile();
    fputs("Name:\tmany\nPPid:\t7\nGroups:\t", f);
    for (int i = 0; i < 65536; i++)
        fprintf(f, "%d ", 1000000 + i);
    fputs("\nNSpid:\t9\t1\nRssAnon:\t 100 kB\n", f);
    rewind(f);
    TAP_OK(st_wd_status_read(fileno(f), &p) && !strcmp(p.comm, "many") && p.anon == 100 * 1024 &&
               p.flags == ST_WD_P_INIT,
           "status: what stands behind 65,536 groups");
    for (size_t length = 4080; length < 4110; length++) { // ends at, before and behind the buffer's
        rewind(f);
        fprintf(f, "Name:\tx\nPPid:\t7\nGroups:\t%*d\nRssAnon:\t 3 kB\nRssShmem:\t 1 kB\n", (int)length, 1);
        fflush(f);
        if (ftruncate(fileno(f), ftell(f)))
            break;
        rewind(f);
        if (!st_wd_status_read(fileno(f), &p) || st_wd_process_bytes(&p) != 4096 || p.ppid != 7)
            TAP_OK(false, "status: a line of %zu bytes", length);
    }
    fclose(f);
}

// ---- real processes -----------------------------------------------------------------------------

static pid_t child(const char *name)
{
    int ready[2];
    char c;
    if (pipe(ready))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NAME, name);
        close(ready[0]);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    while (read(ready[0], &c, 1) < 0 && errno == EINTR) // ends when the child has its name
        ;
    close(ready[0]);
    return pid;
}

static int make_cgroup(char *dir, pid_t pid)
{
    char path[200];
    mkdir(dir, 0755);
    snprintf(path, sizeof path, "%s/cgroup.procs", dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "%d\n0\n", (int)pid);
    fclose(f);
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void test_kill(void)
{
    char base[] = "/tmp/wd-victim-XXXXXX", dir[64], other[64];
    struct st_wd_protect protect;
    struct st_err err = {0};
    int status;
    st_wd_protect_init(&protect);
    snprintf(dir, sizeof dir, "%s/a", mkdtemp(base));
    snprintf(other, sizeof other, "%s/b", base);
    pid_t pid = child("hog) Z 1 (");
    int fd = make_cgroup(dir, pid), elsewhere = make_cgroup(other, 1);
    st_wd_processes_clear(&ps, &protect);
    TAP_OK(st_wd_processes_scan(&ps, fd, 3, 2, UINT64_MAX) == 0 && ps.n == 1 && ps.unseen == 1,
           "scan: one seen, one hidden");
    st_wd_processes_finish(&ps);
    TAP_OK(!strcmp(ps.at[0].comm, "hog) Z 1 (") && ps.at[0].target == 3, "scan: hostile name");
    int above = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    st_wd_processes_scan(&ps, above, 1, 1, UINT64_MAX); // the cgroup around it is watched, too
    st_wd_processes_finish(&ps);
    size_t ours = 0;
    for (size_t i = 0; i < ps.n; i++)
        ours += ps.at[i].pid == pid && ps.at[i].target == 3;
    TAP_OK(ours == 1 && ps.n == 2, "scan: one in the other: each process once, and of the inner (%zu)", ps.n);
    close(above);
    struct st_wd_process p, wrong;
    for (size_t i = 0; i < ps.n; i++)
        if (ps.at[i].pid == pid)
            p = wrong = ps.at[i];
    TAP_OK(st_wd_kill(&p, elsewhere, &err) < 0 && kill(pid, 0) == 0, "kill: not in that cgroup: %s", err.text);
    snprintf(wrong.comm, sizeof wrong.comm, "other");
    TAP_OK(st_wd_kill(&wrong, fd, &err) < 0 && kill(pid, 0) == 0, "kill: another process now: %s", err.text);
    wrong = p;
    wrong.flags = ST_WD_P_ABOVE;
    TAP_OK(st_wd_kill(&wrong, fd, &err) < 0 && kill(pid, 0) == 0, "kill: protected: %s", err.text);
    int pidfd = st_wd_kill(&p, fd, &err);
    TAP_OK(pidfd >= 0, "kill: done");
    st_wd_reap(pidfd);
    waitpid(pid, &status, 0);
    TAP_OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && st_wd_gone(pidfd), "kill: by SIGKILL, and gone");
    TAP_OK(st_wd_kill(&p, fd, &err) < 0 && err.code == ST_E_NOTFOUND, "kill: has ended: %s", err.text);
    st_wd_processes_clear(&ps, &protect);
    int nowhere = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unlinkat(fd, "cgroup.procs", 0);
    TAP_OK(st_wd_processes_scan(&ps, fd, 0, 0, UINT64_MAX) < 0, "scan: no cgroup.procs");
    unlinkat(elsewhere, "cgroup.procs", 0);
    unlinkat(nowhere, "a", AT_REMOVEDIR);
    unlinkat(nowhere, "b", AT_REMOVEDIR);
    rmdir(base);
    close(fd);
    close(elsewhere);
    close(nowhere);
    close(pidfd);
}

int main(void)
{
    test_status();
    test_choice();
    test_protect();
    test_long_status();
    test_kill();
    return tap_done();
}
