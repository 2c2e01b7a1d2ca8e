// The facts about a package as syft-json spells them: one table from our records to its metadata objects.
#ifndef ST_SBOM_SYFT_METADATA_H
#define ST_SBOM_SYFT_METADATA_H

#include "base/json.h"
#include "inventory/inventory.h"

// syft's name of the metadata object of a package type ("dpkg-db-entry"); NULL when syft has none.
const char *st_syft_metadata_name(enum st_pkg_type type);
// The object itself: every field that syft's schema requires, the others where there is a value.
// `text` is scratch.
int st_syft_metadata_write(struct st_json_out *w, const struct st_item *item, struct st_buf *text, struct st_err *err);
// Its plain fields that are not name and version, one a call while it returns true; *inout_at starts at 0.
bool st_syft_metadata_next(const struct st_item *item, size_t *inout_at, const char **ret_name,
                           struct st_sv *ret_value);

#endif
