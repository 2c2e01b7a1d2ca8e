// The job record in SQLite: one file, WAL, safe for many processes at once.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "store/home.h"
#include "store/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/random.h>

#define BUSY_MS 5000
#define OPTIONS_MAX (64 * 1024) // bytes of one text column
#define PREFIX_MIN 6

struct sqlite_store {
    struct st_store base;
    sqlite3 *db;
};

// Schema steps, forward only: step N takes user_version N to N + 1. A released step is never edited.
static const char *const schema[] = {
    "CREATE TABLE jobs("
    " id TEXT PRIMARY KEY NOT NULL,"
    " image TEXT NOT NULL,"
    " digest TEXT NOT NULL DEFAULT '',"
    " size INTEGER," // NULL: not known
    " status TEXT NOT NULL,"
    " reason TEXT NOT NULL DEFAULT '',"
    " message TEXT NOT NULL DEFAULT '',"
    " pool TEXT NOT NULL DEFAULT '',"
    " attempt INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " started_ms INTEGER NOT NULL,"
    " updated_ms INTEGER NOT NULL,"
    " peak_bytes INTEGER NOT NULL DEFAULT 0,"
    " exit_code INTEGER NOT NULL DEFAULT 0,"
    " resumed_from TEXT NOT NULL DEFAULT '',"
    " options TEXT NOT NULL DEFAULT '{}',"
    " owner TEXT NOT NULL DEFAULT ''"
    ") WITHOUT ROWID;"
    "CREATE INDEX jobs_updated ON jobs(updated_ms DESC, id);"
    "CREATE INDEX jobs_image ON jobs(image, updated_ms DESC);"
    "CREATE INDEX jobs_digest ON jobs(digest, updated_ms DESC);",
};

#define COLUMNS                                                                                             \
    "id, image, digest, size, status, reason, message, pool, attempt, created_ms, started_ms, updated_ms, " \
    "peak_bytes, "                                                                                          \
    "exit_code, resumed_from, options"

static struct sqlite_store *self(struct st_store *s)
{
    return (struct sqlite_store *)s;
}

static int fail(sqlite3 *db, const char *what, struct st_err *err)
{
    int rc = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
    enum st_err_code code = rc == SQLITE_BUSY || rc == SQLITE_LOCKED ? ST_E_RETRY : ST_E_IO;
    return st_err_set(err, code, "job record: %s: %s", what, db ? sqlite3_errmsg(db) : "cannot be opened");
}

static int exec(sqlite3 *db, const char *sql, struct st_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(db, "schema", err);
}

static void finalize(sqlite3_stmt **q)
{
    sqlite3_finalize(*q);
}
#define AUTO_STMT __attribute__((cleanup(finalize)))

static sqlite3_stmt *prepare(struct st_store *s, const char *sql, struct st_err *err)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(self(s)->db, sql, -1, &q, NULL) != SQLITE_OK)
        fail(self(s)->db, "query", err);
    return q;
}

// Values longer than OPTIONS_MAX are cut: the record is for people, the limit keeps one line from filling the file.
static void bind_text(sqlite3_stmt *q, int at, struct st_sv v)
{
    sqlite3_bind_text(q, at, v.len ? v.ptr : "", (int)ST_MIN(v.len, (size_t)OPTIONS_MAX), SQLITE_STATIC);
}

static void bind_u64(sqlite3_stmt *q, int at, uint64_t v)
{
    sqlite3_bind_int64(q, at, (sqlite3_int64)ST_MIN(v, (uint64_t)INT64_MAX));
}

static int step_done(struct st_store *s, sqlite3_stmt *q, struct st_err *err)
{
    return sqlite3_step(q) == SQLITE_DONE ? 0 : fail(self(s)->db, "write", err);
}

static struct st_sv text_of(sqlite3_stmt *q, int column)
{
    const void *p = sqlite3_column_text(q, column);
    return st_sv_mem(p ? p : "", p ? (size_t)sqlite3_column_bytes(q, column) : 0);
}

