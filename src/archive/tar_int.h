// Private to the tar reader: its state, shared by tar.c (headers, entries, data), tar_pax.c and tar_sparse.c.
#ifndef ST_ARCHIVE_TAR_INT_H
#define ST_ARCHIVE_TAR_INT_H

#include "archive/tar.h"
#include "base/ckd.h"

#define ST_TAR_BLOCK 512

// ustar header (POSIX.1-2017, pax, table "ustar Header Block") with GNU's use of the prefix area for old sparse files.
struct st_tar_header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8];
    char typeflag;
    char linkname[100], magic[8], uname[32], gname[32], devmajor[8], devminor[8];
    char prefix[155];
    char pad[12];
};
_Static_assert(sizeof(struct st_tar_header) == ST_TAR_BLOCK, "a tar header is one block");

struct st_tar_segment {
    uint64_t off, len;
};

// What pax records and GNU headers say about the next entry (local) or all entries (global).
struct st_tar_override {
    bool has_path, has_link, has_size, has_sparse_size, has_error;
    struct st_buf path, link, error;
    uint64_t size;        // of the data in the archive
    uint64_t full_size;   // STELLA.size
    uint64_t sparse_size; // GNU.sparse.size, GNU.sparse.realsize
    unsigned sparse_major, sparse_minor;
    bool has_version, has_map; // GNU.sparse.major; GNU.sparse.map or offset and numbytes records
    bool has_sparse_name;      // GNU.sparse.name is in `path` and goes before a path record
};

struct st_tar {
    struct st_mem *mem;
    struct st_stream *in; // borrowed
    struct st_tar_override local, global;
    struct st_buf name, link; // of the entry in hand, normalised
    struct st_buf error;      // of the entry in hand
    struct st_buf pax;        // body of an extended header
    struct st_buf map;        // struct st_tar_segment of a sparse file
    unsigned char block[ST_TAR_BLOCK];
    uint64_t count;
    uint64_t header_at; // offset of the header in hand
    uint64_t stored;    // bytes of data left in the archive
    uint64_t padding;   // behind them
    uint64_t size, pos; // of the entry as handed out
    bool sparse, done, broken;
    size_t segment; // sparse: next one
};

int st_tar_fail(struct st_tar *t, enum st_err_code code, const char *what, struct st_err *err);
// The next 512 bytes: a pointer into the stream's buffer or to t->block. NULL with *ret_end at the end of the stream.
const unsigned char *st_tar_block(struct st_tar *t, bool *ret_end, struct st_err *err);
// Octal, or base-256 (GNU) number of a header field. false: negative, too large, other characters.
bool st_tar_number(const char *field, size_t n, uint64_t *ret);

void st_tar_override_clear(struct st_tar_override *o);
// The records of a pax header's body (t->pax) into o. tar_pax.c.
int st_tar_pax(struct st_tar *t, struct st_tar_override *o, struct st_err *err);

// tar_sparse.c: the maps of the four sparse formats. All set t->sparse, t->map, t->size.
int st_tar_sparse_add(struct st_tar *t, uint64_t off, uint64_t len, struct st_err *err);
int st_tar_sparse_old(struct st_tar *t, const unsigned char *header, struct st_err *err); // reads extension blocks
int st_tar_sparse_text(struct st_tar *t, struct st_err *err); // pax 1.0: map before the data
int st_tar_sparse_check(struct st_tar *t, struct st_err *err);
int st_tar_sparse_data(struct st_tar *t, struct st_sv *ret, struct st_err *err);
// Next run of stored data, at most max bytes: 1, 0 at its end, -1.
int st_tar_stored(struct st_tar *t, uint64_t max, struct st_sv *ret, struct st_err *err);

#endif
