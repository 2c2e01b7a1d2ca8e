// The field tables of everything that crosses the socket, HTTP, or `--format json`.
#include "base/ckd.h"
#include "service/op.h"

#define JOB struct st_job
static const struct st_field job[] = {
    {"id", ST_FIELD_ID_AT(JOB, id), .what = "job id"},
    {"image", ST_FIELD_TEXT_AT(JOB, image), .what = "reference as it was written"},
    {"name", ST_FIELD_TEXT_AT(JOB, name), .what = "what people call it: the image, or of an upload the file's name"},
    {"digest", ST_FIELD_TEXT_AT(JOB, digest), .what = "digest of the manifest, or of the configuration"},
    {"size", ST_FIELD_U64_AT(JOB, size), .has = offsetof(JOB, has_size) + 1, .what = "bytes as stored"},
    {"status", ST_FIELD_WORD_AT(JOB, state, st_job_state_words)},
    {"reason", ST_FIELD_TEXT_AT(JOB, reason), .what = "why it failed, or why it waits"},
    {"message", ST_FIELD_TEXT_AT(JOB, message), .max = ST_JOB_TEXT_MAX},
    {"priority", ST_FIELD_WORD_AT(JOB, priority, st_priority_words)},
    {"pool", ST_FIELD_TEXT_AT(JOB, pool), .what = "pool of workers; null for a local scan"},
    {"worker", ST_FIELD_TEXT_AT(JOB, worker), .what = "who holds the lease"},
    {"attempt", ST_FIELD_U32_AT(JOB, attempt)},
    {"tries", ST_FIELD_U32_AT(JOB, tries), .what = "attempts that were used up"},
    {"fence", ST_FIELD_U64_AT(JOB, fence), .what = "number of the last claim"},
    {"peakBytes", ST_FIELD_U64_AT(JOB, peak_bytes), .null_zero = true},
    {"exitCode", ST_FIELD_INT_AT(JOB, exit_code), .has = offsetof(JOB, ended) + 1},
    {"cancelRequested", ST_FIELD_BOOL_AT(JOB, cancel)},
    {"deadLetter", ST_FIELD_BOOL_AT(JOB, dead), .what = "failed with all attempts used up"},
    {"resumedFrom", ST_FIELD_TEXT_AT(JOB, resumed_from), .what = "job whose finished layers were used again"},
    {"waitMs", ST_FIELD_MS_AT(JOB, wait_ms), .what = "pending: until it may start; processing: until its lease ends"},
    {"createdAt", ST_FIELD_TIME_AT(JOB, created_ms)},
    {"startedAt", ST_FIELD_TIME_AT(JOB, started_ms)},
    {"updatedAt", ST_FIELD_TIME_AT(JOB, updated_ms)},
    {"new", ST_FIELD_BOOL_AT(JOB, made), .what = "only in the answer to a submission: there was no such job before"},
    {"result", ST_FIELD_TEXT_AT(JOB, result), .what = "SBOMs that it left, as cyclonedx-json,purls"},
    {"host", ST_FIELD_TEXT_AT(JOB, host), .what = "that has them"},
    {"unknowns", ST_FIELD_U64_AT(JOB, unknowns), .what = "files that could not be read"},
    {"packages", ST_FIELD_U64_AT(JOB, packages)},
    {"options", ST_FIELD_JSON_AT(JOB, options), .max = ST_JOB_TEXT_MAX},
    {"config", ST_FIELD_JSON_AT(JOB, config), .max = ST_JOB_TEXT_MAX, .what = "only in the answer to a claim"},
};
const struct st_record st_record_job = ST_RECORD("Job", JOB, job);

#define ATT struct st_attempt
static const struct st_field attempt[] = {
    {"job", ST_FIELD_ID_AT(ATT, job)},
    {"attempt", ST_FIELD_U32_AT(ATT, attempt)},
    {"fence", ST_FIELD_U64_AT(ATT, fence)},
    {"worker", ST_FIELD_TEXT_AT(ATT, worker)},
    {"pool", ST_FIELD_TEXT_AT(ATT, pool)},
    {"outcome", ST_FIELD_TEXT_AT(ATT, outcome), .what = "completed, failed, cancelled, released; null in work"},
    {"reason", ST_FIELD_TEXT_AT(ATT, reason)},
    {"message", ST_FIELD_TEXT_AT(ATT, message), .max = ST_JOB_TEXT_MAX},
    {"exitCode", ST_FIELD_INT_AT(ATT, exit_code)},
    {"signal", ST_FIELD_INT_AT(ATT, signal)},
    {"peakBytes", ST_FIELD_U64_AT(ATT, peak_bytes), .null_zero = true},
    {"memoryLimit", ST_FIELD_U64_AT(ATT, memory_limit), .null_zero = true},
    {"startedAt", ST_FIELD_TIME_AT(ATT, started_ms)},
    {"endedAt", ST_FIELD_TIME_AT(ATT, ended_ms)},
    {"evidence", ST_FIELD_JSON_AT(ATT, evidence), .max = ST_JOB_TEXT_MAX},
    {"config", ST_FIELD_JSON_AT(ATT, config), .max = ST_JOB_TEXT_MAX},
};
const struct st_record st_record_attempt = ST_RECORD("Attempt", ATT, attempt);

