// One cell per cgroup that is watched, or whose children may come to be: everything that is kept of a cgroup at rest.
// The table is one mapping made at the start; only the pages of cells in use cost memory.
#ifndef ST_WATCHDOG_WD_CELLS_H
#define ST_WATCHDOG_WD_CELLS_H

#include "base/err.h"
#include "watchdog/policy.h"

#include <stdbool.h>
#include <stdint.h>

#define ST_WD_CELLS_MAX 8192
#define ST_WD_CELL_PATH 448
#define ST_WD_NO_CELL UINT32_MAX

enum {
    ST_WD_C_LIVE = 1,
    ST_WD_C_MATCHED = 2, // watched, not only looked into
    ST_WD_C_INSIDE = 4,  // a pattern may match below it
    ST_WD_C_NAMED = 8,   // by --cgroup: its files stay open at rest too
    ST_WD_C_TODO = 16,   // its directory is to be listed
    ST_WD_C_SEEN = 32,   // in this rescan
    ST_WD_C_POLLED = 64, // no event can be had: never at rest
    ST_WD_C_OWN = 128,   // matches, and is left out: it holds this process or process 1
};

struct st_wd_cell {
    uint64_t ino;            // of the directory: a path with another inode is another cgroup
    uint64_t owner_ino;      // of the cgroup whose limit binds, when last looked
    uint64_t subscribed_ino; // of the one whose events fd[0] tells
    uint64_t quiet_until_ms; // no new incident before
    struct st_wd_judge judge;
    uint32_t gen;   // changes when the cell is used again
    uint32_t next;  // free list
    int fd[2];      // memory.events of the owner; PSI trigger (or memory.events of another level). -1
    uint16_t bench; // armed: index + 1
    uint16_t path_len;
    uint8_t flags;
    char path[ST_WD_CELL_PATH]; // below the mount, no leading '/', terminated
};
_Static_assert(sizeof(struct st_wd_cell) <= 1024, "a cgroup at rest costs at most 1 KiB");

struct st_wd_cells {
    struct st_wd_cell *at; // owns (a mapping)
    int *wd;               // owns; inotify watch of each cell, -1; apart, so that looking one up touches little
    uint64_t *hash;        // owns; of the path
    uint32_t high, free, live, matched;
    uint64_t refused; // no room, or a path that is too long
};

int st_wd_cells_init(struct st_wd_cells *c, struct st_err *err);
void st_wd_cells_release(struct st_wd_cells *c);
static inline struct st_sv st_wd_cell_path(const struct st_wd_cell *c)
{
    return st_sv_mem(c->path, c->path_len);
}
uint32_t st_wd_cells_find(const struct st_wd_cells *c, struct st_sv path);
uint32_t st_wd_cells_find_wd(const struct st_wd_cells *c, int wd);
// ST_WD_NO_CELL: refused (counted).
uint32_t st_wd_cells_add(struct st_wd_cells *c, struct st_sv path, uint64_t ino, uint8_t flags);
void st_wd_cells_remove(struct st_wd_cells *c, uint32_t i);

#endif
