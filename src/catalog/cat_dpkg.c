// Debian's package database and its relatives: dpkg's status file, the one-file-a-package form of distroless images
// (status.d), opkg's, the lists of installed files and the copyright files. Formats: Debian Policy 5.1 (control files),
// deb-control(5), dpkg-query(1), the machine-readable copyright format 1.0 (DEP-5).
//
// Which packages count: those whose files are in place, that is every state but not-installed, config-files and
// half-installed. So a package that is unpacked and not yet configured counts, also one that is marked for removal
// but still there; one that was removed and left its configuration does not. A stanza without a state
// (status.d) counts.
#include "base/ckd.h"
#include "base/map.h"
#include "catalog/catalog_int.h"

#define STANZA_MAX (8u << 20) // longer: an unknown
#define LICENSES_MAX 1024     // distinct ones in a copyright file
#define LICENSE_LEN_MAX 512   // longer short names are prose
#define COMPLAINTS_MAX 50     // unknowns told of one status file

// ---- control files ------------------------------------------------------------------------------------

enum field {
    F_PACKAGE,
    F_STATUS,
    F_VERSION,
    F_ARCHITECTURE,
    F_SOURCE,
    F_MAINTAINER,
    F_INSTALLED_SIZE,
    F_LICENSE,
    F_DEPENDS, // from here on values of many lines
    F_PRE_DEPENDS,
    F_PROVIDES,
    FIELDS
};

static const struct st_sv field_names[FIELDS] = {
    [F_PACKAGE] = ST_SV_INIT("Package"),
    [F_STATUS] = ST_SV_INIT("Status"),
    [F_VERSION] = ST_SV_INIT("Version"),
    [F_ARCHITECTURE] = ST_SV_INIT("Architecture"),
    [F_SOURCE] = ST_SV_INIT("Source"),
    [F_MAINTAINER] = ST_SV_INIT("Maintainer"),
    [F_INSTALLED_SIZE] = ST_SV_INIT("Installed-Size"),
    [F_DEPENDS] = ST_SV_INIT("Depends"),
    [F_PRE_DEPENDS] = ST_SV_INIT("Pre-Depends"),
    [F_PROVIDES] = ST_SV_INIT("Provides"),
    [F_LICENSE] = ST_SV_INIT("License"), // opkg
};

struct stanza {
    struct st_sv at[FIELDS]; // values, continuation lines included
    size_t start, len;       // in the file
    size_t lines;            // with or without meaning
    size_t bad_line;         // offset of the first line that is neither field nor continuation
    bool bad;
};

static enum field find_field(struct st_sv name)
{
    for (unsigned i = 0; i < FIELDS; i++)
        if (st_sv_ieq(name, field_names[i]))
            return (enum field)i;
    return FIELDS;
}

// The next stanza of *rest; false at the end. `all` is the whole file.
static bool next_stanza(struct st_sv all, struct st_sv *rest, struct stanza *s)
{
    *s = (struct stanza){.start = SIZE_MAX};
    struct st_sv line;
    struct st_sv *last = NULL; // where a continuation line belongs
    struct st_sv unused;
    while (st_sv_line(rest, &line)) {
        if (line.len == 0) {
            if (s->lines)
                break;
            continue;
        }
        size_t off = (size_t)(line.ptr - all.ptr);
        if (s->lines++ == 0)
            s->start = off;
        s->len = off + line.len - s->start;
        struct st_sv name, value;
        if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
            if (last && last != &unused)
                last->len = (size_t)(line.ptr + line.len - last->ptr);
        } else if (st_sv_cut(line, ':', &name, &value) && name.len) {
            enum field f = find_field(st_sv_trim(name));
            last = f < FIELDS && !s->at[f].ptr ? &s->at[f] : &unused;
            *last = value;
        } else if (!s->bad) {
            s->bad = true;
            s->bad_line = off;
        }
    }
    for (unsigned i = 0; i < FIELDS; i++)
        s->at[i] = st_sv_trim(s->at[i]);
    for (unsigned i = 0; i < F_DEPENDS; i++) { // of one line
        struct st_sv value = s->at[i];
        st_sv_line(&value, &s->at[i]);
    }
    return s->lines > 0;
}

// "want flag state": the state is the last word.
static bool is_present(struct st_sv status)
{
    static const struct st_sv absent[] = {ST_SV_INIT("not-installed"), ST_SV_INIT("config-files"),
                                          ST_SV_INIT("half-installed")};
    struct st_sv word, state = ST_SV_NULL;
    while (st_sv_word(&status, &word))
        state = word;
    for (size_t i = 0; i < ST_LEN(absent); i++)
        if (st_sv_ieq(state, absent[i]))
            return false;
    return true;
}

