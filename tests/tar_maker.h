// Tar archives in memory, for tests.
#ifndef TESTS_TAR_MAKER_H
#define TESTS_TAR_MAKER_H

#include <stddef.h>

struct tar_maker {
    char *ptr; // owns
    size_t len, cap;
};

// type: '0' file, '1' hard link, '2' symbolic link, '5' directory. Names up to 99 bytes.
void tar_add(struct tar_maker *t, char type, const char *path, const char *link, const void *data, size_t n);
void tar_end(struct tar_maker *t); // the end marker
void tar_free(struct tar_maker *t);

#endif
