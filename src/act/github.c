#include "act/github.h"

#include "act/jwt.h"
#include "act/pick.h"
#include "base/ckd.h"
#include "base/clock.h"
#include "http/http_text.h"

#include <limits.h>
#include <stdio.h>

#define SKEW_MIN_S 20 // clocks that differ by less are not why a JWT is refused
#define POLL_MS 2000
#define AFTER_FORCE_S 20 // how long the end of a force-cancelled run is waited for
#define AFTER_FORCE_MARGIN_S 3
#define RATE_TRIES 4
#define KEY_MAX (32u * 1024)

static const struct {
    const char *word, *text;
} outcomes[] = {
#define ST_GITHUB_ROW(id, word, text) {word, text},
    ST_GITHUB_OUTCOMES(ST_GITHUB_ROW)
#undef ST_GITHUB_ROW
};

const char *st_github_outcome_word(enum st_github_outcome o)
{
    return outcomes[o].word;
}

const char *st_github_outcome_text(enum st_github_outcome o)
{
    return outcomes[o].text;
}

// ---- names ----------------------------------------------------------------------------------------------------------

static bool is_part(struct st_sv s, size_t max)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              c == '.'))
            return false;
    }
    return s.len > 0 && s.len <= max && !st_sv_eq(s, ST_SV(".")) && !st_sv_eq(s, ST_SV(".."));
}

bool st_github_is_repository(struct st_sv s)
{
    struct st_sv owner, name;
    return st_sv_cut(s, '/', &owner, &name) && is_part(owner, 100) && is_part(name, 100);
}

bool st_github_allowed(const struct st_github_options *opt, struct st_sv repository)
{
    struct st_sv owner, name;
    st_sv_cut(repository, '/', &owner, &name);
    for (size_t i = 0; i < opt->n_allow; i++) {
        struct st_sv a = st_sv_of(opt->allow[i]);
        if (st_sv_ieq(a, st_sv_find(a, '/') == ST_SV_NPOS ? owner : repository))
            return true;
    }
    return opt->n_allow == 0;
}

static struct st_sv without_slash(struct st_sv url)
{
    while (url.len && url.ptr[url.len - 1] == '/')
        url.len--;
    return url;
}

static int check_run(const struct st_github_options *opt, const struct st_github_run *run, struct st_err *err)
{
    struct st_sv claimed = without_slash(run->api_url), ours = without_slash(st_sv_of(opt->api_url));
    if (!st_github_is_repository(run->repository))
        return st_err_set(err, ST_E_INPUT, "'%.*s' is no OWNER/NAME of a repository",
                          (int)ST_MIN(run->repository.len, (size_t)100),
                          run->repository.ptr ? run->repository.ptr : "");
    if (run->id == 0)
        return st_err_set(err, ST_E_INPUT, "no number of a workflow run is known");
    if (claimed.len && !st_sv_ieq(claimed, ours))
        return st_err_set(
            err, ST_E_AUTH, "the job names the API %.*s, the credentials are for %.*s: not sent (--api-url)",
            (int)ST_MIN(claimed.len, (size_t)100), claimed.ptr, (int)ST_MIN(ours.len, (size_t)100), ours.ptr);
    if (!st_github_allowed(opt, run->repository))
        return st_err_set(err, ST_E_AUTH, ST_SV_FMT " is not among the repositories of --allow",
                          ST_SV_ARG(run->repository));
    return 0;
}

// ---- one request ----------------------------------------------------------------------------------------------------

struct session {
    struct st_act_call *call;
    const struct st_github_options *opt;
    const struct st_github_run *run;
    struct st_secret bearer; // "Bearer TOKEN"
    bool app;                // the token can be asked for again
};

// Seconds to wait when the answer is a rate limit (https://docs.github.com/rest/using-the-rest-api/rate-limits): 403 or
// 429 with Retry-After, or with nothing remaining until x-ratelimit-reset. A 403 without those is a refusal. st_http
// has waited for 429s already; what arrives here asked for longer, or came too often.
static bool rate_limit(const struct st_http_response *r, uint64_t *ret_s)
{
    struct st_sv after = st_http_header(r, ST_SV("retry-after"), 0);
    struct st_sv left = st_http_header(r, ST_SV("x-ratelimit-remaining"), 0);
    struct st_sv reset = st_http_header(r, ST_SV("x-ratelimit-reset"), 0);
    struct st_sv date = st_http_header(r, ST_SV("date"), 0);
    int64_t now = st_clock_wall_ms() / 1000;
    uint64_t at;
    if (r->status != 403 && r->status != 429)
        return false;
    st_http_date(date, &now); // the server's clock counts
    if (st_http_retry_after(after, now, ret_s))
        return true;
    if (!st_sv_eq(left, ST_SV("0")) || !st_sv_u64(reset, 10, &at) || at > INT64_MAX)
        return false;
    *ret_s = (int64_t)at > now ? (uint64_t)((int64_t)at - now) : 0;
    return true;
}

