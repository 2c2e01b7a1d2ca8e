#include "act/arc.h"

#include "act/pick.h"
#include "base/ckd.h"

// ---- cgroup paths ---------------------------------------------------------------------------------------------------

// 8-4-4-4-12 with '-' or '_' (systemd reads '-' in a slice's name as its parent), or 32 digits of a static pod.
static bool read_uid(struct st_sv s, struct st_pod_ref *ret)
{
    static const uint8_t dashes[] = {8, 13, 18, 23};
    ret->static_pod = s.len == 32 && st_sv_is_hex(s);
    if (!ret->static_pod && s.len != ST_POD_UID_LEN)
        return false;
    memcpy(ret->uid, s.ptr, s.len);
    ret->uid[s.len] = '\0';
    if (ret->static_pod)
        return true;
    for (size_t i = 0; i < ST_LEN(dashes); i++) {
        if (ret->uid[dashes[i]] != '-' && ret->uid[dashes[i]] != '_')
            return false;
        ret->uid[dashes[i]] = '0';
    }
    bool hex = st_sv_is_hex(st_sv_mem(ret->uid, s.len));
    for (size_t i = 0; i < ST_LEN(dashes); i++)
        ret->uid[dashes[i]] = '-';
    return hex;
}

// "kubepods-burstable-pod<uid>.slice" or "pod<uid>".
static bool read_pod(struct st_sv part, struct st_pod_ref *ret)
{
    if (st_sv_ends(part, ST_SV(".slice"))) {
        part.len -= strlen(".slice");
        size_t dash = st_sv_rfind(part, '-'); // a uid has none here
        if (dash == ST_SV_NPOS)
            return false;
        part = st_sv_from(part, dash + 1);
    }
    return st_sv_starts(part, ST_SV("pod")) && read_uid(st_sv_from(part, 3), ret);
}

// "cri-containerd-<id>.scope", "crio-<id>.scope", "docker-<id>.scope", "<id>". CRI-O's "crio-conmon-<id>.scope" is the
// container's monitor, not the container.
static bool read_container(struct st_sv part, char ret[static ST_CONTAINER_ID_LEN + 1])
{
    if (st_sv_ends(part, ST_SV(".scope"))) {
        part.len -= strlen(".scope");
        size_t dash = st_sv_rfind(part, '-');
        if (dash == ST_SV_NPOS || st_sv_ends(st_sv_sub(part, 0, dash), ST_SV("conmon")))
            return false;
        part = st_sv_from(part, dash + 1);
    }
    if (part.len != ST_CONTAINER_ID_LEN || !st_sv_is_hex(part))
        return false;
    memcpy(ret, part.ptr, part.len);
    ret[part.len] = '\0';
    return true;
}

int st_pod_ref_read(struct st_sv path, struct st_pod_ref *ret, struct st_err *err)
{
    struct st_sv rest = path, part;
    bool found = false, open = false; // open: the next part may be the pod's container
    struct st_pod_ref ref = {0};
    while (st_sv_split(&rest, '/', &part)) {
        struct st_pod_ref inner = {0};
        if (part.len == 0)
            continue;
        if (read_pod(part, &inner)) {
            ref = inner;
            found = open = true;
            continue;
        }
        if (open)
            read_container(part, ref.container);
        open = false;
    }
    if (!found)
        return st_err_set(err, ST_E_NOTFOUND, "cgroup %.*s belongs to no pod", (int)ST_MIN(path.len, (size_t)200),
                          path.ptr ? path.ptr : "");
    *ret = ref;
    return 0;
}

// ---- pods -----------------------------------------------------------------------------------------------------------

struct pod_json {
    struct st_pod pod;
    struct st_sv owners, containers, init_containers, ephemeral_containers, works_for;
};
#define POD(field) offsetof(struct pod_json, pod.field)
static const struct st_pick pod_members[] = {
    {"metadata|name", POD(name), ST_PICK_TEXT, true},
    {"metadata|namespace", POD(namespace), ST_PICK_TEXT, true},
    {"metadata|uid", POD(uid), ST_PICK_TEXT, true},
    {"metadata|creationTimestamp", POD(created), ST_PICK_TEXT},
    {"metadata|deletionTimestamp", POD(deleted), ST_PICK_TEXT},
    {"metadata|annotations|kubernetes.io/config.hash", POD(config_hash), ST_PICK_TEXT},
    {"metadata|labels|runner-pod", offsetof(struct pod_json, works_for), ST_PICK_TEXT},
    {"metadata|ownerReferences", offsetof(struct pod_json, owners), ST_PICK_RAW},
    {"spec|nodeName", POD(node), ST_PICK_TEXT},
    {"status|phase", POD(phase), ST_PICK_TEXT},
    {"status|containerStatuses", offsetof(struct pod_json, containers), ST_PICK_RAW},
    {"status|initContainerStatuses", offsetof(struct pod_json, init_containers), ST_PICK_RAW},
    {"status|ephemeralContainerStatuses", offsetof(struct pod_json, ephemeral_containers), ST_PICK_RAW},
};

