// The tar reader. Headers are parsed where they lie in the stream's buffer. What a header means where the formats leave
// room follows Go's archive/tar, since that is what container runtimes unpack layers with:
//   - links, devices, directories and FIFOs have no data, whatever their size field says (a hard link in a ustar
//   archive
//     may, as POSIX.1-2001 allows it: then no header follows it);
//   - a name that ends in '/' makes a directory only where the type is NUL (v7);
//   - a second local header replaces the first; GNU long names go before pax paths.
#include "archive/tar_int.h"

#include "base/ckd.h"

#include <endian.h>
#include <inttypes.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum format { V7, USTAR, STAR, GNU };

// What a type flag stands for. Flags that are not listed are files with data (POSIX: "shall be treated as regular").
enum kind { K_FILE, K_LINK, K_SYMLINK, K_CHAR, K_BLOCK, K_DIR, K_FIFO, K_SPARSE, K_DUMPDIR, K_META };
static const unsigned char kinds[128] = {
    ['1'] = K_LINK,   ['2'] = K_SYMLINK, ['3'] = K_CHAR, ['4'] = K_BLOCK, ['5'] = K_DIR,  ['6'] = K_FIFO,
    ['S'] = K_SPARSE, ['D'] = K_DUMPDIR, ['x'] = K_META, ['X'] = K_META,  ['g'] = K_META, ['L'] = K_META,
    ['K'] = K_META,   ['V'] = K_META,    ['N'] = K_META, ['M'] = K_META,
};
static const unsigned char types[] = {
    [K_FILE] = ST_TAR_FILE, [K_LINK] = ST_TAR_HARDLINK,  [K_SYMLINK] = ST_TAR_SYMLINK,
    [K_CHAR] = ST_TAR_CHAR, [K_BLOCK] = ST_TAR_BLOCKDEV, [K_DIR] = ST_TAR_DIR,
    [K_FIFO] = ST_TAR_FIFO, [K_SPARSE] = ST_TAR_FILE,    [K_DUMPDIR] = ST_TAR_DIR,
};

int tar_corrupt(const struct st_tar *t, const char *what, struct st_err *err)
{
    return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(t->in), "tar: %s", what);
}

int tar_ends_early(const struct st_tar *t, struct st_err *err)
{
    return tar_corrupt(t, "archive ends early", err);
}

// ---- blocks and fields ----------------------------------------------------------------------------------

static bool base256(const unsigned char *p, size_t n, uint64_t *ret)
{
    if (p[0] & 0x40) // the sign; no field that is read here may be negative
        return false;
    uint64_t v = p[0] & 0x3f;
    for (size_t i = 1; i < n; i++) {
        if (v >> 55)
            return false; // over 2^63
        v = v << 8 | p[i];
    }
    *ret = v;
    return true;
}

// How many of the eight bytes are octal digits from the first on, and the number that these make.
static unsigned octal_digits(const char *p, uint64_t *ret)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    v = le64toh(v) ^ 0x3030303030303030ull; // a digit is 0 to 7 now
    uint64_t other = v & 0xf8f8f8f8f8f8f8f8ull;
    unsigned n = other ? (unsigned)__builtin_ctzll(other) / 8 : 8;
    v = n ? v << (64 - 8 * n) : 0; // zeros in front
    v = (v * (1 + (8ull << 8)) >> 8) & 0x00ff00ff00ff00ffull;
    v = (v * (1 + (64ull << 16)) >> 16) & 0x0000ffff0000ffffull;
    *ret = v * (1 + (4096ull << 32)) >> 32;
    return n;
}

bool tar_number(const char *field, size_t n, uint64_t *ret)
{
    const char *p = field, *end = field + n;
    if (*p & 0x80)
        return base256((const unsigned char *)p, n, ret);
    while (p < end && (*p == ' ' || *p == '\0'))
        p++;
    uint64_t v = 0;
    if (end - p >= 8)
        p += octal_digits(p, &v); // fields of 8 and 12 bytes: all there is, or all but four
    for (; p < end && *p >= '0' && *p <= '7'; p++)
        v = v << 3 | (uint64_t)(*p - '0'); // 12 digits at the most
    *ret = v;
    return p == end || *p == ' ' || *p == '\0';
}

static struct st_sv text(const char *field, size_t n)
{
    return (struct st_sv){field, strnlen(field, n)};
}

