// stella-act without a network: records, cgroup paths, pods and runners, zombies, names of repositories, JWT.
#include "act/act_verb.h"
#include "act/jwt.h"
#include "act/pick.h"
#include "base/ckd.h"
#include "tap.h"
#include "watchdog/evidence.h"
#include "watchdog/wd_rung.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#define UID "0f8b2c1d-3e4f-4a5b-8c6d-7e8f90a1b2c3"
#define UID_ "0f8b2c1d_3e4f_4a5b_8c6d_7e8f90a1b2c3"
#define HASH "8f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e"
#define ID "3f2a6c0d1e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef"
#define ID2 "aaaa6c0d1e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef"

static struct st_mem mem;
static struct st_arena arena;
static struct st_err err;

// ---- cgroup paths ---------------------------------------------------------------------------------------------------

static void test_paths(void)
{
    static const struct {
        const char *name, *path, *uid, *container;
    } cases[] = {
        {"systemd, burstable",
         "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
         ".slice/cri-containerd-" ID ".scope",
         UID, ID},
        {"systemd, guaranteed", "/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope", UID, ID},
        {"systemd, besteffort, docker",
         "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/docker-" ID ".scope", UID,
         ID},
        {"systemd, the pod itself", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice",
         UID, ""},
        {"a slash at the end", "/kubepods.slice/kubepods-pod" UID_ ".slice/", UID, ""},
        {"crio's monitor is not the container", "/kubepods.slice/kubepods-pod" UID_ ".slice/crio-conmon-" ID ".scope",
         UID, ""},
        {"crio, container below its scope", "/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope/container",
         UID, ID},
        {"cgroupfs", "/sys/fs/cgroup/kubepods/burstable/pod" UID "/" ID, UID, ID},
        {"cgroupfs, guaranteed", "/kubepods/pod" UID "/" ID, UID, ID},
        {"kind: systemd in a node's scope",
         "/system.slice/docker-" ID2 ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
         "kubelet-kubepods-burstable-pod" UID_ ".slice/cri-containerd-" ID ".scope",
         UID, ID},
        {"kind: cgroupfs", "/docker/" ID2 "/kubelet/kubepods/besteffort/pod" UID "/" ID, UID, ID},
        {"k3s", "/system.slice/k3s.service/kubepods/burstable/pod" UID "/" ID, UID, ID},
        {"dind: docker's child", "/kubepods/burstable/pod" UID "/" ID "/docker/" ID2, UID, ID},
        {"dind: its init group", "/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope/init", UID,
         ID},
        {"a pod in a pod's node: the inner one",
         "/kubepods/pod11111111-2222-3333-4444-555555555555/" ID2 "/kubelet/kubepods/pod" UID "/" ID, UID, ID},
        {"static pod",
         "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" HASH ".slice/cri-containerd-" ID ".scope",
         HASH, ID},
        {"a slice named like podman before it", "/my-podman.slice/my-podman-pod" UID_ ".slice", UID, ""},
        {"what is not a container below a pod", "/kubepods/pod" UID "/nothing/" ID, UID, ""},
    };
    static const char *const none[] = {
        "",
        "/",
        "/sys/fs/cgroup/system.slice/ssh.service",
        "/user.slice/user-1000.slice",
        "/system.slice/docker-" ID ".scope",
        "/kubepods.slice/kubepods-burstable.slice",
        "/kubepods/pod0f8b2c1d-3e4f-4a5b-8c6d-7e8f90a1b2c",
        "/kubepods/pod0f8b2c1d-3e4f-4a5b-8c6d-7e8f90a1b2cX",
        "/kubepods/podX0f8b2c1d-3e4f-4a5b-8c6d-7e8f90a1b2c",
        "/kubepods/pod0f8b2c1d03e4f04a5b08c6d07e8f90a1b2c3",
        "/machine.slice/libpod-" ID ".scope",
    };
    for (size_t i = 0; i < ST_LEN(cases); i++) {
        struct st_pod_ref ref;
        TAP_OK(st_pod_ref_read(st_sv_of(cases[i].path), &ref, &err) == 0 && !strcmp(ref.uid, cases[i].uid) &&
                   !strcmp(ref.container, cases[i].container) && ref.static_pod == (strlen(ref.uid) == 32),
               "path: %s", cases[i].name);
    }
    for (size_t i = 0; i < ST_LEN(none); i++) {
        struct st_pod_ref ref;
        TAP_OK(st_pod_ref_read(st_sv_of(none[i]), &ref, &err) == -1 && err.code == ST_E_NOTFOUND, "no pod: '%s'",
               none[i]);
    }
}

