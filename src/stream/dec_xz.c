// xz through liblzma, concatenated streams as one. The dictionary comes from the memory budget, which is also liblzma's
// own limit, so that it says what it would have needed.
#include "stream/stream_int.h"

#include <lzma.h>
#include <stdlib.h>

#define OUT_SIZE (128 * 1024)

struct xz {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    struct st_foreign alloc;
    lzma_allocator allocator;
    lzma_stream z;
    bool done, broken;
    unsigned char out[OUT_SIZE];
};

// The dictionary of the first block's LZMA2 filter, when its header lies in `head` (.xz format 3.1).
uint64_t st_xz_window(struct st_sv head)
{
    if (head.len < 12 + 8)
        return 0;
    lzma_filter filters[LZMA_FILTERS_MAX + 1];
    lzma_stream_flags flags;
    lzma_block block = {.version = 1, .filters = filters};
    if (lzma_stream_header_decode(&flags, (const uint8_t *)head.ptr) != LZMA_OK)
        return 0;
    const uint8_t *b = (const uint8_t *)head.ptr + LZMA_STREAM_HEADER_SIZE;
    block.check = flags.check;
    if (*b == 0)
        return 0;
    block.header_size = lzma_block_header_size_decode(*b);
    if (head.len - LZMA_STREAM_HEADER_SIZE < block.header_size || lzma_block_header_decode(&block, NULL, b) != LZMA_OK)
        return 0;
    uint64_t need = lzma_raw_decoder_memusage(filters);
    for (size_t i = 0; filters[i].id != LZMA_VLI_UNKNOWN; i++)
        free(filters[i].options);
    return need == UINT64_MAX ? 0 : need;
}

static void *xz_alloc(void *opaque, size_t n, size_t size)
{
    size_t bytes;
    return st_ckd_mul(&bytes, n, size) ? NULL : st_foreign_alloc(opaque, bytes);
}

static int fail(struct xz *x, lzma_ret rc, struct st_err *err)
{
    x->broken = true;
    uint64_t at = st_stream_pos(x->inner);
    switch (rc) {
    case LZMA_MEMLIMIT_ERROR:
        st_err_set(err, ST_E_MEMORY, "xz dictionary needs %llu KiB, which does not fit the memory budget",
                   (unsigned long long)(lzma_memusage(&x->z) >> 10));
        if (err)
            err->need_bytes = lzma_memusage(&x->z) + 64 * 1024;
        return -1;
    case LZMA_MEM_ERROR:
        return st_foreign_refused(&x->alloc, lzma_memusage(&x->z) + 64 * 1024, err);
    case LZMA_BUF_ERROR:
        return st_err_set_off(err, ST_E_CORRUPT, at, ST_DEC_EARLY, "xz");
    case LZMA_FORMAT_ERROR:
        return st_err_set_off(err, ST_E_CORRUPT, at, "xz stream is damaged: not an xz header");
    case LZMA_OPTIONS_ERROR:
        return st_err_set_off(err, ST_E_CORRUPT, at, "xz stream uses options that this liblzma does not know");
    default:
        return st_err_set_off(err, ST_E_CORRUPT, at, "xz stream is damaged");
    }
}

static int xz_fill(struct st_stream *s, struct st_err *err)
{
    struct xz *x = (struct xz *)s;
    if (x->broken)
        return st_err_set(err, ST_E_CORRUPT, ST_DEC_BROKEN, "xz");
    x->z.next_out = x->out;
    x->z.avail_out = OUT_SIZE;
    while (!x->done && x->z.avail_out == OUT_SIZE) {
        int r = st_stream_fill(x->inner, err);
        if (r < 0)
            return -1;
        x->z.next_in = x->inner->cur;
        x->z.avail_in = (size_t)(x->inner->end - x->inner->cur);
        lzma_ret rc = lzma_code(&x->z, r == 0 ? LZMA_FINISH : LZMA_RUN);
        x->inner->cur = x->z.next_in;
        x->done = rc == LZMA_STREAM_END;
        if (rc != LZMA_OK && rc != LZMA_STREAM_END && !(rc == LZMA_BUF_ERROR && r > 0))
            return fail(x, rc, err);
    }
    s->cur = x->out;
    s->end = x->z.next_out;
    s->end_pos += (uint64_t)(s->end - s->cur);
    return s->cur < s->end;
}

static void xz_free(struct st_stream *s)
{
    struct xz *x = (struct xz *)s;
    st_stream_free(x->inner);
    lzma_end(&x->z);
    st_mem_free(x->mem, x, sizeof *x);
}

static const struct st_stream_ops xz_ops = {xz_fill, NULL, xz_free};

struct st_stream *st_xz_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err)
{
    struct xz *x = st_mem_alloc(mem, sizeof *x, err);
    if (!x)
        return NULL;
    x->s.ops = &xz_ops;
    x->mem = mem;
    x->alloc.mem = mem;
    x->allocator = (lzma_allocator){xz_alloc, st_foreign_free, &x->alloc};
    x->z = (lzma_stream)LZMA_STREAM_INIT;
    x->z.allocator = &x->allocator;
    uint64_t room = mem->limit - ST_MIN(mem->limit, mem->used);
    lzma_ret rc = lzma_stream_decoder(&x->z, ST_MAX(room, (uint64_t)1), LZMA_CONCATENATED);
    if (rc != LZMA_OK) {
        st_foreign_refused(&x->alloc, 0, err);
        st_mem_free(mem, x, sizeof *x);
        return NULL;
    }
    x->inner = inner;
    return &x->s;
}
