// One evidence record of stella-watchdog (its schema: src/watchdog/evidence.h), as far as stella-act needs it. The
// record comes from the watchdog, but texts in it are the watched job's own (process names, its environment): they are
// never more than text here, and what they say about GitHub is a claim (github.h).
#ifndef ST_ACT_ACT_RECORD_H
#define ST_ACT_ACT_RECORD_H

#include "base/mem.h"

#define ST_ACT_RECORD_MAX (4u * 1024 * 1024) // bytes; the watchdog writes about 60 KB
#define ST_ACT_RECORD_SCHEMA "stella-watchdog/1"

struct st_act_record {
    struct st_sv schema, id, time;
    struct st_sv kind; // "verdict" or "action"
    bool dry_run;      // the watchdog only says what it would do

    struct st_sv cgroup_path, limit_owner, limit_file;
    uint64_t limit_bytes;

    struct st_sv state, confidence, text;
    bool must_end;

    struct st_sv culprit_comm; // empty: no culprit known
    uint64_t culprit_pid, culprit_bytes;

    struct st_sv rung, outcome, detail; // empty: no action yet

    struct st_sv repository, job, api_url; // the job's own claim; empty: not known
    uint64_t run_id, run_attempt;          // 0: not known
};

// ST_E_INPUT: not a record, or one of another schema; the text says what is missing. Texts borrow from `text` and the
// arena.
int st_act_record_read(struct st_sv text, struct st_arena *a, struct st_act_record *ret, struct st_err *err);

// What this record asks stella-act to do about the job's runner.
enum st_act_wish {
    ST_ACT_TELL, // the watchdog is about to act, or its act leaves the runner alive to report: only say it
    ST_ACT_END,  // the container is dead or beyond the watchdog's reach: end the run and the runner
};
// A table of rung and outcome (act_record.c). A dry run of the watchdog asks for nothing but to tell.
enum st_act_wish st_act_record_wish(const struct st_act_record *r);

#endif
