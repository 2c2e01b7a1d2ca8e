// Opens what a reference names and tells its kind by the first 512 bytes; parses nothing.
#ifndef ST_IMAGE_OPEN_H
#define ST_IMAGE_OPEN_H

#include "image/reference.h"
#include "image/remote.h"

enum st_opened_kind {
    ST_OPENED_OCI_DIR, // dirfd: st_blobs_dir; with `digest` st_blobs_store_open
    ST_OPENED_ARCHIVE, // fd: seekable plain tar of `size` bytes: st_members_index
    ST_OPENED_STREAM,  // fd: compressed file, pipe or terminal-less standard input: read once, front to back
    ST_OPENED_ROOTFS,  // dirfd: st_rootfs_write
    ST_OPENED_REMOTE,  // remote: a registry; opened by whoever has a network (src/fetch), not by st_source_open
};
const char *st_opened_kind_name(enum st_opened_kind kind);

struct st_opened {
    enum st_opened_kind kind;
    int fd;                          // owned; -1 for directories
    int dirfd;                       // owned; -1 for files
    bool seekable;                   // STREAM too may be a regular file (progress knows its size then)
    uint64_t size;                   // of a regular file, else 0
    struct st_remote *remote;        // borrowed; also behind a STREAM that a daemon writes
    uint64_t ticket;                 // of that stream
    char digest[ST_DIGEST_TEXT + 1]; // OCI_DIR: of the image that is meant in a content store; empty: a layout
};

// ST_E_NOTFOUND (no such file), ST_E_INPUT (neither image nor archive, with what would work), ST_E_OFFLINE (a network
// source with `offline`), ST_E_IO. A registry and a daemon are only checked: see ST_OPENED_REMOTE. A FIFO is waited for
// until somebody writes: ST_E_TIMEOUT after deadline_ms (CLOCK_MONOTONIC; 0: none), ST_E_CANCELLED on a signal.
int st_source_open(const struct st_reference *ref, bool offline, uint64_t deadline_ms, struct st_opened *ret,
                   struct st_err *err);
// The same with a descriptor that somebody else opened for this reference: a file (read from its beginning), a pipe, a
// directory. It is duplicated. For a daemon's reference: the archive that it wrote.
int st_source_open_fd(const struct st_reference *ref, int fd, struct st_opened *ret, struct st_err *err);
void st_opened_close(struct st_opened *o); // safe on {.fd = -1, .dirfd = -1}

#endif
