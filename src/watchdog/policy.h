// The judgement: a function from samples to a verdict. No clock, no I/O, no allocation: time is what the samples say,
// so that a recorded trace gives the verdict of the day it was recorded.
//
// Names of numbers (docs/WATCHDOG.md explains the rules and where each threshold was measured):
//   limit     the lower of max and high, of the domain's owner
//   pinned    what reclaim cannot free here: anon + shmem + unevictable + kernel memory that is not reclaimable, less
//   what
//             swap has room for
//   room      limit - pinned: what is left for file pages
//   stall     memory and io stall of the same cgroup, shares of wall time, kept apart and added
#ifndef ST_WATCHDOG_POLICY_H
#define ST_WATCHDOG_POLICY_H

#include "watchdog/sample.h"

// state, word, must be ended?, what a person reads
#define ST_WD_STATES(X)                                                                                   \
    X(BELOW, "below", false, "below its limit")                                                           \
    X(HEALTHY, "healthy", false, "at its limit, and healthy: what fills it is cache that can go")         \
    X(KERNEL, "kernel", false, "out of memory: the kernel's own OOM killer is about to act")              \
    X(THRASH, "thrash", true, "live-locked: its code and files no longer fit beside what is pinned")      \
    X(STUCK, "stuck", true, "live-locked: reclaim scans and frees nothing")                               \
    X(SWAP_THRASH, "swap-thrash", true, "live-locked: pages go to swap and back without progress")        \
    X(FILE_THRASH, "file-thrash", false, "slow: its files are larger than its limit (nothing is pinned)") \
    X(LEAK, "leak", false, "growing steadily towards its limit")

enum st_wd_state {
#define ST_WD_STATE_ENUM(id, word, must_end, text) ST_WD_##id,
    ST_WD_STATES(ST_WD_STATE_ENUM)
#undef ST_WD_STATE_ENUM
        ST_WD_STATE_COUNT
};

enum st_wd_confidence {
    ST_WD_COUNTERS_ONLY, // PSI is off or blind: judged on counters alone
    ST_WD_STRONG,
    ST_WD_CERTAIN, // proven by relief or by the kernel itself
};

const char *st_wd_state_word(enum st_wd_state s);
const char *st_wd_state_text(enum st_wd_state s);
bool st_wd_state_must_end(enum st_wd_state s);
const char *st_wd_confidence_word(enum st_wd_confidence c);
// The state that a word names, or ST_WD_STATE_COUNT.
enum st_wd_state st_wd_state_find(struct st_sv word);

// Numbers of one judgement over the window that ends at the newest sample. Rates per second, shares 0 to 1 of one wall
// second (CPU shares may exceed 1). A number whose fields were absent is -1.
struct st_wd_numbers {
    uint64_t limit, pinned, room;          // bytes
    uint64_t anon, shmem, kernel;          // split of pinned
    uint64_t swap_room;                    // bytes that could still go to swap
    bool limit_is_high;                    // memory.high binds, not memory.max
    double pinned_share;                   // pinned / limit
    double pinned_slope;                   // bytes/s, least squares
    double max_events, high_events;        // per second, at the owner
    double major_faults, refaults, steals; // per second
    double refaults_per_steal;             // 0 to 1
    double turnover_s;                     // seconds in which reclaim goes once through the file cache
    double mem_some, mem_full, io_some;    // shares
    double cpu_user, cpu_system;           // CPUs
    double eta_s;                          // LEAK: seconds until pinned reaches the limit; else -1
};

struct st_wd_verdict {
    enum st_wd_state state;
    enum st_wd_confidence confidence;
    bool psi_blind;           // max events rise while no stall is counted, or there is no PSI
    bool warn;                // long enough to tell somebody
    bool act;                 // long enough to end it, and nothing forbids it
    double seconds;           // since the domain came into this state
    double bucket;            // integrator, seconds of evidence
    uint64_t suggested_limit; // bytes that would have done, rounded up to 16 MiB; 0: not known
    struct st_wd_numbers n;
};

// Thresholds. st_wd_policy_default() is the one measured set; tests and `replay` may pass others.
struct st_wd_policy {
    double warn_s, act_s, act_stuck_s, disarm_s; // bucket seconds
    double grace_s;                              // after the first sample and after a change of the limit
    // the rest belongs to policy.c and is listed there, each with the measurement it is from
    double thrash_pinned, thrash_faults, thrash_stall;
    double stuck_some, stuck_pinned, stuck_steal;
    double swap_in, swap_some;
    double kernel_eta_s;
    double leak_window_s, leak_r2;
};
extern const struct st_wd_policy st_wd_policy_default;

// What one domain remembers between samples. Caller-owned, at most 512 bytes while idle; zero is the initial state.
struct st_wd_judge {
    uint64_t opaque[56]; // laid out in policy.c
};

// The last samples of one domain, oldest first. From a pool while the domain is armed.
#define ST_WD_SERIES_MAX 128 // 30 s at 4 Hz, and some
struct st_wd_series {
    uint32_t start, n;
    struct st_wd_sample at[ST_WD_SERIES_MAX];
};
void st_wd_series_clear(struct st_wd_series *s);
// Append; the oldest goes when it is full. A sample not newer than the last is dropped.
void st_wd_series_push(struct st_wd_series *s, const struct st_wd_sample *sample);
const struct st_wd_sample *st_wd_series_get(const struct st_wd_series *s, uint32_t i); // 0: oldest

// Judge after a push. How long until the next sample should be taken is in *ret_next_ms: 0 means that the domain is
// quiet and may be disarmed.
void st_wd_judge_step(struct st_wd_judge *j, const struct st_wd_policy *p, const struct st_wd_series *s,
                      struct st_wd_verdict *ret, uint32_t *ret_next_ms);

#endif
