// The verbs of stella-watchdog.
#ifndef ST_WATCHDOG_WATCHDOG_CMD_H
#define ST_WATCHDOG_WATCHDOG_CMD_H

#include "command/program.h"
#include "watchdog/domain.h"
#include "watchdog/watch.h"

extern const struct st_verb st_verb_wd_run, st_verb_wd_judge, st_verb_wd_replay, st_verb_wd_exec, st_verb_wd_version;
extern const struct st_program st_wd_program;

#define ST_WD_MOUNT "/sys/fs/cgroup"

// Open the cgroup2 mount; with a DIR given by the user anything that looks like one.
int st_wd_cmd_root(struct st_wd_root *root, const char *mount, struct st_err *err);
// "/sys/fs/cgroup/a/b", "/a/b" or "a/b" -> "a/b" (into the same text).
const char *st_wd_cmd_path(const char *mount, const char *path);

#endif
