#include "watchdog/aide.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "watchdog/wd_files.h"
#include "watchdog/wd_text.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define NAME_MAX_ 480 // of a trace file or a cgroup
#define PIPE_SIZE (1 << 20)

struct head {
    uint32_t kind, name_len, len;
};

struct hold {
    uint64_t ino; // 0: free
    char file[24], value[24];
    char path[NAME_MAX_];
};
struct hold_text { // what a HOLD or DROP message carries
    uint64_t ino;
    char file[24], value[24];
};

// ---- in the aide --------------------------------------------------------------------------------

struct aide {
    const struct st_wd_aide_files *files;
    int in;
    struct hold holds[ST_WD_AIDE_HOLDS];
};

static void put_back(const struct aide *a, const struct hold *h)
{
    ST_AUTO_CLOSE int dir = openat(a->files->root, h->path[0] ? h->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0 && st_wd_ino(dir) == h->ino)
        st_wd_write_at(dir, h->file, h->value, O_NONBLOCK);
}

static void take_hold(struct aide *a, const char *path, const struct hold_text *t, bool drop)
{
    struct hold *to = NULL;
    for (size_t i = 0; i < ST_WD_AIDE_HOLDS; i++) {
        struct hold *h = &a->holds[i];
        if (h->ino == t->ino && !strcmp(h->file, t->file)) {
            to = h;
            break;
        }
        if (h->ino == 0 && !to)
            to = h;
    }
    if (!to)
        return;
    *to = (struct hold){0};
    if (drop)
        return;
    to->ino = t->ino;
    memcpy(to->file, t->file, sizeof to->file);
    memcpy(to->value, t->value, sizeof to->value);
    snprintf(to->path, sizeof to->path, "%s", path);
}

static int open_evidence(const char *path)
{
    return strcmp(path, "-") ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640)
                             : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

int st_wd_aide_evidence_try(const char *evidence, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open_evidence(evidence);
    return fd < 0 ? st_err_sys(err, "--evidence %.200s", evidence) : 0;
}

static int target_of(const struct aide *a, const struct head *h, const char *name, char *tmp, size_t cap)
{
    switch ((enum st_wd_aide_kind)h->kind) {
    case ST_WD_AIDE_LOG:
        return STDERR_FILENO;
    case ST_WD_AIDE_EVIDENCE:
        return a->files->evidence ? open_evidence(a->files->evidence) : -1;
    case ST_WD_AIDE_METRICS:
        if (!a->files->metrics || snprintf(tmp, cap, "%s.new", a->files->metrics) >= (int)cap)
            return -1;
        return open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    case ST_WD_AIDE_TRACE:
        return a->files->traces < 0
                   ? -1
                   : openat(a->files->traces, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
    default:
        return -1;
    }
}

// The payload from the pipe to its file. What cannot be written is read all the same. False: the pipe ended.
static bool copy(const struct aide *a, const struct head *h, const char *name)
{
    char buf[4096], tmp[PATH_MAX] = "";
    int to = target_of(a, h, name, tmp, sizeof tmp);
    bool ours = to != STDERR_FILENO, failed = to < 0;
    size_t left = h->len;
    while (left) {
        ssize_t n = st_fd_read(a->in, buf, ST_MIN(left, sizeof buf));
        if (n <= 0)
            break;
        left -= (size_t)n;
        failed = failed || st_fd_write(to, buf, (size_t)n);
    }
    if (ours && to >= 0)
        failed = close(to) || failed;
    if (h->kind == ST_WD_AIDE_METRICS && tmp[0] && (failed || left || rename(tmp, a->files->metrics)))
        unlink(tmp);
    return left == 0;
}

static bool next_message(struct aide *a)
{
    struct head h;
    char name[NAME_MAX_ + 1];
    struct hold_text t;
    if (st_fd_read(a->in, &h, sizeof h) != sizeof h || h.name_len > NAME_MAX_ ||
        st_fd_read(a->in, name, h.name_len) != (ssize_t)h.name_len)
        return false;
    name[h.name_len] = '\0';
    if (h.kind != ST_WD_AIDE_HOLD && h.kind != ST_WD_AIDE_DROP)
        return copy(a, &h, name);
    if (h.len != sizeof t || st_fd_read(a->in, &t, sizeof t) != sizeof t)
        return false;
    take_hold(a, name, &t, h.kind == ST_WD_AIDE_DROP);
    return true;
}

// Everything but the standard streams and what is listed.
static void close_others(const int *keep, size_t n)
{
    int from = 3;
    for (;;) {
        int next = INT_MAX;
        for (size_t i = 0; i < n; i++)
            if (keep[i] >= from)
                next = ST_MIN(next, keep[i]);
        if (next > from)
            syscall(SYS_close_range, from, next == INT_MAX ? ~0U : (unsigned)next - 1, 0);
        if (next == INT_MAX)
            return;
        from = next + 1;
    }
}

static void serve(const struct st_wd_aide_files *files, int in)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};
    struct aide a = {.files = files, .in = in};
    sigset_t none;
    for (size_t i = 0; i < ST_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_NAME, "watchdog-aide");
    close_others((int[]){in, files->root, files->traces}, 3);
    while (next_message(&a))
        ;
    for (size_t i = 0; i < ST_WD_AIDE_HOLDS; i++)
        if (a.holds[i].ino)
            put_back(&a, &a.holds[i]);
    _exit(0);
}

