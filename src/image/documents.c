// JSON documents of an image as records. Nothing is checked here but JSON and types; the resolver judges the values.
#include "base/ckd.h"
#include "base/sort.h"
#include "image/image_int.h"

#define ELEMENTS_MAX 65536 // of any array in a document

static int wrong_type(const struct st_json_tok *tok, const char *wanted, struct st_err *err)
{
    return st_err_set_off(err, ST_E_FORMAT, tok->at, "expected %s", wanted);
}

void *st_list_push(struct st_list *l, struct st_arena *a, struct st_err *err)
{
    if (l->n >= (l->max ? l->max : ELEMENTS_MAX)) {
        st_err_set(err, ST_E_LIMIT, "more than %zu elements", l->n);
        return NULL;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8;
        void *at = st_arena_array(a, cap, l->each, err);
        if (!at)
            return NULL;
        if (l->n)
            memcpy(at, l->at, l->n * l->each);
        l->at = at;
        l->cap = cap;
    }
    return (char *)l->at + l->each * l->n++;
}

int st_doc_object(struct st_doc *d, const struct st_json_tok *tok, const struct st_doc_field *fields, size_t n,
                  void *base, struct st_err *err)
{
    if (tok->type != ST_JSON_OBJECT)
        return wrong_type(tok, "an object", err);
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(&d->json, &key, &val, err)) > 0) {
        const struct st_doc_field *f = NULL;
        for (size_t i = 0; i < n && !f && val.type != ST_JSON_NULL; i++)
            if (st_json_is(&key, fields[i].key))
                f = &fields[i];
        if (f ? f->read(d, &val, (char *)base + f->offset, err) : st_json_skip(&d->json, &val, err))
            return -1;
    }
    return rc;
}

int st_doc_text(struct st_doc *d, const struct st_json_tok *tok, void *sv, struct st_err *err)
{
    if (tok->type != ST_JSON_STRING)
        return wrong_type(tok, "a string", err);
    return st_json_text(tok, d->arena, sv, err);
}

int st_doc_texts(struct st_doc *d, const struct st_json_tok *tok, void *list, struct st_err *err)
{
    struct st_list *l = list;
    if (tok->type != ST_JSON_ARRAY)
        return wrong_type(tok, "an array of strings", err);
    *l = (struct st_list){.each = sizeof(struct st_sv)};
    struct st_json_tok val;
    int rc;
    while ((rc = st_json_element(&d->json, &val, err)) > 0) {
        struct st_sv *s = st_list_push(l, d->arena, err);
        if (!s || st_doc_text(d, &val, s, err))
            return -1;
    }
    return rc;
}

int st_doc_bool(struct st_doc *d, const struct st_json_tok *tok, void *flag, struct st_err *err)
{
    if (tok->type != ST_JSON_TRUE && tok->type != ST_JSON_FALSE)
        return wrong_type(tok, "true or false", err);
    *(bool *)flag = tok->type == ST_JSON_TRUE;
    return 0;
}

int st_doc_array(struct st_doc *d, const struct st_json_tok *tok, const struct st_doc_field *fields, size_t n,
                 void *list, struct st_err *err)
{
    struct st_list *l = list;
    if (tok->type != ST_JSON_ARRAY)
        return wrong_type(tok, "an array", err);
    l->n = 0;
    struct st_json_tok val;
    int rc;
    while ((rc = st_json_element(&d->json, &val, err)) > 0) {
        void *at = st_list_push(l, d->arena, err);
        if (!at || st_doc_object(d, &val, fields, n, at, err))
            return -1;
    }
    return rc;
}

// A whole document: one object, nothing behind it.
static int doc_parse(struct st_sv text, struct st_arena *a, const struct st_doc_field *fields, size_t n, void *base,
                     struct st_err *err)
{
    struct st_doc d = {.arena = a};
    st_json_init(&d.json, text);
    d.json.allow_bom = true;
    struct st_json_tok tok;
    if (st_json_next(&d.json, &tok, err) || st_doc_object(&d, &tok, fields, n, base, err))
        return -1;
    return st_json_next(&d.json, &tok, err); // the reader refuses everything but the end here
}

// ---- descriptors ----------------------------------------------------------------------------------------------------

static int read_size(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    struct st_number *v = into;
    if (tok->type != ST_JSON_NUMBER || !st_sv_u64(tok->raw, 10, &v->value) || v->value > INT64_MAX)
        return wrong_type(tok, "a size in bytes", err);
    v->set = true;
    return 0;
}

static const struct st_doc_field platform_fields[] = {
    {ST_SV_INIT("os"), st_doc_text, offsetof(struct st_platform, os)},
    {ST_SV_INIT("architecture"), st_doc_text, offsetof(struct st_platform, arch)},
    {ST_SV_INIT("variant"), st_doc_text, offsetof(struct st_platform, variant)},
};

