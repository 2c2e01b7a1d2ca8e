// The ladder: what is done about a domain that must be ended, rung after rung, under one deadline. Between rungs the
// judge is asked again. One incident at a time per domain; the caller keeps the 10 s between two of them.
#ifndef ST_WATCHDOG_ACT_H
#define ST_WATCHDOG_ACT_H

#include "watchdog/aide.h"
#include "watchdog/ci_step.h"
#include "watchdog/evidence.h"
#include "watchdog/metrics.h"
#include "watchdog/policy.h"
#include "watchdog/victim.h"
#include "watchdog/wd_rung.h"

#define ST_WD_DEADLINE_MS 15000 // of an incident, all rungs together; the time of a relief is not counted
#define ST_WD_COOLDOWN_MS 10000 // between two incidents of a domain
#define ST_WD_CULPRITS_MAX 3    // processes that the culprit rung kills at most
#define ST_WD_RELIEF_MS 10000
#define ST_WD_TARGETS_MAX 8

struct st_wd_ladder {
    bool on[ST_WD_RUNG_COUNT];
    bool dry_run;
    bool freeze; // relieve by freezing, not by raising the limit
    struct st_wd_protect protect;
};
void st_wd_ladder_init(struct st_wd_ladder *l);
// "RUNG" is the highest that is used; "+RUNG" and "-RUNG" switch one on and off; separated by commas. ST_E_USAGE with
// the nearest word.
int st_wd_ladder_parse(struct st_wd_ladder *l, struct st_sv text, struct st_err *err);

// A watched cgroup. Several may share the owner of one limit; what is killed lies in one of them.
struct st_wd_target {
    struct st_sv path; // borrowed for the call
    uint64_t ino;
    int dir; // borrowed; open for reading
};

struct st_wd_act_env { // borrowed by every call
    int root;          // directory of the cgroup2 mount
    const struct st_wd_ladder *ladder;
    struct st_wd_processes *processes; // scratch
    struct st_wd_aide *aide;
    struct st_wd_metrics *metrics;
    bool has_hook;
    // Emit a record: rung and outcome are set, id, culprit and github are the incident's.
    void (*report)(void *ctx, struct st_wd_record *r);
    void *ctx;
};

enum st_wd_phase {
    ST_WD_IDLE,    // no incident
    ST_WD_READY,   // the next rung is due when the judge still says so
    ST_WD_WAITING, // for the effect of a rung
    ST_WD_SETTLING,
    ST_WD_SPENT, // all was tried (or a dry run): until the state changes
};

struct st_wd_incident {
    enum st_wd_phase phase;
    char id[ST_WD_ID];
    uint64_t began_ms, next_ms, rung_ms;
    uint64_t watched_ms;  // a rung freed memory: until then what hangs anew goes on with the ladder; 0: none did
    uint64_t effect_ms;   // when the last rung had its effect; 0: not yet. The next sample tells what it brought
    enum st_wd_rung rung; // the last one tried
    unsigned tries;       // of the culprit rung
    bool helped;          // the last rung freed memory
    bool again;           // the last rung found that its victim had ended by itself
    bool strong, certain;
    struct st_wd_numbers before; // at the last rung
    struct st_wd_process culprit;
    bool has_culprit;
    uint64_t target_ino; // of the watched cgroup that holds it, or that was killed
    uint64_t held_share; // percent of the pinned memory that watched processes hold
    int pidfd;           // of the last victim; -1
    pid_t helper;        // of the kernel rung; 0: none
    int helper_status;   // once it ended
    struct st_wd_github github;
    char detail[320];
    struct { // a limit that is raised, or a cgroup that is frozen
        bool on, measured;
        uint64_t until_ms, old_limit, ino;
        char path[512];
    } relief;
};
#define ST_WD_INCIDENT_INIT \
    {                       \
        .pidfd = -1         \
    }

struct st_wd_judged {                   // what the incident is about, now
    const struct st_wd_target *targets; // the first is the domain's own
    size_t n_targets;
    struct st_sv owner; // path
    uint64_t owner_ino;
    int owner_dir; // borrowed; O_PATH will do
    const struct st_wd_verdict *verdict;
    uint64_t sampled_ms; // when the sample was taken that it is from
    struct st_wd_judge *judge;
    struct st_sv text;
};

// Look who holds the memory: fills culprit, held_share and, within `ms`, github. For the verdict record too.
void st_wd_incident_look(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                         unsigned ms);
// The watched cgroup that holds the culprit.
const struct st_wd_target *st_wd_incident_target(const struct st_wd_incident *i, const struct st_wd_judged *j);
void st_wd_incident_open(struct st_wd_incident *i, const struct st_wd_judged *j, uint64_t now_ms);
// Do what is due. When to call again at the latest (ms since boot), 0: the incident is over.
uint64_t st_wd_incident_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                             uint64_t now_ms);
// The cgroup is gone, perhaps with what a rung has killed: that is told now, for there will be no later.
void st_wd_incident_gone(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                         uint64_t now_ms);
// After that, or when the watchdog ends: undo what is held, close.
void st_wd_incident_close(struct st_wd_incident *i, struct st_wd_act_env *env);
// A child was reaped: was it this incident's helper?
bool st_wd_incident_reaped(struct st_wd_incident *i, pid_t pid, int status);

#endif
