// Evidence: one JSON object on one line per verdict and per action (docs/schema/stella-watchdog-1.schema.json). It
// goes to --evidence and to the hook, and `replay` reads its samples.
#ifndef ST_WATCHDOG_EVIDENCE_H
#define ST_WATCHDOG_EVIDENCE_H

#include "base/out.h"
#include "watchdog/ci_step.h"
#include "watchdog/policy.h"
#include "watchdog/victim.h"

#define ST_WD_EVIDENCE_MAX (192 * 1024) // a record fits: ST_WD_SERIES_MAX rows of 64-bit numbers, and the rest

struct st_wd_record { // all borrowed
    const char *id;   // one for the records of an incident
    int64_t wall_ms;
    bool is_action, dry_run;
    struct st_sv path, owner; // of the watched cgroup, of the cgroup whose limit binds
    uint64_t ino;
    const struct st_wd_verdict *verdict;
    struct st_sv text;                   // of the verdict, a sentence
    const struct st_wd_process *culprit; // NULL: none found
    const char *rung, *outcome;          // is_action
    uint64_t took_ms;                    // the rung, until it had its effect or was given up; 0: nothing to wait for
    struct st_sv detail;
    const struct st_wd_github *github;          // NULL: no GitHub job
    const struct st_wd_numbers *before, *after; // after NULL: not known (dry run, verdict)
    const struct st_wd_series *series;
};

// With its line end.
void st_wd_record_write(struct st_out *o, const struct st_wd_record *r);

// A new incident's id: 16 hexadecimal digits from time and inode; no two incidents of one host share one.
#define ST_WD_ID 17
void st_wd_incident_id(uint64_t ino, uint64_t now_ms, int64_t wall_ms, char ret[static ST_WD_ID]);

#endif
