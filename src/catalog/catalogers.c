// The table of catalogers. A new ecosystem adds its declaration and its row here, both sorted by name.
#include "base/ckd.h"
#include "base/map.h"
#include "catalog/catalog.h"

extern const struct st_cataloger st_cat_go;
extern const struct st_cataloger st_cat_java;
extern const struct st_cataloger st_cat_rust;

const struct st_cataloger *const st_catalogers[] = {
    &st_cat_go,
    &st_cat_java,
    &st_cat_rust,
    NULL,
};

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
