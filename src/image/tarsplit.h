// tar-split (github.com/vbatts/tar-split, tar/storage): how containers/storage remembers the archive that a layer was
// unpacked from. One JSON object a line, in order: the bytes of the archive between two files' contents ("type": 2,
// Base64 in "payload"), or a file whose content follows ("type": 1, "name" or "name_raw", "size"). With the files'
// contents from the unpacked directory the archive is there again, byte for byte, so that its diff ID can be checked.
// Pure; fuzzed.
#ifndef ST_IMAGE_TARSPLIT_H
#define ST_IMAGE_TARSPLIT_H

#include "stream/stream.h"

#define ST_TARSPLIT_LINE_MAX (8u << 20) // bytes of one line; a header with the longest pax records has 2 MiB
#define ST_TARSPLIT_NAME_MAX 4096       // PATH_MAX: a longer name cannot have been unpacked

struct st_tarsplit_to {
    int (*bytes)(void *ctx, struct st_sv bytes, struct st_err *err);
    // `size` bytes of this file's content, as the archive named it (anything that is no NUL); size > 0.
    int (*file)(void *ctx, struct st_sv name, uint64_t size, struct st_err *err);
    void *ctx;
};

// The whole archive goes to `to`, in order. `in` is the decoded text (borrowed). ST_E_CORRUPT, ST_E_LIMIT.
int st_tarsplit_read(struct st_mem *mem, struct st_stream *in, const struct st_tarsplit_to *to, struct st_err *err);

#endif
