// pax extended header records (POSIX.1-2017 pax, "pax Extended Header"; GNU tar manual, "Storing Sparse Files").
#include "archive/tar_int.h"

#include "base/ckd.h"

#include <inttypes.h>

enum kind { TEXT, NUMBER, MAP, MAP_OFFSET, MAP_LENGTH };

static const struct {
    struct st_sv key;
    enum kind kind;
    int at;
    bool global; // has a meaning in a global header
} keys[] = {
    {ST_SV_INIT("path"), TEXT, PAX_PATH, true},
    {ST_SV_INIT("linkpath"), TEXT, PAX_LINK, true},
    {ST_SV_INIT("size"), NUMBER, PAX_SIZE, true},
    {ST_SV_INIT("GNU.sparse.name"), TEXT, PAX_SPARSE_NAME, false},
    {ST_SV_INIT("STELLA.error"), TEXT, PAX_ERROR, false}, // src/image/rootfs.h
    {ST_SV_INIT("STELLA.size"), NUMBER, PAX_FULL_SIZE, false},
    {ST_SV_INIT("GNU.sparse.size"), NUMBER, PAX_SPARSE_SIZE, false},
    {ST_SV_INIT("GNU.sparse.realsize"), NUMBER, PAX_SPARSE_SIZE, false},
    {ST_SV_INIT("GNU.sparse.major"), NUMBER, PAX_SPARSE_MAJOR, false},
    {ST_SV_INIT("GNU.sparse.minor"), NUMBER, PAX_SPARSE_MINOR, false},
    {ST_SV_INIT("GNU.sparse.map"), MAP, 0, false},
    {ST_SV_INIT("GNU.sparse.offset"), MAP_OFFSET, 0, false},
    {ST_SV_INIT("GNU.sparse.numbytes"), MAP_LENGTH, 0, false},
};

void tar_pax_clear(struct tar_pax *pax)
{
    memset(pax->has_text, PAX_ABSENT, sizeof pax->has_text);
    memset(pax->has_number, PAX_ABSENT, sizeof pax->has_number);
}

static int set_text(struct st_tar *t, struct tar_pax *pax, int at, struct st_sv value, struct st_err *err)
{
    size_t nul = st_sv_find(value, '\0');
    if (t->runtime && nul != ST_SV_NPOS) // runtimes refuse the layer; GNU tar ends the name there
        return tar_corrupt(t, "NUL in the text of an extended header record", err);
    value = st_sv_sub(value, 0, nul);
    pax->has_text[at] = value.len ? PAX_SET : PAX_EMPTY;
    st_buf_clear(&pax->text[at]);
    if (value.len > ST_TAR_NAME_MAX)
        return st_err_set_off(err, ST_E_LIMIT, st_stream_pos(t->in), "tar: name longer than %d bytes", ST_TAR_NAME_MAX);
    return st_buf_add(&pax->text[at], value, err);
}

static int add_map(struct st_tar *t, struct st_sv value, struct st_err *err)
{
    struct st_sv offset, length;
    uint64_t o, n;
    tar_sparse_clear(t);         // of two maps the last one counts, as of any two records
    t->has_map = value.len != 0; // an empty value takes a record back, as of any other
    while (st_sv_split(&value, ',', &offset)) {
        if (!st_sv_split(&value, ',', &length) || !st_sv_u64(offset, 10, &o) || !st_sv_u64(length, 10, &n))
            return tar_corrupt(t, "bad GNU.sparse.map", err);
        if (tar_sparse_add(t, o, n, err))
            return -1;
    }
    return 0;
}

static int record(struct st_tar *t, struct tar_pax *pax, struct st_sv key, struct st_sv value, struct st_err *err)
{
    size_t i = 0;
    while (i < ST_LEN(keys) && !st_sv_eq(keys[i].key, key))
        i++;
    if (i == ST_LEN(keys) || (pax == &t->global && !keys[i].global))
        return 0;
    if (keys[i].kind == TEXT)
        return set_text(t, pax, keys[i].at, value, err);
    if (keys[i].kind == MAP)
        return add_map(t, value, err);
    if (keys[i].kind == NUMBER && value.len == 0) {
        pax->has_number[keys[i].at] = PAX_EMPTY;
        return 0;
    }
    uint64_t n;
    if (!st_sv_u64(value, 10, &n) || n > INT64_MAX)
        return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(t->in),
                              "tar: bad number in extended header record " ST_SV_FMT, ST_SV_ARG(key));
    switch (keys[i].kind) {
    case MAP_OFFSET:
        t->seg_offset = n;
        t->has_seg_offset = true;
        return 0;
    case MAP_LENGTH:
        if (!t->has_seg_offset)
            return tar_corrupt(t, "GNU.sparse.numbytes without its offset", err);
        t->has_seg_offset = false;
        t->has_map = true;
        return tar_sparse_add(t, t->seg_offset, n, err);
    default:
        pax->number[keys[i].at] = n;
        pax->has_number[keys[i].at] = PAX_SET;
        return 0;
    }
}

#define LENGTH_DIGITS 7 // ST_TAR_PAX_MAX has so many

int tar_pax_parse(struct st_tar *t, struct tar_pax *pax, struct st_sv body, struct st_err *err)
{
    while (body.len && body.ptr[0] != '\0') { // "%d %s=%s\n", the number counts all of it
        size_t n = 0, digits = 0;
        while (digits < body.len && digits < LENGTH_DIGITS && body.ptr[digits] >= '0' && body.ptr[digits] <= '9')
            n = n * 10 + (size_t)(body.ptr[digits++] - '0');
        struct st_sv key, value;
        if (digits == 0 || digits == body.len || body.ptr[digits] != ' ' || n < digits + 3 || n > body.len ||
            body.ptr[n - 1] != '\n' || !st_sv_cut(st_sv_sub(body, digits + 1, n - digits - 2), '=', &key, &value))
            return tar_corrupt(t, "bad extended header record", err);
        if (record(t, pax, key, value, err))
            return -1;
        body = st_sv_from(body, n);
    }
    return 0;
}
