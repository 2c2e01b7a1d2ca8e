// The CI job behind a process: which GitHub run it belongs to, and one line into its log before it is ended.
//
// Both touch things that can hang (environ takes the lock of the victim's address space) or that the victim controls
// (its standard output), so a child does it, with a deadline, and is left behind when it hangs. The output is taken
// over with pidfd_getfd: it is the very file that the process itself has open for writing, never one that a name leads
// to, and it is written only when that does not block: with RWF_NOWAIT, or, where the kernel has that not for pipes and
// terminals, when poll says that there is room.
#ifndef ST_WATCHDOG_CI_STEP_H
#define ST_WATCHDOG_CI_STEP_H

#include "base/sv.h"

#include <sys/types.h>

struct st_wd_github { // empty texts: not known. Cut where longer.
    char repository[160], run_id[24], run_attempt[12], job[128], api_url[160];
    bool actions; // GITHUB_ACTIONS=true
};

enum st_wd_line {
    ST_WD_LINE_NONE,    // nothing asked, or no GitHub job
    ST_WD_LINE_WRITTEN, // in the step's log
    ST_WD_LINE_REFUSED, // its output is neither pipe nor terminal nor file, is full, or may not be taken
    ST_WD_LINE_TIMEOUT,
};

// Whole environ text (NUL-separated). Pure.
void st_wd_github_parse(struct st_sv vars, struct st_wd_github *ret);

// Ask the processes in order until one says which run it is; when it is a GitHub job and `message` is not empty, write
// it as an error command. At most `ms` in all. Returns what became of the line.
enum st_wd_line st_wd_ci_step(const pid_t *pids, size_t n, struct st_sv message, unsigned ms, struct st_wd_github *ret);
// "\n::error title=Out of memory::TEXT\n", escaped as workflow commands want (%, CR, LF), control characters as '?'.
// Bytes, at most cap.
size_t st_wd_workflow_error(struct st_sv text, char *buf, size_t cap);
// Write into the standard output of a process without blocking. Used in the child; here for tests.
bool st_wd_write_stdout_of(pid_t pid, struct st_sv line);

#endif
