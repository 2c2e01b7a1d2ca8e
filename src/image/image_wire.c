// struct st_image as bytes (base/wire.h). The sandboxed process writes it, its parent reads it and believes none of it.
#include "base/ckd.h"
#include "base/fd.h"
#include "base/wire.h"
#include "image/image.h"

#include <sys/stat.h>

#define IMAGE_WIRE_VERSION 2u
#define TEXTS_MAX 65536 // tags, warnings, labels: as many as a document may hold

// Texts of an image in the order of the form.
#define EACH_TEXT(img, X)             \
    X((img)->subject.name)            \
    X((img)->subject.manifest_digest) \
    X((img)->subject.config_digest)   \
    X((img)->subject.media_type)      \
    X((img)->subject.os)              \
    X((img)->subject.architecture)    \
    X((img)->subject.variant)         \
    X((img)->created)

static void put_svs(struct st_wire_out *w, struct st_svs list)
{
    st_wire_put_u64(w, list.n);
    for (size_t i = 0; i < list.n; i++)
        st_wire_put_sv(w, list.at[i]);
}

static void put_layer(struct st_wire_out *w, const struct st_subject_layer *s, const struct st_image_layer *l)
{
    st_wire_put_sv(w, s->digest);
    st_wire_put_sv(w, s->diff_id);
    st_wire_put_sv(w, s->media_type);
    st_wire_put_sv(w, s->created_by);
    st_wire_put_u64(w, s->size);
    st_wire_put_u64(w, l->blob.where);
    st_wire_put_u64(w, l->blob.offset);
    st_wire_put_u64(w, l->blob.length);
    st_wire_put_sv(w, l->name);
    st_wire_put_u64(w, l->foreign);
    st_toc_put_place(w, &l->toc);
}

int st_image_encode(const struct st_image *img, struct st_buf *out, struct st_err *err)
{
    struct st_wire_out w = {.buf = out};
    size_t before = out->len;
    st_wire_put_u64(&w, IMAGE_WIRE_VERSION);
    st_wire_put_u64(&w, img->kind);
#define PUT(field) st_wire_put_sv(&w, field);
    EACH_TEXT(img, PUT)
#undef PUT
    st_wire_put_u64(&w, img->subject.size);
    st_wire_put_u64(&w, img->config_size);
    put_svs(&w, img->subject.tags);
    put_svs(&w, img->warnings);
    st_wire_put_u64(&w, img->subject.labels.n);
    for (size_t i = 0; i < img->subject.labels.n; i++) {
        st_wire_put_sv(&w, img->subject.labels.at[i].key);
        st_wire_put_sv(&w, img->subject.labels.at[i].value);
    }
    st_wire_put_u64(&w, img->subject.n_layers);
    for (size_t i = 0; i < img->subject.n_layers; i++)
        put_layer(&w, &img->subject.layers[i], &img->layers[i]);
    if (w.failed) {
        if (err)
            *err = w.err;
        return -1;
    }
    if (out->len - before > ST_IMAGE_ENCODED_MAX)
        return st_err_set(err, ST_E_LIMIT, "description of the image is larger than %u MiB",
                          ST_IMAGE_ENCODED_MAX >> 20);
    return 0;
}

static size_t get_count(struct st_wire_in *r, size_t each, size_t max)
{
    size_t n = st_wire_count(r, each);
    if (n > max)
        r->failed = true;
    return r->failed ? 0 : n;
}

static int get_svs(struct st_wire_in *r, struct st_arena *a, struct st_svs *ret, struct st_err *err)
{
    size_t n = get_count(r, 1, TEXTS_MAX);
    if (n == 0)
        return 0;
    struct st_sv *at = st_arena_array(a, n, sizeof *at, err);
    if (!at)
        return -1;
    for (size_t i = 0; i < n; i++)
        at[i] = st_wire_sv(r);
    *ret = (struct st_svs){at, n};
    return 0;
}

static int get_labels(struct st_wire_in *r, struct st_arena *a, struct st_kvs *ret, struct st_err *err)
{
    size_t n = get_count(r, 2, TEXTS_MAX);
    if (n == 0)
        return 0;
    struct st_kv *at = st_arena_array(a, n, sizeof *at, err);
    if (!at)
        return -1;
    for (size_t i = 0; i < n; i++) {
        at[i].key = st_wire_sv(r);
        at[i].value = st_wire_sv(r);
    }
    *ret = (struct st_kvs){at, n};
    return 0;
}

static bool digest_or_none(struct st_sv s)
{
    return s.len == 0 || st_digest_check(s, NULL) == 0;
}