static int github_ask(struct session *s, const char *method, const char *path, const struct st_secret *authorization,
                      struct st_sv body, const char *what, struct st_http_response *ret, struct st_err *err)
{
    static const struct st_http_header headers[] = {{"Accept", ST_SV_INIT("application/vnd.github+json")},
                                                    {"X-GitHub-Api-Version", ST_SV_INIT("2022-11-28")},
                                                    {"Content-Type", ST_SV_INIT("application/json")}};
    struct st_sv base = without_slash(st_sv_of(s->opt->api_url));
    char url[ST_ACT_URL_MAX];
    if (snprintf(url, sizeof url, ST_SV_FMT "%s", ST_SV_ARG(base), path) >= (int)sizeof url)
        return st_err_set(err, ST_E_INPUT, "%s: the URL is too long", what);
    const struct st_act_ask ask = {.method = method,
                                   .url = url,
                                   .what = what,
                                   .headers = headers,
                                   .n_headers = ST_LEN(headers) - (body.len == 0),
                                   .authorization = authorization,
                                   .body = body,
                                   .tls = &s->opt->tls};
    for (int i = 1;; i++) {
        uint64_t seconds = 0;
        if (st_act_ask(s->call, &ask, ret, err))
            return -1;
        if (!rate_limit(ret, &seconds))
            return 0;
        uint64_t left = (uint64_t)st_act_left_ms(s->call) / 1000;
        if (i == RATE_TRIES || seconds >= left)
            return st_err_set(err, ST_E_RETRY, "%s: rate limit of GitHub, which asks to wait %llu s", what,
                              (unsigned long long)seconds);
        s->call->say("%s: rate limit, waiting %llu s", what, (unsigned long long)seconds);
        st_http_response_release(ret);
        *ret = (struct st_http_response){0};
        if (st_act_wait(s->call, ST_MAX(seconds, 1u) * 1000, what, err))
            return -1;
    }
}

// As st_http_check, with GitHub's own message.
static int github_check(struct session *s, const struct st_http_response *r, const char *what, struct st_err *err)
{
    struct answer {
        struct st_sv message;
    } a = {0};
    static const struct st_pick members[] = {{"message", offsetof(struct answer, message), ST_PICK_TEXT}};
    static const char needs[] = " (the credentials need the permission actions: write on this repository)";
    if (st_http_check(r, what, err) == 0)
        return 0;
    if (!err)
        return -1;
    enum st_err_code code = err->code;
    st_pick(st_buf_sv(&r->body), "answer", members, ST_LEN(members), &a, s->call->arena, NULL);
    return st_err_set(err, code, "%s: HTTP %d%s%.*s%s", what, r->status, a.message.len ? ": " : "",
                      (int)ST_MIN(a.message.len, (size_t)160), a.message.ptr ? a.message.ptr : "",
                      r->status == 403 || r->status == 422 ? needs : "");
}

// ---- credentials ----------------------------------------------------------------------------------------------------

static int credential(const struct st_github_options *opt, const char *key, struct st_secret *ret, struct st_err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", opt->credentials, key) >= (int)sizeof path)
        return st_err_set(err, ST_E_USAGE, "--credentials: the name is too long");
    return st_act_secret_file(path, KEY_MAX, ret, err);
}

// {"repositories":["name"],"permissions":{"actions":"write"}}: no more than this one use needs.
static int token_body(struct st_sv repository, struct st_buf *to, struct st_err *err)
{
    struct st_out o;
    struct st_json_out w;
    struct st_sv owner, name;
    st_sv_cut(repository, '/', &owner, &name);
    st_out_init_buf(&o, to);
    st_json_out_init(&w, &o, 0);
    st_json_open(&w, '{');
    st_json_key(&w, "repositories");
    st_json_open(&w, '[');
    st_json_str(&w, name);
    st_json_close(&w, ']');
    st_json_key(&w, "permissions");
    st_json_open(&w, '{');
    st_json_kv(&w, "actions", ST_SV("write"));
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    return st_out_finish(&o, err);
}

// How far the server's clock is ahead of ours, in seconds; 0 without a Date header.
static int64_t skew(const struct st_http_response *r, int64_t now_s)
{
    int64_t theirs;
    if (!st_http_date(st_http_header(r, ST_SV("date"), 0), &theirs))
        return 0;
    int64_t by = theirs - now_s;
    return by > -SKEW_MIN_S && by < SKEW_MIN_S ? 0 : by;
}

