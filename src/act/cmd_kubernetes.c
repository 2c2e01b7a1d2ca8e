// stella-act kubernetes: say it in an Event, end the workflow run, delete the EphemeralRunner; or find zombies.
#include "act/act_verb.h"

#include "base/ckd.h"
#include "base/quantity.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#define CA_MAX (1024u * 1024)

static const struct st_opt options[] = {
    ST_ACT_COMMON_ROWS,
    {"server", 's', ST_OPT_STRING_AT(struct st_act_options, server), .arg = "URL", .help = "Kubernetes API server",
     .def_text = "that of the cluster this runs in"},
    {"token-file", 0, ST_OPT_STRING_AT(struct st_act_options, token_file), .arg = "FILE",
     .def = ST_KUBE_SERVICE_ACCOUNT "/token", .help = "bearer token, read again for every request"},
    {"ca-file", 0, ST_OPT_STRING_AT(struct st_act_options, ca_file), .arg = "FILE",
     .def = ST_KUBE_SERVICE_ACCOUNT "/ca.crt", .help = "certificates that the API server's is checked against, PEM"},
    {"node", 0, ST_OPT_STRING_AT(struct st_act_options, node), .arg = "NAME", .env = "NODE_NAME",
     .help = "look for the pod on this node only"},
    {"namespace", 0, ST_OPT_STRING_AT(struct st_act_options, namespace), .arg = "NAME",
     .help = "look in this namespace only"},
    {"cancel-run", 0, ST_OPT_FLAG_AT(struct st_act_options, cancel_run),
     .help = "cancel the workflow run before the runner is deleted (the whole run ends, sibling jobs included)"},
    ST_ACT_GITHUB_ROWS,
    {"find-zombies", 'z', ST_OPT_FLAG_AT(struct st_act_options, find_zombies),
     .help = "read no record; list EphemeralRunners that count as running and are dead"},
    {"older-than", 0, ST_OPT_DURATION_AT(struct st_act_options, older_s), .arg = "TIME", .def = "10m",
     .help = "a zombie is one for this long"},
};

// What was found and done, for standard output.
struct result {
    struct st_pod pod;
    struct st_runner runner;
    bool has_runner, cancel;
    struct st_sv repository;
    uint64_t run_id;
    const char *event, *deleted, *run;                // words
    const char *event_text, *deleted_text, *run_text; // for people
};

static const struct {
    const char *word, *text;
} events[] = {[ST_KUBE_EVENT_NEW] = {"new", "posted"},
              [ST_KUBE_EVENT_AGAIN] = {"again", "counted in its series"},
              [ST_KUBE_EVENT_KNOWN] = {"known", "was posted for this record before"},
              [ST_KUBE_EVENT_DRY] = {"dry-run", "would be posted"}},
  deletes[] = {[ST_KUBE_DELETED] = {"deleted", "deleted"},
               [ST_KUBE_GONE] = {"gone", "was gone already"},
               [ST_KUBE_DELETING] = {"deleting", "is being deleted already"},
               [ST_KUBE_DELETE_DRY] = {"dry-run", "would be deleted"}};

static void text_line(struct st_out *o, const char *head, struct st_sv namespace, struct st_sv name, const char *text)
{
    st_out_puts(o, head);
    st_out_safe(o, namespace);
    st_out_putc(o, namespace.len ? '/' : ' ');
    st_out_safe(o, name);
    st_out_fmt(o, ": %s\n", text);
}

static void write_text(struct st_out *o, const struct result *x)
{
    text_line(o, "Event about pod ", x->pod.namespace, x->pod.name, x->event_text);
    if (x->run) {
        st_out_fmt(o, "run %llu of ", (unsigned long long)x->run_id);
        st_out_safe(o, x->repository);
        st_out_fmt(o, ": %s\n", x->run_text);
    }
    if (x->has_runner)
        text_line(o, "EphemeralRunner ", x->runner.namespace, x->runner.name, x->deleted_text);
}

