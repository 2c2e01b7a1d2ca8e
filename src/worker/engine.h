// One scan, from a reference to files: opens the source, runs the scan, writes every output. `stella scan image` calls
// it in its own process, the worker process for a job: the same code, the same bytes. It knows no terminal and no
// store; what is said to people goes through the observer. docs/adr/0012.
#ifndef ST_WORKER_ENGINE_H
#define ST_WORKER_ENGINE_H

#include "image/inspect.h"
#include "scan/scan.h"
#include "service/scan_options.h"

// What only a scan in the caller's own process has: logins and files of the person who asked. Texts may be NULL.
struct st_engine_access {
    const char *creds; // wiped after use: it lies in argv, where every process of the machine can read it
    const char *ca_file, *client_cert, *client_key;
    const char *const *insecure; // hosts
    size_t n_insecure;
    int source; // enum st_source_choice, of a reference without a scheme
    bool verbose;
    bool service;          // a job: no path and no daemon of this machine, no host at a private address ...
    struct st_sv uploads;  // ... but files below this directory ("HOME/uploads/"), which the service itself wrote ...
    struct st_sv private_; // ... and the hosts of this list, "HOST[:PORT],HOST"
};

struct st_engine_output {
    const char *format; // "table", "cyclonedx-json", "spdx-json", "syft-json", "purls"
    const char *path;   // NULL: `out` of the request
    unsigned width;     // columns of a terminal; 0: none
};
#define ST_ENGINE_OUTPUTS_MAX 17

// All optional. What is said is one line without a full stop at its end.
struct st_engine_observer {
    void *ctx;
    const struct st_scan_observer *scan; // progress, warnings, subject
    void (*note)(void *ctx, const char *text);
    void (*writing)(void *ctx); // the scan is done, its outputs are written now
    // The outputs are written; the verdict (--strict, failed layers) is not spoken yet. -1 fails the scan.
    int (*written)(void *ctx, const struct st_scan *scan, struct st_err *err);
};

struct st_engine_request {
    const char *image; // as the user wrote it
    const struct st_scan_options *options;
    uint64_t memory;  // budget of the process tree, bytes
    unsigned threads; // at least 1
    struct st_engine_access access;
    int file; // an open file, pipe or directory that is the image; -1: by `image`. Borrowed
    const struct st_engine_output *outputs;
    size_t n_outputs;
    struct st_out *out;                // standard output
    bool sync;                         // outputs have reached the disk when they get their names
    const char *spill;                 // directory of spill files where $TMPDIR is not set; NULL: /var/tmp
    const char *home;                  // state directory, for checkpoints; NULL: none are kept
    const char *checkpoints;           // directory in it, "jobs/ID"; NULL: named by the image
    bool resume;                       // use checkpoints of an earlier attempt
    const char *cache_dir;             // NULL: no cache
    uint64_t cache_bytes, cache_age_s; // its limits (keys cache.max_bytes, cache.ttl); 0: the standard ones
    struct st_scan_stream stream;
    uint64_t checkpoint_files; // as in struct st_scan_request
    uint64_t deadline_ms;      // CLOCK_MONOTONIC; 0: none
    const volatile int *interrupted;
    const struct st_engine_observer *observer; // NULL allowed
};

// Known as far as the scan came.
struct st_engine_result {
    struct st_scan_profile profile;
    uint32_t unknowns, packages;
    uint64_t entries_resumed;                                   // of layers that were gone on with
    uint64_t layers, layers_cached, layers_resumed, bytes_read; // bytes: as stored, of layers that were read
};

// Scan and write every output; each appears under its name when it is complete. 0 also with unknowns (but -1 with
// `strict`). Checkpoints are removed after success only.
int st_engine_scan(const struct st_engine_request *q, struct st_engine_result *ret, struct st_err *err);

// For people, after a scan: a line for each of the first unknowns, then "complete with N unknowns"; nothing when there
// are none.
int st_engine_say_unknowns(const struct st_inventory *inv, struct st_out *o, struct st_err *err);

// What a client opens for a service, with the notes that a scan would make: a file, a directory, or the pipe of a
// local daemon. Stays open until the job has ended.
struct st_engine_file;
int st_engine_file_open(const struct st_engine_request *q, struct st_engine_file **ret, struct st_err *err);
void st_engine_file_close(struct st_engine_file *f);              // NULL allowed
int st_engine_file_fd(const struct st_engine_file *f);            // -1: nothing to pass, the image is a registry's
struct st_sv st_engine_file_path(const struct st_engine_file *f); // struct st_scan_options.path
bool st_engine_file_failed(struct st_engine_file *f, struct st_err *ret_why); // a daemon's pipe ended too early

// The image without its packages: layers of a local one are read once for their counts, a registry's stay there.
typedef int st_engine_inspect_fn(void *ctx, const struct st_inspect *in, struct st_arena *a, struct st_err *err);
int st_engine_inspect(const struct st_engine_request *q, st_engine_inspect_fn *print, void *ctx, struct st_err *err);

#endif
