#include "base/json.h"
#include "inventory/purl.h"
#include "tap.h"

#include <stdlib.h>

static struct st_mem mem;

#define S ST_SV_INIT
static const struct st_distro debian = {.id = S("debian"), .version_id = S("12")};
static const struct st_distro sid = {.id = S("debian")};
static const struct st_distro alpine = {.id = S("alpine"), .version_id = S("3.19.1")};
static const struct st_distro rhel = {.id = S("rhel"), .version_id = S("9.4")};
static const struct st_distro leap = {.id = S("opensuse-leap"), .version_id = S("15.6")};
static const struct st_distro arch = {.id = S("arch")};

static const struct st_kv conda[] = {
    {S("subdir"), S("linux-64")}, {S("build"), S("py36_0")}, {S("channel"), S("")}, {S("type"), S("tar.bz2")}};
static const struct st_kv rpmmod[] = {{S("rpmmod"), S("nodejs:18:8060:abc")}};

static const struct {
    struct st_package pkg;
    const struct st_distro *distro;
    const char *want;
} rows[] = {
    {{ST_PKG_DEB, .name = S("libc6"), .version = S("2.36-9+deb12u4"), .arch = S("amd64"), .source_name = S("glibc")},
     &debian,
     "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc"},
    {{ST_PKG_DEB, .name = S("gcc"), .version = S("4:12.2.0-3"), .arch = S("amd64"), .source_name = S("gcc-defaults"),
      .source_version = S("1.203")},
     &debian,
     "pkg:deb/debian/gcc@4:12.2.0-3?arch=amd64&distro=debian-12&upstream=gcc-defaults%401.203"},
    {{ST_PKG_DEB, .name = S("a"), .version = S("1+b1"), .arch = S("all"), .source_name = S("a"),
      .source_version = S("1")},
     &sid,
     "pkg:deb/debian/a@1%2Bb1?arch=all&distro=debian&upstream=a%401"},
    {{ST_PKG_DEB, .name = S("a"), .version = S("1"), .source_name = S("a"), .source_version = S("1")},
     NULL,
     "pkg:deb/unknown/a@1"},
    {{ST_PKG_APK, .name = S("libcrypto3"), .version = S("3.1.4-r5"), .arch = S("x86_64"), .source_name = S("openssl")},
     &alpine,
     "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine-3.19.1&upstream=openssl"},
    {{ST_PKG_APK, .name = S("zlib"), .version = S("1.3-r0"), .arch = S("x86_64"), .source_name = S("zlib")},
     &alpine,
     "pkg:apk/alpine/zlib@1.3-r0?arch=x86_64&distro=alpine-3.19.1"},
    {{ST_PKG_RPM, .name = S("Dbus"), .version = S("1.12-8.el9"), .epoch = S("1"), .arch = S("x86_64"),
      .source_name = S("dbus-1.12-8.el9.src.rpm"), .quals = {rpmmod, 1}},
     &rhel,
     "pkg:rpm/redhat/Dbus@1.12-8.el9?arch=x86_64&distro=rhel-9.4&epoch=1&rpmmod=nodejs:18:8060:abc&upstream="
     "dbus-1.12-8.el9.src.rpm"},
    {{ST_PKG_RPM, .name = S("bash"), .version = S("5-1"), .arch = S("noarch")},
     &leap,
     "pkg:rpm/opensuse/bash@5-1?arch=noarch&distro=opensuse-leap-15.6"},
    {{ST_PKG_RPM, .name = S("bash"), .version = S("5-1")}, NULL, "pkg:rpm/unknown/bash@5-1"},
    {{ST_PKG_ALPM, .name = S("gcc-libs"), .version = S("13.2.1-3"), .arch = S("x86_64"), .source_name = S("gcc")},
     &arch,
     "pkg:alpm/arch/gcc-libs@13.2.1-3?arch=x86_64&distro=arch&upstream=gcc"},
    {{ST_PKG_OPKG, .name = S("busybox"), .version = S("1.36-1"), .arch = S("mips")},
     &sid,
     "pkg:opkg/debian/busybox@1.36-1?arch=mips&distro=debian"},
    {{ST_PKG_PORTAGE, .ns = S("app-misc"), .name = S("jq"), .version = S("1.7")},
     &debian,
     "pkg:portage/app-misc/jq@1.7"},
    {{ST_PKG_NPM, .ns = S("@types"), .name = S("node"), .version = S("20.1.0")},
     &debian,
     "pkg:npm/%40types/node@20.1.0"},
    {{ST_PKG_PYPI, .name = S("Zope.Interface_X"), .version = S("1!2+l")}, NULL, "pkg:pypi/zope.interface-x@1%212%2Bl"},
    {{ST_PKG_MAVEN, .ns = S("org.apache.commons"), .name = S("io"), .version = S("1.0 Final")},
     NULL,
     "pkg:maven/org.apache.commons/io@1.0%20Final"},
    {{ST_PKG_MAVEN, .name = S("lonely"), .version = S("1")}, NULL, "pkg:maven/lonely/lonely@1"},
    {{ST_PKG_GOLANG, .ns = S("github.com/BurntSushi"), .name = S("toml"), .version = S("v1.0.0+incompatible")},
     NULL,
     "pkg:golang/github.com/BurntSushi/toml@v1.0.0%2Bincompatible"},
    {{ST_PKG_GOLANG, .name = S("stdlib"), .version = S("1.22.1")}, NULL, "pkg:golang/stdlib@1.22.1"},
    {{ST_PKG_COMPOSER, .ns = S("Laravel"), .name = S("Framework"), .version = S("1")},
     NULL,
     "pkg:composer/laravel/framework@1"},
    {{ST_PKG_CONDA, .name = S("absl-py"), .version = S("0.4.1"), .quals = {conda, 4}},
     NULL,
     "pkg:conda/absl-py@0.4.1?build=py36_0&subdir=linux-64&type=tar.bz2"},
    {{ST_PKG_GENERIC, .name = S("a/b\n\xff%")}, NULL, "pkg:generic/a%2Fb%0A%FF%25"},
};

