#include "watchdog/hook.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

int st_wd_hook_init(struct st_wd_hook *h, const char *command, struct st_err *err)
{
    *h = (struct st_wd_hook){0};
    if (snprintf(h->text, sizeof h->text, "%s", command) >= (int)sizeof h->text)
        return st_err_set(err, ST_E_USAGE, "--hook is longer than %zu bytes", sizeof h->text - 1);
    size_t n = 0;
    for (char *p = h->text; *p;) {
        while (*p == ' ' || *p == '\t')
            *p++ = '\0';
        if (!*p)
            break;
        if (n == ST_WD_HOOK_ARGS)
            return st_err_set(err, ST_E_USAGE, "--hook has more than %d words", ST_WD_HOOK_ARGS);
        h->argv[n++] = p;
        while (*p && *p != ' ' && *p != '\t')
            p++;
    }
    if (n == 0)
        return st_err_set(err, ST_E_USAGE, "empty value for --hook");
    if (strchr(h->argv[0], '/') && access(h->argv[0], X_OK))
        return st_err_set(err, ST_E_USAGE, "--hook program %.200s cannot be run: %s", h->argv[0], strerror(errno));
    return 0;
}

// In the child: a session of its own (so that all of it can be killed), no protection from the OOM killer.
static void become(const struct st_wd_hook *h, int in)
{
    sigset_t none;
    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    st_wd_write_at(AT_FDCWD, "/proc/self/oom_score_adj", "0", 0);
    dup2(in, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execvp(h->argv[0], h->argv);
    _exit(127);
}

bool st_wd_hook_run(struct st_wd_hook *h, struct st_sv record, uint64_t now_ms)
{
    size_t slot = 0;
    int fds[2];
    while (slot < ST_WD_HOOKS_AT_ONCE && h->running[slot].pid)
        slot++;
    if (!h->argv[0] || slot == ST_WD_HOOKS_AT_ONCE || pipe2(fds, O_CLOEXEC)) {
        h->dropped++;
        return false;
    }
    ST_AUTO_CLOSE int in = fds[0];
    ST_AUTO_CLOSE int out = fds[1];
    // The whole record fits the pipe: it is there before the program starts, and nobody has to feed it.
    fcntl(out, F_SETPIPE_SZ, record.len + 8192);
    fcntl(out, F_SETFL, O_NONBLOCK);
    pid_t pid = -1;
    if (st_fd_write(out, record.ptr, record.len) == 0)
        pid = fork();
    if (pid == 0)
        become(h, in);
    if (pid < 0) {
        h->dropped++;
        return false;
    }
    h->running[slot].pid = pid;
    h->running[slot].deadline_ms = now_ms + ST_WD_HOOK_DEADLINE_MS;
    return true;
}

bool st_wd_hook_reaped(struct st_wd_hook *h, pid_t pid)
{
    for (size_t i = 0; i < ST_WD_HOOKS_AT_ONCE; i++)
        if (h->running[i].pid == pid) {
            h->running[i].pid = 0;
            return true;
        }
    return false;
}

uint64_t st_wd_hook_step(struct st_wd_hook *h, uint64_t now_ms)
{
    uint64_t next = 0;
    for (size_t i = 0; i < ST_WD_HOOKS_AT_ONCE; i++) {
        if (!h->running[i].pid)
            continue;
        if (now_ms >= h->running[i].deadline_ms) {
            kill(-h->running[i].pid, SIGKILL);
            kill(h->running[i].pid, SIGKILL); // before its setsid
            h->running[i].deadline_ms = now_ms + 1000;
            h->killed++;
        }
        next = next ? ST_MIN(next, h->running[i].deadline_ms) : h->running[i].deadline_ms;
    }
    return next;
}
