// An upload that goes straight into a worker: POST /api/v1/scans without ?spool=1. A pipe is submitted like a local
// file's descriptor (files.h); a worker that is free must take the job before a byte of the body is read, else the
// answer is 503. Then the body goes into the pipe as fast as the worker reads: when it is full the connection is
// suspended, which stops the sender through TCP, until the pump sees room. Nothing is stored, so the job cannot be
// tried again (source_gone), and one whose sender breaks off is cancelled.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "service/api_upload_int.h"
#include "service/keys.h"
#include "service/scan_options.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>

#define CLAIM_MS 1000 // a free worker takes a job within this; one of HTTP's threads waits
#define LOOK_MS 20
#define PIPE_BYTES (1 << 20)
#define SWALLOW_MAX (1u << 20) // sent after the worker has read all that it wants: an archive's padding

// ---- is a worker free? ----------------------------------------------------------------------------

struct slot {
    struct st_upload *u;
    char pool[ST_KEY_TEXT];
    uint64_t pending;
};

static int count_pending(void *ctx, struct st_sv what, struct st_sv which, uint64_t n, struct st_err *err)
{
    struct slot *s = ctx;
    if (st_sv_eq(what, ST_SV("pending")) && st_sv_eq(which, st_sv_of(s->pool)))
        s->pending = n;
    return 0;
}

static int find_pool(struct st_store *s, void *ctx, struct st_err *err)
{
    struct slot *f = ctx;
    const struct st_req_submit *q = &f->u->submit;
    if (q->pool.len)
        snprintf(f->pool, sizeof f->pool, ST_SV_FMT, ST_SV_ARG(q->pool));
    else if (st_key_route(s, q->has_size, q->size, f->pool, err))
        return -1;
    return st_store_pool_counts(s, count_pending, f, err);
}

