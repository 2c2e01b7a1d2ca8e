// Package URLs (package-url/purl-spec; conventions of the field: distribution qualifiers as syft and grype use them).
#ifndef ST_INVENTORY_PURL_H
#define ST_INVENTORY_PURL_H

#include "base/mem.h"
#include "inventory/package.h"

// The canonical purl of a package in an image of this distribution (NULL: unknown), appended to out.
int st_purl_package(const struct st_package *pkg, const struct st_distro *distro, struct st_buf *out,
                    struct st_err *err);

#endif
