#include "base/near.h"

#include "base/ckd.h"

#define EDIT_MAX 100

unsigned st_edit_distance(struct st_sv a, struct st_sv b)
{
    unsigned row[3][EDIT_MAX + 1];
    a.len = ST_MIN(a.len, (size_t)EDIT_MAX);
    b.len = ST_MIN(b.len, (size_t)EDIT_MAX);
    for (size_t j = 0; j <= b.len; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned d = up[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            d = ST_MIN(d, up[j] + 1);
            d = ST_MIN(d, now[j - 1] + 1);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
                d = ST_MIN(d, up2[j - 2] + 1);
            now[j] = d;
        }
    }
    return row[a.len % 3][b.len];
}

bool st_edit_near(struct st_sv a, struct st_sv b, unsigned *inout_best)
{
    unsigned d = st_edit_distance(a, b);
    if (a.len >= 3 && st_sv_starts(b, a)) // a beginning counts as one edit
        d = ST_MIN(d, 1u);
    if (d > ST_MIN((unsigned)ST_MAX(a.len, b.len) / 3 + 1, 3u) || d >= *inout_best || d >= b.len)
        return false;
    *inout_best = d;
    return true;
}
