#include "service/remote_ops.h"

#include "base/ckd.h"
#include "service/message.h"

#include <stdio.h>

int st_remote_base(struct st_sv text, struct st_sv *ret, struct st_err *err)
{
    struct st_sv rest = text, shown = st_sv_sub(text, 0, 100);
    size_t scheme = st_sv_starts(text, ST_SV("https://")) ? 8 : st_sv_starts(text, ST_SV("http://")) ? 7 : 0;
    while (rest.len && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    bool good = scheme && rest.len > scheme && rest.len < 1024 && rest.ptr[scheme] != '/' && rest.ptr[scheme] != ':';
    for (size_t i = scheme; good && i < rest.len; i++) {
        char c = rest.ptr[i];
        good = c > ' ' && c < 127 && !strchr("?#\"\\<>^`{|}", c);
        if (c == '@')
            return st_err_set(err, ST_E_USAGE,
                              "STELLA_SERVER holds a user or password: the token belongs into STELLA_TOKEN_FILE or "
                              "STELLA_TOKEN");
    }
    if (!good)
        return st_err_set(err, ST_E_USAGE,
                          "STELLA_SERVER '" ST_SV_FMT "' is no address of a service (examples: "
                          "https://scan.example.org, http://127.0.0.1:8444, /run/stella/stella.sock)",
                          ST_SV_ARG(shown));
    *ret = rest;
    return 0;
}

int st_remote_token(struct st_sv token, struct st_err *err)
{
    bool good = token.len > 0 && token.len <= ST_REMOTE_TOKEN_MAX;
    for (size_t i = 0; good && i < token.len; i++)
        good = token.ptr[i] > ' ' && token.ptr[i] < 127;
    return good ? 0 : st_err_set(err, ST_E_USAGE, "the token is not one word of printable characters");
}

// ---- request ----------------------------------------------------------------------------------------

void st_remote_request_init(struct st_remote_request *q, struct st_mem *mem)
{
    *q = (struct st_remote_request){.op = NULL};
    st_buf_init(&q->url, mem);
    st_buf_init(&q->body, mem);
}

void st_remote_request_release(struct st_remote_request *q)
{
    st_buf_release(&q->url);
    st_buf_release(&q->body);
}

static int add_escaped(struct st_buf *b, struct st_sv text, struct st_err *err)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("-._~", c));
        char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};
        if (plain ? st_buf_addc(b, (char)c, err) : st_buf_add(b, st_sv_mem(escaped, 3), err))
            return -1;
    }
    return 0;
}

struct member {
    struct st_sv name, raw, text; // raw: JSON; text: of a string, or the same as raw
    bool null;
};

// The members of a request's object, one after the other. 1, 0 at the end, -1.
static int next_member(struct st_json *j, struct st_arena *a, struct member *ret, struct st_err *err)
{
    struct st_json_tok key, v;
    int rc = st_json_member(j, &key, &v, err);
    if (rc <= 0)
        return rc;
    if (st_json_text(&key, a, &ret->name, err) || st_json_skip(j, &v, err))
        return -1;
    ret->raw = st_sv_sub(j->in, v.at, j->pos - v.at);
    ret->text = ret->raw;
    ret->null = v.type == ST_JSON_NULL;
    return v.type == ST_JSON_STRING && st_json_text(&v, a, &ret->text, err) ? -1 : 1;
}

static int open_object(struct st_json *j, struct st_sv json, struct st_err *err)
{
    struct st_json_tok v;
    st_json_init(j, json);
    if (st_json_next(j, &v, err))
        return -1;
    return v.type == ST_JSON_OBJECT ? 0 : st_err_set(err, ST_E_INPUT, "a request is a JSON object");
}

