// HOME/bases: lines of "BASE CONFIG", digests in 64 hex digits each, the newest last.
#include "worker/base_hint.h"

#include "base/ckd.h"
#include "base/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#define HEX 64
#define LINE (2 * HEX + 2)

static struct st_sv hex_of(struct st_sv digest)
{
    return digest.len == HEX + 7 ? st_sv_from(digest, 7) : ST_SV_NULL;
}

// 1: the second image of this base; 0: not; -1: known already.
static int look(struct st_sv text, const char *line)
{
    size_t others = 0;
    for (size_t at = 0; at + LINE <= text.len; at += LINE) {
        if (memcmp(text.ptr + at, line, LINE) == 0)
            return -1;
        others += memcmp(text.ptr + at, line, HEX) == 0;
    }
    return others == 1;
}

bool st_base_hint(const char *home, const struct st_subject *sub)
{
    char path[PATH_MAX], line[LINE + 1], text[ST_BASE_HINTS * LINE];
    if (sub->n_layers < 2)
        return false;
    const struct st_subject_layer *l = &sub->layers[0];
    struct st_sv base = hex_of(l->digest.len ? l->digest : l->diff_id), config = hex_of(sub->config_digest);
    if (!base.len || !config.len || snprintf(path, sizeof path, "%s/bases", home) >= (int)sizeof path)
        return false;
    snprintf(line, sizeof line, ST_SV_FMT " " ST_SV_FMT "\n", ST_SV_ARG(base), ST_SV_ARG(config));
    ST_AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    ssize_t n = fd < 0 ? -1 : st_fd_pread(fd, text, sizeof text, 0);
    if (n < 0)
        return false;
    int found = look(st_sv_mem(text, (size_t)n), line);
    if (found < 0)
        return false;
    if (n == sizeof text) // full: half of them, the newer, stay
        n = ftruncate(fd, 0) || st_fd_write(fd, text + n / 2, (size_t)n / 2) ? -1 : n;
    return n >= 0 && st_fd_write(fd, line, LINE) == 0 && found == 1;
}
