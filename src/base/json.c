#include "base/json.h"

#include <assert.h>
#include <stdio.h>

#define PLAIN_MAX 4096

// What may come next.
enum state { VALUE, FIRST_KEY, KEY, COLON, COMMA, FIRST_ELEMENT, DONE };

void st_json_init(struct st_json *j, struct st_sv in)
{
    *j = (struct st_json){.in = in, .state = VALUE};
}

static int bad(const struct st_json *j, size_t at, struct st_err *err)
{
    if (at >= j->in.len)
        return st_err_set_off(err, ST_E_FORMAT, j->in.len, "JSON ends too early");
    unsigned char c = (unsigned char)j->in.ptr[at];
    if (c > 0x20 && c < 0x7F)
        return st_err_set_off(err, ST_E_FORMAT, at, "JSON syntax error at '%c'", c);
    return st_err_set_off(err, ST_E_FORMAT, at, "JSON syntax error at byte value 0x%02x", c);
}

static bool in_object(const struct st_json *j)
{
    unsigned top = j->depth - 1;
    return j->nest[top / 8] >> (top % 8) & 1;
}

static void skip_blank(struct st_json *j)
{
    const char *p = j->in.ptr;
    size_t i = j->pos, n = j->in.len;
    while (i < n && (p[i] == ' ' || p[i] == '\n' || p[i] == '\r' || p[i] == '\t'))
        i++;
    j->pos = i;
}

static int hex4(const struct st_json *j, size_t at, unsigned *ret)
{
    uint64_t v;
    if (j->in.len - at < 4 || !st_sv_u64(st_sv_sub(j->in, at, 4), 16, &v))
        return -1;
    *ret = (unsigned)v;
    return 0;
}

// 1 for bytes that end the fast run of a string: quote, backslash, control characters, non-ASCII.
static const uint8_t special[256] = {
    [0 ... 0x1F] = 1,
    ['"'] = 1,
    ['\\'] = 1,
    [0x80 ... 0xFF] = 1,
};

static int read_string(struct st_json *j, struct st_json_tok *tok, struct st_err *err)
{
    const unsigned char *p = (const unsigned char *)j->in.ptr;
    size_t n = j->in.len, i = j->pos + 1, start = i;
    tok->escaped = false;
    for (;;) {
        while (i < n && !special[p[i]])
            i++;
        if (i >= n)
            return bad(j, n, err);
        if (p[i] == '"')
            break;
        if (p[i] == '\\') {
            tok->escaped = true;
            unsigned v;
            if (i + 1 >= n)
                return bad(j, n, err);
            if (p[i + 1] == 'u') {
                if (hex4(j, i + 2, &v))
                    return bad(j, i + 2, err);
                i += 6;
            } else if (p[i + 1] && strchr("\"\\/bfnrt", p[i + 1])) {
                i += 2;
            } else {
                return bad(j, i + 1, err);
            }
        } else if (p[i] >= 0x80) {
            size_t run = i;
            while (run < n && p[run] >= 0x80)
                run++;
            if (!j->any_bytes && !st_sv_is_utf8(st_sv_sub(j->in, i, run - i)))
                return st_err_set_off(err, ST_E_FORMAT, i, "JSON string is not UTF-8");
            i = run;
        } else {
            return bad(j, i, err);
        }
    }
    tok->raw = st_sv_sub(j->in, start, i - start);
    j->pos = i + 1;
    return 0;
}

static size_t digits(const struct st_json *j, size_t i)
{
    while (i < j->in.len && j->in.ptr[i] >= '0' && j->in.ptr[i] <= '9')
        i++;
    return i;
}

static int read_number(struct st_json *j, struct st_json_tok *tok, struct st_err *err)
{
    const char *p = j->in.ptr;
    size_t n = j->in.len, i = j->pos, start = i;
    if (p[i] == '-')
        i++;
    size_t k = digits(j, i);
    if (k == i || (p[i] == '0' && k > i + 1))
        return bad(j, k == i ? i : i + 1, err);
    i = k;
    if (i < n && p[i] == '.') {
        k = digits(j, i + 1);
        if (k == i + 1)
            return bad(j, k, err);
        i = k;
    }
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        i++;
        if (i < n && (p[i] == '+' || p[i] == '-'))
            i++;
        k = digits(j, i);
        if (k == i)
            return bad(j, k, err);
        i = k;
    }
    tok->type = ST_JSON_NUMBER;
    tok->raw = st_sv_sub(j->in, start, i - start);
    j->pos = i;
    return 0;
}

