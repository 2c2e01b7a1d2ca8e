// One layer in, one fragment out: the tar stream of a layer is walked once, every path becomes an item, and files that
// a cataloger wants are handed to it. What only a later byte reveals (the target of a hard link whose own name was of
// no interest, a table that lies outside the ranges kept of a large executable) is read a second time, once, at the
// end.
//
// Runs inside the sandbox. It knows nothing of other layers.
#ifndef ST_SCAN_LAYER_H
#define ST_SCAN_LAYER_H

#include "archive/toc.h"
#include "scan/fragment.h"

#include <stdatomic.h>

// Limits that hold whatever the memory budget is (docs/LIMITS.md).
#define ST_LAYER_BYTES_MAX (1ull << 40) // decoded bytes of one layer
#define ST_LAYER_RATIO_MAX 2000         // decoded / stored, beyond the first 64 MiB
#define ST_FILE_PACKAGES_MAX 200000     // packages that one file may give
#define ST_LAYER_REREADS_MAX 65536      // files that are read a second time
#define ST_WATCH_PATH_MAX 4096

// A page shared with the parent: how far the scan is, and which file a parser has in hand when the process dies.
struct st_layer_watch {
    _Atomic uint64_t stored, bytes, entries; // read of the blob, of the tar stream, tar entries
    _Atomic uint64_t archive;                // STREAM: read of the outer archive
    _Atomic uint64_t used, peak, spilled;    // memory budget
    _Atomic uint64_t resumed;                // entries that a checkpoint within the layer had already
    _Atomic uint32_t parsing;                // 1 while a cataloger runs
    uint32_t path_len;
    char path[ST_WATCH_PATH_MAX]; // cut when longer
};

// A layer that is read by its table of contents (layer_lazy.c): what is asked for of the blob.
#define ST_LAZY_BLOB_MIN (1u << 20) // a smaller blob is read whole: it costs no more than its table
#define ST_LAZY_GAP (128u << 10)    // two wanted ranges with less between them are one request
#define ST_LAZY_SHARE 3 / 4         // of the blob: when more is wanted it is read whole
#define ST_LAZY_AHEAD 3             // requests on their way beside the one that is read
#define ST_LAZY_TAIL_MAX (4u << 20) // eStargz: asked for at the blob's end before it is known where its table begins

// Where the blob's bytes come from.
struct st_layer_source {
    int (*open)(void *ctx, struct st_stream **ret, struct st_err *err);
    void *ctx;
    bool again; // may be opened more than once
    // Bytes [from, to) as a stream, which the caller frees; it may end early. NULL: there are no parts to be had.
    int (*range)(void *ctx, uint64_t from, uint64_t to, struct st_stream **ret, struct st_err *err);
};

// Checkpoints within the layer (layer_part.c).
struct st_layer_part {
    int fd;         // borrowed: the file that they are kept in; -1: none
    int out;        // borrowed: the fragment that is being written, to be read from
    uint64_t every; // entries between two
    bool resume;    // go on from what is in it
};

struct st_layer_options {
    const struct st_classifier *classifier; // of st_catalogers
    // Hex digests that must match (ST_E_CORRUPT otherwise); "" = not checked. digest is always computed when
    // `digest` is set or `want_digest`; the same for the diff ID.
    char digest[ST_DIGEST_HEX + 1], diff_id[ST_DIGEST_HEX + 1];
    bool want_digest, want_diff_id;
    bool rootfs; // a directory as a stream (src/image/rootfs.h): ".wh." names are ordinary files
    // Paths that a parser died on in an earlier try: named as unknown (crash), not parsed.
    const struct st_sv *skip;
    size_t n_skip;
    struct st_layer_watch *watch;     // NULL allowed
    const struct st_layer_part *part; // NULL: none. Not with `rootfs`, nor where the blob cannot be opened again
    // Read only what is wanted, by this table, of a blob of `length` bytes. NULL: as a stream. Not with `part`, nor
    // with digests; the source has `range`. Whatever does not fit, -1 with any error: the caller reads the layer as a
    // stream.
    const struct st_toc_place *toc;
    uint64_t length;
    uint64_t before; // bytes of the blob that were asked for in vain; they count in `stored`
};

// Writes the whole fragment, END record included. ST_E_CORRUPT, ST_E_LIMIT: the layer is bad. ret_stats as in END, or
// after a failure with `toc` only what was asked for (`stored`).
// ST_E_CONFLICT: what `part` had is of other bytes; the fragment is to be begun anew, without.
int st_layer_scan(struct st_mem *mem, const struct st_layer_source *src, const struct st_layer_options *opt,
                  struct st_frag_writer *out, struct st_layer_stats *ret_stats, struct st_err *err);

#endif
