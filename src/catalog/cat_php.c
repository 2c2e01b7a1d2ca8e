// PHP packages as Composer installed them: vendor/composer/installed.json, an array of packages (Composer 1) or
// an object with the array `packages` (2). What was installed for development is in it when it is on the disk, and is
// listed like the rest. The application itself is not in it.
#include "catalog/lang_int.h"

#include "base/ckd.h"

// 3 KB a package; Drupal or Magento with everything stay under 3 MB.
#define PHP_MAX_SIZE (64 * ST_MIB)

struct reference {
    struct st_sv reference;
};

struct composer {
    struct st_sv name, version, type, description, homepage;
    struct reference source, dist;
    struct st_lang_list licenses;
};

static int read_reference(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *reference,
                          struct st_err *err)
{
    static const struct st_lang_member rows[] = {ST_LANG_MEMBER("reference", st_lang_string, reference, reference)};
    *(struct reference *)reference = (struct reference){0};
    return val->type == ST_JSON_OBJECT ? st_lang_members(j, rows, ST_LEN(rows), reference, a, err)
                                       : st_json_skip(j, val, err);
}

static const struct st_lang_member members[] = {
    ST_LANG_MEMBER("name", st_lang_string, composer, name),
    ST_LANG_MEMBER("version", st_lang_string, composer, version),
    ST_LANG_MEMBER("type", st_lang_string, composer, type),
    ST_LANG_MEMBER("license", st_lang_strings, composer, licenses),
    ST_LANG_MEMBER("description", st_lang_string, composer, description),
    ST_LANG_MEMBER("homepage", st_lang_string, composer, homepage),
    ST_LANG_MEMBER("source", read_reference, composer, source),
    ST_LANG_MEMBER("dist", read_reference, composer, dist),
};

static int check(struct composer *c, struct st_package *pkg, struct st_err *err)
{
    if (st_lang_id(&c->name, &c->version, err))
        return -1;
    st_lang_scope(c->name, &pkg->ns, &pkg->name);
    return pkg->name.len ? 0 : st_err_set(err, ST_E_FORMAT, "a package has a vendor but no name");
}

static int read_package(struct st_parse *p, struct st_json *j, struct st_err *err)
{
    struct composer c = {0};
    struct st_package pkg = {.type = ST_PKG_COMPOSER};
    struct st_kv_list meta = {0};
    struct st_err bad = {0};
    if (st_lang_members(j, members, ST_LEN(members), &c, p->arena, err))
        return -1;
    if (check(&c, &pkg, &bad))
        return st_lang_bad_record(p, &bad, err);
    pkg.version = c.version;
    pkg.licenses = (struct st_svs){c.licenses.at, c.licenses.n};
    st_kv_add(&meta, "type", st_lang_text(c.type));
    st_kv_add(&meta, "description", st_lang_text(c.description));
    st_kv_add(&meta, "homepage", st_lang_text(c.homepage));
    st_kv_add(&meta, "reference", st_lang_text(c.source.reference.len ? c.source.reference : c.dist.reference));
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    return p->emit->package(p->emit->ctx, &pkg, err);
}

static int read_packages(struct st_parse *p, struct st_json *j, struct st_err *err)
{
    struct st_json_tok tok;
    int rc;
    while ((rc = st_json_element(j, &tok, err)) > 0)
        if (tok.type == ST_JSON_OBJECT ? read_package(p, j, err) : st_json_skip(j, &tok, err))
            return -1;
    return rc;
}

static int read_version2(struct st_parse *p, struct st_json *j, struct st_err *err)
{
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(j, &key, &val, err)) > 0) {
        bool wanted = val.type == ST_JSON_ARRAY && st_json_is(&key, ST_SV("packages"));
        if (wanted ? read_packages(p, j, err) : st_json_skip(j, &val, err))
            return -1;
    }
    return rc;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok tok;
    st_lang_json_init(&j, st_view_all(v));
    if (st_json_next(&j, &tok, err))
        return -1;
    if (tok.type != ST_JSON_ARRAY && tok.type != ST_JSON_OBJECT)
        return st_err_set_off(err, ST_E_FORMAT, tok.at, "neither a JSON array nor an object");
    if (tok.type == ST_JSON_ARRAY ? read_packages(p, &j, err) : read_version2(p, &j, err))
        return -1;
    return st_json_next(&j, &tok, err);
}

const struct st_cataloger st_cat_php = {
    .name = "php-composer-installed-cataloger",
    .version = 1,
    .globs = (const char *const[]){"**/composer/installed.json", NULL},
    .need = ST_NEED_CONTENT,
    .max_size = PHP_MAX_SIZE,
    .parse = parse,
};
