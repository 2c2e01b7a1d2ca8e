// Records to JSON and back, field by field.
#include "service/record.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/near.h"
#include "base/quantity.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

#define EMBED_MEMORY (2ull << 20) // a text of 64 KiB, every byte escaped, and indented

static const void *at(const void *value, const struct st_field *f)
{
    return (const char *)value + f->offset;
}

static bool known(const void *value, const struct st_field *f)
{
    return !f->has || *((const bool *)value + f->has - 1);
}

// ---- writing ------------------------------------------------------------------------------------

static void token(struct st_json_out *w, struct st_sv text)
{
    st_json_raw(w);
    st_out_write(w->out, text);
}

// A JSON value token by token, indented like the rest. False: it is none.
static bool copy_tokens(struct st_json_out *w, struct st_sv text, struct st_arena *a)
{
    struct st_json j;
    struct st_json_tok t;
    st_json_init(&j, text);
    for (;;) {
        struct st_sv s;
        if (st_json_next(&j, &t, NULL))
            return false;
        if ((t.type == ST_JSON_KEY || t.type == ST_JSON_STRING) && st_json_text(&t, a, &s, NULL))
            return false;
        switch (t.type) {
        case ST_JSON_END:
            return true;
        case ST_JSON_OBJECT:
        case ST_JSON_ARRAY:
            st_json_open(w, t.type == ST_JSON_OBJECT ? '{' : '[');
            break;
        case ST_JSON_OBJECT_END:
        case ST_JSON_ARRAY_END:
            st_json_close(w, t.type == ST_JSON_OBJECT_END ? '}' : ']');
            break;
        case ST_JSON_KEY:
            st_json_key_sv(w, s);
            break;
        case ST_JSON_STRING:
            st_json_str(w, s);
            break;
        default:
            token(w, t.type == ST_JSON_NUMBER  ? t.raw
                     : t.type == ST_JSON_TRUE  ? ST_SV("true")
                     : t.type == ST_JSON_FALSE ? ST_SV("false")
                                               : ST_SV("null"));
        }
    }
}

// Into a buffer first, since half a value cannot be taken back. What is no JSON value is null.
static void embed(struct st_json_out *w, struct st_sv text)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_buf b;
    struct st_out o;
    struct st_json_out inner = *w;
    st_mem_init(&mem, EMBED_MEMORY, -1);
    st_arena_init(&a, &mem);
    st_buf_init(&b, &mem);
    st_out_init_buf(&o, &b);
    inner.out = &o;
    if (st_buf_reserve(&b, text.len + text.len / 8, NULL) == 0 && copy_tokens(&inner, text, &a) &&
        st_out_finish(&o, NULL) == 0) {
        st_out_write(w->out, st_buf_sv(&b));
        inner.out = w->out;
        *w = inner;
    } else {
        st_json_null(w);
    }
    st_buf_release(&b);
    st_arena_release(&a);
    st_mem_release(&mem);
}

static void write_text(struct st_json_out *w, struct st_sv v)
{
    if (v.len)
        st_json_str(w, v);
    else
        st_json_null(w);
}

static void write_number(struct st_json_out *w, const struct st_field *f, uint64_t v)
{
    if (f->null_zero && v == 0)
        st_json_null(w);
    else
        st_json_u64(w, v);
}

