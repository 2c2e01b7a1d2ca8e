// The program stella-act: what the watchdog's last rung needs of Kubernetes and GitHub. A process of its own, since the
// watchdog itself has no network, allocates nothing, and must not wait.
#include "act/act_verb.h"

#include <curl/curl.h>
#include <openssl/crypto.h>

static int run_version(const struct st_call *call, struct st_err *err)
{
    st_out_fmt(call->out, "stella-act " ST_VERSION "\nrecords: " ST_ACT_RECORD_SCHEMA "\nlibraries: %s %s\n",
               curl_version(), OpenSSL_version(OPENSSL_VERSION));
    return 0;
}

static const struct st_verb verb_version = {
    .words = "version",
    .summary = "show version and libraries",
    .args = "",
    .about = "Shows the version of this program, the schema of the records that it reads, and its libraries.",
    .examples = {{"Say what goes into a bug report", "stella-act version"},
                 {"The same, as other programs spell it", "stella-act --version"}},
    .run = run_version,
};

static const struct st_verb verb_help = {
    ST_VERB_HELP,
    .max_args = 1,
    .examples = {{"See what is done in a cluster", "stella-act help kubernetes"},
                 {"See how a workflow run is ended", "stella-act help github"}},
};

static const struct st_verb *const verbs[] = {&st_verb_kubernetes, &st_verb_github, &verb_version, &verb_help, NULL};
static const struct st_group groups[] = {{NULL}};
static const char *const see_also[] = {"stella-watchdog(8)", "stella(1)", NULL};

static const struct st_term exit_codes[] = {
    {"0", "done, or nothing was to be done"},
    {"1", "failed: the message says what, where and why"},
    {"2", "bad record or usage"},
    {"3", "credentials missing, refused, or not allowed to do it"},
    {"4", "no such pod or workflow run"},
    {"10", "failed for now (network, rate limit, deadline): the same command may work later and goes on where this one "
           "ended"},
    {NULL, NULL},
};

static const struct st_term environment[] = {
    {"KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT",
     "The API server of the cluster this runs in, set by Kubernetes."},
    {"https_proxy, no_proxy", "Proxy on the way to GitHub. The API server is asked directly."},
    {"SSL_CERT_FILE", "Certificates that GitHub's is checked against, instead of the distribution's."},
    {NULL, NULL},
};

const struct st_program st_act_program = {
    .name = "stella-act",
    .section = 8,
    .summary = "say in Kubernetes and on GitHub what stella-watchdog found, and end the job there",
    .about = "stella-act reads one evidence record of stella-watchdog on standard input and does what the last rung of "
             "its ladder needs: an Event about the pod, the end of the workflow run, the deletion of its runner.",
    .description =
        "stella-act reads one evidence record of stella-watchdog on standard input and does what the last rung of its "
        "ladder needs outside of the machine: it posts an Event about the pod, ends the workflow run, and deletes the "
        "EphemeralRunner (Actions Runner Controller). It is made to be the watchdog's --hook.\n\n"
        "Each step can be repeated; everything together has one deadline; servers that are busy are asked again after "
        "the "
        "time they name. Credentials are read from files, and appear in no argument, message or output.",
    .verbs = verbs,
    .groups = groups,
    .exit_codes = exit_codes,
    .environment = environment,
    .version = &verb_version,
    .see_also = see_also,
};
