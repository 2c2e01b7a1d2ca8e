// Records, metrics, the ladder's text, workflow lines.
#include "base/json.h"
#include "tap.h"
#include "watchdog/act.h"
#include "watchdog/metrics.h"
#include "watchdog/trace.h"
#include "watchdog/wd_text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char big[ST_WD_EVIDENCE_MAX];

static struct st_wd_sample full_sample(uint64_t t)
{
    struct st_wd_sample s = {.t_us = t, .has = (1ull << ST_WD_FIELD_COUNT) - 1};
    for (unsigned f = 0; f < ST_WD_FIELD_COUNT; f++)
        s.v[f] = UINT64_MAX - 1 - f; // as long as numbers get
    return s;
}

static struct st_sv record(struct st_wd_record *r)
{
    struct st_wd_text t;
    struct st_out *o = st_wd_text_init(&t, big, sizeof big);
    st_wd_record_write(o, r);
    TAP_OK(o->err.code == ST_E_NONE, "record: fits (%zu bytes)", t.buf.len);
    return st_wd_text_sv(&t);
}

// With an argument: print records for the schema check (tests/unit/wd_schema.py).
static void test_record(bool print)
{
    static struct st_wd_series series;
    static struct st_wd_verdict v = {.state = ST_WD_THRASH,
                                     .confidence = ST_WD_STRONG,
                                     .warn = true,
                                     .act = true,
                                     .seconds = 6.2,
                                     .n = {.limit = 1 << 30, .eta_s = -1}};
    struct st_wd_process p = {.pid = 4711, .anon = 1 << 20, .comm = "x\"\\\n\xff) Z"};
    struct st_wd_github g = {.repository = "o/r", .run_id = "123", .job = "build \"x\"", .actions = true};
    struct st_mem mem;
    struct st_err err = {0};
    for (uint64_t i = 0; i < ST_WD_SERIES_MAX; i++) {
        struct st_wd_sample s = full_sample(1 + i);
        st_wd_series_push(&series, &s);
    }
    struct st_wd_record r = {.id = "0123456789abcdef",
                             .wall_ms = 1700000000000,
                             .path = ST_SV("ci/a\"b"),
                             .owner = ST_SV("/ci"),
                             .ino = 42,
                             .verdict = &v,
                             .text = ST_SV("te\"xt"),
                             .culprit = &p,
                             .github = &g,
                             .before = &v.n,
                             .series = &series};
    struct st_sv text = record(&r);
    if (print)
        fwrite(text.ptr, 1, text.len, stderr);
    st_mem_init(&mem, 64 << 20, -1);
    struct st_wd_trace trace;
    TAP_OK(st_wd_trace_read(text, &mem, &trace, &err) == 0 && trace.n == ST_WD_SERIES_MAX,
           "record: replay reads its samples: %s", err.text);
    TAP_OK(trace.n && trace.at[0].sample.v[ST_WD_F_anon] == UINT64_MAX - 1 - ST_WD_F_anon,
           "record: and they are the same");
    st_wd_trace_release(&trace, &mem);
    st_mem_release(&mem);
    struct st_wd_series none = {0};
    r = (struct st_wd_record){.id = "0123456789abcdef",
                              .is_action = true,
                              .dry_run = true,
                              .path = ST_SV(""),
                              .owner = ST_SV("/"),
                              .verdict = &v,
                              .rung = "culprit",
                              .outcome = "dry-run",
                              .detail = ST_SV("x"),
                              .before = &v.n,
                              .after = &v.n,
                              .series = &none};
    text = record(&r);
    if (print)
        fwrite(text.ptr, 1, text.len, stderr);
    TAP_OK(st_sv_search(text, ST_SV("\"culprit\":null")) != ST_SV_NPOS &&
               st_sv_search(text, ST_SV("\"github\":null")) != ST_SV_NPOS,
           "record: what is not known is null");
    char a[ST_WD_ID], b[ST_WD_ID];
    st_wd_incident_id(1, 2, 3, a);
    st_wd_incident_id(1, 3, 3, b);
    TAP_OK(strlen(a) == 16 && strcmp(a, b) != 0, "ids: %s %s", a, b);
}

static bool rows(void *ctx, size_t i, struct st_wd_metric_row *ret)
{
    static struct st_wd_verdict v = {.state = ST_WD_STUCK, .n = {.limit = ST_WD_NONE, .pinned = 5}};
    static struct st_wd_sample s = {.has = 1ull << ST_WD_F_pgmajfault | 1ull << ST_WD_F_mem_some_us};
    s.v[ST_WD_F_mem_some_us] = 1500000;
    *ret = (struct st_wd_metric_row){.path = ST_SV("a\"b\\c\nd\xff"), .verdict = &v, .sample = &s};
    return ctx && i < 1;
}

