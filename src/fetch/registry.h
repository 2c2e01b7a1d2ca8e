// The registry client inside stella-fetch: one image, its documents and blobs, from the first of several endpoints that
// has it. OCI distribution-spec 1.1 and Docker's registry API v2, with its token authentication
// (distribution.github.io/distribution/spec/auth/token). Answers to the parent go out on `sock`.
#ifndef ST_FETCH_REGISTRY_H
#define ST_FETCH_REGISTRY_H

#include "fetch/fetch_proto.h"
#include "http/http.h"

#define ST_REGISTRY_BLOBS_MAX 48 // at once

struct st_registry;
// The SOURCE message: its fields and descriptors (closed by the caller). `system_ca` is borrowed.
int st_registry_new(struct st_proto_msg *source, struct st_sv system_ca, int sock, struct st_mem *mem,
                    struct st_registry **ret, struct st_err *err);
void st_registry_free(struct st_registry *r);
// A DOCUMENT, BLOB or EXPORT message. Failures of what it asks for go to the parent; -1 only when the parent makes no
// sense.
int st_registry_take(struct st_registry *r, struct st_proto_msg *m, struct st_err *err);
// Carry on, waiting until something happens there or on the socket. 1: there is a message; 0; -1.
int st_registry_step(struct st_registry *r, struct st_err *err);

#endif
