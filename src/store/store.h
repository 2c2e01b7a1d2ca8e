// Jobs, attempts, leases, configuration, pools and the log ring, in SQLite or PostgreSQL. docs/adr/0006 says why it is
// so. One handle is for one thread at a time.
//
// A job is in one of two lives:
//   - a local scan (pool ""): st_store_begin .. st_store_finish; it belongs to a process. One whose process is gone
//     (SIGKILL, power) is found by st_store_sweep and becomes failed/killed.
//   - a queued job: st_store_submit, then st_store_claim .. st_store_finish by whoever holds its lease. One whose lease
//   ran
//     out is found by st_store_sweep and is pending again, or failed when its tries are used up.
//
// Wall times (`_ms`, since 1970) are for people. Leases and backoff use the lease clock: the database's (PostgreSQL;
// a step of it may cost an attempt, see st_store_clock_check), or CLOCK_BOOTTIME (SQLite).
#ifndef ST_STORE_STORE_H
#define ST_STORE_STORE_H

#include "base/mem.h"

#define ST_JOB_ID 32
// Ids name directories, too: nothing else may pass for one.
static inline bool st_is_job_id(struct st_sv text)
{
    return text.len == ST_JOB_ID && st_sv_is_hex(text);
}
#define ST_JOB_TEXT_MAX (64 * 1024) // bytes of one text of a record; longer ones are cut

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
extern const char *const st_job_state_words[]; // NULL ends, as do all lists of words here
const char *st_job_state_word(enum st_job_state s);

enum st_priority { ST_PRIORITY_LOW, ST_PRIORITY_NORMAL, ST_PRIORITY_HIGH, ST_PRIORITY_CRITICAL };
extern const char *const st_priority_words[]; // NULL ends

// Why a job failed: a stable word.
enum st_again { ST_AGAIN_NO, ST_AGAIN_BACKOFF, ST_AGAIN_MORE_MEMORY };
struct st_reason {
    const char *word;
    enum st_again again; // what the service does by itself: nothing, later, once in a pool with more memory
    const char *what;    // for people
};
extern const struct st_reason st_reasons[]; // word NULL ends
const struct st_reason *st_reason_find(struct st_sv word);
// Of a scan that ended with an error. oom: the kernel, the watchdog or the memory budget said so, never a bare 137.
const char *st_job_reason(enum st_err_code code);

struct st_job {
    char id[ST_JOB_ID + 1]; // lowercase hex
    enum st_job_state state;
    enum st_priority priority;
    struct st_sv image;  // as the user wrote it
    struct st_sv name;   // what people call it, set by the service: the image, or the name of an uploaded file
    struct st_sv digest; // of the manifest or, without one, of the configuration; empty until known
    struct st_sv reason, message;
    struct st_sv pool;           // empty: a local scan
    struct st_sv worker;         // who holds the lease; empty: nobody
    struct st_sv resumed_from;   // id of the job whose layers were used again; empty: none
    struct st_sv options;        // JSON object of the options that the scan runs with
    struct st_sv config;         // JSON object key -> value; only in the answer to a claim
    struct st_sv owner;          // of a local scan in work: st_owner_self of its process
    struct st_sv result;         // formats that lie in jobs/ID/FENCE/ of its host, "cyclonedx-json,purls"; empty: none
    struct st_sv host;           // that has them
    uint64_t unknowns, packages; // of the last attempt that wrote an SBOM
    uint64_t size;               // bytes as stored, has_size
    uint64_t peak_bytes;         // 0: not measured
    uint64_t fence;              // number of the last claim
    int64_t created_ms, started_ms, updated_ms;
    int64_t wait_ms;  // pending: until it may be claimed (backoff); processing: until the lease ends
    uint32_t attempt; // from 1
    uint32_t tries;   // attempts that were used up
    int exit_code;    // of an ended job
    bool has_size;
    bool cancel; // processing, and its worker is to stop
    bool dead;   // failed with all tries used up: in the dead letter list
    bool ended;  // completed, failed or cancelled
    bool made;   // only in the answer to a submission: there was none before
};

