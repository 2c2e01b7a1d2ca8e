// What is wanted: pools.wanted, asked for on a connection of its own, and slots made so.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "supervisor/admission.h"

#include <stdio.h>
#include <stdlib.h>

#define WAIT_MS 30000
#define LATE_MS (WAIT_MS + 10000)
#define AGAIN_MS 200

static void ask(struct st_sup *s);

static void disconnect(struct st_sup *s)
{
    st_loop_drop(&s->loop, &s->wanted.io);
    st_client_close(s->wanted.client);
    s->wanted.client = NULL;
    s->wanted.out = false;
    st_loop_arm(&s->loop, &s->wanted.timer, AGAIN_MS);
}

// ---- slots --------------------------------------------------------------------------------------

static bool named(const char *list, const char *name)
{
    struct st_sv rest = st_sv_of(list), part;
    while (st_sv_split(&rest, ',', &part))
        if (st_sv_eq(st_sv_trim(part), st_sv_of(name)))
            return true;
    return false;
}

struct st_sup_pool *st_wanted_pool(struct st_sup *s, struct st_sv name)
{
    for (size_t i = 0; i < ST_POOLS_MAX; i++)
        if (s->pools[i].used && st_sv_eq(name, st_sv_of(s->pools[i].name)))
            return &s->pools[i];
    return NULL;
}

static struct st_slot *slot_of(struct st_sup *s, const struct st_sup_pool *p, unsigned number)
{
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i]->number == number && !strcmp(s->slots[i]->pool, p->name))
            return s->slots[i];
    return NULL;
}

static void remove_slot(struct st_sup *s, size_t i)
{
    st_slot_report(s->slots[i], "dead");
    st_slot_free(s->slots[i]);
    s->slots[i] = s->slots[--s->n_slots];
}

// Limits are looked at before a worker is ended for them: a bad one must not take the last worker down.
static bool good(const struct st_sup_pool *p)
{
    return p->memory >= 32 * ST_MIB;
}

static bool behind(const struct st_slot *t, const struct st_sup_pool *p)
{
    return t->generation < p->generation && !t->leaving;
}

// One after the other, so that the others go on; at once when it is forced. Idle ones cost nobody anything.
static void restart_behind(struct st_sup *s, struct st_sup_pool *p)
{
    size_t stopping = 0;
    for (size_t i = 0; i < s->n_slots; i++)
        stopping += !strcmp(s->slots[i]->pool, p->name) &&
                    (s->slots[i]->state == ST_SLOT_STOPPING || s->slots[i]->state == ST_SLOT_CLEARING);
    for (size_t i = 0; i < s->n_slots; i++) {
        struct st_slot *t = s->slots[i];
        if (strcmp(t->pool, p->name) != 0 || !behind(t, p))
            continue;
        if (t->state == ST_SLOT_IDLE) {
            if (t->reserved)
                st_claims_drop(s, p, false);
            st_slot_count_restart(t, "manual");
            st_slot_renew(t, p);
        } else if (t->state != ST_SLOT_STOPPING && t->state != ST_SLOT_CLEARING && (!stopping || p->force)) {
            st_slot_stop(t, ST_STOP_RELEASE, p->force);
            stopping++;
        }
    }
}

static void make_missing(struct st_sup *s, struct st_sup_pool *p)
{
    for (unsigned i = 1; i <= p->count; i++) {
        struct st_err err = {0};
        struct st_slot *t = slot_of(s, p, i);
        if (t)
            t->leaving = false;
        else if (s->n_slots == ST_SLOTS_MAX || st_slot_new(s, p, i, &t, &err))
            return;
        else
            s->slots[s->n_slots++] = t;
    }
}

void st_wanted_reconcile(struct st_sup *s)
{
    if (s->stop.on)
        return;
    for (size_t i = 0; i < ST_POOLS_MAX; i++) {
        struct st_sup_pool *p = &s->pools[i];
        if (!p->used)
            continue;
        if (!p->gone && p->ours && good(p)) {
            make_missing(s, p);
            restart_behind(s, p);
        } else if (!p->gone && p->ours) {
            st_sup_log(s, ST_LOG_ERROR, "worker", "",
                       "pool %s asks for workers of %llu bytes: nothing is changed for that", p->name,
                       (unsigned long long)p->memory);
        }
    }
    for (size_t i = s->n_slots; i-- > 0;) {
        struct st_slot *t = s->slots[i];
        struct st_sup_pool *p = st_wanted_pool(s, st_sv_of(t->pool));
        t->leaving = !p || p->gone || !p->ours || t->number > p->count;
        if (!t->leaving || t->state != ST_SLOT_IDLE)
            continue;
        if (t->reserved && p)
            st_claims_drop(s, p, false);
        if (!t->reserved)
            remove_slot(s, i);
    }
    for (size_t i = 0; i < ST_POOLS_MAX; i++) {
        struct st_sup_pool *p = &s->pools[i];
        if (p->used && p->gone && !p->claim.client && !slot_of(s, p, 1)) {
            free(p->config);
            *p = (struct st_sup_pool){.claim.io.fd = -1};
        }
    }
    st_claims_changed(s);
}

// ---- answers ------------------------------------------------------------------------------------

static int keep_row(void *ctx, const void *row, struct st_err *err)
{
    struct st_sup *s = ctx;
    if (s->wanted.n == ST_POOLS_MAX)
        return 0;
    struct st_wanted *w = st_record_dup(&st_record_wanted, row, &s->wanted.arena, err);
    if (!w)
        return -1;
    s->wanted.rows[s->wanted.n++] = *w;
    return 0;
}

