// rpm's three containers: damage that a fuzzer does not find by chance. The sound files are the golden cases'.
#include "base/fd.h"
#include "catalog/rpm_db.h"
#include "catalog/rpm_header.h"
#include "tap.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>

#define PACKAGES 5 // headers in each golden database, with gpg-pubkey

typedef int walk_fn(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err);

static struct st_mem mem;

struct file {
    unsigned char *ptr; // owns
    size_t len;
};

static struct file load(const char *name)
{
    char path[4096];
    const char *tests = getenv("ST_TESTS");
    snprintf(path, sizeof path, "%s/golden/catalog/rpm-db-cataloger/%s/input", tests ? tests : "tests", name);
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    struct file f = {NULL, 0};
    if (fd < 0 || fstat(fd, &st) || !(f.ptr = malloc((size_t)st.st_size)) ||
        st_fd_read(fd, f.ptr, (size_t)st.st_size) != st.st_size) {
        printf("Bail out! %s\n", path);
        exit(1);
    }
    f.len = (size_t)st.st_size;
    return f;
}

// ---- what a walk gave -------------------------------------------------------------------------------

struct result {
    int rc;
    unsigned good, bad;
    struct st_err err, first; // of the walk, of the first damaged record
};

static int on_header(void *ctx, uint64_t number, struct st_sv blob, struct st_err *err)
{
    struct result *r = ctx;
    struct st_rpm_header h;
    if (st_rpm_header_open(blob, &h, NULL) == 0 && st_rpm_string(&h, ST_RPM_NAME).len)
        r->good++;
    else
        r->bad++;
    return 0;
}

static int on_damaged(void *ctx, uint64_t number, const struct st_err *why, struct st_err *err)
{
    struct result *r = ctx;
    if (r->bad++ == 0)
        r->first = *why;
    return 0;
}

// In a block of the exact size, so that a sanitizer sees the first byte read too far.
static struct result run(walk_fn *walk, const unsigned char *bytes, size_t len)
{
    struct result r = {0};
    struct st_rpm_sink sink = {&r, on_header, on_damaged};
    char *exact = malloc(len ? len : 1);
    if (!exact)
        exit(1);
    if (len)
        memcpy(exact, bytes, len);
    size_t used = mem.used;
    r.rc = walk(st_sv_mem(exact, len), &mem, &sink, &r.err);
    if (mem.used != used || (r.rc && r.err.code != ST_E_FORMAT && r.err.code != ST_E_LIMIT))
        TAP_OK(0, "memory is given back and the error is one of the file: %s", r.err.text);
    free(exact);
    return r;
}

static void put32(struct file f, size_t at, uint32_t v, bool big)
{
    for (int i = 0; i < 4; i++)
        f.ptr[at + (size_t)i] = (unsigned char)(v >> 8 * (big ? 3 - i : i));
}

static uint32_t get32(struct file f, size_t at, bool big)
{
    return big ? st_rpm_be32((const char *)f.ptr + at) : st_rpm_le32((const char *)f.ptr + at);
}

static const struct {
    const char *name;
    walk_fn *walk;
} databases[] = {
    {"bdb-le-512", st_rpm_bdb_walk}, {"bdb-le-4096", st_rpm_bdb_walk},   {"bdb-le-65536", st_rpm_bdb_walk},
    {"bdb-be-512", st_rpm_bdb_walk}, {"bdb-be-4096", st_rpm_bdb_walk},   {"ndb", st_rpm_ndb_walk},
    {"sqlite", st_rpm_sqlite_walk},  {"sqlite-512", st_rpm_sqlite_walk}, {"sqlite-65536", st_rpm_sqlite_walk},
};

static void test_sound(void)
{
    for (size_t i = 0; i < sizeof databases / sizeof *databases; i++) {
        struct file f = load(databases[i].name);
        struct result r = run(databases[i].walk, f.ptr, f.len);
        TAP_OK(r.rc == 0 && r.good == PACKAGES && r.bad == 0, "%s: %u headers, %u damaged %s", databases[i].name,
               r.good, r.bad, r.err.text);
        free(f.ptr);
    }
}

