// Private to the tar reader: its state, and what its three files share.
#ifndef ST_ARCHIVE_TAR_INT_H
#define ST_ARCHIVE_TAR_INT_H

#include "archive/tar.h"

#define TAR_BLOCK 512

// POSIX.1-2017 pax, "ustar Interchange Format".
struct tar_header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8], type, link[100], magic[6], version[2];
    char uname[32], gname[32], devmajor[8], devminor[8], prefix[155], pad[12];
};
struct tar_gnu_seg {
    char offset[12], length[12];
};
#define TAR_GNU_SEGS 4
// GNU tar manual, "Basic Tar Format": what GNU archives have in place of the prefix.
struct tar_gnu_header {
    char same[345], atime[12], ctime[12], offset[12], longnames[4], unused;
    struct tar_gnu_seg segs[TAR_GNU_SEGS];
    char is_extended, realsize[12], pad[17];
};
#define TAR_GNU_MORE 21
struct tar_gnu_more {
    struct tar_gnu_seg segs[TAR_GNU_MORE];
    char is_extended, pad[7];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "header");
_Static_assert(sizeof(struct tar_gnu_header) == TAR_BLOCK, "GNU header");
_Static_assert(sizeof(struct tar_gnu_more) == TAR_BLOCK, "GNU sparse header");

// Values of extended headers that matter here. An empty value takes the one of a global header away.
enum tar_pax_text { PAX_PATH, PAX_LINK, PAX_SPARSE_NAME, PAX_ERROR, PAX_TEXTS };
enum tar_pax_number { PAX_SIZE, PAX_SPARSE_SIZE, PAX_SPARSE_MAJOR, PAX_SPARSE_MINOR, PAX_FULL_SIZE, PAX_NUMBERS };
enum tar_pax_state { PAX_ABSENT, PAX_SET, PAX_EMPTY };
struct tar_pax {
    unsigned char has_text[PAX_TEXTS], has_number[PAX_NUMBERS]; // enum tar_pax_state
    uint64_t number[PAX_NUMBERS];
    struct st_buf text[PAX_TEXTS];
};

struct tar_seg {
    uint64_t offset, length; // of a run of data in the file
};

struct st_tar {
    struct st_mem *mem;
    struct st_stream *in; // borrowed
    bool runtime, done;
    bool have_block;                // block holds a header that was read ahead
    unsigned char block[TAR_BLOCK]; // a block that crosses the end of the stream's buffer
    uint64_t index;
    bool no_data;      // not a file: what data there is is passed over
    uint64_t raw_end;  // position of the end of the entry's data in the stream
    uint64_t data_end; // the same with padding
    bool has_local;    // something below is to be forgotten before the next entry
    struct tar_pax local, global;
    bool has_long_name, has_long_link; // GNU 'L' and 'K'
    struct st_buf long_name, long_link;
    struct st_buf body;           // of an extended header that crosses the end of the stream's buffer
    struct st_buf path, link;     // of the entry
    char joined[256];             // prefix/name
    struct st_buf segs;           // struct tar_seg each
    uint64_t seg_offset;          // GNU.sparse.offset that waits for its numbytes
    bool has_seg_offset, has_map; // the extended header brought a sparse map
    bool sparse;                  // the entry's data goes through segs
    size_t seg;                   // first one that is not behind `logical`
    uint64_t logical, size;       // position in the sparse file and its size
};

// Number field: octal, or base-256 (GNU) when the first bit is set. False when it is neither or negative.
bool tar_number(const char *field, size_t n, uint64_t *ret);
// Next block in *ret: 1; 0 at the end of the stream; -1, also when the stream ends inside of the block.
int tar_block(struct st_tar *t, const unsigned char **ret, struct st_err *err);
int tar_corrupt(const struct st_tar *t, const char *what, struct st_err *err);
int tar_ends_early(const struct st_tar *t, struct st_err *err);

// Records of an extended header into pax, and its sparse map into the reader (local headers only).
int tar_pax_parse(struct st_tar *t, struct tar_pax *pax, struct st_sv body, struct st_err *err);
void tar_pax_clear(struct tar_pax *pax);

void tar_sparse_clear(struct st_tar *t);
int tar_sparse_add(struct st_tar *t, uint64_t offset, uint64_t length, struct st_err *err);
// Old GNU format: the map in the header and the blocks behind it, which are read.
int tar_sparse_gnu(struct st_tar *t, const struct tar_gnu_header *h, struct st_err *err);
// pax format 1.0: the map at the start of the data.
int tar_sparse_map(struct st_tar *t, struct st_err *err);
// Map complete: check it against the size of the file and the data that is there, and begin.
int tar_sparse_begin(struct st_tar *t, uint64_t size, struct st_err *err);
int tar_sparse_data(struct st_tar *t, struct st_sv *ret, struct st_err *err);
// Next run of stored data, at most `max` of it.
int tar_raw_data(struct st_tar *t, uint64_t max, struct st_sv *ret, struct st_err *err);

#endif
