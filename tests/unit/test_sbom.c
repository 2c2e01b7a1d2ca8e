// Writers: golden documents, what must not change them, what must not break them. ST_GOLDEN_UPDATE=1 writes the golden
// files anew (then read the difference).
#include "base/json.h"
#include "inventory_fixture.h"
#include "sbom/sbom.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct st_mem mem;
static const char *tests_dir = ".";

static struct st_sbom_options options(struct st_mem *m)
{
    return (struct st_sbom_options){.mem = m, .tool_version = ST_SV("0.0-test")};
}

static int render(const struct st_sbom_writer *w, const struct st_inventory *inv, const struct st_sbom_options *opts,
                  struct st_buf *b, struct st_err *err)
{
    struct st_out o;
    st_buf_clear(b);
    st_out_init_buf(&o, b);
    int rc = st_sbom_write(w, inv, opts, &o, err);
    return st_out_finish(&o, rc ? NULL : err) || rc ? -1 : 0;
}

static void compare(const char *name, struct st_sv got)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/golden/sbom/%s", tests_dir, name);
    if (getenv("ST_GOLDEN_UPDATE")) {
        FILE *f = fopen(path, "wb");
        if (f) {
            fwrite(got.ptr, 1, got.len, f);
            fclose(f);
        }
    }
    static char want[1 << 20];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(want, 1, sizeof want, f) : 0;
    if (f)
        fclose(f);
    size_t same = 0;
    while (same < n && same < got.len && want[same] == got.ptr[same])
        same++;
    TAP_OK(f && n == got.len && same == n, "%s (equal up to byte %zu of %zu)", name, same, n);
}

static void test_golden(struct st_buf *b)
{
    for (int f = 0; f < FIXTURE_MAX; f++) {
        struct fixture_state *state;
        const struct st_inventory *inv = fixture_new((enum fixture)f, &state);
        for (const struct st_sbom_writer *const *w = st_sbom_writers; *w; w++) {
            struct st_sbom_options opts = options(&mem);
            char name[128];
            struct st_err err = {0};
            int rc = render(*w, inv, &opts, b, &err);
            snprintf(name, sizeof name, "%s.%s%s", fixture_names[f], (*w)->name, (*w)->extension);
            TAP_OK(rc == 0, "%s: %s", name, err.text);
            compare(name, st_buf_sv(b));
        }
        fixture_free(state);
    }
}

static void test_find(void)
{
    static const char *const names[][2] = {
        {"table", "table"},        {"cyclonedx-json", "cyclonedx-json"},
        {"cdx", "cyclonedx-json"}, {"spdx-json", "spdx-json"},
        {"spdx", "spdx-json"},     {"syft-json", "syft-json"},
        {"json", "syft-json"},     {"purls", "purls"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct st_sbom_writer *w = st_sbom_writer_find(st_sv_of(names[i][0]));
        TAP_OK(w && strcmp(w->name, names[i][1]) == 0, "%s", names[i][0]);
    }
    TAP_OK(!st_sbom_writer_find(ST_SV("xml")) && !st_sbom_writer_find(ST_SV("")), "no such format");
}

// Well-formed, no key twice in an object of ours, nothing after the end.
static bool well_formed(struct st_sv text)
{
    struct st_json j;
    struct st_json_tok t;
    st_json_init(&j, text);
    do
        if (st_json_next(&j, &t, NULL))
            return false;
    while (t.type != ST_JSON_END);
    return true;
}

static void test_date(struct st_buf *b)
{
    struct fixture_state *state;
    const struct st_inventory *inv = fixture_new(FIXTURE_ROOTFS, &state);
    static const struct {
        uint64_t date;
        const char *text;
    } dates[] = {
        {0, "1970-01-01T00:00:00Z"}, {1700000000, "2023-11-14T22:13:20Z"}, {ST_SBOM_DATE_MAX, "9999-12-31T23:59:59Z"}};
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        struct st_sbom_options opts = options(&mem);
        opts.has_date = true;
        opts.date = dates[i].date;
        const char *formats[] = {"cdx", "spdx"};
        for (int k = 0; k < 2; k++) {
            int rc = render(st_sbom_writer_find(st_sv_of(formats[k])), inv, &opts, b, NULL);
            TAP_OK(rc == 0 && st_sv_search(st_buf_sv(b), st_sv_of(dates[i].text)) != ST_SV_NPOS, "%s: %s", formats[k],
                   dates[i].text);
        }
    }
    struct st_sbom_options opts = options(&mem);
    opts.has_date = true;
    opts.date = ST_SBOM_DATE_MAX + 1;
    struct st_err err = {0};
    TAP_OK(render(st_sbom_writer_find(ST_SV("cdx")), inv, &opts, b, &err) && err.code == ST_E_USAGE, "%s", err.text);
    fixture_free(state);
}

