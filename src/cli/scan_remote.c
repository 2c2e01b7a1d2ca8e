// A scan by a service: submits, passes the image along where it is on this machine, waits, and writes what a scan in
// this process would have written: the same bytes, the same exit code, the same last lines.
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/quantity.h"
#include "cli/scan_cmd.h"
#include "service/client.h"
#include "worker/result.h"
#include "worker/sbom_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define POLL_MIN_MS 20
#define POLL_MAX_MS 500
#define SILENT_MS 2000 // a job that waits for longer says why
#define AWAY_MS 60000  // a service that restarts is waited for

struct job {
    char id[ST_JOB_ID + 1], reason[64], pool[64], message[ST_ERR_TEXT_MAX], result[256];
    enum st_job_state state;
    uint32_t attempt;
    uint64_t size, peak;
    int64_t wait_ms;
    int exit_code;
    bool seen, made;
};

struct remote {
    const struct st_scan_ask *ask;
    struct st_client *c; // NULL: the connection is lost
    struct st_engine_file *file;
    struct st_mem mem;
    struct st_arena arena;
    struct st_scan_options options;
    struct job job;
    bool mine; // Ctrl-C cancels it
    struct st_progress progress;
    bool began;
    uint64_t layer, bytes; // as last shown
    uint32_t told_attempt;
    bool told_wait;
    int64_t start_ms, away_ms;
    const volatile int *interrupted;
    struct st_sbom_file files[ST_ENGINE_OUTPUTS_MAX];
};

static void say(const struct remote *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct remote *r, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    if (r->ask->quiet)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    st_cli_note("%s", text);
}

// ---- what can travel ------------------------------------------------------------------------------

// What lies on this machine or is secret stays here: a job is a row in a database that others may read.
static int may_travel(const struct st_scan_ask *ask, struct st_err *err)
{
    const char *server = getenv("STELLA_SERVER"); // over HTTPS the file is for the way to the service
    bool url = server && !strncmp(server, "http", 4);
    const struct {
        const char *option;
        bool given;
        const char *instead;
    } stay[] = {
        {"--creds", ask->remote.creds != NULL, "log in as the service's user (docker login, podman login)"},
        {"--client-cert", ask->remote.client_cert || ask->remote.client_key, "put it into the service's certs.d"},
        {"--ca-file", ask->remote.ca_file && !url, "put it into the service's certs.d"},
        {"--cache DIR", ask->cache_dir != NULL, "--cache on uses the service's"},
    };
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
        if (stay[i].given)
            return st_err_set(err, ST_E_USAGE,
                              "%s does not go to a service, where others could read it: %s, or --local", stay[i].option,
                              stay[i].instead);
    return 0;
}

static int add_text(struct remote *r, struct st_sv *list, const char *word, struct st_err *err)
{
    return st_arena_fmt(&r->arena, list, err, ST_SV_FMT "%s%s", ST_SV_ARG(*list), list->len ? "," : "", word);
}

static int options_of(struct remote *r, struct st_err *err)
{
    const struct st_scan_ask *ask = r->ask;
    unsigned bits = 0;
    r->options = ask->options;
    for (size_t i = 0; i < ask->n_outputs; i++)
        for (unsigned k = 0; st_sbom_format_words[k]; k++)
            if (!strcmp(ask->outputs[i].format, st_sbom_format_words[k])) {
                bits |= 1u << k;
                r->options.width = ask->outputs[i].width && !strcmp(ask->outputs[i].format, "table")
                                       ? ask->outputs[i].width
                                       : r->options.width;
            }
    for (unsigned k = 1; st_sbom_format_words[k]; k++)
        if ((bits >> k & 1) && add_text(r, &r->options.formats, st_sbom_format_words[k], err))
            return -1;
    for (size_t i = 0; i < ask->remote.insecure.n; i++)
        if (add_text(r, &r->options.insecure, ask->remote.insecure.at[i], err))
            return -1;
    r->options.path = st_engine_file_path(r->file);
    return 0;
}

