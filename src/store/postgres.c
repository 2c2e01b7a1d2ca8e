// PostgreSQL through libpq: one connection a handle. A connection that broke is made anew by the next statement outside
// of a transaction.
#include "store/postgres.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "store/db.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>

#define STATEMENTS 64
#define SQL_MAX (16 * 1024)
#define CONNECT_TIMEOUT_S "5"
#define SESSION                                                                                           \
    "SET search_path = stella; SET client_min_messages = warning; SET standard_conforming_strings = on; " \
    "SET statement_timeout = '30s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'"

struct postgres_store {
    struct st_store base;
    PGconn *db;
    char name[300]; // "PostgreSQL at HOST, database NAME"
    const char *cache[STATEMENTS];
    size_t n_cache;
    bool listening;
};

static struct postgres_store *self(struct st_store *s)
{
    return (struct postgres_store *)s;
}

static struct st_sv one_line(const char *text)
{
    struct st_sv v = st_sv_of(text ? text : ""), line = ST_SV_NULL;
    return st_sv_line(&v, &line) ? line : v;
}

static int no_connection(struct postgres_store *s, struct st_err *err)
{
    return st_err_set(err, ST_E_RETRY, "%s does not answer: " ST_SV_FMT, s->name,
                      ST_SV_ARG(one_line(PQerrorMessage(s->db))));
}

static int fail(struct postgres_store *s, const PGresult *r, struct st_err *err)
{
    // Classes 40 (rolled back), 53 (no resources), 55 (locked), 57 (stopped): later it may work.
    const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    if (PQstatus(s->db) != CONNECTION_OK)
        return no_connection(s, err);
    const char *text = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : PQerrorMessage(s->db);
    bool later = state && (!strncmp(state, "40", 2) || !strncmp(state, "53", 2) || !strncmp(state, "55", 2) ||
                           !strncmp(state, "57", 2));
    return st_err_set(err, later ? ST_E_RETRY : ST_E_IO, "%s: " ST_SV_FMT "%s%s%s", s->name, ST_SV_ARG(one_line(text)),
                      state ? " (" : "", state ? state : "", state ? ")" : "");
}

static void clear(PGresult **r)
{
    PQclear(*r);
}
#define AUTO_RESULT ST_AUTO(clear) PGresult

static bool good(const PGresult *r)
{
    ExecStatusType t = PQresultStatus(r);
    return t == PGRES_COMMAND_OK || t == PGRES_TUPLES_OK;
}

static int exec(struct postgres_store *s, const char *sql, struct st_err *err)
{
    AUTO_RESULT *r = PQexec(s->db, sql);
    return good(r) ? 0 : fail(s, r, err);
}

static int begin_session(struct postgres_store *s, struct st_err *err)
{
    s->n_cache = 0;
    s->listening = false;
    s->base.in_tx = false;
    if (PQstatus(s->db) != CONNECTION_OK)
        return no_connection(s, err);
    if (PQserverVersion(s->db) < 130000)
        return st_err_set(err, ST_E_INPUT, "%s is version %d; 13 or newer is needed", s->name,
                          PQserverVersion(s->db) / 10000);
    return exec(s, SESSION, err);
}

// Make a broken connection anew, unless a transaction was on it.
static int alive(struct postgres_store *s, struct st_err *err)
{
    if (PQstatus(s->db) == CONNECTION_OK)
        return 0;
    if (s->base.in_tx)
        return no_connection(s, err);
    PQreset(s->db);
    return begin_session(s, err);
}

// ---- statements ---------------------------------------------------------------------------------

// ?N becomes $N; what stands in /*pg pg*/ counts.
static int translate(const char *sql, char ret[static SQL_MAX], struct st_err *err)
{
    size_t n = 0;
    bool quoted = false;
    for (const char *p = sql; *p; p++) {
        if (n + 1 >= SQL_MAX)
            return st_err_set(err, ST_E_INTERNAL, "statement too long");
        if (*p == '\'')
            quoted = !quoted;
        if (!quoted && (!strncmp(p, "/*pg", 4) || !strncmp(p, "pg*/", 4)))
            p += 3;
        else
            ret[n++] = !quoted && *p == '?' ? '$' : *p;
    }
    ret[n] = '\0';
    return 0;
}

#define OID_INT8 20
#define OID_TEXT 25

struct params {
    const char *values[ST_DB_PARAMS];
    Oid types[ST_DB_PARAMS];
    int lengths[ST_DB_PARAMS];
    char numbers[ST_DB_PARAMS][24];
    char *texts; // owns: libpq wants NUL-terminated texts
};

