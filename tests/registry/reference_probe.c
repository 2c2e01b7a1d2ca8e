// reference_probe REF: "DOMAIN REPOSITORY TAG|DIGEST", what is asked of the registry, or exit 2 with the reason.
#include "image/reference.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_reference r;
    struct st_err err = {0};
    st_mem_init(&mem, 1 << 20, -1);
    st_arena_init(&a, &mem);
    int rc = argc == 2 ? st_reference_parse(st_sv_of(argv[1]), NULL, NULL, &a, &r, &err) : -1;
    if (rc == 0 && r.source->takes == ST_TAKES_REGISTRY)
        printf(ST_SV_FMT " " ST_SV_FMT " " ST_SV_FMT "\n", ST_SV_ARG(r.domain), ST_SV_ARG(r.repository),
               ST_SV_ARG(r.digest.len ? r.digest : r.tag));
    else
        fprintf(stderr, "%s\n", err.text);
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc ? 2 : 0;
}
