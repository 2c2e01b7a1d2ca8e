// The HTTP client against servers of the test's own: each case is what a server does with its n-th connection.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "http/http.h"
#include "http/http_text.h"
#include "tap.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define BODY_SIZE 300000

// What the server saw, shared with the test.
struct seen {
    unsigned n;
    char request[16][1024];
};

struct server {
    pid_t pid;
    unsigned port;
    struct seen *seen;
};
static struct server other; // of the redirect tests
static struct st_mem mem;
static struct st_http *http;
static char body[BODY_SIZE];

static void say(int c, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    st_fd_write(c, text, (size_t)n);
}

static void hear(int c, char *to, size_t cap)
{
    size_t n = 0;
    while (n + 1 < cap) {
        ssize_t k = read(c, to + n, cap - 1 - n);
        if (k <= 0)
            break;
        n += (size_t)k;
        to[n] = '\0';
        if (to[0] == 0x16 || strstr(to, "\r\n\r\n")) // a TLS hello, a request
            break;
    }
}

typedef void handler(int c, unsigned n, const char *request);

static struct server serve(handler *h)
{
    struct server s;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof a) || listen(l, 16) ||
        getsockname(l, (struct sockaddr *)&a, &len))
        abort();
    s.port = ntohs(a.sin_port);
    s.seen = mmap(NULL, sizeof *s.seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fflush(stdout);
    s.pid = fork();
    if (s.pid == 0) {
        signal(SIGPIPE, SIG_IGN);
        for (;;) {
            int c = accept(l, NULL, NULL);
            unsigned n = s.seen->n < 15 ? s.seen->n : 15;
            hear(c, s.seen->request[n], sizeof s.seen->request[n]);
            s.seen->n++;
            h(c, n, s.seen->request[n]);
            close(c);
        }
    }
    close(l);
    return s;
}

static void stop(struct server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    munmap(s->seen, sizeof *s->seen);
}

// ---- a client's side ------------------------------------------------------------------------------------------------

struct got {
    char bytes[BODY_SIZE];
    size_t n;
    unsigned full_every, calls;
};

static int take(void *ctx, struct st_sv s, struct st_err *err)
{
    struct got *g = ctx;
    (void)err;
    if (g->full_every && ++g->calls % g->full_every == 0)
        return ST_HTTP_FULL;
    if (s.len > sizeof g->bytes - g->n)
        return st_err_set(err, ST_E_INTERNAL, "the client gave more than was asked for");
    memcpy(g->bytes + g->n, s.ptr, s.len);
    g->n += s.len;
    return 0;
}

static struct st_http_request ask(char url[static 128], unsigned port, const char *path)
{
    snprintf(url, 128, "http://127.0.0.1:%u%s", port, path);
    return (struct st_http_request){.url = st_sv_of(url), .max = BODY_SIZE, .times = {10000, 10000, 10000, 60000}};
}

static bool whole(const struct got *g, size_t from)
{
    return g->n == BODY_SIZE - from && memcmp(g->bytes, body + from, g->n) == 0;
}

// ---- cases ----------------------------------------------------------------------------------------------------------

