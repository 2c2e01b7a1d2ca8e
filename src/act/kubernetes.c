#include "act/kube_int.h"
#include "act/pick.h"

#include "base/ckd.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define RUNNERS "/apis/actions.github.com/v1alpha1"
#define KUBE_NAME_MAX 253 // RFC 1123 subdomain

bool st_kube_is_name(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (i > 0 && (c == '-' || c == '.'))))
            return false;
    }
    return s.len > 0 && s.len <= KUBE_NAME_MAX;
}

int st_kube_in_cluster(struct st_act_call *c, const char **ret_server, struct st_err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    struct st_sv text;
    if (!host || !host[0])
        return st_err_set(err, ST_E_INPUT,
                          "not in a cluster (KUBERNETES_SERVICE_HOST is not set); --server names the API server");
    bool v6 = strchr(host, ':') != NULL;
    if (st_arena_fmt(c->arena, &text, err, "https://%s%s%s:%s%c", v6 ? "[" : "", host, v6 ? "]" : "",
                     port && port[0] ? port : "443", '\0'))
        return -1;
    *ret_server = text.ptr;
    return 0;
}

// ---- one request ----------------------------------------------------------------------------------------------------

static int ask_once(struct st_kube *k, const struct st_act_ask *ask, struct st_http_response *ret, struct st_err *err)
{
    ST_AUTO_SECRET struct st_secret token = {0}, bearer = {0};
    struct st_act_ask a = *ask;
    if (k->token_file) {
        if (st_act_secret_file(k->token_file, ST_ACT_BEARER_MAX, &token, err))
            return st_err_wrap(err, "token of the service account");
        const struct st_sv parts[] = {ST_SV("Bearer "), st_secret_reveal(&token)};
        if (st_secret_join(&bearer, parts, ST_LEN(parts), err))
            return -1;
        a.authorization = &bearer;
    }
    return st_act_ask(k->call, &a, ret, err);
}

int st_kube_ask(struct st_kube *k, const char *method, const char *path, const char *content_type, struct st_sv body,
                const char *what, struct st_http_response *ret, struct st_err *err)
{
    char url[ST_ACT_URL_MAX];
    struct st_http_header headers[] = {{"Accept", ST_SV("application/json")}, {"Content-Type", st_sv_of(content_type)}};
    if (snprintf(url, sizeof url, "%s%s", k->server, path) >= (int)sizeof url)
        return st_err_set(err, ST_E_INPUT, "%s: the URL is too long", what);
    struct st_act_ask ask = {.method = method,
                             .url = url,
                             .what = what,
                             .headers = headers,
                             .n_headers = content_type ? 2 : 1,
                             .body = body,
                             .tls = &k->tls};
    if (ask_once(k, &ask, ret, err))
        return -1;
    if (ret->status != 401 || !k->token_file)
        return 0;
    st_http_response_release(ret);
    *ret = (struct st_http_response){0};
    return ask_once(k, &ask, ret, err);
}

int st_kube_check(const struct st_http_response *r, const char *what, struct st_arena *a, struct st_err *err)
{
    // A failure is a Status object (apimachinery meta/v1), whose message names verb, resource and who was refused.
    struct status {
        struct st_sv message;
    } s = {0};
    static const struct st_pick members[] = {{"message", offsetof(struct status, message), ST_PICK_TEXT}};
    if (st_http_check(r, what, err) == 0)
        return 0;
    if (st_pick(st_buf_sv(&r->body), "Status", members, ST_LEN(members), &s, a, NULL) || s.message.len == 0 || !err)
        return -1;
    enum st_err_code code = err->code;
    return st_err_set(err, code, "%s: HTTP %d: %.*s%s", what, r->status, (int)ST_MIN(s.message.len, (size_t)250),
                      s.message.ptr, r->status == 403 ? " (rbac.yaml lists what it needs)" : "");
}

// ---- lists ----------------------------------------------------------------------------------------------------------

