// A job: from its message to the engine and back.
#include "worker/run_job.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "scan/fragstore.h"
#include "worker/composition.h"
#include "worker/engine.h"
#include "worker/profile.h"
#include "worker/result.h"
#include "worker/sbom_file.h"
#include "worker/test_leak.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define SEND_MS 5000 // the supervisor is busy for no longer; what it does not take by then is lost but for the end
#define IN_WORK 16   // layers at once

// ---- the configuration snapshot -----------------------------------------------------------------

struct config {
    bool layer_dedup, incremental, has_threshold;
    uint64_t threshold, timeout_s, cache_bytes, cache_age_s;
    struct st_sv allow_private;
};

// Values are canonical texts (service/keys.h). A key of another version is passed over.
static void set_key(struct config *c, struct st_sv key, struct st_sv value)
{
    if (st_sv_eq(key, ST_SV("cache.layer_dedup")))
        c->layer_dedup = st_sv_eq(value, ST_SV("true"));
    else if (st_sv_eq(key, ST_SV("sbom.incremental_mode")))
        c->incremental = st_sv_eq(value, ST_SV("true"));
    else if (st_sv_eq(key, ST_SV("sbom.streaming_threshold")))
        c->has_threshold = st_sv_eq(value, ST_SV("0")) || st_quantity_read(value, &c->threshold);
    else if (st_sv_eq(key, ST_SV("cache.max_bytes")))
        st_quantity_read(value, &c->cache_bytes);
    else if (st_sv_eq(key, ST_SV("cache.ttl"))) // off, or older than anything: never
        c->cache_age_s = st_duration_read(value, &c->cache_age_s) ? c->cache_age_s : UINT64_MAX;
    else if (st_sv_eq(key, ST_SV("timeouts.scan")))
        st_duration_read(value, &c->timeout_s);
    else if (st_sv_eq(key, ST_SV("registry.allow_private")) && !st_sv_eq(value, ST_SV("none")))
        c->allow_private = value;
}

static int read_config(struct st_sv json, struct config *ret, struct st_arena *a, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok key, v;
    int rc;
    st_json_init(&j, json.len ? json : ST_SV("{}"));
    if (st_json_next(&j, &v, err))
        return -1;
    while ((rc = st_json_member(&j, &key, &v, err)) > 0) {
        struct st_sv name, value;
        if (st_json_text(&key, a, &name, err))
            return -1;
        if (v.type != ST_JSON_STRING) {
            if (st_json_skip(&j, &v, err))
                return -1;
            continue;
        }
        if (st_json_text(&v, a, &value, err))
            return -1;
        set_key(ret, name, value);
    }
    return rc;
}

// ---- what is told meanwhile -----------------------------------------------------------------------

struct in_work {
    size_t layer;
    bool used;
    uint64_t done, size;
};

struct run {
    const struct st_run_job *r;
    struct st_arena *a;
    struct st_scan_options options;
    struct config config;
    struct st_result_dir dir;
    struct st_worker_progress at;
    char digest[129], file[1025];
    struct in_work work[IN_WORK];
    uint64_t finished; // bytes of layers that are done
    int64_t told_ms, since_ms;
    uint64_t write_ms, budget;
    bool written;           // the result is complete, though the verdict may be against it (--strict, --keep-going)
    char result_words[200]; // formats
    struct st_scan_observer scan;
    struct st_engine_observer observer;
    struct st_engine_result result;
};

