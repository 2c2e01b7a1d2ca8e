// Platforms: "os/arch[/variant]" in Go's spelling, as OCI image-spec (image-index.md, "Platform Variants") has them.
#include "base/ckd.h"
#include "image/image_int.h"

#include <stdio.h>
#include <sys/utsname.h>

struct alias {
    struct st_sv name, arch, variant;
};

// What uname and distributions say, what images say.
static const struct alias aliases[] = {
    {ST_SV_INIT("x86_64"), ST_SV_INIT("amd64"), ST_SV_INIT("")},
    {ST_SV_INIT("x86-64"), ST_SV_INIT("amd64"), ST_SV_INIT("")},
    {ST_SV_INIT("aarch64"), ST_SV_INIT("arm64"), ST_SV_INIT("")},
    {ST_SV_INIT("armhf"), ST_SV_INIT("arm"), ST_SV_INIT("v7")},
    {ST_SV_INIT("armel"), ST_SV_INIT("arm"), ST_SV_INIT("v6")},
    {ST_SV_INIT("armv7l"), ST_SV_INIT("arm"), ST_SV_INIT("v7")},
    {ST_SV_INIT("armv6l"), ST_SV_INIT("arm"), ST_SV_INIT("v6")},
    {ST_SV_INIT("i386"), ST_SV_INIT("386"), ST_SV_INIT("")},
    {ST_SV_INIT("i486"), ST_SV_INIT("386"), ST_SV_INIT("")},
    {ST_SV_INIT("i586"), ST_SV_INIT("386"), ST_SV_INIT("")},
    {ST_SV_INIT("i686"), ST_SV_INIT("386"), ST_SV_INIT("")},
    {ST_SV_INIT("loongarch64"), ST_SV_INIT("loong64"), ST_SV_INIT("")},
};

// The variant that an image means which does not name one.
static const struct {
    struct st_sv arch, variant;
} defaults[] = {
    {ST_SV_INIT("arm64"), ST_SV_INIT("v8")},
    {ST_SV_INIT("amd64"), ST_SV_INIT("v1")},
    {ST_SV_INIT("arm"), ST_SV_INIT("v7")},
};

static struct st_platform canonical(struct st_platform p)
{
    for (size_t i = 0; i < ST_LEN(aliases); i++)
        if (st_sv_ieq(p.arch, aliases[i].name)) {
            p.arch = aliases[i].arch;
            if (p.variant.len == 0)
                p.variant = aliases[i].variant;
            break;
        }
    return p;
}

static struct st_sv full_variant(struct st_platform p)
{
    for (size_t i = 0; i < ST_LEN(defaults) && p.variant.len == 0; i++)
        if (st_sv_eq(p.arch, defaults[i].arch))
            return defaults[i].variant;
    return p.variant;
}

static bool word_ok(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
              c == '-'))
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

int st_platform_parse(struct st_sv text, struct st_platform *ret, struct st_err *err)
{
    struct st_platform p = {0};
    struct st_sv rest, tail = ST_SV_NULL;
    bool two = st_sv_cut(text, '/', &p.os, &rest);
    bool three = two && st_sv_cut(rest, '/', &p.arch, &tail);
    if (two && !three)
        p.arch = rest;
    p.variant = tail;
    if (!two || !word_ok(p.os) || !word_ok(p.arch) || (three && !word_ok(p.variant)))
        return st_err_set(err, ST_E_USAGE, "invalid platform '" ST_SV_FMT "' (examples: linux/amd64, linux/arm/v7)",
                          ST_SV_ARG(text));
    *ret = canonical(p);
    return 0;
}

struct st_platform st_platform_host(void)
{
    // uname's machine is looked up among static names, so that nothing borrows from the stack.
    static const struct st_sv same[] = {ST_SV_INIT("riscv64"), ST_SV_INIT("s390x"), ST_SV_INIT("ppc64le"),
                                        ST_SV_INIT("mips64le")};
    struct st_platform p = {.os = ST_SV("linux")};
    struct utsname u;
    if (uname(&u))
        return p;
    struct st_sv machine = st_sv_of(u.machine);
    for (size_t i = 0; i < ST_LEN(aliases); i++)
        if (st_sv_ieq(machine, aliases[i].name)) {
            p.arch = aliases[i].arch;
            p.variant = aliases[i].variant;
        }
    for (size_t i = 0; i < ST_LEN(same); i++)
        if (st_sv_eq(machine, same[i]))
            p.arch = same[i];
    return p;
}

unsigned st_platform_rank(struct st_platform have, struct st_platform want)
{
    have = canonical(have);
    want = canonical(want);
    if (!st_sv_ieq(have.os, want.os) || !st_sv_ieq(have.arch, want.arch))
        return 0;
    bool same = st_sv_ieq(full_variant(have), full_variant(want));
    if (same)
        return 3;
    if (want.variant.len)
        return 0;
    return st_sv_cmp(full_variant(have), full_variant(want)) < 0 ? 2 : 1; // an older variant still runs
}

void st_platform_text(struct st_platform p, char *out, size_t n)
{
    struct st_sv unknown = ST_SV("unknown");
    struct st_sv os = p.os.len ? p.os : unknown, arch = p.arch.len ? p.arch : unknown;
    snprintf(out, n, ST_SV_FMT "/" ST_SV_FMT "%s" ST_SV_FMT, ST_SV_ARG(os), ST_SV_ARG(arch), p.variant.len ? "/" : "",
             ST_SV_ARG(p.variant));
}
