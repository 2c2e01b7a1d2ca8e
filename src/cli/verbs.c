// The verb table. A new verb is a row here and a `const struct st_verb` in its group's file.
#include "cli/verb.h"

const struct st_verb *const st_verbs[] = {
    &st_verb_scan_image,  &st_verb_image_inspect, &st_verb_image_layers, &st_verb_jobs_list, &st_verb_jobs_show,
    &st_verb_cache_stats, &st_verb_cache_prune,   &st_verb_version,      &st_verb_help,      NULL,
};

const struct st_group st_groups[] = {
    {"scan", "say which packages an image holds", "stella-scan"},
    {"image", "look at an image without looking for packages", "stella-image"},
    {"scanner", "what the scanner did and does", "stella-scanner"},
    {"scanner jobs", "the record of scans", NULL},
    {"scanner cache", "the layers that need not be read again", NULL},
    {NULL},
};

const struct st_term st_exit_codes[] = {
    {"0", "done; also with named unknowns, unless --strict"},
    {"1", "failed: the message says what, where and why"},
    {"2", "bad input or usage"},
    {"3", "authentication failed"},
    {"4", "not found"},
    {"5", "the network was needed and --offline forbids it"},
    {"10", "failed for now: the same command may work later"},
    {NULL, NULL},
};

const struct st_term st_environment[] = {
    {"STELLA_HOME", "Directory of the job record, checkpoints and cache. Default: /var/lib/stella for root, else "
                    "$XDG_DATA_HOME/stella, else ~/.local/share/stella."},
    {"SOURCE_DATE_EPOCH", "Time written into an SBOM, in seconds since 1970. Without it an SBOM carries no time."},
    {"TMPDIR", "Directory of spill files, which have no name and vanish with the process. Default: /var/tmp."},
    {NULL, NULL},
};

bool st_words_start(const char *words, const char *prefix)
{
    size_t n = strlen(prefix);
    return !strncmp(words, prefix, n) && (words[n] == '\0' || words[n] == ' ');
}
