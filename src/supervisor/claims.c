// Who waits for a job: one connection a pool, opened as admission.h decides. A claim that is no longer wanted is not
// cut off, since its answer may be under way: writing is ended, and a job that comes all the same is given back.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "supervisor/admission.h"

#include <sys/socket.h>

#define WAIT_MS 20000
#define WAIT_TURN_MS 2000 // where pools take turns
#define AGAIN_MS 200

static void disconnect(struct st_sup *s, struct st_sup_pool *p)
{
    struct st_claim_conn *c = &p->claim;
    st_loop_drop(&s->loop, &c->io);
    st_client_close(c->client);
    c->client = NULL;
    if (c->slot)
        c->slot->reserved = false;
    c->slot = NULL;
    c->memory = 0;
    c->dropped = c->out = false;
}

struct taking {
    struct st_sup *s;
    struct st_sup_pool *p;
};

static int take_job(void *ctx, const void *row, struct st_err *err)
{
    struct taking *t = ctx;
    struct st_claim_conn *c = &t->p->claim;
    const struct st_job *j = row;
    c->got = true;
    if (!c->slot) {
        struct st_req_lease q = {.fence = j->fence, .message = ST_SV("the worker was stopped before it began")};
        memcpy(q.id, j->id, sizeof q.id);
        st_calls_add(t->s, "lease.release", &q, ST_CALL_KEEP, 0, NULL);
        return 0;
    }
    struct st_slot *slot = c->slot;
    c->slot = NULL;
    c->memory = 0;
    slot->reserved = false;
    st_slot_begin(slot, j, st_client_file(c->client));
    return 0;
}

static void on_answer(struct st_sup *s, struct st_sup_pool *p)
{
    struct st_claim_conn *c = &p->claim;
    struct st_err err = {0};
    struct taking t = {s, p};
    int rc = st_client_take(c->client, take_job, &t, &err);
    if (rc == 0)
        return;
    c->out = false;
    p->served_ms = st_clock_mono_ms();
    if (rc < 0 || c->dropped) {
        if (rc < 0 && !c->dropped && err.code != ST_E_RETRY)
            st_sup_say("claim of pool %s: %s", p->name, err.text);
        bool away = rc < 0 && !c->dropped;
        disconnect(s, p);
        st_loop_arm(&s->loop, &s->admit, away ? AGAIN_MS : 0);
        if (!away)
            st_wanted_reconcile(s);
        return;
    }
    if (c->slot)
        c->slot->reserved = false;
    c->slot = NULL;
    c->memory = 0;
    st_claims_changed(s);
}

static void on_ready(void *pool, uint32_t events)
{
    struct st_sup_pool *p = pool;
    if (p->claim.out)
        on_answer(p->sup, p);
    else { // closed by the other side between two claims
        disconnect(p->sup, p);
        st_loop_arm(&p->sup->loop, &p->sup->admit, AGAIN_MS);
    }
}

// ---- sending ------------------------------------------------------------------------------------

static struct st_slot *free_slot(struct st_sup *s, const struct st_sup_pool *p)
{
    struct st_slot *best = NULL;
    for (size_t i = 0; i < s->n_slots; i++) {
        struct st_slot *t = s->slots[i];
        if (!strcmp(t->pool, p->name) && st_slot_free_for_job(t) && (!best || t->number < best->number))
            best = t;
    }
    return best;
}

static void send_claim(struct st_sup *s, struct st_sup_pool *p, struct st_slot *t, bool turn)
{
    struct st_claim_conn *c = &p->claim;
    struct st_err err = {0};
    struct st_req_claim q = {.wait_ms = turn ? WAIT_TURN_MS : WAIT_MS,
                             .pool = st_sv_of(p->name),
                             .worker = st_sv_of(t->id),
                             .holder = st_sv_of(s->lock.holder),
                             .lease_ms = ST_LEASE_MS,
                             .memory_limit = t->memory,
                             .config = st_sv_of(t->config)};
    c->io.ready = on_ready;
    c->io.ctx = p;
    if (!c->client && (st_client_connect(s->o->socket, &c->client, &err) ||
                       st_loop_add(&s->loop, &c->io, st_client_fd(c->client), EPOLLIN, &err))) {
        disconnect(s, p);
        st_loop_arm(&s->loop, &s->admit, AGAIN_MS);
        return;
    }
    if (st_client_send(c->client, "queue.claim", &q, &err)) {
        disconnect(s, p);
        st_loop_arm(&s->loop, &s->admit, AGAIN_MS);
        return;
    }
    c->out = true;
    c->slot = t;
    c->memory = t->memory;
    t->reserved = true;
}

