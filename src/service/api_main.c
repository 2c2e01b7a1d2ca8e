// stella-api: owns the store, answers on the socket and over HTTP.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "service/api.h"
#include "store/home.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: stella-api [--socket PATH] [--listen ADDRESS:PORT --tokens FILE [--tls-cert FILE --tls-key FILE]]\n"
    "\n"
    "Owns the job store and answers to stella on a Unix socket, and to others over HTTP.\n"
    "\n"
    "  --socket PATH          default: stella.sock in the state directory\n"
    "  --listen ADDRESS:PORT  HTTP, as 127.0.0.1:8444; other addresses than this machine's own need TLS\n"
    "  --tokens FILE          bearer tokens, lines of ROLE NAME TOKEN (roles: read, submit, admin), mode 0600\n"
    "  --tls-cert FILE        certificate, PEM\n"
    "  --tls-key FILE         its key, PEM\n"
    "  --host NAME            whose supervisor may claim jobs whose file came along (HOST/INSTALLATION); default: this "
    "host\n"
    "  --help, --version\n"
    "\n"
    "Environment:\n"
    "  STELLA_HOME            state directory\n"
    "  STELLA_STORE           postgresql://... for a store that hosts share; default: SQLite in the state directory\n"
    "\n"
    "SIGTERM ends it: answers in work are still given. SIGHUP: certificate, key and tokens are read again.\n";

enum { OPT_SOCKET = 256, OPT_LISTEN, OPT_TOKENS, OPT_CERT, OPT_KEY, OPT_HOST, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"tokens", required_argument, NULL, OPT_TOKENS},
    {"tls-cert", required_argument, NULL, OPT_CERT},
    {"tls-key", required_argument, NULL, OPT_KEY},
    {"host", required_argument, NULL, OPT_HOST},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

// 1: go on; 0: all is said; -1: wrong usage.
static int parse(int argc, char **argv, struct st_api_options *o)
{
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case OPT_SOCKET:
            o->socket = optarg;
            break;
        case OPT_LISTEN:
            o->listen = optarg;
            break;
        case OPT_TOKENS:
            o->tokens = optarg;
            break;
        case OPT_CERT:
            o->tls_cert = optarg;
            break;
        case OPT_KEY:
            o->tls_key = optarg;
            break;
        case OPT_HOST:
            o->host = optarg;
            break;
        case OPT_HELP:
            fputs(usage, stdout);
            return 0;
        case OPT_VERSION:
            puts("stella-api " ST_VERSION);
            return 0;
        default:
            return -1;
        }
    if (optind < argc) {
        fprintf(stderr, "stella-api: unexpected argument '%s'\n", argv[optind]);
        return -1;
    }
    return 1;
}

static void reload(struct st_api_http **http, const struct st_api_options *o)
{
    struct st_err err = {0};
    if (st_api_http_reload(http, o, &err))
        fprintf(stderr, "stella-api: not reloaded, all goes on as it was: %s\n", err.text);
    else
        fputs("stella-api: certificate and tokens were read again\n", stderr);
}

static int run(const struct st_api_options *o, const sigset_t *end, struct st_err *err)
{
    struct st_api *api = NULL;
    struct st_api_socket *sock = NULL;
    struct st_api_http *http = NULL;
    struct st_api_retention *retention = NULL;
    int sig, rc = st_api_new(o, &api, err);
    if (rc == 0)
        rc = st_api_socket_start(api, o->socket, &sock, err);
    if (rc == 0)
        rc = st_api_retention_start(api, o->home, &retention, err);
    if (rc == 0 && o->listen)
        rc = st_api_http_start(api, o, &http, err);
    if (rc == 0) {
        if (http)
            fprintf(stderr, "stella-api: answers at %s and on HTTP%s port %u\n", o->socket, o->tls_cert ? "S" : "",
                    st_api_http_port(http));
        else
            fprintf(stderr, "stella-api: answers at %s\n", o->socket);
        while (sigwait(end, &sig) == 0 && sig == SIGHUP)
            if (http)
                reload(&http, o);
    }
    if (api)
        st_api_stop(api);
    st_api_http_stop(http);
    st_api_socket_stop(sock);
    st_api_retention_stop(retention);
    st_api_free(api);
    return rc;
}

int main(int argc, char **argv)
{
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    struct st_api_options o = {.store = getenv("STELLA_STORE"), .host = host};
    struct st_err err = {0};
    char home[PATH_MAX], path[PATH_MAX];
    sigset_t end;
    int rc = parse(argc, argv, &o);
    if (rc <= 0)
        return rc ? 2 : 0;
    if (o.store && !o.store[0])
        o.store = NULL;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    sigaddset(&end, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &end, NULL); // threads inherit it: only sigwait takes them
    signal(SIGPIPE, SIG_IGN);
    rc = st_home_make(home, &err);
    if (rc == 0 && !o.socket) {
        rc = st_home_file(home, "stella.sock", path, &err);
        o.socket = path;
    }
    o.home = home;
    if (rc == 0)
        rc = run(&o, &end, &err);
    if (rc == 0)
        return 0;
    fprintf(stderr, "stella-api: %s\n", err.text);
    return st_err_exit_code(err.code);
}
