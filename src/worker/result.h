// Where a job's results lie: $STELLA_HOME/jobs/ID/FENCE/, a file for each format, named by its word
// ("cyclonedx-json", "spdx-json", ...), and what a person is told: "unknowns"; where memory went, "profile" and
// "profile-json". docs/adr/0012.
//
// A directory of one fence is written by one worker and becomes the job's result with job.finish of that fence; any
// other is rubbish that the service sweeps. Checkpoints (*.frag) lie beside it in jobs/ID/.
#ifndef ST_WORKER_RESULT_H
#define ST_WORKER_RESULT_H

#include "base/err.h"

#include <limits.h>

#define ST_RESULT_UNKNOWNS "unknowns"
#define ST_RESULT_LAYERS "layers"             // composition.h
#define ST_RESULT_RECIPE "composition-recipe" // composition.h
#define ST_RESULT_PROFILE "profile"
#define ST_RESULT_PROFILE_JSON "profile-json"

struct st_result_dir {
    char path[PATH_MAX];  // HOME/jobs/ID/FENCE
    char checkpoints[96]; // "jobs/ID"
};
// Make it, empty, mode 0700 (what an earlier process of the same fence left is removed). `id` is checked: 32 hex
// digits.
int st_result_make(struct st_result_dir *d, const char *home, const char *id, uint64_t fence, struct st_err *err);
int st_result_file(const struct st_result_dir *d, const char *name, char ret[static PATH_MAX], struct st_err *err);
// Names and directories have reached the disk.
int st_result_sync(const struct st_result_dir *d, const char *home, struct st_err *err);
void st_result_remove(const struct st_result_dir *d); // with its files

#endif
