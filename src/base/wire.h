// Compact binary records: LEB128 varints and length-prefixed texts. Used where bytes cross a process boundary or lie on
// disk (fragments, image descriptions), so the reader checks everything and latches its first failure: read all fields,
// then ask st_wire_ok once.
#ifndef ST_BASE_WIRE_H
#define ST_BASE_WIRE_H

#include "base/mem.h"

struct st_wire_out {
    struct st_buf *buf; // borrowed
    bool failed;
    struct st_err err; // of the first failure
};
void st_wire_put_u64(struct st_wire_out *w, uint64_t v);
void st_wire_put_sv(struct st_wire_out *w, struct st_sv s);

struct st_wire_in {
    struct st_sv rest;
    bool failed;
};
uint64_t st_wire_u64(struct st_wire_in *r);               // 0 after a failure
uint64_t st_wire_max(struct st_wire_in *r, uint64_t max); // fails above max
struct st_sv st_wire_sv(struct st_wire_in *r);            // borrowed from the input; empty after a failure
// A count of elements that need at least `each` bytes: fails when the rest cannot hold them.
size_t st_wire_count(struct st_wire_in *r, size_t each);
// Everything read and nothing left over.
static inline bool st_wire_ok(const struct st_wire_in *r)
{
    return !r->failed && r->rest.len == 0;
}

#endif
