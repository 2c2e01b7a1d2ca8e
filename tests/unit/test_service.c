// Records to JSON and back, keys, errors in messages, the table of operations.
#include "base/ckd.h"
#include "base/clock.h"
#include "service/api.h"
#include "service/keys.h"
#include "service/message.h"
#include "tap.h"

#include <stdlib.h>

static struct st_mem mem;
static struct st_arena arena;

static struct st_sv to_json(const struct st_record *r, const void *v, struct st_buf *b)
{
    struct st_out o;
    struct st_json_out w;
    st_buf_clear(b);
    st_out_init_buf(&o, b);
    st_json_out_init(&w, &o, 0);
    st_record_write(&w, r, v);
    st_out_finish(&o, NULL);
    return st_buf_sv(b);
}

static void test_record_round_trip(void)
{
    struct st_buf b;
    struct st_err err = {0};
    st_buf_init(&b, &mem);
    struct st_job in = {.id = "0123456789abcdef0123456789abcdef",
                        .state = ST_JOB_FAILED,
                        .image = ST_SV("a\"b\n\xc3\xa9"),
                        .has_size = true,
                        .size = UINT64_MAX,
                        .reason = ST_SV("oom"),
                        .priority = ST_PRIORITY_HIGH,
                        .exit_code = -3,
                        .ended = true,
                        .fence = 7,
                        .updated_ms = 1795646138445,
                        .cancel = true,
                        .options = ST_SV("{\"a\":[1,2.5,null,{\"b\":\"c\"}]}"),
                        .wait_ms = 12};
    struct st_job out = {0};
    struct st_sv json = to_json(&st_record_job, &in, &b);
    TAP_OK(st_record_read(&st_record_job, json, false, 0, &out, &arena, &err) == 0, "reads what it wrote %s", err.text);
    TAP_OK(!strcmp(out.id, in.id) && out.state == in.state && st_sv_eq(out.image, in.image) && out.size == in.size &&
               out.has_size && out.priority == in.priority && out.exit_code == -3 && out.ended && out.fence == 7 &&
               out.updated_ms == in.updated_ms && out.cancel && !out.dead && st_sv_eq(out.options, in.options) &&
               out.created_ms == 0 && out.wait_ms == 12 && out.pool.len == 0,
           "the same");
    in.has_size = false;
    in.options = ST_SV("{\"a\":"); // damaged in the store: null, not damaged JSON
    json = to_json(&st_record_job, &in, &b);
    memset(&out, 0, sizeof out);
    TAP_OK(st_record_read(&st_record_job, json, false, 0, &out, &arena, &err) == 0 && !out.has_size && !out.options.len,
           "what is not known is null");
    st_buf_release(&b);
}

static void test_record_refuses(void)
{
    static const struct {
        const char *json, *says;
    } rows[] = {
        {"", "JSON"},
        {"[]", "object"},
        {"{\"image\":\"a\"", "JSON"},
        {"{\"image\":\"a\"} x", "JSON"},
        {"{}", "'image' is missing"},
        {"{\"image\":null}", "'image' is missing"},
        {"{\"image\":1}", "a string"},
        {"{\"image\":[\"a\"]}", "plain value"},
        {"{\"image\":\"a\",\"image\":\"b\"}", "twice"},
        {"{\"imag\":\"a\"}", "did you mean image?"},
        {"{\"image\":\"a\",\"size\":-1}", "whole number"},
        {"{\"image\":\"a\",\"size\":1.5}", "whole number"},
        {"{\"image\":\"a\",\"size\":9223372036854775808}", "at most"},
        {"{\"image\":\"a\",\"size\":\"1\"}", "a number"},
        {"{\"image\":\"a\",\"fresh\":1}", "true or false"},
        {"{\"image\":\"a\",\"priority\":\"urgent\"}", "low, normal, high, critical"},
        {"{\"image\":\"a\",\"options\":\"x\"}", "JSON object"},
        {"{\"image\":\"a\",\"options\":{\"x\":}}", ""},
    };
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        struct st_req_submit q = {0};
        struct st_err err = {0};
        TAP_OK(st_record_read(&st_record_req_submit, st_sv_of(rows[i].json), false, 0, &q, &arena, &err) == -1 &&
                   err.code == ST_E_INPUT && strstr(err.text, rows[i].says),
               "%s: %s", rows[i].json, err.text);
    }
    struct st_req_submit q = {0};
    struct st_err err = {0};
    char *big = malloc(5000);
    snprintf(big, 5000, "{\"image\":\"%04000d\"}", 0);
    TAP_OK(st_record_read(&st_record_req_submit, st_sv_of(big), false, 0, &q, &arena, &err) == -1 &&
               strstr(err.text, "at most 2048"),
           "a long text: %s", err.text);
    free(big);
    memset(&q, 0, sizeof q);
    TAP_OK(st_record_read(&st_record_req_submit, ST_SV("{\"image\":\"a\",\"later\":{\"x\":[1]}}"), true, 0, &q, &arena,
                          &err) == 0,
           "fields of a newer version are passed over where asked");
}

