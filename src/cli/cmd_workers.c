// stella scanner workers list, stats, inspect: what workers do, and how the last of them ended.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "cli/workers.h"

#include <stdio.h>

struct raw {
    const char *pool;
    int format;
    struct st_watch watch;
};

#define POOL_OPTION                                                                                       \
    {                                                                                                     \
        "pool", 0, ST_OPT_STRING_AT(struct raw, pool), .arg = "POOL", .help = "only workers of this pool" \
    }
static const struct st_opt list_options[] = {POOL_OPTION, ST_FORMAT_OPTION(struct raw)};
static const struct st_opt stats_options[] = {POOL_OPTION, ST_FORMAT_OPTION(struct raw), ST_WATCH_OPTIONS(struct raw)};

int st_workers_service(bool writes, struct st_client **ret, struct st_err *err)
{
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (st_client_open(writes, &c, err))
        return -1;
    if (!st_client_remote(c))
        return st_err_set(err, ST_E_RETRY, "no scan service answers here (stella serve runs one)");
    *ret = c;
    c = NULL;
    return 0;
}

// ---- cells --------------------------------------------------------------------------------------

#define CELL(name, expression)                                              \
    static struct st_sv name(const void *row, char scratch[static ST_CELL]) \
    {                                                                       \
        const struct st_worker_row *w = row;                                \
        (void)scratch;                                                      \
        return expression;                                                  \
    }
CELL(c_id, w->id)
CELL(c_pool, w->pool)
CELL(c_job, st_sv_sub(w->job, 0, 12))
CELL(c_phase, w->phase)
CELL(c_memory, st_cell_size(w->job.len != 0, w->memory, scratch))
CELL(c_limit, st_cell_size(true, w->memory_limit, scratch))
CELL(c_asked, st_cell_size(w->memory_asked != 0, w->memory_asked, scratch))
CELL(c_peak, st_cell_size(w->memory_peak != 0, w->memory_peak, scratch))
CELL(c_max, st_cell_number(w->events_max, scratch))
CELL(c_kills, st_cell_number(w->events_oom_kill, scratch))
CELL(c_enforced, w->enforced)
CELL(c_generation, st_cell_number(w->generation, scratch))

static struct st_sv c_state(const void *row, char scratch[static ST_CELL])
{
    const struct st_worker_row *w = row;
    if (!w->stale)
        return w->state;
    char age[ST_QUANTITY_TEXT];
    st_duration_human((uint64_t)ST_MAX((st_clock_wall_ms() - w->seen_ms) / 1000, (int64_t)0), age);
    snprintf(scratch, ST_CELL, ST_SV_FMT " (stale %s)", ST_SV_ARG(st_sv_sub(w->state, 0, 20)), age);
    return st_sv_of(scratch);
}

static struct st_sv c_percent(const void *row, char scratch[static ST_CELL])
{
    const struct st_worker_row *w = row;
    if (!w->job.len || !w->memory_limit)
        return ST_SV_NULL;
    snprintf(scratch, ST_CELL, "%llu%%", (unsigned long long)(w->memory * 100 / w->memory_limit));
    return st_sv_of(scratch);
}

static struct st_sv c_exit(const void *row, char scratch[static ST_CELL])
{
    const struct st_worker_row *w = row;
    if (!w->has_exit)
        return ST_SV_NULL;
    snprintf(scratch, ST_CELL, "%d", w->exit_code);
    return st_sv_of(scratch);
}

// {"oom":2,"crash":1} -> "oom 2, crash 1"
static struct st_sv c_restarts(const void *row, char scratch[static ST_CELL])
{
    const struct st_worker_row *w = row;
    struct st_json j;
    struct st_json_tok key, value;
    size_t n = 0;
    if (!w->restarts || !w->restarts_by.len)
        return ST_SV("0");
    st_json_init(&j, w->restarts_by);
    if (st_json_next(&j, &value, NULL) || value.type != ST_JSON_OBJECT)
        return st_cell_number(w->restarts, scratch);
    while (n < ST_CELL && st_json_member(&j, &key, &value, NULL) > 0 && value.type == ST_JSON_NUMBER) {
        int k = snprintf(scratch + n, ST_CELL - n, "%s" ST_SV_FMT " " ST_SV_FMT, n ? ", " : "", ST_SV_ARG(key.raw),
                         ST_SV_ARG(value.raw));
        n += k > 0 ? (size_t)k : 0;
    }
    return st_sv_mem(scratch, ST_MIN(n, (size_t)ST_CELL - 1));
}

static const struct st_column list_columns[] = {
    {"WORKER", 24, .stretch = true, .text = c_id},
    {"POOL", 12, .drop = 2, .text = c_pool},
    {"STATE", 10, .colour = true, .text = c_state},
    {"JOB", 12, .text = c_job},
    {"LIMIT", 8, .text = c_limit},
    {"ASKED", 8, .drop = 3, .text = c_asked},
    {"ENFORCED", 8, .drop = 4, .text = c_enforced},
    {"GENERATION", 10, .drop = 5, .text = c_generation},
};
static const struct st_table list_table = {list_columns, ST_LEN(list_columns)};