static void say(struct run *run, enum st_log_level level, const char *component, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void say(struct run *run, enum st_log_level level, const char *component, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct st_worker_log l = {level, st_sv_of(component), st_sv_of(text)};
    st_worker_send(run->r->sock, ST_WORKER_LOG, &l, NULL, 0, SEND_MS, NULL);
}

static void tell(struct run *run, bool now)
{
    int64_t ms = st_clock_mono_ms();
    if (!now && ms - run->told_ms < ST_WORKER_PROGRESS_MS)
        return;
    run->told_ms = ms;
    struct st_worker_progress *p = &run->at;
    p->digest = st_sv_of(run->digest);
    p->file = st_sv_of(run->file);
    p->bytes = run->finished;
    for (size_t i = 0; i < IN_WORK; i++)
        p->bytes += run->work[i].used ? run->work[i].done : 0;
    st_worker_send(run->r->sock, ST_WORKER_PROGRESS, p, NULL, 0, 0, NULL); // the next one says more
}

static void phase(struct run *run, const char *name)
{
    run->at.phase = st_sv_of(name);
    run->file[0] = '\0';
    tell(run, false);
}

static void on_subject(void *ctx, const struct st_subject *sub)
{
    struct run *run = ctx;
    struct st_worker_subject s = {sub->manifest_digest.len ? sub->manifest_digest : sub->config_digest, sub->size};
    st_worker_send(run->r->sock, ST_WORKER_SUBJECT, &s, NULL, 0, SEND_MS, NULL);
    say(run, ST_LOG_DEBUG, "image", "its digest is " ST_SV_FMT ", %" PRIu64 " bytes as stored, %zu layers",
        ST_SV_ARG(s.digest), s.size, sub->n_layers);
}

static void on_begin(void *ctx, size_t layers, uint64_t bytes)
{
    struct run *run = ctx;
    run->at.layers = layers;
    run->at.total = bytes;
    run->finished = 0;
    phase(run, "layers");
}

static struct in_work *find_work(struct run *run, size_t layer, bool make)
{
    struct in_work *room = NULL;
    for (size_t i = 0; i < IN_WORK; i++) {
        if (run->work[i].used && run->work[i].layer == layer)
            return &run->work[i];
        if (!run->work[i].used)
            room = &run->work[i];
    }
    if (room && make)
        *room = (struct in_work){.layer = layer, .used = true};
    return make ? room : NULL;
}

static void on_layer(void *ctx, size_t layer, struct st_sv digest, uint64_t size)
{
    struct run *run = ctx;
    struct in_work *w = find_work(run, layer, true);
    if (w)
        w->size = size;
    run->at.layer = layer + 1;
    run->at.files = 0;
    snprintf(run->digest, sizeof run->digest, ST_SV_FMT, ST_SV_ARG(digest));
    tell(run, false);
}

static void on_bytes(void *ctx, size_t layer, uint64_t done)
{
    struct run *run = ctx;
    struct in_work *w = find_work(run, layer, false);
    if (w)
        w->done = done;
}

static void on_at(void *ctx, size_t layer, uint64_t entries, struct st_sv path)
{
    struct run *run = ctx;
    run->at.layer = layer + 1;
    run->at.files = entries;
    snprintf(run->file, sizeof run->file, ST_SV_FMT, ST_SV_ARG(st_sv_sub(path, 0, sizeof run->file - 1)));
    tell(run, false);
}

// Only where tests leak: what a process does whose allocation is refused.
static void refused(struct run *run)
{
    struct st_worker_end end = {
        .exit_code = 1, .reason = ST_SV("oom"), .message = ST_SV("memory allocation failed: a leak for tests")};
    say(run, ST_LOG_ERROR, "sbom", ST_SV_FMT, ST_SV_ARG(end.message));
    st_worker_send(run->r->sock, ST_WORKER_END, &end, NULL, 0, SEND_MS, NULL);
    _exit(0);
}

static void on_done(void *ctx, size_t layer, bool cached)
{
    struct run *run = ctx;
    struct in_work *w = find_work(run, layer, false);
    if (w) {
        run->finished += w->size;
        w->used = false;
    }
    tell(run, false);
    if (st_test_leak(run->r->job->image))
        refused(run);
}

static void on_end(void *ctx)
{
    phase(ctx, "merge");
}

static void on_warn(void *ctx, const char *text)
{
    say(ctx, ST_LOG_WARN, "scan", "%s", text);
}

static void on_log(void *ctx, const char *text)
{
    say(ctx, ST_LOG_DEBUG, "sbom", "%s", text);
}

static void on_note(void *ctx, const char *text)
{
    say(ctx, ST_LOG_INFO, "scan", "%s", text);
}

static void on_writing(void *ctx)
{
    struct run *run = ctx;
    run->since_ms = st_clock_mono_ms();
    phase(run, "write");
}

// What a person is told goes beside the SBOMs: the client of a service prints it.
static int write_beside(struct run *run, const char *name, const struct st_scan *scan, struct st_err *err)
{
    char path[PATH_MAX];
    struct st_out o;
    int rc = 0;
    if (st_result_file(&run->dir, name, path, err))
        return -1;
    ST_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return st_err_sys(err, "cannot write %s", path);
    st_out_init_fd(&o, fd);
    if (!strcmp(name, ST_RESULT_UNKNOWNS))
        rc = st_engine_say_unknowns(st_scan_inventory(scan), &o, err);
    else if (!strcmp(name, ST_RESULT_LAYERS))
        st_composition_layers(scan, &o);
    else if (!strcmp(name, ST_RESULT_RECIPE))
        rc = st_composition_recipe(scan, &o, err);
    else if (!strcmp(name, ST_RESULT_PROFILE))
        st_profile_text(scan, run->budget, &o);
    else
        st_profile_json(scan, run->budget, &o);
    if (st_out_finish(&o, rc ? NULL : err) || rc)
        return -1;
    return fsync(fd) ? st_err_sys(err, "cannot write %s", path) : 0;
}

static int on_written(void *ctx, const struct st_scan *scan, struct st_err *err)
{
    struct run *run = ctx;
    static const char *const beside[] = {ST_RESULT_UNKNOWNS, ST_RESULT_LAYERS, ST_RESULT_RECIPE, ST_RESULT_PROFILE,
                                         ST_RESULT_PROFILE_JSON};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ST_LEN(beside); i++)
        rc = write_beside(run, beside[i], scan, err);
    if (rc == 0)
        rc = st_result_sync(&run->dir, run->r->job->home.ptr, err);
    run->write_ms = (uint64_t)(st_clock_mono_ms() - run->since_ms);
    run->written = rc == 0;
    return rc;
}

