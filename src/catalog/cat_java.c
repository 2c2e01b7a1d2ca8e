// Java archives, and the archives in them. What an archive is comes from, in this order:
//   1. META-INF/maven/<group>/<artifact>/pom.properties and pom.xml: every one is a package (shaded jars hold those of
//      the projects that were merged into them). The one that names the archive is the archive itself: by the file's
//      name, else by the manifest's titles, else because it is alone and nothing contradicts.
//   2. When none names the archive: name and version of the file ("name-version.jar"), version and group from
//      MANIFEST.MF. The group is the manifest's Group-Id, an Implementation-Vendor-Id that is an id, or what stands
//      before the name in Bundle-SymbolicName or Automatic-Module-Name; else that of a few well-known artifacts that
//      are published without pom.properties; else the name itself, as older artifacts have it and the field writes it.
//      The fact "groupIdSource" says which, so that nobody takes a guess for a coordinate. Neither a version nor a
//      title anywhere: no package.
// Archives with "Weave-Classes" (agents' patches for other libraries, named like them) are no packages themselves.
#include "archive/zip.h"
#include "base/ckd.h"
#include "catalog/catalog.h"
#include "catalog/java_meta.h"

#define JAVA_FILE_MAX (4ull << 30)
#define JAVA_DEPTH_MAX 8             // archives in archives, the file itself counted
#define JAVA_OUTPUT_MAX (2ull << 30) // bytes unpacked in one file
#define JAVA_ARCHIVES_MAX 20000      // in one file
#define JAVA_COORDINATES_MAX 4096    // pom.properties and pom.xml of one archive
#define JAVA_TEXT_MAX (16ull << 20)  // of one manifest or pom

// Extensions; `always`: a file of that name that is no zip archive is an unknown (the others name other things too).
static const struct {
    struct st_sv ext;
    bool always;
} extensions[] = {
    {ST_SV_INIT("jar"), true},  {ST_SV_INIT("war"), true},   {ST_SV_INIT("ear"), true},  {ST_SV_INIT("hpi"), true},
    {ST_SV_INIT("jpi"), true},  {ST_SV_INIT("par"), false},  {ST_SV_INIT("sar"), false}, {ST_SV_INIT("nar"), false},
    {ST_SV_INIT("kar"), false}, {ST_SV_INIT("lpkg"), false},
};

struct coordinate {
    struct st_sv dir; // member path up to the file's name
    struct st_sv group, artifact, version;
    struct st_sv licenses[ST_POM_LICENSES_MAX];
    size_t n_licenses;
    bool properties; // pom.properties was read, so dir/pom.properties is the evidence
};

struct archive {
    struct st_zip zip;
    struct st_zip_at at; // walk over nested archives
    struct st_buf buf;   // the archive's bytes when they were unpacked
    size_t inner;        // length of its own path in java.inner
};

struct java {
    struct st_parse *p;
    struct st_arena arena; // of the archive that is being identified
    struct st_buf text;    // member that is being read
    struct st_buf inner;   // path inside of the file: archives joined with ':'
    uint64_t output;       // bytes unpacked so far
    unsigned archives;
    unsigned depth; // archives open
    struct archive stack[JAVA_DEPTH_MAX];

    // the archive that is being identified
    struct st_sv path;
    struct st_java_name name;
    struct st_manifest manifest;
    struct coordinate *poms;
    size_t n_poms, room;
    bool poms_full;
};

// ---- members ------------------------------------------------------------------------------------------------

static int extension(struct st_sv name)
{
    size_t dot = st_sv_rfind(name, '.');
    for (size_t i = 0; dot != ST_SV_NPOS && i < ST_LEN(extensions); i++)
        if (st_sv_ieq(st_sv_from(name, dot + 1), extensions[i].ext))
            return (int)i;
    return -1;
}

