// Who may wait for a job: the sum of the memory of running and expected jobs stays within the host less a reserve.
// Pure. docs/adr/0012, "Claims, admission, leases".
#ifndef ST_SUPERVISOR_ADMISSION_H
#define ST_SUPERVISOR_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What is left to the system, to the supervisor and to stella-api: an eighth of the host, from 64 MiB to 1 GiB.
uint64_t st_admission_reserve(uint64_t host);
// What one worker may use: its pool's limit, at most the host less the reserve.
uint64_t st_admission_effective(uint64_t limit, uint64_t host);

struct st_admission_pool {
    uint64_t memory;   // effective limit of its next worker
    int64_t waited_ms; // since it last had a claim out, or a job was given to it
    bool wants;        // it has a free worker
    bool waiting;      // its claim is out: its memory is reserved
    bool starving;     // it has pending jobs and was not admitted for ST_ADMISSION_PATIENCE_MS
    // ---- set by st_admission_decide
    bool admit; // send its claim
    bool yield; // its claim is out, but another pool is to have its turn: keep the wait short
};
#define ST_ADMISSION_PATIENCE_MS 60000

// `used`: memory of the jobs that run. Pools that wait keep their place. The others are admitted in the order of their
// waiting as far as memory goes; while one starves nobody behind it is, so that memory comes free for it. When nothing
// runs and nothing waits the first is admitted whatever it asks for.
void st_admission_decide(struct st_admission_pool *pools, size_t n, uint64_t used, uint64_t host);

#endif
