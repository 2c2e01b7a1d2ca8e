// Inside of the judgement, for policy*.c and its tests.
#ifndef ST_WATCHDOG_POLICY_INT_H
#define ST_WATCHDOG_POLICY_INT_H

#include "watchdog/policy.h"

#define ST_WD_PAGE 4096.0
// A major fault on a mapped file reads around its page: 64 to 128 KiB with the kernel's usual readahead (measured 20 to
// 31 refaulted pages a fault in every hang of shapes P and G).
#define ST_WD_BYTES_PER_FAULT (96.0 * 1024)

// What numbers are taken for the rules only.
struct st_wd_facts {
    struct st_wd_numbers n;
    double dt_s;   // since the sample before
    bool first;    // there is no sample before: no rates
    bool at_limit; // reclaim is at work at the limit, or would be with the next page
    bool psi;      // memory stall is known, and believed (not blind)
    // Share of wall time in which somebody waits for memory or for pages of files; -1 without PSI. The kernel's two
    // figures overlap by an unknown part (a refault of a page that was active is both): half of the smaller one is
    // counted.
    double stall;
    // Tasks that stand in reclaim at any time: memory stall that is no waiting for a disk (a refault counts as both),
    // times busy CPUs, since PSI averages over them. -1 without PSI.
    double stuck_tasks;
    double steal_per_stuck; // pages freed in a second that one task spends in reclaim
    double held_share;      // of the limit: what cannot be freed without swap
    uint64_t mapped;        // bytes of files that are mapped (code, libraries): estimate
    double mapped_slope;    // bytes/s
    double mapped_loss;     // of the most that was mapped while it had room, lost in a second (set by the judge)
    double file_faults;     // major faults/s that are not swapped pages coming back (at least so many)
    double pinned_growth;   // bytes/s over the window, without swap taken off
    double pinned_now;      // the same over its second half
    double pinned_fall;     // bytes by which pinned is under its highest of the window
    double user_share;      // of CPU time: what its processes compute themselves; -1: not known
    bool collapsed;         // user CPU is gone (set by the judge, which knows what was before)
    bool oom, oom_kill;     // the kernel declared OOM, or killed, in the window
};

// Numbers over the last `window_s` (slopes over `slope_s`), which end at the newest sample. The series is not empty.
void st_wd_facts_take(const struct st_wd_series *s, double window_s, double slope_s, struct st_wd_facts *ret);

// No PSI, or one that does not count: the limit was hit again and again and nobody is said to have waited.
bool st_wd_blind(const struct st_wd_facts *f);

// What one step says. weight: how much one second of it counts; 0: no evidence.
struct st_wd_evidence {
    enum st_wd_state state; // THRASH, STUCK, SWAP_THRASH, FILE_THRASH, or HEALTHY
    double weight;
};
struct st_wd_evidence st_wd_rules(const struct st_wd_facts *f, const struct st_wd_policy *p);

#endif
