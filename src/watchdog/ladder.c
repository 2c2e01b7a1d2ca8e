// Which rungs are used: the text of --act.
#include "base/ckd.h"
#include "command/option.h"
#include "watchdog/act.h"

#include <stdio.h>

void st_wd_ladder_init(struct st_wd_ladder *l)
{
    *l = (struct st_wd_ladder){0};
    for (int i = 0; i < ST_WD_RUNG_COUNT; i++)
        l->on[i] = st_wd_rungs[i].on;
    st_wd_protect_init(&l->protect);
}

static int find(struct st_sv word, int *ret, struct st_err *err)
{
    unsigned distance = UINT32_MAX;
    const char *best = NULL;
    char all[160];
    size_t n = 0;
    for (int i = 0; i < ST_WD_RUNG_COUNT; i++) {
        const char *w = st_wd_rungs[i].word;
        if (st_sv_eq(st_sv_of(w), word)) {
            *ret = i;
            return 0;
        }
        if (st_edit_near(word, st_sv_of(w), &distance))
            best = w;
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", w);
    }
    word = st_sv_sub(word, 0, 100);
    if (best)
        return st_err_set(err, ST_E_USAGE, "unknown rung '" ST_SV_FMT "' for --act; did you mean %s? (one of %s)",
                          ST_SV_ARG(word), best, all);
    return st_err_set(err, ST_E_USAGE, "unknown rung '" ST_SV_FMT "' for --act (one of %s)", ST_SV_ARG(word), all);
}

int st_wd_ladder_parse(struct st_wd_ladder *l, struct st_sv text, struct st_err *err)
{
    struct st_sv part;
    while (st_sv_split(&text, ',', &part)) {
        part = st_sv_trim(part);
        char sign = part.len && (part.ptr[0] == '+' || part.ptr[0] == '-') ? part.ptr[0] : 0;
        int rung;
        if (find(st_sv_from(part, sign ? 1 : 0), &rung, err))
            return -1;
        if (sign) {
            l->on[rung] = sign == '+';
            continue;
        }
        for (int i = rung + 1; i < ST_WD_RUNG_HOOK; i++) // the hook hands over what is left, whatever was tried
            l->on[i] = false;
        l->on[rung] = true;
    }
    return 0;
}
