#include "fetch/answers.h"

#define TOKEN_MAX (48u << 10)

static bool begin(struct st_json *j, struct st_sv text)
{
    struct st_json_tok t;
    st_json_init(j, text);
    return st_json_next(j, &t, NULL) == 0 && t.type == ST_JSON_OBJECT;
}

int st_token_parse(struct st_sv text, struct st_arena *a, struct st_token_answer *ret, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok key, val;
    struct st_token_answer t = {.expires_s = 60};
    struct st_sv access = ST_SV_NULL;
    int rc = begin(&j, text) ? 1 : -1;
    while (rc > 0 && (rc = st_json_member(&j, &key, &val, NULL)) > 0) {
        struct st_sv *to = st_json_is(&key, ST_SV("token"))          ? &t.token
                           : st_json_is(&key, ST_SV("access_token")) ? &access
                                                                     : NULL;
        if (to && val.type == ST_JSON_STRING)
            rc = st_json_text(&val, a, to, err) ? -1 : 1;
        else if (st_json_is(&key, ST_SV("expires_in")) && val.type == ST_JSON_NUMBER)
            st_sv_u64(val.raw, 10, &t.expires_s);
        else if (st_json_skip(&j, &val, NULL))
            rc = -1;
    }
    if (t.token.len == 0)
        t.token = access;
    if (rc < 0 || t.token.len == 0 || t.token.len > TOKEN_MAX)
        return st_err_set(err, ST_E_CORRUPT, "the answer holds no token");
    *ret = t;
    return 0;
}

static int first_error(struct st_json *j, struct st_arena *a, struct st_error_answer *ret)
{
    struct st_json_tok val, key, v;
    int rc = st_json_element(j, &val, NULL);
    if (rc <= 0 || val.type != ST_JSON_OBJECT)
        return -1;
    while ((rc = st_json_member(j, &key, &v, NULL)) > 0) {
        struct st_sv *to = st_json_is(&key, ST_SV("code"))      ? &ret->code
                           : st_json_is(&key, ST_SV("message")) ? &ret->message
                                                                : NULL;
        if (to && v.type == ST_JSON_STRING ? st_json_text(&v, a, to, NULL) : st_json_skip(j, &v, NULL))
            return -1;
    }
    return rc;
}

void st_error_parse(struct st_sv text, struct st_arena *a, struct st_error_answer *ret)
{
    struct st_json j;
    struct st_json_tok key, val;
    *ret = (struct st_error_answer){0};
    if (!begin(&j, text))
        return;
    while (st_json_member(&j, &key, &val, NULL) > 0) {
        if (st_json_is(&key, ST_SV("errors")) && val.type == ST_JSON_ARRAY) {
            first_error(&j, a, ret);
            return;
        }
        bool says = st_json_is(&key, ST_SV("details")) || st_json_is(&key, ST_SV("error_description")) ||
                    st_json_is(&key, ST_SV("message")) || st_json_is(&key, ST_SV("cause"));
        if (says && val.type == ST_JSON_STRING ? st_json_text(&val, a, &ret->message, NULL)
                                               : st_json_skip(&j, &val, NULL))
            return;
    }
}

static int one_child(struct st_json *j, struct st_arena *a, void (*child)(void *ctx, struct st_sv digest), void *ctx)
{
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(j, &key, &val, NULL)) > 0) {
        struct st_sv digest;
        if (!st_json_is(&key, ST_SV("digest")) || val.type != ST_JSON_STRING) {
            if (st_json_skip(j, &val, NULL))
                return -1;
        } else if (st_json_text(&val, a, &digest, NULL)) {
            return -1;
        } else {
            child(ctx, digest);
        }
    }
    return rc;
}

void st_index_children(struct st_sv text, struct st_arena *a, void (*child)(void *ctx, struct st_sv digest), void *ctx)
{
    struct st_json j;
    struct st_json_tok key, val, e;
    int rc = begin(&j, text) ? 1 : -1;
    while (rc > 0 && (rc = st_json_member(&j, &key, &val, NULL)) > 0) {
        if (!st_json_is(&key, ST_SV("manifests")) || val.type != ST_JSON_ARRAY) {
            rc = st_json_skip(&j, &val, NULL) ? -1 : 1;
            continue;
        }
        while (rc > 0 && (rc = st_json_element(&j, &e, NULL)) > 0)
            rc = (e.type == ST_JSON_OBJECT ? one_child(&j, a, child, ctx) : st_json_skip(&j, &e, NULL)) ? -1 : 1;
        rc = rc < 0 ? -1 : 1;
    }
}

#define URLS_MAX 16 // of one layer

static int one_layer(struct st_json *j, struct st_arena *a,
                     void (*url)(void *ctx, struct st_sv digest, struct st_sv url), void *ctx)
{
    struct st_json_tok key, val, e;
    struct st_sv digest = ST_SV_NULL, urls[URLS_MAX];
    size_t n = 0;
    int rc;
    while ((rc = st_json_member(j, &key, &val, NULL)) > 0) {
        bool list = st_json_is(&key, ST_SV("urls")) && val.type == ST_JSON_ARRAY;
        if (st_json_is(&key, ST_SV("digest")) && val.type == ST_JSON_STRING)
            rc = st_json_text(&val, a, &digest, NULL);
        else if (!list)
            rc = st_json_skip(j, &val, NULL);
        else
            while ((rc = st_json_element(j, &e, NULL)) > 0)
                if (e.type == ST_JSON_STRING && n < URLS_MAX ? st_json_text(&e, a, &urls[n++], NULL)
                                                             : st_json_skip(j, &e, NULL))
                    return -1;
        if (rc)
            return -1;
    }
    for (size_t i = 0; rc == 0 && i < n; i++)
        url(ctx, digest, urls[i]);
    return rc;
}

void st_layer_urls(struct st_sv text, struct st_arena *a, void (*url)(void *ctx, struct st_sv digest, struct st_sv url),
                   void *ctx)
{
    struct st_json j;
    struct st_json_tok key, val, e;
    int rc = begin(&j, text) ? 1 : -1;
    while (rc > 0 && (rc = st_json_member(&j, &key, &val, NULL)) > 0) {
        if (!st_json_is(&key, ST_SV("layers")) || val.type != ST_JSON_ARRAY) {
            rc = st_json_skip(&j, &val, NULL) ? -1 : 1;
            continue;
        }
        while (rc > 0 && (rc = st_json_element(&j, &e, NULL)) > 0)
            rc = (e.type == ST_JSON_OBJECT ? one_layer(&j, a, url, ctx) : st_json_skip(&j, &e, NULL)) ? -1 : 1;
        rc = rc < 0 ? -1 : 1;
    }
}

struct st_sv st_media_type(struct st_sv text, struct st_arena *a)
{
    struct st_json j;
    struct st_json_tok key, val;
    struct st_sv type = ST_SV_NULL;
    int rc = begin(&j, text) ? 1 : -1;
    while (rc > 0 && (rc = st_json_member(&j, &key, &val, NULL)) > 0)
        if (st_json_is(&key, ST_SV("mediaType")) && val.type == ST_JSON_STRING)
            rc = st_json_text(&val, a, &type, NULL) ? -1 : 1;
        else if (st_json_skip(&j, &val, NULL))
            rc = -1;
    return type;
}
