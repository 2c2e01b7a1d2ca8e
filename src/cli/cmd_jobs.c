// stella scanner jobs list, stella scanner jobs show: the record of scans.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/quantity.h"
#include "cli/cli.h"
#include "store/home.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

#define LIMIT_DEFAULT "50"
#define LIMIT_MAX 10000
#define SHORT_ID 12
#define IMAGE_WIDTH 40

enum { TABLE, JSON };
static const struct st_choice formats[] = {{"table", TABLE}, {"json", JSON}, {NULL}};

struct raw {
    const char *status;
    uint64_t last, limit;
    int format;
};

static const struct st_opt list_options[] = {
    {"status", 0, ST_OPT_STRING_AT(struct raw, status), .arg = "WORD,...",
     .help = "only these states (pending, processing, completed, failed, cancelled) or reasons (oom, timeout, "
             "corrupt_layer, ...); failed covers every reason"},
    {"last", 0, ST_OPT_DURATION_AT(struct raw, last), .arg = "TIME",
     .help = "only jobs that changed in the last TIME, as 30m, 1h or 7d"},
    {"limit", 0, ST_OPT_COUNT_AT(struct raw, limit), .arg = "N", .help = "at most N, the newest", .def = LIMIT_DEFAULT,
     .min = 1, .max = LIMIT_MAX},
    {"format", 0, ST_OPT_ENUM_AT(struct raw, format), .arg = "FORMAT", .help = "what to print", .def = "table",
     .choices = formats},
};

static const struct st_opt show_options[] = {
    {"format", 0, ST_OPT_ENUM_AT(struct raw, format), .arg = "FORMAT", .help = "what to print", .def = "table",
     .choices = formats},
};

struct sink {
    struct st_out *out;
    struct st_json_out json;
    int format;
};

static void json_text(struct st_json_out *w, const char *key, struct st_sv v)
{
    st_json_key(w, key);
    if (v.len)
        st_json_str(w, v);
    else
        st_json_null(w);
}

static void json_number(struct st_json_out *w, const char *key, bool known, uint64_t v)
{
    st_json_key(w, key);
    if (known)
        st_json_u64(w, v);
    else
        st_json_null(w);
}

static void json_time(struct st_json_out *w, const char *key, int64_t ms)
{
    char text[ST_CLOCK_TEXT];
    st_clock_text(ms, text);
    st_json_kv(w, key, st_sv_of(text));
}

static bool ended(const struct st_job *job)
{
    return job->state != ST_JOB_PENDING && job->state != ST_JOB_PROCESSING;
}

static void job_json(struct st_json_out *w, const struct st_job *job)
{
    st_json_open(w, '{');
    st_json_kv(w, "id", st_sv_of(job->id));
    st_json_kv(w, "image", job->image);
    json_text(w, "digest", job->digest);
    json_number(w, "size", job->has_size, job->size);
    st_json_kv(w, "status", st_sv_of(st_job_state_word(job->state)));
    json_text(w, "reason", job->reason);
    json_text(w, "message", job->message);
    json_text(w, "pool", job->pool);
    st_json_key(w, "attempt");
    st_json_u64(w, job->attempt);
    json_number(w, "peakBytes", job->peak_bytes != 0, job->peak_bytes);
    st_json_key(w, "exitCode");
    if (ended(job))
        st_json_i64(w, job->exit_code);
    else
        st_json_null(w);
    json_text(w, "resumedFrom", job->resumed_from);
    json_time(w, "createdAt", job->created_ms);
    json_time(w, "startedAt", job->started_ms);
    json_time(w, "updatedAt", job->updated_ms);
    st_json_close(w, '}');
}

static void size_text(bool known, uint64_t bytes, char ret[static ST_QUANTITY_TEXT])
{
    if (known)
        st_quantity_human(bytes, ret);
    else
        snprintf(ret, ST_QUANTITY_TEXT, "-");
}

// `text` in exactly `width` columns, as far as a column is a byte; the end of a long name is what tells images apart.
static void cell(struct st_out *o, struct st_sv text, size_t width)
{
    if (!text.len)
        text = ST_SV("-");
    size_t used = ST_MIN(text.len, width);
    if (text.len > width) {
        st_out_puts(o, "...");
        size_t from = text.len - (width - 3);
        while (from < text.len && ((unsigned char)text.ptr[from] & 0xC0) == 0x80)
            from++; // not inside a character
        text = st_sv_from(text, from);
    }
    st_out_safe(o, text);
    st_out_fmt(o, "%*s", (int)(width - used + 2), "");
}

#define ROW "%-12s  %-40s  %-8s  %-10s  %-13s  %-8s  %-7s  %-8s  %s\n"

static int list_row(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct sink *s = ctx;
    if (s->format == JSON) {
        job_json(&s->json, job);
        return 0;
    }
    char size[ST_QUANTITY_TEXT], peak[ST_QUANTITY_TEXT], updated[ST_CLOCK_TEXT];
    size_text(job->has_size, job->size, size);
    size_text(job->peak_bytes != 0, job->peak_bytes, peak);
    st_clock_text(job->updated_ms, updated);
    st_out_fmt(s->out, "%.*s  ", SHORT_ID, job->id);
    cell(s->out, job->image, IMAGE_WIDTH);
    st_out_fmt(s->out, "%-8s  %-10s  ", size, st_job_state_word(job->state));
    cell(s->out, job->reason, 13);
    cell(s->out, job->pool, 8);
    st_out_fmt(s->out, "%-7u  %-8s  %s\n", job->attempt, peak, updated);
    return 0;
}

