// stella scanner jobs, stella scanner deadletter.
#include "base/ckd.h"
#include "base/clock.h"
#include "cli/render.h"

#include <stdio.h>

#define LIMIT_DEFAULT "50"
#define SHORT_ID 12

struct raw {
    const char *status;
    uint64_t last, limit;
    int format;
    bool force, all;
    struct st_watch watch;
};

#define STATUS_OPTION                                                                                                  \
    {                                                                                                                  \
        "status", 0, ST_OPT_STRING_AT(struct raw, status),                                                             \
            .arg = "WORD,...",                                                                                         \
            .help = "only these states (pending, processing, completed, failed, cancelled) or reasons (oom, timeout, " \
                    "corrupt_layer, ...); failed covers every reason"                                                  \
    }
#define LAST_OPTION                                                                            \
    {                                                                                          \
        "last", 0, ST_OPT_DURATION_AT(struct raw, last),                                       \
            .arg = "TIME", .help = "only jobs that changed in the last TIME, as 30m, 1h or 7d" \
    }
#define LIMIT_OPTION                                                                                       \
    {                                                                                                      \
        "limit", 0, ST_OPT_COUNT_AT(struct raw, limit), .arg = "N", .help = "at most N, the newest",       \
                                                        .def = LIMIT_DEFAULT, .min = 1, .max = ST_LIST_MAX \
    }

static const struct st_opt list_options[] = {
    STATUS_OPTION, LAST_OPTION, LIMIT_OPTION, ST_FORMAT_OPTION(struct raw), ST_WATCH_OPTIONS(struct raw),
};
static const struct st_opt dead_list_options[] = {LAST_OPTION, LIMIT_OPTION, ST_FORMAT_OPTION(struct raw)};
static const struct st_opt show_options[] = {ST_FORMAT_OPTION(struct raw)};
static const struct st_opt retry_options[] = {
    {"force", 0, ST_OPT_FLAG_AT(struct raw, force), .help = "also when it completed or its attempts are used up"},
    ST_FORMAT_OPTION(struct raw),
};
static const struct st_opt dead_retry_options[] = {
    {"all", 0, ST_OPT_FLAG_AT(struct raw, all), .help = "every dead letter"},
    ST_FORMAT_OPTION(struct raw),
};

// ---- the table ----------------------------------------------------------------------------------

#define CELL(name, expression)                                              \
    static struct st_sv name(const void *row, char scratch[static ST_CELL]) \
    {                                                                       \
        const struct st_job *j = row;                                       \
        (void)scratch;                                                      \
        return expression;                                                  \
    }
CELL(c_id, st_sv_sub(st_sv_of(j->id), 0, SHORT_ID))
CELL(c_image, j->name.len ? j->name : j->image) // an older service tells no name
CELL(c_size, st_cell_size(j->has_size, j->size, scratch))
CELL(c_status, st_sv_of(st_job_state_word(j->state)))
CELL(c_reason, j->reason)
CELL(c_pool, j->pool)
CELL(c_attempt, st_cell_number(j->attempt, scratch))
CELL(c_peak, st_cell_size(j->peak_bytes != 0, j->peak_bytes, scratch))
CELL(c_updated, st_cell_time(j->updated_ms, scratch))

static const struct st_column columns[] = {
    {"JOB", 12, .text = c_id},
    {"IMAGE", 40, .stretch = true, .text = c_image},
    {"SIZE", 8, .drop = 2, .text = c_size},
    {"STATUS", 10, .colour = true, .text = c_status},
    {"REASON", 17, .text = c_reason},
    {"POOL", 8, .drop = 4, .text = c_pool},
    {"ATTEMPT", 7, .drop = 5, .text = c_attempt},
    {"PEAK", 8, .drop = 3, .text = c_peak},
    {"UPDATED", 20, .drop = 1, .text = c_updated},
};
static const struct st_table table = {columns, ST_LEN(columns)};

// ---- list ---------------------------------------------------------------------------------------

struct listing {
    const struct raw *r;
    struct st_client *client;
    struct st_out *out;
    bool dead;
};

static int list_once(void *ctx, struct st_err *err)
{
    const struct listing *l = ctx;
    struct st_sink sink = {.out = l->out, .format = (enum st_format)l->r->format, .table = &table};
    struct st_req_list q = {
        .status = st_sv_of(l->r->status), .last_s = l->r->last, .limit = (uint32_t)l->r->limit, .dead = l->dead};
    return st_render_call(l->client, "scans.list", &q, &sink, err);
}