static void test_cut(void)
{
    for (size_t i = 0; i < sizeof databases / sizeof *databases; i++) {
        struct file f = load(databases[i].name);
        unsigned wrong = 0, cuts = 0;
        for (size_t n = 0; n<f.len; n += f.len> 100000 ? 4096 : 512, cuts++) {
            struct result r = run(databases[i].walk, f.ptr, n);
            wrong += r.good > PACKAGES || (r.rc == 0 && r.good + r.bad == 0);
        }
        TAP_OK(wrong == 0, "%s: cut at %u lengths", databases[i].name, cuts);
        free(f.ptr);
    }
}

// Every aligned 32-bit word of the first pages, one at a time.
static void test_words(void)
{
    static const uint32_t values[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xffffff00};
    for (size_t i = 0; i < sizeof databases / sizeof *databases; i++) {
        struct file f = load(databases[i].name);
        unsigned long runs = 0;
        size_t end = f.len > 100000 ? 120 : 400;
        for (size_t at = 0; at < end; at += 4)
            for (size_t k = 0; k < sizeof values / sizeof *values; k++, runs++) {
                uint32_t old = get32(f, at, false);
                put32(f, at, values[k], false);
                run(databases[i].walk, f.ptr, f.len);
                put32(f, at, old, false);
            }
        TAP_OK(1, "%s: %lu changed words", databases[i].name, runs);
        free(f.ptr);
    }
}

// ---- Berkeley DB ------------------------------------------------------------------------------------

// Offset of the first page of a type; of an overflow page the first that has a next one.
static size_t find_page(struct file f, size_t page_size, int type, bool big)
{
    for (size_t at = page_size; at < f.len; at += page_size)
        if (f.ptr[at + 25] == type && (type != 7 || get32(f, at + 16, big)))
            return at;
    printf("Bail out! no page of type %d\n", type);
    exit(1);
}

static void test_bdb_loops(const char *name, bool big, size_t page_size)
{
    struct file f = load(name);
    size_t at = find_page(f, page_size, 7, big);
    uint32_t old = get32(f, at + 16, big);
    put32(f, at + 16, get32(f, at + 8, big), big);
    struct result r = run(st_rpm_bdb_walk, f.ptr, f.len);
    TAP_OK(r.rc == 0 && r.good >= PACKAGES - 2 && r.bad >= 1, "%s: overflow page that follows itself: %s", name,
           r.first.text);
    put32(f, at + 16, old, big);
    at = find_page(f, page_size, 13, big);
    put32(f, at + 16, get32(f, at + 8, big), big);
    r = run(st_rpm_bdb_walk, f.ptr, f.len);
    TAP_OK(r.rc == -1 && r.err.code == ST_E_FORMAT && r.good + r.bad < 1000, "%s: hash page that follows itself: %s",
           name, r.err.text);
    free(f.ptr);
}

static void test_bdb_meta(void)
{
    static const struct {
        const char *what;
        size_t at;
        uint32_t value;
    } rows[] = {
        {"page size 0", 20, 0}, {"page size 511", 20, 511}, {"page size 2^17", 20, 1 << 17},      {"version 7", 16, 7},
        {"encrypted", 24, 1},   {"checksums", 24, 1 << 16}, {"2^32 - 1 buckets", 72, 0xffffffff},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file f = load("bdb-le-4096");
        put32(f, rows[i].at, rows[i].value, false);
        struct result r = run(st_rpm_bdb_walk, f.ptr, f.len);
        TAP_OK(r.rc == -1 && r.err.code == ST_E_FORMAT && r.good == 0, "bdb, %s: %s", rows[i].what, r.err.text);
        free(f.ptr);
    }
    for (uint32_t size = 512; size <= 65536; size *= 2) {
        struct file f = load("bdb-le-4096");
        put32(f, 20, size, false);
        struct result r = run(st_rpm_bdb_walk, f.ptr, f.len);
        TAP_OK(size == 4096 ? r.good == PACKAGES : r.good < PACKAGES,
               "bdb of 4096 that says %u: %u headers, %u damaged %s", size, r.good, r.bad, r.err.text);
        free(f.ptr);
    }
}

// ---- ndb --------------------------------------------------------------------------------------------

