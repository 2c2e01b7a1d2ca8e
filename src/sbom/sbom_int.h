// What the writers share. A writer's state lives for one document.
#ifndef ST_SBOM_SBOM_INT_H
#define ST_SBOM_SBOM_INT_H

#include "base/json.h"
#include "inventory/license.h"
#include "sbom/sbom.h"

extern const struct st_sbom_writer st_sbom_table, st_sbom_cyclonedx, st_sbom_spdx, st_sbom_syft, st_sbom_purls;

struct st_doc {
    const struct st_inventory *inv;
    const struct st_sbom_options *opts;
    struct st_out *out;
    struct st_json_out w;
    struct st_buf text, more; // scratch: a callee uses text, who needs to keep something uses more
    struct st_buf list;       // scratch for lists
};

void st_doc_init(struct st_doc *d, const struct st_inventory *inv, const struct st_sbom_options *opts,
                 struct st_out *out);
void st_doc_release(struct st_doc *d);
// Item or purl i. 1: there it is; 0: there is none, or the output has failed and no more is wanted; -1: error.
int st_doc_item(struct st_doc *d, uint32_t i, struct st_item *ret, struct st_err *err);
int st_doc_purl(struct st_doc *d, uint32_t i, struct st_sv *ret, struct st_err *err);
int st_doc_unknown(struct st_doc *d, uint32_t i, struct st_unknown *ret, struct st_err *err);

// ---- names: each call fills and returns the buffer it is given ------------------------------------

// As people write it: npm, Go, composer and portage with their namespace ("@types/node").
int st_doc_name(const struct st_package *pkg, struct st_buf *b, struct st_sv *ret, struct st_err *err);
// With the epoch where rpm has one.
int st_doc_version(const struct st_package *pkg, struct st_buf *b, struct st_sv *ret, struct st_err *err);
// "/path" or "/path:inner"; digests (of foreign layers) stay as they are.
int st_doc_place(struct st_sv path, struct st_sv inner, struct st_buf *b, struct st_sv *ret, struct st_err *err);
// "/path"
static inline int st_doc_path(struct st_sv path, struct st_buf *b, struct st_sv *ret, struct st_err *err)
{
    return st_doc_place(path, ST_SV_NULL, b, ret, err);
}
// pkg:oci of the image; empty without a manifest digest.
int st_doc_image_purl(struct st_doc *d, struct st_buf *b, struct st_sv *ret, struct st_err *err);
// Diff ID of a layer; empty when there is none (a root file system).
struct st_sv st_doc_layer(const struct st_doc *d, uint32_t layer);
// The type of a purl, by its text.
const struct st_pkg_type_info *st_doc_purl_type(struct st_sv purl);
// Has an entry shortly before this one the same text?
bool st_doc_repeats(struct st_svs texts, size_t i);

// ---- ids ------------------------------------------------------------------------------------------

#define ST_DOC_ID 33 // 32 hex digits and a NUL
// 128 bits, so that nobody can make two purls with one id.
void st_doc_id(struct st_sv s, char ret[ST_DOC_ID]);
#define ST_DOC_UUID 37
// Of the document: made from what was scanned, the writer's name and the version of stella (RFC 9562 version 8).
int st_doc_uuid(struct st_doc *d, const char *format, char ret[ST_DOC_UUID], struct st_err *err);
#define ST_DOC_DATE 32
void st_doc_date(const struct st_sbom_options *opts, char ret[ST_DOC_DATE]);

struct st_digest_name {
    const char *cyclonedx, *spdx;
    struct st_sv prefix;
    size_t hex;
};
// A well-formed digest's algorithm and hexadecimal part; NULL when it is something else.
const struct st_digest_name *st_doc_digest(struct st_sv digest, struct st_sv *ret_hex);

#endif
