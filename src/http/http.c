// The client: libcurl's multi handle, the exchanges on it, and the loop that carries them on.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "http/http_int.h"
#include "http/http_text.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TICK_MS = 200,        // how late a timer may be seen
    CONNECTIONS_MAX = 16, // kept open
    ALSO_MAX = 64,        // descriptors of the caller's
};

// ---- memory of libcurl: wiped when freed, since tokens pass through it ----------------------------------------------

static void wipe_free(void *p)
{
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

static void *wipe_realloc(void *p, size_t n)
{
    void *q = malloc(n);
    if (q && p) {
        memcpy(q, p, ST_MIN(n, malloc_usable_size(p)));
        wipe_free(p);
    }
    return q;
}

int st_http_init(struct st_err *err)
{
    CURLcode c = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_free, wipe_realloc, strdup, calloc);
    return c ? st_err_set(err, ST_E_INTERNAL, "libcurl: %s", curl_easy_strerror(c)) : 0;
}

int st_http_new(const struct st_http_options *opt, struct st_http **ret, struct st_err *err)
{
    struct st_http *h = calloc(1, sizeof *h);
    if (!h)
        return st_err_nomem(err);
    h->opt = *opt;
    h->multi = curl_multi_init();
    if (!h->multi) {
        free(h);
        return st_err_nomem(err);
    }
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    h->filled_ms = st_clock_mono_ms();
    *ret = h;
    return 0;
}

void st_http_free(struct st_http *h)
{
    if (!h)
        return;
    while (h->first)
        st_http_cancel(h->first);
    curl_multi_cleanup(h->multi);
    free(h);
}

int st_http_system_ca(struct st_buf *ret, struct st_err *err)
{
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine, Arch
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
        "/etc/ssl/ca-bundle.pem",                            // SUSE
        "/etc/ssl/cert.pem",
    };
    const char *named = getenv("SSL_CERT_FILE");
    char part[16384];
    st_buf_clear(ret);
    ST_AUTO_CLOSE int fd = -1;
    if (named && *named) {
        fd = open(named, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return st_err_sys(err, "SSL_CERT_FILE %s", named);
    }
    for (size_t i = 0; fd < 0 && i < ST_LEN(places); i++)
        fd = open(places[i], O_RDONLY | O_CLOEXEC);
    for (ssize_t n = 1; fd >= 0 && n > 0;) {
        n = st_fd_read(fd, part, sizeof part);
        if (n < 0)
            return st_err_sys(err, "read the trusted certificates");
        if (st_buf_add(ret, st_sv_mem(part, (size_t)n), err))
            return -1;
    }
    return 0;
}

// ---- beginning and ending an exchange -------------------------------------------------------------------------------

static void response_init(struct st_http_response *r, struct st_mem *mem)
{
    st_buf_init(&r->headers, mem);
    st_buf_init(&r->body, mem);
}

void st_http_response_release(struct st_http_response *r)
{
    if (r->headers.mem)
        st_buf_release(&r->headers);
    if (r->body.mem)
        st_buf_release(&r->body);
    *r = (struct st_http_response){0};
}

static void exchange_free(struct st_http_exchange *x)
{
    struct st_http *h = x->http;
    st_http_attempt_end(x);
    if (x->prev)
        x->prev->next = x->next;
    else if (h->first == x)
        h->first = x->next;
    if (x->next)
        x->next->prev = x->prev;
    h->n--;
    h->changes++;
    curl_slist_free_all(x->lines);
    free(x->line_here_only);
    st_http_response_release(&x->r);
    free(x);
}

void st_http_cancel(struct st_http_exchange *x)
{
    if (x)
        exchange_free(x);
}

static int copy_headers(struct st_http_exchange *x, const struct st_http_request *q, struct st_err *err)
{
    x->line_here_only = calloc(q->n_headers + 1, sizeof *x->line_here_only);
    if (!x->line_here_only)
        return st_err_nomem(err);
    for (size_t i = 0; i < q->n_headers; i++) {
        const struct st_http_header *f = &q->headers[i];
        if (!st_http_is_token(st_sv_of(f->name)) || !st_http_is_value(f->value))
            return st_err_set(err, ST_E_INPUT, "not a header: '%.80s'", f->name);
        ST_AUTO_FREE char *line = NULL;
        // "Name;" is libcurl's way to send an empty value.
        if (asprintf(&line, "%s%s" ST_SV_FMT, f->name, f->value.len ? ": " : ";", ST_SV_ARG(f->value)) < 0) {
            line = NULL;
            return st_err_nomem(err);
        }
        struct curl_slist *more = curl_slist_append(x->lines, line);
        if (!more)
            return st_err_nomem(err);
        x->lines = more;
        x->line_here_only[x->n_lines++] = f->here_only;
    }
    return 0;
}