static void test_ndb(void)
{
    struct file f = load("ndb");
    put32(f, 12, 0xffffffff, false);
    struct result r = run(st_rpm_ndb_walk, f.ptr, f.len);
    TAP_OK(r.rc == -1 && r.good == 0, "ndb, 2^32 - 1 pages of slots: %s", r.err.text);
    free(f.ptr);

    f = load("ndb"); // all slots, the free ones as well, name the first blob
    for (size_t at = 48; at < 4096; at += 16)
        memcpy(f.ptr + at, f.ptr + 32, 16);
    r = run(st_rpm_ndb_walk, f.ptr, f.len);
    TAP_OK(r.rc == -1 && r.good < 40, "ndb, one blob in 254 slots: %u headers, %s", r.good, r.err.text);
    free(f.ptr);

    f = load("ndb");
    size_t blob = (size_t)get32(f, 40, false) * 16;
    put32(f, blob + 12, 0xffffffff, false);
    r = run(st_rpm_ndb_walk, f.ptr, f.len);
    TAP_OK(r.rc == 0 && r.good == PACKAGES - 1 && r.bad == 1, "ndb, blob of 2^32 - 1 bytes: %s", r.first.text);
    free(f.ptr);

    f = load("ndb");
    put32(f, 44, 0xffffffff, false);
    r = run(st_rpm_ndb_walk, f.ptr, f.len);
    TAP_OK(r.rc == 0 && r.good == PACKAGES - 1 && r.bad == 1, "ndb, 2^32 - 1 blocks: %s", r.first.text);
    free(f.ptr);
}

// ---- SQLite -----------------------------------------------------------------------------------------

// An overflow page has no mark: point every page's first word at the page itself, one page at a time.
static void test_sqlite_loops(void)
{
    struct file f = load("sqlite-512");
    unsigned damaged = 0, wrong = 0;
    for (size_t at = 512; at < f.len; at += 512) {
        uint32_t old = get32(f, at, true);
        put32(f, at, (uint32_t)(at / 512 + 1), true);
        struct result r = run(st_rpm_sqlite_walk, f.ptr, f.len);
        wrong += r.good > PACKAGES;
        damaged += r.rc || r.bad;
        put32(f, at, old, true);
    }
    TAP_OK(wrong == 0 && damaged > 10, "sqlite: pages that follow themselves, %u seen", damaged);
    free(f.ptr);
}

static void test_sqlite_page_size(void)
{
    for (uint32_t size = 1; size <= 65536; size *= 2) {
        struct file f = load("sqlite");
        f.ptr[16] = (unsigned char)(size >> 8);
        f.ptr[17] = (unsigned char)size;
        struct result r = run(st_rpm_sqlite_walk, f.ptr, f.len);
        TAP_OK(size == 4096 ? r.good == PACKAGES : r.good < PACKAGES, "sqlite of 4096 that says %u: %s", size,
               r.err.text);
        free(f.ptr);
    }
}

// The file that SQLite would write, in a block of ours: SQLite's own blocks count against its limit.
static struct file make_sqlite(sqlite3 *db)
{
    sqlite3_int64 n = 0;
    unsigned char *bytes = sqlite3_serialize(db, "main", &n, 0);
    struct file f = {malloc((size_t)n), (size_t)n};
    if (!bytes || !f.ptr)
        exit(1);
    memcpy(f.ptr, bytes, f.len);
    sqlite3_free(bytes);
    sqlite3_close(db);
    return f;
}

