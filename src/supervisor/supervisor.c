// stella serve: beginning, signals, end.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "supervisor/admission.h"
#include "supervisor/handover.h"
#include "supervisor/spawn.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEMORY (64ull << 20) // of messages; as a rule a few KiB
#define STOP_MS (ST_SLOT_GRACE_RELEASE_MS + 5000)
#define STOP_STEP_MS 20
#define API_END_MS 5000
#define UPGRADE_MS 10000
#define ALONE_MS 4000

void st_sup_say(const char *fmt, ...)
{
    struct st_out o;
    char text[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    st_out_init_fd(&o, STDERR_FILENO);
    st_out_puts(&o, "stella serve: ");
    st_out_safe(&o, st_sv_of(text));
    st_out_putc(&o, '\n');
    st_out_finish(&o, NULL);
}

void st_sup_log(struct st_sup *s, enum st_log_level level, const char *component, const char *job, const char *fmt, ...)
{
    char text[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct st_log_line line = {
        .level = level, .component = st_sv_of(component), .job = st_sv_of(job), .message = st_sv_of(text)};
    if (level >= ST_LOG_WARN)
        st_sup_say("%s%.12s%s%s", job[0] ? "job " : "", job, job[0] ? ": " : "", text);
    st_calls_add(s, "logs.add", &line, level >= ST_LOG_ERROR ? ST_CALL_KEEP : ST_CALL_LATER, 0, NULL);
}

// ---- reports ------------------------------------------------------------------------------------

static void on_report(void *sup)
{
    struct st_sup *s = sup;
    if (!s->ready && s->wanted.any && !s->calls.head) { // what the workers said as they came is known: they are listed
        s->ready = true;
        st_notify("READY=1\nMAINPID=%d\nSTATUS=%zu workers", (int)getpid(), s->n_slots);
        st_sup_say("ready: %zu worker%s", s->n_slots, s->n_slots == 1 ? "" : "s");
    }
    for (size_t i = 0; s->ready && i < s->n_slots; i++)
        st_slot_report(s->slots[i], NULL);
    if (s->calls.dropped) {
        st_sup_say("stella-api does not keep up: %llu lines of the log and reports were not told",
                   (unsigned long long)s->calls.dropped);
        s->calls.dropped = 0;
    }
    st_loop_arm(&s->loop, &s->report, s->ready ? ST_REPORT_MS : 100);
}

static void on_keepalive(void *sup)
{
    struct st_sup *s = sup;
    st_notify("WATCHDOG=1");
    st_loop_arm(&s->loop, &s->keepalive, st_notify_watchdog_ms());
}

// ---- the end ------------------------------------------------------------------------------------

static bool workers_run(const struct st_sup *s)
{
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i]->state != ST_SLOT_IDLE)
            return true;
    return false;
}

// Step by step: workers end, what they leave is told to stella-api, then it and the watchdog end.
static void step_stop(struct st_sup *s, int64_t since)
{
    bool children = s->api.pid || s->watch.child.pid;
    if (s->api.wanted && ((!workers_run(s) && !st_claims_out(s) && !s->calls.head) || since > STOP_MS)) {
        for (size_t i = 0; i < s->n_slots; i++)
            st_slot_kill(s->slots[i]);
        st_child_stop(s, &s->api, SIGTERM);
        st_child_stop(s, &s->watch.child, SIGTERM);
    } else if (!s->api.wanted && (!children || since > STOP_MS + API_END_MS)) {
        st_loop_end(&s->loop);
        return;
    }
    st_loop_arm(&s->loop, &s->stop.timer, STOP_STEP_MS);
}

// What is under way is finished first, so that only running workers are to be handed over.
static void step_upgrade(struct st_sup *s, int64_t since)
{
    bool clearing = false;
    for (size_t i = 0; i < s->n_slots; i++)
        clearing = clearing || s->slots[i]->state == ST_SLOT_CLEARING;
    bool quiet = !clearing && !st_claims_out(s) && !s->calls.head;
    if (!quiet && since < UPGRADE_MS) {
        st_loop_arm(&s->loop, &s->stop.timer, STOP_STEP_MS);
        return;
    }
    if (quiet)
        st_handover_exec(s); // comes back only when it failed
    else
        st_sup_say("upgrade put off: stella-api does not take what is to be told; try again");
    s->stop.on = s->stop.upgrade = false;
    st_notify("READY=1");
    st_wanted_reconcile(s);
    st_loop_arm(&s->loop, &s->wanted.timer, 0);
    st_loop_arm(&s->loop, &s->report, 0);
}

