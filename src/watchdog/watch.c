#include "watchdog/watch_int.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "watchdog/wd_files.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#define RESCAN_MS 30000
#define AIDE_RESTART_MS 10000
#define EVENTS_AT_ONCE 32

// ---- discovery ----------------------------------------------------------------------------------

static void found(void *ctx, uint32_t cell)
{
    struct st_wd_watch *w = ctx;
    uint64_t now_ms = st_wd_now_ms();
    st_wd_rest(w, cell, false);
    if ((w->cells.at[cell].flags & ST_WD_C_NAMED) && !w->cells.at[cell].bench)
        st_wd_arm(w, cell, now_ms); // a first look, and its files stay open
    st_wd_metrics_changed(w, now_ms, false);
}

static void gone(void *ctx, uint32_t cell)
{
    struct st_wd_watch *w = ctx;
    st_wd_forget(w, cell);
    st_wd_metrics_changed(w, st_wd_now_ms(), false);
}

static void refused(void *ctx, struct st_sv path)
{
    struct st_wd_watch *w = ctx;
    st_wd_aide_say(
        w->opt.aide,
        "/" ST_SV_FMT
        " is left out, and what leads from it to this watchdog or to process 1, which is in it (--allow-self "
        "watches it all the same)",
        ST_SV_ARG(path));
}

void st_wd_want_rescan(struct st_wd_watch *w)
{
    if (!w->rescan_ms)
        w->rescan_ms = st_wd_now_ms() + RESCAN_MS;
}

static void rescan(struct st_wd_watch *w)
{
    w->rescan_ms = 0;
    st_wd_discover_rescan(&w->discover);
    for (uint32_t i = 0; i < w->cells.high; i++) {
        struct st_wd_cell *c = &w->cells.at[i];
        if ((c->flags & ST_WD_C_LIVE) && (c->flags & ST_WD_C_MATCHED) && c->fd[0] < 0 && !c->bench)
            st_wd_rest(w, i, false);
    }
    if (w->discover.incomplete)
        st_wd_want_rescan(w);
}

// ---- making -------------------------------------------------------------------------------------

static int add_source(struct st_wd_watch *w, int fd, enum st_wd_source source, uint32_t index)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = st_wd_source_key(source, index, 0)};
    return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e);
}

static int open_sources(struct st_wd_watch *w, struct st_err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (w->epoll < 0 || w->timer < 0 || w->signals < 0 || add_source(w, w->timer, ST_WD_ON_TIMER, 0) ||
        add_source(w, w->signals, ST_WD_ON_SIGNAL, 0) ||
        (w->opt.metrics.fd >= 0 && add_source(w, w->opt.metrics.fd, ST_WD_ON_LISTEN, 0)))
        return st_err_sys(err, "event descriptors");
    return 0;
}

// Two descriptors a cgroup, for thousands of them.
static void raise_nofile(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r))
        return;
    rlim_t want = 2 * ST_WD_CELLS_MAX + ST_WD_BENCHES * (ST_WD_FILE_COUNT + 4) + 256, soft = r.rlim_cur;
    if (soft >= want)
        return;
    r.rlim_cur = ST_MIN(want, r.rlim_max);
    struct rlimit more = {.rlim_cur = want, .rlim_max = ST_MAX(want, r.rlim_max)};
    if (setrlimit(RLIMIT_NOFILE, &more) && r.rlim_cur > soft)
        setrlimit(RLIMIT_NOFILE, &r);
}

struct st_wd_watch *st_wd_watch_new(const struct st_wd_watch_options *opt, struct st_err *err)
{
    struct st_wd_watch *w = st_wd_map(sizeof *w);
    if (!w)
        return st_err_nomem(err), NULL;
    *w = (struct st_wd_watch){.opt = *opt, .epoll = -1, .timer = -1, .signals = -1, .aide_ms = st_wd_now_ms()};
    w->bench = st_wd_map(ST_WD_BENCHES * sizeof *w->bench);
    w->processes = st_wd_map(sizeof *w->processes);
    w->record = st_wd_map(ST_WD_EVIDENCE_MAX);
    for (size_t i = 0; i < ST_WD_SCRAPES; i++)
        w->scrape[i].fd = -1;
    w->discover.inotify = -1;
    if (!w->bench || !w->processes || !w->record) {
        st_err_nomem(err);
        goto failed;
    }
    raise_nofile();
    if (st_wd_cells_init(&w->cells, err) || open_sources(w, err))
        goto failed;
    w->env = (struct st_wd_act_env){.root = w->opt.root.fd,
                                    .ladder = &w->opt.ladder,
                                    .processes = w->processes,
                                    .aide = w->opt.aide,
                                    .metrics = &w->metrics,
                                    .has_hook = w->opt.hook != NULL,
                                    .report = st_wd_watch_report,
                                    .ctx = w};
    w->opt.ladder.protect.ours[0] = getpid();
    w->opt.ladder.protect.ours[1] = w->opt.aide->pid;
    w->discover = (struct st_wd_discover){.cells = &w->cells,
                                          .root = w->opt.root.fd,
                                          .inotify = -1,
                                          .patterns = w->opt.patterns,
                                          .n_patterns = w->opt.n_patterns,
                                          .allow_self = w->opt.allow_self,
                                          .found = found,
                                          .gone = gone,
                                          .refused = refused,
                                          .ctx = w};
    return w;
failed:
    st_wd_watch_free(w);
    return NULL;
}

