#include "image/tarsplit.h"
#include "base/base64.h"
#include "base/ckd.h"
#include "base/json.h"

enum { TYPE_FILE = 1, TYPE_SEGMENT = 2 };

struct reader {
    struct st_mem *mem;
    struct st_stream *in;
    const struct st_tarsplit_to *to;
    struct st_arena texts; // of one line
    struct st_buf line, bytes;
    uint64_t number;
};

static int bad_line(const struct reader *r, const char *what, struct st_err *err)
{
    return st_err_set(err, ST_E_CORRUPT, "tar-split, line %llu: %s", (unsigned long long)r->number, what);
}

// The next line without its end into r->line: 1; 0 at the end of the stream; -1.
static int next_line(struct reader *r, struct st_err *err)
{
    int rc;
    st_buf_clear(&r->line);
    r->number++;
    while ((rc = st_stream_fill(r->in, err)) > 0) {
        struct st_sv have = st_sv_mem(r->in->cur, (size_t)(r->in->end - r->in->cur));
        size_t end = st_sv_find(have, '\n');
        struct st_sv part = st_sv_sub(have, 0, ST_MIN(end, have.len));
        if (part.len > ST_TARSPLIT_LINE_MAX - r->line.len)
            return st_err_set(err, ST_E_LIMIT, "tar-split, line %llu: longer than %u MiB",
                              (unsigned long long)r->number, ST_TARSPLIT_LINE_MAX >> 20);
        if (st_buf_add(&r->line, part, err))
            return -1;
        r->in->cur += part.len + (end != ST_SV_NPOS);
        if (end != ST_SV_NPOS)
            return 1;
    }
    return rc < 0 ? -1 : r->line.len > 0;
}

struct entry {
    uint64_t type, size;
    struct st_sv name, raw, payload;
};

static int parse(struct reader *r, struct entry *e, struct st_err *err)
{
    const struct {
        struct st_sv key;
        struct st_sv *text;
        uint64_t *number;
    } known[] = {{ST_SV("type"), NULL, &e->type},
                 {ST_SV("size"), NULL, &e->size},
                 {ST_SV("name"), &e->name, NULL},
                 {ST_SV("name_raw"), &e->raw, NULL},
                 {ST_SV("payload"), &e->payload, NULL}};
    struct st_json j;
    struct st_json_tok key, val;
    int rc = 1;
    st_json_init(&j, st_buf_sv(&r->line));
    if (st_json_next(&j, &val, NULL) || val.type != ST_JSON_OBJECT)
        return bad_line(r, "not a JSON object", err);
    while (rc > 0 && (rc = st_json_member(&j, &key, &val, NULL)) > 0) {
        size_t i = 0;
        while (i < ST_LEN(known) && !st_json_is(&key, known[i].key))
            i++;
        if (i < ST_LEN(known) && known[i].text && val.type == ST_JSON_STRING) {
            if (st_json_text(&val, &r->texts, known[i].text, err))
                return -1;
        } else if (i < ST_LEN(known) && known[i].number && val.type == ST_JSON_NUMBER) {
            if (!st_sv_u64(val.raw, 10, known[i].number))
                return bad_line(r, "a number that is none", err);
        } else if (st_json_skip(&j, &val, NULL)) {
            rc = -1;
        }
    }
    return rc < 0 ? bad_line(r, "damaged JSON", err) : 0;
}

static int put_segment(struct reader *r, struct st_sv payload, struct st_err *err)
{
    st_buf_clear(&r->bytes);
    if (st_buf_reserve(&r->bytes, payload.len / 4 * 3 + 3, err))
        return -1;
    if (!st_base64_decode(payload, r->bytes.ptr, r->bytes.cap, &r->bytes.len))
        return bad_line(r, "the payload is not Base64", err);
    return r->bytes.len ? r->to->bytes(r->to->ctx, st_buf_sv(&r->bytes), err) : 0;
}

static int put_file(struct reader *r, const struct entry *e, struct st_err *err)
{
    char raw[ST_TARSPLIT_NAME_MAX];
    struct st_sv name = e->name;
    if (e->size == 0)
        return 0;
    if (e->raw.len) {
        size_t n;
        if (!st_base64_decode(e->raw, raw, sizeof raw, &n))
            return bad_line(r, "a name that is not Base64, or too long", err);
        name = st_sv_mem(raw, n);
    }
    if (name.len == 0 || name.len >= ST_TARSPLIT_NAME_MAX || st_sv_find(name, '\0') != ST_SV_NPOS)
        return bad_line(r, "a name that no file can have", err);
    if (e->size > INT64_MAX)
        return bad_line(r, "a file of more than 8 EiB", err);
    return r->to->file(r->to->ctx, name, e->size, err);
}

int st_tarsplit_read(struct st_mem *mem, struct st_stream *in, const struct st_tarsplit_to *to, struct st_err *err)
{
    struct reader r = {.mem = mem, .in = in, .to = to};
    int rc;
    st_arena_init(&r.texts, mem);
    st_buf_init(&r.line, mem);
    st_buf_init(&r.bytes, mem);
    while ((rc = next_line(&r, err)) > 0) {
        struct entry e = {0};
        if (parse(&r, &e, err))
            rc = -1;
        else if (e.type == TYPE_SEGMENT)
            rc = put_segment(&r, e.payload, err);
        else if (e.type == TYPE_FILE)
            rc = put_file(&r, &e, err);
        else
            rc = bad_line(&r, "an entry of a type that is not known", err);
        st_arena_reset(&r.texts);
        if (rc)
            break;
    }
    st_buf_release(&r.bytes);
    st_buf_release(&r.line);
    st_arena_release(&r.texts);
    return rc < 0 ? -1 : 0;
}
