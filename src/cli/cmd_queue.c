// stella scanner status, queue status, stats.
#include "base/ckd.h"
#include "base/quantity.h"
#include "cli/render.h"

#include <stdio.h>

struct raw {
    uint64_t last;
    int format;
    bool sbom;
    struct st_watch watch;
};

static const struct st_opt options[] = {ST_FORMAT_OPTION(struct raw), ST_WATCH_OPTIONS(struct raw)};
static const struct st_opt stats_options[] = {
    {"last", 0, ST_OPT_DURATION_AT(struct raw, last), .arg = "TIME", .help = "of the last TIME", .def = "24h"},
    {"sbom-metrics", 0, ST_OPT_FLAG_AT(struct raw, sbom), .help = "only how many scans got their SBOM"},
    ST_FORMAT_OPTION(struct raw),
    ST_WATCH_OPTIONS(struct raw),
};

struct view {
    const struct raw *r;
    struct st_client *client;
    struct st_out *out;
};

static int run(const struct st_call *call, st_watch_fn *once, struct st_err *err)
{
    const struct raw *r = call->options;
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (st_client_open(false, &c, err))
        return -1;
    struct view v = {r, c, call->out};
    return st_watch_run(&r->watch, call->out, once, &v, err);
}

static int as_json(const struct view *v, const char *op, const void *request, bool one, struct st_err *err)
{
    struct st_sink sink = {.out = v->out, .format = (enum st_format)v->r->format, .one = one};
    return st_render_call(v->client, op, request, &sink, err);
}

static const char *decimal(uint64_t thousandths, char buf[static 32])
{
    snprintf(buf, 32, "%llu.%llu", (unsigned long long)(thousandths / 1000),
             (unsigned long long)(thousandths % 1000 / 100));
    return buf;
}

