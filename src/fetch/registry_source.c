// The source as the parent describes it: endpoints, logins, certificates.
#include "base/ckd.h"
#include "fetch/registry_int.h"
#include "image/image.h"

#include <stdio.h>

// ---- what a message holds

static int get_text(struct st_registry *r, struct st_wire_in *in, struct st_sv *ret, struct st_err *err)
{
    return st_arena_dup(&r->arena, st_wire_sv(in), ret, err);
}

// Empty: NULL.
int st_fetch_get_cstr(struct st_registry *r, struct st_wire_in *in, const char **ret, struct st_err *err)
{
    struct st_sv s;
    if (get_text(r, in, &s, err))
        return -1;
    *ret = s.len ? s.ptr : NULL;
    return 0;
}

// ---- the source -----------------------------------------------------------------------------------------------------

static void trace(void *ctx, const char *line)
{
    (void)ctx;
    fprintf(stderr, "stella: %s\n", line);
}

// The operator named it, whoever leads there: "HOST" (at the scheme's port) or "HOST:PORT".
static bool is_named(struct st_sv list, const struct st_http_peer *to)
{
    char full[ST_HTTP_URL_MAX];
    struct st_sv one, host = st_sv_of(to->host);
    snprintf(full, sizeof full, "%s:%u", to->host, to->port);
    bool usual = to->port == (to->tls ? 443u : 80u);
    while (list.len && st_sv_split(&list, ',', &one))
        if (st_sv_ieq(one, st_sv_of(full)) || (usual && st_sv_ieq(one, host)))
            return true;
    return false;
}

static bool public_or_named(void *registry, const struct st_http_peer *to)
{
    const struct st_registry *r = registry;
    return to->what == ST_ADDRESS_PUBLIC || to->proxy || is_named(r->private_hosts, to);
}

static int get_endpoint(struct st_registry *r, struct st_wire_in *in, struct st_endpoint *e, struct st_err *err)
{
    if (get_text(r, in, &e->host, err) || get_text(r, in, &e->repository, err))
        return -1;
    e->flags = (unsigned)st_wire_max(in, ST_FETCH_E_ALL);
    e->auth = (enum st_auth_kind)st_wire_max(in, ST_AUTH_KIND_MAX - 1);
    if (get_text(r, in, &e->user, err) || st_secret_set(&e->secret, st_wire_sv(in), err) ||
        get_text(r, in, &e->origin, err))
        return -1;
    struct st_sv name = e->host, port;
    if (name.len && name.ptr[0] != '[')
        st_sv_cut(e->host, ':', &name, &port);
    else
        name = st_sv_sub(name, 0, st_sv_find(name, ']') + 1);
    e->loopback = st_host_is_loopback(name);
    e->tls.insecure = (e->flags & ST_FETCH_E_INSECURE) || e->loopback;
    e->tls.ca = st_buf_sv(&r->ca);
    e->tls.cert = st_buf_sv(&r->cert);
    e->tls.key = &r->key;
    return 0;
}

static int read_pem(struct st_buf *to, int fd, struct st_err *err)
{
    char part[8192];
    for (ssize_t n; (n = st_fd_read(fd, part, sizeof part)) != 0;)
        if (n < 0)
            return st_err_sys(err, "read certificates");
        else if (to->len > (4u << 20))
            return st_err_set(err, ST_E_LIMIT, "more than 4 MiB of certificates");
        else if (st_buf_add(to, st_sv_mem(part, (size_t)n), err))
            return -1;
    return st_buf_addc(to, '\n', err);
}

static int read_files(struct st_registry *r, struct st_proto_msg *m, struct st_sv system_ca, struct st_err *err)
{
    size_t i = 0;
    if (st_buf_add(&r->ca, system_ca, err) || st_buf_addc(&r->ca, '\n', err))
        return -1;
    if ((r->flags & ST_FETCH_F_CA) && (i >= m->n_fds || read_pem(&r->ca, m->fds[i++], err)))
        return -1;
    if (!(r->flags & ST_FETCH_F_CERT))
        return 0;
    if (i + 1 >= m->n_fds || read_pem(&r->cert, m->fds[i], err))
        return -1;
    return st_secret_read(&r->key, m->fds[i + 1], ST_SECRET_MAX, "the client certificate's key", err);
}

static int get_source(struct st_registry *r, struct st_proto_msg *m, struct st_sv system_ca, struct st_err *err)
{
    struct st_wire_in *in = &m->in;
    struct st_http_options o = {.mem = r->mem};
    if (st_fetch_get_cstr(r, in, &r->user_agent, err) || st_fetch_get_cstr(r, in, &r->https_proxy, err) ||
        st_fetch_get_cstr(r, in, &r->http_proxy, err) || st_fetch_get_cstr(r, in, &r->no_proxy, err))
        return -1;
    if (get_text(r, in, &r->private_hosts, err))
        return -1;
    o.bytes_per_second = st_wire_u64(in);
    r->flags = (unsigned)st_wire_max(in, ST_FETCH_F_ALL);
    if (get_text(r, in, &r->tag, err) || get_text(r, in, &r->digest, err) || read_files(r, m, system_ca, err))
        return -1;
    r->n_endpoints = (size_t)st_wire_max(in, ST_FETCH_ENDPOINTS_MAX);
    for (size_t i = 0; i < r->n_endpoints; i++)
        if (get_endpoint(r, in, &r->endpoints[i], err))
            return -1;
    if (!st_wire_ok(in))
        return st_err_set(err, ST_E_INTERNAL, "damaged source message");
    o.user_agent = r->user_agent;
    o.https_proxy = r->https_proxy;
    o.http_proxy = r->http_proxy;
    o.no_proxy = r->no_proxy;
    o.trace = r->flags & ST_FETCH_F_VERBOSE ? trace : NULL;
    o.may_connect = r->flags & ST_FETCH_F_PUBLIC_ONLY ? public_or_named : NULL;
    o.ctx = r;
    r->foreign_tls.ca = st_buf_sv(&r->ca);
    return st_http_new(&o, &r->http, err);
}

int st_registry_new(struct st_proto_msg *source, struct st_sv system_ca, int sock, struct st_mem *mem,
                    struct st_registry **ret, struct st_err *err)
{
    struct st_registry *r = st_mem_alloc(mem, sizeof *r, err);
    if (!r)
        return -1;
    r->mem = mem;
    r->sock = sock;
    st_arena_init(&r->arena, mem);
    st_map_init(&r->manifests, mem);
    struct st_buf *const bufs[] = {&r->ca, &r->cert, &r->top, &r->msg};
    for (size_t i = 0; i < ST_LEN(bufs); i++)
        st_buf_init(bufs[i], mem);
    if (get_source(r, source, system_ca, err)) {
        st_registry_free(r);
        return -1;
    }
    *ret = r;
    return 0;
}

void st_registry_free(struct st_registry *r)
{
    if (!r)
        return;
    while (r->jobs)
        st_job_free(r->jobs);
    st_http_free(r->http);
    for (size_t i = 0; i < ST_FETCH_ENDPOINTS_MAX; i++) {
        st_secret_release(&r->endpoints[i].secret);
        st_secret_release(&r->endpoints[i].authorization);
    }
    st_secret_release(&r->key);
    struct st_buf *const bufs[] = {&r->ca, &r->cert, &r->top, &r->msg};
    for (size_t i = 0; i < ST_LEN(bufs); i++)
        st_buf_release(bufs[i]);
    st_map_release(&r->manifests);
    st_arena_release(&r->arena);
    st_mem_free(r->mem, r, sizeof *r);
}
