// stella-api: store handles shared by threads, the socket, HTTP. Only src/service/api_*.c use it.
#ifndef ST_SERVICE_API_H
#define ST_SERVICE_API_H

#include "service/live.h"

struct st_api;

struct st_api_options {
    const char *home;     // state directory, exists
    const char *store;    // postgresql://..., or NULL: SQLite in home
    const char *socket;   // path; a socket that nobody answers on is replaced
    const char *listen;   // ADDRESS:PORT of HTTP, NULL: none
    const char *tokens;   // file, needed with listen
    const char *tls_cert; // PEM files, both or none
    const char *tls_key;
    const char *host; // as in st_live_new
};

#define ST_API_CONNECTIONS 256 // sockets; HTTP has its own limit
#define ST_API_ARENA (8ull << 20)
#define ST_API_READERS 4
#define ST_API_WRITERS_PG 8 // SQLite has one writer

int st_api_new(const struct st_api_options *o, struct st_api **ret, struct st_err *err);
void st_api_free(struct st_api *a); // after the socket and HTTP have ended; NULL allowed
struct st_live *st_api_live(struct st_api *a);

// Run one operation for one caller: takes a handle, gives it back. An operation that waits is run again when the store
// changed, while it emitted nothing and request->wait_ms is not over. ST_E_AUTH when the role does not suffice.
// gone (NULL allowed): asked while waiting, with ctx: is the caller gone?
int st_api_call(struct st_api *a, const struct st_op *op, const void *request, const struct st_caller *caller,
                struct st_arena *arena, st_op_emit_fn *emit, bool (*gone)(void *ctx), void *ctx, struct st_err *err);
// For /metrics and /readyz: a handle that reads.
typedef int st_api_store_fn(struct st_store *s, void *ctx, struct st_err *err);
int st_api_read(struct st_api *a, st_api_store_fn *fn, void *ctx, struct st_err *err);
int st_api_write(struct st_api *a, st_api_store_fn *fn, void *ctx, struct st_err *err); // one that may write
void st_api_stop(struct st_api *a);                                                     // those who wait return
bool st_api_stopping(struct st_api *a);

// The socket: a thread a connection. Peers of the service's own user and root may do everything, others that the mode
// of the socket lets in may submit.
struct st_api_socket;
int st_api_socket_start(struct st_api *a, const char *path, struct st_api_socket **ret, struct st_err *err);
void st_api_socket_stop(struct st_api_socket *s); // ends connections, waits for their threads; NULL allowed

// What is kept how long (keys retention.*): a thread that forgets old ended jobs and removes results, a few at a time.
struct st_api_retention;
int st_api_retention_start(struct st_api *a, const char *home, struct st_api_retention **ret, struct st_err *err);
void st_api_retention_stop(struct st_api_retention *r); // NULL allowed

// HTTP. Tokens: a file of lines "ROLE NAME TOKEN", mode 0600 or stricter.
struct st_api_http;
int st_api_http_start(struct st_api *a, const struct st_api_options *o, struct st_api_http **ret, struct st_err *err);
// Reads certificate, key and tokens again; on failure everything goes on as it was. Connections of before end as they
// would, within 30 s.
int st_api_http_reload(struct st_api_http **inout, const struct st_api_options *o, struct st_err *err);
void st_api_http_stop(struct st_api_http *h); // NULL allowed
uint16_t st_api_http_port(const struct st_api_http *h);

void st_openapi_write(struct st_out *o);

// ---- tokens -------------------------------------------------------------------------------------

#define ST_TOKENS_MAX 256
#define ST_TOKEN_MIN 20 // characters
struct st_tokens;
int st_tokens_read(const char *path, struct st_tokens **ret, struct st_err *err);
void st_tokens_free(struct st_tokens *t); // NULL allowed
// The caller that a token stands for; role none when it is unknown. Compares in constant time. `name` is borrowed.
struct st_caller st_tokens_find(const struct st_tokens *t, struct st_sv token);

#endif
