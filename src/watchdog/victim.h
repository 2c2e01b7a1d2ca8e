// Who holds the memory, and whom a watchdog may end for it. Everything is read from /proc/PID/status: it takes no lock
// of the process's address space, so it cannot hang on a process that hangs (environ and cmdline can).
//
// Sources: fs/proc/array.c (proc_pid_status: Name is escaped, so no name forges a line), fs/proc/task_mmu.c (task_mem).
#ifndef ST_WATCHDOG_VICTIM_H
#define ST_WATCHDOG_VICTIM_H

#include "base/err.h"
#include "base/sv.h"

#include <stdint.h>
#include <sys/types.h>

#define ST_WD_COMM 16

enum {
    ST_WD_P_NAMED = 1,  // its name is protected
    ST_WD_P_ABOVE = 2,  // a protected process descends from it
    ST_WD_P_INIT = 4,   // pid 1 of its own pid namespace
    ST_WD_P_OURS = 8,   // this watchdog, or its second process
    ST_WD_P_ZOMBIE = 16 // dead already
};

struct st_wd_process {
    pid_t pid, ppid;
    uint8_t flags;
    uint8_t target;             // which of the scanned targets holds it ...
    uint16_t depth;             // ... and how deep that lies
    char comm[ST_WD_COMM];      // as the kernel has it, at most 15 bytes, unescaped
    uint64_t anon, shmem, swap; // bytes
};
static inline uint64_t st_wd_process_bytes(const struct st_wd_process *p)
{
    return p->anon + p->shmem + p->swap;
}

// Read /proc/PID/status to its end, however long it is (the list of groups may have 65,536 numbers; a line of more than
// 4 KiB is cut there). False when Name or PPid is missing. Numbers that are missing are 0 (a kernel thread, a zombie).
// Flags: INIT and ZOMBIE.
bool st_wd_status_read(int fd, struct st_wd_process *ret);
// Read it for one process. False when it is gone.
bool st_wd_process_read(pid_t pid, struct st_wd_process *ret);

// Names that are never killed, compared with the first 15 bytes of comm (all that the kernel keeps).
#define ST_WD_PROTECT_MAX 64
struct st_wd_protect {
    char name[ST_WD_PROTECT_MAX][ST_WD_COMM];
    size_t n;
    pid_t ours[2]; // 0: none
};
// The defaults (agents, container runtimes, inits).
void st_wd_protect_init(struct st_wd_protect *p);
// Comma-separated names. ST_E_USAGE: an empty name, too many.
int st_wd_protect_add(struct st_wd_protect *p, struct st_sv names, struct st_err *err);
bool st_wd_protect_has(const struct st_wd_protect *p, const char *comm);

#define ST_WD_PROCESSES_MAX 4096
struct st_wd_processes {
    const struct st_wd_protect *protect; // borrowed
    size_t n;
    uint64_t unseen;   // processes of another pid namespace
    uint64_t left_out; // more than fit, or than there was time for
    struct st_wd_process at[ST_WD_PROCESSES_MAX];
};
void st_wd_processes_clear(struct st_wd_processes *ps, const struct st_wd_protect *protect);
// Add all processes of the cgroup and below it. Targets may lie in each other: a process belongs to the deepest (any
// number that grows from one to those in it: the length of its path). -1: not even cgroup.procs can be read.
int st_wd_processes_scan(struct st_wd_processes *ps, int dir, uint8_t target, uint16_t depth, uint64_t deadline_ms);
// After the last scan: sort, each process once, and find out who is above a protected process.
void st_wd_processes_finish(struct st_wd_processes *ps);
uint64_t st_wd_processes_bytes(const struct st_wd_processes *ps);

#define ST_WD_CULPRIT_SHARE 8 // who holds less than an eighth of the pinned memory is not to blame
// The largest process that may be killed, or NULL.
const struct st_wd_process *st_wd_culprit(const struct st_wd_processes *ps);
// The largest of all, also when it is protected: for the report.
const struct st_wd_process *st_wd_largest(const struct st_wd_processes *ps);
// The topmost process above `p` (or p itself) in the same target that may be killed: what hangs below the agent.
const struct st_wd_process *st_wd_tree_top(const struct st_wd_processes *ps, const struct st_wd_process *p);
// Is `p` `top` or a descendant of it?
bool st_wd_in_tree(const struct st_wd_processes *ps, const struct st_wd_process *p, const struct st_wd_process *top);
static inline bool st_wd_may_kill(const struct st_wd_process *p)
{
    return p->flags == 0 && p->pid > 1;
}

// A pidfd that was opened before identity was checked again: same name, same cgroup subtree, alive. `dir` is the
// target's. The caller closes it (readable once the process is gone). -1; ST_E_NOTFOUND: it has ended, or is not it.
int st_wd_hold_process(const struct st_wd_process *p, int dir, struct st_err *err);
// SIGKILL through such a pidfd, which is returned; -1 as above.
int st_wd_kill(const struct st_wd_process *p, int dir, struct st_err *err);
// Free the anonymous memory of a killed process from here (process_mrelease). Nothing to check.
void st_wd_reap(int pidfd);
bool st_wd_gone(int pidfd);

#endif