// The token out of the answer, straight into a secret: the JSON around it is wiped by the caller.
static int take_token(struct session *s, struct st_http_response *r, struct st_err *err)
{
    struct answer {
        struct st_sv token;
    } a = {0};
    static const struct st_pick members[] = {{"token", offsetof(struct answer, token), ST_PICK_TEXT, true}};
    if (st_pick(st_buf_sv(&r->body), "GitHub: installation token", members, ST_LEN(members), &a, s->call->arena, err))
        return -1;
    const struct st_sv parts[] = {ST_SV("Bearer "), a.token};
    return st_secret_join(&s->bearer, parts, ST_LEN(parts), err);
}

static int app_token(struct session *s, struct st_err *err)
{
    static const char what[] = "GitHub: installation token";
    ST_AUTO_SECRET struct st_secret id = {0}, installation = {0}, key = {0}, jwt = {0};
    struct st_http_response r = {0};
    struct st_buf body;
    char path[200];
    uint64_t number;
    int64_t ahead = 0;
    int rc = -1;
    if (credential(s->opt, "github_app_id", &id, err) ||
        credential(s->opt, "github_app_installation_id", &installation, err) ||
        credential(s->opt, "github_app_private_key", &key, err))
        return -1;
    if (!st_sv_u64(st_secret_reveal(&installation), 10, &number))
        return st_err_set(err, ST_E_AUTH, "%s/github_app_installation_id is not a number", s->opt->credentials);
    snprintf(path, sizeof path, "/app/installations/%llu/access_tokens", (unsigned long long)number);
    st_buf_init(&body, s->call->mem);
    if (token_body(s->run->repository, &body, err))
        goto out;
    for (int i = 0; i < 2; i++) {
        int64_t now_s = st_clock_wall_ms() / 1000;
        if (st_jwt_bearer(&key, st_secret_reveal(&id), now_s + ahead, &jwt, err) ||
            github_ask(s, "POST", path, &jwt, st_buf_sv(&body), what, &r, err))
            goto out;
        // A JWT of a clock that is wrong is refused with 401; the answer says what time it is there.
        if (r.status != 401 || ahead || !(ahead = skew(&r, now_s)))
            break;
        s->call->say("this machine's clock is %lld s %s GitHub's: using GitHub's",
                     (long long)(ahead < 0 ? -ahead : ahead), ahead < 0 ? "ahead of" : "behind");
        st_http_response_release(&r);
        r = (struct st_http_response){0};
    }
    if (r.status == 404)
        st_err_set(err, ST_E_AUTH, "%s: HTTP 404: the App has no installation %llu", what, (unsigned long long)number);
    else if (github_check(s, &r, what, err) == 0 && take_token(s, &r, err) == 0)
        rc = 0;
    if (rc && r.status == 422 && err)
        err->code = ST_E_AUTH;
out:
    if (r.body.len)
        explicit_bzero(r.body.ptr, r.body.len);
    st_http_response_release(&r);
    st_buf_release(&body);
    return rc;
}

static int get_token(struct session *s, struct st_err *err)
{
    ST_AUTO_SECRET struct st_secret token = {0};
    struct st_err none = {0};
    if (!s->opt->credentials)
        return st_err_set(err, ST_E_AUTH, "no credentials for GitHub (--credentials DIR)");
    // An App comes first: its token is narrowed to one repository and lives an hour.
    if (credential(s->opt, "github_app_id", &token, &none) == 0) {
        s->app = true;
        return app_token(s, err);
    }
    if (credential(s->opt, "github_token", &token, &none))
        return st_err_set(err, ST_E_AUTH, "%s has neither github_app_id nor github_token", s->opt->credentials);
    const struct st_sv parts[] = {ST_SV("Bearer "), st_secret_reveal(&token)};
    return st_secret_join(&s->bearer, parts, ST_LEN(parts), err);
}

// With the token; an App's token that was refused (expired, revoked) is replaced once.
static int run_ask(struct session *s, const char *method, const char *tail, const char *what,
                   struct st_http_response *ret, struct st_err *err)
{
    char path[400];
    snprintf(path, sizeof path, "/repos/" ST_SV_FMT "/actions/runs/%llu%s", ST_SV_ARG(s->run->repository),
             (unsigned long long)s->run->id, tail);
    if (github_ask(s, method, path, &s->bearer, ST_SV_NULL, what, ret, err))
        return -1;
    if (ret->status != 401 || !s->app)
        return 0;
    st_http_response_release(ret);
    *ret = (struct st_http_response){0};
    s->call->say("%s: the token was refused, asking for a new one", what);
    if (app_token(s, err))
        return -1;
    return github_ask(s, method, path, &s->bearer, ST_SV_NULL, what, ret, err);
}

