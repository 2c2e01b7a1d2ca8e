// OCI index to manifest (also Docker manifest lists and schema 2): which manifest is meant, and what it says.
#include "base/ckd.h"
#include "image/image_int.h"

#include <stdio.h>

// A manifest that the indexes offer.
struct candidate {
    struct st_descriptor desc;
    struct st_sv name; // of its entry in index.json
    bool absent;       // its blob is not there (an index that was copied without all its platforms)
};

struct oci {
    struct st_resolver *r;
    struct st_list candidates;
};

static const struct st_sv index_types[] = {
    ST_SV_INIT("application/vnd.oci.image.index.v1+json"),
    ST_SV_INIT("application/vnd.docker.distribution.manifest.list.v2+json"),
};
static const struct st_sv manifest_types[] = {
    ST_SV_INIT("application/vnd.oci.image.manifest.v1+json"),
    ST_SV_INIT("application/vnd.docker.distribution.manifest.v2+json"),
};
static const struct st_sv schema1_types[] = {
    ST_SV_INIT("application/vnd.docker.distribution.manifest.v1+json"),
    ST_SV_INIT("application/vnd.docker.distribution.manifest.v1+prettyjws"),
};

static bool one_of(struct st_sv s, const struct st_sv *set, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (st_sv_eq(s, set[i]))
            return true;
    return false;
}

static int schema1_error(struct st_sv digest, struct st_err *err)
{
    return st_err_set(err, ST_E_FAILED, "Docker image manifest schema 1 is not supported: " ST_SV_FMT,
                      ST_SV_ARG(digest));
}

// BuildKit's provenance and SBOM manifests stand in the index under an unknown platform.
static bool is_attestation(const struct st_descriptor *d)
{
    return d->reference_type.len ||
           (st_sv_eq(d->platform.os, ST_SV("unknown")) && st_sv_eq(d->platform.arch, ST_SV("unknown")));
}

static int present(struct oci *o, const struct st_descriptor *d, struct st_err *err)
{
    char name[ST_DIGEST_NAME];
    struct st_blob blob;
    if (st_digest_check(d->digest, err))
        return st_err_wrap(err, "manifest");
    return o->r->blobs->find(o->r->blobs->ctx, st_digest_name(d->digest, name), &blob, err);
}

static int add_candidate(struct oci *o, const struct st_descriptor *d, struct st_sv name, bool absent,
                         struct st_err *err)
{
    struct candidate *all = o->candidates.at;
    for (size_t i = 0; i < o->candidates.n; i++)
        if (st_sv_eq(all[i].desc.digest, d->digest))
            return 0;
    struct candidate *c = st_list_push(&o->candidates, o->r->arena, err);
    if (!c)
        return st_err_wrap(err, "image index");
    *c = (struct candidate){*d, name, absent};
    return 0;
}

static int add_index(struct oci *o, const struct st_manifest *m, struct st_sv name, unsigned depth, struct st_err *err);

static int add_entry(struct oci *o, const struct st_descriptor *d, struct st_sv name, unsigned depth,
                     struct st_err *err)
{
    if (is_attestation(d))
        return 0;
    bool is_index = one_of(d->media_type, index_types, ST_LEN(index_types));
    bool is_manifest = one_of(d->media_type, manifest_types, ST_LEN(manifest_types));
    if (one_of(d->media_type, schema1_types, ST_LEN(schema1_types)))
        return schema1_error(d->digest, err);
    if (d->media_type.len && !is_index && !is_manifest)
        return st_resolver_warn(o->r, err, "index entry " ST_SV_FMT " of type '%.*s' is passed over",
                                ST_SV_ARG(d->digest), (int)ST_MIN(d->media_type.len, 128u), d->media_type.ptr);
    int here = present(o, d, err);
    if (here < 0)
        return -1;
    if (is_manifest || !here)
        return add_candidate(o, d, name, !here, err);
    if (depth >= ST_IMAGE_INDEX_DEPTH)
        return st_err_set(err, ST_E_LIMIT, "image indexes nested deeper than %d: " ST_SV_FMT, ST_IMAGE_INDEX_DEPTH,
                          ST_SV_ARG(d->digest));
    struct st_sv text;
    struct st_manifest m;
    if (st_resolver_blob(o->r, "index", d, &text, err))
        return -1;
    if (st_manifest_parse(text, o->r->arena, &m, err))
        return st_err_wrap(err, "index " ST_SV_FMT, ST_SV_ARG(d->digest));
    if (m.is_index)
        return add_index(o, &m, name, depth + 1, err);
    if (is_index)
        return st_err_set(err, ST_E_CORRUPT, "index " ST_SV_FMT " names no manifests", ST_SV_ARG(d->digest));
    return add_candidate(o, d, name, false, err);
}

