// The table of catalogers. A new ecosystem adds its row here: the NAME of its `st_cat_NAME`, sorted.
#include "base/ckd.h"
#include "base/map.h"
#include "catalog/catalog.h"

#define CATALOGERS(X) \
    X(apk)            \
    X(conda)          \
    X(dotnet)         \
    X(dpkg)           \
    X(go)             \
    X(java)           \
    X(nix)            \
    X(npm)            \
    X(pacman)         \
    X(php)            \
    X(portage)        \
    X(python)         \
    X(release)        \
    X(rpm)            \
    X(rpm_wal)        \
    X(ruby)           \
    X(rust)

#define DECLARE(name) extern const struct st_cataloger st_cat_##name;
CATALOGERS(DECLARE)

#define ROW(name) &st_cat_##name,
const struct st_cataloger *const st_catalogers[] = {CATALOGERS(ROW) NULL};

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
