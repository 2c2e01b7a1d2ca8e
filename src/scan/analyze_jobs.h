// What the analyzer does for each kind of job (proto.h). Descriptors of the message are borrowed.
#ifndef ST_SCAN_ANALYZE_JOBS_H
#define ST_SCAN_ANALYZE_JOBS_H

#include "scan/layer.h"
#include "scan/proto.h"

// Fields of the messages, in order, as both sides use them.
struct st_job_mem {           // first in every job
    uint64_t limit, spill_at; // struct st_mem
};
static inline void st_job_put_mem(struct st_wire_out *o, struct st_job_mem m)
{
    st_wire_put_u64(o, m.limit);
    st_wire_put_u64(o, m.spill_at);
}

enum st_job_from { ST_JOB_FILE, ST_JOB_PIPE, ST_JOB_ASKED, ST_JOB_FROM_MAX };

// INDEX: mem, archive size (UINT64_MAX: layout directory), remote (0, 1), pin, tag, wanted os, arch, variant, host os,
// arch, variant.
//   fds: out [, archive]
int st_job_index(struct st_proto_msg *m, struct st_err *err);
// LAYER: mem, enum st_job_from, entries between checkpoints (0: none), go on from them, offset, length, want digest,
// want diff ID, digest, diff ID, table of contents (st_toc_put_place), count and paths to skip.
//   fds: out [, blob unless it is asked for] [, checkpoints] [, spill]
// ret_whole: why a layer with a table was read as a stream; code 0: it was not, or has none.
int st_job_layer(struct st_proto_msg *m, struct st_layer_watch *watch, struct st_err *ret_whole, struct st_err *err);
// STREAM: mem, want digests, pin, tag, wanted and host platform as INDEX. fds: out, input [, spill]
int st_job_stream(struct st_proto_msg *m, struct st_layer_watch *watch, uint64_t *ret_fragments, struct st_err *err);

#endif
