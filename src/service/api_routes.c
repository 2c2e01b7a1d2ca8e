// Routes of HTTP that are more than an operation of the table.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "service/api_http_int.h"
#include "service/api_metrics.h"
#include "service/keys.h"

#include <stdio.h>

static enum MHD_Result plain(struct st_api_request *r, unsigned status)
{
    return st_api_reply(r, status, "text/plain; charset=utf-8");
}

static enum MHD_Result serve_health(struct st_api_request *r, struct st_sv id)
{
    return st_buf_add(&r->answer, ST_SV("ok\n"), NULL) ? MHD_NO : plain(r, 200);
}

// ---- ready ----------------------------------------------------------------------------------------

struct readiness {
    uint64_t pending, max;
};

static int probe(struct st_store *s, void *ctx, struct st_err *err)
{
    struct readiness *p = ctx;
    struct st_counts k;
    if (st_store_counts(s, INT64_MAX, &k, err))
        return -1;
    p->pending = k.pending;
    return st_key_count(s, "queue.max_pending", &p->max, err);
}

// A line for each thing; without workers jobs wait, which is no reason to send nobody here.
static enum MHD_Result serve_ready(struct st_api_request *r, struct st_sv id)
{
    struct readiness p = {0, 0};
    struct st_err err = {0};
    struct st_worker_row *w;
    size_t n = 0, fresh = 0;
    bool stopping = st_api_stopping(r->h->api), store = st_api_read(r->h->api, probe, &p, &err) == 0;
    bool queue = store && p.pending < p.max;
    if (st_live_workers(st_api_live(r->h->api), &r->arena, &w, &n, NULL))
        return MHD_NO;
    for (size_t i = 0; i < n; i++)
        fresh += !w[i].stale;
    bool ready = store && queue && !stopping;
    int rc = st_buf_fmt(&r->answer, NULL, "%s\nstore: %s\n", ready ? "ready" : "not ready", store ? "ok" : err.text);
    if (rc == 0 && store)
        rc = st_buf_fmt(&r->answer, NULL, "queue: %s (%llu of %llu pending)\n", queue ? "ok" : "full",
                        (unsigned long long)p.pending, (unsigned long long)p.max);
    if (rc == 0 && fresh)
        rc = st_buf_fmt(&r->answer, NULL, "workers: %zu\n", fresh);
    else if (rc == 0)
        rc = st_buf_add(&r->answer, ST_SV("workers: none are reported, jobs wait\n"), NULL);
    if (rc == 0 && stopping)
        rc = st_buf_add(&r->answer, ST_SV("service: it is stopping\n"), NULL);
    return rc ? MHD_NO : plain(r, ready ? 200 : 503);
}

// ---- metrics, the document ------------------------------------------------------------------------

struct metrics {
    struct st_api *api;
    struct st_out *out;
};

static int write_metrics(struct st_store *s, void *ctx, struct st_err *err)
{
    struct metrics *m = ctx;
    return st_metrics_write(s, st_api_live(m->api), m->out, err);
}

static enum MHD_Result serve_metrics(struct st_api_request *r, struct st_sv id)
{
    struct st_err err = {0};
    struct st_out o;
    struct metrics m = {r->h->api, &o};
    st_out_init_buf(&o, &r->answer);
    int rc = st_api_read(r->h->api, write_metrics, &m, &err);
    if (st_out_finish(&o, rc ? NULL : &err) || rc)
        return st_api_reply_failed(r, &err);
    return st_api_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8");
}

static enum MHD_Result serve_openapi(struct st_api_request *r, struct st_sv id)
{
    struct st_err err = {0};
    struct st_out o;
    st_out_init_buf(&o, &r->answer);
    st_openapi_write(&o);
    return st_out_finish(&o, &err) ? st_api_reply_failed(r, &err) : st_api_reply(r, 200, ST_HTTP_JSON);
}

#define V1 "/api/v1"
const struct st_http_route st_http_routes[] = {
    {"/healthz", ST_ROLE_NONE, "text/plain", "The process lives", NULL, NULL, serve_health},
    {"/readyz", ST_ROLE_NONE, "text/plain", "Can jobs be taken: store, queue, workers, a line each; 503 when not", NULL,
     NULL, serve_ready},
    {"/openapi.json", ST_ROLE_NONE, ST_HTTP_JSON, "This document", NULL, NULL, serve_openapi},
    {"/metrics", ST_ROLE_READ, "text/plain", "Metrics for Prometheus", NULL, NULL, serve_metrics},
    {V1 "/scans/{id}/events", ST_ROLE_READ, "text/event-stream", "State and progress of a job until it ends", NULL,
     NULL, st_api_events_serve},
    {V1 "/scans/{id}/sbom", ST_ROLE_READ, "*/*", "The SBOM of a completed job, in the format's own media type",
     "format", "cyclonedx-json (as without), spdx-json, syft-json, purls, table, unknowns: those that the job wrote",
     st_api_sbom_serve},
    {V1 "/scans/{id}/composition-recipe", ST_ROLE_READ, ST_HTTP_JSON,
     "Digest and fragment hash of each layer, and the Merkle root over them", NULL, NULL, st_api_recipe_serve},
    {NULL, ST_ROLE_NONE, NULL, NULL, NULL, NULL, NULL},
};
