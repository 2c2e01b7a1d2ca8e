// stella scanner config.
#include "base/ckd.h"
#include "cli/render.h"
#include "service/keys.h"

struct raw {
    uint64_t limit;
    int format;
    bool verbose;
};

static const struct st_opt get_options[] = {
    {"verbose", 'v', ST_OPT_FLAG_AT(struct raw, verbose), .help = "say where the value is from and what it is for"},
    ST_FORMAT_OPTION(struct raw),
};
static const struct st_opt format_options[] = {ST_FORMAT_OPTION(struct raw)};
static const struct st_opt history_options[] = {
    {"limit", 0, ST_OPT_COUNT_AT(struct raw, limit), .arg = "N", .help = "at most N changes, the newest", .def = "50",
     .min = 1, .max = ST_LIST_MAX},
    ST_FORMAT_OPTION(struct raw),
};

static struct st_sv argument(const struct st_call *call, size_t i)
{
    return call->parsed->n_args > i ? st_sv_of(call->parsed->args[i]) : ST_SV_NULL;
}

static int key_argument(const struct st_call *call, struct st_sv *ret, struct st_err *err)
{
    *ret = argument(call, 0);
    return ret->len ? 0 : st_err_set(err, ST_E_USAGE, "no key given (stella scanner config list shows them)");
}

// ---- list, history ------------------------------------------------------------------------------

#define CELL(name, type, expression)                                        \
    static struct st_sv name(const void *row, char scratch[static ST_CELL]) \
    {                                                                       \
        const type *r = row;                                                \
        (void)scratch;                                                      \
        return expression;                                                  \
    }
CELL(c_key, struct st_config_row, r->key)
CELL(c_value, struct st_config_row, r->value)
CELL(c_origin, struct st_config_row, r->origin)
CELL(c_restart, struct st_config_row, r->restart ? ST_SV("after a restart") : ST_SV("next job"))

static struct st_sv c_what(const void *row, char scratch[static ST_CELL])
{
    const struct st_key *k = st_key_find(((const struct st_config_row *)row)->key, NULL);
    (void)scratch;
    return k ? st_sv_of(k->what) : ST_SV_NULL;
}

static const struct st_column columns[] = {
    {"KEY", 30, .text = c_key},
    {"VALUE", 14, .text = c_value},
    {"ORIGIN", 8, .drop = 1, .text = c_origin},
    {"EFFECTIVE", 15, .drop = 2, .text = c_restart},
    {"MEANING", 20, .drop = 3, .text = c_what},
};
static const struct st_table table = {columns, ST_LEN(columns)};

CELL(h_time, struct st_config_change, st_cell_time(r->set_ms, scratch))
CELL(h_key, struct st_config_change, r->key)
CELL(h_old, struct st_config_change, r->has_old ? r->old : ST_SV("(default)"))
CELL(h_value, struct st_config_change, r->has_value ? r->value : ST_SV("(default)"))
CELL(h_who, struct st_config_change, r->who)

static const struct st_column history_columns[] = {
    {"TIME", 20, .text = h_time}, {"KEY", 30, .text = h_key}, {"OLD", 14, .text = h_old},
    {"NEW", 14, .text = h_value}, {"BY", 12, .text = h_who},
};
static const struct st_table history_table = {history_columns, ST_LEN(history_columns)};

static int run_list(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_sink sink = {.out = call->out, .format = (enum st_format)r->format, .table = &table};
    struct st_req_key q = {.key = argument(call, 0)};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    return st_client_open(false, &c, err) ? -1 : st_render_call(c, "config.list", &q, &sink, err);
}

static int run_history(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_sink sink = {.out = call->out, .format = (enum st_format)r->format, .table = &history_table};
    struct st_req_key q = {.key = argument(call, 0), .limit = (uint32_t)r->limit};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    return st_client_open(false, &c, err) ? -1 : st_render_call(c, "config.history", &q, &sink, err);
}

// ---- get ----------------------------------------------------------------------------------------

struct getting {
    struct st_out *out;
    bool verbose, group;
};

static int print_value(void *ctx, const void *row, struct st_err *err)
{
    const struct getting *g = ctx;
    const struct st_config_row *r = row;
    char time[ST_CELL], what[ST_CELL];
    if (g->group) {
        st_out_safe(g->out, r->key);
        st_out_puts(g->out, " = ");
    }
    st_out_safe(g->out, r->value);
    if (g->verbose && r->set_ms)
        st_out_fmt(g->out, "  (set " ST_SV_FMT " by " ST_SV_FMT ")", ST_SV_ARG(st_cell_time(r->set_ms, time)),
                   ST_SV_ARG(r->who));
    else if (g->verbose)
        st_out_puts(g->out, "  (default)");
    if (g->verbose)
        st_out_fmt(g->out, "  " ST_SV_FMT, ST_SV_ARG(c_what(r, what)));
    st_out_putc(g->out, '\n');
    return 0;
}

