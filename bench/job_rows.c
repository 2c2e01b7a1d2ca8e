// What 50 rows of the job list cost, as instructions: valgrind --tool=callgrind job_rows 101, less job_rows 1, by 100.
#include "service/op.h"

#include <stdio.h>
#include <stdlib.h>

#define ROWS 50

static const struct st_job job = {
    .id = "0123456789abcdef0123456789abcdef",
    .state = ST_JOB_COMPLETED,
    .priority = ST_PRIORITY_NORMAL,
    .image = ST_SV_INIT("registry.example/team/app:1.2.3"),
    .digest = ST_SV_INIT("sha256:42fa6506c9805dbc8016470a1004cf698db1c3c29643ac60fb22e2e644cab20e"),
    .pool = ST_SV_INIT("default"),
    .options = ST_SV_INIT("{\"formats\":\"spdx-json,purls\",\"timeoutSeconds\":1200}"),
    .result = ST_SV_INIT("cyclonedx-json,purls"),
    .host = ST_SV_INIT("host"),
    .unknowns = 1,
    .packages = 393,
    .size = 266000000,
    .has_size = true,
    .peak_bytes = 12345678,
    .fence = 1,
    .created_ms = 1795646138445,
    .started_ms = 1795646138545,
    .updated_ms = 1795646139445,
    .attempt = 1,
    .tries = 1,
    .ended = true};

int main(int argc, char **argv)
{
    long times = argc > 1 ? atol(argv[1]) : 1;
    struct st_mem mem;
    struct st_err err = {0};
    size_t bytes = 0;
    st_mem_init(&mem, 4 << 20, -1);
    for (long k = 0; k < times; k++) {
        struct st_buf b;
        struct st_out o;
        struct st_json_out w;
        st_buf_init(&b, &mem);
        st_out_init_buf(&o, &b);
        st_json_out_init(&w, &o, 0);
        st_json_open(&w, '[');
        for (int i = 0; i < ROWS; i++)
            st_record_write(&w, &st_record_job, &job);
        st_json_close(&w, ']');
        if (st_out_finish(&o, &err)) {
            fprintf(stderr, "job_rows: %s\n", err.text);
            return 1;
        }
        bytes = b.len;
        st_buf_release(&b);
    }
    st_mem_release(&mem);
    printf("%d rows, %zu bytes\n", ROWS, bytes);
    return 0;
}
