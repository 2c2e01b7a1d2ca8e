// Private to the parent's side of a scan:
//   scan.c        its course
//   scan_index.c  which image it is
//   scan_kept.c   fragments, the cache, checkpoints
//   pool.c        analyzers at work on layers
#ifndef ST_SCAN_SCAN_INT_H
#define ST_SCAN_SCAN_INT_H

#include "scan/analyzer.h"
#include "scan/fragstore.h"
#include "scan/merge.h"
#include "scan/scan.h"

#include <limits.h>

// What a process costs beside its budget: code, libraries, stack, heap of the C library. Measured (docs/BENCHMARKS.md).
#define ST_SCAN_PARENT_BASE (3ull << 20)
#define ST_SCAN_ANALYZER_BASE (3ull << 20)
#define ST_SCAN_SLICE_MIN (4ull << 20)   // with less for each, fewer analyzers are started
#define ST_SCAN_SPILL_AT (8ull << 20)    // contents of files go to the spill file from here on, whatever the budget
#define ST_SCAN_SPILL_EARLY (2ull << 20) // the same when streaming
#define ST_SCAN_ANALYZERS_MAX 16
#define ST_SCAN_TICK_MS 200
#define ST_SCAN_DYING_MS 1000 // from the end of a pipe to that of the process that was killed and filled it

struct st_scan {
    const struct st_scan_request *opt; // valid during st_scan_run
    struct st_mem mem;
    int spill_fd;
    struct st_arena arena;
    struct st_image image;
    struct st_scan_layer *layers;
    int *fragments; // owned descriptors, -1: none
    size_t n_layers;
    struct st_unknown *unknowns;
    size_t n_unknowns;
    struct st_merge *merge;
    struct st_scan_profile profile;
    size_t failed;
    char analyzer[PATH_MAX];
    struct st_analyzer idle;   // read the index and waits for a layer; taken by the pool
    const char *sampled_phase; // of st_scan_sample
    uint64_t sampled_ms;
    struct st_fragstore cache, job;
    char job_sub[96]; // below the state directory
    char state_dir[PATH_MAX];
    bool streaming; // one layer at a time, early spill
    int *passed;    // STREAM: fragments in order of blobs
    size_t n_passed;
};

// What the processes beside the analyzers cost: the parent, and the one that fetches.
static inline uint64_t st_scan_base(const struct st_scan *s)
{
    return ST_SCAN_PARENT_BASE + (s->opt->opened->remote ? s->opt->opened->remote->private_bytes : 0);
}
uint64_t st_scan_now_ms(void);
// The digits of a "sha256:..." digest; empty when it is none.
static inline struct st_sv st_scan_hex(struct st_sv digest)
{
    return digest.len == ST_DIGEST_HEX + 7 ? st_sv_from(digest, 7) : ST_SV_NULL;
}
// ST_E_CANCELLED, ST_E_TIMEOUT, or 0.
int st_scan_check_time(const struct st_scan *s, struct st_err *err);
void st_scan_sample(struct st_scan *s, const char *phase, size_t layer, const pid_t *pids, size_t n);
static inline void st_scan_warn(const struct st_scan *s, const char *text)
{
    if (s->opt->observer && s->opt->observer->warn)
        s->opt->observer->warn(s->opt->observer->ctx, text);
}

// Tell how far an analyzer is with layer i. The page is the analyzer's: nothing in it is trusted.
void st_scan_tell(const struct st_scan *s, size_t i, const struct st_layer_watch *w, uint64_t bytes);
void st_scan_log(const struct st_scan *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline uint64_t st_scan_spill_at(const struct st_scan *s)
{
    return s->streaming ? ST_SCAN_SPILL_EARLY : ST_SCAN_SPILL_AT;
}

// ---- scan_index.c

// s->image is known; with a streamed archive, s->passed too.
int st_scan_index(struct st_scan *s, struct st_err *err);

// ---- scan_kept.c

// The cache and the job's checkpoints, where they are wanted and can be had.
void st_scan_open_stores(struct st_scan *s);
// A descriptor for a fragment: without a name, in the store that it may go to, else in the spill directory.
int st_scan_out(struct st_scan *s, struct st_err *err);
// A finished fragment of layer i: filed, its numbers taken.
int st_scan_take(struct st_scan *s, size_t i, int fd, struct st_err *err);
// Digests of the bytes that a fragment came from against those that the image names: the blob's, or the diff ID where
// the source has no blob digest; with `full` both. What was not computed matches nothing, unless nothing is verified.
int st_scan_check_digests(const struct st_scan *s, size_t i, struct st_err *err);
// A layer that need not be read: the same blob twice, a checkpoint, the cache. Only digests of stored blobs count: a
// diff ID in a config is a claim that reading nothing cannot check.
bool st_scan_have_already(struct st_scan *s, size_t i);

// ---- pool.c

// How many analyzers work on so many layers.
size_t st_pool_count(const struct st_scan *s, size_t n_layers);
// Scan the layers `todo` (indices). Failures are kept in s->layers with keep_going, else the first ends it.
int st_pool_run(struct st_scan *s, const size_t *todo, size_t n, struct st_err *err);
// The child that reads a directory as a tar stream. *ret_fd: the reading end.
int st_pool_rootfs(struct st_scan *s, int *ret_fd, pid_t *ret_pid, struct st_err *err);

#endif
