// Fragments kept on disk: the layer cache (shared by all scans) and the checkpoints of one job. Files appear whole
// (written without a name, then linked), are verified against their checksum before use, and may be removed by anybody
// at any time. Safe for many processes at once.
//
//   DIR/layers/<sha256 of the stored blob>.<cataloger set>.frag        the cache
//   DIR/jobs/<subject>/<layer>.frag                                   checkpoints
//
// Trust: a fragment is filed under a digest that this scan computed from the bytes it came from, never under a claim.
#ifndef ST_SCAN_FRAGSTORE_H
#define ST_SCAN_FRAGSTORE_H

#include "scan/fragment.h"

#define ST_CACHE_BYTES_MAX (5ull << 30)      // cache.max_bytes
#define ST_CACHE_AGE_MAX (45ull * 24 * 3600) // seconds since the last use
#define ST_CACHE_COLD(max) ((max) / 5 * 4)   // compaction starts above this ...
#define ST_CACHE_WARM(max) ((max) / 5)       // ... and stops here

struct st_fragstore {
    int dirfd; // owned; -1: not open
};

// Opens DIR/sub (made with mode 0700 when missing).
int st_fragstore_open(const char *dir, const char *sub, struct st_fragstore *ret, struct st_err *err);
void st_fragstore_close(struct st_fragstore *s); // safe when not open
// A descriptor of a verified fragment, or -1 when there is none (a damaged one is removed).
int st_fragstore_get(struct st_fragstore *s, struct st_mem *mem, const char *name);
// A file without a name in the store.
int st_fragstore_temp(struct st_fragstore *s, struct st_err *err);
// Give fd (from st_fragstore_temp) its name. A name that is there already stays. Failure does no harm: -1.
int st_fragstore_put(struct st_fragstore *s, int fd, const char *name);
// Name of a blob's fragment in the cache. hex: ST_DIGEST_HEX digits.
#define ST_FRAGSTORE_NAME (ST_DIGEST_HEX + 32)
void st_fragstore_name(const char *hex, char ret[static ST_FRAGSTORE_NAME]);

struct st_fragstore_usage {
    uint64_t entries, bytes, removed, removed_bytes;
};
// Remove what is older than max_age seconds, what other versions left, and the least recently used until the rest is
// within the limit. all: everything.
int st_fragstore_prune(struct st_fragstore *s, uint64_t max_bytes, uint64_t max_age, bool all,
                       struct st_fragstore_usage *ret, struct st_err *err);
// Remove a job's directory DIR/sub with all its files.
void st_fragstore_remove(const char *dir, const char *sub);

#endif
