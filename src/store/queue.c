// The queue: submit, claim, leases, ends. Every change of a claimed job names its fence.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "store/db.h"
#include "stream/stream.h"

#include <stdio.h>
#include <time.h>

#define IMAGE_MAX 2048 // an index of PostgreSQL takes no more
#define BACKOFF_MS 5000
#define BACKOFF_MAX_MS 120000
#define SWEEP_MAX 256
#define SETTLE_MS 5000 // that a database which went away during a commit may take to come back
#define SETTLE_STEP_MS 100

#define AUTO_KEPT ST_AUTO(st_job_kept_release) struct st_job_kept

// Workers are called HOST/POOL-N.
static struct st_sv host_of(struct st_sv worker)
{
    struct st_sv host, rest;
    st_sv_cut(worker, '/', &host, &rest);
    return host;
}

// HOST/INSTALLATION/RUN without the run; empty where it is not of this form.
static struct st_sv installation_of(struct st_sv holder)
{
    size_t run = st_sv_rfind(holder, '/');
    return run == ST_SV_NPOS || st_sv_find(holder, '/') == run ? ST_SV_NULL : st_sv_sub(holder, 0, run);
}

// ---- submit -------------------------------------------------------------------------------------

struct submit {
    const struct st_submit *sub;
    char id[ST_JOB_ID + 1], key[ST_DIGEST_HEX + 1];
    struct st_job_kept kept;
    bool made;
};

static void add_part(struct st_sha256 *h, struct st_sv part)
{
    st_sha256_add(h, part.ptr, part.len);
    st_sha256_add(h, "", 1);
}

static int submit_key(struct submit *t, struct st_err *err)
{
    struct st_mem mem;
    st_mem_init(&mem, 1 << 16, -1);
    struct st_sha256 *h = st_sha256_new(&mem, err);
    if (!h)
        return -1;
    add_part(h, t->sub->digest.len ? ST_SV("digest") : ST_SV("image"));
    add_part(h, t->sub->digest.len ? t->sub->digest : t->sub->image);
    add_part(h, t->sub->options);
    st_sha256_hex(h, t->key);
    st_sha256_free(h);
    st_mem_release(&mem);
    return 0;
}

static int submit_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct submit *t = ctx;
    const struct st_submit *sub = t->sub;
    struct st_sv id = st_sv_of(t->id), key = st_sv_of(t->key);
    if (sub->fresh && ST_DB_RUN(s, NULL, NULL, err, "UPDATE jobs SET answers = 0 WHERE submit_key = ?1 AND answers = 1",
                                ST_DB_T(key)) < 0)
        return -1;
    // The unique index decides between two that come at once.
    int64_t made = ST_DB_RUN(
        s, NULL, NULL, err,
        "INSERT INTO jobs(id, image, digest, size, status, pool, attempt, created_ms, started_ms, updated_ms, options, "
        "priority, ready_at, submit_key, answers, only_host) VALUES(?1, ?2, ?3, ?4, 'pending', ?5, 0, st_wall_now(), "
        "0, "
        "st_wall_now(), ?6, ?7, st_lease_now(), ?8, 1, ?9) ON CONFLICT(submit_key) WHERE answers = 1 DO NOTHING",
        ST_DB_T(id), ST_DB_T(sub->image), ST_DB_T(sub->digest), sub->has_size ? ST_DB_N(sub->size) : ST_DB_NIL,
        ST_DB_T(sub->pool), ST_DB_T(sub->options.len ? sub->options : ST_SV("{}")), ST_DB_N(sub->priority),
        ST_DB_T(key), ST_DB_T(sub->only_host));
    if (made < 0)
        return -1;
    t->made = made == 1;
    int64_t n = ST_DB_RUN(s, st_job_keep, &t->kept, err,
                          "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE submit_key = ?1 AND answers = 1", ST_DB_T(key));
    if (n == 0)
        return st_err_set(err, ST_E_RETRY, "the job that answers for this image ended just now");
    return n < 0 || (t->made && s->ops->notify(s, err)) ? -1 : 0;
}

