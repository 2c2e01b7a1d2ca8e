// stella doctor run, list, export.
#include "base/ckd.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/doctor_report.h"

#include <stdio.h>

struct raw {
    struct st_opt_list check;
    const char *severity, *output;
    int format;
    bool quick, verbose, logs;
};

enum { TEXT, TABLE, JSON, MARKDOWN };
static const struct st_choice formats[] = {
    {"text", TEXT}, {"table", TABLE}, {"json", JSON}, {"markdown", MARKDOWN}, {NULL}};
static const struct st_choice list_formats[] = {{"table", TABLE}, {"json", JSON}, {NULL}};

static void check_ids(struct st_out *o)
{
    for (const struct st_doctor_check *c = st_doctor_checks; c->id; c++)
        st_out_fmt(o, "%s%s", c == st_doctor_checks ? "" : " ", c->id);
}

static const struct st_opt run_options[] = {
    {"check", 'c', ST_OPT_LIST_AT(struct raw, check), .arg = "ID", .words = check_ids,
     .help = "only this check; repeatable (stella doctor list shows them)"},
    {"severity", 's', ST_OPT_STRING_AT(struct raw, severity), .arg = "WORD,...",
     .help = "show only these results: pass, skip, warn, fail; with warn among them a warning is exit code 1 too"},
    {"quick", 'q', ST_OPT_FLAG_AT(struct raw, quick), .help = "leave out what starts a process or reads a directory"},
    {"verbose", 'v', ST_OPT_FLAG_AT(struct raw, verbose), .help = "evidence also of what passed"},
    {"format", 'f', ST_OPT_ENUM_AT(struct raw, format), .arg = "FORMAT", .help = "what to print", .def = "text",
     .choices = formats},
};
static const struct st_opt list_options[] = {
    {"format", 'f', ST_OPT_ENUM_AT(struct raw, format), .arg = "FORMAT", .help = "what to print", .def = "table",
     .choices = list_formats},
};
static const struct st_opt export_options[] = {
    {"output", 'o', ST_OPT_STRING_AT(struct raw, output), .arg = "FILE",
     .help = "the tar archive to write; - is standard output", .def = "stella-doctor.tar"},
    {"include-logs", 0, ST_OPT_FLAG_AT(struct raw, logs), .help = "also the last day of the log, at most 4 MiB of it"},
    {"quick", 'q', ST_OPT_FLAG_AT(struct raw, quick), .help = "leave out what starts a process or reads a directory"},
};

// ---- run ----------------------------------------------------------------------------------------

static int read_severity(const char *text, unsigned *ret, struct st_err *err)
{
    struct st_sv rest = st_sv_of(text), word;
    *ret = 0;
    while (st_sv_split(&rest, ',', &word)) {
        size_t i = 0;
        while (i < ST_DOCTOR_RESULTS && !st_sv_eq(word, st_sv_of(st_doctor_result_words[i])))
            i++;
        if (i == ST_DOCTOR_RESULTS)
            return st_err_set(err, ST_E_USAGE, "invalid value '" ST_SV_FMT "' for --severity (pass, skip, warn, fail)",
                              ST_SV_ARG(st_sv_sub(word, 0, 60)));
        *ret |= 1u << i;
    }
    return *ret ? 0 : st_err_set(err, ST_E_USAGE, "--severity needs a word (pass, skip, warn, fail)");
}

static int choose(const struct raw *r, struct st_doctor_report *rep, struct st_err *err)
{
    for (size_t i = 0; i < r->check.n; i++) {
        const struct st_doctor_check *c = st_doctor_find(st_sv_of(r->check.at[i]), err);
        if (!c)
            return -1;
        rep->chosen |= 1ull << (c - st_doctor_checks);
    }
    if (!r->check.n)
        rep->chosen = UINT64_MAX;
    rep->shown = UINT32_MAX;
    return r->severity ? read_severity(r->severity, &rep->shown, err) : 0;
}

static int run_doctor(const struct st_call *call, struct st_err *err)
{
    static void (*const writers[])(const struct st_doctor_report *, struct st_out *) = {
        [TEXT] = st_doctor_text, [TABLE] = st_doctor_table, [JSON] = st_doctor_json, [MARKDOWN] = st_doctor_markdown};
    const struct raw *r = call->options;
    struct st_doctor_report rep = {.verbose = r->verbose};
    if (choose(r, &rep, err))
        return -1;
    st_doctor_examine(&rep, r->quick);
    writers[r->format](&rep, call->out);
    size_t bad = rep.counts[ST_DOCTOR_FAIL];
    if (r->severity && rep.shown >> ST_DOCTOR_WARN & 1)
        bad += rep.counts[ST_DOCTOR_WARN];
    if (!bad)
        return 0;
    return st_err_set(err, ST_E_FAILED, "%zu of %zu checks %s", bad, rep.n,
                      rep.counts[ST_DOCTOR_FAIL] == bad ? "failed" : "failed or warn");
}