static int add_index(struct oci *o, const struct st_manifest *m, struct st_sv name, unsigned depth, struct st_err *err)
{
    const struct st_descriptor *d = m->manifests.at;
    for (size_t i = 0; i < m->manifests.n; i++)
        if (add_entry(o, &d[i], name, depth, err))
            return -1;
    return 0;
}

// ---- which entry of index.json --------------------------------------------------------------------------------------

static struct st_sv name_of(const struct st_descriptor *d)
{
    return d->image_name.len ? d->image_name : d->ref_name;
}

// "@N": entry N of index.json.
static bool by_ordinal(struct st_sv tag, size_t *ret)
{
    uint64_t v;
    if (!st_sv_starts(tag, ST_SV("@")) || !st_sv_u64(st_sv_from(tag, 1), 10, &v) || v > SIZE_MAX)
        return false;
    *ret = (size_t)v;
    return true;
}

static bool entry_wanted(struct st_sv tag, const struct st_descriptor *d, size_t i)
{
    size_t n;
    if (by_ordinal(tag, &n))
        return n == i;
    return tag.len == 0 || st_tag_matches(tag, d->ref_name) || st_tag_matches(tag, d->image_name) ||
           st_sv_eq(tag, d->digest);
}

static int no_such_image(struct oci *o, const struct st_manifest *index, struct st_err *err)
{
    struct st_names names = {0};
    const struct st_descriptor *d = index->manifests.at;
    for (size_t i = 0; i < index->manifests.n; i++)
        st_names_add(&names, name_of(&d[i]).len ? name_of(&d[i]) : d[i].digest);
    if (index->manifests.n == 0)
        return st_err_set(err, ST_E_INPUT, "there is no image in index.json");
    return st_err_set(err, ST_E_INPUT, "no image '" ST_SV_FMT "'; there are: %s", ST_SV_ARG(o->r->how->tag),
                      names.text);
}

// Entries with different names are different images: the user has to say which.
static int one_name(struct oci *o, const struct st_manifest *index, struct st_err *err)
{
    struct st_names names = {0};
    const struct st_descriptor *d = index->manifests.at, *first = NULL;
    bool differ = false;
    for (size_t i = 0; i < index->manifests.n; i++) {
        if (!entry_wanted(o->r->how->tag, &d[i], i) || is_attestation(&d[i]))
            continue;
        struct st_sv name = name_of(&d[i]);
        if (first && !st_sv_eq(first->digest, d[i].digest) && !st_sv_eq(name_of(first), name))
            differ = true;
        first = first ? first : &d[i];
        st_names_add(&names, name.len ? name : d[i].digest);
    }
    if (!first)
        return no_such_image(o, index, err);
    if (differ)
        return st_err_set(err, ST_E_INPUT, "several images; choose one with PATH:TAG: %s", names.text);
    return 0;
}

static int collect(struct oci *o, const struct st_manifest *index, struct st_err *err)
{
    if (one_name(o, index, err))
        return -1;
    const struct st_descriptor *d = index->manifests.at;
    for (size_t i = 0; i < index->manifests.n; i++)
        if (entry_wanted(o->r->how->tag, &d[i], i) && add_entry(o, &d[i], name_of(&d[i]), 1, err))
            return -1;
    if (o->candidates.n == 0)
        return st_err_set(err, ST_E_INPUT, "index.json names no image manifest");
    return 0;
}

// ---- which platform -------------------------------------------------------------------------------------------------

