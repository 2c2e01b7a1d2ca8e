// Hooks: a program that gets each record on its standard input. It is started, given its record and left alone; past
// its deadline it is killed with its process group. Nothing waits for it.
#ifndef ST_WATCHDOG_HOOK_H
#define ST_WATCHDOG_HOOK_H

#include "base/err.h"
#include "base/sv.h"

#include <sys/types.h>

#define ST_WD_HOOK_DEADLINE_MS 30000
#define ST_WD_HOOKS_AT_ONCE 4
#define ST_WD_HOOK_ARGS 16

struct st_wd_hook {
    char text[1024];
    char *argv[ST_WD_HOOK_ARGS + 1]; // into text; argv[0] NULL: no hook
    struct {
        pid_t pid; // 0: free
        uint64_t deadline_ms;
    } running[ST_WD_HOOKS_AT_ONCE];
    uint64_t dropped; // records for which no slot, pipe or process was left
    uint64_t killed;  // past their deadline
};

// Words separated by blanks: no shell. ST_E_USAGE: too long, or a program that is not there.
int st_wd_hook_init(struct st_wd_hook *h, const char *command, struct st_err *err);
// Start it with this record. False: dropped (counted).
bool st_wd_hook_run(struct st_wd_hook *h, struct st_sv record, uint64_t now_ms);
// A child was reaped: was it a hook's?
bool st_wd_hook_reaped(struct st_wd_hook *h, pid_t pid);
// Kill what is past its deadline. When to call again (ms), 0: not needed.
uint64_t st_wd_hook_step(struct st_wd_hook *h, uint64_t now_ms);

#endif