static void observe(struct run *run)
{
    run->scan = (struct st_scan_observer){.ctx = run,
                                          .subject = on_subject,
                                          .begin = on_begin,
                                          .layer_begin = on_layer,
                                          .layer_bytes = on_bytes,
                                          .layer_at = on_at,
                                          .layer_done = on_done,
                                          .end = on_end,
                                          .warn = on_warn,
                                          .log = on_log};
    run->observer = (struct st_engine_observer){
        .ctx = run, .scan = &run->scan, .note = on_note, .writing = on_writing, .written = on_written};
}

// ---- the request ----------------------------------------------------------------------------------

static unsigned processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return (unsigned)ST_MIN(ST_MAX(n, 1), ST_THREADS_MAX);
}

static int budget(const struct run *run, uint64_t *ret, struct st_err *err)
{
    uint64_t limit = run->r->job->memory_limit;
    if (limit < ST_MEMORY_MIN + ST_WORKER_RESERVE)
        return st_err_set(err, ST_E_USAGE, "a worker's limit of %" PRIu64 " bytes is under the 32Mi that a scan needs",
                          limit);
    *ret = limit - ST_WORKER_RESERVE;
    if (run->options.memory)
        *ret = ST_MIN(*ret, run->options.memory);
    return 0;
}

// Whichever is nearest: the supervisor's, the submission's, else the configuration's.
static uint64_t deadline(const struct run *run)
{
    uint64_t now = (uint64_t)st_clock_mono_ms(), until = UINT64_MAX;
    uint64_t own = run->options.timeout_s ? run->options.timeout_s : run->config.timeout_s;
    if (run->r->job->deadline_ms)
        until = now + run->r->job->deadline_ms;
    if (own)
        until = ST_MIN(until, now + own * 1000);
    return until == UINT64_MAX ? 0 : until;
}

struct outputs {
    struct st_engine_output at[ST_ENGINE_OUTPUTS_MAX];
    char paths[ST_ENGINE_OUTPUTS_MAX][PATH_MAX];
    size_t n;
};

static int choose_outputs(struct run *run, struct outputs *ret, struct st_err *err)
{
    unsigned bits;
    if (st_scan_formats(run->options.formats, &bits, err))
        return -1;
    bits |= 1; // cyclonedx-json, whatever is asked
    for (size_t i = 0; st_sbom_format_words[i]; i++) {
        const char *word = st_sbom_format_words[i];
        if (!(bits >> i & 1))
            continue;
        if (st_result_file(&run->dir, word, ret->paths[ret->n], err))
            return -1;
        unsigned width = strcmp(word, "table") == 0 ? run->options.width : 0;
        ret->at[ret->n] = (struct st_engine_output){word, ret->paths[ret->n], width};
        ret->n++;
        size_t len = strlen(run->result_words);
        snprintf(run->result_words + len, sizeof run->result_words - len, "%s%s", len ? "," : "", word);
    }
    return 0;
}

