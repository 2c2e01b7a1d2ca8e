// The files that a job left, as descriptors (docs/adr/0012, "Results").
#include "base/ckd.h"
#include "base/cleanup.h"
#include "service/op_int.h"
#include "service/scan_options.h"
#include "store/home.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

struct left {
    char id[ST_JOB_ID + 1], result[256], host[256];
    enum st_job_state state;
    uint64_t fence;
};

static int take_left(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct left *l = ctx;
    memcpy(l->id, job->id, sizeof l->id);
    l->state = job->state;
    l->fence = job->fence;
    snprintf(l->result, sizeof l->result, ST_SV_FMT, ST_SV_ARG(job->result));
    snprintf(l->host, sizeof l->host, ST_SV_FMT, ST_SV_ARG(job->host));
    return 0;
}

// The words come from outside and become a file's name: only those that there are.
static const char *file_name(struct st_sv format)
{
    if (!format.len)
        return st_sbom_format_words[0];
    static const char *const beside[] = {"unknowns", "profile", "profile-json", "layers",
                                         "composition-recipe"}; // worker/result.h
    for (size_t i = 0; i < ST_LEN(beside); i++)
        if (st_sv_eq(format, st_sv_of(beside[i])))
            return beside[i];
    for (size_t i = 0; st_sbom_format_words[i]; i++)
        if (st_sv_eq(format, st_sv_of(st_sbom_format_words[i])))
            return st_sbom_format_words[i];
    return NULL;
}

static int missing(const struct left *l, const char *name, struct st_err *err)
{
    char own[256] = "";
    gethostname(own, sizeof own - 1);
    if (l->state == ST_JOB_PENDING || l->state == ST_JOB_PROCESSING)
        return st_err_set(err, ST_E_CONFLICT, "job %.12s is %s: its SBOM is not there yet", l->id,
                          st_job_state_word(l->state));
    if (!l->result[0])
        return st_err_set(err, ST_E_NOTFOUND, "job %.12s is %s and left no SBOM", l->id, st_job_state_word(l->state));
    if (strcmp(own, l->host) != 0)
        return st_err_set(err, ST_E_NOTFOUND, "the SBOM of job %.12s lies on the host %s", l->id, l->host);
    return st_err_set(err, ST_E_NOTFOUND, "job %.12s has no SBOM as %s (there is: %s), or it was removed since", l->id,
                      name, l->result);
}

int st_op_sbom(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_sbom *q = c->request;
    struct left l;
    struct stat st;
    char home[PATH_MAX], path[PATH_MAX];
    const char *name = file_name(q->format);
    if (!name)
        return st_err_set(err, ST_E_INPUT,
                          "field 'format': unknown value '" ST_SV_FMT
                          "' (cyclonedx-json, spdx-json, syft-json, purls, table, unknowns)",
                          ST_SV_ARG(st_sv_sub(q->format, 0, 32)));
    if (!c->caller->pass)
        return st_err_set(err, ST_E_USAGE, "an SBOM is passed over the socket of a service only");
    if (st_store_get(c->store, q->id, take_left, &l, err) || st_home_path(home, err))
        return -1;
    if (snprintf(path, sizeof path, "%s/jobs/%s/%llu/%s", home, l.id, (unsigned long long)l.fence, name) >=
        (int)sizeof path)
        return st_err_set(err, ST_E_LIMIT, "the name of the state directory is too long");
    bool ended = l.result[0] && l.state != ST_JOB_PENDING && l.state != ST_JOB_PROCESSING;
    ST_AUTO_CLOSE int fd = ended ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
        return missing(&l, name, err);
    *c->caller->pass = st_take_fd(&fd);
    return c->emit(c->ctx, &(struct st_sbom_row){st_sv_of(name), (uint64_t)st.st_size}, err);
}
