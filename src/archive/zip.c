#include "archive/zip.h"

#include "base/ckd.h"
#include "stream/stream.h"

#include <isa-l/crc.h>

// APPNOTE 4.3.7 (local header), 4.3.12 (directory entry), 4.3.14-16 (end records), 4.5.3 (zip64 field).
enum {
    SIG_LOCAL = 0x04034b50,
    SIG_ENTRY = 0x02014b50,
    SIG_END = 0x06054b50,
    SIG_END64 = 0x06064b50,
    SIG_LOCATOR = 0x07064b50,
    SIZE_LOCAL = 30,
    SIZE_ENTRY = 46,
    SIZE_END = 22,
    SIZE_END64 = 56,
    SIZE_LOCATOR = 20,
    COMMENT_MAX = 65535,
    EXTRA_ZIP64 = 1,
    METHOD_STORED = 0,
    METHOD_DEFLATE = 8,
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8, // sizes follow the data, the local header has zeros
    FLAG_STRONG = 64,
    FLAG_MASKED = 0x2000, // directory encrypted, local headers masked
};
#define ALL16 0xffffu
#define ALL32 0xffffffffu

static uint64_t get(struct st_sv s, uint64_t off, unsigned width)
{
    uint64_t v = 0;
    if (off > s.len || s.len - off < width)
        return 0;
    for (unsigned i = width; i-- > 0;)
        v = v << 8 | (unsigned char)s.ptr[off + i];
    return v;
}

// [off, off + len) of s; len 0 and false when it does not lie in s.
static bool part(struct st_sv s, uint64_t off, uint64_t len, struct st_sv *ret)
{
    *ret = ST_SV("");
    if (off > s.len || len > s.len - off)
        return false;
    *ret = st_sv_sub(s, (size_t)off, (size_t)len);
    return true;
}

// ---- end records ----------------------------------------------------------------------------------------

// The last end record whose comment fits behind it.
static bool find_end(struct st_sv file, uint64_t *ret_off)
{
    if (file.len < SIZE_END)
        return false;
    size_t last = file.len - SIZE_END, first = last > COMMENT_MAX ? last - COMMENT_MAX : 0;
    for (size_t i = last + 1; i-- > first;)
        if (file.ptr[i] == 'P' && get(file, i, 4) == SIG_END && get(file, i + 20, 2) <= last - i) {
            *ret_off = i;
            return true;
        }
    return false;
}

struct end {
    uint64_t off;            // of the end record that stands right behind the directory
    uint64_t n, size, start; // as recorded: entries, directory's size and offset
};

static bool find_end64(struct st_sv file, uint64_t end, struct end *ret)
{
    if (end < SIZE_LOCATOR + SIZE_END64 || get(file, end - SIZE_LOCATOR, 4) != SIG_LOCATOR)
        return false;
    // Where the locator says; bytes in front of the archive make that wrong, then it stands right before the locator.
    uint64_t said = get(file, end - SIZE_LOCATOR + 8, 8), near = end - SIZE_LOCATOR - SIZE_END64;
    uint64_t off = said <= near && get(file, said, 4) == SIG_END64 ? said : near;
    if (get(file, off, 4) != SIG_END64)
        return false;
    *ret = (struct end){
        .off = off, .n = get(file, off + 32, 8), .size = get(file, off + 40, 8), .start = get(file, off + 48, 8)};
    return true;
}

static int read_end(struct st_sv file, struct end *ret, struct st_err *err)
{
    uint64_t off;
    if (!find_end(file, &off))
        return st_err_set(err, ST_E_FORMAT, "no zip archive: no end record");
    *ret = (struct end){
        .off = off, .n = get(file, off + 10, 2), .size = get(file, off + 12, 4), .start = get(file, off + 16, 4)};
    bool wide = ret->n == ALL16 || ret->size == ALL32 || ret->start == ALL32;
    if (get(file, off + 4, 2) != get(file, off + 6, 2) && !wide)
        return st_err_set_off(err, ST_E_FORMAT, off, "zip archive in several parts");
    if (wide)
        find_end64(file, off, ret); // without one these are the numbers
    return 0;
}

bool st_zip_is(struct st_sv file)
{
    uint64_t off;
    return find_end(file, &off);
}

// ---- central directory -------------------------------------------------------------------------------------

