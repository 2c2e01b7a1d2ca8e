#include "supervisor/run_lock.h"

#include "base/fd.h"
#include "base/random.h"
#include "base/sv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define INSTALLATION 32 // hexadecimal digits

static bool is_name(const char *text, ssize_t n)
{
    return n == INSTALLATION + 1 && text[INSTALLATION] == '\n' && st_sv_is_hex(st_sv_mem(text, INSTALLATION));
}

// The installation's name, out of the file; made where there is none.
static int read_name(int fd, char ret[static INSTALLATION + 1], struct st_err *err)
{
    char text[INSTALLATION + 3] = "";
    if (!is_name(text, st_fd_pread(fd, text, sizeof text - 1, 0))) {
        if (st_random_hex(text, INSTALLATION, err))
            return -1;
        text[INSTALLATION] = '\n';
        if (ftruncate(fd, 0) || st_fd_pwrite(fd, text, INSTALLATION + 1, 0))
            return st_err_sys(err, "the lock of the service");
    }
    memcpy(ret, text, INSTALLATION);
    ret[INSTALLATION] = '\0';
    return 0;
}

int st_run_lock_adopt(struct st_run_lock *l, int fd, const char *host, struct st_err *err)
{
    char name[INSTALLATION + 1], run[17];
    *l = (struct st_run_lock){.fd = fd};
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) || read_name(fd, name, err) || st_random_hex(run, sizeof run - 1, err)) {
        close(fd);
        l->fd = -1;
        return -1;
    }
    snprintf(l->holder, sizeof l->holder, "%.64s/%s/%s", host, name, run);
    return 0;
}

int st_run_lock_take(struct st_run_lock *l, const char *socket, const char *host, struct st_err *err)
{
    char path[PATH_MAX];
    *l = (struct st_run_lock){.fd = -1};
    if (snprintf(path, sizeof path, "%s.lock", socket) >= (int)sizeof path)
        return st_err_set(err, ST_E_INPUT, "the name of the socket is too long");
    ST_AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return st_err_sys(err, "%s", path);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK ? st_err_set(err, ST_E_CONFLICT, "a service runs here already: it holds %s", path)
                                    : st_err_sys(err, "lock of %s", path);
    return st_run_lock_adopt(l, st_take_fd(&fd), host, err);
}