static const struct st_column stats_columns[] = {
    {"WORKER", 24, .stretch = true, .text = c_id},
    {"STATE", 10, .colour = true, .text = c_state},
    {"JOB", 12, .drop = 4, .text = c_job},
    {"PHASE", 8, .drop = 6, .text = c_phase},
    {"MEMORY", 8, .text = c_memory},
    {"LIMIT", 8, .text = c_limit},
    {"%", 4, .text = c_percent},
    {"PEAK", 8, .drop = 3, .text = c_peak},
    {"MAX", 6, .drop = 5, .text = c_max},
    {"OOM", 4, .drop = 2, .text = c_kills},
    {"RESTARTS", 18, .text = c_restarts},
    {"EXIT", 4, .drop = 1, .text = c_exit}, // last: what is last is not cut
};
static const struct st_table stats_table = {stats_columns, ST_LEN(stats_columns)};

// ---- list, stats --------------------------------------------------------------------------------

struct view {
    const struct raw *r;
    const struct st_table *table;
    struct st_client *client;
    struct st_out *out;
};

struct filter {
    struct st_sink sink;
    struct st_sv pool;
    size_t rows, stale;
    int64_t seen_ms;
};

static int filter_row(void *ctx, const void *row, struct st_err *err)
{
    struct filter *f = ctx;
    const struct st_worker_row *w = row;
    if (f->pool.len && !st_sv_eq(f->pool, w->pool))
        return 0;
    f->rows++;
    f->stale += w->stale;
    f->seen_ms = ST_MAX(f->seen_ms, w->seen_ms);
    return st_sink_row(&f->sink, row, err);
}

static int print_once(void *ctx, struct st_err *err)
{
    const struct view *v = ctx;
    struct filter f = {
        .sink = {.out = v->out, .format = (enum st_format)v->r->format, .table = v->table, .record = &st_record_worker},
        .pool = st_sv_of(v->r->pool)};
    char age[ST_QUANTITY_TEXT];
    st_sink_begin(&f.sink);
    if (st_client_call(v->client, "workers.list", NULL, filter_row, &f, err))
        return -1;
    st_sink_end(&f.sink);
    if (!f.rows || f.stale < f.rows)
        return 0;
    st_duration_human((uint64_t)ST_MAX((st_clock_wall_ms() - f.seen_ms) / 1000, (int64_t)0), age);
    return st_err_set(err, ST_E_RETRY, "the supervisor does not report: these values are %s old or older", age);
}

static int print(const struct st_call *call, const struct st_table *table, struct st_err *err)
{
    const struct raw *r = call->options;
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (st_workers_service(false, &c, err))
        return -1;
    struct view v = {r, table, c, call->out};
    return st_watch_run(&r->watch, call->out, print_once, &v, err);
}

static int run_list(const struct st_call *call, struct st_err *err)
{
    return print(call, &list_table, err);
}

static int run_stats(const struct st_call *call, struct st_err *err)
{
    return print(call, &stats_table, err);
}

// ---- inspect ------------------------------------------------------------------------------------

struct inspecting {
    struct st_out *out;
    enum st_format format;
    struct st_sink sink;
    struct st_sv wanted;
    size_t n;
};

static void fact(struct st_out *o, const char *name, struct st_sv value)
{
    if (value.len)
        st_render_fact(o, name, value);
}

static void memory_fact(struct st_out *o, const struct st_worker_row *w)
{
    char limit[ST_QUANTITY_TEXT], asked[ST_QUANTITY_TEXT], used[ST_QUANTITY_TEXT], peak[ST_QUANTITY_TEXT], text[200];
    st_quantity_human(w->memory_limit, limit);
    st_quantity_human(w->memory_asked, asked);
    st_quantity_human(w->memory, used);
    st_quantity_human(w->memory_peak, peak);
    snprintf(text, sizeof text, "%s (" ST_SV_FMT ")%s%s%s", limit, ST_SV_ARG(w->enforced),
             w->memory_asked > w->memory_limit ? ", as much as this host can give of " : "",
             w->memory_asked > w->memory_limit ? asked : "", "");
    st_render_fact(o, "limit:", st_sv_of(text));
    if (!w->job.len)
        return;
    snprintf(text, sizeof text, "%s now, peak %s, limit events %llu", used, peak, (unsigned long long)w->events_max);
    st_render_fact(o, "memory:", st_sv_of(text));
}

