// `stella-watchdog replay FILE...`: recorded samples through the policy, without root and without a kernel.
#ifndef ST_WATCHDOG_WD_REPLAY_H
#define ST_WATCHDOG_WD_REPLAY_H

#include "base/out.h"
#include "watchdog/policy.h"

struct st_wd_replay_options {
    bool json;                         // one JSON object a file, one a line; else an aligned table
    bool every;                        // a row for every sample, not only for changes of the verdict
    const struct st_wd_policy *policy; // NULL: the default
};

#define ST_WD_REPLAY_FILE_MAX (256u << 20)

// Reads "-" as standard input. The first file that cannot be read ends it (ST_E_INPUT, ST_E_IO).
int st_wd_replay(const char *const *files, size_t n, const struct st_wd_replay_options *opt, struct st_out *out,
                 struct st_err *err);

#endif
