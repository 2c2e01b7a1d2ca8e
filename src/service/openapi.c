// The OpenAPI document: the table of operations, told in another way.
#include "base/ckd.h"
#include "service/api_http_int.h"

#include <stdio.h>

static void ref(struct st_json_out *w, const struct st_record *r)
{
    struct st_buf b;
    struct st_mem mem;
    st_mem_init(&mem, 4096, -1);
    st_buf_init(&b, &mem);
    st_json_open(w, '{');
    if (st_buf_fmt(&b, NULL, "#/components/schemas/%s", r->name) == 0)
        st_json_kv(w, "$ref", st_buf_sv(&b));
    st_json_close(w, '}');
    st_buf_release(&b);
    st_mem_release(&mem);
}

// files: NULL, or types of a body that is a file.
static void content(struct st_json_out *w, const struct st_record *r, bool array, const char *const *files)
{
    st_json_key(w, "content");
    st_json_open(w, '{');
    for (size_t i = 0; files && files[i]; i++) {
        st_json_key(w, files[i]);
        st_json_open(w, '{');
        st_json_close(w, '}');
    }
    st_json_key(w, "application/json");
    st_json_open(w, '{');
    st_json_key(w, "schema");
    if (array) {
        st_json_open(w, '{');
        st_json_kv(w, "type", ST_SV("array"));
        st_json_key(w, "items");
    }
    ref(w, r);
    if (array)
        st_json_close(w, '}');
    st_json_close(w, '}');
    st_json_close(w, '}');
}

static bool in_path(const char *path, const char *field)
{
    size_t n = strlen(field);
    for (const char *p = path; (p = strchr(p, '{')); p++)
        if (!strncmp(p + 1, field, n) && p[1 + n] == '}')
            return true;
    return false;
}

static bool has_body(const struct st_op *o)
{
    return o->request && (!strcmp(o->method, "POST") || !strcmp(o->method, "PUT"));
}

static bool hidden(const struct st_field *f)
{
    return !strcmp(f->name, "waitMs"); // waiting is for the socket
}

static void string_parameter(struct st_json_out *w, const char *name, const char *in, const char *what)
{
    st_json_open(w, '{');
    st_json_kv(w, "name", st_sv_of(name));
    st_json_kv(w, "in", st_sv_of(in));
    st_json_key(w, "required");
    st_json_bool(w, !strcmp(in, "path"));
    if (what)
        st_json_kv(w, "description", st_sv_of(what));
    st_json_key(w, "schema");
    st_json_open(w, '{');
    st_json_kv(w, "type", ST_SV("string"));
    st_json_close(w, '}');
    st_json_close(w, '}');
}

static void parameters(struct st_json_out *w, const struct st_op *o, bool upload)
{
    st_json_key(w, "parameters");
    st_json_open(w, '[');
    for (size_t i = 0; o->request && i < o->request->n; i++) {
        const struct st_field *f = &o->request->fields[i];
        bool path = in_path(o->path, f->name);
        if ((!path && has_body(o)) || hidden(f))
            continue;
        st_json_open(w, '{');
        st_json_kv(w, "name", st_sv_of(f->name));
        st_json_kv(w, "in", path ? ST_SV("path") : ST_SV("query"));
        st_json_key(w, "required");
        st_json_bool(w, path || f->required);
        st_json_key(w, "schema");
        st_field_schema(w, f);
        st_json_close(w, '}');
    }
    for (size_t i = 0; upload && i < st_upload_query.n; i++)
        string_parameter(w, st_upload_query.fields[i].name, "query", st_upload_query.fields[i].what);
    st_json_close(w, ']');
}

static void error_answer(struct st_json_out *w, const char *status, const char *what)
{
    static const struct st_record error = {.name = "Error"};
    st_json_key(w, status);
    st_json_open(w, '{');
    st_json_kv(w, "description", st_sv_of(what));
    content(w, &error, false, NULL);
    st_json_close(w, '}');
}

static void errors(struct st_json_out *w)
{
    error_answer(w, "400", "The request is wrong; the message says what is right");
    error_answer(w, "401", "No token, or an unknown one");
    error_answer(w, "403", "The token's role does not suffice");
    error_answer(w, "404", "Not found");
    error_answer(w, "409", "Something else changed it meanwhile");
    error_answer(w, "429", "Too many requests; Retry-After says when");
    error_answer(w, "503", "Not now; Retry-After says when");
}

static void answers(struct st_json_out *w, const struct st_op *o)
{
    char status[8];
    snprintf(status, sizeof status, "%u", o->status);
    st_json_key(w, "responses");
    st_json_open(w, '{');
    st_json_key(w, status);
    st_json_open(w, '{');
    st_json_kv(w, "description", ST_SV("Done"));
    content(w, o->answer, o->many, NULL);
    st_json_close(w, '}');
    errors(w);
    st_json_close(w, '}');
}

