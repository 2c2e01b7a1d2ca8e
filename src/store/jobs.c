// Asking for jobs, and the record of local scans.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/random.h"
#include "store/db.h"

#include <stdio.h>

#define PREFIX_MIN 6
#define NO_LIMIT INT32_MAX

static struct st_sv text(const struct st_db_value *v)
{
    return v->kind == ST_DB_TEXT ? v->text : ST_SV_NULL;
}

static int word_at(const char *const *words, struct st_sv w, int other)
{
    for (int i = 0; words[i]; i++)
        if (st_sv_eq(w, st_sv_of(words[i])))
            return i;
    return other;
}

void st_job_of(const struct st_db_value *c, struct st_job *ret)
{
    *ret = (struct st_job){
        .image = text(&c[1]),
        .digest = text(&c[2]),
        .has_size = c[3].kind == ST_DB_INT,
        .size = (uint64_t)c[3].number,
        .state = (enum st_job_state)word_at(st_job_state_words, text(&c[4]), ST_JOB_STATES_MAX),
        .reason = text(&c[5]),
        .message = text(&c[6]),
        .pool = text(&c[7]),
        .attempt = (uint32_t)c[8].number,
        .created_ms = c[9].number,
        .started_ms = c[10].number,
        .updated_ms = c[11].number,
        .peak_bytes = (uint64_t)c[12].number,
        .exit_code = (int)c[13].number,
        .resumed_from = text(&c[14]),
        .options = text(&c[15]),
        .owner = text(&c[16]),
        .priority = (enum st_priority)ST_MIN((uint64_t)c[17].number, (uint64_t)ST_PRIORITY_CRITICAL),
        .tries = (uint32_t)c[18].number,
        .fence = (uint64_t)c[19].number,
        .worker = text(&c[20]),
        .cancel = c[21].number != 0,
        .dead = c[22].number != 0,
        .wait_ms = ST_MAX(c[23].number, (int64_t)0),
        .result = text(&c[24]),
        .host = text(&c[25]),
        .unknowns = (uint64_t)c[26].number,
        .packages = (uint64_t)c[27].number,
    };
    ret->ended = ret->state != ST_JOB_PENDING && ret->state != ST_JOB_PROCESSING;
    snprintf(ret->id, sizeof ret->id, ST_SV_FMT, ST_SV_ARG(st_sv_sub(text(&c[0]), 0, ST_JOB_ID)));
}

int st_job_keep(void *kept, const struct st_db_value *col, struct st_err *err)
{
    struct st_job_kept *k = kept;
    struct st_job j;
    st_job_of(col, &j);
    struct st_sv *texts[] = {&j.image,        &j.digest,  &j.reason, &j.message, &j.pool, &j.worker,
                             &j.resumed_from, &j.options, &j.owner,  &j.result,  &j.host};
    size_t total = 1, at = 0;
    for (size_t i = 0; i < ST_LEN(texts); i++)
        total += texts[i]->len;
    char *p = realloc(k->texts, total);
    if (!p)
        return st_err_nomem(err);
    for (size_t i = 0; i < ST_LEN(texts); i++) {
        if (texts[i]->len)
            memcpy(p + at, texts[i]->ptr, texts[i]->len);
        texts[i]->ptr = p + at;
        at += texts[i]->len;
    }
    k->texts = p;
    k->job = j;
    return 0;
}

void st_job_kept_release(struct st_job_kept *k)
{
    free(k->texts);
}

int st_store_new_id(char ret[static ST_JOB_ID + 1], struct st_err *err)
{
    return st_random_hex(ret, ST_JOB_ID, err);
}

// ---- local scans --------------------------------------------------------------------------------

