// Nix store paths: nix/store/HASH-NAME[-VERSION][-OUTPUT], HASH being 32 characters of Nix's base 32 (Nix manual,
// "Store path"). Name and version are told apart as builtins.parseDrvName does: the version starts after the first '-'
// that no letter follows. A path without a version is no package (a script, a configuration, a source).
#include "base/ckd.h"
#include "catalog/catalog_int.h"

#include <sys/stat.h>

#define HASH_LEN 32

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Digits and lower case letters less e, o, u, t.
static bool is_hash(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!is_digit(c) && (c < 'a' || c > 'z' || c == 'e' || c == 'o' || c == 'u' || c == 't'))
            return false;
    }
    return s.len == HASH_LEN;
}

// Derivations, locks, and single files: sources, patches, scripts.
static bool is_file_name(struct st_sv name)
{
    static const struct st_sv ends[] = {
        ST_SV_INIT(".drv"),  ST_SV_INIT(".lock"), ST_SV_INIT(".chroot"), ST_SV_INIT(".check"), ST_SV_INIT(".tar"),
        ST_SV_INIT(".gz"),   ST_SV_INIT(".xz"),   ST_SV_INIT(".bz2"),    ST_SV_INIT(".zst"),   ST_SV_INIT(".tgz"),
        ST_SV_INIT(".zip"),  ST_SV_INIT(".sh"),   ST_SV_INIT(".patch"),  ST_SV_INIT(".diff"),  ST_SV_INIT(".json"),
        ST_SV_INIT(".conf"), ST_SV_INIT(".gem"),  ST_SV_INIT(".whl"),    ST_SV_INIT(".crate"), ST_SV_INIT(".txt"),
    };
    for (size_t i = 0; i < ST_LEN(ends); i++)
        if (st_sv_ends(name, ends[i]))
            return true;
    return false;
}

static bool is_date(struct st_sv s)
{
    static const char shape[] = "dddd-dd-dd";
    if (s.len != sizeof shape - 1)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (shape[i] == 'd' ? !is_digit(s.ptr[i]) : s.ptr[i] != shape[i])
            return false;
    return true;
}

static bool split_name(struct st_sv full, struct st_sv *ret_name, struct st_sv *ret_version)
{
    const struct st_sv unstable = ST_SV("-unstable");
    size_t i = 1;
    while (i + 1 < full.len && !(full.ptr[i] == '-' && !is_letter(full.ptr[i + 1])))
        i++;
    if (i + 1 >= full.len)
        return false;
    *ret_name = st_sv_sub(full, 0, i);
    *ret_version = st_sv_from(full, i + 1);
    // "x-unstable-2023-01-01": nixpkgs means the word as a part of the version
    if (is_date(st_sv_sub(*ret_version, 0, 10)) && st_sv_ends(*ret_name, unstable) && ret_name->len > unstable.len) {
        ret_name->len -= unstable.len;
        *ret_version = st_sv_from(full, ret_name->len + 1);
    }
    return true;
}

// "2.34-210-bin" -> "2.34-210", "bin". An output is a last word without digits that is no word of versions.
static void split_output(struct st_sv *version, struct st_sv *ret_output)
{
    static const struct st_sv words[] = {ST_SV_INIT("alpha"), ST_SV_INIT("beta"),   ST_SV_INIT("pre"),
                                         ST_SV_INIT("rc"),    ST_SV_INIT("stable"), ST_SV_INIT("unstable"),
                                         ST_SV_INIT("git"),   ST_SV_INIT("final"),  ST_SV_INIT("dirty")};
    *ret_output = ST_SV_NULL;
    size_t dash = st_sv_rfind(*version, '-');
    if (dash == ST_SV_NPOS || dash == 0)
        return;
    struct st_sv last = st_sv_from(*version, dash + 1);
    for (size_t i = 0; i < last.len; i++)
        if (!is_letter(last.ptr[i]) && last.ptr[i] != '_')
            return;
    for (size_t i = 0; i < ST_LEN(words); i++)
        if (st_sv_eq(last, words[i]))
            return;
    *ret_output = last;
    version->len = dash;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct st_sv base = st_sv_basename(p->path), hash = st_sv_sub(base, 0, HASH_LEN), name, version, output, path;
    uint32_t kind = p->mode & S_IFMT;
    if (kind && kind != S_IFDIR)
        return 0;
    if (base.len < HASH_LEN + 3 || base.ptr[HASH_LEN] != '-' || !is_hash(hash))
        return 0;
    struct st_sv full = st_sv_from(base, HASH_LEN + 1);
    if (is_file_name(full) || !split_name(full, &name, &version))
        return 0;
    split_output(&version, &output);
    if (st_arena_fmt(p->arena, &path, err, "/" ST_SV_FMT, ST_SV_ARG(p->path)))
        return -1;
    struct st_kv_list quals = {.n = 0}, meta = {.n = 0};
    st_kv_add(&quals, "output", output);
    st_kv_add(&quals, "outputhash", hash);
    st_kv_add(&meta, "path", path);
    st_kv_add(&meta, "output", output);
    st_kv_add(&meta, "outputHash", hash);
    struct st_package pkg = {
        .type = ST_PKG_NIX, .name = name, .version = version, .quals = {quals.at, quals.n}, .meta = {meta.at, meta.n}};
    return p->emit->package(p->emit->ctx, &pkg, err);
}

const struct st_cataloger st_cat_nix = {
    .name = "nix-cataloger",
    .version = 1,
    .globs = (const char *const[]){"nix/store/*", NULL},
    .need = ST_NEED_NAME,
    .parse = parse,
};
