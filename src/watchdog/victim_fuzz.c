// Texts that processes and their owners choose: /proc/PID/status, environ, patterns. The first byte says which.
#include "base/cleanup.h"
#include "watchdog/ci_step.h"
#include "watchdog/discover.h"
#include "watchdog/victim.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void status(struct st_sv text)
{
    struct st_wd_process p = {0};
    ST_AUTO_CLOSE int fd = memfd_create("status", MFD_CLOEXEC);
    if (pwrite(fd, text.ptr, text.len, 0) == (ssize_t)text.len && st_wd_status_read(fd, &p)) {
        assert(strlen(p.comm) < ST_WD_COMM && p.ppid >= 0);
        assert(st_wd_process_bytes(&p) <= (uint64_t)3 << 56);
    }
}

static void environment(struct st_sv text)
{
    struct st_wd_github g;
    char line[300];
    st_wd_github_parse(text, &g);
    assert(strlen(g.repository) < sizeof g.repository && strlen(g.run_id) < sizeof g.run_id);
    size_t n = st_wd_workflow_error(text, line, sizeof line);
    assert(n > 2 && n <= sizeof line && line[n - 1] == '\n');
    for (size_t i = 1; i + 1 < n; i++) // nothing can begin a second command
        assert(line[i] != '\n' && line[i] != '\r');
}

// PATTERN NUL PATH
static void pattern(struct st_sv text)
{
    struct st_wd_pattern p;
    struct st_sv head, path;
    bool inside;
    st_sv_cut(text, '\0', &head, &path);
    char *copy = malloc(head.len + 1);
    if (!copy)
        return;
    if (head.len)
        memcpy(copy, head.ptr, head.len);
    copy[head.len] = '\0';
    for (int exact = 0; exact < 2; exact++)
        if (st_wd_pattern_parse(&p, copy, exact, NULL) == 0)
            st_wd_pattern_match(&p, path, &inside);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static void (*const kinds[])(struct st_sv) = {status, environment, pattern};
    if (n)
        kinds[data[0] % 3](st_sv_mem(data + 1, n - 1));
    return 0;
}
