// The JSON of a table into two arrays; see toc.h for where its rules come from.
#include "archive/toc.h"

#include "base/ckd.h"
#include "base/json.h"

// ---- annotations and footer -----------------------------------------------------------------------------------------

// The 64 digits of "sha256:...".
static bool digest_hex(struct st_sv s, struct st_sv *ret)
{
    *ret = st_sv_from(s, 7);
    return s.len == 7 + ST_DIGEST_HEX && st_sv_starts(s, ST_SV("sha256:")) && st_sv_is_hex(*ret);
}

struct st_toc_place st_toc_annotations(struct st_sv estargz, struct st_sv checksum, struct st_sv position)
{
    struct st_toc_place none = {.kind = ST_TOC_NONE}, ret = none;
    struct st_sv hex, number;
    if (digest_hex(estargz, &hex)) {
        ret.kind = ST_TOC_ESTARGZ;
        memcpy(ret.digest, hex.ptr, ST_DIGEST_HEX);
        return ret;
    }
    if (!digest_hex(checksum, &hex))
        return none;
    ret.kind = ST_TOC_ZSTD_CHUNKED;
    memcpy(ret.digest, hex.ptr, ST_DIGEST_HEX);
    uint64_t form = 0, *const numbers[] = {&ret.offset, &ret.length, &ret.unpacked, &form};
    for (size_t i = 0; i < ST_LEN(numbers); i++)
        if (!st_sv_split(&position, ':', &number) || !st_sv_u64(number, 10, numbers[i]) || *numbers[i] > INT64_MAX / 2)
            return none;
    return position.len || form != 1 || !ret.length || !ret.unpacked ? none : ret; // 1: ManifestTypeCRFS
}

void st_toc_put_place(struct st_wire_out *w, const struct st_toc_place *p)
{
    st_wire_put_u64(w, p->kind);
    if (p->kind == ST_TOC_NONE)
        return;
    st_wire_put_sv(w, st_sv_of(p->digest));
    st_wire_put_u64(w, p->offset);
    st_wire_put_u64(w, p->length);
    st_wire_put_u64(w, p->unpacked);
}

struct st_toc_place st_toc_get_place(struct st_wire_in *r)
{
    struct st_toc_place p = {.kind = (enum st_toc_kind)st_wire_max(r, ST_TOC_KIND_MAX - 1)};
    if (p.kind == ST_TOC_NONE)
        return p;
    struct st_sv hex = st_wire_sv(r);
    if (hex.len != ST_DIGEST_HEX || !st_sv_is_hex(hex))
        r->failed = true;
    else
        memcpy(p.digest, hex.ptr, ST_DIGEST_HEX);
    p.offset = st_wire_max(r, INT64_MAX / 2);
    p.length = st_wire_max(r, INT64_MAX / 2);
    p.unpacked = st_wire_max(r, INT64_MAX / 2);
    return p;
}

// An empty gzip member, stored, whose extra field is "SG", 22, sixteen hex digits, "STARGZ".
bool st_toc_footer(struct st_sv b, uint64_t *ret_offset)
{
    static const char head[] = "\x1f\x8b\x08\x04", extra[] = "\x1a\0SG\x16";
    return b.len == ST_TOC_FOOTER && memcmp(b.ptr, head, 4) == 0 && memcmp(b.ptr + 10, extra, 6) == 0 &&
           memcmp(b.ptr + 32, "STARGZ", 6) == 0 && st_sv_is_hex(st_sv_sub(b, 16, 16)) &&
           st_sv_u64(st_sv_sub(b, 16, 16), 16, ret_offset) && *ret_offset <= INT64_MAX;
}

// ---- one entry of the table -----------------------------------------------------------------------------------------

struct entry {
    struct st_sv type, name, link, digest, chunk_digest, chunk_type;
    uint64_t size, mode, offset, end_offset, inner, chunk_offset, chunk_size;
};

static const struct field {
    struct st_sv key;
    size_t offset;
    bool number;
} fields[] = {
    {ST_SV_INIT("type"), offsetof(struct entry, type), false},
    {ST_SV_INIT("name"), offsetof(struct entry, name), false},
    {ST_SV_INIT("linkName"), offsetof(struct entry, link), false},
    {ST_SV_INIT("digest"), offsetof(struct entry, digest), false},
    {ST_SV_INIT("chunkDigest"), offsetof(struct entry, chunk_digest), false},
    {ST_SV_INIT("chunkType"), offsetof(struct entry, chunk_type), false},
    {ST_SV_INIT("size"), offsetof(struct entry, size), true},
    {ST_SV_INIT("mode"), offsetof(struct entry, mode), true},
    {ST_SV_INIT("offset"), offsetof(struct entry, offset), true},
    {ST_SV_INIT("endOffset"), offsetof(struct entry, end_offset), true},
    {ST_SV_INIT("innerOffset"), offsetof(struct entry, inner), true},
    {ST_SV_INIT("chunkOffset"), offsetof(struct entry, chunk_offset), true},
    {ST_SV_INIT("chunkSize"), offsetof(struct entry, chunk_size), true},
};