static int run_get(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_req_key q = {0};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (key_argument(call, &q.key, err) || st_client_open(false, &c, err))
        return -1;
    struct getting g = {call->out, r->verbose, st_key_group(q.key)};
    if (r->format == ST_FORMAT_TABLE)
        return st_client_call(c, "config.list", &q, print_value, &g, err);
    struct st_sink sink = {.out = call->out, .format = (enum st_format)r->format, .one = !g.group};
    return st_render_call(c, "config.list", &q, &sink, err);
}

// ---- set, unset ---------------------------------------------------------------------------------

struct setting {
    struct st_out *out;
    enum st_format format;
};

static int say_set(void *ctx, const void *row, struct st_err *err)
{
    const struct setting *s = ctx;
    const struct st_config_row *r = row;
    if (r->warning.len)
        st_cli_warn(ST_SV_FMT, ST_SV_ARG(r->warning));
    if (s->format == ST_FORMAT_TABLE) {
        st_out_safe(s->out, r->key);
        st_out_puts(s->out, " = ");
        st_out_safe(s->out, r->value);
        st_out_puts(s->out, r->changed ? "\n" : " (no change)\n");
    } else {
        struct st_sink sink = {.out = s->out, .format = s->format, .record = &st_record_config, .one = true};
        st_sink_begin(&sink);
        if (st_sink_row(&sink, r, err))
            return -1;
        st_sink_end(&sink);
    }
    if (r->note.len)
        st_cli_note(ST_SV_FMT, ST_SV_ARG(r->note));
    return 0;
}

static int run_set(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_req_config_set q = {.value = argument(call, 1)};
    struct setting s = {call->out, (enum st_format)r->format};
    char text[ST_KEY_TEXT];
    if (key_argument(call, &q.key, err))
        return -1;
    const struct st_key *k = st_key_find(q.key, err);
    if (!k)
        return -1;
    if (call->parsed->n_args < 2)
        return st_err_set(err, ST_E_USAGE, "no value given (stella scanner config set %s %s)", k->name, k->def);
    if (st_key_canonical(k, q.value, text, err)) // before anything is opened or made
        return -1;
    ST_AUTO_CLIENT struct st_client *c = NULL;
    return st_client_open(true, &c, err) ? -1 : st_client_call(c, "config.set", &q, say_set, &s, err);
}

static int run_unset(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_req_key q = {0};
    struct setting s = {call->out, (enum st_format)r->format};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (key_argument(call, &q.key, err) || !st_key_find(q.key, err) || st_client_open(true, &c, err))
        return -1;
    return st_client_call(c, "config.unset", &q, say_set, &s, err);
}

// ---- verbs --------------------------------------------------------------------------------------

const struct st_verb st_verb_config_get = {
    .words = "scanner config get",
    .summary = "print a configuration value",
    .args = "KEY",
    .about = "Prints the value in effect, one line; a key that is not set prints its default. The name of a group, as "
             "worker, "
             "prints all its keys.",
    .max_args = 1,
    .opts = get_options,
    .n_opts = ST_LEN(get_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See the memory limit of a worker", "stella scanner config get worker.memory_limit"},
                 {"See all time limits", "stella scanner config get timeouts"}},
    .run = run_get,
};

const struct st_verb st_verb_config_set = {
    .words = "scanner config set",
    .summary = "change a configuration value",
    .args = "KEY VALUE",
    .about = "Checks and stores the value, with time and user in the history. Keys that workers use after a restart "
             "only say "
             "so; others are used from the next job on. The same value again changes nothing.",
    .max_args = 2,
    .terms = st_key_terms,
    .opts = format_options,
    .n_opts = ST_LEN(format_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Give workers more memory", "stella scanner config set worker.memory_limit 8Gi"},
                 {"Use layers again that were seen before", "stella scanner config set cache.layer_dedup true"}},
    .run = run_set,
};

const struct st_verb st_verb_config_unset = {
    .words = "scanner config unset",
    .summary = "go back to the default of a key",
    .args = "KEY",
    .about = "Forgets the value that was set; the history keeps it.",
    .max_args = 1,
    .opts = format_options,
    .n_opts = ST_LEN(format_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Back to the default limit", "stella scanner config unset worker.memory_limit"},
                 {"See what it is then", "stella scanner config get worker.memory_limit --verbose"}},
    .run = run_unset,
};

const struct st_verb st_verb_config_list = {
    .words = "scanner config list",
    .summary = "list all keys with their values",
    .args = "[GROUP]",
    .about = "Lists every key: its value, whether it was set, from when on workers use a change, and what it is for.",
    .max_args = 1,
    .opts = format_options,
    .n_opts = ST_LEN(format_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See every setting", "stella scanner config list"},
                 {"Keep it", "stella scanner config list --format json >config.json"}},
    .run = run_list,
};

const struct st_verb st_verb_config_history = {
    .words = "scanner config history",
    .summary = "list changes of the configuration",
    .args = "[KEY]",
    .about = "Who changed what, when, from which value to which; newest first.",
    .max_args = 1,
    .opts = history_options,
    .n_opts = ST_LEN(history_options),
    .options_size = sizeof(struct raw),
    .examples = {{"See what was changed before it broke", "stella scanner config history"},
                 {"Follow one key", "stella scanner config history worker.memory_limit"}},
    .run = run_history,
};