static int list(const struct st_call *call, bool dead, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_job_filter f;
    if (r->status && st_job_filter_words(&f, st_sv_of(r->status), err)) // also where there is nothing to ask
        return -1;
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (st_client_open(false, &c, err))
        return -1;
    struct listing l = {r, c, call->out, dead};
    return st_watch_run(&r->watch, call->out, list_once, &l, err);
}

static int run_list(const struct st_call *call, struct st_err *err)
{
    return list(call, false, err);
}

static int run_dead_list(const struct st_call *call, struct st_err *err)
{
    return list(call, true, err);
}

// ---- show ---------------------------------------------------------------------------------------

struct shown {
    struct st_out *out;
    enum st_format format;
    struct st_json_out json;
    char id[ST_JOB_ID + 1];
    bool local;
};

static void facts(struct st_out *o, const struct st_job *j)
{
    static const struct {
        const char *name;
        struct st_sv (*text)(const void *row, char scratch[static ST_CELL]);
    } rows[] = {{"status:", c_status}, {"reason:", c_reason}};
    char s[ST_CELL];
    st_render_fact(o, "job:", st_sv_of(j->id));
    st_render_fact(o, "image:", c_image(j, s));
    if (j->name.len && !st_sv_eq(j->name, j->image))
        st_render_fact(o, "uploaded to:", j->image);
    st_render_fact(o, "digest:", j->digest);
    st_render_fact(o, "size:", c_size(j, s));
    for (size_t i = 0; i < ST_LEN(rows); i++)
        st_render_fact(o, rows[i].name, rows[i].text(j, s));
    st_render_fact(o, "message:", j->message);
    st_render_fact(o, "pool:", j->pool);
    if (j->pool.len)
        st_render_fact(o, "priority:", st_sv_of(st_priority_words[j->priority]));
    if (j->worker.len)
        st_render_fact(o, "worker:", j->worker);
    st_render_fact(o, "attempt:", c_attempt(j, s));
    st_render_fact(o, "resumed_from:", j->resumed_from);
    st_render_fact(o, "peak:", c_peak(j, s));
    snprintf(s, sizeof s, "%d", j->exit_code);
    st_render_fact(o, "exit_code:", j->ended ? st_sv_of(s) : ST_SV_NULL);
    st_render_fact(o, "created:", st_cell_time(j->created_ms, s));
    st_render_fact(o, "updated:", st_cell_time(j->updated_ms, s));
    st_render_fact(o, "options:", j->options);
    if (j->dead)
        st_render_fact(o, "dead letter:", ST_SV("yes: its attempts are used up"));
}

static int show_job(void *ctx, const void *row, struct st_err *err)
{
    struct shown *s = ctx;
    const struct st_job *j = row;
    memcpy(s->id, j->id, sizeof s->id);
    s->local = !j->pool.len;
    if (s->format == ST_FORMAT_TABLE) {
        facts(s->out, j);
    } else {
        st_json_open(&s->json, '{');
        st_record_members(&s->json, &st_record_job, j);
    }
    return 0;
}

static int show_attempt(void *ctx, const void *row, struct st_err *err)
{
    struct shown *s = ctx;
    const struct st_attempt *a = row;
    char peak[ST_CELL], limit[ST_CELL], start[ST_CELL];
    if (s->format != ST_FORMAT_TABLE) {
        st_record_write(&s->json, &st_record_attempt, a);
        return 0;
    }
    struct st_sv p = st_cell_size(a->peak_bytes != 0, a->peak_bytes, peak);
    struct st_sv m = st_cell_size(a->memory_limit != 0, a->memory_limit, limit);
    st_out_fmt(s->out, "\nattempt %u by ", a->attempt);
    st_out_safe(s->out, a->worker);
    st_out_fmt(s->out, ", started " ST_SV_FMT "\n", ST_SV_ARG(st_cell_time(a->started_ms, start)));
    st_render_fact(s->out, "  outcome:", a->outcome.len ? a->outcome : ST_SV("in work"));
    if (a->reason.len)
        st_render_fact(s->out, "  reason:", a->reason);
    if (a->message.len)
        st_render_fact(s->out, "  message:", a->message);
    if (a->ended_ms)
        st_out_fmt(s->out, "  %-11s %d%s", "exit_code:", a->exit_code, a->signal ? "" : "\n");
    if (a->ended_ms && a->signal)
        st_out_fmt(s->out, " (signal %d)\n", a->signal);
    if (p.len || m.len)
        st_out_fmt(s->out, "  %-11s " ST_SV_FMT " of " ST_SV_FMT "\n", "memory:", ST_SV_ARG(p.len ? p : ST_SV("-")),
                   ST_SV_ARG(m.len ? m : ST_SV("-")));
    if (a->evidence.len)
        st_render_fact(s->out, "  evidence:", a->evidence);
    return 0;
}

