// Shared by registry.c (jobs) and auth.c (who we are at an endpoint).
#ifndef ST_FETCH_REGISTRY_INT_H
#define ST_FETCH_REGISTRY_INT_H

#include "base/map.h"
#include "fetch/challenge.h"
#include "fetch/registry.h"

struct st_endpoint {
    struct st_sv host, repository; // host[:port]
    unsigned flags;                // ST_FETCH_E_*
    enum st_auth_kind auth;
    struct st_sv user, origin; // origin: where the login is from, for messages
    struct st_secret secret;
    struct st_http_tls tls;
    bool loopback, plain; // plain: it turned out to speak no TLS
    // What goes into the next request. `round` counts the values it had: a request that was refused with an older one
    // is simply sent again.
    struct st_secret authorization;
    unsigned round;
    struct st_http_exchange *token_exchange; // not NULL: a token is on its way
    bool token_with_login;
};

enum st_job_kind { ST_JOB_TOP, ST_JOB_DOCUMENT, ST_JOB_BLOB, ST_JOB_EXPORT };

struct st_job {
    struct st_registry *reg;
    struct st_job *next;
    enum st_job_kind kind;
    uint64_t ticket;
    char digest[72]; // sha256:...; empty for TOP by tag
    size_t endpoint;
    uint64_t from, size; // BLOB
    int out;             // BLOB: the pipe, owned
    struct st_buf rest;  // what the pipe had no room for
    struct st_http_exchange *x;
    unsigned round;                // of the authorization that was sent
    bool waits_for_token, refused; // refused: 401 with the newest authorization before
    struct st_sv daemon, name;     // EXPORT: "docker", and the image as the user said it
    bool manifest;                 // asked for under /manifests/
};

struct st_registry {
    struct st_mem *mem;
    struct st_arena arena;
    struct st_http *http;
    int sock;
    unsigned flags;
    char *user_agent, *https_proxy, *http_proxy, *no_proxy; // NUL-terminated copies, in the arena
    struct st_sv tag, digest;
    struct st_buf ca; // system's and the user's
    struct st_buf cert;
    struct st_secret key;
    struct st_endpoint endpoints[ST_FETCH_ENDPOINTS_MAX];
    size_t n_endpoints, active; // active: that gave the manifest
    struct st_job *jobs;
    size_t n_blobs;
    struct st_buf top; // the manifest or index that the reference names
    char top_digest[72];
    struct st_sv top_type;
    bool has_top;
    struct st_map manifests; // hash of a digest: it stands in an index, so it is a manifest
    struct st_buf msg;
};

// What a 401 asks for. 1: the authorization changed, ask again; 0: a token is on its way, st_registry_authorized
// follows; -1: nothing that we have would do (ST_E_AUTH).
int st_auth_answer(struct st_registry *reg, struct st_endpoint *e, const struct st_http_response *r,
                   struct st_err *err);
// The login (or none) was taken, and is not enough: -1, ST_E_AUTH.
int st_auth_refused(const struct st_endpoint *e, struct st_err *err);
// auth.c tells that a token has come (err NULL), or not.
void st_registry_authorized(struct st_registry *r, struct st_endpoint *e, const struct st_err *err);

#endif
