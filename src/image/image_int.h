// Shared by the resolver's files: documents as records, and the reading of them.
#ifndef ST_IMAGE_IMAGE_INT_H
#define ST_IMAGE_IMAGE_INT_H

#include "base/json.h"
#include "image/image.h"

// ---- JSON objects into records --------------------------------------------------------------------------------------

struct st_doc {
    struct st_json json;
    struct st_arena *arena; // borrowed
};

// A member of an object and what reads its value (`tok` is its first token, never null) into base + offset.
struct st_doc_field {
    struct st_sv key;
    int (*read)(struct st_doc *d, const struct st_json_tok *tok, void *into, struct st_err *err);
    size_t offset;
};
// The object that `tok` starts. Members without a field are skipped, so are nulls; of equal keys the last one counts.
int st_doc_object(struct st_doc *d, const struct st_json_tok *tok, const struct st_doc_field *fields, size_t n,
                  void *base, struct st_err *err);
int st_doc_text(struct st_doc *d, const struct st_json_tok *tok, void *sv, struct st_err *err);
int st_doc_texts(struct st_doc *d, const struct st_json_tok *tok, void *list,
                 struct st_err *err); // struct st_list of st_sv
int st_doc_bool(struct st_doc *d, const struct st_json_tok *tok, void *flag, struct st_err *err);
int st_doc_array(struct st_doc *d, const struct st_json_tok *tok, const struct st_doc_field *fields, size_t n,
                 void *list, struct st_err *err); // objects into a struct st_list

// Growing array in an arena (what it outgrows stays there). max: more is ST_E_LIMIT.
struct st_list {
    void *at;
    size_t n, cap, each, max;
};
void *st_list_push(struct st_list *l, struct st_arena *a, struct st_err *err); // zeroed element, NULL on refusal

// ---- documents ------------------------------------------------------------------------------------------------------

struct st_number {
    bool set;
    uint64_t value;
};

struct st_descriptor {
    struct st_sv media_type, digest;
    struct st_number size;
    struct st_platform platform;
    struct st_list urls;         // struct st_sv
    struct st_sv ref_name;       // annotation org.opencontainers.image.ref.name
    struct st_sv image_name;     // annotation io.containerd.image.name
    struct st_sv reference_type; // annotation vnd.docker.reference.type
    // Annotations of a layer that can be read in parts: st_toc_annotations.
    struct st_sv estargz, zstd_checksum, zstd_position;
};

// Index and manifest are one record: which of the two a document is, is told by its members.
struct st_manifest {
    struct st_sv media_type, artifact_type;
    struct st_descriptor config;
    bool has_config;
    struct st_list layers;    // struct st_descriptor
    struct st_list manifests; // struct st_descriptor
    bool is_index, is_schema1;
};
int st_manifest_parse(struct st_sv text, struct st_arena *a, struct st_manifest *ret, struct st_err *err);

struct st_history {
    struct st_sv created_by;
    bool empty_layer;
};
struct st_config {
    struct st_sv os, architecture, variant, created;
    struct st_list labels;   // struct st_kv, sorted by key, unique
    struct st_list diff_ids; // struct st_sv
    struct st_list history;  // struct st_history
};
int st_config_parse(struct st_sv text, struct st_arena *a, struct st_config *ret, struct st_err *err);

// One element of a docker-archive's manifest.json.
struct st_docker_image {
    struct st_sv config;
    struct st_list tags, layers; // struct st_sv
    struct st_list sources;      // struct st_sv: diff IDs for which LayerSources has a descriptor
};
int st_docker_manifest_parse(struct st_sv text, struct st_arena *a, struct st_list *ret, struct st_err *err);

int st_layout_version(struct st_sv text, struct st_arena *a, struct st_sv *ret, struct st_err *err);

// ---- platforms ------------------------------------------------------------------------------------------------------

// How well `have` serves `want`: 0 not at all, more is better.
unsigned st_platform_rank(struct st_platform have, struct st_platform want);
void st_platform_text(struct st_platform p, char *out, size_t n); // "linux/arm/v7"; "unknown" parts when empty

// ---- resolver -------------------------------------------------------------------------------------------------------

struct st_resolver {
    const struct st_blobs *blobs;
    const struct st_resolve *how;
    struct st_arena *arena;
    unsigned docs;           // documents read
    uint64_t doc_bytes;      // their bytes
    struct st_list warnings; // struct st_sv
};
#define ST_IMAGE_DOC_BYTES_MAX (64u << 20) // all documents of one resolution together

// A document by name: 1, 0 when there is none, -1.
int st_resolver_read(struct st_resolver *r, const char *what, struct st_sv name, struct st_sv *ret, struct st_err *err);
// A document by its descriptor, checked against it.
int st_resolver_blob(struct st_resolver *r, const char *what, const struct st_descriptor *d, struct st_sv *ret,
                     struct st_err *err);
int st_resolver_warn(struct st_resolver *r, struct st_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// "sha256:<hex>" of a document, in the arena.
int st_resolver_digest(struct st_resolver *r, struct st_sv text, struct st_sv *ret, struct st_err *err);
// Everything of the image that its config says; diff_ids are checked to be n_layers.
int st_resolver_config(struct st_resolver *r, const struct st_config *c, size_t n_layers, struct st_image *ret,
                       struct st_subject_layer *layers, struct st_err *err);
int st_resolver_oci(struct st_resolver *r, struct st_sv index, struct st_image *ret, struct st_err *err);
int st_resolver_docker(struct st_resolver *r, struct st_sv manifest, struct st_image *ret, struct st_err *err);
// Does the tag that the user asked for mean this name? Docker's short forms count ("web" is
// docker.io/library/web:latest).
bool st_tag_matches(struct st_sv tag, struct st_sv name);
// Do these 512 bytes have a tar header's checksum?
bool st_tar_header_looks(struct st_sv head);

// A name for a list in an error text: ", " before all but the first; cut when the room ends.
struct st_names {
    char text[320];
    size_t n, len;
};
void st_names_add(struct st_names *l, struct st_sv name);
void st_names_add_platform(struct st_names *l, struct st_platform p);

#endif
