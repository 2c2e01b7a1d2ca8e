// HTTP over libmicrohttpd: the table of operations, and /healthz, /readyz, /metrics, /openapi.json.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/map.h"
#include "service/api.h"
#include "service/api_metrics.h"
#include "service/message.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define CONNECTIONS 512
#define IDLE_S 15
#define HEADERS_MAX (32 * 1024)
#define BODY_MAX ((size_t)ST_MESSAGE_MAX)
#define MEMORY (24ull << 20) // of one request
#define RATE 500             // requests a second, of one token or address
#define BURST 1000
#define BUCKETS 1024
#define RETRY_AFTER "5"

struct bucket {
    uint64_t who;
    double left;
    int64_t at_ms;
};

struct st_api_http {
    struct st_api *api;
    struct MHD_Daemon *daemon;
    struct st_tokens *tokens;
    pthread_mutex_t lock;
    struct bucket buckets[BUCKETS];
    char *cert, *key; // owns, PEM
};

// ---- one request --------------------------------------------------------------------------------

struct request {
    struct st_api_http *h;
    struct MHD_Connection *conn;
    const char *method, *url;
    struct st_caller caller;
    struct st_mem mem;
    struct st_arena arena;
    struct st_buf body, answer;
    bool too_long;
    char location[128];
};

static struct request *request_new(struct st_api_http *h)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->h = h;
    st_mem_init(&r->mem, MEMORY, -1);
    st_arena_init(&r->arena, &r->mem);
    st_buf_init(&r->body, &r->mem);
    st_buf_init(&r->answer, &r->mem);
    return r;
}

static void request_free(struct request *r)
{
    st_buf_release(&r->body);
    st_buf_release(&r->answer);
    st_arena_release(&r->arena);
    st_mem_release(&r->mem);
    free(r);
}

static const struct {
    enum st_err_code code;
    unsigned status;
} statuses[] = {
    {ST_E_INPUT, 400}, {ST_E_USAGE, 400},  {ST_E_AUTH, 403},  {ST_E_NOTFOUND, 404}, {ST_E_CONFLICT, 409},
    {ST_E_LIMIT, 413}, {ST_E_MEMORY, 413}, {ST_E_RETRY, 503}, {ST_E_TIMEOUT, 504},
};

static unsigned status_of(enum st_err_code code)
{
    for (size_t i = 0; i < ST_LEN(statuses); i++)
        if (statuses[i].code == code)
            return statuses[i].status;
    return 500;
}

static enum MHD_Result reply(struct request *r, unsigned status, const char *type)
{
    struct MHD_Response *m = MHD_create_response_from_buffer(r->answer.len, r->answer.ptr ? r->answer.ptr : (void *)"",
                                                             MHD_RESPMEM_MUST_COPY);
    if (!m)
        return MHD_NO;
    MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(m, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(m, "X-Content-Type-Options", "nosniff");
    if (r->location[0])
        MHD_add_response_header(m, status == 405 ? MHD_HTTP_HEADER_ALLOW : MHD_HTTP_HEADER_LOCATION, r->location);
    if (status == 503 || status == 429)
        MHD_add_response_header(m, MHD_HTTP_HEADER_RETRY_AFTER, status == 429 ? "1" : RETRY_AFTER);
    if (status == 401)
        MHD_add_response_header(m, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    enum MHD_Result rc = MHD_queue_response(r->conn, status, m);
    MHD_destroy_response(m);
    return rc;
}

#define JSON_TYPE "application/json"

static enum MHD_Result reply_error(struct request *r, unsigned status, const struct st_err *e)
{
    st_buf_clear(&r->answer);
    if (st_message_put_err(&r->answer, e, NULL) || st_buf_addc(&r->answer, '\n', NULL))
        st_buf_clear(&r->answer);
    return reply(r, status, JSON_TYPE);
}

// ---- who, and how often --------------------------------------------------------------------------

static struct st_sv peer(struct request *r, char buf[static 64])
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    buf[0] = '\0';
    if (i && i->client_addr->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)i->client_addr)->sin_addr, buf, 64);
    else if (i && i->client_addr->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)i->client_addr)->sin6_addr, buf, 64);
    return st_sv_of(buf);
}