// "/api/v1/scans/{id}": the value of the member goes into the path.
static int add_path(struct st_remote_request *q, struct st_sv json, struct st_arena *a, struct st_sv *ret_name,
                    struct st_err *err)
{
    struct st_sv before, rest, name = ST_SV_NULL, after = ST_SV_NULL;
    struct st_json j;
    struct member m;
    int rc;
    bool has = st_sv_cut(st_sv_of(q->op->path), '{', &before, &rest) && st_sv_cut(rest, '}', &name, &after);
    *ret_name = name;
    if (st_buf_add(&q->url, before, err) || !has)
        return has ? -1 : 0;
    if (open_object(&j, json, err))
        return -1;
    while ((rc = next_member(&j, a, &m, err)) > 0)
        if (st_sv_eq(m.name, name) && m.text.len && !m.null)
            return add_escaped(&q->url, m.text, err) || st_buf_add(&q->url, after, err) ? -1 : 0;
    return rc ? -1 : st_err_set(err, ST_E_INPUT, "field '" ST_SV_FMT "' is missing", ST_SV_ARG(name));
}

static int add_query(struct st_remote_request *q, const struct member *m, bool first, struct st_err *err)
{
    return st_buf_addc(&q->url, first ? '?' : '&', err) || add_escaped(&q->url, m->name, err) ||
                   st_buf_addc(&q->url, '=', err) || add_escaped(&q->url, m->text, err)
               ? -1
               : 0;
}

static int add_body(struct st_remote_request *q, const struct member *m, bool first, struct st_err *err)
{
    return st_buf_addc(&q->body, first ? '{' : ',', err) || st_buf_addc(&q->body, '"', err) ||
                   st_buf_add(&q->body, m->name, err) || st_buf_add(&q->body, ST_SV("\":"), err) ||
                   st_buf_add(&q->body, m->raw, err)
               ? -1
               : 0;
}

static int add_members(struct st_remote_request *q, struct st_sv json, struct st_sv in_path, struct st_arena *a,
                       struct st_err *err)
{
    bool body = !strcmp(q->op->method, "POST") || !strcmp(q->op->method, "PUT"), first = true;
    struct st_json j;
    struct member m;
    int rc;
    if (open_object(&j, json, err))
        return -1;
    while ((rc = next_member(&j, a, &m, err)) > 0) {
        if (st_sv_eq(m.name, ST_SV("waitMs"))) {
            if (!st_sv_u64(m.text, 10, &q->wait_ms))
                q->wait_ms = 0;
            continue;
        }
        if (m.null || (in_path.len && st_sv_eq(m.name, in_path)))
            continue;
        if (!q->op->request || !st_record_field(q->op->request, m.name))
            return st_err_set(err, ST_E_INPUT, "unknown field '" ST_SV_FMT "'", ST_SV_ARG(st_sv_sub(m.name, 0, 100)));
        if (body ? add_body(q, &m, first, err) : add_query(q, &m, first, err))
            return -1;
        first = false;
    }
    if (rc == 0 && body)
        rc = st_buf_add(&q->body, first ? ST_SV("{}") : ST_SV("}"), err);
    return rc;
}

// ---- files ------------------------------------------------------------------------------------------

static const struct st_op sbom_route = {.name = "scans.sbom",
                                        .request = &st_record_req_sbom,
                                        .answer = &st_record_sbom_file,
                                        .method = "GET",
                                        .path = "/api/v1/scans/{id}/sbom"};

