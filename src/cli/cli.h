// stella, the program: its verbs and how it speaks.
#ifndef ST_CLI_CLI_H
#define ST_CLI_CLI_H

#include "command/program.h"

extern const struct st_program st_cli_program;
extern const struct st_verb st_verb_scan_image, st_verb_image_inspect, st_verb_image_layers, st_verb_jobs_list,
    st_verb_jobs_show, st_verb_jobs_cancel, st_verb_jobs_retry, st_verb_queue_status, st_verb_status, st_verb_stats,
    st_verb_config_get, st_verb_config_set, st_verb_config_unset, st_verb_config_list, st_verb_config_history,
    st_verb_logs, st_verb_deadletter_list, st_verb_deadletter_retry, st_verb_cache_stats, st_verb_cache_prune,
    st_verb_doctor_run, st_verb_doctor_list, st_verb_doctor_export, st_verb_obs_metrics, st_verb_version,
    st_verb_worker, st_verb_serve, st_verb_workers_list, st_verb_workers_stats, st_verb_workers_inspect,
    st_verb_workers_add, st_verb_workers_scale, st_verb_workers_remove, st_verb_workers_restart;

// One line on standard error, "stella: warning: ...", with untrusted bytes escaped.
void st_cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// The same without "warning: "; not for --quiet runs.
void st_cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
