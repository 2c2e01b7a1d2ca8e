// One request on the wire: libcurl's handle, its callbacks, and what the outcome means for the exchange.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "http/http_int.h"
#include "http/http_text.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    CONNECT_MS = 10000,
    FIRST_BYTE_MS = 30000,
    STALL_MS = 30000,
    LOOK_UP_MS = 3000,
    RECEIVE_BUFFER = 64 * 1024, // fewer, larger calls of the sink; libcurl's own is 16 KiB
};

static unsigned or_default(unsigned ms, unsigned def)
{
    return ms ? ms : def;
}

// ---- the answer's head ----------------------------------------------------------------------------------------------

static bool ok2xx(int status)
{
    return status >= 200 && status < 300;
}

// All headers are there: where does the body go?
static int head_complete(struct st_http_exchange *x)
{
    uint64_t first, last, total = 0, length = 0, done = x->q.from + x->r.delivered;
    struct st_sv range = st_http_header(&x->r, ST_SV("content-range"), 0);
    bool has_length = st_sv_u64(st_http_header(&x->r, ST_SV("content-length"), 0), 10, &length);
    x->head_done = true;
    if (!ok2xx(x->r.status))
        return 0;
    x->to_sink = x->q.sink != NULL && strcmp(x->method, "HEAD") != 0;
    if (x->r.status == 206) {
        if (!st_http_content_range(range, &first, &last, &total) || first != done)
            return st_err_set(&x->err, ST_E_CORRUPT, "%s: asked for bytes from %llu on, got '" ST_SV_FMT "'",
                              x->now_origin.host, (unsigned long long)done, ST_SV_ARG(st_sv_sub(range, 0, 80)));
        x->r.total = total;
    } else if (x->q.ranged) {
        return st_err_set(&x->err, ST_E_FAILED, "%s does not give a part of a blob", x->now_origin.host);
    } else {
        x->skip = done;
        x->r.total = has_length ? length : 0;
    }
    if (has_length && length > x->skip && length - x->skip > x->q.max - x->r.delivered && !x->q.to)
        return st_err_set(&x->err, ST_E_LIMIT, "%s: the answer has %llu bytes; expected at most %llu",
                          x->now_origin.host, (unsigned long long)length, (unsigned long long)(x->q.max + x->skip));
    return 0;
}

static size_t on_header(char *p, size_t one, size_t n, void *ctx)
{
    struct st_http_exchange *x = ctx;
    struct st_sv line = st_sv_mem(p, n * one);
    int status;
    x->moved_ms = st_clock_mono_ms();
    if (st_http_status_line(line, &status)) { // of a 1xx before, of this one
        st_buf_clear(&x->r.headers);
        x->head_done = false;
        x->answered = true;
        x->r.status = status;
        return n * one;
    }
    if (x->r.headers.len + line.len > ST_HTTP_HEADERS_MAX) {
        st_err_set(&x->err, ST_E_CORRUPT, "%s: more than %u bytes of headers", x->now_origin.host, ST_HTTP_HEADERS_MAX);
        return 0;
    }
    if (st_sv_trim(line).len == 0 && x->r.status >= 200 && !x->head_done)
        return head_complete(x) ? 0 : n * one;
    return st_buf_add(&x->r.headers, line, &x->err) ? 0 : n * one;
}

// ---- the body -------------------------------------------------------------------------------------------------------

static size_t keep(struct st_http_exchange *x, struct st_sv s)
{
    bool error_body = !ok2xx(x->r.status);
    uint64_t max = error_body ? ST_HTTP_ERROR_BODY_MAX : x->q.max;
    size_t n = s.len;
    if (s.len > max - x->r.body.len) {
        if (!error_body) {
            st_err_set(&x->err, ST_E_LIMIT, "%s: the answer has more than %llu bytes", x->now_origin.host,
                       (unsigned long long)max);
            return 0;
        }
        s.len = (size_t)(max - x->r.body.len); // what a server has to say beyond that is not read by anyone
    }
    return st_buf_add(&x->r.body, s, &x->err) ? 0 : n;
}

