// HTTP over libmicrohttpd: one request, from its headers to its answer. The table of operations, and the routes that
// are more than an operation (st_http_routes).
#include "base/ckd.h"
#include "base/clock.h"
#include "base/map.h"
#include "image/reference.h"
#include "service/api_http_int.h"
#include "service/message.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX ((size_t)ST_MESSAGE_MAX)
#define SWALLOW_MAX (1u << 20) // of a body that nobody wants: so much is read before the answer, else it would be lost
#define RATE 500               // requests a second, of one token or address
#define BURST 1000
#define RETRY_AFTER "5"

static struct st_api_request *request_new(struct st_api_http *h)
{
    struct st_api_request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->h = h;
    st_mem_init(&r->mem, ST_HTTP_REQUEST_MEM, -1);
    st_arena_init(&r->arena, &r->mem);
    st_buf_init(&r->body, &r->mem);
    st_buf_init(&r->answer, &r->mem);
    return r;
}

static void request_free(struct st_api_request *r)
{
    st_upload_free(r->upload);
    st_buf_release(&r->body);
    st_buf_release(&r->answer);
    st_arena_release(&r->arena);
    st_mem_release(&r->mem);
    free(r);
}

// ---- answering ----------------------------------------------------------------------------------

static const struct {
    enum st_err_code code;
    unsigned status;
} statuses[] = {
    {ST_E_INPUT, 400}, {ST_E_USAGE, 400},  {ST_E_AUTH, 403},  {ST_E_NOTFOUND, 404}, {ST_E_CONFLICT, 409},
    {ST_E_LIMIT, 413}, {ST_E_MEMORY, 413}, {ST_E_RETRY, 503}, {ST_E_TIMEOUT, 504},
};

unsigned st_api_status(enum st_err_code code)
{
    for (size_t i = 0; i < ST_LEN(statuses); i++)
        if (statuses[i].code == code)
            return statuses[i].status;
    return 500;
}

enum MHD_Result st_api_reply_response(struct st_api_request *r, unsigned status, struct MHD_Response *m,
                                      const char *type)
{
    if (!m)
        return MHD_NO;
    MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(m, MHD_HTTP_HEADER_CACHE_CONTROL, r->etag[0] ? "private, no-cache" : "no-store");
    if (r->etag[0])
        MHD_add_response_header(m, MHD_HTTP_HEADER_ETAG, r->etag);
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

enum MHD_Result st_api_reply(struct st_api_request *r, unsigned status, const char *type)
{
    return st_api_reply_response(r, status,
                                 MHD_create_response_from_buffer(
                                     r->answer.len, r->answer.ptr ? r->answer.ptr : (void *)"", MHD_RESPMEM_MUST_COPY),
                                 type);
}

enum MHD_Result st_api_reply_error(struct st_api_request *r, unsigned status, const struct st_err *e)
{
    r->etag[0] = '\0';
    st_buf_clear(&r->answer);
    if (st_message_put_err(&r->answer, e, NULL) || st_buf_addc(&r->answer, '\n', NULL))
        st_buf_clear(&r->answer);
    return st_api_reply(r, status, ST_HTTP_JSON);
}

enum MHD_Result st_api_reply_failed(struct st_api_request *r, const struct st_err *e)
{
    return st_api_reply_error(r, st_api_status(e->code), e);
}

// ---- who, and how often --------------------------------------------------------------------------

static struct st_sv peer(struct st_api_request *r, char buf[static 64])
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    buf[0] = '\0';
    if (i && i->client_addr->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)i->client_addr)->sin_addr, buf, 64);
    else if (i && i->client_addr->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)i->client_addr)->sin6_addr, buf, 64);
    return st_sv_of(buf);
}

// One of the few that this caller's hash may have. When all are in use by others, one is shared: a limit for the few
// becomes one for both, never none.
static struct st_http_bucket *bucket_of(struct st_api_http *h, struct st_sv who, int64_t now)
{
    uint64_t hash = st_hash(who);
    struct st_http_bucket *set = h->buckets[hash % ST_HTTP_SETS], *oldest = set;
    for (struct st_http_bucket *b = set; b < set + ST_HTTP_WAYS; b++) {
        if (b->who == hash)
            return b;
        if (b->at_ms < oldest->at_ms)
            oldest = b;
    }
    if (now - oldest->at_ms >= BURST * 1000 / RATE) // full again, as a new one would be
        oldest->who = hash;
    return oldest;
}

