#include "sbom/syft_metadata.h"

#include "base/ckd.h"

#include <stdio.h>

enum kind {
    TEXT,     // required text, "" when there is none
    OPT,      // text, left out when there is none
    NUM,      // required number, 0 when there is none
    OPT_NUM,  // number, left out
    NUM_NULL, // number or null
    FLAG,     // required boolean
    LIST,     // required list, always empty: we do not keep file lists
    DEPENDS,  // what the database declares
    PROVIDES,
    POM,   // java: the coordinates once more
    PLACE, // java: path of the archive, with the archives around it
    OBJECT // composer: {type, url, reference} from the facts "sourceType" ..., or what `reference` says for the source
};

// Where a value comes from: "@name" is a field of the package, "?name" a purl qualifier, anything else a fact of
// `meta`. NULL: a fact of the field's own name.
struct field {
    const char *json;
    enum kind kind;
    const char *from;
};

static const struct field deb[] = {
    {"package", TEXT, "@name"},
    {"source", TEXT, "@source"},
    {"version", TEXT, "@version"},
    {"sourceVersion", TEXT, "@source-version"},
    {"architecture", TEXT, "@arch"},
    {"maintainer", TEXT, NULL},
    {"installedSize", NUM, NULL},
    {"provides", PROVIDES, NULL},
    {"depends", DEPENDS, NULL},
    {"files", LIST, NULL},
    {0},
};
static const struct field apk[] = {
    {"package", TEXT, "@name"},
    {"originPackage", TEXT, "@source"},
    {"maintainer", TEXT, NULL},
    {"version", TEXT, "@version"},
    {"architecture", TEXT, "@arch"},
    {"url", TEXT, NULL},
    {"description", TEXT, NULL},
    {"size", NUM, NULL},
    {"installedSize", NUM, NULL},
    {"pullDependencies", DEPENDS, NULL},
    {"provides", PROVIDES, NULL},
    {"pullChecksum", TEXT, NULL},
    {"gitCommitOfApkPort", TEXT, NULL},
    {"files", LIST, NULL},
    {0},
};
static const struct field rpm[] = {
    {"name", TEXT, "@name"},
    {"version", TEXT, "@rpm-version"},
    {"epoch", NUM_NULL, "@epoch"},
    {"architecture", TEXT, "@arch"},
    {"release", TEXT, "@rpm-release"},
    {"sourceRpm", TEXT, "@source"},
    {"size", NUM, NULL},
    {"vendor", TEXT, NULL},
    {"modularityLabel", OPT, "?rpmmod"},
    {"provides", PROVIDES, NULL},
    {"requires", DEPENDS, NULL},
    {"files", LIST, NULL},
    {0},
};
static const struct field alpm[] = {
    {"basepackage", TEXT, "@source"},
    {"package", TEXT, "@name"},
    {"version", TEXT, "@version"},
    {"description", TEXT, NULL},
    {"architecture", TEXT, "@arch"},
    {"size", NUM, NULL},
    {"packager", TEXT, NULL},
    {"url", TEXT, NULL},
    {"validation", TEXT, NULL},
    {"reason", NUM, NULL},
    {"files", LIST, NULL},
    {"backup", LIST, NULL},
    {"provides", PROVIDES, NULL},
    {"depends", DEPENDS, NULL},
    {0},
};
static const struct field portage[] = {{"installedSize", NUM, NULL}, {"files", LIST, NULL}, {0}};
static const struct field nix[] = {
    {"path", OPT, "@place"}, {"output", OPT, "?output"}, {"outputHash", TEXT, "?outputhash"}, {0}};
