#include "watchdog/wd_cells.h"

#include "base/map.h"

#include <sys/mman.h>

static void *table(size_t n, size_t size)
{
    void *p = mmap(NULL, n * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int st_wd_cells_init(struct st_wd_cells *c, struct st_err *err)
{
    *c = (struct st_wd_cells){.free = ST_WD_NO_CELL};
    c->at = table(ST_WD_CELLS_MAX, sizeof *c->at);
    c->wd = table(ST_WD_CELLS_MAX, sizeof *c->wd);
    c->hash = table(ST_WD_CELLS_MAX, sizeof *c->hash);
    if (c->at && c->wd && c->hash)
        return 0;
    st_wd_cells_release(c);
    return st_err_nomem(err);
}

void st_wd_cells_release(struct st_wd_cells *c)
{
    if (c->at)
        munmap(c->at, ST_WD_CELLS_MAX * sizeof *c->at);
    if (c->wd)
        munmap(c->wd, ST_WD_CELLS_MAX * sizeof *c->wd);
    if (c->hash)
        munmap(c->hash, ST_WD_CELLS_MAX * sizeof *c->hash);
    *c = (struct st_wd_cells){.free = ST_WD_NO_CELL};
}

uint32_t st_wd_cells_find(const struct st_wd_cells *c, struct st_sv path)
{
    uint64_t h = st_hash(path);
    for (uint32_t i = 0; i < c->high; i++)
        if (c->hash[i] == h && (c->at[i].flags & ST_WD_C_LIVE) && st_sv_eq(st_wd_cell_path(&c->at[i]), path))
            return i;
    return ST_WD_NO_CELL;
}

uint32_t st_wd_cells_find_wd(const struct st_wd_cells *c, int wd)
{
    for (uint32_t i = 0; i < c->high; i++)
        if (c->wd[i] == wd && (c->at[i].flags & ST_WD_C_LIVE))
            return i;
    return ST_WD_NO_CELL;
}

uint32_t st_wd_cells_add(struct st_wd_cells *c, struct st_sv path, uint64_t ino, uint8_t flags)
{
    if (path.len >= ST_WD_CELL_PATH || (c->free == ST_WD_NO_CELL && c->high == ST_WD_CELLS_MAX)) {
        c->refused++;
        return ST_WD_NO_CELL;
    }
    uint32_t i = c->free == ST_WD_NO_CELL ? c->high++ : c->free;
    struct st_wd_cell *cell = &c->at[i];
    if (i == c->free)
        c->free = cell->next;
    uint32_t gen = cell->gen + 1;
    *cell = (struct st_wd_cell){.ino = ino, .gen = gen, .fd = {-1, -1}, .path_len = (uint16_t)path.len};
    if (path.len)
        memcpy(cell->path, path.ptr, path.len);
    cell->flags = flags | ST_WD_C_LIVE;
    c->wd[i] = -1;
    c->hash[i] = st_hash(path);
    c->live++;
    c->matched += (flags & ST_WD_C_MATCHED) != 0;
    return i;
}

void st_wd_cells_remove(struct st_wd_cells *c, uint32_t i)
{
    struct st_wd_cell *cell = &c->at[i];
    c->live--;
    c->matched -= (cell->flags & ST_WD_C_MATCHED) != 0;
    cell->flags = 0;
    cell->next = c->free;
    c->hash[i] = 0;
    c->wd[i] = -1;
    c->free = i;
}