static int bind(struct params *b, const struct st_db_value *params, size_t n, struct st_err *err)
{
    size_t total = 1, at = 0;
    for (size_t i = 0; i < n; i++)
        total += params[i].kind == ST_DB_TEXT ? params[i].text.len + 1 : 0;
    b->texts = malloc(total);
    if (!b->texts)
        return st_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const struct st_db_value *v = &params[i];
        b->values[i] = NULL;
        b->types[i] = v->kind == ST_DB_INT ? OID_INT8 : v->kind == ST_DB_TEXT ? OID_TEXT : 0;
        if (v->kind == ST_DB_INT) {
            snprintf(b->numbers[i], sizeof b->numbers[i], "%lld", (long long)v->number);
            b->values[i] = b->numbers[i];
        } else if (v->kind == ST_DB_TEXT) {
            if (v->text.len)
                memcpy(b->texts + at, v->text.ptr, v->text.len);
            b->texts[at + v->text.len] = '\0';
            b->values[i] = b->texts + at;
            at += v->text.len + 1;
        }
    }
    return 0;
}

static void params_release(struct params *b)
{
    free(b->texts);
}

static PGresult *send(struct postgres_store *s, const char *sql, bool once, const struct params *b, size_t n,
                      struct st_err *err)
{
    char text[SQL_MAX], name[16];
    size_t i = 0;
    if (once)
        return translate(sql, text, err) ? NULL : PQexecParams(s->db, text, (int)n, b->types, b->values, NULL, NULL, 0);
    while (i < s->n_cache && s->cache[i] != sql)
        i++;
    snprintf(name, sizeof name, "st%zu", i);
    if (i == s->n_cache) {
        if (i == STATEMENTS) {
            st_err_set(err, ST_E_INTERNAL, "more than %d statements", STATEMENTS);
            return NULL;
        }
        if (translate(sql, text, err))
            return NULL;
        PGresult *r = PQprepare(s->db, name, text, (int)n, b->types);
        if (!good(r))
            return r;
        PQclear(r);
        s->cache[s->n_cache++] = sql;
    }
    return PQexecPrepared(s->db, name, (int)n, b->values, NULL, NULL, 0);
}

static struct st_db_value value_of(const PGresult *r, int row, int column)
{
    if (PQgetisnull(r, row, column))
        return ST_DB_NIL;
    const char *p = PQgetvalue(r, row, column);
    Oid t = PQftype(r, column);
    if (t == OID_INT8 || t == 21 || t == 23) // bigint, smallint, integer
        return ST_DB_N(strtoll(p, NULL, 10));
    return ST_DB_T(st_sv_mem(p, (size_t)PQgetlength(r, row, column)));
}

static int64_t op_run(struct st_store *base, const char *sql, bool once, const struct st_db_value *params, size_t n,
                      st_db_row_fn *row, void *ctx, struct st_err *err)
{
    struct postgres_store *s = self(base);
    ST_AUTO(params_release) struct params b = {.texts = NULL};
    struct st_db_value col[ST_DB_COLUMNS];
    if (alive(s, err) || bind(&b, params, n, err))
        return -1;
    AUTO_RESULT *r = send(s, sql, once, &b, n, err);
    // An idle connection is found broken by its next statement: a question may be asked again.
    if (!good(r) && PQstatus(s->db) != CONNECTION_OK && !s->base.in_tx && !strncmp(sql, "SELECT", 6)) {
        PQclear(r);
        r = NULL;
        if (alive(s, err))
            return -1;
        r = send(s, sql, once, &b, n, err);
    }
    if (!r)
        return PQstatus(s->db) == CONNECTION_OK ? -1 : no_connection(s, err);
    if (!good(r))
        return fail(s, r, err);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        return strtoll(PQcmdTuples(r), NULL, 10);
    int columns = ST_MIN(PQnfields(r), ST_DB_COLUMNS);
    for (int i = 0; row && i < PQntuples(r); i++) {
        for (int k = 0; k < columns; k++)
            col[k] = value_of(r, i, k);
        if (row(ctx, col, err))
            return -1;
    }
    return PQntuples(r);
}

static int op_script(struct st_store *s, const char *sql, struct st_err *err)
{
    return exec(self(s), sql, err);
}

