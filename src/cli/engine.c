// Between the command line and src/scan: opens the source, runs the scan, writes every output aside and renames it.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "cli/profile.h"
#include "cli/scan_cmd.h"
#include "fetch/pull.h"
#include "image/open.h"
#include "sbom/sbom.h"
#include "store/home.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile int interrupted; // the one thing a signal handler may touch

static void on_signal(int sig)
{
    interrupted = sig;
}

static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

// ---- the source -----------------------------------------------------------------------------------------------------

struct source {
    struct st_mem mem;
    struct st_arena arena;
    struct st_reference ref;
    struct st_opened opened;
    struct st_pull *pull; // NULL: not from a registry
    char spill[PATH_MAX], cache[PATH_MAX], home[PATH_MAX];
    struct st_scan_request request;
    struct st_scan_observer observer;
    struct st_progress progress;
    enum st_progress_mode mode;
    bool quiet;
    const struct st_image *image; // NULL until it is known
};

static bool writable_dir(const char *dir)
{
    struct stat st;
    return dir && *dir && stat(dir, &st) == 0 && S_ISDIR(st.st_mode) && access(dir, W_OK | X_OK) == 0;
}

// /tmp is often memory: the spill file would count against the very budget that it is to relieve.
static const char *spill_dir(const char *home)
{
    const char *const places[] = {getenv("TMPDIR"), home, "/var/tmp", "/tmp"};
    for (size_t i = 0; i < ST_LEN(places); i++)
        if (writable_dir(places[i]))
            return places[i];
    return NULL;
}

static void source_close(struct source *s)
{
    st_opened_close(&s->opened);
    st_pull_close(s->pull);
    st_arena_release(&s->arena);
    st_mem_release(&s->mem);
}

static void tell_begin(void *ctx, size_t layers, uint64_t bytes)
{
    struct source *s = ctx;
    st_progress_begin(&s->progress, s->mode, 2, (unsigned)layers, bytes);
}

static void tell_layer(void *ctx, size_t layer, struct st_sv digest, uint64_t size)
{
    st_progress_layer(&((struct source *)ctx)->progress, (unsigned)layer, digest, size);
}

static void tell_bytes(void *ctx, size_t layer, uint64_t done)
{
    st_progress_bytes(&((struct source *)ctx)->progress, (unsigned)layer, done);
}

static void tell_done(void *ctx, size_t layer, bool cached)
{
    (void)cached;
    st_progress_done(&((struct source *)ctx)->progress, (unsigned)layer);
}

static void tell_end(void *ctx)
{
    st_progress_end(&((struct source *)ctx)->progress);
}

static void tell_warn(void *ctx, const char *text)
{
    st_progress_clear(&((struct source *)ctx)->progress);
    st_cli_warn("%s", text);
}

static struct st_pull_options pull_options(const struct source *s, const struct st_remote_options *o)
{
    return (struct st_pull_options){.creds = o->creds,
                                    .insecure = o->insecure.at,
                                    .n_insecure = o->insecure.n,
                                    .ca_file = o->ca_file,
                                    .cert_file = o->client_cert,
                                    .key_file = o->client_key,
                                    .bytes_per_second = o->bandwidth,
                                    .verbose = o->verbose,
                                    .deadline_ms = s->request.deadline_ms,
                                    .interrupted = &interrupted};
}

static int daemon_open(struct source *s, enum st_daemon d, const struct st_remote_options *o, struct st_err *err)
{
    struct st_pull_options p = pull_options(s, o);
    int fd;
    uint64_t ticket;
    if (st_pull_export(d, s->ref.name, &p, &s->pull, &fd, &ticket, err))
        return -1;
    s->opened = (struct st_opened){
        .kind = ST_OPENED_STREAM, .fd = fd, .dirfd = -1, .remote = st_pull_remote(s->pull), .ticket = ticket};
    return 0;
}

