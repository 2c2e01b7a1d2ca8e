// Every cataloger. The input is a file of an image: its path up to the first newline, then its bytes. Each cataloger
// that wants it is run. ST_CATALOGER=name in the environment pins one, which then also gets files whose path says
// nothing to it, under a path made from its first glob.
#include "catalog_harness.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A path that the glob matches: "**/" falls away, '*' becomes 'x'.
static struct st_sv path_of_glob(const char *glob, char *buf, size_t room)
{
    size_t n = 0;
    while (*glob && n < room) {
        if (glob[0] == '*' && glob[1] == '*' && glob[2] == '/') {
            glob += 3;
            continue;
        }
        buf[n++] = *glob == '*' ? 'x' : *glob;
        glob++;
    }
    return (struct st_sv){buf, n};
}

// As tar paths are after normalising; a fuzzer's path rarely is.
static bool normalised(struct st_sv path)
{
    struct st_sv part, rest = path;
    bool ok = path.len && path.ptr[path.len - 1] != '/';
    while (ok && st_sv_split(&rest, '/', &part))
        ok = part.len && !st_sv_eq(part, ST_SV(".")) && !st_sv_eq(part, ST_SV(".."));
    return ok;
}

static void run(struct st_mem *mem, const struct st_cataloger *c, struct st_sv path, struct st_sv bytes)
{
    struct harness h = {.mem = mem};
    harness_run(&h, c, path, bytes, NULL);
    if (c->need == ST_NEED_SPARSE) {
        h.whole = true;
        harness_run(&h, c, path, bytes, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *pinned = getenv("ST_CATALOGER");
    const struct st_cataloger *only = pinned ? harness_find(pinned) : NULL;
    if (pinned && !only) {
        fprintf(stderr, "no cataloger is called %s\n", pinned);
        abort();
    }
    struct st_mem mem;
    st_mem_init(&mem, 256 << 20, -1);
    struct st_sv path, bytes;
    char made[512];
    st_sv_cut(st_sv_mem(data, size), '\n', &path, &bytes);
    bool good = normalised(path);
    if (only) {
        if (only->globs && !(good && harness_wants(only, path, bytes)))
            path = path_of_glob(only->globs[0], made, sizeof made);
        else if (!good)
            path = ST_SV("usr/bin/x");
        run(&mem, only, path, bytes);
    } else if (good) {
        for (const struct st_cataloger *const *c = st_catalogers; *c; c++)
            if (harness_wants(*c, path, bytes))
                run(&mem, *c, path, bytes);
    }
    st_mem_release(&mem);
    return 0;
}
