// Would the layer cache have helped? A small file remembers which images (by configuration) had which base layer, and
// the second image of a base is the moment to say so: once, not for every image after it.
#ifndef ST_WORKER_BASE_HINT_H
#define ST_WORKER_BASE_HINT_H

#include "inventory/inventory.h"

#define ST_BASE_HINTS 128 // images that are remembered, in HOME/bases
// True: this image is the second with its base. It is remembered. Nothing that goes wrong here matters.
bool st_base_hint(const char *home, const struct st_subject *sub);

#endif