static void test_rows(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct st_buf b;
        st_buf_init(&b, &mem);
        struct st_err err = {0};
        int rc = st_purl_package(&rows[i].pkg, rows[i].distro, &b, &err);
        TAP_OK(rc == 0 && st_sv_eq(st_buf_sv(&b), st_sv_of(rows[i].want)), "%s", rows[i].want);
        if (rc || !st_sv_eq(st_buf_sv(&b), st_sv_of(rows[i].want)))
            printf("# got " ST_SV_FMT " (%s)\n", ST_SV_ARG(st_buf_sv(&b)), err.text);
        st_buf_release(&b);
    }
}

static void test_rejects(void)
{
    static const struct st_kv bad_key[] = {{S("in production"), S("x")}};
    static const struct st_kv digit_key[] = {{S("1a"), S("x")}};
    static const struct st_kv twice[] = {{S("a"), S("x")}, {S("b"), S("x")}, {S("A"), S("y")}};
    static struct st_kv many[ST_PURL_QUALIFIERS_MAX + 1];
    static char keys[ST_PURL_QUALIFIERS_MAX + 1][3];
    for (int i = 0; i <= ST_PURL_QUALIFIERS_MAX; i++) {
        keys[i][0] = (char)('a' + i / 26);
        keys[i][1] = (char)('a' + i % 26);
        many[i] = (struct st_kv){st_sv_mem(keys[i], 2), ST_SV("v")};
    }
    static const struct {
        struct st_purl p;
        enum st_err_code code;
    } bad[] = {
        {{.name = S("x")}, ST_E_FORMAT},
        {{.type = S("3x"), .name = S("x")}, ST_E_FORMAT},
        {{.type = S("a b"), .name = S("x")}, ST_E_FORMAT},
        {{.type = S("npm")}, ST_E_FORMAT},
        {{.type = S("npm"), .name = S("x"), .quals = {bad_key, 1}}, ST_E_FORMAT},
        {{.type = S("npm"), .name = S("x"), .quals = {digit_key, 1}}, ST_E_FORMAT},
        {{.type = S("npm"), .name = S("x"), .quals = {twice, 3}}, ST_E_FORMAT},
        {{.type = S("npm"), .name = S("x"), .quals = {many, ST_PURL_QUALIFIERS_MAX + 1}}, ST_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct st_buf b;
        st_buf_init(&b, &mem);
        struct st_err err = {0};
        TAP_OK(st_purl_build(&bad[i].p, &b, &err) && err.code == bad[i].code, "reject %zu: %s", i, err.text);
        st_buf_release(&b);
    }
}

// ---- the specification's own cases ----------------------------------------------------------------

struct spec_case {
    struct st_sv type, input_text, output_text; // test_type; input and output when they are strings
    bool fails, has_parts;
    struct st_purl parts; // input of "build", output of "parse"
    struct st_kv quals[16];
};

static struct st_arena arena;

static struct st_sv text_of(const struct st_json_tok *t)
{
    struct st_sv s = ST_SV_NULL;
    if (t->type == ST_JSON_STRING)
        st_json_text(t, &arena, &s, NULL);
    return s;
}

static void read_quals(struct st_json *j, struct spec_case *c)
{
    struct st_json_tok k, v;
    while (st_json_member(j, &k, &v, NULL) > 0)
        if (c->parts.quals.n < 16)
            c->quals[c->parts.quals.n++] = (struct st_kv){k.raw, text_of(&v)};
    c->parts.quals.at = c->quals;
}

static void read_parts(struct st_json *j, struct spec_case *c)
{
    struct {
        const char *key;
        struct st_sv *to;
    } fields[] = {{"type", &c->parts.type},
                  {"namespace", &c->parts.ns},
                  {"name", &c->parts.name},
                  {"version", &c->parts.version},
                  {"subpath", &c->parts.subpath}};
    struct st_json_tok k, v;
    while (st_json_member(j, &k, &v, NULL) > 0) {
        if (v.type == ST_JSON_OBJECT)
            read_quals(j, c);
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            if (st_json_is(&k, st_sv_of(fields[i].key)))
                *fields[i].to = text_of(&v);
    }
    c->has_parts = true;
}

static void read_case(struct st_json *j, struct spec_case *c)
{
    struct st_json_tok k, v;
    while (st_json_member(j, &k, &v, NULL) > 0) {
        if (v.type == ST_JSON_OBJECT)
            read_parts(j, c);
        else if (st_json_is(&k, ST_SV("test_type")))
            c->type = text_of(&v);
        else if (st_json_is(&k, ST_SV("input")))
            c->input_text = text_of(&v);
        else if (st_json_is(&k, ST_SV("expected_output")))
            c->output_text = text_of(&v);
        else if (st_json_is(&k, ST_SV("expected_failure")))
            c->fails = v.type == ST_JSON_TRUE;
        else
            st_json_skip(j, &v, NULL);
    }
}

enum { CASES_MAX = 256 };
static struct spec_case cases[CASES_MAX];

static size_t read_cases(struct st_sv text)
{
    size_t n = 0;
    struct st_json j;
    st_json_init(&j, text);
    struct st_json_tok k, v;
    st_json_next(&j, &v, NULL);
    while (st_json_member(&j, &k, &v, NULL) > 0) {
        if (v.type != ST_JSON_ARRAY || !st_json_is(&k, ST_SV("tests"))) {
            st_json_skip(&j, &v, NULL);
            continue;
        }
        while (st_json_element(&j, &v, NULL) > 0 && n < CASES_MAX) {
            cases[n] = (struct spec_case){0};
            read_case(&j, &cases[n++]);
        }
    }
    return n;
}

// What a successful parse gives must build the text that a validation of the same input calls canonical.
static const struct st_sv *expected(const struct spec_case *c, size_t n)
{
    if (st_sv_eq(c->type, ST_SV("build")))
        return &c->output_text;
    for (size_t i = 0; i < n && !c->fails; i++)
        if (st_sv_eq(cases[i].type, ST_SV("validate")) && st_sv_eq(cases[i].input_text, c->input_text))
            return &cases[i].output_text;
    return NULL;
}

static void check_cases(const char *name, size_t n)
{
    size_t done = 0, bad = 0;
    for (size_t i = 0; i < n; i++) {
        const struct st_sv *want = cases[i].has_parts ? expected(&cases[i], n) : NULL;
        if (!want)
            continue;
        struct st_buf b;
        st_buf_init(&b, &mem);
        int rc = st_purl_build(&cases[i].parts, &b, NULL);
        bool ok = cases[i].fails ? rc != 0 : rc == 0 && st_sv_eq(st_buf_sv(&b), *want);
        if (!ok)
            printf("# want " ST_SV_FMT "\n# got  " ST_SV_FMT "\n", ST_SV_ARG(*want), ST_SV_ARG(st_buf_sv(&b)));
        bad += !ok;
        done++;
        st_buf_release(&b);
    }
    TAP_OK(done && !bad, "%s: %zu of the specification's cases", name, done);
}

static void run_file(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        tap_skip(name, "no such file");
        return;
    }
    static char text[1 << 20];
    size_t len = fread(text, 1, sizeof text, f);
    fclose(f);
    st_arena_init(&arena, &mem);
    check_cases(name, read_cases(st_sv_mem(text, len)));
    st_arena_release(&arena);
}

static void test_spec(void)
{
    static const char *const files[] = {
        "spec/specification-test.json", "types/deb-test.json",   "types/apk-test.json",     "types/rpm-test.json",
        "types/alpm-test.json",         "types/npm-test.json",   "types/pypi-test.json",    "types/maven-test.json",
        "types/golang-test.json",       "types/cargo-test.json", "types/gem-test.json",     "types/nuget-test.json",
        "types/composer-test.json",     "types/conda-test.json", "types/generic-test.json", "types/oci-test.json",
    };
    const char *dir = getenv("ST_PURL_SPEC");
    if (!dir || !*dir) {
        tap_skip("cases of purl-spec", "ST_PURL_SPEC does not name a checkout of package-url/purl-spec");
        return;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        run_file(dir, files[i]);
}

int main(void)
{
    st_mem_init(&mem, 16 << 20, -1);
    test_rows();
    test_rejects();
    test_spec();
    st_mem_release(&mem);
    return tap_done();
}
