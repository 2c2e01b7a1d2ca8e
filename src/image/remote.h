// A source whose bytes another process brings (stella-fetch, or the reader of a store, src/fetch): documents as files
// in memory, blobs as pipes. The course of a scan (src/scan) only knows this face of it.
#ifndef ST_IMAGE_REMOTE_H
#define ST_IMAGE_REMOTE_H

#include "base/err.h"
#include "base/sv.h"

#include <sys/types.h>

struct st_remote {
    // A document by its name in an image layout ("index.json", "blobs/sha256/<hex>"): 1 with *ret_fd (the caller
    // closes) and *ret_size; 0 when there is none; -1. With `lists` a layer has a size too, and no file (*ret_fd -1).
    int (*document)(struct st_remote *r, struct st_sv name, int *ret_fd, uint64_t *ret_size, struct st_err *err);
    // The bytes [from, size) of a blob begin to come out of *ret_fd, a pipe that the caller closes, whenever it wants.
    // *ret_ticket names this reading of it. Returns at once.
    int (*blob)(struct st_remote *r, struct st_sv name, uint64_t from, uint64_t size, int *ret_fd, uint64_t *ret_ticket,
                struct st_err *err);
    // Did that pipe end before `size` bytes had come? Then why; else false. Asked by whoever saw it end too early, who
    // waits up to wait_ms: a process that is killed lets go of its pipes before it is known to be dead.
    bool (*failed)(struct st_remote *r, uint64_t ticket, int wait_ms, struct st_err *ret_why);
    bool lists;             // it knows which layers there are, and asks nobody: a manifest's word is not enough
    pid_t pid;              // of the process, for the memory of the tree
    uint64_t private_bytes; // what that process costs, beside the budget of the scan
    // As `blob`, for [from, to), a part of it, from a server that can give parts; a pipe that ends early is all
    // that tells of another one. NULL: there is no such thing.
    int (*range)(struct st_remote *r, struct st_sv name, uint64_t from, uint64_t to, int *ret_fd, struct st_err *err);
};

#endif
