// Reading a record of stella-watchdog (docs/schema/stella-watchdog-1.schema.json) as far as the supervisor needs it.
// Pure.
#ifndef ST_SUPERVISOR_WATCH_RECORD_H
#define ST_SUPERVISOR_WATCH_RECORD_H

#include "base/mem.h"

struct st_watch_record {
    struct st_sv path; // of the cgroup, below the mount, without a leading slash
    bool acted;        // an action that was done
    bool asks; // a verdict that asks for an end, which the watchdog cannot bring about by itself (counters only)
    struct st_sv brief; // the record as JSON without its samples, for the evidence; in the arena
};
// One line. ST_E_FORMAT when it is no such record.
int st_watch_record_read(struct st_sv line, struct st_watch_record *ret, struct st_arena *a, struct st_err *err);

#endif
