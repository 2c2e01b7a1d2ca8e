// CycloneDX 1.6, JSON. bom-refs: packages their purl, the system "os:ID@VERSION", the image its pkg:oci or digest.
// Properties in the syft: namespace are what syft and grype read back; ours are stella:.
//
// Dependencies: the image needs the system and what was installed beside it, the system its packages, a package what
// its database declares. Packages of no database have no entry: what they need is not known.
#include "base/ckd.h"
#include "sbom/sbom_int.h"
#include "sbom/syft_metadata.h"

#include <stdio.h>

struct cdx {
    struct st_doc d;
    struct st_buf root, os; // their bom-refs; os is empty when there is no distribution
};

static void property(struct st_json_out *w, struct st_sv name, struct st_sv value)
{
    if (value.len == 0)
        return;
    st_json_open(w, '{');
    st_json_kv(w, "name", name);
    st_json_kv(w, "value", value);
    st_json_close(w, '}');
}

// "PREFIX:INDEX:FIELD"
static void indexed(struct st_json_out *w, const char *prefix, size_t index, const char *field, struct st_sv value)
{
    char name[96];
    int n = snprintf(name, sizeof name, "%s:%zu:%s", prefix, index, field);
    property(w, st_sv_mem(name, ST_MIN((size_t)n, sizeof name - 1)), value);
}

static int prefixed(struct cdx *c, const char *prefix, struct st_sv field, struct st_sv value, struct st_err *err)
{
    struct st_buf *b = &c->d.text;
    st_buf_clear(b);
    if (st_buf_add(b, st_sv_of(prefix), err) || st_buf_add(b, field, err))
        return -1;
    property(&c->d.w, st_buf_sv(b), value);
    return 0;
}

static int make_refs(struct cdx *c, struct st_err *err)
{
    const struct st_subject *s = c->d.inv->subject;
    const struct st_distro *o = c->d.inv->distro;
    struct st_sv purl;
    if (st_doc_image_purl(&c->d, &c->root, &purl, err))
        return -1;
    if (purl.len == 0) {
        struct st_sv id = s->rootfs || s->config_digest.len == 0 ? s->name : s->config_digest;
        if (st_buf_add(&c->root, s->rootfs ? ST_SV("rootfs:") : ST_SV("image:"), err) || st_buf_add(&c->root, id, err))
            return -1;
    }
    if (!o)
        return 0;
    if (st_buf_add(&c->os, ST_SV("os:"), err) || st_buf_add(&c->os, o->id.len ? o->id : ST_SV("linux"), err))
        return -1;
    return o->version_id.len && (st_buf_addc(&c->os, '@', err) || st_buf_add(&c->os, o->version_id, err)) ? -1 : 0;
}

// ---- metadata -------------------------------------------------------------------------------------

static void write_tool(struct cdx *c)
{
    struct st_json_out *w = &c->d.w;
    st_json_key(w, "tools");
    st_json_open(w, '{');
    st_json_key(w, "components");
    st_json_open(w, '[');
    st_json_open(w, '{');
    st_json_kv(w, "type", ST_SV("application"));
    st_json_kv(w, "name", ST_SV("stella"));
    st_json_kv(w, "version", c->d.opts->tool_version);
    st_json_close(w, '}');
    st_json_close(w, ']');
    st_json_close(w, '}');
}

static void write_subject_properties(struct cdx *c)
{
    const struct st_subject *s = c->d.inv->subject;
    struct st_json_out *w = &c->d.w;
    st_json_key(w, "properties");
    st_json_open(w, '[');
    property(w, ST_SV("stella:configDigest"), s->config_digest);
    property(w, ST_SV("stella:mediaType"), s->media_type);
    property(w, ST_SV("stella:os"), s->os);
    property(w, ST_SV("stella:architecture"), s->architecture);
    property(w, ST_SV("stella:variant"), s->variant);
    for (size_t i = 0; i < s->tags.n; i++)
        indexed(w, "stella:tag", i, "name", s->tags.at[i]);
    for (size_t i = 0; i < s->n_layers; i++) {
        const struct st_subject_layer *l = &s->layers[i];
        indexed(w, "stella:layer", i, "diffID", l->diff_id);
        indexed(w, "stella:layer", i, "digest", l->digest);
        indexed(w, "stella:layer", i, "createdBy", l->created_by);
    }
    st_json_close(w, ']');
}