static void test_record_set(void)
{
    struct st_req_list q = {0};
    struct st_err err = {0};
    uint64_t seen = 0;
    TAP_OK(st_record_set(&st_record_req_list, ST_SV("last"), ST_SV("1h30m"), &q, &seen, &err) == 0 && q.last_s == 5400,
           "a duration");
    TAP_OK(st_record_set(&st_record_req_list, ST_SV("dead"), ST_SV("true"), &q, &seen, &err) == 0 && q.dead,
           "a boolean");
    TAP_OK(st_record_set(&st_record_req_list, ST_SV("dead"), ST_SV("true"), &q, &seen, &err) == -1, "twice: %s",
           err.text);
    TAP_OK(st_record_set(&st_record_req_list, ST_SV("limit"), ST_SV("99999"), &q, &seen, &err) == -1, "too many: %s",
           err.text);
    TAP_OK(st_record_set(&st_record_req_list, ST_SV("nope"), ST_SV(""), &q, &seen, &err) == -1, "unknown: %s",
           err.text);
}

static void test_times(void)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1970-01-01T00:00:01Z", 1000},
                {"2026-11-25T23:07:00.674Z", 1795648020674},
                {"2026-11-25T23:07:00.6Z", 1795648020600},
                {"2024-02-29T12:00:00.0001Z", 1709208000000}};
    static const char *const bad[] = {"",
                                      "2026-11-25",
                                      "2026-11-25T23:07:00",
                                      "2026-11-25T23:07:00.Z",
                                      "2026-13-25T23:07:00Z",
                                      "2026-11-25T24:07:00Z",
                                      "2026-11-25T23:07:00+00:00",
                                      "x026-11-25T23:07:00Z"};
    int64_t ms;
    for (size_t i = 0; i < ST_LEN(good); i++)
        TAP_OK(st_clock_read(st_sv_of(good[i].text), &ms) && ms == good[i].ms, "%s", good[i].text);
    for (size_t i = 0; i < ST_LEN(bad); i++)
        TAP_OK(!st_clock_read(st_sv_of(bad[i]), &ms), "'%s' is no time", bad[i]);
    char text[ST_CLOCK_TEXT_MS];
    st_clock_text_ms(1795648020674, text);
    TAP_OK(!strcmp(text, "2026-11-25T23:07:00.674Z"), "%s", text);
}

static void test_keys(void)
{
    static const struct {
        const char *key, *value, *canonical; // NULL: refused
    } rows[] = {
        {"worker.memory_limit", "8589934592", "8Gi"},
        {"worker.memory_limit", "8Gi", "8Gi"},
        {"worker.memory_limit", "0.5Gi", "512Mi"},
        {"worker.memory_limit", "31Mi", NULL},
        {"worker.memory_limit", "8 gigs", NULL},
        {"worker.memory_limit", "", NULL},
        {"worker.memory_limit", "off", NULL},
        {"sbom.streaming_threshold", "off", "off"},
        {"sbom.streaming_threshold", "0", "0"},
        {"sbom.streaming_threshold", "1024Mi", "1Gi"},
        {"timeouts.scan", "90m", "1h30m"},
        {"timeouts.scan", "0s", NULL},
        {"timeouts.scan", "4000d", NULL},
        {"cache.layer_dedup", "true", "true"},
        {"cache.layer_dedup", "yes", NULL},
        {"cache.max_bytes", "10G", "9765625Ki"},
        {"cache.max_bytes", "1024Mi", "1Gi"},
        {"cache.max_bytes", "1Mi", NULL},
        {"cache.max_bytes", "off", NULL},
        {"cache.ttl", "168h", "7d"},
        {"cache.ttl", "off", "off"},
        {"cache.ttl", "0", "off"},
        {"cache.ttl", "never", NULL},
        {"worker.count", "256", "256"},
        {"worker.count", "257", NULL},
        {"worker.count", "0", NULL},
        {"routing.large_image_pool", "large-images", "large-images"},
        {"routing.large_image_pool", "Large", NULL},
        {"routing.large_image_pool", "none", "none"},
        {"routing.large_image_threshold", "none", "none"},
    };
    static const struct {
        const char *wrong, *right;
    } near[] = {{"worker.memlimit", "worker.memory_limit"},
                {"memory_limit", "worker.memory_limit"},
                {"timeout.scan", "timeouts.scan"},
                {"sbom.streaming_treshold", "sbom.streaming_threshold"}};
    struct st_err err = {0};
    char text[ST_KEY_TEXT];
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        const struct st_key *k = st_key_find(st_sv_of(rows[i].key), &err);
        int rc = k ? st_key_canonical(k, st_sv_of(rows[i].value), text, &err) : -1;
        TAP_OK(
            k && (rows[i].canonical ? rc == 0 && !strcmp(text, rows[i].canonical) : rc == -1 && err.code == ST_E_USAGE),
            "%s %s: %s", rows[i].key, rows[i].value, rc ? err.text : text);
    }
    for (size_t i = 0; i < ST_LEN(near); i++)
        TAP_OK(!st_key_find(st_sv_of(near[i].wrong), &err) && err.code == ST_E_USAGE && strstr(err.text, near[i].right),
               "%s", err.text);
    TAP_OK(!st_key_find(ST_SV("zzzzzz"), &err) && strstr(err.text, "config list"), "%s", err.text);
    for (const struct st_key *k = st_keys; k->name; k++)
        TAP_OK(st_key_canonical(k, st_sv_of(k->def), text, &err) == 0 && !strcmp(text, k->def) &&
                   (k == st_keys || strcmp(k[-1].name, k->name) < 0),
               "default of %s is canonical, the table is sorted", k->name);
}

