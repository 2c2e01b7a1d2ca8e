// Forgetting jobs that ended long ago.
#include "base/ckd.h"
#include "store/db.h"

struct forgetting {
    int64_t before_ms;
    uint32_t limit;
    char (*ids)[ST_JOB_ID + 1];
    size_t n;
};

static int take_id(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct forgetting *f = ctx;
    if (f->n == f->limit || c[0].text.len != ST_JOB_ID)
        return st_err_set(err, ST_E_CORRUPT, "the store names a job that it cannot have");
    memcpy(f->ids[f->n++], c[0].text.ptr, ST_JOB_ID);
    return 0;
}

// The outer condition is looked at again when another host changed the row meanwhile (PostgreSQL, READ COMMITTED): a
// job that was put back into the queue is not forgotten.
static int forget_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct forgetting *f = ctx;
    if (ST_DB_RUN(
            s, take_id, f, err,
            "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE updated_ms < ?1 AND status IN ('completed', "
            "'failed', 'cancelled') ORDER BY updated_ms LIMIT ?2) AND updated_ms < ?1 AND status IN ('completed', "
            "'failed', 'cancelled') RETURNING id",
            ST_DB_N(f->before_ms), ST_DB_N(f->limit)) < 0)
        return -1;
    for (size_t i = 0; i < f->n; i++)
        if (ST_DB_RUN(s, NULL, NULL, err, "DELETE FROM attempts WHERE job = ?1", ST_DB_T(st_sv_of(f->ids[i]))) < 0)
            return -1;
    return 0;
}

int st_store_forget(struct st_store *s, int64_t before_ms, struct st_err *err)
{
    char ids[ST_FORGET_STEP][ST_JOB_ID + 1] = {{0}};
    struct forgetting f = {.before_ms = before_ms, .limit = ST_FORGET_STEP, .ids = ids};
    return st_db_transact(s, forget_tx, &f, err) ? -1 : (int)f.n;
}
