// The log: a ring in a table. A line's key is its position in the stream of all lines ever, in bytes, so what is beyond
// the ring is one range of keys.
#include "base/ckd.h"
#include "store/db.h"

#include <stdio.h>

#define LINE_COST 64 // of a row, beside its texts

struct add {
    const struct st_log_line *lines;
    size_t n;
};

static struct st_sv cut(struct st_sv t)
{
    return st_sv_sub(t, 0, ST_LOG_TEXT_MAX);
}

static int64_t cost(const struct st_log_line *l)
{
    return (int64_t)(cut(l->component).len + cut(l->job).len + cut(l->message).len + cut(l->fields).len + LINE_COST);
}

static int trim(struct st_store *s, int64_t below, struct st_err *err)
{
    int64_t last = 0;
    int64_t n = ST_DB_RUN(s, st_db_number, &last, err,
                          "SELECT time_ms FROM logs WHERE at <= ?1 ORDER BY at DESC LIMIT 1", ST_DB_N(below));
    if (n <= 0)
        return (int)n;
    n = ST_DB_RUN(s, NULL, NULL, err, "DELETE FROM logs WHERE at <= ?1", ST_DB_N(below));
    if (n < 0 ||
        ST_DB_RUN(s, NULL, NULL, err, "UPDATE marks SET value = value + ?1 WHERE name = 'log_dropped'", ST_DB_N(n)) < 0)
        return -1;
    return st_store_mark_set(s, "log_dropped_ms", last, err);
}

static int add_tx(struct st_store *s, void *ctx, struct st_err *err)
{
    struct add *t = ctx;
    int64_t total = 0, head = 0;
    for (size_t i = 0; i < t->n; i++)
        total += cost(&t->lines[i]);
    if (ST_DB_RUN(s, st_db_number, &head, err,
                  "UPDATE marks SET value = value + ?1 WHERE name = 'log_head' RETURNING value", ST_DB_N(total)) < 0)
        return -1;
    int64_t at = head - total;
    for (size_t i = 0; i < t->n; i++) {
        const struct st_log_line *l = &t->lines[i];
        at += cost(l);
        if (ST_DB_RUN(
                s, NULL, NULL, err,
                "INSERT INTO logs(at, time_ms, level, component, job, message, fields) VALUES(?1, CASE WHEN ?2 = 0 "
                "THEN st_wall_now() ELSE ?2 END, ?3, ?4, ?5, ?6, ?7)",
                ST_DB_N(at), ST_DB_N(l->time_ms), ST_DB_N(l->level), ST_DB_T(cut(l->component)), ST_DB_T(cut(l->job)),
                ST_DB_T(cut(l->message)), ST_DB_T(cut(l->fields))) < 0)
            return -1;
    }
    return head > ST_LOG_RING ? trim(s, head - ST_LOG_RING, err) : 0;
}

int st_store_log_add(struct st_store *s, const struct st_log_line *lines, size_t n, struct st_err *err)
{
    struct add t = {lines, n};
    return n ? st_db_transact(s, add_tx, &t, err) : 0;
}

struct walk {
    st_log_row_fn *row;
    void *ctx;
};

static int log_row(void *ctx, const struct st_db_value *c, struct st_err *err)
{
    struct walk *w = ctx;
    struct st_log_line l = {
        .at = (uint64_t)c[0].number,
        .time_ms = c[1].number,
        .level = (enum st_log_level)ST_MIN((uint64_t)c[2].number, (uint64_t)ST_LOG_ERROR),
        .component = c[3].text,
        .job = c[4].text,
        .message = c[5].text,
        .fields = c[6].text,
    };
    return w->row(w->ctx, &l, err);
}

#define LINES                                                                                                        \
    "SELECT at, time_ms, level, component, job, message, fields FROM logs WHERE at > ?1 AND at < ?2 AND time_ms >= " \
    "?3 "                                                                                                            \
    "AND level >= ?4 ORDER BY at "

int st_store_logs(struct st_store *s, const struct st_log_page *p, st_log_row_fn *row, void *ctx, struct st_err *err)
{
    struct walk w = {row, ctx};
    int64_t after = (int64_t)p->after, first = 0;
    // Where the wanted time begins: lines before it need not be read.
    if (p->since_ms && ST_DB_RUN(s, st_db_number, &first, err,
                                 "SELECT COALESCE(min(at), 9223372036854775807) FROM logs WHERE time_ms >= ?1",
                                 ST_DB_N(p->since_ms)) < 0)
        return -1;
    after = ST_MAX(after, first - 1);
    const struct st_db_value params[] = {ST_DB_N(after), ST_DB_N(p->before ? (int64_t)p->before : INT64_MAX),
                                         ST_DB_N(p->since_ms), ST_DB_N(p->level),
                                         ST_DB_N(p->limit ? p->limit : INT32_MAX)};
    return (int)st_db_run(s, p->backwards ? LINES "DESC LIMIT ?5" : LINES "LIMIT ?5", false, params, ST_LEN(params),
                          log_row, &w, err);
}

int st_store_log_state(struct st_store *s, struct st_log_state *ret, struct st_err *err)
{
    int64_t n;
    if (st_store_mark(s, "log_dropped", &n, err) || st_store_mark(s, "log_dropped_ms", &ret->dropped_ms, err))
        return -1;
    ret->dropped = (uint64_t)n;
    return 0;
}
