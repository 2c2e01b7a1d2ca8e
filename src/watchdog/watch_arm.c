#include "watchdog/watch_int.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "watchdog/ability.h"
#include "watchdog/trace.h"
#include "watchdog/wd_files.h"
#include "watchdog/wd_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>

#define QUIET_MS 3000 // without evidence, before a cgroup has to give way to one that waits

// ---- at rest ------------------------------------------------------------------------------------

static bool subscribe(struct st_wd_watch *w, uint32_t i, int slot, bool again)
{
    struct st_wd_cell *c = &w->cells.at[i];
    struct epoll_event e = {.events = EPOLLPRI | EPOLLONESHOT,
                            .data.u64 = st_wd_source_key(slot ? ST_WD_ON_TRIGGER : ST_WD_ON_EVENTS, i, c->gen)};
    return c->fd[slot] >= 0 && epoll_ctl(w->epoll, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd[slot], &e) == 0;
}

// Reading marks what has happened so far as seen: only what comes later is an event.
static void read_events(int fd)
{
    char buf[512];
    if (fd >= 0 && pread(fd, buf, sizeof buf, 0) < 0)
        return;
}

static int open_trigger(int dir)
{
    static const char trigger[] = ST_WD_PSI_TRIGGER;
    ST_AUTO_CLOSE int fd = openat(dir, "memory.pressure", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || write(fd, trigger, sizeof trigger) != sizeof trigger)
        return -1;
    return st_take_fd(&fd);
}

