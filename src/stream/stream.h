// Byte streams: a chain of readers, each handing out views of its own buffer. A consumer takes bytes
// between cur and end and asks for more when there are none; nothing is copied on the way but by the
// decoder that makes the bytes.
//
//   fd (pread at an offset, or read)  ->  digest tee  ->  decoder by magic  ->  digest tee  ->  limits
#ifndef ST_STREAM_STREAM_H
#define ST_STREAM_STREAM_H

#include "base/mem.h"

struct st_stream {
    const unsigned char *cur, *end; // bytes ready; the consumer advances cur
    uint64_t end_pos;               // position in this stream of `end`
    const struct st_stream_ops *ops;
};

struct st_stream_ops {
    // Called with cur == end. 1: cur < end now; 0: end of the stream (again on every later call); -1: error.
    int (*fill)(struct st_stream *s, struct st_err *err);
    // Skip n bytes beyond `end` without making them; bytes skipped (0 when it cannot). NULL: cannot.
    int64_t (*seek_over)(struct st_stream *s, uint64_t n, struct st_err *err);
    void (*free)(struct st_stream *s); // frees the whole chain below too
};

static inline uint64_t st_stream_pos(const struct st_stream *s)
{
    return s->end_pos - (uint64_t)(s->end - s->cur);
}
static inline int st_stream_fill(struct st_stream *s, struct st_err *err)
{
    return s->cur < s->end ? 1 : s->ops->fill(s, err);
}
// Exactly n bytes into buf; fewer only at the end of the stream. Bytes read, or -1.
int64_t st_stream_read(struct st_stream *s, void *buf, size_t n, struct st_err *err);
// Skip n bytes; fewer only at the end of the stream. Bytes skipped, or -1.
int64_t st_stream_skip(struct st_stream *s, uint64_t n, struct st_err *err);
// Read to the end (so that digests are complete). Bytes passed over, or -1.
int64_t st_stream_drain(struct st_stream *s, struct st_err *err);
void st_stream_free(struct st_stream *s); // NULL allowed
static inline void st_stream_cleanup(struct st_stream **s)
{
    st_stream_free(*s);
}
#define ST_AUTO_STREAM __attribute__((cleanup(st_stream_cleanup)))

// ---- sources ------------------------------------------------------------------------------------------

// length bytes of fd from offset with pread (fd borrowed, its position is not used). A file that is shorter is an
// error (ST_E_CORRUPT, "ends early").
struct st_stream *st_stream_file(struct st_mem *mem, int fd, uint64_t offset, uint64_t length, struct st_err *err);
// read() until end of file: pipes, sockets, standard input (fd borrowed).
struct st_stream *st_stream_pipe(struct st_mem *mem, int fd, struct st_err *err);
struct st_stream *st_stream_memory(struct st_mem *mem, struct st_sv bytes, struct st_err *err); // borrowed
// The next `length` bytes of `inner` (borrowed, not freed): one member of an outer archive.
struct st_stream *st_stream_part(struct st_mem *mem, struct st_stream *inner, uint64_t length, struct st_err *err);

// ---- digests --------------------------------------------------------------------------------------------

#define ST_DIGEST_HEX 64
struct st_sha256; // hashing state
struct st_sha256 *st_sha256_new(struct st_mem *mem, struct st_err *err);
void st_sha256_add(struct st_sha256 *d, const void *p, size_t n);
void st_sha256_hex(struct st_sha256 *d, char ret[static ST_DIGEST_HEX + 1]); // ends the hash
void st_sha256_free(struct st_sha256 *d);
// Passes `inner` (owned) through and adds every byte that is filled to `d` (borrowed). Cannot seek.
struct st_stream *st_stream_digest(struct st_mem *mem, struct st_stream *inner, struct st_sha256 *d,
                                   struct st_err *err);

// Of a stream of st_stream_digest: what the first `pos` bytes hash to (asked for before they are read); false: they
// have not been read yet. And what all bytes that were read so far hash to, with their number.
void st_stream_digest_mark(struct st_stream *s, uint64_t pos);
bool st_stream_digest_marked(const struct st_stream *s, char ret[static ST_DIGEST_HEX + 1]);
uint64_t st_stream_digest_now(const struct st_stream *s, char ret[static ST_DIGEST_HEX + 1]);

