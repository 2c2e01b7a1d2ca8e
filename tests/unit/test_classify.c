#include "base/ckd.h"
#include "catalog/catalog.h"
#include "tap.h"

#include <stdlib.h>
#include <time.h>

static struct st_mem mem;

static const struct {
    const char *glob, *path;
    bool match;
} globs[] = {
    {"etc/os-release", "etc/os-release", true},
    {"etc/os-release", "usr/etc/os-release", false},
    {"etc/os-release", "etc/os-release/x", false},
    {"**/os-release", "os-release", true},
    {"**/os-release", "a/b/c/os-release", true},
    {"**/os-release", "a/b/xos-release", false},
    {"**/a/b", "a/a/b", true},
    {"**/a/b", "a/b/a/b", true},
    {"**/a/b", "a/b/b", false},
    {"a/**", "a/b/c", true},
    {"a/**", "a", true},
    {"a/**", "b/a", false},
    {"**", "a/b", true},
    {"a/**/z", "a/z", true},
    {"a/**/z", "a/b/c/z", true},
    {"a/**/z", "a/b/c/zz", false},
    {"a/**/m/**/z", "a/m/x/m/z", true},
    {"a/**/m/**/z", "a/x/z", false},
    {"*.jar", "x.jar", true},
    {"*.jar", ".jar", true},
    {"*.jar", "a/x.jar", false},
    {"**/*.jar", "a/x.jar", true},
    {"**/*.jar", "a/x.jar.txt", false},
    {"**/l*b*.so", "x/lab.c.bb.so", true},
    {"**/l*b*.so", "x/la.so", false},
    {"**/node_modules/*/package.json", "a/node_modules/b/package.json", true},
    {"**/node_modules/*/package.json", "a/node_modules/@s/b/package.json", false},
    {"**/node_modules/@*/*/package.json", "a/node_modules/@s/b/package.json", true},
    {"**/status.d/*", "var/lib/dpkg/status.d/base", true},
    {"**/status.d/*", "var/lib/dpkg/status.d", false},
    {"**/a***b", "x/acb", true}, // not a whole part: as one '*'
    {"", "a", false},
    {"**", "", false},
};

static void test_globs(void)
{
    for (size_t i = 0; i < ST_LEN(globs); i++) {
        struct st_sv path = st_sv_of(globs[i].path);
        TAP_OK(st_glob_match(globs[i].glob, path) == globs[i].match, "glob %s %s " ST_SV_FMT, globs[i].glob,
               globs[i].match ? "matches" : "does not match", ST_SV_ARG(path));
    }
    size_t n = 60000;
    char *deep = malloc(n);
    if (!TAP_OK(deep, "memory"))
        return;
    for (size_t i = 0; i < n; i++)
        deep[i] = i % 2 ? '/' : 'a';
    TAP_OK(!st_glob_match("**/a/a/a/a/**/a/a/*b/x*", st_sv_mem(deep, n - 1)), "30,000 parts");
    memset(deep, 'a', n);
    TAP_OK(!st_glob_match("**/*a*a*a*a*b", st_sv_mem(deep, n)), "a part of 60,000 bytes");
    free(deep);
}

#define GLOBS(...)                 \
    .globs = (const char *const[]) \
    {                              \
        __VA_ARGS__, NULL          \
    }
static const struct st_cataloger rows[] = {
    {.name = "status", GLOBS("**/var/lib/dpkg/status", "**/var/lib/dpkg/status.d/*", "var/lib/dpkg/info/*.list")},
    {.name = "jar", GLOBS("**/*.jar", "**/*.war", "**/*.j")},
    {.name = "magic"},
    {.name = "nix", GLOBS("nix/store/*")},
    {.name = "npm", GLOBS("**/node_modules/*/package.json", "**/node_modules/@*/*/package.json")},
    {.name = "any", GLOBS("**/*.dist-info/METADATA", "opt/*/x*", "**/lib*")},
    {.name = "anything in a jar dir", GLOBS("**/jars/**")},
    {.name = "os-release", GLOBS("etc/os-release", "usr/lib/os-release")},
    {.name = "also jar", GLOBS("**/x.jar")},
};
static const struct st_cataloger *const table[] = {&rows[0], &rows[1], &rows[2], &rows[3], &rows[4],
                                                   &rows[5], &rows[6], &rows[7], &rows[8], NULL};