// Charts, signatures, WebAssembly modules and the like are kept in registries under manifests of the same form.
static int check_is_image(const struct st_descriptor *d, const struct st_manifest *m, struct st_err *err)
{
    static const struct st_sv config_types[] = {
        ST_SV_INIT("application/vnd.oci.image.config.v1+json"),
        ST_SV_INIT("application/vnd.docker.container.image.v1+json"),
        ST_SV_INIT("application/octet-stream"), // early registries
    };
    struct st_sv type = m->artifact_type.len ? m->artifact_type : m->config.media_type;
    bool config = st_sv_find(m->config.media_type, '/') == ST_SV_NPOS || // none is said
                  one_of(m->config.media_type, config_types, ST_LEN(config_types));
    if (config && !m->artifact_type.len)
        return 0;
    return st_err_set(err, ST_E_INPUT, ST_SV_FMT " is not an image but an artifact of type '%.*s'",
                      ST_SV_ARG(d->digest), (int)ST_MIN(type.len, 128u), type.ptr);
}

static int read_manifest(struct oci *o, const struct st_descriptor *d, struct st_manifest *ret, struct st_err *err)
{
    struct st_sv text;
    if (st_resolver_blob(o->r, "manifest", d, &text, err))
        return -1;
    if (st_manifest_parse(text, o->r->arena, ret, err))
        return st_err_wrap(err, "manifest " ST_SV_FMT, ST_SV_ARG(d->digest));
    if (ret->is_schema1)
        return schema1_error(d->digest, err);
    if (!ret->has_config || ret->is_index)
        return st_err_set(err, ST_E_CORRUPT, "manifest " ST_SV_FMT " has no config: not an image manifest",
                          ST_SV_ARG(d->digest));
    if (!ret->config.size.set)
        return st_err_set(err, ST_E_CORRUPT, "manifest has no size for its config");
    return check_is_image(d, ret, err);
}

static int read_config(struct oci *o, const struct st_manifest *m, struct st_config *ret, struct st_err *err)
{
    struct st_sv text;
    if (st_resolver_blob(o->r, "config", &m->config, &text, err))
        return -1;
    if (st_config_parse(text, o->r->arena, ret, err))
        return st_err_wrap(err, "config " ST_SV_FMT, ST_SV_ARG(m->config.digest));
    return 0;
}

// The index need not say a manifest's platform; its config does.
static int learn_platform(struct oci *o, struct candidate *c, struct st_err *err)
{
    struct st_manifest m;
    struct st_config config;
    if (c->absent || c->desc.platform.os.len)
        return 0;
    if (read_manifest(o, &c->desc, &m, err) || read_config(o, &m, &config, err))
        return -1;
    c->desc.platform = (struct st_platform){config.os, config.architecture, config.variant};
    return 0;
}

static const struct candidate *best(const struct oci *o, struct st_platform want, bool absent)
{
    const struct candidate *c = o->candidates.at, *ret = NULL;
    unsigned rank = 0;
    for (size_t i = 0; i < o->candidates.n; i++) {
        unsigned k = c[i].absent == absent ? st_platform_rank(c[i].desc.platform, want) : 0;
        if (k > rank) {
            rank = k;
            ret = &c[i];
        }
    }
    return ret;
}

static int missing_manifest(const struct candidate *c, struct st_err *err)
{
    char name[ST_DIGEST_NAME];
    struct st_sv path = st_digest_name(c->desc.digest, name);
    return st_err_set(err, ST_E_CORRUPT, "missing blob: manifest " ST_SV_FMT " (no " ST_SV_FMT ")",
                      ST_SV_ARG(c->desc.digest), ST_SV_ARG(path));
}

static int no_platform(const struct oci *o, struct st_err *err)
{
    struct st_names names = {0};
    const struct candidate *c = o->candidates.at;
    for (size_t i = 0; i < o->candidates.n; i++)
        if (!c[i].absent)
            st_names_add_platform(&names, c[i].desc.platform);
    if (!o->r->how->want.os.len)
        return st_err_set(err, ST_E_INPUT, "several platforms; choose one with --platform: %s", names.text);
    char want[128];
    st_platform_text(o->r->how->want, want, sizeof want);
    return st_err_set(err, ST_E_INPUT, "no image for platform %s; there are: %s", want, names.text);
}