// The path inside of the file of a member of the archive on top, in j->inner behind the archive's own.
static int member_path(struct java *j, struct st_sv name, struct st_err *err)
{
    j->inner.len = j->stack[j->depth - 1].inner;
    if (j->inner.len && name.len && st_buf_addc(&j->inner, ':', err))
        return -1;
    return st_buf_add(&j->inner, name, err);
}

static int unknown(struct java *j, enum st_unknown_reason reason, struct st_sv member, struct st_sv text,
                   struct st_err *err)
{
    if (member_path(j, member, err))
        return -1;
    return j->p->emit->unknown(j->p->emit->ctx, reason, st_buf_sv(&j->inner), text, err);
}

// A member that could not be read is an unknown, everything else ends the parse.
static int failed(struct java *j, struct st_sv member, const struct st_err *why, struct st_err *err)
{
    struct st_sv text;
    if (why->code != ST_E_FORMAT && why->code != ST_E_LIMIT) {
        if (err)
            *err = *why;
        return -1;
    }
    int rc = why->has_offset
                 ? st_arena_fmt(&j->arena, &text, err, "%s at byte %llu", why->text, (unsigned long long)why->offset)
                 : st_arena_fmt(&j->arena, &text, err, "%s", why->text);
    return rc ? rc : unknown(j, why->code == ST_E_LIMIT ? ST_UNKNOWN_LIMIT : ST_UNKNOWN_FORMAT, member, text, err);
}

// Contents of a member of the archive on top. 1: read; 0: it became an unknown; -1.
static int read_member(struct java *j, const struct st_zip_entry *e, uint64_t max, struct st_buf *buf,
                       struct st_sv *ret, struct st_err *err)
{
    struct st_err why = {.code = ST_E_NONE};
    if (e->problem == ST_ZIP_ENCRYPTED)
        return unknown(j, ST_UNKNOWN_ENCRYPTED, e->name, ST_SV("zip member is encrypted"), err);
    if (e->problem == ST_ZIP_METHOD)
        return unknown(j, ST_UNKNOWN_UNSUPPORTED, e->name, ST_SV("zip member is packed by an unknown method"), err);
    if (e->method && e->size > JAVA_OUTPUT_MAX - j->output)
        return unknown(j, ST_UNKNOWN_LIMIT, e->name, ST_SV("the file unpacks to more than 2 GiB"), err);
    if (st_zip_read(&j->stack[j->depth - 1].zip, e, max, buf, ret, &why))
        return failed(j, e->name, &why, err);
    j->output += e->method ? ret->len : 0;
    return 1;
}

// ---- identification -----------------------------------------------------------------------------------------

static struct coordinate *coordinate(struct java *j, struct st_sv dir, struct st_err *err)
{
    for (size_t i = j->n_poms; i-- > 0;) // both files of a directory mostly stand together
        if (st_sv_eq(j->poms[i].dir, dir))
            return &j->poms[i];
    if (j->n_poms == j->room) {
        size_t room = j->room ? 2 * j->room : 4;
        struct coordinate *more = st_arena_array(&j->arena, room, sizeof *more, err);
        if (!more)
            return NULL;
        if (j->n_poms)
            memcpy(more, j->poms, j->n_poms * sizeof *more);
        j->poms = more;
        j->room = room;
    }
    struct coordinate *c = &j->poms[j->n_poms];
    if (st_arena_dup(&j->arena, dir, &c->dir, err))
        return NULL;
    j->n_poms++;
    return c;
}

static int keep(struct java *j, struct st_sv *field, struct st_sv value, bool good, struct st_err *err)
{
    return field->len || !good ? 0 : st_arena_dup(&j->arena, value, field, err);
}