// Sizes and offset out of the zip64 field, in this order and only those that are all ones in the entry.
static void widen(struct st_sv extra, struct st_zip_entry *e)
{
    while (extra.len >= 4) {
        uint64_t id = get(extra, 0, 2), n = get(extra, 2, 2);
        struct st_sv field;
        if (!part(extra, 4, n, &field))
            return;
        if (id == EXTRA_ZIP64) {
            uint64_t *wide[] = {&e->size, &e->csize, &e->header}, at = 0;
            for (size_t i = 0; i < ST_LEN(wide); i++)
                if (*wide[i] == ALL32 && field.len - at >= 8) {
                    *wide[i] = get(field, at, 8);
                    at += 8;
                }
            return;
        }
        extra = st_sv_from(extra, (size_t)(4 + n));
    }
}

// The entry at *pos; false when the bytes there are none. `header` is still relative to the archive.
static bool read_entry(struct st_sv directory, uint64_t *pos, struct st_zip_entry *e)
{
    struct st_sv d = st_sv_from(directory, (size_t)*pos), extra;
    if (d.len < SIZE_ENTRY || get(d, 0, 4) != SIG_ENTRY)
        return false;
    uint64_t flags = get(d, 8, 2), name = get(d, 28, 2), more = get(d, 30, 2), comment = get(d, 32, 2);
    if (name + more + comment > d.len - SIZE_ENTRY)
        return false;
    *e = (struct st_zip_entry){
        .method = (unsigned)get(d, 10, 2),
        .crc = (uint32_t)get(d, 16, 4),
        .csize = get(d, 20, 4),
        .size = get(d, 24, 4),
        .header = get(d, 42, 4),
        .name = st_sv_sub(d, SIZE_ENTRY, (size_t)name),
    };
    part(d, SIZE_ENTRY + name, more, &extra);
    widen(extra, e);
    e->directory = name && e->name.ptr[name - 1] == '/';
    e->problem = flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED)        ? ST_ZIP_ENCRYPTED
                 : e->method != METHOD_STORED && e->method != METHOD_DEFLATE ? ST_ZIP_METHOD
                                                                             : ST_ZIP_OK;
    *pos += SIZE_ENTRY + name + more + comment;
    return true;
}

// Every entry lies in the archive, and none begins inside of the one that stands before it in the directory's order
// (writers put both in one order; entries out of order are held to the sum of what is read, see st_zip_raw).
static int check_directory(struct st_zip *z, uint64_t promised, struct st_err *err)
{
    uint64_t pos = 0, high = 0, high_end = 0;
    struct st_zip_entry e;
    // Old writers wrote the count modulo 65536 instead of a zip64 record, so the directory's size decides.
    for (z->n = 0; pos < z->directory.len; z->n++) {
        uint64_t at = z->directory_off + pos, start, end;
        if (z->n >= promised && get(z->directory, pos, 4) != SIG_ENTRY)
            break; // a signature of the directory
        if (!read_entry(z->directory, &pos, &e))
            return st_err_set_off(err, ST_E_FORMAT, at, "zip directory is damaged");
        if (z->n == ST_ZIP_ENTRIES_MAX)
            return st_err_set_off(err, ST_E_LIMIT, at, "zip archive of more than %u members", ST_ZIP_ENTRIES_MAX);
        if (e.name.len > ST_ZIP_NAME_MAX)
            return st_err_set_off(err, ST_E_LIMIT, at, "zip member name of %zu bytes", e.name.len);
        if (st_ckd_add(&start, e.header, z->prefix) || st_ckd_add(&end, start, e.csize) ||
            st_ckd_add(&end, end, SIZE_LOCAL + e.name.len) || end > z->directory_off)
            return st_err_set_off(err, ST_E_FORMAT, at, "zip member lies outside of the archive");
        if (start >= high && start < high_end)
            return st_err_set_off(err, ST_E_FORMAT, at, "zip members overlap");
        if (start >= high) {
            high = start;
            high_end = end;
        }
    }
    if (z->n < promised)
        return st_err_set_off(err, ST_E_FORMAT, z->directory_off, "zip directory has %llu of %llu members",
                              (unsigned long long)z->n, (unsigned long long)promised);
    return 0;
}

int st_zip_open(struct st_zip *z, struct st_sv file, struct st_err *err)
{
    struct end end = {.off = 0};
    if (read_end(file, &end, err))
        return -1;
    // The directory ends where the end record begins. What it says about its offset tells how far the archive is from
    // the start of the file, unless the offsets were adjusted to the file (zip -A).
    uint64_t start, prefix;
    if (st_ckd_sub(&start, end.off, end.size) || st_ckd_sub(&prefix, start, end.start))
        return st_err_set_off(err, ST_E_FORMAT, end.off, "zip directory is cut off or damaged");
    if (prefix && end.n && get(file, start, 4) != SIG_ENTRY && get(file, end.start, 4) == SIG_ENTRY) {
        start = end.start;
        prefix = 0;
    }
    *z = (struct st_zip){.file = file, .directory_off = start, .prefix = prefix};
    if (!part(file, start, end.size, &z->directory))
        return st_err_set_off(err, ST_E_FORMAT, end.off, "zip directory is cut off or damaged");
    return check_directory(z, end.n, err);
}

