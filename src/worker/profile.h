// The report of --profile-memory: where the memory of a scan went, and the sentence a reader needs.
#ifndef ST_WORKER_PROFILE_H
#define ST_WORKER_PROFILE_H

#include "base/out.h"
#include "scan/scan.h"

// As text, or as JSON (docs/schema/memory-profile.schema.json).
void st_profile_text(const struct st_scan *scan, uint64_t budget, struct st_out *o);
void st_profile_json(const struct st_scan *scan, uint64_t budget, struct st_out *o);

#endif