// What a pom says about its coordinate. pom.properties (written by the build) goes before pom.xml.
static int merge_pom(struct java *j, struct coordinate *c, const struct st_pom *pom, bool properties,
                     struct st_err *err)
{
    if (properties && !c->properties) {
        c->properties = true;
        c->group = c->artifact = c->version = ST_SV("");
    }
    if (keep(j, &c->group, pom->group, st_java_is_id(pom->group), err) ||
        keep(j, &c->artifact, pom->artifact, st_java_is_id(pom->artifact), err) ||
        keep(j, &c->version, pom->version, st_java_is_version(pom->version), err))
        return -1;
    for (size_t i = 0; i < pom->n_licenses && c->n_licenses < ST_POM_LICENSES_MAX; i++) {
        struct st_sv *to = &c->licenses[c->n_licenses];
        if (keep(j, to, pom->licenses[i], true, err))
            return -1;
        c->n_licenses += to->len > 0;
    }
    return 0;
}

static int read_pom(struct java *j, const struct st_zip_entry *e, bool properties, struct st_err *err)
{
    struct st_sv text, dir = st_sv_dirname(e->name);
    struct st_pom pom = {.n_licenses = 0};
    if (j->n_poms == JAVA_COORDINATES_MAX) {
        bool told = j->poms_full;
        j->poms_full = true;
        return told ? 0 : unknown(j, ST_UNKNOWN_LIMIT, e->name, ST_SV("more than 4096 poms in one archive"), err);
    }
    int rc = read_member(j, e, JAVA_TEXT_MAX, &j->text, &text, err);
    if (rc <= 0)
        return rc;
    if (properties)
        st_pom_properties(text, &pom);
    else if (st_pom_xml(text, &j->arena, &pom, err))
        return -1;
    struct coordinate *c = coordinate(j, dir, err);
    if (!c || merge_pom(j, c, &pom, properties, err))
        return -1;
    // Where the file stands says group and artifact too.
    struct st_sv group = st_sv_basename(st_sv_dirname(dir)), artifact = st_sv_basename(dir);
    return keep(j, &c->group, group, st_java_is_id(group), err) ||
                   keep(j, &c->artifact, artifact, st_java_is_id(artifact), err)
               ? -1
               : 0;
}

static int read_manifest(struct java *j, const struct st_zip_entry *e, struct st_err *err)
{
    struct st_sv text;
    if (j->manifest.present)
        return 0;
    int rc = read_member(j, e, JAVA_TEXT_MAX, &j->text, &text, err);
    if (rc <= 0)
        return rc;
    char *own = st_arena_bytes(&j->arena, text.len, err); // values are borrowed from it
    if (!own)
        return -1;
    if (text.len)
        memcpy(own, text.ptr, text.len);
    return st_manifest_read((struct st_sv){own, text.len}, &j->arena, &j->manifest, err);
}

// "META-INF/maven/<group>/<artifact>/<file>" at the start or behind a '/'.
static bool in_maven_dir(struct st_sv name)
{
    size_t i = st_sv_search(name, ST_SV("META-INF/maven/"));
    if (i == ST_SV_NPOS || (i && name.ptr[i - 1] != '/'))
        return false;
    struct st_sv part, rest = st_sv_from(name, i + ST_SV("META-INF/maven/").len);
    unsigned n = 0;
    while (st_sv_split(&rest, '/', &part))
        n++;
    return n == 3;
}

static int collect(struct java *j, struct st_err *err)
{
    const struct st_zip *z = &j->stack[j->depth - 1].zip;
    struct st_zip_at at = {0, 0};
    struct st_zip_entry e;
    while (st_zip_next(z, &at, &e)) {
        if (e.name.len < 8 || e.directory)
            continue;
        char last = e.name.ptr[e.name.len - 1];
        int rc = 0;
        if ((last == 'F' || last == 'f') && st_sv_ieq(e.name, ST_SV("META-INF/MANIFEST.MF")))
            rc = read_manifest(j, &e, err);
        else if (last == 's' && st_sv_ends(e.name, ST_SV("/pom.properties")) && in_maven_dir(e.name))
            rc = read_pom(j, &e, true, err);
        else if (last == 'l' && st_sv_ends(e.name, ST_SV("/pom.xml")) && in_maven_dir(e.name))
            rc = read_pom(j, &e, false, err);
        if (rc < 0)
            return -1;
    }
    return 0;
}