// Schemas that are not rpm's; "good" headers of the file are not asked for, only that nothing of the schema runs.
static void test_sqlite_schema(void)
{
    static const struct {
        const char *sql;
        int rc;
        unsigned bad; // damaged records
    } rows[] = {
        {"create table Packages(hnum integer primary key, blob blob)", 0, 0},
        {"create table Other(a)", -1, 0},
        {"create table T(a, blob); create view Packages as select 1 as rowid, a as blob from T", -1, 0},
        {"create view Packages as with recursive c(rowid) as (select 1 union all select rowid + 1 from c) select rowid "
         "from c",
         -1, 0},
        {"create virtual table Packages using fts5(blob)", -1, 0},
        {"create virtual table Packages using rtree(a, b, c)", -1, 0},
        {"create table Packages(hnum integer primary key, blob blob) without rowid", -1, 0},
        {"create table Packages(hnum integer primary key, blob); insert into Packages values(1, null), (2, 3), (-4, "
         "'x')",
         0, 3},
        {"create table Packages(hnum integer primary key, other); insert into Packages values(1, x'00')", 0, 1},
        {"create table Packages(hnum integer primary key, b, blob as (b)); insert into Packages values(1, x'00')", 0,
         1},
        {"create table Packages(blob); insert into Packages values(x'00')", 0, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sqlite3 *db = NULL;
        int rc = sqlite3_open(":memory:", &db);
        rc |= sqlite3_exec(db, rows[i].sql, NULL, NULL, NULL);
        struct file f = make_sqlite(db);
        struct result r = run(st_rpm_sqlite_walk, f.ptr, f.len);
        TAP_OK(rc == SQLITE_OK && r.rc == rows[i].rc && r.bad == rows[i].bad && r.good == 0, "%s: %u damaged %s%s",
               rows[i].sql, r.bad, r.err.text, r.first.text);
        free(f.ptr);
    }
}

// A schema with thousands of tables is more than SQLite may take of memory.
static void test_sqlite_heap(void)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open(":memory:", &db);
    for (int i = 0; i < 6000; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "create table t%d(a, b, c, d, e, f, g, h, i, j)", i);
        rc |= sqlite3_exec(db, sql, NULL, NULL, NULL);
    }
    struct file f = make_sqlite(db);
    sqlite3_int64 before = sqlite3_memory_used();
    sqlite3_memory_highwater(1);
    struct result r = run(st_rpm_sqlite_walk, f.ptr, f.len);
    sqlite3_int64 peak = sqlite3_memory_highwater(0);
    TAP_OK(rc == SQLITE_OK && r.rc == -1 && r.err.code == ST_E_LIMIT && sqlite3_memory_used() == before,
           "sqlite: 6000 tables: %s", r.err.text);
    TAP_OK(peak <= ST_RPM_SQLITE_HEAP && sqlite3_hard_heap_limit64(-1) == 0, "sqlite: peak of %lld bytes",
           (long long)peak);
    free(f.ptr);
}

// ---- headers ----------------------------------------------------------------------------------------

struct entry {
    uint32_t tag, type, off, count;
};

static struct file make_header(const struct entry *e, uint32_t n, const char *store, uint32_t len)
{
    struct file f = {malloc(8 + (size_t)16 * n + len), 8 + (size_t)16 * n + len};
    if (!f.ptr)
        exit(1);
    put32(f, 0, n, true);
    put32(f, 4, len, true);
    for (uint32_t i = 0; i < n; i++) {
        put32(f, 8 + (size_t)16 * i, e[i].tag, true);
        put32(f, 12 + (size_t)16 * i, e[i].type, true);
        put32(f, 16 + (size_t)16 * i, e[i].off, true);
        put32(f, 20 + (size_t)16 * i, e[i].count, true);
    }
    if (len)
        memcpy(f.ptr + 8 + (size_t)16 * n, store, len);
    return f;
}