// A bucket is shared by those whose hashes meet: a limit for the few becomes one for both, never none.
static bool within_rate(struct st_api_http *h, struct st_sv who)
{
    struct bucket *b = &h->buckets[st_hash(who) % BUCKETS];
    int64_t now = st_clock_mono_ms();
    pthread_mutex_lock(&h->lock);
    b->left = b->at_ms ? b->left + (double)(now - b->at_ms) * RATE / 1000 : BURST;
    b->left = ST_MIN(b->left, (double)BURST);
    b->at_ms = now;
    bool ok = b->left >= 1;
    if (ok)
        b->left -= 1;
    pthread_mutex_unlock(&h->lock);
    return ok;
}

static void authenticate(struct request *r)
{
    const char *v = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    r->caller = (struct st_caller){ST_ROLE_NONE, ST_SV("nobody")};
    if (v && st_sv_ieq(st_sv_sub(st_sv_of(v), 0, 7), ST_SV("Bearer ")))
        r->caller = st_tokens_find(r->h->tokens, st_sv_trim(st_sv_of(v + 7)));
}

// ---- routes -------------------------------------------------------------------------------------

// Does the URL have the form of the path? The part for {name} goes to *ret_value, its name to *ret_name.
static bool route_fits(const char *path, struct st_sv url, struct st_sv *ret_name, struct st_sv *ret_value)
{
    struct st_sv want = st_sv_of(path), a, b;
    *ret_name = ST_SV_NULL;
    for (;;) {
        bool more = st_sv_cut(want, '/', &a, &want), more_url = st_sv_cut(url, '/', &b, &url);
        if (a.len && a.ptr[0] == '{') {
            *ret_name = st_sv_sub(a, 1, a.len - 2);
            *ret_value = b;
            if (!b.len)
                return false;
        } else if (!st_sv_eq(a, b)) {
            return false;
        }
        if (!more || !more_url)
            return more == more_url;
    }
}

struct filling {
    const struct st_op *op;
    void *value;
    uint64_t seen;
    struct st_err err;
};

static enum MHD_Result take_query(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct filling *f = ctx;
    const struct st_record *r = f->op->request;
    struct st_sv name = st_sv_of(key);
    if (!strcmp(key, "waitMs"))
        st_err_set(&f->err, ST_E_INPUT, "unknown field 'waitMs'");
    else if (!r)
        st_err_set(&f->err, ST_E_INPUT, "unknown field '%.100s'", key);
    else
        st_record_set(r, name, st_sv_of(value ? value : ""), f->value, &f->seen, &f->err);
    return f->err.code ? MHD_NO : MHD_YES;
}

static bool takes_body(const struct st_op *op)
{
    return !strcmp(op->method, "POST") || !strcmp(op->method, "PUT");
}

// The request struct: the part of the path, then the body or the query.
static int fill(struct request *r, const struct st_op *op, struct st_sv name, struct st_sv value, void **ret,
                struct st_err *err)
{
    struct filling f = {.op = op};
    if (op->request && !(f.value = st_arena_alloc(&r->arena, op->request->size, err)))
        return -1;
    *ret = f.value;
    if (name.len && st_record_set(op->request, name, value, f.value, &f.seen, err))
        return -1;
    if (takes_body(op)) {
        const char *type = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
        if (r->body.len && (!type || strncmp(type, JSON_TYPE, strlen(JSON_TYPE)) != 0))
            return st_err_set(err, ST_E_INPUT, "Content-Type " JSON_TYPE " is wanted");
        struct st_sv json = r->body.len ? st_buf_sv(&r->body) : ST_SV("{}");
        return st_record_read(op->request, json, false, f.seen, f.value, &r->arena, err);
    }
    MHD_get_connection_values(r->conn, MHD_GET_ARGUMENT_KIND, take_query, &f);
    if (f.err.code && err)
        *err = f.err;
    return f.err.code ? -1 : op->request ? st_record_missing(op->request, f.seen, err) : 0;
}

struct writing {
    struct request *r;
    const struct st_op *op;
    struct st_out out;
    struct st_json_out json;
    uint64_t rows;
};

static int write_row(void *ctx, const void *row, struct st_err *err)
{
    struct writing *w = ctx;
    w->rows++;
    st_record_write(&w->json, w->op->answer, row);
    if (w->op->answer == &st_record_job && w->op->status == 202)
        snprintf(w->r->location, sizeof w->r->location, "/api/v1/scans/%s", ((const struct st_job *)row)->id);
    if (w->out.err.code && err)
        *err = w->out.err;
    return w->out.err.code ? -1 : 0;
}

