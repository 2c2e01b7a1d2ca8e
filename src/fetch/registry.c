#include "fetch/registry.h"
#include "base/ckd.h"
#include "fetch/answers.h"
#include "fetch/registry_int.h"
#include "image/image.h"
#include "stream/stream.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

static const char accept_manifests[] =
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

static void job_start(struct st_job *j);
static void job_fail(struct st_job *j, const struct st_err *err);

// ---- to the parent --------------------------------------------------------------------------------------------------

static int tell(struct st_registry *r, struct st_wire_out *o, const int *fds, size_t n)
{
    struct st_err err; // a parent that is gone ends the process soon enough
    return st_proto_send(r->sock, o, fds, n, &err);
}

static void tell_failure(struct st_registry *r, uint64_t ticket, const struct st_err *e)
{
    struct st_wire_out o = st_proto_begin(&r->msg, (enum st_proto_tag)ST_FETCH_FAIL);
    st_wire_put_u64(&o, ticket);
    st_proto_put_err(&o, e);
    tell(r, &o, NULL, 0);
}

// found: whether there is such a document.
static int give(struct st_registry *r, uint64_t ticket, bool found, struct st_sv text, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = -1;
    if (found) {
        fd = memfd_create("stella-document", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 || st_fd_write(fd, text.ptr, text.len))
            return st_err_sys(err, "document");
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    }
    struct st_wire_out o = st_proto_begin(&r->msg, (enum st_proto_tag)ST_FETCH_GIVE);
    st_wire_put_u64(&o, ticket);
    st_wire_put_u64(&o, found);
    st_wire_put_u64(&o, text.len);
    return tell(r, &o, &fd, found);
}

// ---- jobs -----------------------------------------------------------------------------------------------------------

static bool has_pipe(const struct st_job *j)
{
    return j->kind == ST_JOB_BLOB || j->kind == ST_JOB_EXPORT;
}

static void job_free(struct st_job *j)
{
    struct st_registry *r = j->reg;
    for (struct st_job **p = &r->jobs; *p; p = &(*p)->next)
        if (*p == j) {
            *p = j->next;
            break;
        }
    st_http_cancel(j->x);
    if (j->out >= 0)
        close(j->out);
    r->n_blobs -= has_pipe(j);
    st_buf_release(&j->rest);
    st_mem_free(r->mem, j, sizeof *j);
}

static void job_fail(struct st_job *j, const struct st_err *err)
{
    tell_failure(j->reg, j->ticket, err);
    job_free(j);
}

static struct st_job *job_new(struct st_registry *r, enum st_job_kind kind, uint64_t ticket, struct st_err *err)
{
    struct st_job *j = st_mem_alloc(r->mem, sizeof *j, err);
    if (!j)
        return NULL;
    j->reg = r;
    j->kind = kind;
    j->ticket = ticket;
    j->out = -1;
    j->endpoint = r->active;
    st_buf_init(&j->rest, r->mem);
    j->next = r->jobs;
    r->jobs = j;
    r->n_blobs += has_pipe(j);
    return j;
}

