// The Unix socket: one thread a connection, requests answered in their order.
#include "service/api.h"
#include "service/cond.h"
#include "service/message.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define STACK (256 * 1024)
#define END_MS 2000
#define SEND_MS 10000 // a client that does not read for so long is dropped

struct st_api_socket {
    struct st_api *api;
    int fd;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int clients[ST_API_CONNECTIONS]; // -1: free
    size_t n;
};

struct connection {
    struct st_api_socket *s;
    int fd;
    size_t slot;
    struct st_caller caller;
    char name[32];
};

// ---- answering ----------------------------------------------------------------------------------

struct answer {
    struct connection *c;
    const struct st_op *op;
    struct st_buf packet;
    int pass;    // owned: goes along with the next row; -1: none
    bool broken; // a packet could not be sent: what would follow would not be understood
};

static int send_record(struct answer *a, const void *row, struct st_err *err)
{
    struct st_out o;
    struct st_json_out w;
    st_buf_clear(&a->packet);
    st_out_init_buf(&o, &a->packet);
    st_out_putc(&o, 'R');
    st_json_out_init(&w, &o, 0);
    st_record_write(&w, a->op->answer, row);
    if (st_out_finish(&o, err))
        return -1;
    ST_AUTO_CLOSE int fd = st_take_fd(&a->pass);
    a->broken = st_message_send_fd(a->c->fd, st_buf_sv(&a->packet), fd, st_clock_mono_ms() + SEND_MS, err) != 0;
    return a->broken ? -1 : 0;
}

static int on_row(void *ctx, const void *row, struct st_err *err)
{
    return send_record(ctx, row, err);
}

// Nobody waits for the answer any more: a job must not be given to it.
static bool gone(void *ctx)
{
    struct pollfd p = {((struct answer *)ctx)->c->fd, POLLRDHUP, 0};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static int send_end(struct answer *a, int rc, const struct st_err *e)
{
    st_buf_clear(&a->packet);
    if (st_buf_addc(&a->packet, rc ? 'F' : 'E', NULL) || (rc && st_message_put_err(&a->packet, e, NULL)))
        return -1;
    return st_message_send(a->c->fd, st_buf_sv(&a->packet), st_clock_mono_ms() + SEND_MS, NULL);
}

static int perform(struct answer *a, struct st_sv packet, struct st_arena *arena, struct st_err *err)
{
    struct st_sv name, json;
    void *request = NULL;
    if (st_message_split(packet, &name, &json, err))
        return -1;
    a->op = st_op_find(name);
    if (!a->op)
        return st_err_set(err, ST_E_INPUT, "unknown operation '" ST_SV_FMT "': the service is of another version",
                          ST_SV_ARG(name));
    if (a->op->request) {
        request = st_arena_alloc(arena, a->op->request->size, err);
        if (!request || st_record_read(a->op->request, json, false, 0, request, arena, err))
            return -1;
    }
    return st_api_call(a->c->s->api, a->op, request, &a->c->caller, arena, on_row, gone, a, err);
}

// False: the connection is at its end.
static bool serve_one(struct connection *c, char *buf, struct st_mem *mem, struct st_arena *arena)
{
    struct st_err err = {0};
    ST_AUTO_CLOSE int file = -1;
    int64_t n = st_message_recv_fd(c->fd, buf, ST_MESSAGE_MAX, &file, 0, &err);
    if (n <= 0)
        return false;
    struct answer a = {.c = c, .pass = -1};
    c->caller.file = file >= 0 ? &file : NULL;
    c->caller.pass = &a.pass;
    st_buf_init(&a.packet, mem);
    int rc = perform(&a, st_sv_mem(buf, (size_t)n), arena, &err);
    if (a.pass >= 0)
        close(a.pass);
    bool on = !a.broken && send_end(&a, rc, &err) == 0;
    st_buf_release(&a.packet);
    st_arena_reset(arena);
    return on;
}

static void leave(struct connection *c)
{
    struct st_api_socket *s = c->s;
    pthread_mutex_lock(&s->lock);
    close(c->fd);
    s->clients[c->slot] = -1;
    s->n--;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    free(c);
}

static void *serve(void *ctx)
{
    struct connection *c = ctx;
    struct st_mem mem;
    struct st_arena arena;
    char *buf = malloc(ST_MESSAGE_MAX); // touched as far as messages are long
    st_mem_init(&mem, ST_API_ARENA, -1);
    st_arena_init(&arena, &mem);
    while (buf && serve_one(c, buf, &mem, &arena))
        ;
    st_arena_release(&arena);
    st_mem_release(&mem);
    free(buf);
    leave(c);
    return NULL;
}

// ---- accepting ----------------------------------------------------------------------------------

static void identify(struct connection *c)
{
    struct ucred who;
    socklen_t n = sizeof who;
    c->caller = (struct st_caller){ST_ROLE_NONE, ST_SV("unknown")};
    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &n))
        return;
    snprintf(c->name, sizeof c->name, "uid %u", (unsigned)who.uid);
    c->caller.name = st_sv_of(c->name);
    c->caller.role = who.uid == 0 || who.uid == geteuid() ? ST_ROLE_WORKER : ST_ROLE_SUBMIT;
}

