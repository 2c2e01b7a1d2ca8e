// Pages: a header of 16 bytes (id, flags, count, overflow), then `count` elements of 16 bytes, then keys and values,
// which an element finds by its distance from itself. All numbers are in the byte order of the machine that wrote them.
#include "image/bolt.h"
#include "base/ckd.h"

#define MAGIC 0xED0CDAEDu
#define VERSION 2
#define HEADER 16
#define ELEMENT 16
#define META 64 // bytes of a meta page behind its header, the checksum among them
#define META_SUMMED 56
#define PAGE_SIZE_MIN 1024
#define PAGE_SIZE_MAX 65536

enum { BRANCH = 0x01, LEAF = 0x02 };
enum { ELEMENT_BUCKET = 0x01 };

static uint16_t u16(const char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static int damaged(const char *what, struct st_err *err)
{
    return st_err_set(err, ST_E_CORRUPT, "damaged database: %s", what);
}

// ---- meta pages -----------------------------------------------------------------------------------------------------

struct meta {
    uint32_t page_size;
    uint64_t root, pages, txid;
};

// FNV-1a, 64 bits.
static uint64_t checksum(const char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3ull;
    return h;
}

// magic, version, page size, flags (4 bytes each), root bucket (page, sequence), freelist page, pages, transaction, sum
static bool read_meta(const char *p, struct meta *ret)
{
    if (u32(p) != MAGIC || u32(p + 4) != VERSION || u64(p + META_SUMMED) != checksum(p, META_SUMMED))
        return false;
    *ret = (struct meta){u32(p + 8), u64(p + 16), u64(p + 40), u64(p + 48)};
    return ret->page_size >= PAGE_SIZE_MIN && ret->page_size <= PAGE_SIZE_MAX &&
           (ret->page_size & (ret->page_size - 1)) == 0;
}

static bool meta_at(struct st_bolt *b, uint64_t offset, struct meta *ret)
{
    char buf[HEADER + META];
    return b->read(b->ctx, offset, buf, sizeof buf, NULL) == 0 && read_meta(buf + HEADER, ret);
}

// The newer of the two. The first page may be the damaged one: the second is looked for at every page size then.
static int newest(struct st_bolt *b, struct meta *ret, struct st_err *err)
{
    struct meta first, second;
    bool has_first = meta_at(b, 0, &first), has_second = false;
    for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX && !has_second; size *= 2)
        has_second = (!has_first || size == first.page_size) && meta_at(b, size, &second) && second.page_size == size;
    if (!has_first && !has_second)
        return damaged("it has no valid meta page (not a bbolt file, or of another version)", err);
    *ret = !has_second || (has_first && first.txid > second.txid) ? first : second;
    return 0;
}

int st_bolt_open(struct st_bolt *b, struct st_err *err)
{
    struct meta m;
    if (newest(b, &m, err))
        return -1;
    b->page_size = m.page_size;
    b->root = m.root;
    b->pages = m.pages;
    b->txid = m.txid;
    b->reads_left = ST_BOLT_READS_MAX;
    return 0;
}

int st_bolt_unchanged(struct st_bolt *b, struct st_err *err)
{
    struct meta m;
    return newest(b, &m, err) ? -1 : m.txid == b->txid;
}

// ---- pages ----------------------------------------------------------------------------------------------------------

struct page {
    struct st_sv bytes; // with its header
    unsigned flags, count;
};

static int view_page(struct st_sv bytes, struct page *ret, struct st_err *err)
{
    if (bytes.len < HEADER)
        return damaged("a page without a header", err);
    *ret = (struct page){bytes, u16(bytes.ptr + 8), u16(bytes.ptr + 10)};
    if ((ret->flags != BRANCH && ret->flags != LEAF) || ret->count > (bytes.len - HEADER) / ELEMENT)
        return damaged("a page that is neither branch nor leaf", err);
    return 0;
}

static int load_page(struct st_bolt *b, uint64_t id, struct page *ret, struct st_err *err)
{
    char head[HEADER];
    uint64_t offset;
    if (b->reads_left == 0)
        return st_err_set(err, ST_E_LIMIT, "more than %d pages of the database", ST_BOLT_READS_MAX);
    b->reads_left--;
    if (id < 2 || id >= b->pages || st_ckd_mul(&offset, id, (uint64_t)b->page_size) || offset > INT64_MAX)
        return damaged("a page number that is none", err);
    if (b->read(b->ctx, offset, head, sizeof head, err))
        return -1;
    uint64_t size = ((uint64_t)u32(head + 12) + 1) * b->page_size;
    if (u64(head) != id || size > ST_BOLT_PAGE_MAX)
        return damaged("a page that is not what its number says, or larger than 4 MiB", err);
    char *bytes = st_arena_bytes(b->arena, (size_t)size, err);
    if (!bytes || b->read(b->ctx, offset, bytes, (size_t)size, err))
        return -1;
    return view_page(st_sv_mem(bytes, (size_t)size), ret, err);
}

static int part(const struct page *p, uint64_t from, uint64_t n, struct st_sv *ret, struct st_err *err)
{
    if (from > p->bytes.len || n > p->bytes.len - from)
        return damaged("an element that leads out of its page", err);
    *ret = st_sv_sub(p->bytes, (size_t)from, (size_t)n);
    return 0;
}

