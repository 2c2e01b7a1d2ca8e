// Go modules out of the build information that the Go linker leaves in an executable (runtime/debug.BuildInfo; layout
// in the Go tree's src/debug/buildinfo and cmd/link): Go 1.13 to 1.17 hold pointers to two strings, 1.18 and newer the
// strings themselves. Every module, the main module and the standard library are packages.
//
// The main module has the version "(devel)" unless it was installed as a module. Then, in this order: a version that
// -ldflags set in a variable of the main module (name ending in "version", "ver" or "tag"), a pseudo-version from the
// revision and time of the checkout, none. A binary built outside of module mode (GOPATH) names only its package path,
// which stands for the main module; before Go 1.18 it names nothing and the standard library is all there is.
#include "catalog/exe.h"

#include "base/ckd.h"

#define GO_STRING_MAX (16u << 20) // bytes of module list
#define GO_MODULES_MAX 65536
#define GO_LDFLAGS_MAX (64u << 10)
#define GO_HEADER 32
#define GO_ALIGN 16
#define GO_SENTINEL 16 // bytes in front of and behind the module list

#define GO_MAGIC ST_SV("\xff Go buildinf:")
#define GO_DEVEL ST_SV("(devel)")

enum { GO_FLAG_BIG = 1, GO_FLAG_INLINE = 2 };

// ---- the two strings --------------------------------------------------------------------------------

// The aligned magic in a part of the image, as an address.
static enum st_view_result find_magic(const struct st_exe *x, const struct st_exe_part *part, uint64_t *ret_addr)
{
    struct st_exe_part window = *part;
    struct st_sv bytes;
    if (window.off > x->size)
        return ST_VIEW_OUTSIDE;
    window.size = ST_MIN(window.size, x->size - window.off);
    window.size = ST_MIN(window.size, (uint64_t)ST_EXE_SEARCH);
    enum st_view_result r = st_exe_bytes(x, &window, &bytes);
    if (r != ST_VIEW_OK)
        return r;
    for (size_t at = 0;;) {
        size_t i = st_sv_search(st_sv_from(bytes, at), GO_MAGIC);
        if (i == ST_SV_NPOS)
            return ST_VIEW_OUTSIDE;
        at += i;
        if ((part->addr + at) % GO_ALIGN == 0) {
            *ret_addr = part->addr + at;
            return ST_VIEW_OK;
        }
        at++;
    }
}

static enum st_view_result find_header(const struct st_exe *x, uint64_t *ret_addr, bool *ret_section)
{
    struct st_exe_part part;
    const char *section = x->format == ST_EXE_MACHO ? "__go_buildinfo" : ".go.buildinfo";
    enum st_view_result r = st_exe_section(x, NULL, section, &part);
    *ret_section = r == ST_VIEW_OK;
    if (r == ST_VIEW_OUTSIDE && !st_exe_has_sections(x))
        r = st_exe_data(x, &part);
    return r == ST_VIEW_OK ? find_magic(x, &part, ret_addr) : r;
}

// A varint and as many bytes (flag INLINE). *addr is moved behind it.
static enum st_view_result inline_string(const struct st_exe *x, uint64_t *addr, struct st_sv *ret)
{
    struct st_sv b;
    uint64_t n = 0, room = st_exe_mapped(x, *addr);
    enum st_view_result r = st_exe_at(x, *addr, ST_MIN(room, 10), &b);
    if (r != ST_VIEW_OK || room == 0)
        return r == ST_VIEW_MISSING ? r : ST_VIEW_OUTSIDE;
    for (size_t i = 0; i < b.len && i < 9; i++) {
        unsigned char c = (unsigned char)b.ptr[i];
        n |= (uint64_t)(c & 0x7f) << 7 * i;
        if (c & 0x80)
            continue;
        if (n > GO_STRING_MAX || n > room - i - 1)
            return ST_VIEW_OUTSIDE;
        *addr += i + 1;
        if (n == 0) {
            *ret = ST_SV("");
            return ST_VIEW_OK;
        }
        r = st_exe_at(x, *addr, n, ret);
        *addr += n;
        return r;
    }
    return ST_VIEW_OUTSIDE;
}

static uint64_t pointer(struct st_sv s, size_t off, unsigned width, bool big)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < width && off + i < s.len; i++)
        v |= (uint64_t)(unsigned char)s.ptr[off + i] << 8 * (big ? width - 1 - i : i);
    return v;
}

