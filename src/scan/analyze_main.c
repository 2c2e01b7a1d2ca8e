// stella-analyze: the process that looks at image data. It is started by stella with a socket and a shared page, gives
// up everything else, and answers jobs (proto.h) until the socket closes. `--self-test` enters the sandbox and reports
// what code inside it can still do.
#include "scan/analyze_jobs.h"

#include "base/ckd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define PRIVATE_DEFAULT ((size_t)256 << 20)

// ---- the sandbox from inside ----------------------------------------------------------------------------------------

static void say(const char *what, bool refused)
{
    char line[128];
    int n = snprintf(line, sizeof line, "%-28s %s\n", what, refused ? "refused" : "POSSIBLE");
    st_fd_write(1, line, (size_t)n);
}

static int self_test(void)
{
    struct st_sandbox_report rep;
    struct st_err err = {0};
    if (st_sandbox_enter(PRIVATE_DEFAULT, &rep, &err)) {
        fprintf(stderr, "stella-analyze: %s\n", err.text);
        return 1;
    }
    int bad = 0;
    const bool refused[] = {
        open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0,
        open("/tmp/stella-self-test", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0,
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0,
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0,
        fork() < 0,
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED,
        kill(getppid(), 0) < 0,
    };
    static const char *const what[] = {"open a file",     "create a file",     "internet socket",       "local socket",
                                       "start a process", "executable memory", "signal another process"};
    for (size_t i = 0; i < ST_LEN(what); i++) {
        say(what[i], refused[i]);
        bad |= !refused[i];
    }
    say("exec (next line: none)", true);
    char *const argv[] = {(char *)"true", NULL};
    execve("/bin/true", argv, argv); // kills the process where seccomp is on
    say("exec returned", true);
    return bad;
}

// ---- jobs -----------------------------------------------------------------------------------------------------------

static int hello(struct st_buf *b, const struct st_sandbox_report *rep, struct st_err *err)
{
    struct st_wire_out o = st_proto_begin(b, ST_PROTO_HELLO);
    st_wire_put_u64(&o, (uint64_t)rep->landlock_abi);
    for (int i = 0; i < ST_SANDBOX_MEASURES_MAX; i++)
        st_wire_put_u64(&o, rep->state[i]);
    return st_proto_send(ST_PROTO_SOCKET, &o, NULL, 0, err);
}

static int serve_one(struct st_proto_msg *m, struct st_buf *b, struct st_layer_watch *watch, struct st_err *err)
{
    struct st_err e = {0}, whole = {0};
    uint64_t fragments = 0;
    int rc;
    switch (m->tag) {
    case ST_PROTO_INDEX:
        rc = st_job_index(m, &e);
        break;
    case ST_PROTO_LAYER:
        rc = st_job_layer(m, watch, &whole, &e);
        break;
    case ST_PROTO_STREAM:
        rc = st_job_stream(m, watch, &fragments, &e);
        break;
    default:
        rc = st_err_set(&e, ST_E_INTERNAL, "unexpected message %d", m->tag);
    }
    st_proto_close_fds(m);
    struct st_wire_out o = st_proto_begin(b, rc ? ST_PROTO_FAIL : ST_PROTO_DONE);
    if (rc) {
        st_proto_put_err(&o, &e);
    } else {
        st_wire_put_u64(&o, fragments);
        st_wire_put_sv(&o, st_sv_of(whole.text));
    }
    return st_proto_send(ST_PROTO_SOCKET, &o, NULL, 0, err);
}

static int serve(struct st_layer_watch *watch, const struct st_sandbox_report *rep, struct st_err *err)
{
    struct st_mem mem;
    st_mem_init(&mem, 1 << 20, -1);
    struct st_buf b;
    st_buf_init(&b, &mem);
    char *in = malloc(ST_PROTO_MAX);
    int rc = in ? hello(&b, rep, err) : st_err_nomem(err);
    struct st_proto_msg m;
    while (rc == 0 && (rc = st_proto_recv(ST_PROTO_SOCKET, in, &m, err)) > 0)
        rc = serve_one(&m, &b, watch, err);
    free(in);
    st_buf_release(&b);
    st_mem_release(&mem);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--self-test") == 0)
        return self_test();
    if (argc != 3 || strcmp(argv[1], "--serve") != 0) {
        fprintf(stderr, "stella-analyze is started by stella; --self-test reports what its sandbox refuses\n");
        return 2;
    }
    struct st_err err = {0};
    struct st_sandbox_report rep;
    size_t private_bytes = (size_t)strtoull(argv[2], NULL, 10);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); // the parent decides
    void *watch = mmap(NULL, sizeof(struct st_layer_watch), PROT_READ | PROT_WRITE, MAP_SHARED, ST_PROTO_WATCH, 0);
    int rc = watch == MAP_FAILED ? st_err_sys(&err, "shared page") : 0;
    close(ST_PROTO_WATCH);
    if (rc == 0)
        rc = st_sandbox_enter(private_bytes ? private_bytes : PRIVATE_DEFAULT, &rep, &err);
    if (rc == 0)
        rc = serve(watch, &rep, &err);
    if (rc)
        fprintf(stderr, "stella-analyze: %s\n", err.text);
    return rc ? 1 : 0;
}

#ifdef ST_SANITIZED
// The leak checker needs /proc, which the sandbox hides; leaks are looked for by the unit tests.
__attribute__((visibility("default"), used)) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif
