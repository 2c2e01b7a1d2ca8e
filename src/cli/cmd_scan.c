// stella scan image: checks what was asked for, keeps the job record, calls the engine.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/quantity.h"
#include "cli/cli.h"
#include "cli/remote_opts.h"
#include "cli/scan_cmd.h"
#include "service/keys.h"
#include "store/home.h"
#include "store/store.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum format { FORMAT_TABLE, FORMAT_CYCLONEDX, FORMAT_SPDX, FORMAT_SYFT, FORMAT_PURLS };

static const struct st_choice formats[] = {
    {"table", FORMAT_TABLE},
    {"cyclonedx-json", FORMAT_CYCLONEDX},
    {"spdx-json", FORMAT_SPDX},
    {"syft-json", FORMAT_SYFT},
    {"purls", FORMAT_PURLS},
    {"cyclonedx", FORMAT_CYCLONEDX, true},
    {"cdx", FORMAT_CYCLONEDX, true},
    {"spdx", FORMAT_SPDX, true},
    {"json", FORMAT_SYFT, true},
    {"syft", FORMAT_SYFT, true},
    {NULL},
};

static const struct st_choice verifies[] = {
    {"none", ST_VERIFY_NONE}, {"blob", ST_VERIFY_BLOB}, {"full", ST_VERIFY_FULL}, {NULL}};

struct raw {
    const char *image, *output, *platform, *cache, *profile_output;
    int format, verify, progress;
    struct st_opt_list also;
    struct st_remote_options remote;
    uint64_t memory, threads, timeout;
    bool strict, keep_going, profile, retry, force, quiet, offline, local, sandbox_report;
};

static const struct st_opt options[] = {
    {"image", 0, ST_OPT_STRING_AT(struct raw, image), .arg = "REF|PATH",
     .help = "the image, instead of as an argument"},
    {"format", 0, ST_OPT_ENUM_AT(struct raw, format), .arg = "FORMAT", .help = "what to print", .def = "table",
     .choices = formats},
    {"output", 0, ST_OPT_STRING_AT(struct raw, output), .arg = "FILE",
     .help = "write to FILE instead of standard output; it appears under its name when it is complete"},
    {NULL, 'o', ST_OPT_LIST_AT(struct raw, also), .arg = "FORMAT=FILE",
     .help = "write FORMAT to FILE; may be given several times; standard output is then empty"},
    {"platform", 0, ST_OPT_STRING_AT(struct raw, platform), .arg = "OS/ARCH",
     .help = "which image of an index, as linux/arm64 or linux/arm/v7", .def_text = "this machine's"},
    {"memory", 0, ST_OPT_BYTES_AT(struct raw, memory), .arg = "BYTES",
     .help = "memory budget of the whole scan, from 16Mi; the result does not depend on it", .def = ST_MEMORY_DEFAULT,
     .min = ST_MEMORY_MIN, .env = "STELLA_MEMORY"},
    {"threads", 0, ST_OPT_COUNT_AT(struct raw, threads), .arg = "N", .help = "layers analyzed at once",
     .def_text = "the processors there are", .min = 1, .max = ST_THREADS_MAX, .env = "STELLA_THREADS"},
    {"cache", 0, ST_OPT_STRING_AT(struct raw, cache), .arg = "DIR|on|off",
     .help = "keep what was found in a layer and use it again for other images", .def = "off", .env = "STELLA_CACHE"},
    {"verify", 0, ST_OPT_ENUM_AT(struct raw, verify), .arg = "WHAT",
     .help = "digests to check; blob is what is stored, full adds what it unpacks to", .def = "blob",
     .choices = verifies},
    {"strict", 0, ST_OPT_FLAG_AT(struct raw, strict), .help = "exit 1 when a file could not be read (an unknown)"},
    {"keep-going", 0, ST_OPT_FLAG_AT(struct raw, keep_going),
     .help = "when a layer is damaged, write what the others say, marked incomplete; exits 1 still"},
    {"profile-memory", 0, ST_OPT_FLAG_AT(struct raw, profile),
     .help = "say where memory went: peak, phases, layers, re-reads, spills"},
    {"profile-output", 0, ST_OPT_STRING_AT(struct raw, profile_output), .arg = "FILE",
     .help = "that report as JSON in FILE"},
    {"retry", 0, ST_OPT_FLAG_AT(struct raw, retry),
     .help = "do the newest failed scan of this image again, from its finished layers on"},
    {"force", 0, ST_OPT_FLAG_AT(struct raw, force),
     .help = "with --retry: also when the last scan completed or the attempts are used up"},
    {"timeout", 0, ST_OPT_DURATION_AT(struct raw, timeout), .arg = "TIME",
     .help = "give up after TIME, as 30s or 1h30m", .def_text = "never"},
    {"progress", 0, ST_OPT_ENUM_AT(struct raw, progress), .arg = "HOW", .help = "progress on standard error",
     .def = "auto", .choices = st_progress_choices, .env = "STELLA_PROGRESS"},
    {"quiet", 'q', ST_OPT_FLAG_AT(struct raw, quiet), .help = "no progress, no notes; errors still"},
    {"offline", 0, ST_OPT_FLAG_AT(struct raw, offline), .help = "never use the network; exit 5 where it is needed",
     .env = "STELLA_OFFLINE"},
    ST_REMOTE_OPTS(struct raw, remote),
    {"local", 0, ST_OPT_FLAG_AT(struct raw, local), .help = "scan in this process even if a service is running"},
    {"sandbox-report", 0, ST_OPT_FLAG_AT(struct raw, sandbox_report),
     .help = "say how the analyzer is locked up here; needs no image"},
};