static void job_of(sqlite3_stmt *q, struct st_job *ret)
{
    struct st_sv id = text_of(q, 0), status = text_of(q, 4);
    *ret = (struct st_job){
        .image = text_of(q, 1),
        .digest = text_of(q, 2),
        .has_size = sqlite3_column_type(q, 3) == SQLITE_INTEGER,
        .size = (uint64_t)sqlite3_column_int64(q, 3),
        .reason = text_of(q, 5),
        .message = text_of(q, 6),
        .pool = text_of(q, 7),
        .attempt = (uint32_t)sqlite3_column_int64(q, 8),
        .created_ms = sqlite3_column_int64(q, 9),
        .started_ms = sqlite3_column_int64(q, 10),
        .updated_ms = sqlite3_column_int64(q, 11),
        .peak_bytes = (uint64_t)sqlite3_column_int64(q, 12),
        .exit_code = sqlite3_column_int(q, 13),
        .resumed_from = text_of(q, 14),
        .options = text_of(q, 15),
        .state = ST_JOB_STATES_MAX,
    };
    snprintf(ret->id, sizeof ret->id, ST_SV_FMT, ST_SV_ARG(st_sv_sub(id, 0, ST_JOB_ID)));
    for (int i = 0; i < ST_JOB_STATES_MAX; i++)
        if (st_sv_eq(status, st_sv_of(st_job_state_word((enum st_job_state)i))))
            ret->state = (enum st_job_state)i;
}

// Rows given to `row`, or -1.
static int walk(struct st_store *s, sqlite3_stmt *q, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    int n = 0, rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct st_job job;
        job_of(q, &job);
        if (row(ctx, &job, err))
            return -1;
        n++;
    }
    return rc == SQLITE_DONE ? n : fail(self(s)->db, "read", err);
}

// ---- operations ---------------------------------------------------------------------------------

static int new_id(char ret[static ST_JOB_ID + 1], struct st_err *err)
{
    unsigned char raw[ST_JOB_ID / 2];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return st_err_sys(err, "random number of a job");
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(ret + 2 * i, 3, "%02x", raw[i]);
    return 0;
}

static int op_begin(struct st_store *s, struct st_job *job, struct st_err *err)
{
    AUTO_STMT sqlite3_stmt *q = prepare(s,
                                        "INSERT INTO jobs(id, image, digest, size, status, attempt, created_ms, "
                                        "started_ms, updated_ms, resumed_from, options, owner) "
                                        "VALUES(?1, ?2, ?3, ?4, 'processing', ?5, ?6, ?6, ?6, ?7, ?8, ?9)",
                                        err);
    char owner[ST_OWNER_TEXT];
    if (!q || new_id(job->id, err))
        return -1;
    st_owner_self(owner);
    job->state = ST_JOB_PROCESSING;
    job->created_ms = job->started_ms = job->updated_ms = st_clock_wall_ms();
    bind_text(q, 1, st_sv_of(job->id));
    bind_text(q, 2, job->image);
    bind_text(q, 3, job->digest);
    if (job->has_size)
        bind_u64(q, 4, job->size);
    bind_u64(q, 5, job->attempt);
    sqlite3_bind_int64(q, 6, job->created_ms);
    bind_text(q, 7, job->resumed_from);
    bind_text(q, 8, job->options.len ? job->options : ST_SV("{}"));
    bind_text(q, 9, st_sv_of(owner));
    return step_done(s, q, err);
}

static int op_subject(struct st_store *s, const char *id, struct st_sv digest, uint64_t size, struct st_err *err)
{
    AUTO_STMT sqlite3_stmt *q =
        prepare(s, "UPDATE jobs SET digest = ?2, size = ?3, updated_ms = ?4 WHERE id = ?1", err);
    if (!q)
        return -1;
    bind_text(q, 1, st_sv_of(id));
    bind_text(q, 2, digest);
    bind_u64(q, 3, size);
    sqlite3_bind_int64(q, 4, st_clock_wall_ms());
    return step_done(s, q, err);
}