// ---- the run --------------------------------------------------------------------------------------------------------

struct state {
    struct st_sv status;
    uint64_t attempt;
};

static int look(struct session *s, bool *ret_completed, uint64_t *ret_attempt, struct st_err *err)
{
    static const struct st_pick members[] = {
        {"status", offsetof(struct state, status), ST_PICK_TEXT, true},
        {"run_attempt", offsetof(struct state, attempt), ST_PICK_U64},
    };
    struct state now = {0};
    struct st_http_response r = {0};
    int rc = run_ask(s, "GET", "", "GitHub: look at the run", &r, err);
    if (rc == 0 && r.status == 404)
        rc = st_err_set(err, ST_E_NOTFOUND,
                        "GitHub: no run %llu in " ST_SV_FMT ", or none that these credentials may see",
                        (unsigned long long)s->run->id, ST_SV_ARG(s->run->repository));
    else if (rc == 0)
        rc = github_check(s, &r, "GitHub: look at the run", err);
    if (rc == 0)
        rc = st_pick(st_buf_sv(&r.body), "GitHub: run", members, ST_LEN(members), &now, s->call->arena, err);
    if (rc == 0) {
        *ret_completed = st_sv_eq(now.status, ST_SV("completed"));
        *ret_attempt = now.attempt;
    }
    st_http_response_release(&r);
    return rc;
}

// 202: GitHub will do it. 409: it cannot be done, because the run has ended or is ending: the next look says which.
static int ask_end(struct session *s, const char *tail, const char *what, struct st_err *err)
{
    struct st_http_response r = {0};
    int rc = run_ask(s, "POST", tail, what, &r, err);
    if (rc == 0 && r.status != 409)
        rc = github_check(s, &r, what, err);
    st_http_response_release(&r);
    return rc;
}

// 1: it has ended; 0: not within the time.
static int wait_for_end(struct session *s, uint64_t seconds, struct st_err *err)
{
    int64_t until = st_clock_mono_ms() + (int64_t)seconds * 1000;
    for (;;) {
        bool completed;
        uint64_t attempt;
        if (look(s, &completed, &attempt, err))
            return -1;
        if (completed)
            return 1;
        int64_t left = until - st_clock_mono_ms();
        if (left <= 0)
            return 0;
        if (st_act_wait(s->call, (uint64_t)ST_MIN(left, (int64_t)POLL_MS), "GitHub: wait for the end of the run", err))
            return -1;
    }
}

// Not longer than the deadline lets it: what was asked for is asked for.
static uint64_t after_force(const struct st_act_call *c)
{
    uint64_t left = (uint64_t)st_act_left_ms(c) / 1000;
    return left > AFTER_FORCE_MARGIN_S ? ST_MIN(left - AFTER_FORCE_MARGIN_S, (uint64_t)AFTER_FORCE_S) : 0;
}

static int end_run(struct session *s, enum st_github_outcome *ret, struct st_err *err)
{
    bool completed;
    uint64_t attempt = 0;
    if (look(s, &completed, &attempt, err))
        return -1;
    *ret = completed ? ST_GITHUB_COMPLETED : ST_GITHUB_NEWER;
    if (completed || (s->run->attempt && attempt > s->run->attempt))
        return 0;
    *ret = ST_GITHUB_DRY;
    if (s->call->dry_run)
        return 0;
    s->call->say("cancelling run %llu of " ST_SV_FMT ": all of its jobs end, not only this one",
                 (unsigned long long)s->run->id, ST_SV_ARG(s->run->repository));
    *ret = ST_GITHUB_CANCELLED;
    int rc = ask_end(s, "/cancel", "GitHub: cancel the run", err);
    if (rc == 0)
        rc = wait_for_end(s, s->opt->force_after_s, err);
    if (rc)
        return rc < 0 ? -1 : 0;
    s->call->say("run %llu goes on after %llu s: force-cancelling", (unsigned long long)s->run->id,
                 (unsigned long long)s->opt->force_after_s);
    rc = ask_end(s, "/force-cancel", "GitHub: force-cancel the run", err);
    if (rc == 0)
        rc = wait_for_end(s, after_force(s->call), err);
    *ret = rc == 1 ? ST_GITHUB_FORCED : ST_GITHUB_ASKED;
    return rc < 0 ? -1 : 0;
}

int st_github_cancel(struct st_act_call *c, const struct st_github_options *opt, const struct st_github_run *run,
                     enum st_github_outcome *ret, struct st_err *err)
{
    struct session s = {.call = c, .opt = opt, .run = run};
    if (check_run(opt, run, err))
        return -1;
    int rc = get_token(&s, err);
    if (rc == 0)
        rc = end_run(&s, ret, err);
    st_secret_release(&s.bearer);
    return rc;
}
