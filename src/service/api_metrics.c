#include "service/api_metrics.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "service/metric_history.h"
#include "service/op_int.h"

#include <stdio.h>

#define ST_METRIC_NAME 512

const char *const st_metric_kind_words[] = {"counter", "gauge", "histogram", NULL};

// One walk.
struct walk {
    struct st_store *store;
    struct st_live *live;
    st_sample_fn *fn;
    void *ctx;
    struct st_err *err;
    int rc; // first failure; later samples are passed over
};

#define LABELS_NONE ((const struct st_metric_label[ST_METRIC_LABELS]){{NULL}})
#define LABELS_1(n, v) ((const struct st_metric_label[ST_METRIC_LABELS]){{n, v}})
#define LABELS_2(n, v, m, w) ((const struct st_metric_label[ST_METRIC_LABELS]){{n, v}, {m, w}})

static void put(struct walk *w, struct st_sample *s, const struct st_metric_label labels[static ST_METRIC_LABELS])
{
    memcpy(s->labels, labels, sizeof s->labels);
    if (w->rc == 0)
        w->rc = w->fn(w->ctx, s, w->err);
}

static void value(struct walk *w, enum st_metric_kind kind, const char *family, const char *help,
                  const struct st_metric_label labels[static ST_METRIC_LABELS], double v)
{
    struct st_sample s = {.family = family, .help = help, .kind = kind, .suffix = "", .value = v};
    put(w, &s, labels);
}

static void gauge(struct walk *w, const char *family, const char *help, uint64_t v)
{
    value(w, ST_METRIC_GAUGE, family, help, LABELS_NONE, (double)v);
}

// ---- counters -----------------------------------------------------------------------------------

static const struct {
    enum st_counter counter;
    const char *family, *help;
} counters[] = {
    {ST_COUNT_ENQUEUED, "scanner_queue_enqueued_total", "Jobs that were submitted."},
    {ST_COUNT_RETRY, "scanner_queue_retry_total", "Jobs that went back to the queue after a failure."},
    {ST_COUNT_DEADLETTER, "scanner_queue_deadletter_total", "Jobs that used up their attempts."},
    {ST_COUNT_COMPLETED, "scanner_jobs_completed_total", "Scans that completed."},
    {ST_COUNT_CANCELLED, "scanner_jobs_cancelled_total", "Jobs that were cancelled while they were in work."},
    {ST_COUNT_CACHE_HITS, "scanner_cache_hits_total", "Layers that were found in the layer cache."},
    {ST_COUNT_CACHE_MISSES, "scanner_cache_misses_total", "Layers that had to be read."},
    {ST_COUNT_BYTES_READ, "scanner_read_bytes_total", "Bytes of images that were read, as stored."},
    {ST_COUNT_PACKAGES, "scanner_packages_total", "Packages that completed scans found."},
    {ST_COUNT_UNKNOWNS, "scanner_unknowns_total", "Files that completed scans could not read and named."},
};

static void put_counters(struct walk *w)
{
    for (size_t i = 0; i < ST_LEN(counters); i++)
        value(w, ST_METRIC_COUNTER, counters[i].family, counters[i].help, LABELS_NONE,
              (double)st_live_counter(w->live, counters[i].counter, 0));
}

// Failures that have a name of their own in the runbooks, beside scanner_jobs_failed_total.
static const struct {
    const char *reason, *family, *help;
} named_failures[] = {
    {"timeout", "scanner_scan_timeout_total", "Scans that ran out of time."},
    {"sbom_failed", "scanner_sbom_generation_failures_total", "Scans whose SBOM could not be written."},
};

static void put_failures(struct walk *w)
{
    for (size_t i = 0; st_reasons[i].word; i++)
        value(w, ST_METRIC_COUNTER, "scanner_jobs_failed_total", "Attempts that failed, by reason.",
              LABELS_1("reason", st_sv_of(st_reasons[i].word)), (double)st_live_counter(w->live, ST_COUNT_FAILED, i));
    for (size_t k = 0; k < ST_LEN(named_failures); k++)
        for (size_t i = 0; st_reasons[i].word; i++)
            if (!strcmp(st_reasons[i].word, named_failures[k].reason))
                value(w, ST_METRIC_COUNTER, named_failures[k].family, named_failures[k].help, LABELS_NONE,
                      (double)st_live_counter(w->live, ST_COUNT_FAILED, i));
}

