// Prometheus text (exposition format 0.0.4). Series with a cgroup label exist only for cgroups at their limit.
#ifndef ST_WATCHDOG_METRICS_H
#define ST_WATCHDOG_METRICS_H

#include "base/out.h"
#include "watchdog/policy.h"
#include "watchdog/wd_rung.h"

struct st_wd_metrics { // counters since start
    uint64_t verdicts[ST_WD_STATE_COUNT];
    uint64_t actions[ST_WD_RUNG_COUNT][ST_WD_OUTCOME_COUNT];
    double latency_s[ST_WD_RUNG_COUNT]; // from the decision to the effect
    uint64_t latencies[ST_WD_RUNG_COUNT];
    uint64_t kills; // SIGKILLs and cgroup.kills sent, whatever came of them
    uint64_t wakeups, dropped, hooks_dropped, hooks_killed;
    uint64_t cgroups, armed;
};

struct st_wd_metric_row { // one cgroup at its limit
    struct st_sv path;    // borrowed
    const struct st_wd_verdict *verdict;
    const struct st_wd_sample *sample;
};

// `row(ctx, i, &r)` for i = 0, 1, ... until it returns false.
typedef bool st_wd_metric_row_fn(void *ctx, size_t i, struct st_wd_metric_row *ret);
void st_wd_metrics_write(struct st_out *o, const struct st_wd_metrics *m, st_wd_metric_row_fn *row, void *ctx);
// Text of a label value: backslash, quote and line end escaped, what is not UTF-8 replaced.
void st_wd_label(struct st_out *o, struct st_sv value);

// Where --metrics points.
struct st_wd_metrics_at {
    const char *file; // NULL: a socket
    int fd;           // owns; listening; -1
};
// "PATH" (a file), "unix:PATH", "HOST:PORT", ":PORT", "[V6]:PORT" (numbers only: there is no resolver here).
int st_wd_metrics_open(struct st_wd_metrics_at *at, const char *where, struct st_err *err);

// Scrapers. Each gets one answer, whatever it asks, and is closed; a slow one is dropped after ST_WD_SCRAPE_MS.
#define ST_WD_SCRAPES 4
#define ST_WD_SCRAPE_MS 5000
struct st_wd_scrape {
    int fd; // owns; -1: free
    uint64_t deadline_ms;
};
// Answer a connection that became readable: reads what is there, writes head and body, closes. The body that does not
// fit the socket buffer at once is cut: false.
bool st_wd_scrape_answer(struct st_wd_scrape *s, struct st_sv body);

#endif
