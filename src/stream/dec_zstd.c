// zstd (RFC 8878) through libzstd; frames and skippable frames follow one another. The context and its window come from
// the memory budget.
#define ZSTD_STATIC_LINKING_ONLY
#include "stream/stream_int.h"

#include <zstd.h>
#include <zstd_errors.h>

#define OUT_SIZE (128 * 1024) // one block

struct zstd {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    struct st_foreign alloc;
    ZSTD_DCtx *ctx;
    bool in_frame, any, held, broken; // held: the decoder may have bytes that did not fit
    unsigned char out[OUT_SIZE];
};

uint64_t st_zstd_window(struct st_sv head)
{
    ZSTD_frameHeader h;
    if (ZSTD_getFrameHeader(&h, head.ptr, head.len) != 0 || h.frameType != ZSTD_frame)
        return 0;
    return h.windowSize;
}

static int fail(struct zstd *z, size_t code, struct st_err *err)
{
    z->broken = true;
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation) {
        struct st_sv head = st_sv_mem(z->inner->cur, (size_t)(z->inner->end - z->inner->cur));
        uint64_t window = st_zstd_window(head);
        if (!window)
            window = z->alloc.refusal.code ? ZSTD_estimateDStreamSize(1u << 27) : 0;
        return st_foreign_refused(&z->alloc, window + 2 * ZSTD_BLOCKSIZE_MAX, err);
    }
    return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(z->inner), "zstd stream is damaged: %s",
                          ZSTD_getErrorName(code));
}

static int zstd_fill(struct st_stream *s, struct st_err *err)
{
    struct zstd *z = (struct zstd *)s;
    if (z->broken)
        return st_err_set(err, ST_E_CORRUPT, ST_DEC_BROKEN, "zstd");
    ZSTD_outBuffer out = {z->out, OUT_SIZE, 0};
    while (out.pos == 0) {
        int r = z->held ? 1 : st_stream_fill(z->inner, err);
        if (r < 0)
            return -1;
        if (r == 0) {
            if (!z->in_frame && z->any)
                return 0;
            z->broken = true;
            return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(z->inner), ST_DEC_EARLY, "zstd");
        }
        ZSTD_inBuffer in = {z->inner->cur, (size_t)(z->inner->end - z->inner->cur), 0};
        size_t rc = ZSTD_decompressStream(z->ctx, &out, &in);
        if (ZSTD_isError(rc))
            return fail(z, rc, err);
        z->inner->cur += in.pos;
        z->any = true;
        z->in_frame = rc != 0; // 0: a frame is complete and flushed
        z->held = rc != 0 && out.pos == out.size;
    }
    s->cur = z->out;
    s->end = z->out + out.pos;
    s->end_pos += out.pos;
    return 1;
}

static void zstd_free(struct st_stream *s)
{
    struct zstd *z = (struct zstd *)s;
    st_stream_free(z->inner);
    ZSTD_freeDCtx(z->ctx);
    st_mem_free(z->mem, z, sizeof *z);
}

static const struct st_stream_ops zstd_ops = {zstd_fill, NULL, zstd_free};

struct st_stream *st_zstd_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err)
{
    uint64_t window = st_zstd_window(st_sv_mem(inner->cur, (size_t)(inner->end - inner->cur)));
    uint64_t need = window + 2 * ZSTD_BLOCKSIZE_MAX + sizeof(struct zstd) + 160 * 1024; // 160 KiB: the context's tables
    if (need > mem->limit || mem->used > mem->limit - need) {
        st_err_set(err, ST_E_MEMORY, "zstd window of %llu KiB does not fit the memory budget",
                   (unsigned long long)(window >> 10));
        if (err)
            err->need_bytes = need;
        return NULL;
    }
    struct zstd *z = st_mem_alloc(mem, sizeof *z, err);
    if (!z)
        return NULL;
    z->s.ops = &zstd_ops;
    z->mem = mem;
    z->alloc.mem = mem;
    z->ctx = ZSTD_createDCtx_advanced((ZSTD_customMem){st_foreign_alloc, st_foreign_free, &z->alloc});
    if (!z->ctx) {
        st_foreign_refused(&z->alloc, need, err);
        st_mem_free(mem, z, sizeof *z);
        return NULL;
    }
    ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, ZSTD_WINDOWLOG_MAX);
    z->inner = inner;
    return &z->s;
}