static bool within_rate(struct st_api_http *h, struct st_sv who)
{
    int64_t now = st_clock_mono_ms();
    pthread_mutex_lock(&h->lock);
    struct st_http_bucket *b = bucket_of(h, who, now);
    b->left = b->at_ms ? b->left + (double)(now - b->at_ms) * RATE / 1000 : BURST;
    b->left = ST_MIN(b->left, (double)BURST);
    b->at_ms = now;
    bool ok = b->left >= 1;
    if (ok)
        b->left -= 1;
    pthread_mutex_unlock(&h->lock);
    return ok;
}

static void authenticate(struct st_api_request *r)
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

static enum MHD_Result take_query(void *ctx, enum MHD_ValueKind kind, const char *key, size_t key_len,
                                  const char *value, size_t value_len)
{
    struct filling *f = ctx;
    const struct st_record *r = f->op->request;
    struct st_sv name = st_sv_mem(key, key_len);
    if (!r || st_sv_eq(name, ST_SV("waitMs")))
        st_err_set(&f->err, ST_E_INPUT, "unknown field '" ST_SV_FMT "'", ST_SV_ARG(st_sv_sub(name, 0, 100)));
    else
        st_record_set(r, name, value ? st_sv_mem(value, value_len) : ST_SV(""), f->value, &f->seen, &f->err);
    return f->err.code ? MHD_NO : MHD_YES;
}

static bool takes_body(const struct st_op *op)
{
    return !strcmp(op->method, "POST") || !strcmp(op->method, "PUT");
}

// The request struct: the part of the path, then the body or the query.
static int fill(struct st_api_request *r, const struct st_op *op, struct st_sv name, struct st_sv value, void **ret,
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
        if (r->body.len && (!type || strncmp(type, ST_HTTP_JSON, strlen(ST_HTTP_JSON)) != 0))
            return st_err_set(err, ST_E_INPUT, "Content-Type " ST_HTTP_JSON " is wanted");
        struct st_sv json = r->body.len ? st_buf_sv(&r->body) : ST_SV("{}");
        return st_record_read(op->request, json, false, f.seen, f.value, &r->arena, err);
    }
    MHD_get_connection_values_n(r->conn, MHD_GET_ARGUMENT_KIND, take_query, &f);
    if (f.err.code && err)
        *err = f.err;
    return f.err.code ? -1 : op->request ? st_record_missing(op->request, f.seen, err) : 0;
}

