// Calling operations: through a service where one answers, else on the local store.
#ifndef ST_SERVICE_CLIENT_H
#define ST_SERVICE_CLIENT_H

#include "service/op.h"

struct st_client;

#define ST_CLIENT_DEADLINE_MS 10000
#define ST_CLIENT_REMOTE_MS 60000   // over HTTP, where a busy service is asked again
#define ST_CLIENT_UPLOAD_MS 4000000 // with a file; stella-remote itself gives up earlier

// $STELLA_SERVER (a path, unix:PATH, or https://HOST: then through stella-remote), else the state directory's
// stella.sock, else, without $STELLA_HOME, /run/stella/stella.sock. When nothing answers: the SQLite store of the state
// directory (made for an operation that writes; empty for one that reads), unless $STELLA_SERVER is set or
// $STELLA_STORE names PostgreSQL: then ST_E_RETRY says what to start.
int st_client_open(bool writes, struct st_client **ret, struct st_err *err);
// 1: a service answers there, and it is on this machine (descriptors can be passed); 0: none does, and none was named;
// -1: one was named ($STELLA_SERVER) and does not answer, or cannot take descriptors.
int st_client_find(struct st_client **ret, struct st_err *err);
// Only a service, at this path.
int st_client_connect(const char *path, struct st_client **ret, struct st_err *err);
void st_client_close(struct st_client *c); // NULL allowed
static inline void st_client_cleanup(struct st_client **c)
{
    st_client_close(*c);
}
#define ST_AUTO_CLIENT __attribute__((cleanup(st_client_cleanup)))
bool st_client_remote(const struct st_client *c); // a service answers

// Call and wait. emit: each row, a struct of op->answer, borrowed until it returns; NULL: rows are passed over.
// A service that does not answer in time: ST_E_RETRY; the connection is then closed for good.
int st_client_call(struct st_client *c, const char *op, const void *request, st_op_emit_fn *emit, void *ctx,
                   struct st_err *err);

// A descriptor goes along with the next call; it stays the caller's, who keeps it open until then.
void st_client_attach(struct st_client *c, int fd);
// The descriptor that came along with the row that is being emitted: from here on the caller's; -1: none did.
int st_client_file(struct st_client *c);

// For an event loop (the supervisor): send now, and take rows when the descriptor is readable. One call at a time.
int st_client_fd(const struct st_client *c);
int st_client_send(struct st_client *c, const char *op, const void *request, struct st_err *err);
// 1: the answer is complete; 0: more is to come (EAGAIN); -1: failed, or the service is gone.
int st_client_take(struct st_client *c, st_op_emit_fn *emit, void *ctx, struct st_err *err);

#endif