static bool ends_name(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '(' || c == '[' || c == '<' || c == ':';
}

// "python3:any (>= 3.2) [amd64]" -> "python3"
static struct st_sv relation_name(struct st_sv relation)
{
    relation = st_sv_trim(relation);
    size_t n = 0;
    while (n < relation.len && !ends_name(relation.ptr[n]))
        n++;
    return st_sv_sub(relation, 0, n);
}

// "a (>= 1) | b" -> "a|b"; a view of the field when there is one alternative.
static int join_alternatives(struct st_arena *arena, struct st_sv group, struct st_sv *ret, struct st_err *err)
{
    struct st_sv one;
    if (st_sv_find(group, '|') == ST_SV_NPOS) {
        *ret = relation_name(group);
        return 0;
    }
    char *buf = st_arena_bytes(arena, group.len + 1, err);
    if (!buf)
        return -1;
    size_t n = 0;
    while (st_sv_split(&group, '|', &one)) {
        struct st_sv name = relation_name(one);
        if (name.len == 0)
            continue;
        if (n)
            buf[n++] = '|';
        memcpy(buf + n, name.ptr, name.len);
        n += name.len;
    }
    *ret = (struct st_sv){buf, n};
    return 0;
}

static int add_relations(struct st_list *list, struct st_sv value, struct st_err *err)
{
    struct st_sv group, names;
    while (!list->full && st_sv_split(&value, ',', &group)) {
        if (join_alternatives(list->arena, group, &names, err))
            return -1;
        if (names.len && st_list_add(list, names, err))
            return -1;
    }
    return 0;
}

// "name (version)"; opkg also writes the path of a recipe here, which names no source package.
static void split_source(struct st_sv source, struct st_package *pkg)
{
    struct st_sv name, version;
    if (!st_sv_cut(source, '(', &name, &version)) {
        name = source;
        version = ST_SV_NULL;
    }
    name = st_sv_trim(name);
    size_t close = st_sv_find(version, ')');
    if (st_sv_find(name, '/') != ST_SV_NPOS)
        return;
    pkg->source_name = name;
    pkg->source_version = close == ST_SV_NPOS ? ST_SV_NULL : st_sv_trim(st_sv_sub(version, 0, close));
}

struct status_file {
    struct st_parse *p;
    enum st_pkg_type type;
    struct st_list depends, provides; // reused from stanza to stanza
    unsigned complaints;
};

// A damaged stanza is named, but a file full of them only so many times.
static int complain(struct status_file *f, enum st_unknown_reason reason, struct st_sv inner, const char *what,
                    size_t off, struct st_err *err)
{
    if (f->complaints++ >= COMPLAINTS_MAX)
        return 0;
    return st_emit_unknown(f->p, reason, inner, err, "%s at byte %zu", what, off);
}

static int emit_stanza(struct status_file *f, const struct stanza *s, struct st_err *err)
{
    const struct st_emit *e = f->p->emit;
    struct st_package pkg = {
        .type = f->type, .name = s->at[F_PACKAGE], .version = s->at[F_VERSION], .arch = s->at[F_ARCHITECTURE]};
    split_source(s->at[F_SOURCE], &pkg);
    struct st_kv_list meta = {.n = 0};
    st_kv_add(&meta, "maintainer", s->at[F_MAINTAINER]);
    st_kv_add(&meta, "installedSize", s->at[F_INSTALLED_SIZE]);
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    pkg.licenses = (struct st_svs){&s->at[F_LICENSE], s->at[F_LICENSE].len > 0};
    f->depends.n = f->provides.n = 0;
    f->depends.full = f->provides.full = false;
    if (add_relations(&f->depends, s->at[F_PRE_DEPENDS], err) || add_relations(&f->depends, s->at[F_DEPENDS], err) ||
        add_relations(&f->provides, s->at[F_PROVIDES], err))
        return -1;
    pkg.depends = st_list_views(&f->depends);
    pkg.provides = st_list_views(&f->provides);
    if (e->package(e->ctx, &pkg, err))
        return -1;
    if (f->depends.full || f->provides.full)
        return st_emit_unknown(f->p, ST_UNKNOWN_LIMIT, pkg.name, err, "more than %d relations", ST_LIST_MAX);
    return 0;
}

