#include "base/ckd.h"
#include "base/fd.h"
#include "base/wire.h"
#include "scan/fragment_int.h"

#include <sys/stat.h>

#define WINDOW ((size_t)64 * 1024)
#define WINDOW_MIN ((size_t)4 * 1024)

static int corrupt(uint64_t at, const char *what, struct st_err *err)
{
    return st_err_set_off(err, ST_E_CORRUPT, at, "layer fragment: %s", what);
}

void st_frag_window_init(struct st_frag_window *w, struct st_mem *mem)
{
    *w = (struct st_frag_window){0};
    st_buf_init(&w->buf, mem);
}

void st_frag_window_release(struct st_frag_window *w)
{
    if (w->buf.mem)
        st_buf_release(&w->buf);
}

int st_frag_open(struct st_frag_reader *r, struct st_frag_window *win, int fd, struct st_err *err)
{
    struct stat st;
    *r = (struct st_frag_reader){.fd = fd, .win = win, .ahead = WINDOW};
    if (fstat(fd, &st))
        return st_err_sys(err, "layer fragment");
    char head[ST_FRAGMENT_MAGIC_LEN + 20];
    ssize_t n = st_fd_pread(fd, head, sizeof head, 0);
    if (n < 0)
        return st_err_sys(err, "layer fragment");
    struct st_wire_in in = {.rest = st_sv_mem(head, (size_t)n)};
    if ((uint64_t)st.st_size < ST_FRAGMENT_MAGIC_LEN + ST_FRAG_TAIL || !st_sv_starts(in.rest, ST_FRAGMENT_MAGIC))
        return corrupt(0, "not a fragment, or cut short", err);
    in.rest = st_sv_from(in.rest, ST_FRAGMENT_MAGIC_LEN);
    if (st_wire_u64(&in) != ST_FRAGMENT_VERSION || st_wire_u64(&in) != st_catalogers_version() || in.failed)
        return corrupt(ST_FRAGMENT_MAGIC_LEN, "made by another version", err);
    r->size = (uint64_t)st.st_size - ST_DIGEST_HEX;
    r->first = r->pos = (uint64_t)n - in.rest.len;
    return 0;
}

void st_frag_rewind(struct st_frag_reader *r)
{
    r->pos = r->first;
    r->ahead = WINDOW;
}

void st_frag_seek(struct st_frag_reader *r, uint64_t offset)
{
    r->pos = offset;
    r->ahead = WINDOW_MIN;
}

// At least n bytes of the fragment at r->pos in the window.
static int window(struct st_frag_reader *r, size_t n, struct st_sv *ret, struct st_err *err)
{
    struct st_frag_window *w = r->win;
    uint64_t at = r->pos - w->at;
    if (w->of != r || r->pos < w->at || at > w->buf.len || w->buf.len - at < n) {
        if (r->pos > r->size || r->size - r->pos < n)
            return corrupt(r->pos, "cut short", err);
        st_buf_clear(&w->buf);
        w->of = NULL;
        if (st_buf_reserve(&w->buf, ST_MAX(n, WINDOW), err))
            return -1;
        size_t want = (size_t)ST_MIN((uint64_t)ST_MAX(n, r->ahead), r->size - r->pos);
        r->ahead = ST_MIN(r->ahead * 2, WINDOW);
        ssize_t got = st_fd_pread(r->fd, w->buf.ptr, want, r->pos);
        if (got < 0)
            return st_err_sys(err, "layer fragment");
        w->buf.len = (size_t)got;
        w->at = r->pos;
        w->of = r;
        at = 0;
        if ((size_t)got < n)
            return corrupt(r->pos, "cut short", err);
    }
    *ret = st_sv_from(st_buf_sv(&w->buf), (size_t)at);
    return 0;
}