// The pipe, without waiting. 1: all is gone; 0: some is left; -1: nobody reads any more.
static int flush_rest(struct st_job *j)
{
    size_t done = 0;
    while (done < j->rest.len) {
        ssize_t n = write(j->out, j->rest.ptr + done, j->rest.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    memmove(j->rest.ptr, j->rest.ptr + done, j->rest.len - done);
    j->rest.len -= done;
    return j->rest.len == 0;
}

static int job_sink(void *ctx, struct st_sv bytes, struct st_err *err)
{
    struct st_job *j = ctx;
    if (j->rest.len)
        return ST_HTTP_FULL;
    ssize_t n = write(j->out, bytes.ptr, bytes.len);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return st_err_set(err, ST_E_CANCELLED, "nobody reads the blob any more");
    bytes = st_sv_from(bytes, n > 0 ? (size_t)n : 0);
    return bytes.len ? st_buf_add(&j->rest, bytes, err) : 0;
}

// ---- errors that say what helps -------------------------------------------------------------------------------------

static void name_of(const struct st_job *j, char *ret, size_t n)
{
    const struct st_endpoint *e = &j->reg->endpoints[j->endpoint];
    bool by_tag = j->kind == ST_JOB_TOP && !j->reg->digest.len;
    if (j->kind == ST_JOB_TOP)
        snprintf(ret, n, ST_SV_FMT "/" ST_SV_FMT "%c" ST_SV_FMT, ST_SV_ARG(e->host), ST_SV_ARG(e->repository),
                 by_tag ? ':' : '@', ST_SV_ARG(by_tag ? j->reg->tag : j->reg->digest));
    else
        snprintf(ret, n, ST_SV_FMT ": %s %s", ST_SV_ARG(e->host), j->kind == ST_JOB_BLOB ? "blob" : "document",
                 j->digest);
}

static void explain_trouble(const struct st_job *j, enum st_http_trouble t, struct st_err *err)
{
    struct st_sv host = j->reg->endpoints[j->endpoint].host;
    char advice[200], text[ST_ERR_TEXT_MAX];
    bool unknown = strstr(err->text, "issuer") || strstr(err->text, "self-signed") || strstr(err->text, "self signed");
    if (t == ST_HTTP_UNTRUSTED)
        snprintf(advice, sizeof advice, "%s--insecure %.*s takes any certificate",
                 unknown ? "--ca-file FILE trusts the authority that signed it; " : "", ST_SV_ARG(host));
    else if (t == ST_HTTP_NO_TLS)
        snprintf(advice, sizeof advice, "if it is meant to speak plain HTTP: --insecure %.*s", ST_SV_ARG(host));
    else if (t == ST_HTTP_NO_HOST)
        snprintf(advice, sizeof advice, "is it spelled right, and is there a network?");
    else
        return;
    snprintf(text, sizeof text, "%s", err->text);
    st_err_set(err, t == ST_HTTP_NO_HOST ? err->code : ST_E_FAILED, "%.250s%s %s", text,
               t == ST_HTTP_NO_HOST ? ":" : ";", advice);
}

static void explain_status(const struct st_job *j, const struct st_http_response *r, struct st_err *err)
{
    char name[400];
    struct st_arena a;
    struct st_error_answer says;
    const struct st_endpoint *e = &j->reg->endpoints[j->endpoint];
    st_arena_init(&a, j->reg->mem);
    st_error_parse(st_buf_sv(&r->body), &a, &says);
    name_of(j, name, sizeof name);
    if (r->status == 404 && j->kind == ST_JOB_TOP)
        st_err_set(err, ST_E_NOTFOUND,
                   st_sv_eq(says.code, ST_SV("NAME_UNKNOWN")) ? "%.300s: the registry has no such repository"
                   : says.code.len                            ? "%.300s: the registry has no such image"
                                                              : "%.300s: no such image, or this is not a registry",
                   name);
    else if (r->status == 404 && j->kind == ST_JOB_BLOB)
        st_err_set(err, ST_E_CORRUPT, "missing blob: " ST_SV_FMT " has the manifest, but not %s", ST_SV_ARG(e->host),
                   j->digest);
    else if (r->status == 403)
        st_err_set(err, ST_E_AUTH, "%.250s: access is denied%s", name,
                   e->auth == ST_AUTH_NONE ? "; it may need a login" : "");
    else if (r->status == 429)
        st_err_set(err, ST_E_RETRY, ST_SV_FMT " answers too many requests (429)%s", ST_SV_ARG(e->host),
                   e->auth == ST_AUTH_NONE ? "; a login often raises the limit" : "");
    else if (st_http_check(r, name, err) == 0)
        st_err_set(err, ST_E_CORRUPT, "%.300s: unexpected answer %d", name, r->status);
    if (says.message.len && err->code != ST_E_NOTFOUND) {
        char text[ST_ERR_TEXT_MAX];
        snprintf(text, sizeof text, "%s", err->text);
        st_err_set(err, err->code, "%.300s: %.*s", text, (int)ST_MIN(says.message.len, (size_t)120), says.message.ptr);
    }
    st_arena_release(&a);
}

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
    return 0;
}

// The layout's index of the one image.
static int give_index(struct st_registry *r, uint64_t ticket, struct st_err *err)
{
    struct st_buf b;
    struct st_out out;
    struct st_json_out w;
    st_buf_init(&b, r->mem);
    st_out_init_buf(&out, &b);
    st_json_out_init(&w, &out, 0);
    st_json_open(&w, '{');
    st_json_key(&w, "schemaVersion");
    st_json_u64(&w, 2);
    st_json_key(&w, "manifests");
    st_json_open(&w, '[');
    st_json_open(&w, '{');
    if (r->top_type.len)
        st_json_kv(&w, "mediaType", r->top_type);
    st_json_kv(&w, "digest", st_sv_of(r->top_digest));
    st_json_key(&w, "size");
    st_json_u64(&w, r->top.len);
    st_json_close(&w, '}');
    st_json_close(&w, ']');
    st_json_close(&w, '}');
    int rc = st_out_finish(&out, err);
    if (rc == 0)
        rc = give(r, ticket, true, st_buf_sv(&b), err);
    st_buf_release(&b);
    return rc;
}

static void blob_done(struct st_job *j, struct st_http_response *r)
{
    struct st_err err;
    if (j->from != j->size) {
        st_err_set(&err, ST_E_CORRUPT, "blob %s has %llu bytes, not the %llu of its descriptor", j->digest,
                   (unsigned long long)j->from, (unsigned long long)j->size);
        job_fail(j, &err);
        return;
    }
    (void)r;
    if (j->rest.len == 0)
        job_free(j); // the pipe closes: that is the end
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
        if (j->manifest)
            learn_children(reg, st_buf_sv(&r->body));
        rc = give(reg, j->ticket, true, st_buf_sv(&r->body), &err);
    }
    if (rc)
        job_fail(j, &err);
    else
        job_free(j);
}