static void write_json(struct st_out *o, const struct st_act_record *r, const struct result *x)
{
    struct st_json_out w;
    st_json_out_init(&w, o, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "schema", ST_SV("stella-act/1"));
    st_json_kv(&w, "record", r->id);
    st_json_key(&w, "pod");
    st_json_open(&w, '{');
    st_json_kv(&w, "namespace", x->pod.namespace);
    st_json_kv(&w, "name", x->pod.name);
    st_json_kv(&w, "uid", x->pod.uid);
    st_json_kv(&w, "container", x->pod.container);
    st_json_close(&w, '}');
    st_json_kv(&w, "event", st_sv_of(x->event));
    st_json_key(&w, "runner");
    if (x->has_runner) {
        st_json_open(&w, '{');
        st_json_kv(&w, "name", x->runner.name);
        st_json_kv(&w, "uid", x->runner.uid);
        st_json_kv(&w, "outcome", st_sv_of(x->deleted));
        st_json_close(&w, '}');
    } else {
        st_json_null(&w);
    }
    st_json_key(&w, "run");
    if (x->run) {
        st_json_open(&w, '{');
        st_json_kv(&w, "repository", x->repository);
        st_json_key(&w, "id");
        st_json_u64(&w, x->run_id);
        st_json_kv(&w, "outcome", st_sv_of(x->run));
        st_json_close(&w, '}');
    } else {
        st_json_null(&w);
    }
    st_json_close(&w, '}');
    st_out_putc(o, '\n');
}

// ---- the steps ------------------------------------------------------------------------------------------------------

// The first failure is what the program ends with; later ones are said at once.
static void keep(struct st_err *first, const struct st_err *err)
{
    if (first->code == ST_E_NONE)
        *first = *err;
    else
        st_program_print_error("stella-act", err);
}

// ARC's own word about the run; the job's only where --allow bounds what a lie could do.
static bool choose_run(const struct st_act_options *opt, const struct st_act_record *r, const struct result *x,
                       struct st_github_run *ret)
{
    bool claimed = r->repository.len && r->run_id;
    if (x->has_runner && x->runner.repository.len && x->runner.run_id) {
        bool same = st_sv_ieq(r->repository, x->runner.repository) && r->run_id == x->runner.run_id;
        if (claimed && !same)
            st_act_say("the job claims another run than ARC has for this runner: ARC's is taken");
        *ret = (struct st_github_run){
            .repository = x->runner.repository, .id = x->runner.run_id, .attempt = same ? r->run_attempt : 0};
        return true;
    }
    if (claimed && opt->allow.n) {
        *ret = (struct st_github_run){
            .repository = r->repository, .id = r->run_id, .attempt = r->run_attempt, .api_url = r->api_url};
        return true;
    }
    st_act_say(
        claimed ? "ARC knows no run of this runner; the job's own claim counts only with --allow: no run is cancelled"
                : "no workflow run is known: none is cancelled");
    return false;
}

static int cancel_run(struct st_act_run *run, const struct st_act_options *opt, struct result *x, struct st_err *err)
{
    struct st_github_options github;
    struct st_github_run of;
    enum st_github_outcome outcome;
    if (!choose_run(opt, &run->record, x, &of))
        return 0;
    x->repository = of.repository;
    x->run_id = of.id;
    x->run = "failed";
    x->run_text = "not cancelled";
    if (st_act_run_github(run, opt, &github, err) || st_github_cancel(&run->github_call, &github, &of, &outcome, err))
        return -1;
    x->run = st_github_outcome_word(outcome);
    x->run_text = st_github_outcome_text(outcome);
    return 0;
}

static int find_runner(struct st_kube *k, struct result *x, struct st_err *err)
{
    if (x->pod.runner.len == 0) {
        st_act_say("pod " ST_SV_FMT "/" ST_SV_FMT " is not of ARC: there is no EphemeralRunner",
                   ST_SV_ARG(x->pod.namespace), ST_SV_ARG(x->pod.name));
        return 0;
    }
    struct st_err inner = {0};
    if (st_kube_find_runner(k, &x->pod, &x->runner, &inner) == 0) {
        x->has_runner = true;
        return 0;
    }
    if (inner.code == ST_E_NOTFOUND) {
        st_act_say("%s", inner.text);
        return 0;
    }
    *err = inner;
    return -1;
}