int st_frag_next(struct st_frag_reader *r, struct st_frag_record *ret, struct st_err *err)
{
    if (r->pos >= r->size)
        return 0;
    struct st_sv have;
    uint64_t start = r->pos;
    if (window(r, (size_t)ST_MIN(r->size - r->pos, (uint64_t)8), &have, err))
        return -1;
    struct st_wire_in in = {.rest = st_sv_sub(have, 0, 8)};
    unsigned tag = (unsigned char)have.ptr[0];
    in.rest = st_sv_from(in.rest, 1);
    size_t before = in.rest.len;
    uint64_t len = st_wire_max(&in, ST_FRAGMENT_RECORD_MAX);
    if (in.failed || tag >= ST_FRAG_TAG_MAX)
        return corrupt(start, "damaged record", err);
    r->pos = start + 1 + (before - in.rest.len);
    if (len && window(r, (size_t)len, &have, err))
        return -1;
    ret->tag = (enum st_frag_tag)tag;
    ret->offset = start;
    ret->payload = st_sv_sub(have, 0, (size_t)len);
    if ((tag == ST_FRAG_PATHS || tag == ST_FRAG_OWNED) && len % 8)
        return corrupt(start, "damaged path set", err);
    r->pos += len;
    return 1;
}

int st_frag_verify(struct st_mem *mem, int fd, struct st_err *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return st_err_sys(err, "layer fragment");
    if ((uint64_t)st.st_size < ST_FRAGMENT_MAGIC_LEN + ST_FRAG_TAIL)
        return corrupt(0, "cut short", err);
    uint64_t size = (uint64_t)st.st_size - ST_DIGEST_HEX, pos = 0;
    size_t part = (size_t)ST_MIN(size, (uint64_t)WINDOW);
    struct st_sha256 *sha = st_sha256_new(mem, err);
    char *buf = sha ? st_mem_alloc(mem, part, err) : NULL;
    int rc = buf ? 0 : -1;
    while (rc == 0 && pos < size) {
        ssize_t n = st_fd_pread(fd, buf, (size_t)ST_MIN(size - pos, (uint64_t)part), pos);
        if (n <= 0)
            rc = n < 0 ? st_err_sys(err, "layer fragment") : corrupt(pos, "cut short", err);
        else
            st_sha256_add(sha, buf, (size_t)n);
        pos += n > 0 ? (uint64_t)n : 0;
    }
    if (rc == 0) {
        char hex[ST_DIGEST_HEX + 1], stored[ST_DIGEST_HEX];
        st_sha256_hex(sha, hex);
        if (st_fd_pread(fd, stored, sizeof stored, size) != sizeof stored || memcmp(stored, hex, sizeof stored) != 0)
            rc = corrupt(size, "checksum does not match", err);
    }
    st_mem_free(mem, buf, part);
    st_sha256_free(sha);
    return rc;
}

int st_frag_stats(struct st_mem *mem, int fd, struct st_layer_stats *ret, struct st_err *err)
{
    (void)mem;
    struct stat st;
    char tail[ST_FRAG_END_RECORD];
    if (fstat(fd, &st))
        return st_err_sys(err, "layer fragment");
    if ((uint64_t)st.st_size < ST_FRAGMENT_MAGIC_LEN + ST_FRAG_TAIL ||
        st_fd_pread(fd, tail, sizeof tail, (uint64_t)st.st_size - ST_FRAG_TAIL) != sizeof tail ||
        tail[0] != ST_FRAG_END)
        return corrupt(0, "no end record", err);
    struct st_frag_end e;
    memcpy(&e, tail + 3, sizeof e);
    *ret = (struct st_layer_stats){
        .entries = e.entries,
        .files = e.files,
        .bytes = e.bytes,
        .stored = e.stored,
        .rereads = e.rereads,
        .reread_bytes = e.reread_bytes,
        .spilled = e.spilled,
        .peak = e.peak,
    };
    memcpy(ret->digest, e.digest, ST_DIGEST_HEX);
    memcpy(ret->diff_id, e.diff_id, ST_DIGEST_HEX);
    memcpy(ret->toc, e.toc, ST_DIGEST_HEX);
    return 0;
}

// ---- payloads -------------------------------------------------------------------------------------------------------

static int damaged(const struct st_frag_record *rec, struct st_err *err)
{
    return corrupt(rec->offset, "damaged record", err);
}

int st_frag_get_file(const struct st_frag_record *rec, struct st_frag_file *ret, struct st_err *err)
{
    struct st_wire_in in = {.rest = rec->payload};
    *ret = (struct st_frag_file){.entry = st_wire_u64(&in)};
    ret->path = st_wire_sv(&in);
    if (rec->tag == ST_FRAG_FILE)
        ret->cataloger = st_wire_sv(&in);
    else
        ret->number = st_wire_u64(&in);
    return st_wire_ok(&in) ? 0 : damaged(rec, err);
}

