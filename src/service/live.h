// What stella-api knows beyond its store, in memory only: workers as they were last reported, counters for /metrics,
// the depth of the queue over time. Every function locks; none blocks on anything else.
#ifndef ST_SERVICE_LIVE_H
#define ST_SERVICE_LIVE_H

#include "service/op.h"

#define ST_LIVE_WORKERS 1024
#define ST_LIVE_GONE_MS 60000 // a worker that was not reported for so long is forgotten

// Counters by up to two labels, of fixed sets, so that every series is exported from 0 on.
enum st_counter {
    ST_COUNT_ENQUEUED,
    ST_COUNT_RETRY,
    ST_COUNT_DEADLETTER,
    ST_COUNT_COMPLETED,
    ST_COUNT_FAILED,   // by reason, st_reasons
    ST_COUNT_RESTARTS, // by reason of a restart, and pool
    ST_COUNTERS_MAX
};

int st_live_new(struct st_live **ret, struct st_err *err);
void st_live_free(struct st_live *l); // NULL allowed

// `which`: index of the reason where the counter has one, else 0. All take NULL for no service.
void st_live_count(struct st_live *l, enum st_counter c, size_t which);
int st_live_restarted(struct st_live *l, struct st_sv pool, struct st_sv reason, struct st_err *err); // ST_E_INPUT
void st_live_job_ended(struct st_live *l, uint64_t wait_ms, uint64_t work_ms);
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

// The text of GET /metrics.
int st_metrics_write(struct st_store *s, struct st_live *l, struct st_out *o, struct st_err *err);

extern const char *const st_restart_reasons[]; // NULL ends

#define ST_LIVE_BUCKETS 10
extern const double st_live_bounds[ST_LIVE_BUCKETS]; // seconds; the last is followed by +Inf
struct st_live_histogram {
    uint64_t buckets[ST_LIVE_BUCKETS + 1], count; // not cumulative
    double sum;
};
void st_live_histograms(struct st_live *l, struct st_live_histogram *ret_wait, struct st_live_histogram *ret_work);
// Restarts by pool: `row` is called for each pool and reason, from 0 on.
typedef void st_live_restart_fn(void *ctx, struct st_sv pool, const char *reason, uint64_t n);
void st_live_restarts(struct st_live *l, st_live_restart_fn *row, void *ctx);

#endif
