#include "act/pick.h"

#include "base/ckd.h"

struct walk {
    struct st_json json;
    const char *what;
    const struct st_pick *rows;
    size_t n_rows;
    char *target;
    struct st_arena *arena;
    uint64_t seen; // one bit a row
    char path[ST_PICK_PATH_MAX];
    size_t len;
};

// Member `key` becomes the last part of the path. False when it is too long to be one that a row names.
static bool enter(struct walk *w, struct st_sv key)
{
    size_t need = key.len + (w->len > 0);
    if (need > sizeof w->path - w->len || st_sv_find(key, '|') != ST_SV_NPOS)
        return false;
    if (w->len)
        w->path[w->len++] = '|';
    if (key.len)
        memcpy(w->path + w->len, key.ptr, key.len);
    w->len += key.len;
    return true;
}

// Is some row below the path?
static bool leads_on(const struct walk *w)
{
    for (size_t i = 0; i < w->n_rows; i++) {
        struct st_sv row = st_sv_of(w->rows[i].path);
        if (row.len > w->len && row.ptr[w->len] == '|' && !memcmp(row.ptr, w->path, w->len))
            return true;
    }
    return false;
}

static int wrong_type(const struct walk *w, const char *wanted, const struct st_json_tok *val, struct st_err *err)
{
    return st_err_set_off(err, ST_E_FORMAT, val->at, "%s: %.*s is not %s", w->what, (int)w->len, w->path, wanted);
}

static int take(struct walk *w, const struct st_pick *row, const struct st_json_tok *val, struct st_err *err)
{
    void *at = w->target + row->offset;
    struct st_sv text;
    switch (row->kind) {
    case ST_PICK_TEXT:
        if (val->type != ST_JSON_STRING)
            return wrong_type(w, "a string", val, err);
        return st_json_text(val, w->arena, at, err);
    case ST_PICK_U64:
        if ((val->type != ST_JSON_NUMBER && val->type != ST_JSON_STRING) || val->escaped ||
            !st_sv_u64(val->raw, 10, at))
            return wrong_type(w, "a whole number", val, err);
        return 0;
    case ST_PICK_BOOL:
        if (val->type != ST_JSON_TRUE && val->type != ST_JSON_FALSE)
            return wrong_type(w, "true or false", val, err);
        *(bool *)at = val->type == ST_JSON_TRUE;
        return 0;
    case ST_PICK_RAW:
        if (st_json_skip(&w->json, val, err))
            return -1;
        text = st_sv_sub(w->json.in, val->at, w->json.pos - val->at);
        *(struct st_sv *)at = text;
        return 0;
    }
    return st_err_set(err, ST_E_INTERNAL, "a pick of unknown kind");
}

// One member's value: into a row, into the objects that lead to one, or passed over. Sets *ret_inside when an object
// was entered.
static int member(struct walk *w, const struct st_json_tok *val, bool *ret_inside, struct st_err *err)
{
    *ret_inside = false;
    if (val->type == ST_JSON_NULL)
        return 0;
    for (size_t i = 0; i < w->n_rows; i++)
        if (st_sv_eq(st_sv_of(w->rows[i].path), st_sv_mem(w->path, w->len))) {
            w->seen |= 1ull << i;
            return take(w, &w->rows[i], val, err);
        }
    if (val->type == ST_JSON_OBJECT && leads_on(w)) {
        *ret_inside = true;
        return 0;
    }
    if (leads_on(w))
        return wrong_type(w, "an object", val, err);
    return st_json_skip(&w->json, val, err);
}

static int walk(struct walk *w, struct st_err *err)
{
    size_t ends[ST_JSON_DEPTH_MAX] = {0}; // path length outside of each open object
    unsigned depth = 1;
    while (depth) {
        struct st_json_tok key, val;
        struct st_sv name;
        bool inside = false;
        int rc = st_json_member(&w->json, &key, &val, err);
        if (rc < 0)
            return -1;
        if (rc == 0) {
            w->len = ends[--depth];
            continue;
        }
        size_t outside = w->len;
        if (st_json_text(&key, w->arena, &name, err))
            return -1;
        if (!enter(w, name)) {
            if (st_json_skip(&w->json, &val, err))
                return -1;
            continue;
        }
        if (member(w, &val, &inside, err))
            return -1;
        if (inside && depth < ST_JSON_DEPTH_MAX)
            ends[depth++] = outside;
        else
            w->len = outside;
    }
    return 0;
}

int st_pick(struct st_sv doc, const char *what, const struct st_pick *rows, size_t n_rows, void *target,
            struct st_arena *a, struct st_err *err)
{
    struct walk w = {.what = what, .rows = rows, .n_rows = n_rows, .target = target, .arena = a};
    struct st_json_tok tok;
    if (n_rows > ST_PICK_ROWS_MAX)
        return st_err_set(err, ST_E_INTERNAL, "a pick table is too long");
    st_json_init(&w.json, doc);
    if (st_json_next(&w.json, &tok, err))
        return st_err_wrap(err, "%s", what);
    if (tok.type != ST_JSON_OBJECT)
        return st_err_set_off(err, ST_E_FORMAT, tok.at, "%s: not a JSON object", what);
    struct st_err inner = {0};
    if (walk(&w, &inner) || st_json_next(&w.json, &tok, &inner)) {
        if (err)
            *err = inner;
        return st_sv_starts(st_sv_of(inner.text), st_sv_of(what)) ? -1 : st_err_wrap(err, "%s", what);
    }
    for (size_t i = 0; i < n_rows; i++)
        if (rows[i].needed && !(w.seen & 1ull << i))
            return st_err_set(err, ST_E_FORMAT, "%s: %s is missing", what, rows[i].path);
    return 0;
}

void st_pick_array_init(struct st_pick_array *it, struct st_sv raw)
{
    *it = (struct st_pick_array){0};
    if (raw.len == 0)
        return;
    st_json_init(&it->json, raw);
    it->open = true;
}

int st_pick_array_next(struct st_pick_array *it, struct st_sv *ret, struct st_err *err)
{
    struct st_json_tok val;
    if (!it->open)
        return 0;
    if (it->json.pos == 0) {
        if (st_json_next(&it->json, &val, err))
            return -1;
        if (val.type != ST_JSON_ARRAY)
            return st_err_set_off(err, ST_E_FORMAT, val.at, "not an array");
    }
    int rc = st_json_element(&it->json, &val, err);
    if (rc <= 0) {
        it->open = false;
        return rc;
    }
    if (st_json_skip(&it->json, &val, err))
        return -1;
    *ret = st_sv_sub(it->json.in, val.at, it->json.pos - val.at);
    return 1;
}
