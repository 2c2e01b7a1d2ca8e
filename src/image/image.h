// What an image is and where its bytes are. The resolver is a pure function from small documents (index, manifest,
// config) to `struct st_image`; it runs in the sandbox, its result crosses to the process that opens files in
// the checked binary form of st_image_encode. Whoever has the documents offers them as a `struct st_blobs` (blobs.h).
// References: OCI image-spec 1.1 (image-layout.md, image-index.md, manifest.md, config.md), Docker image manifest
// version 2 schema 2, `docker save` (manifest.json).
#ifndef ST_IMAGE_IMAGE_H
#define ST_IMAGE_IMAGE_H

#include "archive/toc.h"
#include "base/mem.h"
#include "inventory/inventory.h"

#define ST_IMAGE_DOC_MAX (4u << 20)      // index, manifest or config: "manifest is larger than 4 MiB"
#define ST_IMAGE_LAYERS_MAX 4096         // layers of one image
#define ST_IMAGE_INDEX_DEPTH 8           // index in index
#define ST_IMAGE_DOCS_MAX 512            // documents read to find one image
#define ST_IMAGE_CANDIDATES_MAX 4096     // manifests that the indexes name together
#define ST_IMAGE_ENCODED_MAX (16u << 20) // encoded form; the parent refuses more

// ---- platforms ------------------------------------------------------------------------------------------------------

struct st_platform {
    struct st_sv os, arch, variant; // all empty: none given
};
// "os/arch[/variant]"; arch spelled as Go or uname does ("x86_64" is amd64). ST_E_USAGE.
int st_platform_parse(struct st_sv text, struct st_platform *ret, struct st_err *err); // views into text or static
struct st_platform st_platform_host(void);                                             // this machine; static views

// ---- documents and blobs by name ------------------------------------------------------------------------------------

// A blob's name is its path in the image: "index.json", "blobs/sha256/<hex>" (OCI layouts and archives),
// "<id>/layer.tar" (docker-archive). Always normalised as struct st_tar_entry.path.
enum st_blob_where {
    ST_BLOB_ABSENT, // its bytes are not in the image (foreign layer)
    ST_BLOB_FILE,   // file of its own in the OCI layout directory: st_blobs_dir_open(dirfd, name)
    ST_BLOB_RANGE,  // [offset, offset + length) of the archive
    ST_BLOB_PASSED, // went by in an unseekable stream: `offset` is the ordinal given to st_members_passed
    ST_BLOB_KEPT,   // a small document kept while the stream went by; never a layer's place
    ST_BLOB_REMOTE, // fetched by name (remote.h); its length is what the manifest says
    ST_BLOB_TREE,   // a directory: st_rootfs_write (rootfs.h)
    ST_BLOB_WHERE_MAX
};
struct st_blob {
    enum st_blob_where where;
    uint64_t offset, length;
};

struct st_blobs {
    void *ctx;
    // Where `name` is: 1 with *ret filled, 0 when there is none, -1.
    int (*find)(void *ctx, struct st_sv name, struct st_blob *ret, struct st_err *err);
    // The same for many at once, where each question costs a round trip: 0 with ret[0..n) filled (ST_BLOB_ABSENT: there
    // is none), -1. NULL: one by one.
    int (*find_all)(void *ctx, const struct st_sv *names, size_t n, struct st_blob *ret, struct st_err *err);
    // The whole document in the arena (or borrowed for as long): 1, 0 when there is none, -1 (ST_E_LIMIT over max).
    int (*read_small)(void *ctx, struct st_sv name, uint64_t max, struct st_arena *a, struct st_sv *ret,
                      struct st_err *err);
};

// ---- the image ------------------------------------------------------------------------------------------------------

enum st_image_kind { ST_IMAGE_OCI, ST_IMAGE_DOCKER, ST_IMAGE_ROOTFS, ST_IMAGE_KIND_MAX };
const char *st_image_kind_name(enum st_image_kind kind); // "oci", "docker-archive", "rootfs"

// Beside subject.layers[i].
struct st_image_layer {
    struct st_blob blob;
    struct st_sv name; // of the blob; empty for a foreign layer that is absent and for rootfs
    bool foreign;      // non-distributable media type or urls; blob.where tells whether its bytes are there anyhow
    struct st_toc_place toc; // of a remote layer: the table of contents that its manifest names
};

struct st_image {
    enum st_image_kind kind;
    // Ready for the writers, but for `name`, which the caller sets. layers[i].diff_id is what the config CLAIMS.
    struct st_subject subject;
    const struct st_image_layer *layers; // subject.n_layers
    struct st_sv created;                // as the config has it, may be empty
    uint64_t config_size;                // bytes; in subject.size too
    struct st_svs warnings;              // oddities that do not stop a scan, one line each
};

enum st_image_pin { ST_PIN_NONE, ST_PIN_OCI, ST_PIN_DOCKER }; // what a scheme says the thing must be

struct st_resolve {
    struct st_platform want; // empty: see below
    struct st_platform host; // st_platform_host()
    struct st_sv tag;        // empty: the only image
    enum st_image_pin pin;
    bool foreign; // foreign layers of a remote image are fetched, too
};

// The one image that is asked for. index.json goes before manifest.json unless pinned. Without `want`: the only
// platform if there is one, else the host's, else ST_E_INPUT that lists them; the same for tags. Every document's
// digest and size are verified. Layers without a blob that are not foreign, sizes that differ, counts that do not fit:
// ST_E_CORRUPT naming digest and path. *ret lives in the arena (and in what blobs->read_small borrowed).
int st_image_resolve(const struct st_blobs *blobs, const struct st_resolve *how, struct st_arena *a,
                     struct st_image *ret, struct st_err *err);

// A directory as an image of one layer.
int st_image_rootfs(struct st_arena *a, struct st_image *ret, struct st_err *err);

// The form in which an image crosses a process boundary. subject.name is carried too. Decoding trusts nothing and
// borrows from `in`; ST_E_CORRUPT.
int st_image_encode(const struct st_image *img, struct st_buf *out, struct st_err *err);
int st_image_decode(struct st_sv in, struct st_arena *a, struct st_image *ret, struct st_err *err);
// What a process that trusts nothing was given as such a form, or as another of an image, in a file: its bytes.
// ST_E_LIMIT over ST_IMAGE_ENCODED_MAX.
int st_image_encoded(int fd, struct st_arena *a, struct st_sv *ret, struct st_err *err);

// ---- digests --------------------------------------------------------------------------------------------------------

#define ST_DIGEST_TEXT 71 // "sha256:" and 64 digits
// "sha256:<64 lower-case hex digits>", nothing else. ST_E_CORRUPT for bad syntax, ST_E_FAILED for another algorithm.
int st_digest_check(struct st_sv digest, struct st_err *err);
// "blobs/sha256/<hex>" of a checked digest.
#define ST_DIGEST_NAME 77
struct st_sv st_digest_name(struct st_sv digest, char ret[static ST_DIGEST_NAME]);

#endif