// Sum of the block's bytes; with every entry of every layer it is worth the instruction made for it.
static unsigned block_sum(const unsigned char *h)
{
#ifdef __SSE2__
    const __m128i_u *p = (const __m128i_u *)(const void *)h;
    const __m128i zero = _mm_setzero_si128();
    __m128i sum = zero, sum2 = zero;
    for (size_t i = 0; i < TAR_BLOCK / sizeof *p; i += 4, p += 4) {
        sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_loadu_si128(p), zero));
        sum2 = _mm_add_epi32(sum2, _mm_sad_epu8(_mm_loadu_si128(p + 1), zero));
        sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_loadu_si128(p + 2), zero));
        sum2 = _mm_add_epi32(sum2, _mm_sad_epu8(_mm_loadu_si128(p + 3), zero));
    }
    sum = _mm_add_epi32(sum, sum2);
    return (unsigned)_mm_cvtsi128_si32(sum) + (unsigned)_mm_cvtsi128_si32(_mm_srli_si128(sum, 8));
#else
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += h[i];
    return sum;
#endif
}

enum verdict { HEADER, ZERO, BAD };

static enum verdict judge(const unsigned char *b)
{
    const struct tar_header *h = (const struct tar_header *)b;
    unsigned sum = block_sum(b);
    if (sum == 0)
        return ZERO;
    uint64_t want;
    if (!tar_number(h->chksum, sizeof h->chksum, &want))
        return BAD;
    for (size_t i = 0; i < sizeof h->chksum; i++)
        sum += ' ' - (unsigned)(unsigned char)h->chksum[i];
    if (sum == want)
        return HEADER;
    // Some old programs summed signed bytes.
    int sign = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sign += (i < offsetof(struct tar_header, chksum) || i >= offsetof(struct tar_header, type)) && b[i] >= 0x80;
    return (int64_t)sum - 256 * sign == (int64_t)want ? HEADER : BAD;
}

static enum format format_of(const struct tar_header *h)
{
    if (memcmp(h->magic, "ustar", 6) == 0)
        return memcmp(h->pad + 8, "tar", 4) == 0 ? STAR : USTAR;
    return memcmp(h->magic, "ustar ", 6) == 0 && memcmp(h->version, " ", 2) == 0 ? GNU : V7; // "ustar  \0" over both
}

// As tar_block, but a stream that ends inside of the block is at its end, when `lenient`.
static int block(struct st_tar *t, const unsigned char **ret, bool lenient, struct st_err *err)
{
    struct st_stream *in = t->in;
    if (t->have_block) {
        t->have_block = false;
        *ret = t->block;
        return 1;
    }
    if (in->end - in->cur >= TAR_BLOCK) {
        *ret = in->cur;
        in->cur += TAR_BLOCK;
        return 1;
    }
    int64_t n = st_stream_read(in, t->block, TAR_BLOCK, err);
    if (n <= 0)
        return (int)n;
    if (n < TAR_BLOCK)
        return lenient ? 0 : tar_ends_early(t, err);
    *ret = t->block;
    return 1;
}

int tar_block(struct st_tar *t, const unsigned char **ret, struct st_err *err)
{
    return block(t, ret, false, err);
}

// ---- extended headers -----------------------------------------------------------------------------------

static void forget_local(struct st_tar *t)
{
    if (!t->has_local) // of most entries
        return;
    t->has_local = false;
    t->has_long_name = t->has_long_link = false;
    tar_pax_clear(&t->local);
    tar_sparse_clear(t);
}

static int set_data_at(struct st_tar *t, uint64_t pos, uint64_t size, struct st_err *err)
{
    if (size > INT64_MAX || st_ckd_add(&t->raw_end, pos, size) || st_ckd_add(&t->data_end, t->raw_end, -size & 511) ||
        t->data_end > INT64_MAX)
        return tar_corrupt(t, "size of an entry is beyond 2^63", err);
    return 0;
}

static int set_data(struct st_tar *t, uint64_t size, struct st_err *err)
{
    return set_data_at(t, st_stream_pos(t->in), size, err);
}