static int registry_open(struct source *s, bool offline, const struct st_remote_options *o, struct st_err *err)
{
    struct st_pull_options p = pull_options(s, o);
    if (st_source_open(&s->ref, offline, &s->opened, err))
        return -1;
    int rc = st_pull_open(&s->ref, &p, &s->pull, err);
    if (o->creds) // it lies in argv, where every process of the machine can read it: no longer than need be
        explicit_bzero((char *)(uintptr_t)o->creds, strlen(o->creds));
    if (rc)
        return -1;
    s->opened.remote = st_pull_remote(s->pull);
    return 0;
}

// Local daemons that answer and have the image, in the order of enum st_daemon. 1: one has; 0: none; -1.
static int any_daemon(struct source *s, const struct st_remote_options *o, struct st_err *err)
{
    for (int d = 0; d < ST_DAEMON_MAX; d++) {
        struct st_err why = {0};
        if (daemon_open(s, (enum st_daemon)d, o, &why) == 0) {
            if (!s->quiet)
                st_cli_note("%s is read from %s (--source registry asks the registry)", s->request.name,
                            st_daemon_name((enum st_daemon)d));
            return 1;
        }
        if (why.code == ST_E_CANCELLED || why.code == ST_E_TIMEOUT) {
            if (err)
                *err = why;
            return -1;
        }
    }
    return 0;
}

// A reference; one without a scheme is looked for where --source says.
static int reference_open(struct source *s, bool offline, const struct st_remote_options *o, struct st_err *err)
{
    bool pinned = s->ref.name.ptr != s->ref.text.ptr; // by its scheme
    int from = !pinned                                      ? o->source
               : !s->ref.source->daemon                     ? ST_FROM_REGISTRY
               : strcmp(s->ref.source->name, "docker") == 0 ? ST_FROM_DOCKER
                                                            : ST_FROM_PODMAN;
    if (from == ST_FROM_DOCKER || from == ST_FROM_PODMAN)
        return daemon_open(s, from == ST_FROM_DOCKER ? ST_DAEMON_DOCKER : ST_DAEMON_PODMAN, o, err);
    int found = from == ST_FROM_ANY && !o->creds ? any_daemon(s, o, err) : 0;
    return found ? (found < 0 ? -1 : 0) : registry_open(s, offline, o, err);
}

static int source_open(struct source *s, const char *image, const char *platform, bool offline,
                       const struct st_remote_options *o, struct st_err *err)
{
    s->opened = (struct st_opened){.fd = -1, .dirfd = -1};
    st_mem_init(&s->mem, 1 << 20, -1);
    st_arena_init(&s->arena, &s->mem);
    if (st_reference_parse(st_sv_of(image), st_reference_exists, NULL, &s->arena, &s->ref, err))
        return -1;
    // A bare name could have been a registry's; one that starts with '/' or '.' could not.
    if (s->ref.by_rule && !s->quiet)
        st_cli_note(image[0] == '/' || image[0] == '.' ? "%s is read as a path"
                                                       : "%s is read as a path (registry:%s would be the reference)",
                    image, image);
    bool remote = s->ref.source->network || s->ref.source->daemon;
    s->request.name = image;
    if (remote ? reference_open(s, offline, o, err) : st_source_open(&s->ref, offline, &s->opened, err))
        return -1;
    s->observer = (struct st_scan_observer){s, tell_begin, tell_layer, tell_bytes, tell_done, tell_end, tell_warn};
    struct st_scan_request *q = &s->request;
    q->name = image;
    q->opened = &s->opened;
    q->pin = s->ref.source->pin;
    q->tag = remote ? ST_SV_NULL : s->ref.tag; // of a layout or archive
    q->spill_dir = spill_dir(s->home[0] ? s->home : NULL);
    q->observer = &s->observer;
    q->interrupted = &interrupted;
    if (platform && st_platform_parse(st_sv_of(platform), &q->platform, err))
        return -1;
    return 0;
}

// ---- outputs --------------------------------------------------------------------------------------------------------

