#include "fetch/answers.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *ctx, struct st_sv digest)
{
    *(size_t *)ctx += digest.len;
}

static void url(void *ctx, struct st_sv digest, struct st_sv url)
{
    *(size_t *)ctx += digest.len + url.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_sv text = st_sv_mem(data, size);
    struct st_token_answer t;
    struct st_error_answer e;
    struct st_err err;
    size_t bytes = 0;
    st_mem_init(&mem, 8 << 20, -1);
    st_arena_init(&a, &mem);
    if (st_token_parse(text, &a, &t, &err) == 0 && !t.token.len)
        abort();
    st_error_parse(text, &a, &e);
    st_index_children(text, &a, count, &bytes);
    st_layer_urls(text, &a, url, &bytes);
    st_media_type(text, &a);
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
