// stella-fetch: the process that speaks to registries. It is started by stella with a socket, gives up files and
// processes, and answers for one image (fetch_proto.h) until the socket closes. `--self-test` enters the sandbox and
// reports what code inside it can still do.
#include "fetch/registry.h"

#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PRIVATE_BYTES ((size_t)256 << 20) // stacks of look-up threads are counted whole
#define BUDGET ((size_t)24 << 20)         // documents (4 MiB each at most), what pipes have no room for
#define SOCKET ST_PROTO_SOCKET

// Loads the name services that this machine is set up for, while libraries can still be loaded.
static void warm_resolver(void)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo("localhost", "443", &hints, &found) == 0)
        freeaddrinfo(found);
}

// ---- the sandbox from inside ----------------------------------------------------------------------------------------

static int self_test(void)
{
    struct st_sandbox_report rep;
    struct st_err err = {0};
    warm_resolver();
    if (st_sandbox_enter_network(PRIVATE_BYTES, ST_SANDBOX_INTERNET, &rep, &err)) {
        fprintf(stderr, ST_FETCH_NAME ": %s\n", err.text);
        return 1;
    }
    const struct {
        const char *what;
        bool refused;
    } tries[] = {
        {"open a file", open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0},
        {"create a file", open("/tmp/stella-self-test", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0},
        {"local socket", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0},
        {"start a process", fork() < 0},
        {"executable memory",
         mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED},
        {"signal another process", kill(getppid(), 0) < 0},
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        char line[80];
        int n = snprintf(line, sizeof line, "%-28s %s\n", tries[i].what, tries[i].refused ? "refused" : "POSSIBLE");
        st_fd_write(1, line, (size_t)n);
        bad |= !tries[i].refused;
    }
    return bad;
}

// ---- serving --------------------------------------------------------------------------------------------------------

static int hello(struct st_mem *mem, const struct st_sandbox_report *rep, struct st_err *err)
{
    struct st_buf b;
    st_buf_init(&b, mem);
    struct st_wire_out o = st_proto_begin(&b, (enum st_proto_tag)ST_FETCH_HELLO);
    st_wire_put_u64(&o, (uint64_t)rep->landlock_abi);
    for (int i = 0; i < ST_SANDBOX_MEASURES_MAX; i++)
        st_wire_put_u64(&o, rep->state[i]);
    int rc = st_proto_send(SOCKET, &o, NULL, 0, err);
    st_buf_release(&b);
    return rc;
}

static int serve(struct st_mem *mem, struct st_sv system_ca, struct st_err *err)
{
    struct st_registry *r = NULL;
    struct st_proto_msg m = {0};
    char *in = malloc(ST_PROTO_MAX);
    int rc = in ? st_proto_recv(SOCKET, in, &m, err) : st_err_nomem(err);
    if (rc > 0 && (int)m.tag == ST_FETCH_SOURCE) {
        rc = st_registry_new(&m, system_ca, SOCKET, mem, &r, err) ? -1 : 1;
        explicit_bzero(in, ST_PROTO_MAX); // passwords were in it
    }
    st_proto_close_fds(&m);
    while (rc >= 0 && r) {
        int k = st_registry_step(r, err);
        if (k < 0)
            rc = -1;
        if (k <= 0)
            continue;
        rc = st_proto_recv(SOCKET, in, &m, err);
        if (rc <= 0) // stella is gone
            break;
        rc = st_registry_take(r, &m, err) ? -1 : 1;
        st_proto_close_fds(&m);
    }
    st_registry_free(r);
    free(in);
    return rc < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--self-test") == 0)
        return self_test();
    bool local = argc == 2 && strcmp(argv[1], "--serve-local") == 0; // a daemon on this machine
    if (argc != 2 || (strcmp(argv[1], "--serve") != 0 && !local)) {
        fprintf(stderr, ST_FETCH_NAME " is started by stella; --self-test reports what its sandbox refuses\n");
        return 2;
    }
    struct st_err err = {0};
    struct st_sandbox_report rep;
    struct st_mem mem;
    struct st_buf ca;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); // the parent decides
    signal(SIGPIPE, SIG_IGN);
    st_mem_init(&mem, BUDGET, -1);
    st_buf_init(&ca, &mem);
    int rc = local ? 0 : st_http_system_ca(&ca, &err);
    if (rc == 0)
        rc = st_http_init(&err);
    if (rc == 0) {
        if (!local)
            warm_resolver();
        rc = st_sandbox_enter_network(PRIVATE_BYTES, local ? ST_SANDBOX_LOCAL : ST_SANDBOX_INTERNET, &rep, &err);
    }
    if (rc == 0)
        rc = hello(&mem, &rep, &err);
    if (rc == 0)
        rc = serve(&mem, st_buf_sv(&ca), &err);
    if (rc)
        fprintf(stderr, ST_FETCH_NAME ": %s\n", err.text);
    st_buf_release(&ca);
    st_mem_release(&mem);
    return rc ? 1 : 0;
}

#ifdef ST_SANITIZED
__attribute__((visibility("default"), used)) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0"; // it needs /proc, which the sandbox hides
}
#endif
