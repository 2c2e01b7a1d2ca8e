// Results over HTTP: the files that a worker left in HOME/jobs/ID/FENCE (docs/adr/0012), one for each format.
//
// The URL names a job, and a job that is tried again by force has other results: so an answer may be kept, but must be
// asked for again (no-cache), which the entity tag of job, claim and format makes cheap.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "sbom/sbom.h"
#include "service/api_http_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct found {
    char id[ST_JOB_ID + 1];
    enum st_job_state state;
    uint64_t fence;
};

static int take_job(void *ctx, const void *row, struct st_err *err)
{
    const struct st_job *j = row;
    struct found *f = ctx;
    memcpy(f->id, j->id, sizeof f->id);
    f->state = j->state;
    f->fence = j->fence;
    return 0;
}

// "cyclonedx-json, purls": the formats that are there.
static void list_formats(int dir, char *ret, size_t n)
{
    size_t k = 0;
    ret[0] = '\0';
    for (size_t i = 0; st_sbom_writers[i]; i++) {
        const char *name = st_sbom_writers[i]->name;
        if (faccessat(dir, name, R_OK, 0) == 0 && k < n) {
            int m = snprintf(ret + k, n - k, "%s%s", k ? ", " : "", name);
            k += m > 0 ? (size_t)m : 0;
        }
    }
}

static int open_dir(const char *home, const struct found *f, int *ret, struct st_err *err)
{
    char path[PATH_MAX];
    if (f->state == ST_JOB_PENDING || f->state == ST_JOB_PROCESSING)
        return st_err_set(err, ST_E_CONFLICT, "job %.12s is %s: its SBOM is not there yet", f->id,
                          st_job_state_word(f->state));
    if (snprintf(path, sizeof path, "%s/jobs/%s/%llu", home, f->id, (unsigned long long)f->fence) >= (int)sizeof path)
        return st_err_set(err, ST_E_LIMIT, "the name of the state directory is too long");
    *ret = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret >= 0)
        return 0;
    if (f->state != ST_JOB_COMPLETED)
        return st_err_set(err, ST_E_NOTFOUND, "job %.12s is %s: it has no SBOM", f->id, st_job_state_word(f->state));
    return st_err_set(err, ST_E_NOTFOUND,
                      "the SBOM of job %.12s is not here: retention.results is over, or another host made it", f->id);
}

static int open_format(int dir, const struct found *f, const char *format, int *ret, struct stat *st,
                       struct st_err *err)
{
    char there[200];
    *ret = openat(dir, format, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret >= 0 && fstat(*ret, st) == 0 && S_ISREG(st->st_mode))
        return 0;
    list_formats(dir, there, sizeof there);
    return st_err_set(err, ST_E_NOTFOUND, "job %.12s has no SBOM as %s; there is: %s", f->id, format,
                      there[0] ? there : "none");
}

enum MHD_Result st_api_sbom_serve(struct st_api_request *r, struct st_sv id)
{
    struct st_err err = {0};
    struct st_req_id q = {id};
    struct found f;
    struct stat st;
    ST_AUTO_CLOSE int dir = -1;
    ST_AUTO_CLOSE int fd = -1;
    const char *asked = NULL;
    size_t n = 0;
    MHD_lookup_connection_value_n(r->conn, MHD_GET_ARGUMENT_KIND, "format", strlen("format"), &asked, &n);
    const struct st_sbom_writer *w = st_sbom_writer_find(n ? st_sv_mem(asked, n) : ST_SV("cyclonedx-json"));
    if (!w) {
        st_err_set(&err, ST_E_INPUT,
                   "unknown format '" ST_SV_FMT "' (cyclonedx-json, spdx-json, syft-json, purls, table)",
                   ST_SV_ARG(st_sv_sub(st_sv_mem(asked, n), 0, 40)));
        return st_api_reply_failed(r, &err);
    }
    if (st_api_call(r->h->api, st_op_find(ST_SV("scans.get")), &q, &r->caller, &r->arena, take_job, NULL, &f, &err) ||
        open_dir(r->h->home, &f, &dir, &err) || open_format(dir, &f, w->name, &fd, &st, &err))
        return st_api_reply_failed(r, &err);
    snprintf(r->etag, sizeof r->etag, "\"%s-%llu-%s\"", f.id, (unsigned long long)f.fence, w->name);
    const char *known = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (known && strstr(known, r->etag))
        return st_api_reply(r, 304, w->media_type);
    struct MHD_Response *m = MHD_create_response_from_fd64((uint64_t)st.st_size, fd);
    if (m)
        st_take_fd(&fd); // it is MHD's
    return st_api_reply_response(r, 200, m, w->media_type);
}
