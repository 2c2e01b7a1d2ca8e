// stella's verb table. A new verb is a row here and a `const struct st_verb` in its group's file.
#include "cli/cli.h"

static const struct st_group groups[] = {
    {"scan", "say which packages an image holds", "stella-scan"},
    {"image", "look at an image without looking for packages", "stella-image"},
    {"scanner", "what the scanner did and does", "stella-scanner"},
    {"scanner jobs", "scans, past and present", NULL},
    {"scanner workers", "who works, with how much memory", NULL},
    {"scanner queue", "what waits", NULL},
    {"scanner deadletter", "jobs whose attempts are used up", NULL},
    {"scanner config", "configuration, with its history", NULL},
    {"scanner cache", "the layers that need not be read again", NULL},
    {"doctor", "what is wrong, and what to do about it", "stella-doctor"},
    {"obs", "figures of the service", "stella-obs"},
    {NULL},
};

static const struct st_term environment[] = {
    {"STELLA_HOME", "Directory of the job record, checkpoints and cache. Default: /var/lib/stella for root, else "
                    "$XDG_DATA_HOME/stella, else ~/.local/share/stella."},
    {"STELLA_SERVER",
     "Socket of the scan service. Default: stella.sock in the state directory, else, without STELLA_HOME, "
     "/run/stella/stella.sock. When nothing answers there, the local record is used. Or the URL of a service "
     "elsewhere: "
     "https://HOST, http:// only of this machine."},
    {"STELLA_TOKEN_FILE", "File with the token for a STELLA_SERVER that is a URL; STELLA_TOKEN is the token itself."},
    {"STELLA_CA_FILE", "Certificate authorities (PEM) to trust beside the system's."},
    {"NO_COLOR", "When set, no colours on a terminal."},
    {"SOURCE_DATE_EPOCH", "Time written into an SBOM, in seconds since 1970. Without it an SBOM carries no time."},
    {"TMPDIR", "Directory of spill files, which have no name and vanish with the process. Default: /var/tmp."},
    {NULL, NULL},
};

static const struct st_verb verb_help = {
    ST_VERB_HELP,
    .max_args = 3,
    .examples = {{"See the options of a scan", "stella help scan image"},
                 {"See what can be asked about past scans", "stella help scanner jobs"}},
};

static const struct st_verb *const verbs[] = {
    &st_verb_scan_image,
    &st_verb_image_inspect,
    &st_verb_image_layers,
    &st_verb_serve,
    &st_verb_status,
    &st_verb_logs,
    &st_verb_stats,
    &st_verb_jobs_list,
    &st_verb_jobs_show,
    &st_verb_jobs_cancel,
    &st_verb_jobs_retry,
    &st_verb_workers_list,
    &st_verb_workers_stats,
    &st_verb_workers_inspect,
    &st_verb_workers_add,
    &st_verb_workers_scale,
    &st_verb_workers_remove,
    &st_verb_workers_restart,
    &st_verb_queue_status,
    &st_verb_deadletter_list,
    &st_verb_deadletter_retry,
    &st_verb_config_get,
    &st_verb_config_set,
    &st_verb_config_unset,
    &st_verb_config_list,
    &st_verb_config_history,
    &st_verb_cache_stats,
    &st_verb_cache_prune,
    &st_verb_doctor_run,
    &st_verb_doctor_list,
    &st_verb_doctor_export,
    &st_verb_obs_metrics,
    &st_verb_version,
    &verb_help,
    NULL,
};

// Of the service, for itself.
static const struct st_verb *const hidden[] = {&st_verb_worker, NULL};

const struct st_program st_cli_program = {
    .name = "stella",
    .section = 1,
    .summary = "read a container image within a memory budget and list its packages",
    .about = "stella reads a container image once, as a stream, inside a memory budget that does not grow with the "
             "image, and says which packages are in it: an SBOM.",
    .description = "stella reads a container image (or a root file system) once, as a stream, and says which packages "
                   "are in it: an SBOM. It does so inside a memory budget that does not grow with the image.\n\n"
                   "Data goes to standard output, everything else to standard error. A list is sorted, times are "
                   "UTC, and one image gives the same bytes each time.",
    .verbs = verbs,
    .hidden = hidden,
    .groups = groups,
    .exit_codes = st_exit_codes,
    .environment = environment,
    .version = &st_verb_version,
};

void st_cli_warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    st_program_vsay("stella: warning", fmt, ap);
    va_end(ap);
}

void st_cli_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    st_program_vsay("stella", fmt, ap);
    va_end(ap);
}