static void test_metrics(void)
{
    struct st_wd_text t;
    struct st_wd_metrics m = {.wakeups = 7};
    m.actions[ST_WD_RUNG_CULPRIT][ST_WD_OUTCOME_DONE] = 2;
    m.latency_s[ST_WD_RUNG_CULPRIT] = 0.5;
    m.latencies[ST_WD_RUNG_CULPRIT] = 2;
    st_wd_metrics_write(st_wd_text_init(&t, big, sizeof big), &m, rows, &m);
    struct st_sv text = st_wd_text_sv(&t);
    static const char *const want[] = {
        "\nstella_watchdog_state{cgroup=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\",state=\"stuck\"} 1\n",
        ",state=\"thrash\"} 0\n",
        "\nstella_watchdog_limit_bytes{cgroup=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\"} +Inf\n",
        ",resource=\"memory\"} 1.500000\n",
        "\nstella_watchdog_actions_total{rung=\"culprit\",outcome=\"done\"} 2\n",
        "\nstella_watchdog_action_latency_seconds_sum{rung=\"culprit\"} 0.500\n",
        "\nstella_watchdog_wakeups_total 7\n",
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        TAP_OK(st_sv_search(text, st_sv_of(want[i])) != ST_SV_NPOS, "metrics: line %zu", i);
    TAP_OK(st_sv_search(text, ST_SV("resource=\"io\"")) == ST_SV_NPOS, "metrics: no line for what is not known");
    st_wd_metrics_write(st_wd_text_init(&t, big, sizeof big), &m, rows, NULL);
    TAP_OK(st_sv_search(st_wd_text_sv(&t), ST_SV("{cgroup=")) == ST_SV_NPOS,
           "metrics: no series for cgroups below their limit");
}

static void test_metrics_address(void)
{
    struct st_wd_metrics_at at;
    struct st_err err = {0};
    static const char *const bad[] = {"unix:",  "localhost:9101", "1.2.3.4:0", "1.2.3.4:70000",
                                      "::1:80", "[::1:80",        ":x",        "1.2.3:4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        TAP_OK(st_wd_metrics_open(&at, bad[i], &err) && err.code == ST_E_USAGE, "address '%s': %s", bad[i], err.text);
    TAP_OK(st_wd_metrics_open(&at, "/run/x.prom", &err) == 0 && at.file && at.fd < 0, "address: a file");
    TAP_OK(st_wd_metrics_open(&at, "x.prom", &err) == 0 && at.file, "address: a file here");
    TAP_OK(st_wd_metrics_open(&at, "[::1]:39101", &err) == 0 || err.code == ST_E_IO, "address: IPv6");
    if (at.fd >= 0)
        close(at.fd);
    int rc = -1;
    for (int i = 0; i < 50 && rc; i++) { // below the ports that connections get; somebody may have one of them
        char tcp[32];
        snprintf(tcp, sizeof tcp, "127.0.0.1:%d", 20000 + ((int)getpid() + i * 37) % 10000);
        rc = st_wd_metrics_open(&at, tcp, &err);
    }
    TAP_OK(rc == 0 && at.fd >= 0, "address: TCP: %s", err.text);
    close(at.fd);
    char dir[] = "/tmp/wd-metrics-XXXXXX", where[64];
    snprintf(where, sizeof where, "unix:%s/s", mkdtemp(dir));
    TAP_OK(st_wd_metrics_open(&at, where, &err) == 0 && at.fd >= 0, "address: unix socket");
    close(at.fd);
    TAP_OK(st_wd_metrics_open(&at, where, &err) == 0 && at.fd >= 0, "address: a socket left behind is taken over");
    close(at.fd);
    unlink(where + 5);
    rmdir(dir);
    int pair[2];
    char got[300] = "";
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    struct st_wd_scrape s = {.fd = pair[0]};
    if (write(pair[1], "GET /metrics HTTP/1.1\r\n\r\n", 25) == 25)
        TAP_OK(st_wd_scrape_answer(&s, ST_SV("body\n")) && s.fd < 0, "scrape: answered");
    size_t n = 0;
    for (ssize_t r; n < sizeof got - 1 && (r = read(pair[1], got + n, sizeof got - 1 - n)) > 0;)
        n += (size_t)r;
    TAP_OK(!strncmp(got, "HTTP/1.1 200 OK\r\n", 17) && strstr(got, "Content-Length: 5\r\n") &&
               strstr(got, "\r\n\r\nbody\n"),
           "scrape: HTTP");
    close(pair[1]);
}

static void test_ladder(void)
{
    static const struct {
        const char *text, *on;
    } rows_[] = {
        {"cgroup", "owcTgh"}, {"culprit", "owch"},         {"observe", "oh"},
        {"warn", "owh"},      {"tree,+relieve", "owrcTh"}, {"cgroup,-culprit", "owTgh"},
        {"kernel", "owcTkh"}, {"hook,-hook", "owcTg"},     {"+kernel", "owcTkgh"},
    };
    static const char letters[] = "owrcTkgh";
    struct st_wd_ladder l;
    struct st_err err = {0};
    for (size_t i = 0; i < sizeof rows_ / sizeof *rows_; i++) {
        char on[16] = "";
        size_t n = 0;
        st_wd_ladder_init(&l);
        bool ok = st_wd_ladder_parse(&l, st_sv_of(rows_[i].text), &err) == 0;
        for (int r = 0; r < ST_WD_RUNG_COUNT; r++)
            if (l.on[r])
                on[n++] = letters[r];
        TAP_OK(ok && !strcmp(on, rows_[i].on), "ladder %s: %s", rows_[i].text, on);
    }
    st_wd_ladder_init(&l);
    TAP_OK(st_wd_ladder_parse(&l, ST_SV("culprt"), &err) && strstr(err.text, "did you mean culprit"),
           "ladder: nearest word");
    TAP_OK(st_wd_ladder_parse(&l, ST_SV("+"), &err) && err.code == ST_E_USAGE, "ladder: empty word");
}

static bool proc_has(pid_t pid, const char *file, const char *text)
{
    char path[64], got[256];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, got, sizeof got) : -1;
    if (fd >= 0)
        close(fd);
    return n > 0 && memmem(got, (size_t)n, text, strlen(text));
}

// Until the process runs that program, with that variable: exec sets the name first, and the environment a moment
// later. Ten seconds at most.
static void wait_for_exec(pid_t pid, const char *comm, const char *variable)
{
    for (int i = 0; i < 1000; i++) {
        if (proc_has(pid, "comm", comm) && proc_has(pid, "environ", variable))
            return;
        usleep(10000);
    }
}

static void test_ci(void)
{
    char line[256];
    size_t n = st_wd_workflow_error(ST_SV("100% of\nit\x1b[31m"), line, sizeof line);
    TAP_OK(st_sv_eq(st_sv_mem(line, n), ST_SV("\n::error title=Out of memory::100%25 of%0Ait?[31m\n")),
           "workflow line: escaped");
    n = st_wd_workflow_error(st_sv_mem(big, 5000), line, sizeof line);
    TAP_OK(n <= sizeof line && line[n - 1] == '\n', "workflow line: cut, with its line end");
    struct st_wd_github g;
    st_wd_github_parse(
        ST_SV("A=1\0GITHUB_ACTIONS=true\0GITHUB_RUN_ID=77\0XGITHUB_JOB=no\0GITHUB_JOB=b\0GITHUB_REPOSITORY=o/r"), &g);
    TAP_OK(g.actions && !strcmp(g.run_id, "77") && !strcmp(g.job, "b") && !strcmp(g.repository, "o/r") && !g.api_url[0],
           "environ");
    int fds[2];
    char got[300];
    if (pipe(fds))
        return;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], 1);
        close(fds[0]);
        execl("/usr/bin/env", "env", "-i", "GITHUB_ACTIONS=true", "GITHUB_RUN_ID=9", "/bin/sleep", "5", (char *)NULL);
        _exit(1);
    }
    close(fds[1]);
    wait_for_exec(pid, "sleep\n", "GITHUB_RUN_ID=9");
    enum st_wd_line did = st_wd_ci_step(&pid, 1, ST_SV("full"), 2000, &g);
    ssize_t r = did == ST_WD_LINE_WRITTEN ? read(fds[0], got, sizeof got) : 0;
    TAP_OK(!strcmp(g.run_id, "9") &&
               st_sv_eq(st_sv_mem(got, r > 0 ? (size_t)r : 0), ST_SV("\n::error title=Out of memory::full\n")),
           "step: its run is read and the line is in its output");
    kill(pid, 9);
    close(fds[0]);
}

