// The kernel rung: make the kernel itself declare out-of-memory in a cgroup, so that its verdict (oom_kill, OOMKilled)
// is true. The limit is lowered under what is pinned, until the first kill, and put back at once.
//
// Why a child, and why it interrupts its own write: memory_max_write (mm/memcontrol.c) reclaims and kills in a loop
// until usage fits, and the memory of a killed process may come back later than the loop turns (shared memory is freed
// when the last file is closed): measured, it then kills a second, innocent process. A pending signal ends that loop
// after the limit is set; the charging processes themselves then run into the limit and the kernel picks one: the one
// with oom_score_adj 1000, which is set on the culprit first. memory.events is read every millisecond, and at the first
// oom_kill the old limit is back.
#ifndef ST_WATCHDOG_KERNEL_OOM_H
#define ST_WATCHDOG_KERNEL_OOM_H

#include <stdint.h>
#include <sys/types.h>

#define ST_WD_KERNEL_OOM_MS 2000 // without a kill: give up, limit restored

enum { // exit status of the child
    ST_WD_KERNEL_KILLED = 0,
    ST_WD_KERNEL_NOTHING = 1, // no kill in time
    ST_WD_KERNEL_ERROR = 2,   // a file could not be read or written
    ST_WD_KERNEL_TWICE = 3,   // more than one process was killed
};

// Fork the child that does it: cgroup directory, the limit to put back, the limit to set, the process to prefer and its
// pidfd. Signals stay blocked in it as they are here. Its pid, or -1.
pid_t st_wd_kernel_oom(int dir, uint64_t old_limit, uint64_t low_limit, pid_t culprit, int pidfd);

#endif
