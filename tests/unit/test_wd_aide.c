// The second process, and hooks.
#include "tap.h"
#include "watchdog/aide.h"
#include "watchdog/hook.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char base[] = "/tmp/wd-aide-XXXXXX";
static int root;

static const char *slurp(const char *name)
{
    static char buf[4096];
    st_wd_read_at(root, name, buf, sizeof buf);
    return buf;
}

static void spit(const char *name, const char *text)
{
    int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (write(fd, text, strlen(text)) < 0)
        perror(name);
    close(fd);
}

static void test_files(void)
{
    char metrics[100], evidence[100];
    struct st_wd_aide a = {.fd = -1};
    snprintf(metrics, sizeof metrics, "%s/m.prom", base);
    snprintf(evidence, sizeof evidence, "%s/ev", base);
    struct st_wd_aide_files f = {.root = root, .evidence = evidence, .traces = root, .metrics = metrics};
    TAP_OK(st_wd_aide_start(&a, &f, NULL) == 0, "aide: starts");
    st_wd_aide_send(&a, ST_WD_AIDE_EVIDENCE, ST_SV_NULL, ST_SV("one\n"));
    st_wd_aide_send(&a, ST_WD_AIDE_EVIDENCE, ST_SV_NULL, ST_SV("two\n"));
    for (int i = 0; i < 200 && strcmp(slurp("ev"), "one\ntwo\n"); i++)
        usleep(10000);
    TAP_OK(!strcmp(slurp("ev"), "one\ntwo\n") && !renameat(root, "ev", root, "ev.1"), "aide: evidence is appended");
    st_wd_aide_send(&a, ST_WD_AIDE_EVIDENCE, ST_SV_NULL, ST_SV("three\n"));
    st_wd_aide_send(&a, ST_WD_AIDE_METRICS, ST_SV_NULL, ST_SV("old\n"));
    st_wd_aide_send(&a, ST_WD_AIDE_METRICS, ST_SV_NULL, ST_SV("new\n"));
    st_wd_aide_send(&a, ST_WD_AIDE_TRACE, ST_SV("t.trace"), ST_SV("row\n"));
    st_wd_aide_send(&a, ST_WD_AIDE_TRACE, ST_SV("no/such/dir"), ST_SV("row\n"));
    st_wd_aide_stop(&a, 2000);
    TAP_OK(!strcmp(slurp("ev"), "three\n"), "aide: to a new file, when it was rotated away");
    TAP_OK(!strcmp(slurp("m.prom"), "new\n") && faccessat(root, "m.prom.new", F_OK, 0), "aide: metrics are replaced");
    TAP_OK(!strcmp(slurp("t.trace"), "row\n"), "aide: traces");
    TAP_OK(!st_wd_aide_send(&a, ST_WD_AIDE_EVIDENCE, ST_SV_NULL, ST_SV("x")) && a.dropped == 1,
           "aide: gone, and counted");
}

static void test_holds(void)
{
    struct st_wd_aide a = {.fd = -1};
    struct st_wd_aide_files f = {.root = root, .traces = -1};
    mkdirat(root, "a", 0755);
    mkdirat(root, "b", 0755);
    int da = openat(root, "a", O_RDONLY | O_DIRECTORY), db = openat(root, "b", O_RDONLY | O_DIRECTORY);
    spit("a/memory.max", "200");
    spit("a/cgroup.freeze", "1");
    spit("b/memory.max", "200");
    pid_t middle = fork(); // the watchdog that is about to be killed
    if (middle == 0) {
        st_wd_aide_start(&a, &f, NULL);
        bool ok = st_wd_aide_hold(&a, ST_SV("/a"), st_wd_ino(da), "memory.max", "100") &&
                  st_wd_aide_hold(&a, ST_SV("a"), st_wd_ino(da), "cgroup.freeze", "0") &&
                  st_wd_aide_hold(&a, ST_SV("b"), 12345, "memory.max", "100"); // another inode by now
        st_wd_aide_drop(&a, st_wd_ino(da), "cgroup.freeze");
        usleep(100000);
        kill(getpid(), ok ? SIGKILL : SIGTERM);
    }
    int status;
    waitpid(middle, &status, 0);
    usleep(300000);
    TAP_OK(WTERMSIG(status) == SIGKILL && !strcmp(slurp("a/memory.max"), "100"),
           "hold: put back when the watchdog is killed");
    TAP_OK(!strcmp(slurp("a/cgroup.freeze"), "1"), "hold: not what was dropped");
    TAP_OK(!strcmp(slurp("b/memory.max"), "200"), "hold: not in another cgroup of that name");
    close(da);
    close(db);
}

