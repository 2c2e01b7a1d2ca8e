// stella obs metrics: the figures of /metrics with what they mean, without Prometheus.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "cli/render.h"

#include <stdio.h>

struct raw {
    const char *filter;
    uint64_t last;
    int format;
    struct st_watch watch;
};

static const struct st_opt options[] = {
    {"filter", 0, ST_OPT_STRING_AT(struct raw, filter), .arg = "TEXT",
     .help = "only metrics with TEXT in name or labels, in any case"},
    {"last", 0, ST_OPT_DURATION_AT(struct raw, last), .arg = "TIME",
     .help = "also the lowest and highest value of the last TIME, and what was added; up to 1h is remembered"},
    ST_FORMAT_OPTION(struct raw),
    ST_WATCH_OPTIONS(struct raw),
};

// ---- what a value means ---------------------------------------------------------------------------

enum unit { PLAIN, BYTES, SECONDS, CLOCK };
struct aid {
    const char *name;
    enum unit unit;
    bool growth; // compared is what was added in the time, where that is known
    struct {
        double above; // a note from here on; the last that holds is shown
        const char *note;
    } levels[2];
};
static const struct aid aids[] = {
    {"scanner_jobs_pending", .levels = {{50, "expected below 50"}, {100, "a problem: above 100"}}},
    {"scanner_jobs_dead_letters", .levels = {{10, "stella scanner deadletter list"}, {50, "a problem: above 50"}}},
    {"scanner_jobs_oldest_pending_seconds", SECONDS, .levels = {{300, "waits for more than 5 minutes"}}},
    {"scanner_worker_no_progress_seconds", SECONDS,
     .levels = {{120, "slow"}, {300, "stuck: stella scanner workers inspect"}}},
    {"scanner_host_cpu_utilization_ratio", .levels = {{0.75, "busy"}, {0.9, "CPU above 90%"}}},
    {"scanner_scan_timeout_total", .levels = {{0, "stella scanner jobs list --status timeout"}}, .growth = true},
    {"scanner_sbom_generation_failures_total", .levels = {{0, "stella scanner jobs list --status sbom_failed"}},
     .growth = true},
    {"scanner_queue_deadletter_total", .levels = {{0, "stella scanner deadletter list"}}, .growth = true},
    {"scanner_worker_memory_usage_bytes", BYTES},
    {"scanner_worker_memory_limit_bytes", BYTES},
    {"scanner_worker_memory_file_bytes", BYTES, .levels = {{0, "can be freed: harmless"}}},
    {"scanner_worker_memory_peak_bytes", BYTES},
    {"scanner_pool_memory_peak_bytes", BYTES},
    {"scanner_read_bytes_total", BYTES},
    {"scanner_job_memory_peak_bytes_sum", BYTES},
    {"scanner_queue_latency_seconds_sum", SECONDS},
    {"scanner_job_duration_seconds_sum", SECONDS},
    {"scanner_phase_duration_seconds_sum", SECONDS},
    {"scanner_start_time_seconds", CLOCK},
};

static const struct aid *aid_of(struct st_sv name)
{
    for (size_t i = 0; i < ST_LEN(aids); i++)
        if (st_sv_eq(name, st_sv_of(aids[i].name)))
            return &aids[i];
    return NULL;
}

// ---- rows ---------------------------------------------------------------------------------------

