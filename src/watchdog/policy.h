// The judgement: a function from samples to a verdict. No clock, no I/O, no allocation: time is what the samples say,
// so that a recorded trace gives the verdict of the day it was recorded.
//
// Names of numbers (docs/WATCHDOG.md explains the rules and where each threshold was measured):
//   limit     the lower of max and high, of the domain's owner
//   pinned    what reclaim cannot free here: anon + shmem + unevictable + kernel memory that is not reclaimable; where
//             pages do go to swap, less what it will take in ten seconds
//   room      limit - pinned: what is left for file pages
//   stall     memory and io stall of the same cgroup, shares of wall time, kept apart and taken together
#ifndef ST_WATCHDOG_POLICY_H
#define ST_WATCHDOG_POLICY_H

#include "watchdog/sample.h"

// state, word, must be ended?, what a person reads
#define ST_WD_STATES(X)                                                                               \
    X(BELOW, "below", false, "below its limit")                                                       \
    X(HEALTHY, "healthy", false, "at its limit, and healthy: what fills it is cache that can go")     \
    X(KERNEL, "kernel", false, "out of memory: the kernel's own OOM killer is about to act")          \
    X(THRASH, "thrash", true, "live-locked: its code and files no longer fit beside what is pinned")  \
    X(STUCK, "stuck", true, "live-locked: reclaim scans and frees nothing")                           \
    X(SWAP_THRASH, "swap-thrash", true, "live-locked: pages go to swap and back without progress")    \
    X(FILE_THRASH, "file-thrash", false, "slow: its files need more room than its limit leaves them") \
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

// Why a must-end state is not acted upon (yet). One word each, for `judge` and for logs.
#define ST_WD_HOLDS(X)                                                                \
    X(NONE, "none", "")                                                               \
    X(EVIDENCE, "evidence", "it has not lasted long enough")                          \
    X(GRACE, "grace", "the cgroup is new, or its limit has just been changed")        \
    X(KERNEL, "kernel", "the kernel's own OOM killer should act before we do")        \
    X(FALLING, "falling", "pinned memory is being given back: something is ending")   \
    X(PROGRESS, "progress", "its processes still get a good part of their work done") \
    X(NO_VICTIM, "no-victim", "nothing is pinned: no process would give memory back")

enum st_wd_hold {
#define ST_WD_HOLD_ENUM(id, word, text) ST_WD_HOLD_##id,
    ST_WD_HOLDS(ST_WD_HOLD_ENUM)
#undef ST_WD_HOLD_ENUM
        ST_WD_HOLD_COUNT
};
const char *st_wd_hold_word(enum st_wd_hold h);
const char *st_wd_hold_text(enum st_wd_hold h);

// Numbers of one judgement over the window that ends at the newest sample. Rates per second, shares 0 to 1 of one wall
// second (CPU shares may exceed 1). A rate or share whose fields were absent is -1; bytes that are not known are 0.
struct st_wd_numbers {
    uint64_t limit, pinned, room;          // bytes
    uint64_t anon, shmem, kernel;          // split of pinned (what swap could take is not taken off here)
    uint64_t cache, dirty;                 // file pages that are not shmem; of these dirty or under writeback
    uint64_t swap_room;                    // bytes that could still go to swap, if the kernel wanted
    bool limit_is_high;                    // memory.high binds, not memory.max
    double pinned_share;                   // pinned / limit
    double pinned_slope;                   // bytes/s, least squares
    double max_events, high_events;        // per second, at the owner
    double major_faults, refaults, steals; // per second
    double scans;                          // pages looked at by reclaim, per second
    double kept_per_fault;                 // pages of a file fault that were wanted again so soon that they are kept
    double kept_share;                     // the same, of the pages that reclaim takes meanwhile
    double room_turnover_s;                // seconds in which file faults read the evictable cache anew; -1: never
    double mapped_left;                    // of the most that was mapped while it had room; -1: nobody saw that
    double swap_in, swap_out;              // pages per second (swap_in before kernel 6.13: refaults of anonymous pages)
    double mem_some, mem_full, io_some;    // shares
    double cpu_user, cpu_system;           // CPUs
    double cpu_user_before;                // CPUs, as long as the domain was below its limit; -1: not seen
    double eta_s;                          // KERNEL, LEAK: seconds until pinned reaches the limit; else -1
    double window_s;                       // over which rates and shares were taken
};

