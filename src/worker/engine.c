// Opens the source, runs the scan, writes the outputs.
#include "worker/engine.h"

#include "base/ckd.h"
#include "fetch/pull.h"
#include "service/uploads.h"
#include "worker/base_hint.h"
#include "worker/here.h"
#include "worker/sbom_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct source {
    const struct st_engine_request *q;
    struct st_mem mem;
    struct st_arena arena;
    struct st_reference ref;
    struct st_opened opened;
    struct st_here here;       // a process behind an image of this machine
    struct st_pull *pull;      // of a registry; NULL: nothing fetches
    char tried[ST_HERE_TRIED]; // where else it was looked for
    struct st_scan_request request;
};

// ---- the source -----------------------------------------------------------------------------------------------------

static void note(const struct source *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(const struct source *s, const char *fmt, ...)
{
    char text[ST_ERR_TEXT_MAX + 200];
    const struct st_engine_observer *o = s->q->observer;
    if (!o || !o->note)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->note(o->ctx, text);
}

static bool writable_dir(const char *dir)
{
    struct stat st;
    return dir && *dir && stat(dir, &st) == 0 && S_ISDIR(st.st_mode) && access(dir, W_OK | X_OK) == 0;
}

// /tmp is often memory: the spill file would count against the very budget that it is to relieve.
static const char *spill_dir(const char *own)
{
    const char *const places[] = {getenv("TMPDIR"), own, "/var/tmp", "/tmp"};
    for (size_t i = 0; i < ST_LEN(places); i++)
        if (writable_dir(places[i]))
            return places[i];
    return NULL;
}

static void source_close(struct source *s)
{
    st_opened_close(&s->opened);
    st_here_close(&s->here);
    st_pull_close(s->pull);
    st_arena_release(&s->arena);
    st_mem_release(&s->mem);
}

static struct st_pull_options pull_options(const struct source *s)
{
    const struct st_engine_access *a = &s->q->access;
    return (struct st_pull_options){.creds = a->creds,
                                    .insecure = a->insecure,
                                    .n_insecure = a->n_insecure,
                                    .ca_file = a->ca_file,
                                    .cert_file = a->client_cert,
                                    .key_file = a->client_key,
                                    .bytes_per_second = s->q->options->bandwidth,
                                    .verbose = a->verbose,
                                    .foreign_layers = s->q->options->foreign_layers,
                                    .public_only = a->service,
                                    .private_hosts = a->private_,
                                    .deadline_ms = s->q->deadline_ms,
                                    .interrupted = s->q->interrupted};
}

static int registry_open(struct source *s, struct st_err *err)
{
    struct st_pull_options p = pull_options(s);
    if (st_source_open(&s->ref, s->q->options->offline, s->q->deadline_ms, &s->opened, err))
        return -1;
    int rc = st_pull_open(&s->ref, &p, &s->pull, err);
    if (p.creds) // it lies in argv, where every process of the machine can read it: no longer than need be
        explicit_bzero((char *)(uintptr_t)p.creds, strlen(p.creds));
    if (rc)
        return -1;
    s->opened.remote = st_pull_remote(s->pull);
    return 0;
}

// What is on this machine, by its scheme or as --source says. 1: open; 0: a registry's; -1.
static int local_reference(struct source *s, struct st_err *err)
{
    bool pinned = s->ref.name.ptr != s->ref.text.ptr; // by its scheme
    struct st_pull_options p = pull_options(s);
    s->here.threads = s->q->threads;
    enum st_source_choice from = pinned ? st_here_of(s->ref.source->name) : (enum st_source_choice)s->q->access.source;
    int rc = 0;
    if (from == ST_FROM_ANY && !pinned && !s->q->access.creds)
        rc = st_here_any(&s->ref, &p, &s->here, &from, s->tried, err);
    else if (from != ST_FROM_ANY && from != ST_FROM_REGISTRY)
        return st_here_open(from, &s->ref, &p, &s->here, err) ? -1 : (s->opened = s->here.opened, 1);
    if (rc <= 0)
        return rc;
    s->opened = s->here.opened;
    note(s, "%s is read from %s (--source registry asks the registry)", s->q->image, st_here_name(from));
    return 1;
}

// Does the file exist? A job's is the one that its client passed.
static bool passed_file(void *ctx, struct st_sv path)
{
    return st_sv_eq(path, *(const struct st_sv *)ctx);
}

static bool uploaded_file(void *ctx, struct st_sv path)
{
    struct st_sv name;
    return st_uploads_name(*(const struct st_sv *)ctx, path, &name);
}

// What a document calls the image: as it was written, but of an upload only the file's name. Where the service keeps it
// is nobody's business, and would make each upload another document.
static const char *shown_name(const struct source *s)
{
    struct st_sv own = s->q->access.uploads, text = st_sv_of(s->q->image);
    bool upload = s->q->file < 0 && s->q->access.service && uploaded_file(&own, text);
    return upload ? strrchr(s->q->image, '/') + 1 : s->q->image;
}

// What came along is a directory of blobs, and the name that it has for its client is the image's digest in there.
static bool is_content(const struct source *s)
{
    return s->ref.source->takes == ST_TAKES_REGISTRY && st_digest_check(s->q->options->path, NULL) == 0;
}

static int parse(struct source *s, struct st_err *err)
{
    struct st_sv path = s->q->options->path, text = st_sv_of(s->q->image), own = s->q->access.uploads;
    s->opened = (struct st_opened){.fd = -1, .dirfd = -1};
    st_mem_init(&s->mem, 1 << 20, -1);
    st_arena_init(&s->arena, &s->mem);
    if (s->q->file < 0 && s->q->access.service) {
        if (st_reference_parse(text, uploaded_file, &own, &s->arena, &s->ref, err))
            return -1;
        bool good = s->ref.source->network ||
                    (s->ref.source->takes == ST_TAKES_PATH && st_sv_eq(s->ref.path, text) && uploaded_file(&own, text));
        return good ? 0
                    : st_err_set(err, ST_E_INPUT,
                                 "'%.200s' is on somebody's machine: a job takes an image from a "
                                 "registry, or the file that `stella scan image` passes",
                                 s->q->image);
    }
    if (s->q->file < 0)
        return st_reference_parse(text, st_reference_exists, NULL, &s->arena, &s->ref, err);
    if (st_reference_parse(text, passed_file, &path, &s->arena, &s->ref, err))
        return -1;
    if (s->ref.source->takes == ST_TAKES_REGISTRY && !s->ref.source->daemon && path.len && !is_content(s))
        return st_err_set(err, ST_E_INPUT, "'%.200s' is no file, and a file came along", s->q->image);
    return 0;
}

static int open_file(struct source *s, struct st_err *err)
{
    if (is_content(s)) {
        ST_AUTO_CLOSE int dir = fcntl(s->q->file, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (dir < 0)
            return st_err_sys(err, "the directory that was passed");
        if (st_local_content(dir, s->q->options->path, &s->opened, err))
            return -1;
        st_take_fd(&dir);
        return 0;
    }
    return st_source_open_fd(&s->ref, s->q->file, &s->opened, err);
}

static int source_parse(struct source *s, const struct st_engine_request *q, struct st_err *err)
{
    const char *image = q->image;
    s->q = q;
    if (parse(s, err))
        return -1;
    // A bare name could have been a registry's; one that starts with '/' or '.' could not.
    if (s->ref.by_rule && q->file < 0)
        note(s,
             image[0] == '/' || image[0] == '.' ? "%s is read as a path"
                                                : "%s is read as a path (registry:%s would be the reference)",
             image, image);
    return 0;
}

static bool is_remote(const struct source *s)
{
    return s->ref.source->network || s->ref.source->daemon || s->ref.source->store;
}

static int source_open(struct source *s, const struct st_engine_request *q, struct st_err *err)
{
    if (source_parse(s, q, err))
        return -1;
    int rc = 0;
    if (q->file >= 0)
        rc = open_file(s, err);
    else if (!is_remote(s))
        rc = st_source_open(&s->ref, q->options->offline, q->deadline_ms, &s->opened, err);
    else if ((rc = local_reference(s, err)) == 0)
        rc = registry_open(s, err);
    if (rc < 0)
        return -1;
    const struct st_engine_observer *o = q->observer;
    s->request = (struct st_scan_request){
        .name = shown_name(s),
        .opened = &s->opened,
        .pin = s->ref.source->pin,
        .tag = is_remote(s) ? ST_SV_NULL : s->ref.tag, // of a layout or archive
        .memory = q->memory,
        .threads = q->threads,
        .verify = st_scan_options_verify(q->options),
        .keep_going = q->options->keep_going,
        .foreign = q->options->foreign_layers,
        .deadline_ms = q->deadline_ms,
        .cache_dir = q->cache_dir,
        .cache_bytes = q->cache_bytes,
        .cache_age_s = q->cache_age_s,
        .state_dir = q->home,
        .checkpoints = q->checkpoints,
        .resume = q->resume,
        .stream = q->stream,
        .checkpoint_files = q->checkpoint_files,
        .spill_dir = spill_dir(q->spill),
        .observer = o ? o->scan : NULL,
        .interrupted = q->interrupted,
    };
    return q->options->platform.len ? st_platform_parse(q->options->platform, &s->request.platform, err) : 0;
}

// ---- what a client passes to a service ------------------------------------------------------------------------------

struct st_engine_file {
    struct source source;
};

int st_engine_file_open(const struct st_engine_request *q, struct st_engine_file **ret, struct st_err *err)
{
    struct st_engine_file *f = calloc(1, sizeof *f);
    if (!f)
        return st_err_nomem(err);
    struct source *s = &f->source;
    s->here.stream = true;
    int rc = source_parse(s, q, err);
    if (rc == 0 && !is_remote(s))
        rc = st_source_open(&s->ref, q->options->offline, q->deadline_ms, &s->opened, err);
    else if (rc == 0)
        rc = local_reference(s, err);
    if (rc == 0 && s->opened.fd < 0 && s->opened.dirfd < 0) // refused here where the network is forbidden
        rc = st_source_open(&s->ref, q->options->offline, q->deadline_ms, &s->opened, err);
    if (rc < 0) {
        st_engine_file_close(f);
        return -1;
    }
    *ret = f;
    return 0;
}

void st_engine_file_close(struct st_engine_file *f)
{
    if (f)
        source_close(&f->source);
    free(f);
}

int st_engine_file_fd(const struct st_engine_file *f)
{
    return f->source.opened.fd >= 0 ? f->source.opened.fd : f->source.opened.dirfd;
}

struct st_sv st_engine_file_path(const struct st_engine_file *f)
{
    return f->source.opened.digest[0] ? st_sv_of(f->source.opened.digest)
           : is_remote(&f->source)    ? ST_SV_NULL
                                      : f->source.ref.path;
}

bool st_engine_file_failed(struct st_engine_file *f, struct st_err *ret_why)
{
    struct st_opened *o = &f->source.opened;
    return o->remote && o->ticket && o->remote->failed(o->remote, o->ticket, 0, ret_why);
}

// ---- outputs --------------------------------------------------------------------------------------------------------

static int open_outputs(const struct st_engine_request *q, struct st_sbom_file *files, struct st_err *err)
{
    for (size_t i = 0; i < q->n_outputs; i++)
        if (q->outputs[i].path && st_sbom_file_open(&files[i], q->outputs[i].path, err))
            return -1;
    return 0;
}

static int write_outputs(const struct st_engine_request *q, struct st_sbom_file *files, const struct st_inventory *inv,
                         struct st_mem *mem, struct st_err *err)
{
    struct st_sbom_options opt;
    if (st_sbom_file_options(mem, &opt, err))
        return -1;
    for (size_t i = 0; i < q->n_outputs; i++) {
        const struct st_engine_output *o = &q->outputs[i];
        opt.width = o->width;
        if (o->path ? st_sbom_file_write(&files[i], o->path, o->format, inv, &opt, q->sync, err)
                    : st_sbom_file_print(o->format, inv, &opt, q->out, err))
            return -1;
    }
    return 0;
}

#define UNKNOWNS_SHOWN 20

int st_engine_say_unknowns(const struct st_inventory *inv, struct st_out *o, struct st_err *err)
{
    for (uint32_t i = 0; i < inv->n_unknowns && i < UNKNOWNS_SHOWN; i++) {
        struct st_unknown u;
        if (inv->unknown(inv->ctx, i, &u, err))
            return -1;
        st_out_puts(o, "stella: unknown: ");
        st_out_safe(o, u.path);
        if (u.inner.len) {
            st_out_putc(o, ':');
            st_out_safe(o, u.inner);
        }
        st_out_fmt(o, ": %s: ", st_unknown_word(u.reason));
        st_out_safe(o, u.text);
        st_out_putc(o, '\n');
    }
    if (inv->n_unknowns > UNKNOWNS_SHOWN)
        st_out_fmt(o, "stella: ... and %u more (every format but purls lists them)\n",
                   inv->n_unknowns - UNKNOWNS_SHOWN);
    if (inv->n_unknowns)
        st_out_fmt(o, "complete with %u unknown%s\n", inv->n_unknowns, inv->n_unknowns == 1 ? "" : "s");
    return 0;
}

static int verdict(const struct st_engine_request *q, struct st_scan *scan, struct st_err *err)
{
    const struct st_inventory *inv = st_scan_inventory(scan);
    if (st_scan_failed(scan)) {
        const struct st_scan_layer *l = st_scan_layers(scan);
        for (size_t i = 0; i < inv->subject->n_layers; i++)
            if (l[i].how == ST_LAYER_FAILED)
                return st_err_set(err, l[i].err.code, "incomplete: %zu of %zu layers failed, the first: %s",
                                  st_scan_failed(scan), inv->subject->n_layers, l[i].err.text);
    }
    if (q->options->strict && inv->n_unknowns)
        return st_err_set(err, ST_E_FAILED, "%u unknown%s and --strict", inv->n_unknowns,
                          inv->n_unknowns == 1 ? "" : "s");
    return 0;
}

// ---- a scan ---------------------------------------------------------------------------------------------------------

// What a tag meant just now: the name under which the very same image can be had again.
static void say_digest(const struct source *s, const struct st_scan *scan)
{
    struct st_sv digest = st_scan_image_of(scan)->subject.manifest_digest;
    if (s->pull && s->ref.tag.len && !s->ref.digest.len && digest.len)
        note(s, ST_SV_FMT "/" ST_SV_FMT ":" ST_SV_FMT " is " ST_SV_FMT, ST_SV_ARG(s->ref.domain),
             ST_SV_ARG(s->ref.repository), ST_SV_ARG(s->ref.tag), ST_SV_ARG(digest));
}

// A reference that says nothing of where it is, and is nowhere.
static int not_found(const struct source *s, struct st_err *err)
{
    char text[ST_ERR_TEXT_MAX];
    if (!err || !s->tried[0] || (err->code != ST_E_NOTFOUND && err->code != ST_E_AUTH))
        return -1;
    snprintf(text, sizeof text, "%.220s; tried before: %s", err->text, s->tried);
    memcpy(err->text, text, sizeof text);
    return -1;
}

// What was fetched of an image, when some of it was left where it is.
static void say_fetched(const struct source *s, const struct st_scan *scan)
{
    struct st_fetched f = st_scan_fetched(scan);
    if (f.by_table)
        note(s, "fetched %.1f of %.1f MB; of %zu of its %zu layers only what is wanted", (double)f.bytes / 1e6,
             (double)f.of / 1e6, f.by_table, st_scan_image_of(scan)->subject.n_layers);
}

static void take_numbers(const struct st_scan *scan, struct st_engine_result *ret)
{
    const struct st_inventory *inv = st_scan_inventory(scan);
    const struct st_scan_layer *l = st_scan_layers(scan);
    ret->profile = *st_scan_profile(scan);
    ret->unknowns = inv->n_unknowns;
    ret->packages = inv->n_packages;
    ret->layers = inv->subject->n_layers;
    for (size_t i = 0; i < inv->subject->n_layers; i++) {
        ret->layers_cached += l[i].how == ST_LAYER_CACHED;
        ret->layers_resumed += l[i].how == ST_LAYER_RESUMED;
        ret->entries_resumed += l[i].resumed;
    }
    ret->bytes_read = st_scan_fetched(scan).bytes;
}

static int after_scan(struct source *s, struct st_sbom_file *files, struct st_scan *scan, struct st_err *err)
{
    const struct st_engine_observer *o = s->q->observer;
    say_digest(s, scan);
    say_fetched(s, scan);
    if (o && o->writing)
        o->writing(o->ctx);
    int rc = write_outputs(s->q, files, st_scan_inventory(scan), &s->mem, err);
    if (rc == 0 && o && o->written)
        rc = o->written(o->ctx, scan, err);
    if (rc == 0)
        rc = verdict(s->q, scan, err);
    if (rc == 0)
        st_scan_forget(scan);
    if (rc == 0 && !s->q->cache_dir && s->q->home && st_base_hint(s->q->home, &st_scan_image_of(scan)->subject))
        note(s,
             "another image has the same base layer: with the layer cache it is read once (stella scanner config set "
             "cache.layer_dedup true)");
    return rc;
}

int st_engine_scan(const struct st_engine_request *q, struct st_engine_result *ret, struct st_err *err)
{
    struct source s = {0};
    struct st_sbom_file files[ST_ENGINE_OUTPUTS_MAX];
    struct st_scan *scan = NULL;
    for (size_t i = 0; i < ST_ENGINE_OUTPUTS_MAX; i++)
        files[i] = ST_SBOM_FILE_NONE;
    int rc = source_open(&s, q, err);
    if (rc == 0)
        rc = open_outputs(q, files, err);
    if (rc == 0)
        rc = st_scan_run(&s.request, &scan, err) ? not_found(&s, err) : 0;
    if (rc == 0) {
        take_numbers(scan, ret);
        rc = after_scan(&s, files, scan, err);
    }
    for (size_t i = 0; i < ST_ENGINE_OUTPUTS_MAX; i++)
        st_sbom_file_drop(&files[i]);
    st_scan_free(scan);
    source_close(&s);
    return rc;
}

// ---- an image without its packages ----------------------------------------------------------------------------------

static int inspect_local(struct source *s, st_engine_inspect_fn *print, void *ctx, struct st_err *err)
{
    struct st_scan *scan = NULL;
    if (st_scan_run(&s->request, &scan, err))
        return -1;
    size_t n = st_scan_image_of(scan)->subject.n_layers;
    struct st_layer_counts *counts = st_arena_array(&s->arena, n + 1, sizeof *counts, err);
    const struct st_scan_layer *l = st_scan_layers(scan);
    for (size_t i = 0; counts && i < n; i++)
        counts[i] = (struct st_layer_counts){l[i].how != ST_LAYER_FOREIGN, l[i].stats.bytes, l[i].stats.files};
    struct st_inspect in = {.image = st_scan_image_of(scan), .counts = counts};
    int rc = counts ? print(ctx, &in, &s->arena, err) : -1;
    st_scan_free(scan);
    return rc;
}

int st_engine_inspect(const struct st_engine_request *q, st_engine_inspect_fn *print, void *ctx, struct st_err *err)
{
    struct source s = {0};
    int rc = source_open(&s, q, err);
    if (rc == 0 && !s.pull) {
        rc = inspect_local(&s, print, ctx, err);
    } else if (rc == 0) {
        struct st_image img;
        rc = st_scan_resolve(&s.request, &s.arena, &img, err) ? not_found(&s, err) : 0;
        if (rc == 0)
            rc = print(ctx, &(struct st_inspect){.image = &img}, &s.arena, err);
    }
    source_close(&s);
    return rc;
}