static int read_word(struct st_json *j, struct st_json_tok *tok, struct st_err *err)
{
    static const struct {
        struct st_sv word;
        enum st_json_type type;
    } words[] = {
        {ST_SV_INIT("true"), ST_JSON_TRUE},
        {ST_SV_INIT("false"), ST_JSON_FALSE},
        {ST_SV_INIT("null"), ST_JSON_NULL},
    };
    for (size_t i = 0; i < 3; i++)
        if (st_sv_starts(st_sv_from(j->in, j->pos), words[i].word)) {
            tok->type = words[i].type;
            tok->raw = st_sv_sub(j->in, j->pos, words[i].word.len);
            j->pos += words[i].word.len;
            return 0;
        }
    return bad(j, j->pos, err);
}

static int open_level(struct st_json *j, bool object, struct st_err *err)
{
    if (j->depth == ST_JSON_DEPTH_MAX)
        return st_err_set_off(err, ST_E_LIMIT, j->pos, "JSON is nested deeper than %d levels", ST_JSON_DEPTH_MAX);
    unsigned bit = 1u << (j->depth % 8);
    uint8_t *byte = &j->nest[j->depth / 8];
    *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
    j->depth++;
    j->pos++;
    j->state = object ? FIRST_KEY : FIRST_ELEMENT;
    return 0;
}

static int close_level(struct st_json *j, struct st_json_tok *tok)
{
    tok->type = in_object(j) ? ST_JSON_OBJECT_END : ST_JSON_ARRAY_END;
    j->pos++;
    j->depth--;
    j->state = j->depth ? COMMA : DONE;
    return 0;
}

static int read_value(struct st_json *j, struct st_json_tok *tok, struct st_err *err)
{
    char c = j->in.ptr[j->pos];
    if (c == '{' || c == '[') {
        tok->type = c == '{' ? ST_JSON_OBJECT : ST_JSON_ARRAY;
        return open_level(j, c == '{', err);
    }
    int rc;
    if (c == '"') {
        tok->type = ST_JSON_STRING;
        rc = read_string(j, tok, err);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        rc = read_number(j, tok, err);
    } else {
        rc = read_word(j, tok, err);
    }
    j->state = j->depth ? COMMA : DONE;
    return rc;
}

int st_json_next(struct st_json *j, struct st_json_tok *tok, struct st_err *err)
{
    if (j->pos == 0 && j->allow_bom && st_sv_starts(j->in, ST_SV("\xEF\xBB\xBF")))
        j->pos = 3;
    skip_blank(j);
    tok->raw = ST_SV_NULL;
    tok->escaped = false;
    tok->at = j->pos;
    if (j->state == DONE) {
        if (j->pos < j->in.len)
            return bad(j, j->pos, err);
        tok->type = ST_JSON_END;
        return 0;
    }
    if (j->pos >= j->in.len)
        return bad(j, j->in.len, err);
    char c = j->in.ptr[j->pos];
    if (j->state == COMMA) {
        if (c == (in_object(j) ? '}' : ']'))
            return close_level(j, tok);
        if (c != ',')
            return bad(j, j->pos, err);
        j->pos++;
        skip_blank(j);
        tok->at = j->pos;
        j->state = in_object(j) ? KEY : VALUE;
        if (j->pos >= j->in.len)
            return bad(j, j->in.len, err);
        c = j->in.ptr[j->pos];
    }
    switch ((enum state)j->state) {
    case FIRST_ELEMENT:
        if (c == ']')
            return close_level(j, tok);
        return read_value(j, tok, err);
    case FIRST_KEY:
        if (c == '}')
            return close_level(j, tok);
        __attribute__((fallthrough));
    case KEY:
        if (c != '"')
            return bad(j, j->pos, err);
        tok->type = ST_JSON_KEY;
        if (read_string(j, tok, err))
            return -1;
        skip_blank(j);
        if (j->pos >= j->in.len || j->in.ptr[j->pos] != ':')
            return bad(j, j->pos, err);
        j->pos++;
        j->state = VALUE;
        return 0;
    default:
        return read_value(j, tok, err);
    }
}

