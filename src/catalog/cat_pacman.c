// pacman's local database (libalpm, be_local.c): var/lib/pacman/local/NAME-VERSION-RELEASE/{desc,files}, each a
// sequence of "%FIELD%" lines followed by values, one a line, up to an empty line.
#include "base/ckd.h"
#include "catalog/catalog_int.h"

struct desc {
    struct st_parse *p;
    struct st_package pkg;
    struct st_kv_list meta;
    struct st_list licenses, depends, provides;
};

// Takes the next value of *rest's section; false at its end, which is consumed.
static bool next_value(struct st_sv *rest, struct st_sv *ret)
{
    return st_sv_line(rest, ret) && ret->len;
}

// "libfoo.so=1-64", "glibc>=2.3" -> the name
static struct st_sv capability(struct st_sv s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] != '<' && s.ptr[n] != '>' && s.ptr[n] != '=')
        n++;
    return st_sv_trim(st_sv_sub(s, 0, n));
}

static int add_capabilities(struct st_list *list, struct st_sv *rest, struct st_err *err)
{
    struct st_sv value;
    while (next_value(rest, &value)) {
        struct st_sv name = capability(value);
        if (name.len && st_list_add(list, name, err))
            return -1;
    }
    return 0;
}

static int add_licenses(struct st_list *list, struct st_sv *rest, struct st_err *err)
{
    struct st_sv value;
    while (next_value(rest, &value))
        if (st_list_add(list, value, err))
            return -1;
    return 0;
}

static const struct {
    struct st_sv section;
    const char *meta;
} metas[] = {
    {ST_SV_INIT("%DESC%"), "description"},      {ST_SV_INIT("%URL%"), "url"},
    {ST_SV_INIT("%PACKAGER%"), "packager"},     {ST_SV_INIT("%SIZE%"), "size"},
    {ST_SV_INIT("%VALIDATION%"), "validation"}, {ST_SV_INIT("%REASON%"), "reason"},
};

static int take_section(struct desc *d, struct st_sv section, struct st_sv *rest, struct st_err *err)
{
    const struct {
        struct st_sv section;
        struct st_sv *to;
    } singles[] = {
        {ST_SV("%NAME%"), &d->pkg.name},
        {ST_SV("%VERSION%"), &d->pkg.version},
        {ST_SV("%ARCH%"), &d->pkg.arch},
        {ST_SV("%BASE%"), &d->pkg.source_name},
    };
    struct st_sv value;
    if (st_sv_eq(section, ST_SV("%LICENSE%")))
        return add_licenses(&d->licenses, rest, err);
    if (st_sv_eq(section, ST_SV("%DEPENDS%")))
        return add_capabilities(&d->depends, rest, err);
    if (st_sv_eq(section, ST_SV("%PROVIDES%")))
        return add_capabilities(&d->provides, rest, err);
    if (!next_value(rest, &value))
        return 0;
    for (size_t i = 0; i < ST_LEN(singles); i++)
        if (st_sv_eq(section, singles[i].section))
            *singles[i].to = value;
    for (size_t i = 0; i < ST_LEN(metas); i++)
        if (st_sv_eq(section, metas[i].section))
            st_kv_add(&d->meta, metas[i].meta, value);
    return 0;
}

static bool is_section(struct st_sv line)
{
    return line.len > 2 && line.ptr[0] == '%' && line.ptr[line.len - 1] == '%';
}

static int parse_desc(struct st_parse *p, struct st_sv text, struct st_err *err)
{
    struct desc d = {.p = p,
                     .pkg.type = ST_PKG_ALPM,
                     .licenses.arena = p->arena,
                     .depends.arena = p->arena,
                     .provides.arena = p->arena};
    struct st_sv line;
    while (st_sv_line(&text, &line))
        if (is_section(line) && take_section(&d, line, &text, err))
            return -1;
    if (d.pkg.name.len == 0 || d.pkg.version.len == 0)
        return st_err_set(err, ST_E_FORMAT, "no %s section", d.pkg.name.len ? "%VERSION%" : "%NAME%");
    d.pkg.licenses = st_list_views(&d.licenses);
    d.pkg.depends = st_list_views(&d.depends);
    d.pkg.provides = st_list_views(&d.provides);
    d.pkg.meta = (struct st_kvs){d.meta.at, d.meta.n};
    if (p->emit->package(p->emit->ctx, &d.pkg, err))
        return -1;
    if (d.licenses.full || d.depends.full || d.provides.full)
        return st_emit_unknown(p, ST_UNKNOWN_LIMIT, d.pkg.name, err, "more than %d relations", ST_LIST_MAX);
    return 0;
}

// "pacman-6.0.2-5" -> "pacman": neither a version nor a release has a '-'.
static struct st_sv owner_of(struct st_sv dir)
{
    for (int i = 0; i < 2; i++) {
        size_t dash = st_sv_rfind(dir, '-');
        dir.len = dash == ST_SV_NPOS ? 0 : dash;
    }
    return dir;
}

static int parse_files(struct st_parse *p, struct st_sv text, struct st_err *err)
{
    struct st_owner owner;
    struct st_sv dir = st_sv_dirname(p->path), line;
    if (st_owner_init(&owner, p, ST_PKG_ALPM, st_root_of(dir, 4), err)) // lib/pacman/local/NAME
        return -1;
    owner.name = owner_of(st_sv_basename(dir));
    while (st_sv_line(&text, &line)) {
        if (!st_sv_eq(line, ST_SV("%FILES%")))
            continue;
        while (next_value(&text, &line)) // a directory ends in '/'
            if (!st_sv_ends(line, ST_SV("/")) && st_owner_path(&owner, line, err))
                return -1;
    }
    return 0;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    if (st_sv_eq(st_sv_basename(p->path), ST_SV("desc")))
        return parse_desc(p, st_view_all(v), err);
    return parse_files(p, st_view_all(v), err);
}

const struct st_cataloger st_cat_pacman = {
    .name = "alpm-db-cataloger",
    .version = 1,
    .globs = (const char *const[]){"**/var/lib/pacman/local/*/desc", "**/var/lib/pacman/local/*/files", NULL},
    .need = ST_NEED_CONTENT,
    .max_size = 64u << 20,
    .parse = parse,
};