#define CFG struct st_config_row
static const struct st_field config[] = {
    {"key", ST_FIELD_TEXT_AT(CFG, key)},
    {"value", ST_FIELD_TEXT_AT(CFG, value)},
    {"origin", ST_FIELD_TEXT_AT(CFG, origin), .what = "default or set"},
    {"setBy", ST_FIELD_TEXT_AT(CFG, who)},
    {"setAt", ST_FIELD_TIME_AT(CFG, set_ms)},
    {"restartNeeded", ST_FIELD_BOOL_AT(CFG, restart), .what = "workers use a change after their next restart"},
    {"changed", ST_FIELD_BOOL_AT(CFG, changed)},
    {"warning", ST_FIELD_TEXT_AT(CFG, warning)},
    {"note", ST_FIELD_TEXT_AT(CFG, note)},
};
const struct st_record st_record_config = ST_RECORD("ConfigValue", CFG, config);

#define CHG struct st_config_change
static const struct st_field change[] = {
    {"seq", ST_FIELD_U64_AT(CHG, seq)},
    {"key", ST_FIELD_TEXT_AT(CHG, key)},
    {"old", ST_FIELD_TEXT_AT(CHG, old), .has = offsetof(CHG, has_old) + 1, .what = "null: it was not set"},
    {"value", ST_FIELD_TEXT_AT(CHG, value), .has = offsetof(CHG, has_value) + 1, .what = "null: unset"},
    {"setBy", ST_FIELD_TEXT_AT(CHG, who)},
    {"setAt", ST_FIELD_TIME_AT(CHG, set_ms)},
};
const struct st_record st_record_config_change = ST_RECORD("ConfigChange", CHG, change);

#define LOG struct st_log_line
static const struct st_field log_line[] = {
    {"at", ST_FIELD_U64_AT(LOG, at), .what = "position in the log"},
    {"time", ST_FIELD_TIME_AT(LOG, time_ms)},
    {"level", ST_FIELD_WORD_AT(LOG, level, st_log_level_words)},
    {"component", ST_FIELD_TEXT_AT(LOG, component)},
    {"job", ST_FIELD_TEXT_AT(LOG, job)},
    {"message", ST_FIELD_TEXT_AT(LOG, message)},
    {"fields", ST_FIELD_JSON_AT(LOG, fields)},
};
const struct st_record st_record_log = ST_RECORD("LogLine", LOG, log_line);

static const struct st_field logs_state[] = {
    {"dropped", ST_FIELD_U64_AT(struct st_logs_state, dropped), .what = "lines that the ring has lost"},
    {"droppedAt", ST_FIELD_TIME_AT(struct st_logs_state, dropped_ms), .what = "time of the last of them"},
    {"restartedAt", ST_FIELD_TIME_AT(struct st_logs_state, restart_ms), .what = "last start or restart of the workers"},
};
const struct st_record st_record_logs_state = ST_RECORD("LogState", struct st_logs_state, logs_state);

#define QST struct st_queue_stats
static const struct st_field queue_stats[] = {
    {"queue_depth", ST_FIELD_U64_AT(QST, queue_depth), .what = "pending jobs"},
    {"processing", ST_FIELD_U64_AT(QST, processing)},
    {"processing_rate_per_min", ST_FIELD_MILLI_AT(QST, processing_rate_per_min),
     .what = "jobs ended a minute, last hour"},
    {"stuck_jobs", ST_FIELD_U64_AT(QST, stuck_jobs), .what = "processing without progress for 5 minutes"},
    {"failed_jobs", ST_FIELD_U64_AT(QST, failed_jobs), .what = "in the last hour"},
    {"completed_jobs", ST_FIELD_U64_AT(QST, completed_jobs), .what = "in the last hour"},
    {"failure_rate", ST_FIELD_MILLI_AT(QST, failure_rate), .what = "percent, in the last hour"},
    {"oldest_job_age_min", ST_FIELD_U64_AT(QST, oldest_job_age_min), .what = "age of the oldest pending job"},
    {"backlog_growing", ST_FIELD_BOOL_AT(QST, backlog_growing), .what = "deeper than five minutes ago"},
    {"dead_letters", ST_FIELD_U64_AT(QST, dead_letters)},
};
const struct st_record st_record_queue_stats = ST_RECORD("QueueStats", QST, queue_stats);

