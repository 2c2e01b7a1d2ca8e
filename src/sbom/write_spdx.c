// SPDX 2.3, JSON. What is not known is NOASSERTION; a declared licence that is no SPDX expression becomes a LicenseRef-
// whose text is what was declared. Unknowns are annotations of the document. A time is mandatory in SPDX: without
// SOURCE_DATE_EPOCH it is 1970-01-01, since the same input has to give the same bytes.
#include "base/ckd.h"
#include "base/map.h"
#include "sbom/sbom_int.h"

#include <stdio.h>

#define ROOT "SPDXRef-DocumentRoot"
#define SYSTEM "SPDXRef-OperatingSystem"
#define REF "LicenseRef-stella-"
#define NAME_MAX_BYTES 80 // of the readable part of an SPDXID

struct spdx {
    struct st_doc d;
    char date[ST_DOC_DATE];
    struct st_buf tool; // "Tool: stella-VERSION"
};

static const struct st_sv no_assertion = ST_SV_INIT("NOASSERTION");

// ---- ids ------------------------------------------------------------------------------------------

// "SPDXRef-Package-TYPE-NAME-HASH": only letters, digits, '.' and '-' may be in it (section 3.2.4 of the JSON rules).
static int package_id(struct st_sv purl, struct st_buf *b, struct st_sv *ret, struct st_err *err)
{
    char id[ST_DOC_ID];
    st_doc_id(purl, id);
    st_buf_clear(b);
    if (st_buf_add(b, ST_SV("SPDXRef-Package-"), err))
        return -1;
    struct st_sv name = st_sv_from(purl, 4);
    size_t end = 0;
    while (end < name.len && end < NAME_MAX_BYTES && name.ptr[end] != '@' && name.ptr[end] != '?')
        end++;
    for (size_t i = 0; i < end; i++) {
        char c = name.ptr[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
        if (st_buf_addc(b, fits ? c : '-', err))
            return -1;
    }
    if (st_buf_addc(b, '-', err) || st_buf_add(b, st_sv_of(id), err))
        return -1;
    *ret = st_buf_sv(b);
    return 0;
}

static void license_ref(struct st_sv name, char ret[sizeof REF + ST_DOC_ID])
{
    char id[ST_DOC_ID];
    st_doc_id(name, id);
    snprintf(ret, sizeof REF + ST_DOC_ID, REF "%s", id);
}

// ---- packages -------------------------------------------------------------------------------------

static void put_purl(struct st_json_out *w, struct st_sv purl)
{
    st_json_key(w, "externalRefs");
    st_json_open(w, '[');
    st_json_open(w, '{');
    st_json_kv(w, "referenceCategory", ST_SV("PACKAGE-MANAGER"));
    st_json_kv(w, "referenceType", ST_SV("purl"));
    st_json_kv(w, "referenceLocator", purl);
    st_json_close(w, '}');
    st_json_close(w, ']');
}

// The start that all packages have.
static void open_package(struct spdx *s, struct st_sv id, struct st_sv name, struct st_sv version)
{
    struct st_json_out *w = &s->d.w;
    st_json_open(w, '{');
    st_json_kv(w, "SPDXID", id);
    st_json_kv(w, "name", name);
    if (version.len)
        st_json_kv(w, "versionInfo", version);
    st_json_kv(w, "supplier", no_assertion);
    st_json_kv(w, "downloadLocation", no_assertion);
    st_json_key(w, "filesAnalyzed");
    st_json_bool(w, false);
    st_json_kv(w, "copyrightText", no_assertion);
    st_json_kv(w, "licenseConcluded", no_assertion);
}

static int write_root(struct spdx *s, struct st_err *err)
{
    const struct st_subject *subject = s->d.inv->subject;
    struct st_json_out *w = &s->d.w;
    struct st_sv version = subject->manifest_digest.len ? subject->manifest_digest : subject->config_digest, purl, hex;
    if (st_doc_image_purl(&s->d, &s->d.text, &purl, err))
        return -1;
    open_package(s, ST_SV(ROOT), subject->name.len ? subject->name : ST_SV("image"), version);
    st_json_kv(w, "licenseDeclared", no_assertion);
    st_json_kv(w, "primaryPackagePurpose", subject->rootfs ? ST_SV("FILE") : ST_SV("CONTAINER"));
    const struct st_digest_name *digest = st_doc_digest(subject->manifest_digest, &hex);
    if (digest) {
        st_json_key(w, "checksums");
        st_json_open(w, '[');
        st_json_open(w, '{');
        st_json_kv(w, "algorithm", st_sv_of(digest->spdx));
        st_json_kv(w, "checksumValue", hex);
        st_json_close(w, '}');
        st_json_close(w, ']');
    }
    if (purl.len)
        put_purl(w, purl);
    st_json_close(w, '}');
    return 0;
}

static void write_system(struct spdx *s)
{
    const struct st_distro *o = s->d.inv->distro;
    open_package(s, ST_SV(SYSTEM), o->id.len ? o->id : ST_SV("linux"), o->version_id);
    st_json_kv(&s->d.w, "licenseDeclared", no_assertion);
    if (o->pretty_name.len)
        st_json_kv(&s->d.w, "description", o->pretty_name);
    st_json_kv(&s->d.w, "primaryPackagePurpose", ST_SV("OPERATING_SYSTEM"));
    st_json_close(&s->d.w, '}');
}

static int add_license(struct st_buf *to, const struct st_license *l, struct st_err *err)
{
    if (to->len && st_buf_add(to, ST_SV(" AND "), err))
        return -1;
    if (l->kind == ST_LICENSE_NAME) {
        char ref[sizeof REF + ST_DOC_ID];
        license_ref(l->text, ref);
        return st_buf_add(to, st_sv_of(ref), err);
    }
    if (!l->has_or)
        return st_buf_add(to, l->text, err);
    return st_buf_addc(to, '(', err) || st_buf_add(to, l->text, err) || st_buf_addc(to, ')', err) ? -1 : 0;
}

// Several declarations hold together.
static int write_declared(struct spdx *s, struct st_svs declared, struct st_err *err)
{
    struct st_buf *to = &s->d.more;
    size_t n = 0;
    bool lone_or = false;
    st_buf_clear(to);
    for (size_t i = 0; i < declared.n; i++) {
        struct st_license l;
        if (st_license_parse(declared.at[i], &s->d.text, &l, err))
            return -1;
        if (l.kind == ST_LICENSE_NONE || st_doc_repeats(declared, i))
            continue;
        lone_or = n++ == 0 && l.has_or;
        if (add_license(to, &l, err))
            return -1;
    }
    struct st_sv text = n ? st_buf_sv(to) : no_assertion;
    st_json_kv(&s->d.w, "licenseDeclared", lone_or ? st_sv_sub(text, 1, text.len - 2) : text);
    return 0;
}

// "found in /a (layer sha256:...), /b"
static int write_source_info(struct spdx *s, const struct st_item *item, struct st_err *err)
{
    struct st_buf *b = &s->d.more;
    st_buf_clear(b);
    for (size_t i = 0; i < item->n_evidence; i++) {
        const struct st_evidence *e = &item->evidence[i];
        struct st_sv place, layer = st_doc_layer(&s->d, e->layer);
        if (st_doc_place(e->path, e->inner, &s->d.text, &place, err) ||
            st_buf_add(b, i ? ST_SV(", ") : ST_SV("found in "), err) || st_buf_add(b, place, err))
            return -1;
        if (layer.len &&
            (st_buf_add(b, ST_SV(" (layer "), err) || st_buf_add(b, layer, err) || st_buf_addc(b, ')', err)))
            return -1;
    }
    st_json_kv(&s->d.w, "sourceInfo", st_buf_sv(b));
    return 0;
}

static int write_package(struct spdx *s, const struct st_item *item, struct st_err *err)
{
    struct st_sv id, name, version;
    if (package_id(item->purl, &s->d.list, &id, err) || st_doc_name(&item->pkg, &s->d.text, &name, err) ||
        st_doc_version(&item->pkg, &s->d.more, &version, err))
        return -1;
    open_package(s, id, name, version);
    if (write_declared(s, item->pkg.licenses, err) || write_source_info(s, item, err))
        return -1;
    put_purl(&s->d.w, item->purl);
    st_json_close(&s->d.w, '}');
    return 0;
}

static int write_packages(struct spdx *s, struct st_err *err)
{
    st_json_key(&s->d.w, "packages");
    st_json_open(&s->d.w, '[');
    if (write_root(s, err))
        return -1;
    if (s->d.inv->distro)
        write_system(s);
    struct st_item item;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_item(&s->d, i, &item, err)) > 0; i++)
        if (write_package(s, &item, err))
            return -1;
    st_json_close(&s->d.w, ']');
    return rc;
}