static int take_stanza(struct status_file *f, const struct stanza *s, struct st_err *err)
{
    if (s->bad && complain(f, ST_UNKNOWN_FORMAT, ST_SV_NULL, "line without a field name", s->bad_line, err))
        return -1;
    if (s->len > STANZA_MAX)
        return complain(f, ST_UNKNOWN_LIMIT, ST_SV_NULL, "too long a stanza", s->start, err);
    if (!is_present(s->at[F_STATUS]))
        return 0;
    if (s->at[F_PACKAGE].len == 0)
        return complain(f, ST_UNKNOWN_FORMAT, ST_SV_NULL, "stanza without Package", s->start, err);
    if (s->at[F_VERSION].len == 0)
        return complain(f, ST_UNKNOWN_FORMAT, s->at[F_PACKAGE], "stanza without Version", s->start, err);
    return emit_stanza(f, s, err);
}

// Whether anything in it is a package; garbage is one unknown, not one a line.
static bool has_package(struct st_sv text)
{
    struct st_sv rest = text;
    struct stanza s;
    while (next_stanza(text, &rest, &s))
        if (s.at[F_PACKAGE].len)
            return true;
    return false;
}

static int parse_status(struct st_parse *p, enum st_pkg_type type, struct st_sv text, struct st_err *err)
{
    struct status_file f = {.p = p, .type = type, .depends.arena = p->arena, .provides.arena = p->arena};
    struct st_sv rest = text;
    struct stanza s;
    if (st_sv_trim(text).len && !has_package(text))
        return st_err_set(err, ST_E_FORMAT, "not a package database: it has no Package field");
    while (next_stanza(text, &rest, &s))
        if (take_stanza(&f, &s, err))
            return -1;
    return 0;
}

// opkg keeps the licence in info/NAME.control only.
static int parse_control(struct st_parse *p, enum st_pkg_type type, struct st_sv text, struct st_err *err)
{
    struct st_sv rest = text;
    struct stanza s;
    if (!next_stanza(text, &rest, &s) || s.at[F_PACKAGE].len == 0 || s.at[F_LICENSE].len == 0)
        return 0;
    struct st_note note = {.type = type, .name = s.at[F_PACKAGE], .key = ST_SV("license"), .value = s.at[F_LICENSE]};
    return p->emit->note(p->emit->ctx, &note, err);
}

// ---- installed files ----------------------------------------------------------------------------------

// "libc6:amd64.list" -> "libc6"
static struct st_sv owner_of(struct st_sv path, struct st_sv suffix)
{
    struct st_sv name = st_sv_basename(path), arch;
    name.len -= suffix.len;
    st_sv_cut(name, ':', &name, &arch);
    return name;
}

// A list is in the order of the archive, so a directory's line is followed by one below it; such a line is left out.
// (An empty directory stays, which does no harm: nobody asks for its owner.)
static bool is_parent(struct st_sv dir, struct st_sv next)
{
    return next.len > dir.len && next.ptr[dir.len] == '/' && st_sv_starts(next, dir);
}

static int parse_list(struct st_parse *p, enum st_pkg_type type, struct st_sv text, struct st_err *err)
{
    struct st_owner owner;
    if (st_owner_init(&owner, p, type, st_root_of(st_sv_dirname(p->path), 3), err))
        return -1;
    owner.name = owner_of(p->path, ST_SV(".list"));
    struct st_sv line, mode, next;
    bool more = st_sv_line(&text, &line);
    while (more) {
        st_sv_cut(line, '\t', &line, &mode); // opkg appends the mode
        more = st_sv_line(&text, &next);
        if (!(more && is_parent(line, next)) && st_owner_path(&owner, line, err))
            return -1;
        line = next;
    }
    return 0;
}

// "<32 hex digits>  usr/share/doc/x": what distroless images have in place of a list.
static int parse_md5sums(struct st_parse *p, enum st_pkg_type type, struct st_sv text, struct st_err *err)
{
    struct st_owner owner;
    if (st_owner_init(&owner, p, type, st_root_of(st_sv_dirname(p->path), 3), err))
        return -1;
    owner.name = owner_of(p->path, ST_SV(".md5sums"));
    struct st_sv line, sum, path;
    while (st_sv_line(&text, &line))
        if (st_sv_cut(line, ' ', &sum, &path) && sum.len == 32 && st_owner_path(&owner, st_sv_trim(path), err))
            return -1;
    return 0;
}

// ---- copyright files ----------------------------------------------------------------------------------

struct licenses {
    struct st_parse *p;
    struct st_sv package;
    struct st_map seen;
    bool full;
};

static int note_license(struct licenses *l, struct st_sv name, struct st_err *err)
{
    bool fresh;
    if (name.len == 0 || name.len > LICENSE_LEN_MAX || st_sv_ieq(name, ST_SV("none")))
        return 0;
    if (l->seen.count >= LICENSES_MAX) {
        l->full = true;
        return 0;
    }
    if (!st_map_put(&l->seen, st_hash(name), &fresh, err))
        return -1;
    if (!fresh)
        return 0;
    struct st_note note = {.type = ST_PKG_DEB, .name = l->package, .key = ST_SV("license"), .value = name};
    return l->p->emit->note(l->p->emit->ctx, &note, err);
}

