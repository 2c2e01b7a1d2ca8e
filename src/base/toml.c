#include "base/toml.h"
#include "base/ckd.h"

enum how { IMPLICIT, DEFINED, DOTTED, CLOSED, TABLES }; // CLOSED: inline; TABLES: array that [[...]] made

struct reader {
    struct st_sv in;
    size_t at, line, nodes;
    struct st_arena *arena;
    struct st_err *err;
};

#define FAIL(r, ...) toml_fail((r), __VA_ARGS__)
static int toml_fail(struct reader *r, const char *what)
{
    return st_err_set_off(r->err, ST_E_FORMAT, r->at, "line %zu: %s", r->line, what);
}

// ---- characters -----------------------------------------------------------------------------------------------------

static int peek(const struct reader *r, size_t ahead)
{
    return r->at + ahead < r->in.len ? (unsigned char)r->in.ptr[r->at + ahead] : -1;
}

static bool eat(struct reader *r, char c)
{
    if (peek(r, 0) != (unsigned char)c)
        return false;
    r->at++;
    return true;
}

static bool starts(const struct reader *r, const char *word)
{
    return st_sv_starts(st_sv_from(r->in, r->at), st_sv_of(word));
}

static void blanks(struct reader *r)
{
    while (peek(r, 0) == ' ' || peek(r, 0) == '\t')
        r->at++;
}

static bool newline(struct reader *r)
{
    if (peek(r, 0) != '\n' && !(peek(r, 0) == '\r' && peek(r, 1) == '\n'))
        return false;
    r->at += peek(r, 0) == '\r' ? 2 : 1;
    r->line++;
    return true;
}

static bool control(int c)
{
    return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f;
}

static int comment(struct reader *r)
{
    if (!eat(r, '#'))
        return 0;
    while (peek(r, 0) >= 0 && peek(r, 0) != '\n' && !(peek(r, 0) == '\r' && peek(r, 1) == '\n')) {
        if (control(peek(r, 0)))
            return FAIL(r, "a control character in a comment");
        r->at++;
    }
    return 0;
}

static int line_end(struct reader *r)
{
    blanks(r);
    if (comment(r))
        return -1;
    return newline(r) || peek(r, 0) < 0 ? 0 : FAIL(r, "something behind the value");
}

// Blanks, comments and line ends: between the elements of an array.
static int gap(struct reader *r)
{
    do {
        blanks(r);
        if (comment(r))
            return -1;
    } while (newline(r));
    return 0;
}

static int digit_of(int c, unsigned base)
{
    int d = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : -1;
    return d >= 0 && (unsigned)d < base ? d : -1;
}

// ---- strings --------------------------------------------------------------------------------------------------------

