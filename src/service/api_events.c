// Server-Sent Events of one job (WHATWG HTML, 9.2). One thread looks at the jobs of all streams, twice a second at
// most, and writes what is new into the stream's buffer once the client has taken what was there: a slow reader gets
// fewer events, never a longer queue, and MHD drops it when it takes nothing for ST_HTTP_IDLE_S.
//
//   event: state     data: the job, as GET /scans/{id}     when its state, attempt, reason or digest changed
//   event: progress  data: the worker, as GET /workers     when phase, layer or memory changed
//   : and nothing else                                     each ST_EVENTS_BEAT_MS
//
// The id of a state event names the job's state, so a client that comes back with Last-Event-ID does not get again what
// it knows; it is compared, never parsed. The stream ends after the state event of a job that has ended.
#include "base/ckd.h"
#include "base/clock.h"
#include "service/api_http_int.h"
#include "service/cond.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOK_MS 500
#define ID_MAX 96

struct stream {
    struct stream *next; // of st_api_events
    struct st_api_events *e;
    struct MHD_Connection *conn;
    char job[ST_JOB_ID + 1];
    char state[ID_MAX], progress[160]; // as they were sent last
    struct st_mem mem;
    struct st_buf out; // what is to be sent from `at` on
    size_t at;
    int64_t sent_ms;
    bool suspended, last; // last: nothing comes after `out`
};

struct st_api_events {
    struct st_api *api;
    pthread_mutex_t lock; // of all streams
    pthread_cond_t more;
    pthread_t thread;
    struct stream *first;
    size_t n;
    bool stopping, started;
};

// ---- what there is to say -------------------------------------------------------------------------

static int event(struct stream *s, const char *kind, const char *id, const struct st_record *r, const void *row)
{
    struct st_out o;
    struct st_json_out w;
    if (st_buf_fmt(&s->out, NULL, "event: %s\n", kind) || (id && st_buf_fmt(&s->out, NULL, "id: %s\n", id)) ||
        st_buf_add(&s->out, ST_SV("data: "), NULL)) // the JSON is one line
        return -1;
    st_out_init_buf(&o, &s->out);
    st_json_out_init(&w, &o, 0);
    st_record_write(&w, r, row);
    st_out_puts(&o, "\n\n");
    return st_out_finish(&o, NULL);
}

static int add_state(struct stream *s, const struct st_job *j)
{
    char id[ID_MAX];
    snprintf(id, sizeof id, "%s-%u-%llu-%d-%zu-" ST_SV_FMT, st_job_state_word(j->state), j->attempt,
             (unsigned long long)j->fence, j->cancel, j->digest.len, ST_SV_ARG(st_sv_sub(j->reason, 0, 24)));
    for (char *p = id; *p; p++) // a reason is a word; whatever it is, an id is one line
        *p = *p > ' ' && *p < 127 ? *p : '_';
    if (!strcmp(id, s->state))
        return 0;
    memcpy(s->state, id, sizeof id);
    return event(s, "state", id, &st_record_job, j);
}

static void look_worker(struct stream *s, const struct st_worker_row *w, size_t n)
{
    char now[sizeof s->progress];
    for (size_t i = 0; i < n; i++) {
        if (!st_sv_eq(w[i].job, st_sv_of(s->job)))
            continue;
        snprintf(now, sizeof now, ST_SV_FMT " " ST_SV_FMT " %llu %lld", ST_SV_ARG(st_sv_sub(w[i].phase, 0, 40)),
                 ST_SV_ARG(st_sv_sub(w[i].layer, 0, 80)), (unsigned long long)(w[i].memory >> 20),
                 (long long)w[i].progress_ms);
        if (strcmp(now, s->progress) != 0 && event(s, "progress", NULL, &st_record_worker, &w[i]) == 0)
            memcpy(s->progress, now, sizeof now);
        return;
    }
}

// One job, looked at for all the streams that show it.
struct looked {
    const struct st_job *job; // in the arena; NULL: it could not be read
    struct st_arena *arena;
    bool gone;
    char id[ST_JOB_ID + 1];
};