// Pass over what is left of the entry's data.
static int finish_data(struct st_tar *t, struct st_err *err)
{
    struct st_stream *in = t->in;
    uint64_t pos = st_stream_pos(in);
    if (pos >= t->data_end)
        return 0;
    uint64_t n = t->data_end - pos;
    if (n <= (uint64_t)(in->end - in->cur)) {
        in->cur += n;
        return 0;
    }
    int64_t r = st_stream_skip(in, n, err);
    // Padding alone may be missing, as with writers that were not closed; Go takes that for the end, too.
    return r < 0 ? -1 : pos + (uint64_t)r < t->raw_end ? tar_ends_early(t, err) : 0;
}

// All of an extended header's data.
static int read_body(struct st_tar *t, uint64_t size, struct st_sv *ret, struct st_err *err)
{
    if (size > ST_TAR_PAX_MAX)
        return st_err_set_off(err, ST_E_LIMIT, st_stream_pos(t->in), "tar: extended header of %" PRIu64 " bytes", size);
    struct st_stream *in = t->in;
    if ((uint64_t)(in->end - in->cur) >= size) {
        *ret = st_sv_mem(in->cur, (size_t)size);
        in->cur += size;
        return 0;
    }
    st_buf_clear(&t->body);
    if (st_buf_reserve(&t->body, (size_t)size, err))
        return -1;
    int64_t n = st_stream_read(in, t->body.ptr, (size_t)size, err);
    if (n < 0)
        return -1;
    if ((uint64_t)n < size)
        return tar_ends_early(t, err);
    *ret = st_sv_mem(t->body.ptr, (size_t)size);
    return 0;
}

static int long_name(struct st_tar *t, struct st_sv body, struct st_buf *name, bool *has, struct st_err *err)
{
    body = st_sv_sub(body, 0, st_sv_find(body, '\0'));
    if (body.len > ST_TAR_NAME_MAX)
        return st_err_set_off(err, ST_E_LIMIT, st_stream_pos(t->in), "tar: name longer than %d bytes", ST_TAR_NAME_MAX);
    st_buf_clear(name);
    *has = body.len > 0;
    return st_buf_add(name, body, err);
}

static int extended_body(struct st_tar *t, char type, struct st_sv body, struct st_err *err)
{
    switch (type) {
    case 'L':
        return long_name(t, body, &t->long_name, &t->has_long_name, err);
    case 'K':
        return long_name(t, body, &t->long_link, &t->has_long_link, err);
    case 'g':
        if (!t->runtime)
            return tar_pax_parse(t, &t->global, body, err);
        forget_local(t); // Go hands it out as an entry of its own, and what was said before is gone
        return 0;
    default:
        tar_pax_clear(&t->local);
        tar_sparse_clear(t);
        return tar_pax_parse(t, &t->local, body, err);
    }
}

static int extended(struct st_tar *t, const struct tar_header *h, struct st_err *err)
{
    uint64_t size;
    char type = h->type; // h is gone once more is read
    t->has_local = true;
    if (type == 'M')
        return tar_corrupt(t, "continuation of a file from another volume", err);
    if (!tar_number(h->size, sizeof h->size, &size))
        return tar_corrupt(t, "bad size field", err);
    if (set_data(t, size, err))
        return -1;
    struct st_sv body = ST_SV_NULL;
    if (type != 'V' && type != 'N') // volume label and the name list of GNU tar before 1.11: nothing for us
        if (read_body(t, size, &body, err) || extended_body(t, type, body, err))
            return -1;
    return finish_data(t, err);
}

// ---- entries --------------------------------------------------------------------------------------------

static bool pax_text(const struct st_tar *t, enum tar_pax_text which, struct st_sv *ret)
{
    const struct tar_pax *p = t->local.has_text[which] != PAX_ABSENT ? &t->local : &t->global;
    if (p->has_text[which] != PAX_SET)
        return false;
    *ret = st_buf_sv(&p->text[which]);
    return true;
}

static bool pax_number(const struct st_tar *t, enum tar_pax_number which, uint64_t *ret)
{
    const struct tar_pax *p = t->local.has_number[which] != PAX_ABSENT ? &t->local : &t->global;
    if (p->has_number[which] != PAX_SET)
        return false;
    *ret = p->number[which];
    return true;
}