static enum MHD_Result run_op(struct request *r, const struct st_op *op, struct st_sv name, struct st_sv value)
{
    struct st_err err = {0};
    struct writing w = {.r = r, .op = op};
    void *request;
    if (r->caller.role == ST_ROLE_NONE) {
        st_err_set(&err, ST_E_AUTH, "a token is needed (Authorization: Bearer TOKEN)");
        return reply_error(r, 401, &err);
    }
    if (fill(r, op, name, value, &request, &err))
        return reply_error(r, status_of(err.code), &err);
    st_out_init_buf(&w.out, &r->answer);
    st_json_out_init(&w.json, &w.out, 0);
    if (op->many)
        st_json_open(&w.json, '[');
    int rc = st_api_call(r->h->api, op, request, &r->caller, &r->arena, write_row, NULL, &w, &err);
    if (rc == 0 && op->many)
        st_json_close(&w.json, ']');
    st_out_putc(&w.out, '\n');
    if (st_out_finish(&w.out, rc ? NULL : &err))
        rc = -1;
    return rc ? reply_error(r, status_of(err.code), &err) : reply(r, op->status, JSON_TYPE);
}

static int probe(struct st_store *s, void *ctx, struct st_err *err)
{
    int64_t v;
    return st_store_mark(s, ST_MARK_RESTART, &v, err);
}

struct metrics {
    struct st_api *api;
    struct st_out *out;
};

static int write_metrics(struct st_store *s, void *ctx, struct st_err *err)
{
    struct metrics *m = ctx;
    return st_metrics_write(s, st_api_live(m->api), m->out, err);
}

static enum MHD_Result plain(struct request *r, const char *text)
{
    return st_buf_add(&r->answer, st_sv_of(text), NULL) ? MHD_NO : reply(r, 200, "text/plain; charset=utf-8");
}

// 1: it was one of these.
static int special(struct request *r, enum MHD_Result *ret)
{
    struct st_err err = {0};
    struct st_out o;
    if (!strcmp(r->url, "/healthz")) {
        *ret = plain(r, "ok\n");
    } else if (!strcmp(r->url, "/readyz")) {
        *ret = st_api_read(r->h->api, probe, NULL, &err) ? reply_error(r, 503, &err) : plain(r, "ready\n");
    } else if (!strcmp(r->url, "/openapi.json")) {
        st_out_init_buf(&o, &r->answer);
        st_openapi_write(&o);
        *ret = st_out_finish(&o, &err) ? reply_error(r, 500, &err) : reply(r, 200, JSON_TYPE);
    } else if (!strcmp(r->url, "/metrics") && r->caller.role >= ST_ROLE_READ) {
        struct metrics m = {r->h->api, &o};
        st_out_init_buf(&o, &r->answer);
        int rc = st_api_read(r->h->api, write_metrics, &m, &err);
        if (st_out_finish(&o, rc ? NULL : &err) || rc)
            *ret = reply_error(r, status_of(err.code), &err);
        else
            *ret = reply(r, 200, "text/plain; version=0.0.4; charset=utf-8");
    } else if (!strcmp(r->url, "/metrics")) {
        st_err_set(&err, ST_E_AUTH, "a token is needed (Authorization: Bearer TOKEN)");
        *ret = reply_error(r, 401, &err);
    } else {
        return 0;
    }
    return 1;
}

static enum MHD_Result dispatch(struct request *r)
{
    struct st_err err = {0};
    struct st_sv name, value = ST_SV_NULL;
    char who[64];
    enum MHD_Result rc;
    bool get = !strcmp(r->method, "GET") || !strcmp(r->method, "HEAD");
    authenticate(r);
    if (!within_rate(r->h, r->caller.role == ST_ROLE_NONE ? peer(r, who) : r->caller.name)) {
        st_err_set(&err, ST_E_RETRY, "more than %d requests a second", RATE);
        return reply_error(r, 429, &err);
    }
    if (r->too_long) {
        st_err_set(&err, ST_E_LIMIT, "the body is longer than %zu bytes", BODY_MAX);
        return reply_error(r, 413, &err);
    }
    if (get && special(r, &rc))
        return rc;
    size_t n = 0;
    for (const struct st_op *o = st_ops; o->name; o++) {
        if (!o->path || !route_fits(o->path, st_sv_of(r->url), &name, &value))
            continue;
        if (!strcmp(o->method, get ? "GET" : r->method))
            return run_op(r, o, name, value);
        int k = snprintf(r->location + n, sizeof r->location - n, "%s%s", n ? ", " : "", o->method);
        n += k > 0 ? (size_t)k : 0;
    }
    if (n) {
        st_err_set(&err, ST_E_INPUT, "%.20s is not done to %.200s (%s)", r->method, r->url, r->location);
        return reply_error(r, 405, &err);
    }
    st_err_set(&err, ST_E_NOTFOUND, "nothing is at %.200s (GET /openapi.json lists what there is)", r->url);
    return reply_error(r, 404, &err);
}