static void on_stop(void *sup)
{
    struct st_sup *s = sup;
    int64_t since = st_clock_mono_ms() - s->stop.began_ms;
    if (s->stop.upgrade)
        step_upgrade(s, since);
    else
        step_stop(s, since);
}

static void begin_stop(struct st_sup *s, bool upgrade)
{
    if (s->stop.on && (upgrade || !s->stop.upgrade)) {
        if (!upgrade && !s->stop.hard) { // asked a second time: at once
            s->stop.hard = true;
            for (size_t i = 0; i < s->n_slots; i++)
                st_slot_kill(s->slots[i]);
        }
        return;
    }
    s->stop.on = true;
    s->stop.upgrade = upgrade;
    s->stop.began_ms = st_clock_mono_ms();
    for (size_t i = 0; i < ST_POOLS_MAX; i++)
        if (s->pools[i].used)
            st_claims_drop(s, &s->pools[i], upgrade);
    if (upgrade) {
        st_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)st_clock_mono_ms() * 1000);
        st_sup_say("upgrade: %s", s->o->self);
        st_loop_disarm(&s->loop, &s->report);
    } else {
        st_notify("STOPPING=1");
        st_sup_say(workers_run(s) ? "ends: jobs in work go back into the queue" : "ends");
        for (size_t i = 0; i < s->n_slots; i++)
            st_slot_stop(s->slots[i], ST_STOP_RELEASE, false);
    }
    st_loop_arm(&s->loop, &s->stop.timer, 0);
}

static void on_signal(void *sup, uint32_t events)
{
    struct st_sup *s = sup;
    struct signalfd_siginfo i;
    while (read(s->signals, &i, sizeof i) == (ssize_t)sizeof i)
        begin_stop(s, i.ssi_signo == SIGHUP);
}

static void on_api_end(struct st_sup *s, int code, int sig)
{
    // Wrong options, a store of a newer version: it will not be better the next time. Said by itself on standard error.
    if (!s->wanted.any && !s->stop.on && sig == 0 && (code == 2 || (code == 1 && s->api.failures > 6))) {
        s->failed = code;
        st_loop_end(&s->loop);
    }
}

// ---- the beginning --------------------------------------------------------------------------------

static int init_signals(struct st_sup *s, struct st_err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0)
        return st_err_sys(err, "signalfd");
    s->signal_io = (struct st_io){.fd = -1, .ready = on_signal, .ctx = s};
    return st_loop_add(&s->loop, &s->signal_io, s->signals, EPOLLIN, err);
}

static int init_timers(struct st_sup *s, struct st_err *err)
{
    if (st_loop_timer(&s->loop, &s->admit, st_claims_decide, s, err) ||
        st_loop_timer(&s->loop, &s->report, on_report, s, err) ||
        st_loop_timer(&s->loop, &s->keepalive, on_keepalive, s, err) ||
        st_loop_timer(&s->loop, &s->stop.timer, on_stop, s, err))
        return -1;
    st_loop_arm(&s->loop, &s->report, 0);
    if (st_notify_watchdog_ms())
        st_loop_arm(&s->loop, &s->keepalive, 0);
    return 0;
}

static void say_enforcement(struct st_sup *s)
{
    char host[ST_QUANTITY_TEXT], can[ST_QUANTITY_TEXT];
    st_quantity_human(s->host, host);
    st_quantity_human(s->host - st_admission_reserve(s->host), can);
    st_sup_say("memory of this host: %s, of which workers get %s", host, can);
    if (s->cg.workers >= 0)
        st_sup_say("enforcement: cgroup (/%s%sworkers), watched by stella-watchdog", s->cg.path,
                   s->cg.path[0] ? "/" : "");
    else
        st_sup_say("enforcement: rlimit and sampling, twice a second: %s", s->cg.why);
}

static int init(struct st_sup *s, struct st_err *err)
{
    st_mem_init(&s->mem, MEMORY, -1);
    for (size_t i = 0; i < ST_POOLS_MAX; i++)
        s->pools[i].claim.io.fd = -1;
    gethostname(s->hostname, sizeof s->hostname - 1);
    s->api.name = "stella-api";
    s->api.start = st_api_child_start;
    s->api.ended = on_api_end;
    if (st_loop_init(&s->loop, err) || init_signals(s, err) || init_timers(s, err) || st_child_init(s, &s->api, err) ||
        st_calls_init(s, err) || st_wanted_init(s, err) || st_watch_init(s, err))
        return -1;
    return 0;
}

