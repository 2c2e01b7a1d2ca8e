// Which cgroups are watched: paths given exactly, and patterns over paths below the mount. New ones are told by inotify
// on the directories in which one could appear; there is no timer, except a rescan after the queue has overflowed, or
// where inotify cannot be had.
//
// A pattern is names separated by '/'; in a name '*', '?' and [...] as in a shell; '**' stands for any number of
// directories, none included.
#ifndef ST_WATCHDOG_DISCOVER_H
#define ST_WATCHDOG_DISCOVER_H

#include "watchdog/wd_cells.h"

#define ST_WD_PATTERN_PARTS 32
struct st_wd_pattern {
    const char *text; // borrowed
    bool exact;       // no character is special
    size_t n;
    struct st_sv part[ST_WD_PATTERN_PARTS]; // into text
};
// Leading and double '/' are passed over. ST_E_USAGE: empty, "." or "..", an open bracket, too deep.
int st_wd_pattern_parse(struct st_wd_pattern *p, const char *text, bool exact, struct st_err *err);
// Does it match the path? *ret_inside: could it match something below the path?
bool st_wd_pattern_match(const struct st_wd_pattern *p, struct st_sv path, bool *ret_inside);

struct st_wd_discover {
    struct st_wd_cells *cells; // borrowed
    int root;                  // borrowed: directory of the mount
    int inotify;               // owns; -1: cannot be had
    const struct st_wd_pattern *patterns;
    size_t n_patterns;
    bool allow_self;
    bool overflowed; // a rescan is wanted: now, and once more later
    bool incomplete; // some directory could not be watched (no inotify, its user's limit): rescan from time to time
    bool todo;       // some directory is to be listed
    // A cell with ST_WD_C_MATCHED has come, or is about to go. Never called within each other.
    void (*found)(void *ctx, uint32_t cell);
    void (*gone)(void *ctx, uint32_t cell);
    // A cgroup that matches and is left out: it holds this process or pid 1. Not called for those between it and them.
    void (*refused)(void *ctx, struct st_sv path);
    void *ctx;
};

// `d` is filled but for inotify, which is made here (or -1, d->incomplete).
void st_wd_discover_start(struct st_wd_discover *d);
void st_wd_discover_stop(struct st_wd_discover *d);
// Read the inotify queue.
void st_wd_discover_events(struct st_wd_discover *d);
// Look at everything again: what is gone goes, what is new comes.
void st_wd_discover_rescan(struct st_wd_discover *d);
// A cell turned out to be gone (ENODEV on one of its files).
void st_wd_discover_drop(struct st_wd_discover *d, uint32_t cell);

#endif
