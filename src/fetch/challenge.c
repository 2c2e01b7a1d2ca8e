#include "fetch/challenge.h"
#include "base/ckd.h"

struct reader {
    struct st_sv rest;
    struct st_arena *arena;
};

static bool token_char(char c)
{
    return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static void blanks(struct reader *r)
{
    while (r->rest.len && (r->rest.ptr[0] == ' ' || r->rest.ptr[0] == '\t'))
        r->rest = st_sv_from(r->rest, 1);
}

static struct st_sv token(struct reader *r)
{
    size_t n = 0;
    while (n < r->rest.len && token_char(r->rest.ptr[n]))
        n++;
    struct st_sv t = st_sv_sub(r->rest, 0, n);
    r->rest = st_sv_from(r->rest, n);
    return t;
}

static bool eat(struct reader *r, char c)
{
    if (!r->rest.len || r->rest.ptr[0] != c)
        return false;
    r->rest = st_sv_from(r->rest, 1);
    return true;
}

// 1: a value; 0: none that parses; -1: memory.
static int quoted(struct reader *r, struct st_sv *ret, struct st_err *err)
{
    size_t n = 0, escapes = 0;
    while (n < r->rest.len && r->rest.ptr[n] != '"') {
        if (r->rest.ptr[n] == '\\') {
            escapes++;
            n++;
        }
        n++;
    }
    if (n >= r->rest.len)
        return 0;
    *ret = st_sv_sub(r->rest, 0, n);
    r->rest = st_sv_from(r->rest, n + 1);
    if (!escapes)
        return 1;
    char *p = st_arena_bytes(r->arena, ret->len, err), *q = p;
    if (!p)
        return -1;
    for (size_t i = 0; i < ret->len; i++) {
        if (ret->ptr[i] == '\\')
            i++;
        *q++ = ret->ptr[i];
    }
    *ret = st_sv_mem(p, (size_t)(q - p));
    return 1;
}

static int value(struct reader *r, struct st_sv *ret, struct st_err *err)
{
    blanks(r);
    if (eat(r, '"'))
        return quoted(r, ret, err);
    // Not in the grammar, but sent: an unquoted URL.
    size_t n = 0;
    while (n < r->rest.len && r->rest.ptr[n] > ' ' && r->rest.ptr[n] != ',' && r->rest.ptr[n] != '"')
        n++;
    *ret = st_sv_sub(r->rest, 0, n);
    r->rest = st_sv_from(r->rest, n);
    return n > 0;
}

// The parameters of one challenge. 1: the rest begins at the next challenge or is empty; 0: nonsense; -1.
static int parameters(struct reader *r, struct st_challenge *into, struct st_err *err)
{
    for (;;) {
        blanks(r);
        while (eat(r, ','))
            blanks(r);
        if (!r->rest.len)
            return 1;
        struct reader before = *r;
        struct st_sv name = token(r), text;
        blanks(r);
        if (!name.len)
            return 0;
        if (!eat(r, '=')) { // a scheme, not a parameter
            *r = before;
            return 1;
        }
        int rc = value(r, &text, err);
        if (rc <= 0)
            return rc;
        const struct {
            struct st_sv name;
            struct st_sv *to;
        } known[] = {{ST_SV("realm"), &into->realm},
                     {ST_SV("service"), &into->service},
                     {ST_SV("scope"), &into->scope},
                     {ST_SV("error"), &into->error}};
        for (size_t i = 0; i < ST_LEN(known); i++)
            if (st_sv_ieq(name, known[i].name))
                *known[i].to = text;
    }
}

int st_challenge_parse(struct st_sv text, struct st_arena *a, struct st_challenge *inout, struct st_err *err)
{
    struct reader r = {text, a};
    for (;;) {
        struct st_challenge one = {0};
        blanks(&r);
        while (eat(&r, ','))
            blanks(&r);
        struct st_sv scheme = token(&r);
        if (!scheme.len)
            return 0;
        int rc = parameters(&r, &one, err);
        if (rc < 0)
            return -1;
        if (st_sv_ieq(scheme, ST_SV("basic")))
            inout->basic = true;
        if (st_sv_ieq(scheme, ST_SV("bearer")) && one.realm.len && !inout->bearer) {
            one.basic = inout->basic;
            one.bearer = true;
            *inout = one;
        }
        if (rc == 0)
            return 0;
    }
}