int st_store_begin(struct st_store *s, struct st_job *job, struct st_err *err)
{
    char owner[ST_OWNER_TEXT];
    int64_t now = 0;
    if (st_store_new_id(job->id, err))
        return -1;
    st_owner_self(owner);
    if (ST_DB_RUN(
            s, st_db_number, &now, err,
            "INSERT INTO jobs(id, image, digest, size, status, attempt, tries, created_ms, started_ms, updated_ms, "
            "resumed_from, options, owner) VALUES(?1, ?2, ?3, ?4, 'processing', ?5, ?5, st_wall_now(), "
            "st_wall_now(), st_wall_now(), ?6, ?7, ?8) RETURNING created_ms",
            ST_DB_T(st_sv_of(job->id)), ST_DB_T(job->image), ST_DB_T(job->digest),
            job->has_size ? ST_DB_N(job->size) : ST_DB_NIL, ST_DB_N(job->attempt), ST_DB_T(job->resumed_from),
            ST_DB_T(job->options.len ? job->options : ST_SV("{}")), ST_DB_T(st_sv_of(owner))) < 0)
        return -1;
    job->state = ST_JOB_PROCESSING;
    job->created_ms = job->started_ms = job->updated_ms = now;
    return 0;
}

// ---- one, several -------------------------------------------------------------------------------

struct walk {
    st_job_row_fn *row;
    void *ctx;
};

static int walk_row(void *ctx, const struct st_db_value *col, struct st_err *err)
{
    struct walk *w = ctx;
    struct st_job job;
    st_job_of(col, &job);
    return w->row(w->ctx, &job, err);
}

// [prefix, end): the ids that start with it. 'g' is the next after the hex digits.
static int prefix_end(struct st_sv prefix, char ret_end[static ST_JOB_ID + 2], struct st_err *err)
{
    if (!st_sv_is_hex(prefix) || prefix.len < PREFIX_MIN || prefix.len > ST_JOB_ID)
        return st_err_set(err, ST_E_USAGE, "invalid job id '" ST_SV_FMT "' (%d to %d hex digits, lowercase)",
                          ST_SV_ARG(st_sv_sub(prefix, 0, 100)), PREFIX_MIN, ST_JOB_ID);
    snprintf(ret_end, ST_JOB_ID + 2, ST_SV_FMT "g", ST_SV_ARG(prefix));
    return 0;
}

struct find {
    struct st_job_kept kept;
    int n;
};

static int find_row(void *ctx, const struct st_db_value *col, struct st_err *err)
{
    struct find *f = ctx;
    f->n++;
    return st_job_keep(&f->kept, col, err);
}

int st_job_find(struct st_store *s, struct st_sv prefix, struct st_job_kept *ret, struct st_err *err)
{
    char end[ST_JOB_ID + 2];
    struct find f = {{.texts = NULL}, 0};
    if (prefix_end(prefix, end, err))
        return -1;
    int64_t rc = ST_DB_RUN(s, find_row, &f, err,
                           "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 2",
                           ST_DB_T(prefix), ST_DB_T(st_sv_of(end)));
    if (rc < 0 || f.n != 1) {
        st_job_kept_release(&f.kept);
        if (rc < 0)
            return -1;
        if (f.n)
            return st_err_set(err, ST_E_USAGE, "job id '" ST_SV_FMT "' is ambiguous: several jobs start with it",
                              ST_SV_ARG(prefix));
        return st_err_set(err, ST_E_NOTFOUND, "no job '" ST_SV_FMT "' (stella scanner jobs list shows them)",
                          ST_SV_ARG(prefix));
    }
    *ret = f.kept;
    return 0;
}

int st_store_get(struct st_store *s, struct st_sv prefix, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    ST_AUTO(st_job_kept_release) struct st_job_kept k = {.texts = NULL};
    return st_job_find(s, prefix, &k, err) ? -1 : row(ctx, &k.job, err);
}

#define LIST_ORDER " ORDER BY updated_ms DESC, id LIMIT ?2"

