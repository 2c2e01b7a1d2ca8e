#include "archive/tar_int.h"

#include <stddef.h>

size_t st_path_normalise(struct st_sv s, char *out)
{
    size_t n = 0, i = 0;
    while (i < s.len) {
        size_t start = i;
        while (i < s.len && s.ptr[i] != '/')
            i++;
        size_t len = i - start;
        const char *part = s.ptr + start;
        i++;
        if (len == 0 || (len == 1 && part[0] == '.'))
            continue;
        if (len == 2 && part[0] == '.' && part[1] == '.') {
            while (n > 0 && out[n - 1] != '/')
                n--;
            n -= n > 0; // the slash
            continue;
        }
        if (n > 0)
            out[n++] = '/';
        memmove(out + n, part, len); // out may be s itself
        n += len;
    }
    return n;
}

int st_tar_fail(struct st_tar *t, enum st_err_code code, const char *what, struct st_err *err)
{
    t->broken = true;
    return st_err_set_off(err, code, t->header_at, "tar: %s", what);
}

bool st_tar_number(const char *field, size_t n, uint64_t *ret)
{
    const unsigned char *p = (const unsigned char *)field;
    uint64_t v = 0;
    if (p[0] & 0x80) { // base-256, two's complement, big endian (GNU tar manual, "Basic Tar Format")
        if (p[0] & 0x40)
            return false; // negative
        v = p[0] & 0x3f;
        for (size_t i = 1; i < n; i++) {
            if (v >> 56)
                return false;
            v = v << 8 | p[i];
        }
        *ret = v;
        return v <= INT64_MAX;
    }
    size_t i = 0;
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
        if (v >> 60)
            return false;
        v = v * 8 + (p[i] - '0');
    }
    if (i < n && p[i] != ' ' && p[i] != '\0')
        return false;
    *ret = v;
    return v <= INT64_MAX;
}

struct st_tar *st_tar_new(struct st_mem *mem, struct st_stream *in, struct st_err *err)
{
    struct st_tar *t = st_mem_alloc(mem, sizeof *t, err);
    if (!t)
        return NULL;
    t->mem = mem;
    t->in = in;
    struct st_buf *const bufs[] = {&t->local.path,  &t->local.link,   &t->global.path, &t->global.link,
                                   &t->name,        &t->link,         &t->pax,         &t->map,
                                   &t->local.error, &t->global.error, &t->error};
    for (size_t i = 0; i < ST_LEN(bufs); i++)
        st_buf_init(bufs[i], mem);
    return t;
}

void st_tar_free(struct st_tar *t)
{
    if (!t)
        return;
    struct st_buf *const bufs[] = {&t->local.path,  &t->local.link,   &t->global.path, &t->global.link,
                                   &t->name,        &t->link,         &t->pax,         &t->map,
                                   &t->local.error, &t->global.error, &t->error};
    for (size_t i = 0; i < ST_LEN(bufs); i++)
        st_buf_release(bufs[i]);
    st_mem_free(t->mem, t, sizeof *t);
}

// ---- blocks -----------------------------------------------------------------------------------------------

const unsigned char *st_tar_block(struct st_tar *t, bool *ret_end, struct st_err *err)
{
    *ret_end = false;
    if (t->in->end - t->in->cur >= ST_TAR_BLOCK) {
        const unsigned char *p = t->in->cur;
        t->in->cur += ST_TAR_BLOCK;
        return p;
    }
    int64_t n = st_stream_read(t->in, t->block, ST_TAR_BLOCK, err);
    if (n == ST_TAR_BLOCK)
        return t->block;
    if (n == 0)
        *ret_end = true;
    else if (n > 0)
        st_tar_fail(t, ST_E_CORRUPT, "ends early, inside a header", err);
    return NULL;
}

static bool is_zero(const unsigned char *p)
{
    uint64_t v, all = 0;
    for (size_t i = 0; i < ST_TAR_BLOCK; i += 8) {
        memcpy(&v, p + i, 8);
        all |= v;
    }
    return all == 0;
}

// Old tars summed signed characters; both are accepted (POSIX asks for unsigned).
static bool checksum_ok(const unsigned char *p)
{
    const struct st_tar_header *h = (const struct st_tar_header *)p;
    uint64_t want;
    if (!st_tar_number(h->chksum, sizeof h->chksum, &want))
        return false;
    uint32_t sum = 0, high = 0;
    for (size_t i = 0; i < ST_TAR_BLOCK; i++) {
        sum += p[i];
        high += p[i] >> 7;
    }
    for (size_t i = offsetof(struct st_tar_header, chksum); i < offsetof(struct st_tar_header, typeflag); i++) {
        sum += ' ' - (uint32_t)p[i];
        high -= p[i] >> 7;
    }
    return want == sum || want == sum - 256 * high;
}