// No line of a table is wider than the terminal, and nothing in it can speak to the terminal.
static void test_table(struct st_buf *b)
{
    struct fixture_state *state;
    const struct st_inventory *inv = fixture_new(FIXTURE_IMAGE, &state);
    static const unsigned widths[] = {1, 20, 40, 60, 80, 200, 0};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        struct st_sbom_options opts = options(&mem);
        opts.width = widths[i];
        int rc = render(st_sbom_writer_find(ST_SV("table")), inv, &opts, b, NULL);
        struct st_sv rest = st_buf_sv(b), line;
        size_t controls = 0, widest = 0;
        bool rows = false;
        while (st_sv_split(&rest, '\n', &line)) {
            size_t n = 0;
            for (size_t k = 0; k < line.len; k++) {
                controls += (unsigned char)line.ptr[k] < 0x20 || line.ptr[k] == 0x7f;
                n += ((unsigned char)line.ptr[k] & 0xC0) != 0x80;
            }
            rows = line.len && (rows || st_sv_starts(line, ST_SV("NAME")));
            if (rows && n > widest)
                widest = n;
        }
        TAP_OK(rc == 0 && controls == 0, "width %u: no control characters", widths[i]);
        if (widths[i] >= 60)
            TAP_OK(widest <= widths[i], "width %u: widest row %zu", widths[i], widest);
    }
    fixture_free(state);
}

// The Nth request for memory is refused, for every N: an error, no leak, no crash.
static void test_faults(void)
{
    struct fixture_state *state;
    const struct st_inventory *inv = fixture_new(FIXTURE_IMAGE, &state);
    for (const struct st_sbom_writer *const *w = st_sbom_writers; *w; w++) {
        uint64_t n = 1;
        bool good = true, done = false;
        for (; !done && n < 100000; n++) {
            struct st_mem small;
            st_mem_init(&small, 8 << 20, -1);
            small.fail_at = n;
            struct st_sbom_options opts = options(&small);
            struct st_out o;
            struct st_err err = {0};
            int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
            st_out_init_fd(&o, null);
            int rc = st_sbom_write(*w, inv, &opts, &o, &err);
            done = small.requests < n; // it was not reached
            good &= done ? rc == 0 : rc != 0 && err.code != ST_E_NONE;
            st_out_finish(&o, NULL);
            close(null);
            good &= small.used == 0;
            st_mem_release(&small);
        }
        TAP_OK(good && done, "%s: %llu refused requests", (*w)->name, (unsigned long long)n - 2);
    }
    fixture_free(state);
}

// ---- a large inventory, made as it is asked for ---------------------------------------------------

struct large {
    char name[32], purl[96];
    struct st_evidence seen;
    uint32_t needs[2];
    uint64_t calls;
};

static int large_purl(void *ctx, uint32_t i, struct st_sv *ret, struct st_err *err)
{
    struct large *l = ctx;
    l->calls++;
    snprintf(l->purl, sizeof l->purl, "pkg:deb/debian/p%08u@1", (unsigned)i);
    *ret = st_sv_of(l->purl);
    return 0;
}