struct writing {
    struct st_api_request *r;
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

int st_api_answer(struct st_api_request *r, const struct st_op *op, const void *request, struct st_err *err)
{
    struct writing w = {.r = r, .op = op};
    st_out_init_buf(&w.out, &r->answer);
    st_json_out_init(&w.json, &w.out, 0);
    if (op->many)
        st_json_open(&w.json, '[');
    int rc = st_api_call(r->h->api, op, request, &r->caller, &r->arena, write_row, NULL, &w, err);
    if (rc == 0 && op->many)
        st_json_close(&w.json, ']');
    st_out_putc(&w.out, '\n');
    return st_out_finish(&w.out, rc ? NULL : err) || rc ? -1 : 0;
}

// A path would be one of the service's own machine, which who is elsewhere has no business with.
static int no_path(struct st_api_request *r, const struct st_op *op, const void *request, struct st_err *err)
{
    struct st_reference ref;
    if (op->request != &st_record_req_submit)
        return 0;
    struct st_sv image = ((const struct st_req_submit *)request)->image;
    if (st_reference_parse(image, NULL, NULL, &r->arena, &ref, err))
        return -1;
    if (ref.source->takes != ST_TAKES_REGISTRY)
        return st_err_set(err, ST_E_INPUT,
                          "'" ST_SV_FMT "' is a path, and files of this machine are not for HTTP: send the archive "
                          "(Content-Type application/x-tar, ?spool=1)",
                          ST_SV_ARG(st_sv_sub(image, 0, 200)));
    return 0;
}

static enum MHD_Result run_op(struct st_api_request *r, const struct st_op *op, struct st_sv name, struct st_sv value)
{
    struct st_err err = {0};
    void *request;
    if (fill(r, op, name, value, &request, &err) || no_path(r, op, request, &err) ||
        st_api_answer(r, op, request, &err))
        return st_api_reply_failed(r, &err);
    return st_api_reply(r, op->status, ST_HTTP_JSON);
}

static enum MHD_Result need_token(struct st_api_request *r)
{
    struct st_err err = {0};
    st_err_set(&err, ST_E_AUTH, "a token is needed (Authorization: Bearer TOKEN)");
    return st_api_reply_error(r, 401, &err);
}

static enum MHD_Result run_route(struct st_api_request *r, const struct st_http_route *t, struct st_sv value)
{
    struct st_err err = {0};
    if (r->caller.role >= t->role)
        return t->run(r, value);
    st_err_set(&err, ST_E_AUTH, "%s needs the role %s; " ST_SV_FMT " has %s", t->path, st_role_words[t->role],
               ST_SV_ARG(r->caller.name), st_role_words[r->caller.role]);
    return st_api_reply_failed(r, &err);
}

static enum MHD_Result dispatch(struct st_api_request *r)
{
    struct st_err err = {0};
    struct st_sv name, value = ST_SV_NULL, url = st_sv_of(r->url);
    bool get = !strcmp(r->method, "GET") || !strcmp(r->method, "HEAD");
    size_t n = 0;
    for (const struct st_http_route *t = st_http_routes; t->path; t++)
        if (get && route_fits(t->path, url, &name, &value))
            return t->role > ST_ROLE_NONE && r->caller.role == ST_ROLE_NONE ? need_token(r) : run_route(r, t, value);
    for (const struct st_op *o = st_ops; o->name; o++) {
        if (!o->path || !route_fits(o->path, url, &name, &value))
            continue;
        if (!strcmp(o->method, get ? "GET" : r->method))
            return r->caller.role == ST_ROLE_NONE ? need_token(r) : run_op(r, o, name, value);
        int k = snprintf(r->location + n, sizeof r->location - n, "%s%s", n ? ", " : "", o->method);
        n += k > 0 ? (size_t)k : 0;
    }
    if (n) {
        st_err_set(&err, ST_E_INPUT, "%.20s is not done to %.200s (%s)", r->method, r->url, r->location);
        return st_api_reply_error(r, 405, &err);
    }
    st_err_set(&err, ST_E_NOTFOUND, "nothing is at %.200s (GET /openapi.json lists what there is)", r->url);
    return st_api_reply_error(r, 404, &err);
}

// ---- the course of a request --------------------------------------------------------------------

// Before the body: who asks, how often, how much is to come.
static void admit(struct st_api_request *r)
{
    struct st_err *err = &r->refusal;
    const char *length = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    char who[64];
    authenticate(r);
    if (length && !st_sv_u64(st_sv_of(length), 10, &r->length))
        r->length = UINT64_MAX;
    r->has_length = length != NULL;
    if (!within_rate(r->h, r->caller.role == ST_ROLE_NONE ? peer(r, who) : r->caller.name)) {
        r->refused = 429;
        st_err_set(err, ST_E_RETRY, "more than %d requests a second", RATE);
    } else if (st_upload_wanted(r)) {
        r->refused = st_upload_begin(r, err);
    } else if (r->has_length && r->length > BODY_MAX) {
        r->refused = 413;
        st_err_set(err, ST_E_LIMIT, "the body is longer than %zu bytes", BODY_MAX);
    }
}

static enum MHD_Result take(struct st_api_request *r, const char *data, size_t *inout_n)
{
    size_t n = *inout_n;
    if (r->upload && !r->refused)
        return st_upload_write(r->upload, data, inout_n, &r->refused, &r->refusal) ? MHD_YES : MHD_NO;
    *inout_n = 0;
    r->received += n;
    if (r->refused)
        return r->received > SWALLOW_MAX ? MHD_NO : MHD_YES;
    if (n > BODY_MAX - r->body.len) {
        r->refused = 413;
        st_err_set(&r->refusal, ST_E_LIMIT, "the body is longer than %zu bytes", BODY_MAX);
        return MHD_YES;
    }
    return st_buf_add(&r->body, st_sv_mem(data, n), NULL) ? MHD_NO : MHD_YES;
}

enum MHD_Result st_api_http_request(void *ctx, struct MHD_Connection *conn, const char *url, const char *method,
                                    const char *version, const char *data, size_t *n, void **state)
{
    struct st_api_request *r = *state;
    if (!r) {
        r = request_new(ctx);
        *state = r;
        if (!r)
            return MHD_NO;
        r->conn = conn;
        r->method = method;
        r->url = url;
        admit(r);
        return r->refused && r->length > SWALLOW_MAX ? st_api_reply_error(r, r->refused, &r->refusal) : MHD_YES;
    }
    if (*n)
        return take(r, data, n);
    if (r->refused)
        return st_api_reply_error(r, r->refused, &r->refusal);
    return r->upload ? st_upload_end(r) : dispatch(r);
}

void st_api_http_request_done(void *ctx, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode why)
{
    if (*state)
        request_free(*state);
    *state = NULL;
}
