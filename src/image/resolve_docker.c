// docker-archive: manifest.json names config and layers as members of the archive.
#include "archive/tar.h"
#include "base/ckd.h"
#include "image/image_int.h"

static struct st_sv first_name(const struct st_docker_image *d)
{
    return d->tags.n ? ((const struct st_sv *)d->tags.at)[0] : d->config;
}

static bool has_tag(const struct st_docker_image *d, struct st_sv tag)
{
    const struct st_sv *t = d->tags.at;
    for (size_t i = 0; i < d->tags.n; i++)
        if (st_tag_matches(tag, t[i]))
            return true;
    return false;
}

// The image that is meant; others with the same config are the same image under more names.
static int choose(struct st_resolver *r, const struct st_list *all, const struct st_docker_image **ret,
                  struct st_err *err)
{
    const struct st_docker_image *d = all->at, *hit = NULL;
    struct st_sv tag = r->how->tag;
    struct st_names names = {0};
    uint64_t ordinal = UINT64_MAX;
    bool by_ordinal = st_sv_starts(tag, ST_SV("@")) && st_sv_u64(st_sv_from(tag, 1), 10, &ordinal), several = false;
    for (size_t i = 0; i < all->n; i++) {
        st_names_add(&names, first_name(&d[i]));
        if (by_ordinal ? i != ordinal : tag.len && !has_tag(&d[i], tag))
            continue;
        if (hit && !st_sv_eq(hit->config, d[i].config))
            several = true;
        hit = hit ? hit : &d[i];
    }
    if (!hit && tag.len && all->n)
        return st_err_set(err, ST_E_INPUT, "no image '" ST_SV_FMT "'; there are: %s", ST_SV_ARG(tag), names.text);
    if (!hit)
        return st_err_set(err, ST_E_INPUT, "manifest.json names no image");
    if (several)
        return st_err_set(err, ST_E_INPUT, "several images; choose one with docker-archive:PATH:TAG: %s", names.text);
    *ret = hit;
    return 0;
}

static int normal_name(struct st_resolver *r, struct st_sv raw, struct st_sv *ret, struct st_err *err)
{
    char *name = st_arena_bytes(r->arena, raw.len + 1, err);
    if (!name)
        return -1;
    *ret = st_sv_mem(name, st_path_normalise(raw, name));
    return 0;
}

// Writers name the config by its digest: "<hex>.json" or "blobs/sha256/<hex>". Such a name is a promise.
static int check_config_name(struct st_sv name, struct st_sv digest, struct st_err *err)
{
    struct st_sv hex = st_sv_basename(name);
    bool is_blob = st_sv_starts(name, ST_SV("blobs/sha256/"));
    if (st_sv_ends(hex, ST_SV(".json")))
        hex = st_sv_sub(hex, 0, hex.len - ST_SV(".json").len);
    else if (!is_blob)
        return 0;
    char text[ST_DIGEST_TEXT] = "sha256:";
    if (hex.len != ST_DIGEST_TEXT - ST_SV("sha256:").len)
        return 0;
    memcpy(text + ST_SV("sha256:").len, hex.ptr, hex.len);
    if (st_digest_check(st_sv_mem(text, sizeof text), NULL) || st_sv_eq(st_sv_mem(text, sizeof text), digest))
        return 0;
    return st_err_set(err, ST_E_CORRUPT, "wrong digest: config " ST_SV_FMT " has " ST_SV_FMT, ST_SV_ARG(name),
                      ST_SV_ARG(digest));
}

static bool is_foreign(const struct st_docker_image *d, struct st_sv diff_id)
{
    const struct st_sv *s = d->sources.at;
    for (size_t i = 0; i < d->sources.n; i++)
        if (st_sv_eq(s[i], diff_id))
            return true;
    return false;
}

static int place_layer(struct st_resolver *r, const struct st_docker_image *d, size_t i, struct st_subject_layer *sl,
                       struct st_image_layer *il, struct st_err *err)
{
    const struct st_sv *raw = d->layers.at;
    struct st_sv name;
    if (normal_name(r, raw[i], &name, err))
        return -1;
    il->foreign = is_foreign(d, sl->diff_id);
    int rc = r->blobs->find(r->blobs->ctx, name, &il->blob, err);
    if (rc < 0)
        return st_err_wrap(err, "layer %zu " ST_SV_FMT, i, ST_SV_ARG(name));
    if (rc == 0) {
        il->blob = (struct st_blob){.where = ST_BLOB_ABSENT};
        if (il->foreign)
            return 0;
        return st_err_set(err, ST_E_CORRUPT, "missing blob: layer %zu " ST_SV_FMT " (no " ST_SV_FMT ")", i,
                          ST_SV_ARG(sl->diff_id), ST_SV_ARG(name));
    }
    if (il->blob.where == ST_BLOB_KEPT)
        return st_err_set(err, ST_E_CORRUPT, "layer %zu " ST_SV_FMT " is a JSON document, not a layer", i,
                          ST_SV_ARG(name));
    il->name = name;
    sl->size = il->blob.length;
    return 0;
}

static int read_config(struct st_resolver *r, const struct st_docker_image *d, struct st_config *config,
                       struct st_image *ret, struct st_err *err)
{
    struct st_sv name, text;
    if (normal_name(r, d->config, &name, err))
        return -1;
    int rc = st_resolver_read(r, "config", name, &text, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return st_err_set(err, ST_E_CORRUPT, "missing blob: config (no " ST_SV_FMT ")", ST_SV_ARG(name));
    if (st_resolver_digest(r, text, &ret->subject.config_digest, err) ||
        check_config_name(name, ret->subject.config_digest, err))
        return -1;
    if (st_config_parse(text, r->arena, config, err))
        return st_err_wrap(err, "config " ST_SV_FMT, ST_SV_ARG(name));
    ret->config_size = text.len;
    return 0;
}

int st_resolver_docker(struct st_resolver *r, struct st_sv text, struct st_image *ret, struct st_err *err)
{
    struct st_list all;
    const struct st_docker_image *d = NULL;
    struct st_config config;
    if (st_docker_manifest_parse(text, r->arena, &all, err))
        return st_err_wrap(err, "manifest.json");
    if (choose(r, &all, &d, err) || read_config(r, d, &config, ret, err))
        return -1;
    size_t n = d->layers.n;
    if (n > ST_IMAGE_LAYERS_MAX)
        return st_err_set(err, ST_E_LIMIT, "manifest.json names more than %d layers", ST_IMAGE_LAYERS_MAX);
    struct st_subject_layer *sl = st_arena_array(r->arena, n ? n : 1, sizeof *sl, err);
    struct st_image_layer *il = st_arena_array(r->arena, n ? n : 1, sizeof *il, err);
    if (!sl || !il || st_resolver_config(r, &config, n, ret, sl, err))
        return -1;
    uint64_t size = ret->config_size;
    for (size_t i = 0; i < n; i++) {
        if (place_layer(r, d, i, &sl[i], &il[i], err))
            return -1;
        if (st_ckd_add(&size, size, sl[i].size) || size > INT64_MAX)
            return st_err_set(err, ST_E_CORRUPT, "sizes of the layers add up to more than 8 EiB");
    }
    ret->kind = ST_IMAGE_DOCKER;
    ret->layers = il;
    ret->subject.size = size;
    ret->subject.tags = (struct st_svs){d->tags.at, d->tags.n};
    ret->subject.layers = sl;
    ret->subject.n_layers = n;
    return 0;
}
