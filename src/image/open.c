// Opening what a reference names.
#include "image/open.h"
#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "image/image_int.h"
#include "stream/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#define HEAD_SIZE 512

const char *st_opened_kind_name(enum st_opened_kind kind)
{
    static const char *const names[] = {
        [ST_OPENED_OCI_DIR] = "OCI layout directory", [ST_OPENED_ARCHIVE] = "archive", [ST_OPENED_STREAM] = "stream",
        [ST_OPENED_ROOTFS] = "root file system",      [ST_OPENED_REMOTE] = "registry",
    };
    return names[kind];
}

void st_opened_close(struct st_opened *o)
{
    if (o->fd > STDERR_FILENO)
        close(o->fd);
    if (o->dirfd >= 0)
        close(o->dirfd);
    o->fd = o->dirfd = -1;
}

bool st_tar_header_looks(struct st_sv head)
{
    enum { SUM = 148, SUM_END = 156 };
    if (head.len < HEAD_SIZE)
        return false;
    unsigned sum = 0, want = 0, digits = 0;
    for (size_t i = 0; i < HEAD_SIZE; i++)
        sum += i >= SUM && i < SUM_END ? ' ' : (unsigned char)head.ptr[i];
    for (size_t i = SUM; i < SUM_END; i++) {
        char c = head.ptr[i];
        if (c >= '0' && c <= '7') {
            want = want * 8 + (unsigned)(c - '0');
            digits++;
        } else if (c != ' ' || digits) {
            break;
        }
    }
    return digits && sum == want;
}

static int unusable(const char *path, const char *why, struct st_err *err)
{
    return st_err_set(err, ST_E_INPUT, "%s %s", path, why);
}

// ---- directories ----------------------------------------------------------------------------------------------------

static bool has(int dirfd, const char *name)
{
    struct stat st;
    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int open_dir(const struct st_reference *ref, const char *path, int fd, struct st_opened *ret, struct st_err *err)
{
    if (ref->source->takes == ST_TAKES_DIR) {
        *ret = (struct st_opened){.kind = ST_OPENED_ROOTFS, .fd = -1, .dirfd = fd};
        return 0;
    }
    if (ref->source->pin == ST_PIN_DOCKER)
        return unusable(path, "is a directory, not a docker-archive", err);
    if (has(fd, "index.json") || has(fd, "oci-layout")) {
        *ret = (struct st_opened){.kind = ST_OPENED_OCI_DIR, .fd = -1, .dirfd = fd};
        return 0;
    }
    if (has(fd, "manifest.json"))
        return st_err_set(err, ST_E_INPUT, "%s is an unpacked docker-archive; pack it again: tar -C %s -c . | ... -",
                          path, path);
    return st_err_set(err, ST_E_INPUT,
                      "%s is a directory without index.json; to scan it as a root file system: rootfs:%s", path, path);
}

// ---- files ----------------------------------------------------------------------------------------------------------

static int open_file(const char *path, int fd, const struct stat *st, struct st_opened *ret, struct st_err *err)
{
    char head[HEAD_SIZE];
    *ret = (struct st_opened){.kind = ST_OPENED_STREAM, .fd = fd, .dirfd = -1};
    if (!S_ISREG(st->st_mode))
        return 0;
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t n = at < 0 ? -1 : st_fd_pread(fd, head, sizeof head, (uint64_t)at);
    if (n < 0)
        return st_err_sys(err, "read %s", path);
    if (n == 0)
        return unusable(path, "is empty", err);
    struct st_sv seen = st_sv_mem(head, (size_t)n);
    ret->seekable = true;
    ret->size = (uint64_t)(st->st_size - at);
    if (st_tar_header_looks(seen)) {
        if (at == 0) // a half-read file is read on as a stream
            ret->kind = ST_OPENED_ARCHIVE;
        return 0;
    }
    if (st_codec_detect(st_sv_sub(seen, 0, ST_CODEC_MAGIC)) == ST_CODEC_NONE)
        return unusable(path, "is neither a tar archive nor a compressed one", err);
    return 0;
}

static int open_stdin(struct st_opened *ret, struct st_err *err)
{
    struct stat st;
    if (fstat(STDIN_FILENO, &st))
        return st_err_sys(err, "standard input");
    if (S_ISDIR(st.st_mode))
        return unusable("standard input", "is a directory", err);
    if (isatty(STDIN_FILENO))
        return unusable("standard input", "is a terminal; give it an archive", err);
    return open_file("standard input", STDIN_FILENO, &st, ret, err);
}

// Opened without blocking, a FIFO that nobody ever wrote to polls as not ready, and would read as ended.
static int await_writer(const char *path, int fd, uint64_t deadline_ms, struct st_err *err)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        uint64_t now = (uint64_t)st_clock_mono_ms();
        if (deadline_ms && now >= deadline_ms)
            return st_err_set(err, ST_E_TIMEOUT, "nobody wrote to the pipe %s within --timeout", path);
        int k = poll(&p, 1, deadline_ms ? (int)ST_MIN(deadline_ms - now, (uint64_t)60000) : -1);
        if (k > 0)
            return fcntl(fd, F_SETFL, 0) ? st_err_sys(err, "open %s", path) : 0;
        if (k < 0)
            return errno == EINTR ? st_err_set(err, ST_E_CANCELLED, "interrupted") : st_err_sys(err, "open %s", path);
    }
}

