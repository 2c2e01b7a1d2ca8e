#include "supervisor/watch_record.h"

#include "base/ckd.h"
#include "base/json.h"

// The value that begins with `tok`, as it stands in the line.
static int raw(struct st_json *j, const struct st_json_tok *tok, struct st_sv *ret, struct st_err *err)
{
    if (st_json_skip(j, tok, err))
        return -1;
    *ret = st_sv_sub(j->in, tok->at, j->pos - tok->at);
    return 0;
}

static struct st_sv member(struct st_sv object, struct st_sv name, struct st_arena *a, enum st_json_type *ret_type)
{
    struct st_json j;
    struct st_json_tok key, value;
    struct st_sv text = ST_SV_NULL;
    *ret_type = ST_JSON_NULL;
    st_json_init(&j, object);
    if (st_json_next(&j, &value, NULL) || value.type != ST_JSON_OBJECT)
        return text;
    while (st_json_member(&j, &key, &value, NULL) > 0) {
        if (st_json_is(&key, name)) {
            *ret_type = value.type;
            return value.type == ST_JSON_STRING && st_json_text(&value, a, &text, NULL) ? ST_SV_NULL : text;
        }
        if (st_json_skip(&j, &value, NULL))
            break;
    }
    return text;
}

// What is kept, in this order.
static const char *const kept[] = {"id", "time", "kind", "cgroup", "verdict", "culprit", "action", "before", "after"};

static int take(struct st_json *j, const struct st_json_tok *key, const struct st_json_tok *value,
                struct st_sv texts[ST_LEN(kept)], struct st_err *err)
{
    for (size_t i = 0; i < ST_LEN(kept); i++)
        if (st_json_is(key, st_sv_of(kept[i])))
            return raw(j, value, &texts[i], err);
    return st_json_skip(j, value, err);
}

enum { KIND = 2, CGROUP, VERDICT, CULPRIT, ACTION };

static int brief(const struct st_sv texts[ST_LEN(kept)], struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    struct st_buf b;
    struct st_out o;
    st_buf_init(&b, a->mem);
    st_out_init_buf(&o, &b);
    for (size_t i = 0; i < ST_LEN(kept); i++)
        if (texts[i].len) {
            st_out_fmt(&o, "%s\"%s\":", o.total ? "," : "{", kept[i]);
            st_out_write(&o, texts[i]);
        }
    st_out_putc(&o, '}');
    int rc = st_out_finish(&o, err) || st_arena_dup(a, st_buf_sv(&b), ret, err) ? -1 : 0;
    st_buf_release(&b);
    return rc;
}

int st_watch_record_read(struct st_sv line, struct st_watch_record *ret, struct st_arena *a, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok key, value;
    struct st_sv texts[ST_LEN(kept)] = {{NULL, 0}};
    enum st_json_type type, act;
    int rc;
    st_json_init(&j, line);
    if (st_json_next(&j, &value, err))
        return -1;
    if (value.type != ST_JSON_OBJECT)
        return st_err_set(err, ST_E_FORMAT, "not a record of stella-watchdog");
    while ((rc = st_json_member(&j, &key, &value, err)) > 0)
        if (take(&j, &key, &value, texts, err))
            return -1;
    if (rc < 0)
        return -1;
    ret->path = member(texts[CGROUP], ST_SV("path"), a, &type);
    if (!ret->path.len)
        return st_err_set(err, ST_E_FORMAT, "a record of stella-watchdog without a cgroup");
    bool action = st_sv_eq(texts[KIND], ST_SV("\"action\""));
    ret->acted = action && st_sv_eq(member(texts[ACTION], ST_SV("outcome"), a, &type), ST_SV("done")) &&
                 !st_sv_eq(member(texts[ACTION], ST_SV("rung"), a, &type), ST_SV("warn"));
    member(texts[VERDICT], ST_SV("act"), a, &act);
    ret->asks = act == ST_JSON_TRUE;
    return brief(texts, a, &ret->brief, err);
}
