// Private to stella-fetch:
//   registry_source.c  the source as the parent describes it: endpoints, logins, certificates
//   registry.c         documents and blobs of a registry, the loop
//   registry_words.c   errors that say what helps
//   auth.c             who we are at an endpoint
//   foreign.c          layers that a manifest places elsewhere
//   daemon.c           an image of a local daemon as an archive
//   fetch_job.c        what was asked for and has not come yet: jobs, their pipes, answers to the parent
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
    bool part;           // BLOB: `size` is where the range ends, and a server that sends more is of no use
    int out;             // BLOB: the pipe, owned
    struct st_buf rest;  // what the pipe had no room for
    struct st_http_exchange *x;
    unsigned round;                   // of the authorization that was sent
    bool waits_for_token, refused;    // refused: 401 with the newest authorization before
    struct st_sv daemon, name;        // EXPORT: "docker", and the image as the user said it
    bool manifest;                    // asked for under /manifests/
    const struct st_foreign *foreign; // BLOB: the URL that it comes from instead of the registry
};

// Where a manifest says that a layer is, beside the registry.
struct st_foreign {
    struct st_foreign *next;
    char digest[72];
    struct st_sv url, host;
};

struct st_registry {
    struct st_mem *mem;
    struct st_arena arena;
    struct st_http *http;
    int sock;
    unsigned flags;
    const char *user_agent, *https_proxy, *http_proxy, *no_proxy; // NUL-terminated copies, in the arena
    struct st_sv private_hosts;                                   // with ST_FETCH_F_PUBLIC_ONLY
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
    struct st_map manifests;                   // hash of a digest: it stands in an index, so it is a manifest
    struct st_foreign *foreign, *foreign_last; // in the order of the manifests; with ST_FETCH_F_FOREIGN
    size_t n_foreign;
    struct st_http_tls foreign_tls; // the system's certificates, and the user's; no client certificate
    struct st_buf msg;
};

// ---- fetch_job.c

struct st_job *st_job_new(struct st_registry *r, enum st_job_kind kind, uint64_t ticket, struct st_err *err);
void st_job_free(struct st_job *j);                           // cancels its request, closes its pipe
void st_job_fail(struct st_job *j, const struct st_err *err); // tells the parent, and frees it
bool st_job_has_pipe(const struct st_job *j);
// What the pipe had no room for, without waiting. 1: all is gone; 0: some is left; -1: nobody reads any more.
int st_job_flush(struct st_job *j);
int st_job_sink(void *job, struct st_sv bytes, struct st_err *err); // of st_http_request: into the pipe
void st_fetch_tell_failure(struct st_registry *r, uint64_t ticket, const struct st_err *e);
// A document as a sealed memfd; `found` false: there is none.
int st_fetch_give(struct st_registry *r, uint64_t ticket, bool found, struct st_sv text, struct st_err *err);

// ---- registry_source.c

// A text of a message as a C string in the registry's arena; an empty one: NULL.
int st_fetch_get_cstr(struct st_registry *r, struct st_wire_in *in, const char **ret, struct st_err *err);

// ---- foreign.c

// The URLs of a manifest are remembered, if foreign layers are asked for.
void st_foreign_learn(struct st_registry *r, struct st_sv manifest);
// The next URL for the blob, the first when it came from the registry till now. False: there is no other.
bool st_foreign_next(struct st_job *j);

// ---- registry_words.c

void st_job_explain_trouble(const struct st_job *j, enum st_http_trouble t, struct st_err *err);
void st_job_explain_status(const struct st_job *j, const struct st_http_response *r, struct st_err *err);

// ---- daemon.c

// The message EXPORT: its pipe is filled from GET `path` at the daemon's socket.
int st_daemon_export(struct st_registry *r, uint64_t ticket, struct st_sv path, struct st_proto_msg *m,
                     struct st_err *err);

// ---- auth.c

// What a 401 asks for. 1: the authorization changed, ask again; 0: a token is on its way, st_registry_authorized
// follows; -1: nothing that we have would do (ST_E_AUTH).
int st_auth_answer(struct st_registry *reg, struct st_endpoint *e, const struct st_http_response *r,
                   struct st_err *err);
// The login (or none) was taken, and is not enough: -1, ST_E_AUTH.
int st_auth_refused(const struct st_endpoint *e, struct st_err *err);
// auth.c tells that a token has come (err NULL), or not.
void st_registry_authorized(struct st_registry *r, struct st_endpoint *e, const struct st_err *err);

#endif
