// The texts that logins and registries are made of.
#include "fetch/answers.h"
#include "fetch/challenge.h"
#include "fetch/login.h"
#include "tap.h"

static struct st_arena arena;

static bool is(struct st_sv s, const char *want)
{
    return st_sv_eq(s, st_sv_of(want));
}

static void test_fetch_challenge(void)
{
    static const struct {
        const char *text, *realm, *service, *scope;
        bool bearer, basic;
    } cases[] = {
        {"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull\"", "https://a/t", "s",
         "repository:x:pull", true, false},
        {"bearer REALM = \"https://a/t\" , service=s", "https://a/t", "s", "", true, false},
        {"Basic realm=\"x, y\"", "", "", "", false, true},
        {"Basic", "", "", "", false, true},
        {"Basic realm=\"a\", Bearer realm=\"b\"", "b", "", "", true, true},
        {"Bearer realm=\"b\\\"c\", Basic realm=\"a\"", "b\"c", "", "", true, true},
        {"Bearer scope=\"x\"", "", "", "", false, false},
        {"Bearer realm=\"a\", Bearer realm=\"b\"", "a", "", "", true, false},
        {"Negotiate, Basic realm=\"a\"", "", "", "", false, true},
        {"Bearer realm=https://a/t?x=1,service=s", "https://a/t?x=1", "s", "", true, false},
        {"Bearer realm=\"open", "", "", "", false, false},
        {"", "", "", "", false, false},
        {"\"", "", "", "", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct st_challenge c = {0};
        struct st_err err;
        TAP_OK(st_challenge_parse(st_sv_of(cases[i].text), &arena, &c, &err) == 0 && c.bearer == cases[i].bearer &&
                   c.basic == cases[i].basic && is(c.realm, cases[i].realm) && is(c.service, cases[i].service) &&
                   is(c.scope, cases[i].scope),
               "%s", cases[i].text);
    }
}

static void note(void *ctx, struct st_sv digest)
{
    size_t *n = ctx;
    *n = *n * 100 + digest.len;
}

static void test_fetch_answers(void)
{
    struct st_token_answer t;
    struct st_error_answer e;
    struct st_err err;
    size_t n = 0;
    TAP_OK(st_token_parse(ST_SV("{\"token\":\"a\",\"access_token\":\"b\",\"expires_in\":9}"), &arena, &t, &err) == 0 &&
               is(t.token, "a") && t.expires_s == 9,
           "a token");
    TAP_OK(st_token_parse(ST_SV("{\"access_token\":\"b\"}"), &arena, &t, &err) == 0 && is(t.token, "b") &&
               t.expires_s == 60,
           "an OAuth token");
    static const char *const bad[] = {
        "", "{}", "[]", "{\"token\":7}", "{\"token\":\"\"}", "{\"token\":\"a\"", "{\"token\":\"a\"}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        TAP_OK(st_token_parse(st_sv_of(bad[i]), &arena, &t, &err) < 0 || i == 6, "no token: %s", bad[i]);
    st_error_parse(ST_SV("{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\",\"detail\":[1]}]}"), &arena, &e);
    TAP_OK(is(e.code, "DENIED") && is(e.message, "no"), "an error");
    st_error_parse(ST_SV("{\"errors\":[]}"), &arena, &e);
    TAP_OK(!e.code.len && !e.message.len, "no error");
    st_error_parse(ST_SV("<html>"), &arena, &e);
    TAP_OK(!e.code.len, "no JSON");
    st_index_children(
        ST_SV("{\"a\":[],\"manifests\":[{\"digest\":\"12\",\"x\":{}},3,{\"digest\":4},{\"digest\":\"123\"}]}"), &arena,
        note, &n);
    TAP_OK(n == 203, "children of an index: %zu", n);
    TAP_OK(is(st_media_type(ST_SV("{\"x\":{\"mediaType\":\"b\"},\"mediaType\":\"a\"}"), &arena), "a"), "a media type");
}

static void test_fetch_auth_file(void)
{
    static const char file[] =
        "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"hub\"},\"r.example\":{\"auth\":\"host\"},"
        "\"r.example/team\":{\"auth\":\"team\"},\"r.example/team/web\":{\"username\":\"u\",\"password\":\"p\"},"
        "\"http://old.example/v2/"
        "\":{\"auth\":\"old\"},\"h.example\":{}},\"credHelpers\":{\"h.example\":\"one\"},\"credsStore\":\"all\"}";
    static const struct {
        const char *host, *repository, *auth, *user, *helper;
    } cases[] = {
        {"docker.io", "library/alpine", "hub", "", "all"},
        {"r.example", "other", "host", "", "all"},
        {"r.example", "team", "team", "", "all"},
        {"r.example", "team/x", "team", "", "all"},
        {"r.example", "teams/x", "host", "", "all"},
        {"r.example", "team/web", "", "u", "all"},
        {"r.example", "team/web/x", "", "u", "all"},
        {"old.example", "x", "old", "", "all"},
        {"h.example", "x", "", "", "one"},
        {"nowhere.example", "x", "", "", "all"},
        {"r.example:443", "team", "", "", "all"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct st_auth_entry e = {0};
        struct st_err err = {0};
        TAP_OK(st_auth_file_parse(st_sv_of(file), st_sv_of(cases[i].host), st_sv_of(cases[i].repository), &arena, &e,
                                  &err) == 0 &&
                   is(e.auth, cases[i].auth) && is(e.user, cases[i].user) && is(e.helper, cases[i].helper),
               "%s/%s: '%.*s' '%.*s' %s", cases[i].host, cases[i].repository, ST_SV_ARG(e.auth), ST_SV_ARG(e.user),
               err.text);
    }
    static const char *const bad[] = {"", "[]", "{", "{\"auths\":{\"r.example\":{\"auth\":\"x\"}",
                                      "{\"auths\":{\"r.example\":{\"auth\":\"\\x\"}}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct st_auth_entry e;
        struct st_err err = {0};
        TAP_OK(st_auth_file_parse(st_sv_of(bad[i]), ST_SV("r.example"), ST_SV("x"), &arena, &e, &err) < 0,
               "refused: %s", bad[i]);
    }
}

int main(void)
{
    struct st_mem mem;
    st_mem_init(&mem, 1 << 20, -1);
    st_arena_init(&arena, &mem);
    test_fetch_challenge();
    test_fetch_answers();
    test_fetch_auth_file();
    st_arena_release(&arena);
    st_mem_release(&mem);
    return tap_done();
}