static void operation(struct st_json_out *w, const struct st_op *o)
{
    char method[8] = "";
    for (size_t i = 0; o->method[i] && i + 1 < sizeof method; i++)
        method[i] = (char)(o->method[i] | 32);
    st_json_key(w, method);
    st_json_open(w, '{');
    st_json_kv(w, "operationId", st_sv_of(o->name));
    st_json_kv(w, "summary", st_sv_of(o->summary));
    st_json_kv(w, "x-role", st_sv_of(st_role_words[o->role]));
    bool upload = !strcmp(o->name, "scans.submit");
    parameters(w, o, upload);
    if (has_body(o)) {
        st_json_key(w, "requestBody");
        st_json_open(w, '{');
        content(w, o->request, false, upload ? st_upload_types : NULL);
        st_json_close(w, '}');
    }
    answers(w, o);
    st_json_close(w, '}');
}

static void route(struct st_json_out *w, const struct st_http_route *t)
{
    st_json_key(w, t->path);
    st_json_open(w, '{');
    st_json_key(w, "get");
    st_json_open(w, '{');
    st_json_kv(w, "summary", st_sv_of(t->summary));
    st_json_kv(w, "x-role", st_sv_of(st_role_words[t->role]));
    if (t->role == ST_ROLE_NONE) {
        st_json_key(w, "security");
        st_json_open(w, '[');
        st_json_close(w, ']');
    }
    st_json_key(w, "parameters");
    st_json_open(w, '[');
    if (in_path(t->path, "id"))
        string_parameter(w, "id", "path", NULL);
    if (t->query)
        string_parameter(w, t->query, "query", t->query_what);
    st_json_close(w, ']');
    st_json_key(w, "responses");
    st_json_open(w, '{');
    st_json_key(w, "200");
    st_json_open(w, '{');
    st_json_kv(w, "description", ST_SV("Done"));
    st_json_key(w, "content");
    st_json_open(w, '{');
    st_json_key(w, t->type);
    st_json_open(w, '{');
    st_json_close(w, '}');
    st_json_close(w, '}');
    st_json_close(w, '}');
    if (t->role != ST_ROLE_NONE)
        errors(w);
    st_json_close(w, '}');
    st_json_close(w, '}');
    st_json_close(w, '}');
}

static void paths(struct st_json_out *w)
{
    st_json_key(w, "paths");
    st_json_open(w, '{');
    for (const struct st_op *o = st_ops; o->name; o++) {
        bool first = o->path != NULL;
        for (const struct st_op *before = st_ops; first && before < o; before++)
            first = !before->path || strcmp(before->path, o->path) != 0;
        if (!first)
            continue;
        st_json_key(w, o->path);
        st_json_open(w, '{');
        for (const struct st_op *same = o; same->name; same++)
            if (same->path && !strcmp(same->path, o->path))
                operation(w, same);
        st_json_close(w, '}');
    }
    for (const struct st_http_route *t = st_http_routes; t->path; t++)
        route(w, t);
    st_json_close(w, '}');
}

static void schemas(struct st_json_out *w)
{
    const struct st_record *seen[128];
    size_t n = 0;
    st_json_key(w, "schemas");
    st_json_open(w, '{');
    for (const struct st_op *o = st_ops; o->name; o++) {
        const struct st_record *both[] = {o->request, o->answer};
        for (size_t k = 0; o->path && k < 2; k++) {
            bool known = !both[k] || n == ST_LEN(seen);
            for (size_t i = 0; i < n && !known; i++)
                known = seen[i] == both[k];
            if (known)
                continue;
            seen[n++] = both[k];
            st_json_key(w, both[k]->name);
            st_record_schema(w, both[k]);
        }
    }
    st_json_key(w, "Error");
    st_json_open(w, '{');
    st_json_kv(w, "type", ST_SV("object"));
    st_json_key(w, "properties");
    st_json_open(w, '{');
    static const char *const members[] = {"error", "message"};
    for (size_t i = 0; i < ST_LEN(members); i++) {
        st_json_key(w, members[i]);
        st_json_open(w, '{');
        st_json_kv(w, "type", ST_SV("string"));
        st_json_close(w, '}');
    }
    st_json_close(w, '}');
    st_json_close(w, '}');
    st_json_close(w, '}');
}

void st_openapi_write(struct st_out *out)
{
    struct st_json_out w;
    st_json_out_init(&w, out, 2);
    st_json_open(&w, '{');
    st_json_kv(&w, "openapi", ST_SV("3.1.0"));
    st_json_key(&w, "info");
    st_json_open(&w, '{');
    st_json_kv(&w, "title", ST_SV("stella scan service"));
    st_json_kv(&w, "version", ST_SV(ST_VERSION));
    st_json_close(&w, '}');
    st_json_key(&w, "security");
    st_json_open(&w, '[');
    st_json_open(&w, '{');
    st_json_key(&w, "token");
    st_json_open(&w, '[');
    st_json_close(&w, ']');
    st_json_close(&w, '}');
    st_json_close(&w, ']');
    paths(&w);
    st_json_key(&w, "components");
    st_json_open(&w, '{');
    schemas(&w);
    st_json_key(&w, "securitySchemes");
    st_json_open(&w, '{');
    st_json_key(&w, "token");
    st_json_open(&w, '{');
    st_json_kv(&w, "type", ST_SV("http"));
    st_json_kv(&w, "scheme", ST_SV("bearer"));
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    st_out_putc(out, '\n');
}
