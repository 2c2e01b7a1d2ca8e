// A local daemon packs an image into an archive: docker's and podman's GET /images/NAME/get, over its socket.
#include "base/ckd.h"
#include "fetch/answers.h"
#include "fetch/registry_int.h"

#include <fcntl.h>
#include <stdio.h>

#define ARCHIVE_MAX (1ull << 42)

static void explain_daemon(const struct st_job *j, const struct st_http_response *r, struct st_err *err)
{
    struct st_arena a;
    struct st_error_answer says;
    st_arena_init(&a, j->reg->mem);
    st_error_parse(st_buf_sv(&r->body), &a, &says);
    if (r->status == 404)
        st_err_set(err, ST_E_NOTFOUND, ST_SV_FMT " has no image '" ST_SV_FMT "'", ST_SV_ARG(j->daemon),
                   ST_SV_ARG(st_sv_sub(j->name, 0, 200)));
    else
        st_err_set(err, ST_E_FAILED, ST_SV_FMT " answers %d: %.*s", ST_SV_ARG(j->daemon), r->status,
                   (int)ST_MIN(says.message.len, (size_t)200), says.message.ptr ? says.message.ptr : "");
    st_arena_release(&a);
}

static void export_done(void *ctx, struct st_http_response *r, const struct st_err *failure)
{
    struct st_job *j = ctx;
    struct st_err err = {0};
    j->x = NULL;
    if (failure && failure->code == ST_E_CANCELLED) {
        st_job_free(j);
        return;
    }
    if (!failure && r->status == 200) {
        j->size = j->from; // all is there: what is left in `rest` is the end
        if (j->rest.len == 0)
            st_job_free(j);
        return;
    }
    if (failure) {
        err = *failure;
        st_err_wrap(&err, ST_SV_FMT, ST_SV_ARG(j->daemon));
    } else {
        explain_daemon(j, r, &err);
    }
    st_job_fail(j, &err);
}

int st_daemon_export(struct st_registry *r, uint64_t ticket, struct st_sv path, struct st_proto_msg *m,
                     struct st_err *err)
{
    char url[ST_HTTP_URL_MAX];
    struct st_sv daemon = st_wire_sv(&m->in), name = st_wire_sv(&m->in);
    const char *socket;
    if (st_fetch_get_cstr(r, &m->in, &socket, err))
        return -1;
    if (!st_wire_ok(&m->in) || !socket || m->n_fds != 1 || path.len > sizeof url / 2)
        return st_err_set(err, ST_E_INTERNAL, "an export that makes no sense");
    struct st_job *j = st_job_new(r, ST_JOB_EXPORT, ticket, err);
    if (!j)
        return -1;
    j->out = st_take_fd(&m->fds[0]);
    j->size = UINT64_MAX;
    fcntl(j->out, F_SETFL, O_WRONLY | O_NONBLOCK);
    // The host is not looked up.
    int n = snprintf(url, sizeof url, "http://127.0.0.1" ST_SV_FMT, ST_SV_ARG(path));
    struct st_http_header host = {"Host", daemon, false};
    struct st_http_request q = {.url = st_sv_mem(url, (size_t)n),
                                .headers = &host,
                                .n_headers = 1,
                                .unix_path = socket,
                                .times = {.first_byte = 600000, .stall = 600000}, // it may pack the image first
                                .max = ARCHIVE_MAX,
                                .sink = st_job_sink,
                                .done = export_done,
                                .ctx = j};
    int rc = st_arena_dup(&r->arena, daemon, &j->daemon, err) || st_arena_dup(&r->arena, name, &j->name, err) ||
                     st_http_begin(r->http, &q, &j->x, err)
                 ? -1
                 : 0;
    if (rc)
        st_job_free(j);
    return rc;
}
