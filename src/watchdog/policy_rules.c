// What one step says: each rule is a conjunction of statements about what reclaim can free, what is read again, and who
// waits (docs/WATCHDOG.md has each with its measurement).
#include "watchdog/policy_int.h"

#include "base/ckd.h"

#define SWAP_ROOM 0.05 // of the limit

// A program that still loads: a good part of what its major faults read stays mapped. In a hang nothing does.
static bool loading(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    return f->mapped_slope > p->loading * f->file_faults * ST_WD_BYTES_PER_FAULT;
}

// A good part of the CPU time is spent by its processes themselves. No proof that all is well (the hog of shape P
// computes, and so do those beside a stuck one), but then more must speak for a hang.
static bool computes(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    return f->user_share > p->computes;
}

// Shape P. The room beside what is pinned is read anew every few seconds, for code: nothing that is read stays.
static bool starved(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    return f->n.pinned_share >= p->starved_pinned && f->n.room_turnover_s >= 0 &&
           f->n.room_turnover_s <= p->starved_turnover_s && (!f->psi || f->stall >= p->starved_stall);
}

// What was mapped is gone for the most part, or going. Not while more is mapped than while nothing was wrong: an index
// that gives way to a heap has lost nothing yet that it needed.
static bool shrinks(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    double left = f->n.mapped_left;
    return left >= 0 && (left <= p->squeezed || (left < 1 && f->mapped_loss >= p->squeezing));
}

// A mapped index that is larger than its room faults for ever, never had more room, and does not come back to what it
// has read: somebody waits for a disk, and that is all.
static bool index_alone(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    return !shrinks(f, p) && (f->n.kept_share <= p->index_share || f->n.kept_per_fault <= p->index_kept);
}

// Shape G, and P on a slow disk. All the time somebody waits for memory or for code, and what is pinned is a good part
// of the limit: the less of it, the more must wait.
static bool all_wait(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    const struct st_wd_numbers *n = &f->n;
    if (n->pinned_share < p->pinned || loading(f, p) || index_alone(f, p))
        return false;
    // Not where the room still works as a cache: a kernel that is busy for it leaves little to its programs, too.
    bool gone = f->collapsed && f->n.kept_per_fault >= 0 && f->n.kept_per_fault <= p->kept_unsure;
    if (!f->psi)
        return gone && f->mapped_slope < 0;
    double eased = gone ? p->collapse_eases : 0;
    return f->stall >= p->waiting - eased && f->stall + n->pinned_share >= p->waiting_sum - eased;
}

// Shape S. At least one task stands in reclaim all the time, reclaim frees next to nothing, and either nothing is
// allocated any more or nobody computes. Pages that wait for writeback are another matter: reclaim waits for a disk
// there, and goes on when it answers.
static bool stuck(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    const struct st_wd_numbers *n = &f->n;
    if (f->pinned_growth > p->stands * (double)n->limit && computes(f, p))
        return false;
    return f->psi && n->pinned_share >= p->pinned && f->stuck_tasks >= p->stuck_tasks && n->steals >= 0 &&
           f->steal_per_stuck < p->stuck_steal && n->major_faults < p->faults &&
           (double)n->dirty <= p->stuck_dirty * (double)n->cache;
}

static bool swap_thrash(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    const struct st_wd_numbers *n = &f->n;
    double resident = (double)(n->anon + n->shmem);
    return n->swap_in > 0 && n->swap_in * ST_WD_PAGE >= p->swap_in_share * resident && n->major_faults >= p->faults &&
           (!f->psi || n->mem_some >= p->swap_stall);
}

// Where swap has room the kernel has a way out that it may still take.
static double way_out(const struct st_wd_facts *f)
{
    return (double)f->n.swap_room >= SWAP_ROOM * (double)f->n.limit ? 0.5 : 1;
}

// What is read anew is dropped again before anybody comes back to it. Where it is not, the room is too small, but it
// works as a cache: a linker in its last phase, a database beside its shared buffers: slow, with most of their work
// done.
static bool dropped(const struct st_wd_facts *f, const struct st_wd_policy *p, double kept)
{
    // Who does not know all of it must be shown more.
    bool known = f->n.mapped_left >= 0 && f->n.kept_per_fault >= 0;
    if (!known && (f->n.pinned_share < p->sure_pinned || f->n.room_turnover_s > p->sure_turnover_s))
        return false;
    return f->n.mapped_left <= p->squeezed && f->n.kept_per_fault <= kept;
}

// Without PSI who waits is a guess, and a second of it counts less.
static double seen_waiting(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    return f->psi ? 1 : p->act_s / p->act_blind_s;
}

// How much a second in which all wait counts. Less while the processes compute, still less where they do and the room
// works as a cache, or while the room does not shrink and some do not wait (an index of which much is hot), and where
// PSI does not say who waits.
static double wait_weight(const struct st_wd_facts *f, const struct st_wd_policy *p, double full)
{
    bool steady = f->psi && !shrinks(f, p) && f->stall < p->all_waiting;
    bool works = computes(f, p) && f->n.kept_per_fault > p->kept; // a build on a slow disk
    return full * (steady || works ? p->unsure_weight : computes(f, p) ? 0.5 : 1) * seen_waiting(f, p);
}

// The room still works as a cache, and all CPU time goes into that: its programs get next to nothing done.
static bool system_only(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    return f->n.mapped_left >= 0 && f->n.mapped_left <= p->shrunk && f->user_share >= 0 &&
           f->user_share <= p->user_gone;
}

// How much a second of THRASH counts; 0: it is none.
static double thrash_weight(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    bool lean = starved(f, p), wait = all_wait(f, p);
    if (lean && wait && !computes(f, p))
        return wait_weight(f, p, p->sure_weight);
    if (lean && dropped(f, p, p->kept))
        return f->n.room_turnover_s <= p->sure_turnover_s ? p->sure_weight : 1;
    if (wait)
        return wait_weight(f, p, 1);
    if (lean && (dropped(f, p, p->kept_unsure) || system_only(f, p)))
        return p->unsure_weight * seen_waiting(f, p);
    return 0;
}

struct st_wd_evidence st_wd_rules(const struct st_wd_facts *f, const struct st_wd_policy *p)
{
    const struct st_wd_evidence none = {ST_WD_HEALTHY, 0};
    if (!f->at_limit || f->first)
        return none;
    if (stuck(f, p))
        return (struct st_wd_evidence){ST_WD_STUCK, p->act_s / p->act_stuck_s * way_out(f)};
    if (swap_thrash(f, p))
        return (struct st_wd_evidence){ST_WD_SWAP_THRASH, f->psi ? p->act_s / p->act_swap_s : seen_waiting(f, p) / 2};
    if (f->file_faults < p->faults)
        return none;
    double weight = thrash_weight(f, p);
    if (weight > 0)
        return (struct st_wd_evidence){ST_WD_THRASH, weight * way_out(f)};
    bool nobody = f->held_share < p->pinned;
    bool slow = f->psi ? (nobody || index_alone(f, p)) && f->stall >= p->waiting : nobody;
    if (starved(f, p) || (slow && !loading(f, p)))
        return (struct st_wd_evidence){ST_WD_FILE_THRASH, 1};
    return none;
}