static size_t deliver(struct st_http_exchange *x, struct st_sv s)
{
    size_t n = s.len, skipped = (size_t)ST_MIN(x->skip, (uint64_t)s.len);
    s = st_sv_from(s, skipped);
    uint64_t left = x->q.to ? x->q.to - x->q.from - x->r.delivered : UINT64_MAX;
    bool more = s.len > left || x->r.status != 206; // than was asked for
    if (s.len > left)
        s.len = (size_t)left;
    if (s.len > x->q.max - x->r.delivered) {
        st_err_set(&x->err, ST_E_LIMIT, "%s: the answer has more than %llu bytes", x->now_origin.host,
                   (unsigned long long)x->q.max);
        return 0;
    }
    x->http->changes += s.len > 0;
    int rc = s.len ? x->q.sink(x->q.ctx, s, &x->err) : ST_HTTP_TAKEN;
    if (rc < 0)
        return 0;
    if (rc == ST_HTTP_FULL) {
        x->full = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    x->skip -= skipped;
    x->r.delivered += s.len;
    x->got += s.len;
    x->enough = s.len == left;
    return x->enough && more ? 0 : n; // 0 ends the transfer, and with it the connection
}

static size_t on_body(char *p, size_t one, size_t n, void *ctx)
{
    struct st_http_exchange *x = ctx;
    struct st_http *h = x->http;
    struct st_sv s = st_sv_mem(p, n * one);
    x->moved_ms = st_clock_mono_ms();
    if (h->opt.bytes_per_second && h->tokens <= 0) {
        x->throttled = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    size_t taken = x->to_sink ? deliver(x, s) : keep(x, s);
    if (taken != CURL_WRITEFUNC_PAUSE) {
        x->r.wire += s.len;
        h->tokens -= (int64_t)s.len;
    }
    return taken;
}

// ---- the connection -------------------------------------------------------------------------------------------------

// The address is the one that connect() gets: after redirects, DNS changes and happy eyeballs.
static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct st_http_exchange *x = ctx;
    const struct st_http_options *o = &x->http->opt;
    bool proxy = !x->q.unix_path && (x->now_origin.tls ? o->https_proxy : o->http_proxy) != NULL;
    enum st_address_class what = st_address_class(&a->addr, a->addrlen);
    struct st_http_peer to = {x->now_origin.host, x->now_origin.port, x->now_origin.tls, what, proxy};
    (void)purpose;
    st_address_text(&a->addr, a->addrlen, x->address);
    if (!x->now_origin.tls && !x->q.plain && what != ST_ADDRESS_LOOPBACK && what != ST_ADDRESS_LOCAL)
        st_err_set(&x->err, ST_E_FAILED, "%s is %s, not this machine: plain HTTP is refused", x->now_origin.host,
                   x->address);
    else if (o->may_connect && !o->may_connect(o->ctx, &to))
        st_err_set(&x->err, ST_E_INPUT, "%s is at the %s address %s, which may not be connected to", x->now_origin.host,
                   st_address_class_name(what), x->address);
    else
        return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    x->r.trouble = ST_HTTP_FORBIDDEN;
    return CURL_SOCKET_BAD;
}

static int on_request(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    struct st_http_exchange *x = ctx;
    (void)local_ip;
    (void)local_port;
    x->asked_ms = x->moved_ms = st_clock_mono_ms();
    if (ip && *ip)
        snprintf(x->address, sizeof x->address, strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, port);
    return CURL_PREREQFUNC_OK;
}

// ---- building the request -------------------------------------------------------------------------------------------

static void set_tls(CURL *e, const struct st_http_tls *t)
{
    struct curl_blob ca = {(void *)t->ca.ptr, t->ca.len, CURL_BLOB_NOCOPY};
    struct curl_blob cert = {(void *)t->cert.ptr, t->cert.len, CURL_BLOB_NOCOPY};
    curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    if (t->ca.len)
        curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &ca);
    if (t->cert.len) {
        curl_easy_setopt(e, CURLOPT_SSLCERTTYPE, "PEM");
        curl_easy_setopt(e, CURLOPT_SSLCERT_BLOB, &cert);
    }
    if (t->key && st_secret_is_set(t->key)) {
        struct st_sv k = st_secret_reveal(t->key);
        struct curl_blob key = {(void *)k.ptr, k.len, CURL_BLOB_NOCOPY};
        curl_easy_setopt(e, CURLOPT_SSLKEYTYPE, "PEM");
        curl_easy_setopt(e, CURLOPT_SSLKEY_BLOB, &key);
    }
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, t->insecure ? 0L : 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, t->insecure ? 0L : 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static int set_headers(struct st_http_exchange *x, struct st_err *err)
{
    bool here = st_http_same_origin(&x->origin, &x->now_origin);
    struct curl_slist *at = x->lines, *more;
    for (size_t i = 0; i < x->n_lines; i++, at = at->next) {
        if (x->line_here_only[i] && !here)
            continue;
        more = curl_slist_append(x->sent, at->data);
        if (!more)
            return st_err_nomem(err);
        x->sent = more;
    }
    if (here && x->q.authorization && st_secret_is_set(x->q.authorization)) {
        ST_AUTO_SECRET struct st_secret line = {0}; // curl_slist_append copies; what it frees is wiped (http.c)
        struct st_sv parts[] = {ST_SV("Authorization: "), st_secret_reveal(x->q.authorization)};
        if (st_secret_join(&line, parts, ST_LEN(parts), err))
            return -1;
        more = curl_slist_append(x->sent, st_secret_reveal(&line).ptr);
        if (!more)
            return st_err_nomem(err);
        x->sent = more;
    }
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->sent);
    return 0;
}

