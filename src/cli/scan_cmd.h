// What the verbs that read an image share: option rows, the words that an argument may have, how a scan is shown.
#ifndef ST_CLI_SCAN_CMD_H
#define ST_CLI_SCAN_CMD_H

#include "base/out.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "worker/engine.h"

#define ST_MEMORY_DEFAULT "64Mi"

// Options of whatever reads from a registry; rows in remote_opts.h.
struct st_remote_options {
    const char *creds, *ca_file, *client_cert, *client_key; // NULL: not given
    struct st_opt_list insecure;
    int source;         // enum st_source_choice
    uint64_t bandwidth; // bytes a second; 0: no limit
    bool verbose;
};
struct st_engine_access st_remote_access(const struct st_remote_options *o);

// What `scan image` was asked, checked. Strings are borrowed for the run.
struct st_scan_ask {
    const char *image;              // as the user wrote it; NULL only with sandbox_report
    struct st_scan_options options; // memory and threads: what the command line or the environment says, else 0
    uint64_t memory;                // of a scan in this process
    unsigned threads;
    struct st_remote_options remote;
    struct st_engine_output outputs[ST_ENGINE_OUTPUTS_MAX]; // at least one; no path twice
    size_t n_outputs;
    const char *cache_dir; // NULL: cache/ in the state directory
    const char *profile_output;
    bool local, quiet, profile, retry, force, sandbox_report;
    enum st_progress_mode progress;
    struct st_out *out; // standard output
};
// By a service, if one answers and `local` does not forbid it; *ret_done false: none does.
int st_scan_remote(const struct st_scan_ask *ask, bool *ret_done, struct st_err *err);
// In this process, with a record in the local store.
int st_scan_local(const struct st_scan_ask *ask, struct st_err *err);

// Rows that several verbs share.
extern const struct st_choice st_progress_choices[];
extern const struct st_term st_image_terms[];
// The image of `--image` and the positional argument; ST_E_USAGE when neither or two different ones are given.
int st_image_argument(const struct st_parsed *parsed, const char *option, const char *verb, const char **ret,
                      struct st_err *err);
// SIGINT and SIGTERM set the flag that is returned; SIGPIPE is an error of write.
const volatile int *st_cli_catch_signals(void);

// ---- how a scan in this process is shown -----------------------------------------------------------

struct st_scan_show {
    struct st_progress progress;
    enum st_progress_mode mode;
    bool quiet, unknowns;  // unknowns: named even when quiet
    bool profile, verbose; // verbose: what was decided and measured, a line each
    uint64_t memory;
    const char *profile_output;
    void (*subject)(void *ctx, struct st_sv digest, uint64_t size); // NULL allowed
    void *ctx;
    struct st_scan_observer scan;
    struct st_engine_observer engine; // for the engine's request, after st_scan_show_begin
};
void st_scan_show_begin(struct st_scan_show *s);
unsigned st_terminal_width(int fd); // 0: no terminal

#endif