static void put_pools(struct walk *w)
{
    struct st_live_pool pools[ST_LIVE_POOLS];
    size_t n = st_live_pools(w->live, pools);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < ST_LIVE_REASONS; k++)
            value(w, ST_METRIC_COUNTER, "scanner_worker_restarts_total",
                  "Workers that ended and were replaced, by reason and pool.",
                  LABELS_2("reason", st_sv_of(st_restart_reasons[k]), "pool", st_sv_of(pools[i].name)),
                  (double)pools[i].restarts[k]);
    for (size_t i = 0; i < n; i++)
        value(w, ST_METRIC_GAUGE, "scanner_pool_memory_peak_bytes",
              "Highest memory of a worker of the pool since stella-api started.",
              LABELS_1("pool", st_sv_of(pools[i].name)), (double)pools[i].peak);
}

// ---- histograms ---------------------------------------------------------------------------------

static void put_histogram(struct walk *w, enum st_histogram_id id, const char *family, const char *help,
                          const struct st_metric_label labels[static ST_METRIC_LABELS])
{
    struct st_live_histogram h = st_live_histogram(w->live, id);
    struct st_sample s = {.family = family, .help = help, .kind = ST_METRIC_HISTOGRAM, .suffix = "_bucket"};
    uint64_t n = 0;
    for (size_t i = 0; i <= ST_LIVE_BUCKETS; i++) {
        n += h.buckets[i];
        s.last_bucket = i == ST_LIVE_BUCKETS;
        s.le = s.last_bucket ? NULL : &st_live_bounds(id)[i];
        s.value = (double)n;
        put(w, &s, labels);
    }
    s = (struct st_sample){
        .family = family, .help = help, .kind = ST_METRIC_HISTOGRAM, .suffix = "_sum", .value = h.sum};
    put(w, &s, labels);
    s.suffix = "_count";
    s.value = (double)h.count;
    put(w, &s, labels);
}

static void put_histograms(struct walk *w)
{
    put_histogram(w, ST_HIST_QUEUE, "scanner_queue_latency_seconds", "Time from submission to the first claim.",
                  LABELS_NONE);
    static const char duration[] = "Time from the last claim to the end of the attempt.";
    put_histogram(w, ST_HIST_COMPLETED, "scanner_job_duration_seconds", duration,
                  LABELS_1("status", ST_SV("completed")));
    put_histogram(w, ST_HIST_FAILED, "scanner_job_duration_seconds", duration, LABELS_1("status", ST_SV("failed")));
    for (size_t i = 0; i < ST_LIVE_PHASES_MAX; i++)
        put_histogram(w, (enum st_histogram_id)(ST_HIST_PHASE + i), "scanner_phase_duration_seconds",
                      "Time of a scan in a phase.", LABELS_1("phase", st_sv_of(st_live_phase_words[i])));
    put_histogram(w, ST_HIST_PEAK, "scanner_job_memory_peak_bytes", "Highest memory of an attempt.", LABELS_NONE);
}

// ---- workers ------------------------------------------------------------------------------------

static uint64_t g_usage(const struct st_worker_row *w, int64_t now)
{
    return w->memory;
}
static uint64_t g_limit(const struct st_worker_row *w, int64_t now)
{
    return w->memory_limit;
}
static uint64_t g_file(const struct st_worker_row *w, int64_t now)
{
    return w->file_bytes;
}
static uint64_t g_peak(const struct st_worker_row *w, int64_t now)
{
    return w->memory_peak;
}
static uint64_t g_up(const struct st_worker_row *w, int64_t now)
{
    return !w->stale;
}
static uint64_t g_busy(const struct st_worker_row *w, int64_t now)
{
    return w->job.len != 0;
}
static uint64_t g_still(const struct st_worker_row *w, int64_t now)
{
    return w->job.len && w->progress_ms ? (uint64_t)ST_MAX((now - w->progress_ms) / 1000, (int64_t)0) : 0;
}
static uint64_t g_events_max(const struct st_worker_row *w, int64_t now)
{
    return w->events_max;
}

