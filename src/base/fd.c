#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

ssize_t st_fd_read(int fd, void *buf, size_t n)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = read(fd, (char *)buf + got, n - got);
        if (r == 0)
            break;
        if (r < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        got += (size_t)r;
    }
    return (ssize_t)got;
}

ssize_t st_fd_pread(int fd, void *buf, size_t n, uint64_t off)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = pread(fd, (char *)buf + got, n - got, (off_t)(off + got));
        if (r == 0)
            break;
        if (r < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        got += (size_t)r;
    }
    return (ssize_t)got;
}

int st_fd_write(int fd, const void *buf, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t w = write(fd, (const char *)buf + done, n - done);
        if (w < 0 && errno != EINTR)
            return -1;
        done += w > 0 ? (size_t)w : 0;
    }
    return 0;
}

int st_fd_pwrite(int fd, const void *buf, size_t n, uint64_t off)
{
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(fd, (const char *)buf + done, n - done, (off_t)(off + done));
        if (w < 0 && errno != EINTR)
            return -1;
        done += w > 0 ? (size_t)w : 0;
    }
    return 0;
}

int st_fd_temp(const char *dir, struct st_err *err)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return st_err_sys(err, "temporary file in %s", dir);
    char path[PATH_MAX]; // file systems without O_TMPFILE
    if (snprintf(path, sizeof path, "%s/.stella-XXXXXX", dir) >= (int)sizeof path)
        return st_err_set(err, ST_E_INPUT, "directory name too long: %s", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return st_err_sys(err, "temporary file in %s", dir);
    unlink(path);
    return fd;
}

static int send_flags(int sock, const void *buf, size_t n, const int *fds, size_t nfds, int flags)
{
    union {
        char bytes[CMSG_SPACE(ST_FD_PASS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)buf, .iov_len = n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds > ST_FD_PASS_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (nfds) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    ssize_t w;
    do
        w = sendmsg(sock, &msg, MSG_NOSIGNAL | flags);
    while (w < 0 && errno == EINTR);
    return w == (ssize_t)n ? 0 : -1;
}

int st_fd_send(int sock, const void *buf, size_t n, const int *fds, size_t nfds)
{
    return send_flags(sock, buf, n, fds, nfds, 0);
}

int st_fd_send_now(int sock, const void *buf, size_t n, const int *fds, size_t nfds)
{
    return send_flags(sock, buf, n, fds, nfds, MSG_DONTWAIT);
}

static ssize_t recv_flags(int sock, void *buf, size_t n, int *ret_fds, size_t *inout_nfds, int flags)
{
    union {
        char bytes[CMSG_SPACE(ST_FD_PASS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = buf, .iov_len = n};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t r;
    do
        r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
    while (r < 0 && errno == EINTR);
    size_t room = inout_nfds ? *inout_nfds : 0, got = 0;
    if (r >= 0)
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
            if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                continue;
            size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < k; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
                if (got < room)
                    ret_fds[got++] = fd;
                else
                    close(fd);
            }
        }
    if (inout_nfds)
        *inout_nfds = got;
    if (r >= 0 && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (size_t i = 0; i < got; i++)
            close(ret_fds[i]);
        if (inout_nfds)
            *inout_nfds = 0;
        errno = EMSGSIZE;
        return -1;
    }
    return r;
}

ssize_t st_fd_recv(int sock, void *buf, size_t n, int *ret_fds, size_t *inout_nfds)
{
    return recv_flags(sock, buf, n, ret_fds, inout_nfds, 0);
}

ssize_t st_fd_recv_now(int sock, void *buf, size_t n, int *ret_fds, size_t *inout_nfds)
{
    return recv_flags(sock, buf, n, ret_fds, inout_nfds, MSG_DONTWAIT);
}