static int job_argument(const struct st_call *call, struct st_sv *ret, struct st_err *err)
{
    if (!call->parsed->n_args)
        return st_err_set(err, ST_E_USAGE, "no job given (stella scanner jobs list shows them)");
    *ret = st_sv_of(call->parsed->args[0]);
    return 0;
}

static int run_show(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_req_id q;
    struct shown s = {.out = call->out, .format = (enum st_format)r->format};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (job_argument(call, &q.id, err) || st_client_open(false, &c, err))
        return -1;
    st_json_out_init(&s.json, call->out, r->format == ST_FORMAT_JSON ? 2 : 0);
    if (st_client_call(c, "scans.get", &q, show_job, &s, err))
        return -1;
    q.id = st_sv_of(s.id);
    if (r->format != ST_FORMAT_TABLE) {
        st_json_key(&s.json, "attempts");
        st_json_open(&s.json, '[');
    }
    if (!s.local && st_client_call(c, "scans.attempts", &q, show_attempt, &s, err))
        return -1;
    if (r->format != ST_FORMAT_TABLE) {
        st_json_close(&s.json, ']');
        st_json_close(&s.json, '}');
        st_out_putc(call->out, '\n');
    }
    return 0;
}

// ---- cancel, retry -------------------------------------------------------------------------------

struct changed {
    struct st_out *out;
    enum st_format format;
    const char *done, *asked; // what is said of a job that is ended, that is not
    uint64_t n;
};

static int say_changed(void *ctx, const void *row, struct st_err *err)
{
    struct changed *k = ctx;
    const struct st_job *j = row;
    k->n++;
    if (k->format != ST_FORMAT_TABLE) {
        struct st_sink s = {.out = k->out, .format = k->format, .record = &st_record_job, .one = true};
        st_sink_begin(&s);
        if (st_sink_row(&s, j, err))
            return -1;
        st_sink_end(&s);
        return 0;
    }
    st_out_fmt(k->out, "job %s: %s\n", j->id, j->ended ? k->done : k->asked);
    return 0;
}

static int run_cancel(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_req_id q;
    struct changed k = {call->out, (enum st_format)r->format, "cancelled", "its worker is told to stop", 0};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (job_argument(call, &q.id, err) || st_client_open(true, &c, err))
        return -1;
    return st_client_call(c, "scans.cancel", &q, say_changed, &k, err);
}

static void say_waiting(const struct st_client *c)
{
    if (!st_client_remote(c))
        st_cli_note("no service is running here: the job waits in the queue until one does");
}

static int run_retry(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_req_retry q = {.force = r->force};
    struct changed k = {call->out, (enum st_format)r->format, "ended", "in the queue", 0};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (job_argument(call, &q.id, err) || st_client_open(true, &c, err))
        return -1;
    if (st_client_call(c, "scans.retry", &q, say_changed, &k, err))
        return -1;
    say_waiting(c);
    return 0;
}

#define BATCH 256
struct batch {
    char ids[BATCH][ST_JOB_ID + 1];
    size_t n;
};

static int take_id(void *ctx, const void *row, struct st_err *err)
{
    struct batch *b = ctx;
    if (b->n < BATCH)
        memcpy(b->ids[b->n++], ((const struct st_job *)row)->id, ST_JOB_ID + 1);
    return 0;
}

static int retry_all(struct st_client *c, struct changed *k, struct st_err *err)
{
    struct batch b;
    struct st_req_list q = {.dead = true, .limit = BATCH};
    do {
        b.n = 0;
        if (st_client_call(c, "scans.list", &q, take_id, &b, err))
            return -1;
        for (size_t i = 0; i < b.n; i++) {
            struct st_req_retry one = {.id = st_sv_of(b.ids[i]), .force = true};
            if (st_client_call(c, "scans.retry", &one, say_changed, k, err))
                return -1;
        }
    } while (b.n == BATCH);
    return 0;
}

