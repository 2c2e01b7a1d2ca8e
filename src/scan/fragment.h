// A fragment is what one layer says, and nothing that another layer could overturn: every path that its tar
// mentions, its symbolic links, and per evidence file the records that catalogers emitted. It is written once,
// front to back, while the layer streams by; it is read many times, front to back, by the merge. It is the unit of the
// cache, of checkpoints and of the channel between the sandboxed analyzer and its parent: the reader trusts nothing.
//
//   head     "STFRAG\0\1"  u32 version  u64 cataloger set
//   record*  u8 tag  varint length  payload            (tags below)
//   end      tag END with the layer's numbers, then SHA-256 of everything before (32 bytes)
//
// Integers are LEB128 varints, texts are varint length + bytes. ST_FRAGMENT_VERSION changes with any change here or in
// the order of ST_PKG_TYPES.
#ifndef ST_SCAN_FRAGMENT_H
#define ST_SCAN_FRAGMENT_H

#include "base/map.h"
#include "catalog/catalog.h"
#include "inventory/package.h"
#include "stream/stream.h"

#define ST_FRAGMENT_VERSION 2u
#define ST_FRAGMENT_RECORD_MAX (4u << 20) // longest payload; a longer record is refused by both sides

enum st_frag_tag {
    ST_FRAG_END,
    ST_FRAG_PATHS,   // items of consecutive tar entries
    ST_FRAG_SYMLINK, // entry, path, target
    ST_FRAG_FILE,    // evidence: entry, path, cataloger name; the records up to the next FILE are its own
    ST_FRAG_ALIAS,   // evidence: entry, path, number of the FILE whose records count for this hard link too
    ST_FRAG_PACKAGE,
    ST_FRAG_DISTRO,
    ST_FRAG_OWNER, // type, name: whose the following OWNED are
    ST_FRAG_OWNED, // path hashes
    ST_FRAG_NOTE,
    ST_FRAG_UNKNOWN,
    ST_FRAG_TAG_MAX
};

// One 64-bit item a tar entry, in the order of the entries, so that an item's position is its entry's index: the
// path's st_hash with the two low bits replaced.
enum st_item_kind {
    ST_ITEM_NONDIR,
    ST_ITEM_DIR,
    ST_ITEM_WHITEOUT, // hash of the path that is removed
    ST_ITEM_OPAQUE,   // hash of the directory
};
#define ST_ITEM_KIND(item) ((enum st_item_kind)((item)&3))
#define ST_ITEM_HASH(item) ((item) & ~3ull)

// What the END record tells.
struct st_layer_stats {
    uint64_t entries, files;         // tar entries; regular files among them (hard links included)
    uint64_t bytes;                  // uncompressed size of the tar stream
    uint64_t stored;                 // bytes read of the blob
    uint64_t rereads;                // files read a second time
    uint64_t reread_bytes;           // bytes decoded for it
    uint64_t spilled;                // bytes of the spill file used at most
    uint64_t peak;                   // memory budget used at most
    char digest[ST_DIGEST_HEX + 1];  // of the blob as stored; "" when not computed
    char diff_id[ST_DIGEST_HEX + 1]; // of the tar stream; "" when not computed
    // Of the table of contents (struct st_toc_place) that the layer was read by; "" when it was read as a stream. Then
    // `digest` and `diff_id` are not known, `bytes` is 0, and `stored` is what was asked for of the blob.
    char toc[ST_DIGEST_HEX + 1];
};

// ---- writing --------------------------------------------------------------------------------------------------------

struct st_frag_writer;

// Writes to fd (borrowed, at its current position) or, with fd -1, into `to` (borrowed).
struct st_frag_writer *st_frag_writer_new(struct st_mem *mem, int fd, struct st_buf *to, struct st_err *err);
void st_frag_writer_free(struct st_frag_writer *w); // NULL allowed
int st_frag_put_item(struct st_frag_writer *w, enum st_item_kind kind, uint64_t path_hash, struct st_err *err);
int st_frag_put_symlink(struct st_frag_writer *w, uint64_t entry, struct st_sv path, struct st_sv target,
                        struct st_err *err);
// Starts an evidence file; its number (0, 1, ...) is returned through ret_number.
int st_frag_put_file(struct st_frag_writer *w, uint64_t entry, struct st_sv path, const char *cataloger,
                     uint64_t *ret_number, struct st_err *err);
