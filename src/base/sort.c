#include "base/sort.h"

#include <stdint.h>

struct array {
    char *base;
    size_t size;
    int (*cmp)(const void *a, const void *b);
};

static void swap(const struct array *a, size_t i, size_t j)
{
    char *x = a->base + i * a->size, *y = a->base + j * a->size;
    for (size_t k = 0; k < a->size; k++) {
        char t = x[k];
        x[k] = y[k];
        y[k] = t;
    }
}

static int cmp(const struct array *a, size_t i, size_t j)
{
    return a->cmp(a->base + i * a->size, a->base + j * a->size);
}

static void sift(const struct array *a, size_t first, size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && cmp(a, first + child, first + child + 1) < 0)
            child++;
        if (cmp(a, first + root, first + child) >= 0)
            return;
        swap(a, first + root, first + child);
    }
}

static void heap_sort(const struct array *a, size_t first, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(a, first, i, n);
    for (size_t i = n; i-- > 1;) {
        swap(a, first, first + i);
        sift(a, first, 0, i);
    }
}

// Quicksort while it goes well, heap sort when the input makes it go badly.
static void sort(const struct array *a, size_t first, size_t n, unsigned depth)
{
    while (n > 16) {
        if (depth-- == 0) {
            heap_sort(a, first, n);
            return;
        }
        size_t mid = first + n / 2, last = first + n - 1;
        if (cmp(a, mid, first) < 0)
            swap(a, mid, first);
        if (cmp(a, last, first) < 0)
            swap(a, last, first);
        if (cmp(a, last, mid) < 0)
            swap(a, last, mid);
        swap(a, mid, first + 1); // the pivot
        size_t i = first + 1, j = last;
        for (;;) {
            while (cmp(a, ++i, first + 1) < 0)
                ;
            while (cmp(a, --j, first + 1) > 0)
                ;
            if (i >= j)
                break;
            swap(a, i, j);
        }
        swap(a, first + 1, j);
        size_t left = j - first, right = n - left - 1;
        if (left < right) {
            sort(a, first, left, depth);
            first = j + 1;
            n = right;
        } else {
            sort(a, j + 1, right, depth);
            n = left;
        }
    }
    for (size_t i = first + 1; i < first + n; i++)
        for (size_t j = i; j > first && cmp(a, j, j - 1) < 0; j--)
            swap(a, j, j - 1);
}

void st_sort(void *base, size_t n, size_t size, int (*compare)(const void *a, const void *b))
{
    struct array a = {base, size, compare};
    unsigned depth = 2;
    for (size_t k = n; k; k >>= 1)
        depth += 2;
    if (n > 1)
        sort(&a, 0, n, depth);
}
