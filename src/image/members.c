// Members of an archive by name: a place in the file, a document's bytes, a layer that went by, or a link to another.
#include "archive/tar.h"
#include "base/ckd.h"
#include "base/fd.h"
#include "base/map.h"
#include "image/blobs.h"
#include "image/image_int.h"

#include <sys/stat.h>

enum member_kind { MEMBER_RANGE, MEMBER_KEPT, MEMBER_PASSED, MEMBER_LINK };

struct member {
    struct st_sv name;
    struct st_sv text; // KEPT: bytes; LINK: normalised target
    uint64_t offset, length;
    struct member *next; // another name with the same hash
    enum member_kind kind;
};

struct st_members {
    struct st_mem *mem; // borrowed
    struct st_arena arena;
    struct st_map map; // hash of the name -> struct member *
    size_t n;
    uint64_t kept;
    int fd; // borrowed; for RANGE
};

struct st_members *st_members_new(struct st_mem *mem, struct st_err *err)
{
    struct st_members *m = st_mem_alloc(mem, sizeof *m, err);
    if (!m)
        return NULL;
    m->mem = mem;
    m->fd = -1;
    st_arena_init(&m->arena, mem);
    st_map_init(&m->map, mem);
    return m;
}

void st_members_free(struct st_members *m)
{
    if (!m)
        return;
    st_map_release(&m->map);
    st_arena_release(&m->arena);
    st_mem_free(m->mem, m, sizeof *m);
}

static struct member *get(const struct st_members *m, struct st_sv name)
{
    const uint64_t *slot = st_map_get(&m->map, st_hash(name));
    for (struct member *at = slot ? (struct member *)(uintptr_t)*slot : NULL; at; at = at->next)
        if (st_sv_eq(at->name, name))
            return at;
    return NULL;
}

// The member of this name, made when new. *ret stays NULL for a name too long to be of use.
static int put(struct st_members *m, struct st_sv name, struct member **ret, struct st_err *err)
{
    *ret = NULL;
    if (name.len > ST_MEMBER_NAME_MAX)
        return 0;
    *ret = get(m, name);
    if (*ret) {
        if ((*ret)->kind == MEMBER_KEPT)
            m->kept -= (*ret)->length;
        **ret = (struct member){.name = (*ret)->name, .next = (*ret)->next};
        return 0;
    }
    if (m->n >= ST_MEMBERS_MAX)
        return st_err_set(err, ST_E_LIMIT, "archive has more than %d members: not an image archive", ST_MEMBERS_MAX);
    struct member *at = ST_ARENA_NEW(&m->arena, struct member, err);
    if (!at || st_arena_dup(&m->arena, name, &at->name, err))
        return -1;
    bool is_new;
    uint64_t *slot = st_map_put(&m->map, st_hash(name), &is_new, err);
    if (!slot)
        return -1;
    at->next = is_new ? NULL : (struct member *)(uintptr_t)*slot;
    *slot = (uintptr_t)at;
    m->n++;
    *ret = at;
    return 0;
}

int st_members_passed(struct st_members *m, struct st_sv name, uint64_t ordinal, uint64_t length, struct st_err *err)
{
    struct member *at;
    if (put(m, name, &at, err))
        return -1;
    if (at) {
        at->kind = MEMBER_PASSED;
        at->offset = ordinal;
        at->length = length;
    }
    return 0;
}

static int add_range(struct st_members *m, struct st_sv name, uint64_t offset, uint64_t length, struct st_err *err)
{
    if (st_members_passed(m, name, offset, length, err))
        return -1;
    struct member *at = get(m, name);
    if (at)
        at->kind = MEMBER_RANGE;
    return 0;
}

int st_members_document(struct st_members *m, struct st_sv name, struct st_sv bytes, struct st_err *err)
{
    struct member *at;
    if (put(m, name, &at, err))
        return -1;
    if (!at)
        return 0;
    at->kind = MEMBER_KEPT;
    at->length = bytes.len;
    m->kept += bytes.len;
    if (m->kept > ST_MEMBERS_KEPT_MAX)
        return st_err_set(err, ST_E_LIMIT, "archive has more than %llu MiB of documents", ST_MEMBERS_KEPT_MAX >> 20);
    return st_arena_dup(&m->arena, bytes, &at->text, err);
}

// A symbolic link's target counts from the link's directory; a hard link's from the root, and is normalised already.
int st_members_link(struct st_members *m, struct st_sv name, struct st_sv target, bool symlink, struct st_err *err)
{
    struct member *at;
    if (target.len > ST_MEMBER_NAME_MAX || (symlink && target.len && target.ptr[0] == '/'))
        return 0; // leads out of the archive: as if it were not there
    if (put(m, name, &at, err))
        return -1;
    if (!at)
        return 0;
    char joined[2 * ST_MEMBER_NAME_MAX + 2], normal[sizeof joined];
    struct st_sv dir = symlink ? st_sv_dirname(at->name) : ST_SV_NULL;
    size_t n = 0;
    if (dir.len) {
        memcpy(joined, dir.ptr, dir.len);
        joined[dir.len] = '/';
        n = dir.len + 1;
    }
    if (target.len)
        memcpy(joined + n, target.ptr, target.len);
    at->kind = MEMBER_LINK;
    size_t len = st_path_normalise(st_sv_mem(joined, n + target.len), normal);
    return st_arena_dup(&m->arena, st_sv_mem(normal, len), &at->text, err);
}

