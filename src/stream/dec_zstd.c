// Zstandard (RFC 8878) through libzstd's block interface. Blocks are decoded straight into a ring that is window and
// output buffer at once; the ordinary streaming interface has such a ring too, and copies every byte out of it.
#define ZSTD_STATIC_LINKING_ONLY
#include "stream/stream_int.h"

#include <inttypes.h>
#include <zstd.h>

#define SKIP_HEAD 8 // magic and length of a skippable frame
#define STAGE_SIZE (ZSTD_BLOCKSIZE_MAX + 3)
#define RING_MIN 64

struct zstd {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    struct st_foreign foreign;
    ZSTD_DCtx *ctx;      // owns
    unsigned char *ring; // owns, ring_size bytes
    size_t ring_size, ring_pos;
    size_t block_max; // of this frame
    uint64_t content; // bytes of this frame, ZSTD_CONTENTSIZE_UNKNOWN: not said
    bool in_frame, broken;
    uint64_t frames;
    unsigned char *stage; // owns; a block that crosses the end of the inner buffer is put together here
};

static int ends_early(const struct zstd *z, struct st_err *err)
{
    return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(z->inner), ST_DEC_EARLY, "zstd");
}

static int damaged(const struct zstd *z, const char *what, struct st_err *err)
{
    return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(z->inner), "zstd stream is damaged: %s", what);
}

