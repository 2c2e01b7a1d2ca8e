// Who we are at an endpoint: Basic (RFC 7617), and the token that Docker's registries want.
#include "base/ckd.h"
#include "fetch/answers.h"
#include "fetch/registry_int.h"

#include <stdio.h>

#define TOKEN_ANSWER_MAX (128u << 10)

static int need_login(const struct st_endpoint *e, struct st_err *err)
{
    return st_err_set(err, ST_E_AUTH,
                      ST_SV_FMT " asks for a login: 'docker login " ST_SV_FMT "', 'podman login " ST_SV_FMT
                                "', or --creds USER",
                      ST_SV_ARG(e->host), ST_SV_ARG(e->host), ST_SV_ARG(e->host));
}

int st_auth_refused(const struct st_endpoint *e, struct st_err *err)
{
    if (e->auth == ST_AUTH_NONE)
        return st_err_set(err, ST_E_AUTH,
                          ST_SV_FMT " does not let anonymous users read " ST_SV_FMT
                                    ": it needs a login, or is not there",
                          ST_SV_ARG(e->host), ST_SV_ARG(e->repository));
    return st_err_set(err, ST_E_AUTH,
                      ST_SV_FMT " does not accept the login%s" ST_SV_FMT " from " ST_SV_FMT " for " ST_SV_FMT,
                      ST_SV_ARG(e->host), e->user.len ? " of " : "", ST_SV_ARG(e->user), ST_SV_ARG(e->origin),
                      ST_SV_ARG(e->repository));
}

static int basic(struct st_secret *to, const struct st_endpoint *e, struct st_err *err)
{
    struct st_sv parts[] = {e->user, ST_SV(":"), st_secret_reveal(&e->secret)};
    return st_secret_base64(to, ST_SV("Basic "), parts, ST_LEN(parts), err);
}

// ---- the token ------------------------------------------------------------------------------------------------------

static int add_encoded(struct st_buf *b, struct st_sv s, struct st_err *err)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || strchr("-._~", c);
        if (plain && c ? st_buf_addc(b, (char)c, err) : st_buf_fmt(b, err, "%%%02X", c))
            return -1;
    }
    return 0;
}

static int add_field(struct st_buf *b, char before, const char *name, struct st_sv value, struct st_err *err)
{
    return st_buf_addc(b, before, err) || st_buf_fmt(b, err, "%s=", name) || add_encoded(b, value, err) ? -1 : 0;
}

static int take_token(struct st_endpoint *e, struct st_registry *reg, struct st_http_response *r, struct st_err *err)
{
    struct st_arena a;
    struct st_token_answer t;
    st_arena_init(&a, reg->mem);
    int rc = -1;
    if (r->status == 401 || r->status == 403 || r->status == 400)
        e->token_with_login ? st_auth_refused(e, err) : need_login(e, err);
    else if (st_http_check(r, "token server", err)) {
        if (err->code != ST_E_RETRY)
            err->code = ST_E_AUTH;
        st_err_wrap(err, ST_SV_FMT, ST_SV_ARG(e->host));
    } else
        rc = st_token_parse(st_buf_sv(&r->body), &a, &t, err)
                 ? st_err_wrap(err, "token server of " ST_SV_FMT, ST_SV_ARG(e->host))
                 : 0;
    if (rc == 0) {
        struct st_sv parts[] = {ST_SV("Bearer "), t.token};
        rc = st_secret_join(&e->authorization, parts, ST_LEN(parts), err);
        e->round++;
    }
    if (r->body.ptr)
        explicit_bzero(r->body.ptr, r->body.len);
    st_arena_release(&a);
    return rc;
}

struct asked {
    struct st_registry *reg;
    struct st_endpoint *e;
    struct st_secret login; // of this exchange
    struct st_buf form;
};

static void token_done(void *ctx, struct st_http_response *r, const struct st_err *failure)
{
    struct asked *k = ctx;
    struct st_registry *reg = k->reg;
    struct st_endpoint *e = k->e;
    struct st_err err = {0};
    int rc = -1;
    e->token_exchange = NULL;
    if (failure) {
        err = *failure;
        st_err_wrap(&err, "token server of " ST_SV_FMT, ST_SV_ARG(e->host));
    } else {
        rc = take_token(e, reg, r, &err);
    }
    st_secret_release(&k->login);
    if (k->form.ptr)
        explicit_bzero(k->form.ptr, k->form.len);
    st_buf_release(&k->form);
    st_mem_free(reg->mem, k, sizeof *k);
    st_registry_authorized(reg, e, rc ? &err : NULL);
}

