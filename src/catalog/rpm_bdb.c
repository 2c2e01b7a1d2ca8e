// Berkeley DB 4.x/5.x hash database, read in place. Page layouts: Berkeley DB's dbinc/db_page.h, which names the
// fields; the order is that of the writing machine. Buckets are walked as the library does, not pages in file order, so
// that what a freed page still holds is not found. Bounds: every page of a bucket chain is entered once, the sum of all
// records is at most the file, overflow chains are watched for loops.
#include "catalog/rpm_db.h"
#include "catalog/rpm_header.h"

#define META_LEN 512 // the smallest page
#define PAGE_MIN 512
#define PAGE_MAX 65536
#define PAGE_HEAD 26
#define META_CHECKSUM 1 // DBMETA_CHKSUM: pages have a longer header
#define SPARES 32

enum { P_HASH_UNSORTED = 2, P_OVERFLOW = 7, P_HASH = 13 };
enum { H_KEYDATA = 1, H_OFFPAGE = 3, H_OFFPAGE_LEN = 12 };
enum { MAGIC_HASH = 0x061561, MAGIC_BTREE = 0x053162 };

struct bdb {
    struct st_sv file;
    const struct st_rpm_sink *sink;
    struct st_rpm_block blob; // of an overflow chain
    bool big;
    uint32_t page_size, last_page, max_bucket;
    uint32_t spares[SPARES];
    uint64_t bytes_left; // that records may still have
    uint64_t pages_left; // that bucket chains may still have
};

struct page {
    uint32_t number;
    struct st_sv data;
};

static uint32_t u32(const struct bdb *db, const char *p)
{
    return db->big ? st_rpm_be32(p) : st_rpm_le32(p);
}

static uint16_t u16(const struct bdb *db, const char *p)
{
    return db->big ? st_rpm_be16(p) : st_rpm_le16(p);
}

static int page_type(const struct page *p)
{
    return (unsigned char)p->data.ptr[25];
}

static uint32_t next_page(const struct bdb *db, const struct page *p)
{
    return u32(db, p->data.ptr + 16);
}

static uint64_t page_off(const struct bdb *db, uint32_t number)
{
    return (uint64_t)number * db->page_size;
}

static int get_page(const struct bdb *db, uint32_t number, struct page *ret, struct st_err *err)
{
    uint64_t off = page_off(db, number);
    if (number == 0 || number > db->last_page || off + db->page_size > db->file.len)
        return st_err_set(err, ST_E_FORMAT, "Berkeley DB: page %u is outside of the file", number);
    struct page p = {number, st_sv_sub(db->file, (size_t)off, db->page_size)};
    if (u32(db, p.data.ptr + 8) != number)
        return st_err_set_off(err, ST_E_FORMAT, off, "Berkeley DB: page %u says it is page %u", number,
                              u32(db, p.data.ptr + 8));
    *ret = p;
    return 0;
}

static int open_meta(struct bdb *db, struct st_err *err)
{
    const char *m = db->file.ptr;
    if (db->file.len < META_LEN)
        return st_err_set(err, ST_E_FORMAT, "Berkeley DB of %zu bytes", db->file.len);
    db->big = st_rpm_be32(m + 12) == MAGIC_HASH;
    uint32_t version = u32(db, m + 16);
    if (u32(db, m + 12) != MAGIC_HASH || version < 8 || version > 10)
        return st_err_set(err, ST_E_FORMAT, "Berkeley DB hash of unknown version %u", version);
    if (m[24] || (m[26] & META_CHECKSUM))
        return st_err_set(err, ST_E_FORMAT, "Berkeley DB with encryption or checksums");
    db->page_size = u32(db, m + 20);
    if (db->page_size < PAGE_MIN || db->page_size > PAGE_MAX || (db->page_size & (db->page_size - 1)))
        return st_err_set_off(err, ST_E_FORMAT, 20, "Berkeley DB: page size %u", db->page_size);
    db->last_page = u32(db, m + 32);
    db->max_bucket = u32(db, m + 72);
    uint64_t pages = db->file.len / db->page_size;
    if (db->max_bucket >= pages) // each bucket has a page of its own
        return st_err_set_off(err, ST_E_FORMAT, 72, "Berkeley DB: %u buckets in %llu pages", db->max_bucket,
                              (unsigned long long)pages);
    for (size_t i = 0; i < SPARES; i++)
        db->spares[i] = u32(db, m + 96 + 4 * i);
    db->bytes_left = db->file.len;
    db->pages_left = pages;
    return 0;
}

