// HTTP's sockets: address, certificate, start, reload, end.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "service/api_http_int.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#define THREADS 4
// MHD 0.9.75 takes 128 events at once, and when there are as many it waits for further ones, up to the idle time,
// before it looks at those: a thread must never have 128 descriptors, two of which are the listening socket and its own
// pipe.
#define CONNECTIONS (THREADS * 120)
#define HEADERS_MAX (32 * 1024)
#define PEM_MAX (256 * 1024)
#define BACKLOG 512
#define DRAIN_MS 30000 // after a reload, connections of before have so long
// GnuTLS's own order of ciphers, without the versions that RFC 8996 retired.
#define TLS "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

static int read_pem(const char *path, char **ret, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *buf = calloc(1, PEM_MAX);
    if (!buf)
        return st_err_nomem(err);
    ssize_t n = fd < 0 ? -1 : st_fd_read(fd, buf, PEM_MAX - 1);
    if (n > 0 && strstr(buf, "-----BEGIN ")) {
        *ret = buf;
        return 0;
    }
    OPENSSL_cleanse(buf, PEM_MAX);
    free(buf);
    return n < 0 ? st_err_sys(err, "%s", path) : st_err_set(err, ST_E_INPUT, "%s is not PEM", path);
}

static bool loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int address(const char *text, struct sockaddr_storage *ret, struct st_err *err)
{
    struct st_sv v = st_sv_of(text);
    size_t colon = st_sv_rfind(v, ':');
    char host[64] = "", port[8] = "";
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *ai;
    bool good = colon != ST_SV_NPOS && colon > 0;
    if (good) {
        struct st_sv h = st_sv_sub(v, 0, colon);
        if (h.ptr[0] == '[' && h.ptr[h.len - 1] == ']')
            h = st_sv_sub(h, 1, h.len - 2);
        snprintf(host, sizeof host, ST_SV_FMT, ST_SV_ARG(h));
        snprintf(port, sizeof port, ST_SV_FMT, ST_SV_ARG(st_sv_from(v, colon + 1)));
    }
    if (!good || !port[0] || getaddrinfo(host, port, &hints, &ai))
        return st_err_set(err, ST_E_USAGE, "invalid address '%.100s' (examples: 127.0.0.1:8444, [::1]:8444)", text);
    memcpy(ret, ai->ai_addr, ai->ai_addrlen);
    freeaddrinfo(ai);
    return 0;
}

static int check(const struct st_api_options *o, const struct sockaddr *at, struct st_err *err)
{
    if (!o->tokens)
        return st_err_set(err, ST_E_USAGE, "--listen needs --tokens FILE: HTTP is never open to everybody");
    if (!o->tls_cert != !o->tls_key)
        return st_err_set(err, ST_E_USAGE, "--tls-cert and --tls-key go together");
    if (!o->tls_cert && !loopback(at))
        return st_err_set(err, ST_E_USAGE,
                          "%s is not this machine alone: tokens would cross the network in the open; give "
                          "--tls-cert and --tls-key",
                          o->listen);
    return 0;
}

static int bind_at(const struct st_api_options *o, int *ret, struct st_err *err)
{
    struct sockaddr_storage at = {0};
    int yes = 1;
    if (address(o->listen, &at, err) || check(o, (struct sockaddr *)&at, err))
        return -1;
    ST_AUTO_CLOSE int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t n = at.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (fd < 0)
        return st_err_sys(err, "HTTP on %s", o->listen);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&at, n) || listen(fd, BACKLOG))
        return st_err_sys(err, "HTTP on %s", o->listen);
    *ret = st_take_fd(&fd);
    return 0;
}

