// The schema and its steps: step N takes a store of version N to N + 1. A released step is never edited: tests/store/
// has a store of every version.
#include "base/ckd.h"
#include "store/db.h"

// Version 1 knew local scans only, and SQLite only; PostgreSQL begins with the same table.
static const char v1_sqlite[] = "CREATE TABLE jobs("
                                " id TEXT PRIMARY KEY NOT NULL,"
                                " image TEXT NOT NULL,"
                                " digest TEXT NOT NULL DEFAULT '',"
                                " size INTEGER," // NULL: not known
                                " status TEXT NOT NULL,"
                                " reason TEXT NOT NULL DEFAULT '',"
                                " message TEXT NOT NULL DEFAULT '',"
                                " pool TEXT NOT NULL DEFAULT '',"
                                " attempt INTEGER NOT NULL,"
                                " created_ms INTEGER NOT NULL,"
                                " started_ms INTEGER NOT NULL,"
                                " updated_ms INTEGER NOT NULL,"
                                " peak_bytes INTEGER NOT NULL DEFAULT 0,"
                                " exit_code INTEGER NOT NULL DEFAULT 0,"
                                " resumed_from TEXT NOT NULL DEFAULT '',"
                                " options TEXT NOT NULL DEFAULT '{}',"
                                " owner TEXT NOT NULL DEFAULT ''"
                                ") WITHOUT ROWID;"
                                "CREATE INDEX jobs_updated ON jobs(updated_ms DESC, id);"
                                "CREATE INDEX jobs_image ON jobs(image, updated_ms DESC);"
                                "CREATE INDEX jobs_digest ON jobs(digest, updated_ms DESC);";

static const char v1_postgres[] =
    "CREATE SCHEMA IF NOT EXISTS stella;"
    "CREATE FUNCTION st_wall_now() RETURNS BIGINT LANGUAGE sql STABLE AS "
    "$$ SELECT CAST(floor(extract(epoch FROM statement_timestamp()) * 1000) AS BIGINT) $$;"
    "CREATE FUNCTION st_lease_now() RETURNS BIGINT LANGUAGE sql STABLE AS "
    "$$ SELECT CAST(floor(extract(epoch FROM statement_timestamp()) * 1000) AS BIGINT) $$;"
    "CREATE TABLE jobs("
    " id TEXT COLLATE \"C\" PRIMARY KEY,"
    " image TEXT NOT NULL,"
    " digest TEXT NOT NULL DEFAULT '',"
    " size BIGINT,"
    " status TEXT NOT NULL,"
    " reason TEXT NOT NULL DEFAULT '',"
    " message TEXT NOT NULL DEFAULT '',"
    " pool TEXT NOT NULL DEFAULT '',"
    " attempt BIGINT NOT NULL,"
    " created_ms BIGINT NOT NULL,"
    " started_ms BIGINT NOT NULL,"
    " updated_ms BIGINT NOT NULL,"
    " peak_bytes BIGINT NOT NULL DEFAULT 0,"
    " exit_code BIGINT NOT NULL DEFAULT 0,"
    " resumed_from TEXT NOT NULL DEFAULT '',"
    " options TEXT NOT NULL DEFAULT '{}',"
    " owner TEXT NOT NULL DEFAULT ''"
    ");"
    "CREATE INDEX jobs_updated ON jobs(updated_ms DESC, id);"
    "CREATE INDEX jobs_image ON jobs(image, updated_ms DESC);"
    "CREATE INDEX jobs_digest ON jobs(digest, updated_ms DESC);";