// What the parent does with a layer hangs on these, so they must make sense together.
static bool layer_ok(const struct st_subject_layer *s, const struct st_image_layer *l, enum st_image_kind kind)
{
    uint64_t end;
    if (!digest_or_none(s->digest) || !digest_or_none(s->diff_id) || s->size > INT64_MAX)
        return false;
    if (st_ckd_add(&end, l->blob.offset, l->blob.length) || (l->blob.where != ST_BLOB_PASSED && end > INT64_MAX))
        return false;
    switch (l->blob.where) {
    case ST_BLOB_ABSENT:
        return l->foreign;
    case ST_BLOB_TREE:
        return kind == ST_IMAGE_ROOTFS;
    case ST_BLOB_FILE:
    case ST_BLOB_REMOTE:
    case ST_BLOB_RANGE:
    case ST_BLOB_PASSED:
        return l->name.len > 0 && l->blob.length == s->size;
    default:
        return false;
    }
}

static int get_layers(struct st_wire_in *r, struct st_arena *a, struct st_image *img, struct st_err *err)
{
    size_t n = get_count(r, 11, ST_IMAGE_LAYERS_MAX);
    if (n == 0)
        return 0;
    struct st_subject_layer *s = st_arena_array(a, n, sizeof *s, err);
    struct st_image_layer *l = st_arena_array(a, n, sizeof *l, err);
    if (!s || !l)
        return -1;
    for (size_t i = 0; i < n && !r->failed; i++) {
        s[i].digest = st_wire_sv(r);
        s[i].diff_id = st_wire_sv(r);
        s[i].media_type = st_wire_sv(r);
        s[i].created_by = st_wire_sv(r);
        s[i].size = st_wire_u64(r);
        l[i].blob.where = (enum st_blob_where)st_wire_max(r, ST_BLOB_WHERE_MAX - 1);
        l[i].blob.offset = st_wire_u64(r);
        l[i].blob.length = st_wire_u64(r);
        l[i].name = st_wire_sv(r);
        l[i].foreign = st_wire_max(r, 1);
        l[i].toc = st_toc_get_place(r);
        if (!r->failed && !layer_ok(&s[i], &l[i], img->kind))
            r->failed = true;
    }
    img->subject.layers = s;
    img->subject.n_layers = n;
    img->layers = l;
    return 0;
}

int st_image_decode(struct st_sv in, struct st_arena *a, struct st_image *ret, struct st_err *err)
{
    struct st_wire_in r = {.rest = in};
    struct st_image img = {0};
    if (in.len > ST_IMAGE_ENCODED_MAX)
        return st_err_set(err, ST_E_LIMIT, "description of the image is larger than %u MiB",
                          ST_IMAGE_ENCODED_MAX >> 20);
    if (st_wire_u64(&r) != IMAGE_WIRE_VERSION)
        r.failed = true;
    img.kind = (enum st_image_kind)st_wire_max(&r, ST_IMAGE_KIND_MAX - 1);
#define GET(field) field = st_wire_sv(&r);
    EACH_TEXT(&img, GET)
#undef GET
    img.subject.rootfs = img.kind == ST_IMAGE_ROOTFS;
    img.subject.size = st_wire_max(&r, INT64_MAX);
    img.config_size = st_wire_max(&r, INT64_MAX);
    if (get_svs(&r, a, &img.subject.tags, err) || get_svs(&r, a, &img.warnings, err) ||
        get_labels(&r, a, &img.subject.labels, err) || get_layers(&r, a, &img, err))
        return -1;
    if (!st_wire_ok(&r) || !digest_or_none(img.subject.manifest_digest) || !digest_or_none(img.subject.config_digest))
        return st_err_set(err, ST_E_CORRUPT, "damaged description of an image");
    *ret = img;
    return 0;
}

int st_image_encoded(int fd, struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return st_err_sys(err, "the image's description");
    if (st.st_size < 0 || (uint64_t)st.st_size > ST_IMAGE_ENCODED_MAX)
        return st_err_set(err, ST_E_LIMIT, "the image's description is larger than %u MiB", ST_IMAGE_ENCODED_MAX >> 20);
    char *p = st_arena_bytes(a, (size_t)st.st_size + 1, err);
    if (!p)
        return -1;
    ssize_t n = st_fd_pread(fd, p, (size_t)st.st_size, 0);
    if (n < 0)
        return st_err_sys(err, "the image's description");
    *ret = st_sv_mem(p, (size_t)n);
    return 0;
}