static int op_finish(struct st_store *s, const struct st_job *job, struct st_err *err)
{
    AUTO_STMT sqlite3_stmt *q = prepare(s,
                                        "UPDATE jobs SET status = ?2, reason = ?3, message = ?4, peak_bytes = ?5, "
                                        "exit_code = ?6, resumed_from = ?7, updated_ms = ?8, owner = '' WHERE id = ?1",
                                        err);
    if (!q)
        return -1;
    bind_text(q, 1, st_sv_of(job->id));
    bind_text(q, 2, st_sv_of(st_job_state_word(job->state)));
    bind_text(q, 3, job->reason);
    bind_text(q, 4, job->message);
    bind_u64(q, 5, job->peak_bytes);
    sqlite3_bind_int(q, 6, job->exit_code);
    bind_text(q, 7, job->resumed_from);
    sqlite3_bind_int64(q, 8, st_clock_wall_ms());
    return step_done(s, q, err);
}

static int op_get(struct st_store *s, struct st_sv prefix, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    bool hex = true;
    for (size_t i = 0; i < prefix.len; i++)
        hex = hex && ((prefix.ptr[i] >= '0' && prefix.ptr[i] <= '9') || (prefix.ptr[i] >= 'a' && prefix.ptr[i] <= 'f'));
    if (!hex || prefix.len < PREFIX_MIN || prefix.len > ST_JOB_ID)
        return st_err_set(err, ST_E_USAGE, "invalid job id '" ST_SV_FMT "' (%d to %d hex digits, lowercase)",
                          ST_SV_ARG(st_sv_sub(prefix, 0, 100)), PREFIX_MIN, ST_JOB_ID);
    AUTO_STMT sqlite3_stmt *n = prepare(s, "SELECT count(*) FROM jobs WHERE id >= ?1 AND id < ?1 || 'g'", err);
    AUTO_STMT sqlite3_stmt *q =
        prepare(s, "SELECT " COLUMNS " FROM jobs WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 1", err);
    if (!n || !q)
        return -1;
    bind_text(n, 1, prefix);
    bind_text(q, 1, prefix);
    if (sqlite3_step(n) != SQLITE_ROW)
        return fail(self(s)->db, "read", err);
    if (sqlite3_column_int64(n, 0) > 1)
        return st_err_set(err, ST_E_USAGE, "job id '" ST_SV_FMT "' is ambiguous: %lld jobs start with it",
                          ST_SV_ARG(prefix), (long long)sqlite3_column_int64(n, 0));
    int got = walk(s, q, row, ctx, err);
    if (got == 0)
        return st_err_set(err, ST_E_NOTFOUND, "no job '" ST_SV_FMT "' (stella scanner jobs list shows them)",
                          ST_SV_ARG(prefix));
    return got < 0 ? -1 : 0;
}

static int op_list(struct st_store *s, const struct st_job_filter *f, st_job_row_fn *row, void *ctx, struct st_err *err)
{
    AUTO_STMT sqlite3_stmt *q = prepare(s,
                                        "SELECT " COLUMNS " FROM jobs WHERE updated_ms >= ?1 AND (?2 = '' OR "
                                        "instr(?2, ',' || status || ',') OR instr(?2, ',' || reason || ',')) "
                                        "ORDER BY updated_ms DESC, id LIMIT ?3",
                                        err);
    if (!q)
        return -1;
    sqlite3_bind_int64(q, 1, f->since_ms);
    bind_text(q, 2, st_sv_of(f->words));
    sqlite3_bind_int64(q, 3, f->limit ? (sqlite3_int64)f->limit : -1);
    return walk(s, q, row, ctx, err) < 0 ? -1 : 0;
}