static const struct field npm[] = {
    {"name", TEXT, "@name"},     {"version", TEXT, "@version"}, {"author", TEXT, NULL},  {"homepage", TEXT, NULL},
    {"description", TEXT, NULL}, {"url", TEXT, NULL},           {"private", FLAG, NULL}, {0},
};
static const struct field python[] = {
    {"name", TEXT, "@name"},       {"version", TEXT, "@version"},
    {"author", TEXT, NULL},        {"authorEmail", TEXT, NULL},
    {"platform", TEXT, NULL},      {"sitePackagesRootPath", TEXT, NULL},
    {"requiresPython", OPT, NULL}, {0},
};
static const struct field java[] = {{"virtualPath", PLACE, NULL}, {"pomProperties", POM, NULL}, {0}};
static const struct field golang[] = {
    {"goCompiledVersion", TEXT, NULL},
    {"architecture", TEXT, NULL},
    {"h1Digest", OPT, NULL},
    {"mainModule", OPT, NULL},
    {0},
};
static const struct field cargo[] = {
    {"name", TEXT, "@name"}, {"version", TEXT, "@version"}, {"source", TEXT, NULL}, {0}};
static const struct field gem[] = {
    {"name", TEXT, "@name"}, {"version", TEXT, "@version"}, {"homepage", OPT, NULL}, {0}};
static const struct field dotnet[] = {
    {"name", TEXT, "@name"},
    {"version", TEXT, "@version"},
    {"path", TEXT, NULL},
    {"sha512", TEXT, NULL},
    {"hashPath", TEXT, NULL},
    {"type", OPT, NULL},
    {0},
};
static const struct field composer[] = {
    {"name", TEXT, "@full-name"}, {"version", TEXT, "@version"}, {"source", OBJECT, "source"},
    {"dist", OBJECT, "dist"},     {"type", OPT, NULL},           {"description", OPT, NULL},
    {"homepage", OPT, NULL},      {"time", OPT, NULL},           {0},
};
static const struct field conda[] = {
    {"name", TEXT, "@name"},
    {"version", TEXT, "@version"},
    {"build", TEXT, "?build"},
    {"build_number", NUM, NULL},
    {"channel", OPT, "?channel"},
    {"subdir", OPT, "?subdir"},
    {"noarch", OPT, NULL},
    {"md5", OPT, NULL},
    {"sha256", OPT, NULL},
    {"size", OPT_NUM, NULL},
    {"fn", OPT, NULL},
    {"url", OPT, NULL},
    {0},
};
static const struct field binary[] = {{"matches", LIST, NULL}, {0}};

static const struct {
    const char *name;
    const struct field *fields;
} objects[ST_PKG_TYPES_MAX] = {
    [ST_PKG_DEB] = {"dpkg-db-entry", deb},
    [ST_PKG_OPKG] = {"dpkg-db-entry", deb},
    [ST_PKG_APK] = {"apk-db-entry", apk},
    [ST_PKG_RPM] = {"rpm-db-entry", rpm},
    [ST_PKG_ALPM] = {"alpm-db-entry", alpm},
    [ST_PKG_PORTAGE] = {"portage-db-entry", portage},
    [ST_PKG_NIX] = {"nix-store-entry", nix},
    [ST_PKG_NPM] = {"javascript-npm-package", npm},
    [ST_PKG_PYPI] = {"python-package", python},
    [ST_PKG_MAVEN] = {"java-archive", java},
    [ST_PKG_GOLANG] = {"go-module-buildinfo-entry", golang},
    [ST_PKG_CARGO] = {"rust-cargo-audit-entry", cargo},
    [ST_PKG_GEM] = {"ruby-gemspec", gem},
    [ST_PKG_NUGET] = {"dotnet-deps-entry", dotnet},
    [ST_PKG_COMPOSER] = {"php-composer-installed-entry", composer},
    [ST_PKG_CONDA] = {"conda-metadata-entry", conda},
    [ST_PKG_GENERIC] = {"binary-signature", binary},
};

static struct st_sv look_up(struct st_kvs kvs, struct st_sv key)
{
    for (size_t i = 0; i < kvs.n; i++)
        if (st_sv_eq(kvs.at[i].key, key))
            return kvs.at[i].value;
    return ST_SV_NULL;
}

