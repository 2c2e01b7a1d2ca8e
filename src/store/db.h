// The back end's vtable: statements and transactions of one database connection. Used by src/store only.
//
// SQL is what SQLite 3.40 and PostgreSQL 15 both understand, with ?1, ?2, ... as parameters, and
//   st_wall_now()    wall clock, ms since 1970
//   st_lease_now()   the clock of leases, ms: CLOCK_BOOTTIME, PostgreSQL's own
//   /*pg ... pg*/    a comment to SQLite; PostgreSQL sees what is in it
// Integers are BIGINT (INTEGER is 32 bits in PostgreSQL). Texts are UTF-8 without NUL (others are repaired).
#ifndef ST_STORE_DB_H
#define ST_STORE_DB_H

#include "store/store.h"

#define ST_DB_PARAMS 24
#define ST_DB_COLUMNS 32

struct st_db_value {
    enum { ST_DB_NULL, ST_DB_INT, ST_DB_TEXT } kind;
    int64_t number;
    struct st_sv text;
};
#define ST_DB_N(v) ((struct st_db_value){.kind = ST_DB_INT, .number = (int64_t)(v)})
#define ST_DB_T(v) ((struct st_db_value){.kind = ST_DB_TEXT, .text = (v)})
#define ST_DB_NIL ((struct st_db_value){.kind = ST_DB_NULL})

// Columns are borrowed until the function returns. It may not run another statement on the same handle.
typedef int st_db_row_fn(void *ctx, const struct st_db_value *col, struct st_err *err);

enum st_db_tx { ST_DB_BEGIN, ST_DB_COMMIT, ST_DB_ROLLBACK }; // BEGIN takes the right to write at once

struct st_db_ops {
    const char *kind;
    void (*close)(struct st_store *s);
    // Rows returned (RETURNING counts) or, when there are none, rows changed; -1. `sql` is a literal: it is prepared
    // once and remembered by its address, unless `once`.
    int64_t (*run)(struct st_store *s, const char *sql, bool once, const struct st_db_value *params, size_t n,
                   st_db_row_fn *row, void *ctx, struct st_err *err);
    int (*script)(struct st_store *s, const char *sql, struct st_err *err); // several statements, no parameters
    int (*tx)(struct st_store *s, enum st_db_tx what, struct st_err *err);
    int (*version)(struct st_store *s, int *ret, struct st_err *err); // of the schema; 0: empty
    int (*set_version)(struct st_store *s, int version, struct st_err *err);
    int (*wait)(struct st_store *s, unsigned timeout_ms, struct st_err *err);
    int (*notify)(struct st_store *s, struct st_err *err); // tell those who wait; may do nothing
    int (*durable)(struct st_store *s, struct st_err *err);
    int (*sync)(struct st_store *s, struct st_err *err);
};

struct st_store {
    const struct st_db_ops *ops;
    bool in_tx;
};

// ops->run with texts cut to ST_JOB_TEXT_MAX and repaired to UTF-8 without NUL.
int64_t st_db_run(struct st_store *s, const char *sql, bool once, const struct st_db_value *params, size_t n,
                  st_db_row_fn *row, void *ctx, struct st_err *err);
// A literal with its parameters: ST_DB_RUN(s, row, ctx, err, "SQL", ST_DB_N(1), ST_DB_T(sv)). The first of the array is
// not a parameter: an array has at least one element.
#define ST_DB_RUN(s, row, ctx, err, sql, ...)                                                                \
    st_db_run_array((s), (sql), (row), (ctx), (err), (const struct st_db_value[]){ST_DB_NIL, ##__VA_ARGS__}, \
                    sizeof((struct st_db_value[]){ST_DB_NIL, ##__VA_ARGS__}))
static inline int64_t st_db_run_array(struct st_store *s, const char *sql, st_db_row_fn *row, void *ctx,
                                      struct st_err *err, const struct st_db_value *array, size_t bytes)
{
    return st_db_run(s, sql, false, array + 1, bytes / sizeof *array - 1, row, ctx, err);
}
// A row function: the first column into an int64_t.
int st_db_number(void *ctx, const struct st_db_value *col, struct st_err *err);

// Begin, call, commit; roll back when `fn` fails. Not nested. The result of `fn`.
typedef int st_db_fn(struct st_store *s, void *ctx, struct st_err *err);
int st_db_transact(struct st_store *s, st_db_fn *fn, void *ctx, struct st_err *err);

// Bring the schema up to date. `step` is what a step looks like.
struct st_db_step {
    const char *sqlite, *postgres;
};
extern const struct st_db_step st_db_steps[];
extern const int st_db_version;                                              // the newest: that many steps
int st_db_migrate(struct st_store *s, const char *name, struct st_err *err); // name: of the store, for messages

// ---- job rows -----------------------------------------------------------------------------------

#define ST_JOB_COLUMNS                                                                                            \
    "id, image, digest, size, status, reason, message, pool, attempt, created_ms, started_ms, updated_ms, "       \
    "peak_bytes, exit_code, resumed_from, options, owner, priority, tries, fence, worker, cancel, dead, "         \
    "CASE status WHEN 'pending' THEN ready_at WHEN 'processing' THEN lease_until ELSE 0 END - st_lease_now() AS " \
    "wait_ms, result, host, unknowns, packages"
void st_job_of(const struct st_db_value *col, struct st_job *ret); // views into col

// A job that outlives its statement: rows are handed on after the commit, not before.
struct st_job_kept {
    struct st_job job;
    char *texts; // owns
};
int st_job_keep(void *kept, const struct st_db_value *col, struct st_err *err); // a row function
void st_job_kept_release(struct st_job_kept *k);
// The one job whose id starts with `prefix`, with the errors of st_store_get.
int st_job_find(struct st_store *s, struct st_sv prefix, struct st_job_kept *ret, struct st_err *err);

#endif
