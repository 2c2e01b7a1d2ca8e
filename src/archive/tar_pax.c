// pax extended headers: records "LENGTH KEY=VALUE\n" (POSIX.1-2017, pax, "pax Extended Header").
#include "archive/tar_int.h"

static int text(struct st_tar *t, struct st_buf *to, bool *has, struct st_sv v, struct st_err *err)
{
    if (v.len > ST_TAR_NAME_MAX)
        return st_tar_fail(t, ST_E_LIMIT, "name is longer than 64 KiB", err);
    size_t nul = st_sv_find(v, '\0'); // no tar program looks behind it
    v.len = nul == ST_SV_NPOS ? v.len : nul;
    st_buf_clear(to);
    *has = v.len > 0; // an empty value takes the record back
    return st_buf_add(to, v, err);
}

static int number(struct st_tar *t, struct st_sv v, uint64_t *ret, struct st_err *err)
{
    return st_sv_u64(v, 10, ret) && *ret <= INT64_MAX
               ? 0
               : st_tar_fail(t, ST_E_CORRUPT, "pax record has a bad number", err);
}

// GNU.sparse.map (0.1): "offset,length,offset,length..."
static int sparse_map(struct st_tar *t, struct st_sv v, struct st_err *err)
{
    struct st_sv a, b;
    st_buf_clear(&t->map);
    while (st_sv_split(&v, ',', &a)) {
        uint64_t off, len;
        if (!st_sv_split(&v, ',', &b))
            return st_tar_fail(t, ST_E_CORRUPT, "sparse map is cut short", err);
        if (number(t, a, &off, err) || number(t, b, &len, err) || st_tar_sparse_add(t, off, len, err))
            return -1;
    }
    return 0;
}

enum key {
    PATH,
    LINK,
    SIZE,
    SPARSE_SIZE,
    SPARSE_NAME,
    SPARSE_MAP,
    SPARSE_OFFSET,
    SPARSE_BYTES,
    SPARSE_MAJOR,
    SPARSE_MINOR,
    ERROR,
    FULL_SIZE,
    OTHER
};

static enum key key_of(struct st_sv k)
{
    static const struct {
        struct st_sv name;
        enum key key;
    } keys[] = {
        {ST_SV_INIT("path"), PATH},
        {ST_SV_INIT("linkpath"), LINK},
        {ST_SV_INIT("size"), SIZE},
        {ST_SV_INIT("GNU.sparse.size"), SPARSE_SIZE},
        {ST_SV_INIT("GNU.sparse.realsize"), SPARSE_SIZE},
        {ST_SV_INIT("GNU.sparse.name"), SPARSE_NAME},
        {ST_SV_INIT("GNU.sparse.map"), SPARSE_MAP},
        {ST_SV_INIT("GNU.sparse.offset"), SPARSE_OFFSET},
        {ST_SV_INIT("GNU.sparse.numbytes"), SPARSE_BYTES},
        {ST_SV_INIT("GNU.sparse.major"), SPARSE_MAJOR},
        {ST_SV_INIT("GNU.sparse.minor"), SPARSE_MINOR},
        {ST_SV_INIT("STELLA.error"), ERROR},
        {ST_SV_INIT("STELLA.size"), FULL_SIZE},
    };
    for (size_t i = 0; i < ST_LEN(keys); i++)
        if (st_sv_eq(k, keys[i].name))
            return keys[i].key;
    return OTHER;
}

struct reading {
    struct st_tar *t;
    struct st_tar_override *o;
    uint64_t offset; // GNU.sparse.offset that waits for its numbytes
};

static int record(struct reading *r, struct st_sv k, struct st_sv v, struct st_err *err)
{
    struct st_tar *t = r->t;
    struct st_tar_override *o = r->o;
    uint64_t n;
    switch (key_of(k)) {
    case PATH: // hdrcharset says how to read it; we take bytes as bytes
        return o->has_sparse_name ? 0 : text(t, &o->path, &o->has_path, v, err);
    case LINK:
        return text(t, &o->link, &o->has_link, v, err);
    case SIZE:
        o->has_size = v.len > 0;
        return v.len ? number(t, v, &o->size, err) : 0;
    case SPARSE_SIZE:
        o->has_sparse_size = true;
        return number(t, v, &o->sparse_size, err);
    case SPARSE_NAME:
        o->has_sparse_name = true;
        return text(t, &o->path, &o->has_path, v, err);
    case SPARSE_MAP:
        o->has_map = true;
        return sparse_map(t, v, err);
    case SPARSE_OFFSET: // 0.0: pairs of records
        if (!o->has_map)
            st_buf_clear(&t->map);
        o->has_map = true;
        return number(t, v, &r->offset, err);
    case SPARSE_BYTES:
        return number(t, v, &n, err) || st_tar_sparse_add(t, r->offset, n, err) ? -1 : 0;
    case SPARSE_MAJOR:
        o->has_version = true;
        if (number(t, v, &n, err))
            return -1;
        o->sparse_major = (unsigned)ST_MIN(n, (uint64_t)99);
        return 0;
    case ERROR:
        return text(t, &o->error, &o->has_error, v, err);
    case FULL_SIZE:
        return number(t, v, &o->full_size, err);
    case SPARSE_MINOR:
    case OTHER:
        return 0;
    }
    return 0;
}

int st_tar_pax(struct st_tar *t, struct st_tar_override *o, struct st_err *err)
{
    struct st_sv rest = st_buf_sv(&t->pax);
    struct reading r = {t, o, 0};
    while (rest.len) {
        struct st_sv digits, tail, k, v;
        uint64_t len;
        if (rest.ptr[0] == '\0')
            return 0; // padding that some writers count in
        if (!st_sv_cut(rest, ' ', &digits, &tail) || !st_sv_u64(digits, 10, &len) || len > rest.len ||
            len < digits.len + 3 || rest.ptr[len - 1] != '\n')
            return st_tar_fail(t, ST_E_CORRUPT, "pax record has a bad length", err);
        struct st_sv body = st_sv_sub(tail, 0, (size_t)len - digits.len - 2);
        if (!st_sv_cut(body, '=', &k, &v))
            return st_tar_fail(t, ST_E_CORRUPT, "pax record without '='", err);
        if (record(&r, k, v, err))
            return -1;
        rest = st_sv_from(rest, (size_t)len);
    }
    return 0;
}