struct st_attempt {
    char job[ST_JOB_ID + 1];
    uint32_t attempt;
    uint64_t fence;
    struct st_sv worker, pool;
    struct st_sv outcome; // a state's word; "released"; empty while in work
    struct st_sv reason, message;
    struct st_sv evidence; // JSON object: memory.events deltas, last samples, layer and file in work
    struct st_sv config;   // JSON object: the configuration it started with
    uint64_t peak_bytes, memory_limit;
    int64_t started_ms, ended_ms;
    int exit_code, signal;
};

// Rows are borrowed until the function returns; -1 ends the walk.
typedef int st_job_row_fn(void *ctx, const struct st_job *job, struct st_err *err);
typedef int st_attempt_row_fn(void *ctx, const struct st_attempt *a, struct st_err *err);

// ---- opening ------------------------------------------------------------------------------------

struct st_store;
// home/stella.db, mode 0600. `create` false: ST_E_NOTFOUND when there is none yet. ST_E_CORRUPT for a damaged file,
// ST_E_CONFLICT for one that a newer stella made; both are left as they are.
int st_store_open(const char *home, bool create, struct st_store **ret, struct st_err *err);
// An empty store in memory, for asking where nothing was recorded yet.
int st_store_open_empty(struct st_store **ret, struct st_err *err);
void st_store_close(struct st_store *s); // NULL allowed
// Every commit reaches the disk before it is acknowledged (SQLite: synchronous=FULL). For the service; a local scan's
// record may lose its last second to a power cut.
int st_store_durable(struct st_store *s, struct st_err *err);
// Without st_store_durable: all that was committed before this call, by any handle of the process, has reached the disk
// when it returns. May be called while another thread uses the handle otherwise, but by one thread at a time.
int st_store_sync(struct st_store *s, struct st_err *err);
// "sqlite" or "postgresql".
const char *st_store_kind(const struct st_store *s);
// Wait until another handle changed something or the time is over. 1: changed (or may have); 0: not; -1.
int st_store_wait(struct st_store *s, unsigned timeout_ms, struct st_err *err);

// ---- local scans --------------------------------------------------------------------------------

// Record a scan that starts now: job->image, options, attempt, resumed_from are the caller's; id, state, times are set.
int st_store_begin(struct st_store *s, struct st_job *job, struct st_err *err);

// ---- the queue ----------------------------------------------------------------------------------

struct st_submit {
    struct st_sv image;   // reference; not empty
    struct st_sv digest;  // empty: not known yet
    struct st_sv options; // JSON object in canonical form; empty: {}
    struct st_sv pool;    // where routing sends it
    uint64_t size;
    bool has_size;
    enum st_priority priority;
    bool fresh;             // a new job in any case
    const char *id;         // of st_store_new_id; NULL: one is made
    struct st_sv only_host; // only workers of this HOST or HOST/INSTALLATION may claim it; empty: any
};
int st_store_new_id(char ret[static ST_JOB_ID + 1], struct st_err *err);
// 1: a new job. 0: an earlier one answers: same digest and options, pending, processing or completed; without a digest
// the same image text and options, pending or processing. `row` is called either way.
int st_store_submit(struct st_store *s, const struct st_submit *sub, st_job_row_fn *row, void *ctx, struct st_err *err);

struct st_claim {
    struct st_sv pool;     // of the worker
    struct st_sv worker;   // names it in records: "host/pool-1"; what stands before the '/' is its host
    struct st_sv config;   // JSON object, kept with the attempt
    uint64_t memory_limit; // of the worker, kept with the attempt
    uint64_t lease_ms;
    struct st_sv holder; // of the lease: "HOST/INSTALLATION/RUN"; empty: nobody will ask for it back
};
// The pending job of highest priority that is ready, oldest first. 1: `row` was called; 0: none.
int st_store_claim(struct st_store *s, const struct st_claim *c, st_job_row_fn *row, void *ctx, struct st_err *err);