void st_wd_watch_free(struct st_wd_watch *w)
{
    if (!w)
        return;
    for (size_t i = 0; w->bench && w->cells.at && i < ST_WD_BENCHES; i++)
        if (w->bench[i].used)
            st_wd_forget(w, w->bench[i].cell);
    for (uint32_t i = 0; i < w->cells.high; i++)
        for (int k = 0; k < 2; k++)
            if ((w->cells.at[i].flags & ST_WD_C_LIVE) && w->cells.at[i].fd[k] >= 0)
                close(w->cells.at[i].fd[k]);
    st_wd_discover_stop(&w->discover);
    st_wd_cells_release(&w->cells);
    const int fds[] = {w->epoll, w->timer, w->signals};
    for (size_t i = 0; i < ST_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (w->bench)
        munmap(w->bench, ST_WD_BENCHES * sizeof *w->bench);
    if (w->processes)
        munmap(w->processes, sizeof *w->processes);
    if (w->record)
        munmap(w->record, ST_WD_EVIDENCE_MAX);
    munmap(w, sizeof *w);
}

const struct st_wd_metrics *st_wd_watch_metrics(const struct st_wd_watch *w)
{
    return &w->metrics;
}

// ---- signals and children -----------------------------------------------------------------------

static void reaped(struct st_wd_watch *w, pid_t pid, int status)
{
    if (pid == w->child) {
        w->child_status = status;
        w->stop = SIGCHLD;
        return;
    }
    if (pid == w->opt.aide->pid) {
        if (w->opt.aide->fd >= 0)
            close(w->opt.aide->fd);
        w->opt.aide->fd = w->opt.aide->pid = -1;
        w->opt.ladder.protect.ours[1] = 0;
        return;
    }
    if (w->opt.hook && st_wd_hook_reaped(w->opt.hook, pid))
        return;
    for (size_t i = 0; i < ST_WD_BENCHES; i++)
        if (w->bench[i].used && st_wd_incident_reaped(&w->bench[i].incident, pid, status))
            return;
}

static void on_signal(struct st_wd_watch *w, uint64_t now_ms)
{
    struct signalfd_siginfo s;
    while (read(w->signals, &s, sizeof s) == sizeof s) {
        int signo = (int)s.ssi_signo, status;
        if (signo == SIGCHLD)
            for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
                reaped(w, pid, status);
        else if (!w->child)
            w->stop = signo;
        else if (s.ssi_code <= 0) // sent by somebody; what the terminal sends has reached the child already
            kill(w->child, signo);
    }
}

// ---- metrics socket -----------------------------------------------------------------------------

static void on_listen(struct st_wd_watch *w, uint64_t now_ms)
{
    // cppcheck-suppress nullPointer
    for (int fd; (fd = accept4(w->opt.metrics.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
        size_t i = 0;
        while (i < ST_WD_SCRAPES && w->scrape[i].fd >= 0)
            i++;
        if (i == ST_WD_SCRAPES || add_source(w, fd, ST_WD_ON_SCRAPE, (uint32_t)i)) {
            close(fd);
            continue;
        }
        w->scrape[i] = (struct st_wd_scrape){.fd = fd, .deadline_ms = now_ms + ST_WD_SCRAPE_MS};
    }
}

static uint64_t expire_scrapes(struct st_wd_watch *w, uint64_t now_ms)
{
    uint64_t next = 0;
    for (size_t i = 0; i < ST_WD_SCRAPES; i++) {
        struct st_wd_scrape *s = &w->scrape[i];
        if (s->fd >= 0 && now_ms >= s->deadline_ms) {
            close(s->fd);
            s->fd = -1;
        }
        if (s->fd >= 0)
            next = next ? ST_MIN(next, s->deadline_ms) : s->deadline_ms;
    }
    return next;
}

// ---- the loop -----------------------------------------------------------------------------------

static void dispatch(struct st_wd_watch *w, uint64_t key, uint64_t now_ms)
{
    uint32_t index = (uint32_t)key, gen = key >> 32 & 0xffffff;
    uint64_t ticks;
    switch ((enum st_wd_source)(key >> 56)) {
    case ST_WD_ON_EVENTS:
    case ST_WD_ON_TRIGGER: {
        struct st_wd_cell *c = &w->cells.at[index];
        bool live = (c->flags & ST_WD_C_LIVE) && (c->gen & 0xffffff) == gen; // may have gone in this very round
        if (live && (!c->bench || w->bench[c->bench - 1].resting))
            st_wd_arm(w, index, now_ms);
        break;
    }
    case ST_WD_ON_TIMER:
        if (read(w->timer, &ticks, sizeof ticks) < 0)
            break;
        break;
    case ST_WD_ON_INOTIFY:
        st_wd_discover_events(&w->discover);
        if (w->discover.incomplete)
            st_wd_want_rescan(w);
        break;
    case ST_WD_ON_SIGNAL:
        on_signal(w, now_ms);
        break;
    case ST_WD_ON_LISTEN:
        on_listen(w, now_ms);
        break;
    case ST_WD_ON_SCRAPE:
        if (w->scrape[index].fd >= 0)
            st_wd_scrape_answer(&w->scrape[index], st_wd_metrics_text(w));
        break;
    }
}

static void earlier(uint64_t *next, uint64_t at)
{
    if (at && (!*next || at < *next))
        *next = at;
}

// Start the second process again when it has died, not more often than every ten seconds. When that is due; 0: it
// lives.
static uint64_t keep_aide(struct st_wd_watch *w, uint64_t now_ms)
{
    struct st_wd_aide *a = w->opt.aide;
    struct st_wd_aide_files files = a->files;
    if (a->pid >= 0)
        return 0;
    if (now_ms >= w->aide_ms + AIDE_RESTART_MS) {
        w->aide_ms = now_ms;
        if (st_wd_aide_start(a, &files, NULL) == 0) {
            w->opt.ladder.protect.ours[1] = a->pid;
            return 0;
        }
    }
    return w->aide_ms + AIDE_RESTART_MS;
}

// All that is due; when the next is (0: nothing, so no timer).
static uint64_t step(struct st_wd_watch *w)
{
    uint64_t next = 0, now_ms = st_wd_now_ms();
    st_wd_waiting_step(w, now_ms);
    for (size_t i = 0; i < ST_WD_BENCHES; i++) {
        struct st_wd_bench *b = &w->bench[i];
        if (!b->used || b->resting)
            continue;
        bool incident = b->incident.phase != ST_WD_IDLE;
        if (now_ms >= b->sample_ms || (incident && now_ms >= b->incident_ms))
            st_wd_bench_step(w, b, now_ms);
        if (!b->used || b->resting)
            continue;
        earlier(&next, b->sample_ms);
        if (b->incident.phase != ST_WD_IDLE)
            earlier(&next, b->incident_ms);
    }
    if (w->rescan_ms && now_ms >= w->rescan_ms)
        rescan(w);
    earlier(&next, w->rescan_ms);
    if (w->metrics_ms && now_ms >= w->metrics_ms) {
        st_wd_aide_send(w->opt.aide, ST_WD_AIDE_METRICS, ST_SV_NULL, st_wd_metrics_text(w));
        w->metrics_ms = 0;
    }
    earlier(&next, w->metrics_ms);
    if (w->opt.hook)
        earlier(&next, st_wd_hook_step(w->opt.hook, now_ms));
    earlier(&next, expire_scrapes(w, now_ms));
    if (w->waiting)
        earlier(&next, w->wake_ms);
    earlier(&next, keep_aide(w, now_ms));
    return next;
}

static void set_timer(struct st_wd_watch *w, uint64_t at_ms)
{
    struct itimerspec t = {.it_value = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000}};
    timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &t, NULL); // 0 disarms
}

// What has been done is told, also when the end comes before its effect.
static void drain(struct st_wd_watch *w)
{
    for (int tries = 0; tries < 40; tries++) {
        bool waiting = false;
        for (size_t i = 0; i < ST_WD_BENCHES; i++)
            waiting = waiting || (w->bench[i].used && w->bench[i].incident.phase == ST_WD_WAITING &&
                                  w->bench[i].incident.rung != ST_WD_RUNG_RELIEVE);
        if (!waiting)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        on_signal(w, st_wd_now_ms());
        step(w);
    }
}

int st_wd_watch_run(struct st_wd_watch *w, pid_t child, int *ret_status, struct st_err *err)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    uint64_t set = 0;
    w->child = child;
    st_wd_discover_start(&w->discover);
    if (w->discover.inotify >= 0 && add_source(w, w->discover.inotify, ST_WD_ON_INOTIFY, 0))
        return st_err_sys(err, "inotify");
    if (w->discover.incomplete)
        st_wd_want_rescan(w);
    st_wd_metrics_changed(w, st_wd_now_ms(), true);
    while (!w->stop) {
        uint64_t next = step(w);
        if (next != set || (next && next <= st_wd_now_ms())) // one that has fired does not fire again by itself
            set_timer(w, next);
        set = next;
        int n = epoll_wait(w->epoll, events, EVENTS_AT_ONCE, -1);
        w->metrics.wakeups++;
        if (n < 0 && errno != EINTR)
            return st_err_sys(err, "epoll_wait");
        uint64_t now_ms = st_wd_now_ms();
        for (int i = 0; i < n; i++)
            dispatch(w, events[i].data.u64, now_ms);
    }
    if (ret_status)
        *ret_status = w->child_status;
    drain(w);
    for (size_t i = 0; i < ST_WD_BENCHES; i++)
        if (w->bench[i].used)
            st_wd_incident_close(&w->bench[i].incident, &w->env); // undo what is held
    if (w->opt.metrics.file)
        st_wd_aide_send(w->opt.aide, ST_WD_AIDE_METRICS, ST_SV_NULL, st_wd_metrics_text(w));
    return 0;
}
