// Checkpoints within a layer (sbom.incremental_mode). Every so many entries what the fragment has grown by since the
// last time is appended to a file, with what later entries depend on: which FILE records there are, which paths they
// belong to, what has to be read again. A scan that goes on from there decodes the layer from its beginning (its
// digests need every byte) but hands no file before that entry to a cataloger again.
//
//   head    "STPART\0\1"  u64 fragment version  u64 cataloger set
//   record* struct record, its events, the fragment's bytes [frag_from, frag_to), SHA-256 of all that as 64 hex digits
//
// A record counts when its checksum is right; what follows the last such record is dropped. And it counts only for the
// very bytes it was made from: the SHA-256 of the blob up to where it had been read by then stands in it (a copy of the
// state that the blob's digest has anyway), and is compared when so much is read again; until then no record is added.
// When it is another one the layer is scanned anew (ST_E_CONFLICT).
#include "base/ckd.h"
#include "base/fd.h"
#include "scan/layer_int.h"

#include <sys/stat.h>

#define MAGIC "STPART\0\1"
#define CHUNK (64u << 10)
#define EVENTS_MAX (64u << 20) // bytes of the events of one record

struct head {
    char magic[8];
    uint64_t fragment, catalogers;
};

struct record {
    uint64_t entry;              // the first that it does not hold
    uint64_t frag_from, frag_to; // bytes of the fragment
    uint64_t n_events;
    uint64_t blob;              // bytes of it that had been read ...
    char digest[ST_DIGEST_HEX]; // ... and what they hash to
};

struct event {
    uint64_t entry, value;
    uint8_t kind;
    uint8_t early; // before the name took on other bytes
};

// ---- writing ----------------------------------------------------------------------------------------

int layer_part_log(struct layer_scan *s, enum layer_event kind, uint64_t value, struct st_err *err)
{
    if (!s->part_on || s->replaying)
        return 0;
    struct event e = {s->stats.entries - 1, value, (uint8_t)kind, s->naming};
    return st_buf_add(&s->events, st_sv_mem(&e, sizeof e), err);
}

// Appends and hashes.
struct appender {
    int fd;
    uint64_t at;
    struct st_sha256 *sha;
};

static int append(struct appender *a, const void *p, size_t n, struct st_err *err)
{
    if (st_fd_pwrite(a->fd, p, n, a->at))
        return st_err_sys(err, "checkpoint");
    a->at += n;
    st_sha256_add(a->sha, p, n);
    return 0;
}

static int append_fragment(struct layer_scan *s, struct appender *a, uint64_t from, uint64_t to, struct st_err *err)
{
    ST_AUTO_FREE char *buf = malloc(CHUNK);
    if (!buf)
        return st_err_nomem(err);
    while (from < to) {
        size_t n = (size_t)ST_MIN(to - from, (uint64_t)CHUNK);
        if (st_fd_pread(s->opt->part->out, buf, n, from) != (ssize_t)n)
            return st_err_sys(err, "fragment");
        if (append(a, buf, n, err))
            return -1;
        from += n;
    }
    return 0;
}

static int write_record(struct layer_scan *s, uint64_t entry, struct appender *a, struct st_err *err)
{
    struct record r = {.entry = entry, .frag_from = s->part_frag, .n_events = s->events.len / sizeof(struct event)};
    char hex[ST_DIGEST_HEX + 1];
    r.blob = st_stream_digest_now(s->tee, hex);
    memcpy(r.digest, hex, sizeof r.digest);
    if (st_frag_writer_mark(s->out, &r.frag_to, err) || append(a, &r, sizeof r, err) ||
        append(a, s->events.ptr, s->events.len, err) || append_fragment(s, a, r.frag_from, r.frag_to, err))
        return -1;
    st_sha256_hex(a->sha, hex);
    if (st_fd_pwrite(a->fd, hex, ST_DIGEST_HEX, a->at))
        return st_err_sys(err, "checkpoint");
    s->part_at = a->at + ST_DIGEST_HEX;
    s->part_frag = r.frag_to;
    s->part_next = entry + s->opt->part->every;
    st_buf_clear(&s->events);
    return 0;
}

