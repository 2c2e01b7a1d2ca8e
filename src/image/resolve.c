// The resolver's frame: documents by name or descriptor with every check, what the config says, and which of the two
// kinds of image is there.
#include "base/ckd.h"
#include "image/image_int.h"
#include "stream/stream.h"

#include <stdarg.h>
#include <stdio.h>

// ---- digests --------------------------------------------------------------------------------------------------------

#define SHA256_PREFIX "sha256:"

int st_digest_check(struct st_sv digest, struct st_err *err)
{
    struct st_sv prefix = ST_SV(SHA256_PREFIX);
    if (digest.len == ST_DIGEST_TEXT && st_sv_starts(digest, prefix) && st_sv_is_hex(st_sv_from(digest, prefix.len)))
        return 0;
    if (digest.len == ST_SV("sha512:").len + 128 && st_sv_starts(digest, ST_SV("sha512:")) &&
        st_sv_is_hex(st_sv_from(digest, ST_SV("sha512:").len)))
        return st_err_set(err, ST_E_FAILED, "digest algorithm sha512 is not supported: " ST_SV_FMT, ST_SV_ARG(digest));
    return st_err_set(err, ST_E_CORRUPT, "bad digest '%.*s'", (int)ST_MIN(digest.len, 160u),
                      digest.ptr ? digest.ptr : "");
}

struct st_sv st_digest_name(struct st_sv digest, char ret[static ST_DIGEST_NAME])
{
    static const char dir[] = "blobs/sha256/";
    memcpy(ret, dir, sizeof dir - 1);
    memcpy(ret + sizeof dir - 1, digest.ptr + sizeof SHA256_PREFIX - 1, ST_DIGEST_HEX);
    return st_sv_mem(ret, sizeof dir - 1 + ST_DIGEST_HEX);
}

static int digest_of(struct st_mem *mem, struct st_sv text, char ret[static ST_DIGEST_TEXT + 1], struct st_err *err)
{
    struct st_sha256 *d = st_sha256_new(mem, err);
    if (!d)
        return -1;
    st_sha256_add(d, text.ptr, text.len);
    memcpy(ret, SHA256_PREFIX, sizeof SHA256_PREFIX - 1);
    st_sha256_hex(d, ret + sizeof SHA256_PREFIX - 1);
    st_sha256_free(d);
    return 0;
}

int st_resolver_digest(struct st_resolver *r, struct st_sv text, struct st_sv *ret, struct st_err *err)
{
    char digest[ST_DIGEST_TEXT + 1];
    if (digest_of(r->arena->mem, text, digest, err))
        return -1;
    return st_arena_dup(r->arena, st_sv_mem(digest, ST_DIGEST_TEXT), ret, err);
}

// ---- documents ------------------------------------------------------------------------------------------------------

static int too_large(const char *what, struct st_sv name, struct st_err *err)
{
    return st_err_set(err, ST_E_LIMIT, "%s is larger than %u MiB: " ST_SV_FMT, what, ST_IMAGE_DOC_MAX >> 20,
                      ST_SV_ARG(name));
}