static void plain_answer(int c, unsigned n, const char *request)
{
    (void)n;
    if (strstr(request, "GET /missing"))
        say(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone");
    else
        say(c, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nX-Two: a\r\nx-two:  b "
               "\r\nContent-Length: 5\r\n\r\nhello");
}

static void test_http_plain(void)
{
    struct server s = serve(plain_answer);
    struct st_http_response r;
    struct st_err err = {0};
    char url[128];
    struct st_http_header h[] = {{"X-Here", ST_SV_INIT("1"), true}, {"Accept", ST_SV_INIT("text/plain"), false}};
    struct st_http_request q = ask(url, s.port, "/a?token=1");
    q.headers = h;
    q.n_headers = ST_LEN(h);
    TAP_OK(st_http_do(http, &q, &r, &err) == 0 && r.status == 200 && st_sv_eq(st_buf_sv(&r.body), ST_SV("hello")),
           "an answer %s", err.text);
    TAP_OK(st_sv_eq(st_http_header(&r, ST_SV("X-TWO"), 1), ST_SV("b")) && !st_http_header(&r, ST_SV("Link"), 0).ptr,
           "its headers, and not those before");
    TAP_OK(strstr(r.url, "/a") && !strstr(r.url, "token"), "the URL is told without its query: %s", r.url);
    TAP_OK(strstr(s.seen->request[0], "X-Here: 1\r\n") && strstr(s.seen->request[0], "Accept: text/plain\r\n") &&
               !strstr(s.seen->request[0], "Accept: */*"),
           "headers arrive");
    st_http_response_release(&r);
    q = ask(url, s.port, "/missing");
    TAP_OK(st_http_do(http, &q, &r, &err) == 0 && r.status == 404 && st_http_check(&r, "it", &err) < 0 &&
               err.code == ST_E_NOTFOUND && st_sv_eq(st_buf_sv(&r.body), ST_SV("gone")),
           "404: %s", err.text);
    st_http_response_release(&r);
    stop(&s);
}

static void range_answer(int c, const char *request, size_t upto)
{
    const char *range = strstr(request, "Range: bytes=");
    size_t from = range ? strtoul(range + 13, NULL, 10) : 0;
    if (range)
        say(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%d/%d\r\nContent-Length: %zu\r\n\r\n", from,
            BODY_SIZE - 1, BODY_SIZE, BODY_SIZE - from);
    else
        say(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY_SIZE);
    st_fd_write(c, body + from, ST_MIN(upto, BODY_SIZE - from));
}

static void cutting(int c, unsigned n, const char *request)
{
    (void)n;
    range_answer(c, request, 70000);
}

static void no_ranges(int c, unsigned n, const char *request)
{
    (void)request;
    range_answer(c, "", n < 2 ? 100000 * (n + 1) : BODY_SIZE);
}

static void stalling(int c, unsigned n, const char *request)
{
    range_answer(c, request, n == 0 ? 100000 : BODY_SIZE);
    if (n == 0)
        usleep(1500000);
}

static void lying_range(int c, unsigned n, const char *request)
{
    if (n == 0)
        range_answer(c, request, 1000);
    else
        say(c, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/%d\r\nContent-Length: 10\r\n\r\n0123456789",
            BODY_SIZE);
}

static void test_http_resume(void)
{
    static const struct {
        const char *name;
        handler *h;
        bool ok;
    } cases[] = {{"cut every 70000 bytes", cutting, true},
                 {"a server without ranges", no_ranges, true},
                 {"a stall", stalling, true},
                 {"a range that was not asked for", lying_range, false}};
    static struct got g;
    for (size_t i = 0; i < ST_LEN(cases); i++) {
        struct server s = serve(cases[i].h);
        struct st_http_response r;
        struct st_err err = {0};
        char url[128];
        struct st_http_request q = ask(url, s.port, "/blob");
        g.n = 0;
        q.sink = take;
        q.ctx = &g;
        q.resume = true;
        q.times.stall = 500;
        int rc = st_http_do(http, &q, &r, &err);
        TAP_OK(cases[i].ok ? rc == 0 && whole(&g, 0) && r.delivered == BODY_SIZE : rc < 0 && err.code == ST_E_CORRUPT,
               "%s: %zu bytes in %u attempts %s", cases[i].name, g.n, r.attempts, err.text);
        st_http_response_release(&r);
        stop(&s);
    }
    struct server s = serve(cutting);
    struct st_http_response r;
    struct st_err err = {0};
    char url[128];
    struct st_http_request q = ask(url, s.port, "/blob");
    g.n = 0;
    q.sink = take;
    q.ctx = &g;
    TAP_OK(st_http_do(http, &q, &r, &err) < 0 && err.code == ST_E_RETRY && s.seen->n == 1,
           "without resume a cut is an error: %s", err.text);
    st_http_response_release(&r);
    g.n = 0;
    q.resume = true;
    q.from = 1234;
    q.to = 251234;
    TAP_OK(st_http_do(http, &q, &r, &err) == 0 && g.n == 250000 && memcmp(g.bytes, body + 1234, 250000) == 0,
           "a range, cut: %zu", g.n);
    st_http_response_release(&r);
    stop(&s);
}

static void endless(int c, unsigned n, const char *request)
{
    (void)n;
    if (strstr(request, "/headers")) {
        say(c, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 100000; i++)
            say(c, "X-Filler-%d: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", i);
    }
    if (strstr(request, "/declared")) {
        say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\nx");
        return;
    }
    say(c, strstr(request, "/error") ? "HTTP/1.1 418 No\r\n\r\n" : "HTTP/1.1 200 OK\r\n\r\n");
    for (int i = 0; i < 100 && st_fd_write(c, body, sizeof body) == 0; i++)
        ;
}

static void test_http_limits(void)
{
    static const struct {
        const char *path;
        bool sink;
        enum st_err_code code;
    } cases[] = {{"/body", false, ST_E_LIMIT},    {"/body", true, ST_E_LIMIT},       {"/declared", false, ST_E_LIMIT},
                 {"/declared", true, ST_E_LIMIT}, {"/headers", false, ST_E_CORRUPT}, {"/error", false, ST_E_NONE},
                 {"/error", true, ST_E_NONE}};
    static struct got g;
    struct server s = serve(endless);
    for (size_t i = 0; i < ST_LEN(cases); i++) {
        struct st_http_response r;
        struct st_err err = {0};
        char url[128];
        struct st_http_request q = ask(url, s.port, cases[i].path);
        g.n = 0;
        q.sink = cases[i].sink ? take : NULL;
        q.ctx = &g;
        st_http_do(http, &q, &r, &err);
        TAP_OK(err.code == cases[i].code && g.n <= BODY_SIZE && r.body.len <= BODY_SIZE, "endless %s: %s",
               cases[i].path, err.text);
        st_http_response_release(&r);
    }
    stop(&s);
}

static void busy(int c, unsigned n, const char *request)
{
    (void)request;
    static const char *const answers[] = {"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
                                          "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", ""};
    say(c, "%s", n < 3 ? answers[n] : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void always_busy(int c, unsigned n, const char *request)
{
    (void)n;
    say(c, "HTTP/1.1 %s Busy\r\n%sContent-Length: 0\r\n\r\n", strstr(request, "/500") ? "500" : "503",
        strstr(request, "/long") ? "Retry-After: 86400\r\n" : "");
}

static void test_http_retry(void)
{
    struct server s = serve(busy);
    struct st_http_response r;
    struct st_err err = {0};
    char url[128];
    struct st_http_request q = ask(url, s.port, "/");
    int64_t t = st_clock_mono_ms();
    TAP_OK(st_http_do(http, &q, &r, &err) == 0 && r.status == 200 && r.attempts == 4, "429, 503, nothing, 200: %s",
           err.text);
    TAP_OK(st_clock_mono_ms() - t >= 1000, "Retry-After is kept");
    st_http_response_release(&r);
    stop(&s);
    s = serve(always_busy);
    q = ask(url, s.port, "/long");
    TAP_OK(st_http_do(http, &q, &r, &err) == 0 && r.status == 503 && r.attempts == 1, "a day is not waited for");
    TAP_OK(st_http_check(&r, "it", &err) < 0 && err.code == ST_E_RETRY, "503 is worth another try later: %s", err.text);
    st_http_response_release(&r);
    q = ask(url, s.port, "/500");
    q.method = "POST";
    q.body = ST_SV("x");
    q.once = true;
    TAP_OK(st_http_do(http, &q, &r, &err) == 0 && r.status == 500 && r.attempts == 1, "a POST is not repeated");
    st_http_response_release(&r);
    q = ask(url, s.port, "/");
    q.times.whole = 400;
    t = st_clock_mono_ms();
    st_http_do(http, &q, &r, &err);
    TAP_OK(st_clock_mono_ms() - t < 1500, "the whole deadline holds");
    st_http_response_release(&r);
    stop(&s);
}

static void redirecting(int c, unsigned n, const char *request)
{
    (void)n;
    const char *to = strstr(request, "/loop")    ? "/loop"
                     : strstr(request, "/ftp")   ? "ftp://127.0.0.1/"
                     : strstr(request, "/user")  ? "http://user:password@127.0.0.1/"
                     : strstr(request, "/same")  ? "/end"
                     : strstr(request, "/plain") ? "http://192.0.2.1/"
                                                 : NULL;
    if (strstr(request, "/end"))
        say(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend");
    else if (to)
        say(c, "HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", to);
    else
        say(c, "HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:%u/end?signature=1\r\nContent-Length: 0\r\n\r\n",
            other.port);
}

static void test_http_redirect(void)
{
    other = serve(redirecting);
    struct server s = serve(redirecting);
    struct st_http_response r;
    struct st_err err = {0};
    char url[128];
    ST_AUTO_SECRET struct st_secret token = {0};
    st_secret_set(&token, ST_SV("Bearer hunter2"), NULL);
    struct st_http_header h[] = {{"X-Mine", ST_SV_INIT("1"), true}, {"Accept", ST_SV_INIT("a/b"), false}};
    struct st_http_request q = ask(url, s.port, "/away");
    q.authorization = &token;
    q.headers = h;
    q.n_headers = ST_LEN(h);
    TAP_OK(st_http_do(http, &q, &r, &err) == 0 && r.status == 200 && other.seen->n == 1, "to another port %s",
           err.text);
    TAP_OK(strstr(s.seen->request[0], "Authorization: Bearer hunter2\r\n") && strstr(s.seen->request[0], "X-Mine: 1"),
           "the credential goes where it belongs");
    TAP_OK(!strstr(other.seen->request[0], "hunter2") && !strstr(other.seen->request[0], "X-Mine") &&
               strstr(other.seen->request[0], "Accept: a/b"),
           "and nowhere else");
    TAP_OK(!strstr(r.url, "signature"), "a signature is not told");
    st_http_response_release(&r);
    q = ask(url, s.port, "/same");
    q.authorization = &token;
    TAP_OK(st_http_do(http, &q, &r, &err) == 0 && r.status == 200 && strstr(s.seen->request[2], "hunter2"),
           "within one origin it stays");
    st_http_response_release(&r);
    static const struct {
        const char *path;
        enum st_err_code code;
    } bad[] = {{"/loop", ST_E_CORRUPT}, {"/ftp", ST_E_CORRUPT}, {"/user", ST_E_CORRUPT}, {"/plain", ST_E_FAILED}};
    for (size_t i = 0; i < ST_LEN(bad); i++) {
        q = ask(url, s.port, bad[i].path);
        TAP_OK(st_http_do(http, &q, &r, &err) < 0 && err.code == bad[i].code && !strchr(err.text, '@'),
               "redirect %s: %s", bad[i].path, err.text);
        st_http_response_release(&r);
    }
    stop(&s);
    stop(&other);
}

static bool only_public(void *ctx, const struct st_http_peer *to)
{
    ++*(unsigned *)ctx;
    return to->what == ST_ADDRESS_PUBLIC;
}

static void test_http_addresses(void)
{
    static const struct {
        const char *text;
        enum st_address_class what;
    } cases[] = {
        {"127.0.0.1", ST_ADDRESS_LOOPBACK},
        {"127.255.0.9", ST_ADDRESS_LOOPBACK},
        {"10.1.2.3", ST_ADDRESS_PRIVATE},
        {"172.15.255.255", ST_ADDRESS_PUBLIC},
        {"172.16.0.0", ST_ADDRESS_PRIVATE},
        {"172.31.255.255", ST_ADDRESS_PRIVATE},
        {"172.32.0.0", ST_ADDRESS_PUBLIC},
        {"192.168.0.1", ST_ADDRESS_PRIVATE},
        {"100.64.0.1", ST_ADDRESS_PRIVATE},
        {"100.128.0.1", ST_ADDRESS_PUBLIC},
        {"169.254.169.254", ST_ADDRESS_LINK_LOCAL},
        {"0.0.0.0", ST_ADDRESS_SPECIAL},
        {"255.255.255.255", ST_ADDRESS_SPECIAL},
        {"224.0.0.1", ST_ADDRESS_SPECIAL},
        {"8.8.8.8", ST_ADDRESS_PUBLIC},
        {"::1", ST_ADDRESS_LOOPBACK},
        {"::", ST_ADDRESS_SPECIAL},
        {"::ffff:127.0.0.1", ST_ADDRESS_LOOPBACK},
        {"::ffff:10.0.0.1", ST_ADDRESS_PRIVATE},
        {"::127.0.0.1", ST_ADDRESS_LOOPBACK},
        {"64:ff9b::a9fe:a9fe", ST_ADDRESS_LINK_LOCAL},
        {"2002:7f00:1::", ST_ADDRESS_LOOPBACK},
        {"fe80::1", ST_ADDRESS_LINK_LOCAL},
        {"fd00:ec2::254", ST_ADDRESS_PRIVATE},
        {"ff02::1", ST_ADDRESS_SPECIAL},
        {"2001:db8::1", ST_ADDRESS_SPECIAL},
        {"2606:4700::1111", ST_ADDRESS_PUBLIC},
    };
    for (size_t i = 0; i < ST_LEN(cases); i++) {
        struct sockaddr_in a = {.sin_family = AF_INET};
        struct sockaddr_in6 b = {.sin6_family = AF_INET6};
        bool six = inet_pton(AF_INET, cases[i].text, &a.sin_addr) != 1;
        if (six)
            inet_pton(AF_INET6, cases[i].text, &b.sin6_addr);
        enum st_address_class c =
            st_address_class(six ? (struct sockaddr *)&b : (struct sockaddr *)&a, six ? sizeof b : sizeof a);
        TAP_OK(c == cases[i].what, "%s is %s", cases[i].text, st_address_class_name(c));
    }
    TAP_OK(st_host_is_loopback(ST_SV("LocalHost")) && st_host_is_loopback(ST_SV("[::1]")) &&
               st_host_is_loopback(ST_SV("127.8.0.1")) && st_host_is_loopback(ST_SV("a.localhost")) &&
               !st_host_is_loopback(ST_SV("localhost.example")) && !st_host_is_loopback(ST_SV("0.0.0.0")) &&
               !st_host_is_loopback(ST_SV("10.0.0.1")),
           "hosts that are this machine");
    struct server s = serve(plain_answer);
    unsigned asked = 0;
    struct st_http *strict = NULL;
    struct st_http_options o = {.mem = &mem, .user_agent = "t", .may_connect = only_public, .ctx = &asked};
    struct st_http_response r = {0};
    struct st_err err = {0};
    char url[128];
    struct st_http_request q = ask(url, s.port, "/");
    TAP_OK(st_http_new(&o, &strict, &err) == 0 && st_http_do(strict, &q, &r, &err) < 0 && err.code == ST_E_INPUT &&
               r.trouble == ST_HTTP_FORBIDDEN && asked == 1 && s.seen->n == 0,
           "a forbidden address: %s", err.text);
    st_http_response_release(&r);
    st_http_free(strict);
    q.url = ST_SV("http://192.0.2.1/");
    TAP_OK(st_http_do(http, &q, &r, &err) < 0 && r.trouble == ST_HTTP_FORBIDDEN, "plain HTTP elsewhere: %s", err.text);
    st_http_response_release(&r);
    stop(&s);
}

static void test_http_trouble(void)
{
    struct st_http_response r;
    struct st_err err = {0};
    char url[128];
    struct server s = serve(plain_answer);
    unsigned port = s.port;
    stop(&s);
    struct st_http_request q = ask(url, port, "/");
    TAP_OK(st_http_do(http, &q, &r, &err) < 0 && err.code == ST_E_RETRY && r.trouble == ST_HTTP_NO_CONNECT &&
               r.attempts == ST_HTTP_TRIES_FIRST,
           "nobody listens: %s", err.text);
    st_http_response_release(&r);
    s = serve(plain_answer);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", s.port);
    q.url = st_sv_of(url);
    TAP_OK(st_http_do(http, &q, &r, &err) < 0 && r.trouble == ST_HTTP_NO_TLS, "no TLS there: %s", err.text);
    st_http_response_release(&r);
    stop(&s);
    static const char *const bad[] = {
        "", "/v2/", "ftp://a/", "http://", "http://u:p@h/", "http://h/a b", "http://h:99999/", "file:///etc/passwd"};
    for (size_t i = 0; i < ST_LEN(bad); i++) {
        q.url = st_sv_of(bad[i]);
        TAP_OK(st_http_do(http, &q, &r, &err) < 0 && err.code == ST_E_INPUT, "bad URL: %s", err.text);
    }
    struct st_http_header h[] = {{"X", ST_SV_INIT("a\r\nHost: evil"), false}};
    q = ask(url, port, "/");
    q.headers = h;
    q.n_headers = 1;
    TAP_OK(st_http_do(http, &q, &r, &err) < 0 && err.code == ST_E_INPUT, "a header in a header: %s", err.text);
}

static void many(int c, unsigned n, const char *request)
{
    (void)n;
    range_answer(c, request, BODY_SIZE);
}

struct side {
    struct got got;
    struct st_http_exchange *x;
    bool over, ok;
};

static int side_take(void *ctx, struct st_sv s, struct st_err *err)
{
    return take(&((struct side *)ctx)->got, s, err);
}

static void side_done(void *ctx, struct st_http_response *r, const struct st_err *err)
{
    struct side *s = ctx;
    s->over = true;
    s->ok = !err && r->status == 200;
}

static void test_http_parallel(void)
{
    static struct side sides[4];
    struct server s = serve(many);
    struct st_err err = {0};
    char url[128];
    for (size_t i = 0; i < ST_LEN(sides); i++) {
        struct st_http_request q = ask(url, s.port, "/");
        sides[i].got.full_every = (unsigned)(i + 2); // each is full now and then
        q.sink = side_take;
        q.done = side_done;
        q.ctx = &sides[i];
        TAP_OK(st_http_begin(http, &q, &sides[i].x, &err) == 0, "begin %zu", i);
    }
    int pipes[2], left = 4;
    if (pipe(pipes) || write(pipes[1], "x", 1) != 1)
        abort();
    struct pollfd also = {.fd = pipes[0], .events = POLLIN};
    for (int64_t end = st_clock_mono_ms() + 10000; left > 0 && st_clock_mono_ms() < end;) {
        left = st_http_step(http, &also, 1, 100, &err);
        for (size_t i = 0; i < ST_LEN(sides); i++)
            if (!sides[i].over)
                st_http_resume(sides[i].x);
    }
    TAP_OK(left == 0 && also.revents == POLLIN, "all ended, and the caller's descriptor was seen");
    for (size_t i = 0; i < ST_LEN(sides); i++)
        TAP_OK(sides[i].ok && whole(&sides[i].got, 0), "%zu is whole", i);
    close(pipes[0]);
    close(pipes[1]);
    struct st_http *slow = NULL;
    static struct got g;
    struct st_http_options o = {.mem = &mem, .user_agent = "t", .bytes_per_second = 300000};
    struct st_http_response r;
    struct st_http_request q = ask(url, s.port, "/");
    q.sink = take;
    q.ctx = &g;
    int64_t t = st_clock_mono_ms();
    st_http_new(&o, &slow, &err);
    TAP_OK(st_http_do(slow, &q, &r, &err) == 0 && whole(&g, 0), "a bandwidth: whole %s", err.text);
    t = st_clock_mono_ms() - t;
    TAP_OK(t > 500 && t < 3000, "and 300 kB at 300 kB/s take about a second: %lld ms", (long long)t);
    st_http_response_release(&r);
    st_http_free(slow);
    stop(&s);
}

static void halves(int c, unsigned n, const char *request)
{
    say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n%01000d", 0);
    sleep(5);
}

// What bytes went to a sink may be why the caller has to wait for something else (the pipe behind it is full): the step
// that gave them does not wait, with descriptors that were right before.
static void test_http_step_after_sink(void)
{
    static struct side side;
    struct server s = serve(halves);
    struct st_err err = {0};
    char url[128];
    struct st_http_request q = ask(url, s.port, "/");
    q.sink = side_take;
    q.done = side_done;
    q.ctx = &side;
    TAP_OK(st_http_begin(http, &q, &side.x, &err) == 0, "begin");
    for (int i = 0; i < 1000 && s.seen->n == 0; i++) { // until the request is there
        st_http_step(http, NULL, 0, 0, &err);
        poll(NULL, 0, 5);
    }
    poll(NULL, 0, 100); // and half the answer here, so that the step begins with it
    int64_t took = st_clock_mono_ms();
    st_http_step(http, NULL, 0, 4000, &err);
    took = st_clock_mono_ms() - took;
    TAP_OK(side.got.n == 1000 && took < 3000, "a step that gave bytes does not wait: %lld ms", (long long)took);
    st_http_cancel(side.x);
    stop(&s);
}

// The C library's look-up, for libcurl and for ours: missing.example does not exist, later.example cannot be looked up
// now.
__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service,
                                                       const struct addrinfo *hints, struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
    if (name && strcmp(name, "missing.example") == 0)
        return EAI_NONAME;
    if (name && strcmp(name, "later.example") == 0)
        return EAI_AGAIN;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(name, service, hints, ret);
}

static void test_http_names(void)
{
    static const struct {
        const char *url;
        enum st_err_code code;
        unsigned attempts;
    } rows[] = {{"https://missing.example/", ST_E_NOTFOUND, 1},
                {"https://later.example/", ST_E_RETRY, ST_HTTP_TRIES_FIRST}};
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        struct st_http_response r;
        struct st_err err = {0};
        struct st_http_request q = {.url = st_sv_of(rows[i].url), .max = BODY_SIZE};
        int rc = st_http_do(http, &q, &r, &err);
        TAP_OK(rc < 0 && err.code == rows[i].code && r.trouble == ST_HTTP_NO_HOST && r.attempts == rows[i].attempts,
               "%s: %s, %u attempts", rows[i].url, err.text, r.attempts);
        st_http_response_release(&r);
    }
}

// Each of two servers on one address is asked about by its own name and port: the second is met by a redirect.
struct allowed {
    unsigned port, refused;
};

static bool only_port(void *ctx, const struct st_http_peer *to)
{
    struct allowed *a = ctx;
    if (to->port == a->port && strcmp(to->host, "127.0.0.1") == 0 && !to->tls && !to->proxy)
        return true;
    a->refused = to->port;
    return false;
}

static void test_http_redirect_away(void)
{
    other = serve(redirecting);
    struct server s = serve(redirecting);
    struct allowed a = {.port = s.port};
    struct st_http *strict = NULL;
    struct st_http_options o = {.mem = &mem, .user_agent = "t", .may_connect = only_port, .ctx = &a};
    struct st_http_response r = {0};
    struct st_err err = {0};
    char url[128];
    struct st_http_request q = ask(url, s.port, "/away");
    TAP_OK(st_http_new(&o, &strict, &err) == 0 && st_http_do(strict, &q, &r, &err) < 0 && err.code == ST_E_INPUT &&
               r.trouble == ST_HTTP_FORBIDDEN && a.refused == other.port && s.seen->n == 1 && other.seen->n == 0,
           "a redirect to another port is asked about: %s", err.text);
    st_http_response_release(&r);
    st_http_free(strict);
    stop(&s);
    stop(&other);
}

static void test_http_text(void)
{
    int64_t t;
    uint64_t a, b, c;
    TAP_OK(st_http_date(ST_SV("Sun, 06 Nov 1994 08:49:37 GMT"), &t) && t == 784111777, "RFC 9110's date");
    TAP_OK(st_http_date(ST_SV("Tue, 29 Feb 2028 00:00:00 GMT"), &t) && t == 1835395200, "a leap day");
    TAP_OK(!st_http_date(ST_SV("Sun, 06 Nov 1994 08:49:37 UTC"), &t) && !st_http_date(ST_SV("6 Nov"), &t), "no dates");
    TAP_OK(st_http_retry_after(ST_SV("120"), 0, &a) && a == 120, "seconds");
    TAP_OK(st_http_retry_after(ST_SV("Sun, 06 Nov 1994 08:49:37 GMT"), 784111770, &a) && a == 7, "a date");
    TAP_OK(st_http_retry_after(ST_SV("Sun, 06 Nov 1994 08:49:37 GMT"), 784111999, &a) && a == 0, "a past date");
    TAP_OK(!st_http_retry_after(ST_SV("soon"), 0, &a) && !st_http_retry_after(ST_SV("-1"), 0, &a), "neither");
    TAP_OK(st_http_content_range(ST_SV("bytes 5-9/10"), &a, &b, &c) && a == 5 && b == 9 && c == 10, "a range");
    TAP_OK(st_http_content_range(ST_SV("bytes 5-9/*"), &a, &b, &c) && c == 0, "of unknown size");
    TAP_OK(!st_http_content_range(ST_SV("bytes */10"), &a, &b, &c) &&
               !st_http_content_range(ST_SV("bytes 9-5/10"), &a, &b, &c) &&
               !st_http_content_range(ST_SV("bytes 5-10/10"), &a, &b, &c) &&
               !st_http_content_range(ST_SV("lines 5-9/10"), &a, &b, &c),
           "no ranges");
}

int main(void)
{
    struct st_err err = {0};
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 2654435761u >> 13);
    st_mem_init(&mem, 8 << 20, -1);
    struct st_http_options o = {.mem = &mem, .user_agent = "stella-test"};
    if (st_http_init(&err) || st_http_new(&o, &http, &err)) {
        printf("Bail out! %s\n", err.text);
        return 1;
    }
    test_http_text();
    test_http_plain();
    test_http_resume();
    test_http_limits();
    test_http_retry();
    test_http_redirect();
    test_http_addresses();
    test_http_trouble();
    test_http_parallel();
    test_http_step_after_sink();
    test_http_names();
    test_http_redirect_away();
    st_http_free(http);
    TAP_OK(mem.used == 0, "all memory is given back");
    st_mem_release(&mem);
    return tap_done();
}