static void set_method(struct st_http_exchange *x)
{
    CURL *e = x->easy;
    bool has_body = x->q.body.len > 0;
    if (strcmp(x->method, "HEAD") == 0) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (has_body || strcmp(x->method, "POST") == 0) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->q.body.len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, has_body ? x->q.body.ptr : "");
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, x->method);
    } else if (strcmp(x->method, "GET") != 0) {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, x->method);
    }
}

static void set_range(struct st_http_exchange *x)
{
    char range[48];
    uint64_t from = x->q.from + x->r.delivered;
    if (from == 0 && x->q.to == 0)
        return;
    uint64_t end = x->q.to ? x->q.to : x->q.size;
    if (end)
        snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)from, (unsigned long long)end - 1);
    else
        snprintf(range, sizeof range, "%llu-", (unsigned long long)from);
    curl_easy_setopt(x->easy, CURLOPT_RANGE, range);
}

static void set_options(struct st_http_exchange *x)
{
    CURL *e = x->easy;
    const struct st_http_options *o = &x->http->opt;
    const char *proxy = x->now_origin.tls ? o->https_proxy : o->http_proxy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, x);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->curl_error);
    curl_easy_setopt(e, CURLOPT_URL, x->now_url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_USERAGENT, o->user_agent);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)or_default(x->q.times.connect, CONNECT_MS));
    curl_easy_setopt(e, CURLOPT_PROXY, proxy ? proxy : ""); // "": none, whatever the environment says
    curl_easy_setopt(e, CURLOPT_NOPROXY, o->no_proxy ? o->no_proxy : "");
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, x);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, x);
    if (x->q.unix_path) {
        curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, x->q.unix_path);
        curl_easy_setopt(e, CURLOPT_PROXY, "");
    }
    set_tls(e, x->q.tls ? x->q.tls : &o->tls);
}

