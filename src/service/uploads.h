// Archives that the service stored (api_upload.c): HOME/uploads/ID/NAME. The path is the image of their job, but people
// know them by their name.
#ifndef ST_SERVICE_UPLOADS_H
#define ST_SERVICE_UPLOADS_H

#include "base/sv.h"

// Is `path` DIR/ID/NAME, with no way out of the directory? `dir`: HOME/uploads/, with the slash; empty: no.
static inline bool st_uploads_name(struct st_sv dir, struct st_sv path, struct st_sv *ret_name)
{
    struct st_sv rest = st_sv_from(path, dir.len), id;
    return dir.len && st_sv_starts(path, dir) && st_sv_cut(rest, '/', &id, ret_name) && id.len && ret_name->len &&
           id.ptr[0] != '.' && ret_name->ptr[0] != '.' && !memchr(ret_name->ptr, '/', ret_name->len);
}

#endif
