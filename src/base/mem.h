// Memory under one budget. Everything whose size depends on input is taken from a `struct st_mem`:
//   - st_mem_alloc/free: heap blocks, refused (ST_E_MEMORY) over the limit;
//   - st_mem_map/unmap: page-granular blocks, anonymous while the budget lasts, then mapped from the
//     unlinked spill file (file cache, which the kernel can write back and reclaim);
//   - struct st_arena: bump allocation over st_mem_map blocks, so a structure that outgrows the budget
//     moves to the spill file without its code knowing. Pointers never move.
// What is kept never depends on the budget: a refusal is an error, never a shorter result.
#ifndef ST_BASE_MEM_H
#define ST_BASE_MEM_H

#include "base/err.h"
#include "base/sv.h"

#include <stddef.h>

struct st_mem {
    size_t limit;                  // bytes of anonymous memory
    size_t spill_at;               // st_mem_map spills from here on; st_mem_init sets it to limit
    size_t used;                   // bytes now
    size_t peak;                   // highest `used`
    int spill_fd;                  // borrowed; -1: no spill space, growth past the limit is ST_E_SPILL
    uint64_t spill_used;           // bytes of the spill file handed out so far
    uint64_t spill_live;           // bytes of it mapped now
    uint64_t spill_peak;           // highest spill_used
    size_t spill_dirty;            // bytes mapped since the last st_mem_trim
    struct st_mem_region *regions; // live spill mappings, for st_mem_trim
    uint64_t requests;             // allocations asked for, for the fault test
    uint64_t fail_at;              // refuse this request (1-based); 0: never
};

// limit in bytes; spill_fd is a writable file on a real file system (borrowed) or -1.
void st_mem_init(struct st_mem *mem, size_t limit, int spill_fd);
// All blocks must have been given back. Safe on a zeroed struct.
void st_mem_release(struct st_mem *mem);

// n > 0. Zeroed. NULL with err filled on refusal.
void *st_mem_alloc(struct st_mem *mem, size_t n, struct st_err *err);
// Contents up to min(old_n, n) kept, the rest is NOT zeroed; p may be NULL with old_n 0.
void *st_mem_resize(struct st_mem *mem, void *p, size_t old_n, size_t n, struct st_err *err);
void st_mem_free(struct st_mem *mem, void *p, size_t n); // p may be NULL

// Zeroed block of at least n bytes, rounded up to pages (the size is returned through ret_n).
void *st_mem_map(struct st_mem *mem, size_t n, size_t *ret_n, struct st_err *err);
// A block of st_mem_map made larger; contents kept, the rest zeroed. It may move. Costs no copy unless it has to change
// over to the spill file. NULL with err on refusal: p stays as it was.
void *st_mem_remap(struct st_mem *mem, void *p, size_t old_n, size_t n, size_t *ret_n, struct st_err *err);
// Copy bytes to p + at of a spilled block through the file, without making its pages resident. 1: done; 0: p is in
// memory, copy it yourself; -1.
int st_mem_put(struct st_mem *mem, void *p, size_t at, struct st_sv bytes, struct st_err *err);
void st_mem_unmap(struct st_mem *mem, void *p, size_t n); // n as returned; p may be NULL
// Drop the resident pages of all spill mappings (their contents stay in the file). Cheap when nothing
// was spilled. Called by users of large structures every few thousand operations.
void st_mem_trim(struct st_mem *mem);
static inline bool st_mem_spilled(const struct st_mem *mem)
{
    return mem->spill_used > 0;
}

// ---- arenas -------------------------------------------------------------------------------------

struct st_arena {
    struct st_mem *mem; // borrowed
    struct st_arena_block *head;
    char *cur, *end;
    size_t block_size; // grows up to 256 KiB
};

void st_arena_init(struct st_arena *a, struct st_mem *mem);
void st_arena_release(struct st_arena *a); // give everything back; the arena may be used again
void st_arena_reset(struct st_arena *a);   // as release, but keeps one block for reuse
// Zeroed, aligned to 16. NULL with err filled on refusal.
void *st_arena_alloc(struct st_arena *a, size_t n, struct st_err *err);
// Not zeroed, unaligned.
char *st_arena_bytes(struct st_arena *a, size_t n, struct st_err *err);
// A copy has a NUL behind it, which its length does not count. An empty input gives a valid empty view.
int st_arena_dup(struct st_arena *a, struct st_sv s, struct st_sv *ret, struct st_err *err);
int st_arena_fmt(struct st_arena *a, struct st_sv *ret, struct st_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define ST_ARENA_NEW(a, type, err) ((type *)st_arena_alloc((a), sizeof(type), (err)))
// n elements of type, overflow-checked.
void *st_arena_array(struct st_arena *a, size_t n, size_t size, struct st_err *err);

// ---- growable byte buffer under the budget --------------------------------------------------------

struct st_buf {
    struct st_mem *mem; // borrowed
    char *ptr;          // owns
    size_t len, cap;
    bool mapped; // block comes from st_mem_map (large buffers, may be spilled)
};

void st_buf_init(struct st_buf *b, struct st_mem *mem);
void st_buf_release(struct st_buf *b);
static inline void st_buf_clear(struct st_buf *b)
{
    b->len = 0;
}
static inline struct st_sv st_buf_sv(const struct st_buf *b)
{
    return (struct st_sv){b->ptr, b->len};
}
int st_buf_reserve(struct st_buf *b, size_t more, struct st_err *err); // room for `more` bytes after len
bool st_buf_spilled(const struct st_buf *b);
int st_buf_add(struct st_buf *b, struct st_sv s, struct st_err *err);
int st_buf_addc(struct st_buf *b, char c, struct st_err *err);
int st_buf_fmt(struct st_buf *b, struct st_err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