static int choose(struct oci *o, const struct candidate **ret, struct st_err *err)
{
    struct candidate *c = o->candidates.at, *only = NULL;
    size_t here = 0;
    for (size_t i = 0; i < o->candidates.n; i++)
        if (!c[i].absent) {
            only = &c[i];
            here++;
        }
    if (here == 0)
        return missing_manifest(&c[0], err);
    bool wants = o->r->how->want.os.len > 0;
    if (here == 1 && !(wants && only->desc.platform.os.len)) { // its config is checked against `want` later
        *ret = only;
        return 0;
    }
    for (size_t i = 0; i < o->candidates.n; i++)
        if (learn_platform(o, &c[i], err))
            return -1;
    struct st_platform want = wants ? o->r->how->want : o->r->how->host;
    const struct candidate *hit = want.os.len ? best(o, want, false) : NULL;
    if (!hit && !wants && here == 1)
        hit = only;
    if (hit) {
        *ret = hit;
        return 0;
    }
    const struct candidate *gone = wants ? best(o, want, true) : NULL;
    return gone ? missing_manifest(gone, err) : no_platform(o, err);
}

// ---- the manifest ---------------------------------------------------------------------------------------------------

static bool is_foreign(const struct st_descriptor *d)
{
    return st_sv_search(d->media_type, ST_SV(".nondistributable.")) != ST_SV_NPOS ||
           st_sv_search(d->media_type, ST_SV(".foreign.")) != ST_SV_NPOS || d->urls.n > 0;
}

static int find_layers(struct oci *o, const struct st_descriptor *d, const struct st_sv *names, struct st_blob *ret,
                       size_t n, struct st_err *err)
{
    const struct st_blobs *blobs = o->r->blobs;
    if (blobs->find_all)
        return n ? blobs->find_all(blobs->ctx, names, n, ret, err) : 0;
    for (size_t i = 0; i < n; i++) {
        int rc = blobs->find(blobs->ctx, names[i], &ret[i], err);
        if (rc < 0)
            return st_err_wrap(err, "layer %zu " ST_SV_FMT, i, ST_SV_ARG(d[i].digest));
        if (rc == 0)
            ret[i] = (struct st_blob){.where = ST_BLOB_ABSENT};
    }
    return 0;
}

static int place_layer(struct oci *o, size_t i, const struct st_descriptor *d, struct st_sv name,
                       struct st_image_layer *il, struct st_err *err)
{
    il->foreign = is_foreign(d);
    if (il->blob.where == ST_BLOB_ABSENT) {
        if (il->foreign)
            return 0;
        return st_err_set(err, ST_E_CORRUPT, "missing blob: layer %zu " ST_SV_FMT " (no " ST_SV_FMT ")", i,
                          ST_SV_ARG(d->digest), ST_SV_ARG(name));
    }
    if (il->blob.where == ST_BLOB_KEPT)
        return st_err_set(err, ST_E_CORRUPT, "layer %zu " ST_SV_FMT " is a JSON document, not a layer", i,
                          ST_SV_ARG(d->digest));
    if (il->blob.where == ST_BLOB_REMOTE && il->foreign && !o->r->how->foreign) { // its URLs lead anywhere
        il->blob = (struct st_blob){.where = ST_BLOB_ABSENT};
        return 0;
    }
    if (il->blob.where == ST_BLOB_REMOTE) {
        il->blob.length = d->size.value;
        il->toc = st_toc_annotations(d->estargz, d->zstd_checksum, d->zstd_position);
    }
    if (il->blob.length != d->size.value)
        return st_err_set(err, ST_E_CORRUPT, "layer %zu " ST_SV_FMT " has %llu bytes, not the %llu of its descriptor",
                          i, ST_SV_ARG(d->digest), (unsigned long long)il->blob.length,
                          (unsigned long long)d->size.value);
    il->name = name;
    return 0;
}

