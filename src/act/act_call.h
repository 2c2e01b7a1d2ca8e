// One run of stella-act: its network, its one deadline, its dry run, and the log of what it did.
#ifndef ST_ACT_ACT_CALL_H
#define ST_ACT_ACT_CALL_H

#include "http/http.h"

#define ST_ACT_MEMORY (96ull << 20)     // bytes of answers and texts; a page of 100 pods is about 2 MB
#define ST_ACT_ANSWER_MAX (32ull << 20) // bytes of one answer
#define ST_ACT_URL_MAX 2048
#define ST_ACT_BEARER_MAX (16u * 1024) // bytes of a token file

struct st_act_call {
    struct st_mem *mem;     // borrowed
    struct st_arena *arena; // borrowed; lives as long as the run
    struct st_http *http;   // borrowed
    int64_t deadline_ms;    // st_clock_mono_ms()
    bool dry_run;           // questions are asked, nothing is changed
    // One line for people, without "stella-act: ".
    void (*say)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
};

int64_t st_act_left_ms(const struct st_act_call *c); // until the deadline; 0 when it is over
// Wait that long, or less if the deadline is nearer: then ST_E_RETRY naming `what` that was waited for.
int st_act_wait(const struct st_act_call *c, uint64_t ms, const char *what, struct st_err *err);

// What is asked of a server. Every request here can be repeated: questions, and changes that the second time find
// themselves made.
struct st_act_ask {
    const char *method, *url, *what; // `what`: for errors, "GitHub: cancel the run"
    const struct st_http_header *headers;
    size_t n_headers;
    const struct st_secret *authorization;
    struct st_sv body;
    const struct st_http_tls *tls;
};
// 0: an answer, whatever its status. The deadline's end is ST_E_RETRY, since a later run goes on from there. *ret is
// released by the caller, also after a failure.
int st_act_ask(struct st_act_call *c, const struct st_act_ask *ask, struct st_http_response *ret, struct st_err *err);

// A whole file (at most `max` bytes) that is not secret, into the arena.
int st_act_file(struct st_act_call *c, const char *path, size_t max, struct st_sv *ret, struct st_err *err);
// A secret file without its last newline. ST_E_AUTH when it is missing or empty.
int st_act_secret_file(const char *path, size_t max, struct st_secret *ret, struct st_err *err);

#endif
