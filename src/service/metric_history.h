// What the metrics were in the last hour: one value of each series every ST_HISTORY_STEP_MS, in memory. Buckets of
// histograms are left out. For stella obs metrics --last; who has Prometheus needs it not.
#ifndef ST_SERVICE_METRIC_HISTORY_H
#define ST_SERVICE_METRIC_HISTORY_H

#include "service/api_metrics.h"

#define ST_HISTORY_STEP_MS 15000
#define ST_HISTORY_STEPS 240
#define ST_HISTORY_SERIES 512 // more are not remembered; each takes 2 KiB
#define ST_HISTORY_NAME 160   // bytes of name and labels; a longer series is not remembered

struct st_metric_history;
struct st_metric_history *st_metric_history_new(void); // NULL: no memory
void st_metric_history_free(struct st_metric_history *h);

// One step, when it is time for one. Told often; locks.
int st_metric_history_take(struct st_metric_history *h, struct st_store *s, struct st_live *l, struct st_err *err);

struct st_metric_span {
    double low, high;
    double increase; // of a counter: what was added, over restarts of what counts
};
// Of a series ("name{labels}") over the last `last_ms`, with its value now. False: not remembered.
bool st_metric_history_span(struct st_metric_history *h, struct st_sv series, int64_t last_ms, double now,
                            struct st_metric_span *ret);

#endif