static int insecure_hosts(const struct run *run, const char ***ret, size_t *ret_n, struct st_err *err)
{
    struct st_sv rest = run->options.insecure, one, text;
    size_t n = 0;
    const char **list = st_arena_array(run->a, rest.len / 2 + 2, sizeof *list, err);
    if (!list)
        return -1;
    while (rest.len && st_sv_split(&rest, ',', &one)) {
        if (!one.len)
            continue;
        if (st_arena_fmt(run->a, &text, err, ST_SV_FMT, ST_SV_ARG(one)))
            return -1;
        list[n++] = text.ptr;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

static int text_of(struct st_arena *a, struct st_sv v, const char **ret, struct st_err *err)
{
    struct st_sv copy;
    if (memchr(v.ptr ? v.ptr : "", 0, v.len))
        return st_err_set(err, ST_E_INPUT, "a text of the job has a NUL byte");
    if (st_arena_fmt(a, &copy, err, ST_SV_FMT, ST_SV_ARG(v)))
        return -1;
    *ret = copy.ptr;
    return 0;
}

static int scan(struct run *run, struct st_err *err)
{
    const struct st_worker_job *job = run->r->job;
    const struct config *c = &run->config;
    ST_AUTO_FREE struct outputs *outputs = calloc(1, sizeof *outputs);
    const char *cache, **insecure;
    size_t n_insecure;
    struct st_sv cache_path, uploads;
    if (!outputs)
        return st_err_nomem(err);
    if (choose_outputs(run, outputs, err) || insecure_hosts(run, &insecure, &n_insecure, err) ||
        st_arena_fmt(run->a, &cache_path, err, "%s/cache", job->home.ptr) ||
        st_arena_fmt(run->a, &uploads, err, "%s/uploads/", job->home.ptr))
        return -1;
    cache = cache_path.ptr;
    struct st_engine_request q = {
        .image = job->image.ptr,
        .options = &run->options,
        .threads = run->options.threads ? run->options.threads : processors(),
        .access = {.insecure = insecure,
                   .n_insecure = n_insecure,
                   .source = ST_FROM_REGISTRY,
                   .service = true,
                   .uploads = uploads,
                   .private_ = c->allow_private},
        .file = run->r->file,
        .outputs = outputs->at,
        .n_outputs = outputs->n,
        .sync = true,
        .spill = job->home.ptr,
        .home = job->home.ptr,
        .checkpoints = run->dir.checkpoints,
        .resume = job->resume,
        .cache_dir = (run->options.has_cache ? run->options.cache : c->layer_dedup) ? cache : NULL,
        .cache_bytes = c->cache_bytes,
        .cache_age_s = c->cache_age_s,
        .stream = {.sized = c->has_threshold, .from = c->threshold, .above = job->memory_limit / 2},
        .checkpoint_files = c->incremental ? ST_WORKER_CHECKPOINT_FILES : 0,
        .deadline_ms = deadline(run),
        .interrupted = run->r->interrupted,
        .observer = &run->observer,
    };
    if (budget(run, &q.memory, err))
        return -1;
    run->budget = q.memory;
    say(run, ST_LOG_DEBUG, "sbom",
        "budget %" PRIu64 " MiB of a limit of %" PRIu64 " MiB, incremental mode %s, cache %s", q.memory >> 20,
        job->memory_limit >> 20, c->incremental ? "on" : "off", q.cache_dir ? "on" : "off");
    return st_engine_scan(&q, &run->result, err);
}

static int prepare(struct run *run, struct st_worker_job *job, struct st_err *err)
{
    const char *text;
    if (text_of(run->a, job->image, &text, err))
        return -1;
    job->image = st_sv_of(text);
    if (text_of(run->a, job->home, &text, err))
        return -1;
    job->home = st_sv_of(text);
    if (st_scan_options_read(job->options, &run->options, run->a, err) ||
        read_config(job->config, &run->config, run->a, err) ||
        st_result_make(&run->dir, job->home.ptr, job->id, job->fence, err))
        return -1;
    return 0;
}

// ---- the end --------------------------------------------------------------------------------------

// The words that the scanner-oom runbook searches for stand in lines of memory deaths, and in no others.
static void say_end(struct run *run, int rc, const char *reason, const struct st_err *e)
{
    if (rc == 0)
        say(run, ST_LOG_DEBUG, "sbom", "complete: %u packages, %u unknowns, peak memory %" PRIu64 " KiB",
            run->result.packages, run->result.unknowns, run->result.profile.peak_tree >> 10);
    else if (e->code == ST_E_MEMORY)
        say(run, ST_LOG_ERROR, "sbom", "heap exhausted: %s", e->text);
    else if (e->code == ST_E_NOMEM)
        say(run, ST_LOG_ERROR, "sbom", "memory allocation failed: %s", e->text);
    else if (e->code == ST_E_AUTH) // "registry auth" is what scanner-registry-auth.md searches for
        say(run, ST_LOG_ERROR, "scan", "failed: %s: registry auth: %s", reason, e->text);
    else
        say(run, ST_LOG_ERROR, "scan", "failed: %s: %s", reason, e->text);
}

// Scanned, and then the SBOM could not be written: nearly always the disk.
static bool failed_writing(const struct run *run, enum st_err_code code)
{
    return run->since_ms && !run->written && (code == ST_E_IO || code == ST_E_SPILL || code == ST_E_FAILED);
}

static void fill_end(struct run *run, int rc, const char *reason, const struct st_err *e, struct st_worker_end *ret)
{
    const struct st_engine_result *n = &run->result;
    *ret = (struct st_worker_end){
        .exit_code = rc ? st_err_exit_code(e->code) : 0,
        .peak_bytes = n->profile.peak_tree,
        .unknowns = n->unknowns,
        .packages = n->packages,
        .layers_cached = n->layers_cached,
        .layers_total = n->layers,
        .bytes_read = n->bytes_read,
    };
    if (rc) {
        ret->reason = st_sv_of(reason);
        st_arena_dup(run->a, st_sv_of(e->text), &ret->message, NULL);
    }
    if (run->written)
        st_arena_dup(run->a, st_sv_of(run->result_words), &ret->result, NULL);
    if (n->layers_resumed || n->entries_resumed)
        st_arena_dup(run->a, st_sv_of(run->r->job->id), &ret->resumed_from, NULL);
    st_arena_fmt(run->a, &ret->phases, NULL,
                 "{\"index\":%" PRIu64 ",\"layers\":%" PRIu64 ",\"merge\":%" PRIu64 ",\"write\":%" PRIu64 "}",
                 n->profile.index_ms, n->profile.layers_ms, n->profile.merge_ms, run->write_ms);
}

void st_run_job(const struct st_run_job *r, struct st_worker_end *ret, struct st_arena *a)
{
    struct st_worker_job job = *r->job;
    struct st_run_job own = *r;
    ST_AUTO_FREE struct run *run = calloc(1, sizeof *run);
    struct st_err err = {0};
    if (!run) {
        *ret = (struct st_worker_end){.exit_code = 1, .reason = ST_SV("oom"), .message = ST_SV("no memory to begin")};
        return;
    }
    own.job = &job;
    run->r = &own;
    run->a = a;
    run->at.phase = ST_SV("resolve");
    observe(run);
    const char *reason = NULL;
    int rc = prepare(run, &job, &err);
    if (rc == 0 && run->options.file && !job.has_file) {
        rc =
            st_err_set(&err, ST_E_NOTFOUND,
                       "the file that came with the submission is gone: submit it again, or stella scan image --retry");
        reason = "source_gone";
    }
    if (rc == 0) {
        tell(run, true);
        rc = scan(run, &err);
    }
    if (!run->written && run->dir.path[0])
        st_result_remove(&run->dir);
    if (rc && !reason && err.code == ST_E_FAILED && run->written) // the one verdict of this code
        reason = "strict";
    if (rc && !reason && failed_writing(run, err.code))
        reason = "sbom_failed";
    if (rc && !reason)
        reason = err.code == ST_E_CANCELLED ? "cancelled" : st_job_reason(err.code);
    say_end(run, rc, reason, &err);
    fill_end(run, rc, reason, &err, ret);
}

void st_run_job_forget(const struct st_worker_job *job)
{
    char home[PATH_MAX], sub[96];
    snprintf(home, sizeof home, ST_SV_FMT, ST_SV_ARG(job->home));
    snprintf(sub, sizeof sub, "jobs/%s", job->id);
    if (st_is_job_id(st_sv_of(job->id)))
        st_fragstore_remove(home, sub);
}