static const struct {
    const char *family, *help;
    uint64_t (*of)(const struct st_worker_row *w, int64_t now_ms);
} worker_gauges[] = {
    {"scanner_worker_up", "1 while the worker's supervisor reports.", g_up},
    {"scanner_worker_busy", "1 while the worker has a job.", g_busy},
    {"scanner_worker_no_progress_seconds", "Time since the worker's job last went on; 0 without one.", g_still},
    {"scanner_worker_memory_usage_bytes", "Memory of a worker without reclaimable file cache.", g_usage},
    {"scanner_worker_memory_limit_bytes", "Memory limit of a worker.", g_limit},
    {"scanner_worker_memory_file_bytes", "File cache charged to a worker.", g_file},
    {"scanner_worker_memory_peak_bytes", "Highest memory of the worker's job.", g_peak},
    {"scanner_worker_memory_events_max", "How often the worker's job met its limit (memory.events max).", g_events_max},
};

static int put_workers(struct walk *w)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_worker_row *rows;
    size_t n;
    int64_t now = st_clock_wall_ms();
    st_mem_init(&mem, 4 << 20, -1);
    st_arena_init(&a, &mem);
    int rc = st_live_workers(w->live, &a, &rows, &n, w->err);
    for (size_t g = 0; rc == 0 && g < ST_LEN(worker_gauges); g++)
        for (size_t i = 0; i < n; i++)
            value(w, ST_METRIC_GAUGE, worker_gauges[g].family, worker_gauges[g].help,
                  LABELS_2("worker", rows[i].id, "pool", rows[i].pool), (double)worker_gauges[g].of(&rows[i], now));
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc;
}

// ---- the store ----------------------------------------------------------------------------------

static int pool_row(void *ctx, struct st_sv what, struct st_sv which, uint64_t n, struct st_err *err)
{
    if (which.len) // local scans have no pool
        value(ctx, ST_METRIC_GAUGE, "scanner_jobs_in_pool", "Jobs that wait or are in work, by pool.",
              LABELS_2("status", what, "pool", which), (double)n);
    return 0;
}

static int put_store(struct walk *w)
{
    struct st_counts c;
    if (st_store_counts(w->store, INT64_MAX, &c, w->err))
        return -1;
    gauge(w, "scanner_jobs_pending", "Jobs that wait.", c.pending);
    gauge(w, "scanner_jobs_processing", "Jobs in work.", c.processing);
    gauge(w, "scanner_jobs_dead_letters", "Jobs that used up their attempts and wait for a person.", c.dead);
    gauge(w, "scanner_jobs_oldest_pending_seconds", "Age of the oldest job that waits.",
          c.oldest_pending_ms ? (uint64_t)ST_MAX((c.now_ms - c.oldest_pending_ms) / 1000, (int64_t)0) : 0);
    return st_store_pool_counts(w->store, pool_row, w, w->err);
}

int st_metrics_walk(struct st_store *s, struct st_live *l, st_sample_fn *fn, void *ctx, struct st_err *err)
{
    struct walk w = {s, l, fn, ctx, err, 0};
    uint64_t cpu;
    if (put_store(&w))
        return -1;
    if (!l)
        return w.rc;
    put_counters(&w);
    put_failures(&w);
    put_pools(&w);
    put_histograms(&w);
    if (put_workers(&w))
        return -1;
    if (st_live_cpu_used(l, &cpu))
        value(&w, ST_METRIC_GAUGE, "scanner_host_cpu_utilization_ratio",
              "CPUs of stella-api's host in use, of all, over ten seconds.", LABELS_NONE, (double)cpu / 100000);
    gauge(&w, "scanner_start_time_seconds", "When stella-api started, seconds since 1970.",
          (uint64_t)(st_live_start_ms(l) / 1000));
    return w.rc;
}

// ---- as text ------------------------------------------------------------------------------------

struct text {
    struct st_out *out;
    const char *family; // of the last sample
};