// 1: what was gone on from is of these bytes; 0: not read so far yet; -1: of others.
static int verified(struct layer_scan *s, struct st_err *err)
{
    char hex[ST_DIGEST_HEX + 1];
    if (!s->part_from || s->part_verified)
        return 1;
    if (!st_stream_digest_marked(s->tee, hex))
        return 0;
    s->part_verified = memcmp(hex, s->part_digest, ST_DIGEST_HEX) == 0;
    return s->part_verified ? 1 : st_err_set(err, ST_E_CONFLICT, "the checkpoint is of other bytes");
}

// A checkpoint that cannot be written is none: the scan goes on without.
int layer_part_entry(struct layer_scan *s, uint64_t entry, struct st_err *err)
{
    if (!s->part_on)
        return 0;
    if (s->replaying && entry == s->part_from) {
        s->replaying = false;
        st_buf_clear(&s->events);
    }
    if (s->replaying || entry < s->part_next)
        return 0;
    int sure = verified(s, err);
    if (sure <= 0)
        return sure;
    struct st_err why;
    struct appender a = {s->opt->part->fd, s->part_at, st_sha256_new(s->mem, err)};
    if (!a.sha)
        return -1;
    if (write_record(s, entry, &a, &why))
        s->part_on = false;
    st_sha256_free(a.sha);
    return 0;
}

int layer_part_end(struct layer_scan *s, struct st_err *err)
{
    int sure = verified(s, err);
    if (sure > 0 && !s->replaying)
        return 0;
    return sure < 0 ? -1 : st_err_set(err, ST_E_CONFLICT, "the checkpoint is of a longer layer");
}

void layer_part_follow(struct layer_scan *s, struct st_stream *tee)
{
    s->tee = tee;
    if (s->part_from)
        st_stream_digest_mark(tee, s->part_blob);
}

// ---- reading ----------------------------------------------------------------------------------------

struct reader {
    int fd;
    uint64_t at;
};

static bool get(struct reader *r, void *p, size_t n)
{
    if (st_fd_pread(r->fd, p, n, r->at) != (ssize_t)n)
        return false;
    r->at += n;
    return true;
}

// Is the record at r->at whole? *ret_rec is it.
static bool record_good(struct layer_scan *s, struct reader r, uint64_t size, struct record *ret)
{
    uint64_t left;
    char hex[ST_DIGEST_HEX + 1], kept[ST_DIGEST_HEX], buf[4096];
    if (!get(&r, ret, sizeof *ret) || ret->n_events > EVENTS_MAX / sizeof(struct event) ||
        ret->frag_to < ret->frag_from || ret->frag_from != s->part_frag || ret->entry <= s->part_from || ret->blob == 0)
        return false;
    left = ret->n_events * sizeof(struct event) + (ret->frag_to - ret->frag_from);
    if (left > size || r.at > size - left)
        return false;
    struct st_sha256 *sha = st_sha256_new(s->mem, NULL);
    if (!sha)
        return false;
    st_sha256_add(sha, ret, sizeof *ret);
    bool good = true;
    while (good && left) {
        size_t n = (size_t)ST_MIN(left, (uint64_t)sizeof buf);
        good = get(&r, buf, n);
        st_sha256_add(sha, buf, good ? n : 0);
        left -= n;
    }
    st_sha256_hex(sha, hex);
    st_sha256_free(sha);
    return good && get(&r, kept, sizeof kept) && memcmp(kept, hex, sizeof kept) == 0;
}

// The events to the others, the bytes into the fragment that is being written.
static int take_record(struct layer_scan *s, struct reader *r, const struct record *rec, struct st_err *err)
{
    char buf[4096];
    r->at += sizeof *rec;
    uint64_t left = rec->n_events * sizeof(struct event), frag = rec->frag_to - rec->frag_from, skip = 0;
    if (rec->frag_from == 0) { // its head was written when the writer was made
        if (st_frag_writer_mark(s->out, &skip, err))
            return -1;
        if (skip > frag)
            return st_err_set(err, ST_E_CONFLICT, "the checkpoint has no head");
    }
    for (; left; left -= ST_MIN(left, (uint64_t)sizeof buf)) {
        size_t n = (size_t)ST_MIN(left, (uint64_t)sizeof buf);
        if (!get(r, buf, n))
            return st_err_sys(err, "checkpoint");
        if (st_buf_add(&s->events, st_sv_mem(buf, n), err))
            return -1;
    }
    r->at += skip;
    for (frag -= skip; frag; frag -= ST_MIN(frag, (uint64_t)sizeof buf)) {
        size_t n = (size_t)ST_MIN(frag, (uint64_t)sizeof buf);
        if (!get(r, buf, n))
            return st_err_sys(err, "checkpoint");
        if (st_frag_writer_raw(s->out, st_sv_mem(buf, n), err))
            return -1;
    }
    r->at += ST_DIGEST_HEX;
    s->part_from = rec->entry;
    s->part_frag = rec->frag_to;
    s->part_blob = rec->blob;
    memcpy(s->part_digest, rec->digest, sizeof rec->digest);
    return 0;
}