// ---- in the watchdog ----------------------------------------------------------------------------

int st_wd_aide_start(struct st_wd_aide *a, const struct st_wd_aide_files *files, struct st_err *err)
{
    int fds[2];
    *a = (struct st_wd_aide){.files = *files, .fd = -1, .pid = -1, .dropped = a->dropped};
    if (pipe2(fds, O_CLOEXEC))
        return st_err_sys(err, "pipe");
    if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE) < 0)
        fcntl(fds[1], F_SETPIPE_SZ, 1 << 18); // over the user's share of pipe pages
    a->pid = fork();
    if (a->pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return st_err_sys(err, "fork");
    }
    if (a->pid == 0) {
        close(fds[1]);
        serve(&a->files, fds[0]);
    }
    close(fds[0]);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    a->fd = fds[1];
    return 0;
}

static void lose(struct st_wd_aide *a)
{
    close(a->fd); // the aide ends, and with it what it held is put back
    a->fd = -1;
}

// The room was checked, so a short write is rare: pages of the pipe that are not full.
static bool write_rest(struct st_wd_aide *a, const char *p, size_t n)
{
    uint64_t until = st_wd_now_ms() + 100;
    while (n) {
        ssize_t w = write(a->fd, p, n);
        if (w > 0) {
            p += w;
            n -= (size_t)w;
            continue;
        }
        if (errno == EINTR)
            continue;
        struct pollfd poll_fd = {.fd = a->fd, .events = POLLOUT};
        if (errno != EAGAIN || st_wd_now_ms() >= until || poll(&poll_fd, 1, 20) < 0)
            return false;
    }
    return true;
}

static bool has_room(struct st_wd_aide *a, size_t n)
{
    int waiting = 0, size = fcntl(a->fd, F_GETPIPE_SZ);
    // A message that does not fit the rest of a page takes a new one: at worst half of each page is lost.
    return ioctl(a->fd, FIONREAD, &waiting) == 0 && size > 0 && n + 2 * (size_t)waiting + 4 * 4096 <= (size_t)size;
}

bool st_wd_aide_send(struct st_wd_aide *a, enum st_wd_aide_kind kind, struct st_sv name, struct st_sv bytes)
{
    struct head h = {.kind = kind, .name_len = (uint32_t)name.len, .len = (uint32_t)bytes.len};
    if (a->fd < 0 || name.len > NAME_MAX_ || bytes.len > PIPE_SIZE || !has_room(a, sizeof h + name.len + bytes.len)) {
        a->dropped++;
        return false;
    }
    char start[sizeof h + NAME_MAX_];
    memcpy(start, &h, sizeof h);
    if (name.len)
        memcpy(start + sizeof h, name.ptr, name.len);
    if (write_rest(a, start, sizeof h + name.len) && write_rest(a, bytes.ptr, bytes.len))
        return true;
    lose(a);
    a->dropped++;
    return false;
}

void st_wd_aide_say(struct st_wd_aide *a, const char *fmt, ...)
{
    char text[1024], line[2048];
    struct st_wd_text to;
    struct st_out *o = st_wd_text_init(&to, line, sizeof line - 1);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    st_out_puts(o, "stella-watchdog: ");
    st_out_safe(o, st_sv_of(text));
    line[to.buf.len++] = '\n';
    st_wd_aide_send(a, ST_WD_AIDE_LOG, ST_SV_NULL, st_wd_text_sv(&to)); // never here: it could block
}

static bool send_hold(struct st_wd_aide *a, enum st_wd_aide_kind kind, struct st_sv path, uint64_t ino,
                      const char *file, const char *value)
{
    struct hold_text t = {.ino = ino};
    snprintf(t.file, sizeof t.file, "%s", file);
    snprintf(t.value, sizeof t.value, "%s", value);
    while (path.len && path.ptr[0] == '/')
        path = st_sv_from(path, 1);
    return st_wd_aide_send(a, kind, path, st_sv_mem(&t, sizeof t));
}

bool st_wd_aide_hold(struct st_wd_aide *a, struct st_sv path, uint64_t ino, const char *file, const char *value)
{
    return send_hold(a, ST_WD_AIDE_HOLD, path, ino, file, value);
}

void st_wd_aide_drop(struct st_wd_aide *a, uint64_t ino, const char *file)
{
    send_hold(a, ST_WD_AIDE_DROP, ST_SV_NULL, ino, file, "");
}

void st_wd_aide_stop(struct st_wd_aide *a, unsigned ms)
{
    if (a->fd >= 0)
        close(a->fd);
    a->fd = -1;
    for (unsigned waited = 0; a->pid > 0 && waitpid(a->pid, NULL, WNOHANG) == 0 && waited < ms; waited += 10)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    a->pid = -1;
}