// ---- records --------------------------------------------------------------------------------------------------------

#define HEAD "{\"schema\":\"stella-watchdog/1\",\"id\":\"ab12\",\"time\":\"2026-11-25T22:00:01Z\",\"kind\":\"action\","
#define GROUP                                                            \
    "\"cgroup\":{\"path\":\"/kubepods/pod" UID "/" ID                    \
    "\",\"inode\":9,\"owner\":\"/kubepods\",\"limit_bytes\":3221225472," \
    "\"limit_file\":\"memory.max\"},"
#define VERDICT                                                                                               \
    "\"verdict\":{\"state\":\"thrash\",\"confidence\":\"strong\",\"must_end\":true,\"seconds\":6.2,\"text\":" \
    "\"live\\u002dlocked\"},"
#define TAIL                                                                                                     \
    "\"before\":{\"limit\":1,\"x\":[1,{\"schema\":\"no\"}]},\"after\":null,\"samples\":{\"columns\":[\"t_us\"]," \
    "\"rows\":[[1],[\"max\"],[null]]}}"

static int read_record(const char *text, struct st_act_record *r)
{
    st_err_clear(&err);
    return st_act_record_read(st_sv_of(text), &arena, r, &err);
}

static void test_record(void)
{
    struct st_act_record r;
    TAP_OK(read_record(HEAD GROUP VERDICT "\"culprit\":{\"pid\":77,\"comm\":\"python3\",\"bytes\":2900000000},"
                                          "\"action\":{\"rung\":\"cgroup\",\"outcome\":\"done\",\"detail\":\"killed\"},"
                                          "\"github\":{\"repository\":\"o/"
                                          "r\",\"run_id\":\"9007199254740993\",\"run_attempt\":\"2\",\"job\":\"build\","
                                          "\"api_url\":\"https://api.github.com\"}," TAIL,
                       &r) == 0,
           "a whole record: %s", err.text);
    TAP_OK(st_sv_eq(r.text, ST_SV("live-locked")) && r.must_end && r.limit_bytes == 3221225472u &&
               r.culprit_pid == 77 && r.run_id == 9007199254740993u && r.run_attempt == 2 &&
               st_sv_eq(r.repository, ST_SV("o/r")),
           "its members, a run number above 2^53 too");
    TAP_OK(read_record(HEAD GROUP VERDICT "\"culprit\":null,\"action\":null,\"github\":null," TAIL, &r) == 0 &&
               r.rung.len == 0 && r.run_id == 0 && r.culprit_comm.len == 0,
           "null parts: %s", err.text);
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "record: empty (expected one evidence record of stella-watchdog)"},
        {" \n", "record: empty (expected one evidence record of stella-watchdog)"},
        {"[1]", "record: not a JSON object"},
        {"{\"schema\":", NULL},
        {"{}", "record: schema is missing"},
        {HEAD GROUP "\"verdict\":{}}", "record: verdict|state is missing"},
        {HEAD "\"cgroup\":{},\"verdict\":{\"state\":\"thrash\"}}", "record: cgroup|path is missing"},
        {HEAD "\"cgroup\":7}", "record: cgroup is not an object"},
        {HEAD "\"cgroup\":{\"path\":7}}", "record: cgroup|path is not a string"},
        {HEAD GROUP "\"verdict\":{\"must_end\":1}}", "record: verdict|must_end is not true or false"},
        {HEAD GROUP VERDICT "\"github\":{\"run_id\":\"-1\"}}", "record: github|run_id is not a whole number"},
        {HEAD GROUP VERDICT "\"github\":{\"run_id\":\"99999999999999999999\"}}",
         "record: github|run_id is not a whole number"},
        {"{\"schema\":\"stella-watchdog/2\",\"id\":\"\",\"time\":\"\",\"kind\":\"verdict\",\"cgroup\":{\"path\":\"/"
         "\"},\"verdict\":{\"state\":\"x\"}}",
         "record: schema 'stella-watchdog/2' is not known here (stella-watchdog/1 is)"},
        {"{\"schema\":\"stella-watchdog/1\",\"id\":\"\",\"time\":\"\",\"kind\":\"x\",\"cgroup\":{\"path\":\"/"
         "\"},\"verdict\":{\"state\":\"x\"}}",
         "record: kind 'x' is neither verdict nor action"},
    };
    for (size_t i = 0; i < ST_LEN(bad); i++)
        TAP_OK(read_record(bad[i].text, &r) == -1 && err.code == ST_E_INPUT &&
                   (!bad[i].message || !strcmp(err.text, bad[i].message)),
               "bad record %zu: %s", i, err.text);
}

