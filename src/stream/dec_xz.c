// xz (.xz file format 1.1) through liblzma, concatenated streams and stream padding included.
#include "stream/stream_int.h"

#include <inttypes.h>
#include <lzma.h>

#define OUT_SIZE (64 * 1024)

struct xz {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    struct st_foreign foreign;
    lzma_allocator allocator;
    lzma_stream z; // owns
    bool ended, broken;
    unsigned char out[OUT_SIZE];
};

static void *xz_alloc(void *foreign, size_t nmemb, size_t size)
{
    size_t n;
    return st_ckd_mul(&n, nmemb, size) ? NULL : st_foreign_alloc(foreign, n);
}

static int window_refused(const struct xz *x, uint64_t need, struct st_err *err)
{
    st_err_set_off(err, ST_E_MEMORY, st_stream_pos(x->inner),
                   "xz dictionary needs %" PRIu64 " bytes, which does not fit the memory budget (%zu of %zu in use)",
                   need, x->mem->used, x->mem->limit);
    if (err)
        err->need_bytes = need;
    return -1;
}

static int failed(struct xz *x, lzma_ret rc, struct st_err *err)
{
    uint64_t at = st_stream_pos(x->inner);
    switch (rc) {
    case LZMA_MEMLIMIT_ERROR:
        return window_refused(x, lzma_memusage(&x->z), err);
    case LZMA_MEM_ERROR:
        return st_foreign_refused(&x->foreign, lzma_memusage(&x->z), err);
    case LZMA_BUF_ERROR:
        return st_err_set_off(err, ST_E_CORRUPT, at, ST_DEC_EARLY, "xz");
    case LZMA_OPTIONS_ERROR:
        return st_err_set_off(err, ST_E_CORRUPT, at, "xz stream uses unknown options");
    case LZMA_FORMAT_ERROR:
        return st_err_set_off(err, ST_E_CORRUPT, at,
                              "xz stream is damaged: no xz header, or other bytes behind its end");
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
    while (x->z.avail_out > 0 && !x->ended) {
        int r = st_stream_fill(x->inner, err);
        if (r < 0) {
            x->broken = true;
            return -1;
        }
        x->z.next_in = x->inner->cur;
        x->z.avail_in = (size_t)(x->inner->end - x->inner->cur);
        lzma_ret rc = lzma_code(&x->z, r == 0 ? LZMA_FINISH : LZMA_RUN);
        x->inner->cur = x->z.next_in;
        x->ended = rc == LZMA_STREAM_END;
        if (rc != LZMA_OK && rc != LZMA_STREAM_END && !(rc == LZMA_BUF_ERROR && r > 0)) {
            x->broken = true;
            return failed(x, rc, err);
        }
    }
    s->cur = x->out;
    s->end = x->z.next_out;
    s->end_pos += (uint64_t)(s->end - s->cur);
    return s->cur < s->end;
}

static void xz_free(struct st_stream *s)
{
    struct xz *x = (struct xz *)s;
    lzma_end(&x->z);
    st_stream_free(x->inner);
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
    x->foreign.mem = mem;
    x->allocator = (lzma_allocator){xz_alloc, st_foreign_free, &x->foreign};
    x->z = (lzma_stream)LZMA_STREAM_INIT;
    x->z.allocator = &x->allocator;
    uint64_t left = mem->used < mem->limit ? mem->limit - mem->used : 1; // a limit of 0 means 1 to liblzma
    if (lzma_stream_decoder(&x->z, left, LZMA_CONCATENATED) != LZMA_OK) {
        st_foreign_refused(&x->foreign, 0, err);
        xz_free(&x->s);
        return NULL;
    }
    x->inner = inner;
    return &x->s;
}

// ---- dictionary size from the first block header (.xz file format 3.1, 5.3.1) ------------------------------

#define STREAM_HEAD 12
#define FILTER_LZMA2 0x21
#define DICT_BITS_MAX 40

// Multibyte integer (1.2); UINT64_MAX when it does not end inside of the header.
static uint64_t vli(const unsigned char **p, const unsigned char *end)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 9 && *p < end; i++) {
        unsigned char b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (!(b & 0x80))
            return v;
    }
    *p = end;
    return UINT64_MAX;
}

uint64_t st_xz_window(struct st_sv head)
{
    if (head.len < STREAM_HEAD + 2 || head.ptr[STREAM_HEAD] == 0) // 0: index, no block
        return 0;
    const unsigned char *p = (const unsigned char *)head.ptr + STREAM_HEAD;
    const unsigned char *end = p + ST_MIN((size_t)(*p + 1) * 4, head.len - STREAM_HEAD);
    unsigned flags = p[1], filters = (flags & 3) + 1;
    p += 2;
    if (flags & 0x40)
        vli(&p, end); // compressed size
    if (flags & 0x80)
        vli(&p, end); // uncompressed size
    for (unsigned i = 0; i < filters && p < end; i++) {
        uint64_t id = vli(&p, end), size = vli(&p, end);
        if (size > (uint64_t)(end - p))
            return 0;
        if (id == FILTER_LZMA2 && size == 1) {
            unsigned bits = *p;
            return bits > DICT_BITS_MAX    ? 0
                   : bits == DICT_BITS_MAX ? UINT32_MAX
                                           : (uint64_t)(2 | (bits & 1)) << (bits / 2 + 11);
        }
        p += size;
    }
    return 0;
}