int st_http_attempt_start(struct st_http_exchange *x, struct st_err *err)
{
    x->easy = curl_easy_init();
    if (!x->easy)
        return st_err_nomem(err);
    x->asked_ms = 0;
    x->moved_ms = st_clock_mono_ms();
    x->head_done = x->to_sink = x->enough = x->full = x->throttled = x->retry = false;
    x->skip = x->got = 0;
    x->broken = CURLE_OK;
    x->r.status = 0;
    x->r.trouble = ST_HTTP_NO_TROUBLE;
    x->address[0] = x->curl_error[0] = '\0';
    st_err_clear(&x->err);
    st_buf_clear(&x->r.headers);
    st_buf_clear(&x->r.body);
    if (!x->now_origin.tls && !x->q.plain && !x->q.unix_path && !st_host_is_loopback(st_sv_of(x->now_origin.host))) {
        x->r.trouble = ST_HTTP_FORBIDDEN;
        return st_err_set(err, ST_E_FAILED, "plain HTTP to %s is refused", x->now_origin.host);
    }
    set_options(x);
    set_method(x);
    set_range(x);
    if (set_headers(x, err))
        return -1;
    CURLMcode mc = curl_multi_add_handle(x->http->multi, x->easy);
    if (mc)
        return st_err_set(err, ST_E_INTERNAL, "libcurl: %s", curl_multi_strerror(mc));
    x->state = ST_HTTP_RUNNING;
    x->r.attempts++;
    return 0;
}

void st_http_attempt_end(struct st_http_exchange *x)
{
    if (x->easy) {
        curl_multi_remove_handle(x->http->multi, x->easy);
        curl_easy_cleanup(x->easy);
    }
    curl_slist_free_all(x->sent);
    x->easy = NULL;
    x->sent = NULL;
}

// ---- timers ---------------------------------------------------------------------------------------------------------

const char *st_http_attempt_late(struct st_http_exchange *x, int64_t now)
{
    const struct st_http_times *t = &x->q.times;
    if (x->state != ST_HTTP_RUNNING || x->full || x->throttled)
        return NULL;
    if (x->asked_ms && !x->head_done && now - x->asked_ms > or_default(t->first_byte, FIRST_BYTE_MS))
        return "no answer";
    if (x->head_done && now - x->moved_ms > or_default(t->stall, STALL_MS))
        return "the transfer stalled";
    return NULL;
}

// ---- the verdict ----------------------------------------------------------------------------------------------------

static void trace(const struct st_http_exchange *x, const char *end)
{
    char line[512];
    const struct st_http_options *o = &x->http->opt;
    struct st_sv url = st_sv_of(x->now_url);
    if (!o->trace)
        return;
    url.len = ST_MIN(ST_MIN(url.len, st_sv_find(url, '?')), (size_t)300);
    uint64_t bytes = x->to_sink ? x->got : x->r.body.len;
    snprintf(line, sizeof line, "%s " ST_SV_FMT " (%s): %s, %llu bytes", x->method, ST_SV_ARG(url),
             x->address[0] ? x->address : "-", end, (unsigned long long)bytes);
    o->trace(o->ctx, line);
}

