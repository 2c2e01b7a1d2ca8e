// The loop: descriptors (epoll, level-triggered, one event at a time, so that an event can never be for something that
// the one before it closed) and timers (a heap). CLOCK_MONOTONIC, ms.
#ifndef ST_SUPERVISOR_LOOP_H
#define ST_SUPERVISOR_LOOP_H

#include "base/err.h"

#include <stddef.h>
#include <sys/epoll.h>

struct st_io { // lives where its owner lives; fd is the owner's
    int fd;    // -1: not in the loop
    void (*ready)(void *ctx, uint32_t events);
    void *ctx;
};
#define ST_IO_INIT \
    {              \
        .fd = -1   \
    }

struct st_timer {
    void (*fire)(void *ctx); // once; it may be armed again
    void *ctx;
    int64_t due_ms;
    size_t at; // place in the heap, plus 1; 0: not armed
};

struct st_loop {
    int epoll; // -1: unset
    bool ended;
    struct st_timer **heap; // owns the array
    size_t n, cap;
};

int st_loop_init(struct st_loop *l, struct st_err *err);
void st_loop_release(struct st_loop *l);
// `io` has its callback; fd is not owned.
int st_loop_add(struct st_loop *l, struct st_io *io, int fd, uint32_t events, struct st_err *err);
void st_loop_drop(struct st_loop *l, struct st_io *io); // fd is -1 then; not closed. May be called when it is -1.
// Room for the timer is made by st_loop_timer, so that arming cannot fail.
int st_loop_timer(struct st_loop *l, struct st_timer *t, void (*fire)(void *ctx), void *ctx, struct st_err *err);
void st_loop_arm(struct st_loop *l, struct st_timer *t, int64_t in_ms); // again: the new time holds
void st_loop_disarm(struct st_loop *l, struct st_timer *t);             // may be called when it is not armed
static inline bool st_loop_armed(const struct st_timer *t)
{
    return t->at != 0;
}
int st_loop_run(struct st_loop *l, struct st_err *err); // until st_loop_end
void st_loop_end(struct st_loop *l);

#endif
