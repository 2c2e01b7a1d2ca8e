// A worker that does what the image's name says, step by step: "do:progress=3,sleep=200,end=completed".
//   progress=N   N messages of progress, 20 ms apart     sleep=MS     wait
//   subject      say digest and size                     log=TEXT     a line of the log
//   end=REASON   say the end (completed: good) and exit  exit=CODE    exit without a word
//   signal=N     die of it                               eat=MIB      touch so much memory, slowly
//   hang         wait for ever, deaf to SIGTERM          child        leave a process behind
//   once         go on only in the first attempt, else complete
//   sh=FILE      run this script and wait for it
// Told to stop it ends without a word, unless it is deaf. $FAKE_WORKER_TRACE: a line a job is appended there.
#include "worker/worker_msg.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t told;

static void on_term(int sig)
{
    told = sig;
}

static void nap(unsigned ms)
{
    for (unsigned i = 0; i < ms && !told; i += 5)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    if (told)
        _exit(143);
}

static void say(enum st_worker_kind kind, const void *record)
{
    struct st_err err = {0};
    if (st_worker_send(ST_WORKER_FD, kind, record, NULL, 0, 1000, &err))
        _exit(9);
}

static void say_end(struct st_sv reason)
{
    bool good = st_sv_eq(reason, ST_SV("completed"));
    struct st_worker_end e = {.exit_code = good ? 0 : 1,
                              .reason = good ? ST_SV_NULL : reason,
                              .message = good ? ST_SV_NULL : ST_SV("the image says so"),
                              .phases = ST_SV("{\"layers\":12}"),
                              .peak_bytes = 12345678,
                              .packages = 7};
    say(ST_WORKER_END, &e);
    _exit(0);
}

static void progress(unsigned n)
{
    for (unsigned i = 1; i <= n; i++) {
        struct st_worker_progress p = {.phase = ST_SV("layers"),
                                       .digest = ST_SV("sha256:feed"),
                                       .file = ST_SV("usr/lib/x.jar"),
                                       .layer = i,
                                       .layers = n,
                                       .bytes = i * 1000};
        say(ST_WORKER_PROGRESS, &p);
        nap(20);
    }
}

static void eat(uint64_t mib)
{
    for (uint64_t i = 0; i < mib; i++) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
            struct st_worker_log l = {ST_LOG_ERROR, ST_SV("worker"), ST_SV("memory allocation failed")};
            say(ST_WORKER_LOG, &l);
            say_end(ST_SV("oom"));
        }
        memset(p, (int)i | 1, 1 << 20);
        if (i % 4 == 0)
            nap(5);
    }
}

static void leave_child(void)
{
    if (fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        for (;;)
            pause();
    }
}

static void script(struct st_sv path)
{
    char text[256];
    snprintf(text, sizeof text, ST_SV_FMT, ST_SV_ARG(path));
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", text, NULL);
        _exit(127);
    }
    while (waitpid(pid, NULL, 0) < 0 && !told)
        ;
}

// Not for a sanitizer to catch.
static void raise_default(int sig)
{
    signal(sig, SIG_DFL);
    kill(getpid(), sig);
}

static void step(struct st_sv name, struct st_sv value, const struct st_worker_job *job)
{
    uint64_t n = 0;
    st_sv_u64(value, 10, &n);
    if (st_sv_eq(name, ST_SV("progress")))
        progress((unsigned)n);
    else if (st_sv_eq(name, ST_SV("sleep")))
        nap((unsigned)n);
    else if (st_sv_eq(name, ST_SV("subject")))
        say(ST_WORKER_SUBJECT, &(struct st_worker_subject){ST_SV("sha256:0123"), 4711});
    else if (st_sv_eq(name, ST_SV("log")))
        say(ST_WORKER_LOG, &(struct st_worker_log){ST_LOG_INFO, ST_SV("sbom"), value});
    else if (st_sv_eq(name, ST_SV("end")))
        say_end(value);
    else if (st_sv_eq(name, ST_SV("exit")))
        _exit((int)n);
    else if (st_sv_eq(name, ST_SV("signal")))
        raise_default((int)n);
    else if (st_sv_eq(name, ST_SV("eat")))
        eat(n);
    else if (st_sv_eq(name, ST_SV("sh")))
        script(value);
    else if (st_sv_eq(name, ST_SV("child")))
        leave_child();
    else if (st_sv_eq(name, ST_SV("once"))) {
        if (job->attempt > 1)
            say_end(ST_SV("completed"));
    } else if (st_sv_eq(name, ST_SV("hang"))) {
        signal(SIGTERM, SIG_IGN);
        for (;;)
            pause();
    }
}

static void trace(const struct st_worker_job *j)
{
    const char *path = getenv("FAKE_WORKER_TRACE");
    char line[4096];
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    int n = snprintf(line, sizeof line, "%s %u %llu %llu %d " ST_SV_FMT "\n", j->id, j->attempt,
                     (unsigned long long)j->memory_limit, (unsigned long long)j->deadline_ms, (int)getpid(),
                     ST_SV_ARG(j->config));
    if (fd >= 0 && write(fd, line, (size_t)n) != n)
        _exit(9);
}

int main(void)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_err err = {0};
    enum st_worker_kind kind;
    struct st_worker_fds fds;
    bool closed;
    void *m;
    st_mem_init(&mem, 4 << 20, -1);
    st_arena_init(&a, &mem);
    struct sigaction sa = {.sa_handler = on_term};
    sigaction(SIGTERM, &sa, NULL);
    poll(&(struct pollfd){ST_WORKER_FD, POLLIN, 0}, 1, 5000);
    if (st_worker_recv(ST_WORKER_FD, &kind, &m, &fds, &closed, &a, &err) != 1 || kind != ST_WORKER_JOB)
        return 8;
    const struct st_worker_job *job = m;
    trace(job);
    struct st_sv steps, scheme, part, name, value;
    st_sv_cut(job->image, ':', &scheme, &steps);
    while (st_sv_split(&steps, ',', &part)) {
        st_sv_cut(part, '=', &name, &value);
        step(name, value, job);
    }
    say_end(ST_SV("completed"));
}