enum st_lease { ST_LEASE_HELD, ST_LEASE_CANCEL, ST_LEASE_LOST };
extern const char *const st_lease_words[]; // NULL ends
// Heartbeat. CANCEL: extended, but the job is to be stopped and ended as cancelled. LOST: it is somebody else's now.
int st_store_renew(struct st_store *s, const char *id, uint64_t fence, uint64_t lease_ms, enum st_lease *ret,
                   struct st_err *err);
// Give the job back, ready at once, without using up a try. ST_E_CONFLICT when the lease is lost.
int st_store_release(struct st_store *s, const char *id, uint64_t fence, struct st_sv message, struct st_err *err);
// What the manifest says, as soon as it is read, so that a killed scan is found by its digest.
int st_store_subject(struct st_store *s, const char *id, uint64_t fence, struct st_sv digest, uint64_t size,
                     struct st_err *err);

struct st_end {
    char id[ST_JOB_ID + 1];
    uint64_t fence;          // 0: a local scan
    enum st_job_state state; // COMPLETED, FAILED or CANCELLED
    struct st_sv reason, message, evidence, resumed_from;
    struct st_sv result; // formats that this attempt left; also of a failed one (--strict, --keep-going)
    struct st_sv host;   // that has them; empty: what stands before the '/' of the worker's name
    uint64_t peak_bytes;
    int exit_code, signal;
    // A failed queued job: pending again after its backoff (5 s, doubled each time, to 2 min) unless its tries are used
    // up, then it is dead; or, with a pool named, ready there at once. Neither: failed for good.
    bool again;
    struct st_sv pool;
    // Of the work done, as in struct st_worker_end. Unknowns and packages are stored, the rest is for metrics only.
    struct st_sv phases; // JSON object name -> ms
    uint64_t unknowns, packages, layers_cached, layers_total, bytes_read;
};
#define ST_TRIES_DEFAULT 5
// The end of an attempt. ST_E_CONFLICT when the lease is lost: nothing was changed. ret_state: what the job is now.
int st_store_finish(struct st_store *s, const struct st_end *end, uint32_t max_tries, enum st_job_state *ret_state,
                    struct st_err *err);

// Pending: cancelled at once. Processing: `cancel` is set, its worker is told with the next heartbeat; a local scan's
// process is the caller's to signal (job.owner). Ended: ST_E_USAGE. `row` gets the job as it is then.
int st_store_cancel(struct st_store *s, struct st_sv prefix, st_job_row_fn *row, void *ctx, struct st_err *err);
// A failed or cancelled job is pending again, in `pool` where one is given. Already pending or processing: nothing to
// do, `row` is called. Completed, or tries used up: ST_E_USAGE or ST_E_FAILED unless `force`. A local scan: ST_E_USAGE
// with the command that does it.
struct st_retry {
    struct st_sv prefix;    // of the id
    struct st_sv pool;      // empty: as before
    struct st_sv only_host; // as in struct st_submit, where the file came along this time; empty: as before
    bool force;
    uint32_t max_tries;
};
int st_store_retry(struct st_store *s, const struct st_retry *r, st_job_row_fn *row, void *ctx, struct st_err *err);
// Before a retry: other options for an ended job (canonical JSON). It answers for submissions with these from then on.
int st_store_set_options(struct st_store *s, const char *id, struct st_sv options, struct st_err *err);
// What nobody works on any more: local scans of dead processes, leases that ran out. `lost` (NULL allowed) is called
// for each, after its change.
int st_store_sweep(struct st_store *s, uint32_t max_tries, st_job_row_fn *lost, void *ctx, struct st_err *err);

// What an earlier run of a supervisor held, by one that knows that it is dead: as if the leases had run out, but ready
// at once. `holder` is the caller's own: the leases of the same HOST/INSTALLATION with another RUN are meant.
int st_store_reclaim(struct st_store *s, struct st_sv holder, uint32_t max_tries, st_job_row_fn *lost, void *ctx,
                     struct st_err *err);