// ---- the service ----------------------------------------------------------------------------------

static void keep(char *to, size_t cap, struct st_sv v)
{
    snprintf(to, cap, ST_SV_FMT, ST_SV_ARG(v));
}

static int take_job(void *ctx, const void *row, struct st_err *err)
{
    struct job *t = ctx;
    const struct st_job *j = row;
    t->seen = true;
    memcpy(t->id, j->id, sizeof t->id);
    keep(t->reason, sizeof t->reason, j->reason);
    keep(t->pool, sizeof t->pool, j->pool);
    keep(t->message, sizeof t->message, j->message);
    keep(t->result, sizeof t->result, j->result);
    t->state = j->state;
    t->attempt = j->attempt;
    t->size = j->has_size ? j->size : 0;
    t->peak = j->peak_bytes;
    t->wait_ms = j->wait_ms;
    t->exit_code = j->exit_code;
    t->made = j->made;
    return 0;
}

static void attach(struct remote *r)
{
    st_client_attach(r->c, st_engine_file_fd(r->file));
}

static int submit(struct remote *r, struct st_err *err)
{
    struct st_buf options;
    st_buf_init(&options, &r->mem);
    int rc = st_scan_options_write(&r->options, &options, err);
    struct st_req_submit q = {.image = st_sv_of(r->ask->image),
                              .options = st_buf_sv(&options),
                              .fresh = r->ask->profile}; // where its memory goes is to be seen
    if (rc == 0) {
        attach(r);
        rc = st_client_call(r->c, "scans.submit", &q, take_job, &r->job, err);
    }
    st_buf_release(&options);
    r->mine = r->job.made;
    return rc;
}

// The job that --retry means, by the rules of operator-surface 6.3.
static int find_retry(struct remote *r, struct st_err *err)
{
    struct st_req_newest q = {.image = st_sv_of(r->ask->image)};
    struct job *j = &r->job;
    if (st_client_call(r->c, "scans.newest", &q, take_job, j, err))
        return -1;
    if (!j->seen)
        return st_err_set(err, ST_E_NOTFOUND, "no failed scan of %.200s in the last 30d; run without --retry",
                          r->ask->image);
    if (j->state == ST_JOB_COMPLETED && !r->ask->force)
        return st_err_set(err, ST_E_USAGE, "the last scan of %.200s (job %s) completed; --force scans it again",
                          r->ask->image, j->id);
    return 0;
}

// 1: a job of the service is gone on with; 0: submit; -1.
static int retry(struct remote *r, struct st_err *err)
{
    struct job *j = &r->job;
    if (j->state == ST_JOB_PENDING || j->state == ST_JOB_PROCESSING) {
        say(r, "job %.12s is %s already: waiting for it", j->id, st_job_state_word(j->state));
        return 1;
    }
    say(r, "retry of job %.12s, which ended %s: %s", j->id, j->reason[0] ? j->reason : "so", j->message);
    if (!j->pool[0]) // a scan in somebody's own process: nothing of it is the service's
        return 0;
    struct st_buf options;
    struct job now = {.seen = false};
    st_buf_init(&options, &r->mem);
    int rc = st_scan_options_write(&r->options, &options, err);
    struct st_req_retry again = {.id = st_sv_of(j->id), .options = st_buf_sv(&options), .force = r->ask->force};
    attach(r);
    if (rc == 0)
        rc = st_client_call(r->c, "scans.retry", &again, take_job, &now, err);
    st_buf_release(&options);
    if (rc)
        return -1;
    *j = now;
    r->mine = true;
    return 1;
}

