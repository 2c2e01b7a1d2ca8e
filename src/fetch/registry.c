#include "fetch/registry.h"
#include "base/ckd.h"
#include "fetch/answers.h"
#include "fetch/registry_int.h"
#include "image/blobs.h"
#include "stream/stream.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

static const char accept_manifests[] =
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

static void job_start(struct st_job *j);

// ---- answers --------------------------------------------------------------------------------------------------------

static void remember_child(void *ctx, struct st_sv digest)
{
    struct st_registry *r = ctx;
    struct st_err err;
    if (r->manifests.count < ST_IMAGE_CANDIDATES_MAX)
        st_map_put(&r->manifests, st_hash(digest), NULL, &err);
}

static void learn_children(struct st_registry *r, struct st_sv text)
{
    struct st_arena a;
    st_arena_init(&a, r->mem);
    st_index_children(text, &a, remember_child, r);
    st_arena_release(&a);
}

static bool is_json_type(struct st_sv s)
{
    return st_sv_starts(s, ST_SV("application/")) && st_sv_search(s, ST_SV("json")) != ST_SV_NPOS;
}

// The manifest that the reference names: its digest is computed here, once, and everything else hangs on it.
static int take_top(struct st_job *j, struct st_http_response *r, struct st_err *err)
{
    struct st_registry *reg = j->reg;
    struct st_sha256 *d = st_sha256_new(reg->mem, err);
    if (!d)
        return -1;
    st_sha256_add(d, r->body.ptr, r->body.len);
    memcpy(reg->top_digest, "sha256:", 7);
    st_sha256_hex(d, reg->top_digest + 7);
    st_sha256_free(d);
    if (reg->digest.len && !st_sv_eq(reg->digest, st_sv_of(reg->top_digest)))
        return st_err_set(err, ST_E_CORRUPT,
                          "digest of the manifest does not match: expected " ST_SV_FMT ", the bytes give %s",
                          ST_SV_ARG(reg->digest), reg->top_digest);
    struct st_sv type, head;
    type = st_media_type(st_buf_sv(&r->body), &reg->arena);
    if (!type.len) { // schema 1 and old OCI manifests do not say it themselves
        type = st_http_header(r, ST_SV("content-type"), 0);
        if (st_sv_cut(type, ';', &head, &type))
            type = head;
        type = is_json_type(st_sv_trim(type)) ? st_sv_trim(type) : ST_SV_NULL;
        if (st_sv_eq(type, ST_SV("application/json")))
            type = ST_SV_NULL;
    }
    if (st_arena_dup(&reg->arena, type, &reg->top_type, err))
        return -1;
    st_buf_release(&reg->top);
    reg->top = r->body; // moves
    st_buf_init(&r->body, reg->mem);
    reg->has_top = true;
    reg->active = j->endpoint;
    learn_children(reg, st_buf_sv(&reg->top));
    st_foreign_learn(reg, st_buf_sv(&reg->top));
    return 0;
}

// The layout's index of the one image.
static int give_index(struct st_registry *r, uint64_t ticket, struct st_err *err)
{
    struct st_buf b;
    st_buf_init(&b, r->mem);
    int rc = st_blobs_index_of(st_sv_of(r->top_digest), r->top.len, r->top_type, &b, err);
    if (rc == 0)
        rc = st_fetch_give(r, ticket, true, st_buf_sv(&b), err);
    st_buf_release(&b);
    return rc;
}

static void blob_done(struct st_job *j, struct st_http_response *r)
{
    struct st_err err;
    if (j->from != j->size) {
        st_err_set(&err, ST_E_CORRUPT, "blob %s has %llu bytes, not the %llu of its descriptor", j->digest,
                   (unsigned long long)j->from, (unsigned long long)j->size);
        st_job_fail(j, &err);
        return;
    }
    (void)r;
    if (j->rest.len == 0)
        st_job_free(j); // the pipe closes: that is the end
}

static void job_good(struct st_job *j, struct st_http_response *r)
{
    struct st_registry *reg = j->reg;
    struct st_err err = {0};
    int rc;
    if (j->kind == ST_JOB_BLOB) {
        blob_done(j, r);
        return;
    }
    if (j->kind == ST_JOB_TOP) {
        rc = take_top(j, r, &err) || give_index(reg, j->ticket, &err) ? -1 : 0;
    } else {
        if (j->manifest) {
            learn_children(reg, st_buf_sv(&r->body));
            st_foreign_learn(reg, st_buf_sv(&r->body));
        }
        rc = st_fetch_give(reg, j->ticket, true, st_buf_sv(&r->body), &err);
    }
    if (rc)
        st_job_fail(j, &err);
    else
        st_job_free(j);
}