// ---- which coordinate is the archive ----------------------------------------------------------------------------

// stem is prefix, or goes on with '-' or '.': what follows is *ret_rest.
static bool continues(struct st_sv stem, struct st_sv prefix, struct st_sv *ret_rest)
{
    if (!prefix.len || !st_sv_starts(stem, prefix))
        return false;
    *ret_rest = st_sv_from(stem, prefix.len);
    return ret_rest->len == 0 || ret_rest->ptr[0] == '-';
}

// The next of the three numbers that a version of OSGi begins with; "" where there is none.
static struct st_sv version_number(struct st_sv *rest)
{
    struct st_sv s = *rest;
    size_t n = 0;
    while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9')
        n++;
    bool whole = n == s.len || strchr("-._", s.ptr[n]);
    if (!n || !whole)
        return ST_SV("");
    *rest = st_sv_from(s, ST_MIN(n + 1, s.len));
    return st_sv_sub(s, 0, n);
}

// Versions that say the same: OSGi has three numbers and writes all separators as '.' ("1.0.0.Final" for "1.0.0-Final",
// "1.18.0" for "1.18", "1.0.0.alpha-1" for "1.0-alpha-1").
static bool same_version(struct st_sv a, struct st_sv b)
{
    for (int i = 0; i < 3; i++) {
        struct st_sv x = version_number(&a), y = version_number(&b), zero = ST_SV("0");
        if (!st_sv_eq(x.len ? x : zero, y.len ? y : zero))
            return false;
    }
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i] && !(strchr("-._", a.ptr[i]) && strchr("-._", b.ptr[i])))
            return false;
    return true;
}

static struct st_sv manifest_version(const struct st_manifest *m)
{
    static const enum st_manifest_attribute order[] = {ST_MF_PLUGIN_VERSION, ST_MF_IMPL_VERSION, ST_MF_BUNDLE_VERSION,
                                                       ST_MF_SPEC_VERSION};
    for (size_t i = 0; i < ST_LEN(order); i++) {
        struct st_sv v = m->at[order[i]];
        v = st_sv_sub(v, 0, ST_MIN(st_sv_search(v, ST_SV(" (")), v.len)); // "26.9.27 (c6ba02c)": its build
        if (st_java_is_version(v))
            return v;
    }
    return ST_SV("");
}

static bool names_version(const struct java *j, struct st_sv version)
{
    const struct st_manifest *m = &j->manifest;
    return same_version(m->at[ST_MF_IMPL_VERSION], version) || same_version(m->at[ST_MF_BUNDLE_VERSION], version) ||
           same_version(m->at[ST_MF_PLUGIN_VERSION], version);
}

static struct st_sv bundle_name(const struct st_manifest *m)
{
    struct st_sv name, directives;
    st_sv_cut(m->at[ST_MF_BUNDLE_NAME], ';', &name, &directives);
    return st_sv_trim(name);
}

static bool is_group_dot_name(struct st_sv s, struct st_sv group, struct st_sv name)
{
    return s.len == group.len + 1 + name.len && st_sv_starts(s, group) && s.ptr[group.len] == '.' &&
           st_sv_ends(s, name);
}

// As bnd makes the symbolic name: group and artifact, but the group alone where it ends in the artifact.
static bool is_symbolic_name(struct st_sv s, struct st_sv group, struct st_sv name)
{
    return is_group_dot_name(s, group, name) ||
           (st_sv_eq(s, group) && s.len > name.len && st_sv_ends(s, name) && s.ptr[s.len - name.len - 1] == '.');
}

enum { NAMED_BY_NOTHING, NAMED_ALONE, NAMED_BY_MANIFEST, NAMED_BY_NAME, NAMED_BY_FILE };

