#include "supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_FD 3

// In the child, where only what is safe between fork and exec may be called.
static void become(const struct st_spawn *s, pid_t parent)
{
    sigset_t none;
    int null = open("/dev/null", O_RDWR);
    prctl(PR_SET_PDEATHSIG, s->death_signal);
    if (getppid() != parent) // it died before it could be told of
        _exit(127);
    if (s->group)
        setpgid(0, 0);
    struct rlimit data;
    if (s->data_max && getrlimit(RLIMIT_DATA, &data) == 0) { // an analyzer sets its own, under the hard limit
        data.rlim_cur = data.rlim_max == RLIM_INFINITY || s->data_max < data.rlim_max ? s->data_max : data.rlim_max;
        setrlimit(RLIMIT_DATA, &data);
    }
    // Above the numbers that they go to, so that none is overwritten before it is moved.
    int at[ST_SPAWN_FDS], out = fcntl(s->out >= 0 ? s->out : null, F_DUPFD, 64);
    for (size_t i = 0; i < s->n_fds; i++)
        at[i] = fcntl(s->fds[i], F_DUPFD, 64);
    dup2(null, 0);
    dup2(out, 1);
    for (size_t i = 0; i < s->n_fds; i++)
        dup2(at[i], FIRST_FD + (int)i);
    syscall(SYS_close_range, FIRST_FD + s->n_fds, ~0u, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int sig = 1; sig < 32; sig++)
        signal(sig, SIG_DFL);
    execve(s->path, s->argv, s->envp ? s->envp : environ);
    _exit(127);
}

static pid_t clone_into(const struct st_spawn *s, int *ret_pidfd)
{
    struct clone_args a = {.flags = CLONE_PIDFD | (s->cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
                           .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
                           .exit_signal = SIGCHLD,
                           .cgroup = s->cgroup >= 0 ? (uint64_t)s->cgroup : 0};
    return (pid_t)syscall(SYS_clone3, &a, sizeof a);
}

// Where a sandbox of the host refuses clone3 (ENOSYS, as container runtimes answer): fork, and the child moves itself.
static pid_t fork_into(const struct st_spawn *s, int *ret_pidfd)
{
    pid_t pid = fork();
    if (pid == 0 && s->cgroup >= 0) {
        int fd = openat(s->cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(127);
    }
    if (pid > 0) {
        *ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (*ret_pidfd < 0) {
            int e = errno;
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            errno = e;
            return -1;
        }
    }
    return pid;
}

int st_spawn(const struct st_spawn *s, pid_t *ret_pid, int *ret_pidfd, struct st_err *err)
{
    pid_t parent = getpid();
    int pidfd = -1;
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old); // no handler of ours in the child
    pid_t pid = clone_into(s, &pidfd);
    if (pid < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL))
        pid = fork_into(s, &pidfd);
    if (pid == 0)
        become(s, parent);
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (pid < 0)
        return st_err_sys(err, "start of %s", s->path);
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

bool st_spawn_reap(int pidfd, int *ret_code, int *ret_signal)
{
    siginfo_t i = {.si_pid = 0};
    if (waitid((idtype_t)ST_SPAWN_PIDFD, (id_t)pidfd, &i, WEXITED | WNOHANG) || i.si_pid == 0)
        return false;
    *ret_code = i.si_code == CLD_EXITED ? i.si_status : 0;
    *ret_signal = i.si_code == CLD_EXITED ? 0 : i.si_status;
    return true;
}

int st_spawn_signal(int pidfd, int sig)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}