static int keep_job(void *ctx, const void *row, struct st_err *err)
{
    struct looked *l = ctx;
    return (l->job = st_record_dup(&st_record_job, row, l->arena, err)) ? 0 : -1;
}

static void read_job(struct st_api *a, struct looked *l)
{
    static const struct st_caller self = {ST_ROLE_READ, ST_SV_INIT("events")};
    struct st_req_id q = {st_sv_of(l->id)};
    struct st_err err = {0};
    if (st_api_call(a, st_op_find(ST_SV("scans.get")), &q, &self, l->arena, keep_job, NULL, l, &err))
        l->gone = err.code == ST_E_NOTFOUND; // retention has taken it
}

// What a stream that has taken everything gets next. The lock is held: its connection cannot end meanwhile.
static void feed(struct stream *s, const struct looked *l, const struct st_worker_row *w, size_t n)
{
    int64_t now = st_clock_mono_ms();
    if (s->last || s->at < s->out.len)
        return;
    st_buf_clear(&s->out);
    s->at = 0;
    if (l->job && add_state(s, l->job))
        st_buf_clear(&s->out);
    if (l->job && !l->job->ended)
        look_worker(s, w, n);
    s->last = l->gone || (l->job && l->job->ended);
    if (!s->out.len && !s->last && now - s->sent_ms >= ST_EVENTS_BEAT_MS)
        st_buf_add(&s->out, ST_SV(":\n\n"), NULL);
    if (!s->out.len && !s->last)
        return;
    s->sent_ms = now;
    if (s->suspended)
        MHD_resume_connection(s->conn);
    s->suspended = false;
}

static size_t wanted(struct st_api_events *e, struct looked at[static ST_EVENTS_MAX], struct st_arena *arena)
{
    size_t n = 0;
    for (struct stream *s = e->first; s; s = s->next) {
        size_t i = 0;
        while (i < n && strcmp(at[i].id, s->job) != 0)
            i++;
        if (i < n || s->last || s->at < s->out.len)
            continue;
        at[n] = (struct looked){.arena = arena};
        memcpy(at[n++].id, s->job, sizeof s->job);
    }
    return n;
}

// With the lock held, which is let go while the store is asked.
static void look_all(struct st_api_events *e, struct st_arena *arena)
{
    struct looked at[ST_EVENTS_MAX];
    struct st_worker_row *w;
    size_t n = wanted(e, at, arena), n_workers;
    pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; i < n; i++)
        read_job(e->api, &at[i]);
    if (st_live_workers(st_api_live(e->api), arena, &w, &n_workers, NULL))
        n_workers = 0;
    pthread_mutex_lock(&e->lock);
    for (struct stream *s = e->first; s; s = s->next)
        for (size_t i = 0; i < n; i++)
            if (!strcmp(at[i].id, s->job))
                feed(s, &at[i], w, n_workers);
}

static void *run(void *ctx)
{
    struct st_api_events *e = ctx;
    struct st_mem mem;
    struct st_arena arena;
    st_mem_init(&mem, ST_API_ARENA, -1);
    st_arena_init(&arena, &mem);
    pthread_mutex_lock(&e->lock);
    while (!e->stopping) {
        if (!e->n) {
            pthread_cond_wait(&e->more, &e->lock);
            continue;
        }
        look_all(e, &arena);
        st_arena_reset(&arena);
        struct timespec t = st_cond_in(LOOK_MS);
        pthread_cond_timedwait(&e->more, &e->lock, &t);
    }
    pthread_mutex_unlock(&e->lock);
    st_arena_release(&arena);
    st_mem_release(&mem);
    return NULL;
}

// ---- a stream -------------------------------------------------------------------------------------

static ssize_t give(void *ctx, uint64_t pos, char *buf, size_t max)
{
    struct stream *s = ctx;
    struct st_api_events *e = s->e;
    ssize_t n = 0;
    pthread_mutex_lock(&e->lock);
    if (s->at < s->out.len) {
        n = (ssize_t)ST_MIN(max, s->out.len - s->at);
        memcpy(buf, s->out.ptr + s->at, (size_t)n);
        s->at += (size_t)n;
    } else if (s->last || e->stopping) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        s->suspended = true;
        MHD_suspend_connection(s->conn);
    }
    pthread_mutex_unlock(&e->lock);
    return n;
}

