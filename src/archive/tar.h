// Streaming tar reader: v7, ustar, GNU (long names and links, base-256, old and new sparse), pax (global and local
// headers, path, linkpath, size, hdrcharset, GNU.sparse.* 0.0, 0.1, 1.0), concatenated archives.
// Reference: POSIX.1-2017 pax "ustar Interchange Format", GNU tar manual "Basic Tar Format" and appendix on sparse
// formats. Semantics of what an entry does to a file system are the caller's (src/scan).
#ifndef ST_ARCHIVE_TAR_H
#define ST_ARCHIVE_TAR_H

#include "stream/stream.h"

enum st_tar_type {
    ST_TAR_FILE,
    ST_TAR_HARDLINK,
    ST_TAR_SYMLINK,
    ST_TAR_CHAR,
    ST_TAR_BLOCKDEV,
    ST_TAR_DIR,
    ST_TAR_FIFO
};

struct st_tar_entry {
    // Normalised: no leading or trailing '/', no ".", no "..", no empty parts; "" is the root. ".." takes away the part
    // before it and stops at the root. Bytes are otherwise as stored (NUL ends a name, as for every tar program).
    struct st_sv path;
    struct st_sv link; // hard link: normalised as path; symbolic link: target as stored
    enum st_tar_type type;
    uint32_t mode;      // permission bits
    uint64_t size;      // bytes that st_tar_data hands out (holes of sparse files included); 0 unless FILE
    uint64_t index;     // ordinal of the entry, from 0
    uint64_t offset;    // of its (first) header in the stream
    uint64_t full_size; // of a directory read as a stream: the file's size when its bytes were left out, else 0
    struct st_sv error; // of a directory read as a stream (src/image/rootfs.h): why its bytes are not here
};

#define ST_TAR_NAME_MAX (64 * 1024)     // longer path or link: ST_E_LIMIT
#define ST_TAR_PAX_MAX (1024 * 1024)    // larger pax or GNU header body: ST_E_LIMIT
#define ST_TAR_ENTRIES_MAX 100000000ull // more entries: ST_E_LIMIT
#define ST_TAR_SPARSE_MAX 65536         // more sparse segments: ST_E_LIMIT

struct st_tar;

// Reads from `in` (borrowed).
struct st_tar *st_tar_new(struct st_mem *mem, struct st_stream *in, struct st_err *err);
void st_tar_free(struct st_tar *t); // NULL allowed
// 1: *ret is the next entry, valid until the next call; 0: end of the archive (end marker and no further archive
// behind it, or end of the stream at a header boundary); -1: ST_E_CORRUPT or ST_E_LIMIT with the offset.
// Data that was not taken is skipped, without being decoded where the stream can seek.
int st_tar_next(struct st_tar *t, struct st_tar_entry *ret, struct st_err *err);
// Next run of the current entry's data: 1 with a non-empty view (valid until the next call), 0 at its end, -1.
int st_tar_data(struct st_tar *t, struct st_sv *ret, struct st_err *err);
// The rest of the current entry's data as a stream, valid until the next st_tar_next (which may come before it is
// read to its end). Frees nothing of `t`.
struct st_stream *st_tar_stream(struct st_mem *mem, struct st_tar *t, struct st_err *err);

// From now on read as container runtimes do (all of them with Go's archive/tar), where they differ from POSIX and GNU
// tar: global pax headers change nothing, and the archive ends at its first end marker, whatever is behind it. For
// layers: an archive behind the end marker would hide or invent packages that no container ever sees.
void st_tar_as_runtime(struct st_tar *t);
// `in` begins at the header of entry `index`, not at the archive's: entries are numbered from there.
void st_tar_from(struct st_tar *t, uint64_t index);

// Normalise a path as described above into out (at least s.len bytes, or s itself); its length is returned.
size_t st_path_normalise(struct st_sv s, char *out);

#endif
