// Packets between a worker and its supervisor.
#include "worker/worker_msg.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "service/message.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define JOB struct st_worker_job
static const struct st_field job[] = {
    {"id", ST_FIELD_ID_AT(JOB, id), .required = true, .what = "job id"},
    {"fence", ST_FIELD_U64_AT(JOB, fence), .required = true, .max = INT64_MAX, .what = "number of the claim"},
    {"attempt", ST_FIELD_U32_AT(JOB, attempt)},
    {"image", ST_FIELD_TEXT_AT(JOB, image), .required = true, .what = "reference"},
    {"options", ST_FIELD_JSON_AT(JOB, options), .max = ST_JOB_TEXT_MAX},
    {"config", ST_FIELD_JSON_AT(JOB, config), .max = ST_JOB_TEXT_MAX},
    {"home", ST_FIELD_TEXT_AT(JOB, home), .required = true, .what = "state directory"},
    {"memoryLimit", ST_FIELD_U64_AT(JOB, memory_limit), .required = true, .max = INT64_MAX, .what = "of the slot"},
    {"deadlineMs", ST_FIELD_U64_AT(JOB, deadline_ms), .max = INT64_MAX},
    {"size", ST_FIELD_U64_AT(JOB, size), .has = offsetof(JOB, has_size) + 1, .max = INT64_MAX},
    {"hasFile", ST_FIELD_BOOL_AT(JOB, has_file)},
    {"resume", ST_FIELD_BOOL_AT(JOB, resume)},
};
static const struct st_record record_job = ST_RECORD("WorkerJob", JOB, job);

static const struct st_field stop[] = {{"release", ST_FIELD_BOOL_AT(struct st_worker_stop, release)}};
static const struct st_record record_stop = ST_RECORD("WorkerStop", struct st_worker_stop, stop);

static const struct st_field subject[] = {
    {"digest", ST_FIELD_TEXT_AT(struct st_worker_subject, digest), .max = 200},
    {"size", ST_FIELD_U64_AT(struct st_worker_subject, size), .max = INT64_MAX},
};
static const struct st_record record_subject = ST_RECORD("WorkerSubject", struct st_worker_subject, subject);

#define PRG struct st_worker_progress
static const struct st_field progress[] = {
    {"phase", ST_FIELD_TEXT_AT(PRG, phase), .max = 64},
    {"digest", ST_FIELD_TEXT_AT(PRG, digest), .max = 128},
    {"file", ST_FIELD_TEXT_AT(PRG, file), .max = 1024},
    {"layer", ST_FIELD_U64_AT(PRG, layer)},
    {"layers", ST_FIELD_U64_AT(PRG, layers)},
    {"bytes", ST_FIELD_U64_AT(PRG, bytes)},
    {"total", ST_FIELD_U64_AT(PRG, total)},
    {"files", ST_FIELD_U64_AT(PRG, files)},
};
static const struct st_record record_progress = ST_RECORD("WorkerProgress", PRG, progress);

static const struct st_field log_line[] = {
    {"level", ST_FIELD_WORD_AT(struct st_worker_log, level, st_log_level_words)},
    {"component", ST_FIELD_TEXT_AT(struct st_worker_log, component), .max = 64},
    {"message", ST_FIELD_TEXT_AT(struct st_worker_log, message)},
};
static const struct st_record record_log = ST_RECORD("WorkerLog", struct st_worker_log, log_line);

#define END struct st_worker_end
static const struct st_field end[] = {
    {"exitCode", ST_FIELD_INT_AT(END, exit_code)},
    {"reason", ST_FIELD_TEXT_AT(END, reason), .max = 64},
    {"message", ST_FIELD_TEXT_AT(END, message)},
    {"resumedFrom", ST_FIELD_TEXT_AT(END, resumed_from), .max = ST_JOB_ID},
    {"result", ST_FIELD_TEXT_AT(END, result), .max = 200},
    {"phases", ST_FIELD_JSON_AT(END, phases), .max = 1024},
    {"peakBytes", ST_FIELD_U64_AT(END, peak_bytes), .max = INT64_MAX},
    {"unknowns", ST_FIELD_U64_AT(END, unknowns), .max = INT64_MAX},
    {"packages", ST_FIELD_U64_AT(END, packages), .max = INT64_MAX},
    {"layersCached", ST_FIELD_U64_AT(END, layers_cached), .max = INT64_MAX},
    {"layersTotal", ST_FIELD_U64_AT(END, layers_total), .max = INT64_MAX},
    {"bytesRead", ST_FIELD_U64_AT(END, bytes_read), .max = INT64_MAX},
};
static const struct st_record record_end = ST_RECORD("WorkerEnd", END, end);

const struct st_worker_kind_row st_worker_kinds[ST_WORKER_KINDS] = {
    [ST_WORKER_JOB] = {"job", &record_job},
    [ST_WORKER_STOP] = {"stop", &record_stop},
    [ST_WORKER_SUBJECT] = {"subject", &record_subject},
    [ST_WORKER_PROGRESS] = {"progress", &record_progress},
    [ST_WORKER_LOG] = {"log", &record_log},
    [ST_WORKER_END] = {"end", &record_end},
};