const struct st_choice st_progress_choices[] = {
    {"auto", ST_PROGRESS_AUTO}, {"plain", ST_PROGRESS_PLAIN}, {"off", ST_PROGRESS_OFF}, {NULL}};

const struct st_choice st_source_choices[] = {{"any", ST_FROM_ANY},
                                              {"docker", ST_FROM_DOCKER},
                                              {"podman", ST_FROM_PODMAN},
                                              {"registry", ST_FROM_REGISTRY},
                                              {NULL}};

const struct st_term st_image_terms[] = {
    {"alpine:3.20, HOST:5000/web@sha256:...", "an image in a registry; registry:REF where a file has that name"},
    {"app.tar, app.tar.gz", "an archive of docker save, podman save or an OCI archive, plain, gzip or zstd"},
    {"./layout", "an OCI layout directory"},
    {"-", "an archive on standard input"},
    {"docker:REF, podman:REF", "an image of the local Docker or Podman"},
    {"docker-archive:FILE[:TAG]", "that kind of archive, whatever it looks like; also oci-archive:FILE[:TAG]"},
    {"oci:DIR[:TAG]", "one image of an OCI layout directory"},
    {"rootfs:DIR", "a root file system as it lies there"},
    {NULL, NULL},
};

// ---- what was asked for -------------------------------------------------------------------------

int st_image_argument(const struct st_parsed *parsed, const char *option, const char *verb, const char **ret,
                      struct st_err *err)
{
    const char *positional = parsed->n_args ? parsed->args[0] : NULL;
    if (positional && !positional[0])
        return st_err_set(err, ST_E_USAGE, "empty image name");
    if (option && positional && strcmp(option, positional) != 0)
        return st_err_set(err, ST_E_USAGE, "--image %.100s and the argument %.100s are different images", option,
                          positional);
    if (!option && !positional)
        return st_err_set(err, ST_E_USAGE, "no image given (example: stella %s ./app.tar)", verb);
    *ret = positional ? positional : option;
    return 0;
}

int st_platform_check(const char *platform, struct st_err *err)
{
    if (!platform)
        return 0;
    struct st_sv rest = st_sv_of(platform), part;
    size_t n = 0;
    bool good = !st_sv_ends(rest, ST_SV("/"));
    for (; st_sv_split(&rest, '/', &part); n++)
        good = good && part.len && part.len <= 32;
    if (!good || n < 2 || n > 3)
        return st_err_set(err, ST_E_USAGE, "invalid platform '%.100s' (examples: linux/amd64, linux/arm/v7)", platform);
    return 0;
}

static int add_output(struct st_scan_options *o, const char *format, const char *path, struct st_err *err)
{
    if (path && !strcmp(path, "-"))
        path = NULL;
    for (size_t i = 0; i < o->n_outputs; i++) {
        const char *other = o->outputs[i].path;
        if (!path && !other)
            return st_err_set(err, ST_E_USAGE, "two formats go to standard output: give one of them a file");
        if (path && other && !strcmp(path, other))
            return st_err_set(err, ST_E_USAGE, "two outputs go to %.200s", path);
    }
    o->outputs[o->n_outputs++] = (struct st_scan_output){format, path};
    return 0;
}

