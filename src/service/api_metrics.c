// GET /metrics: text exposition format of Prometheus, names of operator-surface 3.1.
#include "base/ckd.h"
#include "service/live.h"

static void head(struct st_out *o, const char *name, const char *type, const char *help)
{
    st_out_fmt(o, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// The value of a label: '\\', '"' and newlines are escaped.
static void label(struct st_out *o, const char *name, struct st_sv v)
{
    st_out_fmt(o, "%s=\"", name);
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '\\' || v.ptr[i] == '"')
            st_out_putc(o, '\\');
        if (v.ptr[i] == '\n')
            st_out_puts(o, "\\n");
        else
            st_out_putc(o, v.ptr[i]);
    }
    st_out_putc(o, '"');
}

static void one(struct st_out *o, const char *name, const char *type, const char *help, uint64_t v)
{
    head(o, name, type, help);
    st_out_fmt(o, "%s %llu\n", name, (unsigned long long)v);
}

static void histogram(struct st_out *o, const char *name, const char *help, const struct st_live_histogram *h)
{
    uint64_t n = 0;
    head(o, name, "histogram", help);
    for (size_t i = 0; i < ST_LIVE_BUCKETS; i++) {
        n += h->buckets[i];
        st_out_fmt(o, "%s_bucket{le=\"%g\"} %llu\n", name, st_live_bounds[i], (unsigned long long)n);
    }
    st_out_fmt(o, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.3f\n%s_count %llu\n", name, (unsigned long long)h->count, name,
               h->sum, name, (unsigned long long)h->count);
}

static void restart_row(void *ctx, struct st_sv pool, const char *reason, uint64_t n)
{
    struct st_out *o = ctx;
    st_out_fmt(o, "scanner_worker_restarts_total{reason=\"%s\",", reason);
    label(o, "pool", pool);
    st_out_fmt(o, "} %llu\n", (unsigned long long)n);
}

static void counters(struct st_live *l, struct st_out *o)
{
    one(o, "scanner_queue_enqueued_total", "counter", "Jobs that were submitted.",
        st_live_counter(l, ST_COUNT_ENQUEUED, 0));
    one(o, "scanner_queue_retry_total", "counter", "Jobs that went back to the queue after a failure.",
        st_live_counter(l, ST_COUNT_RETRY, 0));
    one(o, "scanner_queue_deadletter_total", "counter", "Jobs that used up their attempts.",
        st_live_counter(l, ST_COUNT_DEADLETTER, 0));
    one(o, "scanner_jobs_completed_total", "counter", "Scans that completed.",
        st_live_counter(l, ST_COUNT_COMPLETED, 0));
    head(o, "scanner_jobs_failed_total", "counter", "Attempts that failed, by reason.");
    for (size_t i = 0; st_reasons[i].word; i++) {
        uint64_t n = st_live_counter(l, ST_COUNT_FAILED, i);
        st_out_fmt(o, "scanner_jobs_failed_total{reason=\"%s\"} %llu\n", st_reasons[i].word, (unsigned long long)n);
    }
    for (size_t i = 0; st_reasons[i].word; i++) {
        uint64_t n = st_live_counter(l, ST_COUNT_FAILED, i);
        if (!strcmp(st_reasons[i].word, "timeout"))
            one(o, "scanner_scan_timeout_total", "counter", "Scans that ran out of time.", n);
        if (!strcmp(st_reasons[i].word, "sbom_failed"))
            one(o, "scanner_sbom_generation_failures_total", "counter", "Scans whose SBOM could not be written.", n);
    }
    head(o, "scanner_worker_restarts_total", "counter", "Workers that ended and were replaced, by reason and pool.");
    st_live_restarts(l, restart_row, o);
    struct st_live_histogram wait, work;
    st_live_histograms(l, &wait, &work);
    histogram(o, "scanner_queue_latency_seconds", "Time from submission to the last claim, of jobs that completed.",
              &wait);
    histogram(o, "scanner_job_duration_seconds", "Time from the last claim to completion.", &work);
}

struct gauge {
    const char *name, *help;
    uint64_t (*value)(const struct st_worker_row *w);
};

static uint64_t g_usage(const struct st_worker_row *w)
{
    return w->memory;
}
static uint64_t g_limit(const struct st_worker_row *w)
{
    return w->memory_limit;
}
static uint64_t g_file(const struct st_worker_row *w)
{
    return w->file_bytes;
}
static uint64_t g_peak(const struct st_worker_row *w)
{
    return w->memory_peak;
}
static uint64_t g_up(const struct st_worker_row *w)
{
    return !w->stale;
}

static void workers(struct st_out *o, const struct st_worker_row *w, size_t n)
{
    static const struct gauge gauges[] = {
        {"scanner_worker_memory_usage_bytes", "Memory of a worker without reclaimable file cache.", g_usage},
        {"scanner_worker_memory_limit_bytes", "Memory limit of a worker.", g_limit},
        {"scanner_worker_memory_file_bytes", "File cache charged to a worker.", g_file},
        {"scanner_worker_memory_peak_bytes", "Highest memory of the worker's last job.", g_peak},
        {"scanner_worker_up", "1 while the worker's supervisor reports.", g_up},
    };
    for (size_t g = 0; g < ST_LEN(gauges); g++) {
        head(o, gauges[g].name, "gauge", gauges[g].help);
        for (size_t i = 0; i < n; i++) {
            st_out_fmt(o, "%s{", gauges[g].name);
            label(o, "worker", w[i].id);
            st_out_putc(o, ',');
            label(o, "pool", w[i].pool);
            st_out_fmt(o, "} %llu\n", (unsigned long long)gauges[g].value(&w[i]));
        }
    }
}

static int pool_row(void *ctx, struct st_sv what, struct st_sv which, uint64_t n, struct st_err *err)
{
    struct st_out *o = ctx;
    st_out_fmt(o, "scanner_jobs_in_pool{");
    label(o, "status", what);
    st_out_putc(o, ',');
    label(o, "pool", which);
    st_out_fmt(o, "} %llu\n", (unsigned long long)n);
    return 0;
}

int st_metrics_write(struct st_store *s, struct st_live *l, struct st_out *o, struct st_err *err)
{
    struct st_counts c;
    struct st_mem mem;
    struct st_arena a;
    struct st_worker_row *w;
    size_t n;
    if (st_store_counts(s, INT64_MAX, &c, err))
        return -1;
    st_mem_init(&mem, 4 << 20, -1);
    st_arena_init(&a, &mem);
    int rc = st_live_workers(l, &a, &w, &n, err);
    if (rc == 0) {
        one(o, "scanner_jobs_pending", "gauge", "Jobs that wait.", c.pending);
        one(o, "scanner_jobs_processing", "gauge", "Jobs in work.", c.processing);
        one(o, "scanner_jobs_dead_letters", "gauge", "Jobs that used up their attempts and wait for a person.", c.dead);
        one(o, "scanner_jobs_oldest_pending_seconds", "gauge", "Age of the oldest job that waits.",
            c.oldest_pending_ms ? (uint64_t)ST_MAX((c.now_ms - c.oldest_pending_ms) / 1000, (int64_t)0) : 0);
        head(o, "scanner_jobs_in_pool", "gauge", "Jobs that wait or are in work, by pool.");
        rc = st_store_pool_counts(s, pool_row, o, err);
    }
    if (rc == 0) {
        counters(l, o);
        workers(o, w, n);
        one(o, "scanner_start_time_seconds", "gauge", "When stella-api started, seconds since 1970.",
            (uint64_t)(st_live_start_ms(l) / 1000));
    }
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc;
}
