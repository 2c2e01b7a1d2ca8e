#include "fetch/pull.h"
#include "base/ckd.h"
#include "base/clock.h"
#include "fetch/login.h"
#include "fetch/registries.h"
#include "scan/helper.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define TICK_MS 200
#define MEMORY (4u << 20)    // messages; a file of logins while it is read
#define PIPE_BYTES (1 << 20) // between socket and parser; what an unprivileged process may have

struct failure {
    struct failure *next;
    uint64_t ticket;
    struct st_err err;
};

struct st_pull {
    struct st_remote remote; // first: what the scan holds is this
    struct st_mem mem;
    int sock;
    uint64_t tickets;
    struct failure *failures;
    bool dead;
    struct st_sandbox_report sandbox;
    uint64_t deadline_ms;
    const volatile int *interrupted;
    char *in; // ST_PROTO_MAX
};

// ---- what comes back ------------------------------------------------------------------------------------------------

static int died(struct st_pull *p, struct st_err *err)
{
    int status = 0;
    if (!p->dead && p->remote.pid > 0) {
        for (int i = 0; i < 100 && waitpid(p->remote.pid, &status, WNOHANG) == 0; i++)
            usleep(5000);
        p->dead = true;
    }
    return st_err_set(err, ST_E_CRASH, ST_FETCH_NAME " died%s", WIFSIGNALED(status) ? " of a signal" : "");
}

static int note_failure(struct st_pull *p, uint64_t ticket, struct st_wire_in *in, struct st_err *err)
{
    struct failure *f = st_mem_alloc(&p->mem, sizeof *f, err);
    if (!f)
        return -1;
    f->ticket = ticket;
    st_proto_get_err(in, &f->err);
    f->next = p->failures;
    p->failures = f;
    return 0;
}

// One message, waiting up to ms. 1; 0: none in time; -1: the process is gone, or makes no sense.
static int hear(struct st_pull *p, struct st_proto_msg *m, int ms, struct st_err *err)
{
    struct pollfd fd = {.fd = p->sock, .events = POLLIN};
    if (p->dead)
        return died(p, err);
    int k = poll(&fd, 1, ms);
    if (k <= 0)
        return 0;
    int rc = st_proto_recv(p->sock, p->in, m, err);
    return rc == 0 ? died(p, err) : rc;
}

static int check_time(const struct st_pull *p, struct st_err *err)
{
    if (p->interrupted && *p->interrupted)
        return st_err_set(err, ST_E_CANCELLED, "interrupted");
    if (p->deadline_ms && (uint64_t)st_clock_mono_ms() > p->deadline_ms)
        return st_err_set(err, ST_E_TIMEOUT, "the registry took longer than --timeout allows");
    return 0;
}

static bool take_failure(struct st_pull *p, uint64_t ticket, struct st_err *ret)
{
    for (struct failure *f = p->failures; f; f = f->next)
        if (f->ticket == ticket) {
            *ret = f->err;
            return true;
        }
    return false;
}

// ---- the three questions of struct st_remote ------------------------------------------------------------------------

static int ask_document(struct st_pull *p, struct st_sv name, struct st_err *err)
{
    struct st_buf b;
    st_buf_init(&b, &p->mem);
    struct st_wire_out o = st_proto_begin(&b, (enum st_proto_tag)ST_FETCH_DOCUMENT);
    st_wire_put_u64(&o, ++p->tickets);
    st_wire_put_sv(&o, name);
    int rc = st_proto_send(p->sock, &o, NULL, 0, err);
    st_buf_release(&b);
    return rc;
}

static int document(struct st_remote *remote, struct st_sv name, int *ret_fd, uint64_t *ret_size, struct st_err *err)
{
    struct st_pull *p = (struct st_pull *)remote;
    struct st_err why = {0};
    if (p->dead)
        return died(p, err);
    if (ask_document(p, name, err))
        return -1;
    uint64_t wanted = p->tickets;
    for (;;) {
        struct st_proto_msg m;
        int rc = hear(p, &m, TICK_MS, err);
        if (rc < 0 || check_time(p, err))
            return -1;
        if (rc == 0)
            continue;
        uint64_t ticket = st_wire_u64(&m.in);
        if ((int)m.tag == ST_FETCH_FAIL) {
            st_proto_close_fds(&m);
            if (note_failure(p, ticket, &m.in, err))
                return -1;
            if (!take_failure(p, wanted, &why))
                continue;
            if (err)
                *err = why;
            return -1;
        }
        uint64_t found = st_wire_max(&m.in, 1), size = st_wire_max(&m.in, ST_IMAGE_DOC_MAX);
        bool good = (int)m.tag == ST_FETCH_GIVE && st_wire_ok(&m.in) && ticket == wanted && m.n_fds == found;
        if (good && found) {
            *ret_fd = st_take_fd(&m.fds[0]);
            *ret_size = size;
        }
        st_proto_close_fds(&m);
        return good ? (int)found : st_err_set(err, ST_E_CRASH, ST_FETCH_NAME " sent an unexpected message");
    }
}