// Another endpoint may have it: a mirror's trouble is never the last word. A blob goes on there at the byte where it
// stopped. `sick`: not for want of this one thing; what is asked for from now on is not asked for there.
static bool next_endpoint(struct st_job *j, bool sick)
{
    struct st_registry *r = j->reg;
    if (!(r->endpoints[j->endpoint].flags & ST_FETCH_E_MIRROR) || j->endpoint + 1 >= r->n_endpoints)
        return false;
    j->endpoint++;
    if (sick)
        r->active = ST_MAX(r->active, j->endpoint);
    j->refused = false;
    job_start(j);
    return true;
}

static void job_unauthorized(struct st_job *j, struct st_http_response *r)
{
    struct st_endpoint *e = &j->reg->endpoints[j->endpoint];
    struct st_err err = {0};
    if (j->round != e->round && !e->token_exchange) { // another job has got a newer one meanwhile
        job_start(j);
        return;
    }
    // Twice in a row, with what was just given to us, and not a byte in between: it will not change.
    bool again = j->refused && r->delivered == 0;
    j->refused = true;
    int rc = again ? -1 : st_auth_answer(j->reg, e, r, &err);
    if (again)
        st_auth_refused(e, &err);
    if (rc > 0)
        job_start(j);
    else if (rc == 0)
        j->waits_for_token = true;
    else if (!next_endpoint(j, false))
        st_job_fail(j, &err);
}

void st_registry_authorized(struct st_registry *r, struct st_endpoint *e, const struct st_err *err)
{
    for (struct st_job *j = r->jobs, *next; j; j = next) {
        next = j->next;
        if (!j->waits_for_token || &r->endpoints[j->endpoint] != e)
            continue;
        j->waits_for_token = false;
        if (!err)
            job_start(j);
        else if (!next_endpoint(j, false))
            st_job_fail(j, err);
    }
}

// A registry on this machine, and one that --insecure names, may speak plain HTTP; Docker tries TLS first, too.
static bool try_plain(struct st_job *j, const struct st_http_response *r)
{
    struct st_endpoint *e = &j->reg->endpoints[j->endpoint];
    if (e->plain || !(e->loopback || (e->flags & ST_FETCH_E_INSECURE)) ||
        (r->trouble != ST_HTTP_NO_TLS && r->trouble != ST_HTTP_NO_CONNECT && r->trouble != ST_HTTP_BROKEN) ||
        r->delivered)
        return false;
    e->plain = true;
    job_start(j);
    return true;
}

// The answer of a foreign layer's server. It goes on at the next URL where it stopped, too.
static void foreign_done(struct st_job *j, struct st_http_response *r, const struct st_err *failure)
{
    struct st_err err = {0};
    char host[200];
    if (!failure && (r->status == 200 || r->status == 206)) {
        job_good(j, r);
        return;
    }
    snprintf(host, sizeof host, ST_SV_FMT, ST_SV_ARG(j->foreign->host));
    if (failure)
        err = *failure;
    else if (st_http_check(r, host, &err) == 0)
        st_err_set(&err, ST_E_CORRUPT, "%s: unexpected answer %d", host, r->status);
    if (err.code == ST_E_CANCELLED) {
        st_job_free(j);
        return;
    }
    if (st_foreign_next(j)) {
        job_start(j);
        return;
    }
    if (err.code == ST_E_NOTFOUND || err.code == ST_E_AUTH) // of this layer; the image is there
        err.code = ST_E_CORRUPT;
    st_err_wrap(&err, "foreign layer %.24s..., which is not in the registry", j->digest);
    st_job_fail(j, &err);
}

static void job_done(void *ctx, struct st_http_response *r, const struct st_err *failure)
{
    struct st_job *j = ctx;
    struct st_err err = {0};
    j->x = NULL;
    j->from += r->delivered;
    if (j->foreign) {
        foreign_done(j, r, failure);
        return;
    }
    if (failure && try_plain(j, r))
        return;
    if (failure) {
        err = *failure;
        if (err.code == ST_E_CANCELLED) { // its reader has gone: nobody is waiting for a word
            st_job_free(j);
            return;
        }
        if (err.code == ST_E_LIMIT && j->kind == ST_JOB_BLOB)
            st_err_set(&err, ST_E_CORRUPT, "blob %s has more than the %llu bytes of its descriptor", j->digest,
                       (unsigned long long)j->size);
        st_job_explain_trouble(j, r->trouble, &err);
    } else if (r->status == 401) {
        job_unauthorized(j, r);
        return;
    } else if (r->status == 404 && j->kind == ST_JOB_DOCUMENT) {
        if (next_endpoint(j, false))
            return;
        if (st_fetch_give(j->reg, j->ticket, false, ST_SV_NULL, &err) == 0) {
            st_job_free(j);
            return;
        }
    } else if (r->status == 200 || r->status == 206) {
        j->refused = false;
        job_good(j, r);
        return;
    } else {
        st_job_explain_status(j, r, &err);
    }
    if (next_endpoint(j, err.code == ST_E_RETRY))
        return;
    if (r->status == 404 && st_foreign_next(j))
        job_start(j);
    else
        st_job_fail(j, &err);
}

