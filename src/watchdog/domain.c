#include "watchdog/domain.h"

#include "base/ckd.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>

#define CGROUP2_MAGIC 0x63677270 // <linux/magic.h>, which musl does not have
#define OPEN_DIR (O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

static bool is_cgroup2(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_MAGIC;
}

static uint64_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

// Root -----------------------------------------------------------------------------------------------------------

int st_wd_root_open(struct st_wd_root *r, const char *path, bool any_fs, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, OPEN_DIR & ~O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? st_err_set(err, ST_E_NOTFOUND, "%s: there is no such directory", path)
                               : st_err_sys(err, "open %s", path);
    if (!any_fs && !is_cgroup2(fd)) {
        ST_AUTO_CLOSE int unified = openat(fd, "unified", OPEN_DIR);
        if (unified < 0 || !is_cgroup2(unified))
            return st_err_set(err, ST_E_NOTFOUND, "%s is no cgroup v2 hierarchy (mount one: mount -t cgroup2 none DIR)",
                              path);
        close(fd);
        fd = st_take_fd(&unified);
    }
    struct stat st;
    if (fstat(fd, &st))
        return st_err_sys(err, "stat %s", path);
    *r = (struct st_wd_root){.fd = st_take_fd(&fd), .dev = (uint64_t)st.st_dev, .ino = (uint64_t)st.st_ino};
    return 0;
}

void st_wd_root_close(struct st_wd_root *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

static bool is_root(const struct st_wd_root *r, int fd)
{
    struct stat st;
    return fstat(fd, &st) != 0 || ((uint64_t)st.st_dev == r->dev && (uint64_t)st.st_ino == r->ino);
}

// Small files ----------------------------------------------------------------------------------------------------

// A file of one number. False when it is not there or holds something else.
static bool read_number(int dir, enum st_wd_file file, uint64_t *ret)
{
    static const uint8_t field_of[ST_WD_FILE_COUNT] = {[ST_WD_FILE_MEMORY_CURRENT] = ST_WD_F_current,
                                                       [ST_WD_FILE_MEMORY_MAX] = ST_WD_F_max,
                                                       [ST_WD_FILE_MEMORY_HIGH] = ST_WD_F_high};
    char buf[64];
    ST_AUTO_CLOSE int fd = openat(dir, st_wd_file_name(file), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : st_fd_read(fd, buf, sizeof buf);
    struct st_wd_sample s = {0};
    if (n < 0)
        return false;
    st_wd_sample_parse(&s, file, st_sv_mem(buf, (size_t)n));
    if (!st_wd_has(&s, field_of[file]))
        return false;
    *ret = s.v[field_of[file]];
    return true;
}

// The lower of memory.max and memory.high; ST_WD_NONE when there is none.
static uint64_t limit_of(int dir, bool *ret_high)
{
    uint64_t max = ST_WD_NONE, high = ST_WD_NONE;
    read_number(dir, ST_WD_FILE_MEMORY_MAX, &max);
    read_number(dir, ST_WD_FILE_MEMORY_HIGH, &high);
    *ret_high = high < max;
    return ST_MIN(max, high);
}

// Domain ---------------------------------------------------------------------------------------------------------

static int open_below(const struct st_wd_root *root, struct st_sv path, int *ret_fd, struct st_err *err)
{
    char buf[4096];
    struct st_sv rest = path, part;
    while (rest.len && rest.ptr[0] == '/')
        rest = st_sv_from(rest, 1);
    if (rest.len >= sizeof buf || (rest.len && memchr(rest.ptr, 0, rest.len)))
        return st_err_set(err, ST_E_INPUT, "a cgroup path of %zu bytes is no path", path.len);
    memcpy(buf, rest.ptr ? rest.ptr : "", rest.len);
    buf[rest.len] = 0;
    while (st_sv_split(&rest, '/', &part))
        if (st_sv_eq(part, ST_SV("..")))
            return st_err_set(err, ST_E_INPUT, "cgroup path " ST_SV_FMT ": .. is not taken",
                              ST_SV_ARG(st_sv_sub(path, 0, 200)));
    int fd = openat(root->fd, buf[0] ? buf : ".", OPEN_DIR);
    if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENOTDIR))
        return st_err_set(err, ST_E_NOTFOUND, "there is no cgroup " ST_SV_FMT, ST_SV_ARG(st_sv_sub(path, 0, 300)));
    if (fd < 0)
        return st_err_sys(err, "open cgroup " ST_SV_FMT, ST_SV_ARG(st_sv_sub(path, 0, 300)));
    *ret_fd = fd;
    return 0;
}