// How its last process that was lost ended. The name and form of exit_code are what runbooks look for.
static void loss_facts(struct st_out *o, const struct st_worker_row *w)
{
    char text[64];
    snprintf(text, sizeof text, "%d", w->exit_code);
    st_out_puts(o, "last lost process:\n");
    st_render_fact(o, "exit_code:", st_sv_of(text));
    if (w->signal) {
        snprintf(text, sizeof text, "%d", w->signal);
        st_render_fact(o, "signal:", st_sv_of(text));
    }
    fact(o, "reason:", w->reason);
    fact(o, "job:", w->last_job);
    if (w->ended_ms)
        st_render_fact(o, "at:", st_cell_time(w->ended_ms, text));
    fact(o, "evidence:", w->evidence);
}

static int inspect_row(void *ctx, const void *row, struct st_err *err)
{
    struct inspecting *k = ctx;
    const struct st_worker_row *w = row;
    char scratch[ST_CELL];
    struct st_sv tail = st_sv_from(w->id, st_sv_rfind(w->id, '/') == ST_SV_NPOS ? 0 : st_sv_rfind(w->id, '/') + 1);
    if (k->wanted.len && !st_sv_eq(k->wanted, w->id) && !st_sv_eq(k->wanted, tail))
        return 0;
    k->n++;
    if (k->format != ST_FORMAT_TABLE)
        return st_sink_row(&k->sink, row, err);
    if (k->n > 1)
        st_out_putc(k->out, '\n');
    st_render_fact(k->out, "worker:", w->id);
    st_render_fact(k->out, "state:", c_state(w, scratch));
    fact(k->out, "note:", w->note);
    fact(k->out, "job:", w->job);
    fact(k->out, "phase:", w->phase);
    fact(k->out, "layer:", w->layer);
    if (w->progress_ms)
        st_render_fact(k->out, "progress:", st_cell_time(w->progress_ms, scratch));
    memory_fact(k->out, w);
    st_render_fact(k->out, "restarts:", c_restarts(w, scratch));
    if (w->has_exit)
        loss_facts(k->out, w);
    return 0;
}

static int run_inspect(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct inspecting k = {.out = call->out,
                           .format = (enum st_format)r->format,
                           .sink = {.out = call->out, .format = (enum st_format)r->format, .record = &st_record_worker},
                           .wanted = call->parsed->n_args ? st_sv_of(call->parsed->args[0]) : ST_SV_NULL};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (st_workers_service(false, &c, err))
        return -1;
    st_sink_begin(&k.sink);
    if (st_client_call(c, "workers.list", NULL, inspect_row, &k, err))
        return -1;
    if (k.wanted.len && !k.n)
        return st_err_set(err, ST_E_NOTFOUND, "no worker '" ST_SV_FMT "' (stella scanner workers list shows them)",
                          ST_SV_ARG(st_sv_sub(k.wanted, 0, 100)));
    if (k.format != ST_FORMAT_TABLE)
        st_sink_end(&k.sink);
    return 0;
}

// ---- verbs --------------------------------------------------------------------------------------

const struct st_verb st_verb_workers_list = {
    .words = "scanner workers list",
    .summary = "list workers",
    .args = "",
    .about =
        "One line a worker: its pool, what it does, its memory limit and how that is enforced. Where a pool asks for "
        "more than the host can give, LIMIT is what a worker gets and ASKED what the pool says. GENERATION "
        "counts the restarts of its pool that it has made.",
    .opts = list_options,
    .n_opts = ST_LEN(list_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See all workers", "stella scanner workers list"},
                 {"Only those for large images", "stella scanner workers list --pool large-images"}},
    .run = run_list,
};

const struct st_verb st_verb_workers_stats = {
    .words = "scanner workers stats",
    .summary = "show the load and memory of workers",
    .args = "",
    .about =
        "Memory is what a worker holds without file cache that the kernel can take back. MAX counts how often its "
        "cgroup ran into its limit, OOM the processes that the kernel killed there; both begin anew with each job. "
        "EXIT is the exit code of its last process that did not end by itself, RESTARTS why such processes ended.",
    .opts = stats_options,
    .n_opts = ST_LEN(stats_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See whether memory is short", "stella scanner workers stats"},
                 {"Watch a scan", "stella scanner workers stats --watch"},
                 {"Record it", "stella scanner workers stats --watch --format ndjson >workers.ndjson"}},
    .run = run_stats,
};

const struct st_verb st_verb_workers_inspect = {
    .words = "scanner workers inspect",
    .summary = "show one worker, or all, with how the last process was lost",
    .args = "[WORKER]",
    .about = "Shows what a worker does, and of its last process that did not end by itself: exit code, signal, reason, "
             "and the evidence (events of its cgroup, last samples, layer and file in work). WORKER is HOST/POOL-N or "
             "POOL-N.",
    .max_args = 1,
    .opts = list_options + 1,
    .n_opts = ST_LEN(list_options) - 1,
    .options_size = sizeof(struct raw),
    .examples = {{"See why workers died", "stella scanner workers inspect"},
                 {"The evidence as JSON",
                  "stella scanner workers inspect default-1 --format json | jq '.[].evidence'"}},
    .run = run_inspect,
};