// One index walk for each word: a rare word does not make the database read all jobs. Ids are merged, not rows, which
// differ by the moment at which wait_ms was computed.
static int list_words(struct st_store *s, const struct st_job_filter *f, struct walk *w, struct st_err *err)
{
    char sql[1024 + ST_FILTER_WORDS * 200];
    struct st_db_value params[2 + ST_FILTER_WORDS] = {ST_DB_N(f->since_ms), ST_DB_N(f->limit ? f->limit : NO_LIMIT)};
    struct st_sv rest = st_sv_of(f->words), word;
    size_t n = 2, len = (size_t)snprintf(sql, sizeof sql, "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE id IN (");
    while (n < ST_LEN(params) && st_sv_split(&rest, ',', &word)) {
        bool state = word_at(st_job_state_words, word, -1) >= 0;
        params[n++] = ST_DB_T(word);
        int k = snprintf(
            sql + len, sizeof sql - len,
            "%sSELECT id FROM (SELECT id, updated_ms FROM jobs WHERE %s = ?%zu%s AND updated_ms >= ?1" LIST_ORDER
            ") AS t%zu",
            n > 3 ? " UNION " : "", state ? "status" : "reason", n, state ? "" : " AND reason <> ''", n);
        len += k > 0 ? (size_t)k : 0;
        if (len >= sizeof sql - sizeof LIST_ORDER)
            return st_err_set(err, ST_E_INTERNAL, "the status list is too long");
    }
    snprintf(sql + len, sizeof sql - len, ")" LIST_ORDER);
    return st_db_run(s, sql, true, params, n, walk_row, w, err) < 0 ? -1 : 0;
}

int st_store_list(struct st_store *s, const struct st_job_filter *f, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    struct walk w = {row, ctx};
    if (f->words[0] && !f->dead)
        return list_words(s, f, &w, err);
    const struct st_db_value params[] = {ST_DB_N(f->since_ms), ST_DB_N(f->limit ? f->limit : NO_LIMIT)};
    const char *sql = f->dead ? "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE dead = 1 AND updated_ms >= ?1" LIST_ORDER
                              : "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE updated_ms >= ?1" LIST_ORDER;
    return st_db_run(s, sql, false, params, 2, walk_row, &w, err) < 0 ? -1 : 0;
}

int st_store_newest(struct st_store *s, struct st_sv image, struct st_sv digest, int64_t since_ms, st_job_row_fn *row,
                    void *ctx, struct st_err *err)
{
    struct walk w = {row, ctx};
    const struct st_db_value params[] = {ST_DB_T(digest.len ? digest : image), ST_DB_N(since_ms)};
    const char *sql = digest.len ? "SELECT " ST_JOB_COLUMNS
                                   " FROM jobs WHERE digest = ?1 AND updated_ms >= ?2 ORDER BY "
                                   "updated_ms DESC, attempt DESC LIMIT 1"
                                 : "SELECT " ST_JOB_COLUMNS " FROM jobs WHERE image = ?1 AND updated_ms >= ?2 ORDER BY "
                                   "updated_ms DESC, attempt DESC LIMIT 1";
    return (int)st_db_run(s, sql, false, params, 2, walk_row, &w, err);
}

struct attempt_walk {
    st_attempt_row_fn *row;
    void *ctx;
};

static int attempt_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct attempt_walk *w = ctx;
    struct st_attempt a = {
        .attempt = (uint32_t)c[1].number,
        .fence = (uint64_t)c[2].number,
        .worker = text(&c[3]),
        .pool = text(&c[4]),
        .started_ms = c[5].number,
        .ended_ms = c[6].number,
        .outcome = text(&c[7]),
        .reason = text(&c[8]),
        .message = text(&c[9]),
        .evidence = text(&c[10]),
        .config = text(&c[11]),
        .peak_bytes = (uint64_t)c[12].number,
        .memory_limit = (uint64_t)c[13].number,
        .exit_code = (int)c[14].number,
        .signal = (int)c[15].number,
    };
    snprintf(a.job, sizeof a.job, ST_SV_FMT, ST_SV_ARG(st_sv_sub(text(&c[0]), 0, ST_JOB_ID)));
    return w->row(w->ctx, &a, err);
}

int st_store_attempts(struct st_store *s, const char *id, st_attempt_row_fn *row, void *ctx, struct st_err *err)
{
    struct attempt_walk w = {row, ctx};
    return ST_DB_RUN(
               s, attempt_row, &w, err,
               "SELECT job, attempt, fence, worker, pool, started_ms, ended_ms, outcome, reason, message, evidence, "
               "config, peak_bytes, memory_limit, exit_code, signal FROM attempts WHERE job = ?1 ORDER BY attempt",
               ST_DB_T(st_sv_of(id))) < 0
               ? -1
               : 0;
}

// ---- counts -------------------------------------------------------------------------------------

