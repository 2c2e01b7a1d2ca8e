#include "base/mem.h"

#include "base/ckd.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define BUF_MIN ((size_t)256)
#define BUF_MAP_MIN (64 * 1024) // buffers from this size on come from st_mem_map
#define ARENA_BLOCK_MAX ((size_t)256 * 1024)

// A live mapping of the spill file. Kept outside of the mapping itself, so that a walk of the list
// touches no spilled page.
struct st_mem_region {
    struct st_mem_region *next;
    void *addr;
    size_t len;
    uint64_t off; // in the file
};

void st_mem_init(struct st_mem *mem, size_t limit, int spill_fd)
{
    *mem = (struct st_mem){.limit = limit, .spill_at = limit, .spill_fd = spill_fd};
}

void st_mem_release(struct st_mem *mem)
{
    while (mem->regions) {
        struct st_mem_region *r = mem->regions;
        mem->regions = r->next;
        munmap(r->addr, r->len);
        free(r);
    }
}

static bool refuse(struct st_mem *mem)
{
    return ++mem->requests == mem->fail_at;
}

static void charge(struct st_mem *mem, size_t n)
{
    mem->used += n;
    if (mem->used > mem->peak)
        mem->peak = mem->used;
}

static bool fits(const struct st_mem *mem, size_t n)
{
    return n <= mem->limit && mem->used <= mem->limit - n;
}

static int over_budget(const struct st_mem *mem, size_t n, struct st_err *err)
{
    return st_err_set(err, ST_E_MEMORY, "%zu bytes more do not fit the memory budget (%zu of %zu bytes in use)", n,
                      mem->used, mem->limit);
}

void *st_mem_alloc(struct st_mem *mem, size_t n, struct st_err *err)
{
    if (refuse(mem))
        return st_err_nomem(err), NULL;
    if (!fits(mem, n))
        return over_budget(mem, n, err), NULL;
    void *p = calloc(1, n);
    if (!p)
        return st_err_nomem(err), NULL;
    charge(mem, n);
    return p;
}

void *st_mem_resize(struct st_mem *mem, void *p, size_t old_n, size_t n, struct st_err *err)
{
    if (refuse(mem))
        return st_err_nomem(err), NULL;
    if (n > old_n && !fits(mem, n - old_n))
        return over_budget(mem, n - old_n, err), NULL;
    void *q = realloc(p, n);
    if (!q)
        return st_err_nomem(err), NULL;
    mem->used -= old_n;
    charge(mem, n);
    return q;
}

void st_mem_free(struct st_mem *mem, void *p, size_t n)
{
    if (p) {
        free(p);
        mem->used -= n;
    }
}

static int spill_refused(int e, struct st_err *err)
{
    return st_err_set(err, ST_E_SPILL, "spill failed: %s", e == ENOSPC || e == EDQUOT ? "no space" : strerror(e));
}

static void count_spill(struct st_mem *mem, size_t n)
{
    mem->spill_used += n;
    mem->spill_live += n;
    mem->spill_dirty += n;
    if (mem->spill_used > mem->spill_peak)
        mem->spill_peak = mem->spill_used;
}

static void *map_spill(struct st_mem *mem, size_t n, struct st_err *err)
{
    if (mem->spill_fd < 0)
        return st_err_set(err, ST_E_SPILL, "%zu bytes more do not fit the memory budget and there is no spill space",
                          n),
               NULL;
    // Allocate the blocks now: a full disk must be an error here, not a SIGBUS later.
    int e = posix_fallocate(mem->spill_fd, (off_t)mem->spill_used, (off_t)n);
    if (e)
        return spill_refused(e, err), NULL;
    struct st_mem_region *r = malloc(sizeof *r);
    if (!r)
        return st_err_nomem(err), NULL;
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, mem->spill_fd, (off_t)mem->spill_used);
    if (p == MAP_FAILED) {
        free(r);
        return st_err_sys(err, "map of the spill file"), NULL;
    }
    *r = (struct st_mem_region){.next = mem->regions, .addr = p, .len = n, .off = mem->spill_used};
    mem->regions = r;
    count_spill(mem, n);
    return p;
}