static int open_path(const struct st_reference *ref, const char *path, uint64_t deadline_ms, struct st_opened *ret,
                     struct st_err *err)
{
    struct stat st;
    if (stat(path, &st)) {
        if (errno == ENOENT || errno == ENOTDIR)
            return st_err_set(err, ST_E_NOTFOUND, "no such file or directory: %s", path);
        return st_err_sys(err, "%s", path);
    }
    // Opening a device can do things; a FIFO is waited for, as the user asked.
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISFIFO(st.st_mode))
        return unusable(path, "is neither file, directory nor pipe", err);
    if (!S_ISDIR(st.st_mode) && ref->source->takes == ST_TAKES_DIR)
        return unusable(path, "is not a directory", err);
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY |
                (S_ISDIR(st.st_mode)    ? O_DIRECTORY
                 : S_ISFIFO(st.st_mode) ? O_NONBLOCK
                                        : 0);
    ST_AUTO_CLOSE int fd = open(path, flags);
    if (fd < 0 || fstat(fd, &st))
        return st_err_sys(err, "open %s", path);
    if ((flags & O_NONBLOCK) && await_writer(path, fd, deadline_ms, err))
        return -1;
    if (S_ISDIR(st.st_mode) ? open_dir(ref, path, fd, ret, err) : open_file(path, fd, &st, ret, err))
        return -1;
    st_take_fd(&fd);
    return 0;
}

int st_source_open_fd(const struct st_reference *ref, int passed, struct st_opened *ret, struct st_err *err)
{
    struct stat st;
    char name[256]; // for messages
    snprintf(name, sizeof name, ST_SV_FMT, ST_SV_ARG(ref->path.len ? ref->path : ref->text));
    ST_AUTO_CLOSE int fd = fcntl(passed, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0 || fstat(fd, &st))
        return st_err_sys(err, "%s", name);
    if (S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_SET)) // an earlier attempt may have read of it
        return st_err_sys(err, "read %s", name);
    if (S_ISDIR(st.st_mode) ? open_dir(ref, name, fd, ret, err) : open_file(name, fd, &st, ret, err))
        return -1;
    st_take_fd(&fd);
    return 0;
}

// ---- entry ----------------------------------------------------------------------------------------------------------

// A reference that is more likely the name of a file that is not there.
static bool meant_a_file(struct st_sv text)
{
    static const struct st_sv ends[] = {ST_SV_INIT(".tar"), ST_SV_INIT(".tgz"), ST_SV_INIT(".gz"), ST_SV_INIT(".zst"),
                                        ST_SV_INIT(".xz")};
    for (size_t i = 0; i < ST_LEN(ends); i++)
        if (st_sv_ends(text, ends[i]))
            return true;
    return false;
}

int st_source_open(const struct st_reference *ref, bool offline, uint64_t deadline_ms, struct st_opened *ret,
                   struct st_err *err)
{
    char path[PATH_MAX];
    if (ref->source->takes == ST_TAKES_REGISTRY && meant_a_file(ref->text))
        return st_err_set(err, ST_E_NOTFOUND, "no such file: " ST_SV_FMT, ST_SV_ARG(ref->text));
    if (ref->source->network && offline)
        return st_err_set(err, ST_E_OFFLINE, "'" ST_SV_FMT "' is in a registry, and --offline forbids the network",
                          ST_SV_ARG(ref->text));
    if (ref->source->network || ref->source->daemon) { // whoever has a network opens it
        *ret = (struct st_opened){
            .kind = ref->source->daemon ? ST_OPENED_STREAM : ST_OPENED_REMOTE, .fd = -1, .dirfd = -1};
        return 0;
    }
    if (ref->standard_input)
        return open_stdin(ret, err);
    if (ref->path.len >= sizeof path)
        return st_err_set(err, ST_E_INPUT, "the path is longer than %d bytes", PATH_MAX);
    memcpy(path, ref->path.ptr, ref->path.len);
    path[ref->path.len] = '\0';
    return open_path(ref, path, deadline_ms, ret, err);
}