static int unicode(struct reader *r, unsigned digits, char *out, size_t *inout_n)
{
    uint64_t c = 0;
    for (unsigned i = 0; i < digits; i++) {
        int d = digit_of(peek(r, 0), 16);
        if (d < 0)
            return FAIL(r, "bad \\u escape");
        c = c * 16 + (unsigned)d;
        r->at++;
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return FAIL(r, "an escape that is no character");
    *inout_n += st_utf8_put(out + *inout_n, c);
    return 0;
}

// Behind a backslash.
static int escape(struct reader *r, bool lines, char *out, size_t *inout_n)
{
    static const char names[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";
    int c = peek(r, 0);
    const char *k = c > 0 ? strchr(names, c) : NULL;
    if (k) {
        r->at++;
        out[(*inout_n)++] = values[k - names];
        return 0;
    }
    if (c == 'u' || c == 'U') {
        r->at++;
        return unicode(r, c == 'u' ? 4 : 8, out, inout_n);
    }
    size_t begin = r->at;
    blanks(r);
    if (lines && newline(r)) { // the end of the line and what is blank behind it do not count
        do
            blanks(r);
        while (newline(r));
        return 0;
    }
    r->at = begin;
    return FAIL(r, "bad escape");
}

// quote: ' or "; lines: three of them. The opening quotes have been read.
static int string_body(struct reader *r, char quote, bool lines, struct st_sv *ret)
{
    size_t begin = r->at, n = 0;
    size_t longest = r->in.len - r->at;
    const char *end = memchr(r->in.ptr + r->at, '\n', longest);
    if (!lines && end)
        longest = (size_t)(end - (r->in.ptr + r->at));
    char *out = NULL; // only when the text differs from its characters
    if (lines && newline(r))
        begin = r->at;
    for (;;) {
        int c = peek(r, 0);
        if (c < 0)
            return FAIL(r, "a string does not end");
        if (c == quote && (!lines || (peek(r, 1) == quote && peek(r, 2) == quote))) {
            size_t extra = 0; // up to two quotes may stand before the closing three
            while (lines && extra < 2 && peek(r, 3 + extra) == quote)
                extra++;
            for (size_t i = 0; i < extra && out; i++)
                out[n + i] = quote;
            size_t len = (out ? n : r->at - begin) + extra;
            *ret = st_sv_mem(out ? out : r->in.ptr + begin, len);
            r->at += lines ? 3 + extra : 1;
            return 0;
        }
        if (c == '\\' && quote == '"') {
            if (!out && !(out = st_arena_bytes(r->arena, longest + 8, r->err)))
                return -1;
            if (n == 0 && r->at > begin) {
                n = r->at - begin;
                memcpy(out, r->in.ptr + begin, n);
            }
            r->at++;
            size_t before = n;
            if (escape(r, lines, out, &n))
                return -1;
            if (n == before && n == 0) // an escaped line end at the very beginning
                begin = r->at;
            continue;
        }
        size_t line_from = r->at;
        if (lines && newline(r)) {
            for (size_t i = line_from; i < r->at && out; i++)
                out[n++] = r->in.ptr[i];
            continue;
        }
        if (control(c))
            return FAIL(r, c == '\n' ? "a string does not end on its line" : "a control character in a string");
        if (out)
            out[n++] = (char)c;
        r->at++;
    }
}

static int string(struct reader *r, bool key, struct st_sv *ret)
{
    char quote = (char)peek(r, 0);
    bool lines = peek(r, 1) == quote && peek(r, 2) == quote;
    if (lines && key)
        return FAIL(r, "a key of several lines");
    r->at += lines ? 3 : 1;
    return string_body(r, quote, lines, ret);
}

// ---- nodes ----------------------------------------------------------------------------------------------------------

static struct st_toml *node(struct reader *r, enum st_toml_type type)
{
    if (r->nodes++ >= ST_TOML_NODES_MAX) {
        st_err_set(r->err, ST_E_LIMIT, "more than %d values", ST_TOML_NODES_MAX);
        return NULL;
    }
    struct st_toml *n = ST_ARENA_NEW(r->arena, struct st_toml, r->err);
    if (n) {
        n->type = type;
        n->line = r->line;
    }
    return n;
}

static void append(struct st_toml *parent, struct st_toml *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

static struct st_toml *find(const struct st_toml *table, struct st_sv key)
{
    for (struct st_toml *c = table->first; c; c = c->next)
        if (st_sv_eq(c->key, key))
            return c;
    return NULL;
}

static struct st_toml *add(struct reader *r, struct st_toml *table, struct st_sv key, enum st_toml_type type,
                           enum how how)
{
    struct st_toml *n = node(r, type);
    if (!n)
        return NULL;
    n->key = key;
    n->how = (uint8_t)how;
    append(table, n);
    return n;
}

// ---- keys -----------------------------------------------------------------------------------------------------------

static bool bare(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static int one_key(struct reader *r, struct st_sv *ret)
{
    blanks(r);
    if (peek(r, 0) == '"' || peek(r, 0) == '\'')
        return string(r, true, ret);
    size_t begin = r->at;
    while (bare(peek(r, 0)))
        r->at++;
    *ret = st_sv_sub(r->in, begin, r->at - begin);
    return ret->len ? 0 : FAIL(r, "no key");
}

struct path {
    struct st_sv part[ST_TOML_DEPTH_MAX];
    size_t n;
};

static int dotted(struct reader *r, struct path *p)
{
    p->n = 0;
    do {
        if (p->n == ST_TOML_DEPTH_MAX)
            return st_err_set(r->err, ST_E_LIMIT, "line %zu: more than %d parts in a key", r->line, ST_TOML_DEPTH_MAX);
        if (one_key(r, &p->part[p->n++]))
            return -1;
        blanks(r);
    } while (eat(r, '.'));
    return 0;
}

// The place for `path` in `table`: made, with type STRING until its value is known.
static struct st_toml *place(struct reader *r, struct st_toml *table, const struct path *p)
{
    for (size_t i = 0; i + 1 < p->n; i++) {
        struct st_toml *c = find(table, p->part[i]);
        if (c && (c->type != ST_TOML_TABLE || c->how != DOTTED))
            return FAIL(r, "a key that adds to what is defined elsewhere"), NULL;
        if (!c && !(c = add(r, table, p->part[i], ST_TOML_TABLE, DOTTED)))
            return NULL;
        table = c;
    }
    if (find(table, p->part[p->n - 1]))
        return FAIL(r, "a key for the second time"), NULL;
    return add(r, table, p->part[p->n - 1], ST_TOML_STRING, IMPLICIT);
}

// ---- numbers and dates ----------------------------------------------------------------------------------------------

// "00" digits at i of s as a number; -1.
static int two(struct st_sv s, size_t i)
{
    if (i + 2 > s.len || digit_of((unsigned char)s.ptr[i], 10) < 0 || digit_of((unsigned char)s.ptr[i + 1], 10) < 0)
        return -1;
    return (s.ptr[i] - '0') * 10 + (s.ptr[i + 1] - '0');
}

static bool is_at(struct st_sv s, size_t i, char c)
{
    return i < s.len && s.ptr[i] == c;
}

// YYYY-MM-DD at the beginning: true.
static bool date_ok(struct st_sv s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int hi = two(s, 0), lo = two(s, 2), m = two(s, 5), d = two(s, 8);
    if (hi < 0 || lo < 0 || m < 1 || m > 12 || d < 1 || !is_at(s, 4, '-') || !is_at(s, 7, '-'))
        return false;
    int y = hi * 100 + lo;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return d <= days[m - 1] + (m == 2 && leap);
}

// HH:MM:SS[.F...] at i: what stands behind it, or 0.
static size_t time_ok(struct st_sv s, size_t i)
{
    int h = two(s, i), m = two(s, i + 3), sec = two(s, i + 6);
    if (h < 0 || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 60 || !is_at(s, i + 2, ':') || !is_at(s, i + 5, ':'))
        return 0;
    i += 8;
    if (!is_at(s, i, '.'))
        return i;
    size_t begin = ++i;
    while (i < s.len && digit_of((unsigned char)s.ptr[i], 10) >= 0)
        i++;
    return i > begin ? i : 0;
}

// +HH:MM, Z.
static bool offset_ok(struct st_sv s, size_t i)
{
    if (is_at(s, i, 'Z') || is_at(s, i, 'z'))
        return i + 1 == s.len;
    int h = two(s, i + 1), m = two(s, i + 4);
    return (is_at(s, i, '+') || is_at(s, i, '-')) && is_at(s, i + 3, ':') && h >= 0 && h < 24 && m >= 0 && m < 60 &&
           i + 6 == s.len;
}

static bool date_time(struct st_sv s, enum st_toml_type *ret)
{
    size_t end;
    if (is_at(s, 2, ':')) {
        *ret = ST_TOML_TIME_LOCAL;
        return time_ok(s, 0) == s.len;
    }
    if (!date_ok(s))
        return false;
    *ret = ST_TOML_DATE_LOCAL;
    if (s.len == 10)
        return true;
    if ((s.ptr[10] != 'T' && s.ptr[10] != 't' && s.ptr[10] != ' ') || !(end = time_ok(s, 11)))
        return false;
    *ret = end == s.len ? ST_TOML_DATETIME_LOCAL : ST_TOML_DATETIME;
    return end == s.len || offset_ok(s, end);
}

// Digits with single underscores between them, copied without. Where they end, or 0.
static size_t digits(struct st_sv s, size_t i, unsigned base, char *out, size_t *inout_n)
{
    size_t begin = i;
    for (; i < s.len; i++) {
        bool digit = digit_of((unsigned char)s.ptr[i], base) >= 0;
        bool under = s.ptr[i] == '_' && i > begin && s.ptr[i - 1] != '_';
        if (!digit && !under)
            break;
        if (digit)
            out[(*inout_n)++] = s.ptr[i];
    }
    return i > begin && s.ptr[i - 1] != '_' ? i : 0;
}

static int integer_of(struct reader *r, struct st_sv text, unsigned base, bool negative, int64_t *ret)
{
    uint64_t v;
    if (!st_sv_u64(text, base, &v) || v > (uint64_t)INT64_MAX + negative)
        return FAIL(r, "an integer beyond 64 bits");
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

static int based(struct reader *r, struct st_sv s, struct st_toml *into, char *out)
{
    unsigned base = s.ptr[1] == 'x' ? 16 : s.ptr[1] == 'o' ? 8 : 2;
    size_t n = 0;
    if (digits(s, 2, base, out, &n) != s.len)
        return FAIL(r, "bad number");
    into->type = ST_TOML_INTEGER;
    return integer_of(r, st_sv_mem(out, n), base, false, &into->integer);
}

static int number(struct reader *r, struct st_sv s, struct st_toml *into)
{
    char *out = st_arena_bytes(r->arena, s.len + 1, r->err);
    size_t n = 0, i = s.ptr[0] == '+' || s.ptr[0] == '-', end;
    bool negative = s.ptr[0] == '-', is_float = false;
    if (!out)
        return -1;
    if (s.len > 2 && s.ptr[0] == '0' && (s.ptr[1] == 'x' || s.ptr[1] == 'o' || s.ptr[1] == 'b'))
        return based(r, s, into, out);
    if (i)
        out[n++] = s.ptr[0];
    struct st_sv word = st_sv_from(s, i);
    into->type = ST_TOML_FLOAT;
    into->text = s;
    if (st_sv_eq(word, ST_SV("inf")) || st_sv_eq(word, ST_SV("nan")))
        return 0;
    if (!(end = digits(s, i, 10, out, &n)) || (end - i > 1 && s.ptr[i] == '0'))
        return FAIL(r, "bad value");
    if (is_at(s, end, '.')) {
        out[n++] = '.';
        is_float = true;
        if (!(end = digits(s, end + 1, 10, out, &n)))
            return FAIL(r, "bad number");
    }
    if (is_at(s, end, 'e') || is_at(s, end, 'E')) {
        out[n++] = 'e';
        is_float = true;
        end++;
        if (is_at(s, end, '+') || is_at(s, end, '-'))
            out[n++] = s.ptr[end++];
        if (!(end = digits(s, end, 10, out, &n)))
            return FAIL(r, "bad number");
    }
    if (end != s.len)
        return FAIL(r, "bad value");
    into->text = st_sv_mem(out, n);
    if (is_float)
        return 0;
    into->type = ST_TOML_INTEGER;
    return integer_of(r, st_sv_from(into->text, i), 10, negative, &into->integer);
}

// ---- values ---------------------------------------------------------------------------------------------------------

static int word_value(struct reader *r, struct st_toml *into)
{
    size_t begin = r->at;
    while (bare(peek(r, 0)) || (peek(r, 0) > 0 && strchr("+.:", peek(r, 0))))
        r->at++;
    // A blank may stand between date and time.
    struct st_sv s = st_sv_sub(r->in, begin, r->at - begin);
    if (s.len == 10 && date_ok(s) && peek(r, 0) == ' ' && digit_of(peek(r, 1), 10) >= 0) {
        r->at++;
        while (bare(peek(r, 0)) || (peek(r, 0) > 0 && strchr("+.:", peek(r, 0))))
            r->at++;
        s = st_sv_sub(r->in, begin, r->at - begin);
    }
    if (s.len == 0)
        return FAIL(r, "no value");
    if (st_sv_eq(s, ST_SV("true")) || st_sv_eq(s, ST_SV("false"))) {
        into->type = ST_TOML_BOOL;
        into->integer = s.ptr[0] == 't';
        return 0;
    }
    if (date_time(s, &into->type)) {
        into->text = s;
        return 0;
    }
    return number(r, s, into);
}

static int scalar(struct reader *r, struct st_toml *into)
{
    if (peek(r, 0) != '"' && peek(r, 0) != '\'')
        return word_value(r, into);
    into->type = ST_TOML_STRING;
    return string(r, false, &into->text);
}

// Behind a comma or the opening bracket of `top`: the place of its next value in *ret, or NULL when it ends here.
static int next_place(struct reader *r, struct st_toml *top, bool first, struct st_toml **ret)
{
    struct path p;
    *ret = NULL;
    if (top->type == ST_TOML_ARRAY) {
        if (gap(r))
            return -1;
        if (eat(r, ']'))
            return 0;
        *ret = node(r, ST_TOML_STRING);
        if (*ret)
            append(top, *ret);
        return *ret ? 0 : -1;
    }
    blanks(r);
    if (first && eat(r, '}'))
        return 0;
    if (dotted(r, &p))
        return -1;
    if (!eat(r, '='))
        return FAIL(r, "no '=' behind a key");
    blanks(r);
    *ret = place(r, top, &p);
    return *ret ? 0 : -1;
}

// Behind a value in `top`: does another follow? 1, 0, -1.
static int more(struct reader *r, const struct st_toml *top)
{
    bool array = top->type == ST_TOML_ARRAY;
    if (array ? gap(r) : (blanks(r), 0))
        return -1;
    if (eat(r, ','))
        return 1;
    if (eat(r, array ? ']' : '}'))
        return 0;
    return FAIL(r, array ? "neither ',' nor ']' in an array" : "neither ',' nor '}' in an inline table");
}

// Tables that dotted keys made inside of an inline table are as closed as that is.
static void close_table(struct st_toml *t)
{
    t->how = CLOSED;
    for (struct st_toml *c = t->first; c;) { // down the dotted ones only; they are few and not nested in arrays
        if (c->type == ST_TOML_TABLE && c->how == DOTTED)
            c->how = CLOSED;
        c = c->next;
    }
}

static int value(struct reader *r, struct st_toml *into)
{
    struct st_toml *open[ST_TOML_DEPTH_MAX], *place_now = into;
    size_t depth = 0;
    for (;;) {
        bool array = peek(r, 0) == '[', table = peek(r, 0) == '{', first = true;
        if (array || table) {
            if (depth == ST_TOML_DEPTH_MAX)
                return st_err_set(r->err, ST_E_LIMIT, "line %zu: values nested deeper than %d", r->line,
                                  ST_TOML_DEPTH_MAX);
            r->at++;
            place_now->type = array ? ST_TOML_ARRAY : ST_TOML_TABLE;
            place_now->how = table ? DOTTED : IMPLICIT; // open to its own keys until it is complete
            open[depth++] = place_now;
        } else {
            if (scalar(r, place_now))
                return -1;
            first = false;
        }
        for (place_now = NULL; !place_now;) {
            if (depth == 0)
                return 0;
            int rc = first ? 1 : more(r, open[depth - 1]);
            if (rc < 0 || (rc > 0 && next_place(r, open[depth - 1], first, &place_now)))
                return -1;
            if (!place_now) {
                depth--;
                if (open[depth]->type == ST_TOML_TABLE)
                    close_table(open[depth]);
            }
            first = false;
        }
    }
}

// ---- lines ----------------------------------------------------------------------------------------------------------

// The table that a header's path leads to before its last part.
static struct st_toml *walk_header(struct reader *r, struct st_toml *table, const struct path *p)
{
    for (size_t i = 0; i + 1 < p->n; i++) {
        struct st_toml *c = find(table, p->part[i]);
        if (!c && !(c = add(r, table, p->part[i], ST_TOML_TABLE, IMPLICIT)))
            return NULL;
        if (c->type == ST_TOML_ARRAY && c->how == TABLES)
            c = c->last;
        if (c->type != ST_TOML_TABLE || c->how == CLOSED)
            return FAIL(r, "a table inside of something that is none, or is complete"), NULL;
        table = c;
    }
    return table;
}

static int header(struct reader *r, struct st_toml *root, struct st_toml **ret)
{
    struct path p;
    r->at++;
    bool tables = eat(r, '[');
    if (dotted(r, &p))
        return -1;
    if (!eat(r, ']') || (tables && !eat(r, ']')))
        return FAIL(r, "no ']' behind a table's name");
    struct st_toml *parent = walk_header(r, root, &p);
    if (!parent)
        return -1;
    struct st_sv last = p.part[p.n - 1];
    struct st_toml *c = find(parent, last);
    if (tables) {
        if (!c && !(c = add(r, parent, last, ST_TOML_ARRAY, TABLES)))
            return -1;
        if (c->type != ST_TOML_ARRAY || c->how != TABLES)
            return FAIL(r, "a name for the second time");
        *ret = add(r, c, ST_SV_NULL, ST_TOML_TABLE, DEFINED);
        return *ret ? line_end(r) : -1;
    }
    if (!c && !(c = add(r, parent, last, ST_TOML_TABLE, IMPLICIT)))
        return -1;
    if (c->type != ST_TOML_TABLE || c->how != IMPLICIT)
        return FAIL(r, "a table for the second time");
    c->how = DEFINED;
    *ret = c;
    return line_end(r);
}

static int key_value(struct reader *r, struct st_toml *table)
{
    struct path p;
    if (dotted(r, &p))
        return -1;
    if (!eat(r, '='))
        return FAIL(r, "no '=' behind a key");
    blanks(r);
    struct st_toml *into = place(r, table, &p);
    return !into || value(r, into) || line_end(r) ? -1 : 0;
}

int st_toml_parse(struct st_sv text, struct st_arena *a, const struct st_toml **ret, struct st_err *err)
{
    struct reader r = {.in = text, .line = 1, .arena = a, .err = err};
    if (text.len > ST_TOML_TEXT_MAX)
        return st_err_set(err, ST_E_LIMIT, "larger than 1 MiB");
    if (!st_sv_is_utf8(text))
        return st_err_set(err, ST_E_FORMAT, "not UTF-8");
    if (starts(&r, "\xef\xbb\xbf"))
        r.at = 3;
    struct st_toml *root = node(&r, ST_TOML_TABLE), *table = root;
    if (!root)
        return -1;
    root->how = DEFINED;
    while (r.at < text.len) {
        if (gap(&r))
            return -1;
        if (r.at == text.len)
            break;
        if (peek(&r, 0) == '[' ? header(&r, root, &table) : key_value(&r, table))
            return -1;
    }
    *ret = root;
    return 0;
}

const struct st_toml *st_toml_get(const struct st_toml *table, struct st_sv key, enum st_toml_type type)
{
    const struct st_toml *c = table && table->type == ST_TOML_TABLE ? find(table, key) : NULL;
    return c && c->type == type ? c : NULL;
}