// A Go string header (pointer, length) at an address.
static enum st_view_result pointed_string(const struct st_exe *x, uint64_t addr, unsigned width, bool big,
                                          struct st_sv *ret)
{
    struct st_sv h;
    enum st_view_result r = st_exe_at(x, addr, 2 * width, &h);
    if (r != ST_VIEW_OK)
        return r;
    uint64_t n = pointer(h, width, width, big);
    if (n == 0) {
        *ret = ST_SV("");
        return ST_VIEW_OK;
    }
    return n > GO_STRING_MAX ? ST_VIEW_OUTSIDE : st_exe_at(x, pointer(h, 0, width, big), n, ret);
}

static enum st_view_result read_strings(const struct st_exe *x, uint64_t addr, struct st_sv *ret_version,
                                        struct st_sv *ret_modules)
{
    struct st_sv h;
    enum st_view_result r = st_exe_at(x, addr, GO_HEADER, &h);
    if (r != ST_VIEW_OK)
        return r;
    unsigned width = (unsigned char)h.ptr[14], flags = (unsigned char)h.ptr[15];
    bool big = flags & GO_FLAG_BIG;
    if (flags & GO_FLAG_INLINE) {
        addr += GO_HEADER;
        r = inline_string(x, &addr, ret_version);
        return r == ST_VIEW_OK ? inline_string(x, &addr, ret_modules) : r;
    }
    if (width != 4 && width != 8)
        return ST_VIEW_OUTSIDE;
    r = pointed_string(x, pointer(h, 16, width, big), width, big, ret_version);
    if (r != ST_VIEW_OK)
        return r;
    r = pointed_string(x, pointer(h, 16 + width, width, big), width, big, ret_modules);
    if (r == ST_VIEW_OUTSIDE) { // no module list
        *ret_modules = ST_SV("");
        r = ST_VIEW_OK;
    }
    return r;
}

// ---- the module list ----------------------------------------------------------------------------------

struct go_module {
    struct st_sv path, version, sum;
    bool replaced;
    struct st_sv by_path, by_version, by_sum;
};

// Build settings that become facts about the main module.
static const struct {
    struct st_sv setting;
    const char *meta;
} settings[] = {
    {ST_SV_INIT("GOARCH"), "architecture"},      {ST_SV_INIT("GOOS"), "goos"},
    {ST_SV_INIT("CGO_ENABLED"), "cgoEnabled"},   {ST_SV_INIT("-buildmode"), "buildMode"},
    {ST_SV_INIT("-tags"), "buildTags"},          {ST_SV_INIT("vcs"), "vcs"},
    {ST_SV_INIT("vcs.revision"), "vcsRevision"}, {ST_SV_INIT("vcs.time"), "vcsTime"},
    {ST_SV_INIT("vcs.modified"), "vcsModified"},
};
enum { SETTING_ARCH = 0, SETTING_REVISION = 6, SETTING_TIME = 7 };

struct go_build {
    struct st_parse *p;
    struct st_sv version, experiments; // "go1.22.1", "X:..."
    struct st_sv path;                 // of the main package
    struct go_module main;
    struct st_sv setting[ST_LEN(settings)], ldflags;
    struct go_module devel; // the last dependency of version (devel), and how many there are
    unsigned n_devel, n_modules;
    bool emitting; // second pass: dependencies are emitted
    bool main_is_devel;
    unsigned line, bad_line; // line of the list; first that could not be read, 0: none
};

static bool columns(struct st_sv line, struct st_sv *ret_path, struct st_sv *ret_version, struct st_sv *ret_sum)
{
    *ret_sum = ST_SV("");
    if (!st_sv_cut(line, '\t', ret_path, ret_version))
        return false;
    st_sv_cut(*ret_version, '\t', ret_version, ret_sum);
    return ret_path->len && st_sv_find(*ret_sum, '\t') == ST_SV_NPOS;
}

// A Go string literal when it starts like one (values with blanks or quotes are written so).
static int unquote(struct st_arena *a, struct st_sv *s, struct st_err *err)
{
    if (s->len < 2 || (s->ptr[0] != '"' && s->ptr[0] != '`') || s->ptr[s->len - 1] != s->ptr[0])
        return 0;
    struct st_sv in = st_sv_sub(*s, 1, s->len - 2);
    if (s->ptr[0] == '"' && st_sv_find(in, '\\') != ST_SV_NPOS) {
        char *out = st_arena_bytes(a, in.len, err);
        size_t n = 0;
        if (!out)
            return -1;
        for (size_t i = 0; i < in.len; i++) {
            bool escaped = in.ptr[i] == '\\' && i + 1 < in.len;
            char c = in.ptr[i += escaped];
            out[n++] = (char)(escaped && c == 'n' ? '\n' : escaped && c == 't' ? '\t' : c);
        }
        in = (struct st_sv){out, n};
    }
    *s = in;
    return 0;
}