// The ustar prefix. In GNU headers its place holds times, but Go before 1.8 (so, Docker of that time) put a prefix
// there too: it is one when it is text that cannot be those times (golang.org/issue/12594).
static struct st_sv prefix_of(const struct tar_header *h, enum format format)
{
    struct st_sv prefix = text(h->prefix, format == STAR ? 131 : sizeof h->prefix);
    if (format != GNU || prefix.len == 0)
        return format == V7 ? ST_SV_NULL : prefix;
    const struct tar_gnu_header *g = (const struct tar_gnu_header *)h;
    uint64_t n;
    bool times = ((g->atime[0] & 0x80) || tar_number(g->atime, sizeof g->atime, &n)) &&
                 ((g->ctime[0] & 0x80) || tar_number(g->ctime, sizeof g->ctime, &n));
    for (size_t i = 0; i < prefix.len && !times; i++)
        times = (prefix.ptr[i] & 0x80) != 0;
    return times ? ST_SV_NULL : prefix;
}

static struct st_sv raw_path(struct st_tar *t, const struct tar_header *h, enum format format)
{
    struct st_sv path;
    if (t->has_long_name)
        return st_buf_sv(&t->long_name);
    if (pax_text(t, PAX_PATH, &path))
        return path;
    path = text(h->name, sizeof h->name);
    struct st_sv prefix = prefix_of(h, format);
    if (prefix.len == 0)
        return path;
    memcpy(t->joined, prefix.ptr, prefix.len);
    t->joined[prefix.len] = '/';
    memcpy(t->joined + prefix.len + 1, path.ptr, path.len);
    return st_sv_mem(t->joined, prefix.len + 1 + path.len);
}

static int set_path(struct st_buf *b, struct st_sv raw, bool normalise, struct st_sv *ret, struct st_err *err)
{
    st_buf_clear(b);
    if (st_buf_reserve(b, raw.len + 1, err))
        return -1;
    if (normalise)
        b->len = st_path_normalise(raw, b->ptr);
    else if (st_buf_add(b, raw, err))
        return -1;
    *ret = st_buf_sv(b);
    return 0;
}

static int set_link(struct st_tar *t, const struct tar_header *h, bool normalise, struct st_sv *ret, struct st_err *err)
{
    struct st_sv link;
    if (t->has_long_link)
        link = st_buf_sv(&t->long_link);
    else if (!pax_text(t, PAX_LINK, &link))
        link = text(h->link, sizeof h->link);
    return set_path(&t->link, link, normalise, ret, err);
}

// Data of a hard link: there in pax archives where the size says so, while other writers put the size of the file and
// no data. The block behind the header tells: a header (or the end), or else the data.
static int link_size(struct st_tar *t, enum format format, uint64_t *size, struct st_err *err)
{
    struct st_stream *in = t->in;
    uint64_t pos = st_stream_pos(in);
    const unsigned char *b = in->cur;
    int r = 1;
    if (format != USTAR && format != STAR) {
        *size = 0;
    } else if (*size > 0) {
        bool ahead = in->end - in->cur < TAR_BLOCK;
        if (ahead)
            r = block(t, &b, true, err);
        else
            b = in->cur;
        if (r < 0)
            return -1;
        if (r == 0 && st_stream_pos(in) != pos)
            return tar_ends_early(t, err);
        if (r == 0 || judge(b) != BAD)
            *size = 0;
        t->have_block = ahead && r > 0 && *size == 0;
    }
    // From where the header ended; the block that was read ahead is part of the data or of what follows.
    return set_data_at(t, pos, *size, err);
}

// The sparse formats of pax headers; versions that are not known are ordinary files to Go and to us.
static int pax_sparse(struct st_tar *t, struct st_tar_entry *ret, struct st_err *err)
{
    uint64_t major = 0, minor = 0, size = ret->size;
    bool has_major = pax_number(t, PAX_SPARSE_MAJOR, &major), has_minor = pax_number(t, PAX_SPARSE_MINOR, &minor);
    bool both = has_major && has_minor, none = !has_major && !has_minor; // 0.0 and 0.1 need not say their version
    bool in_data = both && major == 1 && minor == 0;
    bool in_header = t->has_map && (none || (both && major == 0 && minor <= 1));
    if (!in_data && !in_header)
        return 0;
    pax_number(t, PAX_SPARSE_SIZE, &size);
    if ((in_data && tar_sparse_map(t, err)) || tar_sparse_begin(t, size, err))
        return -1;
    ret->size = size;
    struct st_sv name;
    return pax_text(t, PAX_SPARSE_NAME, &name) ? set_path(&t->path, name, true, &ret->path, err) : 0;
}

