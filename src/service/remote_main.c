// stella-remote: the operations of a service elsewhere, over HTTP. stella starts it when STELLA_SERVER is a URL, and
// speaks to it on descriptor 3 as to a service's socket (message.h); so stella itself links no network library. It
// reads token and certificates, gives up files and processes, and then asks.
//
//   STELLA_SERVER      https://..., or http:// of this machine
//   STELLA_TOKEN_FILE  a file that holds the token; or
//   STELLA_TOKEN       the token
//   STELLA_CA_FILE     certificate authorities (PEM) to trust beside the system's
#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "http/http.h"
#include "scan/sandbox.h"
#include "service/message.h"
#include "service/remote_ops.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define SOCKET 3
#define PRIVATE_BYTES ((size_t)256 << 20) // stacks of look-up threads are counted whole
#define BUDGET ((size_t)96 << 20)
#define CA_MAX (4u << 20)
#define WHOLE_MS 50000        // one exchange with its repetitions; stella waits longer (ST_CLIENT_REMOTE_MS)
#define UPLOAD_MS 3600000     // until a file is sent, stored and answered; the service cuts a transfer that stalls
#define FILE_MAX (1ull << 30) // an SBOM
#define AGAIN_MS 1000         // between two questions of a caller that waits for a row

struct remote {
    struct st_mem mem;
    struct st_arena arena;
    struct st_buf ca;
    struct st_sv base;
    struct st_secret authorization;
    struct st_http *http;
    struct st_err broken; // why nothing can be asked
    char *in;             // ST_MESSAGE_MAX
    uint64_t rows;
    int file; // that came with the packet in work; -1: none
};

// ---- what it needs ----------------------------------------------------------------------------------

static int read_token(struct remote *r, struct st_err *err)
{
    const char *file = getenv("STELLA_TOKEN_FILE"), *plain = getenv("STELLA_TOKEN");
    ST_AUTO_SECRET struct st_secret token = {0};
    ST_AUTO_CLOSE int fd = -1;
    if (plain && plain[0]) {
        if (st_secret_set(&token, st_sv_of(plain), err))
            return -1;
    } else if (file && file[0]) {
        fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return st_err_set(err, ST_E_AUTH, "STELLA_TOKEN_FILE %.200s: %s", file, strerror(errno));
        if (st_secret_read(&token, fd, ST_REMOTE_TOKEN_MAX, "STELLA_TOKEN_FILE", err))
            return -1;
        st_secret_chomp(&token);
    } else {
        return st_err_set(err, ST_E_AUTH,
                          "a token is needed for " ST_SV_FMT
                          ": STELLA_TOKEN_FILE names a file that holds it, or STELLA_TOKEN is it",
                          ST_SV_ARG(r->base));
    }
    if (st_remote_token(st_secret_reveal(&token), err))
        return -1;
    struct st_sv parts[] = {ST_SV("Bearer "), st_secret_reveal(&token)};
    return st_secret_join(&r->authorization, parts, ST_LEN(parts), err);
}

static int read_ca(struct remote *r, struct st_err *err)
{
    const char *file = getenv("STELLA_CA_FILE");
    static const char pem[] = "-----BEGIN CERTIFICATE-----";
    char buf[4096];
    ssize_t n;
    if (st_http_system_ca(&r->ca, err))
        return -1;
    if (!file || !file[0])
        return 0;
    ST_AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t before = r->ca.len;
    if (fd < 0 || st_buf_addc(&r->ca, '\n', err))
        return st_err_set(err, ST_E_INPUT, "STELLA_CA_FILE %.200s: %s", file, strerror(errno));
    while ((n = st_fd_read(fd, buf, sizeof buf)) > 0)
        if (r->ca.len > CA_MAX || st_buf_add(&r->ca, st_sv_mem(buf, (size_t)n), err))
            return st_err_set(err, ST_E_LIMIT, "STELLA_CA_FILE %.200s: longer than %u bytes", file, CA_MAX);
    if (n < 0 || !memmem(r->ca.ptr + before, r->ca.len - before, pem, strlen(pem)))
        return st_err_set(err, ST_E_INPUT, "STELLA_CA_FILE %.200s: %s", file,
                          n < 0 ? strerror(errno) : "no certificate (PEM)");
    return 0;
}

// A failure here is the answer to every question: stella is the one who prints it.
static int prepare(struct remote *r, struct st_err *err)
{
    const char *server = getenv("STELLA_SERVER");
    if (st_remote_base(st_sv_of(server ? server : ""), &r->base, err) || read_token(r, err) || read_ca(r, err) ||
        st_http_init(err))
        return -1;
    struct st_http_options o = {.mem = &r->mem, .user_agent = "stella/" ST_VERSION, .tls = {.ca = st_buf_sv(&r->ca)}};
    return st_http_new(&o, &r->http, err);
}

