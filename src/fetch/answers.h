// The JSON that registries and token servers answer with, as far as a client needs it. Pure; fuzzed by answers_fuzz.c.
#ifndef ST_FETCH_ANSWERS_H
#define ST_FETCH_ANSWERS_H

#include "base/json.h"

struct st_token_answer {
    struct st_sv token; // `token` or `access_token`; into the text or the arena
    uint64_t expires_s; // `expires_in`; 60 when it is not said (distribution's token specification)
};
// ST_E_CORRUPT when it is no such answer.
int st_token_parse(struct st_sv text, struct st_arena *a, struct st_token_answer *ret, struct st_err *err);

// The first error of {"errors": [{"code": "...", "message": "..."}]}, or of a token server's {"details": "..."},
// {"error_description": "..."}. Empty views when there is none: never fails.
struct st_error_answer {
    struct st_sv code, message;
};
void st_error_parse(struct st_sv text, struct st_arena *a, struct st_error_answer *ret);

// The digests under "manifests" of an image index are told; other documents have none. What does not parse is left to
// the resolver, which will say so.
void st_index_children(struct st_sv text, struct st_arena *a, void (*child)(void *ctx, struct st_sv digest), void *ctx);
// The URLs that a manifest gives for layers which need not be in the registry (image-spec, descriptor.md: "urls"), in
// their order. Never fails: as above.
void st_layer_urls(struct st_sv text, struct st_arena *a, void (*url)(void *ctx, struct st_sv digest, struct st_sv url),
                   void *ctx);
// "mediaType" at the top of a document; empty when there is none.
struct st_sv st_media_type(struct st_sv text, struct st_arena *a);

#endif
