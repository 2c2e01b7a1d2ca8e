#include "service/metric_history.h"

#include "base/ckd.h"
#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct series {
    char name[ST_HISTORY_NAME];
    double values[ST_HISTORY_STEPS];
    uint64_t first, last; // steps with a value: [first, last)
};

struct st_metric_history {
    pthread_mutex_t lock;
    struct series *series[ST_HISTORY_SERIES]; // owns
    size_t n;
    uint64_t steps; // taken
    int64_t taken_ms;
};

struct st_metric_history *st_metric_history_new(void)
{
    struct st_metric_history *h = calloc(1, sizeof *h);
    if (h)
        pthread_mutex_init(&h->lock, NULL);
    return h;
}

void st_metric_history_free(struct st_metric_history *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->n; i++)
        free(h->series[i]);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static struct series *find(struct st_metric_history *h, struct st_sv name)
{
    for (size_t i = 0; i < h->n; i++)
        if (st_sv_eq(name, st_sv_of(h->series[i]->name)))
            return h->series[i];
    return NULL;
}

// The place of a series that nothing was heard of for all the steps that are kept, else a new one.
static struct series *place(struct st_metric_history *h)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->series[i]->last + ST_HISTORY_STEPS < h->steps)
            return h->series[i];
    if (h->n == ST_HISTORY_SERIES || !(h->series[h->n] = malloc(sizeof(struct series))))
        return NULL;
    return h->series[h->n++];
}

struct taking {
    struct st_metric_history *h;
    uint64_t step;
};

static int take(void *ctx, const struct st_sample *s, struct st_err *err)
{
    struct taking *t = ctx;
    char name[ST_HISTORY_NAME];
    struct st_sv text;
    if (s->le || s->last_bucket || !st_sample_name(s, name, sizeof name, &text))
        return 0;
    pthread_mutex_lock(&t->h->lock);
    struct series *k = find(t->h, text);
    if (!k && (k = place(t->h)) != NULL) {
        snprintf(k->name, sizeof k->name, ST_SV_FMT, ST_SV_ARG(text));
        k->first = k->last = t->step;
    }
    if (k) {
        if (k->last != t->step) // it was away for a while
            k->first = t->step;
        k->values[t->step % ST_HISTORY_STEPS] = s->value;
        k->last = t->step + 1;
    }
    pthread_mutex_unlock(&t->h->lock);
    return 0;
}

int st_metric_history_take(struct st_metric_history *h, struct st_store *s, struct st_live *l, struct st_err *err)
{
    int64_t now = st_clock_mono_ms();
    pthread_mutex_lock(&h->lock);
    bool due = !h->steps || now - h->taken_ms >= ST_HISTORY_STEP_MS;
    struct taking t = {h, h->steps};
    if (due)
        h->taken_ms = now;
    pthread_mutex_unlock(&h->lock);
    if (!due)
        return 0;
    int rc = st_metrics_walk(s, l, take, &t, err);
    pthread_mutex_lock(&h->lock);
    h->steps++;
    pthread_mutex_unlock(&h->lock);
    return rc;
}

bool st_metric_history_span(struct st_metric_history *h, struct st_sv series, int64_t last_ms, double now,
                            struct st_metric_span *ret)
{
    pthread_mutex_lock(&h->lock);
    const struct series *k = find(h, series);
    if (k) {
        uint64_t wanted = (uint64_t)ST_MAX(last_ms / ST_HISTORY_STEP_MS, (int64_t)1);
        uint64_t from = ST_MAX(k->first, h->steps - ST_MIN(h->steps, ST_MIN(wanted, (uint64_t)ST_HISTORY_STEPS)));
        *ret = (struct st_metric_span){.low = now, .high = now};
        double before = from < k->last ? k->values[from % ST_HISTORY_STEPS] : now;
        for (uint64_t i = from; i <= k->last; i++) {
            double v = i < k->last ? k->values[i % ST_HISTORY_STEPS] : now;
            ret->low = ST_MIN(ret->low, v);
            ret->high = ST_MAX(ret->high, v);
            ret->increase += v >= before ? v - before : v;
            before = v;
        }
    }
    pthread_mutex_unlock(&h->lock);
    return k != NULL;
}