static void test_header_rows(void)
{
    static const struct {
        const char *what;
        struct entry e;
        int ok;
    } rows[] = {
        {"string", {1000, 6, 0, 1}, 1},
        {"empty string at the end", {1000, 6, 7, 1}, 1},
        {"string past the end", {1000, 6, 8, 1}, 0},
        {"offset 2^32 - 1", {1000, 6, 0xffffffff, 1}, 0},
        {"two strings in one", {1000, 6, 0, 2}, 0},
        {"count 0", {1000, 6, 0, 0}, 0},
        {"array that says it is longer than it is", {1047, 8, 0, 8}, 1},
        {"count 2^32 - 1", {1047, 8, 0, 0xffffffff}, 0},
        {"number", {1003, 4, 4, 1}, 1},
        {"number that ends too late", {1003, 4, 5, 1}, 0},
        {"numbers 2^30", {1003, 4, 0, 1 << 30}, 0},
        {"numbers 2^32 - 1 of 64 bits", {5009, 5, 0, 0xffffffff}, 0},
        {"type 10", {1000, 10, 0, 1}, 0},
        {"another tag", {7777, 7, 0, 8}, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file f = make_header(&rows[i].e, 1, "ab\0cdef", 8);
        struct st_rpm_header h;
        struct st_err err = {0};
        int rc = st_rpm_header_open(st_sv_mem(f.ptr, f.len), &h, &err);
        TAP_OK((rc == 0) == rows[i].ok, "header, %s: %s", rows[i].what, err.text);
        free(f.ptr);
    }
}

static void test_header_values(void)
{
    // The last entry of a tag counts: rpm puts what it changed behind the immutable region.
    static const struct entry e[] = {
        {1000, 6, 0, 1}, {1003, 4, 4, 1}, {1014, 9, 8, 2}, {1000, 6, 2, 1}, {1029, 1, 4, 2}};
    struct file f = make_header(e, 5, "a\0b\0\0\0\1\2C\0de\0", 13);
    struct st_rpm_header h;
    uint64_t n = 0;
    int rc = st_rpm_header_open(st_sv_mem(f.ptr, f.len), &h, NULL);
    TAP_OK(rc == 0 && st_sv_eq(st_rpm_string(&h, ST_RPM_NAME), ST_SV("b")), "the last entry of a tag counts");
    TAP_OK(st_rpm_number(&h, ST_RPM_EPOCH, 0, &n) && n == 258 && !st_rpm_number(&h, ST_RPM_EPOCH, 1, &n), "numbers");
    TAP_OK(st_sv_eq(st_rpm_string(&h, ST_RPM_LICENSE), ST_SV("C")), "the first of translated strings");
    TAP_OK(st_rpm_string(&h, ST_RPM_VENDOR).len == 0 && st_rpm_string(&h, ST_RPM_EPOCH).len == 0,
           "absent, of another type");
    for (size_t cut = 0; cut < f.len; cut++)
        rc += st_rpm_header_open(st_sv_mem(f.ptr, cut), &h, NULL) == 0;
    TAP_OK(rc == 0, "cut at every byte");
    free(f.ptr);
    static unsigned char huge[8 + 16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct st_err err = {0};
    TAP_OK(st_rpm_header_open(st_sv_mem(huge, sizeof huge), &h, &err) == -1 && err.code == ST_E_LIMIT, "%s", err.text);
}

static void test_files(void)
{
    static const struct {
        const char *path, *want; // NULL: refused
    } rows[] = {
        {"/usr/bin/sh", "usr/bin/sh"},
        {"//a///b/", "a/b"},
        {"./a/./b", "a/b"},
        {"", ""},
        {"/", ""},
        {"/a/../b", NULL},
        {"..", NULL},
        {"/a..b/...", "a..b/..."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char buf[64];
        size_t n = st_rpm_path_append(buf, 0, sizeof buf, st_sv_of(rows[i].path));
        TAP_OK(rows[i].want ? n != SIZE_MAX && st_sv_eq(st_sv_mem(buf, n), st_sv_of(rows[i].want)) : n == SIZE_MAX,
               "path %s", rows[i].path);
    }
    char small[4];
    TAP_OK(st_rpm_path_append(small, 0, 4, ST_SV("/abcd")) == 4 &&
               st_rpm_path_append(small, 0, 4, ST_SV("/abc/d")) == SIZE_MAX,
           "no room");
    // OLDFILENAMES, and a budget that the second path exceeds.
    static const struct entry e[] = {{1027, 8, 0, 2}};
    struct file f = make_header(e, 1, "/a/b\0/c/d\0", 10);
    struct st_rpm_header h;
    struct st_rpm_files files;
    struct st_arena arena;
    struct st_sv path;
    struct st_err err = {0};
    st_arena_init(&arena, &mem);
    uint64_t budget = 6;
    TAP_OK(st_rpm_header_open(st_sv_mem(f.ptr, f.len), &h, NULL) == 0 &&
               st_rpm_files_init(&files, &h, &budget, &arena, NULL) == 0 &&
               st_rpm_files_next(&files, &path, &err) == 1 && st_sv_eq(path, ST_SV("a/b")),
           "a path of OLDFILENAMES");
    TAP_OK(st_rpm_files_next(&files, &path, &err) == -1 && err.code == ST_E_LIMIT, "budget: %s", err.text);
    st_arena_release(&arena);
    free(f.ptr);
}

int main(void)
{
    st_mem_init(&mem, 64 << 20, -1);
    test_sound();
    test_cut();
    test_words();
    test_bdb_loops("bdb-le-512", false, 512);
    test_bdb_loops("bdb-be-4096", true, 4096);
    test_bdb_meta();
    test_ndb();
    test_sqlite_loops();
    test_sqlite_page_size();
    test_sqlite_schema();
    test_sqlite_heap();
    test_header_rows();
    test_header_values();
    test_files();
    st_mem_release(&mem);
    return tap_done();
}