// ---- licences that are not on the list ------------------------------------------------------------

static int write_ref(struct spdx *s, struct st_map *seen, struct st_sv ref, struct st_sv text, struct st_err *err)
{
    // 128 bits in a map of 64: a second name with the first half of the same hash is told apart by the other
    uint64_t *other = st_map_put(seen, st_hash(ref), &(bool){false}, err);
    if (!other)
        return -1;
    uint64_t value = st_hash_mix(ref.len, st_hash(st_sv_from(ref, ref.len / 2)));
    if (*other == value)
        return 0;
    *other = value;
    struct st_json_out *w = &s->d.w;
    st_json_open(w, '{');
    st_json_kv(w, "licenseId", ref);
    st_json_kv(w, "name", text);
    st_json_kv(w, "extractedText", text);
    st_json_close(w, '}');
    return 0;
}

static int write_refs_of(struct spdx *s, struct st_map *seen, const struct st_item *item, struct st_err *err)
{
    for (size_t i = 0; i < item->pkg.licenses.n; i++) {
        struct st_license l;
        if (st_license_parse(item->pkg.licenses.at[i], &s->d.text, &l, err))
            return -1;
        if (l.kind == ST_LICENSE_NAME) {
            char ref[sizeof REF + ST_DOC_ID];
            license_ref(l.text, ref);
            if (write_ref(s, seen, st_sv_of(ref), l.text, err))
                return -1;
        }
        struct st_sv rest = l.has_ref ? l.text : ST_SV_NULL, ref;
        while (st_license_next_ref(&rest, &ref))
            if (write_ref(s, seen, ref, ref, err))
                return -1;
    }
    return 0;
}

