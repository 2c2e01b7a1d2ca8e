#include "watchdog/metrics.h"

#include "base/ckd.h"
#include "base/cleanup.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

// ---- text ---------------------------------------------------------------------------------------

void st_wd_label(struct st_out *o, struct st_sv s)
{
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t n = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
        if (n > s.len - i || !st_sv_is_utf8(st_sv_sub(s, i, n))) {
            st_out_puts(o, "\xEF\xBF\xBD");
            i++;
            continue;
        }
        if (c == '\n')
            st_out_puts(o, "\\n");
        else if (c == '"' || c == '\\')
            st_out_fmt(o, "\\%c", c);
        else
            st_out_write(o, st_sv_sub(s, i, n));
        i += n;
    }
}

static void head(struct st_out *o, const char *name, const char *type, const char *help)
{
    st_out_fmt(o, "# HELP stella_watchdog_%s %s\n# TYPE stella_watchdog_%s %s\n", name, help, name, type);
}

static void counter(struct st_out *o, const char *name, const char *help, uint64_t value)
{
    head(o, name, "counter", help);
    st_out_fmt(o, "stella_watchdog_%s %llu\n", name, (unsigned long long)value);
}

static void gauge(struct st_out *o, const char *name, const char *help, uint64_t value)
{
    head(o, name, "gauge", help);
    st_out_fmt(o, "stella_watchdog_%s %llu\n", name, (unsigned long long)value);
}

// One family over all rows: the format wants the lines of a family together.
typedef void row_fn(struct st_out *o, const char *name, const struct st_wd_metric_row *r);

static void start(struct st_out *o, const char *name, const struct st_wd_metric_row *r, const char *more)
{
    st_out_fmt(o, "stella_watchdog_%s{cgroup=\"", name);
    st_wd_label(o, r->path);
    st_out_fmt(o, "\"%s} ", more);
}

static void u64_row(struct st_out *o, const char *name, const struct st_wd_metric_row *r, uint64_t value)
{
    start(o, name, r, "");
    if (value == ST_WD_NONE)
        st_out_puts(o, "+Inf\n");
    else
        st_out_fmt(o, "%llu\n", (unsigned long long)value);
}

static void state_row(struct st_out *o, const char *name, const struct st_wd_metric_row *r)
{
    for (int s = 0; s < ST_WD_STATE_COUNT; s++) {
        char more[40];
        snprintf(more, sizeof more, ",state=\"%s\"", st_wd_state_word((enum st_wd_state)s));
        start(o, name, r, more);
        st_out_fmt(o, "%d\n", r->verdict->state == (enum st_wd_state)s);
    }
}
static void pinned_row(struct st_out *o, const char *name, const struct st_wd_metric_row *r)
{
    u64_row(o, name, r, r->verdict->n.pinned);
}
static void limit_row(struct st_out *o, const char *name, const struct st_wd_metric_row *r)
{
    u64_row(o, name, r, r->verdict->n.limit);
}
static void room_row(struct st_out *o, const char *name, const struct st_wd_metric_row *r)
{
    u64_row(o, name, r, r->verdict->n.room);
}
static void faults_row(struct st_out *o, const char *name, const struct st_wd_metric_row *r)
{
    if (st_wd_has(r->sample, ST_WD_F_pgmajfault))
        u64_row(o, name, r, r->sample->v[ST_WD_F_pgmajfault]);
}
static void stall_row(struct st_out *o, const char *name, const struct st_wd_metric_row *r)
{
    static const struct {
        enum st_wd_field field;
        const char *more;
    } rows[] = {{ST_WD_F_mem_some_us, ",resource=\"memory\""}, {ST_WD_F_io_some_us, ",resource=\"io\""}};
    for (size_t i = 0; i < ST_LEN(rows); i++)
        if (st_wd_has(r->sample, rows[i].field)) {
            start(o, name, r, rows[i].more);
            st_out_fmt(o, "%.6f\n", (double)r->sample->v[rows[i].field] / 1e6);
        }
}
static void blind_row(struct st_out *o, const char *name, const struct st_wd_metric_row *r)
{
    u64_row(o, name, r, r->verdict->psi_blind);
}

static const struct {
    const char *name, *type, *help;
    row_fn *row;
} families[] = {
    {"state", "gauge", "Judgement of a cgroup at its memory limit: 1 for the state that it is in.", state_row},
    {"pinned_bytes", "gauge", "Memory that reclaim cannot free.", pinned_row},
    {"limit_bytes", "gauge", "The memory limit that binds.", limit_row},
    {"cache_room_bytes", "gauge", "Limit less pinned: what is left for file pages.", room_row},
    {"major_faults_total", "counter", "Pages that had to be read again from a file or from swap.", faults_row},
    {"stall_seconds_total", "counter", "Time in which some task waited (PSI).", stall_row},
    {"psi_blind", "gauge", "1: reclaim goes on and no pressure is counted, or there is none.", blind_row},
};

static void actions(struct st_out *o, const struct st_wd_metrics *m)
{
    head(o, "actions_total", "counter", "Rungs of the ladder that were tried.");
    for (int r = 0; r < ST_WD_RUNG_COUNT; r++)
        for (int k = 0; k < ST_WD_OUTCOME_COUNT; k++)
            // From 0 on: increase() does not see a series that begins with 1.
            st_out_fmt(o, "stella_watchdog_actions_total{rung=\"%s\",outcome=\"%s\"} %llu\n", st_wd_rungs[r].word,
                       st_wd_outcome_words[k], (unsigned long long)m->actions[r][k]);
    head(o, "action_latency_seconds", "summary", "From the decision to the effect.");
    for (int r = 0; r < ST_WD_RUNG_COUNT; r++)
        if (m->latencies[r])
            st_out_fmt(o,
                       "stella_watchdog_action_latency_seconds_sum{rung=\"%s\"} %.3f\n"
                       "stella_watchdog_action_latency_seconds_count{rung=\"%s\"} %llu\n",
                       st_wd_rungs[r].word, m->latency_s[r], st_wd_rungs[r].word, (unsigned long long)m->latencies[r]);
}