// What is left of the entry in hand, and the padding behind it.
static int skip_rest(struct st_tar *t, struct st_err *err)
{
    uint64_t n = t->stored + t->padding;
    if (n == 0)
        return 0;
    int64_t got = st_stream_skip(t->in, n, err);
    if (got < 0)
        return -1;
    if ((uint64_t)got < t->stored)
        return st_tar_fail(t, ST_E_CORRUPT, "ends early, inside a file", err);
    t->stored = t->padding = 0; // missing padding at the very end does no harm
    return 0;
}

static void set_stored(struct st_tar *t, uint64_t size)
{
    t->stored = size;
    t->padding = -size & (ST_TAR_BLOCK - 1);
}

// ---- extended headers ---------------------------------------------------------------------------------------

void st_tar_override_clear(struct st_tar_override *o)
{
    struct st_buf path = o->path, link = o->link, error = o->error;
    *o = (struct st_tar_override){.path = path, .link = link, .error = error};
    st_buf_clear(&o->error);
    st_buf_clear(&o->path);
    st_buf_clear(&o->link);
}

static int read_body(struct st_tar *t, uint64_t size, struct st_err *err)
{
    if (size > ST_TAR_PAX_MAX)
        return st_tar_fail(t, ST_E_LIMIT, "extended header is larger than 1 MiB", err);
    st_buf_clear(&t->pax);
    if (st_buf_reserve(&t->pax, (size_t)size + 1, err))
        return -1;
    int64_t n = st_stream_read(t->in, t->pax.ptr, (size_t)size, err);
    if (n < 0)
        return -1;
    if ((uint64_t)n < size)
        return st_tar_fail(t, ST_E_CORRUPT, "ends early, inside an extended header", err);
    t->pax.len = (size_t)size;
    set_stored(t, size);
    t->stored = 0;
    return 0;
}

// GNU 'L' and 'K': the body is the name, ended by a NUL.
static int gnu_name(struct st_tar *t, struct st_buf *to, bool *has, struct st_err *err)
{
    struct st_sv s = st_buf_sv(&t->pax);
    size_t nul = st_sv_find(s, '\0');
    if (nul != ST_SV_NPOS)
        s.len = nul;
    if (s.len > ST_TAR_NAME_MAX)
        return st_tar_fail(t, ST_E_LIMIT, "name is longer than 64 KiB", err);
    st_buf_clear(to);
    *has = true;
    return st_buf_add(to, s, err);
}

// 1: it was an extended header, read; 0: an entry; -1.
static int extended(struct st_tar *t, const struct st_tar_header *h, uint64_t size, struct st_err *err)
{
    char type = h->typeflag;
    switch (type) {
    case 'x':
    case 'X': // Solaris
    case 'g':
        if (read_body(t, size, err) || st_tar_pax(t, type == 'g' ? &t->global : &t->local, err))
            return -1;
        return 1;
    case 'L':
        return read_body(t, size, err) || gnu_name(t, &t->local.path, &t->local.has_path, err) ? -1 : 1;
    case 'K':
        return read_body(t, size, err) || gnu_name(t, &t->local.link, &t->local.has_link, err) ? -1 : 1;
    case 'V': // volume label
        set_stored(t, size);
        return 1;
    case 'M':
        return st_tar_fail(t, ST_E_CORRUPT, "continues another volume", err);
    default:
        return 0;
    }
}

// ---- entries ------------------------------------------------------------------------------------------------

static size_t text_len(const char *field, size_t n)
{
    const char *nul = memchr(field, 0, n);
    return nul ? (size_t)(nul - field) : n;
}

static int set_path(struct st_tar *t, struct st_buf *to, struct st_sv raw, struct st_err *err)
{
    st_buf_clear(to);
    if (raw.len > ST_TAR_NAME_MAX)
        return st_tar_fail(t, ST_E_LIMIT, "name is longer than 64 KiB", err);
    if (st_buf_reserve(to, raw.len + 1, err))
        return -1;
    to->len = st_path_normalise(raw, to->ptr);
    return 0;
}

