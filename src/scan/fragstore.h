// Fragments kept on disk: the layer cache (shared by all scans) and the checkpoints of one job. Files appear whole
// (written without a name, then linked), are verified against their checksum before use, and may be removed by anybody
// at any time. Safe for many processes at once.
//
//   DIR/layers/<sha256 of the stored blob>.<cataloger set>.frag        the cache
//   DIR/layers/<e or z>-<sha256 of its table of contents>.<cataloger set>.frag
//   DIR/layers/.counts                                                 how it did
//   DIR/jobs/<subject>/<layer>.frag                                   checkpoints
//
// Trust: a fragment is filed under a digest that this scan computed from the bytes it came from, never under a claim.
// One that was read by a table of contents (docs/adr/0014) is filed under the table's digest, which every byte that it
// came from was verified by, and never under the blob's, which nobody computed.
#ifndef ST_SCAN_FRAGSTORE_H
#define ST_SCAN_FRAGSTORE_H

#include "scan/fragment.h"

// Limits of the cache where the configuration (cache.max_bytes, cache.ttl) says nothing else.
#define ST_CACHE_BYTES_MAX (5ull << 30)
#define ST_CACHE_AGE_MAX (45ull * 24 * 3600)      // seconds since the last use
#define ST_CHECKPOINT_AGE_MAX (30ull * 24 * 3600) // --retry looks no further back

struct st_fragstore {
    int dirfd; // owned; -1: not open
};

// Opens DIR/sub. make: with mode 0700 when missing; else that is ST_E_NOTFOUND.
int st_fragstore_open(const char *dir, const char *sub, bool make, struct st_fragstore *ret, struct st_err *err);
void st_fragstore_close(struct st_fragstore *s); // safe when not open
// A descriptor of a verified fragment, or -1 when there is none (a damaged one is removed).
int st_fragstore_get(struct st_fragstore *s, struct st_mem *mem, const char *name);
void st_fragstore_drop(struct st_fragstore *s, const char *name); // no longer there; no matter whether it was
// A file without a name in the store.
int st_fragstore_temp(struct st_fragstore *s, struct st_err *err);
// Give fd (from st_fragstore_temp) its name. A name that is there already stays. Failure does no harm: -1.
int st_fragstore_put(struct st_fragstore *s, int fd, const char *name);
// Name of a blob's fragment in the cache. hex: ST_DIGEST_HEX digits.
#define ST_FRAGSTORE_NAME (ST_DIGEST_HEX + 32)
void st_fragstore_name(const char *hex, char ret[static ST_FRAGSTORE_NAME]);

struct st_toc_place;
void st_fragstore_toc_name(const struct st_toc_place *toc, char ret[static ST_FRAGSTORE_NAME]);

// ---- what is there, and eviction; bytes are those taken on the disk

struct st_fragstore_usage {
    uint64_t entries, bytes;
    uint64_t stale, stale_bytes; // of them: filed by another version, which this one cannot use
    int64_t oldest_s;            // last use of the entry that was not used for longest, seconds since 1970; 0: no entry
};
int st_fragstore_usage(struct st_fragstore *s, struct st_fragstore_usage *ret, struct st_err *err);

struct st_fragstore_limits {
    uint64_t max_age; // seconds since the last use
    uint64_t full,
        roomy;  // over `full` bytes, what other versions filed and then the least recently used goes until `roomy`
    bool stale; // what other versions filed goes in any case
    bool all;   // everything goes
};
// Those that a scan keeps: eviction begins above four fifths of max_bytes and ends at one fifth. The room between where
// it begins and max_bytes is what one scan may add before it looks. max_age: UINT64_MAX for no end.
struct st_fragstore_limits st_fragstore_limits_of(uint64_t max_bytes, uint64_t max_age);

struct st_fragstore_pruned {
    uint64_t entries, bytes, removed, removed_bytes;
};
// In memory that does not grow with the cache; "least recently" is by spans of ten minutes.
int st_fragstore_prune(struct st_fragstore *s, const struct st_fragstore_limits *limits,
                       struct st_fragstore_pruned *ret, struct st_err *err);

// How the cache did, over all scans: layers found, layers that had to be read, entries evicted.
struct st_fragstore_counts {
    uint64_t hits, misses, evicted;
};
void st_fragstore_counts(struct st_fragstore *s, struct st_fragstore_counts *ret); // zero when not known
void st_fragstore_count(struct st_fragstore *s, const struct st_fragstore_counts *more);

// ---- jobs

// Remove a job's directory DIR/sub with all its files.
void st_fragstore_remove(const char *dir, const char *sub);
// Remove the checkpoints of every job below DIR/sub that was not touched for max_age seconds: nobody retries it.
void st_fragstore_sweep(const char *dir, const char *sub, uint64_t max_age);

#endif
