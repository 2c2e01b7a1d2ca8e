// Which image it is: an analyzer reads the index, the manifest and the configuration, and asks for the documents that
// it needs; a streamed archive gives its layers on the way.
#include "base/ckd.h"
#include "base/fd.h"
#include "image/blobs.h"
#include "scan/analyze_jobs.h"
#include "scan/scan_int.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void put_resolve(struct st_wire_out *o, const struct st_scan_request *opt)
{
    struct st_platform host = st_platform_host();
    st_wire_put_u64(o, opt->pin);
    st_wire_put_u64(o, opt->foreign);
    st_wire_put_sv(o, opt->tag);
    const struct st_sv texts[] = {opt->platform.os, opt->platform.arch, opt->platform.variant,
                                  host.os,          host.arch,          host.variant};
    for (size_t i = 0; i < ST_LEN(texts); i++)
        st_wire_put_sv(o, texts[i]);
}

static int give(struct st_analyzer *a, struct st_buf *b, int fd, uint64_t size, const struct st_err *refusal,
                struct st_err *err)
{
    struct st_wire_out o = st_proto_begin(b, refusal ? ST_PROTO_FAIL : ST_PROTO_GIVE);
    if (refusal)
        st_proto_put_err(&o, refusal);
    else
        st_wire_put_u64(&o, size);
    return st_proto_send(a->sock, &o, &fd, fd >= 0 ? 1 : 0, err);
}

// As st_blobs_dir_open, wherever the image is.
static int open_blob(const struct st_opened *o, struct st_sv name, int *ret_fd, uint64_t *ret_size, struct st_err *err)
{
    return o->kind == ST_OPENED_REMOTE ? o->remote->document(o->remote, name, ret_fd, ret_size, err)
           : o->digest[0]              ? st_blobs_store_open(o->dirfd, st_sv_of(o->digest), name, ret_fd, ret_size, err)
                                       : st_blobs_dir_open(o->dirfd, name, ret_fd, ret_size, err);
}

static int give_sizes(struct st_scan *s, struct st_analyzer *a, struct st_proto_msg *m, struct st_buf *b,
                      struct st_err *err)
{
    struct st_err why = {0};
    struct st_wire_out o = st_proto_begin(b, ST_PROTO_GIVE);
    uint64_t n = st_wire_max(&m->in, ST_PROTO_SIZES);
    for (uint64_t i = 0; i < n; i++) {
        ST_AUTO_CLOSE int fd = -1;
        uint64_t size = 0;
        int rc = open_blob(s->opt->opened, st_wire_sv(&m->in), &fd, &size, &why);
        if (rc < 0)
            return give(a, b, -1, 0, &why, err);
        st_wire_put_u64(&o, fd >= 0 ? ST_PROTO_BLOB_FILE : size ? ST_PROTO_BLOB_REMOTE : ST_PROTO_NO_BLOB);
        st_wire_put_u64(&o, size);
    }
    return st_proto_send(a->sock, &o, NULL, 0, err);
}

static int keep_passed(struct st_scan *s, int fd, struct st_err *err)
{
    int *p = st_arena_array(&s->arena, s->n_passed + 1, sizeof *p, err); // few: one a blob of the archive
    if (!p)
        return -1;
    if (s->n_passed)
        memcpy(p, s->passed, s->n_passed * sizeof *p);
    p[s->n_passed++] = fd;
    s->passed = p;
    return 0;
}

#define PASSED_MAX 8192 // blobs of one streamed archive

static int serve_ask(struct st_scan *s, struct st_analyzer *a, struct st_proto_msg *m, struct st_buf *b,
                     struct st_err *err)
{
    struct st_err why = {0};
    if (m->tag == ST_PROTO_ASK_OUT) {
        if (s->n_passed == PASSED_MAX)
            return st_err_set(err, ST_E_LIMIT, "the archive has more than %d layers", PASSED_MAX);
        int fd = st_scan_out(s, err);
        if (fd < 0)
            return -1;
        if (keep_passed(s, fd, err)) {
            close(fd);
            return -1;
        }
        return give(a, b, fd, 0, NULL, err);
    }
    if (m->tag == ST_PROTO_ASK_SIZES)
        return give_sizes(s, a, m, b, err);
    ST_AUTO_CLOSE int fd = -1;
    uint64_t size = 0;
    int rc = open_blob(s->opt->opened, st_wire_sv(&m->in), &fd, &size, &why);
    return give(a, b, rc > 0 ? fd : -1, size, rc < 0 ? &why : NULL, err);
}

