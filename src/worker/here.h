// An image on this machine: of a daemon that packs it (fetch/pull.h), or in a store that is read without one
// (fetch/local.h). One table, in the order in which they are asked for a reference that does not say where it is.
#ifndef ST_WORKER_HERE_H
#define ST_WORKER_HERE_H

#include "fetch/local.h"
#include "fetch/pull.h"
#include "service/scan_options.h"

struct st_here {
    bool stream;            // given: one descriptor is wanted, which is passed on
    unsigned threads;       // given: analyzers at once
    struct st_pull *pull;   // a daemon's; NULL: none
    struct st_local *local; // a store's child; NULL: none
    struct st_opened opened;
};

// The word of `from` in the table is the source's scheme without its ':' ("docker", "containers-storage").
const char *st_here_name(enum st_source_choice from);
enum st_source_choice st_here_of(const char *source_name); // ST_FROM_ANY: none of these

// ST_E_NOTFOUND: it is not there, or has no such image.
int st_here_open(enum st_source_choice from, const struct st_reference *ref, const struct st_pull_options *opt,
                 struct st_here *ret, struct st_err *err);

// All of the table in turn. 1: *ret_from has it, and it is open. 0: none has; `tried` says what each was: "docker (not
// running), podman (no such image), ...". -1: ST_E_CANCELLED, ST_E_TIMEOUT.
#define ST_HERE_TRIED 240
int st_here_any(const struct st_reference *ref, const struct st_pull_options *opt, struct st_here *ret,
                enum st_source_choice *ret_from, char tried[static ST_HERE_TRIED], struct st_err *err);
void st_here_close(struct st_here *h); // the processes behind it; `opened` is the caller's

#endif