// The connection broke in the commit, whose answer is lost: is the job there? Its id is nobody else's. 0 with t->kept
// if so; -1 with the error as it was if not, or when the database stays away.
static int look_again(struct st_store *s, struct submit *t, struct st_err *err)
{
    struct st_err why = {.code = ST_E_RETRY};
    int64_t until = st_clock_mono_ms() + SETTLE_MS;
    while (why.code == ST_E_RETRY && st_clock_mono_ms() < until) {
        nanosleep(&(struct timespec){0, SETTLE_STEP_MS * 1000000L}, NULL); // a commit under way ends, too
        st_job_kept_release(&t->kept);
        t->kept = (struct st_job_kept){.texts = NULL};
        why = (struct st_err){0};
        int64_t n = ST_DB_RUN(s, st_job_keep, &t->kept, &why, "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE id = ?1",
                              ST_DB_T(st_sv_of(t->id)));
        if (n >= 0)
            return n ? 0 : -1;
    }
    char text[ST_ERR_TEXT_MAX];
    snprintf(text, sizeof text, "%s", err->text);
    return st_err_set(err, err->code, "%.300s; it may have become job %.12s", text, t->id);
}

int st_store_submit(struct st_store *s, const struct st_submit *sub, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    struct submit t = {.sub = sub};
    if (!sub->image.len || sub->image.len > IMAGE_MAX)
        return st_err_set(err, ST_E_USAGE, "an image reference has 1 to %d bytes", IMAGE_MAX);
    if (sub->digest.len > 200)
        return st_err_set(err, ST_E_USAGE, "invalid digest (example: sha256:0123...)");
    if (sub->id)
        memcpy(t.id, sub->id, sizeof t.id);
    if ((!sub->id && st_store_new_id(t.id, err)) || submit_key(&t, err))
        return -1;
    int rc = st_db_transact(s, submit_tx, &t, err);
    if (rc && t.made && err && err->code == ST_E_RETRY)
        rc = look_again(s, &t, err);
    t.kept.job.made = t.made;
    if (rc == 0)
        rc = row(ctx, &t.kept.job, err);
    st_job_kept_release(&t.kept);
    return rc ? -1 : t.made;
}

// ---- claim --------------------------------------------------------------------------------------

// By priority, each with one probe of jobs_claim: a job that backs off does not hold up those of lower priority.
#define FIRST_OF(p)                                                                                                \
    "(SELECT id FROM jobs WHERE status = 'pending' AND pool = ?1 AND priority = " p " AND ready_at <= "            \
    "st_lease_now() AND only_host IN ('', ?4, ?6) ORDER BY ready_at, created_ms, id LIMIT 1 /*pg FOR UPDATE SKIP " \
    "LOCKED "                                                                                                      \
    "pg*/)"

struct claim {
    const struct st_claim *c;
    struct st_job_kept kept;
    int64_t found;
};

static int claim_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct claim *t = ctx;
    const struct st_claim *c = t->c;
    t->found = ST_DB_RUN(
        s, st_job_keep, &t->kept, err,
        "UPDATE jobs SET status = 'processing', reason = '', message = '', attempt = attempt + 1, tries = tries + 1, "
        "fence = fence + 1, worker = ?2, holder = ?5, lease_ms = ?3, lease_until = st_lease_now() + ?3, cancel = 0, "
        "started_ms = st_wall_now(), "
        "updated_ms = st_wall_now(), peak_bytes = 0, exit_code = 0, result = '', host = '', unknowns = 0, packages = 0 "
        "WHERE id = COALESCE(" FIRST_OF("3") ", " FIRST_OF("2") ", " FIRST_OF("1") ", " FIRST_OF(
            "0") ") AND status = 'pending' RETURNING " ST_JOB_COLUMNS,
        ST_DB_T(c->pool), ST_DB_T(c->worker), ST_DB_N(c->lease_ms), ST_DB_T(host_of(c->worker)), ST_DB_T(c->holder),
        ST_DB_T(installation_of(c->holder)));
    if (t->found <= 0)
        return (int)t->found;
    const struct st_job *j = &t->kept.job;
    return ST_DB_RUN(s, NULL, NULL, err,
                     "INSERT INTO attempts(job, attempt, fence, worker, pool, started_ms, config, memory_limit) "
                     "VALUES(?1, ?2, ?3, ?4, ?5, st_wall_now(), ?6, ?7)",
                     ST_DB_T(st_sv_of(j->id)), ST_DB_N(j->attempt), ST_DB_N(j->fence), ST_DB_T(c->worker),
                     ST_DB_T(c->pool), ST_DB_T(c->config), ST_DB_N(c->memory_limit)) < 0
               ? -1
               : 0;
}