#define SST struct st_sbom_stats
static const struct st_field sbom_stats[] = {
    {"total_generated", ST_FIELD_U64_AT(SST, total_generated), .what = "scans that reached their SBOM, last day"},
    {"successful_generations", ST_FIELD_U64_AT(SST, successful_generations)},
    {"failed_generations", ST_FIELD_U64_AT(SST, failed_generations)},
    {"success_rate", ST_FIELD_MILLI_AT(SST, success_rate), .what = "percent"},
};
const struct st_record st_record_sbom_stats = ST_RECORD("SbomStats", SST, sbom_stats);

#define MET struct st_metric_row
static const struct st_field metric[] = {
    {"name", ST_FIELD_TEXT_AT(MET, name)},
    {"kind", ST_FIELD_TEXT_AT(MET, kind), .what = "counter, gauge or histogram"},
    {"labels", ST_FIELD_TEXT_AT(MET, labels), .what = "as in /metrics"},
    {"value", ST_FIELD_MILLI_AT(MET, value)},
    {"low", ST_FIELD_MILLI_AT(MET, low), .has = offsetof(MET, has_span) + 1, .what = "in the time asked for"},
    {"high", ST_FIELD_MILLI_AT(MET, high), .has = offsetof(MET, has_span) + 1},
    {"increase", ST_FIELD_MILLI_AT(MET, increase), .has = offsetof(MET, has_span) + 1},
    {"help", ST_FIELD_TEXT_AT(MET, help)},
};
const struct st_record st_record_metric = ST_RECORD("Metric", MET, metric);
#define RES struct st_resource_stats
static const struct st_field resource_stats[] = {
    {"cpu_utilization", ST_FIELD_MILLI_AT(RES, cpu_utilization), .has = offsetof(RES, has_cpu) + 1,
     .what = "percent of the host's processors, over ten seconds"},
    {"memory_utilization", ST_FIELD_MILLI_AT(RES, memory_utilization),
     .what = "percent of its limit, of the worker that is nearest to it"},
    {"memory_used_mb", ST_FIELD_U64_AT(RES, memory_used_mb), .what = "MiB of all workers together"},
    {"active_workers", ST_FIELD_U64_AT(RES, active_workers)},
    {"idle_workers", ST_FIELD_U64_AT(RES, idle_workers)},
    {"total_workers", ST_FIELD_U64_AT(RES, total_workers)},
};
const struct st_record st_record_resource_stats = ST_RECORD("ResourceStats", RES, resource_stats);

#define CST struct st_cache_stats
static const struct st_field cache_stats[] = {
    {"hit_rate", ST_FIELD_MILLI_AT(CST, hit_rate), .what = "percent of the layers that were looked for"},
    {"hits", ST_FIELD_U64_AT(CST, hits)},
    {"misses", ST_FIELD_U64_AT(CST, misses)},
    {"entry_count", ST_FIELD_U64_AT(CST, entry_count)},
    {"used_bytes", ST_FIELD_U64_AT(CST, used_bytes)},
    {"max_bytes", ST_FIELD_U64_AT(CST, max_bytes)},
    {"eviction_rate", ST_FIELD_MILLI_AT(CST, eviction_rate), .what = "entries evicted for a hundred that were added"},
};
const struct st_record st_record_cache_stats = ST_RECORD("CacheStats", CST, cache_stats);

#define DST struct st_dead_stats
static const struct st_field dead_stats[] = {
    {"failed_jobs", ST_FIELD_U64_AT(DST, failed_jobs), .what = "dead letters; more than 10,000 are not counted"},
    {"retryable_count", ST_FIELD_U64_AT(DST, retryable_count), .what = "of them: those whose reason may pass"},
    {"oldest_failure", ST_FIELD_TIME_AT(DST, oldest_failure_ms)},
    {"most_common_error", ST_FIELD_TEXT_AT(DST, most_common_error), .what = "reason of most of them"},
};
const struct st_record st_record_dead_stats = ST_RECORD("DeadLetterStats", DST, dead_stats);

#define STS struct st_stats
static const struct st_field stats[] = {
    {"window", ST_FIELD_DURATION_AT(STS, window_s)},
    {"pending", ST_FIELD_U64_AT(STS, pending)},
    {"processing", ST_FIELD_U64_AT(STS, processing)},
    {"completed", ST_FIELD_U64_AT(STS, completed), .what = "in the window, as the rest"},
    {"failed", ST_FIELD_U64_AT(STS, failed)},
    {"cancelled", ST_FIELD_U64_AT(STS, cancelled)},
    {"deadLetters", ST_FIELD_U64_AT(STS, dead), .what = "at any time"},
    {"queueWaitAvgMs", ST_FIELD_U64_AT(STS, wait_avg_ms)},
    {"queueWaitMaxMs", ST_FIELD_U64_AT(STS, wait_max_ms)},
    {"scanAvgMs", ST_FIELD_U64_AT(STS, work_avg_ms)},
    {"scanMaxMs", ST_FIELD_U64_AT(STS, work_max_ms)},
    {"peakMaxBytes", ST_FIELD_U64_AT(STS, peak_max), .null_zero = true},
    {"sbomSuccessRate", ST_FIELD_MILLI_AT(STS, sbom_success_rate), .what = "percent"},
};
const struct st_record st_record_stats = ST_RECORD("Stats", STS, stats);

