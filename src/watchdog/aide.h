// The second process. It does what may block: log lines, evidence, traces and the metrics file go to it through a pipe
// that the watchdog never waits on. And it outlives the watchdog by a moment: a limit that was raised, or a cgroup that
// was frozen, for a while (st_wd_aide_hold) is put back when the pipe ends, whatever ended the watchdog. A kill of both
// at once (cgroup.kill on the watchdog's own cgroup) leaves it undone.
#ifndef ST_WATCHDOG_AIDE_H
#define ST_WATCHDOG_AIDE_H

#include "base/err.h"
#include "base/sv.h"

#include <sys/types.h>

struct st_wd_aide_files { // borrowed for the aide's life; -1 or NULL: none
    int root;             // directory of the cgroup2 mount, for holds
    int traces;           // directory
    const char *evidence; // appended to, opened for each record so that it may be rotated away; "-": standard output
    const char *metrics;  // replaced atomically
};

struct st_wd_aide {
    struct st_wd_aide_files files;
    int fd; // owns; pipe to it; -1: not running
    pid_t pid;
    uint64_t dropped; // messages that found no room
};

enum st_wd_aide_kind {
    ST_WD_AIDE_LOG,      // to standard error
    ST_WD_AIDE_EVIDENCE, // to files.evidence
    ST_WD_AIDE_METRICS,  // the whole of files.metrics
    ST_WD_AIDE_TRACE,    // appended to `name` in files.traces
    ST_WD_AIDE_HOLD,     // internal
    ST_WD_AIDE_DROP,     // internal
};

// Can records be written there? Makes the file.
int st_wd_aide_evidence_try(const char *evidence, struct st_err *err);
// Forks. Call before other descriptors are open; a later call after its death closes what it does not need.
int st_wd_aide_start(struct st_wd_aide *a, const struct st_wd_aide_files *files, struct st_err *err);
// Whole or not at all; false when there is no room (counted) or nobody. Never blocks for longer than 100 ms, and that
// only when a message was cut by a full pipe.
bool st_wd_aide_send(struct st_wd_aide *a, enum st_wd_aide_kind kind, struct st_sv name, struct st_sv bytes);
// One log line: untrusted bytes in it are escaped by the aide.
void st_wd_aide_say(struct st_wd_aide *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// When the pipe ends, write `value` into `file` of cgroup `path`, if that still has inode `ino`. At most
// ST_WD_AIDE_HOLDS at once, told apart by (ino, file). False: not registered, so do not change the file.
#define ST_WD_AIDE_HOLDS 16
bool st_wd_aide_hold(struct st_wd_aide *a, struct st_sv path, uint64_t ino, const char *file, const char *value);
void st_wd_aide_drop(struct st_wd_aide *a, uint64_t ino, const char *file);
// Close the pipe and wait until everything is written, at most `ms`.
void st_wd_aide_stop(struct st_wd_aide *a, unsigned ms);

#endif
