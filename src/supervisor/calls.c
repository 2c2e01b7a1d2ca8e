// Calls to stella-api, one after the other on one connection. What must arrive is kept while it is away.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "base/clock.h"

#include <stdlib.h>
#include <unistd.h>

#define DEADLINE_MS 10000
#define AGAIN_MS 50
#define AGAIN_MAX_MS 1000
#define LATER_MAX 512 // calls that may wait and may be lost: log lines, reports

struct st_queued {
    struct st_queued *next;
    const char *op;
    int how;
    uint64_t tag;
    st_call_fn *done;
    struct st_mem mem;
    struct st_arena arena; // of the request
    const void *request;
};

static void free_one(struct st_queued *q)
{
    st_arena_release(&q->arena);
    st_mem_release(&q->mem);
    free(q);
}

static void advance(struct st_sup *s);

static void disconnect(struct st_sup *s)
{
    struct st_calls *c = &s->calls;
    st_loop_drop(&s->loop, &c->io);
    st_client_close(c->client);
    c->client = NULL;
    c->out = false;
    unsigned shift = ST_MIN(c->failures, 5u);
    c->failures++; // the timer is set before answers are given: they may ask for more
    st_loop_arm(&s->loop, &c->timer, ST_MIN((int64_t)AGAIN_MS << shift, (int64_t)AGAIN_MAX_MS));
    // What need not arrive is not sent anew.
    struct st_queued *q = c->head, *keep = NULL, *last = NULL;
    static const struct st_err away = {.code = ST_E_RETRY, .text = "stella-api is away"};
    struct st_queued *dropped = NULL;
    for (struct st_queued *next; q; q = next) {
        next = q->next;
        q->next = NULL;
        if (q->how & ST_CALL_KEEP) {
            *(last ? &last->next : &keep) = q;
            last = q;
        } else {
            q->next = dropped;
            dropped = q;
            c->n--;
        }
    }
    c->head = keep;
    c->tail = last;
    while ((q = dropped)) {
        dropped = q->next;
        if (q->done)
            q->done(s, q->tag, NULL, &away);
        free_one(q);
    }
}

// The first of the queue is answered.
static void finish(struct st_sup *s, const void *row, const struct st_err *e)
{
    struct st_calls *c = &s->calls;
    struct st_queued *q = c->head;
    c->head = q->next;
    c->tail = c->head ? c->tail : NULL;
    c->n--;
    c->out = false;
    st_loop_disarm(&s->loop, &c->timer);
    if (q->done)
        q->done(s, q->tag, row, e);
    else if (e && e->code != ST_E_CONFLICT)
        st_sup_say("%s: %s", q->op, e->text);
    free_one(q);
}

static int take_row(void *ctx, const void *row, struct st_err *err)
{
    // Answers here are records of numbers and words: the row is looked at before the next one is read.
    struct st_sup *s = ctx;
    s->calls.row = row;
    struct st_queued *q = s->calls.head;
    if (q->done)
        q->done(s, q->tag, row, NULL);
    return 0;
}

// What will be answered so each time.
static bool final(enum st_err_code code)
{
    return code == ST_E_CONFLICT || code == ST_E_INPUT || code == ST_E_USAGE || code == ST_E_NOTFOUND ||
           code == ST_E_AUTH || code == ST_E_LIMIT;
}

static void on_answer(void *sup, uint32_t events)
{
    struct st_sup *s = sup;
    struct st_calls *c = &s->calls;
    struct st_err err = {0};
    if (!c->out) { // closed by the other side
        disconnect(s);
        return;
    }
    int rc = st_client_take(c->client, take_row, s, &err);
    if (rc == 0)
        return;
    if (rc < 0 && st_client_fd(c->client) < 0) {
        disconnect(s);
        return;
    }
    if (rc < 0 && (c->head->how & ST_CALL_KEEP) && !final(err.code)) { // a full disk, a database away: later
        disconnect(s);
        return;
    }
    c->failures = 0;
    bool said = rc > 0 && c->row;
    c->row = NULL;
    if (said) {
        c->head->done = NULL; // the row was handed on
        finish(s, NULL, NULL);
    } else {
        finish(s, NULL, rc < 0 ? &err : NULL);
    }
    advance(s);
}

static bool connected(struct st_sup *s)
{
    struct st_calls *c = &s->calls;
    struct st_err err = {0};
    if (c->client)
        return true;
    if (st_client_connect(s->o->socket, &c->client, &err) ||
        st_loop_add(&s->loop, &c->io, st_client_fd(c->client), EPOLLIN, &err)) {
        disconnect(s);
        return false;
    }
    return true;
}

static void advance(struct st_sup *s)
{
    struct st_calls *c = &s->calls;
    struct st_err err = {0};
    if (c->out || !c->head || (!c->client && st_loop_armed(&c->timer)) || !connected(s))
        return;
    if (st_client_send(c->client, c->head->op, c->head->request, &err)) {
        disconnect(s);
        return;
    }
    c->out = true;
    st_loop_arm(&s->loop, &c->timer, DEADLINE_MS);
}

static void on_timer(void *sup)
{
    struct st_sup *s = sup;
    if (s->calls.out) // no answer in time: the connection may answer the wrong question later
        disconnect(s);
    else
        advance(s);
}

void st_calls_add(struct st_sup *s, const char *op, const void *request, int how, uint64_t tag, st_call_fn *done)
{
    struct st_calls *c = &s->calls;
    struct st_err err = {0};
    if ((how & ST_CALL_LATER) && c->n >= LATER_MAX) {
        c->dropped++;
        return;
    }
    struct st_queued *q = calloc(1, sizeof *q);
    if (!q) {
        st_sup_say("%s: no memory for it", op);
        return;
    }
    *q = (struct st_queued){.op = op, .how = how, .tag = tag, .done = done};
    st_mem_init(&q->mem, 4 << 20, -1);
    st_arena_init(&q->arena, &q->mem);
    q->request = request ? st_record_dup(st_op_find(st_sv_of(op))->request, request, &q->arena, &err) : NULL;
    if (request && !q->request) {
        st_sup_say("%s: %s", op, err.text);
        free_one(q);
        return;
    }
    *(c->tail ? &c->tail->next : &c->head) = q;
    c->tail = q;
    c->n++;
    advance(s);
}

int st_calls_init(struct st_sup *s, struct st_err *err)
{
    s->calls.io = (struct st_io){.fd = -1, .ready = on_answer, .ctx = s};
    return st_loop_timer(&s->loop, &s->calls.timer, on_timer, s, err);
}

void st_calls_release(struct st_sup *s)
{
    struct st_calls *c = &s->calls;
    st_loop_drop(&s->loop, &c->io);
    st_client_close(c->client);
    c->client = NULL;
    for (struct st_queued *q = c->head, *next; q; q = next) {
        next = q->next;
        free_one(q);
    }
    c->head = c->tail = NULL;
}
