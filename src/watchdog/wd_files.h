// Small files and directories of /proc and cgroupfs, without allocation: read whole into a buffer of the caller, write
// one word, walk a subtree. Descriptors are O_CLOEXEC.
#ifndef ST_WATCHDOG_WD_FILES_H
#define ST_WATCHDOG_WD_FILES_H

#include "base/sv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// At most cap - 1 bytes of the file, NUL-terminated. Bytes, or -1 with errno.
ssize_t st_wd_read_at(int dir, const char *name, char *buf, size_t cap);
// One write of a short text. `flags` are added to O_WRONLY (O_NONBLOCK). 0 or -1 with errno.
int st_wd_write_at(int dir, const char *name, const char *text, int flags);
// The text up to the first line end.
struct st_sv st_wd_first_line(const char *buf, ssize_t n);
// The number of a file that holds one ("max" is UINT64_MAX). False when it is not there or is no number.
bool st_wd_number_at(int dir, const char *name, uint64_t *ret);
// The number behind `key ` at the start of a line.
bool st_wd_key_number(struct st_sv text, struct st_sv key, uint64_t *ret);

// A zeroed mapping of which only the pages that are touched cost memory, and no more than these. NULL on failure.
void *st_wd_map(size_t n);

uint64_t st_wd_now_ms(void); // CLOCK_BOOTTIME
uint64_t st_wd_ino(int dir); // 0: cannot be told

// Directory entries by getdents64: readdir allocates.
struct st_wd_listing {
    int fd; // borrowed
    int at, len;
    _Alignas(8) char buf[2048];
};
void st_wd_listing_init(struct st_wd_listing *l, int fd);
// Next entry's name, "." and ".." left out; only directories when `dirs`. NULL at the end and on errors.
const char *st_wd_listing_next(struct st_wd_listing *l, bool dirs);

// Visit a directory and all below it, depth first, parents before children. The descriptor given to `visit` is open for
// reading while it runs. `visit` ends the walk with non-zero, which is returned. Deeper than ST_WD_WALK_DEPTH levels
// is left out.
#define ST_WD_WALK_DEPTH 16
typedef int st_wd_visit_fn(int dir, void *ctx);
int st_wd_walk(int dir, st_wd_visit_fn *visit, void *ctx);

// Process ids of the cgroup's cgroup.procs, one call each. `each` ends it with non-zero, which is returned; -1 with
// errno when the file cannot be read. A process of another pid namespace is 0.
typedef int st_wd_pid_fn(pid_t pid, void *ctx);
int st_wd_each_pid(int dir, st_wd_pid_fn *each, void *ctx);
// Is the process in the cgroup or below it?
bool st_wd_holds_pid(int dir, pid_t pid);

#endif