static const struct st_field count[] = {
    {"what", ST_FIELD_TEXT_AT(struct st_count_row, what)},
    {"which", ST_FIELD_TEXT_AT(struct st_count_row, which)},
    {"count", ST_FIELD_U64_AT(struct st_count_row, count)},
};
const struct st_record st_record_count = ST_RECORD("Count", struct st_count_row, count);

static const struct st_field pool[] = {
    {"name", ST_FIELD_TEXT_AT(struct st_pool, name)},
    {"memory", ST_FIELD_U64_AT(struct st_pool, memory), .what = "limit of one worker, bytes"},
    {"count", ST_FIELD_U32_AT(struct st_pool, count), .what = "workers"},
    {"updatedAt", ST_FIELD_TIME_AT(struct st_pool, updated_ms)},
    {"warning", ST_FIELD_TEXT_AT(struct st_pool, warning)},
};
const struct st_record st_record_pool = ST_RECORD("Pool", struct st_pool, pool);

static const struct st_field req_pool[] = {
    {"name", ST_FIELD_TEXT_AT(struct st_pool, name), .required = true, .max = 63, .what = "name of the pool"},
    {"memory", ST_FIELD_U64_AT(struct st_pool, memory), .required = true, .max = 1ull << 50,
     .what = "limit of one worker"},
    {"count", ST_FIELD_U32_AT(struct st_pool, count), .required = true, .max = 256, .what = "workers"},
};
const struct st_record st_record_req_pool = ST_RECORD("PoolRequest", struct st_pool, req_pool);

static const struct st_field req_pool_name[] = {
    {"name", ST_FIELD_TEXT_AT(struct st_pool, name), .required = true, .max = 63, .what = "name of the pool"},
};
const struct st_record st_record_req_pool_name = ST_RECORD("PoolName", struct st_pool, req_pool_name);

#define WRK struct st_worker_row
#define WORKER_FIELDS                                                                                                  \
    {"id", ST_FIELD_TEXT_AT(WRK, id), .required = true, .max = 200, .what = "HOST/POOL-N"},                            \
        {"pool", ST_FIELD_TEXT_AT(WRK, pool), .required = true, .max = 63, .what = "its pool"},                        \
        {"state", ST_FIELD_TEXT_AT(WRK, state), .required = true, .max = 32,                                           \
         .what = "idle, busy, starting, stalled, stopping, dead"},                                                     \
        {"job", ST_FIELD_TEXT_AT(WRK, job), .max = ST_JOB_ID}, {"phase", ST_FIELD_TEXT_AT(WRK, phase), .max = 64},     \
        {"layer", ST_FIELD_TEXT_AT(WRK, layer), .max = 128}, {"enforced", ST_FIELD_TEXT_AT(WRK, enforced), .max = 32}, \
        {"memory", ST_FIELD_U64_AT(WRK, memory), .what = "bytes without reclaimable file cache"},                      \
        {"memoryLimit", ST_FIELD_U64_AT(WRK, memory_limit)}, {"memoryPeak", ST_FIELD_U64_AT(WRK, memory_peak)},        \
        {"layerAt", ST_FIELD_U64_AT(WRK, layer_at)}, {"layers", ST_FIELD_U64_AT(WRK, layers)},                         \
        {"bytesRead", ST_FIELD_U64_AT(WRK, bytes), .what = "of the image as stored"},                                  \
        {"fileBytes", ST_FIELD_U64_AT(WRK, file_bytes)}, {"eventsMax", ST_FIELD_U64_AT(WRK, events_max)},              \
        {"eventsOomKill", ST_FIELD_U64_AT(WRK, events_oom_kill)}, {"restarts", ST_FIELD_U64_AT(WRK, restarts)},        \
        {"restartsByReason", ST_FIELD_JSON_AT(WRK, restarts_by), .max = 1024},                                         \
        {"memoryAsked", ST_FIELD_U64_AT(WRK, memory_asked), .what = "limit that its pool asks for"},                   \
        {"generation", ST_FIELD_U64_AT(WRK, generation), .what = "raised by a restart of its pool"},                   \
        {"reason", ST_FIELD_TEXT_AT(WRK, reason), .max = 32, .what = "why its last process was ended"},                \
        {"lastJob", ST_FIELD_TEXT_AT(WRK, last_job), .max = ST_JOB_ID},                                                \
        {"signal", ST_FIELD_INT_AT(WRK, signal), .has = offsetof(WRK, has_exit) + 1},                                  \
        {"endedAt", ST_FIELD_TIME_AT(WRK, ended_ms)},                                                                  \
        {"evidence", ST_FIELD_JSON_AT(WRK, evidence), .max = ST_JOB_TEXT_MAX},                                         \
        {"note", ST_FIELD_TEXT_AT(WRK, note), .max = 300},                                                             \
        {"exitCode", ST_FIELD_INT_AT(WRK, exit_code), .has = offsetof(WRK, has_exit) + 1,                              \
         .what = "of its last process that did not end by itself"},                                                    \
    {                                                                                                                  \
        "progressAt", ST_FIELD_TIME_AT(WRK, progress_ms), .what = "when its job last went on"                          \
    }