static uint64_t count_files(const struct layer_scan *s)
{
    uint64_t files = 0;
    struct event e;
    for (size_t i = 0; i + sizeof e <= s->events.len; i += sizeof e) {
        memcpy(&e, s->events.ptr + i, sizeof e);
        files += e.kind == LAYER_EVENT_FILE;
    }
    return files;
}

int layer_part_begin(struct layer_scan *s, struct st_err *err)
{
    const struct st_layer_part *p = s->opt->part;
    struct head want = {.fragment = ST_FRAGMENT_VERSION, .catalogers = st_catalogers_version()}, have;
    memcpy(want.magic, MAGIC, sizeof want.magic);
    if (!p || p->fd < 0)
        return 0;
    s->part_on = true;
    struct reader r = {p->fd, 0};
    struct stat st;
    struct record rec;
    if (p->resume && fstat(p->fd, &st) == 0 && get(&r, &have, sizeof have) && !memcmp(&have, &want, sizeof want))
        while (record_good(s, r, (uint64_t)st.st_size, &rec))
            if (take_record(s, &r, &rec, err))
                return -1;
    s->part_at = r.at = s->part_from ? r.at : sizeof want;
    s->part_next = s->part_from + p->every;
    s->replaying = s->part_from > 0;
    st_frag_writer_files(s->out, count_files(s));
    if (s->opt->watch)
        atomic_store_explicit(&s->opt->watch->resumed, s->part_from, memory_order_relaxed);
    if (ftruncate(p->fd, (off_t)s->part_at) || (!s->part_from && st_fd_pwrite(p->fd, &want, sizeof want, 0)))
        s->part_on = s->replaying; // a full disk: no more of them
    return 0;
}

// ---- going through what is known ------------------------------------------------------------------

// The file is nobody's but ours, and yet nothing in it is believed.
static int apply_event(struct layer_scan *s, const struct layer_file *f, const struct event *e, struct st_err *err)
{
    switch (e->kind) {
    case LAYER_EVENT_FILE:
        if (e->value < layer_catalogers())
            return st_buf_addc(&s->file_cats, (char)e->value, err);
        break;
    case LAYER_EVENT_PARSED:
        if (e->value < s->file_cats.len)
            return layer_remember(s, f->hash, e->value, err);
        break;
    case LAYER_EVENT_AGAIN:
        if (e->value < layer_catalogers())
            return layer_again_whole(s, f, (uint8_t)e->value, err);
        break;
    }
    return st_err_set(err, ST_E_CONFLICT, "the checkpoint names what there is not");
}

static int apply(struct layer_scan *s, const struct layer_file *f, bool early, struct st_err *err)
{
    struct event e;
    for (; s->next_event + sizeof e <= s->events.len; s->next_event += sizeof e) {
        memcpy(&e, s->events.ptr + s->next_event, sizeof e);
        if (e.entry > f->entry || (e.entry == f->entry && early && !e.early))
            return 0;
        if (apply_event(s, f, &e, err))
            return -1;
    }
    return 0;
}

int layer_part_replay(struct layer_scan *s, const struct layer_file *f, const struct st_tar_entry *e,
                      const uint8_t *want, size_t n, struct st_err *err)
{
    if (apply(s, f, true, err))
        return -1;
    if (e->type != ST_TAR_HARDLINK && e->type != ST_TAR_DIR)
        layer_again_forget(s, f->hash);
    if (e->type == ST_TAR_FILE || e->type == ST_TAR_HARDLINK)
        s->stats.files++;
    if (e->type == ST_TAR_HARDLINK && layer_again_link(s, e, f->hash, want, n, err))
        return -1;
    return apply(s, f, false, err);
}