int st_resolver_read(struct st_resolver *r, const char *what, struct st_sv name, struct st_sv *ret, struct st_err *err)
{
    if (r->docs++ >= ST_IMAGE_DOCS_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %u documents read to find the image", ST_IMAGE_DOCS_MAX);
    struct st_err mine = {0};
    struct st_sv text;
    int rc = r->blobs->read_small(r->blobs->ctx, name, ST_IMAGE_DOC_MAX, r->arena, &text, &mine);
    if (rc < 0) {
        if (mine.code == ST_E_LIMIT)
            return too_large(what, name, err);
        if (err)
            *err = mine;
        bool of_document = mine.code == ST_E_CORRUPT || mine.code == ST_E_FORMAT || mine.code == ST_E_IO;
        return of_document ? st_err_wrap(err, "%s " ST_SV_FMT, what, ST_SV_ARG(name)) : -1; // else of the way to it
    }
    if (rc == 0)
        return 0;
    if (text.len > ST_IMAGE_DOC_MAX)
        return too_large(what, name, err);
    r->doc_bytes += text.len;
    if (r->doc_bytes > ST_IMAGE_DOC_BYTES_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %u MiB of documents read to find the image",
                          ST_IMAGE_DOC_BYTES_MAX >> 20);
    *ret = text;
    return 1;
}

int st_resolver_blob(struct st_resolver *r, const char *what, const struct st_descriptor *d, struct st_sv *ret,
                     struct st_err *err)
{
    char name[ST_DIGEST_NAME], digest[ST_DIGEST_TEXT + 1];
    if (st_digest_check(d->digest, err))
        return st_err_wrap(err, "%s", what);
    if (!d->size.set)
        return st_err_set(err, ST_E_CORRUPT, "no size given for %s " ST_SV_FMT, what, ST_SV_ARG(d->digest));
    if (d->size.value > ST_IMAGE_DOC_MAX)
        return too_large(what, d->digest, err);
    struct st_sv path = st_digest_name(d->digest, name), text;
    int rc = st_resolver_read(r, what, path, &text, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return st_err_set(err, ST_E_CORRUPT, "missing blob: %s " ST_SV_FMT " (no " ST_SV_FMT ")", what,
                          ST_SV_ARG(d->digest), ST_SV_ARG(path));
    if (text.len != d->size.value)
        return st_err_set(err, ST_E_CORRUPT, "%s " ST_SV_FMT " has %zu bytes, not the %llu of its descriptor", what,
                          ST_SV_ARG(d->digest), text.len, (unsigned long long)d->size.value);
    if (digest_of(r->arena->mem, text, digest, err))
        return -1;
    if (!st_sv_eq(st_sv_mem(digest, ST_DIGEST_TEXT), d->digest))
        return st_err_set(err, ST_E_CORRUPT, "wrong digest: %s " ST_SV_FMT " (" ST_SV_FMT ") has %s", what,
                          ST_SV_ARG(d->digest), ST_SV_ARG(path), digest);
    *ret = text;
    return 0;
}

int st_resolver_warn(struct st_resolver *r, struct st_err *err, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct st_sv *s = st_list_push(&r->warnings, r->arena, err);
    if (!s)
        return -1;
    return st_arena_dup(r->arena, st_sv_mem(text, n < 0 ? 0 : ST_MIN((size_t)n, sizeof text - 1)), s, err);
}

// ---- lists of names in error texts ----------------------------------------------------------------------------------

void st_names_add(struct st_names *l, struct st_sv name)
{
    static const char more[] = ", ...";
    size_t room = sizeof l->text - sizeof more - l->len;
    const char *sep = l->n++ ? ", " : "";
    if (l->len >= sizeof l->text - sizeof more) // closed by an earlier call
        return;
    size_t seplen = strlen(sep);
    if (seplen + name.len >= room) {
        memcpy(l->text + l->len, more, sizeof more);
        l->len = sizeof l->text - 1;
        return;
    }
    memcpy(l->text + l->len, sep, seplen);
    if (name.len)
        memcpy(l->text + l->len + seplen, name.ptr, name.len);
    l->len += seplen + name.len;
    l->text[l->len] = '\0';
}

void st_names_add_platform(struct st_names *l, struct st_platform p)
{
    char text[128];
    st_platform_text(p, text, sizeof text);
    st_names_add(l, st_sv_of(text));
}

// ---- tags -----------------------------------------------------------------------------------------------------------

static struct st_sv drop(struct st_sv s, struct st_sv prefix)
{
    return st_sv_starts(s, prefix) ? st_sv_from(s, prefix.len) : s;
}

// Without docker.io/library/ in front and :latest behind.
static struct st_sv short_name(struct st_sv s)
{
    s = drop(drop(s, ST_SV("docker.io/")), ST_SV("library/"));
    struct st_sv latest = ST_SV(":latest");
    return st_sv_ends(s, latest) ? st_sv_sub(s, 0, s.len - latest.len) : s;
}

bool st_tag_matches(struct st_sv tag, struct st_sv name)
{
    return name.len && (st_sv_eq(tag, name) || st_sv_eq(short_name(tag), short_name(name)));
}

// ---- config ---------------------------------------------------------------------------------------------------------

static int set_created_by(struct st_resolver *r, const struct st_config *c, size_t n_layers,
                          struct st_subject_layer *layers, struct st_err *err)
{
    const struct st_history *h = c->history.at;
    size_t used = 0;
    for (size_t i = 0; i < c->history.n; i++) {
        if (h[i].empty_layer)
            continue;
        if (used < n_layers)
            layers[used].created_by = h[i].created_by;
        used++;
    }
    if (c->history.n && used != n_layers)
        return st_resolver_warn(r, err, "history of the config tells of %zu layers, the image has %zu", used, n_layers);
    return 0;
}

int st_resolver_config(struct st_resolver *r, const struct st_config *c, size_t n_layers, struct st_image *ret,
                       struct st_subject_layer *layers, struct st_err *err)
{
    struct st_subject *s = &ret->subject;
    const struct st_sv *diff_ids = c->diff_ids.at;
    if (c->diff_ids.n != n_layers)
        return st_err_set(err, ST_E_CORRUPT, "config " ST_SV_FMT " has %zu diff_ids, the manifest %zu layers",
                          ST_SV_ARG(s->config_digest), c->diff_ids.n, n_layers);
    for (size_t i = 0; i < n_layers; i++) {
        if (st_digest_check(diff_ids[i], err))
            return st_err_wrap(err, "diff_id of layer %zu", i);
        layers[i].diff_id = diff_ids[i];
    }
    s->os = c->os;
    s->architecture = c->architecture;
    s->variant = c->variant;
    s->labels = (struct st_kvs){c->labels.at, c->labels.n};
    ret->created = c->created;
    if (c->os.len == 0 || c->architecture.len == 0) {
        if (st_resolver_warn(r, err, "the config names no platform"))
            return -1;
    } else if (r->how->want.os.len) {
        struct st_platform have = {c->os, c->architecture, c->variant};
        char is[128], want[128];
        st_platform_text(have, is, sizeof is);
        st_platform_text(r->how->want, want, sizeof want);
        if (!st_platform_rank(have, r->how->want))
            return st_err_set(err, ST_E_INPUT, "the image is %s, not %s", is, want);
    }
    return set_created_by(r, c, n_layers, layers, err);
}

// ---- entry ----------------------------------------------------------------------------------------------------------

static int check_layout(struct st_resolver *r, struct st_err *err)
{
    struct st_sv text, version;
    int rc = st_resolver_read(r, "layout file", ST_SV("oci-layout"), &text, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return st_resolver_warn(r, err, "no oci-layout file beside index.json");
    if (st_layout_version(text, r->arena, &version, err))
        return st_err_wrap(err, "oci-layout");
    if (!st_sv_starts(version, ST_SV("1.")))
        return st_err_set(err, ST_E_CORRUPT, "oci-layout: version '%.*s' is not known", (int)ST_MIN(version.len, 40u),
                          version.ptr ? version.ptr : "");
    return 0;
}

static int resolve(struct st_resolver *r, struct st_image *ret, struct st_err *err)
{
    struct st_sv index, manifest;
    int oci = 0, docker = 0;
    if (r->how->pin != ST_PIN_DOCKER)
        oci = st_resolver_read(r, "index", ST_SV("index.json"), &index, err);
    if (oci < 0)
        return -1;
    if (oci > 0)
        return check_layout(r, err) || st_resolver_oci(r, index, ret, err) ? -1 : 0;
    if (r->how->pin != ST_PIN_OCI)
        docker = st_resolver_read(r, "manifest", ST_SV("manifest.json"), &manifest, err);
    if (docker < 0)
        return -1;
    if (docker > 0)
        return st_resolver_docker(r, manifest, ret, err);
    static const char *const looked_for[] = {
        [ST_PIN_NONE] = "neither index.json (OCI) nor manifest.json (docker-archive)",
        [ST_PIN_OCI] = "no index.json: not an OCI image",
        [ST_PIN_DOCKER] = "no manifest.json: not a docker-archive",
    };
    return st_err_set(err, ST_E_INPUT, "there is no image: %s", looked_for[r->how->pin]);
}

int st_image_resolve(const struct st_blobs *blobs, const struct st_resolve *how, struct st_arena *a,
                     struct st_image *ret, struct st_err *err)
{
    struct st_resolver r = {.blobs = blobs, .how = how, .arena = a, .warnings = {.each = sizeof(struct st_sv)}};
    struct st_image img = {0};
    struct st_err mine = {0};
    if (resolve(&r, &img, &mine)) {
        if (mine.code == ST_E_FORMAT) // a bad document is a bad image
            mine.code = ST_E_CORRUPT;
        if (err)
            *err = mine;
        return -1;
    }
    img.warnings = (struct st_svs){r.warnings.at, r.warnings.n};
    *ret = img;
    return 0;
}

int st_image_rootfs(struct st_arena *a, struct st_image *ret, struct st_err *err)
{
    struct st_subject_layer *sl = ST_ARENA_NEW(a, struct st_subject_layer, err);
    struct st_image_layer *il = ST_ARENA_NEW(a, struct st_image_layer, err);
    if (!sl || !il)
        return -1;
    il->blob.where = ST_BLOB_TREE;
    *ret = (struct st_image){.kind = ST_IMAGE_ROOTFS, .layers = il};
    ret->subject.rootfs = true;
    ret->subject.layers = sl;
    ret->subject.n_layers = 1;
    return 0;
}

const char *st_image_kind_name(enum st_image_kind kind)
{
    static const char *const names[ST_IMAGE_KIND_MAX] = {"oci", "docker-archive", "rootfs"};
    return kind < ST_IMAGE_KIND_MAX ? names[kind] : "unknown";
}
