// Operations on jobs: for people, and for the supervisor.
#include "base/ckd.h"
#include "base/clock.h"
#include "service/keys.h"
#include "service/live.h"
#include "service/op_int.h"
#include "service/scan_options.h"
#include "service/uploads.h"
#include "store/home.h"

#include <stdio.h>

static struct st_sv name_of(struct st_sv image)
{
    char home[PATH_MAX], dir[PATH_MAX];
    struct st_sv name;
    bool upload = st_sv_starts(image, ST_SV("/")) && st_home_path(home, NULL) == 0 &&
                  st_home_file(home, "uploads/", dir, NULL) == 0 && st_uploads_name(st_sv_of(dir), image, &name);
    return upload ? name : image;
}

// A job that no worker will take says so.
static int emit_job(void *ctx, const struct st_job *job, struct st_err *err)
{
    const struct st_op_call *c = ctx;
    struct st_job j = *job;
    j.name = name_of(j.image);
    if (c->live && j.state == ST_JOB_PENDING && !j.reason.len && !st_live_has_pool(c->live, j.pool))
        j.reason = ST_SV("no_worker_in_pool");
    return c->emit(c->ctx, &j, err);
}

static uint32_t max_tries(const struct st_op_call *c)
{
    uint64_t n = ST_TRIES_DEFAULT;
    return st_key_count(c->store, "retry.max_attempts", &n, NULL) ? ST_TRIES_DEFAULT : (uint32_t)n;
}

static size_t reason_index(struct st_sv word)
{
    size_t i = 0;
    while (st_reasons[i].word && !st_sv_eq(word, st_sv_of(st_reasons[i].word)))
        i++;
    return i;
}

static double seconds_between(int64_t from_ms, int64_t to_ms)
{
    return (double)ST_MAX(to_ms - from_ms, (int64_t)0) / 1000;
}

int st_op_list(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_list *q = c->request;
    struct st_job_filter f = {.limit = q->limit ? q->limit : ST_LIST_DEFAULT, .dead = q->dead};
    if (q->status.len && st_job_filter_words(&f, q->status, err))
        return -1;
    if (q->last_s)
        f.since_ms = st_clock_wall_ms() - (int64_t)q->last_s * 1000;
    return st_store_list(c->store, &f, emit_job, (void *)(uintptr_t)c, err);
}

int st_op_get(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_id *q = c->request;
    return st_store_get(c->store, q->id, emit_job, (void *)(uintptr_t)c, err);
}

int st_op_newest(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_newest *q = c->request;
    int64_t since = st_clock_wall_ms() - (int64_t)(q->last_s ? q->last_s : 30 * 86400) * 1000;
    return st_store_newest(c->store, q->image, ST_SV_NULL, since, emit_job, (void *)(uintptr_t)c, err) < 0 ? -1 : 0;
}

static int take_id(void *ctx, const struct st_job *job, struct st_err *err)
{
    memcpy(ctx, job->id, sizeof job->id);
    return 0;
}

static int emit_attempt(void *ctx, const struct st_attempt *a, struct st_err *err)
{
    const struct st_op_call *c = ctx;
    return c->emit(c->ctx, a, err);
}

int st_op_attempts(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_id *q = c->request;
    char id[ST_JOB_ID + 1];
    if (st_store_get(c->store, q->id, take_id, id, err))
        return -1;
    return st_store_attempts(c->store, id, emit_attempt, (void *)(uintptr_t)c, err);
}

// The options in their one canonical form, so that submissions that mean the same are the same.
static int canonical(const struct st_op_call *c, struct st_sv options, struct st_buf *to, struct st_err *err)
{
    struct st_scan_options o;
    if (st_scan_options_read(options, &o, c->arena, err))
        return st_err_wrap(err, "field 'options'");
    o.file = c->caller->file != NULL;
    if (!o.file)
        o.path = ST_SV_NULL;
    return st_scan_options_write(&o, to, err);
}

struct submitted {
    const struct st_op_call *c;
    bool file; // came along
};

// Hosts share the store of PostgreSQL, not the files that come along.
static struct st_sv where_files_are(const struct st_op_call *c)
{
    return strcmp(st_store_kind(c->store), "sqlite") == 0 ? ST_SV_NULL : st_sv_of(st_live_host(c->live));
}

