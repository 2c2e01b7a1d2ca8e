// rpm's own "ndb" container (Packages.db), read in place: rpm's lib/backend/ndb/rpmpkg.c. A header, pages of 16-byte
// slots, then blobs in blocks of 16 bytes; all little endian. The blobs' Adler-32 is not checked, as rpm does not on
// reading.
#include "catalog/rpm_db.h"
#include "catalog/rpm_header.h"

#define PAGE 4096u
#define SLOT 16u
#define BLOCK 16u
#define HEAD 32u     // of the file; takes the place of the first two slots
#define BLOB_HEAD 16 // "BlbS", number, generation, length
#define BLOB_TAIL 12 // Adler-32, length, "BlbE"

struct slot {
    uint32_t number, block, blocks;
};

static int find_blob(struct st_sv file, uint64_t slots_end, struct slot s, struct st_sv *ret, struct st_err *err)
{
    uint64_t off = (uint64_t)s.block * BLOCK, len = (uint64_t)s.blocks * BLOCK;
    if (off < slots_end || off > file.len || len > file.len - off || len < BLOB_HEAD + BLOB_TAIL)
        return st_err_set_off(err, ST_E_FORMAT, off, "rpm ndb: blob of %llu bytes is outside of the file",
                              (unsigned long long)len);
    struct st_sv blob = st_sv_sub(file, (size_t)off, (size_t)len);
    uint32_t size = st_rpm_le32(blob.ptr + 12);
    const char *tail = blob.ptr + blob.len - BLOB_TAIL;
    bool whole = st_sv_starts(blob, ST_SV("BlbS")) && st_rpm_le32(blob.ptr + 4) == s.number &&
                 memcmp(tail + 8, "BlbE", 4) == 0 && st_rpm_le32(tail + 4) == size;
    if (!whole || (BLOB_HEAD + (uint64_t)size + BLOB_TAIL + BLOCK - 1) / BLOCK != s.blocks)
        return st_err_set_off(err, ST_E_FORMAT, off, "rpm ndb: bad blob");
    *ret = st_sv_sub(blob, BLOB_HEAD, size);
    return 0;
}

static int read_slot(struct st_sv file, uint64_t slots_end, struct slot s, uint64_t *bytes_left,
                     const struct st_rpm_sink *sink, struct st_err *err)
{
    struct st_err why = {0};
    struct st_sv blob;
    if (find_blob(file, slots_end, s, &blob, &why))
        return sink->damaged(sink->ctx, s.number, &why, err);
    if (blob.len > *bytes_left)
        return st_err_set(err, ST_E_FORMAT, "rpm ndb: blobs are longer than the file");
    *bytes_left -= blob.len;
    return sink->header(sink->ctx, s.number, blob, err);
}

int st_rpm_ndb_walk(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err)
{
    if (file.len < HEAD || !st_sv_starts(file, ST_SV("RpmP")))
        return st_err_set(err, ST_E_FORMAT, "rpm ndb: no header in %zu bytes", file.len);
    if (st_rpm_le32(file.ptr + 4) != 0)
        return st_err_set_off(err, ST_E_FORMAT, 4, "rpm ndb of unknown version %u", st_rpm_le32(file.ptr + 4));
    uint64_t slots_end = (uint64_t)st_rpm_le32(file.ptr + 12) * PAGE, bytes_left = file.len;
    for (uint64_t at = HEAD; at < slots_end; at += SLOT) {
        if (at + SLOT > file.len || memcmp(file.ptr + at, "Slot", 4) != 0)
            return st_err_set_off(err, ST_E_FORMAT, at, "rpm ndb: no slot here");
        const char *p = file.ptr + at;
        struct slot s = {st_rpm_le32(p + 4), st_rpm_le32(p + 8), st_rpm_le32(p + 12)};
        if (s.block && read_slot(file, slots_end, s, &bytes_left, sink, err)) // block 0: a free slot
            return -1;
    }
    return 0;
}