// ---- records ----------------------------------------------------------------------------------------

// Pieces of an overflow chain put together in db->blob.
static int read_chain(struct bdb *db, uint32_t first, uint32_t len, struct st_sv *ret, struct st_err *err)
{
    if (len > ST_RPM_HEADER_MAX)
        return st_err_set(err, ST_E_LIMIT, "Berkeley DB: record of %u bytes", len);
    if (len > db->bytes_left)
        return st_err_set(err, ST_E_FORMAT, "Berkeley DB: records are longer than the file");
    if (st_rpm_block_reset(&db->blob, len, err))
        return -1;
    uint32_t number = first, mark = 0; // Brent: compare with a page that moves on at powers of two
    for (uint32_t steps = 0; db->blob.len < len; steps++) {
        struct page p;
        if (steps && number == mark)
            return st_err_set(err, ST_E_FORMAT, "Berkeley DB: overflow chain of page %u loops", first);
        if ((steps & (steps - 1)) == 0)
            mark = number;
        if (get_page(db, number, &p, err))
            return -1;
        uint32_t part = u16(db, p.data.ptr + 22);
        if (page_type(&p) != P_OVERFLOW || part == 0 || part > db->page_size - PAGE_HEAD || part > len - db->blob.len)
            return st_err_set_off(err, ST_E_FORMAT, page_off(db, number), "Berkeley DB: bad overflow page %u", number);
        db->bytes_left -= part;
        memcpy(db->blob.ptr + db->blob.len, p.data.ptr + PAGE_HEAD, part);
        db->blob.len += part;
        number = next_page(db, &p);
    }
    *ret = st_sv_mem(db->blob.ptr, len);
    return 0;
}

// Item i of a hash page: items grow from the end of the page, key and value in turn.
static int get_item(const struct bdb *db, const struct page *p, uint32_t i, struct st_sv *ret, struct st_err *err)
{
    const char *slots = p->data.ptr + PAGE_HEAD;
    uint32_t n = u16(db, p->data.ptr + 20);
    uint32_t off = u16(db, slots + (size_t)2 * i), end = i ? u16(db, slots + (size_t)2 * (i - 1)) : db->page_size;
    if (off < PAGE_HEAD + 2 * n || off >= end || end > db->page_size)
        return st_err_set_off(err, ST_E_FORMAT, page_off(db, p->number),
                              "Berkeley DB: item %u of page %u is out of bounds", i, p->number);
    *ret = st_sv_sub(p->data, off, end - off);
    return 0;
}

static int get_value(struct bdb *db, const struct page *p, struct st_sv item, struct st_sv *ret, struct st_err *err)
{
    if (item.ptr[0] == H_OFFPAGE && item.len == H_OFFPAGE_LEN)
        return read_chain(db, u32(db, item.ptr + 4), u32(db, item.ptr + 8), ret, err);
    if (item.ptr[0] != H_KEYDATA || item.len > db->bytes_left)
        return st_err_set_off(err, ST_E_FORMAT, page_off(db, p->number), "Berkeley DB: unexpected item on page %u",
                              p->number);
    db->bytes_left -= item.len;
    *ret = st_sv_from(item, 1);
    return 0;
}

static bool is_damage(const struct st_err *err)
{
    return err->code == ST_E_FORMAT || err->code == ST_E_LIMIT;
}

