#include "inventory_fixture.h"

#include "base/mem.h"
#include "inventory/purl.h"

#include <assert.h>
#include <stdlib.h>

#define S ST_SV_INIT
#define LIST(...)                                                                                               \
    {                                                                                                           \
        (const struct st_sv[]){__VA_ARGS__}, sizeof((const struct st_sv[]){__VA_ARGS__}) / sizeof(struct st_sv) \
    }
#define PAIRS(...)                                                                                              \
    {                                                                                                           \
        (const struct st_kv[]){__VA_ARGS__}, sizeof((const struct st_kv[]){__VA_ARGS__}) / sizeof(struct st_kv) \
    }
#define SEEN(...)                              \
    (const struct st_evidence[]){__VA_ARGS__}, \
        sizeof((const struct st_evidence[]){__VA_ARGS__}) / sizeof(struct st_evidence)

enum { NEEDS_MAX = 4, PACKAGES_MAX = 32, UNKNOWNS_MAX = 4 };

struct row {
    struct st_package pkg;
    const char *found_by;
    const struct st_evidence *seen;
    size_t n_seen;
    uint32_t layer;
    const char *owner, *needs[NEEDS_MAX]; // names of packages in the same table
};

#define DPKG "var/lib/dpkg/status"
static const struct row image_rows[] = {
    {{ST_PKG_DEB, .name = S("libc6"), .version = S("2.36-9+deb12u4"), .arch = S("amd64"), .source_name = S("glibc"),
      .licenses = LIST(S("LGPL-2.1+"), S("GPL-2+"), S("LGPL-2.1+"), S("BSD-like")),
      .meta = PAIRS({S("maintainer"), S("GNU Libc Maintainers <debian-glibc@lists.debian.org>")},
                    {S("installedSize"), S("12988")})},
     "dpkg",
     SEEN({S(DPKG), S(""), 1})},
    {{ST_PKG_DEB, .name = S("zlib1g"), .version = S("1:1.2.13.dfsg-1"), .arch = S("amd64"), .source_name = S("zlib"),
      .licenses = LIST(S("Zlib")), .depends = LIST(S("libc6")), .provides = LIST(S("libz1"))},
     "dpkg",
     SEEN({S(DPKG), S(""), 1}),
     .needs = {"libc6"}},
    {{ST_PKG_DEB, .name = S("python3-six"), .version = S("1.16.0-4+b1"), .arch = S("all"), .source_name = S("six"),
      .source_version = S("1.16.0-4"), .licenses = LIST(S("Expat")),
      .depends = LIST(S("python3|python3-minimal"), S("libc6"))},
     "dpkg",
     SEEN({S(DPKG), S(""), 1}),
     .layer = 1,
     .needs = {"libc6", "zlib1g"}},
    {{ST_PKG_APK, .name = S("libcrypto3"), .version = S("3.1.4-r5"), .arch = S("x86_64"), .source_name = S("openssl"),
      .licenses = LIST(S("Apache-2.0")), .meta = PAIRS({S("pullChecksum"), S("Q1abc=")}, {S("size"), S("12")})},
     "apk",
     SEEN({S("lib/apk/db/installed"), S(""), 0})},
    {{ST_PKG_RPM, .name = S("dbus"), .version = S("1.12.20-8.el9"), .epoch = S("1"), .arch = S("x86_64"),
      .source_name = S("dbus-1.12.20-8.el9.src.rpm"), .licenses = LIST(S("(GPLv2+ or LicenseRef-AFL) and MIT")),
      .quals = PAIRS({S("rpmmod"), S("dbus:1:8060:abc")}),
      .meta = PAIRS({S("vendor"), S("Red Hat, Inc.")}, {S("size"), S("0")}),
      .provides = LIST(S("dbus"), S("dbus(x86-64)"))},
     "rpm",
     SEEN({S("var/lib/rpm/rpmdb.sqlite"), S(""), 0})},
    {{ST_PKG_ALPM, .name = S("gcc-libs"), .version = S("13.2.1-3"), .arch = S("x86_64"), .source_name = S("gcc"),
      .licenses = LIST(S("GPL3"), S("custom"))},
     "pacman",
     SEEN({S("var/lib/pacman/local/gcc-libs-13.2.1-3/desc"), S(""), 0})},
    {{ST_PKG_PORTAGE, .ns = S("app-misc"), .name = S("jq"), .version = S("1.7.1")},
     "portage",
     SEEN({S("var/db/pkg/app-misc/jq-1.7.1/CONTENTS"), S(""), 0})},
    {{ST_PKG_OPKG, .name = S("busybox"), .version = S("1.36.1-1"), .arch = S("mips_24kc")},
     "opkg",
     SEEN({S("usr/lib/opkg/status"), S(""), 0})},
    {{ST_PKG_NIX, .name = S("hello"), .version = S("2.12.1"),
      .quals = PAIRS({S("outputhash"), S("10s5j3mfdg22k1597x580qrhprnzcjwb")}, {S("output"), S("bin")})},
     "nix",
     SEEN({S("nix/store/10s5j3mfdg22k1597x580qrhprnzcjwb-hello-2.12.1-bin"), S(""), 0})},
    {{ST_PKG_NPM, .ns = S("@types"), .name = S("node"), .version = S("20.1.0"),
      .licenses = LIST(S("MIT or Apache-2.0")),
      .meta = PAIRS({S("author"), S("Some \"One\" <some@one.example>")}, {S("private"), S("true")})},
     "npm",
     SEEN({S("opt/app/node_modules/@types/node/package.json"), S(""), 1},
          {S("usr/lib/node_modules/@types/node/package.json"), S(""), 0})},
    // hostile: terminal escapes, newline, NUL, quotes, markup, invalid UTF-8, right-to-left override
    {{ST_PKG_NPM, .name = S("evil\x1b[31m\n\"</td>\\ \xff\xe2\x80\xae"), .version = S("1.0\x00.0\t"),
      .licenses = LIST(S("SEE \x1b]0;owned\x07 LICENSE\n"), S("BSD-like"))},
     "npm",
     SEEN({S("tmp/\x1b[2J/\xc3\x28/node_modules/evil/package.json"), S(""), 1})},
    {{ST_PKG_PYPI, .name = S("six"), .version = S("1.16.0"), .licenses = LIST(S("MIT")),
      .meta = PAIRS({S("author"), S("Benjamin Peterson")},
                    {S("sitePackagesRootPath"), S("/usr/lib/python3/dist-packages")})},
     "python",
     SEEN({S("usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO"), S(""), 1}),
     .layer = 1,
     .owner = "python3-six"},
    {{ST_PKG_MAVEN, .ns = S("org.apache.logging.log4j"), .name = S("log4j-core"), .version = S("2.14.1"),
      .licenses = LIST(S("Apache License, Version 2.0"), S("MIT AND ISC"))},
     "java",
     SEEN({S("opt/app/app.jar"), S("BOOT-INF/lib/log4j-core-2.14.1.jar:META-INF/maven/pom.properties"), 1}),
     .layer = 1},
    {{ST_PKG_GOLANG, .ns = S("github.com/BurntSushi"), .name = S("toml"), .version = S("v1.3.2"),
      .meta = PAIRS({S("h1Digest"), S("h1:o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8=")},
                    {S("goCompiledVersion"), S("go1.22.1")}, {S("architecture"), S("amd64")})},
     "go",
     SEEN({S("usr/local/bin/tool"), S(""), 1}),
     .layer = 1},
    {{ST_PKG_GOLANG, .name = S("stdlib"), .version = S("1.22.1")},
     "go",
     SEEN({S("usr/local/bin/tool"), S(""), 1}),
     .layer = 1},
    {{ST_PKG_CARGO, .name = S("serde"), .version = S("1.0.197"), .meta = PAIRS({S("source"), S("crates.io")})},
     "rust",
     SEEN({S("usr/local/bin/rusty"), S(""), 1}),
     .layer = 1},
    {{ST_PKG_GEM, .name = S("nokogiri"), .version = S("1.16.2"), .quals = PAIRS({S("platform"), S("x86_64-linux")}),
      .licenses = LIST(S("MIT"), S("BSD-2-Clause-pos-unchanged"))},
     "ruby",
     SEEN({S("usr/lib/ruby/gems/3.1.0/specifications/nokogiri-1.16.2-x86_64-linux.gemspec"), S(""), 0})},
    {{ST_PKG_NUGET, .name = S("Newtonsoft.Json"), .version = S("13.0.3")},
     "dotnet",
     SEEN({S("app/app.deps.json"), S(""), 1}),
     .layer = 1},
    {{ST_PKG_COMPOSER, .ns = S("laravel"), .name = S("framework"), .version = S("v10.0.0"), .licenses = LIST(S("MIT")),
      .meta = PAIRS({S("sourceType"), S("git")}, {S("sourceUrl"), S("https://github.com/laravel/framework.git")},
                    {S("reference"), S("0a1b")}, {S("type"), S("library")})},
     "php",
     SEEN({S("app/vendor/composer/installed.json"), S(""), 1}),
     .layer = 1},
    {{ST_PKG_CONDA, .name = S("absl-py"), .version = S("0.4.1"),
      .quals = PAIRS({S("build"), S("py36_0")}, {S("channel"), S("main")}, {S("subdir"), S("linux-64")},
                     {S("type"), S("tar.bz2")}),
      .meta = PAIRS({S("build_number"), S("3")})},
     "conda",
     SEEN({S("opt/conda/conda-meta/absl-py-0.4.1-py36_0.json"), S(""), 1}),
     .layer = 1},
    {{ST_PKG_GENERIC, .name = S("busybox")}, "binary", SEEN({S("bin/busybox"), S(""), 0})},
};

