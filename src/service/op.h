// The operations of the service: one table for the socket, HTTP and verbs that work on the local store.
//
// A row says who may call it, what it is given, what it answers with, and at which HTTP path. A new operation is a row
// in ops.c, a request struct and its fields, a function.
#ifndef ST_SERVICE_OP_H
#define ST_SERVICE_OP_H

#include "service/record.h"
#include "store/store.h"

// Each may do what those before it may.
enum st_role {
    ST_ROLE_NONE,   // nobody yet: health only
    ST_ROLE_READ,   // look
    ST_ROLE_SUBMIT, // and submit, cancel, retry
    ST_ROLE_ADMIN,  // and change configuration, pools, tokens
    ST_ROLE_WORKER, // and take and end jobs: the supervisor. Never over HTTP.
};
extern const char *const st_role_words[]; // NULL ends

struct st_caller {
    enum st_role role;
    struct st_sv name; // "uid 1000", a token's name: goes into histories
    const int *file;   // descriptor that came with the request, borrowed; NULL: none
    int *pass;         // takes a descriptor that goes along with the row that is emitted next; NULL: there is no way
};

// What the service knows beyond its store. One for a process; its functions lock.
struct st_live;

typedef int st_op_emit_fn(void *ctx, const void *row, struct st_err *err);

struct st_op_call {
    struct st_store *store;
    struct st_live *live; // NULL: no service, the caller works on the local store
    const struct st_caller *caller;
    const void *request;    // op->request filled, or NULL where the operation has none
    struct st_arena *arena; // for this run: an operation that waits is run many times
    st_op_emit_fn *emit;    // once for each row of the answer
    void *ctx;
};

struct st_op {
    const char *name; // "scans.list"
    enum st_role role;
    bool writes;  // needs a handle that may write
    bool many;    // any number of rows; else exactly one (or none: see waits)
    bool durable; // answered when the change has reached the disk; others may be lost to a power cut, which ends all
                  // workers
    bool waits;   // request starts with uint64_t wait_ms: run again on changes while there is no row
    const struct st_record *request; // NULL: none
    const struct st_record *answer;  // NULL: none
    int (*run)(const struct st_op_call *c, struct st_err *err);
    // HTTP: "GET", "/api/v1/scans/{id}": {name} is a field of the request; NULL: not over HTTP. Other fields come from
    // the query (GET, DELETE) or from a JSON body.
    const char *method, *path;
    unsigned status;     // of success
    const char *summary; // one line for the OpenAPI document
};

extern const struct st_op st_ops[]; // name NULL ends
const struct st_op *st_op_find(struct st_sv name);

// ---- requests and answers -----------------------------------------------------------------------
// Where an operation answers with rows of src/store, the struct is of store/store.h.