// How strongly the archive is named after the coordinate; *ret_classifier is what the file's name has behind it.
static int naming(const struct java *j, const struct coordinate *c, struct st_sv *ret_classifier)
{
    struct st_sv stem = j->name.stem, rest, a = c->artifact, v = c->version;
    *ret_classifier = ST_SV("");
    // "group.artifact-version" is read as "artifact-version"
    if (st_sv_starts(stem, c->group) && stem.len > c->group.len && stem.ptr[c->group.len] == '.' &&
        st_sv_starts(st_sv_from(stem, c->group.len + 1), a))
        stem = st_sv_from(stem, c->group.len + 1);
    if (st_sv_eq(stem, a))
        return NAMED_BY_FILE;
    if (continues(stem, a, &rest) && rest.len && continues(st_sv_from(rest, 1), v, &rest)) {
        *ret_classifier = rest.len ? st_sv_from(rest, 1) : rest;
        return NAMED_BY_FILE;
    }
    if (st_sv_eq(j->name.name, a))
        return NAMED_BY_NAME;
    const struct st_manifest *m = &j->manifest;
    struct st_sv bundle = bundle_name(m), mv = manifest_version(m);
    bool titled = st_sv_eq(m->at[ST_MF_IMPL_TITLE], a) || st_sv_eq(m->at[ST_MF_SHORT_NAME], a) || st_sv_eq(bundle, a) ||
                  is_symbolic_name(bundle, c->group, a);
    if (titled && (names_version(j, v) || mv.len == 0))
        return NAMED_BY_MANIFEST;
    bool contradicted = (j->name.version.len && !same_version(j->name.version, v)) || (mv.len && !names_version(j, v));
    return j->n_poms == 1 && !contradicted ? NAMED_ALONE : NAMED_BY_NOTHING;
}

static const struct coordinate *main_coordinate(const struct java *j, struct st_sv *ret_classifier)
{
    const struct coordinate *best = NULL;
    int best_naming = NAMED_BY_NOTHING;
    *ret_classifier = ST_SV("");
    for (size_t i = 0; i < j->n_poms; i++) {
        const struct coordinate *c = &j->poms[i];
        struct st_sv classifier;
        if (!c->artifact.len || !c->version.len)
            continue;
        int n = naming(j, c, &classifier);
        if (n > best_naming || (n && n == best_naming && c->artifact.len > best->artifact.len)) {
            best = c;
            best_naming = n;
            *ret_classifier = classifier;
        }
    }
    return best;
}

// ---- records ------------------------------------------------------------------------------------------------

// Bundle-License: names or URLs with attributes, separated by commas ("Apache-2.0;link=\"...\", MIT").
static size_t bundle_licenses(struct st_sv s, struct st_sv *ret, size_t max)
{
    size_t n = 0, from = 0;
    bool quoted = false;
    for (size_t i = 0; i <= s.len && n < max; i++) {
        if (i < s.len && s.ptr[i] == '"')
            quoted = !quoted;
        if (i < s.len && (quoted || s.ptr[i] != ','))
            continue;
        struct st_sv one, attributes;
        st_sv_cut(st_sv_sub(s, from, i - from), ';', &one, &attributes);
        one = st_sv_trim(one);
        if (one.len > 1 && one.ptr[0] == '"' && one.ptr[one.len - 1] == '"')
            one = st_sv_sub(one, 1, one.len - 2);
        if (one.len)
            ret[n++] = one;
        from = i + 1;
    }
    return n;
}

// Group out of a dotted name that ends in ".<name>". bnd makes these names of group and artifact, and leaves the
// artifact out when the group ends in it: "org.objenesis" is the group of objenesis.
static struct st_sv group_before(struct st_sv dotted, struct st_sv name)
{
    if (dotted.len <= name.len + 1 || !st_sv_ends(dotted, name) || dotted.ptr[dotted.len - name.len - 1] != '.' ||
        !st_java_is_id(dotted))
        return ST_SV("");
    struct st_sv before = st_sv_sub(dotted, 0, dotted.len - name.len - 1);
    size_t first = st_sv_find(before, '.');
    if (first == ST_SV_NPOS)
        return dotted;
    return first != st_sv_rfind(before, '.') ? before : ST_SV("");
}