int st_wd_domain_open(struct st_wd_domain *d, const struct st_wd_root *root, struct st_sv path, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = -1;
    if (open_below(root, path, &fd, err))
        return -1;
    uint64_t current;
    if (!read_number(fd, ST_WD_FILE_MEMORY_CURRENT, &current)) {
        bool cgroup = faccessat(fd, "cgroup.controllers", F_OK, 0) == 0;
        return is_root(root, fd) ? st_err_set(err, ST_E_INPUT,
                                              "the root cgroup has no memory limit of its own: name a cgroup below it")
               : cgroup          ? st_err_set(err, ST_E_INPUT,
                                              "cgroup " ST_SV_FMT " has no memory accounting (write +memory to its parent's "
                                                       "cgroup.subtree_control)",
                                              ST_SV_ARG(st_sv_sub(path, 0, 300)))
                        : st_err_set(err, ST_E_INPUT, ST_SV_FMT " is no cgroup", ST_SV_ARG(st_sv_sub(path, 0, 300)));
    }
    *d = (struct st_wd_domain){.dir_fd = st_take_fd(&fd), .limit = ST_WD_NONE};
    d->ino = d->owner_ino = inode_of(d->dir_fd);
    return 0;
}

void st_wd_domain_close(struct st_wd_domain *d)
{
    if (d->dir_fd >= 0)
        close(d->dir_fd);
    d->dir_fd = -1;
}

bool st_wd_domain_alive(const struct st_wd_domain *d)
{
    return d->dir_fd >= 0 && faccessat(d->dir_fd, "cgroup.procs", F_OK, 0) == 0;
}

bool st_wd_domain_is(const struct st_wd_domain *d, const struct st_wd_root *root, struct st_sv path)
{
    ST_AUTO_CLOSE int fd = -1;
    return d->dir_fd >= 0 && open_below(root, path, &fd, NULL) == 0 && inode_of(fd) == d->ino;
}

int st_wd_domain_owner(struct st_wd_domain *d, const struct st_wd_root *root, int *ret_fd, struct st_err *err)
{
    if (!st_wd_domain_alive(d))
        return st_err_set(err, ST_E_NOTFOUND, "the cgroup is gone");
    ST_AUTO_CLOSE int at = openat(d->dir_fd, ".", OPEN_DIR);
    ST_AUTO_CLOSE int owner = openat(d->dir_fd, ".", OPEN_DIR);
    struct st_wd_domain found = {.limit = ST_WD_NONE};
    uint64_t least = UINT64_MAX;
    if (at < 0 || owner < 0)
        return st_err_sys(err, "open the cgroup's directory");
    for (unsigned up = 0;; up++) {
        bool high;
        uint64_t limit = limit_of(at, &high), current = 0;
        if (limit != ST_WD_NONE && read_number(at, ST_WD_FILE_MEMORY_CURRENT, &current)) {
            uint64_t headroom = limit > current ? limit - current : 0;
            if (headroom <= least) { // the higher one of equals
                int fd = openat(at, ".", OPEN_DIR);
                if (fd < 0)
                    return st_err_sys(err, "open an ancestor of the cgroup");
                close(owner);
                owner = fd;
                least = headroom;
                found.limit = limit;
                found.limit_is_high = high;
                found.owner_up = (uint16_t)up;
            }
        }
        if (is_root(root, at))
            break;
        if (up == ST_WD_LEVELS_MAX)
            return st_err_set(err, ST_E_LIMIT, "the cgroup lies more than %d levels deep", ST_WD_LEVELS_MAX);
        int parent = openat(at, "..", OPEN_DIR);
        if (parent < 0)
            return st_err_sys(err, "open the parent of a cgroup");
        close(at);
        at = parent;
    }
    d->limit = found.limit;
    d->limit_is_high = found.limit_is_high;
    d->owner_up = found.owner_up;
    d->owner_ino = inode_of(owner);
    *ret_fd = st_take_fd(&owner);
    return 0;
}

