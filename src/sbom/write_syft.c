// syft-json, schema 16.1.13 (syft 1.57): what grype and the tools around syft read. Ids are ours: syft's are a hash of
// its own structures and mean nothing to others. Unknowns are syft's: a file entry with `unknowns`.
#include "base/ckd.h"
#include "sbom/sbom_int.h"
#include "sbom/syft_metadata.h"

#define SCHEMA "16.1.13"

static void key_open(struct st_json_out *w, const char *key, char bracket)
{
    st_json_key(w, key);
    st_json_open(w, bracket);
}

static void empty_list(struct st_json_out *w, const char *key)
{
    key_open(w, key, '[');
    st_json_close(w, ']');
}

static void kv_opt(struct st_json_out *w, const char *key, struct st_sv value)
{
    if (value.len)
        st_json_kv(w, key, value);
}

// ---- artifacts ------------------------------------------------------------------------------------

static int write_location(struct st_doc *d, const struct st_evidence *e, bool first, struct st_err *err)
{
    struct st_json_out *w = &d->w;
    struct st_sv text;
    st_json_open(w, '{');
    if (st_doc_path(e->path, &d->text, &text, err))
        return -1;
    st_json_kv(w, "path", text);
    kv_opt(w, "layerID", st_doc_layer(d, e->layer));
    if (st_doc_place(e->path, e->inner, &d->text, &text, err))
        return -1;
    st_json_kv(w, "accessPath", text);
    key_open(w, "annotations", '{');
    st_json_kv(w, "evidence", first ? ST_SV("primary") : ST_SV("supporting"));
    st_json_close(w, '}');
    st_json_close(w, '}');
    return 0;
}

static int write_licenses(struct st_doc *d, struct st_svs declared, struct st_err *err)
{
    struct st_json_out *w = &d->w;
    key_open(w, "licenses", '[');
    for (size_t i = 0; i < declared.n; i++) {
        struct st_license l;
        if (st_license_parse(declared.at[i], &d->text, &l, err))
            return -1;
        if (l.kind == ST_LICENSE_NONE || st_doc_repeats(declared, i))
            continue;
        st_json_open(w, '{');
        st_json_kv(w, "value", declared.at[i]);
        st_json_kv(w, "spdxExpression", l.kind == ST_LICENSE_NAME ? ST_SV("") : l.text);
        st_json_kv(w, "type", ST_SV("declared"));
        empty_list(w, "urls");
        empty_list(w, "locations");
        st_json_close(w, '}');
    }
    st_json_close(w, ']');
    return 0;
}

static int write_artifact(struct st_doc *d, const struct st_item *item, struct st_err *err)
{
    struct st_json_out *w = &d->w;
    const struct st_pkg_type_info *info = st_pkg_type_info(item->pkg.type);
    char id[ST_DOC_ID];
    struct st_sv text;
    st_doc_id(item->purl, id);
    st_json_open(w, '{');
    st_json_kv(w, "id", st_sv_of(id));
    if (st_doc_name(&item->pkg, &d->text, &text, err))
        return -1;
    st_json_kv(w, "name", text);
    if (st_doc_version(&item->pkg, &d->text, &text, err))
        return -1;
    st_json_kv(w, "version", text);
    st_json_kv(w, "type", st_sv_of(info->word));
    st_json_kv(w, "foundBy", item->found_by);
    key_open(w, "locations", '[');
    for (size_t i = 0; i < item->n_evidence; i++)
        if (write_location(d, &item->evidence[i], i == 0, err))
            return -1;
    st_json_close(w, ']');
    if (write_licenses(d, item->pkg.licenses, err))
        return -1;
    st_json_kv(w, "language", st_sv_of(info->language));
    empty_list(w, "cpes");
    st_json_kv(w, "purl", item->purl);
    const char *metadata = st_syft_metadata_name(item->pkg.type);
    if (metadata) {
        st_json_kv(w, "metadataType", st_sv_of(metadata));
        st_json_key(w, "metadata");
        if (st_syft_metadata_write(w, item, &d->text, err))
            return -1;
    }
    st_json_close(w, '}');
    return 0;
}

// ---- relationships --------------------------------------------------------------------------------

static void edge(struct st_json_out *w, struct st_sv parent, struct st_sv child, const char *type)
{
    st_json_open(w, '{');
    st_json_kv(w, "parent", parent);
    st_json_kv(w, "child", child);
    st_json_kv(w, "type", st_sv_of(type));
}