// Local repositories: ".../repository/org/slf4j/slf4j-api/1.7.36/slf4j-api-1.7.36.jar".
static struct st_sv group_of_path(struct st_sv path, struct st_sv name, struct st_sv version, struct st_arena *a,
                                  struct st_err *err)
{
    static const struct st_sv roots[] = {ST_SV_INIT("repository/"), ST_SV_INIT("maven-repo/")};
    struct st_sv dir = st_sv_dirname(path), above = st_sv_dirname(dir), group = st_sv_dirname(above);
    if (!version.len || !st_sv_eq(st_sv_basename(dir), version) || !st_sv_eq(st_sv_basename(above), name))
        return ST_SV("");
    for (size_t i = 0; i < ST_LEN(roots); i++) {
        size_t at = st_sv_search(group, roots[i]);
        if (at == ST_SV_NPOS || (at && group.ptr[at - 1] != '/'))
            continue;
        struct st_sv parts = st_sv_from(group, at + roots[i].len), dotted;
        if (st_arena_dup(a, parts, &dotted, err))
            return ST_SV_NULL;
        for (size_t k = 0; k < dotted.len; k++)
            if (dotted.ptr[k] == '/')
                ((char *)dotted.ptr)[k] = '.';
        return dotted;
    }
    return ST_SV("");
}

// "org.apache" is a vendor and no group; groups have three parts or more, or the artifact's name.
static bool vendor_is_group(struct st_sv vendor, struct st_sv name)
{
    size_t first = st_sv_find(vendor, '.'), last = st_sv_rfind(vendor, '.');
    return st_java_is_id(vendor) && (first != last || st_sv_eq(vendor, name));
}

// pkg->ns by what the file says, and in which of its words.
static int guess_group(struct java *j, struct st_package *pkg, struct st_sv *ret_source, struct st_err *err)
{
    const struct st_manifest *m = &j->manifest;
    struct st_sv vendor = m->at[ST_MF_IMPL_VENDOR_ID], by_path, bundle, module;
    by_path = group_of_path(j->path, pkg->name, pkg->version, &j->arena, err);
    if (!by_path.ptr)
        return -1;
    bundle = group_before(bundle_name(m), pkg->name);
    module = group_before(m->at[ST_MF_MODULE_NAME], pkg->name);
    const struct {
        struct st_sv group;
        struct st_sv source;
    } order[] = {
        {m->at[ST_MF_GROUP_ID], ST_SV("manifest")},
        {by_path, ST_SV("path")},
        {vendor_is_group(vendor, pkg->name) ? vendor : ST_SV(""), ST_SV("manifest")},
        {st_java_known_group(pkg->name), ST_SV("known")},
        {bundle, ST_SV("manifest")},
        {module, ST_SV("manifest")},
        {pkg->name, ST_SV("artifactId")},
    };
    for (size_t i = 0; i < ST_LEN(order); i++)
        if (st_java_is_id(order[i].group)) {
            pkg->ns = order[i].group;
            *ret_source = order[i].source;
            break;
        }
    return 0;
}

static int emit(struct java *j, struct st_package *pkg, struct st_sv inner, struct st_err *err)
{
    if (member_path(j, inner, err))
        return -1;
    pkg->type = ST_PKG_MAVEN;
    pkg->inner = st_buf_sv(&j->inner);
    return j->p->emit->package(j->p->emit->ctx, pkg, err);
}

