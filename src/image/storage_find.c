// images.json and layers.json: which image, which layers.
#include "base/ckd.h"
#include "base/map.h"
#include "image/image_int.h"
#include "image/storage.h"

#define ID_SHORT 12
#define ID_MAX 128

bool st_storage_id_ok(struct st_sv id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' ||
              (c == '.' && i)))
            return false;
    }
    return id.len && id.len <= ID_MAX;
}

static int of_file(const char *file, struct st_err *err)
{
    if (err && err->code == ST_E_FORMAT)
        err->code = ST_E_CORRUPT;
    return st_err_wrap(err, "%s", file);
}

// Walks the array of objects that the text is; `each` sees them one by one, and may end it with 1.
static int each_object(struct st_sv text, const struct st_doc_field *fields, size_t n, void *record, size_t size,
                       struct st_arena *a, int (*each)(void *ctx, void *record, struct st_err *err), void *ctx,
                       struct st_err *err)
{
    struct st_doc d = {.arena = a};
    struct st_json_tok tok;
    int rc;
    st_json_init(&d.json, text);
    if (st_json_next(&d.json, &tok, err))
        return -1;
    if (tok.type == ST_JSON_NULL) // a store that never had any
        return 0;
    if (tok.type != ST_JSON_ARRAY)
        return st_err_set(err, ST_E_CORRUPT, "not an array");
    while ((rc = st_json_element(&d.json, &tok, err)) > 0) {
        memset(record, 0, size);
        if (st_doc_object(&d, &tok, fields, n, record, err))
            return -1;
        rc = each(ctx, record, err);
        if (rc)
            return rc;
    }
    return rc;
}

// ---- images ---------------------------------------------------------------------------------------------------------

struct image {
    struct st_sv id, layer, digest;
    struct st_list names, keys; // struct st_sv
};

static const struct st_doc_field image_fields[] = {
    {ST_SV_INIT("id"), st_doc_text, offsetof(struct image, id)},
    {ST_SV_INIT("layer"), st_doc_text, offsetof(struct image, layer)},
    {ST_SV_INIT("digest"), st_doc_text, offsetof(struct image, digest)},
    {ST_SV_INIT("names"), st_doc_texts, offsetof(struct image, names)},
    {ST_SV_INIT("big-data-names"), st_doc_texts, offsetof(struct image, keys)},
};

// In this order, the first that an image has wins.
enum { AS_TYPED, OF_LOCALHOST, IN_FULL, BY_ID, WAYS };

struct search {
    const struct st_reference *ref;
    struct st_sv names[WAYS];
    struct image found;
    unsigned way; // of it; WAYS: nothing yet
};

static bool listed(const struct st_list *l, struct st_sv name)
{
    const struct st_sv *at = l->at;
    for (size_t i = 0; i < l->n; i++)
        if (name.len && st_sv_eq(at[i], name))
            return true;
    return false;
}

// DOMAIN/REPOSITORY of a name in the store.
static bool of_repository(const struct st_list *names, const struct st_reference *ref)
{
    const struct st_sv *at = names->at;
    for (size_t i = 0; i < names->n; i++) {
        struct st_sv host, rest;
        if (!st_sv_cut(at[i], '/', &host, &rest) || !st_sv_eq(host, ref->domain) ||
            !st_sv_starts(rest, ref->repository))
            continue;
        rest = st_sv_from(rest, ref->repository.len);
        if (rest.len == 0 || rest.ptr[0] == ':' || rest.ptr[0] == '@')
            return true;
    }
    return false;
}

// The store keeps the manifest of one platform, and the index that it came from under a name of its own.
static bool has_digest(const struct image *img, struct st_sv digest)
{
    const struct st_sv *at = img->keys.at;
    struct st_sv prefix = ST_SV("manifest-");
    bool hit = st_sv_eq(img->digest, digest);
    for (size_t i = 0; i < img->keys.n; i++)
        hit |= st_sv_starts(at[i], prefix) && st_sv_eq(st_sv_from(at[i], prefix.len), digest);
    return hit;
}

static int look(void *ctx, void *record, struct st_err *err)
{
    struct search *s = ctx;
    const struct image *img = record;
    unsigned way = AS_TYPED;
    (void)err;
    if (!st_storage_id_ok(img->id) || (s->ref->digest.len && !has_digest(img, s->ref->digest)))
        return 0;
    if (s->ref->digest.len && !s->ref->tag.len && of_repository(&img->names, s->ref)) {
        s->found = *img;
        s->way = AS_TYPED;
        return 0;
    }
    while (way < BY_ID && !listed(&img->names, s->names[way]))
        way++;
    if (way == BY_ID && !(s->ref->name.len >= ID_SHORT && st_sv_starts(img->id, s->ref->name)))
        return 0;
    if (way < s->way) {
        s->found = *img;
        s->way = way;
    }
    return 0;
}

