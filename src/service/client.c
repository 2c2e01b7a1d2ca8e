// The client's side of the socket, and the same calls on the local store.
#include "service/client.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "scan/helper.h"
#include "service/message.h"
#include "store/home.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARENA (16ull << 20)
#define SYSTEM_SOCKET "/run/stella/stella.sock"
#define REMOTE_NAME "stella-remote"

struct st_client {
    int fd;                 // -1: local
    pid_t remote;           // stella-remote at the other end of fd; 0: none
    struct st_store *store; // local
    char who[32];
    char *buf; // ST_MESSAGE_MAX
    struct st_mem mem;
    struct st_arena arena;
    const struct st_op *op; // in work
    int attached;           // borrowed, for the next call; -1: none
    int came;               // owned, with the last packet; -1: none
};

static int new_client(struct st_client **ret, struct st_err *err)
{
    struct st_client *c = calloc(1, sizeof *c);
    char *buf = malloc(ST_MESSAGE_MAX);
    if (!c || !buf) {
        free(c);
        free(buf);
        return st_err_nomem(err);
    }
    c->fd = c->attached = c->came = -1;
    c->buf = buf;
    snprintf(c->who, sizeof c->who, "uid %u", (unsigned)geteuid());
    st_mem_init(&c->mem, ARENA, -1);
    st_arena_init(&c->arena, &c->mem);
    *ret = c;
    return 0;
}

static void drop_came(struct st_client *c)
{
    int fd = st_take_fd(&c->came);
    if (fd >= 0)
        close(fd);
}

void st_client_close(struct st_client *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    if (c->remote) {
        kill(c->remote, SIGKILL); // ours, and not reaped yet
        waitpid(c->remote, NULL, 0);
    }
    drop_came(c);
    st_store_close(c->store);
    st_arena_release(&c->arena);
    st_mem_release(&c->mem);
    free(c->buf);
    free(c);
}

void st_client_attach(struct st_client *c, int fd)
{
    c->attached = fd;
}

int st_client_file(struct st_client *c)
{
    return st_take_fd(&c->came);
}

bool st_client_remote(const struct st_client *c)
{
    return c->fd >= 0;
}

int st_client_fd(const struct st_client *c)
{
    return c->fd;
}

// ---- connecting ---------------------------------------------------------------------------------

// 1: connected; 0: nobody answers there; -1.
static int try_connect(const char *path, int *ret, struct st_err *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (snprintf(at.sun_path, sizeof at.sun_path, "%s", path) >= (int)sizeof at.sun_path)
        return st_err_set(err, ST_E_USAGE, "the name of the socket is longer than %zu bytes: %s",
                          sizeof at.sun_path - 1, path);
    ST_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return st_err_sys(err, "socket");
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) {
        if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
            return 0;
        return st_err_sys(err, "service at %s", path);
    }
    *ret = st_take_fd(&fd);
    return 1;
}

int st_client_connect(const char *path, struct st_client **ret, struct st_err *err)
{
    struct st_client *c;
    if (new_client(&c, err))
        return -1;
    int rc = try_connect(path, &c->fd, err);
    if (rc <= 0) {
        st_client_close(c);
        return rc ? -1 : st_err_set(err, ST_E_RETRY, "no service answers at %s", path);
    }
    *ret = c;
    return 0;
}

static int find_service(const char *home, int *ret, struct st_err *err)
{
    char path[PATH_MAX];
    if (home && st_home_file(home, "stella.sock", path, err))
        return -1;
    // A state directory with a long name cannot hold a socket: then there is none.
    int rc = home && strlen(path) < sizeof((struct sockaddr_un *)0)->sun_path ? try_connect(path, ret, err) : 0;
    const char *own = getenv("STELLA_HOME"); // who names a state directory does not mean the machine's service
    return rc || (own && own[0]) ? rc : try_connect(SYSTEM_SOCKET, ret, NULL) > 0;
}

