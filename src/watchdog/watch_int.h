// Inside of the loop: what watch.c (events), watch_arm.c (at rest, armed) and watch_judge.c (verdicts, incidents)
// share.
#ifndef ST_WATCHDOG_WATCH_INT_H
#define ST_WATCHDOG_WATCH_INT_H

#include "watchdog/watch.h"

struct st_wd_bench { // an armed cgroup
    bool used;       // false: free, and never touched
    uint32_t cell;
    bool resting;              // its cell is at rest: only the files are kept open (ST_WD_C_NAMED)
    uint32_t told;             // states that have been reported since all was well; bit: enum st_wd_state
    enum st_wd_state reported; // the last of them
    int dir;                   // owns; the watched cgroup, open for reading
    int owner_dir;             // owns; O_PATH
    uint64_t sample_ms;        // when the next sample is due
    uint64_t incident_ms;      // when the incident has to be looked at; meaningful while there is one
    uint64_t owner_ms;         // when the owner was last looked for
    uint64_t quiet_ms;         // since when the judge has had no evidence
    uint64_t sampled_ms;       // when the last one was taken
    struct st_wd_domain domain;
    struct st_wd_sampler sampler;
    struct st_wd_series series;
    struct st_wd_verdict verdict;
    struct st_wd_incident incident;
    char owner[512]; // path, with a leading '/'
    char trace[ST_WD_CELL_PATH + 32];
};

struct st_wd_watch {
    struct st_wd_watch_options opt;
    struct st_wd_cells cells;
    struct st_wd_discover discover;
    struct st_wd_bench *bench; // owns (a mapping), ST_WD_BENCHES
    struct st_wd_processes *processes;
    char *record;              // ST_WD_EVIDENCE_MAX
    int epoll, timer, signals; // owns
    struct st_wd_scrape scrape[ST_WD_SCRAPES];
    struct st_wd_metrics metrics;
    struct st_wd_act_env env;
    uint64_t rescan_ms;  // 0: none wanted
    uint64_t metrics_ms; // when the file is to be written; 0: it is up to date
    uint64_t waiting;    // cells that found no bench
    uint64_t wake_ms;    // when they ask again; meaningful while some wait
    struct st_wd_bench *reporting;
    uint64_t aide_ms; // when it was started last
    int stop;         // signal that asked for it
    pid_t child;
    int child_status;
};

enum st_wd_source {
    ST_WD_ON_EVENTS,
    ST_WD_ON_TRIGGER,
    ST_WD_ON_TIMER,
    ST_WD_ON_INOTIFY,
    ST_WD_ON_SIGNAL,
    ST_WD_ON_LISTEN,
    ST_WD_ON_SCRAPE,
};
static inline uint64_t st_wd_source_key(enum st_wd_source source, uint32_t index, uint32_t gen)
{
    return (uint64_t)source << 56 | (uint64_t)(gen & 0xffffff) << 32 | index;
}

// ---- watch.c
void st_wd_want_rescan(struct st_wd_watch *w);

// ---- watch_arm.c
void st_wd_rest(struct st_wd_watch *w, uint32_t cell, bool again); // `again`: its descriptors are in epoll already
void st_wd_arm(struct st_wd_watch *w, uint32_t cell, uint64_t now_ms);
void st_wd_disarm(struct st_wd_watch *w, struct st_wd_bench *b);
void st_wd_forget(struct st_wd_watch *w, uint32_t cell); // its cgroup is gone
// Let those that found no bench ask again when that is due (w->wake_ms, while w->waiting).
void st_wd_waiting_step(struct st_wd_watch *w, uint64_t now_ms);
bool st_wd_owner_look(struct st_wd_watch *w, struct st_wd_bench *b, uint64_t now_ms);
static inline struct st_wd_cell *st_wd_cell_of(struct st_wd_watch *w, const struct st_wd_bench *b)
{
    return &w->cells.at[b->cell];
}

// ---- watch_judge.c
// Take a sample, judge it, do what follows. May disarm or forget the cell.
void st_wd_bench_step(struct st_wd_watch *w, struct st_wd_bench *b, uint64_t now_ms);
// Its cgroup is gone: what was done about it and not told yet is told.
void st_wd_bench_gone(struct st_wd_watch *w, struct st_wd_bench *b);
void st_wd_watch_report(void *ctx, struct st_wd_record *r); // act_env.report
void st_wd_metrics_changed(struct st_wd_watch *w, uint64_t now_ms, bool soon);
struct st_sv st_wd_metrics_text(struct st_wd_watch *w); // in w->record

#endif