// The block at the end of the spill file grows where it is.
static void *grow_spill(struct st_mem *mem, struct st_mem_region *r, size_t n, struct st_err *err)
{
    size_t more = n - r->len;
    int e = posix_fallocate(mem->spill_fd, (off_t)mem->spill_used, (off_t)more);
    if (e)
        return spill_refused(e, err), NULL;
    void *p = mremap(r->addr, r->len, n, MREMAP_MAYMOVE);
    if (p == MAP_FAILED)
        return st_err_sys(err, "map of the spill file"), NULL;
    r->addr = p;
    r->len = n;
    count_spill(mem, more);
    return p;
}

// Do n bytes more stay in memory?
static bool stays(const struct st_mem *mem, size_t n)
{
    return fits(mem, n) && (mem->used + n <= mem->spill_at || mem->spill_fd < 0);
}

void *st_mem_map(struct st_mem *mem, size_t n, size_t *ret_n, struct st_err *err)
{
    if (refuse(mem))
        return st_err_nomem(err), NULL;
    size_t size;
    if (n == 0 || st_ckd_add(&size, n, PAGE - 1))
        return st_err_nomem(err), NULL;
    size &= ~(PAGE - 1);
    void *p;
    if (stays(mem, size)) {
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return st_err_nomem(err), NULL;
        charge(mem, size);
    } else {
        p = map_spill(mem, size, err);
        if (!p)
            return NULL;
    }
    *ret_n = size;
    return p;
}

// The file ends behind its last mapping. Cutting it zeroes the blocks, so that new ones read as zeroes.
static void cut_spill(struct st_mem *mem)
{
    uint64_t end = 0;
    for (const struct st_mem_region *r = mem->regions; r; r = r->next)
        end = ST_MAX(end, r->off + r->len);
    if (ftruncate(mem->spill_fd, (off_t)end) == 0)
        mem->spill_used = end;
}

void st_mem_unmap(struct st_mem *mem, void *p, size_t n)
{
    if (!p)
        return;
    munmap(p, n);
    for (struct st_mem_region **r = &mem->regions; *r; r = &(*r)->next)
        if ((*r)->addr == p) {
            struct st_mem_region *gone = *r;
            bool last = gone->off + gone->len == mem->spill_used;
            *r = gone->next;
            free(gone);
            mem->spill_live -= n;
            if (last)
                cut_spill(mem);
            return;
        }
    mem->used -= n;
}

static struct st_mem_region *region_of(const struct st_mem *mem, const void *p)
{
    struct st_mem_region *r = mem->regions;
    while (r && r->addr != p)
        r = r->next;
    return r;
}

void *st_mem_remap(struct st_mem *mem, void *p, size_t old_n, size_t n, size_t *ret_n, struct st_err *err)
{
    size_t size;
    if (st_ckd_add(&size, n, PAGE - 1))
        return st_err_nomem(err), NULL;
    size &= ~(PAGE - 1);
    struct st_mem_region *r = region_of(mem, p);
    if (r && r->off + r->len == mem->spill_used) {
        if (refuse(mem))
            return st_err_nomem(err), NULL;
        p = grow_spill(mem, r, size, err);
        if (p)
            *ret_n = size;
        return p;
    }
    if (!r && stays(mem, size - old_n)) {
        if (refuse(mem))
            return st_err_nomem(err), NULL;
        p = mremap(p, old_n, size, MREMAP_MAYMOVE);
        if (p == MAP_FAILED)
            return st_err_nomem(err), NULL;
        charge(mem, size - old_n);
        *ret_n = size;
        return p;
    }
    void *q = st_mem_map(mem, size, &size, err);
    if (!q)
        return NULL;
    memcpy(q, p, old_n);
    st_mem_unmap(mem, p, old_n);
    *ret_n = size;
    return q;
}