int st_json_skip(struct st_json *j, const struct st_json_tok *tok, struct st_err *err)
{
    struct st_json_tok t = *tok;
    unsigned level = j->depth;
    if (t.type == ST_JSON_KEY) {
        if (st_json_next(j, &t, err))
            return -1;
    } else if (t.type == ST_JSON_OBJECT || t.type == ST_JSON_ARRAY) {
        level--;
    }
    while (j->depth > level)
        if (st_json_next(j, &t, err))
            return -1;
    return 0;
}

// The \uXXXX at raw[*i] (its 'u'), a surrogate pair taken together; *i moves behind it.
static unsigned read_escape_u(struct st_sv raw, size_t *i)
{
    uint64_t c = 0, low = 0;
    st_sv_u64(st_sv_sub(raw, *i + 1, 4), 16, &c);
    *i += 5;
    if (c < 0xD800 || c > 0xDFFF)
        return (unsigned)c;
    if (c <= 0xDBFF && st_sv_starts(st_sv_from(raw, *i), ST_SV("\\u")) &&
        st_sv_u64(st_sv_sub(raw, *i + 2, 4), 16, &low) && low >= 0xDC00 && low <= 0xDFFF) {
        *i += 6;
        return (unsigned)(0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00));
    }
    return 0xFFFD;
}

int st_json_text(const struct st_json_tok *tok, struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    if (!tok->escaped) {
        *ret = tok->raw;
        return 0;
    }
    char *out = st_arena_bytes(a, tok->raw.len + 1, err); // unescaped text is never longer
    if (!out)
        return -1;
    size_t n = 0;
    for (size_t i = 0; i < tok->raw.len;) {
        char c = tok->raw.ptr[i++];
        if (c != '\\') {
            out[n++] = c;
            continue;
        }
        c = tok->raw.ptr[i];
        if (c == 'u') {
            n += st_utf8_put(out + n, read_escape_u(tok->raw, &i));
            continue;
        }
        i++;
        out[n++] = c == 'b' ? '\b' : c == 'f' ? '\f' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
    }
    *ret = (struct st_sv){out, n};
    return 0;
}

bool st_json_is(const struct st_json_tok *tok, struct st_sv literal)
{
    return !tok->escaped && st_sv_eq(tok->raw, literal);
}

int st_json_member(struct st_json *j, struct st_json_tok *key, struct st_json_tok *value, struct st_err *err)
{
    if (st_json_next(j, key, err))
        return -1;
    if (key->type == ST_JSON_OBJECT_END)
        return 0;
    return st_json_next(j, value, err) ? -1 : 1;
}

int st_json_element(struct st_json *j, struct st_json_tok *value, struct st_err *err)
{
    if (st_json_next(j, value, err))
        return -1;
    return value->type != ST_JSON_ARRAY_END;
}

// ---- writer -------------------------------------------------------------------------------------

void st_json_out_init(struct st_json_out *w, struct st_out *out, unsigned indent)
{
    *w = (struct st_json_out){.out = out, .indent = indent, .first = true};
}

static void newline(struct st_json_out *w)
{
    static const char blanks[] = "\n                                                                ";
    if (w->indent) {
        size_t n = (size_t)w->depth * w->indent;
        st_out_write(w->out, st_sv_mem(blanks, 1 + (n < sizeof blanks - 2 ? n : sizeof blanks - 2)));
    }
}

static void before(struct st_json_out *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0)
        return;
    if (!w->first)
        st_out_putc(w->out, ',');
    newline(w);
    w->first = false;
}

void st_json_open(struct st_json_out *w, char bracket)
{
    before(w);
    st_out_putc(w->out, bracket);
    w->depth++;
    w->first = true;
}

void st_json_close(struct st_json_out *w, char bracket)
{
    assert(w->depth > 0 && !w->after_key);
    w->depth--;
    if (!w->first)
        newline(w);
    st_out_putc(w->out, bracket);
    w->first = false;
}

