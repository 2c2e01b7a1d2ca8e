#include "supervisor/loop.h"

#include "base/ckd.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int st_loop_init(struct st_loop *l, struct st_err *err)
{
    *l = (struct st_loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
    return l->epoll < 0 ? st_err_sys(err, "epoll") : 0;
}

void st_loop_release(struct st_loop *l)
{
    if (l->epoll >= 0)
        close(l->epoll);
    l->epoll = -1;
    free(l->heap);
    l->heap = NULL;
    l->n = l->cap = 0;
}

int st_loop_add(struct st_loop *l, struct st_io *io, int fd, uint32_t events, struct st_err *err)
{
    struct epoll_event e = {.events = events, .data.ptr = io};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e))
        return st_err_sys(err, "epoll");
    io->fd = fd;
    return 0;
}

void st_loop_drop(struct st_loop *l, struct st_io *io)
{
    if (io->fd >= 0)
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, io->fd, NULL);
    io->fd = -1;
}

// ---- timers -------------------------------------------------------------------------------------

int st_loop_timer(struct st_loop *l, struct st_timer *t, void (*fire)(void *ctx), void *ctx, struct st_err *err)
{
    *t = (struct st_timer){.fire = fire, .ctx = ctx};
    // Every timer that was ever made has a place: they are few, and slots are made seldom.
    struct st_timer **heap = realloc(l->heap, (l->cap + 1) * sizeof(struct st_timer *));
    if (!heap)
        return st_err_nomem(err);
    l->heap = heap;
    l->cap++;
    return 0;
}

static void place(struct st_loop *l, size_t i, struct st_timer *t)
{
    l->heap[i] = t;
    t->at = i + 1;
}

static void settle(struct st_loop *l, size_t i, struct st_timer *t)
{
    while (i && l->heap[(i - 1) / 2]->due_ms > t->due_ms) {
        place(l, i, l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (size_t k; (k = 2 * i + 1) < l->n; i = k) {
        k += k + 1 < l->n && l->heap[k + 1]->due_ms < l->heap[k]->due_ms;
        if (l->heap[k]->due_ms >= t->due_ms)
            break;
        place(l, i, l->heap[k]);
    }
    place(l, i, t);
}

void st_loop_disarm(struct st_loop *l, struct st_timer *t)
{
    if (!t->at)
        return;
    size_t i = t->at - 1;
    struct st_timer *last = l->heap[--l->n];
    t->at = 0;
    if (last != t)
        settle(l, i, last);
}

void st_loop_arm(struct st_loop *l, struct st_timer *t, int64_t in_ms)
{
    st_loop_disarm(l, t);
    t->due_ms = st_clock_mono_ms() + ST_MAX(in_ms, (int64_t)0);
    settle(l, l->n++, t);
}

static void fire_due(struct st_loop *l)
{
    int64_t now = st_clock_mono_ms();
    // As many as there are now: one that arms itself for at once does not starve the descriptors.
    for (size_t most = l->n; most && l->n && l->heap[0]->due_ms <= now && !l->ended; most--) {
        struct st_timer *t = l->heap[0];
        st_loop_disarm(l, t);
        t->fire(t->ctx);
    }
}

int st_loop_run(struct st_loop *l, struct st_err *err)
{
    while (!l->ended) {
        int64_t left = l->n ? ST_MAX(l->heap[0]->due_ms - st_clock_mono_ms(), (int64_t)0) : -1;
        struct epoll_event e;
        int n = epoll_wait(l->epoll, &e, 1, (int)ST_MIN(left, (int64_t)60000));
        if (n < 0 && errno != EINTR)
            return st_err_sys(err, "epoll");
        if (n > 0) {
            struct st_io *io = e.data.ptr;
            io->ready(io->ctx, e.events);
        }
        fire_due(l);
    }
    return 0;
}

void st_loop_end(struct st_loop *l)
{
    l->ended = true;
}
