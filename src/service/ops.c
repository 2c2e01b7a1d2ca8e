// The table of operations.
#include "service/op_int.h"

const char *const st_role_words[] = {"none", "read", "submit", "admin", "worker", NULL};

#define READ ST_ROLE_READ
#define SUBMIT ST_ROLE_SUBMIT
#define ADMIN ST_ROLE_ADMIN
#define WORKER ST_ROLE_WORKER
#define V1 "/api/v1"

const struct st_op st_ops[] = {
    {"scans.submit", SUBMIT, .writes = true, .durable = true, .request = &st_record_req_submit,
     .answer = &st_record_job, .run = st_op_submit, .method = "POST", .path = V1 "/scans", .status = 202,
     .summary = "Submit an image; the same image and options are answered with the job that there is"},
    {"scans.list", READ, .many = true, .request = &st_record_req_list, .answer = &st_record_job, .run = st_op_list,
     .method = "GET", .path = V1 "/scans", .status = 200, .summary = "Jobs, newest first"},
    {"scans.get", READ, .request = &st_record_req_id, .answer = &st_record_job, .run = st_op_get, .method = "GET",
     .path = V1 "/scans/{id}", .status = 200, .summary = "One job"},
    {"scans.attempts", READ, .many = true, .request = &st_record_req_id, .answer = &st_record_attempt,
     .run = st_op_attempts, .method = "GET", .path = V1 "/scans/{id}/attempts", .status = 200,
     .summary = "The attempts of a job, with their evidence"},
    {"scans.cancel", SUBMIT, .writes = true, .durable = true, .request = &st_record_req_id, .answer = &st_record_job,
     .run = st_op_cancel, .method = "DELETE", .path = V1 "/scans/{id}", .status = 200,
     .summary = "Cancel a job that has not ended"},
    {"scans.retry", SUBMIT, .writes = true, .durable = true, .request = &st_record_req_retry, .answer = &st_record_job,
     .run = st_op_retry, .method = "POST", .path = V1 "/scans/{id}/retry", .status = 202,
     .summary = "Put a failed or cancelled job back into the queue"},
    {"queue.stats", READ, .answer = &st_record_queue_stats, .run = st_op_queue_stats, .method = "GET",
     .path = V1 "/queue/stats", .status = 200, .summary = "Depth, age, rates of the last hour"},
    {"queue.pools", READ, .many = true, .answer = &st_record_count, .run = st_op_pool_counts, .method = "GET",
     .path = V1 "/queue/pools", .status = 200, .summary = "Pending and processing jobs by pool"},
    {"sbom.stats", READ, .request = &st_record_req_last, .answer = &st_record_sbom_stats, .run = st_op_sbom_stats,
     .method = "GET", .path = V1 "/sbom/stats", .status = 200, .summary = "How many scans got their SBOM"},
    {"metrics.read", READ, .many = true, .request = &st_record_req_metrics, .answer = &st_record_metric,
     .run = st_op_metrics, .method = "GET", .path = V1 "/metrics", .status = 200,
     .summary = "The samples of /metrics, as rows"},
    {"resources.stats", READ, .answer = &st_record_resource_stats, .run = st_op_resources, .method = "GET",
     .path = V1 "/resources/stats", .status = 200, .summary = "Processors, memory and workers"},
    {"cache.stats", READ, .answer = &st_record_cache_stats, .run = st_op_cache_stats, .method = "GET",
     .path = V1 "/cache/stats", .status = 200, .summary = "What the layer cache holds, and how often it helped"},
    {"deadletter.stats", READ, .answer = &st_record_dead_stats, .run = st_op_dead_stats, .method = "GET",
     .path = V1 "/deadletter/stats", .status = 200,
     .summary = "Jobs that used up their attempts (list: scans?dead=true)"},
    {"stats.totals", READ, .request = &st_record_req_last, .answer = &st_record_stats, .run = st_op_stats,
     .method = "GET", .path = V1 "/stats", .status = 200, .summary = "What the scanner did in a window of time"},
    {"stats.reasons", READ, .many = true, .request = &st_record_req_last, .answer = &st_record_count,
     .run = st_op_reason_counts, .method = "GET", .path = V1 "/stats/reasons", .status = 200,
     .summary = "Ended jobs by status and reason"},
    {"status.get", READ, .answer = &st_record_status, .run = st_op_status, .method = "GET", .path = V1 "/status",
     .status = 200, .summary = "Is the service well"},
    {"config.list", READ, .many = true, .request = &st_record_req_key, .answer = &st_record_config,
     .run = st_op_config_list, .method = "GET", .path = V1 "/config", .status = 200,
     .summary = "Effective configuration: a key, a group, or all"},
    {"config.set", ADMIN, .writes = true, .durable = true, .request = &st_record_req_config_set,
     .answer = &st_record_config, .run = st_op_config_set, .method = "PUT", .path = V1 "/config/{key}", .status = 200,
     .summary = "Set a key"},
    {"config.unset", ADMIN, .writes = true, .durable = true, .request = &st_record_req_key, .answer = &st_record_config,
     .run = st_op_config_unset, .method = "DELETE", .path = V1 "/config/{key}", .status = 200,
     .summary = "Back to a key's default"},
    {"config.history", READ, .many = true, .request = &st_record_req_key, .answer = &st_record_config_change,
     .run = st_op_config_history, .method = "GET", .path = V1 "/config/history", .status = 200,
     .summary = "Changes of the configuration, newest first"},
    {"logs.read", READ, .many = true, .waits = true, .request = &st_record_req_logs, .answer = &st_record_log,
     .run = st_op_logs, .method = "GET", .path = V1 "/logs", .status = 200, .summary = "Lines of the log"},
    {"logs.state", READ, .answer = &st_record_logs_state, .run = st_op_logs_state, .method = "GET",
     .path = V1 "/logs/state", .status = 200, .summary = "What the log's ring has lost"},
    {"pools.list", READ, .many = true, .answer = &st_record_pool, .run = st_op_pools, .method = "GET",
     .path = V1 "/pools", .status = 200, .summary = "Named pools of workers"},
    {"workers.list", READ, .many = true, .answer = &st_record_worker, .run = st_op_workers, .method = "GET",
     .path = V1 "/workers", .status = 200, .summary = "Workers as they were last reported"},

    {"scans.newest", READ, .many = true, .request = &st_record_req_newest, .answer = &st_record_job,
     .run = st_op_newest, .method = "GET", .path = V1 "/images/newest", .status = 200,
     .summary = "The newest job of an image, or none"},
    // On the socket only: over HTTP an SBOM is a document of its own (api_results.c).
    {"scans.sbom", READ, .request = &st_record_req_sbom, .answer = &st_record_sbom_file, .run = st_op_sbom},

    {"scans.layers", READ, .many = true, .request = &st_record_req_id, .answer = &st_record_layer, .run = st_op_layers,
     .method = "GET", .path = V1 "/scans/{id}/layers", .status = 200,
     .summary = "The layers of the image that a job has read, base first"},

    {"pools.put", ADMIN, .writes = true, .durable = true, .request = &st_record_req_pool, .answer = &st_record_pool,
     .run = st_op_pool_put, .method = "PUT", .path = V1 "/pools/{name}", .status = 200,
     .summary = "Make a pool, or change its memory and count"},
    {"pools.remove", ADMIN, .writes = true, .durable = true, .request = &st_record_req_pool_name,
     .answer = &st_record_done, .run = st_op_pool_remove, .method = "DELETE", .path = V1 "/pools/{name}", .status = 200,
     .summary = "Remove a pool; its workers end with their jobs"},
    {"workers.restart", ADMIN, .writes = true, .many = true, .request = &st_record_req_restart,
     .answer = &st_record_restart, .run = st_op_restart, .method = "POST", .path = V1 "/workers/restart", .status = 202,
     .summary = "Restart workers one after the other; jobs in work go back into the queue"},

    // The supervisor's, on the socket only.
    {"pools.wanted", WORKER, .many = true, .waits = true, .request = &st_record_req_wanted, .answer = &st_record_wanted,
     .run = st_op_wanted},
    {"queue.claim", WORKER, .writes = true, .waits = true, .request = &st_record_req_claim, .answer = &st_record_job,
     .run = st_op_claim},
    {"lease.renew", WORKER, .writes = true, .request = &st_record_req_lease, .answer = &st_record_lease,
     .run = st_op_renew},
    {"lease.release", WORKER, .writes = true, .request = &st_record_req_lease, .answer = &st_record_done,
     .run = st_op_release},
    {"lease.subject", WORKER, .writes = true, .request = &st_record_req_lease, .answer = &st_record_done,
     .run = st_op_subject},
    {"job.finish", WORKER, .writes = true, .durable = true, .request = &st_record_req_end, .answer = &st_record_ended,
     .run = st_op_finish},
    {"queue.reclaim", WORKER, .writes = true, .durable = true, .request = &st_record_req_holder,
     .answer = &st_record_done, .run = st_op_reclaim},
    {"queue.sweep", WORKER, .writes = true, .many = true, .answer = &st_record_done, .run = st_op_sweep},
    {"logs.add", WORKER, .writes = true, .request = &st_record_req_log, .answer = &st_record_done,
     .run = st_op_log_add},
    {"workers.report", WORKER, .request = &st_record_req_worker, .answer = &st_record_done, .run = st_op_worker_report},
    {"workers.restarted", WORKER, .writes = true, .request = &st_record_req_restarted, .answer = &st_record_done,
     .run = st_op_worker_restarted},
    {NULL},
};

const struct st_op *st_op_find(struct st_sv name)
{
    for (const struct st_op *o = st_ops; o->name; o++)
        if (st_sv_eq(name, st_sv_of(o->name)))
            return o;
    return NULL;
}
