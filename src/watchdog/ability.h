// What this watchdog can do here, and why not the rest. Each ability is tried, not guessed from the user id.
#ifndef ST_WATCHDOG_ABILITY_H
#define ST_WATCHDOG_ABILITY_H

#include "base/err.h"
#include "base/sv.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// The PSI trigger: 400 ms of stall within 2 s. Windows of whole 2 s need no capability and no kernel thread (6.4 on;
// kernel/sched/psi.c, psi_trigger_create).
#define ST_WD_PSI_TRIGGER "some 400000 2000000"

// ability, word, what is lost without it
#define ST_WD_ABILITIES(X)                                                                                           \
    X(EVENTS, "events", "is not woken by memory.events: polls every 2 s")                                            \
    X(TRIGGER, "trigger", "is not woken by pressure: a limit of another level that binds is noticed by events only") \
    X(PSI, "psi", "judges on counters alone, and then kills no more than the culprit")                               \
    X(INOTIFY, "inotify", "looks for new cgroups every 30 s")                                                        \
    X(PROCESSES, "processes", "cannot name or kill the process that holds the memory")                               \
    X(SIGNAL, "signal", "cannot kill a process")                                                                     \
    X(KILL, "kill", "cannot kill the whole cgroup")                                                                  \
    X(LIMIT, "limit", "cannot raise or lower the limit, or freeze")                                                  \
    X(ENVIRON, "environ", "cannot tell which CI run a process belongs to, nor write into its log")                   \
    X(MLOCK, "mlock", "may itself wait for its own pages")                                                           \
    X(OOM_ADJ, "oom-adj", "may itself be chosen by the OOM killer")

enum st_wd_ability {
#define ST_WD_ABILITY_ENUM(id, word, lost) ST_WD_CAN_##id,
    ST_WD_ABILITIES(ST_WD_ABILITY_ENUM)
#undef ST_WD_ABILITY_ENUM
        ST_WD_ABILITY_COUNT
};

struct st_wd_abilities {
    bool has[ST_WD_ABILITY_COUNT];
    char why[ST_WD_ABILITY_COUNT][120]; // not: the reason
};

const char *st_wd_ability_word(enum st_wd_ability a);
const char *st_wd_ability_lost(enum st_wd_ability a);
// ST_E_USAGE with the nearest word.
int st_wd_ability_find(struct st_sv word, enum st_wd_ability *ret, struct st_err *err);

// Try all that concern a cgroup (its directory, open for reading or O_PATH). Does not change it.
void st_wd_abilities_probe(struct st_wd_abilities *a, int dir);
// Lock memory, leave the OOM killer's list, with the second process: done as far as allowed, and recorded.
void st_wd_abilities_protect_self(struct st_wd_abilities *a, pid_t aide);

#endif