static const struct st_field worker[] = {
    WORKER_FIELDS,
    {"seenAt", ST_FIELD_TIME_AT(WRK, seen_ms)},
    {"stale", ST_FIELD_BOOL_AT(WRK, stale), .what = "its supervisor was not heard of for 10 seconds"},
};
const struct st_record st_record_worker = ST_RECORD("Worker", WRK, worker);
static const struct st_field req_worker[] = {WORKER_FIELDS};
const struct st_record st_record_req_worker = ST_RECORD("WorkerReport", WRK, req_worker);

#define WNT struct st_wanted
static const struct st_field wanted[] = {
    {"version", ST_FIELD_U64_AT(WNT, version), .what = "of all rows together"},
    {"pool", ST_FIELD_TEXT_AT(WNT, pool)},
    {"memory", ST_FIELD_U64_AT(WNT, memory), .what = "limit of one worker, bytes"},
    {"count", ST_FIELD_U32_AT(WNT, count)},
    {"generation", ST_FIELD_U64_AT(WNT, generation)},
    {"force", ST_FIELD_BOOL_AT(WNT, force)},
    {"config", ST_FIELD_JSON_AT(WNT, config), .max = ST_JOB_TEXT_MAX},
    {"cancels", ST_FIELD_U64_AT(WNT, cancels)},
};
const struct st_record st_record_wanted = ST_RECORD("Wanted", WNT, wanted);
static const struct st_field req_wanted[] = {
    {"waitMs", ST_FIELD_U64_AT(struct st_req_wanted, wait_ms), .max = ST_WAIT_MAX_MS, .what = "how long to wait"},
    {"seen", ST_FIELD_U64_AT(struct st_req_wanted, seen), .what = "version that is known"},
};
const struct st_record st_record_req_wanted = ST_RECORD("WantedRequest", struct st_req_wanted, req_wanted);

static const struct st_field restart[] = {
    {"pool", ST_FIELD_TEXT_AT(struct st_restart, pool)},
    {"generation", ST_FIELD_U64_AT(struct st_restart, generation), .what = "that its workers will report"},
    {"workers", ST_FIELD_U64_AT(struct st_restart, workers), .what = "that are to reach it"},
    {"joined", ST_FIELD_BOOL_AT(struct st_restart, joined), .what = "another restart is doing the same"},
};
const struct st_record st_record_restart = ST_RECORD("Restart", struct st_restart, restart);
static const struct st_field req_restart[] = {
    {"pool", ST_FIELD_TEXT_AT(struct st_req_restart, pool), .max = 63, .what = "only this pool; default: all"},
    {"force", ST_FIELD_BOOL_AT(struct st_req_restart, force), .what = "end workers at once, without asking them"},
};
const struct st_record st_record_req_restart = ST_RECORD("RestartRequest", struct st_req_restart, req_restart);

static const struct st_field status[] = {
    {"status", ST_FIELD_TEXT_AT(struct st_status, state), .what = "ok, degraded, no service"},
    {"reason", ST_FIELD_TEXT_AT(struct st_status, reason)},
    {"store", ST_FIELD_TEXT_AT(struct st_status, store), .what = "sqlite or postgresql"},
    {"version", ST_FIELD_TEXT_AT(struct st_status, version)},
    {"workersActive", ST_FIELD_U64_AT(struct st_status, workers_active)},
    {"workersIdle", ST_FIELD_U64_AT(struct st_status, workers_idle)},
    {"pending", ST_FIELD_U64_AT(struct st_status, pending)},
    {"processing", ST_FIELD_U64_AT(struct st_status, processing)},
    {"uptimeSeconds", ST_FIELD_U64_AT(struct st_status, uptime_s)},
};
const struct st_record st_record_status = ST_RECORD("Status", struct st_status, status);