static int act(struct st_act_run *run, struct st_kube *k, const struct st_call *call, struct st_err *err)
{
    const struct st_act_options *opt = call->options;
    struct result x = {.event = "failed", .event_text = "not posted", .deleted = "kept", .deleted_text = "kept"};
    struct st_err first = {0}, one = {0};
    struct st_pod_ref ref;
    enum st_kube_event event;
    enum st_kube_delete deleted;
    if (st_act_run_read_record(run, opt->record, err) || st_pod_ref_read(run->record.cgroup_path, &ref, err))
        return -1;
    if (st_kube_find_pod(k, &ref, &x.pod, err))
        return -1;
    bool ends = st_act_run_ends(run, opt);
    if (find_runner(k, &x, &one))
        keep(&first, &one);
    if (st_kube_post_event(k, &run->record, &x.pod, ends && x.pod.runner.len, &event, &one)) {
        keep(&first, &one);
    } else {
        x.event = events[event].word;
        x.event_text = events[event].text;
    }
    if (ends && opt->cancel_run && cancel_run(run, opt, &x, &one))
        keep(&first, &one);
    if (ends && x.has_runner) {
        x.deleted = "failed";
        x.deleted_text = "not deleted";
        if (st_kube_delete_runner(k, &x.runner, &deleted, &one)) {
            keep(&first, &one);
        } else {
            x.deleted = deletes[deleted].word;
            x.deleted_text = deletes[deleted].text;
        }
    }
    if (opt->format == ST_ACT_JSON)
        write_json(call->out, &run->record, &x);
    else
        write_text(call->out, &x);
    if (first.code == ST_E_NONE)
        return 0;
    *err = first;
    return -1;
}

// ---- zombies --------------------------------------------------------------------------------------------------------

struct zombies {
    struct st_kube *kube;
    const struct st_act_options *opt;
    struct st_out *out;
    unsigned n, deletable;
    struct st_err first;
};

static void write_zombie(struct zombies *z, const struct st_runner *r, enum st_zombie what, uint64_t seconds,
                         const char *outcome)
{
    struct st_out *o = z->out;
    if (z->opt->format == ST_ACT_TEXT) {
        char time[ST_QUANTITY_TEXT];
        st_duration_human(seconds, time);
        st_out_safe(o, r->namespace);
        st_out_putc(o, '/');
        st_out_safe(o, r->name);
        st_out_fmt(o, ": %s, for %s: %s", st_zombie_word(what), time, st_zombie_text(what));
        st_out_fmt(o, "%s%s\n", outcome ? "; " : "", outcome ? outcome : "");
        return;
    }
    struct st_json_out w;
    st_json_out_init(&w, o, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "schema", ST_SV("stella-act/1"));
    st_json_kv(&w, "namespace", r->namespace);
    st_json_kv(&w, "name", r->name);
    st_json_kv(&w, "uid", r->uid);
    st_json_kv(&w, "zombie", st_sv_of(st_zombie_word(what)));
    st_json_key(&w, "seconds");
    st_json_u64(&w, seconds);
    st_json_kv(&w, "repository", r->repository);
    st_json_key(&w, "run_id");
    st_json_u64(&w, r->run_id);
    st_json_kv(&w, "outcome", st_sv_of(outcome ? outcome : "kept"));
    st_json_close(&w, '}');
    st_out_putc(o, '\n');
}

static int one_zombie(void *ctx, const struct st_runner *r, enum st_zombie what, uint64_t seconds, struct st_err *err)
{
    struct zombies *z = ctx;
    const char *outcome = NULL;
    (void)err;
    z->n++;
    z->deletable += st_zombie_may_delete(what);
    if (z->opt->when == ST_ACT_WHEN_ALWAYS && st_zombie_may_delete(what)) {
        enum st_kube_delete deleted;
        struct st_err one = {0};
        if (st_kube_delete_runner(z->kube, r, &deleted, &one)) {
            keep(&z->first, &one);
            outcome = "failed";
        } else {
            outcome = deletes[deleted].word;
        }
    }
    write_zombie(z, r, what, seconds, outcome);
    return 0;
}