struct reader {
    struct st_toc *toc;
    struct st_json json;
    struct st_arena scratch; // texts of one entry
    size_t at;               // of the entry in hand, for messages
    uint64_t data_end;
    uint64_t covered, file_end; // of the last file: bytes that its chunks cover; zstd:chunked: where its bytes end
    bool have_version, have_entries;
};

static int odd(const struct reader *r, const char *what, struct st_err *err)
{
    return st_err_set_off(err, ST_E_FORMAT, r->at, "table of contents: %s", what);
}

static int read_value(struct reader *r, const struct field *f, const struct st_json_tok *tok, struct entry *e,
                      struct st_err *err)
{
    void *into = (char *)e + f->offset;
    if (!f->number)
        return tok->type == ST_JSON_STRING ? st_json_text(tok, &r->scratch, into, err)
                                           : odd(r, "a text is of another type", err);
    if (tok->type != ST_JSON_NUMBER || !st_sv_u64(tok->raw, 10, into) || *(uint64_t *)into > INT64_MAX)
        return odd(r, "a number is negative, too large or no whole one", err);
    return 0;
}

// Of equal keys the last one counts, as for the readers of both formats.
static int read_entry(struct reader *r, struct entry *e, struct st_err *err)
{
    struct st_json_tok key, value;
    int rc;
    while ((rc = st_json_member(&r->json, &key, &value, err)) > 0) {
        const struct field *f = NULL;
        for (size_t i = 0; i < ST_LEN(fields) && !f && value.type != ST_JSON_NULL; i++)
            if (st_json_is(&key, fields[i].key))
                f = &fields[i];
        if (f ? read_value(r, f, &value, e, err) : st_json_skip(&r->json, &value, err))
            return -1;
    }
    return rc;
}

// ---- files ----------------------------------------------------------------------------------------------------------

static struct st_toc_file *files(const struct st_toc *t)
{
    return (struct st_toc_file *)(void *)t->file_buf.ptr;
}

static struct st_toc_chunk *chunks(const struct st_toc *t)
{
    return (struct st_toc_chunk *)(void *)t->chunk_buf.ptr;
}

// Go writes U+FFFD for a byte that is not UTF-8: what the tar has there cannot be told. A NUL ends a tar's name.
static bool lossless(struct st_sv s)
{
    return st_sv_search(s, ST_SV("\xef\xbf\xbd")) == ST_SV_NPOS && st_sv_find(s, '\0') == ST_SV_NPOS &&
           s.len <= ST_TAR_NAME_MAX;
}

static int take_text(struct reader *r, struct st_sv s, bool path, struct st_sv *ret, struct st_err *err)
{
    if (!lossless(s))
        return odd(r, "a name is not as in the tar", err);
    char *p = st_arena_bytes(&r->toc->arena, s.len + 1, err);
    if (!p)
        return -1;
    size_t n = s.len;
    if (path)
        n = st_path_normalise(s, p);
    else if (n)
        memcpy(p, s.ptr, n);
    *ret = st_sv_mem(p, n);
    return 0;
}

static int take_digest(struct reader *r, struct st_sv s, uint8_t *ret, struct st_err *err)
{
    struct st_sv hex;
    uint64_t byte;
    if (!digest_hex(s, &hex))
        return odd(r, "a chunk has no SHA-256", err);
    for (size_t i = 0; i < ST_DIGEST_HEX / 2; i++) {
        st_sv_u64(st_sv_sub(hex, 2 * i, 2), 16, &byte);
        ret[i] = (uint8_t)byte;
    }
    return 0;
}

// Chunks stand in the order of the tar, so that going through the table is going through the blob.
static bool follows(const struct st_toc *t, const struct st_toc_chunk *c)
{
    if (t->n_chunks == 0)
        return true;
    const struct st_toc_chunk *last = &chunks(t)[t->n_chunks - 1];
    if (t->kind == ST_TOC_ESTARGZ && c->offset == last->offset)
        return c->inner >= last->inner + last->size;
    return c->offset > last->offset;
}

