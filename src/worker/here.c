#include "worker/here.h"

#include "base/ckd.h"

#include <stdio.h>

// ---- how each is opened ---------------------------------------------------------------------------------------------

static int daemon_open(enum st_daemon d, const struct st_reference *ref, const struct st_pull_options *opt,
                       struct st_here *ret, struct st_err *err)
{
    int fd;
    uint64_t ticket;
    if (st_pull_export(d, ref->name, opt, &ret->pull, &fd, &ticket, err))
        return -1;
    ret->opened = (struct st_opened){
        .kind = ST_OPENED_STREAM, .fd = fd, .dirfd = -1, .remote = st_pull_remote(ret->pull), .ticket = ticket};
    return 0;
}

static int docker_open(const struct st_reference *ref, const struct st_pull_options *opt, struct st_here *ret,
                       struct st_err *err)
{
    return daemon_open(ST_DAEMON_DOCKER, ref, opt, ret, err);
}

static int podman_open(const struct st_reference *ref, const struct st_pull_options *opt, struct st_here *ret,
                       struct st_err *err)
{
    return daemon_open(ST_DAEMON_PODMAN, ref, opt, ret, err);
}

static struct st_local_options local_options(const struct st_pull_options *opt, const struct st_here *h)
{
    return (struct st_local_options){opt->deadline_ms, opt->interrupted, h->stream, h->threads};
}

static int containerd_open(const struct st_reference *ref, const struct st_pull_options *opt, struct st_here *ret,
                           struct st_err *err)
{
    struct st_local_options o = local_options(opt, ret);
    return st_local_containerd(ref, &o, &ret->opened, err);
}

static int storage_open(const struct st_reference *ref, const struct st_pull_options *opt, struct st_here *ret,
                        struct st_err *err)
{
    struct st_local_options o = local_options(opt, ret);
    return st_local_storage(ref, &o, &ret->local, &ret->opened, err);
}

static bool docker_there(const struct st_reference *ref, struct st_err *err)
{
    (void)ref;
    return st_pull_daemon_there(ST_DAEMON_DOCKER, err);
}

static bool podman_there(const struct st_reference *ref, struct st_err *err)
{
    (void)ref;
    return st_pull_daemon_there(ST_DAEMON_PODMAN, err);
}

// ---- the table ------------------------------------------------------------------------------------------------------

// A daemon may have what a store has too: it knows short names and what it is about to change.
static const struct place {
    enum st_source_choice from;
    const char *name, *absent;
    bool (*there)(const struct st_reference *ref, struct st_err *err);
    int (*open)(const struct st_reference *ref, const struct st_pull_options *opt, struct st_here *ret,
                struct st_err *err);
} places[] = {
    {ST_FROM_DOCKER, "docker", "not running", docker_there, docker_open},
    {ST_FROM_PODMAN, "podman", "not running", podman_there, podman_open},
    {ST_FROM_CONTAINERD, "containerd", "none here", st_local_containerd_there, containerd_open},
    {ST_FROM_STORAGE, "containers-storage", "none here", st_local_storage_there, storage_open},
};

static const struct place *place_of(enum st_source_choice from)
{
    for (size_t i = 0; i < ST_LEN(places); i++)
        if (places[i].from == from)
            return &places[i];
    return NULL;
}

const char *st_here_name(enum st_source_choice from)
{
    return place_of(from)->name;
}

enum st_source_choice st_here_of(const char *source_name)
{
    for (size_t i = 0; i < ST_LEN(places); i++)
        if (strcmp(places[i].name, source_name) == 0)
            return places[i].from;
    return ST_FROM_ANY;
}

int st_here_open(enum st_source_choice from, const struct st_reference *ref, const struct st_pull_options *opt,
                 struct st_here *ret, struct st_err *err)
{
    return place_of(from)->open(ref, opt, ret, err);
}

static void add_tried(char tried[static ST_HERE_TRIED], const char *name, const char *what)
{
    size_t n = strlen(tried);
    snprintf(tried + n, ST_HERE_TRIED - n, "%s%s (%s)", n ? ", " : "", name, what);
}

int st_here_any(const struct st_reference *ref, const struct st_pull_options *opt, struct st_here *ret,
                enum st_source_choice *ret_from, char tried[static ST_HERE_TRIED], struct st_err *err)
{
    tried[0] = '\0';
    for (size_t i = 0; i < ST_LEN(places); i++) {
        const struct place *p = &places[i];
        struct st_err why = {0};
        if (!p->there(ref, &why)) {
            add_tried(tried, p->name, why.code == ST_E_NOTFOUND ? p->absent : "may not be read");
            continue;
        }
        if (p->open(ref, opt, ret, &why) == 0) {
            *ret_from = p->from;
            return 1;
        }
        if (why.code == ST_E_CANCELLED || why.code == ST_E_TIMEOUT) {
            if (err)
                *err = why;
            return -1;
        }
        add_tried(tried, p->name, why.code == ST_E_NOTFOUND ? "no such image" : "cannot be read");
    }
    return 0;
}

void st_here_close(struct st_here *h)
{
    st_pull_close(h->pull);
    st_local_close(h->local);
    h->pull = NULL;
    h->local = NULL;
}
