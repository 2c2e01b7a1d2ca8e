// The files that a job left, as descriptors (docs/adr/0012, "Results").
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "service/op_int.h"
#include "service/scan_options.h"
#include "store/home.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LAYERS_MAX (4 << 20) // of 4,096 layers

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

// A file of a job that has ended; where there is none, why.
static int open_left(const struct st_op_call *c, struct st_sv id, const char *name, int *ret_fd, uint64_t *ret_size,
                     struct st_err *err)
{
    struct left l;
    struct stat st;
    char home[PATH_MAX], path[PATH_MAX];
    if (st_store_get(c->store, id, take_left, &l, err) || st_home_path(home, err))
        return -1;
    if (snprintf(path, sizeof path, "%s/jobs/%s/%llu/%s", home, l.id, (unsigned long long)l.fence, name) >=
        (int)sizeof path)
        return st_err_set(err, ST_E_LIMIT, "the name of the state directory is too long");
    bool ended = l.result[0] && l.state != ST_JOB_PENDING && l.state != ST_JOB_PROCESSING;
    ST_AUTO_CLOSE int fd = ended ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
        return missing(&l, name, err);
    *ret_size = (uint64_t)st.st_size;
    *ret_fd = st_take_fd(&fd);
    return 0;
}

int st_op_sbom(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_sbom *q = c->request;
    uint64_t size;
    const char *name = file_name(q->format);
    if (!name)
        return st_err_set(err, ST_E_INPUT,
                          "field 'format': unknown value '" ST_SV_FMT
                          "' (cyclonedx-json, spdx-json, syft-json, purls, table, unknowns)",
                          ST_SV_ARG(st_sv_sub(q->format, 0, 32)));
    if (!c->caller->pass)
        return st_err_set(err, ST_E_USAGE, "an SBOM is passed over the socket of a service only");
    if (open_left(c, q->id, name, c->caller->pass, &size, err))
        return -1;
    return c->emit(c->ctx, &(struct st_sbom_row){st_sv_of(name), size}, err);
}

// The file is a JSON array with an object a layer.
static int emit_layers(const struct st_op_call *c, struct st_sv text, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok v;
    int rc;
    st_json_init(&j, text);
    if (st_json_next(&j, &v, err))
        return -1;
    if (v.type != ST_JSON_ARRAY)
        return st_err_set(err, ST_E_CORRUPT, "the list of layers is damaged");
    while ((rc = st_json_element(&j, &v, err)) > 0) {
        struct st_layer_row row = {0};
        if (st_json_skip(&j, &v, err) ||
            st_record_read(&st_record_layer, st_sv_sub(text, v.at, j.pos - v.at), true, 0, &row, c->arena, err) ||
            c->emit(c->ctx, &row, err))
            return -1;
    }
    return rc;
}

int st_op_layers(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_id *q = c->request;
    uint64_t size;
    ST_AUTO_CLOSE int fd = -1;
    if (open_left(c, q->id, "layers", &fd, &size, err))
        return -1;
    if (size > LAYERS_MAX)
        return st_err_set(err, ST_E_LIMIT, "the list of layers has more than %d MiB", LAYERS_MAX >> 20);
    ST_AUTO_FREE char *text = malloc(size + 1);
    if (!text)
        return st_err_nomem(err);
    ssize_t n = st_fd_read(fd, text, size);
    return n < 0 ? st_err_sys(err, "the list of layers") : emit_layers(c, st_sv_mem(text, (size_t)n), err);
}