static bool redirect_status(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool busy_status(int status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

static int follow(struct st_http_exchange *x, struct st_err *err)
{
    struct st_http_origin next;
    char url[ST_HTTP_URL_MAX];
    struct st_sv to = st_http_header(&x->r, ST_SV("location"), 0);
    if (++x->redirects > ST_HTTP_REDIRECTS_MAX)
        return st_err_set(err, ST_E_CORRUPT, "%s: more than %d redirects", x->origin.host, ST_HTTP_REDIRECTS_MAX);
    if (st_http_url_read(x->now_url, to, url, &next, err)) {
        err->code = ST_E_CORRUPT;
        return st_err_wrap(err, "%s redirects to nowhere", x->now_origin.host);
    }
    if (x->now_origin.tls && !next.tls) {
        x->r.trouble = ST_HTTP_FORBIDDEN;
        return st_err_set(err, ST_E_FAILED, "%s redirects from https to plain http at %s: refused", x->now_origin.host,
                          next.host);
    }
    memcpy(x->now_url, url, sizeof url);
    x->now_origin = next;
    x->state = ST_HTTP_WAITING;
    x->next_ms = 0;
    return 0;
}

static int64_t backoff(unsigned tries)
{
    uint32_t r = 0;
    int64_t ms = ST_HTTP_BACKOFF_MS;
    for (unsigned i = 1; i < tries && ms < ST_HTTP_BACKOFF_MAX_MS; i++)
        ms *= 2;
    ms = ST_MIN(ms, (int64_t)ST_HTTP_BACKOFF_MAX_MS);
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != sizeof r)
        r = 0;
    return ms / 2 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

// Another attempt, from the first URL: true. False when there have been enough, or none may be made.
static bool again(struct st_http_exchange *x, int64_t wait_ms)
{
    int64_t now = st_clock_mono_ms();
    bool body_lost = x->r.delivered > 0 && !x->q.resume;
    if (x->got >= ST_HTTP_PROGRESS)
        x->tries = 0;
    x->tries++;
    unsigned max = x->answered ? ST_HTTP_TRIES : ST_HTTP_TRIES_FIRST;
    if (body_lost || x->tries >= max)
        return false;
    if (wait_ms < 0)
        wait_ms = backoff(x->tries);
    if (x->q.times.whole && now + wait_ms - x->begun_ms > (int64_t)x->q.times.whole)
        return false;
    x->state = ST_HTTP_WAITING;
    x->next_ms = now + wait_ms;
    x->redirects = 0;
    memcpy(x->now_url, x->url, sizeof x->url);
    x->now_origin = x->origin;
    return true;
}

static const struct {
    CURLcode code;
    enum st_http_trouble trouble;
    enum st_err_code err;
    bool again;
    const char *what; // NULL: libcurl's own words
} troubles[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ST_HTTP_NO_HOST, ST_E_RETRY, true, "no address is known for this name"},
    {CURLE_COULDNT_RESOLVE_PROXY, ST_HTTP_NO_HOST, ST_E_RETRY, true, "no address is known for the proxy"},
    {CURLE_COULDNT_CONNECT, ST_HTTP_NO_CONNECT, ST_E_RETRY, true, NULL},
    {CURLE_OPERATION_TIMEDOUT, ST_HTTP_NO_CONNECT, ST_E_RETRY, true, "no connection in time"},
    {CURLE_PEER_FAILED_VERIFICATION, ST_HTTP_UNTRUSTED, ST_E_FAILED, false, NULL},
    {CURLE_SSL_CONNECT_ERROR, ST_HTTP_NO_TLS, ST_E_RETRY, true, NULL},
    {CURLE_SSL_CERTPROBLEM, ST_HTTP_NO_TLS, ST_E_INPUT, false, NULL},
    {CURLE_SSL_CACERT_BADFILE, ST_HTTP_UNTRUSTED, ST_E_INPUT, false, "the file of trusted certificates cannot be read"},
    {CURLE_SEND_ERROR, ST_HTTP_BROKEN, ST_E_RETRY, true, NULL},
    {CURLE_RECV_ERROR, ST_HTTP_BROKEN, ST_E_RETRY, true, NULL},
    {CURLE_GOT_NOTHING, ST_HTTP_BROKEN, ST_E_RETRY, true, "the connection closed without an answer"},
    {CURLE_PARTIAL_FILE, ST_HTTP_BROKEN, ST_E_RETRY, true, "the connection closed in the middle of the answer"},
    {CURLE_HTTP2, ST_HTTP_BROKEN, ST_E_RETRY, true, NULL},
    {CURLE_HTTP2_STREAM, ST_HTTP_BROKEN, ST_E_RETRY, true, NULL},
    {CURLE_OUT_OF_MEMORY, ST_HTTP_BROKEN, ST_E_NOMEM, false, NULL},
};

// libcurl says only that it has no address. A name that does not exist will not exist in a second either; one that
// could not be looked up now may. So it is looked up once more, unless the first answer took so long that it was none
// (a name server that does not answer would hold up all exchanges for as long again).
static bool no_such_name(const struct st_http_exchange *x, CURLcode code)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (code != CURLE_COULDNT_RESOLVE_HOST || st_clock_mono_ms() - x->moved_ms > LOOK_UP_MS)
        return false;
    int rc = getaddrinfo(x->now_origin.host, NULL, &hints, &found);
    if (rc == 0)
        freeaddrinfo(found);
    return rc == EAI_NONAME || rc == EAI_NODATA;
}