static void write_milli(struct st_json_out *w, uint64_t v)
{
    char text[40];
    int n = snprintf(text, sizeof text, "%llu.%03u", (unsigned long long)(v / 1000), (unsigned)(v % 1000));
    while (text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    token(w, st_sv_mem(text, (size_t)n));
}

static void write_time(struct st_json_out *w, int64_t ms)
{
    char text[ST_CLOCK_TEXT_MS];
    st_clock_text_ms(ms, text);
    if (text[0] == '-')
        st_json_null(w);
    else
        st_json_str(w, st_sv_of(text));
}

static void write_word(struct st_json_out *w, const struct st_field *f, unsigned v)
{
    unsigned n = 0;
    while (n < v && f->words[n])
        n++;
    write_text(w, st_sv_of(f->words[n])); // NULL: null
}

static void write_field(struct st_json_out *w, const struct st_field *f, const void *value)
{
    const void *p = at(value, f);
    st_json_key(w, f->name);
    if (!known(value, f)) {
        st_json_null(w);
        return;
    }
    switch (f->kind) {
    case ST_FIELD_TEXT:
        write_text(w, *(const struct st_sv *)p);
        break;
    case ST_FIELD_ID:
        write_text(w, st_sv_of(p));
        break;
    case ST_FIELD_U64:
        write_number(w, f, *(const uint64_t *)p);
        break;
    case ST_FIELD_U32:
        write_number(w, f, *(const uint32_t *)p);
        break;
    case ST_FIELD_INT:
        st_json_i64(w, *(const int *)p);
        break;
    case ST_FIELD_BOOL:
        st_json_bool(w, *(const bool *)p);
        break;
    case ST_FIELD_TIME:
        write_time(w, *(const int64_t *)p);
        break;
    case ST_FIELD_MS:
        if (*(const int64_t *)p)
            st_json_i64(w, *(const int64_t *)p);
        else
            st_json_null(w);
        break;
    case ST_FIELD_WORD:
        write_word(w, f, *(const unsigned *)p);
        break;
    case ST_FIELD_JSON: {
        struct st_sv v = *(const struct st_sv *)p;
        if (v.len)
            embed(w, v);
        else
            st_json_null(w);
        break;
    }
    case ST_FIELD_DURATION: {
        char text[32];
        uint64_t v = *(const uint64_t *)p;
        snprintf(text, sizeof text, "%llus", (unsigned long long)v);
        write_text(w, v ? st_sv_of(text) : ST_SV_NULL);
        break;
    }
    case ST_FIELD_MILLI:
        write_milli(w, *(const uint64_t *)p);
        break;
    }
}

void st_record_members(struct st_json_out *w, const struct st_record *r, const void *value)
{
    for (size_t i = 0; i < r->n; i++)
        write_field(w, &r->fields[i], value);
}

void st_record_write(struct st_json_out *w, const struct st_record *r, const void *value)
{
    st_json_open(w, '{');
    st_record_members(w, r, value);
    st_json_close(w, '}');
}

static bool says_nothing(const struct st_field *f, const void *value)
{
    const void *p = at(value, f);
    if (f->has)
        return !known(value, f);
    switch (f->kind) {
    case ST_FIELD_TEXT:
    case ST_FIELD_JSON:
        return ((const struct st_sv *)p)->len == 0;
    case ST_FIELD_ID:
        return *(const char *)p == '\0';
    case ST_FIELD_BOOL:
        return !*(const bool *)p;
    case ST_FIELD_U32:
    case ST_FIELD_INT:
        return *(const uint32_t *)p == 0;
    case ST_FIELD_WORD:
        return false;
    default:
        return *(const uint64_t *)p == 0;
    }
}

void st_record_brief(struct st_json_out *w, const struct st_record *r, const void *value)
{
    st_json_open(w, '{');
    for (size_t i = 0; i < r->n; i++)
        if (!says_nothing(&r->fields[i], value))
            write_field(w, &r->fields[i], value);
    st_json_close(w, '}');
}

void *st_record_dup(const struct st_record *r, const void *value, struct st_arena *a, struct st_err *err)
{
    char *copy = st_arena_alloc(a, r->size, err);
    if (!copy)
        return NULL;
    memcpy(copy, value, r->size);
    for (size_t i = 0; i < r->n; i++) {
        struct st_sv *text = (struct st_sv *)(void *)(copy + r->fields[i].offset);
        if ((r->fields[i].kind == ST_FIELD_TEXT || r->fields[i].kind == ST_FIELD_JSON) &&
            st_arena_dup(a, *text, text, err))
            return NULL;
    }
    return copy;
}

// ---- reading ------------------------------------------------------------------------------------

const struct st_field *st_record_field(const struct st_record *r, struct st_sv name)
{
    for (size_t i = 0; i < r->n; i++)
        if (st_sv_eq(name, st_sv_of(r->fields[i].name)))
            return &r->fields[i];
    return NULL;
}

static int no_field(const struct st_record *r, struct st_sv name, struct st_err *err)
{
    const char *best = NULL;
    unsigned distance = UINT32_MAX;
    for (size_t i = 0; i < r->n; i++)
        if (st_edit_near(name, st_sv_of(r->fields[i].name), &distance))
            best = r->fields[i].name;
    name = st_sv_sub(name, 0, 100);
    return st_err_set(err, ST_E_INPUT, "unknown field '" ST_SV_FMT "'%s%s%s", ST_SV_ARG(name),
                      best ? "; did you mean " : "", best ? best : "", best ? "?" : "");
}

static int wrong(const struct st_field *f, const char *wanted, struct st_err *err)
{
    return st_err_set(err, ST_E_INPUT, "field '%s': %s is wanted", f->name, wanted);
}

static int set_number(const struct st_field *f, struct st_sv digits, void *p, struct st_err *err)
{
    uint64_t v, max = f->max ? f->max : f->kind == ST_FIELD_U32 ? UINT32_MAX : UINT64_MAX;
    bool negative = f->kind == ST_FIELD_INT && digits.len && digits.ptr[0] == '-';
    if (!st_sv_u64(negative ? st_sv_from(digits, 1) : digits, 10, &v))
        return wrong(f, "a whole number", err);
    if (f->kind == ST_FIELD_MS)
        max = ST_MIN(max, (uint64_t)INT64_MAX);
    if (f->kind == ST_FIELD_INT)
        max = ST_MIN(max, (uint64_t)INT32_MAX);
    if (v > max)
        return st_err_set(err, ST_E_INPUT, "field '%s': at most %llu is accepted", f->name, (unsigned long long)max);
    if (f->kind == ST_FIELD_U64 || f->kind == ST_FIELD_MS)
        memcpy(p, &v, sizeof v);
    else if (f->kind == ST_FIELD_U32)
        *(uint32_t *)p = (uint32_t)v;
    else
        *(int *)p = negative ? -(int)v : (int)v;
    return 0;
}

static int set_milli(const struct st_field *f, struct st_sv text, uint64_t *p, struct st_err *err)
{
    struct st_sv whole, part;
    uint64_t a, b = 0;
    bool point = st_sv_cut(text, '.', &whole, &part);
    if (!st_sv_u64(whole, 10, &a) || a > UINT64_MAX / 2000 || (point && (part.len > 3 || !st_sv_u64(part, 10, &b))))
        return wrong(f, "a number with at most three decimals", err);
    for (size_t i = part.len; point && i < 3; i++)
        b *= 10;
    *p = a * 1000 + b;
    return 0;
}

static int set_word(const struct st_field *f, struct st_sv text, unsigned *p, struct st_err *err)
{
    char list[200] = "";
    size_t n = 0;
    for (unsigned i = 0; f->words[i]; i++) {
        if (st_sv_eq(text, st_sv_of(f->words[i]))) {
            *p = i;
            return 0;
        }
        int k = n < sizeof list ? snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", f->words[i]) : 0;
        n += k > 0 ? (size_t)k : 0;
    }
    return st_err_set(err, ST_E_INPUT, "field '%s': unknown value '" ST_SV_FMT "' (one of %s)", f->name,
                      ST_SV_ARG(st_sv_sub(text, 0, 100)), list);
}

static int set_text(const struct st_field *f, struct st_sv text, void *p, struct st_err *err)
{
    size_t max = f->kind == ST_FIELD_ID ? ST_JOB_ID : f->max ? f->max : ST_FIELD_TEXT_MAX;
    if (text.len > max)
        return st_err_set(err, ST_E_INPUT, "field '%s': at most %zu bytes are accepted", f->name, max);
    if (f->kind == ST_FIELD_ID)
        snprintf(p, ST_JOB_ID + 1, ST_SV_FMT, ST_SV_ARG(text));
    else
        *(struct st_sv *)p = text;
    return 0;
}

// `text`: a string's content, or the digits of a number. is_number: which of them.
static int set_value(const struct st_field *f, struct st_sv text, bool is_number, void *value, struct st_err *err)
{
    void *p = (char *)value + f->offset;
    bool number = f->kind == ST_FIELD_U64 || f->kind == ST_FIELD_U32 || f->kind == ST_FIELD_INT ||
                  f->kind == ST_FIELD_MILLI || f->kind == ST_FIELD_MS;
    if (number != is_number)
        return wrong(f, number ? "a number" : "a string", err);
    int rc;
    switch (f->kind) {
    case ST_FIELD_TEXT:
    case ST_FIELD_ID:
        rc = set_text(f, text, p, err);
        break;
    case ST_FIELD_TIME:
        rc = st_clock_read(text, p) ? 0 : wrong(f, "a time as 2026-01-31T07:05:09Z", err);
        break;
    case ST_FIELD_WORD:
        rc = set_word(f, text, p, err);
        break;
    case ST_FIELD_DURATION:
        rc = st_duration_for(f->name, text, p, err);
        break;
    case ST_FIELD_MILLI:
        rc = set_milli(f, text, p, err);
        break;
    case ST_FIELD_BOOL:
    case ST_FIELD_JSON:
        rc = wrong(f, f->kind == ST_FIELD_BOOL ? "true or false" : "a JSON object", err);
        break;
    default:
        rc = set_number(f, text, p, err);
    }
    if (rc == 0 && f->has)
        *((bool *)value + f->has - 1) = true;
    return rc;
}

static int read_value(const struct st_field *f, struct st_json *j, const struct st_json_tok *v, void *value,
                      struct st_arena *a, struct st_err *err)
{
    struct st_sv text;
    if (v->type == ST_JSON_NULL)
        return 0;
    if (f->kind == ST_FIELD_JSON) {
        if (v->type != ST_JSON_OBJECT)
            return wrong(f, "a JSON object", err);
        if (st_json_skip(j, v, err))
            return -1;
        text = st_sv_sub(j->in, v->at, j->pos - v->at);
        return set_text(f, text, (char *)value + f->offset, err);
    }
    if (f->kind == ST_FIELD_BOOL && (v->type == ST_JSON_TRUE || v->type == ST_JSON_FALSE)) {
        *(bool *)((char *)value + f->offset) = v->type == ST_JSON_TRUE;
        if (f->has)
            *((bool *)value + f->has - 1) = true;
        return 0;
    }
    if (f->kind == ST_FIELD_BOOL)
        return wrong(f, "true or false", err);
    if (v->type == ST_JSON_NUMBER)
        return set_value(f, v->raw, true, value, err);
    if (v->type == ST_JSON_STRING)
        return st_json_text(v, a, &text, err) ? -1 : set_value(f, text, false, value, err);
    return wrong(f, "a plain value", err);
}

int st_record_missing(const struct st_record *r, uint64_t seen, struct st_err *err)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->fields[i].required && !(seen >> i & 1))
            return st_err_set(err, ST_E_INPUT, "field '%s' is missing: %s", r->fields[i].name, r->fields[i].what);
    return 0;
}