struct list {
    struct st_sv items, next;
};
static const struct st_pick list_members[] = {
    {"items", offsetof(struct list, items), ST_PICK_RAW},
    {"metadata|continue", offsetof(struct list, next), ST_PICK_TEXT},
};

static int page(struct st_kube *k, const char *path, const char *what, struct st_arena *a, st_kube_object_fn *each,
                void *ctx, char *next, size_t next_cap, struct st_err *err)
{
    struct st_http_response r = {0};
    struct list list = {0};
    struct st_pick_array it;
    struct st_sv one, body = {0};
    int rc = -1, more;
    if (st_kube_ask(k, "GET", path, NULL, ST_SV_NULL, what, &r, err) || st_kube_check(&r, what, a, err) ||
        st_arena_dup(a, st_buf_sv(&r.body), &body, err) ||
        st_pick(body, what, list_members, ST_LEN(list_members), &list, a, err))
        goto out;
    // The token of the next page is opaque; percent-encoded as it goes into a URL.
    size_t n = 0;
    for (size_t i = 0; i < list.next.len && n + 4 < next_cap; i++)
        n += (size_t)snprintf(next + n, next_cap - n, "%%%02X", (unsigned char)list.next.ptr[i]);
    next[n] = '\0';
    st_pick_array_init(&it, list.items);
    rc = 0;
    while (rc == 0 && (more = st_pick_array_next(&it, &one, err)) != 0)
        rc = more < 0 ? -1 : each(ctx, one, err);
out:
    st_http_response_release(&r);
    return rc;
}

int st_kube_list(struct st_kube *k, const char *path, const char *selector, const char *what, struct st_arena *a,
                 bool keep, st_kube_object_fn *each, void *ctx, struct st_err *err)
{
    char url[ST_ACT_URL_MAX], next[ST_ACT_URL_MAX - 512] = "";
    int rc;
    do {
        if (snprintf(url, sizeof url, "%s?limit=%d%s%s%s%s", path, ST_KUBE_PAGE, selector ? "&" : "",
                     selector ? selector : "", next[0] ? "&continue=" : "", next) >= (int)sizeof url)
            return st_err_set(err, ST_E_CORRUPT, "%s: the API server's mark of the next page is too long", what);
        if (!keep)
            st_arena_reset(a);
        rc = page(k, url, what, a, each, ctx, next, sizeof next, err);
    } while (rc == 0 && next[0]);
    return rc;
}

// "/api/v1/pods", "/api/v1/namespaces/NS/pods".
static int list_path(const struct st_kube *k, const char *api, const char *kind, char ret[static ST_ACT_URL_MAX],
                     struct st_err *err)
{
    if (k->namespace && !st_kube_is_name(st_sv_of(k->namespace)))
        return st_err_set(err, ST_E_USAGE, "--namespace '%.100s' is no name of a namespace", k->namespace);
    snprintf(ret, ST_ACT_URL_MAX, "%s%s%s/%s", api, k->namespace ? "/namespaces/" : "",
             k->namespace ? k->namespace : "", kind);
    return 0;
}

// ---- pods -----------------------------------------------------------------------------------------------------------

struct search {
    struct st_kube *kube;
    const struct st_pod_ref *ref;
    struct st_pod *ret;
};

static int one_pod(void *ctx, struct st_sv json, struct st_err *err)
{
    struct search *s = ctx;
    struct st_pod pod;
    if (st_pod_read(json, st_sv_of(s->ref->container), &s->kube->pages, &pod, err))
        return -1;
    if (!st_pod_is(&pod, s->ref))
        return 0;
    *s->ret = pod;
    return 1;
}

