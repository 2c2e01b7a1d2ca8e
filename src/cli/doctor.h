// stella doctor: what may be wrong, with the evidence and a command to paste (operator-surface 3.3, 6.3).
//
// A check is one row of st_doctor_checks and one pure function from facts to a diagnosis. Gathering facts only looks:
// nothing is made, changed or removed. Thresholds are the rows of 3.3; where it has none they are ours and stand in
// doctor_checks.c.
#ifndef ST_CLI_DOCTOR_H
#define ST_CLI_DOCTOR_H

#include "scan/sandbox.h"
#include "service/client.h"

#include <limits.h>

// ---- facts --------------------------------------------------------------------------------------

enum st_helper_id { ST_HELPER_ANALYZE, ST_HELPER_FETCH, ST_HELPER_API, ST_HELPER_WATCHDOG, ST_HELPERS };
extern const char *const st_doctor_helpers[ST_HELPERS];

struct st_doctor_disk {
    char path[PATH_MAX];
    uint64_t free, total; // bytes; free is what this user may take
    bool known, writable;
};

// Of workers that are reported and not stale. Shares are percent, in thousandths.
struct st_doctor_workers {
    uint64_t cpu_utilization, memory_utilization, memory_used_mb, active_workers, idle_workers, total_workers;
    bool has_cpu;
    uint64_t stale, stalled, dead;
    uint64_t not_enforced; // without a cgroup of their own
    uint64_t other_limit;  // workers of default whose limit is not the configured one
};

// Of the last hour unless it says otherwise.
struct st_doctor_facts {
    bool store; // the record can be read: queue and what follows up to `dead` is known
    char store_error[ST_ERR_TEXT_MAX];
    bool service;    // it was read through a service
    bool degraded;   // and that does not feel well
    char kind[16];   // "sqlite", "postgresql"
    char reason[96]; // why degraded
    uint64_t answer_ms;
    struct st_queue_stats queue;
    struct st_sbom_stats sbom_day, sbom_hour;
    struct st_doctor_workers workers;
    uint64_t memory_deaths, timeouts, sbom_failed, registry_auth, ended; // jobs that ended so
    uint64_t oom_lines;                                                  // lines of the log about a death
    uint64_t memory_limit;                                               // worker.memory_limit
    bool limit_set;                                                      // by a person
    uint64_t waiting;                                                    // pending jobs of pools without a worker
    char waiting_pool[64];                                               // one of them
    // Dead letters.
    uint64_t dead, dead_retryable;
    int64_t dead_oldest_ms;
    char dead_common[64]; // commonest reason
    // The layer cache.
    bool dedup; // cache.layer_dedup
    struct st_cache_stats cache;
    // This machine.
    struct st_doctor_disk home, spill;
    bool helper[ST_HELPERS];
    bool sandboxed; // `sandbox` is known
    char sandbox_error[ST_ERR_TEXT_MAX];
    struct st_sandbox_report sandbox;
    bool cgroup2;         // /sys/fs/cgroup is of version 2
    bool cgroup_memory;   // our cgroup has the memory controller
    bool cgroup_writable; // and we may make cgroups in it
    char cgroup[160];     // its path; empty: not known
    int64_t now_ms;       // wall
};

// quick: what starts a process or walks a directory is left out.
void st_doctor_gather(bool quick, struct st_doctor_facts *ret);

// ---- diagnoses -----------------------------------------------------------------------------------

enum st_doctor_result { ST_DOCTOR_PASS, ST_DOCTOR_SKIP, ST_DOCTOR_WARN, ST_DOCTOR_FAIL, ST_DOCTOR_RESULTS };
extern const char *const st_doctor_result_words[]; // NULL ends

enum st_finding_kind { ST_FINDING_NUMBER, ST_FINDING_TEXT, ST_FINDING_BOOL };
struct st_finding {
    const char *name; // literal; those of 3.3 where it has them
    enum st_finding_kind kind;
    uint64_t milli; // a number, in thousandths; a bool
    char text[120];
};
#define ST_FINDING_MAX 12
#define ST_REMEDIES_MAX 3
struct st_diagnosis {
    enum st_doctor_result result;
    char says[200]; // one line, no full stop
    struct st_finding findings[ST_FINDING_MAX];
    size_t n_findings;
    char remedies[ST_REMEDIES_MAX][200]; // commands to paste
    size_t n_remedies;
};

// What a check cannot do without; it is skipped then, and says so.
enum {
    ST_NEEDS_STORE = 1,   // a record that can be read
    ST_NEEDS_SERVICE = 2, // a service that answers
    ST_NEEDS_TIME = 4,    // not with --quick
};
struct st_doctor_check {
    const char *id;
    const char *what; // what it looks at
    unsigned needs;
    void (*judge)(const struct st_doctor_facts *f, struct st_diagnosis *v);
    const char *runbook; // name of a file in docs/runbooks, NULL: none
};
extern const struct st_doctor_check st_doctor_checks[]; // id NULL ends; sorted by id

// The check of that id. ST_E_USAGE with the nearest one. "check." in front may be left out.
const struct st_doctor_check *st_doctor_find(struct st_sv id, struct st_err *err);
void st_doctor_judge(const struct st_doctor_check *c, const struct st_doctor_facts *f, bool quick,
                     struct st_diagnosis *ret);

#endif
