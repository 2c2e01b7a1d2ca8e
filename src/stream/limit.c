// Limits on what comes out of a chain, and the allocator lent to the decoder libraries, which is a limit too.
#include "stream/stream_int.h"

#include <inttypes.h>
#include <stdatomic.h>

#define RATIO_FROM (64 * ST_MIB) // a small input may well be one long run of zeros

struct limit {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner;        // owns
    const struct st_stream *source; // borrowed
    uint64_t max_bytes, ratio;
    _Atomic uint64_t *in, *out; // NULL: nobody looks
};

static int check(const struct limit *l, struct st_err *err)
{
    uint64_t out = l->inner->end_pos, in = l->source->end_pos, most;
    if (out > l->max_bytes)
        return st_err_set_off(err, ST_E_LIMIT, in, "stream is larger than the limit of %" PRIu64 " bytes",
                              l->max_bytes);
    if (out > RATIO_FROM && !st_ckd_mul(&most, in, l->ratio) && out > most)
        return st_err_set_off(err, ST_E_LIMIT, in, "stream expands to more than %" PRIu64 " times its size", l->ratio);
    return 0;
}

static void tell(const struct limit *l)
{
    if (!l->in)
        return;
    atomic_store_explicit(l->in, l->source->end_pos, memory_order_relaxed);
    atomic_store_explicit(l->out, l->inner->end_pos, memory_order_relaxed);
}

static int limit_fill(struct st_stream *s, struct st_err *err)
{
    struct limit *l = (struct limit *)s;
    int r = st_stream_fill(l->inner, err);
    if (r <= 0)
        return r;
    if (check(l, err))
        return -1;
    st_stream_pass(s, l->inner);
    tell(l);
    return 1;
}

static int64_t limit_seek_over(struct st_stream *s, uint64_t n, struct st_err *err)
{
    struct limit *l = (struct limit *)s;
    struct st_stream *in = l->inner;
    if (!in->ops->seek_over || in->cur != in->end)
        return 0;
    int64_t r = in->ops->seek_over(in, n, err);
    if (r <= 0)
        return r;
    s->end_pos = in->end_pos;
    tell(l);
    return in->end_pos > l->max_bytes ? check(l, err) : r; // the ratio says nothing about bytes that were not made
}

static void limit_free(struct st_stream *s)
{
    struct limit *l = (struct limit *)s;
    st_stream_free(l->inner);
    st_mem_free(l->mem, l, sizeof *l);
}

static const struct st_stream_ops limit_ops = {limit_fill, limit_seek_over, limit_free};

struct st_stream *st_stream_limit(struct st_mem *mem, struct st_stream *inner, const struct st_stream *source,
                                  uint64_t max_bytes, uint64_t ratio, struct st_err *err)
{
    struct limit *l = st_mem_alloc(mem, sizeof *l, err);
    if (!l) {
        st_stream_free(inner);
        return NULL;
    }
    *l = (struct limit){.s = {.ops = &limit_ops, .end_pos = st_stream_pos(inner)},
                        .mem = mem,
                        .inner = inner,
                        .source = source,
                        .max_bytes = max_bytes,
                        .ratio = ratio};
    return &l->s;
}

void st_stream_limit_show(struct st_stream *limit, _Atomic uint64_t *in, _Atomic uint64_t *out)
{
    struct limit *l = (struct limit *)limit;
    l->in = in;
    l->out = out;
}

// ---- allocator for libraries --------------------------------------------------------------------------

#define FOREIGN_HEAD 16 // keeps malloc's alignment

void *st_foreign_alloc(void *foreign, size_t n)
{
    struct st_foreign *f = foreign;
    size_t size;
    if (st_ckd_add(&size, n, (size_t)FOREIGN_HEAD)) {
        st_err_nomem(&f->refusal);
        return NULL;
    }
    char *p = st_mem_alloc(f->mem, size, &f->refusal);
    if (!p)
        return NULL;
    memcpy(p, &size, sizeof size);
    return p + FOREIGN_HEAD;
}

void st_foreign_free(void *foreign, void *p)
{
    struct st_foreign *f = foreign;
    if (!p)
        return;
    char *block = (char *)p - FOREIGN_HEAD;
    size_t size;
    memcpy(&size, block, sizeof size);
    st_mem_free(f->mem, block, size);
}

int st_foreign_refused(const struct st_foreign *f, uint64_t need, struct st_err *err)
{
    if (!err)
        return -1;
    if (f->refusal.code)
        *err = f->refusal;
    else
        st_err_nomem(err);
    if (err->code == ST_E_MEMORY)
        err->need_bytes = need;
    return -1;
}
