// Every metric of the service, once: GET /metrics prints them, metrics.read gives them as rows, stella obs metrics
// reads those. Names are operator-surface 3.1's; label values are fixed sets, exported from 0 on, but for pools and
// workers.
#ifndef ST_SERVICE_API_METRICS_H
#define ST_SERVICE_API_METRICS_H

#include "service/live.h"

enum st_metric_kind { ST_METRIC_COUNTER, ST_METRIC_GAUGE, ST_METRIC_HISTOGRAM };
extern const char *const st_metric_kind_words[]; // NULL ends

struct st_metric_label {
    const char *name;
    struct st_sv value;
};
#define ST_METRIC_LABELS 2
struct st_sample {
    const char *family, *help;
    enum st_metric_kind kind;
    const char *suffix;                              // of a histogram: "_bucket", "_sum", "_count"; else ""
    struct st_metric_label labels[ST_METRIC_LABELS]; // name NULL: none
    const double *le;                                // of a bucket that is not the last: its bound
    bool last_bucket;
    double value;
};
// Samples of one family come one after the other. Borrowed until it returns.
typedef int st_sample_fn(void *ctx, const struct st_sample *s, struct st_err *err);
// l NULL (no service): only what the store knows.
int st_metrics_walk(struct st_store *s, struct st_live *l, st_sample_fn *fn, void *ctx, struct st_err *err);
// "name{label="value"}" in `buf`; false when it does not fit.
bool st_sample_name(const struct st_sample *s, char *buf, size_t n, struct st_sv *ret);
// The text of GET /metrics: exposition format 0.0.4 of Prometheus.
int st_metrics_write(struct st_store *s, struct st_live *l, struct st_out *o, struct st_err *err);

#endif
