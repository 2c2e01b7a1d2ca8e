// One screen about one cgroup, for a tired person: what is happening, whose limit, who holds the memory, what to do.
#ifndef ST_WATCHDOG_WD_SCREEN_H
#define ST_WATCHDOG_WD_SCREEN_H

#include "base/out.h"
#include "watchdog/policy.h"
#include "watchdog/victim.h"

struct st_wd_screen {         // all borrowed
    struct st_sv path, owner; // without leading '/', with it
    const struct st_wd_verdict *verdict;
    const struct st_wd_processes *processes;
    bool swap;      // the host has some
    double seconds; // looked at so far
};

void st_wd_screen_write(struct st_out *o, const struct st_wd_screen *s);

#endif