static void test_wish(void)
{
    static const struct {
        const char *kind, *rung, *outcome;
        bool must_end, dry;
        enum st_act_wish wish;
    } cases[] = {
        {"action", "culprit", "done", true, false, ST_ACT_TELL},
        {"action", "tree", "done", true, false, ST_ACT_TELL},
        {"action", "kernel", "done", true, false, ST_ACT_TELL},
        {"action", "cgroup", "done", true, false, ST_ACT_END},
        {"action", "cgroup", "failed", true, false, ST_ACT_TELL},
        {"action", "hook", "done", true, false, ST_ACT_END},
        {"action", "hook", "failed", true, false, ST_ACT_END},
        {"action", "hook", "dry-run", true, false, ST_ACT_TELL},
        {"action", "hook", "done", true, true, ST_ACT_TELL},
        {"action", "hook", "done", false, false, ST_ACT_TELL},
        {"verdict", "", "", true, false, ST_ACT_TELL},
        {"verdict", "hook", "done", true, false, ST_ACT_TELL},
        {"action", "warn", "done", true, false, ST_ACT_TELL},
        {"action", "unheard-of", "done", true, false, ST_ACT_TELL},
    };
    for (size_t i = 0; i < ST_LEN(cases); i++) {
        struct st_act_record r = {.kind = st_sv_of(cases[i].kind),
                                  .rung = st_sv_of(cases[i].rung),
                                  .outcome = st_sv_of(cases[i].outcome),
                                  .must_end = cases[i].must_end,
                                  .dry_run = cases[i].dry};
        TAP_OK(st_act_record_wish(&r) == cases[i].wish, "wish: %s %s %s%s%s", cases[i].kind, cases[i].rung,
               cases[i].outcome, cases[i].must_end ? "" : ", healthy", cases[i].dry ? ", dry" : "");
    }
}

// ---- the watchdog's own writer --------------------------------------------------------------------------------------

static void test_contract(void)
{
    static const char *const relied_on[] = {"culprit", "tree", "kernel", "cgroup", "hook"};
    static struct st_wd_series series;
    struct st_wd_verdict v = {
        .state = ST_WD_THRASH, .confidence = ST_WD_STRONG, .seconds = 6.2, .n = {.limit = 3ull << 30, .eta_s = -1}};
    struct st_wd_process p = {.pid = 4711, .anon = 1 << 20, .comm = "py\"\xff"};
    struct st_wd_github g = {.repository = "o/r", .run_id = "9007199254740993", .run_attempt = "2", .job = "b"};
    struct st_act_record got;
    for (size_t i = 0; i < ST_LEN(relied_on); i++) {
        struct st_wd_record r = {.id = "0123456789abcdef",
                                 .wall_ms = 1795644000000,
                                 .is_action = true,
                                 .path = ST_SV("kubepods/pod" UID "/" ID),
                                 .owner = ST_SV("/kubepods"),
                                 .ino = 42,
                                 .verdict = &v,
                                 .text = ST_SV("text"),
                                 .culprit = &p,
                                 .rung = relied_on[i],
                                 .outcome = st_wd_outcome_words[ST_WD_OUTCOME_DONE],
                                 .detail = ST_SV("d"),
                                 .github = &g,
                                 .before = &v.n,
                                 .series = &series};
        struct st_buf buf;
        struct st_out o;
        bool known = false;
        for (size_t k = 0; k < ST_WD_RUNG_COUNT; k++)
            known = known || !strcmp(st_wd_rungs[k].word, relied_on[i]);
        st_buf_init(&buf, &mem);
        st_out_init_buf(&o, &buf);
        st_wd_record_write(&o, &r);
        st_out_finish(&o, NULL);
        int rc = st_act_record_read(st_buf_sv(&buf), &arena, &got, &err);
        TAP_OK(rc == 0 && known && got.must_end && got.run_id == 9007199254740993u && got.run_attempt == 2 &&
                   got.limit_bytes == 3ull << 30 && st_sv_eq(got.rung, st_sv_of(relied_on[i])) &&
                   got.culprit_pid == 4711 && st_act_record_wish(&got) == (i < 3 ? ST_ACT_TELL : ST_ACT_END),
               "a record of the watchdog's own, rung %s: %s", relied_on[i], rc ? err.text : "");
        st_buf_release(&buf);
    }
}