static const struct st_field lease[] = {{"lease", ST_FIELD_WORD_AT(struct st_lease_answer, lease, st_lease_words)}};
const struct st_record st_record_lease = ST_RECORD("Lease", struct st_lease_answer, lease);
static const struct st_field ended[] = {{"status", ST_FIELD_WORD_AT(struct st_ended, state, st_job_state_words)}};
const struct st_record st_record_ended = ST_RECORD("Ended", struct st_ended, ended);
static const struct st_field done[] = {{"done", ST_FIELD_BOOL_AT(struct st_done, done)}};
const struct st_record st_record_done = ST_RECORD("Done", struct st_done, done);

// ---- requests -----------------------------------------------------------------------------------

static const struct st_field req_id[] = {
    {"id", ST_FIELD_TEXT_AT(struct st_req_id, id), .required = true, .max = 64,
     .what = "job id, or its first 6 digits or more"},
};
const struct st_record st_record_req_id = ST_RECORD("JobId", struct st_req_id, req_id);

static const struct st_field req_newest[] = {
    {"image", ST_FIELD_TEXT_AT(struct st_req_newest, image), .required = true, .max = 2048,
     .what = "as it was written"},
    {"last", ST_FIELD_DURATION_AT(struct st_req_newest, last_s), .what = "changed in the last TIME; default: 30d"},
};
const struct st_record st_record_req_newest = ST_RECORD("NewestRequest", struct st_req_newest, req_newest);

static const struct st_field req_sbom[] = {
    {"id", ST_FIELD_TEXT_AT(struct st_req_sbom, id), .required = true, .max = 64,
     .what = "job id, or its first 6 digits or more"},
    {"format", ST_FIELD_TEXT_AT(struct st_req_sbom, format), .max = 32, .what = "default: cyclonedx-json"},
};
const struct st_record st_record_req_sbom = ST_RECORD("SbomRequest", struct st_req_sbom, req_sbom);
static const struct st_field sbom_file[] = {
    {"format", ST_FIELD_TEXT_AT(struct st_sbom_row, format)},
    {"size", ST_FIELD_U64_AT(struct st_sbom_row, size), .what = "bytes"},
};
const struct st_record st_record_sbom_file = ST_RECORD("SbomFile", struct st_sbom_row, sbom_file);

static const struct st_field req_list[] = {
    {"status", ST_FIELD_TEXT_AT(struct st_req_list, status), .max = 255, .what = "states and reasons, as failed,oom"},
    {"last", ST_FIELD_DURATION_AT(struct st_req_list, last_s), .what = "changed in the last TIME, as 1h"},
    {"limit", ST_FIELD_U32_AT(struct st_req_list, limit), .max = ST_LIST_MAX, .what = "at most that many, the newest"},
    {"dead", ST_FIELD_BOOL_AT(struct st_req_list, dead), .what = "only dead letters"},
};
const struct st_record st_record_req_list = ST_RECORD("JobFilter", struct st_req_list, req_list);

#define LAY struct st_layer_row
static const struct st_field layer[] = {
    {"index", ST_FIELD_U64_AT(LAY, index), .what = "from 0, the base"},
    {"digest", ST_FIELD_TEXT_AT(LAY, digest), .what = "of the blob as stored"},
    {"diffId", ST_FIELD_TEXT_AT(LAY, diff_id), .what = "of its tar archive"},
    {"mediaType", ST_FIELD_TEXT_AT(LAY, media_type)},
    {"size", ST_FIELD_U64_AT(LAY, size), .what = "bytes as stored"},
    {"uncompressedSize", ST_FIELD_U64_AT(LAY, uncompressed), .has = offsetof(LAY, has_uncompressed) + 1,
     .what = "null: it was not read"},
    {"fileCount", ST_FIELD_U64_AT(LAY, files), .has = offsetof(LAY, has_files) + 1},
    {"createdBy", ST_FIELD_TEXT_AT(LAY, created_by), .max = ST_JOB_TEXT_MAX},
    {"state", ST_FIELD_TEXT_AT(LAY, state),
     .what = "scanned, cached, resumed, same (as an earlier one), foreign, failed"},
};
const struct st_record st_record_layer = ST_RECORD("Layer", LAY, layer);

static const struct st_field req_retry[] = {
    {"id", ST_FIELD_TEXT_AT(struct st_req_retry, id), .required = true, .max = 64,
     .what = "job id, or its first 6 digits or more"},
    {"options", ST_FIELD_JSON_AT(struct st_req_retry, options), .max = ST_JOB_TEXT_MAX,
     .what = "how to scan this time; default: as before"},
    {"force", ST_FIELD_BOOL_AT(struct st_req_retry, force),
     .what = "also when it completed or its attempts are used up"},
};
const struct st_record st_record_req_retry = ST_RECORD("Retry", struct st_req_retry, req_retry);

