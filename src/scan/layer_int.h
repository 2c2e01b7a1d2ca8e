// Private to the scan of a layer: its state, and what its files share.
//   layer.c          the walk over the tar stream, digests
//   layer_content.c  the bytes of one file: buffers, ranges of executables, who is asked by magic
//   layer_parse.c    one file and its catalogers: records, unknowns
//   layer_lazy.c     entries and bytes by a table of contents instead of the tar stream
//   layer_again.c    hard links, and what has to be read a second time
#ifndef ST_SCAN_LAYER_INT_H
#define ST_SCAN_LAYER_INT_H

#include "archive/tar.h"
#include "base/map.h"
#include "scan/layer.h"

#define LAYER_WANT_MAX 8                          // catalogers that one file may match
#define LAYER_SPARSE_WHOLE ((uint64_t)256 * 1024) // executables up to this size are kept whole

struct layer_scan {
    struct st_mem *mem;
    const struct st_layer_options *opt;
    struct st_frag_writer *out;
    struct st_stream *raw; // borrowed: the blob end of the chain
    struct st_tar *tar;
    struct layer_lazy *lazy; // not NULL: instead of `tar`
    bool can_reread;
    uint8_t by_magic[LAYER_WANT_MAX]; // catalogers that are told by a file's bytes
    size_t n_by_magic;
    struct st_arena scratch; // of one parse
    struct st_arena arena;   // of the layer
    // The file in hand. Buffers stay from file to file: pages that are there already cost nothing.
    struct st_buf content, large; // of up to LARGE_FILE; of more
    struct st_buf ranges;         // of an executable
    struct st_map parsed;         // path hash -> FILE numbers that its bytes gave: first << 8 | count; 0: none
    struct st_map linked;         // path hash of a hard link -> index + 1 into `links`; 0: replaced since
    struct st_buf links;          // struct origin
    struct st_buf file_cats;      // a byte per FILE: its cataloger
    struct layer_again *again;
    size_t n_again, cap_again;
    // Where the second pass can begin: the first file that has to be read again, unless a hard link's target, which may
    // be anywhere, is among them.
    struct st_place *place; // NULL: from the beginning only
    bool kept;              // place stays where it is: before the entry `from`
    bool anywhere;
    uint64_t from_offset, from_index;
    struct st_map again_by_path; // path hash -> index + 1
    struct st_layer_stats stats;
    // layer_part.c
    bool part_on, replaying, naming; // naming: catalogers that are told by a name are at work
    uint64_t part_from, part_next;   // entries: gone on from; of the next checkpoint
    uint64_t part_at, part_frag;     // where the next record goes; bytes of the fragment that are kept
    struct st_stream *tee;           // borrowed: the blob's digest
    bool part_verified;
    uint64_t part_blob;
    char part_digest[ST_DIGEST_HEX];
    struct st_buf events; // since the last checkpoint, or of those that are gone on from
    size_t next_event;
};

struct layer_file {
    struct st_sv path;
    uint64_t hash; // of the path
    uint32_t mode;
    uint64_t size, entry, offset; // offset: of the entry's header
    bool link;                    // the bytes stand under another name: not remembered as target of further links
    bool anyway;                  // a FILE record even without records below it: it replaces an earlier reading
};

// ---- layer_lazy.c: the entries of a layer and the bytes of its files, by its table of contents

// Reads the table and plans what to ask for. -1: the layer has to be read as a stream, for this reason.
int layer_lazy_open(struct layer_scan *s, const struct st_layer_source *src, struct st_err *err); // sets s->lazy
void layer_lazy_close(struct layer_scan *s);
void layer_lazy_again(struct layer_lazy *z); // from the first entry, whose bytes are now asked for as they are read
uint64_t layer_lazy_asked(const struct layer_lazy *z); // bytes of the blob, so far
int layer_lazy_next(struct layer_lazy *z, struct st_tar_entry *ret, struct st_err *err);
int layer_lazy_data(struct layer_lazy *z, struct st_sv *ret, struct st_err *err);
int layer_lazy_seek(struct layer_lazy *z, uint64_t from, uint64_t to, uint64_t *pos, struct st_err *err);