// Turns a failure of one record into a record of the sink. Other failures stay.
static int tell_damage(struct bdb *db, uint64_t number, const struct st_err *why, struct st_err *err)
{
    if (is_damage(why))
        return db->sink->damaged(db->sink->ctx, number, why, err);
    if (err)
        *err = *why;
    return -1;
}

// The key is the header's number; 0 holds the next free one.
static int read_pair(struct bdb *db, const struct page *p, uint32_t i, struct st_err *err)
{
    struct st_err why = {0};
    struct st_sv key = ST_SV_NULL, item = ST_SV_NULL, blob = ST_SV_NULL; // for GCC, which does not see that -1 leaves
    uint32_t number = 0;
    if (get_item(db, p, i, &key, &why) || get_item(db, p, i + 1, &item, &why))
        return tell_damage(db, 0, &why, err);
    if (key.len != 5 || key.ptr[0] != H_KEYDATA) {
        st_err_set_off(&why, ST_E_FORMAT, page_off(db, p->number), "Berkeley DB: key of page %u is not a header number",
                       p->number);
        return tell_damage(db, 0, &why, err);
    }
    number = u32(db, key.ptr + 1);
    if (number == 0)
        return 0;
    if (get_value(db, p, item, &blob, &why))
        return tell_damage(db, number, &why, err);
    return db->sink->header(db->sink->ctx, number, blob, err);
}

// ---- buckets ----------------------------------------------------------------------------------------

static uint32_t page_of_bucket(const struct bdb *db, uint32_t bucket)
{
    unsigned bits = bucket ? 32u - (unsigned)__builtin_clz(bucket) : 0;
    return bucket + db->spares[bits < SPARES ? bits : SPARES - 1];
}

// 0 when the bucket was read or its damage was told.
static int read_bucket(struct bdb *db, uint32_t bucket, struct st_err *err)
{
    for (uint32_t number = page_of_bucket(db, bucket); number;) {
        struct page p;
        struct st_err why = {0};
        if (db->pages_left == 0)
            return st_err_set(err, ST_E_FORMAT, "Berkeley DB: page chain of bucket %u loops", bucket);
        db->pages_left--;
        if (get_page(db, number, &p, &why))
            return tell_damage(db, 0, &why, err);
        uint32_t n = u16(db, p.data.ptr + 20);
        if ((page_type(&p) != P_HASH && page_type(&p) != P_HASH_UNSORTED) || n > (db->page_size - PAGE_HEAD) / 2) {
            st_err_set_off(&why, ST_E_FORMAT, page_off(db, number), "Berkeley DB: page %u of bucket %u is no hash page",
                           number, bucket);
            return tell_damage(db, 0, &why, err);
        }
        for (uint32_t i = 0; i + 1 < n; i += 2)
            if (read_pair(db, &p, i, err))
                return -1;
        number = next_page(db, &p);
    }
    return 0;
}

int st_rpm_bdb_walk(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err)
{
    struct bdb db = {.file = file, .sink = sink, .blob = {.mem = mem}};
    if (open_meta(&db, err))
        return -1;
    int rc = 0;
    for (uint64_t bucket = 0; rc == 0 && bucket <= db.max_bucket; bucket++)
        rc = read_bucket(&db, (uint32_t)bucket, err);
    st_rpm_block_release(&db.blob);
    return rc;
}

enum st_rpm_format st_rpm_format_of(struct st_sv file)
{
    if (st_sv_starts(file, ST_SV("RpmP")))
        return ST_RPM_FORMAT_NDB;
    if (st_sv_starts(file, ST_SV("SQLite format 3\0")))
        return ST_RPM_FORMAT_SQLITE;
    if (file.len < 16)
        return ST_RPM_FORMAT_NONE;
    uint32_t le = st_rpm_le32(file.ptr + 12), be = st_rpm_be32(file.ptr + 12);
    if (le == MAGIC_HASH || be == MAGIC_HASH)
        return ST_RPM_FORMAT_BDB;
    return le == MAGIC_BTREE || be == MAGIC_BTREE ? ST_RPM_FORMAT_BTREE : ST_RPM_FORMAT_NONE;
}
