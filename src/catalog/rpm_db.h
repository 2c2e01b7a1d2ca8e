// The containers in which rpm keeps its headers: Berkeley DB hash (RHEL 6 to 8, Amazon Linux 2), NDB (SUSE) and SQLite
// (Fedora, RHEL 9). A walker hands over every header blob once, in the container's own order, holding one at a time.
// The sum of the blobs is bounded by the size of the file, so that pages which are referred to twice cost no more than
// the file.
#ifndef ST_CATALOG_RPM_DB_H
#define ST_CATALOG_RPM_DB_H

#include "base/mem.h"

// One block for the record in work. Grows to what the longest record needs and not beyond: the old block goes
// before the new one comes, and nothing is copied.
struct st_rpm_block {
    struct st_mem *mem; // borrowed
    char *ptr;          // owns; from st_mem_map
    size_t len, cap;
};
static inline void st_rpm_block_release(struct st_rpm_block *b)
{
    st_mem_unmap(b->mem, b->ptr, b->cap);
    b->ptr = NULL;
    b->len = b->cap = 0;
}
// Empty, with room for len bytes.
static inline int st_rpm_block_reset(struct st_rpm_block *b, size_t len, struct st_err *err)
{
    b->len = 0;
    if (b->ptr && len <= b->cap)
        return 0;
    st_rpm_block_release(b);
    b->ptr = st_mem_map(b->mem, len ? len : 1, &b->cap, err);
    return b->ptr ? 0 : -1;
}

struct st_rpm_sink {
    void *ctx;
    // Number of the header in the database, and its blob, valid for the call only.
    int (*header)(void *ctx, uint64_t number, struct st_sv blob, struct st_err *err);
    // One record that cannot be read. The walk goes on after 0.
    int (*damaged)(void *ctx, uint64_t number, const struct st_err *why, struct st_err *err);
};

enum st_rpm_format {
    ST_RPM_FORMAT_NONE,
    ST_RPM_FORMAT_BDB,
    ST_RPM_FORMAT_BTREE,
    ST_RPM_FORMAT_NDB,
    ST_RPM_FORMAT_SQLITE
};
// By the magic, whatever the name. BTREE: Berkeley DB of another kind than rpm's Packages ever was; not read.
enum st_rpm_format st_rpm_format_of(struct st_sv file);

int st_rpm_bdb_walk(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err);
int st_rpm_ndb_walk(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err);
// Takes ST_RPM_SQLITE_HEAP from mem for SQLite's own heap, which is capped at that while it runs.
int st_rpm_sqlite_walk(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err);
#define ST_RPM_SQLITE_HEAP (2u << 20)

static inline uint32_t st_rpm_le32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static inline uint32_t st_rpm_be32(const char *p)
{
    return __builtin_bswap32(st_rpm_le32(p));
}
static inline uint16_t st_rpm_le16(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint16_t st_rpm_be16(const char *p)
{
    return __builtin_bswap16(st_rpm_le16(p));
}

#endif