static int run_dead_retry(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct changed k = {call->out, (enum st_format)r->format, "ended", "in the queue", 0};
    if (!call->parsed->n_args == !r->all)
        return st_err_set(err, ST_E_USAGE, "give one job, or --all (stella scanner deadletter list shows them)");
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (st_client_open(true, &c, err))
        return -1;
    struct st_req_retry q = {.id = r->all ? ST_SV_NULL : st_sv_of(call->parsed->args[0]), .force = true};
    int rc = r->all ? retry_all(c, &k, err) : st_client_call(c, "scans.retry", &q, say_changed, &k, err);
    if (rc == 0 && k.n)
        say_waiting(c);
    return rc;
}

// ---- verbs --------------------------------------------------------------------------------------

const struct st_verb st_verb_jobs_list = {
    .words = "scanner jobs list",
    .summary = "list scans, newest first",
    .args = "",
    .about =
        "Lists the scans that the service, or this state directory, knows, newest first: job, image, size as stored, "
        "status, reason of a failure, pool (- for a local scan), attempt, peak memory, time of the last change in UTC. "
        "A "
        "scan whose process was killed is listed as failed, reason killed.",
    .opts = list_options,
    .n_opts = ST_LEN(list_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See what failed in the last hour", "stella scanner jobs list --status failed --last 1h"},
                 {"See what was too much for its memory", "stella scanner jobs list --status oom"},
                 {"Give a script the ten newest", "stella scanner jobs list --limit 10 --format json"}},
    .run = run_list,
};

const struct st_verb st_verb_jobs_show = {
    .words = "scanner jobs show",
    .alias = "scanner job details",
    .summary = "show one scan",
    .args = "ID",
    .about =
        "Shows all that is recorded of one scan, and each attempt with its evidence. ID is a job id or its first 6 or "
        "more digits, when no other job starts with them.",
    .max_args = 1,
    .opts = show_options,
    .n_opts = ST_LEN(show_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See why a scan failed", "stella scanner jobs show 4f2a91"},
                 {"Take the reason out of it", "stella scanner jobs show 4f2a91 --format json | jq -r .reason"}},
    .run = run_show,
};

const struct st_verb st_verb_jobs_cancel = {
    .words = "scanner jobs cancel",
    .summary = "stop a scan",
    .args = "ID",
    .about = "A job that waits is cancelled at once. One in work is stopped by its worker; a local scan is told to "
             "end. What "
             "has ended cannot be cancelled: exit 2.",
    .max_args = 1,
    .opts = show_options,
    .n_opts = ST_LEN(show_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Stop a scan", "stella scanner jobs cancel 4f2a91"},
                 {"Find the one to stop", "stella scanner jobs list --status processing"}},
    .run = run_cancel,
};

const struct st_verb st_verb_jobs_retry = {
    .words = "scanner jobs retry",
    .summary = "put a failed scan back into the queue",
    .args = "ID",
    .about = "The job goes back into its pool's queue, with the configuration of then, and goes on from its finished "
             "layers. "
             "A job that waits or is in work is left as it is. A local scan is done again with stella scan image IMAGE "
             "--retry.",
    .max_args = 1,
    .opts = retry_options,
    .n_opts = ST_LEN(retry_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Do a failed scan again", "stella scanner jobs retry 4f2a91"},
                 {"Try again although five attempts failed", "stella scanner jobs retry 4f2a91 --force"}},
    .run = run_retry,
};

const struct st_verb st_verb_deadletter_list = {
    .words = "scanner deadletter list",
    .summary = "list jobs whose attempts are used up",
    .args = "",
    .about =
        "Lists jobs that failed as often as retry.max_attempts allows. Nothing happens to them until a person says so.",
    .opts = dead_list_options,
    .n_opts = ST_LEN(dead_list_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See what waits for a person", "stella scanner deadletter list"},
                 {"See why", "stella scanner deadletter list --format json | jq -r '.[].message'"}},
    .run = run_dead_list,
};

const struct st_verb st_verb_deadletter_retry = {
    .words = "scanner deadletter retry",
    .summary = "put dead letters back into the queue",
    .args = "[ID]",
    .about = "Puts one job, or all of the dead letter list, back into the queue, with as many attempts as a new one.",
    .max_args = 1,
    .opts = dead_retry_options,
    .n_opts = ST_LEN(dead_retry_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Give one new attempts", "stella scanner deadletter retry 4f2a91"},
                 {"Try all again after the cause is mended", "stella scanner deadletter retry --all"}},
    .run = run_dead_retry,
};
