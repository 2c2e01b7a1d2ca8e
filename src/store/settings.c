// Configuration with history, pools, marks.
#include "base/ckd.h"
#include "store/db.h"

struct walk {
    union {
        st_config_row_fn *config;
        st_config_change_fn *change;
        st_pool_row_fn *pool;
    };
    void *ctx;
};

static int config_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct walk *w = ctx;
    return w->config(w->ctx, &(struct st_config){c[0].text, c[1].text, c[2].text, c[3].number}, err);
}

int st_store_config(struct st_store *s, struct st_sv key, st_config_row_fn *row, void *ctx, struct st_err *err)
{
    struct walk w = {.config = row, .ctx = ctx};
    int64_t n = key.len ? ST_DB_RUN(s, config_row, &w, err, "SELECT key, value, who, set_ms FROM config WHERE key = ?1",
                                    ST_DB_T(key))
                        : ST_DB_RUN(s, config_row, &w, err, "SELECT key, value, who, set_ms FROM config ORDER BY key");
    return n < 0 ? -1 : 0;
}

struct set {
    struct st_sv key, who;
    const struct st_sv *value;
    bool was, same;
    char old[ST_CONFIG_TEXT];
    size_t old_len;
};

static int old_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct set *t = ctx;
    t->was = true;
    t->same = t->value && st_sv_eq(*t->value, c[0].text);
    t->old_len = ST_MIN(c[0].text.len, sizeof t->old);
    memcpy(t->old, c[0].text.ptr, t->old_len);
    return 0;
}

static int set_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct set *t = ctx;
    // One at a time, also between hosts: the history must tell what was replaced.
    if (ST_DB_RUN(s, NULL, NULL, err, "SELECT 1 /*pg , pg_advisory_xact_lock(1937006964) pg*/") < 0 ||
        ST_DB_RUN(s, old_row, t, err, "SELECT value FROM config WHERE key = ?1", ST_DB_T(t->key)) < 0)
        return -1;
    if (t->value ? t->same : !t->was)
        return 0;
    int64_t n = t->value ? ST_DB_RUN(s, NULL, NULL, err,
                                     "INSERT INTO config(key, value, set_ms, who) VALUES(?1, ?2, st_wall_now(), ?3) ON "
                                     "CONFLICT(key) DO UPDATE SET value = ?2, set_ms = st_wall_now(), who = ?3",
                                     ST_DB_T(t->key), ST_DB_T(*t->value), ST_DB_T(t->who))
                         : ST_DB_RUN(s, NULL, NULL, err, "DELETE FROM config WHERE key = ?1", ST_DB_T(t->key));
    if (n < 0 ||
        ST_DB_RUN(s, NULL, NULL, err,
                  "INSERT INTO config_history(key, old, value, set_ms, who) VALUES(?1, ?2, ?3, st_wall_now(), ?4)",
                  ST_DB_T(t->key), t->was ? ST_DB_T(st_sv_mem(t->old, t->old_len)) : ST_DB_NIL,
                  t->value ? ST_DB_T(*t->value) : ST_DB_NIL, ST_DB_T(t->who)) < 0)
        return -1;
    return s->ops->notify(s, err) ? -1 : 1;
}

int st_store_config_set(struct st_store *s, struct st_sv key, const struct st_sv *value, struct st_sv who,
                        struct st_err *err)
{
    struct set t = {.key = key, .who = who, .value = value};
    if (value && value->len > ST_CONFIG_TEXT)
        return st_err_set(err, ST_E_USAGE, "a value has at most %d bytes", ST_CONFIG_TEXT);
    return st_db_transact(s, set_tx, &t, err);
}

static int change_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct walk *w = ctx;
    return w->change(w->ctx,
                     &(struct st_config_change){.seq = (uint64_t)c[0].number,
                                                .key = c[1].text,
                                                .has_old = c[2].kind == ST_DB_TEXT,
                                                .old = c[2].text,
                                                .has_value = c[3].kind == ST_DB_TEXT,
                                                .value = c[3].text,
                                                .set_ms = c[4].number,
                                                .who = c[5].text},
                     err);
}

int st_store_config_history(struct st_store *s, struct st_sv key, uint32_t limit, st_config_change_fn *row, void *ctx,
                            struct st_err *err)
{
    struct walk w = {.change = row, .ctx = ctx};
    return ST_DB_RUN(
               s, change_row, &w, err,
               "SELECT seq, key, old, value, set_ms, who FROM config_history WHERE ?1 = '' OR key = ?1 ORDER BY seq "
               "DESC LIMIT ?2",
               ST_DB_T(key), ST_DB_N(limit)) < 0
               ? -1
               : 0;
}

// ---- pools --------------------------------------------------------------------------------------

static int pool_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct walk *w = ctx;
    return w->pool(w->ctx, &(struct st_pool){c[0].text, (uint64_t)c[1].number, (uint32_t)c[2].number, c[3].number},
                   err);
}

int st_store_pools(struct st_store *s, st_pool_row_fn *row, void *ctx, struct st_err *err)
{
    struct walk w = {.pool = row, .ctx = ctx};
    return ST_DB_RUN(s, pool_row, &w, err, "SELECT name, memory, count, updated_ms FROM pools ORDER BY name") < 0 ? -1
                                                                                                                  : 0;
}

int st_store_pool_put(struct st_store *s, const struct st_pool *p, struct st_err *err)
{
    return ST_DB_RUN(s, NULL, NULL, err,
                     "INSERT INTO pools(name, memory, count, updated_ms) VALUES(?1, ?2, ?3, st_wall_now()) ON "
                     "CONFLICT(name) DO UPDATE SET memory = ?2, count = ?3, updated_ms = st_wall_now()",
                     ST_DB_T(p->name), ST_DB_N(p->memory), ST_DB_N(p->count)) < 0
               ? -1
               : s->ops->notify(s, err);
}

int st_store_pool_remove(struct st_store *s, struct st_sv name, struct st_err *err)
{
    int64_t n = ST_DB_RUN(s, NULL, NULL, err, "DELETE FROM pools WHERE name = ?1", ST_DB_T(name));
    if (n == 0)
        return st_err_set(err, ST_E_NOTFOUND, "no pool '" ST_SV_FMT "'", ST_SV_ARG(st_sv_sub(name, 0, 100)));
    return n < 0 ? -1 : s->ops->notify(s, err);
}

// ---- marks --------------------------------------------------------------------------------------

int st_store_mark(struct st_store *s, const char *name, int64_t *ret, struct st_err *err)
{
    *ret = 0;
    return ST_DB_RUN(s, st_db_number, ret, err, "SELECT value FROM marks WHERE name = ?1", ST_DB_T(st_sv_of(name))) < 0
               ? -1
               : 0;
}

int st_store_mark_raise(struct st_store *s, const char *name, int64_t *ret, struct st_err *err)
{
    return ST_DB_RUN(s, st_db_number, ret, err,
                     "INSERT INTO marks(name, value) VALUES(?1, 1) ON CONFLICT(name) DO UPDATE SET value = "
                     "marks.value + 1 RETURNING value",
                     ST_DB_T(st_sv_of(name))) < 0
               ? -1
               : s->ops->notify(s, err);
}

int st_store_mark_set(struct st_store *s, const char *name, int64_t value, struct st_err *err)
{
    return ST_DB_RUN(s, NULL, NULL, err,
                     "INSERT INTO marks(name, value) VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value = ?2",
                     ST_DB_T(st_sv_of(name)), ST_DB_N(value)) < 0
               ? -1
               : 0;
}
