// A scan in this process, with its record in the local store.
#include "base/clock.h"
#include "base/quantity.h"
#include "cli/scan_cmd.h"
#include "service/keys.h"
#include "store/home.h"

#include <stdio.h>

#define RETRY_DAYS 30
#define ATTEMPTS_MAX 5

struct record {
    struct st_store *store; // NULL: no record is kept
    char home[PATH_MAX], cache[PATH_MAX];
    struct st_job job;
    struct st_mem mem;
    struct st_buf options;
    char resumed[ST_JOB_ID + 1];
    const char *image;
    uint64_t cache_bytes, cache_age_s; // 0: the standard limits
    struct st_engine_result result;
};

// A line of the log. Losing one is no reason to fail a scan.
static void note(struct record *r, enum st_log_level level, const char *component, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void note(struct record *r, enum st_log_level level, const char *component, const char *fmt, ...)
{
    char text[ST_ERR_TEXT_MAX + 200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct st_log_line l = {
        .level = level, .component = st_sv_of(component), .job = st_sv_of(r->job.id), .message = st_sv_of(text)};
    if (r->store)
        st_store_log_add(r->store, &l, 1, NULL);
}

static void note_subject(void *ctx, struct st_sv digest, uint64_t size)
{
    struct record *r = ctx;
    struct st_err err = {0};
    if (!r->store)
        return;
    if (st_store_subject(r->store, r->job.id, 0, digest, size, &err))
        st_cli_warn("%s", err.text);
    note(r, ST_LOG_DEBUG, "image", "its digest is " ST_SV_FMT ", %llu bytes as stored", ST_SV_ARG(digest),
         (unsigned long long)size);
}

struct last {
    enum st_job_state state;
    uint32_t attempt;
    char id[ST_JOB_ID + 1], reason[32], message[256];
};

static int keep_last(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct last *l = ctx;
    l->state = job->state;
    l->attempt = job->attempt;
    memcpy(l->id, job->id, sizeof l->id);
    snprintf(l->reason, sizeof l->reason, ST_SV_FMT, ST_SV_ARG(job->reason));
    snprintf(l->message, sizeof l->message, ST_SV_FMT, ST_SV_ARG(job->message));
    return 0;
}

// The failed scan that --retry goes on from, by the rules of operator-surface 6.3.
static int find_failed(struct record *r, const struct st_scan_ask *raw, struct st_err *err)
{
    const char *image = raw->image;
    struct last last = {0};
    int64_t since = st_clock_wall_ms() - (int64_t)RETRY_DAYS * 86400 * 1000;
    int found = r->store ? st_store_newest(r->store, st_sv_of(image), ST_SV_NULL, since, keep_last, &last, err) : 0;
    if (found < 0)
        return -1;
    if (!found)
        return st_err_set(err, ST_E_NOTFOUND, "no failed scan of %.200s in the last %dd; run without --retry", image,
                          RETRY_DAYS);
    if (last.state == ST_JOB_PROCESSING || last.state == ST_JOB_PENDING)
        return st_err_set(err, ST_E_RETRY, "job %s scans this image right now", last.id);
    if (last.state == ST_JOB_COMPLETED && !raw->force)
        return st_err_set(err, ST_E_USAGE, "the last scan of %.200s (job %s) completed; --force scans it again", image,
                          last.id);
    if (last.attempt >= ATTEMPTS_MAX && !raw->force)
        return st_err_set(err, ST_E_FAILED,
                          "job %s was attempt %u, the last that is made by itself; --force tries again", last.id,
                          last.attempt);
    if (!raw->quiet)
        st_cli_note("retry of job %s, which ended %s: %s", last.id, last.reason[0] ? last.reason : "so", last.message);
    r->job.attempt = last.attempt + 1;
    memcpy(r->resumed, last.id, sizeof r->resumed);
    return 0;
}

// What this scan runs with, in full.
static int options_json(const struct st_scan_ask *ask, struct st_buf *to, struct st_err *err)
{
    struct st_scan_options o = ask->options;
    o.memory = ask->memory;
    o.threads = ask->threads;
    o.has_cache = o.has_verify = true;
    return st_scan_options_write(&o, to, err);
}

// Without a usable state directory the scan goes on, with one warning.
static void open_record(struct record *r)
{
    struct st_err err = {0};
    if (st_home_make(r->home, &err) || st_store_open(r->home, true, &r->store, &err) ||
        st_store_sweep(r->store, ST_TRIES_DEFAULT, NULL, NULL, &err)) {
        st_cli_warn("%s; this scan is not recorded", err.text);
        st_store_close(r->store);
        r->store = NULL;
    }
}

static void begin_record(struct record *r, const struct st_scan_ask *ask)
{
    struct st_err err = {0};
    r->job.image = st_sv_of(ask->image);
    r->job.resumed_from = st_sv_of(r->resumed);
    st_mem_init(&r->mem, 1 << 20, -1);
    st_buf_init(&r->options, &r->mem);
    int rc = r->store ? options_json(ask, &r->options, &err) : 0;
    r->job.options = st_buf_sv(&r->options);
    if (rc || (r->store && st_store_begin(r->store, &r->job, &err))) {
        st_cli_warn("%s; this scan is not recorded", err.text);
        st_store_close(r->store);
        r->store = NULL;
    }
    if (!r->store)
        return;
    r->image = ask->image;
    note(r, ST_LOG_INFO, "scan", "started: %.200s, attempt %u", ask->image, r->job.attempt);
}

// The search words of the scanner-oom runbook stand in lines of memory deaths, and in no others.
static void note_end(struct record *r, int rc, const struct st_err *e)
{
    char peak[ST_QUANTITY_TEXT];
    st_quantity_human(r->result.profile.peak_tree, peak);
    if (rc == 0)
        note(r, ST_LOG_INFO, "scan", "completed: %.200s, peak memory %s", r->image, peak);
    else if (e->code == ST_E_MEMORY)
        note(r, ST_LOG_ERROR, "sbom", "out of memory: heap exhausted: %s", e->text);
    else if (e->code == ST_E_NOMEM)
        note(r, ST_LOG_ERROR, "sbom", "out of memory: memory allocation failed: %s", e->text);
    else
        note(r, ST_LOG_ERROR, "scan", "failed: %s: %s", st_job_reason(e->code), e->text);
}

static void end_record(struct record *r, int rc, const struct st_err *scan_err)
{
    struct st_err err = {0};
    if (!r->store)
        return;
    bool cancelled = rc && scan_err->code == ST_E_CANCELLED;
    struct st_end end = {
        .state = rc == 0     ? ST_JOB_COMPLETED
                 : cancelled ? ST_JOB_CANCELLED
                             : ST_JOB_FAILED,
        .reason = rc ? st_sv_of(st_job_reason(scan_err->code)) : ST_SV_NULL,
        .message = rc ? st_sv_of(scan_err->text) : ST_SV_NULL,
        .exit_code = rc ? st_err_exit_code(scan_err->code) : 0,
        .peak_bytes = r->result.profile.peak_tree,
        .resumed_from = st_sv_of(r->resumed),
        .unknowns = r->result.unknowns,
        .packages = r->result.packages,
    };
    memcpy(end.id, r->job.id, sizeof end.id);
    note_end(r, rc, scan_err);
    if (st_store_finish(r->store, &end, ST_TRIES_DEFAULT, NULL, &err))
        st_cli_warn("%s", err.text);
    st_store_close(r->store);
}

static int scan(struct record *r, const struct st_scan_ask *ask, struct st_err *err)
{
    struct st_scan_show show = {.mode = ask->progress,
                                .quiet = ask->quiet,
                                .unknowns = ask->options.strict,
                                .profile = ask->profile,
                                .verbose = ask->remote.verbose,
                                .memory = ask->memory,
                                .profile_output = ask->profile_output,
                                .subject = note_subject,
                                .ctx = r};
    const char *home = r->store ? r->home : NULL;
    const struct st_scan_options *o = &ask->options;
    snprintf(r->cache, sizeof r->cache, "%s/cache", r->home);
    st_scan_show_begin(&show);
    struct st_engine_request q = {
        .image = ask->image,
        .options = o,
        .memory = ask->memory,
        .threads = ask->threads,
        .access = st_remote_access(&ask->remote),
        .file = -1,
        .outputs = ask->outputs,
        .n_outputs = ask->n_outputs,
        .out = ask->out,
        .spill = home,
        .home = home,
        .resume = r->resumed[0] != '\0',
        .cache_dir = !o->cache        ? NULL
                     : ask->cache_dir ? ask->cache_dir
                     : home           ? r->cache
                                      : NULL,
        .cache_bytes = r->cache_bytes,
        .cache_age_s = r->cache_age_s,
        .deadline_ms = st_scan_options_deadline(o),
        .interrupted = st_cli_catch_signals(),
        .observer = &show.engine,
    };
    return st_engine_scan(&q, &r->result, err);
}

int st_scan_local(const struct st_scan_ask *asked, struct st_err *err)
{
    struct st_scan_ask ask = *asked;
    struct record r = {.job = {.attempt = 1}};
    struct st_err local = {0}; // the record wants the text, also when the caller passes no err
    open_record(&r);
    if (ask.retry && find_failed(&r, &ask, err)) {
        st_store_close(r.store);
        return -1;
    }
    // Neither the command line nor the environment says so: then the configuration does.
    bool dedup = false;
    if (r.store && !ask.options.has_cache && st_key_bool(r.store, "cache.layer_dedup", &dedup, NULL) == 0)
        ask.options.cache = dedup;
    if (r.store && ask.options.cache &&
        (st_key_bytes(r.store, "cache.max_bytes", &r.cache_bytes, NULL) ||
         st_key_count(r.store, "cache.ttl", &r.cache_age_s, NULL)))
        st_cli_warn("cache.max_bytes or cache.ttl cannot be read; the standard limits are kept");
    begin_record(&r, &ask);
    int rc = scan(&r, &ask, &local);
    end_record(&r, rc, &local);
    st_buf_release(&r.options);
    st_mem_release(&r.mem);
    if (rc && err)
        *err = local;
    return rc;
}