int st_store_claim(struct st_store *s, const struct st_claim *c, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    struct claim t = {.c = c};
    // Most often there is nothing: that is no reason to take the right to write.
    int64_t ready =
        ST_DB_RUN(s, NULL, NULL, err,
                  "SELECT 1 WHERE COALESCE((SELECT min(ready_at) FROM jobs WHERE status = 'pending' AND pool = "
                  "?1 AND priority = 3), st_lease_now() + 1) <= st_lease_now() OR COALESCE((SELECT "
                  "min(ready_at) FROM jobs WHERE status = 'pending' AND pool = ?1 AND priority = 2), "
                  "st_lease_now() + 1) <= st_lease_now() OR COALESCE((SELECT min(ready_at) FROM jobs WHERE "
                  "status = 'pending' AND pool = ?1 AND priority = 1), st_lease_now() + 1) <= st_lease_now() OR "
                  "COALESCE((SELECT min(ready_at) FROM jobs WHERE status = 'pending' AND pool = ?1 AND "
                  "priority = 0), st_lease_now() + 1) <= st_lease_now()",
                  ST_DB_T(c->pool));
    if (ready <= 0)
        return (int)ready;
    int rc = st_db_transact(s, claim_tx, &t, err);
    if (rc == 0 && t.found)
        rc = row(ctx, &t.kept.job, err);
    st_job_kept_release(&t.kept);
    return rc ? -1 : t.found > 0;
}

// ---- the holder of a lease -----------------------------------------------------------------------

int st_store_renew(struct st_store *s, const char *id, uint64_t fence, uint64_t lease_ms, enum st_lease *ret,
                   struct st_err *err)
{
    int64_t cancel = 0;
    int64_t n = ST_DB_RUN(
        s, st_db_number, &cancel, err,
        "UPDATE jobs SET lease_ms = ?3, lease_until = st_lease_now() + ?3 WHERE id = ?1 AND fence = ?2 AND status = "
        "'processing' RETURNING cancel",
        ST_DB_T(st_sv_of(id)), ST_DB_N(fence), ST_DB_N(lease_ms));
    if (n < 0)
        return -1;
    *ret = n == 0 ? ST_LEASE_LOST : cancel ? ST_LEASE_CANCEL : ST_LEASE_HELD;
    return 0;
}

static int lost(const char *id, struct st_err *err)
{
    return st_err_set(err, ST_E_CONFLICT, "the lease of job %.32s is lost: nothing was changed", id);
}

int st_store_subject(struct st_store *s, const char *id, uint64_t fence, struct st_sv digest, uint64_t size,
                     struct st_err *err)
{
    int64_t n =
        ST_DB_RUN(s, NULL, NULL, err,
                  "UPDATE jobs SET digest = ?3, size = ?4, updated_ms = st_wall_now() WHERE id = ?1 AND fence = ?2 "
                  "AND status = 'processing'",
                  ST_DB_T(st_sv_of(id)), ST_DB_N(fence), ST_DB_T(st_sv_sub(digest, 0, 200)),
                  ST_DB_N(ST_MIN(size, (uint64_t)INT64_MAX)));
    return n < 0 ? -1 : n == 0 ? lost(id, err) : 0;
}

struct release {
    const char *id;
    uint64_t fence;
    struct st_sv message;
};

