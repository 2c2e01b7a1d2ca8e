// An operation as an HTTP request, and its answer as rows: what stella-remote does between the socket of stella
// (message.h) and a service elsewhere. Pure: no sockets here.
#ifndef ST_SERVICE_REMOTE_OPS_H
#define ST_SERVICE_REMOTE_OPS_H

#include "service/op.h"

#define ST_REMOTE_NAME "stella-remote"
#define ST_REMOTE_ROW_MAX (127 * 1024)     // one row; it goes into one message
#define ST_REMOTE_ANSWER_MAX (32ull << 20) // one answer; the service's own limit is lower
#define ST_REMOTE_TOKEN_MAX 4096

// STELLA_SERVER: "https://scan.example.org", "http://127.0.0.1:8444", with a path before /api where a proxy wants one.
// *ret: without the slashes at its end, borrowed. ST_E_USAGE says what is wrong.
int st_remote_base(struct st_sv text, struct st_sv *ret, struct st_err *err);
// Characters that a header can carry. ST_E_USAGE, without the token in the text.
int st_remote_token(struct st_sv token, struct st_err *err);

struct st_remote_request {
    const struct st_op *op;
    struct st_buf url, body; // owned; body empty for GET and DELETE
    uint64_t wait_ms;        // how long the caller would wait for a row; the service is asked again and again
    bool upload;             // the body is the file that came with the packet
    bool file;               // the answer is a file, which goes along with a row of its own (st_sbom_row)
};
void st_remote_request_init(struct st_remote_request *q, struct st_mem *mem);
void st_remote_request_release(struct st_remote_request *q);
// From a packet of message.h. with_file: a descriptor came along. ST_E_INPUT for one that is none, ST_E_USAGE for an
// operation that has no route.
int st_remote_translate(struct st_sv packet, bool with_file, struct st_sv base, struct st_arena *a,
                        struct st_remote_request *ret, struct st_err *err);
// For the row that goes with a file: the format that was asked for.
int st_remote_file_row(struct st_sv packet, uint64_t size, struct st_arena *a, struct st_buf *ret, struct st_err *err);

// Each row of an answer 2xx, as JSON borrowed from `body`. ST_E_USAGE when this is no answer of stella.
typedef int st_remote_row_fn(void *ctx, struct st_sv json, struct st_err *err);
int st_remote_rows(const struct st_op *op, struct st_sv body, st_remote_row_fn *row, void *ctx, struct st_err *err);

#endif