static int check(const struct st_http_request *q, struct st_err *err)
{
    struct st_sv method = st_sv_of(q->method ? q->method : "GET");
    if (!st_http_is_token(method) || method.len >= sizeof((struct st_http_exchange *)0)->method)
        return st_err_set(err, ST_E_INPUT, "not an HTTP method: '%.40s'", method.ptr);
    if (q->max == 0 || (q->to && q->to <= q->from) || (!q->sink && (q->from || q->to)))
        return st_err_set(err, ST_E_INTERNAL, "an HTTP request without a limit, or with an empty range");
    if (q->authorization && !st_http_is_value(st_secret_reveal(q->authorization)))
        return st_err_set(err, ST_E_INPUT, "a credential with a control character in it");
    return 0;
}

int st_http_begin(struct st_http *h, const struct st_http_request *q, struct st_http_exchange **ret, struct st_err *err)
{
    if (check(q, err))
        return -1;
    struct st_http_exchange *x = calloc(1, sizeof *x);
    if (!x)
        return st_err_nomem(err);
    x->http = h;
    x->q = *q;
    x->next = h->first;
    if (h->first)
        h->first->prev = x;
    h->first = x;
    h->n++;
    h->changes++;
    response_init(&x->r, h->opt.mem);
    snprintf(x->method, sizeof x->method, "%s", q->method ? q->method : "GET");
    x->begun_ms = st_clock_mono_ms();
    if (st_http_url_read(NULL, q->url, x->url, &x->origin, err) || copy_headers(x, q, err)) {
        exchange_free(x);
        return -1;
    }
    memcpy(x->now_url, x->url, sizeof x->url);
    x->now_origin = x->origin;
    if (ret)
        *ret = x;
    return 0;
}

static void finish(struct st_http_exchange *x, const struct st_err *err)
{
    struct st_sv url = st_sv_of(x->now_url);
    url.len = ST_MIN(url.len, st_sv_find(url, '?'));
    memcpy(x->r.url, url.ptr, url.len);
    x->r.url[url.len] = '\0';
    st_http_attempt_end(x);
    if (x->q.done)
        x->q.done(x->q.ctx, &x->r, err && err->code != ST_E_NONE ? err : NULL);
    exchange_free(x);
}

// libcurl may hand over what it holds from within this call.
static void wake(struct st_http_exchange *x)
{
    if (!x->full && !x->throttled && x->easy)
        x->broken = curl_easy_pause(x->easy, CURLPAUSE_CONT);
}

void st_http_resume(struct st_http_exchange *x)
{
    if (!x->full)
        return;
    x->full = false;
    x->moved_ms = st_clock_mono_ms();
    wake(x);
}

// ---- the loop -------------------------------------------------------------------------------------------------------

static void fill_bucket(struct st_http *h, int64_t now)
{
    if (!h->opt.bytes_per_second)
        return;
    int64_t rate = (int64_t)ST_MIN(h->opt.bytes_per_second, (uint64_t)INT64_MAX / 100000);
    int64_t cap = ST_MAX(rate / 4, (int64_t)16384);
    h->tokens = ST_MIN(h->tokens + rate * ST_MIN(now - h->filled_ms, (int64_t)60000) / 1000, cap);
    if (rate * (now - h->filled_ms) >= 1000) // else the fraction is lost
        h->filled_ms = now;
    for (struct st_http_exchange *x = h->first; x && h->tokens > 0; x = x->next)
        if (x->throttled) {
            x->throttled = false;
            x->moved_ms = now;
            wake(x);
        }
}

// Starts what waits and ends what is late. True when the list changed: look again.
static bool timers(struct st_http *h, int64_t now, int *inout_wait)
{
    for (struct st_http_exchange *x = h->first; x; x = x->next) {
        struct st_err err = {0};
        const char *late = st_http_attempt_late(x, now);
        if (x->q.times.whole && now - x->begun_ms > (int64_t)x->q.times.whole) {
            st_err_set(&err, ST_E_TIMEOUT, "%s: not done within %llu s", x->origin.host,
                       (unsigned long long)x->q.times.whole / 1000);
            finish(x, &err);
            return true;
        }
        if (late) {
            x->retry = !x->q.once;
            x->r.trouble = ST_HTTP_BROKEN;
            st_err_set(&x->err, ST_E_RETRY, "%s:%u: %s", x->now_origin.host, x->now_origin.port, late);
        }
        if (late || x->broken) {
            int over = st_http_attempt_judge(x, late ? CURLE_OPERATION_TIMEDOUT : x->broken, &err);
            st_http_attempt_end(x);
            if (over) {
                finish(x, &err);
                return true;
            }
        }
        if (x->state == ST_HTTP_WAITING && x->next_ms <= now) {
            if (st_http_attempt_start(x, &err)) {
                finish(x, &err);
                return true;
            }
        } else if (x->state == ST_HTTP_WAITING) {
            *inout_wait = (int)ST_MIN((int64_t)*inout_wait, x->next_ms - now);
        }
    }
    return false;
}

