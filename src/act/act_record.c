#include "act/act_record.h"

#include "act/pick.h"
#include "base/ckd.h"

#define AT(field) offsetof(struct st_act_record, field)
static const struct st_pick members[] = {
    {"schema", AT(schema), ST_PICK_TEXT, true},
    {"id", AT(id), ST_PICK_TEXT, true},
    {"time", AT(time), ST_PICK_TEXT, true},
    {"kind", AT(kind), ST_PICK_TEXT, true},
    {"dry_run", AT(dry_run), ST_PICK_BOOL},
    {"cgroup|path", AT(cgroup_path), ST_PICK_TEXT, true},
    {"cgroup|owner", AT(limit_owner), ST_PICK_TEXT},
    {"cgroup|limit_bytes", AT(limit_bytes), ST_PICK_U64},
    {"cgroup|limit_file", AT(limit_file), ST_PICK_TEXT},
    {"verdict|state", AT(state), ST_PICK_TEXT, true},
    {"verdict|confidence", AT(confidence), ST_PICK_TEXT},
    {"verdict|must_end", AT(must_end), ST_PICK_BOOL},
    {"verdict|text", AT(text), ST_PICK_TEXT},
    {"culprit|pid", AT(culprit_pid), ST_PICK_U64},
    {"culprit|comm", AT(culprit_comm), ST_PICK_TEXT},
    {"culprit|bytes", AT(culprit_bytes), ST_PICK_U64},
    {"action|rung", AT(rung), ST_PICK_TEXT},
    {"action|outcome", AT(outcome), ST_PICK_TEXT},
    {"action|detail", AT(detail), ST_PICK_TEXT},
    {"github|repository", AT(repository), ST_PICK_TEXT},
    {"github|run_id", AT(run_id), ST_PICK_U64},
    {"github|run_attempt", AT(run_attempt), ST_PICK_U64},
    {"github|job", AT(job), ST_PICK_TEXT},
    {"github|api_url", AT(api_url), ST_PICK_TEXT},
};

int st_act_record_read(struct st_sv text, struct st_arena *a, struct st_act_record *ret, struct st_err *err)
{
    struct st_act_record r = {0};
    if (st_sv_trim(text).len == 0)
        return st_err_set(err, ST_E_INPUT, "record: empty (expected one evidence record of stella-watchdog)");
    if (st_pick(text, "record", members, ST_LEN(members), &r, a, err)) {
        if (err && err->code == ST_E_FORMAT)
            err->code = ST_E_INPUT;
        return -1;
    }
    if (!st_sv_eq(r.schema, ST_SV(ST_ACT_RECORD_SCHEMA)))
        return st_err_set(err, ST_E_INPUT, "record: schema '%.*s' is not known here (" ST_ACT_RECORD_SCHEMA " is)",
                          (int)ST_MIN(r.schema.len, (size_t)60), r.schema.ptr ? r.schema.ptr : "");
    if (!st_sv_eq(r.kind, ST_SV("verdict")) && !st_sv_eq(r.kind, ST_SV("action")))
        return st_err_set(err, ST_E_INPUT, "record: kind '%.*s' is neither verdict nor action",
                          (int)ST_MIN(r.kind.len, (size_t)60), r.kind.ptr ? r.kind.ptr : "");
    *ret = r;
    return 0;
}

// culprit, tree, kernel: the runner lives, reports exit code 137 with the log, and its controller removes it. Deleting
// it then would lose the log. (The kernel takes the runner along where memory.oom.group is 1, which a record does not
// say: then its controller sees it end.) cgroup: the runner died too. hook: the watchdog has nothing left to try.
static const struct {
    const char *rung, *outcome; // outcome NULL: any
} ends[] = {{"cgroup", "done"}, {"hook", NULL}};

enum st_act_wish st_act_record_wish(const struct st_act_record *r)
{
    if (r->dry_run || !r->must_end || st_sv_eq(r->outcome, ST_SV("dry-run")) || !st_sv_eq(r->kind, ST_SV("action")))
        return ST_ACT_TELL;
    for (size_t i = 0; i < ST_LEN(ends); i++)
        if (st_sv_eq(r->rung, st_sv_of(ends[i].rung)) &&
            (!ends[i].outcome || st_sv_eq(r->outcome, st_sv_of(ends[i].outcome))))
            return ST_ACT_END;
    return ST_ACT_TELL;
}