int st_storage_image(struct st_sv images_json, const struct st_reference *ref, struct st_arena *a,
                     struct st_storage_image *ret, struct st_err *err)
{
    struct search s = {.ref = ref, .way = WAYS};
    struct image img;
    struct st_sv typed, rest;
    st_sv_cut(ref->name, '@', &typed, &rest);
    bool tagged = st_sv_find(typed, ':') != ST_SV_NPOS; // a port is no part of a short name
    s.names[AS_TYPED] = ref->name;
    if (st_sv_eq(ref->domain, ST_SV("docker.io")) &&
        st_arena_fmt(a, &s.names[OF_LOCALHOST], err, "localhost/" ST_SV_FMT "%s", ST_SV_ARG(typed),
                     tagged ? "" : ":latest"))
        return -1;
    if (ref->tag.len && st_arena_fmt(a, &s.names[IN_FULL], err, ST_SV_FMT "/" ST_SV_FMT ":" ST_SV_FMT,
                                     ST_SV_ARG(ref->domain), ST_SV_ARG(ref->repository), ST_SV_ARG(ref->tag)))
        return -1;
    if (each_object(images_json, image_fields, ST_LEN(image_fields), &img, sizeof img, a, look, &s, err) < 0)
        return of_file("images.json", err);
    if (s.way == WAYS)
        return 0;
    if (s.found.layer.len && !st_storage_id_ok(s.found.layer))
        return st_err_set(err, ST_E_CORRUPT, "images.json: the image's layer has no good id");
    *ret = (struct st_storage_image){s.found.id, s.found.layer, {s.found.names.at, s.found.names.n}};
    return 1;
}

// ---- layers ---------------------------------------------------------------------------------------------------------

struct layer {
    struct st_sv id, parent;
    struct st_number size;
};

static int read_size(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err)
{
    struct st_number *n = into;
    (void)d;
    if (tok->type != ST_JSON_NUMBER)
        return st_err_set_off(err, ST_E_FORMAT, tok->at, "expected a number");
    n->set = st_sv_u64(tok->raw, 10, &n->value) && n->value <= INT64_MAX; // -1: not known
    return 0;
}

static const struct st_doc_field layer_fields[] = {
    {ST_SV_INIT("id"), st_doc_text, offsetof(struct layer, id)},
    {ST_SV_INIT("parent"), st_doc_text, offsetof(struct layer, parent)},
    {ST_SV_INIT("diff-size"), read_size, offsetof(struct layer, size)},
};

struct known {
    struct st_arena *arena;
    struct st_map map; // hash of the id -> struct layer *
};

static int keep_layer(void *ctx, void *record, struct st_err *err)
{
    struct known *k = ctx;
    const struct layer *l = record;
    if (!st_storage_id_ok(l->id))
        return 0;
    if (k->map.count == ST_STORAGE_LAYERS_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d layers", ST_STORAGE_LAYERS_MAX);
    struct layer *own = ST_ARENA_NEW(k->arena, struct layer, err);
    uint64_t *slot = own ? st_map_put(&k->map, st_hash(l->id), NULL, err) : NULL;
    if (!slot)
        return -1;
    *own = *l;
    *slot = (uintptr_t)own;
    return 0;
}

static const struct layer *layer_of(const struct known *k, struct st_sv id)
{
    const uint64_t *slot = st_map_get(&k->map, st_hash(id));
    const struct layer *l = slot ? (const struct layer *)(uintptr_t)*slot : NULL;
    return l && st_sv_eq(l->id, id) ? l : NULL;
}

static int chain(const struct known *k, struct st_sv top, struct st_storage_layer **ret, size_t *ret_n,
                 struct st_err *err)
{
    const struct layer *l;
    size_t n = 0;
    for (struct st_sv id = top; id.len; id = l->parent, n++) {
        if (n == ST_IMAGE_LAYERS_MAX)
            return st_err_set(err, ST_E_LIMIT, "an image of more than %d layers, or a circle", ST_IMAGE_LAYERS_MAX);
        l = layer_of(k, id);
        if (!l)
            return st_err_set(err, ST_E_CORRUPT, "layer " ST_SV_FMT " is not there",
                              ST_SV_ARG(st_sv_sub(id, 0, ID_MAX)));
        if (!l->size.set)
            return st_err_set(err, ST_E_FAILED,
                              "layer " ST_SV_FMT " was not made from an archive: its engine can still pack it "
                              "(podman save IMAGE | stella scan image -)",
                              ST_SV_ARG(id));
    }
    struct st_storage_layer *all = st_arena_array(k->arena, n + 1, sizeof *all, err);
    if (!all)
        return -1;
    size_t i = n;
    for (struct st_sv id = top; i; id = l->parent) {
        l = layer_of(k, id);
        all[--i] = (struct st_storage_layer){l->id, l->size.value};
    }
    *ret = all;
    *ret_n = n;
    return 0;
}

int st_storage_layers(struct st_sv layers_json, struct st_sv top, struct st_arena *a, struct st_storage_layer **ret,
                      size_t *ret_n, struct st_err *err)
{
    struct known k = {.arena = a};
    struct layer l;
    st_map_init(&k.map, a->mem);
    int rc = each_object(layers_json, layer_fields, ST_LEN(layer_fields), &l, sizeof l, a, keep_layer, &k, err);
    if (rc == 0)
        rc = chain(&k, top, ret, ret_n, err);
    st_map_release(&k.map);
    return rc ? of_file("layers.json", err) : 0;
}

// ---- the manifest ---------------------------------------------------------------------------------------------------

int st_storage_config(struct st_sv manifest, struct st_arena *a, struct st_sv *ret_digest, struct st_err *err)
{
    struct st_manifest m;
    if (st_manifest_parse(manifest, a, &m, err))
        return of_file("manifest", err);
    if (m.is_schema1)
        return st_err_set(err, ST_E_FAILED, "Docker image manifest schema 1 is not supported");
    if (!m.has_config)
        return st_err_set(err, ST_E_CORRUPT, "the image's manifest names no config");
    if (st_digest_check(m.config.digest, err))
        return st_err_wrap(err, "config");
    *ret_digest = m.config.digest;
    return 0;
}