static int open_local(struct st_client *c, bool writes, struct st_err *err)
{
    char home[PATH_MAX];
    if (writes ? st_home_make(home, err) : st_home_path(home, err))
        return -1;
    if (st_store_open(home, writes, &c->store, err) == 0) {
        if (st_store_sweep(c->store, ST_TRIES_DEFAULT, NULL, NULL, err))
            return -1;
        return writes ? st_store_durable(c->store, err) : 0;
    }
    if (writes || !err || err->code != ST_E_NOTFOUND)
        return -1;
    st_err_clear(err);
    return st_store_open_empty(&c->store, err);
}

// A service elsewhere: stella-remote speaks HTTP for us. It has the token from its environment, which is ours.
static int open_remote(struct st_client **ret, struct st_err *err)
{
    char path[PATH_MAX], name[] = REMOTE_NAME, serve[] = "--serve";
    char *const argv[] = {name, serve, NULL};
    int pair[2];
    struct st_client *c;
    if (st_helper_find(REMOTE_NAME, path, sizeof path, err) || new_client(&c, err))
        return -1;
    int rc = st_helper_socket(pair, err);
    if (rc == 0) {
        c->fd = pair[0];
        rc = st_helper_spawn(path, argv, environ, &pair[1], 1, &c->remote, err);
        close(pair[1]);
    }
    if (rc) {
        c->remote = 0;
        st_client_close(c);
        return -1;
    }
    *ret = c;
    return 0;
}

int st_client_open(bool writes, struct st_client **ret, struct st_err *err)
{
    struct st_err own = {0};
    const char *server = getenv("STELLA_SERVER"), *store = getenv("STELLA_STORE");
    char home[PATH_MAX];
    struct st_client *c;
    err = err ? err : &own;
    if (server && server[0] && !strncmp(server, "unix:", 5))
        server += 5;
    if (server && (!strncmp(server, "http://", 7) || !strncmp(server, "https://", 8)))
        return open_remote(ret, err);
    if (server && server[0]) {
        if (server[0] != '/')
            return st_err_set(err, ST_E_USAGE,
                              "STELLA_SERVER '%.100s' is no address of a service (examples: /run/stella/stella.sock, "
                              "https://scan.example.org)",
                              server);
        return st_client_connect(server, ret, err);
    }
    if (new_client(&c, err))
        return -1;
    int rc = find_service(st_home_path(home, NULL) ? NULL : home, &c->fd, err);
    if (rc == 0 && store && store[0])
        rc = st_err_set(err, ST_E_RETRY,
                        "no service answers, and the store is not a local file (STELLA_STORE): start "
                        "stella-api");
    else if (rc == 0)
        rc = open_local(c, writes, err);
    if (rc < 0) {
        st_client_close(c);
        return -1;
    }
    *ret = c;
    return 0;
}

int st_client_find(struct st_client **ret, struct st_err *err)
{
    const char *server = getenv("STELLA_SERVER");
    char home[PATH_MAX];
    struct st_client *c;
    if (server && server[0])
        return st_client_open(false, ret, err) ? -1 : 1;
    if (new_client(&c, err))
        return -1;
    struct st_err why = {0}; // a socket that lets nobody in is no service for this user
    int rc = find_service(st_home_path(home, NULL) ? NULL : home, &c->fd, &why);
    if (rc <= 0) {
        st_client_close(c);
        return 0;
    }
    *ret = c;
    return 1;
}

// ---- calls --------------------------------------------------------------------------------------

static int pass_over(void *ctx, const void *row, struct st_err *err)
{
    return 0;
}

static int local_call(struct st_client *c, const struct st_op *op, const void *request, st_op_emit_fn *emit, void *ctx,
                      struct st_err *err)
{
    struct st_caller me = {ST_ROLE_WORKER, st_sv_of(c->who)};
    struct st_op_call call = {.store = c->store,
                              .caller = &me,
                              .request = request,
                              .arena = &c->arena,
                              .emit = emit ? emit : pass_over,
                              .ctx = ctx};
    int rc = op->run(&call, err);
    st_arena_reset(&c->arena);
    return rc;
}

static int lost(struct st_client *c, struct st_err *err)
{
    close(c->fd);
    c->fd = -1;
    return st_err_set(err, ST_E_RETRY, "the service did not answer");
}