// ---- libmicrohttpd ------------------------------------------------------------------------------

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *data, size_t *n, void **state)
{
    struct request *r = *state;
    if (!r) {
        r = request_new(ctx);
        *state = r;
        return r ? MHD_YES : MHD_NO;
    }
    if (*n) {
        r->too_long = r->too_long || *n > BODY_MAX - r->body.len;
        if (!r->too_long && st_buf_add(&r->body, st_sv_mem(data, *n), NULL))
            return MHD_NO;
        *n = 0;
        return MHD_YES;
    }
    r->conn = conn;
    r->method = method;
    r->url = url;
    return dispatch(r);
}

static void on_done(void *ctx, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode why)
{
    if (*state)
        request_free(*state);
    *state = NULL;
}

// ---- start --------------------------------------------------------------------------------------

static int read_pem(const char *path, char **ret, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *buf = calloc(1, 256 * 1024);
    if (!buf)
        return st_err_nomem(err);
    ssize_t n = fd < 0 ? -1 : st_fd_read(fd, buf, 256 * 1024 - 1);
    if (n < 0) {
        free(buf);
        return st_err_sys(err, "%s", path);
    }
    *ret = buf;
    return 0;
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

static int begin(struct st_api_http *h, const struct st_api_options *o, struct st_err *err)
{
    struct sockaddr_storage at = {0};
    if (address(o->listen, &at, err))
        return -1;
    if (!o->tokens)
        return st_err_set(err, ST_E_USAGE, "--listen needs --tokens FILE: HTTP is never open to everybody");
    if (!o->tls_cert != !o->tls_key)
        return st_err_set(err, ST_E_USAGE, "--tls-cert and --tls-key go together");
    if (!o->tls_cert && !loopback((struct sockaddr *)&at))
        return st_err_set(err, ST_E_USAGE,
                          "%s is not this machine alone: tokens would cross the network in the open; give "
                          "--tls-cert and --tls-key",
                          o->listen);
    if (st_tokens_read(o->tokens, &h->tokens, err) ||
        (o->tls_cert && (read_pem(o->tls_cert, &h->cert, err) || read_pem(o->tls_key, &h->key, err))))
        return -1;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | (o->tls_cert ? MHD_USE_TLS : 0) |
                     (at.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, h->cert}, {MHD_OPTION_HTTPS_MEM_KEY, 0, h->key}, {MHD_OPTION_END, 0, NULL}};
    errno = 0;
    h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at,
                                 MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX, MHD_OPTION_NOTIFY_COMPLETED,
                                 on_done, NULL, MHD_OPTION_ARRAY, o->tls_cert ? tls : &tls[2], MHD_OPTION_END);
    if (h->daemon)
        return 0;
    return errno ? st_err_sys(err, "HTTP on %s", o->listen)
                 : st_err_set(err, ST_E_FAILED, "HTTP on %s could not be started%s", o->listen,
                              o->tls_cert ? " (certificate and key must be PEM and belong together)" : "");
}

int st_api_http_start(struct st_api *a, const struct st_api_options *o, struct st_api_http **ret, struct st_err *err)
{
    struct st_api_http *h = calloc(1, sizeof *h);
    if (!h)
        return st_err_nomem(err);
    h->api = a;
    pthread_mutex_init(&h->lock, NULL);
    if (begin(h, o, err)) {
        st_api_http_stop(h);
        return -1;
    }
    *ret = h;
    return 0;
}

void st_api_http_stop(struct st_api_http *h)
{
    if (!h)
        return;
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    st_tokens_free(h->tokens);
    pthread_mutex_destroy(&h->lock);
    free(h->cert);
    free(h->key);
    free(h);
}

uint16_t st_api_http_port(const struct st_api_http *h)
{
    const union MHD_DaemonInfo *i = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return i ? i->port : 0;
}
