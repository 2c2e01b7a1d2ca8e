// What a user may type, and what it means.
#include "image/open.h"
#include "tap.h"

struct row {
    const char *text;
    const char *source; // NULL: an error
    const char *path, *tag, *domain, *repository;
};

static const struct row rows[] = {
    {"/a/b.tar", "path", "/a/b.tar", "", "", ""},
    {"./oci:x", "path", "./oci:x", "", "", ""},
    {"../x", "path", "../x", "", "", ""},
    {"here.tar", "path", "here.tar", "", "", ""}, // exists
    {"-", "path", "-", "", "", ""},
    {"oci:dir", "oci", "dir", "", "", ""},
    {"oci:dir:1.0", "oci", "dir", "1.0", "", ""},
    {"oci:/d:reg:5000/web:1", "oci", "/d", "reg:5000/web:1", "", ""},
    {"oci:with:colon", "oci", "with:colon", "", "", ""}, // exists
    {"docker-archive:x.tar", "docker-archive", "x.tar", "", "", ""},
    {"docker-archive:x.tar:web:1", "docker-archive", "x.tar", "web:1", "", ""},
    {"docker-archive:-", "docker-archive", "-", "", "", ""},
    {"oci-archive:x.tar", "oci-archive", "x.tar", "", "", ""},
    {"rootfs:/", "rootfs", "/", "", "", ""},
    {"rootfs:a:b", "rootfs", "a:b", "", "", ""},
    {"alpine", "registry", "", "latest", "docker.io", "library/alpine"},
    {"alpine:3.20", "registry", "", "3.20", "docker.io", "library/alpine"},
    {"docker://alpine", "registry", "", "latest", "docker.io", "library/alpine"},
    {"registry:alpine", "registry", "", "latest", "docker.io", "library/alpine"},
    {"index.docker.io/a/b", "registry", "", "latest", "docker.io", "a/b"},
    {"docker:web", "docker", "", "latest", "docker.io", "library/web"},
    {"podman:web", "podman", "", "latest", "docker.io", "library/web"},
    {"user/web", "registry", "", "latest", "docker.io", "user/web"},
    {"localhost/web", "registry", "", "latest", "localhost", "web"},
    {"localhost:5000/web:1", "registry", "", "1", "localhost:5000", "web"},
    {"quay.example/a/b/c:v1", "registry", "", "v1", "quay.example", "a/b/c"},
    {"[::1]:5000/web", "registry", "", "latest", "[::1]:5000", "web"},
    {"UPPER/web", "registry", "", "latest", "UPPER", "web"},
    {"a.b/c__d.e-f---g/h", "registry", "", "latest", "a.b", "c__d.e-f---g/h"},
    {"web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "registry", "", "", "docker.io",
     "library/web"},
    {"web:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "registry", "", "1", "docker.io",
     "library/web"},
    {"", NULL},
    {"oci:", NULL},
    {"rootfs:", NULL},
    {"registry:", NULL},
    {"docker://", NULL},
    {"Web", NULL},
    {"a/Web", NULL},
    {"web:", NULL},
    {"web:a b", NULL},
    {"web:-x", NULL},
    {"web@sha256:abc", NULL},
    {"web@", NULL},
    {"a//b", NULL},
    {"a/", NULL},
    {"a.b/", NULL},
    {"a...b/c", NULL},
    {"a___b", NULL},
    {"_a", NULL},
    {"a_", NULL},
    {"a:b:c/d", NULL},
    {"host:port/web", NULL},
    {"host:99999/web", NULL},
    {"[::1/web", NULL},
    {"-x.y/web", NULL},
};

static bool exists(void *ctx, struct st_sv path)
{
    return st_sv_eq(path, ST_SV("here.tar")) || st_sv_eq(path, ST_SV("with:colon"));
}

static bool is(struct st_sv s, const char *want)
{
    return st_sv_eq(s, st_sv_of(want));
}