// ---- decoders -------------------------------------------------------------------------------------------

enum st_codec { ST_CODEC_NONE, ST_CODEC_GZIP, ST_CODEC_ZSTD, ST_CODEC_XZ, ST_CODEC_BZIP2, ST_CODEC_MAX };
const char *st_codec_name(enum st_codec codec);
#define ST_CODEC_MAGIC 16 // bytes that st_codec_detect wants to see
// By magic alone. zstd skippable frames count as zstd. A v7 or ustar header is NONE.
enum st_codec st_codec_detect(struct st_sv head);
// Memory beyond a fixed small state that decoding this needs (zstd window, xz dictionary), from the first bytes
// (up to ST_CODEC_WINDOW_HEAD). 0 when small or not known.
#define ST_CODEC_WINDOW_HEAD 64
uint64_t st_codec_window(enum st_codec codec, struct st_sv head);
// Decode `inner` (owned, also on failure). Multi-member gzip, multi-frame and skippable-frame zstd, concatenated xz
// and bzip2 streams are one stream. Trailing zero bytes after gzip are ignored; other trailing garbage is an error.
// Truncated or damaged: ST_E_CORRUPT with the offset in the compressed stream. A window over the
// budget: ST_E_MEMORY with need_bytes set to what the decoder wants.
struct st_stream *st_stream_decode(struct st_mem *mem, struct st_stream *inner, enum st_codec codec,
                                   struct st_err *err);
// The decoder (that st_stream_decode made for ST_CODEC_GZIP or _ZSTD) begins anew, on `inner` (owned; the one before is
// freed). Its buffers stay: for many short streams, each of which would cost more to prepare for than to decode.
void st_stream_decode_again(enum st_codec codec, struct st_stream *decoder, struct st_stream *inner);
// Look at the first bytes of `inner` (owned) and decode as they say; NONE hands `inner` back.
struct st_stream *st_stream_detect(struct st_mem *mem, struct st_stream *inner, enum st_codec *ret_codec,
                                   struct st_err *err);

// ---- a place to go on from --------------------------------------------------------------------------------------

// A place in a gzip stream from which it can be decoded again: ISA-L's state and the two positions, 87 KiB. It follows
// the stream in steps of a few MiB until it is held.
struct st_place;
struct st_place *st_place_new(struct st_mem *mem, struct st_err *err);
void st_place_free(struct st_place *p); // NULL allowed
// `gzip` is a decoder that st_stream_decode or _detect made for ST_CODEC_GZIP; it borrows p.
void st_place_follow(struct st_place *p, struct st_stream *gzip);
void st_place_hold(struct st_place *p, bool hold);
uint64_t st_place_pos(const struct st_place *p); // in the decoded stream
// Decode again from there; `raw` is the same compressed stream from its beginning (owned, also on failure).
struct st_stream *st_place_resume(const struct st_place *p, struct st_mem *mem, struct st_stream *raw,
                                  struct st_err *err);

// ---- limits -----------------------------------------------------------------------------------------------

// Fails with ST_E_LIMIT once more than max_bytes came out of `inner` (owned), or more than ratio times what
// `source` (borrowed, the compressed end of the same chain) has read, looked at beyond the first 64 MiB.
struct st_stream *st_stream_limit(struct st_mem *mem, struct st_stream *inner, const struct st_stream *source,
                                  uint64_t max_bytes, uint64_t ratio, struct st_err *err);
// From now on others can see how far such a stream is, also within one long file: bytes read of `source`, bytes given
// out.
void st_stream_limit_show(struct st_stream *limit, _Atomic uint64_t *in, _Atomic uint64_t *out);

// One zlib or raw deflate buffer (zip members, .dep-v0), for catalogers. Grows `out` up to max; ST_E_LIMIT beyond.
enum st_deflate_wrap { ST_DEFLATE_RAW, ST_DEFLATE_ZLIB };
int st_inflate(struct st_sv in, enum st_deflate_wrap wrap, uint64_t max, struct st_buf *out, struct st_err *err);

#endif
