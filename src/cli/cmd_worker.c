// stella worker: the process of one job, started by stella serve.
#include "cli/cli.h"
#include "worker/run_job.h"

static int run_worker(const struct st_call *call, struct st_err *err)
{
    (void)call;
    return st_worker_process(err);
}

const struct st_verb st_verb_worker = {
    .words = "worker",
    .summary = "one job of the scan service",
    .args = "",
    .about =
        "A part of the scan service: stella serve starts it for each job, with its socket as descriptor 3. It is of no "
        "use to a person; stella scan image scans.",
    .examples = {{"Scan an image", "stella scan image app.tar"}, {"See what workers do", "stella scanner status"}},
    .run = run_worker,
};