// A service that restarts comes back; the job is in its store.
static int ask_job(struct remote *r, struct st_err *err)
{
    struct st_err why = {0};
    char id[ST_JOB_ID + 1]; // take_job writes into r->job
    memcpy(id, r->job.id, sizeof id);
    struct st_req_id q = {st_sv_of(id)};
    if (r->c && st_client_call(r->c, "scans.get", &q, take_job, &r->job, &why) == 0) {
        r->away_ms = 0;
        return 0;
    }
    if (r->c && why.code != ST_E_RETRY && why.code != ST_E_IO) {
        if (err)
            *err = why;
        return -1;
    }
    int64_t now = st_clock_mono_ms();
    r->away_ms = r->away_ms ? r->away_ms : now;
    if (now - r->away_ms > AWAY_MS)
        return st_err_set(err, ST_E_RETRY,
                          "the service does not answer any more; its job is %s (stella scanner jobs show %.12s)", id,
                          id);
    st_client_close(r->c);
    r->c = NULL;
    if (st_client_find(&r->c, NULL) <= 0)
        r->c = NULL;
    return 0;
}

// ---- waiting --------------------------------------------------------------------------------------

static int show_worker(void *ctx, const void *row, struct st_err *err)
{
    struct remote *r = ctx;
    const struct st_worker_row *w = row;
    if (!st_sv_eq(w->job, st_sv_of(r->job.id)) || !w->layers)
        return 0;
    if (!r->began) {
        st_progress_begin(&r->progress, r->ask->progress, 2, (unsigned)w->layers, r->job.size);
        r->began = true;
    }
    if (w->layer_at != r->layer) {
        if (r->layer)
            st_progress_done(&r->progress, (unsigned)r->layer - 1);
        r->progress.finished = w->bytes;
        r->bytes = w->bytes;
        st_progress_layer(&r->progress, (unsigned)w->layer_at - 1, w->layer, 0);
        r->layer = w->layer_at;
    }
    st_progress_bytes(&r->progress, (unsigned)r->layer - 1, w->bytes - r->bytes);
    return 0;
}

static void end_progress(struct remote *r)
{
    if (r->began)
        st_progress_end(&r->progress);
    r->began = false;
    r->layer = r->bytes = 0;
}

// Said once each: what holds the job up.
static void show_wait(struct remote *r)
{
    struct job *j = &r->job;
    if (j->state == ST_JOB_PROCESSING) {
        if (r->c && r->ask->progress != ST_PROGRESS_OFF)
            st_client_call(r->c, "workers.list", NULL, show_worker, r, NULL);
        return;
    }
    if (j->state != ST_JOB_PENDING)
        return;
    end_progress(r);
    bool none = !strcmp(j->reason, "no_worker_in_pool");
    if (j->attempt && j->attempt != r->told_attempt && j->reason[0] && !none) {
        r->told_attempt = j->attempt;
        say(r, "attempt %u ended %s: %s; the next one in %lld s", j->attempt, j->reason, j->message,
            (long long)((j->wait_ms + 999) / 1000));
    } else if (!r->told_wait && st_clock_mono_ms() - r->start_ms > SILENT_MS) {
        r->told_wait = true;
        say(r,
            none ? "job %.12s waits: pool %s has no worker (stella scanner status)"
                 : "job %.12s waits in pool %s (stella scanner queue status)",
            j->id, j->pool);
    }
}

static int cancel(struct remote *r, struct st_err *err)
{
    struct st_req_id q = {st_sv_of(r->job.id)};
    struct st_err why = {0};
    end_progress(r);
    if (!r->mine)
        return st_err_set(err, ST_E_CANCELLED, "interrupted; job %.12s was there before and goes on", r->job.id);
    if (!r->c || st_client_call(r->c, "scans.cancel", &q, NULL, NULL, &why))
        return st_err_set(err, ST_E_CANCELLED, "interrupted, and job %.12s could not be cancelled: %s", r->job.id,
                          r->c ? why.text : "the service does not answer");
    return st_err_set(err, ST_E_CANCELLED, "interrupted: job %.12s is cancelled", r->job.id);
}

static bool ended(const struct job *j)
{
    return j->state == ST_JOB_COMPLETED || j->state == ST_JOB_FAILED || j->state == ST_JOB_CANCELLED;
}