// Answers the analyzer's questions until it is done.
static int converse(struct st_scan *s, struct st_analyzer *a, struct st_buf *b, struct st_err *err)
{
    ST_AUTO_FREE char *buf = malloc(ST_PROTO_MAX);
    if (!buf)
        return st_err_nomem(err);
    for (;;) {
        struct pollfd fd = {.fd = a->sock, .events = POLLIN};
        int k = poll(&fd, 1, ST_SCAN_TICK_MS);
        if (st_scan_check_time(s, err))
            return -1;
        if (k <= 0) {
            if (s->opt->opened->kind == ST_OPENED_STREAM)
                st_scan_tell(s, 0, a->watch, atomic_load(&a->watch->archive) + atomic_load(&a->watch->stored));
            st_scan_sample(s, "layers", SIZE_MAX, &a->pid, 1);
            continue;
        }
        struct st_proto_msg m;
        int rc = st_proto_recv(a->sock, buf, &m, err);
        if (rc == 0) {
            uint32_t len = ST_MIN(a->watch->path_len, 300u);
            bool parsing = atomic_load(&a->watch->parsing) != 0;
            return st_err_set(err, ST_E_CRASH, "the analyzer died%s%.*s",
                              parsing ? " while it read " : " while it read the manifest", parsing ? (int)len : 0,
                              a->watch->path);
        }
        if (rc < 0)
            return -1;
        if (m.tag == ST_PROTO_DONE) {
            st_proto_close_fds(&m);
            return 0;
        }
        if (m.tag == ST_PROTO_FAIL) {
            st_proto_get_err(&m.in, err ? err : &(struct st_err){0});
            rc = -1;
        } else if (m.tag == ST_PROTO_ASK_BLOB || m.tag == ST_PROTO_ASK_SIZES || m.tag == ST_PROTO_ASK_OUT) {
            rc = serve_ask(s, a, &m, b, err);
        } else {
            rc = st_err_set(err, ST_E_CRASH, "the analyzer sent an unexpected message");
        }
        st_proto_close_fds(&m);
        if (rc < 0)
            return -1;
    }
}

static int send_index(struct st_scan *s, struct st_analyzer *a, struct st_buf *b, int out, int spill,
                      struct st_err *err)
{
    const struct st_opened *o = s->opt->opened;
    bool stream = o->kind == ST_OPENED_STREAM;
    uint64_t limit = s->opt->memory - st_scan_base(s) - ST_SCAN_ANALYZER_BASE;
    struct st_wire_out w = st_proto_begin(b, stream ? ST_PROTO_STREAM : ST_PROTO_INDEX);
    st_job_put_mem(&w, (struct st_job_mem){limit, ST_MIN(limit, ST_SCAN_SPILL_AT)});
    bool by_name = o->kind == ST_OPENED_OCI_DIR || o->kind == ST_OPENED_REMOTE;
    st_wire_put_u64(&w, stream ? s->opt->verify : by_name ? UINT64_MAX : o->size);
    if (!stream)
        st_wire_put_u64(&w, o->kind == ST_OPENED_REMOTE && !o->remote->lists);
    put_resolve(&w, s->opt);
    int fds[3] = {out, o->fd, spill};
    size_t n = by_name ? 1 : spill >= 0 && stream ? 3 : 2;
    return st_proto_send(a->sock, &w, fds, n, err);
}

int st_scan_index(struct st_scan *s, struct st_err *err)
{
    if (s->opt->opened->kind == ST_OPENED_ROOTFS)
        return st_image_rootfs(&s->arena, &s->image, err);
    struct st_analyzer *a = &s->idle; // the first to read a layer, afterwards
    struct st_sv text;
    struct st_buf b;
    st_buf_init(&b, &s->mem);
    if (st_analyzer_start(s->analyzer, (size_t)s->opt->memory + (64u << 20), a, err))
        return -1;
    s->profile.analyzers++;
    ST_AUTO_CLOSE int out = s->opt->spill_dir ? st_fd_temp(s->opt->spill_dir, NULL) : -1;
    ST_AUTO_CLOSE int spill = s->opt->spill_dir ? st_fd_temp(s->opt->spill_dir, NULL) : -1;
    int rc = out >= 0 ? send_index(s, a, &b, out, spill, err)
                      : st_err_set(err, ST_E_SPILL, "no directory for temporary files is writable; set TMPDIR");
    const struct st_scan_observer *ob = s->opt->opened->kind == ST_OPENED_STREAM ? s->opt->observer : NULL;
    if (ob && ob->begin)
        ob->begin(ob->ctx, 1, s->opt->opened->size);
    if (ob && ob->layer_begin) // the archive as a whole
        ob->layer_begin(ob->ctx, 0, ST_SV(""), s->opt->opened->size);
    if (rc == 0)
        rc = converse(s, a, &b, err);
    struct st_remote *from = s->opt->opened->remote;
    struct st_err why = {0};
    if (s->opt->opened->ticket && from->failed(from, s->opt->opened->ticket, rc ? ST_SCAN_DYING_MS : 0,
                                               &why)) { // an archive that a daemon cut off
        rc = -1;
        if (err)
            *err = why;
    }
    if (ob && ob->end)
        ob->end(ob->ctx);
    if (rc == 0) {
        st_scan_sample(s, "index", SIZE_MAX, &a->pid, 1);
        rc = st_image_encoded(out, &s->arena, &text, err) || st_image_decode(text, &s->arena, &s->image, err) ? -1 : 0;
    }
    st_buf_release(&b);
    return rc;
}
