// Inside src/http: the client, the exchange, and what one attempt of it knows.
#ifndef ST_HTTP_HTTP_INT_H
#define ST_HTTP_HTTP_INT_H

#include "http/http.h"

#include <curl/curl.h>

#define ST_HTTP_HOST_MAX 256

struct st_http_origin {
    bool tls;
    char host[ST_HTTP_HOST_MAX]; // lower case; IPv6 in brackets
    unsigned port;
};

// A URL taken apart and checked: http or https, a host, no user or password. The text without a fragment goes to
// ret_url. `base` NULL, or the URL that a relative one is relative to.
int st_http_url_read(const char *base, struct st_sv text, char ret_url[static ST_HTTP_URL_MAX],
                     struct st_http_origin *ret, struct st_err *err);
bool st_http_same_origin(const struct st_http_origin *a, const struct st_http_origin *b);

struct st_http {
    struct st_http_options opt;
    CURLM *multi;
    struct st_http_exchange *first;
    unsigned n;
    // Grows whenever the list does or shrinks, and when bytes went to a sink: what the caller has to wait for may then
    // be another thing (a pipe that became full).
    uint64_t changes;
    // bytes_per_second as a bucket that fills with time
    int64_t tokens;
    int64_t filled_ms;
};

enum st_http_state { ST_HTTP_WAITING, ST_HTTP_RUNNING };

struct st_http_exchange {
    struct st_http *http;
    struct st_http_exchange *prev, *next;
    struct st_http_request q; // its method, url and headers point into what follows
    char method[16];
    char url[ST_HTTP_URL_MAX], now_url[ST_HTTP_URL_MAX]; // the first, and where redirects led
    struct st_http_origin origin, now_origin;
    struct st_buf texts; // header lines, each with its NUL
    struct curl_slist *lines;
    size_t n_lines;
    bool *line_here_only;

    struct st_http_response r;
    enum st_http_state state;
    int64_t begun_ms, next_ms; // of the exchange; WAITING: when the next attempt starts
    unsigned redirects, tries;
    bool answered; // some attempt got a status line

    // ---- one attempt
    CURL *easy;
    struct curl_slist *sent, *sent_authorization;
    int64_t asked_ms, moved_ms; // request sent (0: not yet), last sign of life
    bool head_done, to_sink, enough;
    bool full, throttled; // paused by the sink, by the bandwidth
    uint64_t skip;        // bytes of a 200 that were delivered before
    uint64_t got;         // delivered in this attempt
    CURLcode broken;      // an error that libcurl told while it was woken up from a pause
    bool retry;           // err is worth another attempt
    struct st_err err;    // of this attempt, found in a callback
    char address[ST_ADDRESS_TEXT];
    char curl_error[CURL_ERROR_SIZE];
};

// attempt.c
int st_http_attempt_start(struct st_http_exchange *x, struct st_err *err);
void st_http_attempt_end(struct st_http_exchange *x); // takes it out of the multi handle
// What the attempt came to. 0: the exchange goes on (waiting). 1: finished, err NULL inside when there is an answer.
int st_http_attempt_judge(struct st_http_exchange *x, CURLcode code, struct st_err *ret_err);
// A timer ran out: NULL, or what to say.
const char *st_http_attempt_late(struct st_http_exchange *x, int64_t now);

#endif
