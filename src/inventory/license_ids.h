// The SPDX licence and exception lists (generated: tools/gen-licenses), sorted by the id in lower case.
#ifndef ST_INVENTORY_LICENSE_IDS_H
#define ST_INVENTORY_LICENSE_IDS_H

#include "base/sv.h"

struct st_license_id {
    struct st_sv id; // as the list writes it
    bool cyclonedx;  // CycloneDX 1.6 accepts it as license.id
};

struct st_license_ids {
    const struct st_license_id *at;
    size_t n;
};

extern const struct st_license_ids st_license_ids, st_exception_ids;

#endif
