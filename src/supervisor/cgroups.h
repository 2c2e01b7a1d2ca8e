// The part of the cgroup tree that is ours (docs/adr/0012, "A worker is a slot"), and one cgroup a job.
//
//     CG/supervisor/        this process, stella-api, stella-watchdog
//     CG/workers/POOL-N/    one job: made before it, removed after it, so that memory.peak and the events are its own
#ifndef ST_SUPERVISOR_CGROUPS_H
#define ST_SUPERVISOR_CGROUPS_H

#include "base/err.h"

#include <limits.h>

struct st_cgroups {
    int workers;         // directory; -1: none can be made, see why
    char path[PATH_MAX]; // of CG below the mount, without a slash at its ends; "" is the root
    char mount[PATH_MAX];
    char why[400]; // no cgroup: the cause, and what to do to get it
    bool kill;     // cgroup.kill is there (Linux 5.14)
};

// Find and prepare CG: where this process is, or, when that is CG/supervisor, above. What an earlier supervisor left
// below workers/ is ended and removed, unless `keep` (after an upgrade). Never fails: without cgroups g->workers is -1.
void st_cgroups_open(struct st_cgroups *g, bool keep);
void st_cgroups_close(struct st_cgroups *g); // workers/ is removed when it is empty
// Memory of the host as far as CG may use it: the least of MemTotal and every memory.max above.
uint64_t st_cgroups_host_memory(const struct st_cgroups *g);

// Make workers/NAME with its limits and hand out its directory. One that is there already is ended and removed first.
int st_cgroup_make(const struct st_cgroups *g, const char *name, uint64_t memory, int *ret_dir, struct st_err *err);
int st_cgroup_open(const struct st_cgroups *g, const char *name); // -1: it is not there
void st_cgroup_kill(const struct st_cgroups *g, int dir);
// 1: it is gone; 0: something still dies in it, try again soon; -1.
int st_cgroup_remove(const struct st_cgroups *g, const char *name, struct st_err *err);
bool st_cgroup_populated(int dir);

#endif