static int read_platform(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    return st_doc_object(d, tok, platform_fields, ST_LEN(platform_fields), into, err);
}

// Of an annotation that only makes things faster: one that is no string is as good as none.
static int hint_text(struct st_doc *d, const struct st_json_tok *tok, void *sv, struct st_err *err)
{
    return tok->type == ST_JSON_STRING ? st_doc_text(d, tok, sv, err) : st_json_skip(&d->json, tok, err);
}

static const struct st_doc_field annotation_fields[] = {
    {ST_SV_INIT("org.opencontainers.image.ref.name"), st_doc_text, offsetof(struct st_descriptor, ref_name)},
    {ST_SV_INIT("io.containerd.image.name"), st_doc_text, offsetof(struct st_descriptor, image_name)},
    {ST_SV_INIT("vnd.docker.reference.type"), st_doc_text, offsetof(struct st_descriptor, reference_type)},
    {ST_SV_INIT("containerd.io/snapshot/stargz/toc.digest"), hint_text, offsetof(struct st_descriptor, estargz)},
    {ST_SV_INIT("io.github.containers.zstd-chunked.manifest-checksum"), hint_text,
     offsetof(struct st_descriptor, zstd_checksum)},
    {ST_SV_INIT("io.github.containers.zstd-chunked.manifest-position"), hint_text,
     offsetof(struct st_descriptor, zstd_position)},
};

static int read_annotations(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    return st_doc_object(d, tok, annotation_fields, ST_LEN(annotation_fields), into, err);
}

static const struct st_doc_field descriptor_fields[] = {
    {ST_SV_INIT("mediaType"), st_doc_text, offsetof(struct st_descriptor, media_type)},
    {ST_SV_INIT("digest"), st_doc_text, offsetof(struct st_descriptor, digest)},
    {ST_SV_INIT("size"), read_size, offsetof(struct st_descriptor, size)},
    {ST_SV_INIT("platform"), read_platform, offsetof(struct st_descriptor, platform)},
    {ST_SV_INIT("urls"), st_doc_texts, offsetof(struct st_descriptor, urls)},
    {ST_SV_INIT("annotations"), read_annotations, 0},
};

static int read_descriptors(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    struct st_list *l = into;
    *l = (struct st_list){.each = sizeof(struct st_descriptor), .max = ST_IMAGE_CANDIDATES_MAX};
    return st_doc_array(d, tok, descriptor_fields, ST_LEN(descriptor_fields), l, err);
}

// ---- index and manifest ---------------------------------------------------------------------------------------------

static int read_config_descriptor(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    struct st_manifest *m = into;
    m->has_config = true;
    m->config = (struct st_descriptor){0};
    return st_doc_object(d, tok, descriptor_fields, ST_LEN(descriptor_fields), &m->config, err);
}

static int read_manifests(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    struct st_manifest *m = into;
    m->is_index = true;
    return read_descriptors(d, tok, &m->manifests, err);
}

static int read_schema1(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    *(bool *)into = true;
    return st_json_skip(&d->json, tok, err);
}

static const struct st_doc_field manifest_fields[] = {
    {ST_SV_INIT("mediaType"), st_doc_text, offsetof(struct st_manifest, media_type)},
    {ST_SV_INIT("artifactType"), st_doc_text, offsetof(struct st_manifest, artifact_type)},
    {ST_SV_INIT("config"), read_config_descriptor, 0},
    {ST_SV_INIT("layers"), read_descriptors, offsetof(struct st_manifest, layers)},
    {ST_SV_INIT("manifests"), read_manifests, 0},
    {ST_SV_INIT("fsLayers"), read_schema1, offsetof(struct st_manifest, is_schema1)},
};

int st_manifest_parse(struct st_sv text, struct st_arena *a, struct st_manifest *ret, struct st_err *err)
{
    *ret = (struct st_manifest){0};
    return doc_parse(text, a, manifest_fields, ST_LEN(manifest_fields), ret, err);
}

// ---- config ---------------------------------------------------------------------------------------------------------

static int by_key(const void *a, const void *b)
{
    const struct st_kv *x = a, *y = b;
    int c = st_sv_cmp(x->key, y->key);
    return c ? c : st_sv_cmp(x->value, y->value); // a key that comes twice: the same one is kept, however they stood
}