struct st_wd_verdict {
    enum st_wd_state state;
    enum st_wd_confidence confidence;
    enum st_wd_hold hold;
    bool psi_blind;           // max events rise while no stall is counted, or there is no PSI
    bool warn;                // long enough to tell somebody
    bool act;                 // long enough to end it, and nothing forbids it
    double seconds;           // since the domain came into this state
    double bucket;            // integrator, seconds of evidence
    uint64_t suggested_limit; // bytes that would have done, rounded up to 16 MiB; 0: not known
    struct st_wd_numbers n;
};

// Thresholds. st_wd_policy_default is the one measured set (policy.c; docs/WATCHDOG.md lists those that tell a hang
// from health with the margin on both sides); tests and `replay` may pass others.
struct st_wd_policy {
    double warn_s, act_s;      // bucket seconds
    double act_blind_s;        // seconds a must-end state needs without PSI
    double act_stuck_s;        // seconds STUCK needs
    double act_swap_s;         // seconds SWAP_THRASH needs
    double file_warn_s;        // seconds of FILE_THRASH before it is told
    double grace_s;            // after a change of the limit
    double window_s, slope_s;  // over which rates, and slopes, are taken
    double disarm_s;           // without an event and without evidence
    double kernel_eta_s;       // pinned reaches the limit within this: the kernel's OOM killer is near
    double kernel_wait_s;      // how long we wait for it at most
    double fall_share;         // of the limit, given back within the window: something is ending
    double pinned;             // share of the limit under which no process is to blame
    double faults;             // major faults/s under which nothing waits for code
    double waiting;            // stall at which everybody waits, whatever is pinned
    double waiting_sum;        // stall + pinned share at which everybody waits
    double starved_pinned;     // with so much pinned ...
    double starved_turnover_s; // ... the room is read anew by major faults in so few seconds ...
    double starved_stall;      // ... and so much of the time somebody waits
    double peace_faults;       // file faults/s under which what is mapped has its room, if not everybody waits
    double squeezed;           // of the files that were mapped, so much is left ...
    double squeezing;          // ... or less than all, and so much is lost in a second: the room has shrunk
    double index_share;        // of what reclaim takes so little is wanted again ...
    double index_kept;         // ... or of what a file fault brings so few pages: a file larger than its room
    double all_waiting;        // stall at which really everybody waits
    double kept;               // pages of a file fault that are kept: up to here the room is no cache any more
    double kept_unsure;        // ... up to here it may be; beyond: slow, not dead
    double unsure_weight;      // of a second of that, or in which all wait and nothing shrinks
    double shrunk, user_gone;  // so much is left of what was mapped, and of the CPU time for its programs: may be dead
    double sure_turnover_s;    // the room is read anew in less: beyond doubt
    double sure_pinned;        // with so much pinned also where nobody saw what was mapped before
    double sure_weight;        // of a second beyond doubt, also where everybody waits and nobody computes
    double loading;            // share of what major faults read that stays mapped, while a program still loads
    double stuck_tasks;        // tasks standing in reclaim all the time
    double stuck_steal;        // pages freed per second of standing in reclaim
    double stuck_dirty;        // share of the file cache that waits for writeback: not stuck, slow
    double computes;           // user CPU over this share of all CPU: its processes compute
    double stands;             // share of the limit per second: pinned grows by less: nothing is allocated any more
    double collapse_share;     // user CPU under this share of all CPU ...
    double collapse_before;    // ... and under this share of what it was: the program itself stands
    double collapse_eases;     // by so much less stall then means that everybody waits
    double swap_stall, swap_in_share; // memory stall; share of resident anonymous memory swapped in per second
    double leak_window_s, leak_r2, leak_share;
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
// quiet and may be disarmed. A judge is kept while its domain is disarmed; the series may be given back and started
// again empty.
void st_wd_judge_step(struct st_wd_judge *j, const struct st_wd_policy *p, const struct st_wd_series *s,
                      struct st_wd_verdict *ret, uint32_t *ret_next_ms);
// The watchdog itself has set this limit (relieve, and its undoing): that change gives no grace.
void st_wd_judge_limit_ours(struct st_wd_judge *j, uint64_t limit);
// Somebody has freed a good part of what was pinned: the evidence so far was against what is gone.
void st_wd_judge_spent(struct st_wd_judge *j);
// A short relief has proven the shortage: ST_WD_CERTAIN until the domain has been healthy again.
void st_wd_judge_proven(struct st_wd_judge *j);

// The verdict as one sentence for a person who has never heard of this program: whose limit it is, what is pinned, how
// much room is left, faults, stalls, CPU, how long, what limit would have done. One line, always terminated, cut at
// cap. `owner`: name of the limit's owner. Bytes written without the terminator.
size_t st_wd_verdict_text(const struct st_wd_verdict *v, struct st_sv owner, char *buf, size_t cap);

#endif
