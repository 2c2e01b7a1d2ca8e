// Only in the tests' own stella-analyze: a parser that dies on a file whose name starts with "crash-".
#include "scan/fragment.h"

int __real_st_frag_put_file(struct st_frag_writer *w, uint64_t entry, struct st_sv path, const char *cataloger,
                            uint64_t *ret_number, struct st_err *err);
int __wrap_st_frag_put_file(struct st_frag_writer *w, uint64_t entry, struct st_sv path, const char *cataloger,
                            uint64_t *ret_number, struct st_err *err);
const struct st_emit *__real_st_frag_emit(struct st_frag_writer *w);
const struct st_emit *__wrap_st_frag_emit(struct st_frag_writer *w);

static bool deadly;

int __wrap_st_frag_put_file(struct st_frag_writer *w, uint64_t entry, struct st_sv path, const char *cataloger,
                            uint64_t *ret_number, struct st_err *err)
{
    deadly = st_sv_starts(st_sv_basename(path), ST_SV("crash-"));
    return __real_st_frag_put_file(w, entry, path, cataloger, ret_number, err);
}

// Asked for by what a parser emits, not by the unknown that names a file it died on.
const struct st_emit *__wrap_st_frag_emit(struct st_frag_writer *w)
{
    if (deadly)
        __builtin_trap();
    return __real_st_frag_emit(w);
}
