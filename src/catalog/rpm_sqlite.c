// rpm's SQLite container (rpmdb.sqlite: table Packages, hnum and blob), read with SQLite itself over the bytes in
// memory.
//
// - A read-only VFS over the view, registered for the call. rpm's files are in WAL mode, which needs shared memory and
//   a second file; the two version bytes of the header read as 1 instead of 2, which makes it a file with a rollback
//   journal that is not there. A copy for sqlite3_deserialize is not needed. A -wal file beside it is not applied
//   (cat_rpm.c names it).
// - The schema is the image's: no virtual tables, views, triggers, extensions or trusted functions; the only
//   statement walks rowids in order, blobs are read through the incremental interface into memory of our budget.
// - SQLite's heap is its own. sqlite3_hard_heap_limit64, which is global to the process, caps it while this runs, and
// as much
//   is taken from the budget without being touched.
#include "catalog/rpm_db.h"
#include "catalog/rpm_header.h"

#include <sqlite3.h>
#include <stdio.h>

#define VFS_NAME_MAX 40
#define PATH_MAX_ 64
#define PROGRESS_STEPS 1000
#define PROGRESS_MAX 16000           // calls: 16 million instructions, 4 a row
#define JULIAN_EPOCH 210866760000000 // 1970-01-01 in SQLite's milliseconds

// ---- file system of one file ------------------------------------------------------------------------

struct view_file {
    sqlite3_file base;
    struct st_sv bytes;
};

static int file_close(sqlite3_file *f)
{
    return SQLITE_OK;
}

static int file_read(sqlite3_file *f, void *ret, int n, sqlite3_int64 off)
{
    struct st_sv bytes = ((struct view_file *)f)->bytes;
    char *to = ret;
    if (n < 0 || off < 0)
        return SQLITE_IOERR_READ;
    struct st_sv part = st_sv_sub(bytes, (size_t)off, (size_t)n);
    if (part.len)
        memcpy(to, part.ptr, part.len);
    // https://www.sqlite.org/fileformat2.html#file_format_version_numbers
    for (sqlite3_int64 at = 18; at <= 19; at++)
        if (at >= off && at - off < (sqlite3_int64)part.len && to[at - off] == 2)
            to[at - off] = 1;
    if (part.len == (size_t)n)
        return SQLITE_OK;
    memset(to + part.len, 0, (size_t)n - part.len);
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 off)
{
    return SQLITE_READONLY;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return SQLITE_READONLY;
}

static int file_flags(sqlite3_file *f, int flags)
{
    return SQLITE_OK;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    *ret = (sqlite3_int64)((struct view_file *)f)->bytes.len;
    return SQLITE_OK;
}

static int file_reserved(sqlite3_file *f, int *ret)
{
    *ret = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *f)
{
    return 4096;
}

static int file_device(sqlite3_file *f)
{
    return SQLITE_IOCAP_IMMUTABLE;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1, // no shared memory, no mapping
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_flags,
    .xFileSize = file_size,
    .xLock = file_flags,
    .xUnlock = file_flags,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_device,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    f->pMethods = NULL;
    if (!(flags & SQLITE_OPEN_MAIN_DB))
        return SQLITE_CANTOPEN; // journal, WAL, temporary files
    ((struct view_file *)f)->bytes = *(const struct st_sv *)vfs->pAppData;
    f->pMethods = &file_methods;
    if (ret_flags)
        *ret_flags = SQLITE_OPEN_READONLY;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    return SQLITE_READONLY;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    *ret = 0;
    return SQLITE_OK;
}

static int vfs_full(sqlite3_vfs *vfs, const char *name, int room, char *ret)
{
    snprintf(ret, (size_t)room, "%s", name);
    return SQLITE_OK;
}

static int vfs_random(sqlite3_vfs *vfs, int n, char *ret)
{
    memset(ret, 0, (size_t)n);
    return n;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
    return us;
}

