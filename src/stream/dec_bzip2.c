// bzip2 through libbz2; streams that follow each other (pbzip2) are one.
#include "stream/stream_int.h"

#include <bzlib.h>

#define OUT_SIZE (64 * 1024)

enum state { FIRST, NEXT, BODY, END, BROKEN };

struct bzip2 {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    struct st_foreign foreign;
    enum state state;
    bool open; // z has to be ended
    bz_stream z;
    unsigned char out[OUT_SIZE];
};

static void *bz_alloc(void *foreign, int items, int size)
{
    int n;
    return items < 0 || size < 0 || st_ckd_mul(&n, items, size) ? NULL : st_foreign_alloc(foreign, (size_t)n);
}

static void bz_free(void *foreign, void *p)
{
    st_foreign_free(foreign, p);
}

static void close_stream(struct bzip2 *b)
{
    if (b->open)
        BZ2_bzDecompressEnd(&b->z);
    b->open = false;
}

static int open_stream(struct bzip2 *b, struct st_err *err)
{
    close_stream(b);
    char *out = b->z.next_out;
    unsigned room = b->z.avail_out;
    b->z = (bz_stream){.bzalloc = bz_alloc, .bzfree = bz_free, .opaque = &b->foreign};
    if (BZ2_bzDecompressInit(&b->z, 0, 0) != BZ_OK)
        return st_foreign_refused(&b->foreign, 0, err);
    b->open = true;
    b->z.next_out = out;
    b->z.avail_out = room;
    return 0;
}

static int failed(struct bzip2 *b, int rc, struct st_err *err)
{
    uint64_t at = st_stream_pos(b->inner);
    if (rc == BZ_MEM_ERROR)
        return st_foreign_refused(&b->foreign, 4 * ST_MIB, err); // 900k blocks need 3.6 MB, the most there is
    return st_err_set_off(err, ST_E_CORRUPT, at, "bzip2 stream is damaged%s",
                          rc == BZ_DATA_ERROR_MAGIC ? ": no bzip2 header, or other bytes behind its end" : "");
}

static int step(struct bzip2 *b, struct st_err *err)
{
    int r = st_stream_fill(b->inner, err);
    if (r < 0)
        return -1;
    if (b->state == NEXT && r == 0) {
        b->state = END;
        return 0;
    }
    if (b->state != BODY) {
        if (open_stream(b, err))
            return -1;
        b->state = BODY;
    }
    unsigned room = b->z.avail_out;
    b->z.next_in = (char *)b->inner->cur;
    b->z.avail_in = (unsigned)ST_MIN((size_t)(b->inner->end - b->inner->cur), (size_t)UINT32_MAX);
    int rc = BZ2_bzDecompress(&b->z);
    b->inner->cur = (const unsigned char *)b->z.next_in;
    if (rc == BZ_STREAM_END)
        b->state = NEXT;
    else if (rc != BZ_OK)
        return failed(b, rc, err);
    else if (r == 0 && b->z.avail_out == room)
        return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(b->inner), ST_DEC_EARLY, "bzip2");
    return 0;
}

static int bzip2_fill(struct st_stream *s, struct st_err *err)
{
    struct bzip2 *b = (struct bzip2 *)s;
    if (b->state == BROKEN)
        return st_err_set(err, ST_E_CORRUPT, ST_DEC_BROKEN, "bzip2");
    b->z.next_out = (char *)b->out;
    b->z.avail_out = OUT_SIZE;
    while (b->z.avail_out > 0 && b->state != END)
        if (step(b, err)) {
            b->state = BROKEN;
            return -1;
        }
    s->cur = b->out;
    s->end = (const unsigned char *)b->z.next_out;
    s->end_pos += (uint64_t)(s->end - s->cur);
    return s->cur < s->end;
}

static void bzip2_free(struct st_stream *s)
{
    struct bzip2 *b = (struct bzip2 *)s;
    close_stream(b);
    st_stream_free(b->inner);
    st_mem_free(b->mem, b, sizeof *b);
}

static const struct st_stream_ops bzip2_ops = {bzip2_fill, NULL, bzip2_free};

struct st_stream *st_bzip2_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err)
{
    struct bzip2 *b = st_mem_alloc(mem, sizeof *b, err);
    if (!b)
        return NULL;
    b->s.ops = &bzip2_ops;
    b->mem = mem;
    b->foreign.mem = mem;
    b->inner = inner;
    return &b->s;
}
