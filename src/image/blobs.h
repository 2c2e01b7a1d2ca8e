// Where documents and layers come from, with one face (struct st_blobs of image.h): the files of an OCI
// layout directory; the members of an uncompressed seekable archive; what was kept while an unseekable archive went by.
#ifndef ST_IMAGE_BLOBS_H
#define ST_IMAGE_BLOBS_H

#include "image/image.h"

// ---- OCI layout directory (opens files: for the process that may)

// A regular file of the layout, opened beneath dirfd without leaving it. Only "oci-layout", "index.json" and
// "blobs/sha256/<hex>" are names: anything else is ST_E_CORRUPT, so a name may come from the sandbox ("manifest.json",
// which the resolver asks for where there is no index, is not there). 1 with *ret_fd (the caller closes) and *ret_size;
// 0 when there is none; -1.
int st_blobs_dir_open(int dirfd, struct st_sv name, int *ret_fd, uint64_t *ret_size, struct st_err *err);
struct st_blobs st_blobs_dir(const int *dirfd); // borrowed; blobs are ST_BLOB_FILE

// ---- content store: blobs as in a layout, and no index ----

// A document that is no file anywhere, as one in memory; 1 or -1, as the functions here.
int st_blobs_document(struct st_sv text, int *ret_fd, uint64_t *ret_size, struct st_err *err);
// The same for a directory that keeps blobs of many images (containerd's content store), of which `digest` is meant:
// "index.json" and "oci-layout" are made up, as files in memory. Without that blob there is no "index.json".
int st_blobs_store_open(int dirfd, struct st_sv digest, struct st_sv name, int *ret_fd, uint64_t *ret_size,
                        struct st_err *err);
// What stands in them: the index of one image (media_type may be empty), and a layout's version.
int st_blobs_index_of(struct st_sv digest, uint64_t size, struct st_sv media_type, struct st_buf *out,
                      struct st_err *err);
extern const char st_blobs_layout[];

// ---- archive members

#define ST_MEMBERS_MAX 65536              // members of one archive
#define ST_MEMBER_NAME_MAX 1024           // longer names are not remembered (no manifest can mean them)
#define ST_MEMBER_LINKS_MAX 8             // link to link to link
#define ST_MEMBERS_KEPT_MAX (64ull << 20) // bytes of documents kept from a stream

struct st_members; // name -> what is known of it; a name that comes twice: the last one counts
struct st_members *st_members_new(struct st_mem *mem, struct st_err *err);
void st_members_free(struct st_members *m); // NULL allowed

// Seekable: every member of the uncompressed archive in fd (borrowed, its position is not used). Layers are
// found as ST_BLOB_RANGE.
int st_members_index(struct st_members *m, int fd, uint64_t size, struct st_err *err);

// Unseekable: the caller walks the archive and says what each member was. All texts are copied.
enum st_member_guess { ST_MEMBER_IGNORE, ST_MEMBER_DOCUMENT, ST_MEMBER_LAYER };
#define ST_MEMBER_HEAD 512 // bytes of the member that the guess wants to see (fewer when it is shorter)
enum st_member_guess st_member_guess(struct st_sv name, uint64_t size, struct st_sv head);
int st_members_document(struct st_members *m, struct st_sv name, struct st_sv bytes, struct st_err *err);
// `ordinal` and `length` come back as struct st_blob {ST_BLOB_PASSED, ordinal, length}.
int st_members_passed(struct st_members *m, struct st_sv name, uint64_t ordinal, uint64_t length, struct st_err *err);
// Hard or symbolic link between members; target as in struct st_tar_entry.link.
int st_members_link(struct st_members *m, struct st_sv name, struct st_sv target, bool symlink, struct st_err *err);

struct st_blobs st_members_blobs(struct st_members *m);

#endif