// ---- sending ------------------------------------------------------------------------------------

// What is longer than the other side takes is cut.
static void *cut(const struct st_record *r, const void *value, struct st_arena *a, struct st_err *err)
{
    char *copy = st_arena_alloc(a, r->size, err);
    if (!copy)
        return NULL;
    memcpy(copy, value, r->size);
    for (size_t i = 0; i < r->n; i++) {
        const struct st_field *f = &r->fields[i];
        struct st_sv *text = (struct st_sv *)(void *)(copy + f->offset);
        if (f->kind == ST_FIELD_TEXT)
            *text = st_sv_sub(*text, 0, f->max ? f->max : ST_FIELD_TEXT_MAX);
    }
    return copy;
}

static int send_packet(int sock, struct st_sv packet, const int *fds, size_t n_fds, unsigned wait_ms,
                       struct st_err *err)
{
    int64_t until = st_clock_mono_ms() + wait_ms;
    for (;;) {
        struct pollfd p = {.fd = sock, .events = POLLOUT};
        int64_t left = until - st_clock_mono_ms();
        if (st_fd_send_now(sock, packet.ptr, packet.len, fds, n_fds) == 0)
            return 0;
        if (errno != EAGAIN)
            return st_err_sys(err, "the other side of the worker");
        if (left <= 0)
            return st_err_set(err, ST_E_RETRY, "the other side of the worker does not read");
        poll(&p, 1, (int)left);
    }
}

int st_worker_send(int sock, enum st_worker_kind kind, const void *record, const int *fds, size_t n_fds,
                   unsigned wait_ms, struct st_err *err)
{
    const struct st_worker_kind_row *k = &st_worker_kinds[kind];
    struct st_mem mem;
    struct st_arena a;
    struct st_buf b;
    struct st_out o;
    struct st_json_out w;
    st_mem_init(&mem, 2 << 20, -1);
    st_arena_init(&a, &mem);
    st_buf_init(&b, &mem);
    st_out_init_buf(&o, &b);
    void *value = cut(k->record, record, &a, err);
    st_out_puts(&o, k->word);
    st_out_putc(&o, ' ');
    st_json_out_init(&w, &o, 0);
    if (value)
        st_record_write(&w, k->record, value);
    int rc = st_out_finish(&o, err) || !value ? -1 : 0;
    if (rc == 0 && b.len > ST_MESSAGE_MAX)
        rc = st_err_set(err, ST_E_LIMIT, "a message of %zu bytes is over the limit of %d", b.len, ST_MESSAGE_MAX);
    if (rc == 0)
        rc = send_packet(sock, st_buf_sv(&b), fds, n_fds, wait_ms, err);
    st_buf_release(&b);
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc;
}

// ---- receiving ----------------------------------------------------------------------------------

int st_worker_read(struct st_sv packet, enum st_worker_kind *ret_kind, void **ret, struct st_arena *a,
                   struct st_err *err)
{
    struct st_sv word, json;
    int kind = 0;
    if (st_message_split(packet, &word, &json, err))
        return -1;
    while (kind < ST_WORKER_KINDS && !st_sv_eq(word, st_sv_of(st_worker_kinds[kind].word)))
        kind++;
    if (kind == ST_WORKER_KINDS)
        return st_err_set(err, ST_E_INPUT, "not a message of a worker");
    const struct st_record *r = st_worker_kinds[kind].record;
    void *value = st_arena_alloc(a, r->size, err);
    if (!value || st_record_read(r, json, true, 0, value, a, err))
        return -1;
    *ret_kind = (enum st_worker_kind)kind;
    *ret = value;
    return 0;
}

int st_worker_recv(int sock, enum st_worker_kind *ret_kind, void **ret, struct st_worker_fds *ret_fds, bool *ret_closed,
                   struct st_arena *a, struct st_err *err)
{
    char one;
    *ret_closed = false;
    ret_fds->n = 0;
    ssize_t n = recv(sock, &one, 1, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n == 0 || (n < 0 && errno == ECONNRESET)) {
        *ret_closed = true;
        return 0;
    }
    if (n < 0)
        return st_err_sys(err, "the other side of the worker");
    if ((size_t)n > ST_MESSAGE_MAX)
        return st_err_set(err, ST_E_LIMIT, "a message of %zd bytes is over the limit of %d", n, ST_MESSAGE_MAX);
    char *buf = st_arena_bytes(a, (size_t)n, err);
    if (!buf)
        return -1;
    ret_fds->n = ST_WORKER_FDS;
    if (st_fd_recv(sock, buf, (size_t)n, ret_fds->fd, &ret_fds->n) != n) {
        ret_fds->n = 0;
        return st_err_sys(err, "the other side of the worker");
    }
    if (st_worker_read(st_sv_mem(buf, (size_t)n), ret_kind, ret, a, err) == 0)
        return 1;
    for (size_t i = 0; i < ret_fds->n; i++)
        close(ret_fds->fd[i]);
    ret_fds->n = 0;
    return -1;
}
