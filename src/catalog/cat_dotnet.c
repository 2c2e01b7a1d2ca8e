// .NET applications: NAME.deps.json, which the host reads to find assemblies (dotnet/sdk, "Runtime configuration
// files"). `libraries` names everything the build saw; what is there at run time are those to which the target of
// `runtimeTarget` gives a file: runtime, runtimeTargets, native or resources, "_._" being NuGet's mark for none.
// So packages of the compiler, analyzers and pure metapackages are left out (trivy does the same but for resources;
// syft also keeps a metapackage when anything it depends on has a file). A library that the target does not name, and
// all of them when the target is missing, are kept: nothing says that they are absent. Of projects only the application
// itself is a package, as in syft: the one that the file is called after.
#include "catalog/lang_int.h"

#include "base/ckd.h"
#include "base/map.h"

// Large applications have 1,000 libraries and 2 MB.
#define DOTNET_MAX_SIZE (32 * ST_MIB)

struct deps {
    struct st_sv target_name; // of runtimeTarget
    struct st_sv targets, libraries;
};

struct library {
    struct st_sv type, path, sha512;
};

static int read_target_name(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv,
                            struct st_err *err)
{
    static const struct st_lang_member rows[] = {ST_LANG_MEMBER("name", st_lang_string, deps, target_name)};
    struct deps d = {0};
    if (val->type != ST_JSON_OBJECT)
        return st_lang_string(j, val, a, sv, err); // as .NET Core 1 wrote it
    if (st_lang_members(j, rows, ST_LEN(rows), &d, a, err))
        return -1;
    *(struct st_sv *)sv = d.target_name;
    return 0;
}

// An object with a key that is a file.
static int read_has_files(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *flag,
                          struct st_err *err)
{
    struct st_json_tok key, v;
    int rc;
    if (val->type != ST_JSON_OBJECT)
        return st_json_skip(j, val, err);
    while ((rc = st_json_member(j, &key, &v, err)) > 0) {
        if (!st_sv_ends(key.raw, ST_SV("/_._")))
            *(bool *)flag = true;
        if (st_json_skip(j, &v, err))
            return -1;
    }
    return rc;
}

struct assets {
    bool any;
};

// Notes for every library of the target whether it has files at run time.
static int read_target(struct st_json *j, struct st_arena *a, struct st_map *ret, struct st_err *err)
{
    static const struct st_lang_member rows[] = {
        ST_LANG_MEMBER("runtime", read_has_files, assets, any),
        ST_LANG_MEMBER("runtimeTargets", read_has_files, assets, any),
        ST_LANG_MEMBER("native", read_has_files, assets, any),
        ST_LANG_MEMBER("resources", read_has_files, assets, any),
    };
    struct st_json_tok key, val;
    int rc;
    while ((rc = st_json_member(j, &key, &val, err)) > 0) {
        struct assets as = {0};
        struct st_sv name;
        bool fresh;
        if (st_json_text(&key, a, &name, err))
            return -1;
        if (val.type == ST_JSON_OBJECT ? st_lang_members(j, rows, ST_LEN(rows), &as, a, err)
                                       : st_json_skip(j, &val, err))
            return -1;
        uint64_t *slot = st_map_put(ret, st_hash(name), &fresh, err);
        if (!slot)
            return -1;
        *slot = as.any;
    }
    return rc;
}

// The members of `targets` are target name -> libraries.
static int read_targets(const struct deps *d, struct st_arena *a, struct st_map *ret, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok key, val;
    int rc;
    st_lang_json_init(&j, d->targets);
    if (d->targets.len == 0)
        return 0;
    if (st_json_next(&j, &val, err))
        return -1;
    if (val.type != ST_JSON_OBJECT)
        return 0;
    while ((rc = st_json_member(&j, &key, &val, err)) > 0) {
        struct st_sv name;
        if (st_json_text(&key, a, &name, err))
            return -1;
        bool wanted = val.type == ST_JSON_OBJECT && d->target_name.len && st_sv_eq(name, d->target_name);
        if (wanted ? read_target(&j, a, ret, err) : st_json_skip(&j, &val, err))
            return -1;
    }
    return rc;
}