static int op_tx(struct st_store *base, enum st_db_tx what, struct st_err *err)
{
    static const char *const words[] = {"BEGIN", "COMMIT", "ROLLBACK"};
    struct postgres_store *s = self(base);
    if (what == ST_DB_BEGIN) {
        if (alive(s, err))
            return -1;
        if (exec(s, words[what], err)) {
            if (PQstatus(s->db) == CONNECTION_OK || alive(s, err) || exec(s, words[what], err))
                return -1;
        }
        s->base.in_tx = true;
        return 0;
    }
    s->base.in_tx = false;
    if (what == ST_DB_ROLLBACK && PQstatus(s->db) != CONNECTION_OK)
        return 0; // the server does it by itself
    AUTO_RESULT *r = PQexec(s->db, words[what]);
    if (!good(r))
        return fail(s, r, err);
    // COMMIT of a transaction that had failed says ROLLBACK and is no error to libpq.
    if (what == ST_DB_COMMIT && strcmp(PQcmdStatus(r), "COMMIT") != 0)
        return st_err_set(err, ST_E_RETRY, "%s: the transaction was rolled back", s->name);
    return 0;
}

static int op_version(struct st_store *s, int *ret, struct st_err *err)
{
    int64_t n = 0, v = 0;
    if (op_run(s, "SELECT count(*) FROM pg_tables WHERE schemaname = 'stella' AND tablename = 'schema_version'", true,
               NULL, 0, st_db_number, &n, err) < 0)
        return -1;
    if (n && op_run(s, "SELECT version FROM stella.schema_version", true, NULL, 0, st_db_number, &v, err) < 0)
        return -1;
    *ret = (int)v;
    return 0;
}

static int op_set_version(struct st_store *s, int version, struct st_err *err)
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "CREATE TABLE IF NOT EXISTS schema_version(version BIGINT NOT NULL); DELETE FROM schema_version; "
             "INSERT INTO schema_version VALUES(%d)",
             version);
    return op_script(s, sql, err);
}

// ---- waiting ------------------------------------------------------------------------------------

static bool drain(PGconn *db)
{
    bool any = false;
    PGnotify *n;
    while ((n = PQnotifies(db))) {
        any = true;
        PQfreemem(n);
    }
    return any;
}

static int op_wait(struct st_store *base, unsigned timeout_ms, struct st_err *err)
{
    struct postgres_store *s = self(base);
    int64_t until = st_clock_mono_ms() + timeout_ms;
    if (alive(s, err))
        return -1;
    if (!s->listening) {
        if (exec(s, "LISTEN stella_jobs", err))
            return -1;
        s->listening = true;
        return 1; // what came before is not known
    }
    for (;;) {
        if (!PQconsumeInput(s->db))
            return no_connection(s, err);
        if (drain(s->db))
            return 1;
        int64_t left = until - st_clock_mono_ms();
        if (left <= 0)
            return 0;
        struct pollfd p = {PQsocket(s->db), POLLIN, 0};
        if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
            return st_err_sys(err, "%s", s->name);
    }
}

static int op_notify(struct st_store *s, struct st_err *err)
{
    return exec(self(s), "NOTIFY stella_jobs", err);
}

static int op_durable(struct st_store *s, struct st_err *err)
{
    (void)s, (void)err; // synchronous_commit is the database's, and on by default
    return 0;
}

static int op_sync(struct st_store *s, struct st_err *err)
{
    (void)s, (void)err; // a commit that was acknowledged is on the disk
    return 0;
}

static void op_close(struct st_store *base)
{
    struct postgres_store *s = self(base);
    PQfinish(s->db);
    free(s);
}

static const struct st_db_ops ops = {"postgresql",   op_close, op_run,    op_script,  op_tx,  op_version,
                                     op_set_version, op_wait,  op_notify, op_durable, op_sync};

int st_store_open_postgres(const char *url, struct st_store **ret, struct st_err *err)
{
    if (strncmp(url, "postgresql://", 13) != 0 && strncmp(url, "postgres://", 11) != 0)
        return st_err_set(err, ST_E_USAGE,
                          "STELLA_STORE is not a PostgreSQL address (example: "
                          "postgresql://stella@db.example/stella)");
    struct postgres_store *s = calloc(1, sizeof *s);
    if (!s)
        return st_err_nomem(err);
    s->base.ops = &ops;
    snprintf(s->name, sizeof s->name, "PostgreSQL");
    // Those before dbname are defaults that the address may replace.
    const char *const keys[] = {"connect_timeout", "application_name", "tcp_user_timeout",
                                "dbname",          "client_encoding",  NULL};
    const char *const values[] = {CONNECT_TIMEOUT_S, "stella", "15000", url, "UTF8", NULL};
    s->db = PQconnectdbParams(keys, values, 1);
    if (s->db && PQhost(s->db) && PQdb(s->db))
        snprintf(s->name, sizeof s->name, "PostgreSQL at %.120s, database %.120s", PQhost(s->db), PQdb(s->db));
    if (begin_session(s, err) || st_db_migrate(&s->base, s->name, err)) {
        op_close(&s->base);
        return -1;
    }
    *ret = &s->base;
    return 0;
}