static int begin(struct st_api_http *h, const struct st_api_options *o, struct st_err *err)
{
    if (st_tokens_read(o->tokens, &h->tokens, err) ||
        (h->tls && (read_pem(o->tls_cert, &h->cert, err) || read_pem(o->tls_key, &h->key, err))) ||
        st_api_events_new(h->api, &h->events, err))
        return -1;
    unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (h->tls ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, h->cert},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, h->key},
                                   {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS},
                                   {MHD_OPTION_END, 0, NULL}};
    int fd = fcntl(h->listen_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return st_err_sys(err, "HTTP on %s", o->listen);
    errno = 0;
    h->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, st_api_http_request, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)ST_HTTP_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX, MHD_OPTION_NOTIFY_COMPLETED,
        st_api_http_request_done, NULL, MHD_OPTION_ARRAY, h->tls ? tls : &tls[3], MHD_OPTION_END);
    if (h->daemon)
        return 0;
    int e = errno;
    close(fd);
    errno = e;
    if (h->tls)
        return st_err_set(err, ST_E_INPUT, "%s and %s: no certificate and key (PEM) that belong together", o->tls_cert,
                          o->tls_key);
    return e ? st_err_sys(err, "HTTP on %s", o->listen)
             : st_err_set(err, ST_E_FAILED, "HTTP on %s could not be started", o->listen);
}

static int start_on(struct st_api *a, const struct st_api_options *o, int *fd, struct st_api_uploads *up,
                    struct st_api_http **ret, struct st_err *err)
{
    struct st_api_http *h = calloc(1, sizeof *h);
    if (!h)
        return st_err_nomem(err);
    h->api = a;
    h->home = o->home;
    h->uploads = up;
    h->tls = o->tls_cert != NULL;
    h->listen_fd = st_take_fd(fd);
    pthread_mutex_init(&h->lock, NULL);
    if (begin(h, o, err)) {
        st_api_http_stop(h);
        return -1;
    }
    *ret = h;
    return 0;
}

int st_api_http_start(struct st_api *a, const struct st_api_options *o, struct st_api_http **ret, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = -1;
    struct st_api_uploads *up = NULL;
    if (bind_at(o, &fd, err) || st_api_uploads_new(a, o->home, &up, err))
        return -1;
    if (start_on(a, o, &fd, up, ret, err)) {
        st_api_uploads_free(up);
        return -1;
    }
    (*ret)->owns_uploads = true;
    return 0;
}

// ---- reload ---------------------------------------------------------------------------------------

static void *drain(void *ctx)
{
    struct st_api_http *h = ctx;
    for (int i = 0; i < DRAIN_MS / 100 && !st_api_stopping(h->api); i++) {
        const union MHD_DaemonInfo *n = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        if (!n || !n->num_connections)
            break;
        poll(NULL, 0, 100);
    }
    st_api_http_stop(h);
    return NULL;
}

int st_api_http_reload(struct st_api_http **inout, const struct st_api_options *o, struct st_err *err)
{
    struct st_api_http *old = *inout, *h;
    ST_AUTO_CLOSE int fd = fcntl(old->listen_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return st_err_sys(err, "HTTP on %s", o->listen);
    if (start_on(old->api, o, &fd, old->uploads, &h, err))
        return -1;
    h->owns_uploads = old->owns_uploads;
    old->owns_uploads = false;
    int was = MHD_quiesce_daemon(old->daemon);
    if (was >= 0)
        close(was);
    h->draining = pthread_create(&h->drain, NULL, drain, old) == 0;
    if (!h->draining)
        st_api_http_stop(old);
    *inout = h;
    return 0;
}

void st_api_http_stop(struct st_api_http *h)
{
    if (!h)
        return;
    if (h->draining)
        pthread_join(h->drain, NULL);
    if (h->events)
        st_api_events_stop(h->events);
    if (h->daemon)
        st_api_uploads_leave(h->uploads, h);
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    st_api_events_free(h->events);
    if (h->owns_uploads)
        st_api_uploads_free(h->uploads);
    st_tokens_free(h->tokens);
    pthread_mutex_destroy(&h->lock);
    if (h->key)
        OPENSSL_cleanse(h->key, PEM_MAX);
    free(h->cert);
    free(h->key);
    if (h->listen_fd >= 0)
        close(h->listen_fd);
    free(h);
}

uint16_t st_api_http_port(const struct st_api_http *h)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    if (getsockname(h->listen_fd, (struct sockaddr *)&at, &n))
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}