#define SUB struct st_req_submit
static const struct st_field req_submit[] = {
    {"image", ST_FIELD_TEXT_AT(SUB, image), .required = true, .max = 2048, .what = "reference of the image"},
    {"digest", ST_FIELD_TEXT_AT(SUB, digest), .max = 200, .what = "its digest, where it is known"},
    {"size", ST_FIELD_U64_AT(SUB, size), .has = offsetof(SUB, has_size) + 1, .max = INT64_MAX,
     .what = "bytes as stored"},
    {"priority", ST_FIELD_WORD_AT(SUB, priority, st_priority_words), .has = offsetof(SUB, has_priority) + 1,
     .what = "default: normal"},
    {"pool", ST_FIELD_TEXT_AT(SUB, pool), .max = 63, .what = "pool of workers; default: routing decides"},
    {"fresh", ST_FIELD_BOOL_AT(SUB, fresh), .what = "a new job even when an earlier one answers"},
    {"options", ST_FIELD_JSON_AT(SUB, options), .max = ST_JOB_TEXT_MAX, .what = "how to scan"},
};
const struct st_record st_record_req_submit = ST_RECORD("Submission", SUB, req_submit);

#define CLM struct st_req_claim
static const struct st_field req_claim[] = {
    {"waitMs", ST_FIELD_U64_AT(CLM, wait_ms), .max = ST_WAIT_MAX_MS, .what = "how long to wait for a job"},
    {"pool", ST_FIELD_TEXT_AT(CLM, pool), .required = true, .max = 63, .what = "of the worker"},
    {"worker", ST_FIELD_TEXT_AT(CLM, worker), .required = true, .max = 200, .what = "its name"},
    {"leaseMs", ST_FIELD_U64_AT(CLM, lease_ms), .required = true, .max = 3600000,
     .what = "time until the next heartbeat"},
    {"memoryLimit", ST_FIELD_U64_AT(CLM, memory_limit), .max = INT64_MAX},
    {"config", ST_FIELD_JSON_AT(CLM, config), .what = "restart keys of the worker's generation"},
    {"holder", ST_FIELD_TEXT_AT(CLM, holder), .max = 200, .what = "of the lease: HOST/INSTALLATION/RUN"},
};
const struct st_record st_record_req_claim = ST_RECORD("Claim", CLM, req_claim);

static const struct st_field req_holder[] = {
    {"holder", ST_FIELD_TEXT_AT(struct st_req_holder, holder), .required = true, .max = 200,
     .what = "HOST/INSTALLATION/RUN"},
};
const struct st_record st_record_req_holder = ST_RECORD("Holder", struct st_req_holder, req_holder);

#define LSE struct st_req_lease
static const struct st_field req_lease[] = {
    {"id", ST_FIELD_ID_AT(LSE, id), .required = true, .what = "job id"},
    {"fence", ST_FIELD_U64_AT(LSE, fence), .required = true, .max = INT64_MAX, .what = "number of the claim"},
    {"leaseMs", ST_FIELD_U64_AT(LSE, lease_ms), .max = 3600000},
    {"size", ST_FIELD_U64_AT(LSE, size), .max = INT64_MAX},
    {"message", ST_FIELD_TEXT_AT(LSE, message)},
    {"digest", ST_FIELD_TEXT_AT(LSE, digest), .max = 200},
};
const struct st_record st_record_req_lease = ST_RECORD("LeaseRequest", LSE, req_lease);

#define END struct st_end
static const struct st_field req_end[] = {
    {"id", ST_FIELD_ID_AT(END, id), .required = true, .what = "job id"},
    {"fence", ST_FIELD_U64_AT(END, fence), .required = true, .max = INT64_MAX, .what = "number of the claim"},
    {"status", ST_FIELD_WORD_AT(END, state, st_job_state_words), .required = true,
     .what = "completed, failed or cancelled"},
    {"reason", ST_FIELD_TEXT_AT(END, reason), .max = 64},
    {"message", ST_FIELD_TEXT_AT(END, message), .max = ST_JOB_TEXT_MAX},
    {"evidence", ST_FIELD_JSON_AT(END, evidence), .max = ST_JOB_TEXT_MAX},
    {"resumedFrom", ST_FIELD_TEXT_AT(END, resumed_from), .max = ST_JOB_ID},
    {"result", ST_FIELD_TEXT_AT(END, result), .max = 200, .what = "SBOMs that lie in jobs/ID/FENCE/"},
    {"host", ST_FIELD_TEXT_AT(END, host), .max = 200, .what = "that has them; default: of the worker's name"},
    {"peakBytes", ST_FIELD_U64_AT(END, peak_bytes), .max = INT64_MAX},
    {"exitCode", ST_FIELD_INT_AT(END, exit_code)},
    {"signal", ST_FIELD_INT_AT(END, signal)},
    {"again", ST_FIELD_BOOL_AT(END, again), .what = "failed: try again after a backoff"},
    {"pool", ST_FIELD_TEXT_AT(END, pool), .max = 63, .what = "failed: try again there at once"},
    {"phases", ST_FIELD_JSON_AT(END, phases), .what = "phase and its milliseconds"},
    {"unknowns", ST_FIELD_U64_AT(END, unknowns), .max = INT64_MAX},
    {"packages", ST_FIELD_U64_AT(END, packages), .max = INT64_MAX},
    {"layersCached", ST_FIELD_U64_AT(END, layers_cached), .max = INT64_MAX},
    {"layersTotal", ST_FIELD_U64_AT(END, layers_total), .max = INT64_MAX},
    {"bytesRead", ST_FIELD_U64_AT(END, bytes_read), .max = INT64_MAX},
};
const struct st_record st_record_req_end = ST_RECORD("JobEnd", END, req_end);

