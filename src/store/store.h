// The job record: one table behind a vtable, so that another database is another file (sqlite.c is the first).
//
// A job is `processing` from its begin to its finish. One whose process is gone (SIGKILL, power) is found by
// st_store_sweep and becomes failed/killed, so that no record stays `processing` for ever and --retry finds it.
#ifndef ST_STORE_STORE_H
#define ST_STORE_STORE_H

#include "base/mem.h"

#define ST_JOB_ID 32

#define ST_JOB_STATES(X)               \
    X(ST_JOB_PENDING, "pending")       \
    X(ST_JOB_PROCESSING, "processing") \
    X(ST_JOB_COMPLETED, "completed")   \
    X(ST_JOB_FAILED, "failed")         \
    X(ST_JOB_CANCELLED, "cancelled")

enum st_job_state {
#define ST_JOB_ENUM(id, word) id,
    ST_JOB_STATES(ST_JOB_ENUM)
#undef ST_JOB_ENUM
        ST_JOB_STATES_MAX
};
const char *st_job_state_word(enum st_job_state s);

// Why a job failed: a stable word. oom: the kernel, the watchdog or the memory budget said so, never a bare 137.
const char *st_job_reason(enum st_err_code code);

struct st_job {
    char id[ST_JOB_ID + 1]; // lowercase hex
    enum st_job_state state;
    struct st_sv image;  // as the user wrote it
    struct st_sv digest; // of the manifest or, without one, of the configuration; empty until known
    struct st_sv reason, message;
    struct st_sv pool;         // empty: a local scan
    struct st_sv resumed_from; // id of the attempt whose layers were used again; empty: none
    struct st_sv options;      // JSON object of the options that the scan ran with
    uint64_t size;             // bytes as stored, has_size
    uint64_t peak_bytes;       // 0: not measured
    int64_t created_ms, started_ms, updated_ms;
    uint32_t attempt; // from 1
    int exit_code;    // of a finished job
    bool has_size;
};

struct st_job_filter {
    char words[256];  // ",failed,oom,": states and reasons, any of them; empty: all
    int64_t since_ms; // last change at or after; 0: any time
    uint32_t limit;   // newest first
};
// "failed,oom": ST_E_USAGE with the list of words when one is unknown.
int st_job_filter_words(struct st_job_filter *f, struct st_sv list, struct st_err *err);

// Rows are borrowed until the function returns; -1 ends the walk.
typedef int st_job_row_fn(void *ctx, const struct st_job *job, struct st_err *err);

struct st_store {
    const struct st_store_ops *ops;
};

struct st_store_ops {
    void (*close)(struct st_store *s);
    int (*begin)(struct st_store *s, struct st_job *job, struct st_err *err);
    int (*subject)(struct st_store *s, const char *id, struct st_sv digest, uint64_t size, struct st_err *err);
    int (*finish)(struct st_store *s, const struct st_job *job, struct st_err *err);
    int (*get)(struct st_store *s, struct st_sv prefix, st_job_row_fn *row, void *ctx, struct st_err *err);
    int (*list)(struct st_store *s, const struct st_job_filter *f, st_job_row_fn *row, void *ctx, struct st_err *err);
    int (*newest)(struct st_store *s, struct st_sv image, struct st_sv digest, int64_t since_ms, st_job_row_fn *row,
                  void *ctx, struct st_err *err);
    int (*sweep)(struct st_store *s, struct st_err *err);
};

// home/stella.db, mode 0600. `create` false: ST_E_NOTFOUND when there is none yet.
int st_store_open(const char *home, bool create, struct st_store **ret, struct st_err *err);

static inline void st_store_close(struct st_store *s) // NULL allowed
{
    if (s)
        s->ops->close(s);
}
// Record a scan that starts now: job->image, options, attempt, resumed_from are the caller's; id, state, times are set.
static inline int st_store_begin(struct st_store *s, struct st_job *job, struct st_err *err)
{
    return s->ops->begin(s, job, err);
}
// What the manifest says, as soon as it is read, so that a killed scan is found by its digest.
static inline int st_store_subject(struct st_store *s, const char *id, struct st_sv digest, uint64_t size,
                                   struct st_err *err)
{
    return s->ops->subject(s, id, digest, size, err);
}
// The end: id, state, reason, message, peak_bytes, exit_code, resumed_from of `job` are stored.
static inline int st_store_finish(struct st_store *s, const struct st_job *job, struct st_err *err)
{
    return s->ops->finish(s, job, err);
}
// The job whose id starts with `prefix` (at least 6 hex digits). ST_E_USAGE when malformed or ambiguous, ST_E_NOTFOUND.
static inline int st_store_get(struct st_store *s, struct st_sv prefix, st_job_row_fn *row, void *ctx,
                               struct st_err *err)
{
    return s->ops->get(s, prefix, row, ctx, err);
}
// Newest first by last change, then id.
static inline int st_store_list(struct st_store *s, const struct st_job_filter *f, st_job_row_fn *row, void *ctx,
                                struct st_err *err)
{
    return s->ops->list(s, f, row, ctx, err);
}
// The newest job of this image: same digest where one is given, else same reference text. 1: `row` was called; 0: none.
static inline int st_store_newest(struct st_store *s, struct st_sv image, struct st_sv digest, int64_t since_ms,
                                  st_job_row_fn *row, void *ctx, struct st_err *err)
{
    return s->ops->newest(s, image, digest, since_ms, row, ctx, err);
}
static inline int st_store_sweep(struct st_store *s, struct st_err *err)
{
    return s->ops->sweep(s, err);
}

// Text that names this process beyond pid reuse and reboots: "boot-id pid-namespace pid start-time".
#define ST_OWNER_TEXT 128
void st_owner_self(char ret[static ST_OWNER_TEXT]);
// Is that process certainly gone? False when it cannot be told (another pid namespace on the same boot).
bool st_owner_gone(struct st_sv owner);

#endif
