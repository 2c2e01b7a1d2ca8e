#include "archive/tar_header.h"
#include "base/ckd.h"

struct ustar {
    char name[ST_TAR_HEADER_NAME], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[ST_TAR_HEADER_NAME],
        magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct ustar) == ST_TAR_BLOCK, "a tar header is one block");

static void octal(char *field, size_t n, uint64_t value)
{
    for (size_t i = n - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

static void number(char *field, size_t n, uint64_t value)
{
    if (value >> (3 * (n - 1)) == 0) {
        octal(field, n, value);
        return;
    }
    for (size_t i = n; i-- > 1; value >>= 8)
        field[i] = (char)(value & 255);
    field[0] = (char)0x80;
}

void st_tar_header(char ret[static ST_TAR_BLOCK], struct st_sv name, struct st_sv link, char type, uint32_t mode,
                   uint64_t size)
{
    struct ustar h = {.type = type, .magic = "ustar", .version = {'0', '0'}};
    if (name.len)
        memcpy(h.name, name.ptr, ST_MIN(name.len, sizeof h.name));
    if (link.len)
        memcpy(h.link, link.ptr, ST_MIN(link.len, sizeof h.link));
    octal(h.mode, sizeof h.mode, mode & 07777);
    octal(h.uid, sizeof h.uid, 0);
    octal(h.gid, sizeof h.gid, 0);
    number(h.size, sizeof h.size, size);
    octal(h.mtime, sizeof h.mtime, 0);
    memset(h.sum, ' ', sizeof h.sum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof h; i++)
        sum += ((unsigned char *)&h)[i];
    octal(h.sum, sizeof h.sum - 1, sum);
    memcpy(ret, &h, sizeof h);
}
