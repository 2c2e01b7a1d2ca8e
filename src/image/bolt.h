// Reads a bbolt file (go.etcd.io/bbolt: page.go, bucket.go, meta.go), the database in which containerd keeps what its
// images are called. For reading only, and without its lock, which a running containerd holds for as long as it runs.
//
// That is sound as long as one looks again afterwards. bbolt never writes over a page that its newest committed tree
// uses: transaction N + 1 writes into pages that were free at N, and what it gives up is used again by N + 2 at the
// earliest. So what was read from the tree of transaction N is whole if N is still the newest when the reading is over
// (st_bolt_unchanged); else it is read again. Both meta pages have a checksum, so a half-written one is seen.
//
// Everything in the file is hostile: page numbers, sizes, positions, counts, trees that meet themselves.
#ifndef ST_IMAGE_BOLT_H
#define ST_IMAGE_BOLT_H

#include "base/mem.h"

#define ST_BOLT_PAGE_MAX (4u << 20) // bytes of one page with its overflow; an image's record has a few hundred
#define ST_BOLT_DEPTH_MAX 32        // pages from a root to a leaf
#define ST_BOLT_READS_MAX 200000    // pages read through one struct st_bolt

struct st_bolt {
    // Exactly n bytes of the file from offset: 0; -1 (ST_E_CORRUPT when it ends before).
    int (*read)(void *ctx, uint64_t offset, void *buf, size_t n, struct st_err *err);
    void *ctx;
    struct st_arena *arena; // borrowed: pages and texts
    uint32_t page_size;
    uint64_t pages; // in use: page numbers are below it
    uint64_t root;  // page of the root bucket
    uint64_t txid;  // the transaction whose tree it is
    unsigned reads_left;
};

// A bucket: a tree of its own, or a page inside the value of another one.
struct st_bolt_bucket {
    uint64_t root;            // 0: inline
    struct st_sv inline_page; // borrowed from the arena
};

// The newest transaction. `read`, `ctx` and `arena` are set by the caller. ST_E_CORRUPT when it is no such file.
int st_bolt_open(struct st_bolt *b, struct st_err *err);
// Is that still the newest one? 1, 0, -1.
int st_bolt_unchanged(struct st_bolt *b, struct st_err *err);

static inline struct st_bolt_bucket st_bolt_root(const struct st_bolt *b)
{
    return (struct st_bolt_bucket){.root = b->root};
}
// The bucket of that name: 1, 0 when there is none (or a value of that name), -1.
int st_bolt_bucket(struct st_bolt *b, struct st_bolt_bucket in, struct st_sv name, struct st_bolt_bucket *ret,
                   struct st_err *err);
// The value under a key: 1, 0, -1. Borrowed from the arena.
int st_bolt_value(struct st_bolt *b, struct st_bolt_bucket in, struct st_sv key, struct st_sv *ret, struct st_err *err);
// The names of the buckets in a bucket, in order, up to `max` (more is ST_E_LIMIT). Borrowed from the arena.
int st_bolt_buckets(struct st_bolt *b, struct st_bolt_bucket in, struct st_sv *names, size_t max, size_t *ret_n,
                    struct st_err *err);

#endif