// An rpm version has no '-', nor has a release.
static struct st_sv rpm_part(struct st_sv version, bool release)
{
    size_t dash = st_sv_rfind(version, '-');
    if (dash == ST_SV_NPOS)
        return release ? ST_SV_NULL : version;
    return release ? st_sv_from(version, dash + 1) : st_sv_sub(version, 0, dash);
}

static struct st_sv own_field(const struct st_item *item, struct st_sv name)
{
    const struct st_package *p = &item->pkg;
    const struct {
        struct st_sv name, value;
    } own[] = {
        {ST_SV("name"), p->name},
        {ST_SV("version"), p->version},
        {ST_SV("epoch"), p->epoch},
        {ST_SV("arch"), p->arch},
        {ST_SV("source"), p->source_name},
        {ST_SV("source-version"), p->source_version},
        {ST_SV("rpm-version"), rpm_part(p->version, false)},
        {ST_SV("rpm-release"), rpm_part(p->version, true)},
        {ST_SV("place"), item->n_evidence ? item->evidence[0].path : ST_SV_NULL},
    };
    for (size_t i = 0; i < ST_LEN(own); i++)
        if (st_sv_eq(own[i].name, name))
            return own[i].value;
    return ST_SV_NULL;
}

static struct st_sv value_of(const struct st_item *item, const struct field *f)
{
    struct st_sv from = st_sv_of(f->from ? f->from : f->json);
    if (st_sv_starts(from, ST_SV("@")))
        return own_field(item, st_sv_from(from, 1));
    if (st_sv_starts(from, ST_SV("?")))
        return look_up(item->pkg.quals, st_sv_from(from, 1));
    return look_up(item->pkg.meta, from);
}

const char *st_syft_metadata_name(enum st_pkg_type type)
{
    return objects[type].name;
}

static void put_list(struct st_json_out *w, const char *key, struct st_svs list)
{
    st_json_key(w, key);
    st_json_open(w, '[');
    for (size_t i = 0; i < list.n; i++)
        st_json_str(w, list.at[i]);
    st_json_close(w, ']');
}

static void put_number(struct st_json_out *w, const struct field *f, struct st_sv value)
{
    uint64_t n = 0;
    bool is_number = st_sv_u64(value, 10, &n) && n <= INT64_MAX;
    if (f->kind == OPT_NUM && !is_number)
        return;
    st_json_key(w, f->json);
    if (f->kind == NUM_NULL && !is_number)
        st_json_null(w);
    else
        st_json_u64(w, is_number ? n : 0);
}

static void put_pom(struct st_json_out *w, const char *key, const struct st_package *pkg)
{
    if (pkg->ns.len == 0)
        return;
    st_json_key(w, key);
    st_json_open(w, '{');
    st_json_kv(w, "path", ST_SV(""));
    st_json_kv(w, "name", ST_SV(""));
    st_json_kv(w, "groupId", pkg->ns);
    st_json_kv(w, "artifactId", pkg->name);
    st_json_kv(w, "version", pkg->version);
    st_json_close(w, '}');
}

static void put_reference(struct st_json_out *w, const struct field *f, const struct st_package *pkg)
{
    static const struct {
        const char *json, *suffix;
    } parts[] = {{"type", "Type"}, {"url", "Url"}, {"reference", "Reference"}};
    st_json_key(w, f->json);
    st_json_open(w, '{');
    for (size_t i = 0; i < ST_LEN(parts); i++) {
        char key[32];
        int n = snprintf(key, sizeof key, "%s%s", f->from, parts[i].suffix);
        struct st_sv value = look_up(pkg->meta, st_sv_mem(key, (size_t)n));
        if (value.len == 0 && strcmp(key, "sourceReference") == 0)
            value = look_up(pkg->meta, ST_SV("reference"));
        st_json_kv(w, parts[i].json, value);
    }
    st_json_close(w, '}');
}

