// A limit domain on the file system: a watched cgroup, and who owns the memory limit that binds it.
//
// The owner is, among the cgroup and its ancestors up to the root of the mount (or cgroup namespace), the one with the
// least headroom: the lower of memory.max and memory.high, less memory.current. At equal headroom it is the higher one,
// since there the kernel counts the events when a pod's limit equals its container's (reference:
// page_counter_try_charge in mm/page_counter.c charges upwards, try_charge_memcg reclaims where it failed). With no
// finite limit at all it is the cgroup itself.
//
// Nothing here allocates. The directory is held by O_PATH (it pins no memory of the job's) with its inode: a path that
// leads to another inode is another cgroup.
#ifndef ST_WATCHDOG_DOMAIN_H
#define ST_WATCHDOG_DOMAIN_H

#include "base/err.h"
#include "watchdog/sample.h"

struct st_wd_root { // a cgroup2 mount
    int fd;         // owns; -1: unset
    uint64_t dev, ino;
};
// `path`: the mount point, usually /sys/fs/cgroup; on a hybrid host it is /sys/fs/cgroup/unified and that is found.
// ST_E_NOTFOUND when there is no cgroup v2. `any_fs`: for tests, a directory that only looks like one.
int st_wd_root_open(struct st_wd_root *r, const char *path, bool any_fs, struct st_err *err);
void st_wd_root_close(struct st_wd_root *r);

struct st_wd_domain {
    int dir_fd; // owns; O_PATH of the watched cgroup; -1: unset
    uint64_t ino, owner_ino;
    uint64_t limit;     // ST_WD_NONE: nobody has one
    uint16_t owner_up;  // levels above the watched cgroup: 0 = itself
    bool limit_is_high; // memory.high of the owner is the lower one
};
#define ST_WD_LEVELS_MAX 64 // deeper nesting is ST_E_LIMIT

// `path` below the root, with or without a leading '/'. ST_E_NOTFOUND, ST_E_INPUT (a path with ".."; a directory that
// is no cgroup with memory accounting: says which controller to enable where).
int st_wd_domain_open(struct st_wd_domain *d, const struct st_wd_root *root, struct st_sv path, struct st_err *err);
void st_wd_domain_close(struct st_wd_domain *d);
// Find the owner (again) and hand out its directory, O_PATH, which the caller closes. Cheap: two small reads a level.
// -1 with ST_E_NOTFOUND: the cgroup is gone.
int st_wd_domain_owner(struct st_wd_domain *d, const struct st_wd_root *root, int *ret_fd, struct st_err *err);
// Still there? (A removed cgroup's directory has no files any more.)
bool st_wd_domain_alive(const struct st_wd_domain *d);
// Does this path lead to the same cgroup as when it was opened?
bool st_wd_domain_is(const struct st_wd_domain *d, const struct st_wd_root *root, struct st_sv path);
// Path of a cgroup's directory below the root ("/" for the root itself), of any descriptor. -1 when it is gone or /proc
// is not there. Always terminated.
int st_wd_dir_path(const struct st_wd_root *root, int dir_fd, char *buf, size_t cap);

// Open files of an owner, while its domain is armed.
struct st_wd_sampler {
    int fd[ST_WD_FILE_COUNT]; // owns; -1: that file is not there
};
#define ST_WD_SAMPLER_INIT                    \
    {                                         \
        {                                     \
            [0 ... ST_WD_FILE_COUNT - 1] = -1 \
        }                                     \
    }
// Opens what there is. Missing files are in *ret_missing (bit = enum st_wd_file) when not NULL. -1 when not even
// memory.current or memory.stat can be read.
int st_wd_sampler_open(struct st_wd_sampler *s, int owner_fd, uint32_t *ret_missing, struct st_err *err);
void st_wd_sampler_close(struct st_wd_sampler *s);
// One sample, with the time of its taking. -1: the cgroup is gone (ENODEV). No allocation; 16 KiB of stack.
int st_wd_sampler_read(const struct st_wd_sampler *s, struct st_wd_sample *ret);

#endif