// True when something ended.
static bool harvest(struct st_http *h)
{
    bool any = false;
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
        struct st_http_exchange *x = NULL;
        struct st_err err = {0};
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE || curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&x) || !x)
            continue;
        any = true;
        int over = st_http_attempt_judge(x, code, &err);
        st_http_attempt_end(x);
        if (over)
            finish(x, &err);
    }
    return any;
}

static int perform(struct st_http *h, struct st_err *err)
{
    int running;
    CURLMcode mc = curl_multi_perform(h->multi, &running);
    return mc ? st_err_set(err, ST_E_INTERNAL, "libcurl: %s", curl_multi_strerror(mc)) : 0;
}

static int poll_all(struct st_http *h, struct pollfd *also, unsigned n, int wait, struct st_err *err)
{
    struct curl_waitfd fds[ALSO_MAX];
    for (unsigned i = 0; i < n; i++)
        fds[i] = (struct curl_waitfd){.fd = also[i].fd,
                                      .events = (short)((also[i].events & POLLIN ? CURL_WAIT_POLLIN : 0) |
                                                        (also[i].events & POLLOUT ? CURL_WAIT_POLLOUT : 0))};
    CURLMcode mc = curl_multi_poll(h->multi, fds, n, wait, NULL);
    if (mc)
        return st_err_set(err, ST_E_INTERNAL, "libcurl: %s", curl_multi_strerror(mc));
    // libcurl reports no hang-up of theirs: ask the kernel once more, without waiting.
    for (unsigned i = 0; i < n; i++)
        also[i].revents = 0;
    if (n && poll(also, n, 0) < 0 && errno != EINTR)
        return st_err_sys(err, "poll");
    return 0;
}

int st_http_step(struct st_http *h, struct pollfd *also, unsigned n_also, int timeout_ms, struct st_err *err)
{
    int wait = h->first ? ST_MIN(timeout_ms, TICK_MS) : timeout_ms;
    uint64_t before = h->changes;
    if (n_also > ALSO_MAX)
        return st_err_set(err, ST_E_INTERNAL, "more than %d descriptors to wait for", ALSO_MAX);
    fill_bucket(h, st_clock_mono_ms());
    while (timers(h, st_clock_mono_ms(), &wait))
        ;
    if (perform(h, err))
        return -1;
    harvest(h);
    if (h->changes != before) // the caller wants to know first, and may then wait for something else
        wait = 0;
    if (h->opt.bytes_per_second && h->tokens <= 0)
        wait = ST_MIN(wait, 20);
    if (poll_all(h, also, n_also, wait, err) || perform(h, err))
        return -1;
    harvest(h);
    return (int)h->n;
}

// ---- one at a time --------------------------------------------------------------------------------------------------

struct single {
    const struct st_http_request *q;
    struct st_http_response *ret;
    struct st_err err;
    bool over;
};

static int single_sink(void *ctx, struct st_sv bytes, struct st_err *err)
{
    struct single *s = ctx;
    return s->q->sink(s->q->ctx, bytes, err);
}

static void single_done(void *ctx, struct st_http_response *r, const struct st_err *err)
{
    struct single *s = ctx;
    s->over = true;
    if (err)
        s->err = *err;
    *s->ret = *r; // the buffers move
    *r = (struct st_http_response){0};
}

int st_http_do(struct st_http *h, const struct st_http_request *q, struct st_http_response *ret, struct st_err *err)
{
    struct single s = {.q = q, .ret = ret};
    struct st_http_request own = *q;
    *ret = (struct st_http_response){0};
    own.sink = q->sink ? single_sink : NULL;
    own.done = single_done;
    own.ctx = &s;
    struct st_http_exchange *x = NULL;
    if (st_http_begin(h, &own, &x, err))
        return -1;
    while (!s.over)
        if (st_http_step(h, NULL, 0, 1000, err) < 0) {
            if (!s.over)
                st_http_cancel(x);
            return -1;
        }
    if (s.err.code == ST_E_NONE)
        return 0;
    if (err)
        *err = s.err;
    return -1;
}

// ---- the answer -----------------------------------------------------------------------------------------------------

struct st_sv st_http_header(const struct st_http_response *r, struct st_sv name, size_t n)
{
    return st_http_find_header(st_buf_sv(&r->headers), name, n);
}

int st_http_check(const struct st_http_response *r, const char *what, struct st_err *err)
{
    static const struct {
        int status;
        enum st_err_code code;
    } codes[] = {{401, ST_E_AUTH}, {403, ST_E_AUTH}, {404, ST_E_NOTFOUND}, {408, ST_E_RETRY}, {429, ST_E_RETRY}};
    if (r->status >= 200 && r->status < 300)
        return 0;
    enum st_err_code code = r->status >= 500 ? ST_E_RETRY : ST_E_FAILED;
    for (size_t i = 0; i < ST_LEN(codes); i++)
        if (codes[i].status == r->status)
            code = codes[i].code;
    const char *reason = st_http_reason(r->status);
    return st_err_set(err, code, "%s: HTTP %d%s%s", what, r->status, *reason ? " " : "", reason);
}
