// The table of catalogers. A new ecosystem adds its declaration and its row here, both sorted by name.
#include "base/ckd.h"
#include "base/map.h"
#include "catalog/catalog.h"

extern const struct st_cataloger st_cat_apk;
extern const struct st_cataloger st_cat_conda;
extern const struct st_cataloger st_cat_dotnet;
extern const struct st_cataloger st_cat_dpkg;
extern const struct st_cataloger st_cat_go;
extern const struct st_cataloger st_cat_java;
extern const struct st_cataloger st_cat_nix;
extern const struct st_cataloger st_cat_npm;
extern const struct st_cataloger st_cat_pacman;
extern const struct st_cataloger st_cat_php;
extern const struct st_cataloger st_cat_portage;
extern const struct st_cataloger st_cat_python;
extern const struct st_cataloger st_cat_release;
extern const struct st_cataloger st_cat_rpm;
extern const struct st_cataloger st_cat_rpm_wal;
extern const struct st_cataloger st_cat_ruby;
extern const struct st_cataloger st_cat_rust;

// clang-format off
const struct st_cataloger *const st_catalogers[] = {
    &st_cat_apk,
    &st_cat_conda,
    &st_cat_dotnet,
    &st_cat_dpkg,
    &st_cat_go,
    &st_cat_java,
    &st_cat_nix,
    &st_cat_npm,
    &st_cat_pacman,
    &st_cat_php,
    &st_cat_portage,
    &st_cat_python,
    &st_cat_release,
    &st_cat_rpm,
    &st_cat_rpm_wal,
    &st_cat_ruby,
    &st_cat_rust,
    NULL,
};
// clang-format on

size_t st_catalogers_count(void)
{
    return ST_LEN(st_catalogers) - 1;
}

uint64_t st_catalogers_version(void)
{
    uint64_t v = st_hash(ST_SV("catalogers"));
    for (const struct st_cataloger *const *c = st_catalogers; *c; c++)
        v = st_hash_mix(v, st_hash_mix(st_hash(st_sv_of((*c)->name)), (*c)->version));
    return v;
}
