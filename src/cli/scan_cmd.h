// What the command line asks of the engine. All strings are borrowed for the run; all values are checked.
#ifndef ST_CLI_SCAN_CMD_H
#define ST_CLI_SCAN_CMD_H

#include "base/out.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "image/inspect.h"
#include "scan/scan.h"

#define ST_MEMORY_MIN (16ull << 20)
#define ST_MEMORY_DEFAULT "64Mi"
#define ST_THREADS_MAX 256

struct st_scan_output {
    const char *format; // "table", "cyclonedx-json", "spdx-json", "syft-json", "purls"
    const char *path;   // NULL: standard output
};
#define ST_SCAN_OUTPUTS_MAX (ST_OPT_LIST_MAX + 1)

enum st_source_choice { ST_FROM_ANY, ST_FROM_DOCKER, ST_FROM_PODMAN, ST_FROM_REGISTRY };

// Options of whatever reads from a registry; rows in remote_opts.h.
struct st_remote_options {
    const char *creds, *ca_file, *client_cert, *client_key; // NULL: not given
    struct st_opt_list insecure;
    int source;         // enum st_source_choice
    uint64_t bandwidth; // bytes a second; 0: no limit
    bool verbose;
};

struct st_scan_options {
    const char *image; // as the user wrote it; NULL only with sandbox_report
    const char *platform;
    struct st_remote_options remote;
    struct st_scan_output outputs[ST_SCAN_OUTPUTS_MAX]; // at least one; no path twice
    size_t n_outputs;
    uint64_t memory;                   // bytes, of the whole process tree
    unsigned threads;                  // analyzers at once, at least 1
    bool cache;                        // use the layer cache
    const char *cache_dir;             // NULL: cache/ in the state directory
    uint64_t cache_bytes, cache_age_s; // its limits (keys cache.max_bytes, cache.ttl); 0: the standard ones
    enum st_verify verify;
    bool strict, keep_going, offline, local, quiet;
    bool profile;               // report on standard error, or as JSON in profile_output
    const char *profile_output; // NULL: standard error
    uint64_t timeout_s;         // 0: none
    enum st_progress_mode progress;
    bool sandbox_report; // without an image: print it and return; with one: on standard error, then scan

    // ---- the job record; all NULL when the state directory cannot be used ----
    const char *home;        // state directory
    const char *job_id;      // names the checkpoint directory
    const char *resume_from; // id of the failed job whose checkpoint may be used again; NULL: none
    struct st_scan_events *events;
    struct st_out *out; // standard output
};

// Told to the caller while the engine runs.
struct st_scan_events {
    // Once the manifest is read: its digest (of the configuration where there is none) and size as stored.
    void (*subject)(struct st_scan_events *e, struct st_sv digest, uint64_t size);
    uint64_t peak_bytes; // set by the engine before it returns, also on failure; 0: not measured
    bool resumed;        // layers of resume_from were used
};

// Scan and write every output. 0 also with unknowns (but -1 when strict). The engine prints warnings and the line
// "complete with N unknowns" itself; the caller prints err.
int st_scan_image(const struct st_scan_options *o, struct st_err *err);

struct st_image_options {
    const char *image;
    const char *platform;
    struct st_remote_options remote;
    uint64_t memory;
    enum st_progress_mode progress;
    bool quiet, offline, json;
    enum st_layer_sort sort; // st_image_layers
    struct st_out *out;
};
int st_image_inspect(const struct st_image_options *o, struct st_err *err);
int st_image_layers(const struct st_image_options *o, struct st_err *err);

// Rows that several verbs share.
extern const struct st_choice st_progress_choices[];
extern const struct st_term st_image_terms[];
// The image of `--image` and the positional argument; ST_E_USAGE when neither or two different ones are given.
int st_image_argument(const struct st_parsed *parsed, const char *option, const char *verb, const char **ret,
                      struct st_err *err);
int st_platform_check(const char *platform, struct st_err *err); // OS/ARCH[/VARIANT]; NULL is fine

#endif
