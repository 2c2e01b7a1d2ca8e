// The finished inventory of one image, as the merge (src/scan) offers it and the writers (src/sbom) read it: sorted,
// random access by ordinal, nothing held that the reader does not ask for. Every view that a call hands out is valid
// until the next call on the same inventory.
#ifndef ST_INVENTORY_INVENTORY_H
#define ST_INVENTORY_INVENTORY_H

#include "base/err.h"
#include "inventory/package.h"

struct st_evidence {
    struct st_sv path;  // as a user of the running image finds it, without leading '/'
    struct st_sv inner; // as in struct st_package
    uint32_t layer;     // index into subject.layers of the layer that holds this version of the file
};

// One package. Packages are unique by purl and sorted by it, bytewise; evidence is sorted by path, then inner.
struct st_item {
    struct st_package pkg; // of the first evidence
    struct st_sv purl;     // complete, with qualifiers
    struct st_sv found_by; // cataloger's name
    uint32_t layer;        // the layer that introduced it
    const struct st_evidence *evidence;
    size_t n_evidence; // at least 1
    // Distribution package whose database says that it owns the first evidence file: its ordinal, else ST_ITEM_NONE.
    uint32_t owner;
    const uint32_t *depends; // ordinals of packages that the database declares it needs; ascending, no duplicates
    size_t n_depends;
};
#define ST_ITEM_NONE UINT32_MAX

struct st_subject_layer {
    struct st_sv digest;     // of the blob as stored ("sha256:..."); empty when the source has none
    struct st_sv diff_id;    // of the uncompressed tar ("sha256:..."); empty when unknown
    struct st_sv media_type; // as the manifest says, empty when it does not
    struct st_sv created_by; // from the history; empty when there is none
    uint64_t size;           // bytes as stored
};

// What was scanned. Everything but `name`, `tags`, `manifest_digest`, `media_type` and the layers' digests and media
// types is equal for every source of the same image.
struct st_subject {
    bool rootfs;                  // a directory, not an image: no digests
    struct st_sv name;            // what the user asked for: reference or path
    struct st_svs tags;           // repository tags that the source names
    struct st_sv manifest_digest; // "sha256:...", empty when the source has no manifest (docker-archive)
    struct st_sv config_digest;   // "sha256:..."
    struct st_sv media_type;      // of the manifest
    struct st_sv os, architecture, variant;
    uint64_t size;        // bytes of config and layers as stored
    struct st_kvs labels; // config labels
    const struct st_subject_layer *layers;
    size_t n_layers;
};

struct st_inventory {
    const struct st_subject *subject;
    const struct st_distro *distro; // NULL: none found
    uint32_t n_packages;
    uint32_t n_unknowns; // sorted by path, inner, reason
    bool complete;       // false: --keep-going passed over failed layers
    void *ctx;
    int (*package)(void *ctx, uint32_t i, struct st_item *ret, struct st_err *err);
    int (*purl)(void *ctx, uint32_t i, struct st_sv *ret,
                struct st_err *err); // of item i alone, cheaper than package()
    int (*unknown)(void *ctx, uint32_t i, struct st_unknown *ret, struct st_err *err);
};

#endif