static int ask_blob(struct st_pull *p, struct st_sv name, uint64_t from, uint64_t size, bool part, int *ret_fd,
                    struct st_err *err)
{
    struct st_buf b;
    int ends[2];
    if (p->dead)
        return died(p, err);
    if (pipe2(ends, O_CLOEXEC))
        return st_err_sys(err, "pipe");
    fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); // refused: it stays at 64 KiB
    st_buf_init(&b, &p->mem);
    struct st_wire_out o = st_proto_begin(&b, (enum st_proto_tag)ST_FETCH_BLOB);
    st_wire_put_u64(&o, ++p->tickets);
    st_wire_put_sv(&o, name);
    st_wire_put_u64(&o, size);
    st_wire_put_u64(&o, from);
    st_wire_put_u64(&o, part);
    int rc = st_proto_send(p->sock, &o, &ends[1], 1, err);
    st_buf_release(&b);
    close(ends[1]);
    if (rc) {
        close(ends[0]);
        return -1;
    }
    *ret_fd = ends[0];
    return 0;
}

static int blob(struct st_remote *remote, struct st_sv name, uint64_t from, uint64_t size, int *ret_fd,
                uint64_t *ret_ticket, struct st_err *err)
{
    struct st_pull *p = (struct st_pull *)remote;
    int rc = ask_blob(p, name, from, size, false, ret_fd, err);
    *ret_ticket = p->tickets;
    return rc;
}

static int range(struct st_remote *remote, struct st_sv name, uint64_t from, uint64_t to, int *ret_fd,
                 struct st_err *err)
{
    return ask_blob((struct st_pull *)remote, name, from, to, true, ret_fd, err);
}

static bool failed(struct st_remote *remote, uint64_t ticket, int wait_ms, struct st_err *ret_why)
{
    struct st_pull *p = (struct st_pull *)remote;
    struct st_proto_msg m;
    struct st_err err = {0};
    int64_t until = st_clock_mono_ms() + wait_ms;
    while (!take_failure(p, ticket, ret_why)) {
        int rc = hear(p, &m, (int)ST_MAX(until - st_clock_mono_ms(), (int64_t)0), &err);
        if (rc == 0)
            return false;
        if (rc > 0) {
            uint64_t of = st_wire_u64(&m.in);
            st_proto_close_fds(&m);
            if ((int)m.tag == ST_FETCH_FAIL && note_failure(p, of, &m.in, &err))
                rc = -1;
        }
        if (rc < 0) {
            *ret_why = err;
            return true;
        }
    }
    return true;
}

// ---- starting it ----------------------------------------------------------------------------------------------------

static bool is_insecure(const struct st_pull_options *o, struct st_sv host)
{
    for (size_t i = 0; i < o->n_insecure; i++)
        if (st_sv_ieq(st_sv_of(o->insecure[i]), host))
            return true;
    return false;
}

static int put_endpoint(struct st_pull *p, struct st_wire_out *o, struct st_sv host, struct st_sv repository,
                        unsigned flags, const struct st_pull_options *opt, struct st_err *err)
{
    struct st_login login;
    // A login that was typed is for the registry that was typed, not for its mirrors.
    if (st_login_find(host, repository, flags & ST_FETCH_E_MIRROR ? NULL : opt->creds, &p->mem, &login, err))
        return -1;
    st_wire_put_sv(o, host);
    st_wire_put_sv(o, repository);
    st_wire_put_u64(o, flags | (is_insecure(opt, host) ? ST_FETCH_E_INSECURE : 0));
    st_wire_put_u64(o, login.kind);
    st_wire_put_sv(o, st_sv_of(login.user));
    st_wire_put_sv(o, st_secret_reveal(&login.secret));
    st_wire_put_sv(o, st_sv_of(login.origin));
    st_login_release(&login);
    return 0;
}