// A branch: position, size of the key, page.
static int branch_at(const struct page *p, unsigned i, struct st_sv *ret_key, uint64_t *ret_child, struct st_err *err)
{
    size_t at = HEADER + (size_t)i * ELEMENT;
    const char *e = p->bytes.ptr + at;
    *ret_child = u64(e + 8);
    return part(p, (uint64_t)at + u32(e), u32(e + 4), ret_key, err);
}

struct leaf {
    unsigned flags;
    struct st_sv key, value;
};

// A leaf: flags, position, size of the key, size of the value behind it.
static int leaf_at(const struct page *p, unsigned i, struct leaf *ret, struct st_err *err)
{
    size_t at = HEADER + (size_t)i * ELEMENT;
    const char *e = p->bytes.ptr + at;
    uint64_t key = (uint64_t)at + u32(e + 4);
    ret->flags = u32(e);
    return part(p, key, u32(e + 8), &ret->key, err) || part(p, key + u32(e + 8), u32(e + 12), &ret->value, err) ? -1
                                                                                                                : 0;
}

static int first_page(struct st_bolt *b, struct st_bolt_bucket in, struct page *ret, struct st_err *err)
{
    return in.root ? load_page(b, in.root, ret, err) : view_page(in.inline_page, ret, err);
}

// ---- one key --------------------------------------------------------------------------------------------------------

// The child whose keys begin at or before `key`; the first when all begin behind it.
static int child_for(const struct page *p, struct st_sv key, uint64_t *ret, struct st_err *err)
{
    struct st_sv first;
    uint64_t child;
    if (p->count == 0)
        return damaged("a branch without children", err);
    if (branch_at(p, 0, &first, ret, err))
        return -1;
    for (unsigned i = 1; i < p->count; i++) {
        if (branch_at(p, i, &first, &child, err))
            return -1;
        if (st_sv_cmp(first, key) > 0)
            break;
        *ret = child;
    }
    return 0;
}

static int find(struct st_bolt *b, struct st_bolt_bucket in, struct st_sv key, struct leaf *ret, struct st_err *err)
{
    struct page p;
    if (first_page(b, in, &p, err))
        return -1;
    for (unsigned depth = 0; p.flags == BRANCH; depth++) {
        uint64_t child = 0;
        if (depth == ST_BOLT_DEPTH_MAX)
            return damaged("a tree that is too deep", err);
        if (child_for(&p, key, &child, err) || load_page(b, child, &p, err))
            return -1;
    }
    for (unsigned i = 0; i < p.count; i++) {
        if (leaf_at(&p, i, ret, err))
            return -1;
        if (st_sv_eq(ret->key, key))
            return 1;
    }
    return 0;
}

// A bucket's value: the page of its root and a sequence number; with page 0 its only page follows.
int st_bolt_bucket(struct st_bolt *b, struct st_bolt_bucket in, struct st_sv name, struct st_bolt_bucket *ret,
                   struct st_err *err)
{
    struct leaf l;
    int rc = find(b, in, name, &l, err);
    if (rc <= 0 || !(l.flags & ELEMENT_BUCKET))
        return rc < 0 ? -1 : 0;
    if (l.value.len < 16)
        return damaged("a bucket without a header", err);
    *ret = (struct st_bolt_bucket){u64(l.value.ptr), st_sv_from(l.value, 16)};
    return 1;
}

int st_bolt_value(struct st_bolt *b, struct st_bolt_bucket in, struct st_sv key, struct st_sv *ret, struct st_err *err)
{
    struct leaf l;
    int rc = find(b, in, key, &l, err);
    if (rc <= 0 || (l.flags & ELEMENT_BUCKET))
        return rc < 0 ? -1 : 0;
    *ret = l.value;
    return 1;
}

// ---- all keys -------------------------------------------------------------------------------------------------------

static int add_names(const struct page *p, struct st_sv *names, size_t max, size_t *n, struct st_err *err)
{
    for (unsigned i = 0; i < p->count; i++) {
        struct leaf l;
        if (leaf_at(p, i, &l, err))
            return -1;
        if (!(l.flags & ELEMENT_BUCKET))
            continue;
        if (*n == max)
            return st_err_set(err, ST_E_LIMIT, "more than %zu buckets in the database", max);
        names[(*n)++] = l.key;
    }
    return 0;
}

int st_bolt_buckets(struct st_bolt *b, struct st_bolt_bucket in, struct st_sv *names, size_t max, size_t *ret_n,
                    struct st_err *err)
{
    struct {
        struct page p;
        unsigned next;
    } way[ST_BOLT_DEPTH_MAX];
    unsigned depth = 0;
    size_t n = 0;
    if (first_page(b, in, &way[0].p, err))
        return -1;
    way[0].next = 0;
    for (;;) {
        struct page *p = &way[depth].p;
        struct st_sv key;
        uint64_t child;
        if (p->flags == LEAF && add_names(p, names, max, &n, err))
            return -1;
        if (p->flags == LEAF || way[depth].next == p->count) {
            if (depth-- == 0)
                break;
            continue;
        }
        if (depth + 1 == ST_BOLT_DEPTH_MAX)
            return damaged("a tree that is too deep", err);
        if (branch_at(p, way[depth].next++, &key, &child, err) || load_page(b, child, &way[depth + 1].p, err))
            return -1;
        way[++depth].next = 0;
    }
    *ret_n = n;
    return 0;
}