static int release_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct release *t = ctx;
    int64_t n =
        ST_DB_RUN(s, NULL, NULL, err,
                  "UPDATE jobs SET status = CASE WHEN cancel = 1 THEN 'cancelled' ELSE 'pending' END, "
                  "answers = CASE WHEN cancel = 1 THEN 0 ELSE answers END, tries = tries - 1, worker = '', cancel "
                  "= 0, ready_at = st_lease_now(), lease_until = 0, updated_ms = st_wall_now() "
                  "WHERE id = ?1 AND fence = ?2 AND status = 'processing'",
                  ST_DB_T(st_sv_of(t->id)), ST_DB_N(t->fence));
    if (n <= 0)
        return n ? -1 : lost(t->id, err);
    if (ST_DB_RUN(s, NULL, NULL, err,
                  "UPDATE attempts SET outcome = 'released', message = ?3, ended_ms = st_wall_now() WHERE job = ?1 AND "
                  "fence = ?2",
                  ST_DB_T(st_sv_of(t->id)), ST_DB_N(t->fence), ST_DB_T(t->message)) < 0)
        return -1;
    return s->ops->notify(s, err);
}

int st_store_release(struct st_store *s, const char *id, uint64_t fence, struct st_sv message, struct st_err *err)
{
    struct release t = {id, fence, message};
    return st_db_transact(s, release_tx, &t, err);
}

struct finish {
    const struct st_end *end;
    uint32_t max_tries;
    bool expired; // only when the lease has run out
    bool at_once; // tried again without a backoff
    enum st_job_state state;
};

// What becomes of the job.
static void decide(const struct st_job *j, struct finish *t, bool *ret_dead, int64_t *ret_backoff)
{
    const struct st_end *e = t->end;
    bool more = j->tries < t->max_tries;
    t->state = e->state;
    *ret_dead = false;
    *ret_backoff = 0;
    if (j->cancel && e->state == ST_JOB_FAILED)
        t->state = ST_JOB_CANCELLED;
    else if (e->state == ST_JOB_FAILED && e->fence && e->again) {
        t->state = more ? ST_JOB_PENDING : ST_JOB_FAILED;
        *ret_dead = !more;
        if (!e->pool.len && !t->at_once)
            *ret_backoff = ST_MIN((int64_t)BACKOFF_MS << ST_MIN(j->tries - 1, 8u), (int64_t)BACKOFF_MAX_MS);
    }
}

static int end_job(struct st_store *s, struct finish *t, const struct st_job *j, struct st_err *err)
{
    const struct st_end *e = t->end;
    bool dead;
    int64_t backoff;
    decide(j, t, &dead, &backoff);
    // A job without a digest was submitted by a name, which may mean another image tomorrow.
    bool answers = t->state == ST_JOB_PENDING || (t->state == ST_JOB_COMPLETED && j->digest.len);
    struct st_sv pool = t->state == ST_JOB_PENDING && e->pool.len ? e->pool : j->pool;
    bool quiet = t->state == ST_JOB_COMPLETED || t->state == ST_JOB_CANCELLED;
    return ST_DB_RUN(
               s, NULL, NULL, err,
               "UPDATE jobs SET status = ?2, reason = ?3, message = ?4, peak_bytes = ?5, exit_code = ?6, "
               "resumed_from = ?7, dead = ?8, pool = ?9, ready_at = st_lease_now() + ?10, worker = '', cancel = 0, "
               "lease_until = 0, answers = CASE WHEN ?11 = 1 THEN answers ELSE 0 END, "
               "updated_ms = st_wall_now(), owner = '', result = ?12, host = ?13, unknowns = ?14, packages = ?15 WHERE "
               "id = "
               "?1",
               ST_DB_T(st_sv_of(e->id)), ST_DB_T(st_sv_of(st_job_state_word(t->state))),
               ST_DB_T(quiet ? ST_SV_NULL : e->reason), ST_DB_T(e->message), ST_DB_N(e->peak_bytes),
               ST_DB_N(e->exit_code), ST_DB_T(e->resumed_from.len ? e->resumed_from : j->resumed_from), ST_DB_N(dead),
               ST_DB_T(pool), ST_DB_N(backoff), ST_DB_N(answers), ST_DB_T(e->result),
               ST_DB_T(!e->result.len ? ST_SV_NULL
                       : e->host.len  ? e->host
                                      : host_of(j->worker)),
               ST_DB_N(ST_MIN(e->unknowns, (uint64_t)INT64_MAX)), ST_DB_N(ST_MIN(e->packages, (uint64_t)INT64_MAX))) < 0
               ? -1
               : 0;
}