static int take_chunk(struct reader *r, const struct entry *e, struct st_err *err)
{
    struct st_toc *t = r->toc;
    struct st_toc_file *f = &files(t)[t->n_files - 1];
    uint64_t left = f->size - r->covered;
    bool zstd = t->kind == ST_TOC_ZSTD_CHUNKED;
    struct st_toc_chunk c = {.offset = e->offset,
                             .end = r->data_end,
                             .inner = zstd ? 0 : e->inner,
                             .at = e->chunk_offset,
                             .size = e->chunk_size ? e->chunk_size : left}; // 0: to the end of the file
    if (c.at != r->covered || c.size > left || left == 0)
        return odd(r, "chunks do not make up their file", err);
    if (c.offset >= r->data_end || (c.offset == 0 && c.inner == 0) || !follows(t, &c))
        return odd(r, "a chunk stands where none can be", err);
    c.zeros = zstd && st_sv_eq(e->chunk_type, ST_SV("zeros"));
    if (!c.zeros && e->chunk_type.len)
        return odd(r, "an unknown type of chunk", err);
    bool whole = c.size == f->size; // one chunk: the file's digest is its own
    if (!c.zeros && take_digest(r, e->chunk_digest.len || !whole ? e->chunk_digest : e->digest, c.sha256, err))
        return -1;
    if (st_buf_add(&t->chunk_buf, st_sv_mem(&c, sizeof c), err))
        return -1;
    f->n++;
    t->n_chunks++;
    r->covered += c.size;
    return 0;
}

// The last file's chunks are all there.
static int end_file(struct reader *r, struct st_err *err)
{
    struct st_toc *t = r->toc;
    const struct st_toc_file *f = t->n_files ? &files(t)[t->n_files - 1] : NULL;
    if (!f || f->size == 0)
        return 0;
    if (r->covered != f->size)
        return odd(r, "chunks do not make up their file", err);
    if (t->kind == ST_TOC_ZSTD_CHUNKED) {
        struct st_toc_chunk *last = &chunks(t)[t->n_chunks - 1];
        if (r->file_end <= last->offset || r->file_end > r->data_end)
            return odd(r, "a file ends where it cannot", err);
        last->end = r->file_end;
    }
    return 0;
}

static const struct {
    struct st_sv word;
    enum st_tar_type type;
} types[] = {
    {ST_SV_INIT("reg"), ST_TAR_FILE},        {ST_SV_INIT("dir"), ST_TAR_DIR},
    {ST_SV_INIT("symlink"), ST_TAR_SYMLINK}, {ST_SV_INIT("hardlink"), ST_TAR_HARDLINK},
    {ST_SV_INIT("char"), ST_TAR_CHAR},       {ST_SV_INIT("block"), ST_TAR_BLOCKDEV},
    {ST_SV_INIT("fifo"), ST_TAR_FIFO},
};

