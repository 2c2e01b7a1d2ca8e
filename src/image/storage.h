// containers/storage, the store of Podman, Buildah and CRI-O (store.go, images.go, layers.go), read without them:
//
//   DRIVER-images/images.json           every image: id, names, digest, its top layer
//   DRIVER-images/ID/KEY                documents of an image: "manifest", the config under "sha256:HEX"
//   DRIVER-layers/layers.json           every layer: id, parent, size of the archive it came from
//   DRIVER-layers/ID.tar-split.gz       what that archive had between the contents of files (tarsplit.h)
//   overlay/ID/diff, vfs/dir/ID         the contents of files
//
// Each layer's archive is put together again from the last two, so that its diff ID is checked against the config like
// any other's. What cannot be checked: digest and size of the blob that was pulled, which the store does not keep.
#ifndef ST_IMAGE_STORAGE_H
#define ST_IMAGE_STORAGE_H

#include "image/reference.h"

#define ST_STORAGE_JSON_MAX (64ull << 20) // images.json, layers.json
#define ST_STORAGE_LAYERS_MAX 100000      // layers in layers.json

// ---- the documents; pure, fuzzed ------------------------------------------------------------------------------------

struct st_storage_image {
    struct st_sv id, layer; // layer: the top one; empty: none
    struct st_svs names;
};
// The image as it is typed, by its id (12 digits or more), under localhost/, else by its full name
// (docker.io/library/web:latest). A digest in the reference must be one of the image's. 1, 0, -1 (ST_E_CORRUPT).
int st_storage_image(struct st_sv images_json, const struct st_reference *ref, struct st_arena *a,
                     struct st_storage_image *ret, struct st_err *err);

struct st_storage_layer {
    struct st_sv id;
    uint64_t size; // of the uncompressed archive
};
// The layers from the base to `top`. ST_E_CORRUPT when one is not there, or they go round in a circle.
int st_storage_layers(struct st_sv layers_json, struct st_sv top, struct st_arena *a, struct st_storage_layer **ret,
                      size_t *ret_n, struct st_err *err);

// An id that may become a part of a path: letters, digits, '_', '-' and '.', which does not come first.
bool st_storage_id_ok(struct st_sv id);
// The digest of the config that a manifest names. ST_E_FAILED for schema 1, ST_E_CORRUPT.
int st_storage_config(struct st_sv manifest, struct st_arena *a, struct st_sv *ret_digest, struct st_err *err);

// ---- the image, its layers as archives ------------------------------------------------------------------------------
// In a process that can read below these directories and do nothing else.

// Directories of one store; borrowed. data: overlay/ or vfs/dir/.
struct st_storage_dirs {
    int images, layers, data;
    bool overlay;
};

// An image as `docker save` would pack it: the members of its archive.
#define ST_STORAGE_NAME 160 // of a layer's member: "ID.tar"
struct st_storage_content {
    struct st_sv manifest; // "manifest.json"
    struct st_sv config_name, config;
    const struct st_storage_layer *layers;
    size_t n_layers;
};
void st_storage_layer_name(const struct st_storage_layer *l, char ret[static ST_STORAGE_NAME]);

// ST_E_NOTFOUND: there is no such image. All texts in the arena.
int st_storage_find(const struct st_storage_dirs *dirs, const struct st_reference *ref, struct st_arena *a,
                    struct st_storage_content *ret, struct st_err *err);
// The archive of one layer from byte `from` on; what lies before is not read.
int st_storage_layer(struct st_mem *mem, const struct st_storage_dirs *dirs, const struct st_storage_layer *l,
                     uint64_t from, int out_fd, struct st_err *err);
// The archive of the whole image.
int st_storage_archive(struct st_mem *mem, const struct st_storage_dirs *dirs, const struct st_storage_content *c,
                       int out_fd, struct st_err *err);

// The form in which the content crosses to a process that trusts nothing; borrowed from `in`. ST_E_CORRUPT.
int st_storage_encode(const struct st_storage_content *c, struct st_buf *out, struct st_err *err);
int st_storage_decode(struct st_sv in, struct st_arena *a, struct st_storage_content *ret, struct st_err *err);

#endif