static int finish_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct finish *t = ctx;
    const struct st_end *e = t->end;
    struct st_sv id = st_sv_of(e->id);
    AUTO_KEPT k = {.texts = NULL};
    int64_t n =
        ST_DB_RUN(s, st_job_keep, &k, err,
                  "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE id = ?1 AND fence = ?2 AND status = 'processing' AND "
                  "(?3 = 0 OR lease_until <= st_lease_now()) /*pg FOR UPDATE pg*/",
                  ST_DB_T(id), ST_DB_N(e->fence), ST_DB_N(t->expired));
    if (n <= 0)
        return n ? -1 : lost(e->id, err);
    if (end_job(s, t, &k.job, err) ||
        ST_DB_RUN(
            s, NULL, NULL, err,
            "UPDATE attempts SET outcome = ?3, reason = ?4, message = ?5, evidence = ?6, peak_bytes = ?7, exit_code = "
            "?8, signal = ?9, ended_ms = st_wall_now() WHERE job = ?1 AND fence = ?2",
            ST_DB_T(id), ST_DB_N(e->fence), ST_DB_T(st_sv_of(st_job_state_word(e->state))), ST_DB_T(e->reason),
            ST_DB_T(e->message), ST_DB_T(e->evidence), ST_DB_N(e->peak_bytes), ST_DB_N(e->exit_code),
            ST_DB_N(e->signal)) < 0)
        return -1;
    return t->state == ST_JOB_PENDING ? s->ops->notify(s, err) : 0;
}

int st_store_finish(struct st_store *s, const struct st_end *end, uint32_t max_tries, enum st_job_state *ret_state,
                    struct st_err *err)
{
    struct finish t = {.end = end, .max_tries = max_tries};
    if (end->state != ST_JOB_COMPLETED && end->state != ST_JOB_FAILED && end->state != ST_JOB_CANCELLED)
        return st_err_set(err, ST_E_INPUT, "a job ends completed, failed or cancelled");
    if (st_db_transact(s, finish_tx, &t, err))
        return -1;
    if (ret_state)
        *ret_state = t.state;
    return 0;
}

// ---- people -------------------------------------------------------------------------------------

struct change {
    struct st_retry r;
    struct st_job_kept kept;
};

// The job as it is after the change.
static int again(struct st_store *s, struct change *t, struct st_err *err)
{
    char id[ST_JOB_ID + 1];
    memcpy(id, t->kept.job.id, sizeof id);
    return ST_DB_RUN(s, st_job_keep, &t->kept, err, "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE id = ?1",
                     ST_DB_T(st_sv_of(id))) < 0
               ? -1
               : 0;
}

static int cancel_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct change *t = ctx;
    if (st_job_find(s, t->r.prefix, &t->kept, err))
        return -1;
    struct st_sv id = st_sv_of(t->kept.job.id);
    int64_t n =
        ST_DB_RUN(s, NULL, NULL, err,
                  "UPDATE jobs SET cancel = CASE status WHEN 'processing' THEN 1 ELSE 0 END, "
                  "answers = 0, reason = '', status = CASE status WHEN 'pending' THEN 'cancelled' ELSE status END, "
                  "updated_ms = st_wall_now() WHERE id = ?1 AND status IN ('pending', 'processing')",
                  ST_DB_T(id));
    if (n < 0)
        return -1;
    if (n == 0)
        return st_err_set(err, ST_E_USAGE, "job %.12s is %s already: there is nothing to cancel", t->kept.job.id,
                          st_job_state_word(t->kept.job.state));
    return again(s, t, err) ? -1 : s->ops->notify(s, err); // its worker may be another host's
}

int st_store_cancel(struct st_store *s, struct st_sv prefix, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    struct change t = {.r.prefix = prefix};
    int rc = st_db_transact(s, cancel_tx, &t, err);
    if (rc == 0)
        rc = row(ctx, &t.kept.job, err);
    st_job_kept_release(&t.kept);
    return rc;
}

