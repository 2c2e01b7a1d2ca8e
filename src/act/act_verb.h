// The verbs of stella-act: their options, and what each run of one sets up.
#ifndef ST_ACT_ACT_VERB_H
#define ST_ACT_ACT_VERB_H

#include "act/act_record.h"
#include "act/github.h"
#include "act/kubernetes.h"
#include "base/json.h"
#include "command/program.h"

enum st_act_when { ST_ACT_WHEN_ASKED, ST_ACT_WHEN_ALWAYS, ST_ACT_WHEN_NEVER };
enum st_act_format { ST_ACT_TEXT, ST_ACT_JSON };

struct st_act_options {
    const char *record;
    bool dry_run;
    uint64_t deadline_s;
    int when;   // enum st_act_when
    int format; // enum st_act_format
    // kubernetes
    const char *server, *token_file, *ca_file, *node, *namespace;
    bool find_zombies, cancel_run;
    uint64_t older_s;
    // github
    const char *credentials, *api_url, *github_ca_file;
    struct st_opt_list allow;
    uint64_t force_after_s;
};

// Rows that both verbs have.
#define ST_ACT_COMMON_ROWS                                                                                             \
    {"record",      'r',        ST_OPT_STRING_AT(struct st_act_options, record),                                       \
     .arg = "FILE", .def = "-", .help = "evidence record of stella-watchdog; - is standard input"},                    \
        {"dry-run", 'n', ST_OPT_FLAG_AT(struct st_act_options, dry_run),                                               \
         .help = "ask and look, change nothing, say what would be done"},                                              \
        {"deadline",                                                                                                   \
         0,                                                                                                            \
         ST_OPT_DURATION_AT(struct st_act_options, deadline_s),                                                        \
         .arg = "TIME",                                                                                                \
         .def = "25s",                                                                                                 \
         .help = "time for everything together, retries included"},                                                    \
        {"end",                                                                                                        \
         0,                                                                                                            \
         ST_OPT_ENUM_AT(struct st_act_options, when),                                                                  \
         .arg = "WHEN",                                                                                                \
         .def = "asked",                                                                                               \
         .choices = st_act_whens,                                                                                      \
         .help =                                                                                                       \
             "end the runner or its run when the record asks for it (its container was killed, or the watchdog hands " \
             "it over)"},                                                                                              \
    {                                                                                                                  \
        "format", 'f', ST_OPT_ENUM_AT(struct st_act_options, format),                                                  \
            .arg = "FORMAT", .def = "text", .choices = st_act_formats, .help = "what standard output gets"             \
    }
#define ST_ACT_GITHUB_ROWS                                                                                          \
    {"credentials",                                                                                                 \
     'c',                                                                                                           \
     ST_OPT_STRING_AT(struct st_act_options, credentials),                                                          \
     .arg = "DIR",                                                                                                  \
     .env = "STELLA_GITHUB_CREDENTIALS",                                                                            \
     .help = "directory with github_token, or github_app_id, github_app_installation_id and "                       \
             "github_app_private_key (the keys of ARC's Secret)"},                                                  \
        {"api-url",                                                                                                 \
         0,                                                                                                         \
         ST_OPT_STRING_AT(struct st_act_options, api_url),                                                          \
         .arg = "URL",                                                                                              \
         .def = ST_GITHUB_API,                                                                                      \
         .help = "GitHub's API; of an Enterprise Server https://HOST/api/v3"},                                      \
        {"allow", 'a', ST_OPT_LIST_AT(struct st_act_options, allow), .arg = "OWNER[/NAME]",                         \
         .help = "end runs of these only; repeatable"},                                                             \
        {"force-after",                                                                                             \
         0,                                                                                                         \
         ST_OPT_DURATION_AT(struct st_act_options, force_after_s),                                                  \
         .arg = "TIME",                                                                                             \
         .def = "10s",                                                                                              \
         .help = "force-cancel a run that has not ended by then"},                                                  \
    {                                                                                                               \
        "github-ca-file", 0, ST_OPT_STRING_AT(struct st_act_options, github_ca_file),                               \
            .arg = "FILE", .help = "certificates that GitHub's is checked against, PEM", .def_text = "the system's" \
    }

extern const struct st_choice st_act_whens[], st_act_formats[];
extern const struct st_program st_act_program;
extern const struct st_verb st_verb_kubernetes, st_verb_github;

// What a run needs; released with st_act_run_release also after a failure.
struct st_act_run {
    struct st_mem mem;
    struct st_arena arena;
    struct st_act_call call;        // to the cluster, without a proxy
    struct st_act_call github_call; // through $https_proxy
    struct st_act_record record;
};
int st_act_run_init(struct st_act_run *run, const struct st_act_options *opt, struct st_err *err);
void st_act_run_release(struct st_act_run *run);
int st_act_run_read_record(struct st_act_run *run, const char *path, struct st_err *err);
// Is the runner to be ended? Says why not.
bool st_act_run_ends(const struct st_act_run *run, const struct st_act_options *opt);
// The options of GitHub, with the certificates read.
int st_act_run_github(struct st_act_run *run, const struct st_act_options *opt, struct st_github_options *ret,
                      struct st_err *err);
void st_act_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
