#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec t;
    return clock_gettime(id, &t) ? 0 : (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t st_clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

int64_t st_clock_mono_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

void st_clock_text(int64_t wall_ms, char ret[static ST_CLOCK_TEXT])
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (wall_ms <= 0 || !gmtime_r(&t, &tm) || !strftime(ret, ST_CLOCK_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(ret, ST_CLOCK_TEXT, "-");
}
