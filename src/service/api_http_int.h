// The HTTP side of stella-api, as its parts see each other: api_http.c (requests and routes), api_listen.c (address,
// TLS, start, reload), api_events.c (streams of events), api_upload.c (archives that are sent), api_result.c (files of
// results).
//
// One struct st_api_http is one MHD daemon on a socket that was bound before. A reload makes a second one, with new
// certificates and tokens, on the same socket; the first takes no more connections and ends when those it has are done.
#ifndef ST_SERVICE_API_HTTP_INT_H
#define ST_SERVICE_API_HTTP_INT_H

#include "service/api.h"

#include <microhttpd.h>
#include <pthread.h>

#define ST_HTTP_IDLE_S 15                 // without a byte in either direction: closed
#define ST_HTTP_REQUEST_MEM (24ull << 20) // of one request
#define ST_HTTP_SETS 256                  // of buckets, each for ST_HTTP_WAYS callers at once
#define ST_HTTP_WAYS 8

struct st_api_events;
struct st_api_uploads;
struct st_upload;

struct st_http_bucket {
    uint64_t who; // st_hash
    double left;
    int64_t at_ms;
};

struct st_api_http {
    struct st_api *api;
    const char *home;
    struct MHD_Daemon *daemon;
    struct st_tokens *tokens;
    struct st_api_events *events;
    struct st_api_uploads *uploads; // borrowed: outlives reloads
    pthread_mutex_t lock;
    struct st_http_bucket buckets[ST_HTTP_SETS][ST_HTTP_WAYS];
    char *cert, *key; // owns, PEM
    int listen_fd;    // owns; MHD has a duplicate
    bool tls, owns_uploads, draining, stopping;
    pthread_t drain; // of the one before a reload
};

struct st_api_request {
    struct st_api_http *h;
    struct MHD_Connection *conn;
    const char *method, *url;
    struct st_caller caller;
    struct st_mem mem;
    struct st_arena arena;
    struct st_buf body, answer;
    uint64_t length, received; // of the body; has_length
    bool has_length;
    unsigned refused; // with this status and error, whatever the body is; 0: not
    struct st_err refusal;
    struct st_upload *upload; // the body goes there; NULL: to `body`
    char location[256];
    char etag[80]; // of an answer that may be kept and asked for again; empty: not to be stored
};

// MHD's callbacks.
enum MHD_Result st_api_http_request(void *ctx, struct MHD_Connection *conn, const char *url, const char *method,
                                    const char *version, const char *data, size_t *n, void **state);
void st_api_http_request_done(void *ctx, struct MHD_Connection *conn, void **state,
                              enum MHD_RequestTerminationCode why);

#define ST_HTTP_JSON "application/json"
unsigned st_api_status(enum st_err_code code);
enum MHD_Result st_api_reply(struct st_api_request *r, unsigned status, const char *type); // r->answer
enum MHD_Result st_api_reply_error(struct st_api_request *r, unsigned status, const struct st_err *e);
// With the status that goes with the code.
enum MHD_Result st_api_reply_failed(struct st_api_request *r, const struct st_err *e);
enum MHD_Result st_api_reply_response(struct st_api_request *r, unsigned status, struct MHD_Response *m,
                                      const char *type); // takes m
// One operation's rows as JSON into r->answer.
int st_api_answer(struct st_api_request *r, const struct st_op *op, const void *request, struct st_err *err);

// ---- routes that are more than an operation; GET and HEAD ----------------------------------------------------------

struct st_http_route {
    const char *path; // "/api/v1/scans/{id}/events"
    enum st_role role;
    const char *type, *summary;     // Content-Type and line of the OpenAPI document
    const char *query, *query_what; // its one query parameter, or NULL
    enum MHD_Result (*run)(struct st_api_request *r, struct st_sv id);
};
extern const struct st_http_route st_http_routes[]; // path NULL ends; api_routes.c

enum MHD_Result st_api_sbom_serve(struct st_api_request *r, struct st_sv id);
enum MHD_Result st_api_recipe_serve(struct st_api_request *r, struct st_sv id);

// ---- uploads: POST /api/v1/scans with an archive as body
// -------------------------------------------------------------

int st_api_uploads_new(struct st_api *a, const char *home, struct st_api_uploads **ret, struct st_err *err);
// No connection of h is suspended any more, or will be.
void st_api_uploads_leave(struct st_api_uploads *u, struct st_api_http *h);
void st_api_uploads_stop(struct st_api_uploads *u);
void st_api_uploads_free(struct st_api_uploads *u); // NULL allowed

// Each of these returns 0, or the status to refuse with and err filled.

extern const char *const st_upload_types[]; // of the body; NULL ends
extern const struct st_record st_upload_query;
bool st_upload_wanted(const struct st_api_request *r);                  // by method, path and Content-Type
unsigned st_upload_begin(struct st_api_request *r, struct st_err *err); // sets r->upload
// *inout_n: bytes that are there, then those that were not taken: the connection is suspended. *ret_status: refuse with
// it. False: cut the connection.
bool st_upload_write(struct st_upload *u, const char *data, size_t *inout_n, unsigned *ret_status, struct st_err *err);
// Called until it has queued an answer: the connection is suspended while the file is brought to the disk.
enum MHD_Result st_upload_end(struct st_api_request *r);
void st_upload_free(struct st_upload *u); // what did not become a job is removed; NULL allowed

// ---- events: GET /api/v1/scans/{id}/events -----------------------------------------------------------------------

#define ST_EVENTS_MAX 64        // streams
#define ST_EVENTS_BEAT_MS 15000 // a comment, so that those between do not hang up
int st_api_events_new(struct st_api *a, struct st_api_events **ret, struct st_err *err);
// Ends the streams; their connections must be there still. Then, when MHD has stopped, free.
void st_api_events_stop(struct st_api_events *e);
void st_api_events_free(struct st_api_events *e); // NULL allowed
enum MHD_Result st_api_events_serve(struct st_api_request *r, struct st_sv id);

#endif