static void write_subject(struct cdx *c, struct st_sv purl)
{
    const struct st_subject *s = c->d.inv->subject;
    struct st_json_out *w = &c->d.w;
    struct st_sv version = s->manifest_digest.len ? s->manifest_digest : s->config_digest, hex;
    st_json_key(w, "component");
    st_json_open(w, '{');
    st_json_kv(w, "bom-ref", st_buf_sv(&c->root));
    st_json_kv(w, "type", s->rootfs ? ST_SV("file") : ST_SV("container"));
    st_json_kv(w, "name", s->name.len ? s->name : ST_SV("image"));
    if (version.len)
        st_json_kv(w, "version", version);
    const struct st_digest_name *digest = st_doc_digest(s->manifest_digest, &hex);
    if (digest) {
        st_json_key(w, "hashes");
        st_json_open(w, '[');
        st_json_open(w, '{');
        st_json_kv(w, "alg", st_sv_of(digest->cyclonedx));
        st_json_kv(w, "content", hex);
        st_json_close(w, '}');
        st_json_close(w, ']');
    }
    if (purl.len)
        st_json_kv(w, "purl", purl);
    write_subject_properties(c);
    st_json_close(w, '}');
}

static int write_metadata(struct cdx *c, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    st_json_key(w, "metadata");
    st_json_open(w, '{');
    if (c->d.opts->has_date) {
        char date[ST_DOC_DATE];
        st_doc_date(c->d.opts, date);
        st_json_kv(w, "timestamp", st_sv_of(date));
    }
    write_tool(c);
    write_subject(c, c->d.inv->subject->manifest_digest.len ? st_buf_sv(&c->root) : ST_SV_NULL);
    struct st_kvs labels = c->d.inv->subject->labels;
    if (labels.n) {
        st_json_key(w, "properties");
        st_json_open(w, '[');
        for (size_t i = 0; i < labels.n; i++)
            if (prefixed(c, "syft:image:labels:", labels.at[i].key, labels.at[i].value, err))
                return -1;
        st_json_close(w, ']');
    }
    st_json_close(w, '}');
    return 0;
}

// ---- components -----------------------------------------------------------------------------------

static void write_os(struct cdx *c)
{
    const struct st_distro *o = c->d.inv->distro;
    struct st_json_out *w = &c->d.w;
    st_json_open(w, '{');
    st_json_kv(w, "bom-ref", st_buf_sv(&c->os));
    st_json_kv(w, "type", ST_SV("operating-system"));
    st_json_kv(w, "name", o->id.len ? o->id : ST_SV("linux"));
    if (o->version_id.len)
        st_json_kv(w, "version", o->version_id);
    if (o->pretty_name.len)
        st_json_kv(w, "description", o->pretty_name);
    st_json_key(w, "properties");
    st_json_open(w, '[');
    property(w, ST_SV("syft:distro:id"), o->id);
    property(w, ST_SV("syft:distro:name"), o->name);
    property(w, ST_SV("syft:distro:prettyName"), o->pretty_name);
    property(w, ST_SV("syft:distro:versionID"), o->version_id);
    property(w, ST_SV("syft:distro:versionCodename"), o->version_codename);
    property(w, ST_SV("syft:distro:variantID"), o->variant_id);
    property(w, ST_SV("syft:distro:cpeName"), o->cpe_name);
    property(w, ST_SV("syft:distro:homeURL"), o->home_url);
    struct st_sv rest = o->id_like, like;
    for (size_t i = 0; st_sv_word(&rest, &like); i++) {
        char name[48];
        int n = snprintf(name, sizeof name, "syft:distro:idLike:%zu", i);
        property(w, st_sv_mem(name, (size_t)n), like);
    }
    st_json_close(w, ']');
    st_json_close(w, '}');
}