static unsigned terminal_width(int fd)
{
    struct winsize w;
    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static int sbom_options(struct st_mem *mem, struct st_sbom_options *ret, struct st_err *err)
{
    *ret = (struct st_sbom_options){.mem = mem, .tool_version = ST_SV(ST_VERSION)};
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    if (!epoch || !*epoch)
        return 0;
    ret->has_date = true;
    if (!st_sv_u64(st_sv_of(epoch), 10, &ret->date) || ret->date > ST_SBOM_DATE_MAX)
        return st_err_set(err, ST_E_USAGE, "invalid SOURCE_DATE_EPOCH '%.40s' (seconds since 1970)", epoch);
    return 0;
}

static int write_one(const char *format, const struct st_inventory *inv, const struct st_sbom_options *opt,
                     struct st_out *out, struct st_err *err)
{
    const struct st_sbom_writer *w = st_sbom_writer_find(st_sv_of(format));
    if (!w)
        return st_err_set(err, ST_E_INTERNAL, "no writer for %s", format);
    return st_sbom_write(w, inv, opt, out, err);
}

#define ASIDE ".stella-partial"

// A file is written under another name beside it and renamed when complete: nobody ever sees half a document. It is
// opened before the scan, so that a wrong name costs no time. What a killed run left is written over by the next.
struct output {
    int fd;
    bool special; // /dev/null, a pipe: there is nothing to rename
    char aside[PATH_MAX];
};

static int output_open(struct output *f, const char *path, struct st_err *err)
{
    struct stat st;
    f->special = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if (snprintf(f->aside, sizeof f->aside, "%s%s", path, f->special ? "" : ASIDE) >= (int)sizeof f->aside)
        return st_err_set(err, ST_E_INPUT, "file name too long: %.200s", path);
    if (!f->special)
        unlink(f->aside);
    f->fd = open(f->aside, O_WRONLY | O_CREAT | O_CLOEXEC | (f->special ? 0 : O_EXCL | O_NOFOLLOW), 0666);
    return f->fd < 0 ? st_err_sys(err, "cannot write %s", path) : 0;
}

// Not renamed: the name stays what it was.
static void output_drop(struct output *f)
{
    if (f->fd >= 0) {
        close(f->fd);
        if (!f->special)
            unlink(f->aside);
    }
    f->fd = -1;
}

static int output_write(struct output *f, const struct st_scan_output *to, const struct st_inventory *inv,
                        const struct st_sbom_options *opt, struct st_err *err)
{
    struct st_out out;
    st_out_init_fd(&out, f->fd);
    int rc = write_one(to->format, inv, opt, &out, err);
    if (st_out_finish(&out, rc ? NULL : err))
        rc = rc ? rc : st_err_wrap(err, "%s", to->path);
    if (rc == 0 && !f->special && rename(f->aside, to->path))
        rc = st_err_sys(err, "cannot write %s", to->path);
    if (rc == 0) {
        close(f->fd);
        f->fd = -1;
    }
    return rc;
}

static int open_outputs(const struct st_scan_options *o, struct output *files, struct st_err *err)
{
    for (size_t i = 0; i < o->n_outputs; i++)
        if (o->outputs[i].path && output_open(&files[i], o->outputs[i].path, err))
            return -1;
    return 0;
}

static int write_outputs(const struct st_scan_options *o, struct output *files, const struct st_inventory *inv,
                         struct st_mem *mem, struct st_err *err)
{
    struct st_sbom_options opt;
    if (sbom_options(mem, &opt, err))
        return -1;
    for (size_t i = 0; i < o->n_outputs; i++) {
        opt.width = o->outputs[i].path ? 0 : terminal_width(1);
        if (o->outputs[i].path ? output_write(&files[i], &o->outputs[i], inv, &opt, err)
                               : write_one(o->outputs[i].format, inv, &opt, o->out, err))
            return -1;
    }
    return 0;
}

// ---- what is said at the end

#define UNKNOWNS_SHOWN 20

static int say_unknowns(const struct st_inventory *inv, struct st_err *err)
{
    struct st_out o;
    st_out_init_fd(&o, 2);
    for (uint32_t i = 0; i < inv->n_unknowns && i < UNKNOWNS_SHOWN; i++) {
        struct st_unknown u;
        if (inv->unknown(inv->ctx, i, &u, err))
            return -1;
        st_out_puts(&o, "stella: unknown: ");
        st_out_safe(&o, u.path);
        if (u.inner.len) {
            st_out_putc(&o, ':');
            st_out_safe(&o, u.inner);
        }
        st_out_fmt(&o, ": %s: ", st_unknown_word(u.reason));
        st_out_safe(&o, u.text);
        st_out_putc(&o, '\n');
    }
    if (inv->n_unknowns > UNKNOWNS_SHOWN)
        st_out_fmt(&o, "stella: ... and %u more (every format but purls lists them)\n",
                   inv->n_unknowns - UNKNOWNS_SHOWN);
    if (inv->n_unknowns)
        st_out_fmt(&o, "complete with %u unknown%s\n", inv->n_unknowns, inv->n_unknowns == 1 ? "" : "s");
    return st_out_finish(&o, err);
}

static int verdict(const struct st_scan_options *o, struct st_scan *scan, struct st_err *err)
{
    const struct st_inventory *inv = st_scan_inventory(scan);
    if ((!o->quiet || o->strict) && say_unknowns(inv, err))
        return -1;
    if (st_scan_failed(scan)) {
        const struct st_scan_layer *l = st_scan_layers(scan);
        for (size_t i = 0; i < inv->subject->n_layers; i++)
            if (l[i].how == ST_LAYER_FAILED)
                return st_err_set(err, l[i].err.code, "incomplete: %zu of %zu layers failed, the first: %s",
                                  st_scan_failed(scan), inv->subject->n_layers, l[i].err.text);
    }
    if (o->strict && inv->n_unknowns)
        return st_err_set(err, ST_E_FAILED, "%u unknown%s and --strict", inv->n_unknowns,
                          inv->n_unknowns == 1 ? "" : "s");
    return 0;
}

static int sandbox_report(struct st_out *out, struct st_err *err)
{
    struct st_sandbox_report rep;
    if (st_scan_sandbox(&rep, err))
        return -1;
    for (int i = 0; i < ST_SANDBOX_MEASURES_MAX; i++)
        st_out_fmt(out, "%-14s %-24s %s\n", st_sandbox_word((enum st_sandbox_measure)i),
                   st_sandbox_state_word(rep.state[i]), st_sandbox_what((enum st_sandbox_measure)i));
    st_out_fmt(out, "%-14s %d\n", "landlock ABI", rep.landlock_abi);
    return 0;
}

// ---- scan image

static void request_of(struct source *s, const struct st_scan_options *o)
{
    struct st_scan_request *q = &s->request;
    q->memory = o->memory;
    q->threads = o->threads;
    q->verify = o->verify;
    q->keep_going = o->keep_going;
    q->deadline_ms = o->timeout_s ? (uint64_t)st_clock_mono_ms() + o->timeout_s * 1000 : 0;
    q->state_dir = o->home;
    q->resume = o->resume_from != NULL;
    q->cache_bytes = o->cache_bytes;
    q->cache_age_s = o->cache_age_s;
    if (o->cache && o->cache_dir) {
        q->cache_dir = o->cache_dir;
    } else if (o->cache && o->home) {
        snprintf(s->cache, sizeof s->cache, "%s/cache", o->home);
        q->cache_dir = s->cache;
    }
}

// What a tag meant just now: the name under which the very same image can be had again.
static void say_digest(const struct source *s, const struct st_scan *scan)
{
    struct st_sv digest = st_scan_image_of(scan)->subject.manifest_digest;
    if (s->pull && !s->quiet && s->ref.tag.len && !s->ref.digest.len && digest.len)
        st_cli_note(ST_SV_FMT "/" ST_SV_FMT ":" ST_SV_FMT " is " ST_SV_FMT, ST_SV_ARG(s->ref.domain),
                    ST_SV_ARG(s->ref.repository), ST_SV_ARG(s->ref.tag), ST_SV_ARG(digest));
}

static int after_scan(const struct st_scan_options *o, struct output *files, struct st_scan *scan, struct source *s,
                      struct st_err *err)
{
    const struct st_inventory *inv = st_scan_inventory(scan);
    const struct st_subject *sub = inv->subject;
    if (o->events && o->events->subject)
        o->events->subject(o->events, sub->manifest_digest.len ? sub->manifest_digest : sub->config_digest, sub->size);
    if (o->events)
        o->events->peak_bytes = st_scan_profile(scan)->peak_tree;
    say_digest(s, scan);
    int rc = write_outputs(o, files, inv, &s->mem, err);
    if (rc == 0 && o->profile)
        rc = st_profile_report(scan, o->memory, o->profile_output, err);
    if (rc == 0)
        rc = verdict(o, scan, err);
    if (rc == 0)
        st_scan_forget(scan);
    return rc;
}

int st_scan_image(const struct st_scan_options *o, struct st_err *err)
{
    if (o->sandbox_report) {
        struct st_out to_err;
        st_out_init_fd(&to_err, 2);
        int rc = sandbox_report(o->image ? &to_err : o->out, err);
        if (st_out_finish(&to_err, rc ? NULL : err) || rc || !o->image)
            return rc;
    }
    struct source s = {.mode = o->progress, .quiet = o->quiet};
    if (o->home)
        snprintf(s.home, sizeof s.home, "%s", o->home);
    struct output files[ST_SCAN_OUTPUTS_MAX];
    for (size_t i = 0; i < ST_SCAN_OUTPUTS_MAX; i++)
        files[i].fd = -1;
    catch_signals();
    request_of(&s, o);
    int rc = source_open(&s, o->image, o->platform, o->offline, &o->remote, err);
    struct st_scan *scan = NULL;
    if (rc == 0)
        rc = open_outputs(o, files, err);
    if (rc == 0) {
        rc = st_scan_run(&s.request, &scan, err);
    }
    if (rc == 0)
        rc = after_scan(o, files, scan, &s, err);
    for (size_t i = 0; i < ST_SCAN_OUTPUTS_MAX; i++)
        output_drop(&files[i]);
    st_scan_free(scan);
    source_close(&s);
    return rc;
}

// ---- image inspect, image layers

typedef int inspect_fn(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err);

// The layers of a local image are read once for their counts; nothing of what they hold is kept.
static int inspect_local(struct source *s, const struct st_image_options *o, inspect_fn *print, struct st_err *err)
{
    struct st_scan *scan = NULL;
    if (st_scan_run(&s->request, &scan, err))
        return -1;
    size_t n = st_scan_image_of(scan)->subject.n_layers;
    struct st_layer_counts *counts = st_arena_array(&s->arena, n + 1, sizeof *counts, err);
    const struct st_scan_layer *l = st_scan_layers(scan);
    for (size_t i = 0; counts && i < n; i++)
        counts[i] = (struct st_layer_counts){l[i].how != ST_LAYER_FOREIGN, l[i].stats.bytes, l[i].stats.files};
    struct st_inspect in = {st_scan_image_of(scan), counts, o->sort};
    int rc = counts ? print(&in, &s->arena, o->out, err) : -1;
    st_scan_free(scan);
    return rc;
}

static int inspect(const struct st_image_options *o, inspect_fn *print, struct st_err *err)
{
    struct source s = {.mode = o->progress, .quiet = o->quiet};
    catch_signals();
    if (st_home_path(s.home, NULL))
        s.home[0] = '\0';
    int rc = source_open(&s, o->image, o->platform, o->offline, &o->remote, err);
    s.request.memory = o->memory;
    s.request.verify = ST_VERIFY_BLOB;
    if (rc == 0 && s.opened.kind != ST_OPENED_REMOTE) {
        rc = inspect_local(&s, o, print, err);
    } else if (rc == 0) { // a registry's layers stay there
        struct st_image img;
        rc = st_scan_resolve(&s.request, &s.arena, &img, err);
        if (rc == 0)
            rc = print(&(struct st_inspect){&img, NULL, o->sort}, &s.arena, o->out, err);
    }
    source_close(&s);
    return rc;
}

int st_image_inspect(const struct st_image_options *o, struct st_err *err)
{
    return inspect(o, o->json ? st_inspect_json : st_inspect_table, err);
}

int st_image_layers(const struct st_image_options *o, struct st_err *err)
{
    return inspect(o, o->json ? st_layers_json : st_layers_table, err);
}
