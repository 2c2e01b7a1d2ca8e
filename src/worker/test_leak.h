// For tests of memory deaths: a worker that takes memory until it dies. Only in a build with -Dtest_hooks=true, which
// is no release: there STELLA_TEST_LEAK is "PART" or "PART=512Mi": with an image whose name has that part, the worker
// takes so much (without a number: all there is) when the first layer is done and its checkpoint kept. Otherwise
// nothing.
#ifndef ST_WORKER_TEST_LEAK_H
#define ST_WORKER_TEST_LEAK_H

#include "base/sv.h"

// True: an allocation was refused (a limit of the process, not of its cgroup).
#ifdef ST_TEST_HOOKS
bool st_test_leak(struct st_sv image);
#else
static inline bool st_test_leak(struct st_sv image)
{
    (void)image;
    return false;
}
#endif

#endif
