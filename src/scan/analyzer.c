#include "scan/analyzer.h"

#include "base/ckd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define NAME "stella-analyze"
#define HIGH_FD 16 // above what the child finds its descriptors at

int st_analyzer_find(char *ret, size_t n, struct st_err *err)
{
    static const char *const places[] = {"../libexec/stella/" NAME, NAME};
    char dir[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", dir, sizeof dir - 1);
    if (len < 0)
        return st_err_sys(err, "/proc/self/exe");
    while (len > 0 && dir[len - 1] != '/')
        len--;
    for (size_t i = 0; i < ST_LEN(places); i++) {
        int k = snprintf(ret, n, "%.*s%s", (int)len, dir, places[i]);
        if (k > 0 && (size_t)k < n && access(ret, X_OK) == 0)
            return 0;
    }
    return st_err_set(err, ST_E_NOTFOUND,
                      NAME " is neither in %.*s../libexec/stella nor beside stella; install it again", (int)len, dir);
}

static int spawn(const char *path, size_t private_bytes, int sock, int watch_fd, pid_t *ret, struct st_err *err)
{
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, sock, ST_PROTO_SOCKET);
    posix_spawn_file_actions_adddup2(&fa, watch_fd, ST_PROTO_WATCH);
    posix_spawn_file_actions_addclosefrom_np(&fa, ST_PROTO_WATCH + 1);
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%zu", private_bytes);
    char *const argv[] = {(char *)NAME, (char *)"--serve", bytes, NULL};
    char *const envp[] = {NULL};
    int e = posix_spawn(ret, path, &fa, NULL, argv, envp);
    posix_spawn_file_actions_destroy(&fa);
    return e ? st_err_set(err, ST_E_FAILED, "%s: %s", path, strerror(e)) : 0;
}

static int high(int fd)
{
    int h = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    if (fd >= 0)
        close(fd);
    return h;
}

static int hello(struct st_analyzer *a, struct st_err *err)
{
    ST_AUTO_FREE char *buf = malloc(ST_PROTO_MAX);
    struct st_proto_msg m;
    if (!buf)
        return st_err_nomem(err);
    int rc = st_proto_recv(a->sock, buf, &m, err);
    if (rc < 0)
        return -1;
    if (rc == 0 || m.tag != ST_PROTO_HELLO) {
        st_proto_close_fds(&m);
        return st_err_set(err, ST_E_FAILED, NAME " did not start (its own message is above)");
    }
    a->sandbox.landlock_abi = (int)st_wire_max(&m.in, 1000);
    for (int i = 0; i < ST_SANDBOX_MEASURES_MAX; i++)
        a->sandbox.state[i] = (enum st_sandbox_state)st_wire_max(&m.in, ST_SANDBOX_OFF);
    return 0;
}

int st_analyzer_start(const char *path, size_t private_bytes, struct st_analyzer *ret, struct st_err *err)
{
    *ret = ST_ANALYZER_NONE;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return st_err_sys(err, "socketpair");
    ret->sock = high(pair[0]);
    ST_AUTO_CLOSE int child = high(pair[1]);
    ST_AUTO_CLOSE int watch = high(memfd_create("stella-watch", MFD_CLOEXEC));
    if (ret->sock < 0 || child < 0 || watch < 0 || ftruncate(watch, sizeof *ret->watch)) {
        st_err_sys(err, "shared page");
        st_analyzer_stop(ret, NULL);
        return -1;
    }
    int size = 2 * ST_PROTO_MAX; // a whole message must fit
    setsockopt(ret->sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(child, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    void *p = mmap(NULL, sizeof *ret->watch, PROT_READ | PROT_WRITE, MAP_SHARED, watch, 0);
    if (p == MAP_FAILED) {
        st_err_sys(err, "shared page");
        st_analyzer_stop(ret, NULL);
        return -1;
    }
    ret->watch = p;
    if (spawn(path, private_bytes, child, watch, &ret->pid, err)) {
        ret->pid = -1;
        st_analyzer_stop(ret, NULL);
        return -1;
    }
    close(child); // or its end would keep the socket open
    child = -1;
    if (hello(ret, err)) {
        st_analyzer_stop(ret, NULL);
        return -1;
    }
    return 0;
}

void st_analyzer_stop(struct st_analyzer *a, int *ret_status)
{
    int status = 0;
    if (a->sock >= 0)
        close(a->sock);
    if (a->pid > 0) {
        struct rusage use = {0};
        pid_t done = ret_status ? 0 : wait4(a->pid, &status, WNOHANG, &use);
        if (ret_status) {
            // It closed its end: it is dying or dead, and its own status is wanted.
            for (int i = 0; i < 200 && (done = wait4(a->pid, &status, WNOHANG, &use)) == 0; i++)
                usleep(5000);
            *ret_status = done > 0 ? status : 0;
        }
        if (done == 0) {
            kill(a->pid, SIGKILL);
            while (wait4(a->pid, &status, 0, &use) < 0 && errno == EINTR)
                ;
        }
        a->max_rss = (uint64_t)use.ru_maxrss * 1024;
    }
    if (a->watch)
        munmap(a->watch, sizeof *a->watch);
    uint64_t max_rss = a->max_rss;
    *a = ST_ANALYZER_NONE;
    a->max_rss = max_rss;
}