// PostgreSQL's clock is its host's, and somebody may have set it back: a lease that would last longer than it was made
// for begins anew, and a backoff longer than any is over. Once a minute. Forward needs nothing: leases end early.
int st_store_clock_check(struct st_store *s, struct st_err *err);

// Forget jobs that ended and did not change since before_ms, with their attempts; at most ST_FORGET_STEP, the oldest,
// in one transaction. How many there were.
#define ST_FORGET_STEP 50
int st_store_forget(struct st_store *s, int64_t before_ms, struct st_err *err);

// ---- asking -------------------------------------------------------------------------------------

#define ST_FILTER_WORDS 16
struct st_job_filter {
    char words[256];  // "failed,oom": states and reasons, any of them; empty: all
    int64_t since_ms; // last change at or after; 0: any time
    uint32_t limit;   // newest first; 0: no limit
    bool dead;        // only the dead letter list
};
// "failed,oom": ST_E_USAGE with the list of words when one is unknown.
int st_job_filter_words(struct st_job_filter *f, struct st_sv list, struct st_err *err);
// The job whose id starts with `prefix` (at least 6 hex digits). ST_E_USAGE when malformed or ambiguous, ST_E_NOTFOUND.
int st_store_get(struct st_store *s, struct st_sv prefix, st_job_row_fn *row, void *ctx, struct st_err *err);
// Newest first by last change, then id.
int st_store_list(struct st_store *s, const struct st_job_filter *f, st_job_row_fn *row, void *ctx, struct st_err *err);
// The newest job of this image: same digest where one is given, else same reference text. 1: `row` was called; 0: none.
int st_store_newest(struct st_store *s, struct st_sv image, struct st_sv digest, int64_t since_ms, st_job_row_fn *row,
                    void *ctx, struct st_err *err);
// The attempts of a queued job, oldest first.
int st_store_attempts(struct st_store *s, const char *id, st_attempt_row_fn *row, void *ctx, struct st_err *err);

struct st_counts {
    uint64_t pending, processing, dead;
    uint64_t completed, failed, cancelled; // since `since_ms`
    int64_t oldest_pending_ms;             // when the oldest pending job was created; 0: none
    int64_t now_ms;                        // the store's wall clock
};
int st_store_counts(struct st_store *s, int64_t since_ms, struct st_counts *ret, struct st_err *err);
typedef int st_count_row_fn(void *ctx, struct st_sv what, struct st_sv which, uint64_t n, struct st_err *err);
// Processing jobs that are to be cancelled.
int st_store_cancels(struct st_store *s, uint64_t *ret, struct st_err *err);
// Pending and processing jobs by pool: what is "pending" or "processing".
int st_store_pool_counts(struct st_store *s, st_count_row_fn *row, void *ctx, struct st_err *err);
// Jobs that ended since then, by state and reason.
int st_store_reason_counts(struct st_store *s, int64_t since_ms, st_count_row_fn *row, void *ctx, struct st_err *err);
// Queued jobs that completed since then: time in the queue and at work, in ms; the longest and the sum.
struct st_durations {
    uint64_t jobs, wait_sum, wait_max, work_sum, work_max, peak_max;
};
int st_store_durations(struct st_store *s, int64_t since_ms, struct st_durations *ret, struct st_err *err);

// ---- configuration ------------------------------------------------------------------------------
// Keys and values are text here; src/service/keys.h knows their types.

struct st_config {
    struct st_sv key, value, who;
    int64_t set_ms;
};
struct st_config_change {
    uint64_t seq;
    struct st_sv key, old, value, who; // has_old, has_value: false where it was not set
    bool has_old, has_value;
    int64_t set_ms;
};
#define ST_CONFIG_TEXT 1024 // bytes of a value
typedef int st_config_row_fn(void *ctx, const struct st_config *c, struct st_err *err);
typedef int st_config_change_fn(void *ctx, const struct st_config_change *c, struct st_err *err);
// Every key that is set, sorted. An empty key: all; else that one.
int st_store_config(struct st_store *s, struct st_sv key, st_config_row_fn *row, void *ctx, struct st_err *err);
// 1: changed, and the change is in the history; 0: it was so already. `value` NULL: unset.
int st_store_config_set(struct st_store *s, struct st_sv key, const struct st_sv *value, struct st_sv who,
                        struct st_err *err);
