// The ladder's rungs and what may come of them: one table for options, records and metrics.
#ifndef ST_WATCHDOG_WD_RUNG_H
#define ST_WATCHDOG_WD_RUNG_H

#include <stdbool.h>

// rung, word, on by default?, needs more than counters?, what a person reads
#define ST_WD_RUNGS(X)                                                                                 \
    X(OBSERVE, "observe", true, false, "look, keep evidence")                                          \
    X(WARN, "warn", true, false, "say so")                                                             \
    X(RELIEVE, "relieve", false, false, "raise the limit by a tenth for 10 s, or freeze, and measure") \
    X(CULPRIT, "culprit", true, false, "kill the process that holds most")                             \
    X(TREE, "tree", true, true, "kill it with all that hangs below the agent")                         \
    X(KERNEL, "kernel", false, true, "make the kernel declare out-of-memory")                          \
    X(CGROUP, "cgroup", true, true, "kill the whole cgroup")                                           \
    X(HOOK, "hook", true, false, "hand over to the hook")

enum st_wd_rung {
#define ST_WD_RUNG_ENUM(id, word, on, strong, text) ST_WD_RUNG_##id,
    ST_WD_RUNGS(ST_WD_RUNG_ENUM)
#undef ST_WD_RUNG_ENUM
        ST_WD_RUNG_COUNT
};

#define ST_WD_OUTCOMES(X) \
    X(DONE, "done")       \
    X(FAILED, "failed")   \
    X(DRY_RUN, "dry-run")

enum st_wd_outcome {
#define ST_WD_OUTCOME_ENUM(id, word) ST_WD_OUTCOME_##id,
    ST_WD_OUTCOMES(ST_WD_OUTCOME_ENUM)
#undef ST_WD_OUTCOME_ENUM
        ST_WD_OUTCOME_COUNT
};

struct st_wd_rung_row {
    const char *word, *text;
    bool on, strong;
};
extern const struct st_wd_rung_row st_wd_rungs[ST_WD_RUNG_COUNT];
extern const char *const st_wd_outcome_words[ST_WD_OUTCOME_COUNT];

#endif