int st_mem_put(struct st_mem *mem, void *p, size_t at, struct st_sv bytes, struct st_err *err)
{
    const struct st_mem_region *r = mem->regions ? region_of(mem, p) : NULL;
    if (!r)
        return 0;
    if (st_fd_pwrite(mem->spill_fd, bytes.ptr, bytes.len, r->off + at))
        return spill_refused(errno, err);
    return 1;
}

void st_mem_trim(struct st_mem *mem)
{
    for (struct st_mem_region *r = mem->regions; r; r = r->next)
        madvise(r->addr, r->len, MADV_DONTNEED); // MAP_SHARED: only unmaps, the data stays in the file
    mem->spill_dirty = 0;
}

// ---- arenas -------------------------------------------------------------------------------------

struct st_arena_block {
    struct st_arena_block *next;
    size_t size; // as st_mem_map returned it
};

#define BLOCK_HEAD ((sizeof(struct st_arena_block) + 15) & ~(size_t)15)

void st_arena_init(struct st_arena *a, struct st_mem *mem)
{
    *a = (struct st_arena){.mem = mem, .block_size = PAGE};
}

static void release_blocks(struct st_arena *a, struct st_arena_block *b)
{
    while (b) {
        struct st_arena_block *next = b->next;
        st_mem_unmap(a->mem, b, b->size);
        b = next;
    }
}

void st_arena_release(struct st_arena *a)
{
    release_blocks(a, a->head);
    a->head = NULL;
    a->cur = a->end = NULL;
    a->block_size = PAGE;
}

void st_arena_reset(struct st_arena *a)
{
    struct st_arena_block *b = a->head;
    if (!b)
        return;
    if (b->size > ARENA_BLOCK_MAX || b->next) {
        // Keep one ordinary block; an outsized one goes back.
        release_blocks(a, b->next);
        b->next = NULL;
        if (b->size > ARENA_BLOCK_MAX) {
            st_arena_release(a);
            return;
        }
    }
    size_t used = (size_t)(a->cur - (char *)b);
    memset((char *)b + BLOCK_HEAD, 0, used - BLOCK_HEAD);
    a->cur = (char *)b + BLOCK_HEAD;
    a->end = (char *)b + b->size;
}

static int grow(struct st_arena *a, size_t n, struct st_err *err)
{
    size_t want;
    if (st_ckd_add(&want, n, BLOCK_HEAD + 16))
        return st_err_nomem(err);
    if (a->mem->spill_dirty > 1024 * 1024)
        st_mem_trim(a->mem);
    size_t size = ST_MAX(want, a->block_size);
    struct st_arena_block *b = st_mem_map(a->mem, size, &size, err);
    if (!b)
        return -1;
    b->size = size;
    b->next = a->head;
    a->head = b;
    a->cur = (char *)b + BLOCK_HEAD;
    a->end = (char *)b + size;
    if (a->block_size < ARENA_BLOCK_MAX)
        a->block_size *= 2;
    return 0;
}

void *st_arena_alloc(struct st_arena *a, size_t n, struct st_err *err)
{
    if (n > SIZE_MAX / 2)
        return st_err_nomem(err), NULL;
    uintptr_t pad = -(uintptr_t)a->cur & 15;
    if ((size_t)(a->end - a->cur) < n + pad) {
        if (grow(a, n, err))
            return NULL;
        pad = -(uintptr_t)a->cur & 15;
    }
    char *p = a->cur + pad;
    a->cur = p + n;
    return p;
}

char *st_arena_bytes(struct st_arena *a, size_t n, struct st_err *err)
{
    if ((size_t)(a->end - a->cur) < n && grow(a, n, err))
        return NULL;
    char *p = a->cur;
    a->cur += n;
    return p;
}

