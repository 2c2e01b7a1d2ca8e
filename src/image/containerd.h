// What containerd calls its images: the part of its metadata database (core/metadata/buckets.go) that is needed to find
// one. Content is found by digest then, in files that lie as in an OCI image layout: ROOT/CONTENT/blobs/sha256/HEX.
//
//   v1 / NAMESPACE / images / NAME / target / digest
#ifndef ST_IMAGE_CONTAINERD_H
#define ST_IMAGE_CONTAINERD_H

#include "image/bolt.h"
#include "image/reference.h"

#define ST_CONTAINERD_META "io.containerd.metadata.v1.bolt/meta.db" // below its root directory
#define ST_CONTAINERD_CONTENT "io.containerd.content.v1.content"
#define ST_CONTAINERD_NAMESPACES_MAX 256

struct st_containerd_image {
    char digest[ST_DIGEST_TEXT + 1]; // of a manifest or an index
    struct st_sv name_space, name;   // where it was found
};

// The image as it is typed, else by its full name (docker.io/library/web:latest), in one namespace or, when that is
// empty, in all. A digest in the reference must be the image's. 1; 0: none; -1: ST_E_INPUT when namespaces disagree on
// what it is, ST_E_CORRUPT. Everything is borrowed from db->arena.
int st_containerd_find(struct st_bolt *db, struct st_sv name_space, const struct st_reference *ref,
                       struct st_containerd_image *ret, struct st_err *err);

#endif