void st_claims_drop(struct st_sup *s, struct st_sup_pool *p, bool take)
{
    struct st_claim_conn *c = &p->claim;
    if (!c->out || !c->slot)
        return;
    c->dropped = true;
    if (!take) {
        c->slot->reserved = false;
        c->slot = NULL;
    }
    shutdown(st_client_fd(c->client), SHUT_WR);
}

bool st_claims_out(const struct st_sup *s)
{
    for (size_t i = 0; i < ST_POOLS_MAX; i++)
        if (s->pools[i].claim.out)
            return true;
    return false;
}

void st_claims_changed(struct st_sup *s)
{
    if (!s->stop.on)
        st_loop_arm(&s->loop, &s->admit, 0);
}

// ---- deciding -----------------------------------------------------------------------------------

static void on_counts(struct st_sup *s, uint64_t tag, const void *row, const struct st_err *e)
{
    const struct st_count_row *r = row;
    struct st_sup_pool *p = r && st_sv_eq(r->what, ST_SV("pending")) ? st_wanted_pool(s, r->which) : NULL;
    if (p && r->count && !p->claim.slot)
        p->starving = true;
}

void st_claims_decide(void *sup)
{
    struct st_sup *s = sup;
    struct st_admission_pool in[ST_POOLS_MAX] = {0};
    struct st_slot *slots[ST_POOLS_MAX] = {NULL};
    int64_t now = st_clock_mono_ms();
    uint64_t used = 0;
    bool ask = false, turns = false;
    if (s->stop.on)
        return;
    for (size_t i = 0; i < s->n_slots; i++)
        used += s->slots[i]->state != ST_SLOT_IDLE ? s->slots[i]->memory : 0;
    for (size_t i = 0; i < ST_POOLS_MAX; i++) {
        struct st_sup_pool *p = &s->pools[i];
        slots[i] = p->used && p->ours && !p->gone && !p->claim.out ? free_slot(s, p) : NULL;
        in[i] = (struct st_admission_pool){.memory = slots[i] ? slots[i]->memory : p->claim.memory,
                                           .waited_ms = now - p->served_ms,
                                           .wants = slots[i] != NULL,
                                           .waiting = p->claim.memory != 0,
                                           .starving = p->starving};
    }
    st_admission_decide(in, ST_POOLS_MAX, used, s->host);
    for (size_t i = 0; i < ST_POOLS_MAX; i++)
        turns = turns || (in[i].wants && !in[i].admit);
    for (size_t i = 0; i < ST_POOLS_MAX; i++) {
        struct st_sup_pool *p = &s->pools[i];
        if (in[i].admit) {
            p->starving = false;
            send_claim(s, p, slots[i], turns);
        } else if (in[i].yield && p->claim.slot && !p->claim.dropped && now - p->served_ms > WAIT_TURN_MS) {
            st_claims_drop(s, p, true); // it asked for a long wait when nobody else wanted one
        }
        ask = ask || (in[i].wants && !in[i].admit && in[i].waited_ms > ST_ADMISSION_PATIENCE_MS && !p->starving);
    }
    if (ask)
        st_calls_add(s, "queue.pools", NULL, ST_CALL_LATER, 0, on_counts);
    if (turns && !st_loop_armed(&s->admit))
        st_loop_arm(&s->loop, &s->admit, WAIT_TURN_MS);
}

void st_claims_release(struct st_sup *s)
{
    for (size_t i = 0; i < ST_POOLS_MAX; i++)
        disconnect(s, &s->pools[i]);
}
