// stella-act github: end the workflow run of a record.
#include "act/act_verb.h"

#include "base/ckd.h"

static const struct st_opt options[] = {ST_ACT_COMMON_ROWS, ST_ACT_GITHUB_ROWS};

static void write_result(const struct st_call *call, const struct st_act_record *r, const char *word, const char *text)
{
    struct st_json_out w;
    const struct st_act_options *opt = call->options;
    if (opt->format == ST_ACT_TEXT && r->run_id == 0) {
        st_out_fmt(call->out, "the run, which the record does not name, %s\n", text);
        return;
    }
    if (opt->format == ST_ACT_TEXT) {
        st_out_fmt(call->out, "run %llu of ", (unsigned long long)r->run_id);
        st_out_safe(call->out, r->repository);
        st_out_fmt(call->out, " %s\n", text);
        return;
    }
    st_json_out_init(&w, call->out, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "schema", ST_SV("stella-act/1"));
    st_json_kv(&w, "record", r->id);
    st_json_key(&w, "run");
    st_json_open(&w, '{');
    st_json_kv(&w, "repository", r->repository);
    st_json_key(&w, "id");
    st_json_u64(&w, r->run_id);
    st_json_kv(&w, "outcome", st_sv_of(word));
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    st_out_putc(call->out, '\n');
}

static int act(const struct st_call *call, struct st_act_run *run, struct st_err *err)
{
    const struct st_act_options *opt = call->options;
    const struct st_act_record *r = &run->record;
    struct st_github_options github;
    enum st_github_outcome outcome;
    if (st_act_run_read_record(run, opt->record, err))
        return -1;
    if (!st_act_run_ends(run, opt)) {
        write_result(call, r, "kept", "is left alone");
        return 0;
    }
    if (r->repository.len == 0 || r->run_id == 0)
        return st_err_set(err, ST_E_INPUT,
                          "record: it names no workflow run (the culprit's environment had none, or could "
                          "not be read)");
    const struct st_github_run of = {
        .repository = r->repository, .id = r->run_id, .attempt = r->run_attempt, .api_url = r->api_url};
    if (st_act_run_github(run, opt, &github, err) || st_github_cancel(&run->github_call, &github, &of, &outcome, err))
        return -1;
    write_result(call, r, st_github_outcome_word(outcome), st_github_outcome_text(outcome));
    return 0;
}

static int run_github(const struct st_call *call, struct st_err *err)
{
    struct st_act_run run;
    int rc = st_act_run_init(&run, call->options, err);
    if (rc == 0)
        rc = act(call, &run, err);
    st_act_run_release(&run);
    return rc;
}

const struct st_verb st_verb_github = {
    .words = "github",
    .summary = "cancel, then force-cancel, the workflow run of a record",
    .args = "",
    .about =
        "Reads one evidence record of stella-watchdog and ends the workflow run that it names. GitHub cannot cancel "
        "one "
        "job: the whole run ends, sibling jobs of a matrix included. So this is the last thing to do, and it is done "
        "only "
        "when the record asks for it, or with --end always.\n\n"
        "The run is cancelled first; if it has not ended after --force-after, it is force-cancelled, since a runner "
        "that "
        "hangs does not obey a cancel. A run that has ended, or was started again since, is left alone, so that the "
        "command can be repeated.\n\n"
        "What the record says about the run comes from the environment of a process of the job, which may lie. "
        "Credentials go to --api-url only; with --allow, only runs of those repositories are ended. In a cluster with "
        "ARC, "
        "stella-act kubernetes --cancel-run asks the controller's own record instead.\n\n"
        "With a GitHub App (which needs the permission actions: write) the token is asked for that one repository. "
        "A dry run asks for it too, and looks at the run.",
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct st_act_options),
    .examples = {{"Try the credentials on a record that was kept",
                  "stella-act github --record record.json --credentials /etc/stella/github --end always --dry-run"},
                 {"As the watchdog's hook, for one organization's runs",
                  "stella-watchdog run --match '/sys/fs/cgroup/ci/*' --hook 'stella-act github -c /etc/stella/github "
                  "-a acme'"}},
    .run = run_github,
};