// As st_tar_next and st_tar_data.
static inline int layer_next(struct layer_scan *s, struct st_tar_entry *ret, struct st_err *err)
{
    return s->lazy ? layer_lazy_next(s->lazy, ret, err) : st_tar_next(s->tar, ret, err);
}
static inline int layer_data(struct layer_scan *s, struct st_sv *ret, struct st_err *err)
{
    return s->lazy ? layer_lazy_data(s->lazy, ret, err) : st_tar_data(s->tar, ret, err);
}
// Bytes [from, to) of the entry in hand are wanted next; *pos is where its data was read to. What lies between may be
// passed over: *pos is then nearer to `from`, never beyond it.
static inline int layer_seek(struct layer_scan *s, uint64_t from, uint64_t to, uint64_t *pos, struct st_err *err)
{
    return s->lazy ? layer_lazy_seek(s->lazy, from, to, pos, err) : 0;
}

// ---- layer_parse.c

// Calls the catalogers want[0, n) with what there is of a file. `whole`: it is all of it.
int layer_parse(struct layer_scan *s, const struct layer_file *f, const uint8_t *want, size_t n,
                const struct st_view *v, bool whole, struct st_err *err);
// Names a file that no cataloger was called for.
int layer_unknown(struct layer_scan *s, struct st_sv path, uint64_t entry, uint8_t cataloger,
                  enum st_unknown_reason reason, struct st_sv text, struct st_err *err);

// ---- layer_content.c

void layer_content_init(struct layer_scan *s);
// The file that the tar reader stands at: bytes as its catalogers need them (want[0, n), and those that go by magic).
int layer_content(struct layer_scan *s, const struct layer_file *f, uint8_t *want, size_t n, struct st_err *err);
// All of its bytes, valid until layer_content_drop.
int layer_content_read(struct layer_scan *s, uint64_t size, struct st_sv *ret, struct st_err *err);
void layer_content_drop(struct layer_scan *s);
// Files too large for every cataloger that wants them are not gathered.
bool layer_too_large(const struct layer_file *f, const uint8_t *want, size_t n);

// ---- layer_again.c

// The ranges that were kept of f are not enough.
int layer_again_whole(struct layer_scan *s, const struct layer_file *f, uint8_t cataloger, struct st_err *err);
int layer_again_link(struct layer_scan *s, const struct st_tar_entry *e, uint64_t hash, const uint8_t *want, size_t n,
                     struct st_err *err);
// A name takes on other bytes: what was known of the old ones is not theirs.
void layer_again_forget(struct layer_scan *s, uint64_t hash);
// The second pass, when there is something to read.
int layer_again_read(struct layer_scan *s, const struct st_layer_source *src, struct st_err *err);
void layer_again_free(struct layer_scan *s);

int layer_remember(struct layer_scan *s, uint64_t path_hash, uint64_t number, struct st_err *err);
size_t layer_catalogers(void);

// ---- layer_part.c

enum layer_event { LAYER_EVENT_FILE, LAYER_EVENT_PARSED, LAYER_EVENT_AGAIN };
// What an entry did that later ones, or the second pass, depend on. No-op without `part`.
int layer_part_log(struct layer_scan *s, enum layer_event kind, uint64_t value, struct st_err *err);
int layer_part_begin(struct layer_scan *s, struct st_err *err);      // before anything is written into the fragment
void layer_part_follow(struct layer_scan *s, struct st_stream *tee); // st_stream_digest of the blob, nothing read yet
// The header of this entry is read, nothing of it is done yet.
int layer_part_entry(struct layer_scan *s, uint64_t entry, struct st_err *err);
int layer_part_end(struct layer_scan *s, struct st_err *err); // the blob is read to its end
// An entry whose records are in the fragment already.
int layer_part_replay(struct layer_scan *s, const struct layer_file *f, const struct st_tar_entry *e,
                      const uint8_t *want, size_t n, struct st_err *err);

// ---- layer.c

// A layer holds what a container runtime finds in it, no more.
struct st_tar *layer_tar(struct layer_scan *s, struct st_stream *in, struct st_err *err);

#endif