// A file for a job that is there: it is not claimed before this is over, or once without it.
static int emit_retried(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct submitted *t = ctx;
    if (t->file && st_files_put(st_live_files(t->c->live), job->id, *t->c->caller->file, err))
        return -1;
    return emit_job((void *)(uintptr_t)t->c, job, err);
}

static int submit(const struct st_op_call *c, struct st_submit *sub, struct st_err *err)
{
    const struct st_req_submit *q = c->request;
    char pool[ST_KEY_TEXT];
    struct submitted t = {c, c->caller->file != NULL};
    if (t.file && !c->live)
        return st_err_set(err, ST_E_USAGE, "no service answers that could keep the file");
    if (t.file && st_files_check(*c->caller->file, c->caller, &sub->size, err))
        return -1;
    if (t.file) { // its bytes are its own, whatever its name
        sub->fresh = true;
        sub->has_size = sub->size > 0;
    }
    if (t.file)
        sub->only_host = where_files_are(c);
    if (st_key_route(c->store, sub->has_size, sub->size, pool, err))
        return -1;
    sub->pool = q->pool.len ? q->pool : st_sv_of(pool);
    char id[ST_JOB_ID + 1];
    if (t.file && (st_store_new_id(id, err) || st_files_put(st_live_files(c->live), id, *c->caller->file, err)))
        return -1; // before there is a job: it may be claimed at once
    sub->id = t.file ? id : NULL;
    int made = st_store_submit(c->store, sub, emit_job, (void *)(uintptr_t)c, err);
    if (made < 0 && t.file)
        st_files_drop(st_live_files(c->live), id);
    if (made > 0)
        st_live_count(c->live, ST_COUNT_ENQUEUED, 0);
    return made < 0 ? -1 : 0;
}

int st_op_submit(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_submit *q = c->request;
    uint64_t max;
    if (st_key_count(c->store, "queue.max_pending", &max, err))
        return -1;
    if (c->live && st_live_pending(c->live) >= max)
        return st_err_set(err, ST_E_RETRY, "the queue is full (%llu jobs pending, queue.max_pending): try again later",
                          (unsigned long long)max);
    if (q->pool.len && !st_pool_name(q->pool))
        return st_err_set(err, ST_E_INPUT, "field 'pool': small letters, digits and '-', at most 63");
    struct st_buf options;
    st_buf_init(&options, c->arena->mem);
    struct st_submit sub = {
        .image = q->image,
        .digest = q->digest,
        .size = q->size,
        .has_size = q->has_size,
        .priority = q->has_priority ? q->priority : ST_PRIORITY_NORMAL,
        .fresh = q->fresh,
    };
    int rc = canonical(c, q->options, &options, err);
    sub.options = st_buf_sv(&options);
    if (rc == 0)
        rc = submit(c, &sub, err);
    st_buf_release(&options);
    return rc;
}

static int stop_local(void *ctx, const struct st_job *job, struct st_err *err)
{
    const struct st_op_call *c = ctx;
    if (job->state == ST_JOB_PROCESSING && job->owner.len && st_owner_stop(job->owner, err))
        return st_err_wrap(err, "job %.12s: its scan cannot be stopped from here", job->id);
    if (c->live && job->state == ST_JOB_CANCELLED)
        st_files_drop(st_live_files(c->live), job->id);
    return emit_job((void *)(uintptr_t)c, job, err);
}

int st_op_cancel(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_id *q = c->request;
    return st_store_cancel(c->store, q->id, stop_local, (void *)(uintptr_t)c, err);
}

struct retryable {
    bool force;
    char id[ST_JOB_ID + 1]; // empty: it will not be retried
};

static int take_retryable(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct retryable *t = ctx;
    if (job->ended && (t->force || job->state != ST_JOB_COMPLETED))
        memcpy(t->id, job->id, sizeof t->id);
    return 0;
}

