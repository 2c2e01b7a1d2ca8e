// Python distributions as installed: METADATA and PKG-INFO (core metadata specification, an RFC 822 head before
// the long description), and direct_url.json beside them (PEP 610), which makes a note for the purl.
#include "catalog/lang_int.h"

#include "base/ckd.h"

// Only the head is used, but the long description follows in the same file: the largest seen has 0.4 MB.
#define PYTHON_MAX_SIZE (16 * ST_MIB)

struct field {
    struct st_sv value;
    bool folded; // had text on continuation lines
};

struct python {
    struct field name, version, license, expression, author, author_email, home_page, platform, requires_python;
    struct st_sv project_home;
    struct st_lang_list classifiers;
};

#define FIELD(text, member)                               \
    {                                                     \
        ST_SV_INIT(text), offsetof(struct python, member) \
    }
static const struct {
    struct st_sv key;
    size_t off;
} fields[] = {
    FIELD("Name", name),
    FIELD("Version", version),
    FIELD("License", license),
    FIELD("License-Expression", expression),
    FIELD("Author", author),
    FIELD("Author-email", author_email),
    FIELD("Home-page", home_page),
    FIELD("Platform", platform),
    FIELD("Requires-Python", requires_python),
};

// "License :: OSI Approved :: MIT License" names a licence, "License :: OSI Approved" does not.
static void take_classifier(struct python *py, struct st_sv value)
{
    struct st_sv rest = value, last = value;
    size_t parts = 1, at;
    while ((at = st_sv_search(rest, ST_SV(" :: "))) != ST_SV_NPOS) {
        rest = st_sv_from(rest, at + 4);
        last = rest;
        parts++;
    }
    if (st_sv_starts(value, ST_SV("License :: ")) && !(parts == 2 && st_sv_eq(last, ST_SV("OSI Approved"))))
        st_lang_list_add(&py->classifiers, last);
}

// The field whose continuation lines are of interest, or NULL. Of a field given twice the first counts, as for
// Python's email parser.
static struct field *take_field(struct python *py, struct st_sv key, struct st_sv value)
{
    if (st_sv_ieq(key, ST_SV("Classifier"))) {
        take_classifier(py, value);
        return NULL;
    }
    if (st_sv_ieq(key, ST_SV("Project-URL"))) {
        struct st_sv label, url;
        if (st_sv_cut(value, ',', &label, &url) && st_sv_ieq(st_sv_trim(label), ST_SV("Homepage")))
            py->project_home = st_sv_trim(url);
        return NULL;
    }
    for (size_t i = 0; i < ST_LEN(fields); i++) {
        struct field *f = (struct field *)((char *)py + fields[i].off);
        if (!st_sv_ieq(key, fields[i].key))
            continue;
        if (f->value.ptr)
            return NULL;
        f->value = value;
        return f;
    }
    return NULL;
}

static void read_head(struct st_sv text, struct python *ret)
{
    struct st_sv line, key, value;
    struct field *open = NULL;
    bool begun = false;
    while (st_sv_line(&text, &line)) {
        if (line.len == 0 && begun)
            return; // the long description follows
        if (line.len == 0)
            continue;
        if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
            value = st_sv_trim(line);
            if (open && value.len) {
                open->folded = open->value.len > 0;
                if (!open->folded)
                    open->value = value;
            }
        } else if (st_sv_cut(line, ':', &key, &value)) {
            begun = true;
            open = take_field(ret, st_sv_trim(key), st_sv_trim(value));
        } else {
            open = NULL;
        }
    }
}

// setuptools writes UNKNOWN for what the author left out.
static struct st_sv known(const struct field *f)
{
    return st_sv_eq(f->value, ST_SV("UNKNOWN")) ? ST_SV_NULL : f->value;
}

// PEP 639's expression; else the License field unless it holds a whole licence text; else classifiers; else the
// text's first line.
static void pick_licenses(const struct python *py, struct st_lang_list *ret)
{
    struct st_sv license = known(&py->license);
    if (known(&py->expression).len)
        st_lang_list_add(ret, known(&py->expression));
    else if (license.len && !py->license.folded)
        st_lang_list_add(ret, license);
    else if (py->classifiers.n)
        *ret = py->classifiers;
    else
        st_lang_list_add(ret, license);
}

// Directory on Python's path: of a file x.egg-info its own, of x.dist-info/METADATA the parent's.
static int site_packages(struct st_parse *p, struct st_sv *ret, struct st_err *err)
{
    struct st_sv dir = st_sv_dirname(p->path);
    if (!st_sv_ends(p->path, ST_SV(".egg-info")))
        dir = st_sv_dirname(dir);
    return st_arena_fmt(p->arena, ret, err, "/" ST_SV_FMT, ST_SV_ARG(dir));
}

static bool valid_name(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || strchr("<>{}$%/\\\"", s.ptr[i]))
            return false; // a template, or not text
    return true;
}