static void put_label(struct st_out *o, const char *name, struct st_sv v, char *sep)
{
    st_out_fmt(o, "%c%s=\"", *sep, name);
    *sep = ',';
    for (size_t i = 0; i < v.len; i++) { // '\\', '"' and newlines are escaped
        if (v.ptr[i] == '\\' || v.ptr[i] == '"')
            st_out_putc(o, '\\');
        if (v.ptr[i] == '\n')
            st_out_puts(o, "\\n");
        else
            st_out_putc(o, v.ptr[i]);
    }
    st_out_putc(o, '"');
}

// {a="b",le="0.5"}, nothing without labels.
static void put_labels(struct st_out *o, const struct st_sample *s)
{
    char sep = '{', le[32] = "+Inf";
    for (size_t i = 0; i < ST_METRIC_LABELS && s->labels[i].name; i++)
        put_label(o, s->labels[i].name, s->labels[i].value, &sep);
    if (s->le)
        snprintf(le, sizeof le, "%.15g", *s->le);
    if (s->le || s->last_bucket)
        put_label(o, "le", st_sv_of(le), &sep);
    if (sep == ',')
        st_out_putc(o, '}');
}

static int print_sample(void *ctx, const struct st_sample *s, struct st_err *err)
{
    struct text *t = ctx;
    if (!t->family || strcmp(t->family, s->family) != 0)
        st_out_fmt(t->out, "# HELP %s %s\n# TYPE %s %s\n", s->family, s->help, s->family,
                   st_metric_kind_words[s->kind]);
    t->family = s->family;
    st_out_fmt(t->out, "%s%s", s->family, s->suffix);
    put_labels(t->out, s);
    st_out_fmt(t->out, s->value == (double)(int64_t)s->value ? " %.0f\n" : " %.6f\n", s->value);
    return 0;
}

int st_metrics_write(struct st_store *s, struct st_live *l, struct st_out *o, struct st_err *err)
{
    struct text t = {.out = o};
    return st_metrics_walk(s, l, print_sample, &t, err);
}

// ---- as rows ------------------------------------------------------------------------------------

bool st_sample_name(const struct st_sample *s, char *buf, size_t n, struct st_sv *ret)
{
    struct st_mem mem;
    struct st_buf b;
    struct st_out o;
    st_mem_init(&mem, 64 * 1024, -1);
    st_buf_init(&b, &mem);
    st_out_init_buf(&o, &b);
    st_out_fmt(&o, "%s%s", s->family, s->suffix);
    put_labels(&o, s);
    bool fits = st_out_finish(&o, NULL) == 0 && b.len < n;
    if (fits) {
        memcpy(buf, b.ptr, b.len);
        *ret = st_sv_mem(buf, b.len);
    }
    st_buf_release(&b);
    st_mem_release(&mem);
    return fits;
}

static uint64_t thousandths(double v)
{
    return v <= 0 ? 0 : (uint64_t)(v * 1000 + 0.5);
}

static int emit_sample(void *ctx, const struct st_sample *s, struct st_err *err)
{
    const struct st_op_call *c = ctx;
    const struct st_req_metrics *q = c->request;
    char text[ST_METRIC_NAME];
    struct st_sv name;
    struct st_metric_span span;
    if (!st_sample_name(s, text, sizeof text, &name))
        return 0; // longer than any label of ours
    size_t brace = ST_MIN(st_sv_find(name, '{'), name.len);
    struct st_metric_row row = {.name = st_sv_sub(name, 0, brace),
                                .labels = st_sv_from(name, brace),
                                .kind = st_sv_of(st_metric_kind_words[s->kind]),
                                .help = st_sv_of(s->help),
                                .value = thousandths(s->value)};
    if (q->last_s && c->live &&
        st_metric_history_span(st_live_history(c->live), name, (int64_t)q->last_s * 1000, s->value, &span)) {
        row.has_span = true;
        row.low = thousandths(span.low);
        row.high = thousandths(span.high);
        row.increase = thousandths(span.increase);
    }
    return c->emit(c->ctx, &row, err);
}

int st_op_metrics(const struct st_op_call *c, struct st_err *err)
{
    return st_metrics_walk(c->store, c->live, emit_sample, (void *)(uintptr_t)c, err);
}