// One format only, from --format, `--output json` and `-o json`: two that differ contradict each other.
static int one_format(int *format, bool *given, int wanted, struct st_err *err)
{
    if (*given && *format != wanted)
        return st_err_set(err, ST_E_USAGE, "two formats for one output: %s and %s (-o FORMAT=FILE writes several)",
                          st_choice_word(formats, *format), st_choice_word(formats, wanted));
    *format = wanted;
    *given = true;
    return 0;
}

static int outputs(const struct raw *r, const struct st_parsed *parsed, struct st_scan_options *o, struct st_err *err)
{
    int format = r->format;
    bool given = st_opt_source(parsed, "format") == ST_FROM_COMMAND_LINE;
    const char *file = r->output;
    // A value that is just a format's word means the format (operator-surface 6.2).
    const struct st_choice *word = file ? st_choice_find(formats, st_sv_of(file)) : NULL;
    if (word && one_format(&format, &given, word->value, err))
        return -1;
    if (word)
        file = NULL;
    for (size_t i = 0; i < r->also.n; i++) {
        struct st_sv name, path;
        bool pair = st_sv_cut(st_sv_of(r->also.at[i]), '=', &name, &path);
        const struct st_choice *f = st_choice_find(formats, name);
        char words[200];
        st_choice_words(formats, words, sizeof words);
        if (!f)
            return st_err_set(err, ST_E_USAGE, "unknown format '" ST_SV_FMT "' for -o FORMAT=FILE (one of %s)",
                              ST_SV_ARG(st_sv_sub(name, 0, 100)), words);
        if (pair && !path.len)
            return st_err_set(err, ST_E_USAGE, "no file in '-o %s'", r->also.at[i]);
        if (pair ? add_output(o, st_choice_word(formats, f->value), path.ptr, err)
                 : one_format(&format, &given, f->value, err))
            return -1;
    }
    if (file || given || o->n_outputs == 0)
        return add_output(o, st_choice_word(formats, format), file, err);
    return 0;
}

static unsigned processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return (unsigned)ST_MIN(ST_MAX(n, 1), ST_THREADS_MAX);
}

static int resolve(const struct raw *r, const struct st_parsed *parsed, struct st_scan_options *o, struct st_err *err)
{
    bool image_given = r->image || parsed->n_args;
    if ((image_given || !r->sandbox_report) && st_image_argument(parsed, r->image, "scan image", &o->image, err))
        return -1;
    if (st_platform_check(r->platform, err) || outputs(r, parsed, o, err))
        return -1;
    if (r->force && !r->retry)
        return st_err_set(err, ST_E_USAGE, "--force goes with --retry");
    if (r->retry && !image_given)
        return st_err_set(err, ST_E_USAGE, "--retry needs the image of the failed scan");
    if (r->retry && !strcmp(o->image, "-"))
        return st_err_set(err, ST_E_USAGE, "--retry cannot read standard input again: give it as a file");
    o->platform = r->platform;
    o->remote = r->remote;
    o->memory = r->memory;
    o->threads = r->threads ? (unsigned)r->threads : processors();
    o->cache = strcmp(r->cache, "off") != 0;
    o->cache_dir = o->cache && strcmp(r->cache, "on") != 0 ? r->cache : NULL;
    o->verify = (enum st_verify)r->verify;
    o->strict = r->strict;
    o->keep_going = r->keep_going;
    o->offline = r->offline;
    o->local = r->local;
    o->quiet = r->quiet;
    o->profile = r->profile || r->profile_output;
    o->profile_output = r->profile_output;
    o->timeout_s = r->timeout;
    o->progress = r->quiet ? ST_PROGRESS_OFF : (enum st_progress_mode)r->progress;
    o->sandbox_report = r->sandbox_report;
    return 0;
}

// ---- the job record -----------------------------------------------------------------------------

#define RETRY_DAYS 30
#define ATTEMPTS_MAX 5