static int large_package(void *ctx, uint32_t i, struct st_item *ret, struct st_err *err)
{
    struct large *l = ctx;
    static const struct st_sv license = ST_SV_INIT("BSD-like");
    snprintf(l->name, sizeof l->name, "p%08u", (unsigned)i);
    l->seen = (struct st_evidence){ST_SV("var/lib/dpkg/status"), ST_SV_NULL, 0};
    l->needs[0] = 0;
    *ret = (struct st_item){
        .pkg = {.type = ST_PKG_DEB, .name = st_sv_of(l->name), .version = ST_SV("1"), .licenses = {&license, 1}},
        .found_by = ST_SV("dpkg"),
        .evidence = &l->seen,
        .n_evidence = 1,
        .owner = ST_ITEM_NONE,
        .depends = l->needs,
        .n_depends = i ? 1 : 0,
    };
    return large_purl(ctx, i, &ret->purl, err);
}

static size_t peak_of(const struct st_sbom_writer *w, uint32_t n, int fd, uint64_t *ret_calls)
{
    static const struct st_subject subject = {.name = ST_SV_INIT("large"), .config_digest = ST_SV_INIT("sha256:x")};
    struct large l = {0};
    struct st_inventory inv = {.subject = &subject,
                               .n_packages = n,
                               .complete = true,
                               .ctx = &l,
                               .package = large_package,
                               .purl = large_purl};
    struct st_mem m;
    st_mem_init(&m, 8 << 20, -1);
    struct st_sbom_options opts = options(&m);
    struct st_out o;
    st_out_init_fd(&o, fd);
    int rc = st_sbom_write(w, &inv, &opts, &o, NULL);
    st_out_finish(&o, NULL);
    size_t peak = rc ? SIZE_MAX : m.peak;
    st_mem_release(&m);
    *ret_calls = l.calls;
    return peak;
}

static void test_memory(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int shut = open("/dev/full", O_WRONLY | O_CLOEXEC);
    for (const struct st_sbom_writer *const *w = st_sbom_writers; *w; w++) {
        uint64_t calls;
        size_t few = peak_of(*w, 100, null, &calls), many = peak_of(*w, 20000, null, &calls);
        TAP_OK(few == many && many != SIZE_MAX, "%s: peak %zu bytes for 100 packages, %zu for 20,000", (*w)->name, few,
               many);
        peak_of(*w, 20000, shut, &calls);
        TAP_OK(strcmp((*w)->name, "table") == 0 || calls < 20000, "%s: stops when the disk is full, %llu calls",
               (*w)->name, (unsigned long long)calls);
    }
    close(null);
    close(shut);
}

static void test_same_bytes(struct st_buf *b)
{
    struct st_buf again;
    st_buf_init(&again, &mem);
    for (const struct st_sbom_writer *const *w = st_sbom_writers; *w; w++) {
        struct fixture_state *one, *two;
        const struct st_inventory *a = fixture_new(FIXTURE_IMAGE, &one), *c = fixture_new(FIXTURE_IMAGE, &two);
        struct st_sbom_options opts = options(&mem);
        int rc = render(*w, a, &opts, b, NULL) || render(*w, c, &opts, &again, NULL);
        TAP_OK(rc == 0 && st_sv_eq(st_buf_sv(b), st_buf_sv(&again)), "%s: twice the same", (*w)->name);
        TAP_OK(!strstr((*w)->name, "json") || well_formed(st_buf_sv(b)), "%s: well-formed", (*w)->name);
        fixture_free(one);
        fixture_free(two);
    }
    st_buf_release(&again);
}

int main(void)
{
    if (getenv("ST_TESTS"))
        tests_dir = getenv("ST_TESTS");
    st_mem_init(&mem, 64 << 20, -1);
    struct st_buf b;
    st_buf_init(&b, &mem);
    test_find();
    test_golden(&b);
    test_same_bytes(&b);
    test_date(&b);
    test_table(&b);
    test_faults();
    test_memory();
    st_buf_release(&b);
    st_mem_release(&mem);
    return tap_done();
}
