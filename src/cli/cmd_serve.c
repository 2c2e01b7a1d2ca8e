// stella serve: the scan service.
#include "base/ckd.h"
#include "cli/cli.h"
#include "service/keys.h"
#include "store/home.h"
#include "supervisor/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *socket, *listen, *tokens, *cert, *key, *pools, *store;
};

static const struct st_opt opts[] = {
    {"socket", 0, ST_OPT_STRING_AT(struct options, socket), .arg = "PATH", .help = "where verbs and clients reach it",
     .def_text = "stella.sock in the state directory"},
    {"listen", 0, ST_OPT_STRING_AT(struct options, listen), .arg = "ADDR:PORT",
     .help = "HTTP too; other addresses than this machine's own need TLS"},
    {"tokens", 0, ST_OPT_STRING_AT(struct options, tokens), .arg = "FILE",
     .help = "bearer tokens for --listen: lines of ROLE NAME TOKEN (roles: read, submit, admin), mode 0600"},
    {"tls-cert", 0, ST_OPT_STRING_AT(struct options, cert), .arg = "FILE", .help = "certificate, PEM"},
    {"tls-key", 0, ST_OPT_STRING_AT(struct options, key), .arg = "FILE", .help = "its key, PEM"},
    {"pools", 0, ST_OPT_STRING_AT(struct options, pools), .arg = "LIST",
     .help = "make workers of these pools only, separated by commas", .def_text = "all pools"},
    {"store", 0, ST_OPT_STRING_AT(struct options, store), .arg = "URL",
     .help = "postgresql://..., a store that several hosts share", .def_text = "SQLite in the state directory",
     .env = "STELLA_STORE"},
};

// What is executed again: for workers and for an upgrade. A program that was replaced by its upgrade is "(deleted)".
static int find_self(char ret[static PATH_MAX], struct st_err *err)
{
    static const char deleted[] = " (deleted)";
    ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
    if (n <= 0)
        return st_err_sys(err, "/proc/self/exe");
    ret[n] = 0;
    if ((size_t)n > sizeof deleted && !strcmp(ret + n - (sizeof deleted - 1), deleted))
        ret[(size_t)n - (sizeof deleted - 1)] = 0;
    return 0;
}

static int check_pools(const char *list, struct st_err *err)
{
    struct st_sv rest = st_sv_of(list), name;
    while (st_sv_split(&rest, ',', &name))
        if (!st_pool_name(st_sv_trim(name)))
            return st_err_set(err, ST_E_USAGE,
                              "--pools: invalid pool name '" ST_SV_FMT "' (example: default,large-images)",
                              ST_SV_ARG(st_sv_sub(name, 0, 63)));
    return 0;
}

static int run(const struct st_call *call, struct st_err *err)
{
    const struct options *o = call->options;
    char home[PATH_MAX], socket[PATH_MAX], self[PATH_MAX];
    const struct {
        const char *name, *value;
    } given[] = {{"--socket", o->socket}, {"--listen", o->listen}, {"--tokens", o->tokens},
                 {"--tls-cert", o->cert}, {"--tls-key", o->key},   {"--pools", o->pools}};
    const char *argv[3 + 2 * ST_LEN(given)] = {"stella", "serve"};
    size_t n = 2;
    if (call->parsed->n_args)
        return st_err_set(err, ST_E_USAGE, "unexpected argument '%.100s'", call->parsed->args[0]);
    if (o->listen && !o->tokens)
        return st_err_set(err, ST_E_USAGE, "--listen needs --tokens FILE: HTTP is not answered without a token");
    if ((o->pools && check_pools(o->pools, err)) || st_home_make(home, err) || find_self(self, err) ||
        (!o->socket && st_home_file(home, "stella.sock", socket, err)))
        return -1;
    if (o->store && setenv("STELLA_STORE", o->store, 1)) // not as an argument, which everybody on this machine can read
        return st_err_nomem(err);
    for (size_t i = 0; i < ST_LEN(given); i++)
        if (given[i].value) {
            argv[n++] = given[i].name;
            argv[n++] = given[i].value;
        }
    struct st_serve_options s = {.home = home,
                                 .socket = o->socket ? o->socket : socket,
                                 .listen = o->listen,
                                 .tokens = o->tokens,
                                 .tls_cert = o->cert,
                                 .tls_key = o->key,
                                 .pools = o->pools,
                                 .self = self,
                                 .argv = (char *const *)(uintptr_t)argv};
    return st_serve(&s, err);
}

const struct st_verb st_verb_serve = {
    .words = "serve",
    .summary = "run the scan service: queue, workers, watchdog",
    .args = "",
    .about =
        "Starts stella-api (queue, configuration, HTTP), makes the workers that the configuration asks for, each in a "
        "cgroup of its own with a memory limit, and lets stella-watchdog watch them. Where no cgroup can be made it "
        "says "
        "so, and limits are kept by sampling.\n\n"
        "SIGTERM ends it: jobs in work go back into the queue without using up an attempt. SIGHUP executes a new "
        "version "
        "in place: workers and their jobs go on.",
    .opts = opts,
    .n_opts = ST_LEN(opts),
    .options_size = sizeof(struct options),
    .examples = {{"Run the service on this machine", "stella serve"},
                 {"Answer HTTP too", "stella serve --listen 127.0.0.1:8444 --tokens /etc/stella/tokens"},
                 {"Share a queue between hosts", "stella serve --store postgresql://stella@db/stella"},
                 {"Only large images here", "stella serve --pools large-images"}},
    .run = run,
};