void st_wd_metrics_write(struct st_out *o, const struct st_wd_metrics *m, st_wd_metric_row_fn *row, void *ctx)
{
    gauge(o, "cgroups", "Cgroups that are watched.", m->cgroups);
    gauge(o, "armed_cgroups", "Cgroups that are being sampled.", m->armed);
    counter(o, "wakeups_total", "Times that the watchdog woke up.", m->wakeups);
    head(o, "verdicts_total", "counter", "Verdicts that were reported.");
    for (int s = 0; s < ST_WD_STATE_COUNT; s++)
        st_out_fmt(o, "stella_watchdog_verdicts_total{state=\"%s\"} %llu\n", st_wd_state_word((enum st_wd_state)s),
                   (unsigned long long)m->verdicts[s]);
    actions(o, m);
    counter(o, "records_dropped_total", "Log lines, records and traces that could not be written.", m->dropped);
    counter(o, "hooks_dropped_total", "Records for which no hook could be started.", m->hooks_dropped);
    counter(o, "hooks_killed_total", "Hooks that were killed at their deadline.", m->hooks_killed);
    for (size_t f = 0; f < ST_LEN(families); f++) {
        struct st_wd_metric_row r;
        head(o, families[f].name, families[f].type, families[f].help);
        for (size_t i = 0; row(ctx, i, &r); i++)
            families[f].row(o, families[f].name, &r);
    }
}

// ---- address ------------------------------------------------------------------------------------

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static int bad_address(const char *where, struct st_err *err)
{
    return st_err_set(err, ST_E_USAGE,
                      "--metrics '%.100s' is no address (a file like /run/stella.prom, unix:PATH, 127.0.0.1:9101, "
                      "[::1]:9101 or :9101)",
                      where);
}

static int parse_tcp(const char *where, union address *ret, socklen_t *ret_len, struct st_err *err)
{
    struct st_sv text = st_sv_of(where), host;
    size_t colon = st_sv_rfind(text, ':');
    uint64_t port;
    char name[64] = "";
    if (!st_sv_u64(st_sv_from(text, colon + 1), 10, &port) || port == 0 || port > 65535)
        return bad_address(where, err);
    host = st_sv_sub(text, 0, colon);
    bool bracket = st_sv_starts(host, ST_SV("[")) && st_sv_ends(host, ST_SV("]"));
    if (bracket)
        host = st_sv_sub(host, 1, host.len - 2);
    if (host.len >= sizeof name)
        return bad_address(where, err);
    snprintf(name, sizeof name, ST_SV_FMT, ST_SV_ARG(host));
    *ret = (union address){0};
    if (!bracket && (host.len == 0 || inet_pton(AF_INET, name, &ret->v4.sin_addr) == 1)) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons((uint16_t)port);
        *ret_len = sizeof ret->v4;
        return 0;
    }
    if (!bracket || inet_pton(AF_INET6, name, &ret->v6.sin6_addr) != 1)
        return bad_address(where, err);
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = htons((uint16_t)port);
    *ret_len = sizeof ret->v6;
    return 0;
}

static int parse_unix(const char *path, union address *ret, socklen_t *ret_len, struct st_err *err)
{
    struct stat st;
    *ret = (union address){.un.sun_family = AF_UNIX};
    if (!path[0] || strlen(path) >= sizeof ret->un.sun_path)
        return st_err_set(err, ST_E_USAGE, "--metrics unix:%.60s: a socket's path has 1 to %zu bytes", path,
                          sizeof ret->un.sun_path - 1);
    memcpy(ret->un.sun_path, path, strlen(path) + 1);
    *ret_len = sizeof ret->un;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) // of an earlier run
        unlink(path);
    return 0;
}

int st_wd_metrics_open(struct st_wd_metrics_at *at, const char *where, struct st_err *err)
{
    union address address;
    socklen_t len;
    *at = (struct st_wd_metrics_at){.fd = -1};
    bool is_unix = !strncmp(where, "unix:", 5);
    if (!is_unix && (strchr(where, '/') || !strchr(where, ':'))) {
        at->file = where;
        return 0;
    }
    if (is_unix ? parse_unix(where + 5, &address, &len, err) : parse_tcp(where, &address, &len, err))
        return -1;
    ST_AUTO_CLOSE int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd >= 0 && !is_unix)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, &address.any, len) || listen(fd, 8))
        return st_err_sys(err, "--metrics %.100s", where);
    at->fd = st_take_fd(&fd);
    return 0;
}

bool st_wd_scrape_answer(struct st_wd_scrape *s, struct st_sv body)
{
    char asked[2048], head_text[160];
    ssize_t got = recv(s->fd, asked, sizeof asked, MSG_DONTWAIT);
    bool whole = false;
    if (got > 0) {
        int n = snprintf(head_text, sizeof head_text,
                         "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\n"
                         "Connection: close\r\n\r\n",
                         body.len);
        int size = (int)ST_MIN(body.len + 4096, (size_t)1 << 20);
        setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        whole = send(s->fd, head_text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) == n &&
                send(s->fd, body.ptr, body.len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)body.len;
        shutdown(s->fd, SHUT_WR);
    }
    close(s->fd);
    s->fd = -1;
    return whole;
}