// ---- pods and runners -----------------------------------------------------------------------------------------------

static void test_pod(void)
{
    static const char json[] = "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"" UID
                               "\",\"creationTimestamp\":\"2026-11-25T20:00:00Z\","
                               "\"labels\":{\"actions-ephemeral-runner\":\"True\"},\"ownerReferences\":[{"
                               "\"apiVersion\":\"apps/v1\",\"kind\":\"EphemeralRunner\","
                               "\"name\":\"false\",\"uid\":\"f\"},{\"apiVersion\":\"actions.github.com/"
                               "v1alpha1\",\"kind\":\"EphemeralRunner\",\"name\":\"er\","
                               "\"uid\":\"u\",\"controller\":true}]},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{"
                               "\"name\":\"runner\"}]},\"status\":{\"phase\":\"Running\","
                               "\"containerStatuses\":[{\"name\":\"dind\",\"containerID\":\"containerd://" ID
                               "\",\"state\":{\"running\":{}}},{\"name\":\"runner\","
                               "\"containerID\":\"containerd://" ID2
                               "\",\"state\":{\"terminated\":{\"exitCode\":137,\"reason\":\"OOMKilled\",\"finishedAt\":"
                               "\"2026-11-25T21:00:00Z\"}}}]}}";
    static const char workflow[] =
        "{\"metadata\":{\"name\":\"w\",\"namespace\":\"ns\",\"uid\":\"x\",\"labels\":{\"runner-pod\":\"er\"}}}";
    struct st_pod pod;
    struct st_pod_ref ref = {.uid = UID};
    TAP_OK(st_pod_read(st_sv_of(json), ST_SV(ID), &arena, &pod, &err) == 0, "a pod: %s", err.text);
    TAP_OK(st_sv_eq(pod.runner, ST_SV("er")) && st_sv_eq(pod.runner_uid, ST_SV("u")),
           "its EphemeralRunner, by group and kind");
    TAP_OK(st_sv_eq(pod.container, ST_SV("dind")) && st_sv_eq(pod.container_id, ST_SV(ID)),
           "the container of the cgroup");
    TAP_OK(st_sv_eq(pod.runner_reason, ST_SV("OOMKilled")) && pod.runner_exit == 137, "its dead runner container");
    TAP_OK(st_pod_is(&pod, &ref), "it is the cgroup's pod");
    ref.static_pod = true;
    TAP_OK(!st_pod_is(&pod, &ref), "a static pod is not known by uid");
    TAP_OK(st_pod_read(st_sv_of(workflow), ST_SV_NULL, &arena, &pod, &err) == 0 && st_sv_eq(pod.runner, ST_SV("er")) &&
               pod.runner_uid.len == 0,
           "a workflow pod names its runner by label");
    TAP_OK(st_pod_read(ST_SV("{\"metadata\":{\"name\":\"w\"}}"), ST_SV_NULL, &arena, &pod, &err) == -1 &&
               err.code == ST_E_FORMAT,
           "half a pod: %s", err.text);
    TAP_OK(
        st_pod_read(ST_SV("{\"metadata\":{\"name\":\"w\",\"namespace\":\"n\",\"uid\":\"u\",\"ownerReferences\":{}}}"),
                    ST_SV_NULL, &arena, &pod, &err) == -1,
        "owners that are no list: %s", err.text);
}