static void fact(struct st_out *o, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fact(struct st_out *o, const char *name, const char *fmt, ...)
{
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    st_out_fmt(o, "%-18s ", name);
    st_out_safe(o, st_sv_of(text));
    st_out_putc(o, '\n');
}

// ---- status -------------------------------------------------------------------------------------

static int print_status(void *ctx, const void *row, struct st_err *err)
{
    struct st_out *o = ctx;
    const struct st_status *s = row;
    char up[ST_QUANTITY_TEXT];
    st_duration_human(s->uptime_s, up);
    st_out_fmt(o, "Scanner workers: %llu active, %llu idle\n", (unsigned long long)s->workers_active,
               (unsigned long long)s->workers_idle);
    st_out_fmt(o, "status: " ST_SV_FMT "%s" ST_SV_FMT "%s\n", ST_SV_ARG(s->state), s->reason.len ? " (" : "",
               ST_SV_ARG(s->reason), s->reason.len ? ")" : "");
    st_out_fmt(o, "queue: %llu pending, %llu processing\n", (unsigned long long)s->pending,
               (unsigned long long)s->processing);
    st_out_fmt(o, "store: " ST_SV_FMT "\n", ST_SV_ARG(s->store));
    if (s->uptime_s)
        st_out_fmt(o, "up: %s\n", up);
    return 0;
}

static int status_once(void *ctx, struct st_err *err)
{
    const struct view *v = ctx;
    return v->r->format != ST_FORMAT_TABLE ? as_json(v, "status.get", NULL, true, err)
                                           : st_client_call(v->client, "status.get", NULL, print_status, v->out, err);
}

static int run_status(const struct st_call *call, struct st_err *err)
{
    return run(call, status_once, err);
}

// ---- queue status -------------------------------------------------------------------------------

static int print_queue(void *ctx, const void *row, struct st_err *err)
{
    struct st_out *o = ctx;
    const struct st_queue_stats *s = row;
    char rate[32], failures[32];
    unsigned long long ended = s->failed_jobs + s->completed_jobs;
    fact(o, "queue depth:", "%llu (expected below 50; a problem above 100)", (unsigned long long)s->queue_depth);
    fact(o, "processing:", "%llu", (unsigned long long)s->processing);
    fact(o, "oldest pending:", s->queue_depth ? "%llu min" : "-", (unsigned long long)s->oldest_job_age_min);
    fact(o, "backlog growing:", "%s", s->backlog_growing ? "yes" : "no");
    fact(o, "stuck:", "%llu", (unsigned long long)s->stuck_jobs);
    fact(o, "rate:", "%s jobs/min in the last hour", decimal(s->processing_rate_per_min, rate));
    fact(o, "failed:", "%llu of %llu in the last hour (%s%%)", (unsigned long long)s->failed_jobs, ended,
         decimal(s->failure_rate, failures));
    fact(o, "dead letters:", "%llu%s", (unsigned long long)s->dead_letters,
         s->dead_letters ? " (stella scanner deadletter list)" : "");
    return 0;
}

#define POOLS 64
struct pools {
    struct {
        char name[64];
        uint64_t pending, processing, workers;
    } at[POOLS];
    size_t n;
};

static size_t pool_at(struct pools *p, struct st_sv name)
{
    size_t i = 0;
    while (i < p->n && !st_sv_eq(name, st_sv_of(p->at[i].name)))
        i++;
    if (i == p->n && p->n < POOLS)
        snprintf(p->at[p->n++].name, sizeof p->at[0].name, ST_SV_FMT, ST_SV_ARG(name));
    return ST_MIN(i, (size_t)POOLS - 1);
}

static int take_pool(void *ctx, const void *row, struct st_err *err)
{
    struct pools *p = ctx;
    const struct st_count_row *r = row;
    if (!r->which.len) // local scans have no pool
        return 0;
    size_t i = pool_at(p, r->which);
    if (st_sv_eq(r->what, ST_SV("pending")))
        p->at[i].pending = r->count;
    else
        p->at[i].processing = r->count;
    return 0;
}

static int take_worker(void *ctx, const void *row, struct st_err *err)
{
    struct pools *p = ctx;
    const struct st_worker_row *w = row;
    p->at[pool_at(p, w->pool)].workers += !w->stale;
    return 0;
}

static int take_key(void *ctx, const void *row, struct st_err *err)
{
    const struct st_config_row *r = row;
    bool *set = ctx;
    bool none = st_sv_eq(r->value, ST_SV("none"));
    set[st_sv_eq(r->key, ST_SV("routing.large_image_pool"))] = !none;
    return 0;
}

static int print_pools(const struct view *v, struct st_err *err)
{
    struct pools p = {.n = 0};
    bool routing[2] = {false, false}; // threshold, pool
    struct st_req_key q = {.key = ST_SV("routing")};
    char name[80];
    if (st_client_call(v->client, "queue.pools", NULL, take_pool, &p, err) ||
        st_client_call(v->client, "workers.list", NULL, take_worker, &p, err) ||
        st_client_call(v->client, "config.list", &q, take_key, routing, err))
        return -1;
    for (size_t i = 0; i < p.n; i++) {
        snprintf(name, sizeof name, "pool %s:", p.at[i].name);
        fact(v->out, name, "%llu pending, %llu processing, %llu workers%s", (unsigned long long)p.at[i].pending,
             (unsigned long long)p.at[i].processing, (unsigned long long)p.at[i].workers,
             p.at[i].pending && !p.at[i].workers ? " (no_worker_in_pool)" : "");
    }
    if (routing[0] != routing[1])
        fact(v->out, "routing:", "inactive: no %s set", routing[0] ? "pool" : "threshold");
    return 0;
}

static int queue_once(void *ctx, struct st_err *err)
{
    const struct view *v = ctx;
    if (v->r->format != ST_FORMAT_TABLE)
        return as_json(v, "queue.stats", NULL, true, err);
    if (st_client_call(v->client, "queue.stats", NULL, print_queue, v->out, err))
        return -1;
    return print_pools(v, err);
}

static int run_queue(const struct st_call *call, struct st_err *err)
{
    return run(call, queue_once, err);
}

// ---- stats --------------------------------------------------------------------------------------

static int print_sbom(void *ctx, const void *row, struct st_err *err)
{
    struct st_out *o = ctx;
    const struct st_sbom_stats *s = row;
    char rate[32];
    fact(o, "SBOMs wanted:", "%llu", (unsigned long long)s->total_generated);
    fact(o, "written:", "%llu", (unsigned long long)s->successful_generations);
    fact(o, "failed:", "%llu", (unsigned long long)s->failed_generations);
    fact(o, "success rate:", "%s%% (expected above 95%%)", decimal(s->success_rate, rate));
    return 0;
}

static void seconds(uint64_t ms, char buf[static 32])
{
    snprintf(buf, 32, "%llu.%llu s", (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000 / 100));
}

static int print_stats(void *ctx, const void *row, struct st_err *err)
{
    struct st_out *o = ctx;
    const struct st_stats *s = row;
    char a[32], b[32], peak[ST_QUANTITY_TEXT] = "-", rate[32], window[ST_QUANTITY_TEXT];
    st_duration_human(s->window_s, window);
    fact(o, "window:", "%s", window);
    fact(o, "completed:", "%llu", (unsigned long long)s->completed);
    fact(o, "failed:", "%llu", (unsigned long long)s->failed);
    fact(o, "cancelled:", "%llu", (unsigned long long)s->cancelled);
    fact(o, "now:", "%llu pending, %llu processing, %llu dead letters", (unsigned long long)s->pending,
         (unsigned long long)s->processing, (unsigned long long)s->dead);
    seconds(s->wait_avg_ms, a);
    seconds(s->wait_max_ms, b);
    fact(o, "wait in queue:", "%s on average, %s at most", a, b);
    seconds(s->work_avg_ms, a);
    seconds(s->work_max_ms, b);
    fact(o, "scan:", "%s on average, %s at most", a, b);
    if (s->peak_max)
        st_quantity_human(s->peak_max, peak);
    fact(o, "highest peak:", "%s", peak);
    fact(o, "SBOM success:", "%s%%", decimal(s->sbom_success_rate, rate));
    return 0;
}

static int print_reason(void *ctx, const void *row, struct st_err *err)
{
    const struct st_count_row *r = row;
    char name[80];
    if (!r->which.len)
        return 0;
    snprintf(name, sizeof name, "  " ST_SV_FMT ":", ST_SV_ARG(st_sv_sub(r->which, 0, 60)));
    fact(ctx, name, "%llu", (unsigned long long)r->count);
    return 0;
}

static int stats_once(void *ctx, struct st_err *err)
{
    const struct view *v = ctx;
    struct st_req_last q = {v->r->last};
    if (v->r->format != ST_FORMAT_TABLE)
        return as_json(v, v->r->sbom ? "sbom.stats" : "stats.totals", &q, true, err);
    if (v->r->sbom)
        return st_client_call(v->client, "sbom.stats", &q, print_sbom, v->out, err);
    if (st_client_call(v->client, "stats.totals", &q, print_stats, v->out, err))
        return -1;
    return st_client_call(v->client, "stats.reasons", &q, print_reason, v->out, err);
}

static int run_stats(const struct st_call *call, struct st_err *err)
{
    return run(call, stats_once, err);
}

// ---- verbs --------------------------------------------------------------------------------------

const struct st_verb st_verb_status = {
    .words = "scanner status",
    .summary = "say whether the scanner is well",
    .args = "",
    .about =
        "Workers, queue and store at a glance. Without a service it says so and shows what the local record holds.",
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct raw),
    .examples = {{"See whether scans get done", "stella scanner status"},
                 {"Keep it on the screen", "stella scanner status --watch"}},
    .run = run_status,
};

const struct st_verb st_verb_queue_status = {
    .words = "scanner queue status",
    .summary = "say how long the queue is and how it moves",
    .args = "",
    .about = "Depth, age, rates of the last hour, and each pool: jobs that wait for a pool without workers are marked "
             "no_worker_in_pool.",
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct raw),
    .examples = {{"See how much waits, and whether it grows", "stella scanner queue status"},
                 {"Give a script the depth", "stella scanner queue status --format json | jq .queue_depth"}},
    .run = run_queue,
};

const struct st_verb st_verb_stats = {
    .words = "scanner stats",
    .summary = "sum up what was scanned",
    .args = "",
    .about = "What ended how in a window of time, how long jobs waited and ran, the highest memory peak.",
    .opts = stats_options,
    .n_opts = ST_LEN(stats_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Sum up the last week", "stella scanner stats --last 7d"},
                 {"See whether SBOMs get written", "stella scanner stats --sbom-metrics"}},
    .run = run_stats,
};