static int may_retry(const struct change *t, struct st_err *err)
{
    const struct st_job *j = &t->kept.job;
    if (!j->pool.len)
        return st_err_set(err, ST_E_USAGE, "job %.12s was a local scan: stella scan image " ST_SV_FMT " --retry", j->id,
                          ST_SV_ARG(st_sv_sub(j->image, 0, 200)));
    if (j->state == ST_JOB_COMPLETED && !t->r.force)
        return st_err_set(err, ST_E_USAGE, "job %.12s completed; --force scans it again", j->id);
    if (j->tries >= t->r.max_tries && !t->r.force)
        return st_err_set(err, ST_E_FAILED, "job %.12s used up its %u attempts; --force tries again", j->id,
                          t->r.max_tries);
    return 0;
}

static int retry_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct change *t = ctx;
    if (st_job_find(s, t->r.prefix, &t->kept, err))
        return -1;
    const struct st_job *j = &t->kept.job;
    if (j->pool.len && (j->state == ST_JOB_PENDING || j->state == ST_JOB_PROCESSING))
        return 0;
    if (may_retry(t, err))
        return -1;
    int64_t n = ST_DB_RUN(
        s, NULL, NULL, err,
        "UPDATE jobs SET status = 'pending', reason = '', dead = 0, cancel = 0, ready_at = st_lease_now(), tries = "
        "CASE "
        "WHEN ?3 = 1 THEN 0 ELSE tries END, pool = CASE WHEN ?2 = '' THEN pool ELSE ?2 END, answers = CASE WHEN "
        "EXISTS(SELECT 1 FROM jobs o WHERE o.submit_key = jobs.submit_key AND o.answers = 1 AND o.id <> jobs.id) THEN "
        "0 "
        "ELSE 1 END, only_host = CASE WHEN ?5 = '' THEN only_host ELSE ?5 END, updated_ms = st_wall_now() WHERE id = "
        "?1 "
        "AND status = ?4",
        ST_DB_T(st_sv_of(j->id)), ST_DB_T(t->r.pool), ST_DB_N(t->r.force),
        ST_DB_T(st_sv_of(st_job_state_word(j->state))), ST_DB_T(t->r.only_host));
    if (n == 0)
        return st_err_set(err, ST_E_RETRY, "job %.12s changed just now", j->id);
    return n < 0 || again(s, t, err) ? -1 : s->ops->notify(s, err);
}

int st_store_retry(struct st_store *s, const struct st_retry *r, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    struct change t = {.r = *r};
    int rc = st_db_transact(s, retry_tx, &t, err);
    if (rc == 0)
        rc = row(ctx, &t.kept.job, err);
    st_job_kept_release(&t.kept);
    return rc;
}

int st_store_set_options(struct st_store *s, const char *id, struct st_sv options, struct st_err *err)
{
    AUTO_KEPT k = {.texts = NULL};
    if (st_job_find(s, st_sv_of(id), &k, err))
        return -1;
    struct st_submit sub = {.image = k.job.image, .options = options};
    struct submit t = {.sub = &sub};
    return submit_key(&t, err) || ST_DB_RUN(s, NULL, NULL, err,
                                            "UPDATE jobs SET options = ?2, submit_key = ?3, answers = 0 WHERE id = ?1 "
                                            "AND status IN ('completed', 'failed', 'cancelled')",
                                            ST_DB_T(st_sv_of(id)), ST_DB_T(options), ST_DB_T(st_sv_of(t.key))) < 0
               ? -1
               : 0;
}

// ---- what nobody works on any more ----------------------------------------------------------------

struct stray {
    char id[ST_JOB_ID + 1];
    uint64_t fence;
    char message[200];
};

struct strays {
    struct stray at[SWEEP_MAX];
    size_t n;
    bool reclaim;
};