static void write_license(struct st_json_out *w, const struct st_license *l)
{
    st_json_open(w, '{');
    st_json_key(w, "license");
    st_json_open(w, '{');
    st_json_kv(w, l->kind == ST_LICENSE_ID && l->cyclonedx_id ? "id" : "name", l->text);
    st_json_kv(w, "acknowledgement", ST_SV("declared"));
    st_json_close(w, '}');
    st_json_close(w, '}');
}

// The format has either one expression or a list of single licences: an expression in a list is a name there.
static int write_licenses(struct cdx *c, struct st_svs declared, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    struct st_license l;
    size_t n = 0;
    bool expression = false;
    for (size_t i = 0; i < declared.n; i++) {
        if (st_license_parse(declared.at[i], &c->d.text, &l, err))
            return -1;
        if (l.kind == ST_LICENSE_NONE || st_doc_repeats(declared, i))
            continue;
        n++;
        expression = l.kind == ST_LICENSE_EXPRESSION;
    }
    if (n == 0)
        return 0;
    st_json_key(w, "licenses");
    st_json_open(w, '[');
    for (size_t i = 0; i < declared.n; i++) {
        if (st_license_parse(declared.at[i], &c->d.text, &l, err))
            return -1;
        if (l.kind == ST_LICENSE_NONE || st_doc_repeats(declared, i))
            continue;
        if (n > 1 || !expression) {
            write_license(w, &l);
            continue;
        }
        st_json_open(w, '{');
        st_json_kv(w, "expression", l.text);
        st_json_kv(w, "acknowledgement", ST_SV("declared"));
        st_json_close(w, '}');
    }
    st_json_close(w, ']');
    return 0;
}

static int write_evidence(struct cdx *c, const struct st_item *item, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    st_json_key(w, "evidence");
    st_json_open(w, '{');
    st_json_key(w, "occurrences");
    st_json_open(w, '[');
    for (size_t i = 0; i < item->n_evidence; i++) {
        struct st_sv place;
        if (st_doc_place(item->evidence[i].path, item->evidence[i].inner, &c->d.text, &place, err))
            return -1;
        st_json_open(w, '{');
        st_json_kv(w, "location", place);
        st_json_close(w, '}');
    }
    st_json_close(w, ']');
    st_json_close(w, '}');
    return 0;
}

static int write_location_properties(struct cdx *c, const struct st_item *item, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    for (size_t i = 0; i < item->n_evidence; i++) {
        const struct st_evidence *e = &item->evidence[i];
        struct st_sv path;
        if (st_doc_path(e->path, &c->d.text, &path, err))
            return -1;
        indexed(w, "syft:location", i, "path", path);
        indexed(w, "syft:location", i, "layerID", st_doc_layer(&c->d, e->layer));
        indexed(w, "stella:location", i, "inner", e->inner);
    }
    return 0;
}

// The owner comes last: asking for its purl ends the life of the item.
static int write_properties(struct cdx *c, const struct st_item *item, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    const struct st_pkg_type_info *info = st_pkg_type_info(item->pkg.type);
    const char *metadata = st_syft_metadata_name(item->pkg.type), *name;
    st_json_key(w, "properties");
    st_json_open(w, '[');
    property(w, ST_SV("syft:package:foundBy"), item->found_by);
    property(w, ST_SV("syft:package:language"), st_sv_of(info->language));
    property(w, ST_SV("syft:package:type"), st_sv_of(info->word));
    if (metadata)
        property(w, ST_SV("syft:package:metadataType"), st_sv_of(metadata));
    if (write_location_properties(c, item, err))
        return -1;
    struct st_sv value;
    for (size_t at = 0; metadata && st_syft_metadata_next(item, &at, &name, &value);)
        if (prefixed(c, "syft:metadata:", st_sv_of(name), value, err))
            return -1;
    if (c->d.inv->subject->n_layers) {
        char index[16];
        int n = snprintf(index, sizeof index, "%u", (unsigned)item->layer);
        property(w, ST_SV("stella:introducedIn:layer"), st_sv_mem(index, (size_t)n));
        property(w, ST_SV("stella:introducedIn:diffID"), st_doc_layer(&c->d, item->layer));
    }
    if (item->owner != ST_ITEM_NONE) {
        int rc = st_doc_purl(&c->d, item->owner, &value, err);
        if (rc < 0)
            return -1;
        if (rc > 0)
            property(w, ST_SV("stella:owner"), value);
    }
    st_json_close(w, ']');
    return 0;
}