static void detail(struct st_out *o, const char *name, struct st_sv v)
{
    st_out_fmt(o, "%-13s ", name);
    st_out_safe(o, v.len ? v : ST_SV("-"));
    st_out_putc(o, '\n');
}

static int show_row(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct sink *s = ctx;
    if (s->format == JSON) {
        job_json(&s->json, job);
        return 0;
    }
    char size[ST_QUANTITY_TEXT], peak[ST_QUANTITY_TEXT], created[ST_CLOCK_TEXT], updated[ST_CLOCK_TEXT], number[32];
    size_text(job->has_size, job->size, size);
    size_text(job->peak_bytes != 0, job->peak_bytes, peak);
    st_clock_text(job->created_ms, created);
    st_clock_text(job->updated_ms, updated);
    detail(s->out, "job:", st_sv_of(job->id));
    detail(s->out, "image:", job->image);
    detail(s->out, "digest:", job->digest);
    detail(s->out, "size:", st_sv_of(size));
    detail(s->out, "status:", st_sv_of(st_job_state_word(job->state)));
    detail(s->out, "reason:", job->reason);
    detail(s->out, "message:", job->message);
    detail(s->out, "pool:", job->pool);
    snprintf(number, sizeof number, "%u", job->attempt);
    detail(s->out, "attempt:", st_sv_of(number));
    detail(s->out, "resumed_from:", job->resumed_from);
    detail(s->out, "peak:", st_sv_of(peak));
    snprintf(number, sizeof number, "%d", job->exit_code);
    detail(s->out, "exit_code:", ended(job) ? st_sv_of(number) : ST_SV_NULL);
    detail(s->out, "created:", st_sv_of(created));
    detail(s->out, "updated:", st_sv_of(updated));
    detail(s->out, "options:", job->options);
    return 0;
}

// 1: open; 0: nothing was recorded yet.
static int open_store(struct st_store **ret, struct st_err *err)
{
    char home[PATH_MAX];
    if (st_home_path(home, err))
        return -1;
    if (st_store_open(home, false, ret, err)) {
        if (err->code != ST_E_NOTFOUND)
            return -1;
        st_err_clear(err);
        return 0;
    }
    if (st_store_sweep(*ret, err)) {
        st_store_close(*ret);
        return -1;
    }
    return 1;
}

static int run_list(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct sink sink = {.out = call->out, .format = r->format};
    struct st_job_filter f = {.limit = (uint32_t)r->limit};
    struct st_store *store = NULL;
    if (r->status && st_job_filter_words(&f, st_sv_of(r->status), err))
        return -1;
    if (r->last)
        f.since_ms = st_clock_wall_ms() - (int64_t)r->last * 1000;
    int opened = open_store(&store, err);
    if (opened < 0)
        return -1;
    st_json_out_init(&sink.json, call->out, 2);
    if (r->format == JSON)
        st_json_open(&sink.json, '[');
    else
        st_out_fmt(call->out, ROW, "JOB", "IMAGE", "SIZE", "STATUS", "REASON", "POOL", "ATTEMPT", "PEAK", "UPDATED");
    int rc = opened ? st_store_list(store, &f, list_row, &sink, err) : 0;
    st_store_close(store);
    if (r->format == JSON) {
        st_json_close(&sink.json, ']');
        st_out_putc(call->out, '\n');
    }
    return rc;
}

static int run_show(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct sink sink = {.out = call->out, .format = r->format};
    struct st_store *store = NULL;
    if (!call->parsed->n_args)
        return st_err_set(err, ST_E_USAGE, "no job given (stella scanner jobs list shows them)");
    struct st_sv id = st_sv_of(call->parsed->args[0]);
    int opened = open_store(&store, err);
    if (opened < 0)
        return -1;
    if (!opened)
        return st_err_set(err, ST_E_NOTFOUND, "no job '" ST_SV_FMT "': nothing was recorded yet",
                          ST_SV_ARG(st_sv_sub(id, 0, 100)));
    st_json_out_init(&sink.json, call->out, 2);
    int rc = st_store_get(store, id, show_row, &sink, err);
    st_store_close(store);
    if (rc == 0 && r->format == JSON)
        st_out_putc(call->out, '\n');
    return rc;
}

const struct st_verb st_verb_jobs_list = {
    .words = "scanner jobs list",
    .summary = "list recorded scans, newest first",
    .args = "",
    .about =
        "Lists the scans that this state directory knows, newest first: job, image, size as stored, status, reason "
        "of a failure, pool (- for a local scan), attempt, peak memory, time of the last change in UTC. A scan "
        "whose process was killed is listed as failed, reason killed.",
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
    .summary = "show one recorded scan",
    .args = "ID",
    .about = "Shows all that is recorded of one scan. ID is a job id or its first 6 or more digits, when no other job "
             "starts with them.",
    .max_args = 1,
    .opts = show_options,
    .n_opts = ST_LEN(show_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See why a scan failed", "stella scanner jobs show 4f2a91"},
                 {"Take the reason out of it", "stella scanner jobs show 4f2a91 --format json | jq -r .reason"}},
    .run = run_show,
};
