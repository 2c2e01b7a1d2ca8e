#include "base/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct st_toml *root)
{
    size_t n = 0;
    const struct st_toml *open[4 * ST_TOML_DEPTH_MAX], *c = root->first;
    for (size_t depth = 0;;) {
        for (; c; c = c->next) {
            n += c->key.len + (c->text.len ? (unsigned char)c->text.ptr[c->text.len - 1] : 0);
            if ((c->type == ST_TOML_TABLE || c->type == ST_TOML_ARRAY) && depth < 4 * ST_TOML_DEPTH_MAX)
                open[depth++] = c->first;
        }
        if (depth == 0)
            return n;
        c = open[--depth];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_err err;
    const struct st_toml *root;
    st_mem_init(&mem, 64 << 20, -1);
    st_arena_init(&a, &mem);
    if (st_toml_parse(st_sv_mem(data, size), &a, &root, &err) == 0)
        walk(root);
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
