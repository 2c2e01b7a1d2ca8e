#include "inventory/purl.h"

#include "base/ckd.h"

// What the type definitions of purl-spec ask for, as far as it differs from "keep as it is". Go module paths keep
// their case: the text of the specification lowers them, its cases do not say, and matching needs them as they are.
static const struct type_rule {
    struct st_sv type;
    bool lower_ns, lower_name, dash_name;
} type_rules[] = {
    {ST_SV_INIT("alpm"), true, true, false}, {ST_SV_INIT("apk"), true, true, false},
    {ST_SV_INIT("deb"), true, true, false},  {ST_SV_INIT("composer"), true, true, false},
    {ST_SV_INIT("oci"), false, true, false}, {ST_SV_INIT("opkg"), true, false, false},
    {ST_SV_INIT("rpm"), true, false, false}, {ST_SV_INIT("pypi"), false, true, true},
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// ECMA-427 section 5.4: letters, digits and these stay; ':' is never encoded.
static bool is_plain(char c)
{
    return is_alpha(c) || is_digit(c) || c == '.' || c == '-' || c == '_' || c == '~' || c == ':';
}

static int add_encoded(struct st_buf *out, struct st_sv s, const struct type_rule *rule, bool is_name,
                       struct st_err *err)
{
    static const char hex[] = "0123456789ABCDEF";
    bool low = rule && (is_name ? rule->lower_name : rule->lower_ns);
    for (size_t i = 0; i < s.len; i++) {
        char c = low ? lower(s.ptr[i]) : s.ptr[i];
        if (c == '_' && rule && is_name && rule->dash_name)
            c = '-';
        char three[3] = {'%', hex[(unsigned char)c >> 4], hex[c & 15]};
        if (is_plain(c) ? st_buf_addc(out, c, err) : st_buf_add(out, st_sv_mem(three, 3), err))
            return -1;
    }
    return 0;
}

// '/'-separated parts, each encoded; empty ones are dropped, in a subpath also "." and "..".
static int add_segments(struct st_buf *out, struct st_sv s, const struct type_rule *rule, bool subpath,
                        struct st_err *err)
{
    struct st_sv part;
    bool first = true;
    while (st_sv_split(&s, '/', &part)) {
        if (part.len == 0 || (subpath && (st_sv_eq(part, ST_SV(".")) || st_sv_eq(part, ST_SV("..")))))
            continue;
        if (st_buf_addc(out, first && subpath ? '#' : '/', err))
            return -1;
        if (add_encoded(out, part, rule, false, err))
            return -1;
        first = false;
    }
    return 0;
}

static bool valid_word(struct st_sv s, struct st_sv marks)
{
    if (s.len == 0 || !is_alpha(s.ptr[0]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_alpha(s.ptr[i]) && !is_digit(s.ptr[i]) && st_sv_find(marks, s.ptr[i]) == ST_SV_NPOS)
            return false;
    return true;
}

static int key_cmp(struct st_sv a, struct st_sv b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        char x = lower(a.ptr[i]), y = lower(b.ptr[i]);
        if (x != y)
            return (unsigned char)x < (unsigned char)y ? -1 : 1;
    }
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

// Non-empty qualifiers sorted by key into `ret`.
static int sort_quals(struct st_kvs quals, const struct st_kv **ret, size_t *ret_n, struct st_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < quals.n; i++) {
        const struct st_kv *q = &quals.at[i];
        if (q->value.len == 0)
            continue;
        if (!valid_word(q->key, ST_SV(".-_")))
            return st_err_set(err, ST_E_FORMAT, "purl: invalid qualifier key");
        if (n == ST_PURL_QUALIFIERS_MAX)
            return st_err_set(err, ST_E_LIMIT, "purl: more than %d qualifiers", ST_PURL_QUALIFIERS_MAX);
        size_t at = n++;
        for (; at > 0 && key_cmp(ret[at - 1]->key, q->key) >= 0; at--) {
            if (key_cmp(ret[at - 1]->key, q->key) == 0)
                return st_err_set(err, ST_E_FORMAT, "purl: qualifier " ST_SV_FMT " twice", ST_SV_ARG(q->key));
            ret[at] = ret[at - 1];
        }
        ret[at] = q;
    }
    *ret_n = n;
    return 0;
}

static int add_quals(struct st_buf *out, const struct st_kv **quals, size_t n, struct st_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (st_buf_addc(out, i ? '&' : '?', err))
            return -1;
        for (size_t k = 0; k < quals[i]->key.len; k++)
            if (st_buf_addc(out, lower(quals[i]->key.ptr[k]), err))
                return -1;
        if (st_buf_addc(out, '=', err) || add_encoded(out, quals[i]->value, NULL, false, err))
            return -1;
    }
    return 0;
}

static const struct type_rule *rule_of(struct st_sv type)
{
    for (size_t i = 0; i < ST_LEN(type_rules); i++)
        if (st_sv_ieq(type_rules[i].type, type))
            return &type_rules[i];
    return NULL;
}