static bool mirror_serves(const struct st_mirror *m, const struct st_reference *ref)
{
    return m->when == ST_MIRROR_ALL || (m->when == ST_MIRROR_DIGEST) == (ref->digest.len > 0);
}

// The mirrors that registries.conf names, then the registry itself, maybe under another name.
static int put_ruled(struct st_pull *p, struct st_wire_out *o, const struct st_registry_rule *rule, struct st_sv name,
                     const struct st_reference *ref, const struct st_pull_options *opt, struct st_arena *a,
                     struct st_err *err)
{
    struct st_sv host, repository;
    uint64_t n = 1;
    if (rule->blocked)
        return st_err_set(err, ST_E_INPUT, "registries.conf blocks " ST_SV_FMT, ST_SV_ARG(rule->prefix));
    for (size_t i = 0; i < rule->n_mirrors; i++)
        n += mirror_serves(&rule->mirrors[i], ref);
    st_wire_put_u64(o, n);
    for (size_t i = 0; i < rule->n_mirrors; i++) {
        const struct st_mirror *m = &rule->mirrors[i];
        if (!mirror_serves(m, ref))
            continue;
        if (st_registries_rewrite(rule, m->location, name, a, &host, &repository, err) ||
            put_endpoint(p, o, host, repository, ST_FETCH_E_MIRROR | (m->insecure ? ST_FETCH_E_INSECURE : 0), opt, err))
            return -1;
    }
    return st_registries_rewrite(rule, rule->location, name, a, &host, &repository, err) ||
                   put_endpoint(p, o, host, repository, rule->insecure ? ST_FETCH_E_INSECURE : 0, opt, err)
               ? -1
               : 0;
}

static int put_endpoints(struct st_pull *p, struct st_wire_out *o, const struct st_reference *ref,
                         const struct st_pull_options *opt, struct st_err *err)
{
    struct st_arena a;
    struct st_registries all;
    struct st_sv name;
    const struct st_registry_rule *rule = NULL;
    st_arena_init(&a, &p->mem);
    int rc = st_registries_load(&a, &all, err);
    if (rc == 0)
        rc = st_arena_fmt(&a, &name, err, ST_SV_FMT "/" ST_SV_FMT, ST_SV_ARG(ref->domain), ST_SV_ARG(ref->repository));
    if (rc == 0)
        rule = st_registries_find(&all, name);
    if (rc == 0 && rule) {
        rc = put_ruled(p, o, rule, name, ref, opt, &a, err);
    } else if (rc == 0) {
        st_wire_put_u64(o, 1);
        rc = put_endpoint(p, o, ref->domain, ref->repository, 0, opt, err);
    }
    st_arena_release(&a);
    return rc;
}

static const char *variable(const char *small, const char *capitals)
{
    const char *v = getenv(small);
    if (!v || !*v)
        v = capitals ? getenv(capitals) : NULL;
    return v ? v : "";
}

struct files {
    int fds[3];
    size_t n;
};

static int add_file(struct files *f, const char *path, struct st_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return st_err_sys(err, "%s", path);
    f->fds[f->n++] = fd;
    return fstat(fd, &st) || !S_ISREG(st.st_mode) ? st_err_set(err, ST_E_INPUT, "%s is not a regular file", path) : 0;
}

static int open_files(const struct st_pull_options *opt, struct files *f, struct st_err *err)
{
    if (!opt->cert_file != !opt->key_file)
        return st_err_set(err, ST_E_USAGE, "--client-cert and --client-key go together");
    if (opt->ca_file && add_file(f, opt->ca_file, err))
        return -1;
    return opt->cert_file && (add_file(f, opt->cert_file, err) || add_file(f, opt->key_file, err)) ? -1 : 0;
}

// Where docker and podman keep what belongs to one registry: HOST/ca.crt, HOST/client.cert, HOST/client.key
// (containers-certs.d(5)).
struct certs {
    char ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
};

static bool certs_file(char ret[static PATH_MAX], const char *dir, struct st_sv host, const char *name)
{
    int n = snprintf(ret, PATH_MAX, "%s/" ST_SV_FMT "/%s", dir, ST_SV_ARG(host), name);
    return n > 0 && n < PATH_MAX && access(ret, R_OK) == 0;
}

