// Which codec a stream has, and the table of decoders.
#include "stream/stream_int.h"

static const struct {
    const char *name;
    struct st_stream *(*new)(struct st_mem *mem, struct st_stream *inner, struct st_err *err);
    uint64_t (*window)(struct st_sv head);
} codecs[ST_CODEC_MAX] = {
    [ST_CODEC_NONE] = {"none", NULL, NULL},
    [ST_CODEC_GZIP] = {"gzip", st_gzip_new, NULL},
    [ST_CODEC_ZSTD] = {"zstd", st_zstd_new, st_zstd_window},
    [ST_CODEC_XZ] = {"xz", st_xz_new, st_xz_window},
    [ST_CODEC_BZIP2] = {"bzip2", st_bzip2_new, NULL},
};

const char *st_codec_name(enum st_codec codec)
{
    return codec < ST_CODEC_MAX ? codecs[codec].name : "unknown";
}

// A tar header may begin with any bytes (a file may be called "BZh9"): where there is a whole block, its "ustar" wins.
static bool is_ustar(struct st_sv head)
{
    return head.len >= 262 && memcmp(head.ptr + 257, "ustar", 5) == 0;
}

enum st_codec st_codec_detect(struct st_sv head)
{
    static const struct {
        struct st_sv magic;
        enum st_codec codec;
    } magics[] = {
        {ST_SV_INIT("\x1f\x8b\x08"), ST_CODEC_GZIP},           // RFC 1952
        {ST_SV_INIT("\x28\xb5\x2f\xfd"), ST_CODEC_ZSTD},       // RFC 8878
        {ST_SV_INIT("\xfd\x37\x7a\x58\x5a\x00"), ST_CODEC_XZ}, // .xz format 1.1, 2.1.1.1
    };
    if (is_ustar(head))
        return ST_CODEC_NONE;
    for (size_t i = 0; i < ST_LEN(magics); i++)
        if (st_sv_starts(head, magics[i].magic))
            return magics[i].codec;
    if (head.len >= 4 && (head.ptr[0] & 0xf0) == 0x50 && memcmp(head.ptr + 1, "\x2a\x4d\x18", 3) == 0)
        return ST_CODEC_ZSTD; // skippable frame
    // "BZh", a digit, then the block or the end-of-stream magic.
    if (head.len >= 10 && memcmp(head.ptr, "BZh", 3) == 0 && head.ptr[3] >= '1' && head.ptr[3] <= '9' &&
        (memcmp(head.ptr + 4, "1AY&SY", 6) == 0 || memcmp(head.ptr + 4, "\x17\x72\x45\x38\x50\x90", 6) == 0))
        return ST_CODEC_BZIP2;
    return ST_CODEC_NONE;
}

uint64_t st_codec_window(enum st_codec codec, struct st_sv head)
{
    return codec < ST_CODEC_MAX && codecs[codec].window ? codecs[codec].window(head) : 0;
}

struct st_stream *st_stream_decode(struct st_mem *mem, struct st_stream *inner, enum st_codec codec, struct st_err *err)
{
    if (codec >= ST_CODEC_MAX || !codecs[codec].new)
        return inner;
    struct st_stream *s = codecs[codec].new(mem, inner, err);
    if (!s)
        st_stream_free(inner);
    return s;
}

// ---- a few bytes read ahead and given back ----------------------------------------------------------------

#define PEEK ST_CODEC_WINDOW_HEAD

struct peek {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    unsigned char head[PEEK];
};

static int peek_fill(struct st_stream *s, struct st_err *err)
{
    struct peek *p = (struct peek *)s;
    int r = st_stream_fill(p->inner, err);
    if (r > 0)
        st_stream_pass(s, p->inner);
    return r;
}

static void peek_free(struct st_stream *s)
{
    struct peek *p = (struct peek *)s;
    st_stream_free(p->inner);
    st_mem_free(p->mem, p, sizeof *p);
}

static const struct st_stream_ops peek_ops = {peek_fill, NULL, peek_free};

// A stream that begins with the first bytes of inner in one piece; inner itself when it has them ready.
static struct st_stream *peek(struct st_mem *mem, struct st_stream *inner, struct st_err *err)
{
    int r = st_stream_fill(inner, err);
    if (r > 0 && inner->end - inner->cur >= PEEK)
        return inner;
    struct peek *p = r < 0 ? NULL : st_mem_alloc(mem, sizeof *p, err);
    int64_t n = p ? st_stream_read(inner, p->head, PEEK, err) : -1;
    if (n < 0) {
        if (p)
            st_mem_free(mem, p, sizeof *p);
        st_stream_free(inner);
        return NULL;
    }
    p->s = (struct st_stream){.cur = p->head, .end = p->head + n, .end_pos = st_stream_pos(inner), .ops = &peek_ops};
    p->mem = mem;
    p->inner = inner;
    return &p->s;
}

struct st_stream *st_stream_detect(struct st_mem *mem, struct st_stream *inner, enum st_codec *ret_codec,
                                   struct st_err *err)
{
    struct st_stream *s = peek(mem, inner, err);
    if (!s)
        return NULL;
    enum st_codec codec = st_codec_detect(st_sv_mem(s->cur, (size_t)(s->end - s->cur)));
    s = st_stream_decode(mem, s, codec, err);
    if (s && ret_codec)
        *ret_codec = codec;
    return s;
}
