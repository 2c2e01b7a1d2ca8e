// The HTTP client of every process that speaks to a network: stella-fetch (registries, daemons) and stella-act
// (Kubernetes, GitHub). On libcurl's multi interface, single-threaded but for curl's own name look-ups: any number of
// exchanges run side by side in st_http_step, or one at a time in st_http_do.
//
// An exchange is one question and its final answer. Inside it, without the caller's doing:
//   - redirects (RFC 9110, 15.4) are followed for GET and HEAD; `authorization` and headers marked `here_only` go to
//   the
//     first URL's origin (scheme, host, port) and nowhere else; https is never left for http;
//   - 408, 429, 500, 502, 503, 504, and connections that fail or stall, are tried again with growing, jittered waits,
//   or
//     after the server's Retry-After;
//   - with `resume`, a body that breaks off goes on with a Range request at the byte where it broke, from the first URL
//     again (a signed URL may have expired): the sink sees one unbroken run of bytes.
// Never inside it: credentials. A 401 is an answer like any other; the caller gets a token and asks again.
//
// Everything that comes back is hostile: header and body sizes are capped, redirects counted, and the address that is
// really connected to is shown to the caller before a byte is sent. The library opens no file and reads no variable of
// the environment: certificates are handed in as bytes.
#ifndef ST_HTTP_HTTP_H
#define ST_HTTP_HTTP_H

#include "base/mem.h"
#include "base/secret.h"
#include "http/address.h"

#include <poll.h>

#define ST_HTTP_URL_MAX 8192                // longer URLs are refused, given or redirected to
#define ST_HTTP_HEADERS_MAX (64u * 1024)    // bytes of one answer's headers
#define ST_HTTP_ERROR_BODY_MAX (64u * 1024) // bytes kept of an answer that is not for the sink; the rest is dropped
#define ST_HTTP_REDIRECTS_MAX 10
#define ST_HTTP_TRIES 5       // attempts that give nothing new; a resumed one that gave ST_HTTP_PROGRESS starts anew
#define ST_HTTP_TRIES_FIRST 2 // attempts to connect before there was any answer at all
#define ST_HTTP_PROGRESS (64u * 1024)
#define ST_HTTP_BACKOFF_MS 250 // doubled each time
#define ST_HTTP_BACKOFF_MAX_MS 30000
#define ST_HTTP_RETRY_AFTER_MAX_S 120 // a server that asks for more gets no second question

// ---- the client -----------------------------------------------------------------------------------------------------

// All borrowed while any exchange uses them.
struct st_http_tls {
    struct st_sv ca;             // PEM certificates to trust; empty: no server can be verified
    struct st_sv cert;           // PEM client certificate chain; empty: none
    const struct st_secret *key; // PEM key of it
    bool insecure;               // trust any server
};

// Who is about to be connected to.
struct st_http_peer {
    const char *host; // of the URL, lower case, IPv6 in brackets
    unsigned port;
    bool tls;
    enum st_address_class what; // of the address that connect() gets
    bool proxy;                 // which is the proxy's, not the host's
};

struct st_http_options {
    struct st_mem *mem;        // borrowed; bodies and headers that are kept. libcurl's own memory is not counted
    const char *user_agent;    // "stella/0.1.0"
    struct st_http_tls tls;    // for exchanges without their own
    const char *https_proxy;   // URL of the proxy for https:// URLs; NULL: none. May hold user:password
    const char *http_proxy;    // the same for http://
    const char *no_proxy;      // as curl has it: "host,.domain,10.0.0.0/8"
    uint64_t bytes_per_second; // of all exchanges together; 0: no limit
    // Asked for every connection, those after redirects too. NULL: all may.
    bool (*may_connect)(void *ctx, const struct st_http_peer *to);
    // One line an attempt, ready to be printed (-v): method, URL without its query, status, address, time. NULL: none.
    void (*trace)(void *ctx, const char *line);
    void *ctx; // of both
};

struct st_http;
// Once before the first st_http_new and before any thread: libcurl, with an allocator that wipes what it frees.
int st_http_init(struct st_err *err);
int st_http_new(const struct st_http_options *opt, struct st_http **ret, struct st_err *err);
void st_http_free(struct st_http *h); // cancels what still runs, without calling `done`; NULL allowed

// The system's trusted certificates as PEM bytes, for st_http_tls.ca: $SSL_CERT_FILE, else the first of the
// distributions' bundles that is there. Empty, with 0, when there is none.
int st_http_system_ca(struct st_buf *ret, struct st_err *err);

// ---- one exchange ---------------------------------------------------------------------------------------------------

struct st_http_header {
    const char *name;
    struct st_sv value;
    bool here_only; // not to another origin
};

// Milliseconds; 0: the default in brackets.
struct st_http_times {
    unsigned connect;    // name, TCP and TLS [10000]
    unsigned first_byte; // from the request to the answer's first byte [30000]
    unsigned stall;      // without a byte, while the sink is not full [30000]
    uint64_t whole;      // the exchange, retries included [none]
};