static const struct {
    const char *path, *want; // digits of the indices
} paths[] = {
    {"var/lib/dpkg/status", "0"},
    {"chroot/var/lib/dpkg/status", "0"},
    {"var/lib/dpkg/status-old", ""},
    {"var/lib/dpkg/status.d/tzdata", "0"},
    {"var/lib/dpkg/info/a.list", "0"},
    {"x/var/lib/dpkg/info/a.list", ""},
    {"app/a.jar", "1"},
    {"app/x.jar", "18"},
    {"app/jars/x.jar", "168"},
    {"app/jars/b/c", "6"},
    {"x.j", "1"},
    {"nix/store/abc-hello-1.0", "3"},
    {"nix/store/abc-hello-1.0/bin", ""},
    {"a/nix/store/abc", ""},
    {"node_modules/a/package.json", "4"},
    {"node_modules/@a/b/package.json", "4"},
    {"package.json", ""},
    {"usr/x.dist-info/METADATA", "5"},
    {"opt/a/xyz", "5"},
    {"libx", "5"},
    {"usr/lib/os-release", "7"},
    {"etc/os-release", "7"},
    {"a/etc/os-release", ""},
    {"", ""},
    {"/", ""},
    {".", ""},
    {"a.", ""},
};

static void test_table(void)
{
    struct st_classifier *c = st_classifier_new(&mem, table, NULL);
    TAP_OK(c != NULL, "table compiles");
    for (size_t i = 0; i < ST_LEN(paths); i++) {
        uint8_t found[16];
        char text[17] = "";
        struct st_sv path = st_sv_of(paths[i].path);
        size_t n = st_classify(c, path, found, ST_LEN(found));
        for (size_t k = 0; k < n; k++)
            text[k] = (char)('0' + found[k]);
        TAP_OK(strcmp(text, paths[i].want) == 0, "path '" ST_SV_FMT "' is for '%s' (%s)", ST_SV_ARG(path),
               paths[i].want, text);
    }
    uint8_t two[2];
    TAP_OK(st_classify(c, ST_SV("app/jars/x.jar"), two, 2) == 2 && two[0] == 1 && two[1] == 6,
           "the first two of three");
    TAP_OK(st_classify(c, ST_SV("app/jars/x.jar"), two, 0) == 0, "room for none");
    st_classifier_free(c);
    st_classifier_free(NULL);
    const struct st_cataloger *const none[] = {NULL};
    c = st_classifier_new(&mem, none, NULL);
    TAP_OK(c && st_classify(c, ST_SV("a/b.c"), two, 2) == 0, "an empty table");
    st_classifier_free(c);
    mem.fail_at = mem.requests + 1;
    TAP_OK(!st_classifier_new(&mem, table, NULL), "a refused allocation");
    TAP_OK(mem.used == 0, "nothing is left");
}