static int write_component(struct cdx *c, const struct st_item *item, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    const struct st_package *p = &item->pkg;
    bool grouped = p->ns.len && (p->type == ST_PKG_NPM || p->type == ST_PKG_MAVEN || p->type == ST_PKG_COMPOSER);
    struct st_sv name = p->name, version;
    st_json_open(w, '{');
    st_json_kv(w, "bom-ref", item->purl);
    st_json_kv(w, "type", p->type == ST_PKG_GENERIC ? ST_SV("application") : ST_SV("library"));
    if (grouped)
        st_json_kv(w, "group", p->ns);
    else if (st_doc_name(p, &c->d.text, &name, err))
        return -1;
    st_json_kv(w, "name", name);
    if (st_doc_version(p, &c->d.text, &version, err))
        return -1;
    if (version.len)
        st_json_kv(w, "version", version);
    if (write_licenses(c, p->licenses, err))
        return -1;
    st_json_kv(w, "purl", item->purl);
    if (write_evidence(c, item, err) || write_properties(c, item, err))
        return -1;
    st_json_close(w, '}');
    return 0;
}

static int write_components(struct cdx *c, struct st_err *err)
{
    st_json_key(&c->d.w, "components");
    st_json_open(&c->d.w, '[');
    if (c->d.inv->distro)
        write_os(c);
    struct st_item item;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_item(&c->d, i, &item, err)) > 0; i++)
        if (write_component(c, &item, err))
            return -1;
    st_json_close(&c->d.w, ']');
    return rc;
}

// ---- dependencies, unknowns -----------------------------------------------------------------------

// purls of all packages, or of those that are (are not) from a distribution's database.
static int write_refs_of(struct cdx *c, bool all, bool database, struct st_err *err)
{
    struct st_sv purl;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_purl(&c->d, i, &purl, err)) > 0; i++)
        if (all || st_doc_purl_type(purl)->database == database)
            st_json_str(&c->d.w, purl);
    return rc;
}

// The list is copied before the first purl is asked for: that ends the life of the item.
static int write_needs(struct cdx *c, const struct st_item *item, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    struct st_buf *list = &c->d.list;
    st_buf_clear(list);
    if (st_buf_add(list, st_sv_mem(item->depends, item->n_depends * sizeof *item->depends), err))
        return -1;
    st_json_open(w, '{');
    st_json_kv(w, "ref", item->purl);
    st_json_key(w, "dependsOn");
    st_json_open(w, '[');
    for (size_t at = 0; at < list->len; at += sizeof(uint32_t)) {
        uint32_t i;
        memcpy(&i, list->ptr + at, sizeof i);
        struct st_sv purl;
        int rc = st_doc_purl(&c->d, i, &purl, err);
        if (rc < 0)
            return -1;
        if (rc > 0)
            st_json_str(w, purl);
    }
    st_json_close(w, ']');
    st_json_close(w, '}');
    return 0;
}

