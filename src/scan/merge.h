// Applies the fragments of an image base to top and offers what remains as a sorted inventory. Layer semantics are
// those of a container runtime (OCI image-spec, layer.md "Applying Changesets"): an upper entry, whiteout, opaque mark
// or non-directory over an ancestor hides evidence below; names that lead through symbolic links to directories are
// followed as they stand at that point.
//
// Memory: per evidence file (not per path) a few hundred bytes in arenas of `mem`, which spill. Records stay in the
// fragments and are read again when the inventory is walked.
#ifndef ST_SCAN_MERGE_H
#define ST_SCAN_MERGE_H

#include "inventory/inventory.h"
#include "scan/fragment.h"

struct st_merge;

// fragments[i]: descriptor (borrowed for the merge's life) of layer i's fragment, base first; -1: no fragment (foreign
// or failed layer). extra: unknowns beside those of the fragments (copied). subject and everything in it is borrowed.
struct st_merge *st_merge_new(struct st_mem *mem, const struct st_subject *subject, const int *fragments, size_t n,
                              const struct st_unknown *extra, size_t n_extra, bool complete, struct st_err *err);
void st_merge_free(struct st_merge *m); // NULL allowed
const struct st_inventory *st_merge_inventory(const struct st_merge *m);

#endif