// What the options do not say.
static void find_certs(struct st_pull_options *opt, struct st_sv host, struct certs *c)
{
    char user[PATH_MAX - 320] = "";
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && *config)
        snprintf(user, sizeof user, "%s/containers/certs.d", config);
    else if (home && *home)
        snprintf(user, sizeof user, "%s/.config/containers/certs.d", home);
    const char *const dirs[] = {user, "/etc/containers/certs.d", "/etc/docker/certs.d"};
    for (size_t i = 0; i < ST_LEN(dirs); i++) {
        if (!dirs[i][0])
            continue;
        if (!opt->ca_file && certs_file(c->ca, dirs[i], host, "ca.crt"))
            opt->ca_file = c->ca;
        if (!opt->cert_file && !opt->key_file && certs_file(c->cert, dirs[i], host, "client.cert") &&
            certs_file(c->key, dirs[i], host, "client.key")) {
            opt->cert_file = c->cert;
            opt->key_file = c->key;
        }
    }
}

static int put_source(struct st_pull *p, struct st_wire_out *o, const struct st_reference *ref,
                      const struct st_pull_options *opt, struct st_err *err)
{
    const char *all = variable("all_proxy", "ALL_PROXY"), *https = variable("https_proxy", "HTTPS_PROXY");
    const char *http = variable("http_proxy", NULL); // HTTP_PROXY is what a CGI request can set
    st_wire_put_sv(o, ST_SV("stella/" ST_VERSION));
    st_wire_put_sv(o, st_sv_of(*https ? https : all));
    st_wire_put_sv(o, st_sv_of(*http ? http : all));
    // This machine is not reached through a proxy, as with Docker's and Podman's tools.
    char direct[2048];
    const char *given = variable("no_proxy", "NO_PROXY");
    snprintf(direct, sizeof direct, "localhost,127.0.0.0/8,::1%s%s", *given ? "," : "", given);
    st_wire_put_sv(o, st_sv_of(strcmp(given, "*") == 0 ? given : direct));
    st_wire_put_sv(o, opt->private_hosts);
    st_wire_put_u64(o, opt->bytes_per_second);
    st_wire_put_u64(o, (opt->verbose ? ST_FETCH_F_VERBOSE : 0) | (opt->public_only ? ST_FETCH_F_PUBLIC_ONLY : 0) |
                           (opt->foreign_layers ? ST_FETCH_F_FOREIGN : 0) | (opt->ca_file ? ST_FETCH_F_CA : 0) |
                           (opt->cert_file ? ST_FETCH_F_CERT : 0));
    st_wire_put_sv(o, ref->tag);
    st_wire_put_sv(o, ref->digest);
    if (ref->domain.len)
        return put_endpoints(p, o, ref, opt, err);
    st_wire_put_u64(o, 0); // a daemon: nobody to ask
    return 0;
}

static int send_source(struct st_pull *p, const struct st_reference *ref, const struct st_pull_options *given,
                       struct st_err *err)
{
    struct st_pull_options own = *given, *opt = &own;
    ST_AUTO_FREE struct certs *certs = malloc(sizeof *certs);
    if (!certs)
        return st_err_nomem(err);
    if (ref->domain.len)
        find_certs(opt, ref->domain, certs);
    struct st_buf b;
    struct files f = {.n = 0};
    st_buf_init(&b, &p->mem);
    // The buffer must not move once a secret is in it: what realloc leaves behind cannot be wiped.
    int rc = st_buf_reserve(&b, ST_PROTO_MAX, err);
    struct st_wire_out o = st_proto_begin(&b, (enum st_proto_tag)ST_FETCH_SOURCE);
    if (rc == 0)
        rc = open_files(opt, &f, err) || put_source(p, &o, ref, opt, err) ? -1 : 0;
    if (rc == 0)
        rc = st_proto_send(p->sock, &o, f.fds, f.n, err);
    for (size_t i = 0; i < f.n; i++)
        close(f.fds[i]);
    if (b.ptr)
        explicit_bzero(b.ptr, b.cap);
    st_buf_release(&b);
    return rc;
}