static int stray_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct strays *l = ctx;
    bool local = c[1].number == 0;
    if (l->n == SWEEP_MAX || (local && !st_owner_gone(c[2].text)))
        return 0;
    struct stray *x = &l->at[l->n++];
    snprintf(x->id, sizeof x->id, ST_SV_FMT, ST_SV_ARG(st_sv_sub(c[0].text, 0, ST_JOB_ID)));
    x->fence = (uint64_t)c[1].number;
    if (local)
        snprintf(x->message, sizeof x->message, "the scan ended without a word: its process is gone");
    else if (l->reclaim)
        snprintf(x->message, sizeof x->message, "the supervisor of worker " ST_SV_FMT " ended without a word",
                 ST_SV_ARG(st_sv_sub(c[3].text, 0, 100)));
    else
        snprintf(x->message, sizeof x->message, "worker " ST_SV_FMT " was not heard of until its lease ran out",
                 ST_SV_ARG(st_sv_sub(c[3].text, 0, 100)));
    return 0;
}

// reclaim: the lease counts as over, whatever its time says.
static int end_stray(struct st_store *s, const struct stray *x, bool reclaim, uint32_t max_tries, st_job_row_fn *row,
                     void *ctx, struct st_err *err)
{
    struct st_err one = {0};
    struct st_end end = {.fence = x->fence,
                         .state = ST_JOB_FAILED,
                         .reason = ST_SV("killed"),
                         .message = st_sv_of(x->message),
                         .exit_code = 1,
                         .again = true};
    memcpy(end.id, x->id, sizeof end.id);
    struct finish t = {.end = &end, .max_tries = max_tries, .expired = x->fence != 0 && !reclaim, .at_once = reclaim};
    if (st_db_transact(s, finish_tx, &t, &one)) {
        if (one.code == ST_E_CONFLICT) // it came back, or another host was first
            return 0;
        if (err)
            *err = one;
        return -1;
    }
    return row ? st_store_get(s, st_sv_of(x->id), row, ctx, err) : 0;
}

int st_store_sweep(struct st_store *s, uint32_t max_tries, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    ST_AUTO_FREE struct strays *l = calloc(1, sizeof *l);
    if (!l)
        return st_err_nomem(err);
    if (ST_DB_RUN(
            s, stray_row, l, err,
            "SELECT id, fence, owner, worker FROM jobs WHERE status = 'processing' AND ((fence > 0 AND lease_until <= "
            "st_lease_now()) OR (fence = 0 AND owner <> ''))") < 0)
        return -1;
    for (size_t i = 0; i < l->n; i++)
        if (end_stray(s, &l->at[i], false, max_tries, row, ctx, err))
            return -1;
    return 0;
}

int st_store_reclaim(struct st_store *s, struct st_sv holder, uint32_t max_tries, st_job_row_fn *row, void *ctx,
                     struct st_err *err)
{
    struct st_sv own = installation_of(holder);
    if (!own.len)
        return st_err_set(err, ST_E_INPUT, "a holder of leases is HOST/INSTALLATION/RUN");
    ST_AUTO_FREE struct strays *l = calloc(1, sizeof *l);
    if (!l)
        return st_err_nomem(err);
    l->reclaim = true;
    if (ST_DB_RUN(
            s, stray_row, l, err,
            "SELECT id, fence, owner, worker FROM jobs WHERE status = 'processing' AND fence > 0 AND holder <> ?1 "
            "AND substr(holder, 1, length(?2) + 1) = ?2 || '/'",
            ST_DB_T(holder), ST_DB_T(own)) < 0)
        return -1;
    for (size_t i = 0; i < l->n; i++)
        if (end_stray(s, &l->at[i], true, max_tries, row, ctx, err))
            return -1;
    return 0;
}

static int clock_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    int64_t n = ST_DB_RUN(s, NULL, NULL, err,
                          "UPDATE jobs SET lease_until = st_lease_now() + lease_ms WHERE status = 'processing' AND "
                          "fence > 0 AND lease_until > st_lease_now() + lease_ms");
    if (n < 0)
        return -1;
    n = ST_DB_RUN(s, NULL, NULL, err,
                  "UPDATE jobs SET ready_at = st_lease_now() WHERE status = 'pending' AND ready_at > st_lease_now() + "
                  "?1",
                  ST_DB_N(BACKOFF_MAX_MS));
    return n < 0 || (n > 0 && s->ops->notify(s, err)) ? -1 : 0;
}

int st_store_clock_check(struct st_store *s, struct st_err *err)
{
    return st_db_transact(s, clock_tx, NULL, err);
}
