// In-place sort without memory of its own (glibc's qsort allocates a copy of the array). Not stable: compare to a total
// order. O(n log n) whatever the input.
#ifndef ST_BASE_SORT_H
#define ST_BASE_SORT_H

#include <stddef.h>

void st_sort(void *base, size_t n, size_t size, int (*cmp)(const void *a, const void *b));

#endif