struct owner {
    struct st_sv api, kind, name, uid;
};
static const struct st_pick owner_members[] = {
    {"apiVersion", offsetof(struct owner, api), ST_PICK_TEXT},
    {"kind", offsetof(struct owner, kind), ST_PICK_TEXT},
    {"name", offsetof(struct owner, name), ST_PICK_TEXT},
    {"uid", offsetof(struct owner, uid), ST_PICK_TEXT},
};

struct status {
    struct st_sv name, id, finished, reason;
    uint64_t exit;
};
static const struct st_pick status_members[] = {
    {"name", offsetof(struct status, name), ST_PICK_TEXT},
    {"containerID", offsetof(struct status, id), ST_PICK_TEXT},
    {"state|terminated|finishedAt", offsetof(struct status, finished), ST_PICK_TEXT},
    {"state|terminated|reason", offsetof(struct status, reason), ST_PICK_TEXT},
    {"state|terminated|exitCode", offsetof(struct status, exit), ST_PICK_U64},
};

static int read_owners(struct st_sv raw, struct st_arena *a, struct st_pod *pod, struct st_err *err)
{
    struct st_pick_array it;
    struct st_sv one;
    int rc;
    st_pick_array_init(&it, raw);
    while ((rc = st_pick_array_next(&it, &one, err)) > 0) {
        struct owner o = {0};
        if (st_pick(one, "ownerReferences", owner_members, ST_LEN(owner_members), &o, a, err))
            return -1;
        if (st_sv_eq(o.kind, ST_SV("EphemeralRunner")) && st_sv_starts(o.api, ST_SV("actions.github.com/"))) {
            pod->runner = o.name;
            pod->runner_uid = o.uid;
        }
    }
    return rc;
}

static int read_statuses(struct st_sv raw, struct st_sv container_id, struct st_arena *a, struct st_pod *pod,
                         struct st_err *err)
{
    struct st_pick_array it;
    struct st_sv one;
    int rc;
    st_pick_array_init(&it, raw);
    while ((rc = st_pick_array_next(&it, &one, err)) > 0) {
        struct status s = {0};
        if (st_pick(one, "containerStatuses", status_members, ST_LEN(status_members), &s, a, err))
            return -1;
        size_t scheme = st_sv_search(s.id, ST_SV("://"));
        struct st_sv id = scheme == ST_SV_NPOS ? s.id : st_sv_from(s.id, scheme + 3);
        if (container_id.len && st_sv_eq(id, container_id)) {
            pod->container = s.name;
            pod->container_id = id;
        }
        if (st_sv_eq(s.name, ST_SV("runner"))) {
            pod->runner_finished = s.finished;
            pod->runner_reason = s.reason;
            pod->runner_exit = s.exit;
        }
    }
    return rc;
}

int st_pod_read(struct st_sv json, struct st_sv container_id, struct st_arena *a, struct st_pod *ret,
                struct st_err *err)
{
    struct pod_json p = {0};
    if (st_pick(json, "Pod", pod_members, ST_LEN(pod_members), &p, a, err) || read_owners(p.owners, a, &p.pod, err) ||
        read_statuses(p.containers, container_id, a, &p.pod, err) ||
        read_statuses(p.init_containers, container_id, a, &p.pod, err) ||
        read_statuses(p.ephemeral_containers, container_id, a, &p.pod, err))
        return -1;
    // In kubernetes mode a job's containers run in a pod of their own, which names the runner's pod: that of the
    // runner.
    if (p.pod.runner.len == 0)
        p.pod.runner = p.works_for;
    *ret = p.pod;
    return 0;
}

bool st_pod_is(const struct st_pod *pod, const struct st_pod_ref *ref)
{
    return st_sv_eq(ref->static_pod ? pod->config_hash : pod->uid, st_sv_of(ref->uid));
}

// ---- runners --------------------------------------------------------------------------------------------------------