// Why there is no answer: what the caller would say differently, or do.
enum st_http_trouble {
    ST_HTTP_NO_TROUBLE,
    ST_HTTP_NO_HOST,    // the name is not known
    ST_HTTP_NO_CONNECT, // nobody listens, or no route
    ST_HTTP_NO_TLS,     // the other side does not speak TLS, or none that fits
    ST_HTTP_UNTRUSTED,  // its certificate is not trusted, expired, or for another name
    ST_HTTP_FORBIDDEN,  // may_connect, or plain HTTP where it is not allowed
    ST_HTTP_BROKEN,     // connected, and then silence, a reset or nonsense
};

struct st_http_response {
    int status;                   // of the final answer, 1xx and redirects excluded
    struct st_buf headers;        // its header lines, as sent
    struct st_buf body;           // all of it without a sink; the errors' body with one
    char url[ST_HTTP_URL_MAX];    // that answered, without its query and fragment
    uint64_t delivered;           // bytes that the sink has taken, `from` not counted
    uint64_t wire;                // body bytes received in all attempts
    unsigned attempts;            // requests sent, redirects not counted
    enum st_http_trouble trouble; // with an error
    uint64_t total;               // size of the whole representation, if the server said it; else 0
};

enum { ST_HTTP_TAKEN = 0, ST_HTTP_FULL = 1 };

struct st_http_exchange; // gone when `done` returns

// Everything is borrowed until `done` (for st_http_do: until it returns), but method, url and headers, which are
// copied.
struct st_http_request {
    const char *method; // NULL: "GET"
    struct st_sv url;   // http:// or https://, without user and password
    const struct st_http_header *headers;
    size_t n_headers;
    const struct st_secret *authorization; // value of the Authorization header; NULL: none
    struct st_sv body;                     // of POST, PUT, PATCH; its Content-Type is a header of the caller's
    const struct st_http_tls *tls;         // NULL: the client's
    bool plain;                            // http:// is allowed; without it only to a loopback address
    const char *unix_path;                 // a daemon's socket, whatever host the URL names; NULL: the network
    bool once;         // never try again on a failure that leaves open whether the request was carried out (POST)
    uint64_t from, to; // bytes [from, to) of the representation; to 0: to its end
    uint64_t size;     // of the whole, if it is known: some servers take no range without its last byte. 0: not known
    bool ranged;       // a server that answers with more than [from, to) is an error (ST_E_FAILED), not read through
    bool resume;       // its bytes never change (named by digest)
    uint64_t max;      // body bytes at most: more is ST_E_LIMIT, seen before it is delivered. 0: not allowed
    struct st_http_times times;
    // Body bytes of a 2xx answer. ST_HTTP_TAKEN: all taken. ST_HTTP_FULL: none taken, offered again after
    // st_http_resume. -1: the exchange ends with this error. NULL: kept in response.body.
    int (*sink)(void *ctx, struct st_sv bytes, struct st_err *err);
    // Called once, from st_http_step, unless the exchange is cancelled. err NULL: an answer, whatever its status. Else
    // ST_E_RETRY (network and server trouble that outlasted the retries), ST_E_NOTFOUND (there is no host of that name,
    // as far as name servers answer), ST_E_TIMEOUT (times.whole), ST_E_LIMIT,
    // ST_E_CORRUPT (nonsense from the server), ST_E_FAILED (certificate, forbidden address or redirect), the sink's.
    void (*done)(void *ctx, struct st_http_response *r, const struct st_err *err);
    void *ctx; // of both
};

// Starts it. -1 (bad URL or header: ST_E_INPUT; memory): `done` is not called.
int st_http_begin(struct st_http *h, const struct st_http_request *q, struct st_http_exchange **ret,
                  struct st_err *err);
void st_http_resume(struct st_http_exchange *x); // the sink has room again
void st_http_cancel(struct st_http_exchange *x); // `done` is not called; NULL allowed

// Carry on with all exchanges, and wait up to timeout_ms for something to happen there or on the caller's own
// descriptors (revents filled). Returns the number of exchanges that still run, or -1.
int st_http_step(struct st_http *h, struct pollfd *also, unsigned n_also, int timeout_ms, struct st_err *err);

// One exchange from beginning to end, without `done`. The caller releases *ret also after a failure.
int st_http_do(struct st_http *h, const struct st_http_request *q, struct st_http_response *ret, struct st_err *err);
void st_http_response_release(struct st_http_response *r); // safe on a zeroed struct

// ---- the answer -----------------------------------------------------------------------------------------------------

// Value of the n-th header of that name (any case), trimmed; a NULL view when there is none.
struct st_sv st_http_header(const struct st_http_response *r, struct st_sv name, size_t n);
// 0 for 2xx. Else an error with the code that the command line ends with (401, 403: ST_E_AUTH; 404: ST_E_NOTFOUND; 408,
// 429, 5xx: ST_E_RETRY; others ST_E_FAILED) and the text "WHAT: HTTP 404 Not Found".
int st_http_check(const struct st_http_response *r, const char *what, struct st_err *err);

#endif