// Other formats, another time limit: of a job that is not in work.
static int change_options(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_retry *q = c->request;
    struct retryable t = {.force = q->force};
    struct st_buf options;
    if (!q->options.len)
        return 0;
    if (st_store_get(c->store, q->id, take_retryable, &t, err))
        return -1;
    st_buf_init(&options, c->arena->mem);
    int rc = canonical(c, q->options, &options, err);
    if (rc == 0 && t.id[0])
        rc = st_store_set_options(c->store, t.id, st_buf_sv(&options), err);
    st_buf_release(&options);
    return rc;
}

int st_op_retry(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_retry *q = c->request;
    struct submitted t = {c, c->live && c->caller->file};
    uint64_t size;
    if (t.file && st_files_check(*c->caller->file, c->caller, &size, err))
        return -1;
    if (change_options(c, err))
        return -1;
    struct st_retry r = {.prefix = q->id, .force = q->force, .max_tries = max_tries(c)};
    if (t.file)
        r.only_host = where_files_are(c);
    return st_store_retry(c->store, &r, emit_retried, &t, err);
}

// ---- the supervisor's ---------------------------------------------------------------------------

struct claimed {
    const struct st_op_call *c;
    struct st_sv config;
    char id[ST_JOB_ID + 1];
    uint64_t fence;
};

static int emit_claimed(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct claimed *t = ctx;
    struct st_job j = *job;
    j.config = t->config;
    memcpy(t->id, j.id, sizeof t->id);
    t->fence = j.fence;
    if (t->c->live && t->c->caller->pass)
        *t->c->caller->pass = st_files_get(st_live_files(t->c->live), j.id);
    if (j.attempt == 1)
        st_live_observe(t->c->live, ST_HIST_QUEUE, seconds_between(j.created_ms, j.started_ms));
    return t->c->emit(t->c->ctx, &j, err);
}

int st_op_claim(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_claim *q = c->request;
    struct st_buf b;
    st_buf_init(&b, c->arena->mem);
    if (q->lease_ms < 1000)
        return st_err_set(err, ST_E_INPUT, "field 'leaseMs': at least 1000 is accepted");
    int rc = st_keys_snapshot_over(c->store, q->config, c->arena, &b, err);
    if (rc == 0) {
        struct claimed t = {.c = c, .config = st_buf_sv(&b)};
        struct st_claim claim = {q->pool, q->worker, t.config, q->memory_limit, q->lease_ms, q->holder};
        rc = st_store_claim(c->store, &claim, emit_claimed, &t, err);
        if (rc < 0 && t.fence) // whom it was for is gone
            st_store_release(c->store, t.id, t.fence, ST_SV("the claim could not be delivered"), NULL);
    }
    st_buf_release(&b);
    return rc < 0 ? -1 : 0;
}

int st_op_renew(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_lease *q = c->request;
    struct st_lease_answer a = {ST_LEASE_LOST};
    if (q->lease_ms < 1000)
        return st_err_set(err, ST_E_INPUT, "field 'leaseMs': at least 1000 is accepted");
    return st_store_renew(c->store, q->id, q->fence, q->lease_ms, &a.lease, err) ? -1 : c->emit(c->ctx, &a, err);
}

int st_op_release(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_lease *q = c->request;
    return st_store_release(c->store, q->id, q->fence, q->message, err) ? -1
                                                                        : c->emit(c->ctx, &(struct st_done){true}, err);
}

int st_op_subject(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_lease *q = c->request;
    return st_store_subject(c->store, q->id, q->fence, q->digest, q->size, err)
               ? -1
               : c->emit(c->ctx, &(struct st_done){true}, err);
}

static void count_end(const struct st_op_call *c, const struct st_job *job, struct st_sv reason)
{
    double took = seconds_between(job->started_ms, job->updated_ms);
    if (job->state == ST_JOB_COMPLETED) {
        st_live_count(c->live, ST_COUNT_COMPLETED, 0);
        st_live_observe(c->live, ST_HIST_COMPLETED, took);
    } else if (job->state == ST_JOB_CANCELLED) {
        st_live_count(c->live, ST_COUNT_CANCELLED, 0);
    } else {
        st_live_count(c->live, ST_COUNT_FAILED, reason_index(reason));
        st_live_observe(c->live, ST_HIST_FAILED, took);
        if (job->state == ST_JOB_PENDING)
            st_live_count(c->live, ST_COUNT_RETRY, 0);
        if (job->dead)
            st_live_count(c->live, ST_COUNT_DEADLETTER, 0);
    }
}

