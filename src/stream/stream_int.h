// Private to src/stream: what the decoders share.
#ifndef ST_STREAM_STREAM_INT_H
#define ST_STREAM_STREAM_INT_H

#include "base/ckd.h"
#include "stream/stream.h"

// Allocator for libraries that free without telling the size: each block carries its own in front. Everything is
// charged to the budget and never spilled (a hot buffer in a file mapping would be written back for nothing).
struct st_foreign {
    struct st_mem *mem;
    struct st_err refusal; // the last refused request, when code is set
};
void *st_foreign_alloc(void *foreign, size_t n);
void st_foreign_free(void *foreign, void *p);
// Report that refusal through err, with need_bytes = need. -1.
int st_foreign_refused(const struct st_foreign *f, uint64_t need, struct st_err *err);

// Decoders: `inner` is taken over on success only.
struct st_stream *st_gzip_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err);
struct st_stream *st_zstd_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err);
struct st_stream *st_xz_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err);
struct st_stream *st_bzip2_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err);
// st_stream_decode_again.
void st_gzip_again(struct st_stream *s, struct st_stream *inner);
void st_zstd_again(struct st_stream *s, struct st_stream *inner);
uint64_t st_zstd_window(struct st_sv head);
uint64_t st_xz_window(struct st_sv head);

#define ST_DEC_EARLY "%s stream ends early"
#define ST_DEC_BROKEN "%s stream was already found damaged"

// Hand the bytes that `inner` has ready through as the bytes of s.
static inline void st_stream_pass(struct st_stream *s, struct st_stream *inner)
{
    s->cur = inner->cur;
    s->end = inner->end;
    s->end_pos = inner->end_pos;
    inner->cur = inner->end;
}

#endif
