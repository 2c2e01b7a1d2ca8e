// What a mistyped word was meant to be.
#ifndef ST_BASE_NEAR_H
#define ST_BASE_NEAR_H

#include "base/sv.h"

// Edits (insert, delete, replace, swap of neighbours) that turn a into b; cut off at 100 bytes.
unsigned st_edit_distance(struct st_sv a, struct st_sv b);
// Is b what a mistyped a was meant to be?
bool st_edit_near(struct st_sv a, struct st_sv b, unsigned *inout_best);

#endif