static int start(struct st_pull *p, bool local, struct st_err *err)
{
    char path[PATH_MAX], ca[PATH_MAX + 32];
    int pair[2];
    if (st_helper_find(ST_FETCH_NAME, path, sizeof path, err) || st_helper_socket(pair, err))
        return -1;
    p->sock = pair[0];
    ST_AUTO_CLOSE int child = pair[1];
    const char *named = getenv("SSL_CERT_FILE");
    snprintf(ca, sizeof ca, "SSL_CERT_FILE=%s", named ? named : "");
    char *const argv[] = {(char *)ST_FETCH_NAME, (char *)(local ? "--serve-local" : "--serve"), NULL};
    char *const envp[] = {ca, NULL};
    if (st_helper_spawn(path, argv, envp, &child, 1, &p->remote.pid, err)) {
        p->remote.pid = -1;
        return -1;
    }
    return 0;
}

static int hello(struct st_pull *p, struct st_err *err)
{
    struct st_proto_msg m;
    int rc = st_proto_recv(p->sock, p->in, &m, err);
    if (rc < 0)
        return -1;
    st_proto_close_fds(&m);
    if (rc == 0 || (int)m.tag != ST_FETCH_HELLO)
        return st_err_set(err, ST_E_FAILED, ST_FETCH_NAME " did not start (its own message is above)");
    p->sandbox.landlock_abi = (int)st_wire_max(&m.in, 1000);
    for (int i = 0; i < ST_SANDBOX_MEASURES_MAX; i++)
        p->sandbox.state[i] = (enum st_sandbox_state)st_wire_max(&m.in, ST_SANDBOX_OFF);
    return 0;
}

// A process that waits for its SOURCE.
static int begin(bool local, struct st_pull **ret, struct st_err *err)
{
    struct st_pull *p = calloc(1, sizeof *p);
    if (!p)
        return st_err_nomem(err);
    st_mem_init(&p->mem, MEMORY, -1);
    p->remote = (struct st_remote){.document = document,
                                   .blob = blob,
                                   .range = range,
                                   .failed = failed,
                                   .pid = -1,
                                   .private_bytes = ST_PULL_PRIVATE_BYTES};
    p->sock = -1;
    p->in = st_mem_alloc(&p->mem, ST_PROTO_MAX, err);
    if (!p->in || start(p, local, err) || hello(p, err)) {
        st_pull_close(p);
        return -1;
    }
    *ret = p;
    return 0;
}

int st_pull_sandbox(enum st_sandbox_net net, struct st_sandbox_report *ret, struct st_err *err)
{
    struct st_pull *p;
    if (begin(net == ST_SANDBOX_LOCAL, &p, err))
        return -1;
    *ret = p->sandbox;
    st_pull_close(p);
    return 0;
}

int st_pull_open(const struct st_reference *ref, const struct st_pull_options *opt, struct st_pull **ret,
                 struct st_err *err)
{
    struct st_pull *p;
    if (begin(ref->domain.len == 0, &p, err))
        return -1;
    p->deadline_ms = opt->deadline_ms;
    p->interrupted = opt->interrupted;
    if (send_source(p, ref, opt, err)) {
        st_pull_close(p);
        return -1;
    }
    *ret = p;
    return 0;
}

// ---- local daemons --------------------------------------------------------------------------------------------------

static const struct {
    const char *name, *variable, *before, *after; // the request's path around the image's name
    const char *below_run, *place;                // sockets: below $XDG_RUNTIME_DIR, and in the file system
} daemons[ST_DAEMON_MAX] = {
    [ST_DAEMON_DOCKER] = {"docker", "DOCKER_HOST", "/images/", "/get", "docker.sock", "/var/run/docker.sock"},
    // Its own interface, unlike the Docker-compatible one, knows short names as Podman's users do.
    [ST_DAEMON_PODMAN] = {"podman", "CONTAINER_HOST", "/v4.0.0/libpod/images/", "/get?format=docker-archive",
                          "podman/podman.sock", "/run/podman/podman.sock"},
};

static bool answers(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return false;
    memcpy(a.sun_path, path, strlen(path) + 1);
    ST_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
}