int st_frag_put_alias(struct st_frag_writer *w, uint64_t entry, struct st_sv path, uint64_t number, struct st_err *err);
int st_frag_put_unknown(struct st_frag_writer *w, enum st_unknown_reason reason, struct st_sv inner, struct st_sv text,
                        struct st_err *err);
// Emit functions of the file that was started last; valid as long as the writer.
const struct st_emit *st_frag_emit(struct st_frag_writer *w);
// For checkpoints within a layer: everything so far is in the file; its length.
int st_frag_writer_mark(struct st_frag_writer *w, uint64_t *ret_length, struct st_err *err);
// What another writer wrote at this place, and how many FILE records there are then.
int st_frag_writer_raw(struct st_frag_writer *w, struct st_sv bytes, struct st_err *err);
void st_frag_writer_files(struct st_frag_writer *w, uint64_t files);
// The END record and the checksum. Nothing may follow.
int st_frag_finish(struct st_frag_writer *w, const struct st_layer_stats *stats, struct st_err *err);

// ---- reading --------------------------------------------------------------------------------------------------------

struct st_frag_record {
    enum st_frag_tag tag;
    uint64_t offset;      // of the record in the fragment, for st_frag_seek
    struct st_sv payload; // valid until the next call
};

// The bytes that were read last; one serves the readers of all layers in turn.
struct st_frag_window {
    struct st_buf buf;
    uint64_t at;
    const struct st_frag_reader *of;
};
void st_frag_window_init(struct st_frag_window *w, struct st_mem *mem);
void st_frag_window_release(struct st_frag_window *w);

struct st_frag_reader {
    int fd;                     // borrowed
    struct st_frag_window *win; // borrowed
    uint64_t first, pos, size;  // of records
    size_t ahead;               // bytes to read at a time: little after a seek, more while reading on
};

// fd (borrowed) holds a fragment from offset 0. Checks the head; ST_E_CORRUPT when it is not one of this version.
int st_frag_open(struct st_frag_reader *r, struct st_frag_window *win, int fd, struct st_err *err);
// 1: a record (END is one too); 0: end of the fragment; -1.
int st_frag_next(struct st_frag_reader *r, struct st_frag_record *ret, struct st_err *err);
void st_frag_rewind(struct st_frag_reader *r);
void st_frag_seek(struct st_frag_reader *r, uint64_t offset); // of a record
// The whole fragment against its checksum: before one from the cache or a checkpoint is used.
int st_frag_verify(struct st_mem *mem, int fd, struct st_err *err);
// The END record without reading the rest (it has a fixed place before the checksum).
int st_frag_stats(struct st_mem *mem, int fd, struct st_layer_stats *ret, struct st_err *err);

// Payload decoders. Views point into the payload; arrays are allocated in the arena.
struct st_frag_file {
    uint64_t entry;
    struct st_sv path, cataloger; // FILE
    uint64_t number;              // ALIAS
};
int st_frag_get_file(const struct st_frag_record *rec, struct st_frag_file *ret, struct st_err *err); // FILE and ALIAS
int st_frag_get_symlink(const struct st_frag_record *rec, uint64_t *ret_entry, struct st_sv *ret_path,
                        struct st_sv *ret_target, struct st_err *err);
int st_frag_get_package(const struct st_frag_record *rec, struct st_arena *a, struct st_package *ret,
                        struct st_err *err);
int st_frag_get_distro(const struct st_frag_record *rec, struct st_distro *ret, struct st_err *err);
int st_frag_get_owner(const struct st_frag_record *rec, enum st_pkg_type *ret_type, struct st_sv *ret_name,
                      struct st_err *err);
int st_frag_get_note(const struct st_frag_record *rec, struct st_note *ret, struct st_err *err);
int st_frag_get_unknown(const struct st_frag_record *rec, struct st_unknown *ret, struct st_err *err); // path is empty
// Number of 64-bit items or hashes of a PATHS or OWNED payload, and item i.
static inline size_t st_frag_count(const struct st_frag_record *rec)
{
    return rec->payload.len / 8;
}
static inline uint64_t st_frag_at(const struct st_frag_record *rec, size_t i)
{
    uint64_t v;
    memcpy(&v, rec->payload.ptr + 8 * i, 8);
    return v;
}
static inline uint64_t st_path_hash(struct st_sv path)
{
    return ST_ITEM_HASH(st_hash(path));
}

#endif