static void test_routing(void)
{
    struct st_store *s = NULL;
    struct st_err err = {0};
    char pool[ST_KEY_TEXT];
    struct st_sv two = ST_SV("2Gi"), large = ST_SV("large");
    if (st_store_open_empty(&s, &err))
        return;
    TAP_OK(st_key_route(s, true, 1ull << 40, pool, &err) == 0 && !strcmp(pool, "default"), "no routing");
    st_store_config_set(s, ST_SV("routing.large_image_threshold"), &two, ST_SV("t"), &err);
    TAP_OK(st_key_route(s, true, 1ull << 40, pool, &err) == 0 && !strcmp(pool, "default"),
           "a threshold alone does nothing");
    st_store_config_set(s, ST_SV("routing.large_image_pool"), &large, ST_SV("t"), &err);
    TAP_OK(st_key_route(s, true, (2ull << 30) - 1, pool, &err) == 0 && !strcmp(pool, "default"), "just below");
    TAP_OK(st_key_route(s, true, 2ull << 30, pool, &err) == 0 && !strcmp(pool, "large"), "at the threshold");
    TAP_OK(st_key_route(s, false, 0, pool, &err) == 0 && !strcmp(pool, "large"), "size not known");
    struct st_buf b;
    st_buf_init(&b, &mem);
    TAP_OK(st_keys_snapshot(s, &b, &err) == 0 &&
               st_sv_search(st_buf_sv(&b), ST_SV("\"routing.large_image_threshold\":\"2Gi\"")) != ST_SV_NPOS &&
               st_sv_search(st_buf_sv(&b), ST_SV("\"worker.memory_limit\":\"4Gi\"")) != ST_SV_NPOS,
           "the snapshot has what is set and what is not");
    st_buf_release(&b);
    st_store_close(s);
}

static void test_messages(void)
{
    struct st_sv name, json;
    struct st_err err = {0}, back = {0};
    TAP_OK(st_message_split(ST_SV("scans.get {\"id\":\"x\"}"), &name, &json, &err) == 0 &&
               st_sv_eq(name, ST_SV("scans.get")) && st_sv_eq(json, ST_SV("{\"id\":\"x\"}")),
           "a request");
    TAP_OK(st_message_split(ST_SV("status.get"), &name, &json, &err) == 0 && st_sv_eq(json, ST_SV("{}")),
           "without JSON");
    static const char *const bad[] = {"", " {}", "GET / HTTP/1.1", "a\nb {}"};
    for (size_t i = 0; i < ST_LEN(bad); i++)
        TAP_OK(st_message_split(st_sv_of(bad[i]), &name, &json, &err) == -1, "no request: %zu", i);
    struct st_buf b;
    st_buf_init(&b, &mem);
    st_err_set(&err, ST_E_CONFLICT, "lease \"lost\"");
    TAP_OK(st_message_put_err(&b, &err, NULL) == 0, "an error goes");
    st_message_get_err(st_buf_sv(&b), &back);
    TAP_OK(back.code == ST_E_CONFLICT && !strcmp(back.text, "lease \"lost\""), "and comes");
    st_message_get_err(ST_SV("{\"error\":[1"), &back);
    TAP_OK(back.code == ST_E_FAILED && back.text[0], "from any bytes: %s", back.text);
    st_buf_release(&b);
}

static void test_operations(void)
{
    for (const struct st_op *o = st_ops; o->name; o++) {
        bool good = st_op_find(st_sv_of(o->name)) == o && o->run && o->role > ST_ROLE_NONE &&
                    (!o->path == !o->method) && (!o->path || (o->summary && o->status && o->answer));
        if (o->waits)
            good = good && !strcmp(o->request->fields[0].name, "waitMs") && o->request->fields[0].offset == 0;
        for (const struct st_op *p = st_ops; p < o; p++)
            good = good && !(o->path && p->path && !strcmp(o->path, p->path) && !strcmp(o->method, p->method));
        TAP_OK(good, "%s", o->name);
        TAP_OK(o->role < ST_ROLE_WORKER || !o->path, "%s: the supervisor's operations are not on HTTP", o->name);
    }
}

int main(void)
{
    st_mem_init(&mem, 16 << 20, -1);
    st_arena_init(&arena, &mem);
    test_record_round_trip();
    test_record_refuses();
    test_record_set();
    test_times();
    test_keys();
    test_routing();
    test_messages();
    test_operations();
    st_arena_release(&arena);
    st_mem_release(&mem);
    return tap_done();
}
