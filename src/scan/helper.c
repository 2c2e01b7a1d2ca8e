#include "scan/helper.h"

#include "base/cleanup.h"
#include "scan/proto.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define FIRST_FD 3
#define HIGH_FD 16

int st_helper_find(const char *name, char *ret, size_t n, struct st_err *err)
{
    static const char *const places[] = {"../libexec/stella/", ""};
    char dir[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", dir, sizeof dir - 1);
    if (len < 0)
        return st_err_sys(err, "/proc/self/exe");
    while (len > 0 && dir[len - 1] != '/')
        len--;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int k = snprintf(ret, n, "%.*s%s%s", (int)len, dir, places[i], name);
        if (k > 0 && (size_t)k < n && access(ret, X_OK) == 0)
            return 0;
    }
    return st_err_set(err, ST_E_NOTFOUND, "%s is neither in %.*s../libexec/stella nor beside stella; install it again",
                      name, (int)len, dir);
}

int st_helper_spawn(const char *path, char *const *argv, char *const *envp, const int *fds, size_t n_fds, pid_t *ret,
                    struct st_err *err)
{
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    for (size_t i = 0; i < n_fds; i++)
        posix_spawn_file_actions_adddup2(&fa, fds[i], FIRST_FD + (int)i);
    posix_spawn_file_actions_addclosefrom_np(&fa, FIRST_FD + (int)n_fds);
    int e = posix_spawn(ret, path, &fa, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&fa);
    return e ? st_err_set(err, ST_E_FAILED, "%s: %s", path, strerror(e)) : 0;
}

int st_helper_fd(int fd)
{
    int h = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    if (fd >= 0)
        close(fd);
    return h;
}

int st_helper_socket(int ret[2], struct st_err *err)
{
    int pair[2], size = 2 * ST_PROTO_MAX; // a whole message must fit
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return st_err_sys(err, "socketpair");
    for (int i = 0; i < 2; i++) {
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        ret[i] = st_helper_fd(pair[i]);
    }
    if (ret[0] >= 0 && ret[1] >= 0)
        return 0;
    st_err_sys(err, "socketpair");
    for (int i = 0; i < 2; i++)
        if (ret[i] >= 0)
            close(ret[i]);
    return -1;
}