int st_purl_build(const struct st_purl *p, struct st_buf *out, struct st_err *err)
{
    if (!valid_word(p->type, ST_SV(".-")))
        return st_err_set(err, ST_E_FORMAT, "purl: invalid type");
    if (p->name.len == 0)
        return st_err_set(err, ST_E_FORMAT, "purl: no name");
    const struct st_kv *quals[ST_PURL_QUALIFIERS_MAX];
    size_t n_quals = 0;
    if (sort_quals(p->quals, quals, &n_quals, err))
        return -1;
    const struct type_rule *rule = rule_of(p->type);
    if (st_buf_add(out, ST_SV("pkg:"), err))
        return -1;
    for (size_t i = 0; i < p->type.len; i++)
        if (st_buf_addc(out, lower(p->type.ptr[i]), err))
            return -1;
    if (add_segments(out, p->ns, rule, false, err) || st_buf_addc(out, '/', err) ||
        add_encoded(out, p->name, rule, true, err))
        return -1;
    if (p->version.len && (st_buf_addc(out, '@', err) || add_encoded(out, p->version, NULL, false, err)))
        return -1;
    return add_quals(out, quals, n_quals, err) ? -1 : add_segments(out, p->subpath, NULL, true, err);
}

// ---- packages -----------------------------------------------------------------------------------

static struct st_sv distro_namespace(enum st_pkg_type type, const struct st_distro *distro)
{
    if (!distro || distro->id.len == 0)
        return ST_SV(ST_PURL_NO_DISTRO);
    if (type == ST_PKG_RPM && st_sv_ieq(distro->id, ST_SV("rhel")))
        return ST_SV("redhat");
    if (type == ST_PKG_RPM && st_sv_starts(distro->id, ST_SV("opensuse")))
        return ST_SV("opensuse");
    return distro->id;
}

// What the advisories are filed under where that is not the package itself; grype reads it from the purl.
static int make_upstream(const struct st_package *pkg, struct st_buf *text, struct st_err *err)
{
    if (pkg->source_name.len == 0)
        return 0;
    bool same_name = st_sv_eq(pkg->source_name, pkg->name);
    bool same_version = pkg->source_version.len == 0 || st_sv_eq(pkg->source_version, pkg->version);
    bool versioned = pkg->type == ST_PKG_DEB || pkg->type == ST_PKG_OPKG;
    if (pkg->type != ST_PKG_ALPM && same_name && (same_version || !versioned))
        return 0;
    if (st_buf_add(text, pkg->source_name, err))
        return -1;
    if (!versioned || pkg->source_version.len == 0)
        return 0;
    return st_buf_addc(text, '@', err) ? -1 : st_buf_add(text, pkg->source_version, err);
}

static int make_distro(const struct st_distro *distro, struct st_buf *text, struct st_err *err)
{
    if (!distro || distro->id.len == 0)
        return 0;
    if (st_buf_add(text, distro->id, err))
        return -1;
    if (distro->version_id.len == 0)
        return 0;
    return st_buf_addc(text, '-', err) ? -1 : st_buf_add(text, distro->version_id, err);
}

static int build_database(const struct st_package *pkg, const struct st_distro *distro, struct st_purl *p,
                          struct st_kv *quals, struct st_buf *text, struct st_err *err)
{
    if (make_upstream(pkg, text, err))
        return -1;
    size_t cut = text->len;
    if (make_distro(distro, text, err))
        return -1;
    size_t n = p->quals.n;
    quals[n++] = (struct st_kv){ST_SV("arch"), pkg->arch};
    quals[n++] = (struct st_kv){ST_SV("upstream"), st_sv_sub(st_buf_sv(text), 0, cut)};
    quals[n++] = (struct st_kv){ST_SV("distro"), st_sv_from(st_buf_sv(text), cut)};
    if (pkg->type == ST_PKG_RPM)
        quals[n++] = (struct st_kv){ST_SV("epoch"), pkg->epoch};
    p->quals.n = n;
    p->ns = distro_namespace(pkg->type, distro);
    return 0;
}

int st_purl_package(const struct st_package *pkg, const struct st_distro *distro, struct st_buf *out,
                    struct st_err *err)
{
    enum { OWN = 4 }; // made from the fields
    struct st_kv quals[ST_PURL_QUALIFIERS_MAX];
    if (pkg->quals.n > ST_LEN(quals) - OWN)
        return st_err_set(err, ST_E_LIMIT, "purl: more than %zu qualifiers", ST_LEN(quals) - OWN);
    for (size_t i = 0; i < pkg->quals.n; i++)
        quals[i] = pkg->quals.at[i];
    const struct st_pkg_type_info *info = st_pkg_type_info(pkg->type);
    struct st_purl p = {
        .type = st_sv_of(info->purl_type),
        .ns = pkg->ns,
        .name = pkg->name,
        .version = pkg->version,
        .quals = {quals, pkg->quals.n},
    };
    struct st_buf text;
    st_buf_init(&text, out->mem);
    int rc = 0;
    // Portage has a category where the others have a distribution, and no qualifiers.
    if (info->database && pkg->type != ST_PKG_PORTAGE)
        rc = build_database(pkg, distro, &p, quals, &text, err);
    else if (pkg->type == ST_PKG_MAVEN && pkg->ns.len == 0)
        p.ns = pkg->name;
    if (rc == 0)
        rc = st_purl_build(&p, out, err);
    st_buf_release(&text);
    return rc;
}