static int gnu_sparse(struct st_tar *t, const struct tar_header *h, uint64_t stored, struct st_tar_entry *ret,
                      struct st_err *err)
{
    const struct tar_gnu_header *g = (const struct tar_gnu_header *)h;
    tar_sparse_clear(t);
    t->has_local = true;
    if (format_of(h) != GNU)
        return tar_corrupt(t, "sparse file in an archive that is not GNU's", err);
    if (!tar_number(g->realsize, sizeof g->realsize, &ret->size) || ret->size > INT64_MAX)
        return tar_corrupt(t, "bad size field", err);
    if (tar_sparse_gnu(t, g, err) || set_data(t, stored, err))
        return -1;
    return tar_sparse_begin(t, ret->size, err);
}

static int entry_data(struct st_tar *t, const struct tar_header *h, enum kind kind, uint64_t size,
                      struct st_tar_entry *ret, struct st_err *err)
{
    switch (kind) {
    case K_FILE:
        ret->size = size;
        if (set_data(t, size, err))
            return -1;
        return t->has_map || t->local.has_number[PAX_SPARSE_MAJOR] ? pax_sparse(t, ret, err) : 0;
    case K_SPARSE:
        return gnu_sparse(t, h, size, ret, err);
    case K_LINK:
        return link_size(t, format_of(h), &size, err);
    case K_DUMPDIR: // data is a list of names, to be passed over
        return set_data(t, size, err);
    default:
        return set_data(t, 0, err);
    }
}

static int make_entry(struct st_tar *t, const struct tar_header *h, enum kind kind, struct st_tar_entry *ret,
                      struct st_err *err)
{
    enum format format = format_of(h);
    uint64_t size, mode;
    if (!tar_number(h->size, sizeof h->size, &size))
        return tar_corrupt(t, "bad size field", err);
    if (!tar_number(h->mode, sizeof h->mode, &mode))
        return tar_corrupt(t, "bad mode field", err);
    pax_number(t, PAX_SIZE, &size);
    struct st_sv raw = raw_path(t, h, format);
    if (h->type == '\0' && raw.len && raw.ptr[raw.len - 1] == '/')
        kind = K_DIR;
    ret->type = types[kind];
    t->no_data = ret->type != ST_TAR_FILE;
    ret->mode = (uint32_t)mode & 07777;
    ret->size = 0;
    ret->link = ret->error = ST_SV_NULL;
    pax_text(t, PAX_ERROR, &ret->error);
    ret->full_size = 0;
    pax_number(t, PAX_FULL_SIZE, &ret->full_size);
    if (set_path(&t->path, raw, true, &ret->path, err))
        return -1;
    if ((kind == K_LINK || kind == K_SYMLINK) && set_link(t, h, kind == K_LINK, &ret->link, err))
        return -1;
    if (t->index >= ST_TAR_ENTRIES_MAX)
        return st_err_set_off(err, ST_E_LIMIT, st_stream_pos(t->in), "tar: more than %llu entries", ST_TAR_ENTRIES_MAX);
    ret->index = t->index++;
    return entry_data(t, h, kind, size, ret, err);
}

// Behind an end marker: 1 with the first header of a further archive, 0: none. Other bytes are passed by, as tar does.
static int next_archive(struct st_tar *t, const unsigned char **ret, struct st_err *err)
{
    forget_local(t);
    tar_pax_clear(&t->global);
    while (!t->runtime) {
        int r = block(t, ret, true, err);
        if (r <= 0)
            return r;
        enum verdict v = judge(*ret);
        if (v != ZERO)
            return v == HEADER && format_of((const struct tar_header *)*ret) != V7;
    }
    return 0;
}

int st_tar_next(struct st_tar *t, struct st_tar_entry *ret, struct st_err *err)
{
    if (t->done)
        return 0;
    if (finish_data(t, err))
        return -1;
    forget_local(t);
    bool alone = true; // no extended header before the entry
    for (;;) {
        const unsigned char *b = t->block;
        int r = tar_block(t, &b, err);
        if (r == 0 && !alone)
            return tar_ends_early(t, err);
        if (r > 0) {
            enum verdict v = judge(b);
            if (v == ZERO) {
                alone = true;
                r = next_archive(t, &b, err);
            } else if (v == BAD) {
                return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(t->in) - TAR_BLOCK,
                                      "tar: no header here (wrong checksum)");
            }
        }
        if (r <= 0) {
            t->done = r == 0;
            return r;
        }
        if (alone)
            ret->offset = st_stream_pos(t->in) - TAR_BLOCK;
        const struct tar_header *h = (const struct tar_header *)b;
        enum kind kind = (unsigned char)h->type < sizeof kinds ? kinds[(unsigned char)h->type] : K_FILE;
        if (kind != K_META)
            return make_entry(t, h, kind, ret, err) ? -1 : 1;
        if (extended(t, h, err))
            return -1;
        alone = false;
    }
}