static int read_labels(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    struct st_list *l = into;
    if (tok->type != ST_JSON_OBJECT)
        return wrong_type(tok, "an object of strings", err);
    *l = (struct st_list){.each = sizeof(struct st_kv)};
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(&d->json, &key, &val, err)) > 0) {
        struct st_kv *kv = st_list_push(l, d->arena, err);
        if (!kv || st_json_text(&key, d->arena, &kv->key, err))
            return -1;
        if (val.type != ST_JSON_NULL && st_doc_text(d, &val, &kv->value, err))
            return -1;
    }
    if (rc || l->n == 0)
        return rc;
    struct st_kv *at = l->at;
    st_sort(at, l->n, sizeof *at, by_key);
    size_t n = 1;
    for (size_t i = 1; i < l->n; i++)
        if (!st_sv_eq(at[i].key, at[n - 1].key))
            at[n++] = at[i];
    l->n = n;
    return 0;
}

static const struct st_doc_field run_fields[] = {{ST_SV_INIT("Labels"), read_labels, 0}};

static int read_run(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    return st_doc_object(d, tok, run_fields, ST_LEN(run_fields), into, err);
}

static const struct st_doc_field rootfs_fields[] = {{ST_SV_INIT("diff_ids"), st_doc_texts, 0}};

static int read_rootfs(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    return st_doc_object(d, tok, rootfs_fields, ST_LEN(rootfs_fields), into, err);
}

static const struct st_doc_field history_fields[] = {
    {ST_SV_INIT("created_by"), st_doc_text, offsetof(struct st_history, created_by)},
    {ST_SV_INIT("empty_layer"), st_doc_bool, offsetof(struct st_history, empty_layer)},
};

static int read_history(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    struct st_list *l = into;
    *l = (struct st_list){.each = sizeof(struct st_history)};
    return st_doc_array(d, tok, history_fields, ST_LEN(history_fields), l, err);
}

static const struct st_doc_field config_fields[] = {
    {ST_SV_INIT("os"), st_doc_text, offsetof(struct st_config, os)},
    {ST_SV_INIT("architecture"), st_doc_text, offsetof(struct st_config, architecture)},
    {ST_SV_INIT("variant"), st_doc_text, offsetof(struct st_config, variant)},
    {ST_SV_INIT("created"), st_doc_text, offsetof(struct st_config, created)},
    {ST_SV_INIT("config"), read_run, offsetof(struct st_config, labels)},
    {ST_SV_INIT("rootfs"), read_rootfs, offsetof(struct st_config, diff_ids)},
    {ST_SV_INIT("history"), read_history, offsetof(struct st_config, history)},
};

int st_config_parse(struct st_sv text, struct st_arena *a, struct st_config *ret, struct st_err *err)
{
    *ret = (struct st_config){0};
    return doc_parse(text, a, config_fields, ST_LEN(config_fields), ret, err);
}

// ---- docker-archive -------------------------------------------------------------------------------------------------

static int read_keys(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    struct st_list *l = into;
    if (tok->type != ST_JSON_OBJECT)
        return wrong_type(tok, "an object", err);
    *l = (struct st_list){.each = sizeof(struct st_sv)};
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(&d->json, &key, &val, err)) > 0) {
        struct st_sv *s = st_list_push(l, d->arena, err);
        if (!s || st_json_text(&key, d->arena, s, err) || st_json_skip(&d->json, &val, err))
            return -1;
    }
    return rc;
}

static const struct st_doc_field docker_fields[] = {
    {ST_SV_INIT("Config"), st_doc_text, offsetof(struct st_docker_image, config)},
    {ST_SV_INIT("RepoTags"), st_doc_texts, offsetof(struct st_docker_image, tags)},
    {ST_SV_INIT("Layers"), st_doc_texts, offsetof(struct st_docker_image, layers)},
    {ST_SV_INIT("LayerSources"), read_keys, offsetof(struct st_docker_image, sources)},
};

int st_docker_manifest_parse(struct st_sv text, struct st_arena *a, struct st_list *ret, struct st_err *err)
{
    *ret = (struct st_list){.each = sizeof(struct st_docker_image), .max = ST_IMAGE_CANDIDATES_MAX};
    struct st_doc d = {.arena = a};
    st_json_init(&d.json, text);
    d.json.allow_bom = true;
    struct st_json_tok tok;
    if (st_json_next(&d.json, &tok, err) || st_doc_array(&d, &tok, docker_fields, ST_LEN(docker_fields), ret, err))
        return -1;
    return st_json_next(&d.json, &tok, err);
}

int st_layout_version(struct st_sv text, struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    static const struct st_doc_field fields[] = {{ST_SV_INIT("imageLayoutVersion"), st_doc_text, 0}};
    struct st_sv version = ST_SV_NULL;
    if (doc_parse(text, a, fields, ST_LEN(fields), &version, err))
        return -1;
    *ret = version;
    return 0;
}
