// One job in this process: what its supervisor sent becomes a request of the engine, what the engine says becomes
// messages, what it wrote the job's result.
#ifndef ST_WORKER_RUN_JOB_H
#define ST_WORKER_RUN_JOB_H

#include "worker/worker_msg.h"

// What a worker's limit has to hold beside the budget of its scan: page tables, buffers of sockets and pipes, the
// kernel's own structures, which a cgroup counts too (docs/LIMITS.md).
#define ST_WORKER_RESERVE (16ull << 20)
#define ST_WORKER_CHECKPOINT_FILES 50000 // sbom.incremental_mode
#define ST_WORKER_PROGRESS_MS 500        // at most that often

struct st_run_job {
    const struct st_worker_job *job;
    int file;                        // that came along; -1: none
    int sock;                        // to the supervisor
    const volatile int *interrupted; // set: end soon, with ST_E_CANCELLED
};
// The texts of *ret are in the arena. Always fills it: a failure is an end too.
void st_run_job(const struct st_run_job *r, struct st_worker_end *ret, struct st_arena *a);
// The job was cancelled: its checkpoints and its result directory are of no use.
void st_run_job_forget(const struct st_worker_job *job);

// The process `stella worker`: takes a job from ST_WORKER_FD, runs it, says its end. 0 when an end was said.
int st_worker_process(struct st_err *err);

#endif
