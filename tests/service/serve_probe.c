// stella serve with another worker: serve_probe WORKER [--pools LIST]. The state directory is $STELLA_HOME. An upgrade
// executes $SERVE_PROBE, or this program itself, anew.
// serve_probe submit IMAGE: submits a job to the service that runs there, prints its id.
#include "service/client.h"
#include "store/home.h"
#include "supervisor/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int print_id(void *ctx, const void *row, struct st_err *err)
{
    puts(((const struct st_job *)row)->id);
    return 0;
}

static int submit(const char *socket, const char *image)
{
    struct st_err err = {0};
    struct st_client *c;
    struct st_req_submit q = {.image = st_sv_of(image), .fresh = true};
    int rc = st_client_connect(socket, &c, &err);
    if (rc == 0) {
        rc = st_client_call(c, "scans.submit", &q, print_id, NULL, &err);
        st_client_close(c);
    }
    if (rc)
        fprintf(stderr, "serve_probe: %s\n", err.text);
    return rc ? st_err_exit_code(err.code) : 0;
}

int main(int argc, char **argv)
{
    char home[PATH_MAX], socket[PATH_MAX], self[PATH_MAX];
    struct st_err err = {0};
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (argc < 2 || n <= 0 || st_home_make(home, &err) || st_home_file(home, "stella.sock", socket, &err)) {
        fprintf(stderr, "serve_probe: %s\n", err.text);
        return 2;
    }
    self[n] = 0;
    if (argc == 3 && !strcmp(argv[1], "submit"))
        return submit(socket, argv[2]);
    const char *other = getenv("SERVE_PROBE");
    struct st_serve_options o = {.home = home,
                                 .socket = socket,
                                 .self = other ? other : self,
                                 .argv = argv,
                                 .worker = argv[1],
                                 .pools = argc > 3 && !strcmp(argv[2], "--pools") ? argv[3] : NULL};
    if (st_serve(&o, &err) == 0)
        return 0;
    fprintf(stderr, "serve_probe: %s\n", err.text);
    return st_err_exit_code(err.code);
}
