// Rust crates out of the ".dep-v0" section that cargo-auditable leaves in an executable: zlib-compressed JSON with the
// crates that were linked in (https://github.com/rust-secure-code/cargo-auditable, PARSING.md). Crates that only took
// part in the build ("kind": "build") are not in the file and are left out.
#include "base/json.h"
#include "catalog/exe.h"
#include "stream/stream.h"

#define RUST_JSON_MAX (8u << 20) // the limit that the format's own parsers suggest
#define RUST_CRATES_MAX 65536

struct crate {
    struct st_sv name, version, source;
    bool build, root;
};

static int read_text(struct st_json *j, const struct st_json_tok *value, struct st_arena *a, struct st_sv *ret,
                     struct st_err *err)
{
    return value->type == ST_JSON_STRING ? st_json_text(value, a, ret, err) : st_json_skip(j, value, err);
}

static int read_crate(struct st_json *j, struct st_arena *a, struct crate *c, struct st_err *err)
{
    struct st_json_tok key, value;
    struct st_sv kind = ST_SV("");
    int rc;
    *c = (struct crate){.build = false};
    while ((rc = st_json_member(j, &key, &value, err)) > 0) {
        struct st_sv *to = st_json_is(&key, ST_SV("name"))      ? &c->name
                           : st_json_is(&key, ST_SV("version")) ? &c->version
                           : st_json_is(&key, ST_SV("source"))  ? &c->source
                           : st_json_is(&key, ST_SV("kind"))    ? &kind
                                                                : NULL;
        if (st_json_is(&key, ST_SV("root")))
            c->root = value.type == ST_JSON_TRUE;
        if (to ? read_text(j, &value, a, to, err) : st_json_skip(j, &value, err))
            return -1;
    }
    c->build = st_sv_eq(kind, ST_SV("build"));
    return rc;
}

static int emit_crate(struct st_parse *p, const struct crate *c, struct st_err *err)
{
    struct st_kv_list meta = {.n = 0};
    st_kv_add(&meta, "source", c->source);
    st_kv_add(&meta, "root", c->root ? ST_SV("true") : ST_SV(""));
    struct st_package pkg = {.type = ST_PKG_CARGO, .name = c->name, .version = c->version, .meta = {meta.at, meta.n}};
    return p->emit->package(p->emit->ctx, &pkg, err);
}

static int read_packages(struct st_parse *p, struct st_json *j, struct st_err *err)
{
    struct st_json_tok value;
    struct crate c;
    unsigned n = 0;
    int rc;
    while ((rc = st_json_element(j, &value, err)) > 0) {
        if (value.type != ST_JSON_OBJECT)
            return st_err_set_off(err, ST_E_FORMAT, value.at, ".dep-v0: a package is not an object");
        if (++n > RUST_CRATES_MAX)
            return st_err_set(err, ST_E_LIMIT, ".dep-v0: more than %u packages", RUST_CRATES_MAX);
        if (read_crate(j, p->arena, &c, err))
            return -1;
        if (!c.build && c.name.len && emit_crate(p, &c, err))
            return -1;
    }
    return rc;
}

static int read_json(struct st_parse *p, struct st_sv text, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok key, value;
    int rc;
    st_json_init(&j, text);
    if (st_json_next(&j, &value, err))
        return -1;
    if (value.type != ST_JSON_OBJECT)
        return st_err_set(err, ST_E_FORMAT, ".dep-v0: not an object");
    while ((rc = st_json_member(&j, &key, &value, err)) > 0) {
        bool packages = st_json_is(&key, ST_SV("packages")) && value.type == ST_JSON_ARRAY;
        if (packages ? read_packages(p, &j, err) : st_json_skip(&j, &value, err))
            return -1;
    }
    return rc;
}

static int read_section(struct st_parse *p, struct st_sv bytes, struct st_err *err)
{
    struct st_buf json;
    st_buf_init(&json, p->mem);
    int rc = st_inflate(bytes, ST_DEFLATE_ZLIB, RUST_JSON_MAX, &json, err);
    if (rc == 0)
        rc = read_json(p, st_buf_sv(&json), err);
    st_buf_release(&json);
    return rc;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    unsigned n = 0;
    enum st_view_result r = st_exe_count(v, &n);
    for (unsigned i = 0; i < n && r == ST_VIEW_OK; i++) {
        struct st_exe x;
        struct st_exe_part part;
        struct st_sv bytes;
        r = st_exe_open(&x, v, i);
        if (r == ST_VIEW_OK)
            r = st_exe_section(&x, x.format == ST_EXE_MACHO ? "__DATA" : NULL, ".dep-v0", &part);
        if (r == ST_VIEW_OUTSIDE) {
            r = ST_VIEW_OK;
            continue;
        }
        if (r == ST_VIEW_OK)
            r = st_exe_bytes(&x, &part, &bytes);
        if (r == ST_VIEW_OUTSIDE)
            return st_err_set(err, ST_E_FORMAT, "section .dep-v0 lies outside of the file");
        if (r == ST_VIEW_OK)
            return read_section(p, bytes, err);
    }
    return r == ST_VIEW_MISSING ? ST_PARSE_AGAIN : 0;
}

const struct st_cataloger st_cat_rust = {
    .name = "cargo-auditable-binary-cataloger",
    .version = 1,
    .magic = st_exe_magic,
    .need = ST_NEED_SPARSE,
    .max_size = ST_EXE_FILE_MAX,
    .plan = st_exe_plan,
    .parse = parse,
};
