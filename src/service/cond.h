// Condition variables of stella-api that wait for a time: on CLOCK_MONOTONIC, since a wait on the wall clock would last
// an hour longer when somebody sets the clock back by one.
#ifndef ST_SERVICE_COND_H
#define ST_SERVICE_COND_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline void st_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

// When a wait that begins now ends: for pthread_cond_timedwait, of conditions of st_cond_init only.
static inline struct timespec st_cond_in(int64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + ms % 1000 * 1000000;
    t.tv_sec += ms / 1000 + ns / 1000000000;
    t.tv_nsec = ns % 1000000000;
    return t;
}

#endif
