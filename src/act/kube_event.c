// Events of events.k8s.io/v1 (staging/src/k8s.io/api/events/v1/types.go; validated by
// pkg/apis/core/validation/events.go: eventTime, reportingController, reportingInstance, action and reason are needed,
// note is at most 1024 bytes, and but for series nothing may change later).
#include "act/kube_int.h"
#include "act/pick.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/map.h"

#include <stdio.h>

#define NOTE_MAX 1000 // less than 1024: a character cut in half is written as three bytes
#define CONTROLLER "stella-watchdog"
#define RECORD_KEY "stella-watchdog/record" // annotation: incident and time of the record that was said last
#define RECORD_MAX 160
#define EVENT_TRIES 3 // when others count in the same series

static const struct {
    const char *state, *reason;
} reasons[] = {
    {"thrash", "MemoryLivelock"},      {"stuck", "MemoryLivelock"},   {"swap-thrash", "MemoryLivelock"},
    {"file-thrash", "MemoryTooSmall"}, {"kernel", "MemoryExhausted"}, {"leak", "MemoryLeak"},
    {"healthy", "MemoryCacheFull"},
};

static const char *reason_of(const struct st_act_record *r)
{
    for (size_t i = 0; i < ST_LEN(reasons); i++)
        if (st_sv_eq(r->state, st_sv_of(reasons[i].state)))
            return reasons[i].reason;
    return "MemoryVerdict";
}

// What was, or is being, done about it: Kubernetes wants an UpperCamelCase word.
static const char *action_of(const struct st_act_record *r, bool deleting)
{
    static const struct {
        const char *rung, *word;
    } words[] = {{"observe", "Observe"},      {"warn", "Warn"},
                 {"relieve", "Relieve"},      {"culprit", "KillProcess"},
                 {"tree", "KillProcessTree"}, {"kernel", "KillByKernel"},
                 {"cgroup", "KillContainer"}, {"hook", "HandOver"}};
    if (deleting)
        return "DeleteRunner";
    for (size_t i = 0; i < ST_LEN(words); i++)
        if (st_sv_eq(r->rung, st_sv_of(words[i].rung)))
            return words[i].word;
    return "Observe";
}

// At most NOTE_MAX bytes, not cut inside a character.
static struct st_sv note_of(const struct st_act_record *r, bool dry, char buf[static NOTE_MAX + 1])
{
    int n = snprintf(buf, NOTE_MAX + 1, ST_SV_FMT "%s" ST_SV_FMT "%s" ST_SV_FMT "%s" ST_SV_FMT "%s",
                     (int)ST_MIN(r->text.len, (size_t)700), r->text.ptr ? r->text.ptr : "",
                     r->rung.len ? " Action " : "", ST_SV_ARG(r->rung), r->rung.len ? ": " : "", ST_SV_ARG(r->outcome),
                     r->detail.len ? ", " : "", (int)ST_MIN(r->detail.len, (size_t)200),
                     r->detail.ptr ? r->detail.ptr : "", dry ? " (dry run: nothing was done)" : "");
    size_t len = n > 0 ? ST_MIN((size_t)n, (size_t)NOTE_MAX) : 0;
    while (len && n > NOTE_MAX && ((unsigned char)buf[len] & 0xC0) == 0x80)
        len--;
    return st_sv_mem(buf, len);
}

// An incident has one id for all of its records, so the time tells them apart.
static struct st_sv record_of(const struct st_act_record *r, char buf[static RECORD_MAX])
{
    int n = snprintf(buf, RECORD_MAX, "%.*s@%.*s", (int)ST_MIN(r->id.len, (size_t)64), r->id.ptr ? r->id.ptr : "",
                     (int)ST_MIN(r->time.len, (size_t)64), r->time.ptr ? r->time.ptr : "");
    return st_sv_mem(buf, n > 0 ? (size_t)n : 0);
}

// MicroTime: the record's own time if it is one, else now.
static void event_time(const struct st_act_record *r, char ret[static 40])
{
    char text[ST_CLOCK_TEXT];
    int64_t s;
    st_clock_text(st_time_read(r->time, &s) ? s * 1000 : st_clock_wall_ms(), text);
    snprintf(ret, 40, "%.19s.000000Z", text);
}