int st_kube_find_pod(struct st_kube *k, const struct st_pod_ref *ref, struct st_pod *ret, struct st_err *err)
{
    char path[ST_ACT_URL_MAX], selector[KUBE_NAME_MAX + 40] = "";
    struct search s = {.kube = k, .ref = ref, .ret = ret};
    if (k->node && !st_kube_is_name(st_sv_of(k->node)))
        return st_err_set(err, ST_E_USAGE, "--node '%.100s' is no name of a node", k->node);
    if (k->node)
        snprintf(selector, sizeof selector, "fieldSelector=spec.nodeName%%3D%s", k->node);
    if (list_path(k, "/api/v1", "pods", path, err))
        return -1;
    int rc =
        st_kube_list(k, path, k->node ? selector : NULL, "Kubernetes: list pods", &k->pages, false, one_pod, &s, err);
    if (rc == 0)
        return st_err_set(err, ST_E_NOTFOUND, "no pod with uid %s%s%s%s%s: it is gone, or lives elsewhere", ref->uid,
                          k->node ? " on node " : "", k->node ? k->node : "", k->namespace ? " in namespace " : "",
                          k->namespace ? k->namespace : "");
    return rc < 0 ? -1 : 0;
}

// ---- runners --------------------------------------------------------------------------------------------------------

static int runner_path(struct st_sv namespace, struct st_sv name, char ret[static ST_ACT_URL_MAX], struct st_err *err)
{
    if (!st_kube_is_name(namespace) || !st_kube_is_name(name))
        return st_err_set(err, ST_E_CORRUPT, "the API server gave a name that is none");
    snprintf(ret, ST_ACT_URL_MAX, RUNNERS "/namespaces/" ST_SV_FMT "/ephemeralrunners/" ST_SV_FMT, ST_SV_ARG(namespace),
             ST_SV_ARG(name));
    return 0;
}

int st_kube_find_runner(struct st_kube *k, const struct st_pod *pod, struct st_runner *ret, struct st_err *err)
{
    char path[ST_ACT_URL_MAX];
    struct st_http_response r = {0};
    struct st_sv body = {0};
    if (runner_path(pod->namespace, pod->runner, path, err))
        return -1;
    int rc = st_kube_ask(k, "GET", path, NULL, ST_SV_NULL, "Kubernetes: get the EphemeralRunner", &r, err);
    if (rc == 0 && r.status == 404)
        rc = st_err_set(err, ST_E_NOTFOUND, "EphemeralRunner " ST_SV_FMT "/" ST_SV_FMT " is gone",
                        ST_SV_ARG(pod->namespace), ST_SV_ARG(pod->runner));
    else if (rc == 0)
        rc = st_kube_check(&r, "Kubernetes: get the EphemeralRunner", k->call->arena, err);
    if (rc == 0)
        rc = st_arena_dup(k->call->arena, st_buf_sv(&r.body), &body, err);
    if (rc == 0)
        rc = st_runner_read(body, k->call->arena, ret, err);
    if (rc == 0 && pod->runner_uid.len && !st_sv_eq(pod->runner_uid, ret->uid))
        rc = st_err_set(err, ST_E_NOTFOUND,
                        "EphemeralRunner " ST_SV_FMT "/" ST_SV_FMT " is another one of the same name",
                        ST_SV_ARG(pod->namespace), ST_SV_ARG(pod->runner));
    st_http_response_release(&r);
    return rc;
}

static int delete_body(const struct st_runner *r, struct st_buf *to, struct st_err *err)
{
    struct st_out o;
    struct st_json_out w;
    st_out_init_buf(&o, to);
    st_json_out_init(&w, &o, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "apiVersion", ST_SV("v1"));
    st_json_kv(&w, "kind", ST_SV("DeleteOptions"));
    st_json_key(&w, "preconditions");
    st_json_open(&w, '{');
    st_json_kv(&w, "uid", r->uid);
    st_json_close(&w, '}');
    st_json_kv(&w, "propagationPolicy", ST_SV("Background"));
    st_json_close(&w, '}');
    return st_out_finish(&o, err);
}

