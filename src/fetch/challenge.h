// WWW-Authenticate (RFC 9110, 11.6.1; RFC 6750, 3): which way of proving who one is a registry asks for. Pure; fuzzed.
#ifndef ST_FETCH_CHALLENGE_H
#define ST_FETCH_CHALLENGE_H

#include "base/mem.h"

struct st_challenge {
    bool bearer, basic;                 // schemes that were offered; others are passed over
    struct st_sv realm, service, scope; // of the first Bearer; in the arena or the header's text
    struct st_sv error;                 // "insufficient_scope", "invalid_token", ...
};

// All challenges of one header value, which may list several. What does not parse ends the reading; what stood before
// it counts. Only memory can fail.
int st_challenge_parse(struct st_sv value, struct st_arena *a, struct st_challenge *inout, struct st_err *err);

#endif