// The last part of a path, of the characters that an upload's name may have.
static struct st_sv upload_name(struct st_sv image, char buf[static 101])
{
    size_t slash = st_sv_rfind(image, '/'), n = 0;
    struct st_sv base = slash == ST_SV_NPOS ? image : st_sv_from(image, slash + 1);
    for (size_t i = 0; i < base.len && n < 100; i++) {
        char c = base.ptr[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                    c == '_' || c == '+' || (c == '.' && n);
        if (good)
            buf[n++] = c;
    }
    return n ? st_sv_mem(buf, n) : ST_SV("image.tar");
}

// scans.submit with a file: its bytes are the body, what remains of the request is the query.
static int translate_upload(struct st_remote_request *q, struct st_sv json, struct st_arena *a, struct st_err *err)
{
    static const char *const kept[] = {"priority", "pool", "options", NULL};
    struct st_json j;
    struct member m;
    char name[101];
    int rc;
    if (st_buf_add(&q->url, ST_SV("/api/v1/scans?spool=1"), err) || open_object(&j, json, err))
        return -1;
    while ((rc = next_member(&j, a, &m, err)) > 0) {
        size_t i = 0;
        while (kept[i] && !st_sv_eq(m.name, st_sv_of(kept[i])))
            i++;
        if (st_sv_eq(m.name, ST_SV("image")) && !m.null)
            m.name = ST_SV("name"), m.text = upload_name(m.text, name);
        else if (!kept[i] || m.null)
            continue;
        if (add_query(q, &m, false, err))
            return -1;
    }
    q->upload = true;
    return rc;
}

int st_remote_file_row(struct st_sv packet, uint64_t size, struct st_arena *a, struct st_buf *ret, struct st_err *err)
{
    struct st_sv name, json;
    struct st_req_sbom q = {.format = ST_SV_NULL};
    struct st_sbom_row f = {.size = size};
    struct st_out o;
    struct st_json_out w;
    if (st_message_split(packet, &name, &json, err) || st_record_read(&st_record_req_sbom, json, false, 0, &q, a, err))
        return -1;
    f.format = q.format.len ? q.format : ST_SV("cyclonedx-json");
    st_out_init_buf(&o, ret);
    st_json_out_init(&w, &o, 0);
    st_record_write(&w, &st_record_sbom_file, &f);
    return st_out_finish(&o, err);
}

int st_remote_translate(struct st_sv packet, bool with_file, struct st_sv base, struct st_arena *a,
                        struct st_remote_request *ret, struct st_err *err)
{
    struct st_sv name, json, in_path;
    if (st_message_split(packet, &name, &json, err))
        return -1;
    ret->file = st_sv_eq(name, st_sv_of(sbom_route.name));
    ret->upload = false;
    ret->op = ret->file ? &sbom_route : st_op_find(name);
    if (!ret->op || !ret->op->path)
        return st_err_set(err, ST_E_USAGE,
                          "'" ST_SV_FMT "' is not offered over HTTP: run the command on the machine of the service",
                          ST_SV_ARG(name));
    ret->wait_ms = 0;
    st_buf_clear(&ret->url);
    st_buf_clear(&ret->body);
    if (st_buf_add(&ret->url, base, err))
        return -1;
    if (with_file && !strcmp(ret->op->name, "scans.submit"))
        return translate_upload(ret, json, a, err);
    if (with_file)
        return st_err_set(err, ST_E_USAGE, "a file goes along with a submission only");
    if (add_path(ret, json, a, &in_path, err))
        return -1;
    return add_members(ret, json, in_path, a, err);
}

// ---- answer -----------------------------------------------------------------------------------------

static int give(struct st_json *j, const struct st_json_tok *v, st_remote_row_fn *row, void *ctx, struct st_err *err)
{
    if (v->type != ST_JSON_OBJECT)
        return st_err_set(err, ST_E_USAGE, "the answer is not one of stella's: is STELLA_SERVER right?");
    if (st_json_skip(j, v, err))
        return -1;
    struct st_sv json = st_sv_sub(j->in, v->at, j->pos - v->at);
    if (json.len > ST_REMOTE_ROW_MAX)
        return st_err_set(err, ST_E_LIMIT, "a row of %zu bytes is over the limit of %d", json.len, ST_REMOTE_ROW_MAX);
    return row(ctx, json, err);
}

int st_remote_rows(const struct st_op *op, struct st_sv body, st_remote_row_fn *row, void *ctx, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok v;
    int rc;
    st_json_init(&j, body);
    if (st_json_next(&j, &v, err))
        return -1;
    if (!op->many) {
        rc = give(&j, &v, row, ctx, err);
    } else if (v.type != ST_JSON_ARRAY) {
        return st_err_set(err, ST_E_USAGE, "the answer is not one of stella's: is STELLA_SERVER right?");
    } else {
        while ((rc = st_json_element(&j, &v, err)) > 0)
            if (give(&j, &v, row, ctx, err))
                return -1;
    }
    if (rc || st_json_next(&j, &v, err)) // nothing may follow
        return -1;
    return 0;
}
