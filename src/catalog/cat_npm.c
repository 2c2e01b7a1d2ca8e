// npm packages as installed: the package.json of every directory that Node's resolver takes for a package. A
// directory whose name begins with '.' is npm's own (.bin, .cache, a renamed package of a failed install) and
// never resolved; files deeper in a package only mark its module type and mostly have no version.
#include "catalog/lang_int.h"

#include "base/ckd.h"

// The largest of 6,000 real ones has 158 KB; npm 1 and 2 stored the readme in it too (npm accepts 64 MB readmes,
// but refuses package documents over 8 MB).
#define NPM_MAX_SIZE (8 * ST_MIB)

struct npm {
    struct st_sv name, version, homepage, description, author, url;
    struct st_lang_list license, licenses; // the second one is of 2011, and still found
    bool is_private;
};

struct person {
    struct st_sv name, email, url;
};

struct typed {
    struct st_sv type, url;
};

// "Name <mail> (url)" either way: npm writes both forms.
static int read_person(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv,
                       struct st_err *err)
{
    static const struct st_lang_member rows[] = {
        ST_LANG_MEMBER("name", st_lang_string, person, name),
        ST_LANG_MEMBER("email", st_lang_string, person, email),
        ST_LANG_MEMBER("url", st_lang_string, person, url),
    };
    if (val->type != ST_JSON_OBJECT)
        return st_lang_string(j, val, a, sv, err);
    struct person p = {0};
    if (st_lang_members(j, rows, ST_LEN(rows), &p, a, err))
        return -1;
    p = (struct person){st_lang_text(p.name), st_lang_text(p.email), st_lang_text(p.url)};
    return st_arena_fmt(a, sv, err, ST_SV_FMT "%s" ST_SV_FMT "%s%s" ST_SV_FMT "%s", ST_SV_ARG(p.name),
                        p.email.len ? " <" : "", ST_SV_ARG(p.email), p.email.len ? ">" : "", p.url.len ? " (" : "",
                        ST_SV_ARG(p.url), p.url.len ? ")" : "");
}

static int read_typed(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, struct typed *ret,
                      struct st_err *err)
{
    static const struct st_lang_member rows[] = {
        ST_LANG_MEMBER("type", st_lang_string, typed, type),
        ST_LANG_MEMBER("url", st_lang_string, typed, url),
    };
    *ret = (struct typed){0};
    if (val->type == ST_JSON_OBJECT)
        return st_lang_members(j, rows, ST_LEN(rows), ret, a, err);
    struct st_sv text;
    if (st_lang_string(j, val, a, &text, err))
        return -1;
    *ret = (struct typed){text, text};
    return 0;
}

static int read_repository(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv,
                           struct st_err *err)
{
    struct typed t;
    if (read_typed(j, val, a, &t, err))
        return -1;
    *(struct st_sv *)sv = t.url;
    return 0;
}

// "MIT", {"type": "MIT", "url": ...}, or an array of either.
static int read_licenses(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *list,
                         struct st_err *err)
{
    struct st_lang_list *to = list;
    struct st_json_tok tok = *val;
    struct typed t;
    int rc = 0;
    to->n = 0;
    if (tok.type != ST_JSON_ARRAY) {
        if (read_typed(j, &tok, a, &t, err))
            return -1;
        st_lang_list_add(to, t.type);
        return 0;
    }
    while ((rc = st_json_element(j, &tok, err)) > 0) {
        if (read_typed(j, &tok, a, &t, err))
            return -1;
        st_lang_list_add(to, t.type);
    }
    return rc;
}

static const struct st_lang_member members[] = {
    ST_LANG_MEMBER("name", st_lang_string, npm, name),
    ST_LANG_MEMBER("version", st_lang_string, npm, version),
    ST_LANG_MEMBER("license", read_licenses, npm, license),
    ST_LANG_MEMBER("licenses", read_licenses, npm, licenses),
    ST_LANG_MEMBER("homepage", st_lang_string, npm, homepage),
    ST_LANG_MEMBER("description", st_lang_string, npm, description),
    ST_LANG_MEMBER("author", read_person, npm, author),
    ST_LANG_MEMBER("repository", read_repository, npm, url),
    ST_LANG_MEMBER("private", st_lang_true, npm, is_private),
};

// What encodeURIComponent leaves alone: npm has never published anything else. Templates ("<%= name %>") are
// no packages.
static bool valid_part(struct st_sv s)
{
    static const bool ok[256] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true,  ['_'] = true, ['.'] = true,
        ['!'] = true,         ['~'] = true,         ['*'] = true,         ['\''] = true, ['('] = true, [')'] = true,
    };
    for (size_t i = 0; i < s.len; i++)
        if (!ok[(unsigned char)s.ptr[i]])
            return false;
    return s.len > 0;
}

static bool valid_version(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || strchr("<>{}$%", s.ptr[i]))
            return false;
    return s.len > 0;
}

// node_modules/@scope/package.json and node_modules/.store/package.json match the globs and are no packages.
static bool package_directory(struct st_sv path)
{
    struct st_sv dir = st_sv_basename(st_sv_dirname(path));
    return dir.len && dir.ptr[0] != '.' && dir.ptr[0] != '@';
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct npm n = {0};
    if (!package_directory(p->path))
        return 0;
    if (st_lang_object(st_view_all(v), members, ST_LEN(members), &n, p->arena, err))
        return -1;
    if (st_sv_trim(n.name).len == 0 || st_sv_trim(n.version).len == 0)
        return 0; // a marker ({"type": "module"}), a private root, an example
    if (st_lang_id(&n.name, &n.version, err))
        return -1;
    struct st_package pkg = {.type = ST_PKG_NPM, .version = n.version};
    st_lang_scope(n.name, &pkg.ns, &pkg.name);
    bool scoped = pkg.ns.len > 1 && pkg.ns.ptr[0] == '@' && valid_part(st_sv_from(pkg.ns, 1));
    if ((pkg.ns.len && !scoped) || !valid_part(pkg.name) || !valid_version(pkg.version))
        return 0;
    const struct st_lang_list *licenses = n.license.n ? &n.license : &n.licenses;
    pkg.licenses = (struct st_svs){licenses->at, licenses->n};
    struct st_kv_list meta = {0};
    st_kv_add(&meta, "author", st_lang_text(n.author));
    st_kv_add(&meta, "homepage", st_lang_text(n.homepage));
    st_kv_add(&meta, "description", st_lang_text(n.description));
    st_kv_add(&meta, "url", st_lang_text(n.url));
    st_kv_add(&meta, "private", n.is_private ? ST_SV("true") : ST_SV_NULL);
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    return p->emit->package(p->emit->ctx, &pkg, err);
}

const struct st_cataloger st_cat_npm = {
    .name = "javascript-package-cataloger",
    .version = 1,
    .globs =
        (const char *const[]){
            "**/node_modules/*/package.json",
            "**/node_modules/@*/*/package.json",
            // Where Debian's Node resolves modules besides node_modules.
            "usr/share/nodejs/*/package.json",
            "usr/share/nodejs/@*/*/package.json",
            "usr/lib/nodejs/*/package.json",
            "usr/lib/nodejs/@*/*/package.json",
            "usr/lib/*/nodejs/*/package.json",
            "usr/lib/*/nodejs/@*/*/package.json",
            // Yarn as the official Node images install it.
            "opt/yarn-*/package.json",
            NULL,
        },
    .need = ST_NEED_CONTENT,
    .max_size = NPM_MAX_SIZE,
    .parse = parse,
};
