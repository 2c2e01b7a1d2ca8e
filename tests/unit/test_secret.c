#include "base/secret.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is(const struct st_secret *s, const char *text)
{
    return st_sv_eq(st_secret_reveal(s), st_sv_of(text)) && st_secret_reveal(s).ptr[strlen(text)] == '\0';
}

// RFC 4648, section 10, and the header of RFC 7617.
static void test_secret_base64(void)
{
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xfe\xfd", "//79"}};
    struct st_secret s = {0};
    struct st_err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct st_sv part = st_sv_of(cases[i][0]);
        TAP_OK(st_secret_base64(&s, ST_SV(""), &part, 1, &err) == 0 && is(&s, cases[i][1]), "base64 of %zu bytes",
               part.len);
    }
    struct st_sv parts[] = {ST_SV("Aladdin"), ST_SV(":"), ST_SV("open sesame")};
    TAP_OK(st_secret_base64(&s, ST_SV("Basic "), parts, 3, &err) == 0 && is(&s, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
           "basic authentication");
    st_secret_release(&s);
    st_secret_release(&s);
    TAP_OK(!st_secret_is_set(&s), "released");
}

static void test_secret_read(void)
{
    int p[2];
    struct st_secret s = {0};
    struct st_err err;
    if (pipe(p))
        return;
    TAP_OK(write(p[1], "hunter2\r\n", 9) == 9 && close(p[1]) == 0, "a file with a line end");
    TAP_OK(st_secret_read(&s, p[0], 100, "it", &err) == 0 && st_secret_reveal(&s).len == 9, "read whole");
    st_secret_chomp(&s);
    TAP_OK(is(&s, "hunter2"), "without the line end");
    close(p[0]);
    if (pipe(p))
        return;
    TAP_OK(write(p[1], "0123456789", 10) == 10 && close(p[1]) == 0, "ten bytes");
    TAP_OK(st_secret_read(&s, p[0], 9, "the token", &err) < 0 && err.code == ST_E_LIMIT, "too long: %s", err.text);
    TAP_OK(is(&s, "hunter2"), "a failure leaves what was there");
    close(p[0]);
    st_secret_release(&s);
}

// What the kernel says of the page: not dumped, gone in a child.
static void test_secret_pages(void)
{
    struct st_secret s = {0};
    struct st_err err;
    TAP_OK(st_secret_set(&s, ST_SV("hunter2"), &err) == 0, "set");
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512], flags[512] = "";
    bool here = false;
    unsigned long at = (unsigned long)st_secret_reveal(&s).ptr;
    while (f && fgets(line, sizeof line, f)) {
        unsigned long a, b;
        if (sscanf(line, "%lx-%lx ", &a, &b) == 2)
            here = a <= at && at < b;
        if (here && strncmp(line, "VmFlags:", 8) == 0)
            memcpy(flags, line, sizeof flags);
    }
    if (f)
        fclose(f);
    TAP_OK(strstr(flags, " dd") != NULL, "not in core dumps: %.60s", flags);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(st_secret_reveal(&s).ptr[0] == '\0' ? 0 : 1);
    int status = -1;
    waitpid(pid, &status, 0);
    TAP_OK(status == 0, "a child sees nothing");
    struct st_secret moved = st_secret_take(&s);
    TAP_OK(!st_secret_is_set(&s) && is(&moved, "hunter2"), "moved");
    st_secret_release(&moved);
}

int main(void)
{
    test_secret_base64();
    test_secret_read();
    test_secret_pages();
    return tap_done();
}
