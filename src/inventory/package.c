#include "inventory/package.h"

#include <assert.h>

static const struct st_pkg_type_info types[ST_PKG_TYPES_MAX] = {
#define ST_PKG_ROW(id, word, purl, language, database) [id] = {word, purl, language, database},
    ST_PKG_TYPES(ST_PKG_ROW)
#undef ST_PKG_ROW
};

static const char *const reasons[ST_UNKNOWN_REASONS_MAX] = {
#define ST_UNKNOWN_ROW(id, word) [id] = word,
    ST_UNKNOWN_REASONS(ST_UNKNOWN_ROW)
#undef ST_UNKNOWN_ROW
};

const struct st_pkg_type_info *st_pkg_type_info(enum st_pkg_type type)
{
    assert(type < ST_PKG_TYPES_MAX);
    return &types[type];
}

const char *st_unknown_word(enum st_unknown_reason reason)
{
    assert(reason < ST_UNKNOWN_REASONS_MAX);
    return reasons[reason];
}
