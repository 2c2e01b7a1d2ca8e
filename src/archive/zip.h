// zip archives that lie in memory as one span (a mapping or a buffer): APPNOTE.TXT 6.3.10, with zip64, archive comments
// and bytes in front of the archive (self-executing jars). Opening walks the central directory once and checks all of
// it; after that walking cannot fail. Nothing is copied but by st_zip_read.
#ifndef ST_ARCHIVE_ZIP_H
#define ST_ARCHIVE_ZIP_H

#include "base/mem.h"

#define ST_ZIP_ENTRIES_MAX 2000000      // more: ST_E_LIMIT
#define ST_ZIP_NAME_MAX 4096            // a longer name: ST_E_LIMIT
#define ST_ZIP_RATIO_MAX 200            // a member that unpacks to more times its size: ST_E_LIMIT ...
#define ST_ZIP_RATIO_FREE (16ull << 20) // ... when that is more than this

#define ST_ZIP_CHECK_STORED (1ull << 20)

enum st_zip_problem { ST_ZIP_OK, ST_ZIP_ENCRYPTED, ST_ZIP_METHOD };

struct st_zip_entry {
    struct st_sv name; // as stored, borrowed from the archive
    uint64_t csize, size;
    uint64_t header; // offset of the local header in the span
    uint32_t crc;
    unsigned method;
    bool directory;
#define ST_ZIP_CHECK_STORED (1ull << 20)

    enum st_zip_problem problem; // OK: st_zip_read can read it
};

struct st_zip {
    struct st_sv file;      // borrowed
    struct st_sv directory; // central directory, borrowed
    uint64_t directory_off; // of it in the span; the archive's members lie before
    uint64_t prefix;        // bytes in front of the archive
    uint64_t n;             // entries
    uint64_t taken;         // compressed bytes of the members read so far
};

struct st_zip_at { // place in a walk; start with zeros
    uint64_t i, off;
};

// Does the span end like a zip archive (an end record is found)?
bool st_zip_is(struct st_sv file);
// ST_E_FORMAT for damage (also for members that overlap), ST_E_LIMIT.
int st_zip_open(struct st_zip *z, struct st_sv file, struct st_err *err);
// Entries in the order of the central directory. False: no more.
bool st_zip_next(const struct st_zip *z, struct st_zip_at *at, struct st_zip_entry *ret);
// The member's bytes as stored. Checks the local header against the directory: other names, methods or sizes are
// ST_E_FORMAT. Members read may not add up to more than the archive's bytes (ST_E_FORMAT): they would overlap.
int st_zip_raw(struct st_zip *z, const struct st_zip_entry *e, struct st_sv *ret, struct st_err *err);
// The member's contents: borrowed from the span when stored, else unpacked into `buf` (cleared before). More than `max`
// bytes or a ratio beyond the limit: ST_E_LIMIT. Wrong size or checksum: ST_E_FORMAT (the checksum of stored members
// over ST_ZIP_CHECK_STORED is not looked at: nested archives are read in place, mostly not at all).
int st_zip_read(struct st_zip *z, const struct st_zip_entry *e, uint64_t max, struct st_buf *buf, struct st_sv *ret,
                struct st_err *err);

#endif