static struct st_sup_pool *pool_for(struct st_sup *s, struct st_sv name)
{
    struct st_sup_pool *p = st_wanted_pool(s, name);
    for (size_t i = 0; !p && i < ST_POOLS_MAX; i++)
        if (!s->pools[i].used) {
            p = &s->pools[i];
            *p = (struct st_sup_pool){.sup = s, .used = true, .claim.io.fd = -1, .served_ms = st_clock_mono_ms()};
            snprintf(p->name, sizeof p->name, ST_SV_FMT, ST_SV_ARG(name));
            p->ours = !s->o->pools || named(s->o->pools, p->name);
        }
    return p;
}

static void say_over(struct st_sup *s, const struct st_sup_pool *p)
{
    uint64_t can = st_admission_effective(p->memory, s->host);
    if (p->ours && can < p->memory)
        st_sup_say("pool %s asks for workers of %llu MiB; this host can give %llu MiB", p->name,
                   (unsigned long long)(p->memory / ST_MIB), (unsigned long long)(can / ST_MIB));
}

static void take_pools(struct st_sup *s)
{
    for (size_t i = 0; i < ST_POOLS_MAX; i++)
        s->pools[i].gone = true;
    for (size_t i = 0; i < s->wanted.n; i++) {
        const struct st_wanted *w = &s->wanted.rows[i];
        struct st_sup_pool *p = pool_for(s, w->pool);
        char *config = p ? strndup(w->config.len ? w->config.ptr : "{}", w->config.len ? w->config.len : 2) : NULL;
        if (!config)
            continue;
        bool told = p->memory == w->memory;
        free(p->config);
        p->config = config;
        p->memory = w->memory;
        p->count = w->count;
        p->generation = w->generation;
        p->force = w->force;
        p->gone = false;
        if (!told)
            say_over(s, p);
    }
}

static void take_wanted(struct st_sup *s)
{
    if (!s->wanted.n)
        return;
    s->wanted.seen = s->wanted.rows[0].version;
    uint64_t cancels = s->wanted.rows[0].cancels;
    take_pools(s);
    // Some job is to be cancelled, perhaps one of ours: ask now, not with the next heartbeat.
    for (size_t i = 0; cancels && cancels != s->wanted.cancels && i < s->n_slots; i++)
        if (s->slots[i]->job.id[0])
            st_loop_arm(&s->loop, &s->slots[i]->renew, 0);
    s->wanted.cancels = cancels;
    s->wanted.any = true;
    s->wanted.n = 0;
    st_arena_reset(&s->wanted.arena);
    st_wanted_reconcile(s);
}

static void on_answer(void *sup, uint32_t events)
{
    struct st_sup *s = sup;
    struct st_err err = {0};
    if (!s->wanted.out) {
        disconnect(s);
        return;
    }
    int rc = st_client_take(s->wanted.client, keep_row, s, &err);
    if (rc == 0)
        return;
    if (rc < 0) {
        if (err.code != ST_E_RETRY && !s->stop.on)
            st_sup_say("what is wanted: %s", err.text);
        s->wanted.n = 0;
        st_arena_reset(&s->wanted.arena);
        disconnect(s);
        return;
    }
    s->wanted.out = false;
    st_loop_disarm(&s->loop, &s->wanted.timer);
    take_wanted(s);
    ask(s);
}

static void ask(struct st_sup *s)
{
    struct st_err err = {0};
    struct st_req_wanted q = {.wait_ms = WAIT_MS, .seen = s->wanted.seen};
    if (s->stop.on || s->wanted.out)
        return;
    if (!s->wanted.client && (st_client_connect(s->o->socket, &s->wanted.client, &err) ||
                              st_loop_add(&s->loop, &s->wanted.io, st_client_fd(s->wanted.client), EPOLLIN, &err))) {
        disconnect(s);
        return;
    }
    if (st_client_send(s->wanted.client, "pools.wanted", &q, &err)) {
        disconnect(s);
        return;
    }
    s->wanted.out = true;
    st_loop_arm(&s->loop, &s->wanted.timer, LATE_MS);
}

static void on_timer(void *sup)
{
    struct st_sup *s = sup;
    if (s->wanted.out)
        disconnect(s);
    else
        ask(s);
}

int st_wanted_init(struct st_sup *s, struct st_err *err)
{
    s->wanted.io = (struct st_io){.fd = -1, .ready = on_answer, .ctx = s};
    st_arena_init(&s->wanted.arena, &s->mem);
    s->wanted.rows = calloc(ST_POOLS_MAX, sizeof *s->wanted.rows);
    if (!s->wanted.rows)
        return st_err_nomem(err);
    if (st_loop_timer(&s->loop, &s->wanted.timer, on_timer, s, err))
        return -1;
    st_loop_arm(&s->loop, &s->wanted.timer, 0);
    return 0;
}

void st_wanted_release(struct st_sup *s)
{
    st_loop_drop(&s->loop, &s->wanted.io);
    st_client_close(s->wanted.client);
    s->wanted.client = NULL;
    st_arena_release(&s->wanted.arena);
    free(s->wanted.rows);
    s->wanted.rows = NULL;
    for (size_t i = 0; i < ST_POOLS_MAX; i++)
        free(s->pools[i].config);
}