static pid_t with_stdout(int fd)
{
    int ready[2];
    char c;
    if (pipe(ready))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd, 1);
        close(ready[0]);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    while (read(ready[0], &c, 1) < 0 && errno == EINTR) // ends when the child has closed its end
        ;
    close(ready[0]);
    return pid;
}

static void test_stdout(void)
{
    char path[] = "/tmp/wd-stdout-XXXXXX", buf[70000];
    int fds[2], file = mkstemp(path), readable = open(path, O_RDONLY);
    if (pipe(fds) || file < 0)
        return;
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    memset(buf, 'x', sizeof buf);
    while (write(fds[1], buf, sizeof buf) > 0) // full: whoever writes without O_NONBLOCK would hang
        ;
    fcntl(fds[1], F_SETFL, 0);
    pid_t full = with_stdout(fds[1]), reader = with_stdout(readable), writer = with_stdout(file);
    TAP_OK(!st_wd_write_stdout_of(full, ST_SV("line\n")), "stdout: a full pipe is left alone, without hanging");
    TAP_OK(!st_wd_write_stdout_of(reader, ST_SV("line\n")),
           "stdout: a file that the process itself may not write is not written");
    st_wd_write_stdout_of(writer, ST_SV("line\n")); // where the file system can promise not to block
    ssize_t n = pread(readable, buf, sizeof buf, 0);
    TAP_OK(n == 0 || (n == 5 && !memcmp(buf, "line\n", 5)), "stdout: a file is written whole or not at all (%zd)", n);
    TAP_OK(!st_wd_write_stdout_of(1 << 22, ST_SV("line\n")), "stdout: of no process");
    kill(full, 9);
    kill(reader, 9);
    kill(writer, 9);
    unlink(path);
}

int main(int argc, char **argv)
{
    (void)argv;
    test_record(argc > 1);
    test_metrics();
    test_metrics_address();
    test_ladder();
    test_ci();
    test_stdout();
    return tap_done();
}
