#include "base/random.h"

#include <stdio.h>
#include <sys/random.h>

int st_random_hex(char *ret, size_t digits, struct st_err *err)
{
    unsigned char raw[ST_RANDOM_HEX_MAX / 2];
    if (getrandom(raw, digits / 2, 0) != (ssize_t)(digits / 2))
        return st_err_sys(err, "getrandom");
    for (size_t i = 0; i < digits / 2; i++)
        snprintf(ret + 2 * i, 3, "%02x", raw[i]);
    return 0;
}