// The next level above the owner that has a limit of its own: it may come to bind instead, and there is no trigger.
static int open_other_level(int owner_dir)
{
    ST_AUTO_CLOSE int dir = openat(owner_dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int level = 0; dir >= 0 && level < ST_WD_LEVELS_MAX; level++) {
        uint64_t max = ST_WD_NONE, high = ST_WD_NONE;
        if (faccessat(dir, "memory.max", F_OK, 0)) // the root, or outside of the hierarchy
            return -1;
        st_wd_number_at(dir, "memory.max", &max);
        st_wd_number_at(dir, "memory.high", &high);
        if (max != ST_WD_NONE || high != ST_WD_NONE)
            return openat(dir, "memory.events", O_RDONLY | O_CLOEXEC);
        int up = openat(dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(dir);
        dir = up;
    }
    return -1;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

// Another cgroup's limit binds now: what the judge has seen was that of the one before, and says nothing here.
static void set_owner(struct st_wd_cell *c, uint64_t ino)
{
    if (c->owner_ino && c->owner_ino != ino)
        c->judge = (struct st_wd_judge){.opaque = {0}};
    c->owner_ino = ino;
}

static bool subscribed_to_owner(const struct st_wd_cell *c)
{
    return c->fd[0] >= 0 && c->subscribed_ino == c->owner_ino;
}

static void wait_for_bench(struct st_wd_watch *w, uint64_t at_ms)
{
    w->wake_ms = w->waiting ? ST_MIN(w->wake_ms, at_ms) : at_ms;
    w->waiting++;
}

void st_wd_rest(struct st_wd_watch *w, uint32_t i, bool again)
{
    struct st_wd_cell *c = &w->cells.at[i];
    struct st_wd_domain d = {.dir_fd = -1};
    if (!again) {
        ST_AUTO_CLOSE int owner = -1;
        close_fd(&c->fd[0]);
        close_fd(&c->fd[1]);
        if (st_wd_domain_open(&d, &w->opt.root, st_wd_cell_path(c), NULL) ||
            st_wd_domain_owner(&d, &w->opt.root, &owner, NULL)) {
            st_wd_domain_close(&d);
            st_wd_want_rescan(w); // gone, then inotify tells; or it has no memory controller yet
            return;
        }
        set_owner(c, d.owner_ino);
        c->subscribed_ino = d.owner_ino;
        c->fd[0] = openat(owner, "memory.events", O_RDONLY | O_CLOEXEC);
        c->fd[1] = open_trigger(d.dir_fd);
        if (c->fd[1] < 0)
            c->fd[1] = open_other_level(owner);
        st_wd_domain_close(&d);
    }
    read_events(c->fd[0]);
    read_events(c->fd[1]);
    bool events = subscribe(w, i, 0, again);
    subscribe(w, i, 1, again);
    if (events)
        return;
    if (!(c->flags & ST_WD_C_POLLED))
        st_wd_aide_say(w->opt.aide, "/%s: its memory.events tells nothing: polled every 2 s", c->path);
    c->flags |= ST_WD_C_POLLED; // a file system that tells nothing
    wait_for_bench(w, st_wd_now_ms());
}

// ---- armed --------------------------------------------------------------------------------------

static struct st_wd_bench *idlest(struct st_wd_watch *w)
{
    struct st_wd_bench *best = NULL;
    uint64_t now_ms = st_wd_now_ms();
    for (size_t i = 0; i < ST_WD_BENCHES; i++) {
        struct st_wd_bench *b = &w->bench[i];
        bool busy = b->incident.phase != ST_WD_IDLE || b->verdict.bucket > 0 || b->told || !b->quiet_ms ||
                    now_ms < b->quiet_ms + QUIET_MS;
        if (!b->used || (!b->resting && busy))
            continue;
        if (!best || b->quiet_ms < best->quiet_ms)
            best = b;
    }
    return best;
}

static void clear(struct st_wd_watch *w, struct st_wd_bench *b)
{
    st_wd_incident_close(&b->incident, &w->env);
    st_wd_sampler_close(&b->sampler);
    st_wd_domain_close(&b->domain);
    close_fd(&b->dir);
    close_fd(&b->owner_dir);
    w->cells.at[b->cell].bench = 0;
    b->used = false;
}

static struct st_wd_bench *take_bench(struct st_wd_watch *w)
{
    for (size_t i = 0; i < ST_WD_BENCHES; i++)
        if (!w->bench[i].used)
            return &w->bench[i];
    struct st_wd_bench *b = idlest(w);
    if (!b)
        return NULL;
    uint32_t cell = b->cell;
    bool resting = b->resting;
    clear(w, b);
    w->metrics.armed -= !resting;
    if (!resting)
        st_wd_rest(w, cell, subscribed_to_owner(&w->cells.at[cell]));
    return b;
}

bool st_wd_owner_look(struct st_wd_watch *w, struct st_wd_bench *b, uint64_t now_ms)
{
    struct st_wd_cell *c = st_wd_cell_of(w, b);
    uint64_t before = b->domain.owner_ino;
    ST_AUTO_CLOSE int owner = -1;
    b->owner_ms = now_ms;
    if (st_wd_domain_owner(&b->domain, &w->opt.root, &owner, NULL))
        return false;
    if (b->owner_dir >= 0 && before == b->domain.owner_ino)
        return true;
    st_wd_sampler_close(&b->sampler);
    st_wd_series_clear(&b->series); // of another cgroup
    if (st_wd_sampler_open(&b->sampler, owner, NULL, NULL))
        return false;
    close_fd(&b->owner_dir);
    b->owner_dir = st_take_fd(&owner);
    set_owner(c, b->domain.owner_ino);
    if (st_wd_dir_path(&w->opt.root, b->owner_dir, b->owner, sizeof b->owner))
        snprintf(b->owner, sizeof b->owner, "/%s", c->path);
    return true;
}

static void start_trace(struct st_wd_watch *w, struct st_wd_bench *b)
{
    struct st_wd_cell *c = st_wd_cell_of(w, b);
    char line[4096], time[ST_CLOCK_TEXT];
    struct st_wd_text t;
    if (!w->opt.traces)
        return;
    st_clock_text(st_clock_wall_ms(), time);
    snprintf(b->trace, sizeof b->trace, "%s-%s.trace", c->path_len ? c->path : "root", time);
    for (char *p = b->trace; *p; p++)
        if (*p == '/' || *p == ':' || (unsigned char)*p < ' ')
            *p = '_';
    st_wd_trace_head(st_wd_text_init(&t, line, sizeof line), st_wd_cell_path(c), ST_SV_NULL);
    st_wd_aide_send(w->opt.aide, ST_WD_AIDE_TRACE, st_sv_of(b->trace), st_wd_text_sv(&t));
}

static bool open_bench(struct st_wd_watch *w, struct st_wd_bench *b, uint32_t cell, uint64_t now_ms)
{
    struct st_wd_cell *c = &w->cells.at[cell];
    b->cell = cell;
    b->used = true;
    b->dir = b->owner_dir = -1;
    b->sampler = (struct st_wd_sampler)ST_WD_SAMPLER_INIT;
    b->domain = (struct st_wd_domain){.dir_fd = -1};
    b->incident = (struct st_wd_incident)ST_WD_INCIDENT_INIT;
    c->bench = (uint16_t)(b - w->bench + 1);
    if (st_wd_domain_open(&b->domain, &w->opt.root, st_wd_cell_path(c), NULL) || b->domain.ino != c->ino)
        return false;
    b->dir = openat(b->domain.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return b->dir >= 0 && st_wd_owner_look(w, b, now_ms);
}

void st_wd_arm(struct st_wd_watch *w, uint32_t cell, uint64_t now_ms)
{
    struct st_wd_cell *c = &w->cells.at[cell];
    struct st_wd_bench *b = c->bench ? &w->bench[c->bench - 1] : take_bench(w);
    if (!b) { // asked again when one comes free, or may have become quiet
        wait_for_bench(w, now_ms + QUIET_MS);
        return;
    }
    if (!c->bench && !open_bench(w, b, cell, now_ms)) {
        clear(w, b);
        return; // gone: inotify tells
    }
    b->resting = false;
    b->told = 0;
    b->quiet_ms = 0;
    b->sample_ms = b->incident_ms = now_ms;
    b->verdict = (struct st_wd_verdict){.state = ST_WD_BELOW};
    st_wd_series_clear(&b->series);
    w->metrics.armed++;
    start_trace(w, b);
}

// The cells that waited for a bench are still subscribed to nothing: let them ask again.
static void wake_waiting(struct st_wd_watch *w)
{
    if (!w->waiting)
        return;
    w->waiting = 0;
    for (uint32_t i = 0; i < w->cells.high; i++) {
        struct st_wd_cell *c = &w->cells.at[i];
        if (!(c->flags & ST_WD_C_LIVE) || !(c->flags & ST_WD_C_MATCHED) || c->bench || c->fd[0] < 0)
            continue;
        if (c->flags & ST_WD_C_POLLED) {
            st_wd_arm(w, i, st_wd_now_ms());
            continue;
        }
        subscribe(w, i, 0, true); // not read: what happened since still counts
        subscribe(w, i, 1, true);
    }
}

void st_wd_waiting_step(struct st_wd_watch *w, uint64_t now_ms)
{
    if (now_ms >= w->wake_ms)
        wake_waiting(w);
}

void st_wd_disarm(struct st_wd_watch *w, struct st_wd_bench *b)
{
    uint32_t cell = b->cell;
    struct st_wd_cell *c = st_wd_cell_of(w, b);
    w->metrics.armed--;
    if (c->flags & ST_WD_C_NAMED) {
        b->resting = true;
        b->quiet_ms = st_wd_now_ms();
    } else {
        clear(w, b);
    }
    st_wd_rest(w, cell, subscribed_to_owner(c));
    wake_waiting(w);
}

void st_wd_forget(struct st_wd_watch *w, uint32_t cell)
{
    struct st_wd_cell *c = &w->cells.at[cell];
    if (c->bench) {
        struct st_wd_bench *b = &w->bench[c->bench - 1];
        st_wd_bench_gone(w, b);
        w->metrics.armed -= !b->resting;
        clear(w, b);
    }
    close_fd(&c->fd[0]);
    close_fd(&c->fd[1]);
    wake_waiting(w);
}