// Name and version of an archive that no coordinate names; false when it says too little. *ret_classifier is kept when
// nothing stands behind the version.
static bool own_name(const struct java *j, struct st_package *pkg, struct st_sv *ret_classifier)
{
    const struct st_manifest *m = &j->manifest;
    struct st_sv mv = manifest_version(m), stem = j->name.stem, rest;
    bool plugin = st_java_is_id(m->at[ST_MF_SHORT_NAME]) && m->at[ST_MF_PLUGIN_VERSION].len;
    bool titled = m->at[ST_MF_IMPL_TITLE].len || m->at[ST_MF_BUNDLE_NAME].len || m->at[ST_MF_SPEC_TITLE].len ||
                  m->at[ST_MF_MODULE_NAME].len;
    pkg->name = plugin ? m->at[ST_MF_SHORT_NAME] : j->name.name;
    bool vague = st_sv_ends(j->name.version, ST_SV(".x")) || !st_java_is_version(j->name.version);
    pkg->version = plugin || vague ? mv : j->name.version;
    if (!plugin && mv.len && stem.len > mv.len + 1 && st_sv_ends(stem, mv) && stem.ptr[stem.len - mv.len - 1] == '-') {
        pkg->name = st_sv_sub(stem, 0, stem.len - mv.len - 1); // "log4j-1.2-1.2.17" of version 1.2.17
        pkg->version = mv;
    } else if (continues(j->name.version, mv, &rest) && rest.len) { // "x-1.0-linux" of version 1.0
        pkg->version = mv;
        *ret_classifier = st_sv_from(rest, 1);
    }
    return st_java_is_id(pkg->name) && (pkg->version.len || titled);
}

// The archive itself. c: its coordinate, or NULL.
static int emit_archive(struct java *j, const struct coordinate *c, struct st_sv classifier, struct st_err *err)
{
    const struct st_manifest *m = &j->manifest;
    struct st_kv_list quals = {.n = 0}, meta = {.n = 0};
    struct st_sv licenses[ST_POM_LICENSES_MAX], source = ST_SV("");
    struct st_package pkg = {.licenses = {licenses, 0}};
    if (c) {
        pkg.ns = c->group;
        pkg.name = c->artifact;
        pkg.version = c->version;
        pkg.licenses = (struct st_svs){c->licenses, c->n_licenses};
    } else {
        if (!own_name(j, &pkg, &classifier))
            return 0;
        if (guess_group(j, &pkg, &source, err))
            return -1;
    }
    if (pkg.licenses.n == 0) {
        struct st_sv text = m->at[ST_MF_BUNDLE_LICENSE].len ? m->at[ST_MF_BUNDLE_LICENSE] : m->at[ST_MF_PLUGIN_LICENSE];
        pkg.licenses = (struct st_svs){licenses, bundle_licenses(text, licenses, ST_LEN(licenses))};
    }
    st_kv_add(&quals, "classifier", st_java_is_id(classifier) ? classifier : ST_SV(""));
    st_kv_add(&quals, "type", st_sv_ieq(j->name.ext, ST_SV("jar")) ? ST_SV("") : j->name.ext);
    st_kv_add(&meta, "vendor", m->at[ST_MF_IMPL_VENDOR].len ? m->at[ST_MF_IMPL_VENDOR] : m->at[ST_MF_BUNDLE_VENDOR]);
    st_kv_add(&meta, "groupIdSource", source);
    pkg.quals = (struct st_kvs){quals.at, quals.n};
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    return emit(j, &pkg, ST_SV(""), err);
}

static int emit_coordinate(struct java *j, const struct coordinate *c, struct st_err *err)
{
    struct st_sv file;
    struct st_package pkg = {
        .ns = c->group, .name = c->artifact, .version = c->version, .licenses = {c->licenses, c->n_licenses}};
    if (st_arena_fmt(&j->arena, &file, err, ST_SV_FMT "/%s", ST_SV_ARG(c->dir),
                     c->properties ? "pom.properties" : "pom.xml"))
        return -1;
    return emit(j, &pkg, file, err);
}

