#include "supervisor/verdict.h"

#include "base/ckd.h"

// The first row that holds decides.
enum row {
    SAID,
    LOST,
    CANCELLED,
    RELEASED,
    STALLED,
    OOM,
    OVER_LIMIT,
    TIMED_OUT,
    NOT_STARTED,
    KILLED,
    CRASHED,
};

static bool holds(enum row r, const struct st_seen *s)
{
    switch (r) {
    case SAID: // who was told to stop and did not get to the end has nothing to say about the image
        return s->said_end && s->exit_code == 0 && s->signal == 0 &&
               (!s->end_reason.len || !(s->cancelled || s->released || s->lost));
    case LOST:
        return s->lost;
    case CANCELLED:
        return s->cancelled;
    case RELEASED:
        return s->released;
    case STALLED:
        return s->watchdog;
    case OOM:
        return s->oom_kill;
    case OVER_LIMIT:
        return s->over_limit;
    case TIMED_OUT:
        return s->timed_out;
    case NOT_STARTED:
        return s->not_started;
    case KILLED:
        return s->signal == 9;
    case CRASHED:
        break;
    }
    return true;
}

static const struct {
    const char *reason, *restart;
    bool memory;
} ends[] = {
    [STALLED] = {"memory_stall", "memory_stall", true},
    [OOM] = {"oom", "oom", true},
    [OVER_LIMIT] = {"oom", "oom", true},
    [TIMED_OUT] = {"timeout", "timeout", false},
    [KILLED] = {"killed", "killed", false},
    [CRASHED] = {"crash", "crash", false},
};

// What the worker said. A reason that nobody knows is a fault of the worker's.
static struct st_verdict said(const struct st_seen *s)
{
    if (!s->end_reason.len)
        return (struct st_verdict){.what = ST_DO_FINISH, .state = ST_JOB_COMPLETED, .reason = ""};
    const struct st_reason *r = st_reason_find(s->end_reason);
    bool memory = r && r->again == ST_AGAIN_MORE_MEMORY;
    return (struct st_verdict){.what = ST_DO_FINISH,
                               .state = ST_JOB_FAILED,
                               .reason = r ? r->word : "internal",
                               .restart = memory ? r->word : NULL,
                               .memory = memory,
                               .exit_code = s->end_code ? s->end_code : 1};
}

struct st_verdict st_verdict_of(const struct st_seen *s)
{
    enum row r = SAID;
    while (!holds(r, s))
        r++;
    int code = s->signal ? 128 + s->signal : s->exit_code ? s->exit_code : 1;
    switch (r) {
    case SAID:
        return said(s);
    case LOST:
        return (struct st_verdict){.what = ST_DO_NOTHING, .reason = "", .exit_code = code};
    case CANCELLED:
        return (struct st_verdict){.what = ST_DO_FINISH, .state = ST_JOB_CANCELLED, .reason = "", .exit_code = code};
    case RELEASED:
    case NOT_STARTED: // the job is innocent of that
        return (struct st_verdict){.what = ST_DO_RELEASE, .reason = "", .exit_code = code};
    default:
        return (struct st_verdict){.what = ST_DO_FINISH,
                                   .state = ST_JOB_FAILED,
                                   .reason = ends[r].reason,
                                   .restart = ends[r].restart,
                                   .memory = ends[r].memory,
                                   .exit_code = code};
    }
}