static int vfs_time(sqlite3_vfs *vfs, double *ret)
{
    *ret = (double)JULIAN_EPOCH / 86400000.0;
    return SQLITE_OK;
}

static int vfs_error(sqlite3_vfs *vfs, int n, char *ret)
{
    return 0;
}

// ---- connection -------------------------------------------------------------------------------------

struct walk {
    const struct st_rpm_sink *sink;
    sqlite3 *db;
    sqlite3_blob *handle; // NULL, or open on the last row
    struct st_rpm_block blob;
    uint64_t bytes_left; // that records may still have
    unsigned progress;
};

// SQLite's own words; its longer messages quote the file.
static int fail(int rc, const char *what, struct st_err *err)
{
    if (rc == SQLITE_NOMEM)
        return st_err_set(err, ST_E_LIMIT, "SQLite: %s: needs more than %u bytes of memory", what, ST_RPM_SQLITE_HEAP);
    if (rc == SQLITE_INTERRUPT)
        return st_err_set(err, ST_E_LIMIT, "SQLite: %s: takes more than %d steps", what, PROGRESS_STEPS * PROGRESS_MAX);
    return st_err_set(err, rc == SQLITE_TOOBIG ? ST_E_LIMIT : ST_E_FORMAT, "SQLite: %s: %s", what, sqlite3_errstr(rc));
}

static int on_progress(void *ctx)
{
    struct walk *w = ctx;
    return ++w->progress > PROGRESS_MAX;
}

static void harden(struct walk *w)
{
    static const struct {
        int op, value;
    } settings[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
        {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
    };
    static const struct {
        int id, value;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, ST_RPM_HEADER_MAX},
        {SQLITE_LIMIT_SQL_LENGTH, 64 << 10},
        {SQLITE_LIMIT_COLUMN, 100},
        {SQLITE_LIMIT_EXPR_DEPTH, 20},
        {SQLITE_LIMIT_COMPOUND_SELECT, 3},
        {SQLITE_LIMIT_VDBE_OP, 25000},
        {SQLITE_LIMIT_FUNCTION_ARG, 8},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    sqlite3_drop_modules(w->db, NULL); // a virtual table in the schema then cannot even be connected
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        sqlite3_db_config(w->db, settings[i].op, settings[i].value, NULL);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        sqlite3_limit(w->db, limits[i].id, limits[i].value);
    sqlite3_progress_handler(w->db, PROGRESS_STEPS, on_progress, w);
}

// ---- rows -------------------------------------------------------------------------------------------

static int open_blob(struct walk *w, sqlite3_int64 row)
{
    if (w->handle) {
        if (sqlite3_blob_reopen(w->handle, row) == SQLITE_OK)
            return SQLITE_OK;
        sqlite3_blob_close(w->handle); // a handle whose reopening failed is dead
        w->handle = NULL;
    }
    int rc = sqlite3_blob_open(w->db, "main", "Packages", "blob", row, 0, &w->handle);
    if (rc != SQLITE_OK) {
        sqlite3_blob_close(w->handle);
        w->handle = NULL;
    }
    return rc;
}

static int read_blob(struct walk *w, sqlite3_int64 row, struct st_sv *ret, struct st_err *err)
{
    int rc = open_blob(w, row);
    if (rc != SQLITE_OK)
        return fail(rc, "row of Packages", err);
    size_t len = (size_t)sqlite3_blob_bytes(w->handle);
    if (len > ST_RPM_HEADER_MAX)
        return st_err_set(err, ST_E_LIMIT, "SQLite: record of %zu bytes", len);
    if (len > w->bytes_left)
        return st_err_set(err, ST_E_FORMAT, "SQLite: records are longer than the file");
    w->bytes_left -= len;
    if (st_rpm_block_reset(&w->blob, len, err))
        return -1;
    rc = sqlite3_blob_read(w->handle, w->blob.ptr, (int)len, 0);
    if (rc != SQLITE_OK)
        return fail(rc, "row of Packages", err);
    *ret = st_sv_mem(w->blob.ptr, len);
    return 0;
}

static int read_row(struct walk *w, sqlite3_int64 row, struct st_err *err)
{
    struct st_err why = {0};
    struct st_sv blob;
    uint64_t number = row < 0 ? 0 : (uint64_t)row;
    if (read_blob(w, row, &blob, &why) == 0)
        return w->sink->header(w->sink->ctx, number, blob, err);
    if (why.code == ST_E_FORMAT || why.code == ST_E_LIMIT)
        return w->sink->damaged(w->sink->ctx, number, &why, err);
    if (err)
        *err = why;
    return -1;
}

// Rowids in ascending order: a row is in the file once, so a tree whose pages are referred to twice ends here.
static int read_rows(struct walk *w, sqlite3_stmt *rows, struct st_err *err)
{
    bool any = false;
    sqlite3_int64 last = 0;
    int rc;
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        sqlite3_int64 row = sqlite3_column_int64(rows, 0);
        if (any && row <= last)
            return st_err_set(err, ST_E_FORMAT, "SQLite: rows of Packages are out of order");
        any = true;
        last = row;
        if (read_row(w, row, err))
            return -1;
    }
    return rc == SQLITE_DONE ? 0 : fail(rc, "table Packages", err);
}

