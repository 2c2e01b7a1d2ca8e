// stella version: what this build is made of and what the kernel here grants. Versions of libraries are those of the
// headers they were built with; the code libraries are linked into stella-analyze, not into this program.
#include "cli/cli.h"

#include <bzlib.h>
#include <errno.h>
#include <isa-l.h>
#include <linux/seccomp.h>
#include <lzma.h>
#include <openssl/opensslv.h>
#include <seccomp.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zstd.h>

#define STR_(x) #x
#define STR(x) STR_(x)

static const struct st_term libraries[] = {
    {"isa-l", STR(ISAL_MAJOR_VERSION) "." STR(ISAL_MINOR_VERSION) "." STR(ISAL_PATCH_VERSION)},
    {"zstd", ZSTD_VERSION_STRING},
    {"liblzma", LZMA_VERSION_STRING},
    {"bzip2", "1.0"}, // its header has no version
    {"openssl", OPENSSL_VERSION_STR},
    {"sqlite", SQLITE_VERSION},
    {"libseccomp", STR(SCMP_VER_MAJOR) "." STR(SCMP_VER_MINOR) "." STR(SCMP_VER_MICRO)},
    {NULL, NULL},
};

static const struct st_term features[] = {
    {"input", "docker-archive oci-archive oci rootfs registry docker podman containerd containers-storage"},
    {"compression", "gzip zstd xz bzip2"},
    {"output", "table cyclonedx-json spdx-json syft-json purls"},
    {NULL, NULL},
};

static int landlock_abi(void)
{
    const unsigned ask_version = 1; // LANDLOCK_CREATE_RULESET_VERSION
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, ask_version);
    return abi > 0 ? (int)abi : 0;
}

static bool seccomp_filters(void)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static int run_version(const struct st_call *call, struct st_err *err)
{
    struct st_out *o = call->out;
    struct utsname u = {0};
    uname(&u);
    st_out_puts(o, "stella " ST_VERSION "\n");
    for (const struct st_term *t = features; t->term; t++)
        st_out_fmt(o, "%s: %s\n", t->term, t->text);
    st_out_puts(o, "libraries:");
    for (const struct st_term *t = libraries; t->term; t++)
        st_out_fmt(o, " %s-%s", t->term, t->text);
    int abi = landlock_abi();
    st_out_fmt(o, "\nsandbox here: seccomp %s, landlock ", seccomp_filters() ? "filters" : "missing");
    if (abi)
        st_out_fmt(o, "ABI %d", abi);
    else
        st_out_puts(o, "missing");
    st_out_fmt(o, " (%s %s)\n", u.sysname, u.release);
    return 0;
}

const struct st_verb st_verb_version = {
    .words = "version",
    .summary = "show version, features, libraries and sandbox",
    .args = "",
    .about =
        "Shows the version of this program, what it was built with, and what the kernel here grants the sandbox in "
        "which image data is parsed. stella --version is the same.",
    .examples = {{"Say what goes into a bug report", "stella version"},
                 {"The same, as other programs spell it", "stella --version"}},
    .run = run_version,
};
