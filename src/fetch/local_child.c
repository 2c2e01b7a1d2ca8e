// The child that reads a store: forked, without what it does not need, in a sandbox before it reads the first byte.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/sort.h"
#include "base/toml.h"
#include "fetch/local_int.h"
#include "scan/helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PRIVATE_BYTES (64u << 20) // what it inherits from stella is counted
#define MESSAGE_BYTES 4096
#define KEPT_MAX 8

// ---- in the child ---------------------------------------------------------------------------------------------------

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

// Everything but standard error and `keep` is closed; standard input and output are /dev/null.
static int close_others(int *keep, size_t n, struct st_err *err)
{
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return st_err_sys(err, "/dev/null");
    unsigned from = STDERR_FILENO + 1;
    st_sort(keep, n, sizeof *keep, by_number);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned)keep[i] > from && close_range(from, (unsigned)keep[i] - 1, 0))
            return st_err_sys(err, "close_range");
        from = ST_MAX(from, (unsigned)keep[i] + 1);
    }
    return close_range(from, ~0u, 0) ? st_err_sys(err, "close_range") : 0;
}

static int enter(const struct st_child_work *w, int sock, struct st_err *err)
{
    struct st_sandbox_report rep;
    int keep[KEPT_MAX];
    size_t n = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); // the parent decides
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    keep[n++] = sock;
    for (size_t i = 0; i < w->n_fds && n < KEPT_MAX; i++)
        keep[n++] = w->fds[i];
    return close_others(keep, n, err) || st_sandbox_enter_reader(PRIVATE_BYTES, w->dirs, w->n_dirs, &rep, err) ? -1 : 0;
}

static void tell(int sock, const char *said, const struct st_err *err)
{
    struct st_mem mem;
    struct st_buf b;
    st_mem_init(&mem, MESSAGE_BYTES, -1);
    st_buf_init(&b, &mem);
    struct st_wire_out o = st_proto_begin(&b, err ? ST_PROTO_FAIL : ST_PROTO_DONE);
    if (err)
        st_proto_put_err(&o, err);
    else
        st_wire_put_sv(&o, st_sv_of(said));
    st_proto_send(sock, &o, NULL, 0, NULL); // a parent that is gone does not listen
    st_buf_release(&b);
}

static void child(const struct st_child_work *w, int sock)
{
    struct st_err err = {0};
    struct st_mem mem;
    char said[256] = "";
    st_mem_init(&mem, w->memory, -1);
    int rc = enter(w, sock, &err);
    if (rc == 0)
        rc = w->work(w->ctx, &mem, said, &err);
    tell(sock, said, rc ? &err : NULL);
    _exit(rc ? 1 : 0);
}

// ---- in the parent --------------------------------------------------------------------------------------------------

int st_child_start(const struct st_child_work *w, struct st_child *ret, struct st_err *err)
{
    int pair[2];
    if (st_helper_socket(pair, err))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        child(w, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return st_err_sys(err, "fork");
    }
    *ret = (struct st_child){.pid = pid, .sock = pair[0]};
    return 0;
}

bool st_child_wait(struct st_child *c, int ms)
{
    struct pollfd f = {.fd = c->sock, .events = POLLIN};
    struct st_proto_msg m;
    if (c->over || poll(&f, 1, ms) <= 0)
        return c->over;
    char *buf = malloc(ST_PROTO_MAX);
    int rc = buf ? st_proto_recv(c->sock, buf, &m, &c->err) : st_err_nomem(&c->err);
    c->over = true;
    if (rc > 0 && m.tag == ST_PROTO_DONE) {
        struct st_sv said = st_wire_sv(&m.in);
        snprintf(c->said, sizeof c->said, ST_SV_FMT, ST_SV_ARG(said));
    } else if (rc > 0 && m.tag == ST_PROTO_FAIL) {
        st_proto_get_err(&m.in, &c->err);
    } else if (rc >= 0) {
        st_err_set(&c->err, ST_E_CRASH, "the process that reads the store died");
    }
    if (rc > 0)
        st_proto_close_fds(&m);
    free(buf);
    return true;
}

void st_child_end(struct st_child *c)
{
    if (c->pid <= 0)
        return;
    close(c->sock);
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    c->pid = -1;
}

int st_local_check_time(const struct st_local_options *opt, struct st_err *err)
{
    if (opt->interrupted && *opt->interrupted)
        return st_err_set(err, ST_E_CANCELLED, "interrupted");
    if (opt->deadline_ms && (uint64_t)st_clock_mono_ms() > opt->deadline_ms)
        return st_err_set(err, ST_E_TIMEOUT, "the store took longer than --timeout allows");
    return 0;
}

struct st_sv st_local_setting(const char *path, const char *table, const char *key, struct st_arena *a)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    const struct st_toml *root;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > ST_TOML_TEXT_MAX)
        return ST_SV_NULL;
    char *text = st_arena_bytes(a, (size_t)st.st_size, NULL);
    ssize_t n = text ? st_fd_read(fd, text, (size_t)st.st_size) : -1;
    if (n <= 0 || st_toml_parse(st_sv_mem(text, (size_t)n), a, &root, NULL))
        return ST_SV_NULL;
    if (table)
        root = st_toml_get(root, st_sv_of(table), ST_TOML_TABLE);
    const struct st_toml *v = st_toml_get(root, st_sv_of(key), ST_TOML_STRING);
    return v ? v->text : ST_SV_NULL;
}