int tar_raw_data(struct st_tar *t, uint64_t max, struct st_sv *ret, struct st_err *err)
{
    uint64_t pos = st_stream_pos(t->in);
    if (pos >= t->raw_end)
        return 0;
    int r = st_stream_fill(t->in, err);
    if (r <= 0)
        return r < 0 ? -1 : tar_ends_early(t, err);
    uint64_t n = ST_MIN(ST_MIN(t->raw_end - pos, max), (uint64_t)(t->in->end - t->in->cur));
    *ret = st_sv_mem(t->in->cur, (size_t)n);
    t->in->cur += n;
    return 1;
}

int st_tar_data(struct st_tar *t, struct st_sv *ret, struct st_err *err)
{
    if (t->no_data)
        return 0;
    return t->sparse ? tar_sparse_data(t, ret, err) : tar_raw_data(t, UINT64_MAX, ret, err);
}

void st_tar_free(struct st_tar *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < PAX_TEXTS; i++) {
        st_buf_release(&t->local.text[i]);
        st_buf_release(&t->global.text[i]);
    }
    struct st_buf *bufs[] = {&t->long_name, &t->long_link, &t->body, &t->path, &t->link, &t->segs};
    for (size_t i = 0; i < ST_LEN(bufs); i++)
        st_buf_release(bufs[i]);
    st_mem_free(t->mem, t, sizeof *t);
}

struct st_tar *st_tar_new(struct st_mem *mem, struct st_stream *in, struct st_err *err)
{
    struct st_tar *t = st_mem_alloc(mem, sizeof *t, err);
    if (!t)
        return NULL;
    t->mem = mem;
    t->in = in;
    for (unsigned i = 0; i < PAX_TEXTS; i++) {
        st_buf_init(&t->local.text[i], mem);
        st_buf_init(&t->global.text[i], mem);
    }
    struct st_buf *bufs[] = {&t->long_name, &t->long_link, &t->body, &t->path, &t->link, &t->segs};
    for (size_t i = 0; i < ST_LEN(bufs); i++)
        st_buf_init(bufs[i], mem);
    return t;
}

void st_tar_as_runtime(struct st_tar *t)
{
    t->runtime = true;
}

void st_tar_from(struct st_tar *t, uint64_t index)
{
    t->index = index;
}

// ---- an entry's data as a stream --------------------------------------------------------------------------

struct member {
    struct st_stream s;
    struct st_mem *mem;
    struct st_tar *t; // borrowed
};

static int member_fill(struct st_stream *s, struct st_err *err)
{
    struct st_sv run;
    int r = st_tar_data(((struct member *)s)->t, &run, err);
    if (r <= 0)
        return r;
    s->cur = (const unsigned char *)run.ptr;
    s->end = s->cur + run.len;
    s->end_pos += run.len;
    return 1;
}

static int64_t member_seek_over(struct st_stream *s, uint64_t n, struct st_err *err)
{
    struct st_tar *t = ((struct member *)s)->t;
    uint64_t pos = st_stream_pos(t->in);
    if (t->sparse || t->no_data || pos >= t->raw_end)
        return 0;
    int64_t r = st_stream_skip(t->in, ST_MIN(n, t->raw_end - pos), err);
    if (r > 0)
        s->end_pos += (uint64_t)r;
    return r;
}

static void member_free(struct st_stream *s)
{
    struct member *m = (struct member *)s;
    st_mem_free(m->mem, m, sizeof *m);
}

static const struct st_stream_ops member_ops = {member_fill, member_seek_over, member_free};

struct st_stream *st_tar_stream(struct st_mem *mem, struct st_tar *t, struct st_err *err)
{
    struct member *m = st_mem_alloc(mem, sizeof *m, err);
    if (!m)
        return NULL;
    m->s.ops = &member_ops;
    m->mem = mem;
    m->t = t;
    return &m->s;
}