static int read_setting(struct go_build *b, struct st_sv line, struct st_err *err)
{
    struct st_sv key, value;
    if (!st_sv_cut(line, '=', &key, &value) || b->emitting)
        return 0;
    if (st_sv_eq(key, ST_SV("-ldflags"))) {
        b->ldflags = value;
        return unquote(b->p->arena, &b->ldflags, err);
    }
    for (size_t i = 0; i < ST_LEN(settings); i++)
        if (st_sv_eq(key, settings[i].setting)) {
            b->setting[i] = value;
            return unquote(b->p->arena, &b->setting[i], err);
        }
    return 0;
}

static bool same_module(const struct go_module *a, const struct go_module *b)
{
    return st_sv_eq(a->path, b->path) && st_sv_eq(a->version, b->version) && st_sv_eq(a->sum, b->sum) &&
           a->replaced == b->replaced && st_sv_eq(a->by_path, b->by_path) && st_sv_eq(a->by_version, b->by_version);
}

// Module path to namespace and name: its last segment is the name (also a bare "v2").
static void split_path(struct st_sv path, struct st_package *pkg)
{
    size_t slash = st_sv_rfind(path, '/');
    pkg->name = path;
    if (slash != ST_SV_NPOS && slash > 0 && slash < path.len - 1) {
        pkg->ns = st_sv_sub(path, 0, slash);
        pkg->name = st_sv_from(path, slash + 1);
    }
}

static bool is_directory(struct st_sv path)
{
    return path.len && (path.ptr[0] == '.' || path.ptr[0] == '/' || st_sv_find(path, '\\') != ST_SV_NPOS ||
                        (path.len > 2 && path.ptr[1] == ':'));
}

static int emit_module(struct go_build *b, const struct go_module *m, bool is_main, struct st_err *err)
{
    struct st_package pkg = {.type = ST_PKG_GOLANG, .version = m->replaced ? m->by_version : m->version};
    // A replacement by a directory says nothing about its version, so the name stays.
    split_path(m->replaced && !is_directory(m->by_path) ? m->by_path : m->path, &pkg);
    if (st_sv_eq(pkg.version, GO_DEVEL))
        pkg.version = ST_SV("");
    struct st_kv_list meta = {.n = 0};
    st_kv_add(&meta, "goCompiledVersion", b->version);
    st_kv_add(&meta, "architecture", b->setting[SETTING_ARCH]);
    st_kv_add(&meta, "h1Digest", m->replaced ? m->by_sum : m->sum);
    st_kv_add(&meta, "mainModule", b->main.path);
    for (size_t i = 0; is_main && i < ST_LEN(settings); i++)
        if (i != SETTING_ARCH)
            st_kv_add(&meta, settings[i].meta, b->setting[i]);
    if (is_main)
        st_kv_add(&meta, "experiments", b->experiments);
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    return b->p->emit->package(b->p->emit->ctx, &pkg, err);
}