struct record {
    struct st_scan_events events; // first: the engine hands it back
    struct st_store *store;       // NULL: no record is kept
    char home[PATH_MAX];
    struct st_job job;
    char options[512], resumed[ST_JOB_ID + 1];
    const char *image;
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

static void note_subject(struct st_scan_events *e, struct st_sv digest, uint64_t size)
{
    struct record *r = (struct record *)e;
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
static int find_failed(struct record *r, const char *image, const struct raw *raw, struct st_err *err)
{
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

static void options_json(const struct st_scan_options *o, char *buf, size_t cap)
{
    // Plain numbers and words of our own tables only: nothing here needs escaping.
    snprintf(buf, cap,
             "{\"memory\":%llu,\"threads\":%u,\"cache\":%s,\"verify\":\"%s\",\"strict\":%s,\"keepGoing\":%s,"
             "\"timeoutSeconds\":%llu}",
             (unsigned long long)o->memory, o->threads, o->cache ? "true" : "false",
             st_choice_word(verifies, o->verify), o->strict ? "true" : "false", o->keep_going ? "true" : "false",
             (unsigned long long)o->timeout_s);
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

static void begin_record(struct record *r, struct st_scan_options *o)
{
    struct st_err err = {0};
    options_json(o, r->options, sizeof r->options);
    r->job.image = st_sv_of(o->image);
    r->job.options = st_sv_of(r->options);
    r->job.resumed_from = st_sv_of(r->resumed);
    if (r->store && st_store_begin(r->store, &r->job, &err)) {
        st_cli_warn("%s; this scan is not recorded", err.text);
        st_store_close(r->store);
        r->store = NULL;
    }
    if (!r->store)
        return;
    r->image = o->image;
    note(r, ST_LOG_INFO, "scan", "started: %.200s, attempt %u", o->image, r->job.attempt);
    o->home = r->home;
    o->job_id = r->job.id;
    o->resume_from = r->resumed[0] ? r->resumed : NULL;
}

// The search words of the scanner-oom runbook stand in lines of memory deaths, and in no others.
static void note_end(struct record *r, int rc, const struct st_err *e)
{
    char peak[ST_QUANTITY_TEXT];
    st_quantity_human(r->events.peak_bytes, peak);
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
        .peak_bytes = r->events.peak_bytes,
        .resumed_from = st_sv_of(r->resumed),
    };
    memcpy(end.id, r->job.id, sizeof end.id);
    note_end(r, rc, scan_err);
    if (st_store_finish(r->store, &end, ST_TRIES_DEFAULT, NULL, &err))
        st_cli_warn("%s", err.text);
    st_store_close(r->store);
}

static int run_scan(const struct st_call *call, struct st_err *err)
{
    const struct raw *raw = call->options;
    struct st_scan_options o = {.out = call->out};
    struct record r = {.events = {.subject = note_subject}, .job = {.attempt = 1}};
    struct st_err local = {0}; // the record wants the text, also when the caller passes no err
    if (resolve(raw, call->parsed, &o, err))
        return -1;
    o.events = &r.events;
    if (!o.image)
        return st_scan_image(&o, err);
    open_record(&r);
    if (raw->retry && find_failed(&r, o.image, raw, err)) {
        st_store_close(r.store);
        return -1;
    }
    // Neither the command line nor the environment says so: then the configuration does.
    bool dedup = false;
    if (r.store && st_opt_source(call->parsed, "cache") == ST_FROM_DEFAULT &&
        st_key_bool(r.store, "cache.layer_dedup", &dedup, NULL) == 0)
        o.cache = dedup;
    if (r.store && o.cache &&
        (st_key_bytes(r.store, "cache.max_bytes", &o.cache_bytes, NULL) ||
         st_key_count(r.store, "cache.ttl", &o.cache_age_s, NULL)))
        st_cli_warn("cache.max_bytes or cache.ttl cannot be read; the standard limits are kept");
    begin_record(&r, &o);
    int rc = st_scan_image(&o, &local);
    end_record(&r, rc, &local);
    if (rc && err)
        *err = local;
    return rc;
}

const struct st_verb st_verb_scan_image = {
    .words = "scan image",
    .summary = "list the packages in an image (SBOM)",
    .args = "REF|PATH",
    .about =
        "Reads the image once, as a stream, inside the memory budget, and prints the packages in it: of the "
        "distribution, of the languages, and what is inside binaries. One image gives the same bytes each time, at "
        "any budget.\n\n"
        "A file that cannot be read becomes a named unknown and the scan is complete. A damaged layer is a failure "
        "and nothing is written, unless --keep-going.",
    .max_args = 1,
    .terms = st_image_terms,
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct raw),
    .examples =
        {
            {"See what is in an image that docker save wrote", "stella scan image app.tar"},
            {"See what is in an image of a registry", "stella scan image registry.example/team/web:1.2"},
            {"Make a CycloneDX SBOM", "stella scan image app.tar --format cdx --output app.cdx.json"},
            {"Scan what docker has, with half the default memory",
             "docker save app | stella scan image - --memory 32Mi"},
        },
    .run = run_scan,
};
