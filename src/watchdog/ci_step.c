#include "watchdog/ci_step.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "watchdog/wd_files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define RWF_NOWAIT_ 8 // <linux/fs.h>, which musl does not have
#define ENVIRON_MAX (128 * 1024)
#define LINE_MAX_ 1024 // well under PIPE_BUF: one write, whole or not at all

// ---- environ ------------------------------------------------------------------------------------

static const struct {
    const char *name;
    size_t offset, cap;
} variables[] = {
#define ROW(name, field)                                                                                  \
    {                                                                                                     \
        name, offsetof(struct st_wd_github, field), sizeof((struct st_wd_github){.actions = false}).field \
    }
    ROW("GITHUB_REPOSITORY=", repository),   ROW("GITHUB_RUN_ID=", run_id),
    ROW("GITHUB_RUN_ATTEMPT=", run_attempt), ROW("GITHUB_JOB=", job),
    ROW("GITHUB_API_URL=", api_url),
#undef ROW
};

void st_wd_github_parse(struct st_sv vars, struct st_wd_github *ret)
{
    struct st_sv entry;
    *ret = (struct st_wd_github){.actions = false};
    while (st_sv_split(&vars, '\0', &entry)) {
        if (st_sv_eq(entry, ST_SV("GITHUB_ACTIONS=true")))
            ret->actions = true;
        for (size_t i = 0; i < ST_LEN(variables); i++)
            if (st_sv_starts(entry, st_sv_of(variables[i].name))) {
                struct st_sv value = st_sv_from(entry, strlen(variables[i].name));
                snprintf((char *)ret + variables[i].offset, variables[i].cap, ST_SV_FMT, ST_SV_ARG(value));
            }
    }
}

// ---- the line -----------------------------------------------------------------------------------

size_t st_wd_workflow_error(struct st_sv text, char *buf, size_t cap)
{
    int n = snprintf(buf, cap, "\n::error title=Out of memory::");
    size_t at = ST_MIN((size_t)n, cap);
    for (size_t i = 0; i < text.len && at + 5 < cap; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        const char *code = c == '%' ? "%25" : c == '\r' ? "%0D" : c == '\n' ? "%0A" : NULL;
        if (code) {
            memcpy(buf + at, code, 3);
            at += 3;
        } else {
            buf[at++] = c < 0x20 || c == 0x7F ? '?' : (char)c;
        }
    }
    if (at < cap)
        buf[at++] = '\n';
    return at;
}

// The descriptor is the victim's own: its O_NONBLOCK is not ours to set, and opening its pipe again needs rights on the
// pipe that a watchdog without CAP_DAC_OVERRIDE does not have.
static bool write_soon(int fd, struct st_sv line, bool polls)
{
    struct iovec io = {.iov_base = (void *)(uintptr_t)line.ptr, .iov_len = line.len};
    ssize_t n = syscall(SYS_pwritev2, fd, &io, 1L, -1L, -1L, RWF_NOWAIT_); // -1: where it stands
    if (n >= 0 || errno != EOPNOTSUPP || !polls)
        return n == (ssize_t)line.len;
    struct pollfd p = {.fd = fd, .events = POLLOUT}; // pipes before 6.5, terminals: there is room for so little
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && write(fd, line.ptr, line.len) == (ssize_t)line.len;
}

bool st_wd_write_stdout_of(pid_t pid, struct st_sv line)
{
    struct stat st;
    ST_AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    ST_AUTO_CLOSE int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, STDOUT_FILENO, 0);
    int mode = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY || (mode & O_PATH) || fstat(fd, &st))
        return false;
    bool regular = S_ISREG(st.st_mode), terminal = S_ISCHR(st.st_mode) && isatty(fd);
    return (regular || terminal || S_ISFIFO(st.st_mode)) && write_soon(fd, line, !regular);
}

// ---- the child ----------------------------------------------------------------------------------

struct answer {
    struct st_wd_github github;
    enum st_wd_line line;
};

static bool environ_of(pid_t pid, struct st_wd_github *ret)
{
    char path[40];
    char *buf = mmap(NULL, ENVIRON_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buf == MAP_FAILED)
        return false;
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    ssize_t n = st_wd_read_at(AT_FDCWD, path, buf, ENVIRON_MAX);
    st_wd_github_parse(st_sv_mem(buf, n > 0 ? (size_t)n : 0), ret);
    munmap(buf, ENVIRON_MAX);
    return ret->run_id[0] || ret->actions;
}

static void ask(const pid_t *pids, size_t n, struct st_sv message, int out)
{
    struct answer a = {.line = ST_WD_LINE_NONE};
    char line[LINE_MAX_];
    bool found = false;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < n && !found; i++)
        found = environ_of(pids[i], &a.github);
    if (a.github.actions && message.len) {
        a.line = ST_WD_LINE_REFUSED;
        size_t len = st_wd_workflow_error(message, line, sizeof line);
        for (size_t i = 0; i < n && a.line != ST_WD_LINE_WRITTEN; i++)
            if (st_wd_write_stdout_of(pids[i], st_sv_mem(line, len)))
                a.line = ST_WD_LINE_WRITTEN;
    }
    _exit(st_fd_write(out, &a, sizeof a) ? 1 : 0);
}

enum st_wd_line st_wd_ci_step(const pid_t *pids, size_t n, struct st_sv message, unsigned ms, struct st_wd_github *ret)
{
    int fds[2];
    *ret = (struct st_wd_github){.actions = false};
    if (pipe2(fds, O_CLOEXEC))
        return ST_WD_LINE_REFUSED;
    ST_AUTO_CLOSE int in = fds[0];
    ST_AUTO_CLOSE int out = fds[1];
    pid_t child = fork();
    if (child == 0)
        ask(pids, n, message, out);
    if (child < 0)
        return ST_WD_LINE_REFUSED;
    close(st_take_fd(&out));
    uint64_t until = st_wd_now_ms() + ms, now;
    struct answer a = {0};
    size_t got = 0;
    while (got < sizeof a && (now = st_wd_now_ms()) < until) {
        struct pollfd p = {.fd = in, .events = POLLIN};
        if (poll(&p, 1, (int)(until - now)) <= 0)
            continue;
        ssize_t r = read(in, (char *)&a + got, sizeof a - got);
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    kill(child, SIGKILL); // reaped by the loop: it may hang until the victim is gone
    if (got < sizeof a)
        return ST_WD_LINE_TIMEOUT;
    *ret = a.github;
    return a.line;
}
