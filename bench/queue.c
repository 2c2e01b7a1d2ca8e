// Load on a running stella-api: queue SOCKET CLIENTS JOBS [RATE]. Each client is a thread with a connection of its own.
// First all jobs are submitted, then all are claimed and ended (a scan that does nothing). Prints one line a phase:
// rate, and latency of a call in ms. With RATE: requests a second of all clients together, evenly spaced.
#include "base/ckd.h"
#include "base/clock.h"
#include "service/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 128

struct bench {
    const char *socket;
    unsigned clients, jobs;
    double rate;
    char run[24]; // names this run's images
};

struct client {
    const struct bench *b;
    unsigned first, count; // jobs of this client
    bool submit;
    double *claim_ms, *finish_ms; // one a job; submit uses claim_ms
    unsigned done;
    pthread_t thread;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what, const struct st_err *err)
{
    fprintf(stderr, "queue: %s: %s\n", what, err->text);
    exit(1);
}

static int take(void *ctx, const void *row, struct st_err *err)
{
    const struct st_job *j = row;
    struct st_end *e = ctx;
    memcpy(e->id, j->id, sizeof e->id);
    e->fence = j->fence;
    return 0;
}

static void submit_one(struct client *c, struct st_client *k, unsigned i)
{
    struct st_err err = {0};
    char image[64];
    snprintf(image, sizeof image, "registry.example/%s/image-%u:1", c->b->run, c->first + i);
    struct st_req_submit q = {.image = st_sv_of(image), .has_size = true, .size = 123456789};
    double t = now_ms();
    if (st_client_call(k, "scans.submit", &q, NULL, NULL, &err))
        die("submit", &err);
    c->claim_ms[c->done++] = now_ms() - t;
}

static bool work_one(struct client *c, struct st_client *k)
{
    struct st_err err = {0};
    struct st_end e = {.state = ST_JOB_COMPLETED};
    struct st_req_claim q = {.pool = ST_SV("default"), .worker = ST_SV("bench"), .lease_ms = 60000};
    double t0 = now_ms();
    if (st_client_call(k, "queue.claim", &q, take, &e, &err))
        die("claim", &err);
    double t1 = now_ms();
    if (!e.fence)
        return false;
    if (st_client_call(k, "job.finish", &e, NULL, NULL, &err))
        die("finish", &err);
    c->claim_ms[c->done] = t1 - t0;
    c->finish_ms[c->done++] = now_ms() - t1;
    return true;
}

static void *run(void *ctx)
{
    struct client *c = ctx;
    struct st_client *k = NULL;
    struct st_err err = {0};
    if (st_client_connect(c->b->socket, &k, &err))
        die("connect", &err);
    double start = now_ms();
    for (unsigned i = 0; i < c->count; i++) {
        if (c->b->rate > 0) {
            double due = start + i * 1000.0 * c->b->clients / c->b->rate, wait = due - now_ms();
            if (wait > 0)
                usleep((useconds_t)(wait * 1000));
        }
        if (c->submit)
            submit_one(c, k, i);
        else if (!work_one(c, k))
            break;
    }
    st_client_close(k);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void latencies(const struct client *c, unsigned n, bool finish, double *all)
{
    unsigned k = 0;
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < c[i].done; j++)
            all[k++] = finish ? c[i].finish_ms[j] : c[i].claim_ms[j];
    qsort(all, k, sizeof *all, compare);
    if (k)
        printf("  %s p50 %.2f p95 %.2f p99 %.2f ms", finish ? "finish" : "call", all[k / 2], all[(size_t)(k * 0.95)],
               all[(size_t)(k * 0.99)]);
}

static void phase(const struct bench *b, bool submit)
{
    static struct client c[CLIENTS_MAX];
    double *ms = calloc(b->jobs * 3, sizeof *ms);
    unsigned done = 0;
    if (!ms)
        exit(1);
    double t = now_ms();
    for (unsigned i = 0; i < b->clients; i++) {
        unsigned first = (unsigned)((uint64_t)b->jobs * i / b->clients);
        unsigned end = (unsigned)((uint64_t)b->jobs * (i + 1) / b->clients);
        c[i] = (struct client){.b = b,
                               .first = first,
                               .count = end - first,
                               .submit = submit,
                               .claim_ms = ms + first,
                               .finish_ms = ms + b->jobs + first};
        pthread_create(&c[i].thread, NULL, run, &c[i]);
    }
    for (unsigned i = 0; i < b->clients; i++) {
        pthread_join(c[i].thread, NULL);
        done += c[i].done;
    }
    t = now_ms() - t;
    printf("%-7s %3u clients %7u jobs %8.1f jobs/s", submit ? "submit" : "dequeue", b->clients, done, done / t * 1000);
    latencies(c, b->clients, false, ms + 2 * b->jobs);
    if (!submit)
        latencies(c, b->clients, true, ms + 2 * b->jobs);
    printf("\n");
    fflush(stdout);
    free(ms);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    if (argc < 4) {
        fprintf(stderr, "usage: queue SOCKET CLIENTS JOBS [RATE]\n");
        return 2;
    }
    b.socket = argv[1];
    b.clients = (unsigned)ST_MIN(strtoul(argv[2], NULL, 10), CLIENTS_MAX);
    b.jobs = (unsigned)strtoul(argv[3], NULL, 10);
    b.rate = argc > 4 ? strtod(argv[4], NULL) : 0;
    if (!b.clients || !b.jobs)
        return 2;
    snprintf(b.run, sizeof b.run, "%lld", (long long)st_clock_wall_ms());
    phase(&b, true);
    phase(&b, false);
    return 0;
}
