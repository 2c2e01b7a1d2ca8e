// ~/.docker/config.json and containers' auth.json (containers-auth.json(5)).
#include "base/ckd.h"
#include "base/json.h"
#include "fetch/login.h"

static struct st_sv host_of_key(struct st_sv key)
{
    static const struct st_sv schemes[] = {ST_SV_INIT("https://"), ST_SV_INIT("http://")};
    struct st_sv host, rest;
    for (size_t i = 0; i < ST_LEN(schemes); i++)
        if (st_sv_starts(key, schemes[i]))
            key = st_sv_from(key, schemes[i].len);
    st_sv_cut(key, '/', &host, &rest);
    if (st_sv_eq(host, ST_SV("index.docker.io")) || st_sv_eq(host, ST_SV("registry-1.docker.io")))
        host = ST_SV("docker.io");
    return host;
}

// How well a key of `auths` fits: 0 not at all; the longer the part of the name, the better.
static size_t key_fits(struct st_sv key, struct st_sv host, struct st_sv repository)
{
    struct st_sv path;
    if (!st_sv_eq(host_of_key(key), host))
        return 0;
    bool url = st_sv_search(key, ST_SV("://")) != ST_SV_NPOS;
    if (url || !st_sv_cut(key, '/', &key, &path) || st_sv_eq(path, ST_SV("v1/")) || st_sv_eq(path, ST_SV("v2/")))
        return 1;
    if (!st_sv_starts(repository, path) || (repository.len > path.len && repository.ptr[path.len] != '/'))
        return 0;
    return 1 + path.len;
}

static int read_entry(struct st_json *j, struct st_arena *a, struct st_auth_entry *e, struct st_err *err)
{
    const struct {
        struct st_sv key;
        struct st_sv *to;
    } known[] = {{ST_SV("auth"), &e->auth},
                 {ST_SV("username"), &e->user},
                 {ST_SV("password"), &e->password},
                 {ST_SV("identitytoken"), &e->identity},
                 {ST_SV("registrytoken"), &e->registry}};
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(j, &key, &val, err)) > 0) {
        size_t i = 0;
        while (i < ST_LEN(known) && !st_json_is(&key, known[i].key))
            i++;
        bool text = i < ST_LEN(known) && val.type == ST_JSON_STRING;
        if (text ? st_json_text(&val, a, known[i].to, err) : st_json_skip(j, &val, err))
            return -1;
    }
    return rc;
}

static int read_auths(struct st_json *j, struct st_arena *a, struct st_sv host, struct st_sv repository,
                      struct st_auth_entry *ret, struct st_err *err)
{
    struct st_json_tok key, val;
    size_t best = 0;
    int rc;
    while ((rc = st_json_member(j, &key, &val, err)) > 0) {
        struct st_sv name;
        if (st_json_text(&key, a, &name, err))
            return -1;
        size_t fit = key_fits(name, host, repository);
        if (fit <= best || val.type != ST_JSON_OBJECT) {
            if (st_json_skip(j, &val, err))
                return -1;
            continue;
        }
        struct st_auth_entry e = {0};
        if (read_entry(j, a, &e, err))
            return -1;
        if (e.auth.len || e.user.len || e.identity.len || e.registry.len) { // {} stands for a helper's entry
            e.helper = ret->helper;
            *ret = e;
            best = fit;
        }
    }
    return rc;
}

static int read_helpers(struct st_json *j, struct st_arena *a, struct st_sv host, struct st_sv *ret, struct st_err *err)
{
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(j, &key, &val, err)) > 0) {
        struct st_sv name;
        if (st_json_text(&key, a, &name, err))
            return -1;
        bool ours = val.type == ST_JSON_STRING && st_sv_eq(host_of_key(name), host);
        if (ours ? st_json_text(&val, a, ret, err) : st_json_skip(j, &val, err))
            return -1;
    }
    return rc;
}

int st_auth_file_parse(struct st_sv text, struct st_sv host, struct st_sv repository, struct st_arena *a,
                       struct st_auth_entry *ret, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok t, key, val;
    struct st_sv store = ST_SV_NULL;
    struct st_auth_entry e = {0};
    int rc;
    st_json_init(&j, text);
    if (st_json_next(&j, &t, err))
        return -1;
    if (t.type != ST_JSON_OBJECT)
        return st_err_set(err, ST_E_FORMAT, "not a JSON object");
    while ((rc = st_json_member(&j, &key, &val, err)) > 0) {
        bool object = val.type == ST_JSON_OBJECT;
        if (object && st_json_is(&key, ST_SV("auths")))
            rc = read_auths(&j, a, host, repository, &e, err);
        else if (object && st_json_is(&key, ST_SV("credHelpers")))
            rc = read_helpers(&j, a, host, &e.helper, err);
        else if (val.type == ST_JSON_STRING && st_json_is(&key, ST_SV("credsStore")))
            rc = st_json_text(&val, a, &store, err);
        else
            rc = st_json_skip(&j, &val, err);
        if (rc)
            return -1;
    }
    if (rc)
        return -1;
    if (!e.helper.len)
        e.helper = store;
    *ret = e;
    return 0;
}