bool st_zip_next(const struct st_zip *z, struct st_zip_at *at, struct st_zip_entry *ret)
{
    if (at->i >= z->n || !read_entry(z->directory, &at->off, ret))
        return false;
    ret->header += z->prefix;
    at->i++;
    return true;
}

// ---- members ---------------------------------------------------------------------------------------------

int st_zip_raw(struct st_zip *z, const struct st_zip_entry *e, struct st_sv *ret, struct st_err *err)
{
    struct st_sv h, name;
    uint64_t off = e->header;
    if (!part(z->file, off, SIZE_LOCAL, &h) || get(h, 0, 4) != SIG_LOCAL)
        return st_err_set_off(err, ST_E_FORMAT, off, "no local header of the zip member");
    uint64_t flags = get(h, 6, 2), csize = get(h, 18, 4), size = get(h, 22, 4), n = get(h, 26, 2), x = get(h, 28, 2);
    if (!part(z->file, off + SIZE_LOCAL, n, &name) || !st_sv_eq(name, e->name))
        return st_err_set_off(err, ST_E_FORMAT, off, "zip member has another name in its local header");
    bool sizes = (csize == e->csize || csize == ALL32) && (size == e->size || size == ALL32);
    if (get(h, 8, 2) != e->method || (!(flags & FLAG_DESCRIPTOR) && !sizes))
        return st_err_set_off(err, ST_E_FORMAT, off, "zip member's local header disagrees with the directory");
    uint64_t data = off + SIZE_LOCAL + n + x;
    if (data > z->directory_off || e->csize > z->directory_off - data)
        return st_err_set_off(err, ST_E_FORMAT, off, "zip member is cut off");
    if (st_ckd_add(&z->taken, z->taken, e->csize) || z->taken > z->file.len)
        return st_err_set_off(err, ST_E_FORMAT, off, "zip members overlap");
    part(z->file, data, e->csize, ret);
    return 0;
}

#define CRC_STEP ((size_t)1 << 20) // bytes between two trims of spilled memory

static uint32_t checksum(struct st_sv s, struct st_mem *mem)
{
    uint32_t crc = 0;
    while (s.len) {
        struct st_sv step = st_sv_sub(s, 0, CRC_STEP);
        crc = crc32_gzip_refl(crc, (const unsigned char *)step.ptr, step.len);
        s = st_sv_from(s, step.len);
        if (s.len && st_mem_spilled(mem))
            st_mem_trim(mem);
    }
    return crc;
}

int st_zip_read(struct st_zip *z, const struct st_zip_entry *e, uint64_t max, struct st_buf *buf, struct st_sv *ret,
                struct st_err *err)
{
    struct st_sv raw, data;
    if (e->problem != ST_ZIP_OK)
        return st_err_set_off(err, ST_E_FORMAT, e->header, "zip member is encrypted or packed by an unknown method");
    if (e->size > max)
        return st_err_set_off(err, ST_E_LIMIT, e->header, "zip member of %llu bytes", (unsigned long long)e->size);
    if (e->size > ST_ZIP_RATIO_FREE && e->size / ST_ZIP_RATIO_MAX > e->csize)
        return st_err_set_off(err, ST_E_LIMIT, e->header, "zip member of %llu bytes is packed into %llu",
                              (unsigned long long)e->size, (unsigned long long)e->csize);
    if (st_zip_raw(z, e, &raw, err))
        return -1;
    data = raw;
    if (e->method == METHOD_DEFLATE) {
        st_buf_clear(buf);
        // One byte more, for the decoder to see the end.
        if (st_buf_reserve(buf, (size_t)ST_MIN(e->size + 1, e->csize * 1040 + 64), err) ||
            st_inflate(raw, ST_DEFLATE_RAW, e->size, buf, err))
            return -1;
        data = st_buf_sv(buf);
    }
    if (data.len != e->size)
        return st_err_set_off(err, ST_E_FORMAT, e->header, "zip member has a wrong size");
    if ((e->method == METHOD_DEFLATE || data.len <= ST_ZIP_CHECK_STORED) && checksum(data, buf->mem) != e->crc)
        return st_err_set_off(err, ST_E_FORMAT, e->header, "zip member has a wrong checksum");
    *ret = data;
    return 0;
}
