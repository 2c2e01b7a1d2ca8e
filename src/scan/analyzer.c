#include "scan/analyzer.h"

#include "base/ckd.h"
#include "scan/helper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

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
        return st_err_set(err, ST_E_FAILED, ST_ANALYZER_NAME " did not start (its own message is above)");
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
    if (st_helper_socket(pair, err))
        return -1;
    ret->sock = pair[0];
    ST_AUTO_CLOSE int child = pair[1];
    ST_AUTO_CLOSE int watch = st_helper_fd(memfd_create("stella-watch", MFD_CLOEXEC));
    if (watch < 0 || ftruncate(watch, sizeof *ret->watch)) {
        st_err_sys(err, "shared page");
        st_analyzer_stop(ret, NULL);
        return -1;
    }
    void *p = mmap(NULL, sizeof *ret->watch, PROT_READ | PROT_WRITE, MAP_SHARED, watch, 0);
    if (p == MAP_FAILED) {
        st_err_sys(err, "shared page");
        st_analyzer_stop(ret, NULL);
        return -1;
    }
    ret->watch = p;
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%zu", private_bytes);
    char *const argv[] = {(char *)ST_ANALYZER_NAME, (char *)"--serve", bytes, NULL};
    char *const envp[] = {NULL};
    const int fds[] = {child, watch}; // ST_PROTO_SOCKET, ST_PROTO_WATCH
    if (st_helper_spawn(path, argv, envp, fds, 2, &ret->pid, err)) {
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
