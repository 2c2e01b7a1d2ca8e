// The report of --profile-memory: where the memory of a scan went, and the sentence a reader needs.
#ifndef ST_CLI_PROFILE_H
#define ST_CLI_PROFILE_H

#include "scan/scan.h"

// On standard error, or as JSON in `path` (docs/schema/memory-profile.schema.json).
int st_profile_report(const struct st_scan *scan, uint64_t budget, const char *path, struct st_err *err);

#endif