static void event_body(const struct st_kube *k, const struct st_act_record *r, const struct st_pod *pod,
                       const char *name, bool deleting, struct st_out *o)
{
    char note[NOTE_MAX + 1], when[40], record[RECORD_MAX];
    struct st_json_out w;
    event_time(r, when);
    st_json_out_init(&w, o, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "apiVersion", ST_SV("events.k8s.io/v1"));
    st_json_kv(&w, "kind", ST_SV("Event"));
    st_json_key(&w, "metadata");
    st_json_open(&w, '{');
    st_json_kv(&w, "name", st_sv_of(name));
    st_json_kv(&w, "namespace", pod->namespace);
    st_json_key(&w, "annotations");
    st_json_open(&w, '{');
    st_json_kv(&w, RECORD_KEY, record_of(r, record));
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    st_json_kv(&w, "eventTime", st_sv_of(when));
    st_json_kv(&w, "reportingController", ST_SV(CONTROLLER));
    st_json_kv(&w, "reportingInstance", st_sv_of(k->instance));
    st_json_kv(&w, "type", r->must_end ? ST_SV("Warning") : ST_SV("Normal"));
    st_json_kv(&w, "reason", st_sv_of(reason_of(r)));
    st_json_kv(&w, "action", st_sv_of(action_of(r, deleting)));
    st_json_kv(&w, "note", note_of(r, r->dry_run || k->call->dry_run, note));
    st_json_key(&w, "regarding");
    st_json_open(&w, '{');
    st_json_kv(&w, "apiVersion", ST_SV("v1"));
    st_json_kv(&w, "kind", ST_SV("Pod"));
    st_json_kv(&w, "name", pod->name);
    st_json_kv(&w, "namespace", pod->namespace);
    st_json_kv(&w, "uid", pod->uid);
    if (pod->container.len) {
        char field[320];
        snprintf(field, sizeof field, "spec.containers{%.*s}", (int)ST_MIN(pod->container.len, (size_t)253),
                 pod->container.ptr);
        st_json_kv(&w, "fieldPath", st_sv_of(field));
    }
    st_json_close(&w, '}');
    st_json_close(&w, '}');
}

struct known {
    struct st_sv version, record;
    uint64_t count;
};
static const struct st_pick known_members[] = {
    {"metadata|resourceVersion", offsetof(struct known, version), ST_PICK_TEXT, true},
    {"metadata|annotations|" RECORD_KEY, offsetof(struct known, record), ST_PICK_TEXT},
    {"series|count", offsetof(struct known, count), ST_PICK_U64},
};

static int patch(struct st_kube *k, const char *path, struct st_sv body, struct st_http_response *ret,
                 struct st_err *err)
{
    return st_kube_ask(k, "PATCH", path, "application/merge-patch+json", body, "Kubernetes: count the Event", ret, err);
}