int st_client_send(struct st_client *c, const char *name, const void *request, struct st_err *err)
{
    struct st_buf b;
    struct st_out o;
    struct st_json_out w;
    c->op = st_op_find(st_sv_of(name));
    if (!c->op)
        return st_err_set(err, ST_E_INTERNAL, "no operation %s", name);
    if (c->fd < 0)
        return st_err_set(err, ST_E_RETRY, "the connection to the service is closed");
    st_buf_init(&b, &c->mem);
    st_out_init_buf(&o, &b);
    st_out_puts(&o, name);
    st_out_putc(&o, ' ');
    st_json_out_init(&w, &o, 0);
    if (c->op->request) {
        st_record_write(&w, c->op->request, request);
    } else {
        st_json_open(&w, '{');
        st_json_close(&w, '}');
    }
    int rc = st_out_finish(&o, err);
    if (rc == 0)
        rc = st_message_send_fd(c->fd, st_buf_sv(&b), st_take_fd(&c->attached),
                                st_clock_mono_ms() + ST_CLIENT_DEADLINE_MS, err);
    st_buf_release(&b);
    return rc;
}

// One packet. 1: the answer is complete; 0: a row; -1.
static int take(struct st_client *c, struct st_sv packet, st_op_emit_fn *emit, void *ctx, struct st_err *err)
{
    char kind = packet.ptr[0];
    struct st_sv json = st_sv_from(packet, 1);
    if (kind == 'E')
        return 1;
    if (kind == 'F') {
        struct st_err theirs = {0};
        st_message_get_err(json, &theirs);
        if (err)
            *err = theirs;
        return -1;
    }
    if (kind != 'R' || !c->op->answer)
        return st_err_set(err, ST_E_CORRUPT, "the service's answer is not understood");
    void *row = st_arena_alloc(&c->arena, c->op->answer->size, err);
    int rc = !row ? -1 : st_record_read(c->op->answer, json, true, 0, row, &c->arena, err);
    if (rc == 0 && emit)
        rc = emit(ctx, row, err);
    drop_came(c);
    st_arena_reset(&c->arena);
    return rc ? -1 : 0;
}

int st_client_take(struct st_client *c, st_op_emit_fn *emit, void *ctx, struct st_err *err)
{
    for (;;) {
        size_t n_fds = 1;
        ssize_t n = st_fd_recv_now(c->fd, c->buf, ST_MESSAGE_MAX, &c->came, &n_fds);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n <= 0)
            return lost(c, err);
        int rc = take(c, st_sv_mem(c->buf, (size_t)n), emit, ctx, err);
        if (rc)
            return rc;
    }
}

int st_client_call(struct st_client *c, const char *name, const void *request, st_op_emit_fn *emit, void *ctx,
                   struct st_err *err)
{
    const struct st_op *op = st_op_find(st_sv_of(name));
    uint64_t wait_ms = 0;
    bool files = c->attached >= 0 || !strcmp(name, "scans.sbom");
    if (!op)
        return st_err_set(err, ST_E_INTERNAL, "no operation %s", name);
    if (c->store)
        return local_call(c, op, request, emit, ctx, err);
    if (st_client_send(c, name, request, err))
        return -1;
    if (op->waits)
        memcpy(&wait_ms, request, sizeof wait_ms);
    int64_t deadline = !c->remote ? ST_CLIENT_DEADLINE_MS : files ? ST_CLIENT_UPLOAD_MS : ST_CLIENT_REMOTE_MS;
    for (;;) {
        struct st_err late = {0};
        int64_t n = st_message_recv_fd(c->fd, c->buf, ST_MESSAGE_MAX, &c->came,
                                       st_clock_mono_ms() + deadline + (int64_t)wait_ms, &late);
        if (n <= 0)
            return lost(c, err);
        int rc = take(c, st_sv_mem(c->buf, (size_t)n), emit, ctx, err);
        if (rc > 0)
            return 0;
        if (rc < 0 && c->buf[0] != 'F') { // ours: what follows would be taken for the next answer
            close(c->fd);
            c->fd = -1;
        }
        if (rc < 0)
            return -1;
    }
}