static int counts_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct st_counts *k = ctx;
    *k = (struct st_counts){(uint64_t)c[0].number, (uint64_t)c[1].number, (uint64_t)c[2].number, (uint64_t)c[3].number,
                            (uint64_t)c[4].number, (uint64_t)c[5].number, c[6].number,           c[7].number};
    return 0;
}

// What waits or is in work comes from the index jobs_active alone, in one walk.
int st_store_counts(struct st_store *s, int64_t since_ms, struct st_counts *ret, struct st_err *err)
{
    return ST_DB_RUN(s, counts_row, ret, err,
                     "SELECT a.pending, a.processing, (SELECT count(*) FROM jobs WHERE dead = 1),"
                     " (SELECT count(*) FROM jobs WHERE status = 'completed' AND updated_ms >= ?1),"
                     " (SELECT count(*) FROM jobs WHERE status = 'failed' AND updated_ms >= ?1),"
                     " (SELECT count(*) FROM jobs WHERE status = 'cancelled' AND updated_ms >= ?1),"
                     " a.oldest, st_wall_now() FROM"
                     " (SELECT COALESCE(sum(CASE WHEN status = 'pending' THEN 1 ELSE 0 END), 0) AS pending,"
                     " COALESCE(sum(CASE WHEN status = 'processing' THEN 1 ELSE 0 END), 0) AS processing,"
                     " COALESCE(min(CASE WHEN status = 'pending' THEN created_ms END), 0) AS oldest"
                     " FROM jobs WHERE status IN ('pending', 'processing')) a",
                     ST_DB_N(since_ms)) < 0
               ? -1
               : 0;
}

struct count_walk {
    st_count_row_fn *row;
    void *ctx;
};

static int count_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct count_walk *w = ctx;
    return w->row(w->ctx, text(&c[0]), text(&c[1]), (uint64_t)c[2].number, err);
}

int st_store_pool_counts(struct st_store *s, st_count_row_fn *row, void *ctx, struct st_err *err)
{
    struct count_walk w = {row, ctx};
    return ST_DB_RUN(s, count_row, &w, err,
                     "SELECT status, pool, count(*) FROM jobs WHERE status IN ('pending', 'processing') "
                     "GROUP BY status, pool ORDER BY status, pool") < 0
               ? -1
               : 0;
}

int st_store_cancels(struct st_store *s, uint64_t *ret, struct st_err *err)
{
    int64_t n = 0;
    if (ST_DB_RUN(s, st_db_number, &n, err, "SELECT count(*) FROM jobs WHERE status = 'processing' AND cancel = 1") < 0)
        return -1;
    *ret = (uint64_t)n;
    return 0;
}

int st_store_reason_counts(struct st_store *s, int64_t since_ms, st_count_row_fn *row, void *ctx, struct st_err *err)
{
    struct count_walk w = {row, ctx};
    return ST_DB_RUN(
               s, count_row, &w, err,
               "SELECT status, reason, count(*) FROM jobs WHERE status IN ('completed', 'failed', 'cancelled') AND "
               "updated_ms >= ?1 GROUP BY status, reason ORDER BY status, reason",
               ST_DB_N(since_ms)) < 0
               ? -1
               : 0;
}

static int durations_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct st_durations *d = ctx;
    *d = (struct st_durations){(uint64_t)c[0].number, (uint64_t)c[1].number, (uint64_t)c[2].number,
                               (uint64_t)c[3].number, (uint64_t)c[4].number, (uint64_t)c[5].number};
    return 0;
}

int st_store_durations(struct st_store *s, int64_t since_ms, struct st_durations *ret, struct st_err *err)
{
    return ST_DB_RUN(s, durations_row, ret, err,
                     "SELECT count(*), CAST(COALESCE(sum(started_ms - created_ms), 0) AS BIGINT), "
                     "COALESCE(max(started_ms - created_ms), 0), "
                     "CAST(COALESCE(sum(updated_ms - started_ms), 0) AS BIGINT), "
                     "COALESCE(max(updated_ms - started_ms), 0), COALESCE(max(peak_bytes), 0) "
                     "FROM jobs WHERE status = 'completed' AND updated_ms >= ?1",
                     ST_DB_N(since_ms)) < 0
               ? -1
               : 0;
}
