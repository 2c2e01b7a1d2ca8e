// Ruby gems as installed: RubyGems writes specifications/NAME-VERSION[-PLATFORM].gemspec, Ruby text with one
// assignment a line, and since 2.0 a "# stub:" comment that RubyGems itself reads instead of running the text.
// Nothing is evaluated here: only literals count.
#include "catalog/lang_int.h"

#include "base/ckd.h"

// Old RubyGems listed every file of the gem in it; a few hundred KB at most.
#define RUBY_MAX_SIZE (4 * ST_MIB)
#define RUBY_STUB_LINES 5 // the stub comment stands among the first lines

struct gem {
    struct st_sv name, version, platform, homepage;
    struct st_lang_list licenses, authors;
};

static struct st_sv skip_blank(struct st_sv s)
{
    size_t i = 0;
    while (i < s.len && (s.ptr[i] == ' ' || s.ptr[i] == '\t' || s.ptr[i] == '\n' || s.ptr[i] == '\r'))
        i++;
    return st_sv_from(s, i);
}

// \uXXXX, \u{X...} and \xXX as String#dump writes them; s begins behind the letter. Bytes used, 0: none of them.
static size_t read_code(struct st_sv s, char letter, char *out, size_t *n)
{
    uint64_t c;
    if (letter == 'x' && st_sv_u64(st_sv_sub(s, 0, 2), 16, &c)) {
        out[(*n)++] = (char)c; // raw bytes, mostly the parts of one UTF-8 character
        return s.len < 2 ? s.len : 2;
    }
    if (letter != 'u')
        return 0;
    size_t from = s.len && s.ptr[0] == '{', len = from ? st_sv_find(s, '}') : 5;
    if (len < from + 1 || len > 8 || !st_sv_u64(st_sv_sub(s, from, from ? len - 1 : 4), 16, &c) || c > 0x10FFFF)
        return 0;
    *n += st_utf8_put(out + *n, c);
    return ST_MIN(from ? len + 1 : 4, s.len);
}

// Interpolation is refused: its value is not known.
static int unescape(struct st_sv raw, struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    *ret = raw;
    if (st_sv_find(raw, '\\') == ST_SV_NPOS && st_sv_find(raw, '#') == ST_SV_NPOS)
        return 0;
    char *out = st_arena_bytes(a, raw.len + 4, err); // an escape is never shorter than what it stands for
    if (!out)
        return -1;
    size_t n = 0;
    for (size_t i = 0; i < raw.len;) {
        char c = raw.ptr[i++];
        if (c == '#' && i < raw.len && raw.ptr[i] == '{') {
            *ret = ST_SV_NULL;
            return 0;
        }
        if (c != '\\' || i == raw.len) {
            out[n++] = c;
            continue;
        }
        c = raw.ptr[i++];
        size_t used = read_code(st_sv_from(raw, i), c, out, &n);
        if (used)
            i += used;
        else
            out[n++] = c == 'n' ? '\n' : c == 't' ? '\t' : c;
    }
    *ret = (struct st_sv){out, n};
    return 0;
}

// "...", '...', %q{...}: the text between the quotes; *rest moves behind it. 0 with ret->ptr NULL: no literal.
static int read_literal(struct st_sv *rest, struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    static const char open[] = "{<([", close[] = "}>)]";
    struct st_sv s = *rest;
    bool percent = st_sv_starts(s, ST_SV("%q")) || st_sv_starts(s, ST_SV("%Q"));
    size_t from = percent ? 3 : 1;
    *ret = ST_SV_NULL;
    if (s.len <= from || !(percent || s.ptr[0] == '"' || s.ptr[0] == '\''))
        return 0;
    char quote = s.ptr[from - 1];
    const char *pair = percent && quote ? strchr(open, quote) : NULL;
    char end = pair ? close[pair - open] : quote;
    size_t i = from, nested = 0; // %q{a {b} c} is one literal
    for (; i < s.len && (s.ptr[i] != end || nested); i++) {
        if (s.ptr[i] == '\\')
            i++;
        else if (pair && s.ptr[i] == quote)
            nested++;
        else if (s.ptr[i] == end)
            nested--;
    }
    if (i >= s.len)
        return 0;
    *rest = st_sv_from(s, i + 1);
    *ret = st_sv_sub(s, from, i - from);
    return quote == '"' || percent ? unescape(*ret, a, ret, err) : 0;
}

static int read_text(struct st_sv value, struct st_arena *a, void *to, struct st_err *err)
{
    static const struct st_sv calls[] = {ST_SV_INIT("Gem::Version.new("), ST_SV_INIT("Gem::Version.create(")};
    for (size_t i = 0; i < ST_LEN(calls); i++)
        if (st_sv_starts(value, calls[i]))
            value = st_sv_from(value, calls[i].len);
    struct st_sv text;
    if (read_literal(&value, a, &text, err))
        return -1;
    if (((struct st_sv *)to)->len == 0)
        *(struct st_sv *)to = text;
    return 0;
}