// The packages of the archive on top.
static int identify(struct java *j, struct st_sv path, struct st_err *err)
{
    st_arena_reset(&j->arena);
    j->path = path;
    j->name = st_java_name(path);
    j->manifest = (struct st_manifest){.present = false};
    j->poms = NULL;
    j->n_poms = j->room = 0;
    j->poms_full = false;
    if (collect(j, err))
        return -1;
    struct st_sv classifier;
    const struct coordinate *c = main_coordinate(j, &classifier);
    if (j->manifest.at[ST_MF_WEAVE_CLASSES].len == 0 && emit_archive(j, c, classifier, err))
        return -1;
    for (size_t i = 0; i < j->n_poms; i++)
        if (&j->poms[i] != c && j->poms[i].artifact.len && j->poms[i].version.len &&
            emit_coordinate(j, &j->poms[i], err))
            return -1;
    return 0;
}

// ---- nesting ------------------------------------------------------------------------------------------------

static void pop(struct java *j)
{
    st_buf_release(&j->stack[--j->depth].buf);
}

// The nested archive `e` of the archive on top becomes the top and is identified. What cannot be is an unknown.
static int push(struct java *j, const struct st_zip_entry *e, struct st_err *err)
{
    struct archive *a = &j->stack[j->depth];
    struct st_sv bytes;
    struct st_err why = {.code = ST_E_NONE};
    if (j->depth == JAVA_DEPTH_MAX)
        return unknown(j, ST_UNKNOWN_LIMIT, e->name, ST_SV("archives nested more than 8 deep"), err);
    if (++j->archives > JAVA_ARCHIVES_MAX)
        return j->archives > JAVA_ARCHIVES_MAX + 1
                   ? 0
                   : unknown(j, ST_UNKNOWN_LIMIT, e->name, ST_SV("more than 20000 archives in one file"), err);
    *a = (struct archive){.at = {0, 0}};
    st_buf_init(&a->buf, j->p->mem);
    int rc = read_member(j, e, JAVA_OUTPUT_MAX, &a->buf, &bytes, err);
    if (rc > 0 && !st_zip_is(bytes) && !extensions[extension(e->name)].always)
        rc = 0;
    if (rc > 0 && st_zip_open(&a->zip, bytes, &why))
        rc = failed(j, e->name, &why, err);
    else if (rc > 0 && member_path(j, e->name, err))
        rc = -1;
    if (rc <= 0) {
        st_buf_release(&a->buf);
        return rc;
    }
    a->inner = j->inner.len;
    j->depth++;
    return identify(j, e->name, err);
}

static int walk(struct java *j, struct st_err *err)
{
    while (j->depth) {
        struct archive *top = &j->stack[j->depth - 1];
        struct st_zip_entry e;
        if (!st_zip_next(&top->zip, &top->at, &e))
            pop(j);
        else if (!e.directory && extension(e.name) >= 0 && push(j, &e, err))
            return -1;
    }
    return 0;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct st_sv file = st_view_all(v);
    int ext = extension(p->path);
    if (!st_zip_is(file) && (ext < 0 || !extensions[ext].always))
        return 0;
    struct java *j = ST_ARENA_NEW(p->arena, struct java, err);
    if (!j)
        return -1;
    j->p = p;
    st_arena_init(&j->arena, p->mem);
    st_buf_init(&j->text, p->mem);
    st_buf_init(&j->inner, p->mem);
    struct archive *a = &j->stack[0];
    st_buf_init(&a->buf, p->mem);
    int rc = st_zip_open(&a->zip, file, err);
    if (rc == 0) {
        j->depth = 1;
        rc = identify(j, p->path, err);
        if (rc == 0)
            rc = walk(j, err);
        while (j->depth)
            pop(j);
    }
    st_buf_release(&j->inner);
    st_buf_release(&j->text);
    st_arena_release(&j->arena);
    return rc;
}

static const char *const globs[] = {
    "**/*.jar", "**/*.war", "**/*.ear", "**/*.par",  "**/*.sar", "**/*.nar",
    "**/*.jpi", "**/*.hpi", "**/*.kar", "**/*.lpkg", NULL,
};

const struct st_cataloger st_cat_java = {
    .name = "java-archive-cataloger",
    .version = 2,
    .globs = globs,
    .need = ST_NEED_CONTENT,
    .max_size = JAVA_FILE_MAX,
    .parse = parse,
};