// "bin/App.deps.json" belongs to the project App.
static bool is_root(struct st_sv path, struct st_sv name)
{
    struct st_sv file = st_sv_basename(path);
    return st_sv_eq(st_sv_sub(file, 0, file.len - (sizeof ".deps.json" - 1)), name);
}

static bool wanted(const struct st_parse *p, const struct st_map *present, struct st_sv key, struct st_sv name,
                   const struct library *lib)
{
    if (st_sv_ieq(lib->type, ST_SV("project")))
        return is_root(p->path, name);
    // A runtimepack is the runtime itself, in a self-contained application.
    if (!st_sv_ieq(lib->type, ST_SV("package")) && !st_sv_ieq(lib->type, ST_SV("runtimepack")))
        return false;
    const uint64_t *has_files = st_map_get(present, st_hash(key));
    return !has_files || *has_files;
}

static int emit_library(struct st_parse *p, const struct st_map *present, struct st_sv key, const struct library *lib,
                        struct st_err *err)
{
    static const struct st_sv pack = ST_SV_INIT("runtimepack.");
    struct st_package pkg = {.type = ST_PKG_NUGET};
    struct st_kv_list meta = {0};
    if (!st_sv_cut(key, '/', &pkg.name, &pkg.version) || !wanted(p, present, key, pkg.name, lib))
        return 0;
    // The SDK puts it before the name that the package has on NuGet.
    if (st_sv_ieq(lib->type, ST_SV("runtimepack")) && st_sv_starts(pkg.name, pack))
        pkg.name = st_sv_from(pkg.name, pack.len);
    struct st_err bad = {0};
    if (st_lang_id(&pkg.name, &pkg.version, &bad))
        return st_lang_bad_record(p, &bad, err);
    st_kv_add(&meta, "type", st_lang_text(lib->type));
    st_kv_add(&meta, "path", st_lang_text(lib->path));
    st_kv_add(&meta, "sha512", st_lang_text(lib->sha512));
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    return p->emit->package(p->emit->ctx, &pkg, err);
}

static int emit_libraries(struct st_parse *p, const struct deps *d, const struct st_map *present, struct st_err *err)
{
    static const struct st_lang_member rows[] = {
        ST_LANG_MEMBER("type", st_lang_string, library, type),
        ST_LANG_MEMBER("path", st_lang_string, library, path),
        ST_LANG_MEMBER("sha512", st_lang_string, library, sha512),
    };
    struct st_json j;
    struct st_json_tok key, val;
    int rc;
    st_lang_json_init(&j, d->libraries);
    if (st_json_next(&j, &val, err))
        return -1;
    if (val.type != ST_JSON_OBJECT)
        return st_err_set(err, ST_E_FORMAT, "\"libraries\" is not an object");
    while ((rc = st_json_member(&j, &key, &val, err)) > 0) {
        struct library lib = {0};
        struct st_sv text;
        if (st_json_text(&key, p->arena, &text, err) ||
            (val.type == ST_JSON_OBJECT ? st_lang_members(&j, rows, ST_LEN(rows), &lib, p->arena, err)
                                        : st_json_skip(&j, &val, err)) ||
            emit_library(p, present, text, &lib, err))
            return -1;
    }
    return rc;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    static const struct st_lang_member rows[] = {
        ST_LANG_MEMBER("runtimeTarget", read_target_name, deps, target_name),
        ST_LANG_MEMBER("targets", st_lang_raw, deps, targets),
        ST_LANG_MEMBER("libraries", st_lang_raw, deps, libraries),
    };
    struct deps d = {0};
    if (st_lang_object(st_view_all(v), rows, ST_LEN(rows), &d, p->arena, err))
        return -1;
    if (d.libraries.len == 0)
        return 0;
    struct st_map present;
    st_map_init(&present, p->mem);
    int rc = read_targets(&d, p->arena, &present, err);
    if (rc == 0)
        rc = emit_libraries(p, &d, &present, err);
    st_map_release(&present);
    return rc;
}

const struct st_cataloger st_cat_dotnet = {
    .name = "dotnet-deps-binary-cataloger",
    .version = 1,
    .globs = (const char *const[]){"**/*.deps.json", NULL},
    .need = ST_NEED_CONTENT,
    .max_size = DOTNET_MAX_SIZE,
    .parse = parse,
};