int st_frag_get_symlink(const struct st_frag_record *rec, uint64_t *entry, struct st_sv *path, struct st_sv *target,
                        struct st_err *err)
{
    struct st_wire_in in = {.rest = rec->payload};
    *entry = st_wire_u64(&in);
    *path = st_wire_sv(&in);
    *target = st_wire_sv(&in);
    return st_wire_ok(&in) ? 0 : damaged(rec, err);
}

static int get_svs(struct st_wire_in *in, struct st_arena *a, struct st_svs *ret, struct st_err *err)
{
    size_t n = st_wire_count(in, 1);
    struct st_sv *at = n ? st_arena_array(a, n, sizeof *at, err) : NULL;
    if (n && !at)
        return -1;
    for (size_t i = 0; i < n; i++)
        at[i] = st_wire_sv(in);
    *ret = (struct st_svs){at, n};
    return 0;
}

static int get_kvs(struct st_wire_in *in, struct st_arena *a, struct st_kvs *ret, struct st_err *err)
{
    size_t n = st_wire_count(in, 2);
    struct st_kv *at = n ? st_arena_array(a, n, sizeof *at, err) : NULL;
    if (n && !at)
        return -1;
    for (size_t i = 0; i < n; i++) {
        at[i].key = st_wire_sv(in);
        at[i].value = st_wire_sv(in);
    }
    *ret = (struct st_kvs){at, n};
    return 0;
}

int st_frag_get_package(const struct st_frag_record *rec, struct st_arena *a, struct st_package *ret,
                        struct st_err *err)
{
    struct st_wire_in in = {.rest = rec->payload};
    *ret = (struct st_package){.type = (enum st_pkg_type)st_wire_max(&in, ST_PKG_TYPES_MAX - 1)};
    for (size_t i = 0; i < ST_PACKAGE_TEXTS; i++)
        *st_package_text(ret, i) = st_wire_sv(&in);
    if (get_svs(&in, a, &ret->licenses, err) || get_kvs(&in, a, &ret->quals, err) || get_kvs(&in, a, &ret->meta, err) ||
        get_svs(&in, a, &ret->depends, err) || get_svs(&in, a, &ret->provides, err))
        return -1;
    return st_wire_ok(&in) ? 0 : damaged(rec, err);
}

int st_frag_get_distro(const struct st_frag_record *rec, struct st_distro *ret, struct st_err *err)
{
    struct st_wire_in in = {.rest = rec->payload};
    *ret = (struct st_distro){.from_release_file = st_wire_max(&in, 1)};
    for (size_t i = 0; i < ST_DISTRO_TEXTS; i++)
        *st_distro_text(ret, i) = st_wire_sv(&in);
    return st_wire_ok(&in) ? 0 : damaged(rec, err);
}

int st_frag_get_owner(const struct st_frag_record *rec, enum st_pkg_type *type, struct st_sv *name, struct st_err *err)
{
    struct st_wire_in in = {.rest = rec->payload};
    *type = (enum st_pkg_type)st_wire_max(&in, ST_PKG_TYPES_MAX - 1);
    *name = st_wire_sv(&in);
    return st_wire_ok(&in) ? 0 : damaged(rec, err);
}

int st_frag_get_note(const struct st_frag_record *rec, struct st_note *ret, struct st_err *err)
{
    struct st_wire_in in = {.rest = rec->payload};
    ret->path = st_wire_sv(&in);
    ret->type = (enum st_pkg_type)st_wire_max(&in, ST_PKG_TYPES_MAX - 1);
    ret->name = st_wire_sv(&in);
    ret->key = st_wire_sv(&in);
    ret->value = st_wire_sv(&in);
    return st_wire_ok(&in) ? 0 : damaged(rec, err);
}

int st_frag_get_unknown(const struct st_frag_record *rec, struct st_unknown *ret, struct st_err *err)
{
    struct st_wire_in in = {.rest = rec->payload};
    *ret = (struct st_unknown){.reason = (enum st_unknown_reason)st_wire_max(&in, ST_UNKNOWN_REASONS_MAX - 1)};
    ret->inner = st_wire_sv(&in);
    ret->text = st_wire_sv(&in);
    return st_wire_ok(&in) ? 0 : damaged(rec, err);
}
