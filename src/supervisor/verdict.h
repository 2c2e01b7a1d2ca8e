// Why a worker's process ended: a pure function of what was seen, the table of docs/adr/0012 ("The end of a job").
#ifndef ST_SUPERVISOR_VERDICT_H
#define ST_SUPERVISOR_VERDICT_H

#include "base/sv.h"
#include "store/store.h"

struct st_seen {
    bool said_end;           // the worker's last word arrived
    struct st_sv end_reason; // of it; empty: completed
    int end_code;            // of it
    int exit_code, signal;   // of the process: one of them is 0
    bool lost;               // the lease is somebody else's
    bool cancelled;          // it was told to stop, for good
    bool released;           // it was told to stop: restart, shutdown
    bool watchdog;           // a record with an action, or that asks for one, in its cgroup
    bool oom_kill;           // memory.events: oom_kill or oom_group_kill grew
    bool over_limit;         // no cgroup: it was over its limit when it was looked at, and ended for that
    bool timed_out;          // the supervisor ended it at its deadline
    bool not_started;        // its process could not be made, or its program not be executed
};

enum st_verdict_do {
    ST_DO_FINISH,  // with `state` and `reason`
    ST_DO_RELEASE, // the lease goes back, no try used up
    ST_DO_NOTHING, // it was somebody else's job
};

struct st_verdict {
    enum st_verdict_do what;
    enum st_job_state state;
    const char *reason;  // a word of st_reasons; "": completed, cancelled
    const char *restart; // a word of st_restart_reasons when the process was lost; NULL: it ended by itself
    bool memory;         // a memory death: the log line says so, more memory may help
    int exit_code;       // for people: 137 for SIGKILL
};

struct st_verdict st_verdict_of(const struct st_seen *s);

#endif