// ---- one question -----------------------------------------------------------------------------------

static int send_packet(struct remote *r, char kind, struct st_sv json, int fd, struct st_err *err)
{
    struct st_buf b;
    st_buf_init(&b, &r->mem);
    int rc = st_buf_addc(&b, kind, err) || st_buf_add(&b, json, err)
                 ? -1
                 : st_message_send_fd(SOCKET, st_buf_sv(&b), fd, st_clock_mono_ms() + WHOLE_MS, err);
    st_buf_release(&b);
    return rc;
}

static int send_row(void *ctx, struct st_sv json, struct st_err *err)
{
    struct remote *r = ctx;
    r->rows++;
    return send_packet(r, 'R', json, -1, err);
}

// What libcurl says, and what to do about it.
static int explain(const struct remote *r, const struct st_http_response *a, const struct st_err *e, struct st_err *err)
{
    bool tls = st_sv_starts(r->base, ST_SV("https://"));
    switch (a->trouble) {
    case ST_HTTP_UNTRUSTED:
        return st_err_set(err, e->code, "%s (STELLA_CA_FILE names the authority that signed its certificate)", e->text);
    case ST_HTTP_FORBIDDEN:
        return st_err_set(err, ST_E_USAGE, "http:// would show the token to the network: STELLA_SERVER=https://...");
    case ST_HTTP_NO_TLS:
        return st_err_set(err, strstr(e->text, "routines:") ? ST_E_USAGE : e->code,
                          "%s (does it speak TLS? without, the URL is http://)", e->text);
    case ST_HTTP_BROKEN:
        return st_err_set(err, e->code == ST_E_CORRUPT ? ST_E_USAGE : e->code, "%s%s", e->text,
                          tls ? "" : " (does it speak TLS? then the URL is https://)");
    case ST_HTTP_NO_HOST:
    case ST_HTTP_NO_CONNECT:
        return st_err_set(err, ST_E_RETRY, "no service answers at " ST_SV_FMT " (%s)", ST_SV_ARG(r->base), e->text);
    case ST_HTTP_NO_TROUBLE:
        break;
    }
    return st_err_set(err, e->code == ST_E_TIMEOUT ? ST_E_RETRY : e->code, "%s", e->text);
}

// The file that the service sent: in memory, and handed on with the one row.
static int send_file(struct remote *r, struct st_sv packet, int file, uint64_t size, struct st_err *err)
{
    struct st_buf b;
    st_buf_init(&b, &r->mem);
    int rc =
        lseek(file, 0, SEEK_SET) < 0 ? st_err_sys(err, "memory") : st_remote_file_row(packet, size, &r->arena, &b, err);
    if (rc == 0)
        rc = send_packet(r, 'R', st_buf_sv(&b), file, err);
    r->rows += rc == 0;
    st_buf_release(&b);
    return rc;
}

static int to_file(void *ctx, struct st_sv bytes, struct st_err *err)
{
    return st_fd_write(*(const int *)ctx, bytes.ptr, bytes.len) ? st_err_sys(err, "memory") : ST_HTTP_TAKEN;
}

static int judge(struct remote *r, const struct st_remote_request *q, struct st_sv packet, int file,
                 const struct st_http_response *a, struct st_err *err)
{
    bool json = st_sv_starts(st_http_header(a, ST_SV("content-type"), 0), ST_SV("application/json"));
    if (a->status / 100 == 2 && q->file)
        return send_file(r, packet, file, a->delivered, err);
    if (a->status / 100 == 2 && json)
        return st_remote_rows(q->op, st_buf_sv(&a->body), send_row, r, err);
    if (a->status / 100 == 2)
        return st_err_set(err, ST_E_USAGE, "what answers at " ST_SV_FMT " is not stella: is STELLA_SERVER right?",
                          ST_SV_ARG(r->base));
    struct st_err theirs = {0};
    if (json)
        st_message_get_err(st_buf_sv(&a->body), &theirs);
    else
        st_http_check(a, a->url, &theirs);
    return st_err_set(err, theirs.code, "%s", theirs.text);
}

// The body of an upload: the file's pages. One that is cut short meanwhile ends this process (SIGBUS), which is told.
static int map_file(int fd, struct st_sv *ret, struct st_err *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return st_err_sys(err, "the file to send");
    if (!S_ISREG(st.st_mode))
        return st_err_set(err, ST_E_USAGE, "only a file can be sent to a service elsewhere: --local scans it here");
    if (st.st_size == 0)
        return st_err_set(err, ST_E_INPUT, "the file is empty");
    char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return st_err_sys(err, "the file to send");
    *ret = st_sv_mem(p, (size_t)st.st_size);
    return 0;
}

