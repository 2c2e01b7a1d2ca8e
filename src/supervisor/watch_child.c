// stella-watchdog as a child: it watches CG/workers/* and writes a record a line into a pipe. It acts by itself, on
// whole cgroups only: an analyzer that it killed alone would look like a file that cannot be parsed.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "scan/helper.h"
#include "supervisor/spawn.h"
#include "supervisor/watch_record.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUF (256 * 1024) // ST_WD_EVIDENCE_MAX and more

static void take_line(struct st_sup *s, struct st_sv line)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_watch_record r;
    struct st_err err = {0};
    char prefix[PATH_MAX];
    st_mem_init(&mem, 2 << 20, -1);
    st_arena_init(&a, &mem);
    int n = snprintf(prefix, sizeof prefix, "%s%sworkers/", s->cg.path, s->cg.path[0] ? "/" : "");
    if (st_watch_record_read(line, &r, &a, &err))
        st_sup_say("stella-watchdog: %s", err.text);
    else if (st_sv_starts(r.path, st_sv_mem(prefix, (size_t)n)))
        for (size_t i = 0; i < s->n_slots; i++)
            if (st_sv_eq(st_sv_from(r.path, (size_t)n), st_sv_of(s->slots[i]->name))) {
                st_slot_watchdog(s->slots[i], r.brief, r.acted, r.asks);
                break;
            }
    st_arena_release(&a);
    st_mem_release(&mem);
}

static void close_pipe(struct st_sup *s)
{
    st_loop_drop(&s->loop, &s->watch.io);
    if (s->watch.pipe >= 0)
        close(s->watch.pipe);
    s->watch.pipe = -1;
    s->watch.len = 0;
    s->watch.skipping = false;
}

static void on_readable(void *sup, uint32_t events)
{
    struct st_sup *s = sup;
    struct st_watch *w = &s->watch;
    ssize_t n = read(w->pipe, w->buf + w->len, BUF - w->len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_pipe(s);
        return;
    }
    w->len += (size_t)n;
    for (char *end; (end = memchr(w->buf, '\n', w->len));) {
        size_t line = (size_t)(end - w->buf);
        if (!w->skipping)
            take_line(s, st_sv_mem(w->buf, line));
        w->skipping = false;
        w->len -= line + 1;
        memmove(w->buf, end + 1, w->len);
    }
    if (w->len == BUF) {
        w->skipping = true;
        w->len = 0;
    }
}

void st_watch_adopt(struct st_sup *s, int pipe)
{
    struct st_err err = {0};
    close_pipe(s);
    s->watch.pipe = pipe;
    fcntl(pipe, F_SETFL, fcntl(pipe, F_GETFL) | O_NONBLOCK);
    if (st_loop_add(&s->loop, &s->watch.io, pipe, EPOLLIN, &err))
        st_sup_say("stella-watchdog: %s", err.text);
}

static int start(struct st_sup *s, struct st_child *c, struct st_err *err)
{
    char path[PATH_MAX], match[PATH_MAX];
    int ends[2];
    const char *argv[] = {"stella-watchdog", "run", "--match", match,       "--act",   "cgroup,-culprit,-tree",
                          "--evidence",      "-",   "--mount", s->cg.mount, "--quiet", NULL};
    snprintf(match, sizeof match, "%s%sworkers/*", s->cg.path, s->cg.path[0] ? "/" : "");
    if (st_helper_find("stella-watchdog", path, sizeof path, err))
        return -1;
    if (pipe2(ends, O_CLOEXEC))
        return st_err_sys(err, "pipe");
    struct st_spawn p = {
        .path = path, .argv = (char *const *)(uintptr_t)argv, .out = ends[1], .cgroup = -1, .death_signal = SIGTERM};
    int rc = st_spawn(&p, &c->pid, &c->pidfd, err);
    close(ends[1]);
    if (rc) {
        close(ends[0]);
        return -1;
    }
    st_watch_adopt(s, ends[0]);
    return st_loop_add(&s->loop, &c->io, c->pidfd, EPOLLIN, err);
}

int st_watch_init(struct st_sup *s, struct st_err *err)
{
    struct st_watch *w = &s->watch;
    w->pipe = -1;
    w->io = (struct st_io){.fd = -1, .ready = on_readable, .ctx = s};
    w->child.name = "stella-watchdog";
    w->child.start = start;
    w->buf = malloc(BUF); // touched as far as records are long
    if (!w->buf)
        return st_err_nomem(err);
    return st_child_init(s, &w->child, err);
}

void st_watch_release(struct st_sup *s)
{
    st_child_release(s, &s->watch.child);
    close_pipe(s);
    free(s->watch.buf);
    s->watch.buf = NULL;
}