static int judge_failure(struct st_http_exchange *x, CURLcode code, struct st_err *err)
{
    size_t i = 0;
    if (no_such_name(x, code)) {
        trace(x, "no such host");
        x->r.trouble = ST_HTTP_NO_HOST;
        st_err_set(err, ST_E_NOTFOUND, "%s:%u: there is no host of this name", x->now_origin.host, x->now_origin.port);
        return 1;
    }
    while (i < ST_LEN(troubles) && troubles[i].code != code)
        i++;
    bool known = i < ST_LEN(troubles);
    const char *why = known && troubles[i].what ? troubles[i].what
                      : x->curl_error[0]        ? x->curl_error
                                                : curl_easy_strerror(code);
    // A request that may have been carried out is not repeated behind the caller's back.
    bool sent = x->asked_ms != 0;
    // OpenSSL's own words: the other side speaks something else, and will again.
    bool final = code == CURLE_SSL_CONNECT_ERROR && strstr(why, "routines:");
    trace(x, why);
    if (known && troubles[i].again && !final && !(x->q.once && sent) && again(x, -1))
        return 0;
    x->r.trouble = known ? troubles[i].trouble : ST_HTTP_BROKEN;
    st_err_set(err, known ? troubles[i].err : ST_E_CORRUPT, "%s:%u: %s", x->now_origin.host, x->now_origin.port, why);
    return 1;
}

static int judge_busy(struct st_http_exchange *x)
{
    uint64_t after = 0;
    int64_t wait = -1;
    if (x->q.once && x->r.status != 429 && x->r.status != 503)
        return 1;
    if (st_http_retry_after(st_http_header(&x->r, ST_SV("retry-after"), 0), st_clock_wall_ms() / 1000, &after)) {
        if (after > ST_HTTP_RETRY_AFTER_MAX_S)
            return 1;
        wait = (int64_t)after * 1000;
    }
    return again(x, wait) ? 0 : 1;
}

int st_http_attempt_judge(struct st_http_exchange *x, CURLcode code, struct st_err *err)
{
    char words[48];
    st_err_clear(err);
    if (x->enough)
        code = CURLE_OK;
    else if (x->err.code != ST_E_NONE) {
        *err = x->err;
        trace(x, err->text);
        return x->retry && again(x, -1) ? (st_err_clear(err), 0) : 1;
    }
    if (code != CURLE_OK)
        return judge_failure(x, code, err);
    snprintf(words, sizeof words, "%d %s", x->r.status, st_http_reason(x->r.status));
    trace(x, words);
    bool reads = strcmp(x->method, "GET") == 0 || strcmp(x->method, "HEAD") == 0;
    if (reads && redirect_status(x->r.status) && st_http_header(&x->r, ST_SV("location"), 0).len)
        return follow(x, err) ? 1 : 0;
    if (busy_status(x->r.status))
        return judge_busy(x);
    // A range that ends before the representation does.
    uint64_t end = x->q.to ? x->q.to : x->r.total;
    if (ok2xx(x->r.status) && x->to_sink && end > x->q.from + x->r.delivered && !again(x, 0)) {
        st_err_set(err, ST_E_RETRY, "%s: %llu of %llu bytes came, and no more", x->now_origin.host,
                   (unsigned long long)(x->q.from + x->r.delivered), (unsigned long long)end);
        x->r.trouble = ST_HTTP_BROKEN;
    }
    return x->state == ST_HTTP_WAITING ? 0 : 1;
}