static bool field_value(struct st_sv line, struct st_sv name, struct st_sv *ret)
{
    if (line.len <= name.len || line.ptr[name.len] != ':' || !st_sv_ieq(st_sv_sub(line, 0, name.len), name))
        return false;
    *ret = st_sv_trim(st_sv_from(line, name.len + 1));
    return true;
}

// The header stanza names the format; the drafts before version 1.0 called the field Format-Specification.
static bool is_dep5(struct st_sv text)
{
    struct st_sv line, value;
    bool started = false;
    while (st_sv_line(&text, &line)) {
        if (st_sv_trim(line).len == 0) {
            if (started)
                return false;
            continue;
        }
        started = true;
        if (field_value(line, ST_SV("Format"), &value) || field_value(line, ST_SV("Format-Specification"), &value))
            return true;
    }
    return false;
}

// The first line of each License field is the short name or expression, the rest is its text.
static int dep5_licenses(struct licenses *l, struct st_sv text, struct st_err *err)
{
    struct st_sv line, value;
    while (st_sv_line(&text, &line))
        if (field_value(line, ST_SV("License"), &value) && note_license(l, value, err))
            return -1;
    return 0;
}

static bool in_license_name(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '-' ||
           c == '_' || c == '+';
}

// Prose that points at /usr/share/common-licenses/NAME.
static int prose_licenses(struct licenses *l, struct st_sv text, struct st_err *err)
{
    const struct st_sv where = ST_SV("/usr/share/common-licenses/");
    size_t at;
    while ((at = st_sv_search(text, where)) != ST_SV_NPOS) {
        text = st_sv_from(text, at + where.len);
        size_t n = 0;
        while (n < text.len && in_license_name(text.ptr[n]))
            n++;
        struct st_sv name = st_sv_sub(text, 0, n);
        while (name.len && name.ptr[name.len - 1] == '.') // the end of a sentence
            name.len--;
        if (note_license(l, name, err))
            return -1;
    }
    return 0;
}

static int parse_copyright(struct st_parse *p, enum st_pkg_type type, struct st_sv text, struct st_err *err)
{
    struct licenses l = {.p = p, .package = st_sv_basename(st_path_up(p->path, 1))};
    st_map_init(&l.seen, p->mem);
    int rc = is_dep5(text) ? dep5_licenses(&l, text, err) : prose_licenses(&l, text, err);
    st_map_release(&l.seen);
    if (rc == 0 && l.full)
        rc = st_emit_unknown(p, ST_UNKNOWN_LIMIT, ST_SV_NULL, err, "more than %d licences", LICENSES_MAX);
    return rc;
}

// ---- the row ------------------------------------------------------------------------------------------

// clang-format off
#define KINDS(X)                                                                                              \
    X("**/lib/dpkg/status", ST_PKG_DEB, parse_status)                                                         \
    X("**/lib/dpkg/status.d/*.md5sums", ST_PKG_DEB, parse_md5sums) /* before the next, which matches it too */ \
    X("**/lib/dpkg/status.d/*", ST_PKG_DEB, parse_status)                                                     \
    X("**/lib/dpkg/info/*.list", ST_PKG_DEB, parse_list)                                                      \
    X("usr/share/doc/*/copyright", ST_PKG_DEB, parse_copyright)                                               \
    X("**/lib/opkg/status", ST_PKG_OPKG, parse_status)                                                        \
    X("**/lib/opkg/info/*.control", ST_PKG_OPKG, parse_control)                                               \
    X("**/lib/opkg/info/*.list", ST_PKG_OPKG, parse_list)
// clang-format on

static const struct file_kind {
    const char *glob;
    enum st_pkg_type type;
    int (*parse)(struct st_parse *p, enum st_pkg_type type, struct st_sv text, struct st_err *err);
} kinds[] = {
#define KIND_ROW(glob, type, parse) {glob, type, parse},
    KINDS(KIND_ROW)};

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    for (size_t i = 0; i < ST_LEN(kinds); i++)
        if (st_glob_match(kinds[i].glob, p->path))
            return kinds[i].parse(p, kinds[i].type, st_view_all(v), err);
    return 0;
}

const struct st_cataloger st_cat_dpkg = {
    .name = "dpkg-db-cataloger",
    .version = 1,
#define KIND_GLOB(glob, type, parse) glob,
    .globs = (const char *const[]){KINDS(KIND_GLOB) NULL},
    .need = ST_NEED_CONTENT,
    .max_size = 128u << 20,
    .parse = parse,
};