static int op_newest(struct st_store *s, struct st_sv image, struct st_sv digest, int64_t since_ms, st_job_row_fn *row,
                     void *ctx, struct st_err *err)
{
    AUTO_STMT sqlite3_stmt *q = prepare(s,
                                        digest.len ? "SELECT " COLUMNS " FROM jobs WHERE digest = ?1 AND "
                                                     "updated_ms >= ?2 ORDER BY updated_ms DESC, attempt DESC LIMIT 1"
                                                   : "SELECT " COLUMNS " FROM jobs WHERE image = ?1 AND "
                                                     "updated_ms >= ?2 ORDER BY updated_ms DESC, attempt DESC LIMIT 1",
                                        err);
    if (!q)
        return -1;
    bind_text(q, 1, digest.len ? digest : image);
    sqlite3_bind_int64(q, 2, since_ms);
    return walk(s, q, row, ctx, err);
}

static int op_sweep(struct st_store *s, struct st_err *err)
{
    AUTO_STMT sqlite3_stmt *q =
        prepare(s, "SELECT id, owner FROM jobs WHERE status = 'processing' AND owner <> ''", err);
    AUTO_STMT sqlite3_stmt *u = prepare(s,
                                        "UPDATE jobs SET status = 'failed', reason = 'killed', exit_code = 1, "
                                        "message = 'the scan ended without a word: its process is gone', owner = '' "
                                        "WHERE id = ?1 AND status = 'processing'",
                                        err);
    int rc;
    if (!q || !u)
        return -1;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        if (!st_owner_gone(text_of(q, 1)))
            continue;
        bind_text(u, 1, text_of(q, 0));
        if (step_done(s, u, err))
            return -1;
        sqlite3_reset(u);
    }
    return rc == SQLITE_DONE ? 0 : fail(self(s)->db, "read", err);
}

static void op_close(struct st_store *s)
{
    sqlite3_close(self(s)->db);
    free(s);
}

static const struct st_store_ops sqlite_ops = {op_close, op_begin, op_subject, op_finish,
                                               op_get,   op_list,  op_newest,  op_sweep};

// ---- opening ------------------------------------------------------------------------------------

static int user_version(sqlite3 *db, int *ret, struct st_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW) {
        *ret = sqlite3_column_int(q, 0);
        rc = 0;
    } else {
        fail(db, "schema", err);
    }
    sqlite3_finalize(q);
    return rc;
}

static int migrate(sqlite3 *db, struct st_err *err)
{
    int now;
    char sql[64];
    if (user_version(db, &now, err))
        return -1;
    if (now == (int)ST_LEN(schema))
        return 0;
    if (exec(db, "BEGIN IMMEDIATE", err) || user_version(db, &now, err)) // another process may have been first
        return -1;
    if (now < 0 || now > (int)ST_LEN(schema)) {
        exec(db, "ROLLBACK", NULL);
        return st_err_set(err, ST_E_FAILED, "job record: made by a newer stella (schema %d, known %zu)", now,
                          ST_LEN(schema));
    }
    for (; now < (int)ST_LEN(schema); now++) {
        snprintf(sql, sizeof sql, "PRAGMA user_version = %d", now + 1);
        if (exec(db, schema[now], err) || exec(db, sql, err)) {
            exec(db, "ROLLBACK", NULL);
            return -1;
        }
    }
    return exec(db, "COMMIT", err);
}

static int configure(sqlite3 *db, struct st_err *err)
{
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1 << 20);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    // A small page cache: this memory is the scan's.
    return exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -128", err);
}

int st_store_open(const char *home, bool create, struct st_store **ret, struct st_err *err)
{
    char path[PATH_MAX];
    if (st_home_file(home, "stella.db", path, err))
        return -1;
    // SQLite gives its side files the mode of this one.
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    if (fd < 0 && errno == ENOENT && !create)
        return st_err_set(err, ST_E_NOTFOUND, "no job record yet");
    if (fd < 0)
        return st_err_sys(err, "job record %s", path);
    close(fd);
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s)
        return st_err_nomem(err);
    s->base.ops = &sqlite_ops;
    int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        fail(s->db, "open", err);
    if (rc != SQLITE_OK || configure(s->db, err) || migrate(s->db, err)) {
        op_close(&s->base);
        return -1;
    }
    *ret = &s->base;
    return 0;
}