static int place_layers(struct oci *o, const struct st_manifest *m, struct st_subject_layer *sl,
                        struct st_image_layer *il, struct st_image *ret, struct st_err *err)
{
    const struct st_descriptor *d = m->layers.at;
    size_t n = m->layers.n;
    uint64_t size = m->config.size.value;
    struct st_sv *names = st_arena_array(o->r->arena, n + 1, sizeof *names, err);
    struct st_blob *blobs = st_arena_array(o->r->arena, n + 1, sizeof *blobs, err);
    if (!names || !blobs)
        return -1;
    for (size_t i = 0; i < n; i++) {
        char buf[ST_DIGEST_NAME];
        if (!d[i].size.set)
            return st_err_set(err, ST_E_CORRUPT, "manifest has no size for layer %zu", i);
        if (st_digest_check(d[i].digest, err))
            return st_err_wrap(err, "layer %zu", i);
        if (st_ckd_add(&size, size, d[i].size.value) || size > INT64_MAX)
            return st_err_set(err, ST_E_CORRUPT, "sizes in the manifest add up to more than 8 EiB");
        sl[i].digest = d[i].digest;
        sl[i].media_type = d[i].media_type;
        sl[i].size = d[i].size.value;
        if (st_arena_dup(o->r->arena, st_digest_name(d[i].digest, buf), &names[i], err))
            return -1;
    }
    if (find_layers(o, d, names, blobs, n, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        il[i].blob = blobs[i];
        if (place_layer(o, i, &d[i], names[i], &il[i], err))
            return -1;
    }
    ret->config_size = m->config.size.value;
    ret->subject.size = size;
    return 0;
}

static int set_tags(struct oci *o, const struct st_manifest *index, const struct candidate *c, struct st_image *ret,
                    struct st_err *err)
{
    struct st_list tags = {.each = sizeof(struct st_sv)};
    const struct st_descriptor *d = index->manifests.at;
    for (size_t i = 0; i < index->manifests.n; i++) {
        // Names of this very image: its own entry, entries of the same digest, and the entry of the index it came from.
        struct st_sv name = name_of(&d[i]);
        if (name.len == 0 || !(st_sv_eq(d[i].digest, c->desc.digest) || st_sv_eq(name, c->name)))
            continue;
        bool have = false;
        const struct st_sv *at = tags.at;
        for (size_t k = 0; k < tags.n; k++)
            have |= st_sv_eq(at[k], name);
        struct st_sv *s = have ? NULL : st_list_push(&tags, o->r->arena, err);
        if (!have && !s)
            return -1;
        if (s)
            *s = name;
    }
    ret->subject.tags = (struct st_svs){tags.at, tags.n};
    return 0;
}

static int fill(struct oci *o, const struct candidate *c, struct st_image *ret, struct st_err *err)
{
    struct st_manifest m;
    struct st_config config;
    if (read_manifest(o, &c->desc, &m, err) || read_config(o, &m, &config, err))
        return -1;
    size_t n = m.layers.n;
    if (n > ST_IMAGE_LAYERS_MAX)
        return st_err_set(err, ST_E_LIMIT, "manifest names more than %d layers", ST_IMAGE_LAYERS_MAX);
    struct st_subject_layer *sl = st_arena_array(o->r->arena, n ? n : 1, sizeof *sl, err);
    struct st_image_layer *il = st_arena_array(o->r->arena, n ? n : 1, sizeof *il, err);
    if (!sl || !il)
        return -1;
    ret->kind = ST_IMAGE_OCI;
    ret->subject.manifest_digest = c->desc.digest;
    ret->subject.media_type = m.media_type.len ? m.media_type : c->desc.media_type;
    ret->subject.config_digest = m.config.digest;
    ret->subject.layers = sl;
    ret->subject.n_layers = n;
    ret->layers = il;
    if (st_resolver_config(o->r, &config, n, ret, sl, err))
        return -1;
    struct st_platform has = {config.os, config.architecture, config.variant};
    if (c->desc.platform.os.len && config.os.len && !st_platform_rank(has, c->desc.platform)) {
        char says[128], is[128];
        st_platform_text(c->desc.platform, says, sizeof says);
        st_platform_text(has, is, sizeof is);
        if (st_resolver_warn(o->r, err, "the index says %s, the config %s", says, is))
            return -1;
    }
    return place_layers(o, &m, sl, il, ret, err);
}

int st_resolver_oci(struct st_resolver *r, struct st_sv text, struct st_image *ret, struct st_err *err)
{
    struct oci o = {.r = r, .candidates = {.each = sizeof(struct candidate), .max = ST_IMAGE_CANDIDATES_MAX}};
    struct st_manifest index;
    const struct candidate *c = NULL;
    if (st_manifest_parse(text, r->arena, &index, err))
        return st_err_wrap(err, "index.json");
    if (!index.is_index && (index.has_config || index.layers.n)) // umoci's empty layout has `null`
        return st_err_set(err, ST_E_CORRUPT, "index.json is a manifest, not an index");
    if (collect(&o, &index, err) || choose(&o, &c, err) || fill(&o, c, ret, err))
        return -1;
    return set_tags(&o, &index, c, ret, err);
}
