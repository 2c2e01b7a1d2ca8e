#include "watchdog/kernel_oom.h"

#include "base/cleanup.h"
#include "watchdog/victim.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

static void nothing(int signo)
{
    (void)signo;
}

static uint64_t kills(int events)
{
    char buf[512];
    uint64_t n = 0;
    ssize_t got = pread(events, buf, sizeof buf, 0);
    if (got <= 0 || !st_wd_key_number(st_sv_mem(buf, (size_t)got), ST_SV("oom_kill"), &n))
        return UINT64_MAX;
    return n;
}

static void limit_text(uint64_t limit, char ret[static 24])
{
    if (limit == UINT64_MAX)
        snprintf(ret, 24, "max");
    else
        snprintf(ret, 24, "%llu", (unsigned long long)limit);
}

// A signal every half millisecond from here on: the write returns after it has set the limit.
static void interrupt_often(bool on)
{
    struct sigaction act = {.sa_handler = nothing}; // no SA_RESTART
    struct itimerval every = {.it_interval.tv_usec = on ? 500 : 0, .it_value.tv_usec = on ? 500 : 0};
    sigset_t alarm; // and no other: what ends the watchdog must not end this before the limit is back
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigaction(SIGALRM, &act, NULL);
    sigprocmask(SIG_UNBLOCK, &alarm, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

// The number is the culprit's as long as its pidfd says that it lives; the file, once open, is of no other.
static bool offer(pid_t pid, int pidfd)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    ST_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && !st_wd_gone(pidfd) && write(fd, "1000", 4) == 4;
}

static int run(int dir, uint64_t old_limit, uint64_t low_limit, pid_t culprit, int pidfd)
{
    char low[24], old[24];
    limit_text(low_limit, low);
    limit_text(old_limit, old);
    ST_AUTO_CLOSE int events = openat(dir, "memory.events", O_RDONLY | O_CLOEXEC);
    ST_AUTO_CLOSE int max = openat(dir, "memory.max", O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    uint64_t before = events < 0 ? UINT64_MAX : kills(events), now = before;
    if (max < 0 || before == UINT64_MAX)
        return ST_WD_KERNEL_ERROR;
    if (!offer(culprit, pidfd))
        return ST_WD_KERNEL_ERROR;
    uint64_t until = st_wd_now_ms() + ST_WD_KERNEL_OOM_MS;
    interrupt_often(true);
    bool set = pwrite(max, low, strlen(low), 0) >= 0 || errno == EINTR;
    while (set && now == before && st_wd_now_ms() < until) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        now = kills(events);
    }
    interrupt_often(false);
    bool back = false;
    for (int i = 0; i < 100 && !back; i++)
        back = pwrite(max, old, strlen(old), 0) >= 0;
    // The culprit keeps its oom_score_adj: a kill that the kernel has begun must not fall on somebody else.
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL); // a second kill would come now
    now = kills(events);
    if (!set || !back)
        return ST_WD_KERNEL_ERROR;
    return now == before ? ST_WD_KERNEL_NOTHING : now == before + 1 ? ST_WD_KERNEL_KILLED : ST_WD_KERNEL_TWICE;
}

pid_t st_wd_kernel_oom(int dir, uint64_t old_limit, uint64_t low_limit, pid_t culprit, int pidfd)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(run(dir, old_limit, low_limit, culprit, pidfd));
    return pid;
}