static void end(void *ctx)
{
    struct stream *s = ctx;
    struct st_api_events *e = s->e;
    pthread_mutex_lock(&e->lock);
    for (struct stream **p = &e->first; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            e->n--;
            break;
        }
    pthread_mutex_unlock(&e->lock);
    st_buf_release(&s->out);
    st_mem_release(&s->mem);
    free(s);
}

static int take_id(void *ctx, const void *row, struct st_err *err)
{
    memcpy(ctx, ((const struct st_job *)row)->id, ST_JOB_ID + 1);
    return 0;
}

// A stream is in the list from here on, its connection not yet at work: `give` suspends it first.
static struct stream *begin(struct st_api_request *r, const char *job, struct st_err *err)
{
    struct st_api_events *e = r->h->events;
    const char *known = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, "Last-Event-ID");
    struct stream *s = calloc(1, sizeof *s);
    if (!s) {
        st_err_nomem(err);
        return NULL;
    }
    s->e = e;
    s->conn = r->conn;
    s->sent_ms = st_clock_mono_ms();
    snprintf(s->job, sizeof s->job, "%s", job);
    if (known && strlen(known) < sizeof s->state)
        snprintf(s->state, sizeof s->state, "%s", known);
    st_mem_init(&s->mem, 1 << 20, -1);
    st_buf_init(&s->out, &s->mem);
    st_buf_add(&s->out, ST_SV("retry: 2000\n\n"), NULL); // at once, so that the client knows that it is served
    pthread_mutex_lock(&e->lock);
    bool room = e->n < ST_EVENTS_MAX && !e->stopping;
    if (room) {
        s->next = e->first;
        e->first = s;
        e->n++;
        pthread_cond_signal(&e->more);
    }
    pthread_mutex_unlock(&e->lock);
    if (room)
        return s;
    st_buf_release(&s->out);
    st_mem_release(&s->mem);
    free(s);
    st_err_set(err, ST_E_RETRY, "%d streams of events are open, that is all there are", ST_EVENTS_MAX);
    return NULL;
}

enum MHD_Result st_api_events_serve(struct st_api_request *r, struct st_sv id)
{
    struct st_err err = {0};
    struct st_req_id q = {id};
    char job[ST_JOB_ID + 1];
    struct stream *s = NULL;
    if (st_api_call(r->h->api, st_op_find(ST_SV("scans.get")), &q, &r->caller, &r->arena, take_id, NULL, job, &err) ||
        !(s = begin(r, job, &err)))
        return st_api_reply_failed(r, &err);
    struct MHD_Response *m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, give, s, end);
    if (!m)
        end(s);
    return st_api_reply_response(r, 200, m, "text/event-stream");
}

// ---- life -----------------------------------------------------------------------------------------

int st_api_events_new(struct st_api *a, struct st_api_events **ret, struct st_err *err)
{
    struct st_api_events *e = calloc(1, sizeof *e);
    if (!e)
        return st_err_nomem(err);
    e->api = a;
    pthread_mutex_init(&e->lock, NULL);
    st_cond_init(&e->more);
    e->started = pthread_create(&e->thread, NULL, run, e) == 0;
    if (!e->started) {
        st_api_events_free(e);
        return st_err_set(err, ST_E_FAILED, "cannot start a thread");
    }
    *ret = e;
    return 0;
}

void st_api_events_stop(struct st_api_events *e)
{
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_cond_signal(&e->more);
    for (struct stream *s = e->first; s; s = s->next) {
        if (s->suspended)
            MHD_resume_connection(s->conn);
        s->suspended = false;
    }
    pthread_mutex_unlock(&e->lock);
    if (e->started)
        pthread_join(e->thread, NULL);
    e->started = false;
}

void st_api_events_free(struct st_api_events *e)
{
    if (!e)
        return;
    if (e->started)
        st_api_events_stop(e);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->more);
    free(e);
}
