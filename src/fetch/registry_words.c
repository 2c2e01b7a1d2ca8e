// Errors of a registry that say what helps.
#include "base/ckd.h"
#include "fetch/answers.h"
#include "fetch/registry_int.h"
#include "image/image.h"

#include <stdio.h>

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

void st_job_explain_trouble(const struct st_job *j, enum st_http_trouble t, struct st_err *err)
{
    struct st_sv host = j->reg->endpoints[j->endpoint].host;
    char advice[200], text[ST_ERR_TEXT_MAX];
    bool unknown = strstr(err->text, "issuer") || strstr(err->text, "self-signed") || strstr(err->text, "self signed");
    if (t == ST_HTTP_UNTRUSTED)
        snprintf(advice, sizeof advice, "%s--insecure %.*s takes any certificate",
                 unknown ? "--ca-file FILE trusts the authority that signed it; " : "", ST_SV_ARG(host));
    else if (t == ST_HTTP_NO_TLS)
        snprintf(advice, sizeof advice, "if it is meant to speak plain HTTP: --insecure %.*s", ST_SV_ARG(host));
    else if (t == ST_HTTP_FORBIDDEN && err->code == ST_E_INPUT)
        snprintf(advice, sizeof advice, "registry.allow_private names the hosts that may have one");
    else if (t == ST_HTTP_NO_HOST)
        snprintf(advice, sizeof advice, "is it spelled right%s",
                 err->code == ST_E_NOTFOUND ? "?" : ", and is there a network?");
    else
        return;
    snprintf(text, sizeof text, "%s", err->text);
    st_err_set(err, t == ST_HTTP_NO_HOST || t == ST_HTTP_FORBIDDEN ? err->code : ST_E_FAILED, "%.250s%s %s", text,
               t == ST_HTTP_NO_HOST ? ":" : ";", advice);
}

void st_job_explain_status(const struct st_job *j, const struct st_http_response *r, struct st_err *err)
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
