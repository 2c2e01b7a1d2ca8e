// Names that nobody can guess and no two have.
#ifndef ST_BASE_RANDOM_H
#define ST_BASE_RANDOM_H

#include "base/err.h"

#include <stddef.h>

#define ST_RANDOM_HEX_MAX 64
// `digits` (even, at most ST_RANDOM_HEX_MAX) lower-case hex digits from the kernel, and a NUL.
int st_random_hex(char *ret, size_t digits, struct st_err *err);

#endif
