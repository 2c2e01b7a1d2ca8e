// Declared licence texts: an SPDX expression where the text is one, else a name (SPDX specification 2.3, annex D).
#ifndef ST_INVENTORY_LICENSE_H
#define ST_INVENTORY_LICENSE_H

#include "base/mem.h"

enum st_license_kind {
    ST_LICENSE_NONE,       // says nothing (empty, NOASSERTION, NONE, UNKNOWN)
    ST_LICENSE_ID,         // one identifier of the SPDX list
    ST_LICENSE_EXPRESSION, // a valid expression of more than that, or a LicenseRef-
    ST_LICENSE_NAME,       // anything else, as it was declared
};

struct st_license {
    enum st_license_kind kind;
    struct st_sv text;    // canonical; points into the buffer given
    bool cyclonedx_id;    // ID: in the enumeration of CycloneDX 1.6
    bool has_ref, has_or; // EXPRESSION: a LicenseRef- in it; an OR outside of parentheses
};

#define ST_LICENSE_TEXT_MAX 4096 // longer text is a name: no expression of that length is a declaration
#define ST_LICENSE_DEPTH_MAX 32  // parentheses

// Identifiers are found whatever their letter case; AND, OR, WITH too. Short names of Debian's machine-readable
// copyright files ("GPL-2+", "Apache-2", "Expat") and of rpm ("GPLv2+") are read where they mean one SPDX id.
// `text` is cleared and holds the result. Fails on memory only.
int st_license_parse(struct st_sv declared, struct st_buf *text, struct st_license *ret, struct st_err *err);

// The next LicenseRef- in a canonical expression; false when there is none left.
bool st_license_next_ref(struct st_sv *rest, struct st_sv *ret_ref);

#endif