static void test_stuck(void)
{
    // Standard error is a pipe that nobody reads: the watchdog must not notice.
    struct st_wd_aide a = {.fd = -1};
    struct st_wd_aide_files f = {.root = root, .traces = -1};
    int fds[2], saved = dup(2);
    if (pipe(fds))
        return;
    dup2(fds[1], 2);
    st_wd_aide_start(&a, &f, NULL);
    dup2(saved, 2);
    uint64_t start = st_wd_now_ms();
    for (int i = 0; i < 3000; i++)
        st_wd_aide_say(
            &a,
            "line %d of a log that nobody reads, which is quite long, so that the pipe of one megabyte fills up: "
            "%0500d",
            i, i);
    uint64_t took = st_wd_now_ms() - start;
    TAP_OK(a.dropped > 0 && took < 3000, "a log that nobody reads: %llu lines dropped, %llu ms",
           (unsigned long long)a.dropped, (unsigned long long)took);
    kill(a.pid, SIGKILL);
    st_wd_aide_stop(&a, 1000);
    signal(SIGPIPE, SIG_IGN);
    close(fds[0]);
    close(fds[1]);
    close(saved);
}

static void test_hook(void)
{
    static struct st_wd_hook h;
    static char record[150000];
    struct st_err err = {0};
    char command[200];
    TAP_OK(st_wd_hook_init(&h, "/no/such/program x", &err) && err.code == ST_E_USAGE, "hook: %s", err.text);
    TAP_OK(st_wd_hook_init(&h, "  ", &err) && err.code == ST_E_USAGE, "hook: empty");
    spit("hook.sh", "#!/bin/sh\ncat >\"$1\"\n");
    fchmodat(root, "hook.sh", 0755, 0);
    snprintf(command, sizeof command, "%s/hook.sh %s/got", base, base);
    TAP_OK(st_wd_hook_init(&h, command, &err) == 0, "hook: with an argument");
    memset(record, 'r', sizeof record);
    TAP_OK(st_wd_hook_run(&h, st_sv_mem(record, sizeof record), st_wd_now_ms()), "hook: started with a large record");
    pid_t pid = waitpid(-1, NULL, 0);
    struct stat st = {0};
    fstatat(root, "got", &st, 0);
    TAP_OK(st_wd_hook_reaped(&h, pid) && st.st_size == sizeof record, "hook: got all of it");
    TAP_OK(st_wd_hook_step(&h, st_wd_now_ms()) == 0, "hook: nothing to wait for");
    st_wd_hook_init(&h, "sleep 100", &err);
    for (int i = 0; i < ST_WD_HOOKS_AT_ONCE; i++)
        st_wd_hook_run(&h, ST_SV("{}\n"), 1000);
    TAP_OK(!st_wd_hook_run(&h, ST_SV("{}\n"), 1000) && h.dropped == 1, "hook: no more than %d at once",
           ST_WD_HOOKS_AT_ONCE);
    TAP_OK(st_wd_hook_step(&h, 2000) == 1000 + ST_WD_HOOK_DEADLINE_MS && h.killed == 0, "hook: has until its deadline");
    st_wd_hook_step(&h, 1000 + ST_WD_HOOK_DEADLINE_MS);
    int status = 0, killed = 0;
    for (int i = 0; i < ST_WD_HOOKS_AT_ONCE; i++)
        if ((pid = waitpid(-1, &status, 0)) > 0 && st_wd_hook_reaped(&h, pid))
            killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    TAP_OK(killed == ST_WD_HOOKS_AT_ONCE && h.killed == ST_WD_HOOKS_AT_ONCE, "hook: killed at its deadline");
    unlinkat(root, "got", 0);
    unlinkat(root, "hook.sh", 0);
}

int main(void)
{
    static const char *const files[] = {"ev", "m.prom", "t.trace", "a/memory.max", "a/cgroup.freeze", "b/memory.max"};
    root = open(mkdtemp(base), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    test_files();
    test_holds();
    test_stuck();
    test_hook();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlinkat(root, files[i], 0);
    unlinkat(root, "a", AT_REMOVEDIR);
    unlinkat(root, "b", AT_REMOVEDIR);
    rmdir(base);
    return tap_done();
}
