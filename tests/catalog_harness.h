// Runs one cataloger over one file and prints what it emits, for golden cases, the fuzz target and comparisons
// with the tools that own the data. Every byte range is handed over in a heap block of its exact size, so that a
// sanitizer sees the first byte read too far.
#ifndef TESTS_CATALOG_HARNESS_H
#define TESTS_CATALOG_HARNESS_H

#include "base/out.h"
#include "catalog/catalog.h"

struct harness {
    struct st_mem *mem;      // borrowed
    struct st_out *out;      // borrowed; NULL: records are only checked
    unsigned long fail_emit; // refuse this call of an emit function (1-based); 0: never
    unsigned long emits;     // calls so far, zeroed by harness_run
    bool refused;            // an emit function has refused: no further call may come
    bool whole;              // give a ST_NEED_SPARSE cataloger the whole file at once
    bool again;              // set when a cataloger asked for the whole file after its plan
};

// Parse `bytes` as the file `path` (normalised as in a tar). 0 or -1 as the cataloger said; a ST_NEED_SPARSE cataloger
// that answers ST_PARSE_AGAIN is given the whole file. Aborts when the cataloger breaks its contract.
int harness_run(struct harness *h, const struct st_cataloger *c, struct st_sv path, struct st_sv bytes,
                struct st_err *err);
// As harness_run, then one line "result ok" or "result <code word>: <text>".
void harness_print(struct harness *h, const struct st_cataloger *c, struct st_sv path, struct st_sv bytes);

const struct st_cataloger *harness_find(const char *name); // NULL: none of that name
bool harness_wants(const struct st_cataloger *c, struct st_sv path, struct st_sv bytes);

#endif
