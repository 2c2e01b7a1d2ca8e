// SQLite: one file, WAL, safe for many processes at once.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "store/db.h"
#include "store/home.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define BUSY_MS 5000
#define POLL_MS 50
#define STATEMENTS 64
#define LOG_SIZE (1 << 20) // of ten local scans

struct sqlite_store {
    struct st_store base;
    sqlite3 *db;
    char path[PATH_MAX];
    int64_t seen; // data_version, for wait
    int wal;      // for sync; -1: not opened yet
    struct {
        const char *sql;
        sqlite3_stmt *q;
    } cache[STATEMENTS];
};

static struct sqlite_store *self(struct st_store *s)
{
    return (struct sqlite_store *)s;
}

static int fail(struct sqlite_store *s, const char *what, struct st_err *err)
{
    int rc = s->db ? sqlite3_errcode(s->db) : SQLITE_NOMEM;
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return st_err_set(err, ST_E_RETRY, "job record %.200s: busy for %d s: another process holds it", s->path,
                          BUSY_MS / 1000);
    case SQLITE_FULL:
        return st_err_set(err, ST_E_RETRY, "job record %.200s: no space left on the disk; nothing was changed",
                          s->path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return st_err_set(err, ST_E_CORRUPT,
                          "job record %.100s is damaged (%s); to begin a new one: mkdir damaged && mv %.100s* damaged/",
                          s->path, s->db ? sqlite3_errmsg(s->db) : "", s->path);
    default:
        return st_err_set(err, ST_E_IO, "job record %.200s: %s: %s", s->path, what,
                          s->db ? sqlite3_errmsg(s->db) : "cannot be opened");
    }
}

// ---- statements ---------------------------------------------------------------------------------

static int prepare(struct sqlite_store *s, const char *sql, bool once, sqlite3_stmt **ret, struct st_err *err)
{
    size_t i = 0;
    if (!once)
        for (; i < STATEMENTS && s->cache[i].sql; i++)
            if (s->cache[i].sql == sql) {
                *ret = s->cache[i].q;
                return 0;
            }
    if (sqlite3_prepare_v3(s->db, sql, -1, once ? 0 : SQLITE_PREPARE_PERSISTENT, ret, NULL) != SQLITE_OK)
        return fail(s, "query", err);
    if (once)
        return 1;
    if (i == STATEMENTS) {
        sqlite3_finalize(*ret);
        return st_err_set(err, ST_E_INTERNAL, "more than %d statements", STATEMENTS);
    }
    s->cache[i].sql = sql;
    s->cache[i].q = *ret;
    return 0;
}

static void bind(sqlite3_stmt *q, const struct st_db_value *params, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct st_db_value *v = &params[i];
        if (v->kind == ST_DB_INT)
            sqlite3_bind_int64(q, (int)i + 1, v->number);
        else if (v->kind == ST_DB_TEXT)
            sqlite3_bind_text(q, (int)i + 1, v->text.len ? v->text.ptr : "", (int)v->text.len, SQLITE_STATIC);
        else
            sqlite3_bind_null(q, (int)i + 1);
    }
}

static int64_t rows(struct sqlite_store *s, sqlite3_stmt *q, st_db_row_fn *row, void *ctx, struct st_err *err)
{
    struct st_db_value col[ST_DB_COLUMNS];
    int64_t n = 0;
    int rc, columns = ST_MIN(sqlite3_column_count(q), ST_DB_COLUMNS);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        n++;
        for (int i = 0; i < columns && row; i++)
            switch (sqlite3_column_type(q, i)) {
            case SQLITE_NULL:
                col[i] = ST_DB_NIL;
                break;
            case SQLITE_INTEGER:
                col[i] = ST_DB_N(sqlite3_column_int64(q, i));
                break;
            default: {
                const void *p = sqlite3_column_text(q, i);
                col[i] = ST_DB_T(st_sv_mem(p ? p : "", p ? (size_t)sqlite3_column_bytes(q, i) : 0));
            }
            }
        if (row && row(ctx, col, err))
            return -1;
    }
    if (rc != SQLITE_DONE)
        return fail(s, "statement", err);
    return columns ? n : sqlite3_changes64(s->db);
}