// answers: a submission with the same key is answered with this job (at most one of a key).
#define V2(SERIAL, NAME)                                                                                         \
    "ALTER TABLE jobs ADD COLUMN priority BIGINT NOT NULL DEFAULT 1;"                                            \
    "ALTER TABLE jobs ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;"                                               \
    "ALTER TABLE jobs ADD COLUMN fence BIGINT NOT NULL DEFAULT 0;"                                               \
    "ALTER TABLE jobs ADD COLUMN worker TEXT NOT NULL DEFAULT '';"                                               \
    "ALTER TABLE jobs ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0;"                                         \
    "ALTER TABLE jobs ADD COLUMN ready_at BIGINT NOT NULL DEFAULT 0;"                                            \
    "ALTER TABLE jobs ADD COLUMN cancel BIGINT NOT NULL DEFAULT 0;"                                              \
    "ALTER TABLE jobs ADD COLUMN dead BIGINT NOT NULL DEFAULT 0;"                                                \
    "ALTER TABLE jobs ADD COLUMN submit_key TEXT NOT NULL DEFAULT '';"                                           \
    "ALTER TABLE jobs ADD COLUMN answers BIGINT NOT NULL DEFAULT 0;"                                             \
    "CREATE INDEX jobs_status ON jobs(status, updated_ms DESC, id);"                                             \
    "CREATE INDEX jobs_reason ON jobs(reason, updated_ms DESC, id) WHERE reason <> '';"                          \
    "CREATE INDEX jobs_claim ON jobs(pool, priority, ready_at, created_ms, id) WHERE status = 'pending';"        \
    "CREATE INDEX jobs_lease ON jobs(lease_until) WHERE status = 'processing';"                                  \
    "CREATE INDEX jobs_dead ON jobs(updated_ms DESC, id) WHERE dead = 1;"                                        \
    "CREATE UNIQUE INDEX jobs_key ON jobs(submit_key) WHERE answers = 1;"                                        \
    "CREATE TABLE attempts(job TEXT NOT NULL, attempt BIGINT NOT NULL, fence BIGINT NOT NULL,"                   \
    " worker TEXT NOT NULL, pool TEXT NOT NULL, started_ms BIGINT NOT NULL, ended_ms BIGINT NOT NULL DEFAULT 0," \
    " outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',"      \
    " evidence TEXT NOT NULL DEFAULT '', config TEXT NOT NULL DEFAULT '', peak_bytes BIGINT NOT NULL DEFAULT 0," \
    " memory_limit BIGINT NOT NULL DEFAULT 0, exit_code BIGINT NOT NULL DEFAULT 0,"                              \
    " signal BIGINT NOT NULL DEFAULT 0, PRIMARY KEY(job, attempt));"                                             \
    "CREATE TABLE config(key " NAME " PRIMARY KEY NOT NULL, value TEXT NOT NULL, set_ms BIGINT NOT NULL,"        \
    " who TEXT NOT NULL);"                                                                                       \
    "CREATE TABLE config_history(seq " SERIAL " PRIMARY KEY, key TEXT NOT NULL, old TEXT, value TEXT,"           \
    " set_ms BIGINT NOT NULL, who TEXT NOT NULL);"                                                               \
    "CREATE TABLE pools(name " NAME " PRIMARY KEY NOT NULL, memory BIGINT NOT NULL, count BIGINT NOT NULL,"      \
    " updated_ms BIGINT NOT NULL);"                                                                              \
    "CREATE TABLE logs(at " SERIAL " PRIMARY KEY, time_ms BIGINT NOT NULL, level BIGINT NOT NULL,"               \
    " component TEXT NOT NULL, job TEXT NOT NULL, message TEXT NOT NULL, fields TEXT NOT NULL);"                 \
    "CREATE INDEX logs_time ON logs(time_ms);"                                                                   \
    "CREATE TABLE marks(name TEXT PRIMARY KEY NOT NULL, value BIGINT NOT NULL);"                                 \
    "INSERT INTO marks(name, value) VALUES('log_head', 0), ('log_dropped', 0), ('log_dropped_ms', 0);"

// What an attempt left: formats in jobs/ID/FENCE/ of the last fence, on this host.
static const char v3[] = "ALTER TABLE jobs ADD COLUMN result TEXT NOT NULL DEFAULT '';"
                         "ALTER TABLE jobs ADD COLUMN host TEXT NOT NULL DEFAULT '';"
                         "ALTER TABLE jobs ADD COLUMN unknowns BIGINT NOT NULL DEFAULT 0;"
                         "ALTER TABLE jobs ADD COLUMN packages BIGINT NOT NULL DEFAULT 0;"
                         // Empty, or the one host whose workers may claim it: it has the file that came along.
                         "ALTER TABLE jobs ADD COLUMN only_host TEXT NOT NULL DEFAULT '';";

// Whose lease it is (st_store_reclaim), and how long it was when it began or was renewed. Queue depth, by pool, and the
// oldest that waits, from the index alone: a row of the table is not looked at.
static const char v4[] =
    "ALTER TABLE jobs ADD COLUMN holder TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE jobs ADD COLUMN lease_ms BIGINT NOT NULL DEFAULT 3600000;"
    "CREATE INDEX jobs_active ON jobs(status, pool, created_ms) WHERE status IN ('pending', 'processing');";

const struct st_db_step st_db_steps[] = {
    {v1_sqlite, v1_postgres},
    {V2("INTEGER", "TEXT"), V2("BIGSERIAL", "TEXT COLLATE \"C\"")},
    {v3, v3},
    {v4, v4},
};
const int st_db_version = ST_LEN(st_db_steps);
