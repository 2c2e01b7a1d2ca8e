// Hand-made inventories for the tests of writers. Every call gives views into fresh memory and frees what the call
// before gave, so that a sanitizer sees who keeps a view too long.
#ifndef TESTS_INVENTORY_FIXTURE_H
#define TESTS_INVENTORY_FIXTURE_H

#include "inventory/inventory.h"

enum fixture {
    FIXTURE_IMAGE,  // one package of each kind and more, hostile texts, two layers, dependencies, owners, unknowns
    FIXTURE_ROOTFS, // a directory without os-release, incomplete, three packages
    FIXTURE_EMPTY,  // an image with nothing in it
    FIXTURE_MAX
};
extern const char *const fixture_names[FIXTURE_MAX];

struct fixture_state;
// Valid until fixture_free. Aborts when it cannot be made.
const struct st_inventory *fixture_new(enum fixture which, struct fixture_state **ret_state);
void fixture_free(struct fixture_state *state);

#endif