int st_wd_dir_path(const struct st_wd_root *root, int dir_fd, char *buf, size_t cap)
{
    static const char deleted[] = " (deleted)";
    char link[64], base[4096], path[4096];
    if (cap)
        buf[0] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", root->fd);
    ssize_t b = readlink(link, base, sizeof base);
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
    ssize_t n = readlink(link, path, sizeof path);
    if (b <= 0 || n <= 0 || (size_t)b == sizeof base || (size_t)n == sizeof path)
        return -1;
    struct st_sv p = st_sv_mem(path, (size_t)n), r = st_sv_mem(base, (size_t)b);
    if (!st_sv_starts(p, r) || st_sv_ends(p, st_sv_of(deleted)))
        return -1;
    p = r.len > 1 ? st_sv_from(p, r.len) : p;
    if (p.len == 0)
        p = ST_SV("/");
    if (p.ptr[0] != '/' || p.len >= cap)
        return -1;
    memcpy(buf, p.ptr, p.len);
    buf[p.len] = 0;
    return 0;
}

// Sampling -------------------------------------------------------------------------------------------------------

int st_wd_sampler_open(struct st_wd_sampler *s, int owner_fd, uint32_t *ret_missing, struct st_err *err)
{
    uint32_t missing = 0;
    *s = (struct st_wd_sampler)ST_WD_SAMPLER_INIT;
    for (unsigned f = 0; f < ST_WD_FILE_COUNT; f++) {
        s->fd[f] = openat(owner_fd, st_wd_file_name(f), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (s->fd[f] < 0 && (errno == EMFILE || errno == ENFILE)) {
            st_err_sys(err, "open %s", st_wd_file_name(f));
            st_wd_sampler_close(s);
            return -1;
        }
        if (s->fd[f] < 0)
            missing |= (uint32_t)1 << f;
    }
    if (ret_missing)
        *ret_missing = missing;
    if (s->fd[ST_WD_FILE_MEMORY_CURRENT] >= 0 && s->fd[ST_WD_FILE_MEMORY_STAT] >= 0)
        return 0;
    bool gone = faccessat(owner_fd, "cgroup.procs", F_OK, 0) != 0;
    st_wd_sampler_close(s);
    return gone ? st_err_set(err, ST_E_NOTFOUND, "the cgroup is gone")
                : st_err_set(err, ST_E_IO, "the cgroup's memory.current or memory.stat cannot be read");
}

void st_wd_sampler_close(struct st_wd_sampler *s)
{
    for (unsigned f = 0; f < ST_WD_FILE_COUNT; f++) {
        if (s->fd[f] >= 0)
            close(s->fd[f]);
        s->fd[f] = -1;
    }
}

int st_wd_sampler_read(const struct st_wd_sampler *s, struct st_wd_sample *ret)
{
    char buf[16 * 1024];
    struct timespec now;
    struct st_wd_sample sample = {0};
    clock_gettime(CLOCK_BOOTTIME, &now);
    sample.t_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    for (unsigned f = 0; f < ST_WD_FILE_COUNT; f++) {
        ssize_t n = s->fd[f] < 0 ? -1 : pread(s->fd[f], buf, sizeof buf, 0);
        if (n < 0 && f == ST_WD_FILE_MEMORY_CURRENT)
            return -1;
        if (n > 0)
            st_wd_sample_parse(&sample, f, st_sv_mem(buf, (size_t)n));
    }
    *ret = sample;
    return 0;
}