static void test_zombies(void)
{
    static const struct {
        const char *name, *runner, *pod; // members of status and metadata; pod NULL: none
        enum st_zombie want;
    } cases[] = {
        {"healthy", "Running", "\"containerStatuses\":[{\"name\":\"runner\",\"state\":{\"running\":{}}}]",
         ST_ZOMBIE_NONE},
        {"container dead for long", "Running",
         "\"containerStatuses\":[{\"name\":\"runner\",\"state\":{\"terminated\":{\"finishedAt\":\"2026-11-25T21:00:"
         "00Z\"}}}]",
         ST_ZOMBIE_DEAD},
        {"container dead just now", "Running",
         "\"containerStatuses\":[{\"name\":\"runner\",\"state\":{\"terminated\":{\"finishedAt\":\"2026-11-25T21:55:"
         "00Z\"}}}]",
         ST_ZOMBIE_NONE},
        {"another container dead", "Running",
         "\"containerStatuses\":[{\"name\":\"init\",\"state\":{\"terminated\":{\"finishedAt\":\"2026-11-25T21:00:00Z\"}"
         "}}]",
         ST_ZOMBIE_NONE},
        {"no pod", "Running", NULL, ST_ZOMBIE_GONE},
        {"no pod, but not running", "Pending", NULL, ST_ZOMBIE_NONE},
        {"finished", "Succeeded", NULL, ST_ZOMBIE_NONE},
        {"pod made again", "Running\",\"failures\":{\"a\":\"2026-11-25T20:30:00Z\"},\"x\":\"", "\"phase\":\"Running\"",
         ST_ZOMBIE_AGAIN},
        {"no failures", "Running\",\"failures\":{},\"x\":\"", "\"phase\":\"Running\"", ST_ZOMBIE_NONE},
    };
    int64_t now = 0;
    TAP_OK(st_time_read(ST_SV("2026-11-25T22:00:00Z"), &now) && now == 1795644000, "a time in seconds");
    for (size_t i = 0; i < ST_LEN(cases); i++) {
        char runner[600], pod[600];
        struct st_runner r;
        struct st_pod p = {0};
        uint64_t seconds;
        snprintf(runner, sizeof runner,
                 "{\"metadata\":{\"name\":\"e\",\"namespace\":\"n\",\"uid\":\"u\",\"creationTimestamp\":\"2026-11-"
                 "25T20:00:00Z\"},"
                 "\"status\":{\"phase\":\"%s\"}}",
                 cases[i].runner);
        snprintf(pod, sizeof pod,
                 "{\"metadata\":{\"name\":\"e\",\"namespace\":\"n\",\"uid\":\"v\",\"creationTimestamp\":\"2026-11-"
                 "25T20:31:00Z\"},"
                 "\"status\":{%s}}",
                 cases[i].pod ? cases[i].pod : "");
        bool ok = st_runner_read(st_sv_of(runner), &arena, &r, &err) == 0 &&
                  st_pod_read(st_sv_of(pod), ST_SV_NULL, &arena, &p, &err) == 0;
        TAP_OK(ok && st_zombie_judge(&r, cases[i].pod ? &p : NULL, now, 600, &seconds) == cases[i].want,
               "zombie: %s: %s", cases[i].name, ok ? "" : err.text);
    }
    struct st_runner deleting = {.phase = ST_SV("Running"), .deleted = ST_SV("2026-11-25T21:00:00Z")};
    uint64_t seconds;
    TAP_OK(st_zombie_judge(&deleting, NULL, now, 600, &seconds) == ST_ZOMBIE_DELETING && seconds == 3600 &&
               !st_zombie_may_delete(ST_ZOMBIE_DELETING),
           "a deletion that hangs");
    static const char *const bad[] = {"",
                                      "2026-11-25",
                                      "2026-11-25T22:00:00",
                                      "2026-13-25T22:00:00Z",
                                      "2026-11-25 22:00:00Z",
                                      "2026-11-25T22:00:00+01:00",
                                      "x026-11-25T22:00:00Z"};
    for (size_t i = 0; i < ST_LEN(bad); i++)
        TAP_OK(!st_time_read(st_sv_of(bad[i]), &now), "no time: '%s'", bad[i]);
    TAP_OK(st_time_read(ST_SV("2024-02-29T00:00:00.123456Z"), &now) && now == 1709164800,
           "a leap day, with a fraction");
}