static int ask_once(struct remote *r, const struct st_remote_request *q, struct st_sv packet, struct st_err *err)
{
    struct st_http_header type = {"Content-Type", ST_SV("application/json"), false};
    struct st_http_response a = {0};
    struct st_err e = {0};
    ST_AUTO_CLOSE int file = q->file ? memfd_create("stella-sbom", MFD_CLOEXEC) : -1;
    struct st_sv body = st_buf_sv(&q->body);
    if (q->file && file < 0)
        return st_err_sys(err, "memory");
    if (q->upload && map_file(r->file, &body, err))
        return -1;
    if (q->upload)
        type.value = ST_SV("application/octet-stream");
    struct st_http_request h = {
        .method = q->op->method,
        .url = st_buf_sv(&q->url),
        .headers = &type,
        .n_headers = body.len > 0,
        .authorization = &r->authorization,
        .body = body,
        .once = !strcmp(q->op->method, "POST"),
        .max = q->file ? FILE_MAX : ST_REMOTE_ANSWER_MAX,
        .times = {.whole = q->file || q->upload ? 0 : WHOLE_MS, .first_byte = q->upload ? UPLOAD_MS : 0},
        .sink = q->file ? to_file : NULL,
        .ctx = &file,
    };
    int rc = st_http_do(r->http, &h, &a, &e);
    rc = rc ? explain(r, &a, &e, err) : judge(r, q, packet, file, &a, err);
    st_http_response_release(&a);
    if (q->upload)
        munmap((void *)(uintptr_t)body.ptr, body.len);
    return rc;
}

static bool gone(int wait_ms)
{
    struct pollfd p = {SOCKET, POLLRDHUP, 0};
    return poll(&p, 1, wait_ms) > 0;
}

static int answer(struct remote *r, struct st_sv packet, struct st_err *err)
{
    struct st_remote_request q;
    int64_t now = st_clock_mono_ms();
    if (r->broken.code) {
        *err = r->broken;
        return -1;
    }
    st_remote_request_init(&q, &r->mem);
    int rc = st_remote_translate(packet, r->file >= 0, r->base, &r->arena, &q, err);
    int64_t until = now + (int64_t)ST_MIN(q.wait_ms, (uint64_t)ST_WAIT_MAX_MS);
    r->rows = 0;
    while (rc == 0) {
        rc = ask_once(r, &q, packet, err);
        if (rc || r->rows || st_clock_mono_ms() >= until || gone(AGAIN_MS))
            break;
    }
    st_remote_request_release(&q);
    return rc;
}

static void serve(struct remote *r)
{
    for (;;) {
        struct st_err err = {0}, lost = {0};
        ST_AUTO_CLOSE int file = -1;
        int64_t n = st_message_recv_fd(SOCKET, r->in, ST_MESSAGE_MAX, &file, 0, &lost);
        if (n <= 0)
            return;
        r->file = file;
        int rc = answer(r, st_sv_mem(r->in, (size_t)n), &err);
        struct st_buf b;
        st_buf_init(&b, &r->mem);
        if (rc)
            rc = st_message_put_err(&b, &err, NULL) || send_packet(r, 'F', st_buf_sv(&b), -1, NULL);
        else
            rc = send_packet(r, 'E', ST_SV(""), -1, NULL);
        st_buf_release(&b);
        st_arena_reset(&r->arena);
        if (rc)
            return;
    }
}

// Loads the name services that this machine is set up for, while libraries can still be loaded.
static void warm_resolver(void)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo("localhost", "443", &hints, &found) == 0)
        freeaddrinfo(found);
}

int main(int argc, char **argv)
{
    struct remote r = {.in = malloc(ST_MESSAGE_MAX), .file = -1};
    struct st_sandbox_report report;
    if (argc != 2 || strcmp(argv[1], "--serve") != 0) {
        fputs(ST_REMOTE_NAME " is started by stella when STELLA_SERVER is a URL\n", stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); // stella decides
    signal(SIGPIPE, SIG_IGN);
    st_mem_init(&r.mem, BUDGET, -1);
    st_arena_init(&r.arena, &r.mem);
    st_buf_init(&r.ca, &r.mem);
    if (!r.in)
        return 1;
    if (prepare(&r, &r.broken) == 0) {
        warm_resolver();
        st_sandbox_enter_network(PRIVATE_BYTES, ST_SANDBOX_INTERNET, &report, &r.broken);
    }
    serve(&r);
    st_http_free(r.http);
    st_secret_release(&r.authorization);
    st_buf_release(&r.ca);
    st_arena_release(&r.arena);
    st_mem_release(&r.mem);
    free(r.in);
    return 0;
}

#ifdef ST_SANITIZED
__attribute__((visibility("default"), used)) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0"; // it needs /proc, which the sandbox hides
}
#endif