static int walk_table(struct walk *w, struct st_err *err)
{
    sqlite3_stmt *rows = NULL;
    // 128 KiB of pages; the schema is read here, with no more than one page of it needed at a time.
    int rc = sqlite3_exec(w->db, "PRAGMA cache_size=-128", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(w->db, "SELECT rowid FROM main.Packages NOT INDEXED ORDER BY rowid", -1, &rows, NULL);
    int ret;
    if (rc == SQLITE_OK)
        ret = read_rows(w, rows, err);
    else if (rc == SQLITE_ERROR)
        ret = st_err_set(err, ST_E_FORMAT, "SQLite: no table Packages");
    else
        ret = fail(rc, "table Packages", err);
    sqlite3_finalize(rows);
    sqlite3_blob_close(w->handle);
    return ret;
}

static int walk_with_vfs(struct walk *w, sqlite3_vfs *vfs, struct st_err *err)
{
    int rc = sqlite3_vfs_register(vfs, 0);
    if (rc != SQLITE_OK)
        return fail(rc, "start", err);
    rc = sqlite3_open_v2("rpmdb", &w->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
                         vfs->zName);
    int ret = 0;
    if (rc == SQLITE_OK) {
        harden(w);
        ret = walk_table(w, err);
    } else {
        ret = fail(rc, "open", err);
    }
    sqlite3_close(w->db);
    sqlite3_vfs_unregister(vfs);
    return ret;
}

int st_rpm_sqlite_walk(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err)
{
    char name[VFS_NAME_MAX];
    snprintf(name, sizeof name, "st-view-%p", (void *)&file);
    sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(struct view_file),
        .mxPathname = PATH_MAX_,
        .zName = name,
        .pAppData = &file,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_error,
    };
    struct walk w = {.sink = sink, .bytes_left = file.len, .blob = {.mem = mem}};
    // For the budget's books only; SQLite has a heap of its own, so this block is never touched (nor zeroed).
    void *charge = st_mem_resize(mem, NULL, 0, ST_RPM_SQLITE_HEAP, err);
    if (!charge)
        return -1;
    sqlite3_int64 limit = sqlite3_hard_heap_limit64(ST_RPM_SQLITE_HEAP);
    int rc = walk_with_vfs(&w, &vfs, err);
    sqlite3_hard_heap_limit64(limit);
    st_rpm_block_release(&w.blob);
    st_mem_free(mem, charge, ST_RPM_SQLITE_HEAP);
    return rc;
}
