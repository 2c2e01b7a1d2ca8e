// Base64 (RFC 4648, section 4).
#ifndef ST_BASE_BASE64_H
#define ST_BASE_BASE64_H

#include "base/sv.h"

#define ST_BASE64_LEN(n) (((n) + 2) / 3 * 4)
// ST_BASE64_LEN(s.len) bytes at out, padded with '='; that length.
size_t st_base64_encode(struct st_sv s, char *out);
// Into out, `room` bytes. Padding and line ends may be missing or there at the end. False: other characters, or no
// room.
bool st_base64_decode(struct st_sv text, char *out, size_t room, size_t *ret_len);

#endif
