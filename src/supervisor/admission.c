#include "supervisor/admission.h"

#include "base/ckd.h"

uint64_t st_admission_reserve(uint64_t host)
{
    return ST_MIN(ST_MAX(host / 8, 64 * ST_MIB), ST_MIN(ST_GIB, host / 2));
}

uint64_t st_admission_effective(uint64_t limit, uint64_t host)
{
    return ST_MIN(limit, host - st_admission_reserve(host));
}

static bool candidate(const struct st_admission_pool *p)
{
    return p->wants && !p->waiting && !p->admit;
}

// The one that has waited for longest; a starving one first. n: none.
static size_t next(const struct st_admission_pool *pools, size_t n, const bool *passed)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (candidate(&pools[i]) && !passed[i] &&
            (best == n || (pools[i].starving && !pools[best].starving) ||
             (pools[i].starving == pools[best].starving && pools[i].waited_ms > pools[best].waited_ms)))
            best = i;
    return best;
}

#define POOLS_MAX 256

void st_admission_decide(struct st_admission_pool *pools, size_t n, uint64_t used, uint64_t host)
{
    uint64_t room = host - st_admission_reserve(host), taken = used;
    bool passed[POOLS_MAX] = {false}, left_out = false;
    n = ST_MIN(n, (size_t)POOLS_MAX);
    for (size_t i = 0; i < n; i++) {
        pools[i].admit = pools[i].yield = false;
        taken += pools[i].waiting ? pools[i].memory : 0;
    }
    for (size_t i; (i = next(pools, n, passed)) < n; passed[i] = true) {
        struct st_admission_pool *p = &pools[i];
        p->admit = taken == 0 || (taken <= room && p->memory <= room - taken);
        taken += p->admit ? p->memory : 0;
        left_out = left_out || !p->admit;
        if (!p->admit && p->starving)
            break;
    }
    for (size_t i = 0; i < n; i++)
        pools[i].yield = left_out && pools[i].waiting;
}
