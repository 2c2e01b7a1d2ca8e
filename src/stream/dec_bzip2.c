// bzip2 through libbz2; streams that follow one another are one.
#include "stream/stream_int.h"

#include <bzlib.h>

#define OUT_SIZE (128 * 1024)

struct bzip2 {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    struct st_foreign alloc;
    bz_stream z;
    bool open, any, broken;
    unsigned char out[OUT_SIZE];
};

static void *bz_alloc(void *opaque, int n, int size)
{
    return n < 0 || size < 0 ? NULL : st_foreign_alloc(opaque, (size_t)n * (size_t)size);
}

static int fail(struct bzip2 *b, int rc, struct st_err *err)
{
    b->broken = true;
    if (rc == BZ_MEM_ERROR)
        return st_foreign_refused(&b->alloc, 4 * ST_MIB, err);
    return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(b->inner), "bzip2 stream is damaged%s",
                          rc == BZ_DATA_ERROR_MAGIC ? ": not a bzip2 header" : "");
}

static int open_stream(struct bzip2 *b, struct st_err *err)
{
    memset(&b->z, 0, sizeof b->z);
    b->z.bzalloc = bz_alloc;
    b->z.bzfree = st_foreign_free;
    b->z.opaque = &b->alloc;
    int rc = BZ2_bzDecompressInit(&b->z, 0, 0);
    if (rc != BZ_OK)
        return fail(b, rc, err);
    b->open = true;
    return 0;
}

static int bzip2_fill(struct st_stream *s, struct st_err *err)
{
    struct bzip2 *b = (struct bzip2 *)s;
    if (b->broken)
        return st_err_set(err, ST_E_CORRUPT, ST_DEC_BROKEN, "bzip2");
    unsigned made = 0;
    while (made == 0) {
        int r = st_stream_fill(b->inner, err);
        if (r < 0)
            return -1;
        if (r == 0 && !b->open && b->any)
            return 0;
        if (!b->open && open_stream(b, err))
            return -1;
        b->z.next_in = (char *)b->inner->cur;
        b->z.avail_in = (unsigned)(b->inner->end - b->inner->cur);
        b->z.next_out = (char *)b->out;
        b->z.avail_out = OUT_SIZE;
        unsigned fed = b->z.avail_in;
        int rc = BZ2_bzDecompress(&b->z);
        b->inner->cur += fed - b->z.avail_in;
        made = OUT_SIZE - b->z.avail_out;
        if (rc == BZ_STREAM_END) {
            BZ2_bzDecompressEnd(&b->z);
            b->open = false;
            b->any = true;
        } else if (rc != BZ_OK) {
            return fail(b, rc, err);
        } else if (r == 0 && made == 0) {
            b->broken = true;
            return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(b->inner), ST_DEC_EARLY, "bzip2");
        }
    }
    s->cur = b->out;
    s->end = b->out + made;
    s->end_pos += made;
    return 1;
}

static void bzip2_free(struct st_stream *s)
{
    struct bzip2 *b = (struct bzip2 *)s;
    st_stream_free(b->inner);
    if (b->open)
        BZ2_bzDecompressEnd(&b->z);
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
    b->alloc.mem = mem;
    b->inner = inner;
    return &b->s;
}
