// Index and store of one rpm header. The checks are rpm's own (lib/header.c: counts, types, ranges), except those that
// only matter to code which writes headers back (alignment, overlap, regions).
#include "catalog/rpm_header.h"

#include "base/ckd.h"
#include "catalog/rpm_db.h"

#define INTRO 8     // number of entries, bytes of store
#define ENTRY 16    // tag, type, offset, count
#define TYPES_MAX 9 // RPM_I18NSTRING_TYPE
#define S_IFMT_ 0170000u
#define S_IFDIR_ 0040000u
#define STATE_NORMAL 0 // RPMFILE_STATE_NORMAL; else replaced, not installed, of another colour

enum { TYPE_STRING = 6, TYPE_STRING_ARRAY = 8, TYPE_I18N = 9 };

// Bytes of an element; 0: strings, which end where they end. NULL, char, int8..int64, string, bin, arrays.
static const uint8_t type_size[TYPES_MAX + 1] = {0, 1, 1, 2, 4, 8, 0, 1, 0, 0};

static bool is_string(uint32_t type)
{
    return type == TYPE_STRING || type == TYPE_STRING_ARRAY || type == TYPE_I18N;
}

static int tag_id(uint32_t number)
{
    static const uint16_t numbers[] = {
#define NUMBER(id, number) number,
        ST_RPM_TAGS(NUMBER)
#undef NUMBER
    };
    for (size_t i = 0; i < ST_LEN(numbers); i++)
        if (numbers[i] == number)
            return (int)i;
    return -1;
}

static int read_entry(const char *entry, struct st_sv store, struct st_rpm_header *ret)
{
    uint32_t number = st_rpm_be32(entry), off = st_rpm_be32(entry + 8);
    struct st_rpm_value v = {.type = st_rpm_be32(entry + 4), .count = st_rpm_be32(entry + 12)};
    if (v.type > TYPES_MAX || off > store.len || v.count == 0 || v.count > store.len)
        return -1;
    v.data = st_sv_from(store, off);
    size_t size = type_size[v.type];
    if (size && v.count > v.data.len / size)
        return -1;
    if (size)
        v.data.len = v.count * size;
    int id = tag_id(number);
    if (id < 0)
        return 0;
    if (v.type == TYPE_STRING && v.count != 1)
        return -1;
    if (is_string(v.type) && !memchr(v.data.ptr, 0, v.data.len))
        return -1;
    if (v.type != 7 && v.count > ST_RPM_ARRAY_LIMIT)
        return -1;
    ret->at[id] = v; // an entry after the region replaces the one in it, so the last one counts
    return 0;
}

int st_rpm_header_open(struct st_sv blob, struct st_rpm_header *ret, struct st_err *err)
{
    *ret = (struct st_rpm_header){0};
    if (blob.len < INTRO)
        return st_err_set(err, ST_E_FORMAT, "rpm header of %zu bytes", blob.len);
    uint32_t entries = st_rpm_be32(blob.ptr), store = st_rpm_be32(blob.ptr + 4);
    if (entries > ST_RPM_TAGS_LIMIT || store > ST_RPM_HEADER_MAX)
        return st_err_set(err, ST_E_LIMIT, "rpm header with %u entries and %u bytes of data", entries, store);
    uint64_t need = INTRO + (uint64_t)ENTRY * entries + store;
    if (entries == 0 || need != blob.len)
        return st_err_set(err, ST_E_FORMAT, "rpm header of %zu bytes says that it has %llu", blob.len,
                          (unsigned long long)need);
    size_t index = INTRO + (size_t)ENTRY * entries;
    struct st_sv data = st_sv_from(blob, index);
    for (size_t at = INTRO; at < index; at += ENTRY)
        if (read_entry(blob.ptr + at, data, ret))
            return st_err_set_off(err, ST_E_FORMAT, at, "rpm header: tag %u is out of bounds",
                                  st_rpm_be32(blob.ptr + at));
    return 0;
}

struct st_rpm_strings st_rpm_strings(const struct st_rpm_header *h, enum st_rpm_tag tag)
{
    const struct st_rpm_value *v = &h->at[tag];
    if (!is_string(v->type))
        return (struct st_rpm_strings){ST_SV_NULL, 0};
    return (struct st_rpm_strings){v->data, v->count};
}

bool st_rpm_strings_next(struct st_rpm_strings *s, struct st_sv *ret)
{
    const char *end = s->left && s->rest.len ? memchr(s->rest.ptr, 0, s->rest.len) : NULL;
    if (!end)
        return false;
    size_t n = (size_t)(end - s->rest.ptr);
    *ret = st_sv_sub(s->rest, 0, n);
    s->rest = st_sv_from(s->rest, n + 1);
    s->left--;
    return true;
}

struct st_sv st_rpm_string(const struct st_rpm_header *h, enum st_rpm_tag tag)
{
    struct st_rpm_strings s = st_rpm_strings(h, tag);
    struct st_sv ret;
    return st_rpm_strings_next(&s, &ret) ? ret : ST_SV_NULL;
}