static int write_extracted(struct spdx *s, struct st_err *err)
{
    struct st_map seen;
    st_map_init(&seen, s->d.opts->mem);
    st_json_key(&s->d.w, "hasExtractedLicensingInfos");
    st_json_open(&s->d.w, '[');
    struct st_item item;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_item(&s->d, i, &item, err)) > 0; i++)
        if (write_refs_of(s, &seen, &item, err)) {
            rc = -1;
            break;
        }
    st_json_close(&s->d.w, ']');
    st_map_release(&seen);
    return rc;
}

// ---- relationships --------------------------------------------------------------------------------

static void relation(struct spdx *s, struct st_sv from, const char *type, struct st_sv to, const char *comment)
{
    struct st_json_out *w = &s->d.w;
    st_json_open(w, '{');
    st_json_kv(w, "spdxElementId", from);
    st_json_kv(w, "relationshipType", st_sv_of(type));
    st_json_kv(w, "relatedSpdxElement", to);
    if (comment)
        st_json_kv(w, "comment", st_sv_of(comment));
    st_json_close(w, '}');
}

// Ordinal i's SPDXID, in `text`.
static int id_of(struct spdx *s, uint32_t i, struct st_sv *ret, struct st_err *err)
{
    struct st_sv purl;
    int rc = st_doc_purl(&s->d, i, &purl, err);
    return rc <= 0 ? rc : package_id(purl, &s->d.text, ret, err) ? -1 : 1;
}

// What the item says is copied before other purls are asked for: that ends its life.
static int write_relations(struct spdx *s, const struct st_item *item, struct st_err *err)
{
    uint32_t owner = item->owner;
    struct st_sv self, other;
    struct st_buf *list = &s->d.list;
    st_buf_clear(list);
    if (package_id(item->purl, &s->d.more, &self, err) ||
        st_buf_add(list, st_sv_mem(item->depends, item->n_depends * sizeof *item->depends), err))
        return -1;
    relation(s, ST_SV(ROOT), "CONTAINS", self, NULL);
    int rc = owner == ST_ITEM_NONE ? 0 : id_of(s, owner, &other, err);
    if (rc > 0)
        relation(s, other, "OTHER", self, "owns the file that the package was found in");
    for (size_t at = 0; rc >= 0 && at < list->len; at += sizeof(uint32_t)) {
        uint32_t i;
        memcpy(&i, list->ptr + at, sizeof i);
        rc = id_of(s, i, &other, err);
        if (rc == 0)
            break;
        if (rc > 0)
            relation(s, other, "DEPENDENCY_OF", self, NULL);
    }
    return rc < 0 ? -1 : 0;
}