static int write_owner(struct st_doc *d, uint32_t owner, struct st_sv child, struct st_sv file, struct st_err *err)
{
    struct st_sv purl;
    int rc = st_doc_purl(d, owner, &purl, err);
    if (rc <= 0)
        return rc;
    char id[ST_DOC_ID];
    st_doc_id(purl, id);
    edge(&d->w, st_sv_of(id), child, "ownership-by-file-overlap");
    key_open(&d->w, "metadata", '{');
    key_open(&d->w, "files", '[');
    st_json_str(&d->w, file);
    st_json_close(&d->w, ']');
    st_json_close(&d->w, '}');
    st_json_close(&d->w, '}');
    return 0;
}

// What the item says is copied before other purls are asked for: that ends its life.
static int write_edges(struct st_doc *d, const struct st_item *item, struct st_sv source, struct st_err *err)
{
    char id[ST_DOC_ID], other[ST_DOC_ID];
    uint32_t owner = item->owner;
    st_doc_id(item->purl, id);
    struct st_sv self = st_sv_of(id), file;
    if (st_doc_path(item->evidence[0].path, &d->more, &file, err))
        return -1;
    st_buf_clear(&d->list);
    if (st_buf_add(&d->list, st_sv_mem(item->depends, item->n_depends * sizeof *item->depends), err))
        return -1;
    edge(&d->w, source, self, "contains");
    st_json_close(&d->w, '}');
    if (owner != ST_ITEM_NONE && write_owner(d, owner, self, file, err))
        return -1;
    for (size_t at = 0; at < d->list.len; at += sizeof(uint32_t)) {
        uint32_t i;
        memcpy(&i, d->list.ptr + at, sizeof i);
        struct st_sv purl;
        int rc = st_doc_purl(d, i, &purl, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            break;
        st_doc_id(purl, other);
        edge(&d->w, st_sv_of(other), self, "dependency-of");
        st_json_close(&d->w, '}');
    }
    return 0;
}

// ---- files: only those that could not be read -----------------------------------------------------

static int unknown_line(struct st_doc *d, const struct st_unknown *u, struct st_err *err)
{
    struct st_buf *b = &d->text;
    st_buf_clear(b);
    if (st_buf_add(b, st_sv_of(st_unknown_word(u->reason)), err) || st_buf_add(b, ST_SV(": "), err))
        return -1;
    if (u->inner.len && (st_buf_add(b, u->inner, err) || st_buf_add(b, ST_SV(": "), err)))
        return -1;
    if (st_buf_add(b, u->text, err))
        return -1;
    st_json_str(&d->w, st_buf_sv(b));
    return 0;
}

// Unknowns are sorted by path: those of one file follow each other. `more` holds the path of the file that is open.
static int write_files(struct st_doc *d, struct st_err *err)
{
    struct st_json_out *w = &d->w;
    struct st_unknown u;
    struct st_sv path;
    int rc = 1;
    bool open = false;
    key_open(w, "files", '[');
    for (uint32_t i = 0; (rc = st_doc_unknown(d, i, &u, err)) > 0; i++) {
        if (st_doc_path(u.path, &d->text, &path, err))
            return -1;
        if (!open || !st_sv_eq(path, st_buf_sv(&d->more))) {
            if (open) {
                st_json_close(w, ']');
                st_json_close(w, '}');
            }
            char id[ST_DOC_ID];
            st_doc_id(path, id);
            st_json_open(w, '{');
            st_json_kv(w, "id", st_sv_of(id));
            key_open(w, "location", '{');
            st_json_kv(w, "path", path);
            st_json_close(w, '}');
            key_open(w, "unknowns", '[');
            st_buf_clear(&d->more);
            if (st_buf_add(&d->more, path, err))
                return -1;
            open = true;
        }
        if (unknown_line(d, &u, err))
            return -1;
    }
    if (open) {
        st_json_close(w, ']');
        st_json_close(w, '}');
    }
    st_json_close(w, ']');
    return rc;
}

// ---- source, distribution, descriptor -------------------------------------------------------------

static void write_image(struct st_doc *d)
{
    const struct st_subject *s = d->inv->subject;
    struct st_json_out *w = &d->w;
    st_json_kv(w, "userInput", s->name);
    st_json_kv(w, "imageID", s->config_digest);
    st_json_kv(w, "manifestDigest", s->manifest_digest);
    st_json_kv(w, "mediaType", s->media_type);
    key_open(w, "tags", '[');
    for (size_t i = 0; i < s->tags.n; i++)
        st_json_str(w, s->tags.at[i]);
    st_json_close(w, ']');
    st_json_key(w, "imageSize");
    st_json_u64(w, s->size);
    key_open(w, "layers", '[');
    for (size_t i = 0; i < s->n_layers; i++) {
        st_json_open(w, '{');
        st_json_kv(w, "mediaType", s->layers[i].media_type);
        st_json_kv(w, "digest", s->layers[i].diff_id);
        st_json_key(w, "size");
        st_json_u64(w, s->layers[i].size);
        st_json_close(w, '}');
    }
    st_json_close(w, ']');
    st_json_kv(w, "manifest", ST_SV(""));
    st_json_kv(w, "config", ST_SV(""));
    empty_list(w, "repoDigests");
    st_json_kv(w, "architecture", s->architecture);
    kv_opt(w, "architectureVariant", s->variant);
    st_json_kv(w, "os", s->os);
    key_open(w, "labels", '{');
    for (size_t i = 0; i < s->labels.n; i++) {
        st_json_key_sv(w, s->labels.at[i].key);
        st_json_str(w, s->labels.at[i].value);
    }
    st_json_close(w, '}');
}

static void write_source(struct st_doc *d, struct st_sv id)
{
    const struct st_subject *s = d->inv->subject;
    struct st_json_out *w = &d->w;
    key_open(w, "source", '{');
    st_json_kv(w, "id", id);
    st_json_kv(w, "name", s->name);
    st_json_kv(w, "version", s->manifest_digest.len ? s->manifest_digest : s->config_digest);
    st_json_kv(w, "type", s->rootfs ? ST_SV("directory") : ST_SV("image"));
    key_open(w, "metadata", '{');
    if (s->rootfs)
        st_json_kv(w, "path", s->name);
    else
        write_image(d);
    st_json_close(w, '}');
    st_json_close(w, '}');
}

static void write_distro(struct st_doc *d)
{
    const struct st_distro *o = d->inv->distro;
    struct st_json_out *w = &d->w;
    key_open(w, "distro", '{');
    if (o) {
        kv_opt(w, "prettyName", o->pretty_name);
        kv_opt(w, "name", o->name);
        kv_opt(w, "id", o->id);
        struct st_sv rest = o->id_like, like;
        if (st_sv_trim(rest).len) {
            key_open(w, "idLike", '[');
            while (st_sv_word(&rest, &like))
                st_json_str(w, like);
            st_json_close(w, ']');
        }
        kv_opt(w, "versionID", o->version_id);
        kv_opt(w, "versionCodename", o->version_codename);
        kv_opt(w, "variantID", o->variant_id);
        kv_opt(w, "homeURL", o->home_url);
        kv_opt(w, "cpeName", o->cpe_name);
    }
    st_json_close(w, '}');
}

static void write_descriptor(struct st_doc *d)
{
    struct st_json_out *w = &d->w;
    key_open(w, "descriptor", '{');
    st_json_kv(w, "name", ST_SV("stella"));
    st_json_kv(w, "version", d->opts->tool_version);
    key_open(w, "configuration", '{');
    st_json_key(w, "complete");
    st_json_bool(w, d->inv->complete);
    st_json_close(w, '}');
    st_json_close(w, '}');
    key_open(w, "schema", '{');
    st_json_kv(w, "version", ST_SV(SCHEMA));
    st_json_kv(w, "url",
               ST_SV("https://raw.githubusercontent.com/anchore/syft/main/schema/json/schema-" SCHEMA ".json"));
    st_json_close(w, '}');
}

static int write_packages(struct st_doc *d, struct st_sv source, struct st_err *err)
{
    struct st_item item;
    int rc = 1;
    key_open(&d->w, "artifacts", '[');
    for (uint32_t i = 0; (rc = st_doc_item(d, i, &item, err)) > 0; i++)
        if (write_artifact(d, &item, err))
            return -1;
    st_json_close(&d->w, ']');
    if (rc < 0)
        return -1;
    key_open(&d->w, "artifactRelationships", '[');
    for (uint32_t i = 0; (rc = st_doc_item(d, i, &item, err)) > 0; i++)
        if (write_edges(d, &item, source, err))
            return -1;
    st_json_close(&d->w, ']');
    return rc;
}

static int write_syft(const struct st_inventory *inv, const struct st_sbom_options *opts, struct st_out *out,
                      struct st_err *err)
{
    struct st_doc d;
    st_doc_init(&d, inv, opts, out);
    char uuid[ST_DOC_UUID];
    struct st_sv source;
    int rc = st_doc_uuid(&d, "syft", uuid, err);
    if (rc == 0) {
        if (!st_doc_digest(inv->subject->config_digest, &source))
            source = st_sv_of(uuid);
        st_json_open(&d.w, '{');
        rc = write_packages(&d, source, err);
    }
    if (rc == 0)
        rc = write_files(&d, err);
    if (rc == 0) {
        write_source(&d, source);
        write_distro(&d);
        write_descriptor(&d);
        st_json_close(&d.w, '}');
        st_out_putc(out, '\n');
    }
    st_doc_release(&d);
    return rc;
}

const struct st_sbom_writer st_sbom_syft = {"syft-json", "json", "application/vnd.syft+json", ".syft.json", write_syft};