void *st_arena_array(struct st_arena *a, size_t n, size_t size, struct st_err *err)
{
    size_t bytes;
    if (st_ckd_mul(&bytes, n, size))
        return st_err_nomem(err), NULL;
    return st_arena_alloc(a, bytes, err);
}

int st_arena_dup(struct st_arena *a, struct st_sv s, struct st_sv *ret, struct st_err *err)
{
    char *p = st_arena_bytes(a, s.len + 1, err);
    if (!p)
        return -1;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    *ret = (struct st_sv){p, s.len};
    return 0;
}

int st_arena_fmt(struct st_arena *a, struct st_sv *ret, struct st_err *err, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : st_arena_bytes(a, (size_t)n + 1, err);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    if (!p)
        return -1;
    *ret = (struct st_sv){p, (size_t)n};
    return 0;
}

// ---- buffers ------------------------------------------------------------------------------------

void st_buf_init(struct st_buf *b, struct st_mem *mem)
{
    *b = (struct st_buf){.mem = mem};
}

void st_buf_release(struct st_buf *b)
{
    if (b->mapped)
        st_mem_unmap(b->mem, b->ptr, b->cap);
    else
        st_mem_free(b->mem, b->ptr, b->cap);
    *b = (struct st_buf){.mem = b->mem};
}

int st_buf_reserve(struct st_buf *b, size_t more, struct st_err *err)
{
    size_t need;
    if (st_ckd_add(&need, b->len, more))
        return st_err_nomem(err);
    if (need <= b->cap)
        return 0;
    size_t cap = BUF_MIN;
    if (b->len && st_ckd_mul(&cap, b->cap, (size_t)2))
        return st_err_nomem(err);
    cap = ST_MAX(cap, need); // what is asked for at once is not rounded up
    if (b->len == 0)
        st_buf_release(b); // nothing to keep
    if (cap < BUF_MAP_MIN) {
        char *p = st_mem_resize(b->mem, b->ptr, b->cap, cap, err);
        if (!p)
            return -1;
        b->ptr = p;
        b->cap = cap;
        return 0;
    }
    if (b->mapped) {
        char *grown = st_mem_remap(b->mem, b->ptr, b->cap, cap, &cap, err);
        if (!grown)
            return -1;
        b->ptr = grown;
        b->cap = cap;
        return 0;
    }
    char *p = st_mem_map(b->mem, cap, &cap, err);
    if (!p)
        return -1;
    if (b->len)
        memcpy(p, b->ptr, b->len);
    size_t len = b->len;
    st_buf_release(b);
    *b = (struct st_buf){.mem = b->mem, .ptr = p, .len = len, .cap = cap, .mapped = true};
    return 0;
}

bool st_buf_spilled(const struct st_buf *b)
{
    return b->mapped && region_of(b->mem, b->ptr);
}

int st_buf_add(struct st_buf *b, struct st_sv s, struct st_err *err)
{
    if (s.len && s.len <= b->cap - b->len && s.len < PAGE) { // as nearly always: writers add token by token
        memcpy(b->ptr + b->len, s.ptr, s.len);
        b->len += s.len;
        return 0;
    }
    if (st_buf_reserve(b, s.len, err))
        return -1;
    int put = b->mapped && s.len >= PAGE ? st_mem_put(b->mem, b->ptr, b->len, s, err) : 0;
    if (put < 0)
        return -1;
    if (put == 0 && s.len)
        memcpy(b->ptr + b->len, s.ptr, s.len);
    b->len += s.len;
    return 0;
}

int st_buf_addc(struct st_buf *b, char c, struct st_err *err)
{
    return st_buf_add(b, st_sv_mem(&c, 1), err);
}

int st_buf_fmt(struct st_buf *b, struct st_err *err, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int rc = n < 0 ? st_err_nomem(err) : st_buf_reserve(b, (size_t)n + 1, err);
    if (rc == 0) {
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return rc;
}
