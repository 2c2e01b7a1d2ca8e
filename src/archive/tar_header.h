// Makes one block: a ustar header (POSIX.1-2017 pax, "ustar Interchange Format"). Owner and time are 0, so that equal
// trees make equal archives.
#ifndef ST_ARCHIVE_TAR_HEADER_H
#define ST_ARCHIVE_TAR_HEADER_H

#include "base/sv.h"

#define ST_TAR_BLOCK 512
#define ST_TAR_HEADER_NAME 100 // bytes of name and link that it has room for; longer ones are cut
// From 8 GiB on `size` is written as GNU tar does (base-256).
void st_tar_header(char ret[static ST_TAR_BLOCK], struct st_sv name, struct st_sv link, char type, uint32_t mode,
                   uint64_t size);

#endif
