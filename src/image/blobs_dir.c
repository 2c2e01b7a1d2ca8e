// OCI layout directory. The one place where a name from an image becomes a path on this machine: only three shapes of
// name pass, and the kernel is told to stay beneath the directory.
#include "base/ckd.h"
#include "base/fd.h"
#include "image/blobs.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define BLOB_DIR "blobs/sha256/"

// Opening must neither wait (a FIFO) nor take a terminal.
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static bool name_ok(struct st_sv name)
{
    struct st_sv dir = ST_SV(BLOB_DIR);
    if (st_sv_eq(name, ST_SV("index.json")) || st_sv_eq(name, ST_SV("oci-layout")))
        return true;
    if (!st_sv_starts(name, dir) || name.len != dir.len + 64)
        return false;
    return st_sv_is_hex(st_sv_from(name, dir.len));
}

// Kernels before 5.6, or a sandbox that refuses openat2: component by component, no link is followed.
static int open_by_parts(int dirfd, const char *path)
{
    ST_AUTO_CLOSE int at = -1;
    for (;;) {
        const char *slash = strchr(path, '/');
        char part[80];
        size_t n = slash ? (size_t)(slash - path) : strlen(path);
        memcpy(part, path, n); // name_ok: no part is longer than 64
        part[n] = '\0';
        int next = openat(at >= 0 ? at : dirfd, part, OPEN_FLAGS | O_NOFOLLOW | (slash ? O_DIRECTORY : 0));
        if (next < 0 || !slash)
            return next;
        if (at >= 0)
            close(at);
        at = next;
        path = slash + 1;
    }
}

static int open_beneath(int dirfd, const char *path)
{
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EAGAIN))
        return open_by_parts(dirfd, path);
    return (int)fd;
}

int st_blobs_dir_open(int dirfd, struct st_sv name, int *ret_fd, uint64_t *ret_size, struct st_err *err)
{
    char path[sizeof BLOB_DIR + 64];
    if (st_sv_eq(name, ST_SV("manifest.json"))) // asked for where there is no index.json; a layout has none
        return 0;
    if (!name_ok(name))
        return st_err_set(err, ST_E_CORRUPT, "not a name in an image layout: '%.*s'", (int)ST_MIN(name.len, 160u),
                          name.ptr ? name.ptr : "");
    memcpy(path, name.ptr, name.len);
    path[name.len] = '\0';
    ST_AUTO_CLOSE int fd = open_beneath(dirfd, path);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0 && (errno == EXDEV || errno == ELOOP))
        return st_err_set(err, ST_E_CORRUPT, "%s is a link that leads out of the image layout", path);
    if (fd < 0)
        return st_err_sys(err, "open %s", path);
    struct stat st;
    if (fstat(fd, &st))
        return st_err_sys(err, "stat %s", path);
    if (!S_ISREG(st.st_mode))
        return st_err_set(err, ST_E_CORRUPT, "%s is not a regular file", path);
    *ret_size = (uint64_t)st.st_size;
    *ret_fd = st_take_fd(&fd);
    return 1;
}

static int dir_find(void *ctx, struct st_sv name, struct st_blob *ret, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = -1;
    uint64_t size;
    int rc = st_blobs_dir_open(*(const int *)ctx, name, &fd, &size, err);
    if (rc > 0)
        *ret = (struct st_blob){.where = ST_BLOB_FILE, .length = size};
    return rc;
}

static int dir_read(void *ctx, struct st_sv name, uint64_t max, struct st_arena *a, struct st_sv *ret,
                    struct st_err *err)
{
    ST_AUTO_CLOSE int fd = -1;
    uint64_t size;
    int rc = st_blobs_dir_open(*(const int *)ctx, name, &fd, &size, err);
    if (rc <= 0)
        return rc;
    if (size > max)
        return st_err_set(err, ST_E_LIMIT, "larger than %llu bytes", (unsigned long long)max);
    char *bytes = st_arena_bytes(a, (size_t)size + 1, err);
    if (!bytes)
        return -1;
    ssize_t n = st_fd_pread(fd, bytes, (size_t)size, 0);
    if (n < 0)
        return st_err_sys(err, "read " ST_SV_FMT, ST_SV_ARG(name));
    *ret = st_sv_mem(bytes, (size_t)n);
    return 1;
}

struct st_blobs st_blobs_dir(const int *dirfd)
{
    return (struct st_blobs){.ctx = (void *)dirfd, .find = dir_find, .read_small = dir_read};
}
