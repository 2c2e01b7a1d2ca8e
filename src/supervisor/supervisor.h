// stella serve: one single-threaded loop over pidfds, sockets and timers that makes workers and says how they ended.
// docs/adr/0012. It opens no image, no database and no network socket, and holds nothing durable: what it must not
// lose is in the store before it acts.
#ifndef ST_SUPERVISOR_SUPERVISOR_H
#define ST_SUPERVISOR_SUPERVISOR_H

#include "base/err.h"

struct st_serve_options {
    const char *home;                                 // state directory, exists
    const char *socket;                               // of stella-api
    const char *listen, *tokens, *tls_cert, *tls_key; // for stella-api; NULL: none
    const char *store;                                // postgresql://..., or NULL
    const char *pools;                                // "default,large": only these; NULL: all
    const char *self;                                 // executable: workers are `SELF worker`, an upgrade runs it anew
    char *const *argv;                                // how it was called, for an upgrade
    const char *worker;                               // program in place of `SELF worker`, for tests; NULL
};

// Until SIGTERM or SIGINT. 0: ended in good order.
int st_serve(const struct st_serve_options *o, struct st_err *err);

#endif