// {"layers": 1200, ...}, milliseconds. What is not of this form tells nothing.
static void count_phases(const struct st_op_call *c, struct st_sv phases)
{
    struct st_json j;
    struct st_json_tok key, v;
    uint64_t ms;
    st_json_init(&j, phases);
    if (!c->live || !phases.len || st_json_next(&j, &v, NULL) || v.type != ST_JSON_OBJECT)
        return;
    while (st_json_member(&j, &key, &v, NULL) > 0) {
        size_t i = 0;
        while (i < ST_PHASE_other && !st_sv_eq(key.raw, st_sv_of(st_live_phase_words[i])))
            i++;
        if (v.type == ST_JSON_NUMBER && st_sv_u64(v.raw, 10, &ms))
            st_live_observe(c->live, (enum st_histogram_id)(ST_HIST_PHASE + i), (double)ms / 1000);
        else if (st_json_skip(&j, &v, NULL))
            return;
    }
}

static void count_work(const struct st_op_call *c, const struct st_end *e)
{
    uint64_t cached = ST_MIN(e->layers_cached, e->layers_total);
    st_live_add(c->live, ST_COUNT_BYTES_READ, 0, e->bytes_read);
    st_live_add(c->live, ST_COUNT_CACHE_HITS, 0, cached);
    st_live_add(c->live, ST_COUNT_CACHE_MISSES, 0, e->layers_total - cached);
    if (e->peak_bytes)
        st_live_observe(c->live, ST_HIST_PEAK, (double)e->peak_bytes);
    if (e->state == ST_JOB_COMPLETED) {
        st_live_add(c->live, ST_COUNT_PACKAGES, 0, e->packages);
        st_live_add(c->live, ST_COUNT_UNKNOWNS, 0, e->unknowns);
    }
    count_phases(c, e->phases);
}

struct counted {
    const struct st_op_call *c;
    struct st_sv reason;
};

static int count_job(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct counted *t = ctx;
    struct st_files *files = t->c->live ? st_live_files(t->c->live) : NULL;
    if (files && job->state == ST_JOB_FAILED)
        st_files_failed(files, job->id);
    else if (files && job->ended)
        st_files_drop(files, job->id);
    count_end(t->c, job, t->reason.len ? t->reason : job->reason);
    return 0;
}

int st_op_finish(const struct st_op_call *c, struct st_err *err)
{
    const struct st_end *q = c->request;
    struct st_ended a;
    struct counted t = {c, q->reason};
    if (q->fence == 0)
        return st_err_set(err, ST_E_INPUT, "field 'fence': 0 is no claim");
    if (q->state == ST_JOB_FAILED && !st_reason_find(q->reason))
        return st_err_set(err, ST_E_INPUT, "field 'reason': unknown value '" ST_SV_FMT "'", ST_SV_ARG(q->reason));
    if (st_store_finish(c->store, q, max_tries(c), &a.state, err))
        return -1;
    if (c->live && st_store_get(c->store, st_sv_of(q->id), count_job, &t, err))
        return -1;
    count_work(c, q);
    return c->emit(c->ctx, &a, err);
}

// Leases that ran out, scans whose process is gone. Also the service's own, once a second.
int st_op_sweep(const struct st_op_call *c, struct st_err *err)
{
    struct counted t = {c, ST_SV_NULL};
    return st_store_sweep(c->store, max_tries(c), count_job, &t, err);
}

// What an earlier run of this supervisor held. It asks this once, when it begins.
int st_op_reclaim(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_holder *q = c->request;
    struct counted t = {c, ST_SV_NULL};
    return st_store_reclaim(c->store, q->holder, max_tries(c), count_job, &t, err)
               ? -1
               : c->emit(c->ctx, &(struct st_done){true}, err);
}

// ---- what is going on ---------------------------------------------------------------------------

static uint64_t percent(uint64_t part, uint64_t whole, uint64_t of_none)
{
    return whole ? part * 100000 / whole : of_none;
}

#define STUCK_MS (5 * 60000)