static int64_t op_run(struct st_store *base, const char *sql, bool once, const struct st_db_value *params, size_t n,
                      st_db_row_fn *row, void *ctx, struct st_err *err)
{
    struct sqlite_store *s = self(base);
    sqlite3_stmt *q = NULL;
    if (prepare(s, sql, once, &q, err) < 0)
        return -1;
    if (n)
        bind(q, params, n);
    int64_t rc = rows(s, q, row, ctx, err);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    if (once)
        sqlite3_finalize(q);
    return rc;
}

static int op_script(struct st_store *s, const char *sql, struct st_err *err)
{
    return sqlite3_exec(self(s)->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(self(s), "schema", err);
}

static int op_tx(struct st_store *s, enum st_db_tx what, struct st_err *err)
{
    static const char *const words[] = {"BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"};
    if (op_run(s, words[what], false, NULL, 0, NULL, NULL, err) >= 0)
        return 0;
    if (what == ST_DB_COMMIT) // a full disk leaves the transaction open
        sqlite3_exec(self(s)->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

static int op_version(struct st_store *s, int *ret, struct st_err *err)
{
    int64_t v = 0;
    if (op_run(s, "PRAGMA user_version", true, NULL, 0, st_db_number, &v, err) < 0)
        return -1;
    *ret = (int)v;
    return 0;
}

static int op_set_version(struct st_store *s, int version, struct st_err *err)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version);
    return op_script(s, sql, err);
}

// ---- waiting, durability ------------------------------------------------------------------------

// data_version changes when another connection commits.
static int op_wait(struct st_store *base, unsigned timeout_ms, struct st_err *err)
{
    struct sqlite_store *s = self(base);
    int64_t until = st_clock_mono_ms() + timeout_ms;
    for (;;) {
        int64_t now = 0;
        if (op_run(base, "PRAGMA data_version", false, NULL, 0, st_db_number, &now, err) < 0)
            return -1;
        if (now != s->seen) {
            s->seen = now;
            return 1;
        }
        int64_t left = until - st_clock_mono_ms();
        if (left <= 0)
            return 0;
        left = ST_MIN(left, (int64_t)POLL_MS);
        nanosleep(&(struct timespec){0, left * 1000000}, NULL);
    }
}

static int op_notify(struct st_store *s, struct st_err *err)
{
    (void)s, (void)err;
    return 0;
}

static int op_durable(struct st_store *s, struct st_err *err)
{
    return op_script(s, "PRAGMA synchronous = FULL", err);
}

#define LOG_PATH (PATH_MAX + 8)
static const char *log_path(const struct sqlite_store *s, char buf[static LOG_PATH])
{
    snprintf(buf, LOG_PATH, "%s-wal", s->path);
    return buf;
}

// With synchronous=NORMAL a commit is written to the log and not waited for. What was written before is on the disk
// after this, so that one wait serves all who committed meanwhile. The log stays the same file while a connection is
// open.
static int op_sync(struct st_store *base, struct st_err *err)
{
    struct sqlite_store *s = self(base);
    if (s->wal < 0) {
        char path[LOG_PATH];
        s->wal = open(log_path(s, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (s->wal < 0 || fdatasync(s->wal))
        return st_err_sys(err, "job record %s", s->path);
    return 0;
}

// The next process reads the whole log, so it is emptied now and then, unless somebody else uses it.
static void shorten_log(struct sqlite_store *s)
{
    char path[LOG_PATH];
    struct stat st;
    if (!s->db || stat(log_path(s, path), &st) || st.st_size < LOG_SIZE)
        return;
    sqlite3_busy_timeout(s->db, 0);
    sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

static void op_close(struct st_store *base)
{
    struct sqlite_store *s = self(base);
    shorten_log(s);
    for (size_t i = 0; i < STATEMENTS && s->cache[i].sql; i++)
        sqlite3_finalize(s->cache[i].q);
    sqlite3_close(s->db);
    if (s->wal >= 0)
        close(s->wal);
    free(s);
}

static const struct st_db_ops ops = {"sqlite",       op_close, op_run,    op_script,  op_tx,  op_version,
                                     op_set_version, op_wait,  op_notify, op_durable, op_sync};

// ---- clocks -------------------------------------------------------------------------------------

static void sql_lease_now(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    sqlite3_result_int64(c, (sqlite3_int64)t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

static void sql_wall_now(sqlite3_context *c, int n, sqlite3_value **v)
{
    sqlite3_result_int64(c, st_clock_wall_ms());
}

// CLOCK_BOOTTIME begins anew with each boot: leases and backoffs of an earlier one are over.
static int64_t this_boot(void)
{
    char text[64] = "";
    uint64_t v = 0;
    ST_AUTO_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && st_fd_read(fd, text, sizeof text - 1) > 13)
        st_sv_u64(st_sv_mem(text, 8), 16, &v);
    return (int64_t)v;
}

static int forget_boot(struct st_store *s, void *ctx, struct st_err *err)
{
    if (ST_DB_RUN(s, NULL, NULL, err, "UPDATE jobs SET lease_until = 0 WHERE status = 'processing' AND fence > 0") <
            0 ||
        ST_DB_RUN(s, NULL, NULL, err, "UPDATE jobs SET ready_at = 0 WHERE status = 'pending'") < 0)
        return -1;
    return st_store_mark_set(s, "boot", *(int64_t *)ctx, err);
}

static int check_boot(struct st_store *s, struct st_err *err)
{
    int64_t boot = this_boot(), seen;
    if (st_store_mark(s, "boot", &seen, err))
        return -1;
    return seen == boot ? 0 : st_db_transact(s, forget_boot, &boot, err);
}

// ---- opening ------------------------------------------------------------------------------------

static int configure(struct sqlite_store *s, struct st_err *err)
{
    sqlite3_busy_timeout(s->db, BUSY_MS);
    sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 1 << 20);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    // The log stays when the last connection closes: emptying it each time costs a local scan four waits for the disk.
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (sqlite3_create_function(s->db, "st_lease_now", 0, SQLITE_UTF8, NULL, sql_lease_now, NULL, NULL) ||
        sqlite3_create_function(s->db, "st_wall_now", 0, SQLITE_UTF8, NULL, sql_wall_now, NULL, NULL))
        return fail(s, "open", err);
    return 0;
}

// A newer store is not even switched to WAL: its version is looked at first.
static int finish_open(struct sqlite_store *s, struct st_err *err)
{
    int version;
    if (configure(s, err) || op_version(&s->base, &version, err))
        return -1;
    // A small page cache: this memory is the scan's.
    if (version <= st_db_version &&
        op_script(&s->base, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -128", err))
        return -1;
    if (st_db_migrate(&s->base, s->path, err) || check_boot(&s->base, err))
        return -1;
    return op_run(&s->base, "PRAGMA data_version", false, NULL, 0, st_db_number, &s->seen, err) < 0 ? -1 : 0;
}

static int open_file(const char *path, struct st_store **ret, struct st_err *err)
{
    struct sqlite_store *s = calloc(1, sizeof *s);
    if (!s)
        return st_err_nomem(err);
    s->base.ops = &ops;
    s->wal = -1;
    snprintf(s->path, sizeof s->path, "%s", path);
    int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        fail(s, "open", err);
    if (rc != SQLITE_OK || finish_open(s, err)) {
        op_close(&s->base);
        return -1;
    }
    *ret = &s->base;
    return 0;
}

// Never open(2): to close any descriptor of the file ends the locks that this process's other connections hold on it
// (POSIX), and the next process to close its own would take itself for the last one and remove the log under us. SQLite
// gives its side files the mode of this one.
static int ensure_file(const char *path, bool create, struct st_err *err)
{
    if (create && mknod(path, S_IFREG | 0600, 0) && errno != EEXIST)
        return st_err_sys(err, "job record %s", path);
    struct stat st;
    if (lstat(path, &st)) {
        if (errno == ENOENT && !create)
            return st_err_set(err, ST_E_NOTFOUND, "no job record yet");
        return st_err_sys(err, "job record %s", path);
    }
    if (!S_ISREG(st.st_mode))
        return st_err_set(err, ST_E_FAILED, "job record %s is not a regular file", path);
    return faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) ? st_err_sys(err, "job record %s", path) : 0;
}

int st_store_open(const char *home, bool create, struct st_store **ret, struct st_err *err)
{
    char path[PATH_MAX];
    if (st_home_file(home, "stella.db", path, err))
        return -1;
    if (ensure_file(path, create, err))
        return -1;
    return open_file(path, ret, err);
}

int st_store_open_empty(struct st_store **ret, struct st_err *err)
{
    return open_file(":memory:", ret, err);
}