// ---- index of a seekable archive ------------------------------------------------------------------------------------

static int add_entry(struct st_members *m, const struct st_tar_entry *e, uint64_t data, struct st_err *err)
{
    switch (e->type) {
    case ST_TAR_FILE:
        return add_range(m, e->path, data, e->size, err);
    case ST_TAR_HARDLINK:
    case ST_TAR_SYMLINK:
        return st_members_link(m, e->path, e->link, e->type == ST_TAR_SYMLINK, err);
    default:
        return 0;
    }
}

int st_members_index(struct st_members *m, int fd, uint64_t size, struct st_err *err)
{
    ST_AUTO_STREAM struct st_stream *in = st_stream_file(m->mem, fd, 0, size, err);
    if (!in)
        return -1;
    struct st_tar *tar = st_tar_new(m->mem, in, err);
    if (!tar)
        return -1;
    struct st_tar_entry e;
    uint64_t end = 0; // of the data of the member before
    int rc;
    while ((rc = st_tar_next(tar, &e, err)) > 0) {
        uint64_t data = st_stream_pos(in), stop;
        if (e.offset < end || st_ckd_add(&stop, data, e.size) || stop > size) {
            // A member that goes on behind the file's end: the archive was cut, or the reader's size is not that of the
            // bytes as stored (a sparse member, which no image tool writes).
            bool cut = e.offset >= end;
            rc = st_err_set_off(err, ST_E_CORRUPT, cut ? size : e.offset,
                                cut ? "archive was not copied whole: it ends early, inside one of its members"
                                    : "sparse or overlapping member in an image archive");
            break;
        }
        end = e.type == ST_TAR_FILE ? stop : 0;
        if (add_entry(m, &e, data, err)) {
            rc = -1;
            break;
        }
    }
    st_tar_free(tar);
    m->fd = fd;
    return rc;
}

// ---- what a member of a stream is -----------------------------------------------------------------------------------

enum st_member_guess st_member_guess(struct st_sv name, uint64_t size, struct st_sv head)
{
    static const struct st_sv documents[] = {ST_SV_INIT("index.json"), ST_SV_INIT("manifest.json"),
                                             ST_SV_INIT("oci-layout")};
    for (size_t i = 0; i < ST_LEN(documents); i++)
        if (st_sv_eq(name, documents[i]))
            return ST_MEMBER_DOCUMENT;
    if (size == 0)
        return ST_MEMBER_IGNORE;
    if (st_tar_header_looks(head) || st_codec_detect(head) != ST_CODEC_NONE)
        return ST_MEMBER_LAYER;
    struct st_sv text = st_sv_trim(head);
    if (text.len && (text.ptr[0] == '{' || text.ptr[0] == '['))
        return size <= ST_IMAGE_DOC_MAX ? ST_MEMBER_DOCUMENT : ST_MEMBER_IGNORE;
    return size >= 512 ? ST_MEMBER_LAYER : ST_MEMBER_IGNORE;
}

// ---- as struct st_blobs ---------------------------------------------------------------------------------------------

static const struct member *follow(const struct st_members *m, struct st_sv name)
{
    const struct member *at = get(m, name);
    for (unsigned i = 0; at && at->kind == MEMBER_LINK; i++) {
        if (i >= ST_MEMBER_LINKS_MAX)
            return NULL;
        at = get(m, at->text);
    }
    return at;
}

static int members_find(void *ctx, struct st_sv name, struct st_blob *ret, struct st_err *err)
{
    static const enum st_blob_where where[] = {
        [MEMBER_RANGE] = ST_BLOB_RANGE, [MEMBER_KEPT] = ST_BLOB_KEPT, [MEMBER_PASSED] = ST_BLOB_PASSED};
    const struct member *at = follow(ctx, name);
    if (!at)
        return 0;
    *ret = (struct st_blob){.where = where[at->kind], .offset = at->offset, .length = at->length};
    return 1;
}

static int members_read(void *ctx, struct st_sv name, uint64_t max, struct st_arena *a, struct st_sv *ret,
                        struct st_err *err)
{
    const struct st_members *m = ctx;
    const struct member *at = follow(m, name);
    if (!at)
        return 0;
    if (at->length > max)
        return st_err_set(err, ST_E_LIMIT, "larger than %llu bytes", (unsigned long long)max);
    if (at->kind == MEMBER_KEPT) {
        *ret = at->text;
        return 1;
    }
    if (at->kind == MEMBER_PASSED)
        return st_err_set(err, ST_E_CORRUPT, "not a JSON document");
    char *bytes = st_arena_bytes(a, (size_t)at->length + 1, err);
    if (!bytes)
        return -1;
    ssize_t n = st_fd_pread(m->fd, bytes, (size_t)at->length, at->offset);
    if (n < 0)
        return st_err_sys(err, "read");
    if ((uint64_t)n != at->length)
        return st_err_set(err, ST_E_CORRUPT, "archive ends early");
    *ret = st_sv_mem(bytes, (size_t)n);
    return 1;
}

struct st_blobs st_members_blobs(struct st_members *m)
{
    return (struct st_blobs){.ctx = m, .find = members_find, .read_small = members_read};
}
