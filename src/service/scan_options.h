// How to scan: what `stella scan image` was asked, as it travels with a job (`options` of a submission) and as the
// record of a local scan keeps it. Here and not in src/worker, since stella-api checks a submission.
//
// No credentials: a job is kept in a database and shown to everybody who may read. A registry's login for a job is what
// the service's user has in its files of logins (fetch/login.h).
#ifndef ST_SERVICE_SCAN_OPTIONS_H
#define ST_SERVICE_SCAN_OPTIONS_H

#include "base/clock.h"
#include "scan/scan.h"
#include "service/record.h"

#define ST_MEMORY_MIN (16ull << 20)
#define ST_THREADS_MAX 256

enum st_source_choice {
    ST_FROM_ANY,
    ST_FROM_DOCKER,
    ST_FROM_PODMAN,
    ST_FROM_CONTAINERD,
    ST_FROM_STORAGE, // containers-storage
    ST_FROM_REGISTRY
};

struct st_scan_options {
    uint64_t memory;       // bytes, of the whole process tree; 0: what the worker has
    uint32_t threads;      // analyzers at once; 0: as many as there are processors
    bool cache, has_cache; // use the layer cache; not has_cache: the configuration decides
    enum st_verify verify; // not has_verify: blob
    bool has_verify;
    bool strict, keep_going, offline;
    bool foreign_layers;   // follow the URLs that a manifest gives for layers the registry has not
    struct st_sv platform; // OS/ARCH[/VARIANT]; empty: this machine's
    struct st_sv formats;  // of the SBOMs: "spdx-json,purls"; of a job cyclonedx-json is always among them
    uint32_t width;        // columns of the terminal that the table goes to; 0: nothing is cut
    uint64_t timeout_s;    // 0: the configuration's (a job), none (a local scan)
    uint64_t bandwidth;    // bytes a second from the registry; 0: no limit
    struct st_sv insecure; // "host:port,host": registries whose certificate may be any, or that may have no TLS
    struct st_sv path;     // how the client read the reference: the name of the file that it passed; empty: none
    bool file;             // the image's bytes came along as a descriptor; set by the service
};

extern const struct st_record st_record_scan_options;

// From JSON, checked: platforms, formats, ranges. ST_E_INPUT naming the field, also for an unknown one.
int st_scan_options_read(struct st_sv json, struct st_scan_options *ret, struct st_arena *a, struct st_err *err);
// The canonical text: only what is not the default, in the order of the table. Submissions that mean the same have the
// same text.
int st_scan_options_write(const struct st_scan_options *o, struct st_buf *to, struct st_err *err);
static inline enum st_verify st_scan_options_verify(const struct st_scan_options *o)
{
    return o->has_verify ? o->verify : ST_VERIFY_BLOB;
}
// When a scan that begins now has to end: CLOCK_MONOTONIC, ms; 0: never.
static inline uint64_t st_scan_options_deadline(const struct st_scan_options *o)
{
    return o->timeout_s ? (uint64_t)st_clock_mono_ms() + o->timeout_s * 1000 : 0;
}

// Words of `formats`, by index; NULL ends. The first is the one that every job writes.
extern const char *const st_sbom_format_words[];
// One bit for each of st_sbom_format_words. ST_E_INPUT naming an unknown one.
int st_scan_formats(struct st_sv formats, unsigned *ret_bits, struct st_err *err);
int st_platform_check(struct st_sv platform, struct st_err *err); // OS/ARCH[/VARIANT]; empty is fine; ST_E_USAGE

#endif