// ---- GitHub ---------------------------------------------------------------------------------------------------------

static void test_repository(void)
{
    static const char *const good[] = {"o/r", "Some-Org/repo.name_1"};
    static const char *const bad[] = {"",     "o",   "o/",    "/r",     "o/r/x", "o/..",
                                      "../r", "o/.", "o/r?x", "o/r%2f", "o /r",  "o/r\n"};
    const char *const allow[] = {"acme", "Other/One"};
    const struct st_github_options opt = {.allow = allow, .n_allow = 2}, any = {0};
    for (size_t i = 0; i < ST_LEN(good); i++)
        TAP_OK(st_github_is_repository(st_sv_of(good[i])), "a repository: %s", good[i]);
    for (size_t i = 0; i < ST_LEN(bad); i++)
        TAP_OK(!st_github_is_repository(st_sv_of(bad[i])), "no repository %zu", i);
    TAP_OK(st_github_allowed(&opt, ST_SV("ACME/x")) && st_github_allowed(&opt, ST_SV("other/one")),
           "allowed, whatever the case");
    TAP_OK(!st_github_allowed(&opt, ST_SV("other/two")) && !st_github_allowed(&opt, ST_SV("acme2/x")), "not allowed");
    TAP_OK(st_github_allowed(&any, ST_SV("x/y")), "no list allows all");
}

static size_t unbase64url(struct st_sv s, uint8_t *ret)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t v = 0;
    size_t n = 0, bits = 0;
    for (size_t i = 0; i < s.len; i++) {
        v = v << 6 | (uint32_t)(strchr(digits, s.ptr[i]) - digits);
        bits += 6;
        if (bits >= 8)
            ret[n++] = (uint8_t)(v >> (bits -= 8));
    }
    return n;
}

