// toml_probe: TOML on standard input, toml-test's tagged JSON on standard output; exit 1 with the reason.
#include "base/ckd.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/toml.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void scalar(struct st_json_out *w, const struct st_toml *n)
{
    static const char *const names[] = {
        [ST_TOML_STRING] = "string",         [ST_TOML_INTEGER] = "integer",
        [ST_TOML_FLOAT] = "float",           [ST_TOML_BOOL] = "bool",
        [ST_TOML_DATETIME] = "datetime",     [ST_TOML_DATETIME_LOCAL] = "datetime-local",
        [ST_TOML_DATE_LOCAL] = "date-local", [ST_TOML_TIME_LOCAL] = "time-local",
    };
    char text[64];
    struct st_sv v = n->text;
    if (n->type == ST_TOML_INTEGER)
        v = st_sv_mem(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)n->integer));
    if (n->type == ST_TOML_BOOL)
        v = n->integer ? ST_SV("true") : ST_SV("false");
    st_json_open(w, '{');
    st_json_kv(w, "type", st_sv_of(names[n->type]));
    st_json_kv(w, "value", v);
    st_json_close(w, '}');
}

static void write_node(struct st_json_out *w, const struct st_toml *n) // depth is capped by the reader
{
    if (n->type != ST_TOML_TABLE && n->type != ST_TOML_ARRAY) {
        scalar(w, n);
        return;
    }
    st_json_open(w, n->type == ST_TOML_TABLE ? '{' : '[');
    for (const struct st_toml *c = n->first; c; c = c->next) {
        if (n->type == ST_TOML_TABLE)
            st_json_key_sv(w, c->key);
        write_node(w, c);
    }
    st_json_close(w, n->type == ST_TOML_TABLE ? '}' : ']');
}

int main(void)
{
    static char text[2u << 20];
    struct st_mem mem;
    struct st_arena a;
    struct st_out out;
    struct st_json_out w;
    struct st_err err = {0};
    const struct st_toml *root;
    ssize_t n = st_fd_read(0, text, sizeof text);
    st_mem_init(&mem, 64 << 20, -1);
    st_arena_init(&a, &mem);
    int rc = st_toml_parse(st_sv_mem(text, n > 0 ? (size_t)n : 0), &a, &root, &err);
    if (rc == 0) {
        st_out_init_fd(&out, 1);
        st_json_out_init(&w, &out, 0);
        write_node(&w, root);
        rc = st_out_finish(&out, &err);
    }
    if (rc)
        fprintf(stderr, "%s\n", err.text);
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc ? 1 : 0;
}
