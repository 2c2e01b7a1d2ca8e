// One scan, from an opened source to an inventory. Runs in stella: opens and passes descriptors, keeps the budget,
// starts analyzers, never looks into image data itself.
#ifndef ST_SCAN_SCAN_H
#define ST_SCAN_SCAN_H

#include "image/image.h"
#include "image/open.h"
#include "inventory/inventory.h"
#include "scan/layer.h"
#include "scan/sandbox.h"

enum st_verify { ST_VERIFY_NONE, ST_VERIFY_BLOB, ST_VERIFY_FULL };

// Told of the scan's course, from the thread that runs it. Any may be NULL.
struct st_scan_observer {
    void *ctx;
    void (*subject)(void *ctx, const struct st_subject *sub);       // once, as soon as the manifest is read
    void (*begin)(void *ctx, size_t layers, uint64_t stored_bytes); // 0 layers: not known yet (a stream)
    void (*layer_begin)(void *ctx, size_t layer, struct st_sv digest, uint64_t size);
    void (*layer_bytes)(void *ctx, size_t layer, uint64_t done); // bytes of the blob so far
    void (*layer_at)(void *ctx, size_t layer, uint64_t entries,
                     struct st_sv path); // tar entries; file in work or empty
    void (*layer_done)(void *ctx, size_t layer, bool cached);
    void (*end)(void *ctx);
    void (*warn)(void *ctx, const char *text);
    void (*log)(void *ctx, const char *text); // what was decided and measured: a line for the log, at debug level
};

// Streaming: one layer at a time, and contents of files go to the spill file early. Slower on many processors, and in
// the least memory. The bytes of the result are the same. Zeroes: never.
struct st_scan_stream {
    bool sized;     // from this size on:
    uint64_t from;  // bytes as stored
    uint64_t above; // and when layers side by side are estimated to take more than this; 0: no matter
};

struct st_scan_request {
    const char *name; // as the user wrote it
    struct st_opened *opened;
    enum st_image_pin pin;
    struct st_sv tag;
    struct st_platform platform; // wanted; empty: the host's rule
    uint64_t memory;             // budget of the whole process tree, bytes
    unsigned threads;            // analyzers at once; 0: as many as there are processors
    enum st_verify verify;
    bool keep_going, foreign;          // foreign: layers that only URLs in the manifest lead to are read, too
    uint64_t deadline_ms;              // CLOCK_MONOTONIC; 0: none
    const char *cache_dir;             // NULL: no cache
    uint64_t cache_bytes, cache_age_s; // its limits (fragstore.h); 0: the standard ones
    const char *state_dir;             // for checkpoints; NULL: none
    const char *spill_dir;
    const char *checkpoints; // in state_dir, "jobs/NAME"; NULL: named by the image's configuration
    bool resume;             // use checkpoints of an earlier try
    struct st_scan_stream stream;
    uint64_t checkpoint_files;               // entries between two checkpoints within a layer; 0: only whole layers
    const struct st_scan_observer *observer; // NULL allowed
    const volatile int *interrupted;         // set by a signal handler; NULL allowed
};

// What happened to one layer.
struct st_scan_layer {
    enum { ST_LAYER_SCANNED, ST_LAYER_CACHED, ST_LAYER_RESUMED, ST_LAYER_SAME, ST_LAYER_FOREIGN, ST_LAYER_FAILED } how;
    size_t same_as; // ST_LAYER_SAME: index of the layer with the same blob
    struct st_layer_stats stats;
    uint64_t resumed;  // entries that a checkpoint within the layer had already
    struct st_err err; // ST_LAYER_FAILED
    uint64_t ms;
};

struct st_scan_profile {
    uint64_t peak_tree;     // highest sum of private and shared memory of the tree that was seen, bytes
    const char *peak_phase; // where it was: "index", "layers", "merge"
    size_t peak_layer;      // a layer in work then; SIZE_MAX: none
    uint64_t index_ms, layers_ms, merge_ms;
    uint64_t analyzers, crashes;
    uint64_t spilled; // bytes, highest of one analyzer, or of the merge
};

// Bytes as stored: of layers that were read in this scan, of the image. by_table: layers that were read in parts.
struct st_fetched {
    uint64_t bytes, of;
    size_t by_table;
};

struct st_scan; // result
// 0: inventory ready. -1: nothing to write. With keep_going, failed layers are left out and st_scan_failed tells.
int st_scan_run(const struct st_scan_request *opt, struct st_scan **ret, struct st_err *err);
void st_scan_free(struct st_scan *s); // NULL allowed
const struct st_inventory *st_scan_inventory(const struct st_scan *s);
const struct st_image *st_scan_image_of(const struct st_scan *s);
const struct st_scan_layer *st_scan_layers(const struct st_scan *s); // subject.n_layers
const struct st_scan_profile *st_scan_profile(const struct st_scan *s);
struct st_fetched st_scan_fetched(const struct st_scan *s);
size_t st_scan_failed(const struct st_scan *s); // layers
// SHA-256 of what the fragment of a layer says, without the numbers that one run measured (its END record): the same
// for every run of the same catalogers. 1; 0: the layer has none (foreign, failed); -1.
int st_scan_fragment_hash(const struct st_scan *s, size_t layer, char ret[static ST_DIGEST_HEX + 1],
                          struct st_err *err);
// Checkpoints are kept until the caller has written its output.
void st_scan_forget(struct st_scan *s);

// Resolve only: the image without its layers' contents (image inspect).
int st_scan_resolve(const struct st_scan_request *opt, struct st_arena *a, struct st_image *ret, struct st_err *err);
// What the sandbox is on this machine.
int st_scan_sandbox(struct st_sandbox_report *ret, struct st_err *err);

// The smallest budget that is accepted.
#define ST_SCAN_MEMORY_MIN (16ull << 20)
#define ST_SCAN_MEMORY_DEFAULT (64ull << 20)

#endif