static int wait_for(struct remote *r, struct st_err *err)
{
    unsigned ms = POLL_MIN_MS;
    r->start_ms = st_clock_mono_ms();
    while (!ended(&r->job)) {
        nanosleep(&(struct timespec){0, (long)ms * 1000000}, NULL);
        if (*r->interrupted)
            return cancel(r, err);
        if (ask_job(r, err))
            return -1;
        show_wait(r);
        ms = ms * 2 < POLL_MAX_MS ? ms * 2 : POLL_MAX_MS;
    }
    end_progress(r);
    return 0;
}

// ---- results --------------------------------------------------------------------------------------

struct fetched {
    struct st_client *c;
    int fd;
};

static int take_file(void *ctx, const void *row, struct st_err *err)
{
    struct fetched *f = ctx;
    f->fd = st_client_file(f->c);
    return f->fd >= 0 ? 0 : st_err_set(err, ST_E_FAILED, "the service passed no file");
}

static int open_result(struct remote *r, const char *name, int *ret, struct st_err *err)
{
    struct st_req_sbom q = {st_sv_of(r->job.id), st_sv_of(name)};
    struct fetched f = {r->c, -1};
    if (!r->c)
        return st_err_set(err, ST_E_RETRY, "the service does not answer");
    if (st_client_call(r->c, "scans.sbom", &q, take_file, &f, err)) {
        if (f.fd >= 0)
            close(f.fd);
        return -1;
    }
    *ret = f.fd;
    return 0;
}

static int copy(int from, struct st_out *to, struct st_err *err)
{
    char buf[32 * 1024];
    for (;;) {
        ssize_t n = st_fd_read(from, buf, sizeof buf);
        if (n < 0)
            return st_err_sys(err, "the result of the service");
        if (n == 0)
            return 0;
        st_out_write(to, st_sv_mem(buf, (size_t)n));
    }
}

static int print(struct remote *r, const char *name, struct st_out *to, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = -1;
    return open_result(r, name, &fd, err) ? -1 : copy(fd, to, err);
}

static int print_to(struct remote *r, const char *name, int fd, struct st_err *err)
{
    struct st_out o;
    st_out_init_fd(&o, fd);
    int rc = print(r, name, &o, err);
    return st_out_finish(&o, rc ? NULL : err) || rc ? -1 : 0;
}

static int write_outputs(struct remote *r, struct st_err *err)
{
    const struct st_scan_ask *ask = r->ask;
    for (size_t i = 0; i < ask->n_outputs; i++) {
        const struct st_engine_output *o = &ask->outputs[i];
        int rc = o->path ? print_to(r, o->format, r->files[i].fd, err) : print(r, o->format, ask->out, err);
        if (rc == 0 && o->path)
            rc = st_sbom_file_keep(&r->files[i], o->path, err);
        if (rc)
            return -1;
    }
    return 0;
}

static int write_profile(struct remote *r, struct st_err *err)
{
    const char *path = r->ask->profile_output;
    ST_AUTO_CLOSE int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (path && fd < 0)
        return st_err_sys(err, "cannot write %s", path);
    return print_to(r, path ? ST_RESULT_PROFILE_JSON : ST_RESULT_PROFILE, path ? fd : 2, err);
}

// Only words of st_err: the code decides the exit code, which a failed scan has from the error it ended with.
static enum st_err_code code_of(const struct job *j)
{
    static const enum st_err_code codes[] = {ST_E_INPUT, ST_E_AUTH, ST_E_NOTFOUND, ST_E_OFFLINE, ST_E_RETRY};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (st_err_exit_code(codes[i]) == j->exit_code)
            return codes[i];
    return ST_E_FAILED;
}

static int verdict(struct remote *r, struct st_err *err)
{
    const struct job *j = &r->job;
    char peak[ST_QUANTITY_TEXT];
    if (j->state == ST_JOB_COMPLETED)
        return 0;
    if (j->state == ST_JOB_CANCELLED)
        return st_err_set(err, ST_E_CANCELLED, "job %.12s was cancelled", j->id);
    st_quantity_human(j->peak, peak);
    if (r->ask->profile && !j->result[0])
        st_cli_note("profile incomplete: worker %s, peak %s; stella scanner jobs show %.12s has its last samples",
                    j->message[0] ? j->message : j->reason, peak, j->id);
    if (strstr(" oom memory_stall killed crash timeout ", j->reason)) // what a scan here would not have said
        say(r, "job %.12s failed: %s (stella scanner jobs show %.12s)", j->id, j->reason, j->id);
    return st_err_set(err, code_of(j), "%s", j->message);
}

