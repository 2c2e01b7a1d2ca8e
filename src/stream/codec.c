// The table of codecs, and telling them apart by magic.
#include "stream/stream_int.h"

static bool gzip_magic(const unsigned char *p)
{
    return p[0] == 0x1f && p[1] == 0x8b && p[2] == 8;
}

static bool zstd_magic(const unsigned char *p)
{
    static const unsigned char frame[] = {0x28, 0xb5, 0x2f, 0xfd}, skippable[] = {0x2a, 0x4d, 0x18};
    return memcmp(p, frame, sizeof frame) == 0 || ((p[0] & 0xf0) == 0x50 && memcmp(p + 1, skippable, 3) == 0);
}

static bool xz_magic(const unsigned char *p)
{
    return memcmp(p,
                  "\xfd"
                  "7zXZ",
                  6) == 0; // the sixth is the terminating NUL
}

// The magic "BZh1" is also a likely file name in a tar header, so the first block (or an empty stream's end) is asked
// for.
static bool bzip2_magic(const unsigned char *p)
{
    static const unsigned char block[] = {0x31, 0x41, 0x59, 0x26, 0x53, 0x59},
                               end[] = {0x17, 0x72, 0x45, 0x38, 0x50, 0x90};
    return memcmp(p, "BZh", 3) == 0 && p[3] >= '1' && p[3] <= '9' &&
           (memcmp(p + 4, block, sizeof block) == 0 || memcmp(p + 4, end, sizeof end) == 0);
}

static const struct {
    const char *name;
    size_t magic_size;
    bool (*magic)(const unsigned char *p);
    struct st_stream *(*open)(struct st_mem *mem, struct st_stream *inner, struct st_err *err);
    uint64_t (*window)(struct st_sv head);
    void (*again)(struct st_stream *s, struct st_stream *inner); // NULL: nobody has needed it
} codecs[ST_CODEC_MAX] = {
    [ST_CODEC_NONE] = {"none", 0, NULL, NULL, NULL, NULL},
    [ST_CODEC_GZIP] = {"gzip", 3, gzip_magic, st_gzip_new, NULL, st_gzip_again},
    [ST_CODEC_ZSTD] = {"zstd", 4, zstd_magic, st_zstd_new, st_zstd_window, st_zstd_again},
    [ST_CODEC_XZ] = {"xz", 6, xz_magic, st_xz_new, st_xz_window, NULL},
    [ST_CODEC_BZIP2] = {"bzip2", 10, bzip2_magic, st_bzip2_new, NULL, NULL},
};

const char *st_codec_name(enum st_codec codec)
{
    return (unsigned)codec < ST_CODEC_MAX ? codecs[codec].name : "unknown";
}

enum st_codec st_codec_detect(struct st_sv head)
{
    for (unsigned i = 0; i < ST_CODEC_MAX; i++)
        if (codecs[i].magic && head.len >= codecs[i].magic_size && codecs[i].magic((const unsigned char *)head.ptr))
            return (enum st_codec)i;
    return ST_CODEC_NONE;
}

uint64_t st_codec_window(enum st_codec codec, struct st_sv head)
{
    return (unsigned)codec < ST_CODEC_MAX && codecs[codec].window ? codecs[codec].window(head) : 0;
}

struct st_stream *st_stream_decode(struct st_mem *mem, struct st_stream *inner, enum st_codec codec, struct st_err *err)
{
    if (codec == ST_CODEC_NONE)
        return inner;
    struct st_stream *s = NULL;
    if ((unsigned)codec < ST_CODEC_MAX)
        s = codecs[codec].open(mem, inner, err);
    else
        st_err_set(err, ST_E_INTERNAL, "no codec %d", (int)codec);
    if (!s)
        st_stream_free(inner);
    return s;
}

void st_stream_decode_again(enum st_codec codec, struct st_stream *decoder, struct st_stream *inner)
{
    codecs[codec].again(decoder, inner);
}

// ---- detection ------------------------------------------------------------------------------------------

// First bytes that came in several pieces, put together, and then the rest of the inner stream.
struct joined {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    unsigned char head[ST_CODEC_MAGIC];
};

static int joined_fill(struct st_stream *s, struct st_err *err)
{
    struct joined *j = (struct joined *)s;
    int r = st_stream_fill(j->inner, err);
    if (r > 0)
        st_stream_pass(s, j->inner);
    return r;
}

static int64_t joined_seek_over(struct st_stream *s, uint64_t n, struct st_err *err)
{
    struct joined *j = (struct joined *)s;
    if (!j->inner->ops->seek_over || j->inner->cur != j->inner->end)
        return 0;
    int64_t r = j->inner->ops->seek_over(j->inner, n, err);
    if (r > 0)
        s->end_pos = j->inner->end_pos;
    return r;
}

static void joined_free(struct st_stream *s)
{
    struct joined *j = (struct joined *)s;
    st_stream_free(j->inner);
    st_mem_free(j->mem, j, sizeof *j);
}

static const struct st_stream_ops joined_ops = {joined_fill, joined_seek_over, joined_free};

static struct st_stream *join_head(struct st_mem *mem, struct st_stream *inner, struct st_err *err)
{
    struct joined *j = st_mem_alloc(mem, sizeof *j, err);
    if (!j)
        return NULL;
    int64_t n = st_stream_read(inner, j->head, sizeof j->head, err);
    if (n < 0) {
        st_mem_free(mem, j, sizeof *j);
        return NULL;
    }
    j->s = (struct st_stream){.cur = j->head, .end = j->head + n, .end_pos = st_stream_pos(inner), .ops = &joined_ops};
    j->mem = mem;
    j->inner = inner;
    return &j->s;
}

struct st_stream *st_stream_detect(struct st_mem *mem, struct st_stream *inner, enum st_codec *ret_codec,
                                   struct st_err *err)
{
    int r = st_stream_fill(inner, err);
    if (r > 0 && inner->end - inner->cur < ST_CODEC_MAGIC) {
        struct st_stream *j = join_head(mem, inner, err);
        if (j)
            inner = j;
        else
            r = -1;
    }
    if (r < 0) {
        st_stream_free(inner);
        return NULL;
    }
    enum st_codec codec = st_codec_detect(st_sv_mem(inner->cur, (size_t)(inner->end - inner->cur)));
    struct st_stream *s = st_stream_decode(mem, inner, codec, err);
    if (s && ret_codec)
        *ret_codec = codec;
    return s;
}