static void test_rows(struct st_arena *a)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct st_reference ref;
        struct st_err err = {0};
        int rc = st_reference_parse(st_sv_of(r->text), exists, NULL, a, &ref, &err);
        if (!r->source) {
            TAP_OK(rc < 0 && err.code == ST_E_INPUT && err.text[0], "refused: '%s' (%s)", r->text, err.text);
            continue;
        }
        TAP_OK(rc == 0 && !strcmp(ref.source->name, r->source) && is(ref.path, r->path) && is(ref.tag, r->tag) &&
                   is(ref.domain, r->domain) && is(ref.repository, r->repository),
               "'%s' is a %s (%s)", r->text, r->source, err.text);
    }
}

static void test_limits(struct st_arena *a)
{
    char text[5000];
    struct st_reference ref;
    struct st_err err = {0};
    memset(text, 'a', sizeof text);
    TAP_OK(st_reference_parse(st_sv_mem(text, sizeof text), NULL, NULL, a, &ref, &err) < 0 && err.code == ST_E_INPUT,
           "5000 bytes are too long");
    TAP_OK(st_reference_parse(st_sv_mem(text, 300), NULL, NULL, a, &ref, &err) < 0, "a name of 300 is too long");
    TAP_OK(st_reference_parse(st_sv_mem("a\0b", 3), NULL, NULL, a, &ref, &err) < 0, "NUL is refused");
    TAP_OK(st_reference_parse(ST_SV("/a"), NULL, NULL, a, &ref, &err) == 0 && ref.by_rule && !ref.standard_input,
           "a path by its looks says so");
    TAP_OK(st_reference_parse(ST_SV("-"), NULL, NULL, a, &ref, &err) == 0 && !ref.by_rule && ref.standard_input,
           "standard input");
}

static enum st_err_code open_code(struct st_arena *a, const char *text, bool offline)
{
    struct st_reference ref;
    struct st_opened o = {.fd = -1, .dirfd = -1};
    struct st_err err = {0};
    if (st_reference_parse(st_sv_of(text), st_reference_exists, NULL, a, &ref, &err) == 0 &&
        st_source_open(&ref, offline, 0, &o, &err) == 0)
        st_opened_close(&o);
    return err.code;
}

static void test_open(struct st_arena *a)
{
    TAP_OK(open_code(a, "alpine", false) == ST_E_NONE, "a registry is left to who has a network");
    TAP_OK(open_code(a, "alpine", true) == ST_E_OFFLINE, "registries are network");
    TAP_OK(open_code(a, "docker:alpine", true) == ST_E_NONE, "the daemon is local");
    TAP_OK(open_code(a, "nowhere.tar", true) == ST_E_NOTFOUND, "a file that is not there is no registry reference");
    TAP_OK(open_code(a, "/nowhere", false) == ST_E_NOTFOUND, "missing path");
    TAP_OK(open_code(a, "/dev/null", false) == ST_E_INPUT, "device");
    TAP_OK(open_code(a, "/proc", false) == ST_E_INPUT, "directory without index.json");
    TAP_OK(open_code(a, "/etc/passwd", false) == ST_E_INPUT, "a text file");
    TAP_OK(open_code(a, "rootfs:/etc/passwd", false) == ST_E_INPUT, "rootfs of a file");
    TAP_OK(open_code(a, "rootfs:/etc", false) == ST_E_NONE, "rootfs of a directory");
    TAP_OK(open_code(a, "docker-archive:/etc", false) == ST_E_INPUT, "docker-archive of a directory");
}

int main(void)
{
    struct st_mem mem;
    st_mem_init(&mem, 1 << 20, -1);
    struct st_arena a;
    st_arena_init(&a, &mem);
    test_rows(&a);
    test_limits(&a);
    test_open(&a);
    st_arena_release(&a);
    st_mem_release(&mem);
    return tap_done();
}
