// Words of a job record, and who owns one.
#include "base/ckd.h"
#include "base/fd.h"
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

const char *st_job_state_word(enum st_job_state s)
{
    static const char *const words[] = {
#define ST_JOB_WORD(id, word) word,
        ST_JOB_STATES(ST_JOB_WORD)
#undef ST_JOB_WORD
    };
    return s < ST_JOB_STATES_MAX ? words[s] : "?";
}

static const struct {
    enum st_err_code code;
    const char *reason;
} reasons[] = {
    {ST_E_MEMORY, "oom"},
    {ST_E_NOMEM, "oom"},
    {ST_E_TIMEOUT, "timeout"},
    {ST_E_AUTH, "registry_auth"},
    {ST_E_CORRUPT, "corrupt_layer"},
    {ST_E_INPUT, "bad_input"},
    {ST_E_USAGE, "bad_input"},
    {ST_E_NOTFOUND, "not_found"},
    {ST_E_LIMIT, "limit"},
    {ST_E_CRASH, "crash"},
};

// Reasons that no error code gives: killed is the sweep's, the others are for the service.
static const char *const more_reasons[] = {"memory_stall", "sbom_failed", "killed", "internal"};

const char *st_job_reason(enum st_err_code code)
{
    for (size_t i = 0; i < ST_LEN(reasons); i++)
        if (reasons[i].code == code)
            return reasons[i].reason;
    return "internal";
}

static bool known_word(struct st_sv w)
{
    for (size_t i = 0; i < ST_JOB_STATES_MAX; i++)
        if (st_sv_eq(w, st_sv_of(st_job_state_word((enum st_job_state)i))))
            return true;
    for (size_t i = 0; i < ST_LEN(reasons); i++)
        if (st_sv_eq(w, st_sv_of(reasons[i].reason)))
            return true;
    for (size_t i = 0; i < ST_LEN(more_reasons); i++)
        if (st_sv_eq(w, st_sv_of(more_reasons[i])))
            return true;
    return false;
}

int st_job_filter_words(struct st_job_filter *f, struct st_sv list, struct st_err *err)
{
    struct st_sv word;
    size_t n = 1;
    char words[sizeof f->words] = ",";
    while (st_sv_split(&list, ',', &word)) {
        if (!known_word(word))
            return st_err_set(err, ST_E_USAGE,
                              "unknown status '" ST_SV_FMT "' (states: pending, processing, completed, failed, "
                              "cancelled; reasons: oom, memory_stall, timeout, sbom_failed, registry_auth, "
                              "corrupt_layer, bad_input, not_found, limit, crash, killed, internal)",
                              ST_SV_ARG(st_sv_sub(word, 0, 100)));
        int k = snprintf(words + n, sizeof words - n, ST_SV_FMT ",", ST_SV_ARG(word));
        if (k < 0 || (size_t)k >= sizeof words - n)
            return st_err_set(err, ST_E_USAGE, "the status list is too long");
        n += (size_t)k;
    }
    if (n == 1)
        return st_err_set(err, ST_E_USAGE, "the status list is empty");
    memcpy(f->words, words, n + 1);
    return 0;
}

// ---- owner --------------------------------------------------------------------------------------

static size_t read_text(const char *path, char *buf, size_t cap)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : st_fd_read(fd, buf, cap - 1);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

// Start time in clock ticks since boot: field 22 of /proc/PID/stat, counted behind the name, which may hold anything.
static bool start_time(uint64_t pid, uint64_t *ret)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
    struct st_sv rest = {text, read_text(path, text, sizeof text)}, word = ST_SV_NULL;
    size_t close = st_sv_rfind(rest, ')');
    if (close == ST_SV_NPOS)
        return false;
    rest = st_sv_from(rest, close + 1);
    for (int field = 3; field <= 22; field++)
        if (!st_sv_word(&rest, &word))
            return false;
    return st_sv_u64(word, 10, ret);
}

static void here(char *boot, size_t boot_cap, char *ns, size_t ns_cap)
{
    read_text("/proc/sys/kernel/random/boot_id", boot, boot_cap);
    boot[strcspn(boot, "\n")] = '\0';
    ssize_t n = readlink("/proc/self/ns/pid", ns, ns_cap - 1);
    ns[n > 0 ? n : 0] = '\0';
    for (char *p = ns; *p; p++)
        if (*p == ' ')
            *p = '_';
    if (!boot[0])
        snprintf(boot, boot_cap, "?");
    if (!ns[0])
        snprintf(ns, ns_cap, "?");
}

void st_owner_self(char ret[static ST_OWNER_TEXT])
{
    char boot[48], ns[32];
    uint64_t start = 0;
    here(boot, sizeof boot, ns, sizeof ns);
    start_time((uint64_t)getpid(), &start);
    snprintf(ret, ST_OWNER_TEXT, "%s %s %ld %llu", boot, ns, (long)getpid(), (unsigned long long)start);
}

bool st_owner_gone(struct st_sv owner)
{
    char boot[48], ns[32];
    struct st_sv w[4];
    uint64_t pid, start, now;
    for (size_t i = 0; i < ST_LEN(w); i++)
        if (!st_sv_word(&owner, &w[i]))
            return false;
    here(boot, sizeof boot, ns, sizeof ns);
    if (boot[0] == '?' || w[0].ptr[0] == '?')
        return false;
    if (!st_sv_eq(w[0], st_sv_of(boot)))
        return true;
    if (!st_sv_eq(w[1], st_sv_of(ns)) || !st_sv_u64(w[2], 10, &pid) || !st_sv_u64(w[3], 10, &start))
        return false;
    return !start_time(pid, &now) || now != start;
}