static int write_dependencies(struct cdx *c, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    bool os = c->d.inv->distro != NULL;
    st_json_key(w, "dependencies");
    st_json_open(w, '[');
    st_json_open(w, '{');
    st_json_kv(w, "ref", st_buf_sv(&c->root));
    st_json_key(w, "dependsOn");
    st_json_open(w, '[');
    if (os)
        st_json_str(w, st_buf_sv(&c->os));
    if (write_refs_of(c, !os, false, err))
        return -1;
    st_json_close(w, ']');
    st_json_close(w, '}');
    if (os) {
        st_json_open(w, '{');
        st_json_kv(w, "ref", st_buf_sv(&c->os));
        st_json_key(w, "dependsOn");
        st_json_open(w, '[');
        if (write_refs_of(c, false, true, err))
            return -1;
        st_json_close(w, ']');
        st_json_close(w, '}');
    }
    struct st_item item;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_item(&c->d, i, &item, err)) > 0; i++)
        if ((item.n_depends || st_pkg_type_info(item.pkg.type)->database) && write_needs(c, &item, err))
            return -1;
    st_json_close(w, ']');
    return rc;
}

static void write_incomplete(struct cdx *c)
{
    struct st_json_out *w = &c->d.w;
    st_json_key(w, "compositions");
    st_json_open(w, '[');
    st_json_open(w, '{');
    st_json_kv(w, "aggregate", ST_SV("incomplete"));
    st_json_key(w, "assemblies");
    st_json_open(w, '[');
    st_json_str(w, st_buf_sv(&c->root));
    st_json_close(w, ']');
    st_json_close(w, '}');
    st_json_close(w, ']');
}

static int write_unknowns(struct cdx *c, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    st_json_key(w, "properties");
    st_json_open(w, '[');
    property(w, ST_SV("stella:complete"), c->d.inv->complete ? ST_SV("true") : ST_SV("false"));
    struct st_unknown u;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_unknown(&c->d, i, &u, err)) > 0; i++) {
        struct st_sv path;
        if (st_doc_path(u.path, &c->d.text, &path, err))
            return -1;
        indexed(w, "stella:unknown", i, "path", path);
        indexed(w, "stella:unknown", i, "inner", u.inner);
        indexed(w, "stella:unknown", i, "reason", st_sv_of(st_unknown_word(u.reason)));
        indexed(w, "stella:unknown", i, "text", u.text);
    }
    st_json_close(w, ']');
    return rc;
}

static int write_document(struct cdx *c, struct st_err *err)
{
    struct st_json_out *w = &c->d.w;
    char uuid[ST_DOC_UUID], serial[ST_DOC_UUID + 9];
    if (make_refs(c, err) || st_doc_uuid(&c->d, "cyclonedx", uuid, err))
        return -1;
    snprintf(serial, sizeof serial, "urn:uuid:%s", uuid);
    st_json_open(w, '{');
    st_json_kv(w, "$schema", ST_SV("http://cyclonedx.org/schema/bom-1.6.schema.json"));
    st_json_kv(w, "bomFormat", ST_SV("CycloneDX"));
    st_json_kv(w, "specVersion", ST_SV("1.6"));
    st_json_kv(w, "serialNumber", st_sv_of(serial));
    st_json_key(w, "version");
    st_json_u64(w, 1);
    if (write_metadata(c, err) || write_components(c, err) || write_dependencies(c, err))
        return -1;
    if (!c->d.inv->complete)
        write_incomplete(c);
    if (write_unknowns(c, err))
        return -1;
    st_json_close(w, '}');
    st_out_putc(c->d.out, '\n');
    return 0;
}

static int write_cyclonedx(const struct st_inventory *inv, const struct st_sbom_options *opts, struct st_out *out,
                           struct st_err *err)
{
    struct cdx c;
    st_doc_init(&c.d, inv, opts, out);
    st_buf_init(&c.root, opts->mem);
    st_buf_init(&c.os, opts->mem);
    int rc = write_document(&c, err);
    st_buf_release(&c.root);
    st_buf_release(&c.os);
    st_doc_release(&c.d);
    return rc;
}

const struct st_sbom_writer st_sbom_cyclonedx = {"cyclonedx-json", "cdx", "application/vnd.cyclonedx+json; version=1.6",
                                                 ".cdx.json", write_cyclonedx};