static void refuse(int fd)
{
    static const char busy[] =
        "F{\"error\":\"retryable\",\"message\":\"the service has all the connections it takes\"}";
    st_message_send(fd, st_sv_of(busy), st_clock_mono_ms() + 100, NULL);
    close(fd);
}

static void admit(struct st_api_socket *s, int fd)
{
    struct connection *c = calloc(1, sizeof *c);
    pthread_attr_t attr;
    pthread_t t;
    size_t slot = 0;
    pthread_mutex_lock(&s->lock);
    while (slot < ST_API_CONNECTIONS && s->clients[slot] >= 0)
        slot++;
    if (c && slot < ST_API_CONNECTIONS) {
        s->clients[slot] = fd;
        s->n++;
    }
    pthread_mutex_unlock(&s->lock);
    if (!c || slot == ST_API_CONNECTIONS) {
        free(c);
        refuse(fd);
        return;
    }
    *c = (struct connection){.s = s, .fd = fd, .slot = slot};
    identify(c);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&t, &attr, serve, c))
        leave(c);
    pthread_attr_destroy(&attr);
}

static void *listen_loop(void *ctx)
{
    struct st_api_socket *s = ctx;
    for (;;) {
        // cppcheck-suppress nullPointer
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            admit(s, fd);
        else if (st_api_stopping(s->api))
            return NULL;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            poll(NULL, 0, 100);
    }
}

// A socket that nobody answers on is left over from a service that was killed.
static int take_place(const struct sockaddr_un *at, struct st_err *err)
{
    struct stat st;
    if (lstat(at->sun_path, &st))
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return st_err_set(err, ST_E_INPUT, "%s is there and is no socket", at->sun_path);
    ST_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return st_err_sys(err, "socket");
    if (connect(fd, (const struct sockaddr *)at, sizeof *at) == 0)
        return st_err_set(err, ST_E_CONFLICT, "another service answers at %s", at->sun_path);
    return unlink(at->sun_path) ? st_err_sys(err, "%s", at->sun_path) : 0;
}

static int bind_at(struct st_api_socket *s, const char *path, struct st_err *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (snprintf(at.sun_path, sizeof at.sun_path, "%s", path) >= (int)sizeof at.sun_path)
        return st_err_set(err, ST_E_USAGE, "the name of the socket is longer than %zu bytes: %s",
                          sizeof at.sun_path - 1, path);
    if (take_place(&at, err))
        return -1;
    s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return st_err_sys(err, "socket");
    mode_t old = umask(0117); // 0660: the group may be given access with the directory's
    int rc = bind(s->fd, (struct sockaddr *)&at, sizeof at);
    umask(old);
    if (rc || listen(s->fd, 128))
        return st_err_sys(err, "socket %s", path);
    snprintf(s->path, sizeof s->path, "%s", path);
    return 0;
}

int st_api_socket_start(struct st_api *a, const char *path, struct st_api_socket **ret, struct st_err *err)
{
    struct st_api_socket *s = calloc(1, sizeof *s);
    if (!s)
        return st_err_nomem(err);
    s->api = a;
    s->fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    st_cond_init(&s->ended);
    for (size_t i = 0; i < ST_API_CONNECTIONS; i++)
        s->clients[i] = -1;
    int rc = bind_at(s, path, err);
    if (rc == 0) {
        s->started = pthread_create(&s->thread, NULL, listen_loop, s) == 0;
        rc = s->started ? 0 : st_err_set(err, ST_E_FAILED, "cannot start a thread");
    }
    if (rc) {
        st_api_socket_stop(s);
        return -1;
    }
    *ret = s;
    return 0;
}

static void shut(struct st_api_socket *s, int how)
{
    for (size_t i = 0; i < ST_API_CONNECTIONS; i++)
        if (s->clients[i] >= 0)
            shutdown(s->clients[i], how);
}

// Answers in work are still sent, for a while.
static void end_clients(struct st_api_socket *s)
{
    struct timespec until = st_cond_in(END_MS);
    pthread_mutex_lock(&s->lock);
    shut(s, SHUT_RD);
    while (s->n && pthread_cond_timedwait(&s->ended, &s->lock, &until) == 0)
        ;
    shut(s, SHUT_RDWR);
    while (s->n)
        pthread_cond_wait(&s->ended, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void st_api_socket_stop(struct st_api_socket *s)
{
    if (!s)
        return;
    if (s->path[0])
        unlink(s->path);
    if (s->fd >= 0)
        shutdown(s->fd, SHUT_RDWR); // accept returns
    if (s->started)
        pthread_join(s->thread, NULL);
    end_clients(s);
    if (s->fd >= 0)
        close(s->fd);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->ended);
    free(s);
}