static int read_list(struct st_sv value, struct st_arena *a, void *to, struct st_err *err)
{
    struct st_lang_list *list = to;
    struct st_sv text;
    bool array = value.len && value.ptr[0] == '[';
    if (array)
        value = st_sv_from(value, 1);
    for (size_t i = 0; i < ST_LANG_LIST_MAX; i++) {
        value = skip_blank(value);
        if (read_literal(&value, a, &text, err))
            return -1;
        st_lang_list_add(list, text);
        if (st_sv_starts(value, ST_SV(".freeze")))
            value = st_sv_from(value, 7);
        value = skip_blank(value);
        if (!array || !st_sv_starts(value, ST_SV(",")))
            return 0;
        value = st_sv_from(value, 1);
    }
    return 0;
}

#define ATTRIBUTE(text, read, member)                        \
    {                                                        \
        ST_SV_INIT(text), read, offsetof(struct gem, member) \
    }
static const struct {
    struct st_sv name;
    int (*read)(struct st_sv value, struct st_arena *a, void *to, struct st_err *err);
    size_t off;
} attributes[] = {
    ATTRIBUTE("name", read_text, name),         ATTRIBUTE("version", read_text, version),
    ATTRIBUTE("platform", read_text, platform), ATTRIBUTE("homepage", read_text, homepage),
    ATTRIBUTE("license", read_list, licenses),  ATTRIBUTE("licenses", read_list, licenses),
    ATTRIBUTE("author", read_list, authors),    ATTRIBUTE("authors", read_list, authors),
};

// "s.name = ..." in any indentation; `rest` goes from the line's start to the end of the file, since an array may go
// on in the next lines.
static int read_assignment(struct st_sv line, struct st_sv rest, struct gem *g, struct st_arena *a, struct st_err *err)
{
    struct st_sv left, right, variable, attribute;
    if (!st_sv_cut(line, '=', &left, &right) || st_sv_starts(right, ST_SV("=")) ||
        !st_sv_cut(st_sv_trim(left), '.', &variable, &attribute))
        return 0;
    for (size_t i = 0; i < ST_LEN(attributes); i++)
        if (st_sv_eq(attribute, attributes[i].name)) {
            struct st_sv value = skip_blank(st_sv_from(rest, left.len + 1));
            return attributes[i].read(value, a, (char *)g + attributes[i].off, err);
        }
    return 0;
}

// "# stub: NAME VERSION PLATFORM PATHS" (Gem::StubSpecification::StubLine)
static void read_stub(struct st_sv line, struct gem *g)
{
    struct st_sv name, version, platform;
    line = st_sv_from(line, sizeof "# stub: " - 1);
    if (!st_sv_word(&line, &name) || !st_sv_word(&line, &version) || !st_sv_word(&line, &platform))
        return;
    g->name = name;
    g->version = version;
    g->platform = platform;
}

// A gemspec that was not written by RubyGems (Ruby's own, before 2.7) may compute its version; the file's name has it.
static struct st_sv version_of_file(struct st_sv path, const struct gem *g)
{
    struct st_sv s = st_sv_basename(path);
    s = st_sv_sub(s, 0, s.len - (sizeof ".gemspec" - 1));
    if (!st_sv_starts(s, g->name) || s.len < g->name.len + 2 || s.ptr[g->name.len] != '-')
        return ST_SV_NULL;
    s = st_sv_from(s, g->name.len + 1);
    size_t dash = st_sv_find(s, '-');
    return s.ptr && s.ptr[0] >= '0' && s.ptr[0] <= '9' ? st_sv_sub(s, 0, dash) : ST_SV_NULL;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct gem g = {0};
    struct st_sv rest = st_view_all(v), here = rest, line, authors;
    for (size_t i = 0; st_sv_line(&rest, &line); i++, here = rest) {
        if (i < RUBY_STUB_LINES && !g.name.len && st_sv_starts(line, ST_SV("# stub: ")))
            read_stub(line, &g);
        else if (read_assignment(line, here, &g, p->arena, err))
            return -1;
    }
    if (g.name.len && !g.version.len)
        g.version = version_of_file(p->path, &g);
    struct st_package pkg = {.type = ST_PKG_GEM, .name = g.name, .version = g.version};
    struct st_kv_list meta = {0}, quals = {0};
    if (st_lang_id(&pkg.name, &pkg.version, err) || st_lang_list_join(&g.authors, p->arena, &authors, err))
        return -1;
    if (!st_sv_eq(g.platform, ST_SV("ruby")))
        st_kv_add(&quals, "platform", st_lang_text(g.platform));
    st_kv_add(&meta, "homepage", st_lang_text(g.homepage));
    st_kv_add(&meta, "authors", authors);
    pkg.licenses = (struct st_svs){g.licenses.at, g.licenses.n};
    pkg.quals = (struct st_kvs){quals.at, quals.n};
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    return p->emit->package(p->emit->ctx, &pkg, err);
}

const struct st_cataloger st_cat_ruby = {
    .name = "ruby-installed-gemspec-cataloger",
    .version = 1,
    .globs =
        (const char *const[]){
            "**/specifications/*.gemspec",
            "**/specifications/default/*.gemspec", // gems that come with Ruby
            NULL,
        },
    .need = ST_NEED_CONTENT,
    .max_size = RUBY_MAX_SIZE,
    .parse = parse,
};
