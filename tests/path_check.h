// For fuzz targets: what struct st_tar_entry promises of a path.
#ifndef TESTS_PATH_CHECK_H
#define TESTS_PATH_CHECK_H

#include "base/sv.h"

#include <stdlib.h>

static void check_path(struct st_sv path)
{
    struct st_sv part, rest = path;
    if (path.len && (path.ptr[0] == '/' || path.ptr[path.len - 1] == '/'))
        abort();
    while (st_sv_split(&rest, '/', &part))
        if (part.len == 0 || st_sv_eq(part, ST_SV(".")) || st_sv_eq(part, ST_SV("..")))
            abort();
}

#endif