// Another endpoint may have it: a mirror's trouble is never the last word.
static bool next_endpoint(struct st_job *j)
{
    struct st_registry *r = j->reg;
    if (!(r->endpoints[j->endpoint].flags & ST_FETCH_E_MIRROR) || j->endpoint + 1 >= r->n_endpoints)
        return false;
    j->endpoint++;
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
    else if (!next_endpoint(j))
        job_fail(j, &err);
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
        else if (!next_endpoint(j))
            job_fail(j, err);
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

static void job_done(void *ctx, struct st_http_response *r, const struct st_err *failure)
{
    struct st_job *j = ctx;
    struct st_err err = {0};
    j->x = NULL;
    j->from += r->delivered;
    if (failure && try_plain(j, r))
        return;
    if (failure) {
        err = *failure;
        if (err.code == ST_E_CANCELLED) { // its reader has gone: nobody is waiting for a word
            job_free(j);
            return;
        }
        if (err.code == ST_E_LIMIT && j->kind == ST_JOB_BLOB)
            st_err_set(&err, ST_E_CORRUPT, "blob %s has more than the %llu bytes of its descriptor", j->digest,
                       (unsigned long long)j->size);
        explain_trouble(j, r->trouble, &err);
    } else if (r->status == 401) {
        job_unauthorized(j, r);
        return;
    } else if (r->status == 404 && j->kind == ST_JOB_DOCUMENT) {
        if (next_endpoint(j))
            return;
        if (give(j->reg, j->ticket, false, ST_SV_NULL, &err) == 0) {
            job_free(j);
            return;
        }
    } else if (r->status == 200 || r->status == 206) {
        j->refused = false;
        job_good(j, r);
        return;
    } else {
        explain_status(j, r, &err);
    }
    if (!next_endpoint(j))
        job_fail(j, &err);
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
    if (e->token_exchange) {
        j->waits_for_token = true;
        return;
    }
    if (e->auth == ST_AUTH_BEARER && !st_secret_is_set(&e->authorization)) { // it was given to be sent
        struct st_sv parts[] = {ST_SV("Bearer "), st_secret_reveal(&e->secret)};
        if (st_secret_join(&e->authorization, parts, ST_LEN(parts), &err)) {
            job_fail(j, &err);
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
                                .resume = j->kind == ST_JOB_BLOB,
                                .max = j->kind == ST_JOB_BLOB ? j->size - j->from : ST_IMAGE_DOC_MAX,
                                .sink = j->kind == ST_JOB_BLOB ? job_sink : NULL,
                                .done = job_done,
                                .ctx = j};
    j->round = e->round;
    if (st_http_begin(r->http, &q, &j->x, &err))
        job_fail(j, &err);
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
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    char digest[72];
    if (st_sv_eq(name, ST_SV("oci-layout")))
        return give(r, ticket, true, st_sv_of(layout), err);
    if (st_sv_eq(name, ST_SV("manifest.json")))
        return give(r, ticket, false, ST_SV_NULL, err);
    bool top = st_sv_eq(name, ST_SV("index.json"));
    if (top && r->has_top)
        return give_index(r, ticket, err);
    if (!top && !digest_of_name(name, digest))
        return st_err_set(err, ST_E_CORRUPT, "not a name in an image: '%.*s'", (int)ST_MIN(name.len, (size_t)100),
                          name.ptr);
    if (!top && r->has_top && strcmp(digest, r->top_digest) == 0)
        return give(r, ticket, true, st_buf_sv(&r->top), err);
    struct st_job *j = job_new(r, top ? ST_JOB_TOP : ST_JOB_DOCUMENT, ticket, err);
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
    if (!st_wire_ok(&m->in) || m->n_fds != 1 || !digest_of_name(name, digest))
        return st_err_set(err, ST_E_INTERNAL, "a blob that makes no sense");
    if (r->n_blobs >= ST_REGISTRY_BLOBS_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d blobs at once", ST_REGISTRY_BLOBS_MAX);
    struct st_job *j = job_new(r, ST_JOB_BLOB, ticket, err);
    if (!j)
        return -1;
    memcpy(j->digest, digest, sizeof digest);
    j->out = st_take_fd(&m->fds[0]);
    j->from = from;
    j->size = size;
    fcntl(j->out, F_SETFL, O_WRONLY | O_NONBLOCK);
    if (from == size) // nothing to read: the pipe closes at once
        job_free(j);
    else
        job_start(j);
    return 0;
}

// ---- a daemon -------------------------------------------------------------------------------------------------------

static int get_text(struct st_registry *r, struct st_wire_in *in, struct st_sv *ret, struct st_err *err)
{
    return st_arena_dup(&r->arena, st_wire_sv(in), ret, err);
}

// Empty: NULL.
static int get_cstr(struct st_registry *r, struct st_wire_in *in, char **ret, struct st_err *err)
{
    struct st_sv s = st_wire_sv(in);
    char *p = st_arena_bytes(&r->arena, s.len + 1, err);
    if (!p)
        return -1;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    *ret = s.len ? p : NULL;
    return 0;
}

#define ARCHIVE_MAX (1ull << 42)

static void explain_daemon(const struct st_job *j, const struct st_http_response *r, struct st_err *err)
{
    struct st_arena a;
    struct st_error_answer says;
    st_arena_init(&a, j->reg->mem);
    st_error_parse(st_buf_sv(&r->body), &a, &says);
    if (r->status == 404)
        st_err_set(err, ST_E_NOTFOUND, ST_SV_FMT " has no image '" ST_SV_FMT "'", ST_SV_ARG(j->daemon),
                   ST_SV_ARG(st_sv_sub(j->name, 0, 200)));
    else
        st_err_set(err, ST_E_FAILED, ST_SV_FMT " answers %d: %.*s", ST_SV_ARG(j->daemon), r->status,
                   (int)ST_MIN(says.message.len, (size_t)200), says.message.ptr ? says.message.ptr : "");
    st_arena_release(&a);
}

static void export_done(void *ctx, struct st_http_response *r, const struct st_err *failure)
{
    struct st_job *j = ctx;
    struct st_err err = {0};
    j->x = NULL;
    if (failure && failure->code == ST_E_CANCELLED) {
        job_free(j);
        return;
    }
    if (!failure && r->status == 200) {
        j->size = j->from; // all is there: what is left in `rest` is the end
        if (j->rest.len == 0)
            job_free(j);
        return;
    }
    if (failure) {
        err = *failure;
        st_err_wrap(&err, ST_SV_FMT, ST_SV_ARG(j->daemon));
    } else {
        explain_daemon(j, r, &err);
    }
    job_fail(j, &err);
}

static int take_export(struct st_registry *r, uint64_t ticket, struct st_sv path, struct st_proto_msg *m,
                       struct st_err *err)
{
    char url[ST_HTTP_URL_MAX];
    struct st_sv daemon = st_wire_sv(&m->in), name = st_wire_sv(&m->in);
    char *socket;
    if (get_cstr(r, &m->in, &socket, err))
        return -1;
    if (!st_wire_ok(&m->in) || !socket || m->n_fds != 1 || path.len > sizeof url / 2)
        return st_err_set(err, ST_E_INTERNAL, "an export that makes no sense");
    struct st_job *j = job_new(r, ST_JOB_EXPORT, ticket, err);
    if (!j)
        return -1;
    j->out = st_take_fd(&m->fds[0]);
    j->size = UINT64_MAX;
    fcntl(j->out, F_SETFL, O_WRONLY | O_NONBLOCK);
    // The host is not looked up.
    int n = snprintf(url, sizeof url, "http://127.0.0.1" ST_SV_FMT, ST_SV_ARG(path));
    struct st_http_header host = {"Host", daemon, false};
    struct st_http_request q = {.url = st_sv_mem(url, (size_t)n),
                                .headers = &host,
                                .n_headers = 1,
                                .unix_path = socket,
                                .times = {.first_byte = 600000, .stall = 600000}, // it may pack the image first
                                .max = ARCHIVE_MAX,
                                .sink = job_sink,
                                .done = export_done,
                                .ctx = j};
    int rc = st_arena_dup(&r->arena, daemon, &j->daemon, err) || st_arena_dup(&r->arena, name, &j->name, err) ||
                     st_http_begin(r->http, &q, &j->x, err)
                 ? -1
                 : 0;
    if (rc)
        job_free(j);
    return rc;
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
        rc = take_export(r, ticket, name, m, &why);
    else
        return st_err_set(err, ST_E_INTERNAL, "unexpected message %d", (int)m->tag);
    if (rc)
        tell_failure(r, ticket, &why);
    return 0;
}

// ---- the loop -------------------------------------------------------------------------------------------------------

static void serve_pipe(struct st_job *j, short revents)
{
    if (revents & POLLERR) { // its reader has gone
        job_free(j);
        return;
    }
    if (!(revents & POLLOUT) || flush_rest(j) <= 0)
        return;
    if (j->x)
        st_http_resume(j->x);
    else if (!j->waits_for_token && j->from == j->size)
        job_free(j);
}

int st_registry_step(struct st_registry *r, struct st_err *err)
{
    struct pollfd fds[1 + ST_REGISTRY_BLOBS_MAX] = {{.fd = r->sock, .events = POLLIN}};
    uint64_t of[1 + ST_REGISTRY_BLOBS_MAX];
    unsigned n = 1;
    for (struct st_job *j = r->jobs; j; j = j->next)
        if (has_pipe(j)) {
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

// ---- the source -----------------------------------------------------------------------------------------------------

static void trace(void *ctx, const char *line)
{
    (void)ctx;
    fprintf(stderr, "stella: %s\n", line);
}

static bool public_only(void *ctx, enum st_address_class what, const char *address, bool proxy)
{
    (void)ctx;
    (void)address;
    return what == ST_ADDRESS_PUBLIC || proxy; // the proxy is the operator's own choice
}

static int get_endpoint(struct st_registry *r, struct st_wire_in *in, struct st_endpoint *e, struct st_err *err)
{
    if (get_text(r, in, &e->host, err) || get_text(r, in, &e->repository, err))
        return -1;
    e->flags = (unsigned)st_wire_max(in, ST_FETCH_E_ALL);
    e->auth = (enum st_auth_kind)st_wire_max(in, ST_AUTH_KIND_MAX - 1);
    if (get_text(r, in, &e->user, err) || st_secret_set(&e->secret, st_wire_sv(in), err) ||
        get_text(r, in, &e->origin, err))
        return -1;
    struct st_sv name = e->host, port;
    if (name.len && name.ptr[0] != '[')
        st_sv_cut(e->host, ':', &name, &port);
    else
        name = st_sv_sub(name, 0, st_sv_find(name, ']') + 1);
    e->loopback = st_host_is_loopback(name);
    e->tls.insecure = (e->flags & ST_FETCH_E_INSECURE) || e->loopback;
    e->tls.ca = st_buf_sv(&r->ca);
    e->tls.cert = st_buf_sv(&r->cert);
    e->tls.key = &r->key;
    return 0;
}

static int read_pem(struct st_buf *to, int fd, struct st_err *err)
{
    char part[8192];
    for (ssize_t n; (n = st_fd_read(fd, part, sizeof part)) != 0;)
        if (n < 0)
            return st_err_sys(err, "read certificates");
        else if (to->len > (4u << 20))
            return st_err_set(err, ST_E_LIMIT, "more than 4 MiB of certificates");
        else if (st_buf_add(to, st_sv_mem(part, (size_t)n), err))
            return -1;
    return st_buf_addc(to, '\n', err);
}

static int read_files(struct st_registry *r, struct st_proto_msg *m, struct st_sv system_ca, struct st_err *err)
{
    size_t i = 0;
    if (st_buf_add(&r->ca, system_ca, err) || st_buf_addc(&r->ca, '\n', err))
        return -1;
    if ((r->flags & ST_FETCH_F_CA) && (i >= m->n_fds || read_pem(&r->ca, m->fds[i++], err)))
        return -1;
    if (!(r->flags & ST_FETCH_F_CERT))
        return 0;
    if (i + 1 >= m->n_fds || read_pem(&r->cert, m->fds[i], err))
        return -1;
    return st_secret_read(&r->key, m->fds[i + 1], ST_SECRET_MAX, "the client certificate's key", err);
}

static int get_source(struct st_registry *r, struct st_proto_msg *m, struct st_sv system_ca, struct st_err *err)
{
    struct st_wire_in *in = &m->in;
    struct st_http_options o = {.mem = r->mem};
    if (get_cstr(r, in, &r->user_agent, err) || get_cstr(r, in, &r->https_proxy, err) ||
        get_cstr(r, in, &r->http_proxy, err) || get_cstr(r, in, &r->no_proxy, err))
        return -1;
    o.bytes_per_second = st_wire_u64(in);
    r->flags = (unsigned)st_wire_max(in, ST_FETCH_F_ALL);
    if (get_text(r, in, &r->tag, err) || get_text(r, in, &r->digest, err) || read_files(r, m, system_ca, err))
        return -1;
    r->n_endpoints = (size_t)st_wire_max(in, ST_FETCH_ENDPOINTS_MAX);
    for (size_t i = 0; i < r->n_endpoints; i++)
        if (get_endpoint(r, in, &r->endpoints[i], err))
            return -1;
    if (!st_wire_ok(in))
        return st_err_set(err, ST_E_INTERNAL, "damaged source message");
    o.user_agent = r->user_agent;
    o.https_proxy = r->https_proxy;
    o.http_proxy = r->http_proxy;
    o.no_proxy = r->no_proxy;
    o.trace = r->flags & ST_FETCH_F_VERBOSE ? trace : NULL;
    o.may_connect = r->flags & ST_FETCH_F_PUBLIC_ONLY ? public_only : NULL;
    return st_http_new(&o, &r->http, err);
}

int st_registry_new(struct st_proto_msg *source, struct st_sv system_ca, int sock, struct st_mem *mem,
                    struct st_registry **ret, struct st_err *err)
{
    struct st_registry *r = st_mem_alloc(mem, sizeof *r, err);
    if (!r)
        return -1;
    r->mem = mem;
    r->sock = sock;
    st_arena_init(&r->arena, mem);
    st_map_init(&r->manifests, mem);
    struct st_buf *const bufs[] = {&r->ca, &r->cert, &r->top, &r->msg};
    for (size_t i = 0; i < ST_LEN(bufs); i++)
        st_buf_init(bufs[i], mem);
    if (get_source(r, source, system_ca, err)) {
        st_registry_free(r);
        return -1;
    }
    *ret = r;
    return 0;
}

void st_registry_free(struct st_registry *r)
{
    if (!r)
        return;
    while (r->jobs)
        job_free(r->jobs);
    st_http_free(r->http);
    for (size_t i = 0; i < ST_FETCH_ENDPOINTS_MAX; i++) {
        st_secret_release(&r->endpoints[i].secret);
        st_secret_release(&r->endpoints[i].authorization);
    }
    st_secret_release(&r->key);
    struct st_buf *const bufs[] = {&r->ca, &r->cert, &r->top, &r->msg};
    for (size_t i = 0; i < ST_LEN(bufs); i++)
        st_buf_release(bufs[i]);
    st_map_release(&r->manifests);
    st_arena_release(&r->arena);
    st_mem_free(r->mem, r, sizeof *r);
}
