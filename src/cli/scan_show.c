// A scan in this process on a terminal: progress, notes, unknowns, the memory report.
#include "base/fd.h"
#include "cli/scan_cmd.h"
#include "worker/profile.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

static volatile int interrupted; // the one thing a signal handler may touch

static void on_signal(int sig)
{
    interrupted = sig;
}

const volatile int *st_cli_catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    return &interrupted;
}

unsigned st_terminal_width(int fd)
{
    struct winsize w;
    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

struct st_engine_access st_remote_access(const struct st_remote_options *o)
{
    return (struct st_engine_access){.creds = o->creds,
                                     .ca_file = o->ca_file,
                                     .client_cert = o->client_cert,
                                     .client_key = o->client_key,
                                     .insecure = o->insecure.at,
                                     .n_insecure = o->insecure.n,
                                     .source = o->source,
                                     .verbose = o->verbose};
}

static void tell_begin(void *ctx, size_t layers, uint64_t bytes)
{
    struct st_scan_show *s = ctx;
    st_progress_begin(&s->progress, s->mode, 2, (unsigned)layers, bytes);
}

static void tell_layer(void *ctx, size_t layer, struct st_sv digest, uint64_t size)
{
    st_progress_layer(&((struct st_scan_show *)ctx)->progress, (unsigned)layer, digest, size);
}

static void tell_bytes(void *ctx, size_t layer, uint64_t done)
{
    st_progress_bytes(&((struct st_scan_show *)ctx)->progress, (unsigned)layer, done);
}

static void tell_done(void *ctx, size_t layer, bool cached)
{
    (void)cached;
    st_progress_done(&((struct st_scan_show *)ctx)->progress, (unsigned)layer);
}

static void tell_end(void *ctx)
{
    st_progress_end(&((struct st_scan_show *)ctx)->progress);
}

static void tell_warn(void *ctx, const char *text)
{
    st_progress_clear(&((struct st_scan_show *)ctx)->progress);
    st_cli_warn("%s", text);
}

static void tell_log(void *ctx, const char *text)
{
    struct st_scan_show *s = ctx;
    if (!s->verbose)
        return;
    st_progress_clear(&s->progress);
    st_cli_note("%s", text);
}

static void tell_note(void *ctx, const char *text)
{
    if (!((struct st_scan_show *)ctx)->quiet)
        st_cli_note("%s", text);
}

static void tell_subject(void *ctx, const struct st_subject *sub)
{
    struct st_scan_show *s = ctx;
    if (s->subject)
        s->subject(s->ctx, sub->manifest_digest.len ? sub->manifest_digest : sub->config_digest, sub->size);
}

static int report_memory(const struct st_scan_show *s, const struct st_scan *scan, struct st_err *err)
{
    struct st_out o;
    ST_AUTO_CLOSE int fd =
        s->profile_output ? open(s->profile_output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (s->profile_output && fd < 0)
        return st_err_sys(err, "cannot write %s", s->profile_output);
    st_out_init_fd(&o, s->profile_output ? fd : 2);
    if (s->profile_output)
        st_profile_json(scan, s->memory, &o);
    else
        st_profile_text(scan, s->memory, &o);
    return st_out_finish(&o, err);
}

static int written(void *ctx, const struct st_scan *scan, struct st_err *err)
{
    struct st_scan_show *s = ctx;
    if (s->profile && report_memory(s, scan, err))
        return -1;
    if (s->quiet && !s->unknowns)
        return 0;
    struct st_out o;
    st_out_init_fd(&o, 2);
    int rc = st_engine_say_unknowns(st_scan_inventory(scan), &o, err);
    return st_out_finish(&o, rc ? NULL : err) || rc ? -1 : 0;
}

void st_scan_show_begin(struct st_scan_show *s)
{
    s->scan = (struct st_scan_observer){.ctx = s,
                                        .subject = tell_subject,
                                        .begin = tell_begin,
                                        .layer_begin = tell_layer,
                                        .layer_bytes = tell_bytes,
                                        .layer_done = tell_done,
                                        .end = tell_end,
                                        .warn = tell_warn,
                                        .log = tell_log};
    s->engine = (struct st_engine_observer){.ctx = s, .scan = &s->scan, .note = tell_note, .written = written};
}
