// What the parent asked for and has not got yet: jobs, their pipes, and the answers to the parent.
#include "base/ckd.h"
#include "fetch/registry_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

// ---- to the parent --------------------------------------------------------------------------------------------------

static int tell(struct st_registry *r, struct st_wire_out *o, const int *fds, size_t n)
{
    struct st_err err; // a parent that is gone ends the process soon enough
    return st_proto_send(r->sock, o, fds, n, &err);
}

void st_fetch_tell_failure(struct st_registry *r, uint64_t ticket, const struct st_err *e)
{
    struct st_wire_out o = st_proto_begin(&r->msg, (enum st_proto_tag)ST_FETCH_FAIL);
    st_wire_put_u64(&o, ticket);
    st_proto_put_err(&o, e);
    tell(r, &o, NULL, 0);
}

// found: whether there is such a document.
int st_fetch_give(struct st_registry *r, uint64_t ticket, bool found, struct st_sv text, struct st_err *err)
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

bool st_job_has_pipe(const struct st_job *j)
{
    return j->kind == ST_JOB_BLOB || j->kind == ST_JOB_EXPORT;
}

void st_job_free(struct st_job *j)
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
    r->n_blobs -= st_job_has_pipe(j);
    st_buf_release(&j->rest);
    st_mem_free(r->mem, j, sizeof *j);
}

void st_job_fail(struct st_job *j, const struct st_err *err)
{
    st_fetch_tell_failure(j->reg, j->ticket, err);
    st_job_free(j);
}

struct st_job *st_job_new(struct st_registry *r, enum st_job_kind kind, uint64_t ticket, struct st_err *err)
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
    r->n_blobs += st_job_has_pipe(j);
    return j;
}

// The pipe, without waiting. 1: all is gone; 0: some is left; -1: nobody reads any more.
int st_job_flush(struct st_job *j)
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

int st_job_sink(void *ctx, struct st_sv bytes, struct st_err *err)
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