// Newest first. An empty key: all keys.
int st_store_config_history(struct st_store *s, struct st_sv key, uint32_t limit, st_config_change_fn *row, void *ctx,
                            struct st_err *err);

// ---- pools --------------------------------------------------------------------------------------

struct st_pool {
    struct st_sv name;
    uint64_t memory; // limit of one worker
    uint32_t count;
    int64_t updated_ms;
    struct st_sv warning; // the service's, when it was made or changed; not stored
};
typedef int st_pool_row_fn(void *ctx, const struct st_pool *p, struct st_err *err);
int st_store_pools(struct st_store *s, st_pool_row_fn *row, void *ctx, struct st_err *err); // sorted by name
int st_store_pool_put(struct st_store *s, const struct st_pool *p, struct st_err *err);
int st_store_pool_remove(struct st_store *s, struct st_sv name, struct st_err *err); // ST_E_NOTFOUND

// ---- logs: a ring of ST_LOG_RING bytes ----------------------------------------------------------

#define ST_LOG_RING (64ll << 20)
#define ST_LOG_TEXT_MAX 4096 // bytes of one message or fields text; longer ones are cut

enum st_log_level { ST_LOG_DEBUG, ST_LOG_INFO, ST_LOG_WARN, ST_LOG_ERROR };
extern const char *const st_log_level_words[]; // NULL ends

struct st_log_line {
    uint64_t at; // position in the stream of all lines: order, and where to go on
    int64_t time_ms;
    enum st_log_level level;
    struct st_sv component; // "queue", "worker", "sbom", "registry", ...
    struct st_sv job;       // id; may be empty
    struct st_sv message;
    struct st_sv fields; // JSON object; may be empty
};
typedef int st_log_row_fn(void *ctx, const struct st_log_line *l, struct st_err *err);
// In one transaction. time_ms 0: now.
int st_store_log_add(struct st_store *s, const struct st_log_line *lines, size_t n, struct st_err *err);
struct st_log_page {
    uint64_t after, before; // positions, both exclusive; before 0: no bound
    int64_t since_ms;
    enum st_log_level level; // at least
    bool backwards;          // newest first
    uint32_t limit;
};
int st_store_logs(struct st_store *s, const struct st_log_page *p, st_log_row_fn *row, void *ctx, struct st_err *err);
struct st_log_state {
    uint64_t dropped;   // lines that the ring has lost, ever
    int64_t dropped_ms; // time of the last of them
};
int st_store_log_state(struct st_store *s, struct st_log_state *ret, struct st_err *err);

// ---- marks: named numbers of the service -----------------------------------------------------------

#define ST_MARK_RESTART "restart_ms" // wall time of the last start or restart of the workers
int st_store_mark(struct st_store *s, const char *name, int64_t *ret, struct st_err *err); // 0 when never set
int st_store_mark_set(struct st_store *s, const char *name, int64_t value, struct st_err *err);
// Raise it by one, and wake those who wait for a change. Two callers get two numbers.
int st_store_mark_raise(struct st_store *s, const char *name, int64_t *ret, struct st_err *err);

// ---- owners -------------------------------------------------------------------------------------

// Text that names this process beyond pid reuse and reboots: "boot-id pid-namespace pid start-time".
#define ST_OWNER_TEXT 128
void st_owner_self(char ret[static ST_OWNER_TEXT]);
// Is that process certainly gone? False when it cannot be told (another pid namespace on the same boot).
bool st_owner_gone(struct st_sv owner);
// SIGTERM to that process, through a pidfd. ST_E_NOTFOUND when it is gone, ST_E_FAILED when it cannot be told.
int st_owner_stop(struct st_sv owner, struct st_err *err);

#endif