// Texts that are put together from parts stay in one JSON string, so they are built here.
static int put_joined(struct st_json_out *w, const char *key, const char *lead, struct st_sv a, char c, struct st_sv b,
                      struct st_buf *text, struct st_err *err)
{
    st_buf_clear(text);
    if (st_buf_add(text, st_sv_of(lead), err) || st_buf_add(text, a, err) ||
        (b.len && (st_buf_addc(text, c, err) || st_buf_add(text, b, err))))
        return -1;
    st_json_kv(w, key, st_buf_sv(text));
    return 0;
}

static int put_text(struct st_json_out *w, const struct field *f, const struct st_item *item, struct st_buf *text,
                    struct st_err *err)
{
    const struct st_package *p = &item->pkg;
    const struct st_evidence *e = item->evidence;
    if (f->kind == PLACE)
        return put_joined(w, f->json, "/", e->path, ':', e->inner, text, err);
    if (f->from && strcmp(f->from, "@place") == 0)
        return put_joined(w, f->json, "/", e->path, ':', ST_SV_NULL, text, err);
    if (f->from && strcmp(f->from, "@full-name") == 0)
        return p->ns.len ? put_joined(w, f->json, "", p->ns, '/', p->name, text, err)
                         : put_joined(w, f->json, "", p->name, '/', ST_SV_NULL, text, err);
    struct st_sv value = value_of(item, f);
    if (value.len || f->kind == TEXT)
        st_json_kv(w, f->json, value);
    return 0;
}

static int put_field(struct st_json_out *w, const struct field *f, const struct st_item *item, struct st_buf *text,
                     struct st_err *err)
{
    switch (f->kind) {
    case TEXT:
    case OPT:
    case PLACE:
        return put_text(w, f, item, text, err);
    case NUM:
    case OPT_NUM:
    case NUM_NULL:
        put_number(w, f, value_of(item, f));
        return 0;
    case FLAG:
        st_json_key(w, f->json);
        st_json_bool(w, st_sv_eq(value_of(item, f), ST_SV("true")));
        return 0;
    case LIST:
        st_json_key(w, f->json);
        st_json_open(w, '[');
        st_json_close(w, ']');
        return 0;
    case DEPENDS:
        put_list(w, f->json, item->pkg.depends);
        return 0;
    case PROVIDES:
        put_list(w, f->json, item->pkg.provides);
        return 0;
    case POM:
        put_pom(w, f->json, &item->pkg);
        return 0;
    case OBJECT:
        put_reference(w, f, &item->pkg);
        return 0;
    }
    return 0;
}

int st_syft_metadata_write(struct st_json_out *w, const struct st_item *item, struct st_buf *text, struct st_err *err)
{
    st_json_open(w, '{');
    for (const struct field *f = objects[item->pkg.type].fields; f->json; f++)
        if (put_field(w, f, item, text, err))
            return -1;
    st_json_close(w, '}');
    return 0;
}

// Fields that need more than a look-up, and what a component says anyway.
static bool is_fact(const struct field *f)
{
    static const char *const other[] = {"@name", "@full-name", "@version", "@place"};
    if (f->kind > FLAG)
        return false;
    for (size_t i = 0; f->from && i < ST_LEN(other); i++)
        if (strcmp(f->from, other[i]) == 0)
            return false;
    return true;
}

bool st_syft_metadata_next(const struct st_item *item, size_t *at, const char **ret_name, struct st_sv *ret_value)
{
    const struct field *fields = objects[item->pkg.type].fields;
    while (fields[*at].json) {
        const struct field *f = &fields[(*at)++];
        if (!is_fact(f))
            continue;
        *ret_name = f->json;
        *ret_value = value_of(item, f);
        if (ret_value->len)
            return true;
    }
    return false;
}