struct st_req_id {
    struct st_sv id; // or its beginning
};
struct st_req_list {
    struct st_sv status; // words, "failed,oom"; empty: all
    uint64_t last_s;     // 0: any time
    uint32_t limit;      // 0: LIST_DEFAULT
    bool dead;           // only dead letters
};
#define ST_LIST_DEFAULT 50
#define ST_LIST_MAX 10000
struct st_req_newest {
    struct st_sv image; // text of the reference
    uint64_t last_s;    // 0: 30 days
};
struct st_req_sbom {
    struct st_sv id, format; // format empty: cyclonedx-json; "unknowns": what a person is told
};
struct st_sbom_row { // its bytes come as a descriptor (a read-only file) along with the row
    struct st_sv format;
    uint64_t size;
};
struct st_layer_row { // worker/composition.h
    uint64_t index;   // from 0, the base
    struct st_sv digest, diff_id, media_type, created_by, state;
    uint64_t size, uncompressed, files; // bytes as stored; what was read of it, where it was read
    bool has_uncompressed, has_files;
};
struct st_req_retry {
    struct st_sv id;
    struct st_sv options; // how to scan this time; empty: as before
    bool force;
};
struct st_req_submit {
    struct st_sv image, digest, options, pool; // pool empty: routing decides
    uint64_t size;
    bool has_size, fresh, has_priority;
    enum st_priority priority; // without: normal
};
struct st_req_claim {
    uint64_t wait_ms; // 0: answer at once
    struct st_sv pool, worker;
    uint64_t lease_ms, memory_limit;
    struct st_sv config; // JSON object of restart keys: what the worker's generation began with; empty: as it is now
    struct st_sv holder; // as in struct st_claim
};
struct st_req_holder {
    struct st_sv holder;
};
#define ST_WAIT_MAX_MS 60000
// lease.renew (lease_ms), lease.release (message), lease.subject (digest, size)
struct st_req_lease {
    char id[ST_JOB_ID + 1];
    uint64_t fence, lease_ms, size;
    struct st_sv message, digest;
};
struct st_lease_answer {
    enum st_lease lease;
};
struct st_ended {
    enum st_job_state state;
};
struct st_req_key {
    struct st_sv key; // or a group; empty: all
    uint32_t limit;   // of the history
};
struct st_req_config_set {
    struct st_sv key, value;
};
struct st_config_row {
    struct st_sv key, value; // canonical
    struct st_sv origin;     // "default" or "set"
    struct st_sv who;        // set by
    int64_t set_ms;
    bool changed; // config.set, config.unset: something was changed
    bool restart; // workers use a change after their next restart
    struct st_sv warning, note;
};
struct st_req_logs {
    uint64_t wait_ms;
    struct st_sv filter;     // case-insensitive, literal, in component, message and fields; empty: all
    bool regex;              // filter is a POSIX extended regular expression
    enum st_log_level level; // without: info
    uint64_t last_s, after;  // after: a position
    uint32_t tail;           // only the last of what matches; 0: all
    bool since_restart, has_level;
};
struct st_logs_state {
    uint64_t dropped;
    int64_t dropped_ms, restart_ms;
};
// Evidence of check.scanner.queue (operator-surface 3.3), of the last hour.
struct st_queue_stats {
    uint64_t queue_depth, processing, stuck_jobs, failed_jobs, completed_jobs, dead_letters;
    uint64_t processing_rate_per_min, failure_rate; // thousandths; failure_rate in percent
    uint64_t oldest_job_age_min;
    bool backlog_growing;
};
struct st_sbom_stats { // check.scanner.sbom, of the last day
    uint64_t total_generated, successful_generations, failed_generations;
    uint64_t success_rate; // percent, thousandths
};
struct st_req_last {
    uint64_t last_s; // 0: a day
};
struct st_resource_stats { // check.scanner.resources; shares are percent, in thousandths
    uint64_t cpu_utilization, memory_utilization, memory_used_mb, active_workers, idle_workers, total_workers;
    bool has_cpu;
};
struct st_cache_stats { // check.scanner.slice.cache: the layer cache of the service's state directory
    uint64_t hit_rate, hits, misses, entry_count, used_bytes, max_bytes, eviction_rate;
};
#define ST_DEAD_MAX 10000 // dead letters that are looked at
struct st_dead_stats {    // check.operations.dead-letter
    uint64_t failed_jobs, retryable_count;
    int64_t oldest_failure_ms;
    struct st_sv most_common_error;
};
struct st_stats {
    uint64_t window_s, pending, processing, completed, failed, cancelled, dead;
    uint64_t wait_avg_ms, wait_max_ms, work_avg_ms, work_max_ms, peak_max;
    uint64_t sbom_success_rate; // percent, thousandths
};
struct st_count_row {
    struct st_sv what, which;
    uint64_t count;
};
// A worker as its supervisor last saw it (operator-surface 6.3, workers stats).
struct st_worker_row {
    struct st_sv id, pool, state; // "HOST/POOL-N"; idle, busy, starting, stalled, stopping, dead
    struct st_sv job, phase, layer, enforced;
    struct st_sv restarts_by;      // JSON object reason -> count
    struct st_sv last_job, reason; // of its last process that did not end by itself
    struct st_sv evidence;         // JSON object; of that process
    struct st_sv note;             // why it does not do what is wanted of it; empty: it does
    uint64_t memory, memory_limit, memory_peak, file_bytes, events_max, events_oom_kill, restarts;
    uint64_t layer_at, layers, bytes; // of the job in work: layer, from 1; of how many; read of the image
    uint64_t memory_asked;            // limit that its pool asks for; memory_limit is what this host can give of it
    uint64_t generation;              // of its pool, at its last start
    int64_t ended_ms;                 // when that process ended
    int signal;
    int64_t seen_ms, progress_ms; // when reported; when its job last went on
    int exit_code;
    bool has_exit;
    bool stale; // not heard of for ST_WORKER_STALE_MS
};
#define ST_WORKER_STALE_MS 10000
// What a supervisor is to make so: one row a pool, when it differs from `seen`.
struct st_req_wanted {
    uint64_t wait_ms;
    uint64_t seen; // version of the last answer; 0: none
};
struct st_wanted {
    uint64_t version; // of all rows together
    struct st_sv pool;
    uint64_t memory; // limit of one worker
    uint32_t count;
    uint64_t generation; // raised by workers.restart
    bool force;          // for this generation workers are not asked first
    struct st_sv config; // JSON object: the restart keys
    uint64_t cancels;    // jobs in work that are to be cancelled, of all pools
};
#define ST_MARK_GENERATION "generation:" // and the pool's name
#define ST_MARK_RESTART_OF "restart of:" // hash of the configuration that its last restart brings
#define ST_MARK_FORCED "forced:"         // its last generation that was forced
struct st_req_restart {
    struct st_sv pool; // empty: all
    bool force;
};
struct st_restart {
    struct st_sv pool;
    uint64_t generation;
    uint64_t workers; // that are to reach it, as last reported
    bool joined;      // another restart is doing the same
};
struct st_req_restarted {      // a worker ended and another takes its place
    struct st_sv pool, reason; // oom, memory_stall, crash, killed, timeout, manual, config
};
struct st_metric_row { // one sample of /metrics
    struct st_sv name, kind, labels, help;
    uint64_t value;               // thousandths, as the rest
    uint64_t low, high, increase; // has_span: in the time that was asked for, or since there is a history of it
    bool has_span;
};
struct st_req_metrics {
    uint64_t last_s; // 0: only what is now; at most ST_HISTORY_STEPS are known
};
struct st_status {
    struct st_sv state; // "ok", "degraded", "no service"
    struct st_sv reason, store, version;
    uint64_t workers_active, workers_idle, pending, processing, uptime_s;
};
struct st_done {
    bool done;
};

extern const struct st_record st_record_job, st_record_attempt, st_record_config, st_record_config_change,
    st_record_log, st_record_logs_state, st_record_queue_stats, st_record_sbom_stats, st_record_stats, st_record_count,
    st_record_pool, st_record_wanted, st_record_restart, st_record_worker, st_record_metric, st_record_status,
    st_record_lease, st_record_ended, st_record_done, st_record_resource_stats, st_record_cache_stats,
    st_record_dead_stats;
// Requests.
extern const struct st_record st_record_req_id, st_record_req_list, st_record_req_retry, st_record_req_submit,
    st_record_req_claim, st_record_req_holder, st_record_req_lease, st_record_req_end, st_record_req_key,
    st_record_req_config_set, st_record_req_logs, st_record_req_last, st_record_req_log, st_record_req_pool,
    st_record_req_pool_name, st_record_req_worker, st_record_req_restarted, st_record_req_wanted, st_record_req_restart,
    st_record_req_metrics;
extern const struct st_record st_record_req_newest, st_record_req_sbom, st_record_sbom_file, st_record_layer;

#endif