// A dependency is complete (its replacement, if any, was read).
static int end_module(struct go_build *b, struct go_module *m, bool is_dep, struct st_err *err)
{
    if (m->path.len == 0)
        return 0;
    if (!is_dep) {
        b->main = *m;
        return 0;
    }
    if (!b->emitting) {
        if (st_sv_eq(m->version, GO_DEVEL)) {
            b->devel = *m;
            b->n_devel++;
        }
        return 0;
    }
    if (same_module(m, &b->main) || (b->main_is_devel && same_module(m, &b->devel)))
        return 0;
    if (++b->n_modules > GO_MODULES_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %u modules in a Go executable", GO_MODULES_MAX);
    return emit_module(b, m, false, err);
}

static int read_line(struct go_build *b, struct st_sv line, struct go_module *m, bool *is_dep, struct st_err *err)
{
    struct st_sv kind, rest;
    st_sv_cut(line, '\t', &kind, &rest);
    bool dep = st_sv_eq(kind, ST_SV("dep")), mod = st_sv_eq(kind, ST_SV("mod")), good = true;
    if (dep || mod) {
        if (end_module(b, m, *is_dep, err))
            return -1;
        *m = (struct go_module){.replaced = false};
        *is_dep = dep;
        good = columns(rest, &m->path, &m->version, &m->sum);
        if (!good)
            m->path = ST_SV("");
    } else if (st_sv_eq(kind, ST_SV("=>"))) {
        m->replaced = columns(rest, &m->by_path, &m->by_version, &m->by_sum);
        good = m->replaced && m->path.len;
    } else if (st_sv_eq(kind, ST_SV("path"))) {
        b->path = rest;
    } else if (st_sv_eq(kind, ST_SV("build"))) {
        return read_setting(b, rest, err);
    }
    if (!good && !b->bad_line)
        b->bad_line = b->line;
    return 0;
}

static int read_list(struct go_build *b, struct st_sv list, struct st_err *err)
{
    struct st_sv line;
    struct go_module m = {.replaced = false};
    bool is_dep = false;
    for (b->line = 1; st_sv_split(&list, '\n', &line); b->line++)
        if (read_line(b, line, &m, &is_dep, err))
            return -1;
    return end_module(b, &m, is_dep, err);
}

// ---- version of the main module -----------------------------------------------------------------------

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool word_char(char c)
{
    return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

// The version that `s` starts with: "v1.2.3", "1.2.3-rc.1".
static struct st_sv leading_version(struct st_sv s)
{
    size_t i = s.len && s.ptr[0] == 'v';
    for (unsigned part = 0; part < 3; part++) {
        size_t from = i;
        while (i < s.len && digit(s.ptr[i]))
            i++;
        if (i == from)
            return ST_SV("");
        if (part < 2 && (i == s.len || s.ptr[i++] != '.'))
            return ST_SV("");
    }
    while (i < s.len && (word_char(s.ptr[i]) || (s.ptr[i] == '.' && i + 1 < s.len && word_char(s.ptr[i + 1]))))
        i++;
    return st_sv_sub(s, 0, i);
}

static bool ends_in(struct st_sv name, struct st_sv word)
{
    return name.len >= word.len && st_sv_ieq(st_sv_from(name, name.len - word.len), word);
}

// "-X importpath.name=value" of -ldflags, for variables of the main module.
static struct st_sv ldflags_version(const struct go_build *b, bool tags)
{
    struct st_sv rest = st_sv_sub(b->ldflags, 0, GO_LDFLAGS_MAX), word, key, value;
    while (st_sv_word(&rest, &word)) {
        while (word.len && (word.ptr[0] == '\'' || word.ptr[0] == '"'))
            word = st_sv_from(word, 1);
        if (st_sv_starts(word, ST_SV("-X=")))
            word = st_sv_from(word, 3);
        size_t dot;
        if (!st_sv_cut(word, '=', &key, &value) || (dot = st_sv_rfind(key, '.')) == ST_SV_NPOS)
            continue;
        struct st_sv package = st_sv_sub(key, 0, dot), name = st_sv_from(key, dot + 1), module = b->main.path;
        bool ours = st_sv_eq(package, ST_SV("main")) || st_sv_eq(package, module) ||
                    (module.len && st_sv_starts(package, module) && package.ptr[module.len] == '/');
        bool named =
            tags ? ends_in(name, ST_SV("tag")) : ends_in(name, ST_SV("version")) || ends_in(name, ST_SV("ver"));
        struct st_sv version = leading_version(st_sv_basename(value));
        if (ours && named && version.len)
            return version;
    }
    return ST_SV("");
}

// https://go.dev/ref/mod#pseudo-versions, without a known earlier version. "" when the checkout is not recorded.
static int pseudo_version(const struct go_build *b, struct st_sv *ret, struct st_err *err)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
    struct st_sv t = b->setting[SETTING_TIME], rev = st_sv_sub(b->setting[SETTING_REVISION], 0, 12);
    char stamp[14];
    size_t n = 0;
    *ret = ST_SV("");
    if (rev.len == 0 || t.len != sizeof shape - 1)
        return 0;
    for (size_t i = 0; i < t.len; i++) {
        if (shape[i] == 'd' ? !digit(t.ptr[i]) : t.ptr[i] != shape[i])
            return 0;
        if (shape[i] == 'd')
            stamp[n++] = t.ptr[i];
    }
    return st_arena_fmt(b->p->arena, ret, err, "v0.0.0-%.14s-" ST_SV_FMT, stamp, ST_SV_ARG(rev));
}

static int main_version(struct go_build *b, struct st_err *err)
{
    struct st_sv v = ldflags_version(b, false);
    if (v.len == 0)
        v = ldflags_version(b, true);
    if (v.len == 0)
        return pseudo_version(b, &b->main.version, err);
    return st_arena_fmt(b->p->arena, &b->main.version, err, "%s" ST_SV_FMT, v.ptr[0] == 'v' ? "" : "v", ST_SV_ARG(v));
}

// A build of a package path or of files says "mod" of nothing: the module may be among the dependencies.
static void find_main(struct go_build *b)
{
    struct st_sv files = ST_SV("command-line-arguments");
    if (b->main.path.len && !(st_sv_eq(b->main.path, files) && b->main.version.len == 0))
        return;
    b->main = (struct go_module){.path = st_sv_eq(b->path, files) ? ST_SV("") : b->path, .version = GO_DEVEL};
    if (b->n_devel == 1 && b->path.len) {
        b->main = b->devel;
        b->main_is_devel = true;
    }
}

// ---- records ------------------------------------------------------------------------------------------

static int emit_stdlib(struct go_build *b, struct st_err *err)
{
    static const struct st_sv license = ST_SV_INIT("BSD-3-Clause");
    struct st_sv v = b->version;
    if (!st_sv_starts(v, ST_SV("go")) || v.len < 3 || !digit(v.ptr[2]))
        return 0; // a development version of Go
    struct st_kv_list meta = {.n = 0};
    st_kv_add(&meta, "goCompiledVersion", v);
    st_kv_add(&meta, "architecture", b->setting[SETTING_ARCH]);
    struct st_package pkg = {.type = ST_PKG_GOLANG,
                             .name = ST_SV("stdlib"),
                             .version = st_sv_from(v, 2),
                             .licenses = {&license, 1},
                             .meta = {meta.at, meta.n}};
    return b->p->emit->package(b->p->emit->ctx, &pkg, err);
}

static int emit_build(struct go_build *b, struct st_sv modules, struct st_err *err)
{
    if (modules.len >= 2 * GO_SENTINEL + 1 && modules.ptr[modules.len - GO_SENTINEL - 1] == '\n')
        modules = st_sv_sub(modules, GO_SENTINEL, modules.len - 2 * GO_SENTINEL);
    else
        modules = ST_SV("");
    st_sv_cut(b->version, ' ', &b->version, &b->experiments);
    if (!st_sv_starts(b->experiments, ST_SV("X:")))
        b->experiments = ST_SV("");
    struct st_sv arch = b->setting[SETTING_ARCH];
    if (read_list(b, modules, err))
        return -1;
    if (b->setting[SETTING_ARCH].len == 0)
        b->setting[SETTING_ARCH] = arch;
    find_main(b);
    if (st_sv_eq(b->main.version, GO_DEVEL) && main_version(b, err))
        return -1;
    if (b->main.path.len && emit_module(b, &b->main, true, err))
        return -1;
    b->emitting = true;
    if (read_list(b, modules, err) || emit_stdlib(b, err))
        return -1;
    if (b->bad_line) {
        struct st_sv text;
        if (st_arena_fmt(b->p->arena, &text, err, "line %u of the Go build information", b->bad_line) ||
            b->p->emit->unknown(b->p->emit->ctx, ST_UNKNOWN_FORMAT, ST_SV(""), text, err))
            return -1;
    }
    return 0;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    unsigned n = 0;
    enum st_view_result r = st_exe_count(v, &n);
    for (unsigned i = 0; i < n && r == ST_VIEW_OK; i++) {
        struct st_exe x;
        struct st_sv version, modules;
        uint64_t addr;
        bool section;
        r = st_exe_open(&x, v, i);
        if (r == ST_VIEW_OK)
            r = find_header(&x, &addr, &section);
        if (r == ST_VIEW_OUTSIDE) { // this slice is not from Go, another may be
            r = ST_VIEW_OK;
            continue;
        }
        if (r == ST_VIEW_OK)
            r = read_strings(&x, addr, &version, &modules);
        if (r == ST_VIEW_OUTSIDE || (r == ST_VIEW_OK && version.len == 0))
            return section ? st_err_set(err, ST_E_FORMAT, "Go build information is damaged") : 0;
        if (r == ST_VIEW_OK) {
            struct go_build b = {.p = p, .version = version};
            b.setting[SETTING_ARCH] = st_exe_arch(&x);
            return emit_build(&b, modules, err);
        }
    }
    return r == ST_VIEW_MISSING ? ST_PARSE_AGAIN : 0;
}

const struct st_cataloger st_cat_go = {
    .name = "go-module-binary-cataloger",
    .version = 1,
    .magic = st_exe_magic,
    .need = ST_NEED_SPARSE,
    .max_size = ST_EXE_FILE_MAX,
    .plan = st_exe_plan,
    .parse = parse,
};
