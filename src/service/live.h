// What stella-api knows beyond its store, in memory only: workers as they were last reported, counters for /metrics,
// the depth of the queue over time. Every function locks; none blocks on anything else.
#ifndef ST_SERVICE_LIVE_H
#define ST_SERVICE_LIVE_H

#include "service/files.h"
#include "service/op.h"

#define ST_LIVE_WORKERS 1024
#define ST_LIVE_GONE_MS 60000 // a worker that was not reported for so long is forgotten
#define ST_LIVE_DEAD_MS 4000  // and so is one that was reported dead

// Counters by up to two labels, of fixed sets, so that every series is exported from 0 on.
enum st_counter {
    ST_COUNT_ENQUEUED,
    ST_COUNT_RETRY,
    ST_COUNT_DEADLETTER,
    ST_COUNT_COMPLETED,
    ST_COUNT_CANCELLED,
    ST_COUNT_FAILED,       // by reason, st_reasons
    ST_COUNT_CACHE_HITS,   // layers
    ST_COUNT_CACHE_MISSES, // layers
    ST_COUNT_BYTES_READ,
    ST_COUNT_PACKAGES,
    ST_COUNT_UNKNOWNS,
    ST_COUNTERS_MAX
};

// Phases of a scan, as workers name them; what is not among them is "other".
#define ST_LIVE_PHASES(X) X(resolve) X(index) X(layers) X(merge) X(write) X(other)
enum st_live_phase {
#define ST_LIVE_PHASE_ENUM(word) ST_PHASE_##word,
    ST_LIVE_PHASES(ST_LIVE_PHASE_ENUM)
#undef ST_LIVE_PHASE_ENUM
        ST_LIVE_PHASES_MAX
};
extern const char *const st_live_phase_words[]; // NULL ends

enum st_histogram_id {
    ST_HIST_QUEUE,     // seconds from submission to the first claim
    ST_HIST_COMPLETED, // seconds from the last claim to the end
    ST_HIST_FAILED,
    ST_HIST_PEAK,  // bytes, of ended attempts
    ST_HIST_PHASE, // seconds, one for each phase
    ST_HIST_MAX = ST_HIST_PHASE + ST_LIVE_PHASES_MAX
};
#define ST_LIVE_BUCKETS 10
struct st_live_histogram {
    uint64_t buckets[ST_LIVE_BUCKETS + 1], count; // not cumulative; the last bucket is +Inf
    double sum;
};
const double *st_live_bounds(enum st_histogram_id h); // ST_LIVE_BUCKETS of them

// host: what the holders of leases begin with whose supervisor this service is of (st_claim.holder: HOST/INSTALLATION),
// or the host's name.
int st_live_new(const char *host, struct st_live **ret, struct st_err *err);
void st_live_free(struct st_live *l); // NULL allowed

// `which`: index of the reason where the counter has one, else 0. All take NULL for no service.
void st_live_count(struct st_live *l, enum st_counter c, size_t which);
void st_live_add(struct st_live *l, enum st_counter c, size_t which, uint64_t n);
int st_live_restarted(struct st_live *l, struct st_sv pool, struct st_sv reason, struct st_err *err); // ST_E_INPUT
void st_live_observe(struct st_live *l, enum st_histogram_id h, double value);
struct st_live_histogram st_live_histogram(struct st_live *l, enum st_histogram_id h);
uint64_t st_live_counter(struct st_live *l, enum st_counter c, size_t which);

int st_live_worker(struct st_live *l, const struct st_worker_row *w, struct st_err *err);
// Rows are copies that live as long as the arena.
int st_live_workers(struct st_live *l, struct st_arena *a, struct st_worker_row **ret, size_t *ret_n,
                    struct st_err *err);
bool st_live_has_pool(struct st_live *l, struct st_sv pool);             // a worker of it that is not stale
void st_live_depth(struct st_live *l, uint64_t pending, int64_t now_ms); // told once in a while
bool st_live_growing(struct st_live *l);
uint64_t st_live_pending(struct st_live *l); // as last told
int64_t st_live_start_ms(struct st_live *l);
struct st_metric_history *st_live_history(struct st_live *l); // locks by itself
// Processors of the host: told once a second (a line "cpu ..." of /proc/stat); thousandths of percent over the last
// ten times. False: not known yet.
void st_live_cpu(struct st_live *l, struct st_sv line);
bool st_live_cpu_used(struct st_live *l, uint64_t *ret);
struct st_files *st_live_files(struct st_live *l);
const char *st_live_host(const struct st_live *l); // who alone may claim a job whose file is here

#define ST_LIVE_REASONS 7
extern const char *const st_restart_reasons[ST_LIVE_REASONS + 1]; // NULL ends

// Of each pool that ever had a worker, and of default.
struct st_live_pool {
    char name[64];
    uint64_t restarts[ST_LIVE_REASONS]; // by st_restart_reasons
    uint64_t peak;                      // highest memory that a worker of it reported, bytes
};
#define ST_LIVE_POOLS 64 // with figures of their own; more share the last
size_t st_live_pools(struct st_live *l, struct st_live_pool ret[static ST_LIVE_POOLS]);

#endif