static int count_stuck(const struct st_op_call *c, uint64_t *ret, struct st_err *err)
{
    struct st_worker_row *w;
    size_t n;
    int64_t now = st_clock_wall_ms();
    *ret = 0;
    if (st_live_workers(c->live, c->arena, &w, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        *ret += w[i].job.len && w[i].progress_ms && now - w[i].progress_ms > STUCK_MS;
    return 0;
}

int st_op_queue_stats(const struct st_op_call *c, struct st_err *err)
{
    struct st_counts k;
    struct st_queue_stats a;
    if (st_store_counts(c->store, st_clock_wall_ms() - 3600000, &k, err))
        return -1;
    uint64_t ended = k.completed + k.failed;
    a = (struct st_queue_stats){
        .queue_depth = k.pending,
        .processing = k.processing,
        .failed_jobs = k.failed,
        .completed_jobs = k.completed,
        .dead_letters = k.dead,
        .processing_rate_per_min = ended * 1000 / 60,
        .failure_rate = percent(k.failed, ended, 0),
        .oldest_job_age_min =
            k.oldest_pending_ms ? (uint64_t)ST_MAX((k.now_ms - k.oldest_pending_ms) / 60000, (int64_t)0) : 0,
        .backlog_growing = st_live_growing(c->live),
    };
    return count_stuck(c, &a.stuck_jobs, err) ? -1 : c->emit(c->ctx, &a, err);
}

static int emit_count(void *ctx, struct st_sv what, struct st_sv which, uint64_t n, struct st_err *err)
{
    const struct st_op_call *c = ctx;
    return c->emit(c->ctx, &(struct st_count_row){what, which, n}, err);
}

int st_op_pool_counts(const struct st_op_call *c, struct st_err *err)
{
    return st_store_pool_counts(c->store, emit_count, (void *)(uintptr_t)c, err);
}

static int64_t since(const struct st_op_call *c, uint64_t *ret_s)
{
    const struct st_req_last *q = c->request;
    *ret_s = q && q->last_s ? q->last_s : 86400;
    return st_clock_wall_ms() - (int64_t)*ret_s * 1000;
}

int st_op_reason_counts(const struct st_op_call *c, struct st_err *err)
{
    uint64_t window;
    return st_store_reason_counts(c->store, since(c, &window), emit_count, (void *)(uintptr_t)c, err);
}

static int add_sbom_failed(void *ctx, struct st_sv what, struct st_sv which, uint64_t n, struct st_err *err)
{
    if (st_sv_eq(which, ST_SV("sbom_failed")))
        *(uint64_t *)ctx += n;
    return 0;
}

int st_op_sbom_stats(const struct st_op_call *c, struct st_err *err)
{
    struct st_counts k;
    uint64_t failed = 0, window;
    int64_t from = since(c, &window);
    if (st_store_counts(c->store, from, &k, err) ||
        st_store_reason_counts(c->store, from, add_sbom_failed, &failed, err))
        return -1;
    struct st_sbom_stats a = {k.completed + failed, k.completed, failed,
                              percent(k.completed, k.completed + failed, 100000)};
    return c->emit(c->ctx, &a, err);
}

int st_op_stats(const struct st_op_call *c, struct st_err *err)
{
    struct st_counts k;
    struct st_durations d;
    struct st_stats a = {0};
    uint64_t failed = 0;
    int64_t from = since(c, &a.window_s);
    if (st_store_counts(c->store, from, &k, err) || st_store_durations(c->store, from, &d, err) ||
        st_store_reason_counts(c->store, from, add_sbom_failed, &failed, err))
        return -1;
    a.pending = k.pending;
    a.processing = k.processing;
    a.completed = k.completed;
    a.failed = k.failed;
    a.cancelled = k.cancelled;
    a.dead = k.dead;
    a.wait_avg_ms = d.jobs ? d.wait_sum / d.jobs : 0;
    a.wait_max_ms = d.wait_max;
    a.work_avg_ms = d.jobs ? d.work_sum / d.jobs : 0;
    a.work_max_ms = d.work_max;
    a.peak_max = d.peak_max;
    a.sbom_success_rate = percent(k.completed, k.completed + failed, 100000);
    return c->emit(c->ctx, &a, err);
}