static int find_zombies(struct st_kube *k, const struct st_call *call, struct st_err *err)
{
    const struct st_act_options *opt = call->options;
    struct zombies z = {.kube = k, .opt = opt, .out = call->out};
    if (st_kube_zombies(k, opt->older_s, one_zombie, &z, err))
        return -1;
    if (z.n == 0)
        st_act_say("no zombies");
    else if (z.deletable && opt->when != ST_ACT_WHEN_ALWAYS)
        st_act_say("%u of %u can be deleted: --find-zombies --end always", z.deletable, z.n);
    if (z.first.code == ST_E_NONE)
        return 0;
    *err = z.first;
    return -1;
}

// ---- the run --------------------------------------------------------------------------------------------------------

static int open_kube(struct st_act_run *run, const struct st_act_options *opt, const struct st_parsed *parsed,
                     const struct utsname *host, struct st_kube *ret, struct st_err *err)
{
    *ret = (struct st_kube){.call = &run->call,
                            .server = opt->server,
                            .token_file = opt->token_file,
                            .node = opt->node,
                            .namespace = opt->namespace,
                            .instance = opt->node ? opt->node : host->nodename};
    st_arena_init(&ret->pages, &run->mem);
    if (!ret->server && st_kube_in_cluster(&run->call, &ret->server, err))
        return -1;
    // A server named by hand need not be the cluster's: its certificate and token are then to be named too.
    if (opt->server && st_opt_source(parsed, "token-file") == ST_FROM_DEFAULT)
        ret->token_file = NULL;
    if (opt->server && st_opt_source(parsed, "ca-file") == ST_FROM_DEFAULT)
        return 0;
    return st_act_file(&run->call, opt->ca_file, CA_MAX, &ret->tls.ca, err);
}

static int run_kubernetes(const struct st_call *call, struct st_err *err)
{
    const struct st_act_options *opt = call->options;
    struct st_act_run run;
    struct st_kube k = {0};
    struct utsname host = {.nodename = "unknown"};
    uname(&host);
    int rc = st_act_run_init(&run, opt, err);
    if (rc == 0)
        rc = open_kube(&run, opt, call->parsed, &host, &k, err);
    if (rc == 0)
        rc = opt->find_zombies ? find_zombies(&k, call, err) : act(&run, &k, call, err);
    st_arena_release(&k.pages);
    st_act_run_release(&run);
    return rc;
}

const struct st_verb st_verb_kubernetes = {
    .words = "kubernetes",
    .summary = "post an Event about a record's pod, delete its EphemeralRunner",
    .args = "",
    .about =
        "Reads one evidence record of stella-watchdog, finds the pod of its cgroup and the EphemeralRunner that owns "
        "the "
        "pod, and posts an Event about the pod (a repeated one counts in its series). When the record asks for it "
        "(the container was killed, or the watchdog hands over), or with --end always, the EphemeralRunner is deleted, "
        "with a uid precondition. When only a process of a step was killed, nothing is deleted: the runner lives, "
        "reports "
        "the failure with its log, and is removed by its controller.\n\n"
        "Deleting alone does not end a hang: the controller waits, without end, until GitHub says that the job is "
        "over. "
        "--cancel-run cancels the workflow run first, with the run that the controller has recorded.\n\n"
        "--find-zombies lists EphemeralRunners that count as running although their container is dead or their pod is "
        "gone, those whose pod was made again, and those whose deletion hangs. With --end always the first two kinds "
        "are "
        "deleted.\n\n"
        "Every step can be repeated: what is done already is left as it is.",
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct st_act_options),
    .examples = {{"As the watchdog's hook in a DaemonSet",
                  "stella-watchdog run --match '**/*kubepods*/**' --hook 'stella-act kubernetes'"},
                 {"See what a record would lead to",
                  "stella-act kubernetes --record record.json --end always --dry-run"},
                 {"List dead runners that count as running", "stella-act kubernetes --find-zombies"},
                 {"Delete them, in one namespace",
                  "stella-act kubernetes --find-zombies --namespace arc-runners --end always"}},
    .run = run_kubernetes,
};