// ---- asking ---------------------------------------------------------------------------------------------------------

static void job_start(struct st_job *j)
{
    struct st_registry *r = j->reg;
    struct st_endpoint *e = &r->endpoints[j->endpoint];
    struct st_err err = {0};
    char url[ST_HTTP_URL_MAX];
    struct st_http_header accept = {"Accept", st_sv_of(j->manifest ? accept_manifests : "*/*"), false};
    struct st_sv what = j->digest[0] ? st_sv_of(j->digest) : r->tag;
    if (j->foreign) {
        struct st_http_request q = {.url = j->foreign->url,
                                    .headers = &accept,
                                    .n_headers = 1,
                                    .tls = &r->foreign_tls,
                                    .from = j->from,
                                    .size = j->size,
                                    .resume = true,
                                    .max = j->size - j->from,
                                    .sink = st_job_sink,
                                    .done = job_done,
                                    .ctx = j};
        if (st_http_begin(r->http, &q, &j->x, &err))
            st_job_fail(j, &err);
        return;
    }
    if (e->token_exchange) {
        j->waits_for_token = true;
        return;
    }
    if (e->auth == ST_AUTH_BEARER && !st_secret_is_set(&e->authorization)) { // it was given to be sent
        struct st_sv parts[] = {ST_SV("Bearer "), st_secret_reveal(&e->secret)};
        if (st_secret_join(&e->authorization, parts, ST_LEN(parts), &err)) {
            st_job_fail(j, &err);
            return;
        }
    }
    int n = snprintf(url, sizeof url, "%s://" ST_SV_FMT "/v2/" ST_SV_FMT "/%s/" ST_SV_FMT, e->plain ? "http" : "https",
                     ST_SV_ARG(st_sv_eq(e->host, ST_SV("docker.io")) ? ST_SV("registry-1.docker.io") : e->host),
                     ST_SV_ARG(e->repository), j->manifest ? "manifests" : "blobs", ST_SV_ARG(what));
    struct st_http_request q = {.url = st_sv_mem(url, (size_t)n),
                                .headers = &accept,
                                .n_headers = 1,
                                .authorization = &e->authorization,
                                .tls = &e->tls,
                                .plain = e->plain && (e->flags & ST_FETCH_E_INSECURE),
                                .from = j->from,
                                .size = j->kind == ST_JOB_BLOB && !j->part ? j->size : 0,
                                .to = j->part ? j->size : 0,
                                .ranged = j->part,
                                .resume = j->kind == ST_JOB_BLOB,
                                .max = j->kind == ST_JOB_BLOB ? j->size - j->from : ST_IMAGE_DOC_MAX,
                                .sink = j->kind == ST_JOB_BLOB ? st_job_sink : NULL,
                                .done = job_done,
                                .ctx = j};
    j->round = e->round;
    if (st_http_begin(r->http, &q, &j->x, &err))
        st_job_fail(j, &err);
}

static bool digest_of_name(struct st_sv name, char ret[static 72])
{
    struct st_sv dir = ST_SV("blobs/sha256/");
    if (!st_sv_starts(name, dir) || name.len != dir.len + ST_DIGEST_HEX)
        return false;
    snprintf(ret, 72, "sha256:%.*s", ST_DIGEST_HEX, name.ptr + dir.len);
    return st_digest_check(st_sv_of(ret), NULL) == 0;
}