// Name from the header: ustar's prefix counts only in POSIX archives (GNU keeps other things there).
static int header_name(struct st_tar *t, const struct st_tar_header *h, bool *ret_slash, struct st_err *err)
{
    char raw[sizeof h->prefix + 1 + sizeof h->name];
    size_t n = 0, len = text_len(h->name, sizeof h->name);
    if (memcmp(h->magic, "ustar", 6) == 0 && h->prefix[0]) {
        n = text_len(h->prefix, sizeof h->prefix);
        memcpy(raw, h->prefix, n);
        raw[n++] = '/';
    }
    memcpy(raw + n, h->name, len);
    n += len;
    *ret_slash = n > 0 && raw[n - 1] == '/';
    return set_path(t, &t->name, st_sv_mem(raw, n), err);
}

static const struct st_tar_override *pick(const struct st_tar *t, size_t has)
{
    const struct st_tar_override *const order[] = {&t->local, &t->global};
    for (size_t i = 0; i < 2; i++)
        if (*((const bool *)(const void *)((const char *)order[i] + has)))
            return order[i];
    return NULL;
}
#define PICK(t, field) pick((t), offsetof(struct st_tar_override, field))

static int entry_names(struct st_tar *t, const struct st_tar_header *h, struct st_tar_entry *e, bool *ret_slash,
                       struct st_err *err)
{
    const struct st_tar_override *o = PICK(t, has_path);
    if (o) {
        struct st_sv s = st_buf_sv(&o->path);
        *ret_slash = s.len && s.ptr[s.len - 1] == '/';
        if (set_path(t, &t->name, s, err))
            return -1;
    } else if (header_name(t, h, ret_slash, err)) {
        return -1;
    }
    e->path = st_buf_sv(&t->name);
    if (h->typeflag != '1' && h->typeflag != '2')
        return 0;
    o = PICK(t, has_link);
    struct st_sv link = o ? st_buf_sv(&o->link) : st_sv_mem(h->linkname, text_len(h->linkname, sizeof h->linkname));
    if (h->typeflag == '1') {
        if (set_path(t, &t->link, link, err))
            return -1;
    } else {
        st_buf_clear(&t->link);
        if (st_buf_add(&t->link, link, err))
            return -1;
    }
    e->link = st_buf_sv(&t->link);
    return 0;
}

static enum st_tar_type type_of(char flag, bool slash)
{
    switch (flag) {
    case '1':
        return ST_TAR_HARDLINK;
    case '2':
        return ST_TAR_SYMLINK;
    case '3':
        return ST_TAR_CHAR;
    case '4':
        return ST_TAR_BLOCK;
    case '5':
    case 'D': // GNU incremental: a directory whose data lists its contents
        return ST_TAR_DIR;
    case '6':
        return ST_TAR_FIFO;
    case '\0': // v7: a name that ends in '/' is a directory
        return slash ? ST_TAR_DIR : ST_TAR_FILE;
    default: // '0', '7' (contiguous), and what POSIX says of unknown ones: a regular file
        return ST_TAR_FILE;
    }
}

// Which bytes the entry has. POSIX gives links and special files none, whatever size says; a hard link may carry its
// file's data (pax), which GNU tar never writes: it is skipped.
static int entry_size(struct st_tar *t, const struct st_tar_header *h, uint64_t size, struct st_tar_entry *e,
                      struct st_err *err)
{
    const struct st_tar_override *o = PICK(t, has_size);
    if (o)
        size = o->size;
    bool pax_link = e->type == ST_TAR_HARDLINK && (t->local.has_size || memcmp(h->magic, "ustar", 6) == 0);
    bool has_data = e->type == ST_TAR_FILE || h->typeflag == 'D' || pax_link;
    set_stored(t, has_data ? size : 0);
    t->size = e->type == ST_TAR_FILE ? size : 0;
    t->pos = 0;
    t->sparse = false;
    if (e->type != ST_TAR_FILE)
        return 0;
    int rc = 0;
    if (h->typeflag == 'S') {
        rc = st_tar_sparse_old(t, (const unsigned char *)h, err);
    } else if (t->local.has_version && t->local.sparse_major == 1) {
        t->size = t->local.has_sparse_size ? t->local.sparse_size : 0;
        rc = st_tar_sparse_text(t, err);
    } else if (t->local.has_map) {
        t->sparse = true;
        t->size = t->local.has_sparse_size ? t->local.sparse_size : t->size;
    }
    if (rc == 0 && t->sparse)
        rc = st_tar_sparse_check(t, err);
    e->size = t->size;
    return rc;
}