bool st_rpm_number(const struct st_rpm_header *h, enum st_rpm_tag tag, uint32_t i, uint64_t *ret)
{
    const struct st_rpm_value *v = &h->at[tag];
    size_t size = v->type <= TYPES_MAX ? type_size[v->type] : 0;
    if (size == 0 || i >= v->count)
        return false;
    uint64_t n = 0;
    for (size_t k = 0; k < size; k++)
        n = n << 8 | (unsigned char)v->data.ptr[i * size + k];
    *ret = n;
    return true;
}

// ---- files ------------------------------------------------------------------------------------------

size_t st_rpm_path_append(char *buf, size_t len, size_t room, struct st_sv path)
{
    struct st_sv part;
    while (st_sv_split(&path, '/', &part)) {
        if (part.len == 0 || st_sv_eq(part, ST_SV(".")))
            continue;
        size_t slash = len > 0;
        if (st_sv_eq(part, ST_SV("..")) || part.len + slash > room - len)
            return SIZE_MAX;
        if (slash)
            buf[len++] = '/';
        memcpy(buf + len, part.ptr, part.len);
        len += part.len;
    }
    return len;
}

int st_rpm_files_init(struct st_rpm_files *f, const struct st_rpm_header *h, uint64_t *budget, struct st_arena *arena,
                      struct st_err *err)
{
    *f = (struct st_rpm_files){
        .h = h, .dir = UINT32_MAX, .names = st_rpm_strings(h, ST_RPM_BASENAMES), .budget = budget};
    if (f->names.left) {
        struct st_rpm_strings dirs = st_rpm_strings(h, ST_RPM_DIRNAMES);
        const char *start = dirs.rest.ptr;
        uint32_t *at = st_arena_array(arena, dirs.left + (size_t)1, sizeof *at, err);
        if (!at)
            return -1;
        struct st_sv name;
        while (st_rpm_strings_next(&dirs, &name))
            at[f->dirs_n++] = (uint32_t)(name.ptr - start);
        f->dirs = at;
    } else {
        f->names = st_rpm_strings(h, ST_RPM_OLDFILENAMES);
    }
    f->modes = h->at[ST_RPM_FILEMODES].count == f->names.left;
    f->states = h->at[ST_RPM_FILESTATES].count == f->names.left;
    f->buf = f->names.left ? st_arena_bytes(arena, ST_RPM_PATH_MAX, err) : NULL;
    return f->names.left && !f->buf ? -1 : 0;
}

// File i is there: not a directory, and its state says that it was installed.
static bool is_installed(const struct st_rpm_files *f, uint32_t i)
{
    uint64_t n;
    if (f->modes && st_rpm_number(f->h, ST_RPM_FILEMODES, i, &n) && (n & S_IFMT_) == S_IFDIR_)
        return false;
    return !(f->states && st_rpm_number(f->h, ST_RPM_FILESTATES, i, &n) && n != STATE_NORMAL);
}

// The normalised path of the directory of file i into buf; files of one directory stand together.
static bool enter_dir(struct st_rpm_files *f, uint32_t i)
{
    uint64_t dir;
    if (!st_rpm_number(f->h, ST_RPM_DIRINDEXES, i, &dir) || dir >= f->dirs_n)
        return false;
    if (dir != f->dir) {
        struct st_sv name = st_sv_sub(f->h->at[ST_RPM_DIRNAMES].data, f->dirs[dir], ST_RPM_PATH_MAX + 1);
        size_t end = st_sv_find(name, 0);
        size_t len =
            end == ST_SV_NPOS ? SIZE_MAX : st_rpm_path_append(f->buf, 0, ST_RPM_PATH_MAX, st_sv_sub(name, 0, end));
        f->dir = (uint32_t)dir;
        f->dir_bad = len == SIZE_MAX;
        f->dir_len = f->dir_bad ? 0 : len;
    }
    return !f->dir_bad;
}

int st_rpm_files_next(struct st_rpm_files *f, struct st_sv *ret, struct st_err *err)
{
    struct st_sv name;
    while (st_rpm_strings_next(&f->names, &name)) {
        uint32_t i = f->next++;
        if (!is_installed(f, i) || (f->dirs && !enter_dir(f, i)))
            continue;
        size_t from = f->dirs ? f->dir_len : 0;
        uint64_t cost = from + name.len;
        if (cost > *f->budget)
            return st_err_set(err, ST_E_LIMIT, "paths of owned files are too long in sum");
        *f->budget -= cost;
        size_t len = st_rpm_path_append(f->buf, from, ST_RPM_PATH_MAX, name);
        if (len == SIZE_MAX || len == from) // an empty name is the directory itself
            continue;
        *ret = (struct st_sv){f->buf, len};
        return 1;
    }
    return 0;
}