static int write_relationships(struct spdx *s, struct st_err *err)
{
    st_json_key(&s->d.w, "relationships");
    st_json_open(&s->d.w, '[');
    relation(s, ST_SV("SPDXRef-DOCUMENT"), "DESCRIBES", ST_SV(ROOT), NULL);
    if (s->d.inv->distro)
        relation(s, ST_SV(ROOT), "CONTAINS", ST_SV(SYSTEM), NULL);
    struct st_item item;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_item(&s->d, i, &item, err)) > 0; i++)
        if (write_relations(s, &item, err))
            return -1;
    st_json_close(&s->d.w, ']');
    return rc;
}

// ---- annotations ----------------------------------------------------------------------------------

static int write_annotation(struct spdx *s, const struct st_unknown *u, struct st_err *err)
{
    struct st_json_out *w = &s->d.w;
    struct st_sv place;
    struct st_buf *b = &s->d.more;
    st_buf_clear(b);
    if (st_doc_place(u->path, u->inner, &s->d.text, &place, err) || st_buf_add(b, ST_SV("unknown: "), err) ||
        st_buf_add(b, place, err) || st_buf_add(b, ST_SV(": "), err) ||
        st_buf_add(b, st_sv_of(st_unknown_word(u->reason)), err) || st_buf_add(b, ST_SV(": "), err) ||
        st_buf_add(b, u->text, err))
        return -1;
    st_json_open(w, '{');
    st_json_kv(w, "annotationDate", st_sv_of(s->date));
    st_json_kv(w, "annotationType", ST_SV("OTHER"));
    st_json_kv(w, "annotator", st_buf_sv(&s->tool));
    st_json_kv(w, "comment", st_buf_sv(b));
    st_json_close(w, '}');
    return 0;
}

static int write_annotations(struct spdx *s, struct st_err *err)
{
    if (s->d.inv->n_unknowns == 0)
        return 0;
    st_json_key(&s->d.w, "annotations");
    st_json_open(&s->d.w, '[');
    struct st_unknown u;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_unknown(&s->d, i, &u, err)) > 0; i++)
        if (write_annotation(s, &u, err))
            return -1;
    st_json_close(&s->d.w, ']');
    return rc;
}

static int write_head(struct spdx *s, struct st_err *err)
{
    struct st_json_out *w = &s->d.w;
    char uuid[ST_DOC_UUID], space[96];
    if (st_doc_uuid(&s->d, "spdx", uuid, err))
        return -1;
    snprintf(space, sizeof space, "https://spdx.org/spdxdocs/stella-%s", uuid);
    st_json_kv(w, "spdxVersion", ST_SV("SPDX-2.3"));
    st_json_kv(w, "dataLicense", ST_SV("CC0-1.0"));
    st_json_kv(w, "SPDXID", ST_SV("SPDXRef-DOCUMENT"));
    st_json_kv(w, "name", s->d.inv->subject->name.len ? s->d.inv->subject->name : ST_SV("image"));
    st_json_kv(w, "documentNamespace", st_sv_of(space));
    st_json_key(w, "creationInfo");
    st_json_open(w, '{');
    st_json_kv(w, "created", st_sv_of(s->date));
    st_json_key(w, "creators");
    st_json_open(w, '[');
    st_json_str(w, st_buf_sv(&s->tool));
    st_json_close(w, ']');
    st_json_close(w, '}');
    if (!s->d.inv->complete)
        st_json_kv(w, "comment", ST_SV("incomplete: layers that could not be read were passed over"));
    return 0;
}

static int write_document(struct spdx *s, struct st_err *err)
{
    st_doc_date(s->d.opts, s->date);
    if (st_buf_add(&s->tool, ST_SV("Tool: stella-"), err) || st_buf_add(&s->tool, s->d.opts->tool_version, err))
        return -1;
    st_json_open(&s->d.w, '{');
    if (write_head(s, err) || write_packages(s, err) || write_extracted(s, err) || write_relationships(s, err) ||
        write_annotations(s, err))
        return -1;
    st_json_close(&s->d.w, '}');
    st_out_putc(s->d.out, '\n');
    return 0;
}

static int write_spdx(const struct st_inventory *inv, const struct st_sbom_options *opts, struct st_out *out,
                      struct st_err *err)
{
    struct spdx s;
    st_doc_init(&s.d, inv, opts, out);
    st_buf_init(&s.tool, opts->mem);
    int rc = write_document(&s, err);
    st_buf_release(&s.tool);
    st_doc_release(&s.d);
    return rc;
}

const struct st_sbom_writer st_sbom_spdx = {"spdx-json", "spdx", "application/spdx+json", ".spdx.json", write_spdx};