static int find_slot(struct st_upload *u, struct st_err *err)
{
    struct slot f = {.u = u};
    struct st_worker_row *w;
    size_t n;
    uint64_t idle = 0;
    if (st_api_read(u->all->api, find_pool, &f, err) ||
        st_live_workers(st_api_live(u->all->api), &u->r->arena, &w, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        idle += !w[i].stale && st_sv_eq(w[i].state, ST_SV("idle")) && st_sv_eq(w[i].pool, st_sv_of(f.pool));
    if (idle <= f.pending)
        return st_err_set(err, ST_E_RETRY, "no worker of pool '%s' is free; ?spool=1 stores the archive until one is",
                          f.pool);
    return st_arena_dup(&u->r->arena, st_sv_of(f.pool), &u->submit.pool, err);
}

// ---- beginning ------------------------------------------------------------------------------------

static int take_id(void *ctx, const void *row, struct st_err *err)
{
    memcpy(ctx, ((const struct st_job *)row)->id, ST_JOB_ID + 1);
    return 0;
}

static int name_file(struct st_upload *u, struct st_err *err)
{
    struct st_scan_options o;
    struct st_buf b;
    st_buf_init(&b, &u->r->mem);
    int rc = st_scan_options_read(u->submit.options, &o, &u->r->arena, err);
    if (rc == 0) {
        o.file = true;
        o.path = st_sv_of(u->name);
        rc = st_scan_options_write(&o, &b, err);
    }
    if (rc == 0)
        rc = st_arena_dup(&u->r->arena, st_buf_sv(&b), &u->submit.options, err);
    st_buf_release(&b);
    return rc;
}

static int submit(struct st_upload *u, struct st_err *err)
{
    int pipe[2];
    struct st_caller caller = u->r->caller;
    if (pipe2(pipe, O_CLOEXEC))
        return st_err_sys(err, "pipe");
    ST_AUTO_CLOSE int reading = pipe[0];
    u->fd = pipe[1];
    fcntl(u->fd, F_SETPIPE_SZ, PIPE_BYTES);
    fcntl(u->fd, F_SETFL, O_NONBLOCK); // this end only
    caller.file = &reading;
    u->submit.image = st_sv_of(u->name);
    return st_api_call(u->all->api, st_op_find(ST_SV("scans.submit")), &u->submit, &caller, &u->r->arena, take_id, NULL,
                       u->job, err);
}

static int take_state(void *ctx, const void *row, struct st_err *err)
{
    *(enum st_job_state *)ctx = ((const struct st_job *)row)->state;
    return 0;
}

static int wait_claim(struct st_upload *u, struct st_err *err)
{
    enum st_job_state state = ST_JOB_PENDING;
    struct st_req_id q = {st_sv_of(u->job)};
    for (int i = 0; i < CLAIM_MS / LOOK_MS; i++) {
        if (st_api_call(u->all->api, st_op_find(ST_SV("scans.get")), &q, &u->r->caller, &u->r->arena, take_state, NULL,
                        &state, err))
            return -1;
        if (state != ST_JOB_PENDING)
            return 0;
        poll(NULL, 0, LOOK_MS);
    }
    return st_err_set(err, ST_E_RETRY, "no worker took the job at once; ?spool=1 stores the archive until one does");
}

int st_direct_begin(struct st_upload *u, struct st_err *err)
{
    return find_slot(u, err) || name_file(u, err) || submit(u, err) || wait_claim(u, err) ? -1 : 0;
}

// ---- the body -------------------------------------------------------------------------------------

static void suspend(struct st_upload *u)
{
    struct st_api_uploads *a = u->all;
    uint64_t one = 1;
    u->since_ms = st_clock_mono_ms();
    u->next = a->waiting;
    a->waiting = u;
    MHD_suspend_connection(u->r->conn);
    if (write(a->wake, &one, sizeof one) < 0)
        return; // the counter is full: it is awake
}

static void resume(struct st_upload *u)
{
    u->held_ms += st_clock_mono_ms() - u->since_ms;
    MHD_resume_connection(u->r->conn);
}

bool st_direct_write(struct st_upload *u, const char *data, size_t *inout_n)
{
    struct st_api_uploads *a = u->all;
    if (u->broken) {
        u->flushed += *inout_n;
        *inout_n = 0;
        return u->flushed <= SWALLOW_MAX;
    }
    while (*inout_n) {
        ssize_t n = write(u->fd, data, *inout_n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) { // the worker reads no more
            u->broken = true;
            return st_direct_write(u, data, inout_n);
        }
        if (n < 0)
            break;
        data += n;
        *inout_n -= (size_t)n;
        u->written += (uint64_t)n;
    }
    if (!*inout_n)
        return true;
    pthread_mutex_lock(&a->lock);
    bool go = !u->r->h->stopping;
    if (go)
        suspend(u);
    pthread_mutex_unlock(&a->lock);
    return go;
}

enum MHD_Result st_direct_end(struct st_upload *u)
{
    struct st_err err = {0};
    struct st_req_id q = {st_sv_of(u->job)};
    close(u->fd);
    u->fd = -1;
    u->kept = true;
    snprintf(u->r->location, sizeof u->r->location, "/api/v1/scans/%s", u->job);
    if (st_api_answer(u->r, st_op_find(ST_SV("scans.get")), &q, &err))
        return st_api_reply_failed(u->r, &err);
    return st_api_reply(u->r, 202, ST_HTTP_JSON);
}

// Before the pipe is closed: what the worker takes for the end of the archive must not become a verdict about it.
void st_direct_drop(struct st_upload *u)
{
    struct st_req_id q = {st_sv_of(u->job)};
    st_api_call(u->all->api, st_op_find(ST_SV("scans.cancel")), &q, &u->r->caller, &u->r->arena, NULL, NULL, NULL,
                NULL);
}

// ---- the pump -------------------------------------------------------------------------------------

static size_t gather(struct st_api_uploads *a, struct pollfd *p)
{
    size_t n = 0;
    p[n++] = (struct pollfd){a->wake, POLLIN, 0};
    for (struct st_upload *u = a->waiting; u; u = u->next)
        p[n++] = (struct pollfd){u->fd, POLLOUT, 0};
    return n;
}

// A suspended connection does not end, so those that wait are there still.
static void resume_ready(struct st_api_uploads *a, const struct pollfd *p, size_t n)
{
    for (struct st_upload **at = &a->waiting; *at;) {
        struct st_upload *u = *at;
        size_t i = 1;
        while (i < n && !(p[i].fd == u->fd && p[i].revents))
            i++;
        if (i == n) {
            at = &u->next;
            continue;
        }
        *at = u->next;
        resume(u);
    }
}

static void *pump(void *ctx)
{
    struct st_api_uploads *a = ctx;
    struct pollfd p[ST_UPLOADS_MAX + 1];
    uint64_t count;
    pthread_mutex_lock(&a->lock);
    while (!a->stopping) {
        size_t n = gather(a, p);
        pthread_mutex_unlock(&a->lock);
        if (poll(p, n, -1) > 0 && p[0].revents && read(a->wake, &count, sizeof count) < 0)
            poll(NULL, 0, LOOK_MS); // it cannot be
        pthread_mutex_lock(&a->lock);
        resume_ready(a, p, n);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

int st_direct_start(struct st_api_uploads *a, struct st_err *err)
{
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (a->wake < 0)
        return st_err_sys(err, "eventfd");
    a->pumping = pthread_create(&a->pump, NULL, pump, a) == 0;
    return a->pumping ? 0 : st_err_set(err, ST_E_FAILED, "cannot start a thread");
}

void st_direct_release(struct st_api_uploads *a, struct st_api_http *h)
{
    for (struct st_upload **at = &a->waiting; *at;) {
        struct st_upload *u = *at;
        if (u->r->h != h) {
            at = &u->next;
            continue;
        }
        *at = u->next;
        resume(u);
    }
}

void st_direct_stop(struct st_api_uploads *a)
{
    uint64_t one = 1;
    if (a->pumping && write(a->wake, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(a->pump, NULL);
    a->pumping = false;
    if (a->wake > 0)
        close(a->wake);
    a->wake = -1;
}