static int build(struct asked *k, const struct st_challenge *c, struct st_buf *url, struct st_http_request *q,
                 struct st_err *err)
{
    struct st_endpoint *e = k->e;
    struct st_sv scope = c->scope, repo = e->repository;
    struct st_arena *a = &k->reg->arena;
    if (!scope.len && st_arena_fmt(a, &scope, err, "repository:" ST_SV_FMT ":pull", ST_SV_ARG(repo)))
        return -1;
    if (e->auth == ST_AUTH_IDENTITY) {
        static const struct st_http_header form[] = {
            {"Content-Type", ST_SV_INIT("application/x-www-form-urlencoded"), false}};
        q->method = "POST";
        q->headers = form;
        q->n_headers = 1;
        e->token_with_login = true;
        if (st_buf_add(url, c->realm, err) || st_buf_fmt(&k->form, err, "grant_type=refresh_token") ||
            add_field(&k->form, '&', "service", c->service, err) ||
            add_field(&k->form, '&', "client_id", ST_SV("stella"), err) ||
            add_field(&k->form, '&', "scope", scope, err) ||
            add_field(&k->form, '&', "refresh_token", st_secret_reveal(&e->secret), err))
            return -1;
        q->body = st_buf_sv(&k->form);
        return 0;
    }
    if (st_buf_add(url, c->realm, err))
        return -1;
    char before = st_sv_find(c->realm, '?') == ST_SV_NPOS ? '?' : '&';
    if (c->service.len) {
        if (add_field(url, before, "service", c->service, err))
            return -1;
        before = '&';
    }
    if (add_field(url, before, "scope", scope, err))
        return -1;
    e->token_with_login = e->auth == ST_AUTH_BASIC;
    if (e->auth == ST_AUTH_BASIC) {
        q->authorization = &k->login;
        return basic(&k->login, e, err);
    }
    return 0;
}

static int ask_token(struct st_registry *reg, struct st_endpoint *e, const struct st_challenge *c, struct st_err *err)
{
    struct asked *k = st_mem_alloc(reg->mem, sizeof *k, err);
    if (!k)
        return -1;
    struct st_buf url;
    st_buf_init(&url, reg->mem);
    st_buf_init(&k->form, reg->mem);
    k->reg = reg;
    k->e = e;
    struct st_http_request q = {.max = TOKEN_ANSWER_MAX,
                                .tls = &e->tls,
                                .plain = e->plain || (e->flags & ST_FETCH_E_INSECURE),
                                .done = token_done,
                                .ctx = k};
    int rc = build(k, c, &url, &q, err);
    q.url = st_buf_sv(&url);
    // A registry that is asked over TLS must not lead a login out of it.
    if (rc == 0 && !e->plain && !st_sv_starts(q.url, ST_SV("https://")))
        rc = st_err_set(err, ST_E_FAILED, ST_SV_FMT " names a token server without TLS: refused", ST_SV_ARG(e->host));
    if (rc == 0)
        rc = st_http_begin(reg->http, &q, &e->token_exchange, err);
    st_buf_release(&url);
    if (rc) {
        st_secret_release(&k->login);
        st_buf_release(&k->form);
        st_mem_free(reg->mem, k, sizeof *k);
    }
    return rc;
}

// ---- what a 401 asks for --------------------------------------------------------------------------------------------

int st_auth_answer(struct st_registry *reg, struct st_endpoint *e, const struct st_http_response *r, struct st_err *err)
{
    struct st_challenge c = {0};
    struct st_sv value;
    if (e->token_exchange)
        return 0;
    for (size_t i = 0; (value = st_http_header(r, ST_SV("www-authenticate"), i)).ptr; i++)
        if (st_challenge_parse(value, &reg->arena, &c, err))
            return -1;
    if (e->auth == ST_AUTH_BEARER) {
        if (st_secret_is_set(&e->authorization))
            return st_auth_refused(e, err);
        struct st_sv parts[] = {ST_SV("Bearer "), st_secret_reveal(&e->secret)};
        e->round++;
        return st_secret_join(&e->authorization, parts, ST_LEN(parts), err) ? -1 : 1;
    }
    if (c.bearer)
        return ask_token(reg, e, &c, err);
    if (!c.basic)
        return st_err_set(err, ST_E_AUTH, ST_SV_FMT " asks for a kind of login that is not known here",
                          ST_SV_ARG(e->host));
    if (e->auth != ST_AUTH_BASIC)
        return need_login(e, err);
    if (st_secret_is_set(&e->authorization))
        return st_auth_refused(e, err);
    e->round++;
    return basic(&e->authorization, e, err) ? -1 : 1;
}
