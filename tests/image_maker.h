// Images written as a few lines of text, scanned and merged in this process, and what they hold as a few lines of text.
//
//   f PATH NAME VERSION    a file that names a Python package (any PATH; only *.egg-info is of interest)
//   r PATH TEXT            a file with TEXT; in it "\n" is a line feed
//   d PATH   l PATH TARGET   h PATH TARGET    directory, symbolic link, hard link
//   |                      the next layer
#ifndef TESTS_IMAGE_MAKER_H
#define TESTS_IMAGE_MAKER_H

#include "scan/merge.h"
#include "tar_maker.h"

#define IMAGE_LAYERS_MAX 8

struct image_maker {
    struct tar_maker tar[IMAGE_LAYERS_MAX];
    size_t n;
};

void image_make(struct image_maker *im, const char *script);
void image_free(struct image_maker *im);

// Descriptors of the layers' fragments. again: the layers may be read twice.
int image_fragments(struct st_mem *mem, const struct image_maker *im, bool again, int *ret_fds, struct st_err *err);
void image_close(int *fds, size_t n);
// "NAME@VERSION LAYER PATH,PATH[ owner=NAME][ needs=NAME,..]" a line, then "? REASON PATH" a line for each unknown,
// then "distro ID" when there is one. full: false leaves out LAYER. Cut at cap. 0 or -1.
int image_text(const struct st_inventory *inv, bool full, char *ret, size_t cap, struct st_err *err);
// All of the above.
int image_scan(struct st_mem *mem, const struct image_maker *im, bool again, bool full, char *ret, size_t cap,
               struct st_err *err);

#endif