static int read_object(const struct st_record *r, struct st_json *j, bool others, uint64_t seen, void *inout,
                       struct st_arena *a, struct st_err *err)
{
    struct st_json_tok key, v;
    int rc;
    if (st_json_next(j, &v, err))
        return -1;
    if (v.type != ST_JSON_OBJECT)
        return st_err_set(err, ST_E_INPUT, "a JSON object is wanted");
    while ((rc = st_json_member(j, &key, &v, err)) > 0) {
        struct st_sv name;
        if (st_json_text(&key, a, &name, err))
            return -1;
        const struct st_field *f = st_record_field(r, name);
        if (!f && !others)
            return no_field(r, name, err);
        if (!f) {
            if (st_json_skip(j, &v, err))
                return -1;
            continue;
        }
        uint64_t bit = 1ull << (f - r->fields);
        if (seen & bit)
            return st_err_set(err, ST_E_INPUT, "field '%s' is there twice", f->name);
        if (v.type != ST_JSON_NULL)
            seen |= bit;
        if (read_value(f, j, &v, inout, a, err))
            return -1;
    }
    if (rc < 0 || st_json_next(j, &v, err)) // the end, or an error
        return -1;
    return st_record_missing(r, seen, err);
}

int st_record_read(const struct st_record *r, struct st_sv json, bool others, uint64_t seen, void *inout,
                   struct st_arena *a, struct st_err *err)
{
    struct st_json j;
    struct st_err own = {0};
    st_json_init(&j, json);
    if (read_object(r, &j, others, seen, inout, a, &own) == 0)
        return 0;
    if (own.code == ST_E_FORMAT) {
        own.code = ST_E_INPUT;
        st_err_wrap(&own, "invalid JSON");
    }
    if (err)
        *err = own;
    return -1;
}

int st_record_set(const struct st_record *r, struct st_sv name, struct st_sv text, void *value, uint64_t *inout_seen,
                  struct st_err *err)
{
    const struct st_field *f = st_record_field(r, name);
    if (!f)
        return no_field(r, name, err);
    uint64_t bit = 1ull << (f - r->fields);
    if (*inout_seen & bit)
        return st_err_set(err, ST_E_INPUT, "field '%s' is there twice", f->name);
    *inout_seen |= bit;
    if (f->kind == ST_FIELD_BOOL) {
        bool yes = st_sv_eq(text, ST_SV("true"));
        if (!yes && !st_sv_eq(text, ST_SV("false")))
            return wrong(f, "true or false", err);
        *(bool *)((char *)value + f->offset) = yes;
        return 0;
    }
    bool number = f->kind == ST_FIELD_U64 || f->kind == ST_FIELD_U32 || f->kind == ST_FIELD_INT ||
                  f->kind == ST_FIELD_MILLI || f->kind == ST_FIELD_MS;
    return set_value(f, text, number, value, err);
}

// ---- schema -------------------------------------------------------------------------------------

void st_field_schema(struct st_json_out *w, const struct st_field *f)
{
    static const char *const types[] = {
        [ST_FIELD_TEXT] = "string", [ST_FIELD_ID] = "string",       [ST_FIELD_U64] = "integer",
        [ST_FIELD_U32] = "integer", [ST_FIELD_INT] = "integer",     [ST_FIELD_BOOL] = "boolean",
        [ST_FIELD_TIME] = "string", [ST_FIELD_MS] = "integer",      [ST_FIELD_WORD] = "string",
        [ST_FIELD_JSON] = "object", [ST_FIELD_DURATION] = "string", [ST_FIELD_MILLI] = "number",
    };
    st_json_open(w, '{');
    st_json_key(w, "type");
    st_json_open(w, '[');
    st_json_str(w, st_sv_of(types[f->kind]));
    st_json_str(w, ST_SV("null"));
    st_json_close(w, ']');
    if (f->what)
        st_json_kv(w, "description", st_sv_of(f->what));
    if (f->kind == ST_FIELD_TIME)
        st_json_kv(w, "format", ST_SV("date-time"));
    if (f->kind == ST_FIELD_ID)
        st_json_kv(w, "pattern", ST_SV("^[0-9a-f]{32}$"));
    if (f->kind == ST_FIELD_U64 || f->kind == ST_FIELD_U32 || f->kind == ST_FIELD_MILLI) {
        st_json_key(w, "minimum");
        st_json_u64(w, 0);
    }
    if (f->kind == ST_FIELD_WORD) {
        st_json_key(w, "enum");
        st_json_open(w, '[');
        for (unsigned i = 0; f->words[i]; i++)
            st_json_str(w, st_sv_of(f->words[i]));
        st_json_null(w);
        st_json_close(w, ']');
    }
    st_json_close(w, '}');
}

void st_record_schema(struct st_json_out *w, const struct st_record *r)
{
    bool any = false;
    st_json_open(w, '{');
    st_json_kv(w, "type", ST_SV("object"));
    st_json_key(w, "properties");
    st_json_open(w, '{');
    for (size_t i = 0; i < r->n; i++) {
        any = any || r->fields[i].required;
        st_json_key(w, r->fields[i].name);
        st_field_schema(w, &r->fields[i]);
    }
    st_json_close(w, '}');
    if (any) {
        st_json_key(w, "required");
        st_json_open(w, '[');
        for (size_t i = 0; i < r->n; i++)
            if (r->fields[i].required)
                st_json_str(w, st_sv_of(r->fields[i].name));
        st_json_close(w, ']');
    }
    st_json_key(w, "additionalProperties");
    st_json_bool(w, false);
    st_json_close(w, '}');
}