// What was handed over in a form that is not understood.
static void end_children(void)
{
    char path[64], buf[4096];
    struct st_sv word;
    uint64_t pid;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    ssize_t n = st_wd_read_at(AT_FDCWD, path, buf, sizeof buf);
    struct st_sv text = st_sv_mem(buf, n > 0 ? (size_t)n : 0);
    while (st_sv_word(&text, &word))
        if (st_sv_u64(st_sv_trim(word), 10, &pid) && kill((pid_t)pid, SIGKILL) == 0)
            waitpid((pid_t)pid, NULL, 0);
}

// Two on one socket would make the same workers twice. A stella-api whose supervisor was killed ends within a moment.
static int check_alone(const struct st_sup *s, struct st_err *err)
{
    for (int waited = 0;; waited += 100) {
        struct st_client *c = NULL;
        if (st_client_connect(s->o->socket, &c, NULL))
            return 0;
        st_client_close(c);
        if (waited >= ALONE_MS)
            return st_err_set(err, ST_E_CONFLICT, "a service runs here already: something answers at %s", s->o->socket);
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    }
}

// Without a lock all goes on as with one, only leases of a run that died have to run out.
static int take_lock(struct st_sup *s, struct st_err *err)
{
    struct st_err why = {0};
    if (st_run_lock_take(&s->lock, s->o->socket, s->hostname, &why) == 0)
        return 0;
    if (why.code == ST_E_CONFLICT) {
        *err = why;
        return -1;
    }
    st_sup_say("%s: after a crash leases have to run out", why.text);
    return 0;
}

static int begin(struct st_sup *s, struct st_err *ret)
{
    struct st_err err = {0};
    int handed = st_handover_fd();
    if (handed < 0 && (check_alone(s, ret) || take_lock(s, ret)))
        return -1;
    st_cgroups_open(&s->cg, handed >= 0);
    s->host = st_cgroups_host_memory(&s->cg);
    say_enforcement(s);
    bool fresh = handed < 0;
    if (handed >= 0 && st_handover_take(s, handed, &err)) {
        fresh = true;
        st_sup_say("upgrade: %s: workers are ended, and their jobs taken again", err.text);
        while (s->n_slots)
            st_slot_free(s->slots[--s->n_slots]);
        end_children();
        st_cgroups_close(&s->cg);
        st_cgroups_open(&s->cg, false);
    }
    if (handed >= 0 && s->lock.fd < 0 && take_lock(s, ret)) // of an older program, which had none
        return -1;
    // After an upgrade the old ones end, and the new program is started in their place.
    if (s->api.pid)
        st_spawn_signal(s->api.pidfd, SIGTERM);
    st_child_want(s, &s->api);
    if (fresh && s->lock.fd >= 0) // its workers are dead, as it is
        st_calls_add(s, "queue.reclaim", &(struct st_req_holder){st_sv_of(s->lock.holder)}, ST_CALL_KEEP, 0, NULL);
    if (s->watch.child.pid)
        st_spawn_signal(s->watch.child.pidfd, SIGTERM);
    if (s->cg.workers >= 0)
        st_child_want(s, &s->watch.child);
    return 0;
}

static void release(struct st_sup *s)
{
    while (s->n_slots)
        st_slot_free(s->slots[--s->n_slots]);
    st_claims_release(s);
    st_calls_release(s);
    st_watch_release(s);
    st_child_release(s, &s->api);
    st_wanted_release(s);
    st_cgroups_close(&s->cg);
    st_loop_drop(&s->loop, &s->signal_io);
    if (s->signals >= 0)
        close(s->signals);
    st_loop_release(&s->loop);
    if (s->lock.fd >= 0)
        close(s->lock.fd);
    st_mem_release(&s->mem);
}

int st_serve(const struct st_serve_options *o, struct st_err *err)
{
    struct st_sup *s = calloc(1, sizeof *s);
    if (!s)
        return st_err_nomem(err);
    s->o = o;
    s->signals = s->lock.fd = s->cg.workers = s->loop.epoll = s->watch.pipe = s->watch.child.pidfd = s->api.pidfd = -1;
    s->calls.io.fd = s->wanted.io.fd = s->watch.io.fd = s->signal_io.fd = -1;
    s->api.io.fd = s->watch.child.io.fd = -1;
    int rc = init(s, err);
    if (rc == 0)
        rc = begin(s, err);
    if (rc == 0)
        rc = st_loop_run(&s->loop, err);
    if (rc == 0 && s->failed)
        rc = st_err_set(err, s->failed == 2 ? ST_E_USAGE : ST_E_FAILED, "stella-api cannot start: see above");
    release(s);
    free(s);
    return rc;
}
