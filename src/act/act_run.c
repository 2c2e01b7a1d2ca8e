// What every verb of stella-act sets up.
#include "act/act_verb.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdlib.h>

#define CA_MAX (4u * 1024 * 1024) // bytes of a file of certificates

const struct st_choice st_act_whens[] = {
    {"asked", ST_ACT_WHEN_ASKED}, {"always", ST_ACT_WHEN_ALWAYS}, {"never", ST_ACT_WHEN_NEVER}, {NULL}};
const struct st_choice st_act_formats[] = {{"text", ST_ACT_TEXT}, {"json", ST_ACT_JSON}, {NULL}};

void st_act_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    st_program_vsay("stella-act", fmt, ap);
    va_end(ap);
}

static const char *variable(const char *lower, const char *upper)
{
    const char *v = getenv(lower);
    if (!v || !v[0])
        v = getenv(upper);
    return v && v[0] ? v : NULL;
}

int st_act_run_init(struct st_act_run *run, const struct st_act_options *opt, struct st_err *err)
{
    struct st_http_options http = {.mem = &run->mem, .user_agent = "stella-act/" ST_VERSION};
    *run = (struct st_act_run){0};
    st_mem_init(&run->mem, ST_ACT_MEMORY, -1);
    st_arena_init(&run->arena, &run->mem);
    run->call = (struct st_act_call){.mem = &run->mem,
                                     .arena = &run->arena,
                                     .deadline_ms = st_clock_mono_ms() + (int64_t)opt->deadline_s * 1000,
                                     .dry_run = opt->dry_run,
                                     .say = st_act_say};
    run->github_call = run->call;
    if (st_http_init(err) || st_http_new(&http, &run->call.http, err))
        return -1;
    http.https_proxy = variable("https_proxy", "HTTPS_PROXY");
    http.no_proxy = variable("no_proxy", "NO_PROXY");
    return st_http_new(&http, &run->github_call.http, err);
}

void st_act_run_release(struct st_act_run *run)
{
    st_http_free(run->call.http);
    st_http_free(run->github_call.http);
    st_arena_release(&run->arena);
    st_mem_release(&run->mem);
}

int st_act_run_read_record(struct st_act_run *run, const char *path, struct st_err *err)
{
    bool standard = !strcmp(path, "-");
    ST_AUTO_CLOSE int fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        st_err_sys(err, "open %s", standard ? "standard input" : path);
        if (err)
            err->code = ST_E_INPUT;
        return -1;
    }
    if (standard && isatty(fd))
        st_act_say("reading an evidence record of stella-watchdog from this terminal (--record FILE reads a file)");
    char *p = st_arena_bytes(&run->arena, ST_ACT_RECORD_MAX + 1, err);
    if (!p)
        return -1;
    ssize_t n = st_fd_read(fd, p, ST_ACT_RECORD_MAX + 1);
    if (n < 0)
        return st_err_sys(err, "read the record");
    if ((size_t)n > ST_ACT_RECORD_MAX)
        return st_err_set(err, ST_E_INPUT, "record: longer than %u bytes", ST_ACT_RECORD_MAX);
    return st_act_record_read(st_sv_mem(p, (size_t)n), &run->arena, &run->record, err);
}

bool st_act_run_ends(const struct st_act_run *run, const struct st_act_options *opt)
{
    const struct st_act_record *r = &run->record;
    if (opt->when != ST_ACT_WHEN_ASKED)
        return opt->when == ST_ACT_WHEN_ALWAYS;
    if (st_act_record_wish(r) == ST_ACT_END)
        return true;
    if (r->dry_run || st_sv_eq(r->outcome, ST_SV("dry-run")))
        st_act_say("the watchdog's dry run: nothing is ended");
    else if (!r->must_end)
        st_act_say("verdict " ST_SV_FMT ": nothing has to be ended", ST_SV_ARG(r->state));
    else if (r->rung.len == 0)
        st_act_say("a verdict without an action yet: nothing is ended");
    else
        st_act_say("action " ST_SV_FMT ": " ST_SV_FMT "; the runner is left to report by itself", ST_SV_ARG(r->rung),
                   ST_SV_ARG(r->outcome));
    return false;
}

int st_act_run_github(struct st_act_run *run, const struct st_act_options *opt, struct st_github_options *ret,
                      struct st_err *err)
{
    *ret = (struct st_github_options){.api_url = opt->api_url,
                                      .credentials = opt->credentials,
                                      .allow = opt->allow.at,
                                      .n_allow = opt->allow.n,
                                      .force_after_s = opt->force_after_s};
    if (opt->github_ca_file)
        return st_act_file(&run->call, opt->github_ca_file, CA_MAX, &ret->tls.ca, err);
    struct st_buf ca;
    st_buf_init(&ca, &run->mem);
    int rc = st_http_system_ca(&ca, err);
    if (rc == 0)
        rc = st_arena_dup(&run->arena, st_buf_sv(&ca), &ret->tls.ca, err);
    st_buf_release(&ca);
    return rc;
}
