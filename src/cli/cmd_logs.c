// stella scanner logs.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/render.h"

#include <stdio.h>
#include <time.h>

#define FOLLOW_MS 2000
#define POLL_MS 500 // without a service

struct raw {
    const char *filter;
    uint64_t last, tail;
    int level, format;
    bool regex, follow, since_restart, fail_if_found;
};

static const struct st_choice levels[] = {
    {"debug", ST_LOG_DEBUG}, {"info", ST_LOG_INFO}, {"warn", ST_LOG_WARN}, {"error", ST_LOG_ERROR}, {NULL}};

static const struct st_opt options[] = {
    {"filter", 0, ST_OPT_STRING_AT(struct raw, filter), .arg = "TEXT",
     .help = "only lines that contain TEXT, small or capital letters alike"},
    {"regex", 0, ST_OPT_FLAG_AT(struct raw, regex), .help = "the filter is an extended regular expression"},
    {"level", 0, ST_OPT_ENUM_AT(struct raw, level), .arg = "LEVEL", .help = "only lines of this level and above",
     .def = "info", .choices = levels},
    {"last", 0, ST_OPT_DURATION_AT(struct raw, last), .arg = "TIME", .help = "only of the last TIME, as 30m or 1h"},
    {"tail", 0, ST_OPT_COUNT_AT(struct raw, tail), .arg = "N", .help = "only the last N of what matches",
     .def_text = "all", .min = 1, .max = ST_LIST_MAX},
    {"follow", 'f', ST_OPT_FLAG_AT(struct raw, follow), .help = "go on with lines as they come, until interrupted"},
    {"since-restart", 0, ST_OPT_FLAG_AT(struct raw, since_restart),
     .help = "only since the workers were last restarted"},
    {"fail-if-found", 0, ST_OPT_FLAG_AT(struct raw, fail_if_found), .help = "exit 1 when a line matches"},
    ST_FORMAT_OPTION(struct raw),
};

struct printing {
    struct st_sink sink;
    uint64_t last, rows; // position of the last line
};

static void text_line(struct st_out *o, const struct st_log_line *l)
{
    char time[ST_CLOCK_TEXT_MS];
    st_clock_text_ms(l->time_ms, time);
    st_out_fmt(o, "%s %-5s ", time, st_log_level_words[l->level]);
    st_out_safe(o, l->component);
    st_out_puts(o, ": ");
    st_out_safe(o, l->message);
    if (l->job.len)
        st_out_fmt(o, " job=%.12s", l->job.ptr);
    if (l->fields.len) {
        st_out_putc(o, ' ');
        st_out_safe(o, l->fields);
    }
    st_out_putc(o, '\n');
}

static int print_line(void *ctx, const void *row, struct st_err *err)
{
    struct printing *p = ctx;
    const struct st_log_line *l = row;
    p->last = l->at;
    p->rows++;
    if (p->sink.format != ST_FORMAT_TABLE)
        return st_sink_row(&p->sink, row, err);
    text_line(p->sink.out, l);
    return 0;
}

static int take_state(void *ctx, const void *row, struct st_err *err)
{
    *(struct st_logs_state *)ctx = *(const struct st_logs_state *)row;
    return 0;
}

// Lines of the wanted time that the ring has lost.
static int say_dropped(struct st_client *c, const struct raw *r, struct st_err *err)
{
    struct st_logs_state s = {0};
    char time[ST_CLOCK_TEXT];
    if (st_client_call(c, "logs.state", NULL, take_state, &s, err))
        return -1;
    int64_t since = r->last ? st_clock_wall_ms() - (int64_t)r->last * 1000 : 0;
    if (r->since_restart)
        since = ST_MAX(since, s.restart_ms);
    if (!s.dropped || s.dropped_ms < since)
        return 0;
    st_clock_text(s.dropped_ms, time);
    st_cli_note("... %llu lines dropped by the ring, the last of %s", (unsigned long long)s.dropped, time);
    return 0;
}

static int follow(struct st_client *c, struct st_req_logs *q, struct printing *p, struct st_err *err)
{
    st_watch_catch();
    q->tail = 0;
    q->last_s = 0;
    while (!st_watch_interrupted()) {
        st_out_flush(p->sink.out);
        if (p->sink.out->err.code) {
            if (err)
                *err = p->sink.out->err;
            return -1;
        }
        q->after = p->last;
        q->wait_ms = FOLLOW_MS;
        uint64_t before = p->rows;
        if (st_client_call(c, "logs.read", q, print_line, p, err))
            return st_watch_interrupted() ? 0 : -1;
        if (p->rows == before && !st_client_remote(c))
            nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
    }
    return 0;
}

static int check(const struct raw *r, struct st_err *err)
{
    if (r->filter && strlen(r->filter) > 256)
        return st_err_set(err, ST_E_USAGE, "--filter is longer than 256 bytes");
    if (r->regex && !r->filter)
        return st_err_set(err, ST_E_USAGE, "--regex goes with --filter");
    if (r->follow && r->fail_if_found)
        return st_err_set(err, ST_E_USAGE, "--fail-if-found does not go with --follow, which does not end by itself");
    if (r->follow && r->format == ST_FORMAT_JSON)
        return st_err_set(err, ST_E_USAGE,
                          "--follow does not go with --format json, which has an end (--format ndjson)");
    return 0;
}

static int run_logs(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_req_logs q = {
        .filter = st_sv_of(r->filter),
        .regex = r->regex,
        .level = (enum st_log_level)r->level,
        .has_level = true,
        .last_s = r->last,
        .tail = (uint32_t)r->tail,
        .since_restart = r->since_restart,
    };
    struct printing p = {.sink = {.out = call->out, .format = (enum st_format)r->format, .record = &st_record_log}};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (check(r, err) || st_client_open(false, &c, err) || say_dropped(c, r, err))
        return -1;
    st_sink_begin(&p.sink);
    if (st_client_call(c, "logs.read", &q, print_line, &p, err))
        return -1;
    if (r->follow)
        return follow(c, &q, &p, err);
    if (r->format != ST_FORMAT_TABLE)
        st_sink_end(&p.sink);
    if (r->fail_if_found && p.rows)
        return st_err_set(err, ST_E_FAILED, "%llu line%s found", (unsigned long long)p.rows, p.rows == 1 ? "" : "s");
    return 0;
}

const struct st_verb st_verb_logs = {
    .words = "scanner logs",
    .summary = "show the scanner's log",
    .args = "",
    .about = "Shows what scans and the service wrote, oldest first. Everything is recorded, debug lines too, in a ring "
             "of 64 MiB; what the ring has lost is said on standard error. Nothing that matches: no output, exit 0.",
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct raw),
    .examples = {{"See how SBOMs were made", "stella scanner logs --filter sbom --level debug --last 30m"},
                 {"Exit 1 when anything failed since the restart",
                  "stella scanner logs --level error --since-restart --fail-if-found"},
                 {"Follow what goes wrong", "stella scanner logs --follow --level warn"}},
    .run = run_logs,
};