static const struct row rootfs_rows[] = {
    {{ST_PKG_DEB, .name = S("tzdata"), .version = S("2024a-0"), .arch = S("all")}, "dpkg", SEEN({S(DPKG), S(""), 0})},
    {{ST_PKG_RPM, .name = S("bash"), .version = S("5.1.8-9.el9"), .arch = S("x86_64"), .depends = LIST(S("tzdata"))},
     "rpm",
     SEEN({S("var/lib/rpm/Packages"), S(""), 0}),
     .needs = {"tzdata"}},
    {{ST_PKG_MAVEN, .name = S("lonely"), .version = S("")}, "java", SEEN({S("lonely.jar"), S(""), 0})},
};

static const struct st_subject_layer layers[] = {
    {S("sha256:1111111111111111111111111111111111111111111111111111111111111111"),
     S("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
     S("application/vnd.oci.image.layer.v1.tar+gzip"), S("/bin/sh -c #(nop) ADD file:0 in / "), 29100000},
    {S("sha256:2222222222222222222222222222222222222222222222222222222222222222"),
     S("sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
     S("application/vnd.oci.image.layer.v1.tar+zstd"), S("RUN apt-get install\t\x1b[1m"), 5120},
};

static const struct st_subject image_subject = {
    .name = S("registry.example:5000/team/web:1.0"),
    .tags = LIST(S("registry.example:5000/team/web:1.0")),
    .manifest_digest = S("sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"),
    .config_digest = S("sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"),
    .media_type = S("application/vnd.oci.image.manifest.v1+json"),
    .os = S("linux"),
    .architecture = S("arm64"),
    .variant = S("v8"),
    .size = 29105120,
    .labels = PAIRS({S("org.opencontainers.image.title"), S("web")}, {S("weird \"key\"\n"), S("v\x01")}),
    .layers = layers,
    .n_layers = 2,
};
static const struct st_subject rootfs_subject = {.rootfs = true, .name = S("/srv/root fs")};
static const struct st_subject empty_subject = {
    .name = S("empty.tar"),
    .config_digest = S("sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"),
    .os = S("linux"),
    .architecture = S("amd64"),
};

static const struct st_distro debian = {
    .id = S("debian"),
    .version_id = S("12"),
    .name = S("Debian GNU/Linux"),
    .pretty_name = S("Debian GNU/Linux 12 (bookworm)"),
    .version_codename = S("bookworm"),
    .id_like = S("one two"),
    .cpe_name = S("cpe:/o:debian:debian_linux:12"),
    .home_url = S("https://www.debian.org/"),
};

static const struct st_unknown image_unknowns[] = {
    {S("opt/app/bad.jar"), S("lib/a.jar"), ST_UNKNOWN_ENCRYPTED, S("member with a password")},
    {S("opt/app/bad.jar"), S("lib/b.jar"), ST_UNKNOWN_FORMAT, S("no end of central directory at byte 77")},
    {S("sha256:3333333333333333333333333333333333333333333333333333333333333333"), S(""), ST_UNKNOWN_FOREIGN,
     S("layer is not in the image")},
    {S("tmp/\x1b[2J\n.json"), S(""), ST_UNKNOWN_LIMIT, S("deeper than 128 levels at byte 128\x07")},
};

const char *const fixture_names[FIXTURE_MAX] = {"image", "rootfs", "empty"};

static const struct {
    const struct st_subject *subject;
    const struct st_distro *distro;
    const struct row *rows;
    size_t n_rows;
    const struct st_unknown *unknowns;
    size_t n_unknowns;
    bool complete;
} fixtures[FIXTURE_MAX] = {
    {&image_subject, &debian, image_rows, sizeof image_rows / sizeof *image_rows, image_unknowns, 4, true},
    {&rootfs_subject, NULL, rootfs_rows, sizeof rootfs_rows / sizeof *rootfs_rows, NULL, 0, false},
    {&empty_subject, NULL, NULL, 0, NULL, 0, true},
};

struct fixture_state {
    struct st_inventory inv;
    enum fixture which;
    struct st_mem mem;
    struct st_arena arena; // for as long as the fixture: purls
    struct st_sv purls[PACKAGES_MAX];
    const struct row *rows[PACKAGES_MAX]; // sorted by purl
    void **given;                         // blocks of the last call
    size_t n_given;
};

static void take_back(struct fixture_state *f)
{
    for (size_t i = 0; i < f->n_given; i++)
        free(f->given[i]);
    f->n_given = 0;
}

static void *give(struct fixture_state *f, const void *p, size_t n)
{
    if (n == 0)
        return NULL;
    void *copy = malloc(n);
    f->given = realloc(f->given, (f->n_given + 1) * sizeof *f->given);
    assert(copy && f->given);
    memcpy(copy, p, n);
    f->given[f->n_given++] = copy;
    return copy;
}

static struct st_sv give_sv(struct fixture_state *f, struct st_sv s)
{
    return (struct st_sv){give(f, s.ptr, s.len), s.len};
}

static struct st_svs give_svs(struct fixture_state *f, struct st_svs s)
{
    struct st_sv *at = give(f, s.at, s.n * sizeof *s.at);
    for (size_t i = 0; i < s.n; i++)
        at[i] = give_sv(f, at[i]);
    return (struct st_svs){at, s.n};
}

static struct st_kvs give_kvs(struct fixture_state *f, struct st_kvs s)
{
    struct st_kv *at = give(f, s.at, s.n * sizeof *s.at);
    for (size_t i = 0; i < s.n; i++)
        at[i] = (struct st_kv){give_sv(f, at[i].key), give_sv(f, at[i].value)};
    return (struct st_kvs){at, s.n};
}

static struct st_package give_package(struct fixture_state *f, struct st_package p)
{
    struct st_sv *svs[] = {&p.ns, &p.name, &p.version, &p.epoch, &p.arch, &p.source_name, &p.source_version, &p.inner};
    for (size_t i = 0; i < sizeof svs / sizeof *svs; i++)
        *svs[i] = give_sv(f, *svs[i]);
    p.licenses = give_svs(f, p.licenses);
    p.depends = give_svs(f, p.depends);
    p.provides = give_svs(f, p.provides);
    p.quals = give_kvs(f, p.quals);
    p.meta = give_kvs(f, p.meta);
    return p;
}

static uint32_t ordinal(const struct fixture_state *f, const char *name)
{
    for (uint32_t i = 0; i < f->inv.n_packages; i++)
        if (st_sv_eq(f->rows[i]->pkg.name, st_sv_of(name)))
            return i;
    assert(!"no such package");
    return 0;
}

static int package(void *ctx, uint32_t i, struct st_item *ret, struct st_err *err)
{
    struct fixture_state *f = ctx;
    take_back(f);
    const struct row *r = f->rows[i];
    struct st_evidence *seen = give(f, r->seen, r->n_seen * sizeof *seen);
    for (size_t k = 0; k < r->n_seen; k++)
        seen[k] = (struct st_evidence){give_sv(f, seen[k].path), give_sv(f, seen[k].inner), seen[k].layer};
    uint32_t needs[NEEDS_MAX];
    size_t n = 0;
    for (; n < NEEDS_MAX && r->needs[n]; n++) {
        needs[n] = ordinal(f, r->needs[n]);
        for (size_t k = n; k > 0 && needs[k - 1] > needs[k]; k--) {
            uint32_t t = needs[k];
            needs[k] = needs[k - 1];
            needs[k - 1] = t;
        }
    }
    *ret = (struct st_item){
        .pkg = give_package(f, r->pkg),
        .purl = give_sv(f, f->purls[i]),
        .found_by = give_sv(f, st_sv_of(r->found_by)),
        .layer = r->layer,
        .evidence = seen,
        .n_evidence = r->n_seen,
        .owner = r->owner ? ordinal(f, r->owner) : ST_ITEM_NONE,
        .depends = give(f, needs, n * sizeof *needs),
        .n_depends = n,
    };
    return 0;
}

static int purl(void *ctx, uint32_t i, struct st_sv *ret, struct st_err *err)
{
    struct fixture_state *f = ctx;
    take_back(f);
    *ret = give_sv(f, f->purls[i]);
    return 0;
}

static int unknown(void *ctx, uint32_t i, struct st_unknown *ret, struct st_err *err)
{
    struct fixture_state *f = ctx;
    take_back(f);
    struct st_unknown u = fixtures[f->which].unknowns[i];
    *ret = (struct st_unknown){give_sv(f, u.path), give_sv(f, u.inner), u.reason, give_sv(f, u.text)};
    return 0;
}

static void add_row(struct fixture_state *f, const struct row *r, const struct st_distro *distro)
{
    struct st_buf b;
    struct st_sv s;
    st_buf_init(&b, &f->mem);
    assert(f->inv.n_packages < PACKAGES_MAX);
    if (st_purl_package(&r->pkg, distro, &b, NULL) || st_arena_dup(&f->arena, st_buf_sv(&b), &s, NULL))
        abort();
    st_buf_release(&b);
    uint32_t at = f->inv.n_packages++;
    for (; at > 0 && st_sv_cmp(f->purls[at - 1], s) > 0; at--) {
        f->purls[at] = f->purls[at - 1];
        f->rows[at] = f->rows[at - 1];
    }
    f->purls[at] = s;
    f->rows[at] = r;
}

const struct st_inventory *fixture_new(enum fixture which, struct fixture_state **ret)
{
    struct fixture_state *f = calloc(1, sizeof *f);
    assert(f && fixtures[which].n_unknowns <= UNKNOWNS_MAX);
    st_mem_init(&f->mem, 1 << 20, -1);
    st_arena_init(&f->arena, &f->mem);
    f->which = which;
    f->inv = (struct st_inventory){
        .subject = fixtures[which].subject,
        .distro = fixtures[which].distro,
        .n_unknowns = (uint32_t)fixtures[which].n_unknowns,
        .complete = fixtures[which].complete,
        .ctx = f,
        .package = package,
        .purl = purl,
        .unknown = unknown,
    };
    for (size_t i = 0; i < fixtures[which].n_rows; i++)
        add_row(f, &fixtures[which].rows[i], fixtures[which].distro);
    *ret = f;
    return &f->inv;
}

void fixture_free(struct fixture_state *f)
{
    take_back(f);
    free(f->given);
    st_arena_release(&f->arena);
    st_mem_release(&f->mem);
    free(f);
}
