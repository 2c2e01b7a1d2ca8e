#include "worker/composition.h"

#include "base/ckd.h"
#include "base/json.h"
#include "scan/fragment.h"

#include <stdio.h>
#include <stdlib.h>

static void text(struct st_json_out *w, const char *key, struct st_sv v)
{
    st_json_key(w, key);
    if (v.len)
        st_json_str(w, v);
    else
        st_json_null(w);
}

static void number(struct st_json_out *w, const char *key, uint64_t v, bool known)
{
    st_json_key(w, key);
    if (known)
        st_json_u64(w, v);
    else
        st_json_null(w);
}

// ---- layers -----------------------------------------------------------------------------------------

static const char *const states[] = {
    [ST_LAYER_SCANNED] = "scanned", [ST_LAYER_CACHED] = "cached",   [ST_LAYER_RESUMED] = "resumed",
    [ST_LAYER_SAME] = "same",       [ST_LAYER_FOREIGN] = "foreign", [ST_LAYER_FAILED] = "failed",
};

void st_composition_layers(const struct st_scan *scan, struct st_out *o)
{
    const struct st_subject *subject = &st_scan_image_of(scan)->subject;
    const struct st_scan_layer *layers = st_scan_layers(scan);
    struct st_json_out w;
    st_json_out_init(&w, o, 1);
    st_json_open(&w, '[');
    for (size_t i = 0; i < subject->n_layers; i++) {
        const struct st_subject_layer *l = &subject->layers[i];
        const struct st_scan_layer *at = &layers[layers[i].how == ST_LAYER_SAME ? layers[i].same_as : i];
        bool read = at->how != ST_LAYER_FOREIGN && at->how != ST_LAYER_FAILED;
        st_json_open(&w, '{');
        number(&w, "index", i, true);
        text(&w, "digest", l->digest);
        text(&w, "diffId", l->diff_id);
        text(&w, "mediaType", l->media_type);
        number(&w, "size", l->size, true);
        number(&w, "uncompressedSize", at->stats.bytes, read);
        number(&w, "fileCount", at->stats.files, read);
        text(&w, "createdBy", l->created_by);
        st_json_kv(&w, "state", st_sv_of(states[layers[i].how]));
        st_json_close(&w, '}');
    }
    st_json_close(&w, ']');
    st_out_putc(o, '\n');
}

// ---- the recipe -------------------------------------------------------------------------------------

struct part {
    struct st_sv digest;
    char fragment[ST_DIGEST_HEX + 1];
};

static int by_digest(const void *a, const void *b)
{
    return st_sv_cmp(((const struct part *)a)->digest, ((const struct part *)b)->digest);
}

static int gather(const struct st_scan *scan, struct part *parts, size_t *ret_n, struct st_err *err)
{
    const struct st_subject *subject = &st_scan_image_of(scan)->subject;
    size_t n = 0;
    for (size_t i = 0; i < subject->n_layers; i++) {
        const struct st_subject_layer *l = &subject->layers[i];
        int has = st_scan_fragment_hash(scan, i, parts[n].fragment, err);
        if (has < 0)
            return -1;
        parts[n].digest = l->digest.len ? l->digest : l->diff_id;
        n += has;
    }
    qsort(parts, n, sizeof *parts, by_digest);
    size_t kept = 0; // a layer that is there twice says nothing more
    for (size_t i = 0; i < n; i++)
        if (!kept || by_digest(&parts[i], &parts[kept - 1]) != 0)
            parts[kept++] = parts[i];
    *ret_n = kept;
    return 0;
}

#define HASH 32

static int sha256(struct st_mem *mem, const struct st_sv *of, size_t n, char prefix, unsigned char ret[static HASH],
                  struct st_err *err)
{
    static const char digits[] = "0123456789abcdef";
    char hex[ST_DIGEST_HEX + 1];
    struct st_sha256 *d = st_sha256_new(mem, err);
    if (!d)
        return -1;
    st_sha256_add(d, &prefix, 1);
    for (size_t i = 0; i < n; i++)
        st_sha256_add(d, of[i].ptr, of[i].len);
    st_sha256_hex(d, hex);
    st_sha256_free(d);
    for (size_t i = 0; i < HASH; i++)
        ret[i] =
            (unsigned char)((strchr(digits, hex[2 * i]) - digits) << 4 | (strchr(digits, hex[2 * i + 1]) - digits));
    return 0;
}

// Level by level: an odd node goes up as it is, which gives RFC 6962's tree.
static int merkle_root(struct st_mem *mem, const struct part *parts, size_t n, unsigned char (*nodes)[HASH],
                       struct st_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct st_sv leaf[] = {parts[i].digest, ST_SV("\n"), st_sv_of(parts[i].fragment)};
        if (sha256(mem, leaf, ST_LEN(leaf), 0, nodes[i], err))
            return -1;
    }
    for (; n > 1; n = (n + 1) / 2)
        for (size_t i = 0; i < n; i += 2) {
            struct st_sv two[] = {st_sv_mem((char *)nodes[i], HASH),
                                  st_sv_mem((char *)nodes[ST_MIN(i + 1, n - 1)], HASH)};
            unsigned char up[HASH];
            if (i + 1 == n)
                memcpy(up, nodes[i], HASH);
            else if (sha256(mem, two, 2, 1, up, err))
                return -1;
            memcpy(nodes[i / 2], up, HASH);
        }
    return 0;
}

static void write_recipe(const struct st_subject *subject, const struct part *parts, size_t n,
                         const unsigned char *root, struct st_out *o)
{
    struct st_json_out w;
    char hex[2 * HASH + 1];
    for (size_t i = 0; i < HASH; i++)
        snprintf(hex + 2 * i, 3, "%02x", root[i]);
    st_json_out_init(&w, o, 1);
    st_json_open(&w, '{');
    number(&w, "recipeVersion", 1, true);
    st_json_kv(&w, "tool", ST_SV("stella " ST_VERSION));
    number(&w, "fragmentVersion", ST_FRAGMENT_VERSION, true);
    text(&w, "manifestDigest", subject->manifest_digest);
    text(&w, "configDigest", subject->config_digest);
    st_json_key(&w, "layers");
    st_json_open(&w, '[');
    for (size_t i = 0; i < n; i++) {
        st_json_open(&w, '{');
        text(&w, "layerDigest", parts[i].digest);
        st_json_kv(&w, "fragmentSha256", st_sv_of(parts[i].fragment));
        st_json_close(&w, '}');
    }
    st_json_close(&w, ']');
    text(&w, "merkleRoot", n ? st_sv_of(hex) : ST_SV_NULL);
    st_json_close(&w, '}');
    st_out_putc(o, '\n');
}

int st_composition_recipe(const struct st_scan *scan, struct st_out *o, struct st_err *err)
{
    const struct st_subject *subject = &st_scan_image_of(scan)->subject;
    struct st_mem mem;
    size_t n = 0;
    st_mem_init(&mem, 4096, -1);
    struct part *parts = calloc(subject->n_layers + 1, sizeof *parts);
    unsigned char(*nodes)[HASH] = calloc(subject->n_layers + 1, sizeof *nodes);
    int rc = !parts || !nodes ? st_err_nomem(err) : gather(scan, parts, &n, err);
    if (rc == 0)
        rc = merkle_root(&mem, parts, n, nodes, err);
    if (rc == 0)
        write_recipe(subject, parts, n, nodes[0], o);
    free(parts);
    free(nodes);
    st_mem_release(&mem);
    return rc;
}