static int take_file(struct reader *r, const struct entry *e, struct st_err *err)
{
    struct st_toc *t = r->toc;
    struct st_toc_file f = {.mode = (uint32_t)e->mode & 07777, .first = t->n_chunks};
    size_t i = 0;
    while (i < ST_LEN(types) && !st_sv_eq(types[i].word, e->type))
        i++;
    if (i == ST_LEN(types))
        return odd(r, "an unknown type of entry", err);
    f.type = types[i].type;
    f.size = f.type == ST_TAR_FILE ? e->size : 0;
    bool links = f.type == ST_TAR_SYMLINK || f.type == ST_TAR_HARDLINK;
    if (!e->name.ptr || (links && !e->link.ptr))
        return odd(r, "an entry without a name or target", err);
    if (end_file(r, err) || take_text(r, e->name, true, &f.path, err) ||
        (links && take_text(r, e->link, f.type == ST_TAR_HARDLINK, &f.link, err)))
        return -1;
    if (t->n_files == ST_TAR_ENTRIES_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %llu tar entries", ST_TAR_ENTRIES_MAX);
    if (st_buf_add(&t->file_buf, st_sv_mem(&f, sizeof f), err))
        return -1;
    t->n_files++;
    r->covered = 0;
    r->file_end = e->end_offset;
    return f.size ? take_chunk(r, e, err) : 0;
}

static int take_further(struct reader *r, const struct entry *e, struct st_err *err)
{
    struct st_sv of;
    if (r->toc->n_files == 0)
        return odd(r, "a chunk of no file", err);
    if (!e->name.len)
        return take_chunk(r, e, err);
    char *p = st_arena_bytes(&r->scratch, e->name.len, err);
    if (!p)
        return -1;
    of = st_sv_mem(p, st_path_normalise(e->name, p));
    return st_sv_eq(of, files(r->toc)[r->toc->n_files - 1].path) ? take_chunk(r, e, err)
                                                                 : odd(r, "a chunk of another file", err);
}

// ---- the whole ------------------------------------------------------------------------------------------------------

static int read_entries(struct reader *r, struct st_err *err)
{
    struct st_json_tok tok;
    int rc;
    while ((rc = st_json_element(&r->json, &tok, err)) > 0) {
        struct entry e = {0};
        r->at = tok.at;
        if (tok.type != ST_JSON_OBJECT)
            return odd(r, "an entry is no object", err);
        if (read_entry(r, &e, err) ||
            (st_sv_eq(e.type, ST_SV("chunk")) ? take_further(r, &e, err) : take_file(r, &e, err)))
            return -1;
        st_arena_reset(&r->scratch);
    }
    return rc < 0 ? -1 : end_file(r, err);
}

static int read_member(struct reader *r, const struct st_json_tok *key, const struct st_json_tok *value,
                       struct st_err *err)
{
    uint64_t version;
    r->at = value->at;
    if (st_json_is(key, ST_SV("version"))) {
        if (value->type != ST_JSON_NUMBER || !st_sv_u64(value->raw, 10, &version) || version != 1)
            return odd(r, "another version than 1", err);
        r->have_version = true;
        return 0;
    }
    if (!st_json_is(key, ST_SV("entries")))
        return st_json_skip(&r->json, value, err);
    if (value->type != ST_JSON_ARRAY || r->have_entries)
        return odd(r, "its entries are no list, or two", err);
    r->have_entries = true;
    return read_entries(r, err);
}

static int read_table(struct reader *r, struct st_err *err)
{
    struct st_json_tok key, value;
    int rc;
    if (st_json_next(&r->json, &value, err))
        return -1;
    if (value.type != ST_JSON_OBJECT)
        return odd(r, "no object", err);
    while ((rc = st_json_member(&r->json, &key, &value, err)) > 0)
        if (read_member(r, &key, &value, err))
            return -1;
    if (rc || st_json_next(&r->json, &value, err))
        return -1;
    return r->have_version && r->have_entries ? 0 : odd(r, "no version or no entries", err);
}

// What is needed of a chunk ends where the next thing that the table names begins. zstd:chunked says it of each file;
// within a file the next chunk begins there.
static void set_ends(struct st_toc *t, uint64_t data_end)
{
    uint64_t next = data_end;
    for (size_t i = t->n_chunks; i-- > 0;) {
        struct st_toc_chunk *c = &t->chunks[i];
        bool same = i + 1 < t->n_chunks && c[1].offset == c->offset;
        if (i + 1 < t->n_chunks && !same)
            next = c[1].offset;
        c->end = ST_MIN(c->end, next);
    }
}

int st_toc_parse(struct st_mem *mem, enum st_toc_kind kind, struct st_sv json, uint64_t data_end, struct st_toc **ret,
                 struct st_err *err)
{
    struct st_toc *t = st_mem_alloc(mem, sizeof *t, err);
    if (!t)
        return -1;
    t->kind = kind;
    st_arena_init(&t->arena, mem);
    st_buf_init(&t->file_buf, mem);
    st_buf_init(&t->chunk_buf, mem);
    struct reader r = {.toc = t, .data_end = data_end};
    st_arena_init(&r.scratch, mem);
    st_json_init(&r.json, json);
    int rc = read_table(&r, err);
    st_arena_release(&r.scratch);
    if (rc) {
        st_toc_free(t);
        return -1;
    }
    t->files = files(t);
    t->chunks = chunks(t);
    set_ends(t, data_end);
    *ret = t;
    return 0;
}

bool st_toc_matches(const struct st_toc_chunk *c, const char hex[static ST_DIGEST_HEX + 1])
{
    uint64_t byte;
    for (size_t i = 0; i < ST_DIGEST_HEX / 2; i++)
        if (!st_sv_u64(st_sv_mem(hex + 2 * i, 2), 16, &byte) || byte != c->sha256[i])
            return false;
    return true;
}

void st_toc_free(struct st_toc *t)
{
    if (!t)
        return;
    struct st_mem *mem = t->arena.mem;
    st_arena_release(&t->arena);
    st_buf_release(&t->file_buf);
    st_buf_release(&t->chunk_buf);
    st_mem_free(mem, t, sizeof *t);
}
