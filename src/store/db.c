// What both back ends share: checked parameters, transactions, the way to the newest schema.
#include "store/db.h"

#include "base/ckd.h"
#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>

// Neither database takes NUL or broken UTF-8 in a text: what comes from an image is shown with '?' instead.
static bool clean(struct st_sv t)
{
    return t.len <= ST_JOB_TEXT_MAX && !memchr(t.ptr ? t.ptr : "", '\0', t.len) && st_sv_is_utf8(t);
}

static struct st_sv repair(struct st_sv t, char *to)
{
    size_t n = ST_MIN(t.len, (size_t)ST_JOB_TEXT_MAX);
    while (n && n < t.len && ((unsigned char)t.ptr[n] & 0xC0) == 0x80)
        n--; // not inside a character
    memcpy(to, t.ptr, n);
    for (size_t i = 0; i < n; i++)
        if (to[i] == '\0')
            to[i] = '?';
    if (!st_sv_is_utf8(st_sv_mem(to, n)))
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)to[i] >= 0x80)
                to[i] = '?';
    return st_sv_mem(to, n);
}

int64_t st_db_run(struct st_store *s, const char *sql, bool once, const struct st_db_value *params, size_t n,
                  st_db_row_fn *row, void *ctx, struct st_err *err)
{
    struct st_db_value good[ST_DB_PARAMS];
    ST_AUTO_FREE char *buf = NULL;
    size_t dirty = 0, used = 0;
    if (n > ST_DB_PARAMS)
        return st_err_set(err, ST_E_INTERNAL, "too many parameters");
    for (size_t i = 0; i < n; i++)
        if (params[i].kind == ST_DB_TEXT && !clean(params[i].text))
            dirty += ST_MIN(params[i].text.len, (size_t)ST_JOB_TEXT_MAX);
    if (!dirty)
        return s->ops->run(s, sql, once, params, n, row, ctx, err);
    buf = malloc(dirty);
    if (!buf)
        return st_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        good[i] = params[i];
        if (params[i].kind == ST_DB_TEXT && !clean(params[i].text)) {
            good[i].text = repair(params[i].text, buf + used);
            used += good[i].text.len;
        }
    }
    return s->ops->run(s, sql, once, good, n, row, ctx, err);
}

int st_db_transact(struct st_store *s, st_db_fn *fn, void *ctx, struct st_err *err)
{
    if (s->ops->tx(s, ST_DB_BEGIN, err))
        return -1;
    int rc = fn(s, ctx, err);
    if (rc < 0) {
        s->ops->tx(s, ST_DB_ROLLBACK, NULL);
        return -1;
    }
    return s->ops->tx(s, ST_DB_COMMIT, err) ? -1 : rc;
}

struct migration {
    const char *name;
    bool postgres;
};

static int steps(struct st_store *s, void *ctx, struct st_err *err)
{
    const struct migration *m = ctx;
    int now;
    if (ST_DB_RUN(s, NULL, NULL, err, "SELECT 1 /*pg , pg_advisory_xact_lock(1937006963) pg*/") < 0)
        return -1;
    if (s->ops->version(s, &now, err)) // again: another process may have been first
        return -1;
    if (now < 0 || now > st_db_version)
        return st_err_set(err, ST_E_CONFLICT,
                          "%s was made by a newer stella (schema %d, this one knows %d): nothing was changed", m->name,
                          now, st_db_version);
    for (; now < st_db_version; now++) {
        const struct st_db_step *step = &st_db_steps[now];
        if (s->ops->script(s, m->postgres ? step->postgres : step->sqlite, err) || s->ops->set_version(s, now + 1, err))
            return st_err_wrap(err, "schema %d", now + 1);
    }
    return 0;
}

int st_db_migrate(struct st_store *s, const char *name, struct st_err *err)
{
    struct migration m = {name, !strcmp(s->ops->kind, "postgresql")};
    int now;
    if (s->ops->version(s, &now, err))
        return -1;
    return now == st_db_version ? 0 : st_db_transact(s, steps, &m, err);
}

void st_store_close(struct st_store *s)
{
    if (s)
        s->ops->close(s);
}

int st_store_durable(struct st_store *s, struct st_err *err)
{
    return s->ops->durable(s, err);
}

int st_store_sync(struct st_store *s, struct st_err *err)
{
    return s->ops->sync(s, err);
}

const char *st_store_kind(const struct st_store *s)
{
    return s->ops->kind;
}

int st_store_wait(struct st_store *s, unsigned timeout_ms, struct st_err *err)
{
    return s->ops->wait(s, timeout_ms, err);
}

int st_db_number(void *ctx, const struct st_db_value *col, struct st_err *err)
{
    *(int64_t *)ctx = col[0].number;
    return 0;
}