static uint32_t le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool is_skippable(uint32_t magic)
{
    return (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

// Exactly n bytes of input into buf.
static int input(struct zstd *z, void *buf, size_t n, struct st_err *err)
{
    int64_t r = st_stream_read(z->inner, buf, n, err);
    if (r < 0)
        return -1;
    return (size_t)r < n ? ends_early(z, err) : 0;
}

// n bytes of input in one piece: where they lie, or in the stage.
static const unsigned char *piece(struct zstd *z, size_t n, struct st_err *err)
{
    if ((size_t)(z->inner->end - z->inner->cur) >= n) {
        const unsigned char *p = z->inner->cur;
        z->inner->cur += n;
        return p;
    }
    if (n > STAGE_SIZE)
        return damaged(z, "block too large", err), NULL;
    if (!z->stage) {
        z->stage = st_mem_alloc(z->mem, STAGE_SIZE, err);
        if (!z->stage)
            return NULL;
    }
    return input(z, z->stage, n, err) ? NULL : z->stage;
}

static int window_refused(const struct st_mem *mem, uint64_t need, struct st_err *err)
{
    st_err_set(err, ST_E_MEMORY, "zstd window of %" PRIu64 " bytes does not fit the memory budget (%zu of %zu in use)",
               need, mem->used, mem->limit);
    if (err)
        err->need_bytes = need;
    return -1;
}

// Room for the window of this frame; the ring of an earlier frame is kept when it is large enough.
static int make_ring(struct zstd *z, const ZSTD_frameHeader *f, struct st_err *err)
{
    unsigned long long window = ST_MIN(f->windowSize, f->frameContentSize);
    if (window > z->mem->limit) // also keeps the sum below from wrapping
        return window_refused(z->mem, window, err);
    size_t need = ZSTD_decodingBufferSize_min(f->windowSize, f->frameContentSize);
    if (ZSTD_isError(need))
        return window_refused(z->mem, window, err);
    need = ST_MAX(need, (size_t)RING_MIN);
    z->ring_pos = 0;
    if (need <= z->ring_size)
        return 0;
    st_mem_free(z->mem, z->ring, z->ring_size);
    z->ring_size = 0;
    struct st_err refusal;
    st_err_clear(&refusal);
    z->ring = st_mem_alloc(z->mem, need, &refusal);
    if (!z->ring) {
        if (refusal.code == ST_E_MEMORY)
            return window_refused(z->mem, need, err);
        if (err)
            *err = refusal;
        return -1;
    }
    z->ring_size = need;
    return 0;
}

// Feed the frame header to the decoder, in the pieces that it asks for.
static int feed_header(struct zstd *z, const unsigned char *head, size_t n, struct st_err *err)
{
    size_t rc = ZSTD_decompressBegin(z->ctx);
    for (size_t at = 0; !ZSTD_isError(rc) && at < n;) {
        size_t want = ZSTD_nextSrcSizeToDecompress(z->ctx);
        if (want == 0 || want > n - at)
            return damaged(z, "frame header", err);
        rc = ZSTD_decompressContinue(z->ctx, NULL, 0, head + at, want);
        at += want;
    }
    return ZSTD_isError(rc) ? damaged(z, ZSTD_getErrorName(rc), err) : 0;
}

static int begin_frame(struct zstd *z, struct st_err *err)
{
    unsigned char head[ZSTD_FRAMEHEADERSIZE_MAX];
    size_t n = ZSTD_FRAMEHEADERSIZE_PREFIX(ZSTD_f_zstd1);
    if (input(z, head, n, err))
        return -1;
    uint32_t magic = le32(head);
    if (is_skippable(magic)) {
        if (input(z, head + n, SKIP_HEAD - n, err))
            return -1;
        uint32_t size = le32(head + 4);
        int64_t r = st_stream_skip(z->inner, size, err);
        z->frames++;
        return r < 0 ? -1 : r < (int64_t)size ? ends_early(z, err) : 0;
    }
    if (magic != ZSTD_MAGICNUMBER)
        return damaged(z, z->frames ? "other bytes behind its end" : "no zstd header", err);
    size_t size = ZSTD_frameHeaderSize(head, n);
    if (ZSTD_isError(size) || size < n || size > sizeof head)
        return damaged(z, "frame header", err);
    if (input(z, head + n, size - n, err))
        return -1;
    ZSTD_frameHeader f;
    size_t rc = ZSTD_getFrameHeader(&f, head, size);
    if (rc)
        return damaged(z, ZSTD_isError(rc) ? ZSTD_getErrorName(rc) : "frame header", err);
    if (f.dictID)
        return damaged(z, "needs a dictionary", err);
    if (make_ring(z, &f, err) || feed_header(z, head, size, err))
        return -1;
    z->block_max = f.blockSizeMax;
    z->content = f.frameContentSize;
    z->in_frame = true;
    z->frames++;
    return 0;
}

// One step of the decoder: block header, block or checksum. Bytes made, or -1.
static int64_t step(struct zstd *z, struct st_err *err)
{
    size_t want = ZSTD_nextSrcSizeToDecompress(z->ctx);
    if (want == 0) {
        z->in_frame = false;
        return 0;
    }
    const unsigned char *src = piece(z, want, err);
    if (!src)
        return -1;
    // The place for the next block, as libzstd's own streaming places it: never split over the end of the ring.
    if (z->ring_size < z->content && z->ring_size - z->ring_pos < z->block_max)
        z->ring_pos = 0;
    size_t n = ZSTD_decompressContinue(z->ctx, z->ring + z->ring_pos, z->ring_size - z->ring_pos, src, want);
    if (ZSTD_isError(n))
        return damaged(z, ZSTD_getErrorName(n), err);
    z->s.cur = z->ring + z->ring_pos;
    z->s.end = z->s.cur + n;
    z->s.end_pos += n;
    z->ring_pos += n;
    return (int64_t)n;
}

static int zstd_fill(struct st_stream *s, struct st_err *err)
{
    struct zstd *z = (struct zstd *)s;
    if (z->broken)
        return st_err_set(err, ST_E_CORRUPT, ST_DEC_BROKEN, "zstd");
    for (;;) {
        int64_t n = 0;
        if (z->in_frame) {
            n = step(z, err);
        } else {
            int r = st_stream_fill(z->inner, err);
            if (r == 0 && z->frames)
                return 0;
            n = r < 0 ? -1 : r == 0 ? ends_early(z, err) : begin_frame(z, err);
        }
        if (n < 0) {
            z->broken = true;
            return -1;
        }
        if (n > 0)
            return 1;
    }
}

static void zstd_free(struct st_stream *s)
{
    struct zstd *z = (struct zstd *)s;
    st_stream_free(z->inner);
    ZSTD_freeDCtx(z->ctx);
    st_mem_free(z->mem, z->ring, z->ring_size);
    st_mem_free(z->mem, z->stage, STAGE_SIZE);
    st_mem_free(z->mem, z, sizeof *z);
}

void st_zstd_again(struct st_stream *s, struct st_stream *inner)
{
    struct zstd *z = (struct zstd *)s;
    st_stream_free(z->inner);
    z->inner = inner;
    z->in_frame = z->broken = false;
    z->frames = 0;
    s->cur = s->end = NULL;
    s->end_pos = 0;
}

static const struct st_stream_ops zstd_ops = {zstd_fill, NULL, zstd_free};

struct st_stream *st_zstd_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err)
{
    struct zstd *z = st_mem_alloc(mem, sizeof *z, err);
    if (!z)
        return NULL;
    z->s.ops = &zstd_ops;
    z->mem = mem;
    z->foreign.mem = mem;
    ZSTD_customMem custom = {st_foreign_alloc, st_foreign_free, &z->foreign};
    z->ctx = ZSTD_createDCtx_advanced(custom);
    if (!z->ctx) {
        st_foreign_refused(&z->foreign, 0, err);
        zstd_free(&z->s);
        return NULL;
    }
    z->inner = inner;
    return &z->s;
}

uint64_t st_zstd_window(struct st_sv head)
{
    // Skippable frames may stand in front (pzstd and seekable writers).
    while (head.len >= SKIP_HEAD && is_skippable(le32((const unsigned char *)head.ptr)))
        head = st_sv_from(head, SKIP_HEAD + (size_t)le32((const unsigned char *)head.ptr + 4));
    ZSTD_frameHeader f;
    if (ZSTD_getFrameHeader(&f, head.ptr, head.len) != 0 || f.frameType != ZSTD_frame)
        return 0;
    return ST_MIN(f.windowSize, f.frameContentSize);
}