// The keys must never hide a match: every path against every glob, on random paths over few words.
static void test_agreement(void)
{
    static const char *const words[] = {"var",          "lib",    "dpkg",       "status",   "status.d",
                                        "info",         "a.list", "x.jar",      "nix",      "store",
                                        "jars",         "opt",    "x",          "@s",       "package.json",
                                        "node_modules", "etc",    "os-release", "METADATA", "y.dist-info"};
    struct st_classifier *c = st_classifier_new(&mem, table, NULL);
    uint64_t seed = 1;
    unsigned wrong = 0, matches = 0;
    for (unsigned round = 0; round < 200000; round++) {
        char path[256];
        size_t len = 0;
        unsigned parts = 1 + (unsigned)(seed >> 33) % 5;
        for (unsigned k = 0; k < parts; k++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            len += (size_t)snprintf(path + len, sizeof path - len, "%s%s", k ? "/" : "",
                                    words[(seed >> 33) % ST_LEN(words)]);
        }
        uint8_t found[16], want[16];
        size_t n = st_classify(c, st_sv_mem(path, len), found, 16), m = 0;
        for (uint8_t i = 0; table[i]; i++)
            for (const char *const *g = table[i]->globs; g && *g; g++)
                if (st_glob_match(*g, st_sv_mem(path, len))) {
                    want[m++] = i;
                    break;
                }
        wrong += n != m || memcmp(found, want, n) != 0;
        matches += m > 0;
    }
    st_classifier_free(c);
    TAP_OK(wrong == 0 && matches > 1000, "keys and globs agree on 200,000 paths, %u of them wanted", matches);
}

static void test_view(void)
{
    struct st_span spans[] = {{0, ST_SV_INIT("abcd")}, {10, ST_SV_INIT("klm")}};
    struct st_view v = {.size = 20, .spans = spans, .n = 2};
    struct st_sv s;
    TAP_OK(st_view_get(&v, 1, 3, &s) == ST_VIEW_OK && st_sv_eq(s, ST_SV("bcd")), "inside the first span");
    TAP_OK(st_view_get(&v, 10, 3, &s) == ST_VIEW_OK && st_sv_eq(s, ST_SV("klm")), "the second span");
    TAP_OK(st_view_get(&v, 2, 3, &s) == ST_VIEW_MISSING, "over the end of a span");
    TAP_OK(st_view_get(&v, 12, 2, &s) == ST_VIEW_MISSING, "over the end of the last span");
    TAP_OK(st_view_get(&v, 5, 1, &s) == ST_VIEW_MISSING, "between spans");
    TAP_OK(st_view_get(&v, 19, 1, &s) == ST_VIEW_MISSING, "the last byte");
    TAP_OK(st_view_get(&v, 20, 0, &s) == ST_VIEW_OK && s.len == 0, "nothing at the end");
    TAP_OK(st_view_get(&v, 20, 1, &s) == ST_VIEW_OUTSIDE, "behind the end");
    TAP_OK(st_view_get(&v, 21, 0, &s) == ST_VIEW_OUTSIDE, "nothing behind the end");
    TAP_OK(st_view_get(&v, 1, UINT64_MAX, &s) == ST_VIEW_OUTSIDE, "no overflow");
    TAP_OK(st_sv_eq(st_view_all(&v), ST_SV("abcd")), "all");
    v.n = 0;
    TAP_OK(st_view_all(&v).len == 0, "all of an empty file");
}

// PATHS=file with one path a line: how long does one take? For a developer, not part of the verdict.
static void measure(const char *file)
{
    FILE *f = fopen(file, "rb");
    static char text[128 << 20];
    size_t len = f ? fread(text, 1, sizeof text, f) : 0;
    if (f)
        fclose(f);
    struct st_classifier *c = st_classifier_new(&mem, st_catalogers, NULL);
    struct timespec t0, t1;
    size_t n = 0, wanted = 0;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    struct st_sv rest = st_sv_mem(text, len), line;
    while (st_sv_line(&rest, &line)) {
        uint8_t found[8];
        n++;
        wanted += st_classify(c, line, found, 8) > 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &t1);
    double ns = (double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec);
    printf("# %zu paths, %zu wanted, %.1f ns each\n", n, wanted, n ? ns / (double)n : 0);
    st_classifier_free(c);
}

int main(void)
{
    st_mem_init(&mem, 1 << 20, -1);
    test_globs();
    test_table();
    test_agreement();
    test_view();
    const char *file = getenv("PATHS");
    if (file)
        measure(file);
    st_mem_release(&mem);
    return tap_done();
}
