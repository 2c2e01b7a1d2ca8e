#include "watchdog/wd_files.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

ssize_t st_wd_read_at(int dir, const char *name, char *buf, size_t cap)
{
    ST_AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : st_fd_read(fd, buf, cap - 1);
    buf[n > 0 ? n : 0] = '\0';
    return n;
}

int st_wd_write_at(int dir, const char *name, const char *text, int flags)
{
    ST_AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | flags);
    if (fd < 0)
        return -1;
    size_t n = strlen(text);
    ssize_t w = write(fd, text, n);
    if (w >= 0 && (size_t)w != n)
        errno = EIO;
    return w == (ssize_t)n ? 0 : -1;
}

struct st_sv st_wd_first_line(const char *buf, ssize_t n)
{
    struct st_sv rest = st_sv_mem(buf, n > 0 ? (size_t)n : 0), line = ST_SV_NULL;
    st_sv_line(&rest, &line);
    return line;
}

bool st_wd_number_at(int dir, const char *name, uint64_t *ret)
{
    char buf[64];
    struct st_sv line = st_wd_first_line(buf, st_wd_read_at(dir, name, buf, sizeof buf));
    if (st_sv_eq(line, ST_SV("max"))) {
        *ret = UINT64_MAX;
        return true;
    }
    return st_sv_u64(line, 10, ret);
}

bool st_wd_key_number(struct st_sv text, struct st_sv key, uint64_t *ret)
{
    struct st_sv line, word;
    while (st_sv_line(&text, &line))
        if (st_sv_word(&line, &word) && st_sv_eq(word, key))
            return st_sv_word(&line, &word) && st_sv_u64(word, 10, ret);
    return false;
}

uint64_t st_wd_now_ms(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_BOOTTIME, &t) ? 0 : (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t st_wd_ino(int dir)
{
    struct stat st;
    return fstat(dir, &st) ? 0 : st.st_ino;
}

// ---- directories --------------------------------------------------------------------------------

struct entry { // linux_dirent64
    uint64_t ino;
    int64_t off;
    uint16_t len;
    uint8_t type;
    char name[];
};
#define TYPE_UNKNOWN 0
#define TYPE_DIR 4

void st_wd_listing_init(struct st_wd_listing *l, int fd)
{
    l->fd = fd;
    l->at = l->len = 0;
    lseek(fd, 0, SEEK_SET);
}

static bool is_dir(int dir, const struct entry *e)
{
    struct stat st;
    if (e->type != TYPE_UNKNOWN)
        return e->type == TYPE_DIR;
    return fstatat(dir, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

const char *st_wd_listing_next(struct st_wd_listing *l, bool dirs)
{
    for (;;) {
        if (l->at >= l->len) {
            l->at = 0;
            l->len = (int)syscall(SYS_getdents64, l->fd, l->buf, sizeof l->buf);
            if (l->len <= 0) {
                l->len = 0;
                return NULL;
            }
        }
        const struct entry *e = (const struct entry *)(l->buf + l->at);
        l->at += e->len;
        if (!strcmp(e->name, ".") || !strcmp(e->name, "..") || (dirs && !is_dir(l->fd, e)))
            continue;
        return e->name;
    }
}

int st_wd_walk(int dir, st_wd_visit_fn *visit, void *ctx)
{
    struct st_wd_listing level[ST_WD_WALK_DEPTH];
    int depth = 0, rc = 0;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    st_wd_listing_init(&level[0], fd);
    rc = visit(fd, ctx);
    while (depth >= 0 && rc == 0) {
        const char *name = st_wd_listing_next(&level[depth], true);
        if (!name) {
            close(level[depth--].fd);
            continue;
        }
        fd = depth + 1 < ST_WD_WALK_DEPTH
                 ? openat(level[depth].fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
                 : -1;
        if (fd < 0) // gone, or too deep
            continue;
        st_wd_listing_init(&level[++depth], fd);
        rc = visit(fd, ctx);
    }
    while (depth >= 0)
        close(level[depth--].fd);
    return rc;
}

// ---- processes ----------------------------------------------------------------------------------

int st_wd_each_pid(int dir, st_wd_pid_fn *each, void *ctx)
{
    ST_AUTO_CLOSE int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    char buf[1024];
    uint32_t pid = 0;
    bool digits = false;
    if (fd < 0)
        return -1;
    for (;;) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -1 : 0;
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] >= '0' && buf[i] <= '9') {
                pid = pid * 10 + (uint32_t)(buf[i] - '0');
                digits = true;
                continue;
            }
            int rc = digits ? each((pid_t)pid, ctx) : 0;
            pid = 0;
            digits = false;
            if (rc)
                return rc;
        }
    }
}

static int is_it(pid_t pid, void *ctx)
{
    return pid == *(pid_t *)ctx;
}

static int visit_for_pid(int dir, void *ctx)
{
    return st_wd_each_pid(dir, is_it, ctx) > 0;
}

bool st_wd_holds_pid(int dir, pid_t pid)
{
    return st_wd_walk(dir, visit_for_pid, &pid) > 0;
}