static int find_socket(enum st_daemon d, char ret[static PATH_MAX], struct st_err *err)
{
    const char *said = getenv(daemons[d].variable), *run = getenv("XDG_RUNTIME_DIR");
    if (said && *said) {
        if (strncmp(said, "unix://", 7) != 0)
            return st_err_set(err, ST_E_INPUT, "%s is not a unix:// address: only local daemons are asked",
                              daemons[d].variable);
        snprintf(ret, PATH_MAX, "%s", said + 7);
        if (answers(ret))
            return 0;
        return st_err_set(err, ST_E_NOTFOUND, "no %s answers at %.200s (%s): is it running, and may you use it?",
                          daemons[d].name, said + 7, daemons[d].variable);
    }
    if (run && *run) {
        snprintf(ret, PATH_MAX, "%s/%s", run, daemons[d].below_run);
        if (answers(ret))
            return 0;
    }
    snprintf(ret, PATH_MAX, "%s", daemons[d].place);
    if (answers(ret))
        return 0;
    return st_err_set(err, ST_E_NOTFOUND, "no %s answers at %s%s%.200s%s%s: is it running, and may you use it?",
                      daemons[d].name, daemons[d].place, run && *run ? " or " : "", run && *run ? run : "",
                      run && *run ? "/" : "", run && *run ? daemons[d].below_run : "");
}

bool st_pull_daemon_there(enum st_daemon d, struct st_err *err)
{
    char sock[PATH_MAX];
    return find_socket(d, sock, err) == 0;
}

static int send_export(struct st_pull *p, enum st_daemon d, struct st_sv name, int pipe, const char *sock,
                       struct st_err *err)
{
    struct st_buf b, path;
    st_buf_init(&b, &p->mem);
    st_buf_init(&path, &p->mem);
    // The grammar of references has nothing in it that a path would have to escape.
    int rc = st_buf_fmt(&path, err, "%s" ST_SV_FMT "%s", daemons[d].before, ST_SV_ARG(name), daemons[d].after);
    struct st_wire_out o = st_proto_begin(&b, (enum st_proto_tag)ST_FETCH_EXPORT);
    st_wire_put_u64(&o, ++p->tickets);
    st_wire_put_sv(&o, st_buf_sv(&path));
    st_wire_put_sv(&o, st_sv_of(daemons[d].name));
    st_wire_put_sv(&o, name);
    st_wire_put_sv(&o, st_sv_of(sock));
    if (rc == 0)
        rc = st_proto_send(p->sock, &o, &pipe, 1, err);
    st_buf_release(&path);
    st_buf_release(&b);
    return rc;
}

// Until the first byte, or the reason why there is none.
static int first_byte(struct st_pull *p, int fd, struct st_err *err)
{
    struct st_err why = {0};
    for (;;) {
        struct pollfd f = {.fd = fd, .events = POLLIN};
        int k = poll(&f, 1, TICK_MS);
        if (check_time(p, err))
            return -1;
        if (k > 0 && (f.revents & POLLIN))
            return 0;
        if (failed(&p->remote, p->tickets, 0, &why)) {
            if (err)
                *err = why;
            return -1;
        }
        if (k > 0) // closed, and no reason
            return st_err_set(err, ST_E_CORRUPT, "the daemon's archive is empty");
    }
}

int st_pull_export(enum st_daemon d, struct st_sv name, const struct st_pull_options *opt, struct st_pull **ret,
                   int *ret_fd, uint64_t *ret_ticket, struct st_err *err)
{
    struct st_reference none = {0};
    struct st_pull *p = NULL;
    int ends[2];
    char sock[PATH_MAX];
    if (find_socket(d, sock, err) || st_pull_open(&none, opt, &p, err))
        return -1;
    if (pipe2(ends, O_CLOEXEC)) {
        st_pull_close(p);
        return st_err_sys(err, "pipe");
    }
    fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES);
    int rc = send_export(p, d, name, ends[1], sock, err);
    close(ends[1]);
    if (rc == 0)
        rc = first_byte(p, ends[0], err);
    if (rc) {
        close(ends[0]);
        st_pull_close(p);
        return -1;
    }
    *ret = p;
    *ret_fd = ends[0];
    *ret_ticket = p->tickets;
    return 0;
}

struct st_remote *st_pull_remote(struct st_pull *p)
{
    return &p->remote;
}

void st_pull_close(struct st_pull *p)
{
    if (!p)
        return;
    if (p->sock >= 0)
        close(p->sock);
    if (p->remote.pid > 0 && !p->dead) {
        kill(p->remote.pid, SIGKILL);
        while (waitpid(p->remote.pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    while (p->failures) {
        struct failure *f = p->failures;
        p->failures = f->next;
        st_mem_free(&p->mem, f, sizeof *f);
    }
    st_mem_free(&p->mem, p->in, ST_PROTO_MAX);
    st_mem_release(&p->mem);
    free(p);
}