// Add one to the series of an Event that is there. An empty patch gives the object as it is, so that the right to patch
// is enough and `get` is not needed; the resourceVersion makes the count safe against others. 1: tell it anew (it is
// gone, or was changed in between); 0.
static int count(struct st_kube *k, const struct st_act_record *r, const char *path, enum st_kube_event *ret,
                 struct st_err *err)
{
    struct st_http_response now = {0}, changed = {0};
    struct known known = {0};
    struct st_buf body;
    struct st_out o;
    struct st_json_out w;
    char when[40], record[RECORD_MAX];
    int rc = -1;
    st_buf_init(&body, k->call->mem);
    if (patch(k, path, ST_SV("{}"), &now, err))
        goto out;
    if (now.status == 404) {
        rc = 1;
        goto out;
    }
    if (st_kube_check(&now, "Kubernetes: count the Event", k->call->arena, err) ||
        st_pick(st_buf_sv(&now.body), "Event", known_members, ST_LEN(known_members), &known, k->call->arena, err))
        goto out;
    if (st_sv_eq(known.record, record_of(r, record))) {
        *ret = ST_KUBE_EVENT_KNOWN;
        rc = 0;
        goto out;
    }
    event_time(r, when);
    st_out_init_buf(&o, &body);
    st_json_out_init(&w, &o, 0);
    st_json_open(&w, '{');
    st_json_key(&w, "metadata");
    st_json_open(&w, '{');
    st_json_kv(&w, "resourceVersion", known.version);
    st_json_key(&w, "annotations");
    st_json_open(&w, '{');
    st_json_kv(&w, RECORD_KEY, record_of(r, record));
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    st_json_key(&w, "series");
    st_json_open(&w, '{');
    st_json_key(&w, "count");
    st_json_u64(&w, ST_MIN(ST_MAX(known.count, 1u) + 1, (uint64_t)INT32_MAX));
    st_json_kv(&w, "lastObservedTime", st_sv_of(when));
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    if (st_out_finish(&o, err) || patch(k, path, st_buf_sv(&body), &changed, err))
        goto out;
    if (changed.status == 404 || changed.status == 409) {
        rc = 1;
        goto out;
    }
    *ret = ST_KUBE_EVENT_AGAIN;
    rc = st_kube_check(&changed, "Kubernetes: count the Event", k->call->arena, err);
out:
    st_http_response_release(&now);
    st_http_response_release(&changed);
    st_buf_release(&body);
    return rc;
}

// 1: it is there already.
static int create(struct st_kube *k, const char *path, struct st_sv body, struct st_err *err)
{
    static const char what[] = "Kubernetes: post the Event";
    struct st_http_response r = {0};
    int rc = st_kube_ask(k, "POST", path, "application/json", body, what, &r, err);
    if (rc == 0 && r.status == 409)
        rc = 1;
    else if (rc == 0)
        rc = st_kube_check(&r, what, k->call->arena, err);
    st_http_response_release(&r);
    return rc;
}

int st_kube_post_event(struct st_kube *k, const struct st_act_record *r, const struct st_pod *pod, bool deleting,
                       enum st_kube_event *ret, struct st_err *err)
{
    char name[300], path[ST_ACT_URL_MAX], one[ST_ACT_URL_MAX];
    struct st_buf body;
    struct st_out o;
    if (!st_kube_is_name(pod->namespace) || !st_kube_is_name(pod->name))
        return st_err_set(err, ST_E_CORRUPT, "the API server gave a name that is none");
    if (k->call->dry_run) {
        *ret = ST_KUBE_EVENT_DRY;
        return 0;
    }
    // One series for a pod, a container, what is wrong and what is done about it: those fields cannot change.
    uint64_t hash = st_hash_mix(st_hash(pod->uid), st_hash(pod->container));
    hash = st_hash_mix(hash, st_hash_mix(st_hash(st_sv_of(reason_of(r))), st_hash(st_sv_of(action_of(r, deleting)))));
    snprintf(name, sizeof name, "%.*s.%016llx", (int)ST_MIN(pod->name.len, (size_t)230), pod->name.ptr,
             (unsigned long long)hash);
    snprintf(path, sizeof path, "/apis/events.k8s.io/v1/namespaces/" ST_SV_FMT "/events", ST_SV_ARG(pod->namespace));
    snprintf(one, sizeof one, "/apis/events.k8s.io/v1/namespaces/" ST_SV_FMT "/events/%s", ST_SV_ARG(pod->namespace),
             name);
    st_buf_init(&body, k->call->mem);
    st_out_init_buf(&o, &body);
    event_body(k, r, pod, name, deleting, &o);
    int rc = st_out_finish(&o, err);
    for (int i = 0; rc == 0; i++) {
        if (i == EVENT_TRIES) {
            rc = st_err_set(err, ST_E_RETRY, "Kubernetes: the Event %s is being changed by others all the time", name);
            break;
        }
        *ret = ST_KUBE_EVENT_NEW;
        rc = create(k, path, st_buf_sv(&body), err);
        if (rc == 1)
            rc = count(k, r, one, ret, err);
        if (rc != 1)
            break;
        rc = 0;
    }
    st_buf_release(&body);
    return rc;
}
