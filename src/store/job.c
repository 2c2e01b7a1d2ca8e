// Words of a job record.
#include "base/ckd.h"
#include "store/store.h"

#include <stdio.h>

const char *const st_job_state_words[] = {
#define ST_JOB_WORD(id, word) word,
    ST_JOB_STATES(ST_JOB_WORD)
#undef ST_JOB_WORD
        NULL};
const char *const st_priority_words[] = {"low", "normal", "high", "critical", NULL};
const char *const st_lease_words[] = {"held", "cancel", "lost", NULL};
const char *const st_log_level_words[] = {"debug", "info", "warn", "error", NULL};

const char *st_job_state_word(enum st_job_state s)
{
    return s < ST_JOB_STATES_MAX ? st_job_state_words[s] : "?";
}

// sbom_failed may be a full disk; a crash, a kill and an internal error may be this machine's.
const struct st_reason st_reasons[] = {
    {"oom", ST_AGAIN_MORE_MEMORY, "too little memory: the kernel, the watchdog or the budget said so"},
    {"memory_stall", ST_AGAIN_MORE_MEMORY, "stuck at its memory limit without progress"},
    {"timeout", ST_AGAIN_NO, "took longer than timeouts.scan"},
    {"sbom_failed", ST_AGAIN_BACKOFF, "scanned, but the SBOM could not be written"},
    {"registry_auth", ST_AGAIN_NO, "the registry refused the credentials"},
    {"corrupt_layer", ST_AGAIN_NO, "a layer is damaged or has another digest"},
    {"strict", ST_AGAIN_NO, "a file could not be read, and --strict was asked for"},
    {"bad_input", ST_AGAIN_NO, "not an image, or options that do not fit it"},
    {"not_found", ST_AGAIN_NO, "the image is not there"},
    {"source_gone", ST_AGAIN_NO, "an upload that was not kept cannot be read again"},
    {"limit", ST_AGAIN_NO, "the image is over a fixed limit"},
    {"crash", ST_AGAIN_BACKOFF, "the analyzer crashed"},
    {"killed", ST_AGAIN_BACKOFF, "ended without a word"},
    {"retryable", ST_AGAIN_BACKOFF, "the network or the disk was not ready"},
    {"internal", ST_AGAIN_BACKOFF, "a fault of stella"},
    {NULL, ST_AGAIN_NO, NULL},
};

static const struct {
    enum st_err_code code;
    const char *reason;
} of_errors[] = {
    {ST_E_MEMORY, "oom"},
    {ST_E_NOMEM, "oom"},
    {ST_E_TIMEOUT, "timeout"},
    {ST_E_AUTH, "registry_auth"},
    {ST_E_CORRUPT, "corrupt_layer"},
    {ST_E_INPUT, "bad_input"},
    {ST_E_USAGE, "bad_input"},
    {ST_E_OFFLINE, "bad_input"},
    {ST_E_NOTFOUND, "not_found"},
    {ST_E_LIMIT, "limit"},
    {ST_E_CRASH, "crash"},
    {ST_E_RETRY, "retryable"},
};

const char *st_job_reason(enum st_err_code code)
{
    for (size_t i = 0; i < ST_LEN(of_errors); i++)
        if (of_errors[i].code == code)
            return of_errors[i].reason;
    return "internal";
}

const struct st_reason *st_reason_find(struct st_sv word)
{
    for (const struct st_reason *r = st_reasons; r->word; r++)
        if (st_sv_eq(word, st_sv_of(r->word)))
            return r;
    return NULL;
}

static bool is_state(struct st_sv w)
{
    for (size_t i = 0; i < ST_JOB_STATES_MAX; i++)
        if (st_sv_eq(w, st_sv_of(st_job_state_words[i])))
            return true;
    return false;
}

static int unknown_word(struct st_sv word, struct st_err *err)
{
    char reasons[300] = "";
    size_t n = 0;
    for (const struct st_reason *r = st_reasons; r->word && n < sizeof reasons; r++) {
        int k = snprintf(reasons + n, sizeof reasons - n, "%s%s", n ? ", " : "", r->word);
        n += k > 0 ? (size_t)k : 0;
    }
    return st_err_set(err, ST_E_USAGE,
                      "unknown status '" ST_SV_FMT
                      "' (states: pending, processing, completed, failed, cancelled; reasons: %s)",
                      ST_SV_ARG(st_sv_sub(word, 0, 60)), reasons);
}

int st_job_filter_words(struct st_job_filter *f, struct st_sv list, struct st_err *err)
{
    struct st_sv rest = list, word;
    size_t n = 0;
    while (st_sv_split(&rest, ',', &word)) {
        if (!is_state(word) && !st_reason_find(word))
            return unknown_word(word, err);
        n++;
    }
    if (n == 0)
        return st_err_set(err, ST_E_USAGE, "the status list is empty");
    if (n > ST_FILTER_WORDS || list.len >= sizeof f->words)
        return st_err_set(err, ST_E_USAGE, "the status list has more than %d words", ST_FILTER_WORDS);
    snprintf(f->words, sizeof f->words, ST_SV_FMT, ST_SV_ARG(list));
    return 0;
}