static int finish(struct remote *r, struct st_err *err)
{
    if (r->job.result[0]) {
        if (write_outputs(r, err) || (r->ask->profile && write_profile(r, err)))
            return -1;
        if ((!r->ask->quiet || r->ask->options.strict) && print_to(r, ST_RESULT_UNKNOWNS, 2, err))
            return -1;
    }
    return verdict(r, err);
}

// ---- the whole ------------------------------------------------------------------------------------

// A half-read standard input is of use to nobody else.
static bool half_read(int fd)
{
    struct stat st;
    return fd == STDIN_FILENO && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) > 0;
}

static int open_all(struct remote *r, const struct st_engine_observer *o, struct st_err *err)
{
    const struct st_scan_ask *ask = r->ask;
    struct st_engine_request q = {.image = ask->image,
                                  .options = &ask->options,
                                  .access = st_remote_access(&ask->remote),
                                  .file = -1,
                                  .deadline_ms = st_scan_options_deadline(&ask->options),
                                  .interrupted = r->interrupted,
                                  .observer = o};
    if (st_engine_file_open(&q, &r->file, err))
        return -1;
    for (size_t i = 0; i < ask->n_outputs; i++)
        if (ask->outputs[i].path && st_sbom_file_open(&r->files[i], ask->outputs[i].path, err))
            return -1;
    return options_of(r, err);
}

// What an archive of a local daemon broke off for is known here, not by the worker.
static int blame_daemon(struct remote *r, int rc, struct st_err *err)
{
    struct st_err why = {0};
    if ((rc || r->job.state == ST_JOB_FAILED) && r->file && st_engine_file_failed(r->file, &why) && err)
        *err = why;
    return rc;
}

static int run(struct remote *r, struct st_err *err)
{
    int found = r->ask->retry ? retry(r, err) : 0;
    if (found < 0 || (found == 0 && submit(r, err)))
        return -1;
    if (!ended(&r->job))
        say(r,
            r->mine ? "job %.12s is with the service (--local scans here)"
                    : "job %.12s of the service does this already",
            r->job.id);
    if (wait_for(r, err))
        return -1;
    return finish(r, err);
}

int st_scan_remote(const struct st_scan_ask *ask, bool *ret_done, struct st_err *err)
{
    struct remote r = {.ask = ask, .interrupted = st_cli_catch_signals()};
    struct st_scan_show show = {.quiet = ask->quiet};
    int found = ask->local ? 0 : st_client_find(&r.c, err);
    *ret_done = found != 0;
    if (found <= 0)
        return found;
    for (size_t i = 0; i < ST_ENGINE_OUTPUTS_MAX; i++)
        r.files[i] = ST_SBOM_FILE_NONE;
    st_mem_init(&r.mem, 1 << 20, -1);
    st_arena_init(&r.arena, &r.mem);
    st_scan_show_begin(&show);
    int rc = may_travel(ask, err);
    if (rc == 0 && ask->retry)
        rc = find_retry(&r, err);
    if (rc == 0)
        rc = open_all(&r, &show.engine, err);
    *ret_done = !(rc == 0 && half_read(st_engine_file_fd(r.file)));
    if (rc == 0 && *ret_done)
        rc = blame_daemon(&r, run(&r, err), err);
    for (size_t i = 0; i < ST_ENGINE_OUTPUTS_MAX; i++)
        st_sbom_file_drop(&r.files[i]);
    st_engine_file_close(r.file);
    st_client_close(r.c);
    st_arena_release(&r.arena);
    st_mem_release(&r.mem);
    return rc;
}
