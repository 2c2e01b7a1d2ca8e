// Tables of contents of layers that can be read in parts: every entry of the tar stream, and for each regular file
// where in the blob its bytes stand, chunk by chunk, each chunk with its SHA-256.
//   eStargz        containerd/stargz-snapshotter docs/estargz.md, version 1: chunks are gzip members, or stand in
//                  one; the table is the last file of the tar, in a member of its own; a footer of 51 bytes says where.
//   zstd:chunked   containers/storage pkg/chunked/internal/minimal (FileMetadata), version 1: chunks are zstd frames;
//                  the table is in a skippable frame, whose place the manifest names.
// A table is trusted as far as the manifest whose annotation has its digest, not further: everything in it is checked
// for sense here, and what a chunk's bytes hash to is for the caller to compare (src/scan/layer_lazy.c).
#ifndef ST_ARCHIVE_TOC_H
#define ST_ARCHIVE_TOC_H

#include "archive/tar.h"
#include "base/wire.h"

#define ST_TOC_BYTES_MAX (128ull << 20) // of the table unpacked: a larger one is not read, the whole blob is
#define ST_TOC_FOOTER 51                // bytes of eStargz's footer (estargz.md, "Footer")
#define ST_TOC_NAME "stargz.index.json" // eStargz: the table as a file of the tar

enum st_toc_kind { ST_TOC_NONE, ST_TOC_ESTARGZ, ST_TOC_ZSTD_CHUNKED, ST_TOC_KIND_MAX };

// What the annotations of a layer say. `digest`: of the JSON text (eStargz), of its compressed bytes (zstd:chunked).
struct st_toc_place {
    enum st_toc_kind kind;
    char digest[ST_DIGEST_HEX + 1];
    uint64_t offset, length, unpacked; // zstd:chunked: of the table in the blob, compressed and not
};
// Values of `containerd.io/snapshot/stargz/toc.digest`, `io.github.containers.zstd-chunked.manifest-checksum` and
// `...manifest-position` ("offset:length:unpacked:1"), empty where a layer has none. ST_TOC_NONE when they make no
// sense.
struct st_toc_place st_toc_annotations(struct st_sv estargz, struct st_sv checksum, struct st_sv position);
// One as it crosses a process boundary; what makes no sense is a failed read.
void st_toc_put_place(struct st_wire_out *w, const struct st_toc_place *p);
struct st_toc_place st_toc_get_place(struct st_wire_in *r);
// Where the table begins, out of the last ST_TOC_FOOTER bytes of an eStargz blob. false: it is no footer.
bool st_toc_footer(struct st_sv bytes, uint64_t *ret_offset);

struct st_toc_chunk {
    uint64_t offset;   // in the blob: of the gzip member, or of the zstd frame
    uint64_t end;      // what is needed of it ends before this
    uint64_t inner;    // decoded bytes of that member before the chunk's own (eStargz, several chunks in one member)
    uint64_t at, size; // in the file
    uint8_t sha256[ST_DIGEST_HEX / 2];
    bool zeros; // nothing of it is read: `size` zero bytes
};

struct st_toc_file {
    struct st_sv path, link; // as in struct st_tar_entry
    enum st_tar_type type;
    uint32_t mode;
    uint64_t size;
    size_t first, n; // into `chunks`; they cover the file from 0 to its size
};

struct st_toc {
    enum st_toc_kind kind;
    struct st_toc_file *files; // in the order of the tar stream
    size_t n_files;
    struct st_toc_chunk *chunks; // by offset and `inner`, ascending
    size_t n_chunks;
    // private
    struct st_arena arena;             // paths and links
    struct st_buf file_buf, chunk_buf; // hold the two arrays
};

// The JSON text of a table (not needed afterwards). `data_end`: where the chunks of the blob end at the latest. Memory:
// about the text's own size, from `mem`, which may spill. ST_E_FORMAT (with the offset in the text) for what is no such
// table or contradicts itself: another version, an unknown type, a name that was not UTF-8, negative or huge numbers,
// chunks that overlap, leave gaps or have no digest. ST_E_LIMIT for nesting.
int st_toc_parse(struct st_mem *mem, enum st_toc_kind kind, struct st_sv json, uint64_t data_end, struct st_toc **ret,
                 struct st_err *err);
void st_toc_free(struct st_toc *t); // NULL allowed
// Is that what the chunk's bytes should hash to?
bool st_toc_matches(const struct st_toc_chunk *c, const char hex[static ST_DIGEST_HEX + 1]);

#endif