static void test_jwt(void)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long n = BIO_get_mem_data(bio, &pem);
    struct st_secret secret = {0}, jwt = {0};
    st_secret_set(&secret, st_sv_mem(pem, (size_t)n), &err);
    TAP_OK(st_jwt_bearer(&secret, ST_SV("12345"), 1000000, &jwt, &err) == 0, "a JWT: %s", err.text);
    struct st_sv text = st_secret_reveal(&jwt), head, rest, claims, signature;
    TAP_OK(st_sv_starts(text, ST_SV("Bearer ")), "as a bearer");
    text = st_sv_from(text, 7);
    st_sv_cut(text, '.', &head, &rest);
    st_sv_cut(rest, '.', &claims, &signature);
    uint8_t buf[1024] = {0};
    n = (long)unbase64url(claims, buf);
    TAP_OK(st_sv_eq(st_sv_mem(buf, (size_t)n), ST_SV("{\"iat\":999940,\"exp\":1000540,\"iss\":\"12345\"}")),
           "its claims: a minute back, ten minutes long");
    n = (long)unbase64url(head, buf);
    TAP_OK(st_sv_eq(st_sv_mem(buf, (size_t)n), ST_SV("{\"alg\":\"RS256\",\"typ\":\"JWT\"}")), "its header");
    n = (long)unbase64url(signature, buf);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key);
    TAP_OK(EVP_DigestVerify(md, buf, (size_t)n, (const uint8_t *)text.ptr, head.len + 1 + claims.len) == 1,
           "its signature verifies");
    TAP_OK(st_jwt_bearer(&secret, ST_SV("1\",\"admin\":\"1"), 0, &jwt, &err) == -1 && err.code == ST_E_INPUT,
           "an issuer that would break out of its string");
    st_secret_set(&secret, ST_SV("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), &err);
    TAP_OK(st_jwt_bearer(&secret, ST_SV("1"), 0, &jwt, &err) == -1 && err.code == ST_E_AUTH, "a broken key: %s",
           err.text);
    EVP_PKEY *small = EVP_RSA_gen(1024), *curve = EVP_EC_gen("P-256");
    EVP_PKEY *const weak[] = {small, curve};
    for (size_t i = 0; i < 2; i++) {
        BIO *out = BIO_new(BIO_s_mem());
        PEM_write_bio_PrivateKey(out, weak[i], NULL, NULL, 0, NULL, NULL);
        n = BIO_get_mem_data(out, &pem);
        st_secret_set(&secret, st_sv_mem(pem, (size_t)n), &err);
        TAP_OK(st_jwt_bearer(&secret, ST_SV("1"), 0, &jwt, &err) == -1 && err.code == ST_E_AUTH, "a %s key: %s",
               i ? "curve's" : "short", err.text);
        BIO_free(out);
    }
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(small);
    EVP_PKEY_free(curve);
    EVP_PKEY_free(key);
    BIO_free(bio);
    st_secret_release(&secret);
    st_secret_release(&jwt);
}

// ---- pick -----------------------------------------------------------------------------------------------------------

static void test_pick(void)
{
    struct target {
        struct st_sv a, deep, raw;
        uint64_t n;
        bool b;
    } t = {0};
    static const struct st_pick rows[] = {
        {"a", offsetof(struct target, a), ST_PICK_TEXT},
        {"x|y|example.com/z", offsetof(struct target, deep), ST_PICK_TEXT},
        {"x|list", offsetof(struct target, raw), ST_PICK_RAW},
        {"x|n", offsetof(struct target, n), ST_PICK_U64},
        {"b", offsetof(struct target, b), ST_PICK_BOOL},
    };
    TAP_OK(st_pick(ST_SV("{\"a\":\"\\u0041\",\"q\":{\"a\":\"no\"},\"x\":{\"y\":{\"example.com/"
                         "z\":\"d\",\"a\":1},\"list\":[1, {\"a\":2}],\"n\":7},"
                         "\"b\":true,\"a|b\":1}"),
                   "doc", rows, ST_LEN(rows), &t, &arena, &err) == 0,
           "pick: %s", err.text);
    TAP_OK(st_sv_eq(t.a, ST_SV("A")) && st_sv_eq(t.deep, ST_SV("d")) && st_sv_eq(t.raw, ST_SV("[1, {\"a\":2}]")) &&
               t.n == 7 && t.b,
           "what was picked");
    struct st_pick_array it;
    struct st_sv one;
    size_t n = 0;
    st_pick_array_init(&it, t.raw);
    while (st_pick_array_next(&it, &one, &err) > 0)
        n++;
    TAP_OK(n == 2 && st_sv_eq(one, ST_SV("{\"a\":2}")), "elements");
    TAP_OK(st_pick(ST_SV("{\"a\":\"x\"} x"), "doc", rows, ST_LEN(rows), &t, &arena, &err) == -1, "more behind it: %s",
           err.text);
    TAP_OK(st_pick(ST_SV("{\"x\":[]}"), "doc", rows, ST_LEN(rows), &t, &arena, &err) == -1 && err.code == ST_E_FORMAT,
           "a list where an object is due: %s", err.text);
}

// ---- options --------------------------------------------------------------------------------------------------------

static void test_table(void)
{
    for (const struct st_verb *const *v = st_act_program.verbs; *v; v++) {
        struct st_parsed p;
        void *options = calloc(1, (*v)->options_size + 1);
        bool good = (*v)->n_opts <= ST_OPTS_MAX && (*v)->examples[1].command &&
                    st_opt_parse((*v)->opts, (*v)->n_opts, options, 0, NULL, &p, &err) == 0;
        for (size_t i = 0; i < (*v)->n_opts; i++) {
            const struct st_opt *o = &(*v)->opts[i];
            good = good && o->help && (o->kind == ST_OPT_FLAG) == !o->arg && (o->kind == ST_OPT_ENUM) == !!o->choices;
            for (size_t j = 0; j < i; j++)
                good = good && strcmp(o->name, (*v)->opts[j].name) && (!o->letter || o->letter != (*v)->opts[j].letter);
        }
        TAP_OK(good, "%s: option rows are whole and their names differ", (*v)->words);
        free(options);
    }
}

int main(void)
{
    st_mem_init(&mem, 64u << 20, -1);
    st_arena_init(&arena, &mem);
    test_paths();
    test_record();
    test_wish();
    test_contract();
    test_pod();
    test_zombies();
    test_repository();
    test_jwt();
    test_pick();
    test_table();
    st_arena_release(&arena);
    st_mem_release(&mem);
    return tap_done();
}
