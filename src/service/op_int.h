// The functions behind the table of operations.
#ifndef ST_SERVICE_OP_INT_H
#define ST_SERVICE_OP_INT_H

#include "service/op.h"

// By hand: clang-format 14 moves one row at each run.
// clang-format off
#define ST_OP_FUNCTIONS(X) \
    X(list) X(newest) X(sbom) X(layers) X(get) X(attempts) X(submit) X(cancel) X(retry) X(claim) X(renew) X(release) X(subject) X(finish) \
    X(reclaim) X(sweep) X(queue_stats) X(pool_counts) X(reason_counts) X(sbom_stats) X(stats) X(config_list) \
    X(config_set) X(config_unset) X(config_history) X(logs) X(logs_state) X(log_add) X(pools) X(pool_put) \
    X(pool_remove) X(wanted) X(restart) X(workers) X(worker_report) X(worker_restarted) X(status) X(metrics) \
    X(resources) X(cache_stats) X(dead_stats)
// clang-format on
#define ST_OP_DECLARE(name) int st_op_##name(const struct st_op_call *c, struct st_err *err);
ST_OP_FUNCTIONS(ST_OP_DECLARE)
#undef ST_OP_DECLARE

#endif
