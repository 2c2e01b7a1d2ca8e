// First byte: codec (or detection) and the size of the pieces that the input comes in. Decoding in pieces must give
// what decoding in one piece gives.
#include "chop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX (4 << 20)

// Digest and outcome of decoding: hash of all bytes, or the error's code.
static int decode(struct st_mem *mem, struct st_sv in, unsigned codec, size_t piece, char *hex, uint64_t *total)
{
    struct st_err err;
    st_err_clear(&err);
    struct st_stream *source = chop_new(in, piece), *s;
    if (codec == ST_CODEC_NONE)
        s = st_stream_detect(mem, source, NULL, &err);
    else
        s = st_stream_decode(mem, source, (enum st_codec)codec, &err);
    struct st_sha256 *sha = st_sha256_new(mem, NULL);
    int r = -1;
    *total = 0;
    while (s && (r = st_stream_fill(s, &err)) > 0 && *total < OUT_MAX) {
        st_sha256_add(sha, s->cur, (size_t)(s->end - s->cur));
        *total += (uint64_t)(s->end - s->cur);
        s->cur = s->end;
    }
    if (s && r < 0 && st_stream_fill(s, NULL) > 0)
        abort(); // an error is for good
    st_sha256_hex(sha, hex);
    st_sha256_free(sha);
    st_stream_free(s);
    if (r < 0 && err.code == ST_E_NONE)
        abort();
    return r > 0 ? 1 : r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    unsigned codec = data[0] % ST_CODEC_MAX;
    size_t piece = (size_t)1 << (data[0] / ST_CODEC_MAX % 16);
    struct st_sv in = st_sv_mem(data + 1, size - 1);
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    char one[ST_DIGEST_HEX + 1], two[ST_DIGEST_HEX + 1];
    uint64_t n1, n2;
    int r1 = decode(&mem, in, codec, in.len, one, &n1), r2 = decode(&mem, in, codec, piece, two, &n2);
    if (r1 != r2 || (r1 == 0 && (n1 != n2 || memcmp(one, two, sizeof one) != 0)))
        abort();
    for (int i = 0; i < ST_CODEC_MAX; i++)
        st_codec_window((enum st_codec)i, in);
    struct st_buf out;
    st_buf_init(&out, &mem);
    st_inflate(in, data[0] & 1 ? ST_DEFLATE_ZLIB : ST_DEFLATE_RAW, OUT_MAX, &out, NULL);
    st_buf_release(&out);
    if (mem.used)
        abort();
    st_mem_release(&mem);
    return 0;
}
