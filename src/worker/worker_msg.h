// What a worker process and its supervisor say to each other: packets "KIND JSON" over a SOCK_SEQPACKET pair, which is
// descriptor ST_WORKER_FD of the worker. docs/adr/0012.
//   to the worker:    job (once, first; descriptors of local files go along), stop
//   from the worker:  subject, progress, log, end (once, last)
// The supervisor believes none of it beyond the worker's own job; every text is cut to its field's limit.
#ifndef ST_WORKER_WORKER_MSG_H
#define ST_WORKER_WORKER_MSG_H

#include "service/record.h"
#include "store/store.h"

#define ST_WORKER_FD 3

struct st_worker_job {
    char id[ST_JOB_ID + 1];
    uint64_t fence;
    uint32_t attempt;
    struct st_sv image;
    struct st_sv options;    // JSON object: what `scan image` was asked (service/scan_options.h)
    struct st_sv config;     // JSON object key -> value: the snapshot
    struct st_sv home;       // state directory: jobs/ID/ for checkpoints, jobs/ID/FENCE/ for the result
    uint64_t memory_limit;   // effective limit of the slot, bytes
    uint64_t deadline_ms;    // from now; 0: none
    uint64_t size;           // has_size
    bool has_size, has_file; // has_file: the image is the descriptor that came along
    bool resume;             // an earlier attempt may have left checkpoints
};
struct st_worker_stop {
    bool release; // keep the checkpoint: the job goes on elsewhere; else it was cancelled
};
struct st_worker_subject {
    struct st_sv digest;
    uint64_t size;
};
struct st_worker_progress {
    struct st_sv phase;  // "resolve", "layers", "merge", "write"
    struct st_sv digest; // of the layer in work
    struct st_sv file;   // in work, where known
    uint64_t layer, layers, bytes, total, files;
};
struct st_worker_log {
    enum st_log_level level;
    struct st_sv component, message;
};
struct st_worker_end {
    int exit_code;
    struct st_sv reason, message;      // empty reason: completed
    struct st_sv resumed_from, phases; // phases: JSON object name -> ms
    struct st_sv result; // formats that lie in jobs/ID/FENCE/, "cyclonedx-json,purls"; empty: none. Also beside a
                         // reason: what --strict or --keep-going judge is written all the same
    uint64_t peak_bytes, unknowns, packages, layers_cached, layers_total, bytes_read;
};

enum st_worker_kind {
    ST_WORKER_JOB,
    ST_WORKER_STOP,
    ST_WORKER_SUBJECT,
    ST_WORKER_PROGRESS,
    ST_WORKER_LOG,
    ST_WORKER_END
};
#define ST_WORKER_KINDS 6
// By kind: the word and the record.
struct st_worker_kind_row {
    const char *word;
    const struct st_record *record;
};
extern const struct st_worker_kind_row st_worker_kinds[ST_WORKER_KINDS];

// One packet. fds (n may be 0) go along. ST_E_RETRY when the other side does not read (a full socket) and `wait_ms` is
// over.
int st_worker_send(int sock, enum st_worker_kind kind, const void *record, const int *fds, size_t n_fds,
                   unsigned wait_ms, struct st_err *err);
// 1: *ret is a record of *ret_kind, in the arena; descriptors received are the caller's to close. 0: nothing there (a
// non-blocking socket) or, with *ret_closed, the other side is gone. -1: a packet that breaks the rules.
#define ST_WORKER_FDS 4
struct st_worker_fds {
    int fd[ST_WORKER_FDS];
    size_t n;
};
int st_worker_recv(int sock, enum st_worker_kind *ret_kind, void **ret, struct st_worker_fds *ret_fds, bool *ret_closed,
                   struct st_arena *a, struct st_err *err);
// The bytes of one packet, without a socket. 0 or -1.
int st_worker_read(struct st_sv packet, enum st_worker_kind *ret_kind, void **ret, struct st_arena *a,
                   struct st_err *err);

#endif
