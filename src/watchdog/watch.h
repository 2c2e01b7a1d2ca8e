// The loop: cgroups at rest cost nothing but two descriptors; what an event wakes is sampled at the pace that the judge
// asks for, and acted upon.
//
// At rest: memory.events of the cgroup whose limit binds, and one PSI trigger, both one-shot in epoll: the first event
// arms the cgroup, the second would only be noise (a healthy full cache makes 60 a second). Armed: a place in the pool
// (open files, samples), until the judge calls it quiet; then the events file is read once more and armed again, so
// that nothing between is lost. When the pool is full, the one that has been quiet for longest gives way and waits.
// After st_wd_watch_init nothing is allocated: everything lies in mappings made there.
#ifndef ST_WATCHDOG_WATCH_H
#define ST_WATCHDOG_WATCH_H

#include "watchdog/act.h"
#include "watchdog/discover.h"
#include "watchdog/domain.h"
#include "watchdog/hook.h"
#include "watchdog/metrics.h"

#define ST_WD_BENCHES 64 // cgroups armed at once

struct st_wd_watch_options { // all borrowed
    struct st_wd_root root;
    const struct st_wd_pattern *patterns;
    size_t n_patterns;
    bool allow_self;
    struct st_wd_ladder ladder;
    const struct st_wd_policy *policy; // NULL: the default
    struct st_wd_aide *aide;           // running
    struct st_wd_hook *hook;           // NULL: none
    bool evidence, traces;             // the aide has files for them
    struct st_wd_metrics_at metrics;   // fd -1 and file NULL: none
    bool quiet;                        // no log lines but actions
};

struct st_wd_watch;
// Everything that is ever needed is taken here. NULL with err.
struct st_wd_watch *st_wd_watch_new(const struct st_wd_watch_options *opt, struct st_err *err);
// Until SIGTERM or SIGINT (blocked by the caller's call of st_wd_watch_new and taken through a signalfd). `child`: end
// when this child ends, its wait status in *ret_status; 0: none.
int st_wd_watch_run(struct st_wd_watch *w, pid_t child, int *ret_status, struct st_err *err);
// The counters, for `exec` and tests.
const struct st_wd_metrics *st_wd_watch_metrics(const struct st_wd_watch *w);
void st_wd_watch_free(struct st_wd_watch *w);

#endif
