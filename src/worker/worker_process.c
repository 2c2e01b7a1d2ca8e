// The process of one job: descriptor 3 to the supervisor, a job in, its end out. docs/adr/0012.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "worker/run_job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define JOB_MS 30000 // until the job comes
#define END_MS 10000 // until the end is taken
#define ARENA (4u << 20)

// What a signal handler may touch. A scan asks for it all the time; nothing else of this program is global.
static volatile int interrupted;

static void on_signal(int sig)
{
    interrupted = sig;
}

// Something may have come while the scan runs: the only thing that can is `stop`, or that the supervisor is gone.
static void on_socket(int sig)
{
    int saved = errno;
    struct pollfd p = {.fd = ST_WORKER_FD, .events = POLLIN};
    if (poll(&p, 1, 0) > 0 && (p.revents & (POLLIN | POLLHUP | POLLERR)))
        interrupted = sig;
    errno = saved;
}

static void catch_signals(void)
{
    struct sigaction stop = {.sa_handler = on_signal}, come = {.sa_handler = on_socket};
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGIO, &come, NULL);
    signal(SIGPIPE, SIG_IGN);
}

// A worker does not outlive its supervisor, also when that died just before it asked for this.
static int die_with_parent(struct st_err *err)
{
    struct ucred who;
    socklen_t n = sizeof who;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getsockopt(ST_WORKER_FD, SOL_SOCKET, SO_PEERCRED, &who, &n))
        return st_err_sys(err, "worker");
    return getppid() == who.pid ? 0 : st_err_set(err, ST_E_FAILED, "the supervisor is gone");
}

static bool from_supervisor(void)
{
    int type = 0, domain = 0;
    socklen_t n = sizeof type, m = sizeof domain;
    return getsockopt(ST_WORKER_FD, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET &&
           getsockopt(ST_WORKER_FD, SOL_SOCKET, SO_DOMAIN, &domain, &m) == 0 && domain == AF_UNIX;
}

// One message within the time. 1; 0: the other side is gone, or nothing came.
static int receive(unsigned wait_ms, enum st_worker_kind *kind, void **ret, struct st_worker_fds *fds,
                   struct st_arena *a, struct st_err *err)
{
    int64_t until = st_clock_mono_ms() + wait_ms;
    for (;;) {
        bool closed;
        int rc = st_worker_recv(ST_WORKER_FD, kind, ret, fds, &closed, a, err);
        int64_t left = until - st_clock_mono_ms();
        if (rc || closed || left <= 0)
            return rc;
        struct pollfd p = {.fd = ST_WORKER_FD, .events = POLLIN};
        poll(&p, 1, (int)left);
        if (interrupted)
            return 0;
    }
}

static int receive_job(struct st_worker_job **ret, int *ret_file, struct st_arena *a, struct st_err *err)
{
    enum st_worker_kind kind;
    struct st_worker_fds fds;
    void *value;
    int rc = receive(JOB_MS, &kind, &value, &fds, a, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return st_err_set(err, ST_E_FAILED, "the supervisor sent no job");
    *ret_file = kind == ST_WORKER_JOB && fds.n ? fds.fd[0] : -1;
    for (size_t i = *ret_file >= 0; i < fds.n; i++)
        close(fds.fd[i]);
    if (kind != ST_WORKER_JOB)
        return st_err_set(err, ST_E_INPUT, "the supervisor sent no job first");
    *ret = value;
    return (*ret)->has_file == (*ret_file >= 0)
               ? 0
               : st_err_set(err, ST_E_INPUT, "the job and its descriptors do not fit together");
}

// Cancelled, or to be gone on with elsewhere? A signal alone keeps what there is.
static bool keeps_checkpoints(struct st_arena *a)
{
    enum st_worker_kind kind;
    struct st_worker_fds fds;
    void *value;
    if (receive(0, &kind, &value, &fds, a, NULL) <= 0)
        return true;
    for (size_t i = 0; i < fds.n; i++)
        close(fds.fd[i]);
    return kind != ST_WORKER_STOP || ((const struct st_worker_stop *)value)->release;
}

static int one_job(struct st_arena *a, struct st_err *err)
{
    struct st_worker_job *job;
    struct st_worker_end end;
    ST_AUTO_CLOSE int file = -1;
    if (receive_job(&job, &file, a, err))
        return -1;
    // From here on a packet, or the end of the supervisor, interrupts.
    fcntl(ST_WORKER_FD, F_SETOWN, getpid());
    fcntl(ST_WORKER_FD, F_SETFL, fcntl(ST_WORKER_FD, F_GETFL) | O_ASYNC | O_NONBLOCK);
    on_socket(SIGIO); // it may have come before
    struct st_run_job run = {job, file, ST_WORKER_FD, &interrupted};
    st_run_job(&run, &end, a);
    if (st_sv_eq(end.reason, ST_SV("cancelled")) && !keeps_checkpoints(a))
        st_run_job_forget(job);
    return st_worker_send(ST_WORKER_FD, ST_WORKER_END, &end, NULL, 0, END_MS, err);
}

int st_worker_process(struct st_err *err)
{
    struct st_mem mem;
    struct st_arena a;
    if (!from_supervisor())
        return st_err_set(err, ST_E_USAGE,
                          "stella worker is a part of the scan service: `stella serve` starts it for each job");
    fcntl(ST_WORKER_FD, F_SETFD, FD_CLOEXEC);
    catch_signals();
    if (die_with_parent(err))
        return -1;
    st_mem_init(&mem, ARENA, -1);
    st_arena_init(&a, &mem);
    int rc = one_job(&a, err);
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc;
}