// Nearly all strings are short and plain.
static bool put_plain(struct st_out *o, struct st_sv s)
{
    if (s.len > PLAIN_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (special[(unsigned char)s.ptr[i]])
            return false;
    char *to = st_out_room(o, s.len + 2);
    if (to) {
        to[0] = '"';
        memcpy(to + 1, s.len ? s.ptr : "", s.len);
        to[s.len + 1] = '"';
        st_out_added(o, s.len + 2);
    }
    return true;
}

static void put_string(struct st_out *o, struct st_sv s)
{
    if (put_plain(o, s))
        return;
    st_out_putc(o, '"');
    size_t run = 0, i = 0;
    while (i < s.len) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (!special[c]) {
            i++;
            continue;
        }
        size_t n = c < 0x80 ? 0 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
        if (n && n <= s.len - i && st_sv_is_utf8(st_sv_sub(s, i, n))) {
            i += n;
            continue;
        }
        st_out_write(o, st_sv_sub(s, run, i - run));
        if (c >= 0x80)
            st_out_write(o, ST_SV("\xEF\xBF\xBD"));
        else if (c == '"' || c == '\\')
            st_out_fmt(o, "\\%c", c);
        else if (c == '\n')
            st_out_write(o, ST_SV("\\n"));
        else if (c == '\t')
            st_out_write(o, ST_SV("\\t"));
        else
            st_out_fmt(o, "\\u%04x", c);
        run = ++i;
    }
    st_out_write(o, st_sv_from(s, run));
    st_out_putc(o, '"');
}

void st_json_key_sv(struct st_json_out *w, struct st_sv key)
{
    assert(!w->after_key);
    before(w);
    put_string(w->out, key);
    st_out_puts(w->out, w->indent ? ": " : ":");
    w->after_key = true;
}

void st_json_key(struct st_json_out *w, const char *literal)
{
    st_json_key_sv(w, st_sv_of(literal));
}

void st_json_str(struct st_json_out *w, struct st_sv value)
{
    before(w);
    put_string(w->out, value);
}

// Without printf, which costs more than the rest of a row of numbers.
static void put_number(struct st_out *o, bool negative, uint64_t v)
{
    char text[24];
    size_t at = sizeof text;
    do
        text[--at] = (char)('0' + v % 10);
    while (v /= 10);
    if (negative)
        text[--at] = '-';
    st_out_write(o, st_sv_mem(text + at, sizeof text - at));
}

void st_json_u64(struct st_json_out *w, uint64_t value)
{
    before(w);
    put_number(w->out, false, value);
}

void st_json_i64(struct st_json_out *w, int64_t value)
{
    before(w);
    put_number(w->out, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void st_json_fixed(struct st_json_out *w, double value, unsigned decimals)
{
    char text[64];
    uint64_t scale = 1;
    if (!(value > -1e9 && value < 1e9)) // the fraction is lost in them; NaN too
        decimals = 0;
    if (!(value > -1e18 && value < 1e18)) {
        st_json_null(w);
        return;
    }
    for (unsigned i = 0; i < decimals && i < 9; i++)
        scale *= 10;
    uint64_t n = (uint64_t)((value < 0 ? -value : value) * (double)scale + 0.5);
    int len = snprintf(text, sizeof text, "%s%llu", value < 0 && n ? "-" : "", (unsigned long long)(n / scale));
    if (n % scale) {
        len +=
            snprintf(text + len, sizeof text - (size_t)len, ".%0*llu", (int)decimals, (unsigned long long)(n % scale));
        while (text[len - 1] == '0')
            len--;
    }
    before(w);
    st_out_write(w->out, st_sv_mem(text, (size_t)len));
}

void st_json_raw(struct st_json_out *w)
{
    before(w);
}

void st_json_bool(struct st_json_out *w, bool value)
{
    before(w);
    st_out_puts(w->out, value ? "true" : "false");
}

void st_json_null(struct st_json_out *w)
{
    before(w);
    st_out_puts(w->out, "null");
}

void st_json_kv(struct st_json_out *w, const char *key, struct st_sv value)
{
    st_json_key(w, key);
    st_json_str(w, value);
}
