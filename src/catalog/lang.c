#include "catalog/lang_int.h"

#include "base/ckd.h"

void st_lang_list_add(struct st_lang_list *l, struct st_sv s)
{
    s = st_lang_text(s);
    if (s.len && l->n < ST_LANG_LIST_MAX)
        l->at[l->n++] = s;
}

int st_lang_list_join(const struct st_lang_list *l, struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    size_t total = 0; // at most ST_LANG_LIST_MAX * (ST_LANG_TEXT_MAX + 2)
    for (size_t i = 0; i < l->n; i++)
        total += l->at[i].len + 2;
    char *out = st_arena_bytes(a, total + 1, err);
    if (!out)
        return -1;
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (i) {
            memcpy(out + n, ", ", 2);
            n += 2;
        }
        memcpy(out + n, l->at[i].ptr, l->at[i].len);
        n += l->at[i].len;
    }
    *ret = (struct st_sv){out, n};
    return 0;
}

void st_lang_json_init(struct st_json *j, struct st_sv in)
{
    st_json_init(j, in);
    j->allow_bom = true;
    j->any_bytes = true;
}

static const struct st_lang_member *find_row(const struct st_json_tok *key, const struct st_lang_member *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (st_json_is(key, rows[i].key))
            return &rows[i];
    return NULL;
}

int st_lang_members(struct st_json *j, const struct st_lang_member *rows, size_t n, void *record, struct st_arena *a,
                    struct st_err *err)
{
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(j, &key, &val, err)) > 0) {
        const struct st_lang_member *row = find_row(&key, rows, n);
        if (row ? row->read(j, &val, a, (char *)record + row->off, err) : st_json_skip(j, &val, err))
            return -1;
    }
    return rc;
}

int st_lang_object(struct st_sv in, const struct st_lang_member *rows, size_t n, void *record, struct st_arena *a,
                   struct st_err *err)
{
    struct st_json j;
    struct st_json_tok tok;
    st_lang_json_init(&j, in);
    if (st_json_next(&j, &tok, err))
        return -1;
    if (tok.type != ST_JSON_OBJECT)
        return st_err_set_off(err, ST_E_FORMAT, tok.at, "not a JSON object");
    if (st_lang_members(&j, rows, n, record, a, err))
        return -1;
    return st_json_next(&j, &tok, err); // the end, or what is wrong behind it
}

int st_lang_string(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv, struct st_err *err)
{
    struct st_sv *to = sv;
    if (val->type == ST_JSON_STRING)
        return st_json_text(val, a, to, err);
    *to = ST_SV_NULL;
    return st_json_skip(j, val, err);
}

int st_lang_number(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv, struct st_err *err)
{
    *(struct st_sv *)sv = val->type == ST_JSON_NUMBER ? val->raw : ST_SV_NULL;
    return st_json_skip(j, val, err);
}

int st_lang_true(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *flag, struct st_err *err)
{
    *(bool *)flag = val->type == ST_JSON_TRUE;
    return st_json_skip(j, val, err);
}

int st_lang_strings(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *list,
                    struct st_err *err)
{
    struct st_lang_list *to = list;
    struct st_json_tok tok = *val;
    struct st_sv s;
    to->n = 0;
    if (tok.type != ST_JSON_ARRAY) {
        if (st_lang_string(j, &tok, a, &s, err))
            return -1;
        st_lang_list_add(to, s);
        return 0;
    }
    int rc;
    while ((rc = st_json_element(j, &tok, err)) > 0) {
        if (st_lang_string(j, &tok, a, &s, err))
            return -1;
        st_lang_list_add(to, s);
    }
    return rc;
}

int st_lang_raw(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv, struct st_err *err)
{
    if (st_json_skip(j, val, err))
        return -1;
    *(struct st_sv *)sv = st_sv_sub(j->in, val->at, j->pos - val->at);
    return 0;
}

int st_lang_id(struct st_sv *name, struct st_sv *version, struct st_err *err)
{
    *name = st_sv_trim(*name);
    *version = st_sv_trim(*version);
    if (name->len == 0 || version->len == 0)
        return st_err_set(err, ST_E_FORMAT, "no %s", name->len ? "version" : "name");
    if (name->len > ST_LANG_ID_MAX || version->len > ST_LANG_ID_MAX)
        return st_err_set(err, ST_E_LIMIT, "%s is longer than %d bytes",
                          name->len > ST_LANG_ID_MAX ? "name" : "version", ST_LANG_ID_MAX);
    return 0;
}

int st_lang_bad_record(struct st_parse *p, const struct st_err *bad, struct st_err *err)
{
    if (bad->code != ST_E_FORMAT && bad->code != ST_E_LIMIT) {
        if (err)
            *err = *bad;
        return -1;
    }
    enum st_unknown_reason reason = bad->code == ST_E_LIMIT ? ST_UNKNOWN_LIMIT : ST_UNKNOWN_FORMAT;
    return p->emit->unknown(p->emit->ctx, reason, ST_SV_NULL, st_sv_of(bad->text), err);
}

struct st_sv st_lang_text(struct st_sv s)
{
    s = st_sv_trim(s);
    if (s.len <= ST_LANG_TEXT_MAX)
        return s;
    size_t n = ST_LANG_TEXT_MAX;
    while (n > ST_LANG_TEXT_MAX - 4 && ((unsigned char)s.ptr[n] & 0xC0) == 0x80)
        n--;
    return st_sv_sub(s, 0, n);
}

void st_lang_scope(struct st_sv full, struct st_sv *ret_ns, struct st_sv *ret_name)
{
    if (st_sv_cut(full, '/', ret_ns, ret_name))
        return;
    *ret_ns = ST_SV_NULL;
    *ret_name = full;
}