static int take_document(struct st_registry *r, uint64_t ticket, struct st_sv name, struct st_err *err)
{
    char digest[72];
    if (st_sv_eq(name, ST_SV("oci-layout")))
        return st_fetch_give(r, ticket, true, st_sv_of(st_blobs_layout), err);
    if (st_sv_eq(name, ST_SV("manifest.json")))
        return st_fetch_give(r, ticket, false, ST_SV_NULL, err);
    bool top = st_sv_eq(name, ST_SV("index.json"));
    if (top && r->has_top)
        return give_index(r, ticket, err);
    if (!top && !digest_of_name(name, digest))
        return st_err_set(err, ST_E_CORRUPT, "not a name in an image: '%.*s'", (int)ST_MIN(name.len, (size_t)100),
                          name.ptr);
    if (!top && r->has_top && strcmp(digest, r->top_digest) == 0)
        return st_fetch_give(r, ticket, true, st_buf_sv(&r->top), err);
    struct st_job *j = st_job_new(r, top ? ST_JOB_TOP : ST_JOB_DOCUMENT, ticket, err);
    if (!j)
        return -1;
    if (top && r->digest.len)
        snprintf(j->digest, sizeof j->digest, ST_SV_FMT, ST_SV_ARG(r->digest));
    if (!top)
        memcpy(j->digest, digest, sizeof digest);
    j->manifest = top || st_map_get(&r->manifests, st_hash(st_sv_of(digest)));
    job_start(j);
    return 0;
}

static int take_blob(struct st_registry *r, uint64_t ticket, struct st_sv name, struct st_proto_msg *m,
                     struct st_err *err)
{
    char digest[72];
    uint64_t size = st_wire_max(&m->in, INT64_MAX), from = st_wire_max(&m->in, size);
    bool part = st_wire_max(&m->in, 1);
    if (!st_wire_ok(&m->in) || m->n_fds != 1 || !digest_of_name(name, digest))
        return st_err_set(err, ST_E_INTERNAL, "a blob that makes no sense");
    if (r->n_blobs >= ST_REGISTRY_BLOBS_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d blobs at once", ST_REGISTRY_BLOBS_MAX);
    struct st_job *j = st_job_new(r, ST_JOB_BLOB, ticket, err);
    if (!j)
        return -1;
    memcpy(j->digest, digest, sizeof digest);
    j->out = st_take_fd(&m->fds[0]);
    j->from = from;
    j->size = size;
    j->part = part;
    fcntl(j->out, F_SETFL, O_WRONLY | O_NONBLOCK);
    if (from == size) // nothing to read: the pipe closes at once
        st_job_free(j);
    else
        job_start(j);
    return 0;
}

// ---- the parent's messages

int st_registry_take(struct st_registry *r, struct st_proto_msg *m, struct st_err *err)
{
    uint64_t ticket = st_wire_u64(&m->in);
    struct st_sv name = st_wire_sv(&m->in);
    struct st_err why = {0};
    int rc;
    if ((int)m->tag != ST_FETCH_EXPORT && r->n_endpoints == 0)
        rc = st_err_set(&why, ST_E_INTERNAL, "no endpoint");
    else if ((int)m->tag == ST_FETCH_DOCUMENT && st_wire_ok(&m->in))
        rc = take_document(r, ticket, name, &why);
    else if ((int)m->tag == ST_FETCH_BLOB)
        rc = take_blob(r, ticket, name, m, &why);
    else if ((int)m->tag == ST_FETCH_EXPORT)
        rc = st_daemon_export(r, ticket, name, m, &why);
    else
        return st_err_set(err, ST_E_INTERNAL, "unexpected message %d", (int)m->tag);
    if (rc)
        st_fetch_tell_failure(r, ticket, &why);
    return 0;
}

// ---- the loop -------------------------------------------------------------------------------------------------------

static void serve_pipe(struct st_job *j, short revents)
{
    if (revents & POLLERR) { // its reader has gone
        st_job_free(j);
        return;
    }
    if (!(revents & POLLOUT) || st_job_flush(j) <= 0)
        return;
    if (j->x)
        st_http_resume(j->x);
    else if (!j->waits_for_token && j->from == j->size)
        st_job_free(j);
}

int st_registry_step(struct st_registry *r, struct st_err *err)
{
    struct pollfd fds[1 + ST_REGISTRY_BLOBS_MAX] = {{.fd = r->sock, .events = POLLIN}};
    uint64_t of[1 + ST_REGISTRY_BLOBS_MAX];
    unsigned n = 1;
    for (struct st_job *j = r->jobs; j; j = j->next)
        if (st_job_has_pipe(j)) {
            fds[n] = (struct pollfd){.fd = j->out, .events = j->rest.len ? POLLOUT : 0};
            of[n++] = j->ticket;
        }
    if (st_http_step(r->http, fds, n, 1000, err) < 0)
        return -1;
    for (unsigned i = 1; i < n; i++)
        for (struct st_job *j = fds[i].revents ? r->jobs : NULL; j; j = j->next)
            if (j->ticket == of[i]) {
                serve_pipe(j, fds[i].revents);
                break;
            }
    return fds[0].revents ? 1 : 0;
}