static int parse_metadata(struct st_parse *p, struct st_sv text, struct st_err *err)
{
    struct python py = {0};
    struct st_kv_list meta = {0};
    struct st_lang_list licenses = {0};
    struct st_sv site;
    if (st_sv_starts(text, ST_SV("\xEF\xBB\xBF")))
        text = st_sv_from(text, 3);
    read_head(text, &py);
    struct st_package pkg = {.type = ST_PKG_PYPI, .name = py.name.value, .version = py.version.value};
    if (st_lang_id(&pkg.name, &pkg.version, err) || site_packages(p, &site, err))
        return -1;
    if (!valid_name(pkg.name))
        return st_err_set(err, ST_E_FORMAT, "the name is not that of a distribution");
    if (st_sv_eq(pkg.name, ST_SV("Python")))
        return 0; // Python 2 describes itself in its library; no such distribution exists
    pick_licenses(&py, &licenses);
    pkg.licenses = (struct st_svs){licenses.at, licenses.n};
    st_kv_add(&meta, "author", st_lang_text(known(&py.author)));
    st_kv_add(&meta, "authorEmail", st_lang_text(known(&py.author_email)));
    st_kv_add(&meta, "homepage", st_lang_text(known(&py.home_page).len ? known(&py.home_page) : py.project_home));
    st_kv_add(&meta, "platform", st_lang_text(known(&py.platform)));
    st_kv_add(&meta, "requiresPython", st_lang_text(known(&py.requires_python)));
    st_kv_add(&meta, "sitePackagesRootPath", site);
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    return p->emit->package(p->emit->ctx, &pkg, err);
}

struct direct_url {
    struct st_sv url;
    struct vcs {
        struct st_sv vcs, commit;
    } vcs;
};

static int read_vcs(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *vcs, struct st_err *err)
{
    static const struct st_lang_member rows[] = {
        ST_LANG_MEMBER("vcs", st_lang_string, vcs, vcs),
        ST_LANG_MEMBER("commit_id", st_lang_string, vcs, commit),
    };
    *(struct vcs *)vcs = (struct vcs){0};
    return val->type == ST_JSON_OBJECT ? st_lang_members(j, rows, ST_LEN(rows), vcs, a, err)
                                       : st_json_skip(j, val, err);
}

// Scheme and the rest without credentials (PEP 610 asks installers to leave them out; not all did). Over HTTP the user
// may be a token; "ssh://git@host/x" does not work without its user.
static void split_url(struct st_sv url, struct st_sv *ret_scheme, struct st_sv *ret_rest)
{
    size_t at = st_sv_search(url, ST_SV("://"));
    if (at == ST_SV_NPOS) {
        *ret_scheme = ST_SV_NULL;
        *ret_rest = url;
        return;
    }
    *ret_scheme = st_sv_sub(url, 0, at + 3);
    *ret_rest = st_sv_from(url, at + 3);
    struct st_sv authority = st_sv_sub(*ret_rest, 0, st_sv_find(*ret_rest, '/'));
    size_t user = st_sv_rfind(authority, '@');
    bool http = st_sv_starts(url, ST_SV("http")), password = st_sv_find(st_sv_sub(authority, 0, user), ':') < user;
    if (user != ST_SV_NPOS && (http || password))
        *ret_rest = st_sv_from(*ret_rest, user + 1);
}

// purl specification, "Known qualifiers": vcs_url=<tool>+<transport>://<host>/<path>@<revision>
static int parse_direct_url(struct st_parse *p, struct st_sv text, struct st_err *err)
{
    static const struct st_lang_member rows[] = {
        ST_LANG_MEMBER("url", st_lang_string, direct_url, url),
        ST_LANG_MEMBER("vcs_info", read_vcs, direct_url, vcs),
    };
    struct direct_url d = {0};
    struct st_sv scheme, rest;
    struct st_note note = {.type = ST_PKG_PYPI, .key = ST_SV("qual:vcs_url")};
    if (st_lang_object(text, rows, ST_LEN(rows), &d, p->arena, err))
        return -1;
    if (d.vcs.vcs.len == 0 || d.url.len == 0)
        return 0; // an archive or a local directory
    if (d.url.len + d.vcs.vcs.len + d.vcs.commit.len > ST_LANG_TEXT_MAX)
        return st_err_set(err, ST_E_LIMIT, "URL is longer than %d bytes", ST_LANG_TEXT_MAX);
    split_url(d.url, &scheme, &rest);
    if (st_arena_fmt(p->arena, &note.value, err, ST_SV_FMT "+" ST_SV_FMT ST_SV_FMT "%s" ST_SV_FMT, ST_SV_ARG(d.vcs.vcs),
                     ST_SV_ARG(scheme), ST_SV_ARG(rest), d.vcs.commit.len ? "@" : "", ST_SV_ARG(d.vcs.commit)) ||
        st_arena_fmt(p->arena, &note.path, err, ST_SV_FMT "/METADATA", ST_SV_ARG(st_sv_dirname(p->path))))
        return -1;
    return p->emit->note(p->emit->ctx, &note, err);
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    if (st_sv_eq(st_sv_basename(p->path), ST_SV("direct_url.json")))
        return parse_direct_url(p, st_view_all(v), err);
    return parse_metadata(p, st_view_all(v), err);
}

const struct st_cataloger st_cat_python = {
    .name = "python-installed-package-cataloger",
    .version = 1,
    .globs =
        (const char *const[]){
            "**/*.dist-info/METADATA",
            "**/*.dist-info/direct_url.json",
            "**/*.egg-info", // distutils wrote a file
            "**/*.egg-info/PKG-INFO",
            "**/*.egg/EGG-INFO/PKG-INFO",
            NULL,
        },
    .need = ST_NEED_CONTENT,
    .max_size = PYTHON_MAX_SIZE,
    .parse = parse,
};