static int entry(struct st_tar *t, const unsigned char *block, struct st_tar_entry *e, struct st_err *err)
{
    struct st_tar_header copy; // the stream's buffer may go while names and maps are read
    memcpy(&copy, block, sizeof copy);
    uint64_t size, mode = 0;
    bool slash = false;
    if (!st_tar_number(copy.size, sizeof copy.size, &size))
        return st_tar_fail(t, ST_E_CORRUPT, "header has a bad size", err);
    int rc = extended(t, &copy, size, err);
    if (rc)
        return rc;
    if (!st_tar_number(copy.mode, sizeof copy.mode, &mode))
        mode = 0;
    e->mode = (uint32_t)mode & 07777;
    if (entry_names(t, &copy, e, &slash, err))
        return -1;
    e->type = type_of(copy.typeflag, slash);
    if (entry_size(t, &copy, size, e, err))
        return -1;
    st_buf_clear(&t->error);
    if (t->local.has_error && st_buf_add(&t->error, st_buf_sv(&t->local.error), err))
        return -1;
    e->error = st_buf_sv(&t->error);
    e->full_size = t->local.full_size;
    st_tar_override_clear(&t->local);
    return 0;
}

// Behind two blocks of zeros (one will do, as for GNU tar) another archive may follow. 1: *ret is its first header.
static int next_archive(struct st_tar *t, const unsigned char **ret, struct st_err *err)
{
    for (;;) {
        bool end;
        t->header_at = st_stream_pos(t->in);
        struct st_err ignored;
        const unsigned char *b = st_tar_block(t, &end, &ignored);
        if (!b) {
            if (!end && ignored.code != ST_E_CORRUPT) {
                if (err)
                    *err = ignored;
                return -1;
            }
            if (!end && !t->broken) { // the stream itself is damaged, not just cut behind the end marker
                if (err)
                    *err = ignored;
                return -1;
            }
            return 0;
        }
        if (is_zero(b))
            continue;
        const struct st_tar_header *h = (const struct st_tar_header *)b;
        if (memcmp(h->magic, "ustar", 5) != 0 || !checksum_ok(b))
            return 0;
        *ret = b;
        return 1;
    }
}

int st_tar_next(struct st_tar *t, struct st_tar_entry *e, struct st_err *err)
{
    if (t->done)
        return 0;
    if (t->broken)
        return st_tar_fail(t, ST_E_CORRUPT, "was already found damaged", err);
    if (skip_rest(t, err))
        return -1;
    *e = (struct st_tar_entry){0};
    bool first = true;
    for (;;) {
        bool end;
        t->header_at = st_stream_pos(t->in);
        if (first)
            e->offset = t->header_at;
        const unsigned char *b = st_tar_block(t, &end, err);
        if (!b && !end)
            return -1;
        if (!b && !first)
            return st_tar_fail(t, ST_E_CORRUPT, "ends early, behind an extended header", err);
        if (!b) {
            t->done = true;
            return 0;
        }
        if (is_zero(b)) {
            int rc = next_archive(t, &b, err);
            if (rc <= 0) {
                t->done = rc == 0;
                return rc;
            }
            e->offset = t->header_at;
            st_tar_override_clear(&t->global);
            st_tar_override_clear(&t->local);
        }
        if (!checksum_ok(b))
            return st_tar_fail(t, ST_E_CORRUPT, t->count ? "header has a wrong checksum" : "this is not a tar archive",
                               err);
        int rc = entry(t, b, e, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            break;
        if (skip_rest(t, err))
            return -1;
        first = false;
    }
    if (t->count == ST_TAR_ENTRIES_MAX)
        return st_tar_fail(t, ST_E_LIMIT, "has more than 100,000,000 entries", err);
    e->index = t->count++;
    return 1;
}

// ---- data -----------------------------------------------------------------------------------------------------

int st_tar_stored(struct st_tar *t, uint64_t max, struct st_sv *ret, struct st_err *err)
{
    if (t->stored == 0 || max == 0)
        return 0;
    int r = st_stream_fill(t->in, err);
    if (r < 0)
        return -1;
    if (r == 0)
        return st_tar_fail(t, ST_E_CORRUPT, "ends early, inside a file", err);
    uint64_t n = ST_MIN((uint64_t)(t->in->end - t->in->cur), ST_MIN(t->stored, max));
    *ret = st_sv_mem(t->in->cur, (size_t)n);
    t->in->cur += n;
    t->stored -= n;
    return 1;
}

int st_tar_data(struct st_tar *t, struct st_sv *ret, struct st_err *err)
{
    if (t->broken)
        return st_tar_fail(t, ST_E_CORRUPT, "was already found damaged", err);
    if (t->sparse)
        return st_tar_sparse_data(t, ret, err);
    if (t->size == 0)
        return 0; // what a hard link carries is not handed out
    return st_tar_stored(t, UINT64_MAX, ret, err);
}