struct runner_json {
    struct st_runner r;
    struct st_sv failures;
};
#define RUNNER(field) offsetof(struct runner_json, r.field)
static const struct st_pick runner_members[] = {
    {"metadata|name", RUNNER(name), ST_PICK_TEXT, true},
    {"metadata|namespace", RUNNER(namespace), ST_PICK_TEXT, true},
    {"metadata|uid", RUNNER(uid), ST_PICK_TEXT, true},
    {"metadata|creationTimestamp", RUNNER(created), ST_PICK_TEXT},
    {"metadata|deletionTimestamp", RUNNER(deleted), ST_PICK_TEXT},
    {"status|phase", RUNNER(phase), ST_PICK_TEXT},
    {"status|jobRepositoryName", RUNNER(repository), ST_PICK_TEXT},
    {"status|workflowRunId", RUNNER(run_id), ST_PICK_U64},
    {"status|jobDisplayName", RUNNER(job), ST_PICK_TEXT},
    {"status|failures", offsetof(struct runner_json, failures), ST_PICK_RAW},
};

int st_runner_read(struct st_sv json, struct st_arena *a, struct st_runner *ret, struct st_err *err)
{
    struct runner_json r = {0};
    if (st_pick(json, "EphemeralRunner", runner_members, ST_LEN(runner_members), &r, a, err))
        return -1;
    r.r.failed_before = st_sv_find(r.failures, '"') != ST_SV_NPOS; // an object with a key
    *ret = r.r;
    return 0;
}

// ---- zombies --------------------------------------------------------------------------------------------------------

static const struct {
    const char *word;
    bool may_delete;
    const char *text;
} zombies[] = {
#define ST_ZOMBIE_ROW(id, word, delete, text) {word, delete, text},
    ST_ZOMBIES(ST_ZOMBIE_ROW)
#undef ST_ZOMBIE_ROW
};

const char *st_zombie_word(enum st_zombie z)
{
    return zombies[z].word;
}

const char *st_zombie_text(enum st_zombie z)
{
    return zombies[z].text;
}

bool st_zombie_may_delete(enum st_zombie z)
{
    return zombies[z].may_delete;
}

// Seconds since `when`, if that is `older` ago or more.
static bool long_since(struct st_sv when, int64_t now, uint64_t older, uint64_t *ret_for)
{
    int64_t t;
    if (!st_time_read(when, &t) || now < t || (uint64_t)(now - t) < older)
        return false;
    *ret_for = (uint64_t)(now - t);
    return true;
}

enum st_zombie st_zombie_judge(const struct st_runner *r, const struct st_pod *pod, int64_t now, uint64_t older,
                               uint64_t *ret_for)
{
    *ret_for = 0;
    if (r->deleted.len)
        return long_since(r->deleted, now, older, ret_for) ? ST_ZOMBIE_DELETING : ST_ZOMBIE_NONE;
    if (!st_sv_eq(r->phase, ST_SV("Running")))
        return ST_ZOMBIE_NONE;
    if (!pod)
        return long_since(r->created, now, older, ret_for) ? ST_ZOMBIE_GONE : ST_ZOMBIE_NONE;
    if (pod->runner_finished.len)
        return long_since(pod->runner_finished, now, older, ret_for) ? ST_ZOMBIE_DEAD : ST_ZOMBIE_NONE;
    if (r->failed_before)
        return long_since(pod->created, now, older, ret_for) ? ST_ZOMBIE_AGAIN : ST_ZOMBIE_NONE;
    return ST_ZOMBIE_NONE;
}

// Days from 1970-01-01 of a date of the Gregorian calendar; years counted from March, so that a leap day is the last.
static int64_t days(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool st_time_read(struct st_sv s, int64_t *ret)
{
    static const struct {
        uint8_t at, len, before; // `before`: character in front of the field
        uint16_t min, max;
    } fields[] = {{0, 4, 0, 1970, 9999}, {5, 2, '-', 1, 12},  {8, 2, '-', 1, 31},
                  {11, 2, 'T', 0, 23},   {14, 2, ':', 0, 59}, {17, 2, ':', 0, 60}};
    uint64_t v[ST_LEN(fields)];
    if (s.len < 20 || s.ptr[s.len - 1] != 'Z' || (s.len > 20 && s.ptr[19] != '.'))
        return false;
    for (size_t i = 0; i < ST_LEN(fields); i++)
        if (!st_sv_u64(st_sv_sub(s, fields[i].at, fields[i].len), 10, &v[i]) || v[i] < fields[i].min ||
            v[i] > fields[i].max || (fields[i].before && s.ptr[fields[i].at - 1] != (char)fields[i].before))
            return false;
    *ret = days((int64_t)v[0], (int64_t)v[1], (int64_t)v[2]) * 86400 + (int64_t)(v[3] * 3600 + v[4] * 60 + v[5]);
    return true;
}