int st_kube_delete_runner(struct st_kube *k, const struct st_runner *r, enum st_kube_delete *ret, struct st_err *err)
{
    static const char what[] = "Kubernetes: delete the EphemeralRunner";
    char path[ST_ACT_URL_MAX];
    struct st_http_response answer = {0};
    struct st_buf body;
    if (r->deleted.len) {
        *ret = ST_KUBE_DELETING;
        return 0;
    }
    if (runner_path(r->namespace, r->name, path, err))
        return -1;
    if (k->call->dry_run) {
        *ret = ST_KUBE_DELETE_DRY;
        return 0;
    }
    st_buf_init(&body, k->call->mem);
    int rc = delete_body(r, &body, err);
    if (rc == 0)
        rc = st_kube_ask(k, "DELETE", path, "application/json", st_buf_sv(&body), what, &answer, err);
    // 409: the uid precondition does not hold.
    if (rc == 0 && (answer.status == 404 || answer.status == 409))
        *ret = ST_KUBE_GONE;
    else if (rc == 0 && (rc = st_kube_check(&answer, what, k->call->arena, err)) == 0)
        *ret = ST_KUBE_DELETED;
    st_http_response_release(&answer);
    st_buf_release(&body);
    return rc;
}

// ---- zombies --------------------------------------------------------------------------------------------------------

struct pods {
    struct st_kube *kube;
    struct st_pod *at; // those of runners
    size_t n, cap;
};

static int keep_pod(void *ctx, struct st_sv json, struct st_err *err)
{
    struct pods *p = ctx;
    struct st_pod pod;
    if (st_pod_read(json, ST_SV_NULL, p->kube->call->arena, &pod, err))
        return -1;
    if (pod.runner_uid.len == 0)
        return 0;
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        struct st_pod *at = st_mem_resize(p->kube->call->mem, p->at, p->cap * sizeof *at, cap * sizeof *at, err);
        if (!at)
            return -1;
        p->at = at;
        p->cap = cap;
    }
    p->at[p->n++] = pod;
    return 0;
}

struct zombies {
    struct st_kube *kube;
    const struct pods *pods;
    int64_t now_s;
    uint64_t older;
    st_kube_zombie_fn *each;
    void *ctx;
};

static int one_runner(void *ctx, struct st_sv json, struct st_err *err)
{
    struct zombies *z = ctx;
    struct st_runner r;
    const struct st_pod *pod = NULL;
    uint64_t seconds;
    if (st_runner_read(json, z->kube->call->arena, &r, err))
        return -1;
    for (size_t i = 0; i < z->pods->n && !pod; i++)
        if (st_sv_eq(z->pods->at[i].runner_uid, r.uid))
            pod = &z->pods->at[i];
    enum st_zombie what = st_zombie_judge(&r, pod, z->now_s, z->older, &seconds);
    return what == ST_ZOMBIE_NONE ? 0 : z->each(z->ctx, &r, what, seconds, err);
}

// Pods before runners: a runner that is made in between has no pod in the list, but is younger than `older`.
int st_kube_zombies(struct st_kube *k, uint64_t older, st_kube_zombie_fn *each, void *ctx, struct st_err *err)
{
    char path[ST_ACT_URL_MAX];
    struct pods pods = {.kube = k};
    struct zombies z = {
        .kube = k, .pods = &pods, .now_s = st_clock_wall_ms() / 1000, .older = older, .each = each, .ctx = ctx};
    int rc = list_path(k, "/api/v1", "pods", path, err);
    if (rc == 0)
        rc = st_kube_list(k, path, "labelSelector=actions-ephemeral-runner%3DTrue", "Kubernetes: list pods",
                          k->call->arena, true, keep_pod, &pods, err);
    if (rc == 0)
        rc = list_path(k, RUNNERS, "ephemeralrunners", path, err);
    if (rc == 0)
        rc =
            st_kube_list(k, path, NULL, "Kubernetes: list EphemeralRunners", k->call->arena, true, one_runner, &z, err);
    st_mem_free(k->call->mem, pods.at, pods.cap * sizeof *pods.at);
    return rc < 0 ? -1 : 0;
}