static const struct st_field req_key[] = {
    {"key", ST_FIELD_TEXT_AT(struct st_req_key, key), .max = 100, .what = "key or group; default: all"},
    {"limit", ST_FIELD_U32_AT(struct st_req_key, limit), .max = ST_LIST_MAX, .what = "of the history, the newest"},
};
const struct st_record st_record_req_key = ST_RECORD("ConfigKey", struct st_req_key, req_key);

static const struct st_field req_config_set[] = {
    {"key", ST_FIELD_TEXT_AT(struct st_req_config_set, key), .required = true, .max = 100, .what = "name of the key"},
    {"value", ST_FIELD_TEXT_AT(struct st_req_config_set, value), .required = true, .max = 200, .what = "the new value"},
};
const struct st_record st_record_req_config_set =
    ST_RECORD("ConfigChangeRequest", struct st_req_config_set, req_config_set);

#define LGS struct st_req_logs
static const struct st_field req_logs[] = {
    {"waitMs", ST_FIELD_U64_AT(LGS, wait_ms), .max = ST_WAIT_MAX_MS, .what = "how long to wait for a line"},
    {"filter", ST_FIELD_TEXT_AT(LGS, filter), .max = 256, .what = "text that a line contains"},
    {"regex", ST_FIELD_BOOL_AT(LGS, regex), .what = "filter is a regular expression"},
    {"level", ST_FIELD_WORD_AT(LGS, level, st_log_level_words), .has = offsetof(LGS, has_level) + 1,
     .what = "least level"},
    {"last", ST_FIELD_DURATION_AT(LGS, last_s), .what = "only of the last TIME"},
    {"after", ST_FIELD_U64_AT(LGS, after), .max = INT64_MAX, .what = "only after this position"},
    {"tail", ST_FIELD_U32_AT(LGS, tail), .max = ST_LIST_MAX, .what = "only the last of what matches"},
    {"sinceRestart", ST_FIELD_BOOL_AT(LGS, since_restart), .what = "only since the last restart of the workers"},
};
const struct st_record st_record_req_logs = ST_RECORD("LogFilter", LGS, req_logs);

static const struct st_field req_log[] = {
    {"time", ST_FIELD_TIME_AT(LOG, time_ms)},
    {"level", ST_FIELD_WORD_AT(LOG, level, st_log_level_words)},
    {"component", ST_FIELD_TEXT_AT(LOG, component), .required = true, .max = 64, .what = "where it comes from"},
    {"job", ST_FIELD_TEXT_AT(LOG, job), .max = ST_JOB_ID},
    {"message", ST_FIELD_TEXT_AT(LOG, message), .required = true, .what = "one line"},
    {"fields", ST_FIELD_JSON_AT(LOG, fields)},
};
const struct st_record st_record_req_log = ST_RECORD("LogEntry", LOG, req_log);

static const struct st_field req_last[] = {
    {"last", ST_FIELD_DURATION_AT(struct st_req_last, last_s), .what = "window that ends now; default: 24h"},
};
const struct st_record st_record_req_last = ST_RECORD("Window", struct st_req_last, req_last);

static const struct st_field req_restarted[] = {
    {"pool", ST_FIELD_TEXT_AT(struct st_req_restarted, pool), .required = true, .max = 63, .what = "of the worker"},
    {"reason", ST_FIELD_TEXT_AT(struct st_req_restarted, reason), .required = true, .max = 32, .what = "why it ended"},
};
const struct st_record st_record_req_restarted = ST_RECORD("Restarted", struct st_req_restarted, req_restarted);

static const struct st_field req_metrics[] = {
    {"last", ST_FIELD_DURATION_AT(struct st_req_metrics, last_s),
     .what = "also low, high and increase of the last TIME"},
};
const struct st_record st_record_req_metrics = ST_RECORD("MetricsRequest", struct st_req_metrics, req_metrics);
