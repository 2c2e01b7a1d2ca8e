// SBOMs over HTTP: the files that scans.sbom answers with (docs/adr/0012, "Results").
//
// The URL names a job, and a job that is tried again by force has other results: so an answer may be kept, but must be
// asked for again (no-cache), which the entity tag of job, claim and format makes cheap.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "sbom/sbom.h"
#include "service/api_http_int.h"

#include <stdio.h>

struct answer {
    char id[ST_JOB_ID + 1];
    uint64_t fence, size;
};

static int take_job(void *ctx, const void *row, struct st_err *err)
{
    const struct st_job *j = row;
    struct answer *a = ctx;
    memcpy(a->id, j->id, sizeof a->id);
    a->fence = j->fence;
    return 0;
}

static int take_file(void *ctx, const void *row, struct st_err *err)
{
    ((struct answer *)ctx)->size = ((const struct st_sbom_row *)row)->size;
    return 0;
}

static enum MHD_Result serve(struct st_api_request *r, struct st_sv id, struct st_sv name, const char *type)
{
    struct st_err err = {0};
    struct answer a;
    ST_AUTO_CLOSE int fd = -1;
    struct st_req_id job = {id};
    struct st_req_sbom q = {id, name};
    struct st_caller caller = r->caller;
    caller.pass = &fd;
    if (st_api_call(r->h->api, st_op_find(ST_SV("scans.get")), &job, &caller, &r->arena, take_job, NULL, &a, &err) ||
        st_api_call(r->h->api, st_op_find(ST_SV("scans.sbom")), &q, &caller, &r->arena, take_file, NULL, &a, &err))
        return st_api_reply_failed(r, &err);
    snprintf(r->etag, sizeof r->etag, "\"%s-%llu-" ST_SV_FMT "\"", a.id, (unsigned long long)a.fence,
             ST_SV_ARG(st_sv_sub(name, 0, 20)));
    const char *known = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (known && strstr(known, r->etag))
        return st_api_reply(r, 304, type);
    struct MHD_Response *m = MHD_create_response_from_fd64(a.size, fd);
    if (m)
        st_take_fd(&fd); // it is MHD's
    return st_api_reply_response(r, 200, m, type);
}

enum MHD_Result st_api_sbom_serve(struct st_api_request *r, struct st_sv id)
{
    const char *asked = NULL;
    size_t n = 0;
    MHD_lookup_connection_value_n(r->conn, MHD_GET_ARGUMENT_KIND, "format", strlen("format"), &asked, &n);
    struct st_sv format = n ? st_sv_mem(asked, n) : ST_SV("cyclonedx-json");
    const struct st_sbom_writer *w = st_sbom_writer_find(format); // also by its short name
    return serve(r, id, w ? st_sv_of(w->name) : format, w ? w->media_type : "text/plain; charset=utf-8");
}

enum MHD_Result st_api_recipe_serve(struct st_api_request *r, struct st_sv id)
{
    return serve(r, id, ST_SV("composition-recipe"), ST_HTTP_JSON);
}