#define METRICS 2048
#define NOTE 80
struct line {
    struct st_metric_row m; // its texts are in the arena
    char note[NOTE];
};
struct view {
    const struct raw *r;
    struct st_client *client;
    struct st_out *out;
    struct st_mem mem;
    struct st_arena arena;
    struct line *lines;
    size_t n;
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool contains(struct st_sv text, const char *what)
{
    for (size_t i = 0; i < text.len; i++) {
        size_t k = 0;
        while (what[k] && i + k < text.len && lower(text.ptr[i + k]) == lower(what[k]))
            k++;
        if (!what[k])
            return true;
    }
    return !what[0];
}

static bool wanted(const struct view *v, const struct st_metric_row *m)
{
    return !v->r->filter || contains(m->name, v->r->filter) || contains(m->labels, v->r->filter);
}

static int keep(void *ctx, const void *row, struct st_err *err)
{
    struct view *v = ctx;
    const struct st_metric_row *m = row;
    if (st_sv_ends(m->name, ST_SV("_bucket")) || v->n == METRICS)
        return 0;
    struct st_metric_row *copy = &v->lines[v->n].m;
    *copy = *m;
    struct st_sv *texts[] = {&copy->name, &copy->labels, &copy->kind, &copy->help};
    for (size_t i = 0; i < ST_LEN(texts); i++)
        if (st_arena_dup(&v->arena, *texts[i], texts[i], err))
            return -1;
    v->n++;
    return 0;
}

static const struct st_metric_row *other(const struct view *v, const char *name, struct st_sv labels)
{
    for (size_t i = 0; i < v->n; i++)
        if (st_sv_eq(v->lines[i].m.name, st_sv_of(name)) && st_sv_eq(v->lines[i].m.labels, labels))
            return &v->lines[i].m;
    return NULL;
}

static void note_memory(const struct view *v, struct line *l)
{
    const struct st_metric_row *limit = other(v, "scanner_worker_memory_limit_bytes", l->m.labels);
    double used = (double)(l->m.has_span ? l->m.high : l->m.value);
    if (!limit || !limit->value)
        return;
    double share = used / (double)limit->value * 100;
    snprintf(l->note, sizeof l->note, "%s%.1f%% of its limit%s", l->m.has_span ? "at most " : "", share,
             share > 95   ? ": a problem, above 95%"
             : share > 90 ? ": above 90%"
             : share > 80 ? ": above 80%"
                          : "");
}

static void note_restarts(struct line *l)
{
    uint64_t n = l->m.has_span ? l->m.increase : l->m.value;
    if (n && (contains(l->m.labels, "reason=\"oom\"") || contains(l->m.labels, "reason=\"memory_stall\"")))
        snprintf(l->note, sizeof l->note, "memory deaths: stella scanner jobs list --status oom,memory_stall");
}

// "12 of mean 3.2 s" of a histogram's count.
static void note_mean(const struct view *v, struct line *l)
{
    char sum[128], text[ST_QUANTITY_TEXT];
    size_t stem = l->m.name.len - (sizeof "_count" - 1);
    snprintf(sum, sizeof sum, "%.*s_sum", (int)stem, l->m.name.ptr);
    const struct st_metric_row *s = other(v, sum, l->m.labels);
    if (!s || !l->m.value)
        return;
    double mean = (double)s->value / (double)l->m.value;
    st_quantity_human((uint64_t)mean, text);
    if (contains(s->name, "bytes"))
        snprintf(l->note, sizeof l->note, "on average %s", text);
    else
        snprintf(l->note, sizeof l->note, "on average %.3f s", mean);
}

static void note(const struct view *v, struct line *l)
{
    const struct aid *a = aid_of(l->m.name);
    double shown = (double)(a && a->growth && l->m.has_span ? l->m.increase
                            : l->m.has_span                 ? l->m.high
                                                            : l->m.value) /
                   1000;
    if (st_sv_eq(l->m.name, ST_SV("scanner_worker_memory_usage_bytes")))
        note_memory(v, l);
    else if (st_sv_eq(l->m.name, ST_SV("scanner_worker_restarts_total")))
        note_restarts(l);
    else if (st_sv_ends(l->m.name, ST_SV("_count")))
        note_mean(v, l);
    else if (st_sv_eq(l->m.name, ST_SV("scanner_worker_up")) && !l->m.value)
        snprintf(l->note, sizeof l->note, "its supervisor does not report");
    for (size_t i = 0; a && i < ST_LEN(a->levels); i++)
        if (a->levels[i].note && shown > a->levels[i].above)
            snprintf(l->note, sizeof l->note, "%s", a->levels[i].note);
}

// ---- table --------------------------------------------------------------------------------------

static struct st_sv amount(const struct st_metric_row *m, uint64_t milli, char scratch[static ST_CELL])
{
    const struct aid *a = aid_of(m->name);
    if (a && a->unit == BYTES)
        st_quantity_human(milli / 1000, scratch);
    else if (a && a->unit == SECONDS && milli >= 60000)
        st_duration_human(milli / 1000, scratch);
    else if (a && a->unit == SECONDS)
        snprintf(scratch, ST_CELL, "%llu.%llus", (unsigned long long)(milli / 1000),
                 (unsigned long long)(milli % 1000 / 100));
    else if (a && a->unit == CLOCK) {
        st_duration_human((uint64_t)ST_MAX((st_clock_wall_ms() - (int64_t)milli) / 1000, (int64_t)0), scratch);
        snprintf(scratch + strlen(scratch), 8, " ago");
    } else if (milli % 1000)
        snprintf(scratch, ST_CELL, "%llu.%03llu", (unsigned long long)(milli / 1000),
                 (unsigned long long)(milli % 1000));
    else
        snprintf(scratch, ST_CELL, "%llu", (unsigned long long)(milli / 1000));
    return st_sv_of(scratch);
}

static struct st_sv c_name(const void *row, char scratch[static ST_CELL])
{
    const struct st_metric_row *m = &((const struct line *)row)->m;
    return st_sv_mem(m->name.ptr, m->name.len);
}
// {worker="vm/default-1",pool="default"} as "vm/default-1 default": the names say little that the values do not.
static struct st_sv c_labels(const void *row, char scratch[static ST_CELL])
{
    struct st_sv l = ((const struct line *)row)->m.labels;
    size_t n = 0;
    bool in = false;
    for (size_t i = 0; i < l.len && n + 1 < ST_CELL; i++) {
        if (l.ptr[i] == '"') {
            in = !in;
            if (in && n)
                scratch[n++] = ' ';
        } else if (in) {
            scratch[n++] = l.ptr[i];
        }
    }
    return st_sv_mem(scratch, n);
}
static struct st_sv c_now(const void *row, char scratch[static ST_CELL])
{
    const struct st_metric_row *m = &((const struct line *)row)->m;
    return amount(m, m->value, scratch);
}
static bool counts(const struct st_metric_row *m)
{
    return !st_sv_eq(m->kind, ST_SV("gauge"));
}
// "0 to 2" of a gauge, "+3" of what counts.
static struct st_sv c_span(const void *row, char scratch[static ST_CELL])
{
    const struct st_metric_row *m = &((const struct line *)row)->m;
    const struct aid *a = aid_of(m->name);
    char low[ST_CELL], high[ST_CELL];
    if (!m->has_span || (a && a->unit == CLOCK))
        return ST_SV_NULL;
    if (counts(m))
        snprintf(scratch, ST_CELL, "+" ST_SV_FMT, ST_SV_ARG(amount(m, m->increase, high)));
    else
        snprintf(scratch, ST_CELL, ST_SV_FMT " to " ST_SV_FMT, ST_SV_ARG(amount(m, m->low, low)),
                 ST_SV_ARG(amount(m, m->high, high)));
    return st_sv_of(scratch);
}
static struct st_sv c_note(const void *row, char scratch[static ST_CELL])
{
    return st_sv_of(((const struct line *)row)->note);
}

static const struct st_column now_columns[] = {
    {"METRIC", 40, .text = c_name},
    {"OF", 24, .stretch = true, .text = c_labels},
    {"NOW", 11, .text = c_now},
    {"NOTE", 8, .text = c_note},
};
static const struct st_column span_columns[] = {
    {"METRIC", 40, .text = c_name}, {"OF", 24, .stretch = true, .text = c_labels},
    {"NOW", 11, .text = c_now},     {"IN TIME", 16, .text = c_span},
    {"NOTE", 8, .text = c_note},
};
static const struct st_table now_table = {now_columns, ST_LEN(now_columns)};
static const struct st_table span_table = {span_columns, ST_LEN(span_columns)};

// In a table: what never happened, and sums, which are a note at their count.
static bool idle(const struct st_metric_row *m)
{
    return counts(m) && (!m->value || st_sv_ends(m->name, ST_SV("_sum")));
}

static int print(struct view *v, struct st_err *err)
{
    struct st_sink sink = {.out = v->out,
                           .format = (enum st_format)v->r->format,
                           .table = v->r->last ? &span_table : &now_table,
                           .record = &st_record_metric};
    bool table = sink.format == ST_FORMAT_TABLE;
    size_t live = 0, left_out = 0;
    for (size_t i = 0; i < v->n; i++)
        live += wanted(v, &v->lines[i].m) && !idle(&v->lines[i].m);
    st_sink_begin(&sink);
    for (size_t i = 0; i < v->n; i++) {
        struct line *l = &v->lines[i];
        if (!wanted(v, &l->m))
            continue;
        if (table && live && idle(&l->m)) { // asked for by name, zeroes are shown
            left_out++;
            continue;
        }
        note(v, l);
        if (st_sink_row(&sink, table ? (const void *)l : &l->m, err))
            return -1;
    }
    st_sink_end(&sink);
    if (left_out)
        st_out_fmt(v->out, "%zu more, which are 0 or sums: --format json shows them\n", left_out);
    return 0;
}

static int once(void *ctx, struct st_err *err)
{
    struct view *v = ctx;
    struct st_req_metrics q = {v->r->last};
    st_mem_init(&v->mem, 8 << 20, -1);
    st_arena_init(&v->arena, &v->mem);
    v->n = 0;
    v->lines = st_arena_array(&v->arena, METRICS, sizeof *v->lines, err);
    int rc = !v->lines || st_client_call(v->client, "metrics.read", &q, keep, v, err) || print(v, err) ? -1 : 0;
    st_arena_release(&v->arena);
    st_mem_release(&v->mem);
    return rc;
}

static int run(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (st_client_open(false, &c, err))
        return -1;
    if (!st_client_remote(c))
        st_cli_note("no service is running here: only what the record knows is shown");
    struct view v = {.r = r, .client = c, .out = call->out};
    return st_watch_run(&r->watch, call->out, once, &v, err);
}

const struct st_verb st_verb_obs_metrics = {
    .words = "obs metrics",
    .summary = "show the figures of the service, and which of them are a problem",
    .args = "",
    .about =
        "The values of /metrics as a table, with a note where one needs attention: memory above 80, 90, 95 % of a "
        "worker's limit, jobs without progress, a long queue, memory deaths. Memory is without file cache, which the "
        "kernel can take back. The service remembers an hour; Prometheus remembers more.",
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct raw),
    .examples = {{"See everything", "stella obs metrics"},
                 {"The last ten minutes, as a runbook asks for it", "stella obs metrics --filter scanner --last 10m"},
                 {"Watch the memory of the workers", "stella obs metrics --filter worker_memory --watch"}},
    .run = run,
};
