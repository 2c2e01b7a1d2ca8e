// Takes memory, a mebibyte at a time, touched, until something ends it.
#include "worker/test_leak.h"

#include "base/quantity.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEP (1u << 20)
#define PAUSE_NS 2000000 // half a gibibyte a second: seen by whoever samples

bool st_test_leak(struct st_sv image)
{
    static bool done;
    const char *env = getenv("STELLA_TEST_LEAK");
    struct st_sv part, size;
    uint64_t left = UINT64_MAX;
    if (done || !env || !*env)
        return false;
    if (st_sv_cut(st_sv_of(env), '=', &part, &size))
        st_quantity_read(size, &left);
    if (!image.len || !memmem(image.ptr, image.len, part.ptr, part.len))
        return false;
    done = true;
    for (uint64_t taken = 0; taken < left; taken += STEP) {
        volatile char *p = malloc(STEP);
        for (size_t i = 0; p && i < STEP; i += 4096)
            p[i] = 1;
        if (!p)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return false;
}
