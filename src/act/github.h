// Ending a workflow run on GitHub: cancel, then force-cancel for a run whose runner does not obey.
//
// GitHub has no way to cancel one job: the whole run dies, sibling jobs of a matrix included. That is why this is the
// last rung and why every use of it says so.
//
// Endpoints (REST API 2022-11-28): POST /app/installations/ID/access_tokens, GET /repos/O/R/actions/runs/ID, POST
// .../cancel, POST .../force-cancel. Permission: actions: write (actions: read comes with it).
//
// What a record says about the job (repository, run, API address) is from the environment of a process of the job,
// which may lie. So: credentials go to the address of the options only, a record that names another one is refused; an
// App's token is asked for that one repository only; `allow` says whose runs may be ended at all. What an
// EphemeralRunner says (kubernetes --cancel-run) is ARC's own word and stands above the record's.
#ifndef ST_ACT_GITHUB_H
#define ST_ACT_GITHUB_H

#include "act/act_call.h"

#define ST_GITHUB_API "https://api.github.com"

struct st_github_options {
    const char *api_url;      // GitHub Enterprise Server: "https://HOST/api/v3"
    const char *credentials;  // directory, with the keys of ARC's Secret as files: github_token, or github_app_id,
                              // github_app_installation_id and github_app_private_key
    const char *const *allow; // "OWNER" or "OWNER/NAME"
    size_t n_allow;           // 0: every repository that the credentials reach
    uint64_t force_after_s;   // seconds after cancel until force-cancel
    struct st_http_tls tls;
};

struct st_github_run {
    struct st_sv repository; // "OWNER/NAME"
    uint64_t id;
    uint64_t attempt;     // 0: not known. An older attempt than the run's own is over: nothing is done
    struct st_sv api_url; // as the record has it; empty: not known
};

#define ST_GITHUB_OUTCOMES(X)                                                             \
    X(COMPLETED, "completed-before", "had ended before")                                  \
    X(NEWER, "newer-attempt", "was started again since; the new attempt is left alone")   \
    X(CANCELLED, "cancelled", "is cancelled and has ended")                               \
    X(FORCED, "force-cancelled", "did not end in time, is force-cancelled and has ended") \
    X(ASKED, "asked", "is force-cancelled; GitHub has not yet said that it ended")        \
    X(DRY, "dry-run", "would be cancelled")

enum st_github_outcome {
#define ST_GITHUB_ENUM(id, word, text) ST_GITHUB_##id,
    ST_GITHUB_OUTCOMES(ST_GITHUB_ENUM)
#undef ST_GITHUB_ENUM
};
const char *st_github_outcome_word(enum st_github_outcome o);
const char *st_github_outcome_text(enum st_github_outcome o);

// Idempotent: a run that has ended is left alone. ST_E_INPUT: no such name or number. ST_E_AUTH: credentials missing,
// refused, too weak (which permission), or not allowed. ST_E_NOTFOUND: no such run, or none that these credentials see.
// ST_E_RETRY: rate limit, GitHub's trouble, or the deadline.
int st_github_cancel(struct st_act_call *c, const struct st_github_options *opt, const struct st_github_run *run,
                     enum st_github_outcome *ret, struct st_err *err);

// "OWNER/NAME" of the characters that GitHub allows, and not "." or "..". Pure.
bool st_github_is_repository(struct st_sv s);
// Is it one that `allow` names? Pure; case does not matter, as for GitHub.
bool st_github_allowed(const struct st_github_options *opt, struct st_sv repository);

#endif