// ---- list ---------------------------------------------------------------------------------------

static int run_list(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_json_out w;
    if (r->format == TABLE) {
        st_out_fmt(call->out, "%-30s %s\n", "CHECK", "LOOKS AT");
        for (const struct st_doctor_check *c = st_doctor_checks; c->id; c++)
            st_out_fmt(call->out, "%-30s %s\n", c->id, c->what);
        return 0;
    }
    st_json_out_init(&w, call->out, 2);
    st_json_open(&w, '[');
    for (const struct st_doctor_check *c = st_doctor_checks; c->id; c++) {
        st_json_open(&w, '{');
        st_json_kv(&w, "check", st_sv_of(c->id));
        st_json_kv(&w, "what", st_sv_of(c->what));
        st_json_close(&w, '}');
    }
    st_json_close(&w, ']');
    st_out_putc(call->out, '\n');
    return 0;
}

// ---- export -------------------------------------------------------------------------------------

static int run_export(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_sv name = st_sv_of(r->output);
    if (!name.len)
        return st_err_set(err, ST_E_USAGE, "--output needs a file name");
    if (st_sv_ends(name, ST_SV(".zip")) || st_sv_ends(name, ST_SV("gz")))
        return st_err_set(err, ST_E_USAGE, "the bundle is a plain tar archive: name it ...tar, not %.100s", r->output);
    struct st_doctor_report rep = {.verbose = true, .chosen = UINT64_MAX, .shown = UINT32_MAX};
    st_doctor_examine(&rep, r->quick);
    if (!strcmp(r->output, "-"))
        return st_doctor_bundle(&rep, r->logs, call->out, err);
    if (st_doctor_bundle_file(&rep, r->logs, r->output, err))
        return -1;
    st_cli_note("wrote %s; look into it before you send it (tar -xOf %s doctor.md)", r->output, r->output);
    return 0;
}

// ---- verbs --------------------------------------------------------------------------------------

const struct st_verb st_verb_doctor_run = {
    .words = "doctor run",
    .alias = "doctor",
    .summary = "find what is wrong, and what to do about it",
    .args = "",
    .about =
        "Looks at the service, its store and this machine, and says of each check whether it passes, with the evidence "
        "and a command to paste where it does not. Nothing is changed. Without a service it looks at the local "
        "record.\n\n"
        "A check that cannot be made here is skipped and says why. Exit code 1 when a check fails; a warning is 0, "
        "unless "
        "--severity asks for warnings.",
    .opts = run_options,
    .n_opts = ST_LEN(run_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Look at everything", "stella doctor"},
                 {"One check, as a runbook asks for it", "stella doctor --check check.scanner.memory-usage"},
                 {"Only what is wrong; for a script, warnings count", "stella doctor --severity fail,warn"},
                 {"For a ticket", "stella doctor --format markdown --verbose"}},
    .run = run_doctor,
};

const struct st_verb st_verb_doctor_list = {
    .words = "doctor list",
    .summary = "list the checks",
    .args = "",
    .about = "Lists the checks of stella doctor and what each looks at.",
    .opts = list_options,
    .n_opts = ST_LEN(list_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See what there is", "stella doctor list"},
                 {"Give a script their ids", "stella doctor list --format json | jq -r '.[].check'"}},
    .run = run_list,
};

const struct st_verb st_verb_doctor_export = {
    .words = "doctor export",
    .summary = "pack what somebody who helps will ask for",
    .args = "",
    .about =
        "Writes a tar archive: the checks with their evidence, status, queue, pools, workers, configuration and its "
        "history, failed jobs, metrics, versions. Passwords in addresses, tokens and the values of environment "
        "variables "
        "are left out; names of images are in it. Two exports of the same state differ in times only.",
    .opts = export_options,
    .n_opts = ST_LEN(export_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Write stella-doctor.tar", "stella doctor export"},
                 {"With the log of the last day", "stella doctor export --output bundle.tar --include-logs"},
                 {"Read the summary of it", "stella doctor export --output - | tar -xOf - doctor.md"}},
    .run = run_export,
};
