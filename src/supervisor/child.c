// Programs of the service that are started again when they die: stella-api, stella-watchdog. And how stella-api is
// called.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "scan/helper.h"
#include "supervisor/spawn.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define BACKOFF_MS 100
#define BACKOFF_MAX_MS 5000
#define GOOD_MS 10000 // who lived so long starts again without a wait

static void start(void *child)
{
    struct st_child *c = child;
    struct st_err err = {0};
    if (!c->wanted || c->pid)
        return;
    c->started_ms = st_clock_mono_ms();
    if (c->start(c->sup, c, &err)) {
        c->failures++;
        st_sup_say("%s: %s", c->name, err.text);
        st_loop_arm(&c->sup->loop, &c->timer, BACKOFF_MAX_MS);
    }
}

static void on_end(void *child, uint32_t events)
{
    struct st_child *c = child;
    struct st_sup *s = c->sup;
    int code, sig;
    if (!st_spawn_reap(c->pidfd, &code, &sig))
        return;
    st_loop_drop(&s->loop, &c->io);
    close(c->pidfd);
    c->pidfd = -1;
    c->pid = 0;
    if (c->wanted) {
        bool good = st_clock_mono_ms() - c->started_ms >= GOOD_MS;
        c->failures = good ? 0 : c->failures + 1;
        int64_t wait = good ? 0 : ST_MIN((int64_t)BACKOFF_MS << ST_MIN(c->failures - 1, 8u), (int64_t)BACKOFF_MAX_MS);
        st_sup_say("%s ended (%s %d): it is started again", c->name, sig ? "signal" : "exit", sig ? sig : code);
        st_loop_arm(&s->loop, &c->timer, wait);
    }
    if (c->ended)
        c->ended(s, code, sig);
}

int st_child_init(struct st_sup *s, struct st_child *c, struct st_err *err)
{
    c->sup = s;
    c->pidfd = c->io.fd = -1;
    c->io.ready = on_end;
    c->io.ctx = c;
    return st_loop_timer(&s->loop, &c->timer, start, c, err);
}

void st_child_want(struct st_sup *s, struct st_child *c)
{
    c->wanted = true;
    start(c);
}

void st_child_adopt(struct st_sup *s, struct st_child *c, pid_t pid, int pidfd)
{
    struct st_err err = {0};
    c->pid = pid;
    c->pidfd = pidfd;
    c->wanted = true;
    c->started_ms = st_clock_mono_ms();
    if (st_loop_add(&s->loop, &c->io, pidfd, EPOLLIN, &err))
        st_sup_say("%s: %s", c->name, err.text);
}

void st_child_stop(struct st_sup *s, struct st_child *c, int sig)
{
    c->wanted = false;
    st_loop_disarm(&s->loop, &c->timer);
    if (c->pid)
        st_spawn_signal(c->pidfd, sig);
}

void st_child_release(struct st_sup *s, struct st_child *c)
{
    st_child_stop(s, c, SIGKILL);
    st_loop_drop(&s->loop, &c->io);
    if (c->pidfd >= 0)
        close(c->pidfd);
    c->pidfd = -1;
}

// ---- stella-api -----------------------------------------------------------------------------------

int st_api_child_start(struct st_sup *s, struct st_child *c, struct st_err *err)
{
    const struct st_serve_options *o = s->o;
    char path[PATH_MAX];
    char host[ST_HOLDER_TEXT]; // HOST/INSTALLATION
    const char *argv[16];
    size_t n = 0;
    snprintf(host, sizeof host, "%s", s->lock.holder);
    *(strrchr(host, '/') ?: host) = '\0';
    const struct {
        const char *name, *value;
    } options[] = {{"--socket", o->socket},     {"--listen", o->listen},   {"--tokens", o->tokens},
                   {"--tls-cert", o->tls_cert}, {"--tls-key", o->tls_key}, {"--host", host[0] ? host : NULL}};
    argv[n++] = "stella-api";
    for (size_t i = 0; i < ST_LEN(options); i++)
        if (options[i].value) {
            argv[n++] = options[i].name;
            argv[n++] = options[i].value;
        }
    argv[n] = NULL;
    if (st_helper_find("stella-api", path, sizeof path, err))
        return -1;
    // It ends with this process, in good order: answers in work are still given.
    struct st_spawn p = {
        .path = path, .argv = (char *const *)(uintptr_t)argv, .out = -1, .cgroup = -1, .death_signal = SIGTERM};
    if (st_spawn(&p, &c->pid, &c->pidfd, err))
        return -1;
    return st_loop_add(&s->loop, &c->io, c->pidfd, EPOLLIN, err);
}
