// stella doctor export: a tar archive of what somebody who helps will ask for.
#include "base/ckd.h"
#include "base/fd.h"
#include "cli/doctor_report.h"
#include "cli/render.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILE_MAX (4u << 20) // of one file; what is longer is cut
#define MEMORY (4 * (FILE_MAX + (1u << 20)))
#define DAY 86400
#define BLOCK 512

extern char **environ;

struct bundle {
    const struct st_doctor_report *report;
    struct st_client *client; // NULL: the store cannot be read
    struct st_err why;        // then
    struct st_mem mem;
    struct st_out *out;
};

// ---- tar ----------------------------------------------------------------------------------------

struct header { // POSIX.1-2017 pax, "ustar Interchange Format"
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2],
        user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

static void put_file(struct st_out *o, const char *name, struct st_sv bytes)
{
    static const char zeroes[BLOCK];
    struct header h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
    unsigned sum = 0;
    snprintf(h.name, sizeof h.name, "%s", name);
    snprintf(h.mode, sizeof h.mode, "%07o", 0644u);
    snprintf(h.uid, sizeof h.uid, "%07o", 0u);
    snprintf(h.gid, sizeof h.gid, "%07o", 0u);
    snprintf(h.size, sizeof h.size, "%011zo", bytes.len);
    snprintf(h.mtime, sizeof h.mtime, "%011o", 0u);
    memset(h.checksum, ' ', sizeof h.checksum);
    for (size_t i = 0; i < sizeof h; i++)
        sum += ((const unsigned char *)&h)[i];
    snprintf(h.checksum, sizeof h.checksum, "%06o", sum);
    st_out_write(o, st_sv_mem(&h, sizeof h));
    st_out_write(o, bytes);
    if (bytes.len % BLOCK)
        st_out_write(o, st_sv_mem(zeroes, BLOCK - bytes.len % BLOCK));
}

static void put_end(struct st_out *o)
{
    static const char zeroes[2 * BLOCK];
    st_out_write(o, st_sv_mem(zeroes, sizeof zeroes));
}

// ---- files that are no answers of the service -----------------------------------------------------

static int write_readme(const struct bundle *b, struct st_out *o, struct st_err *err)
{
    st_out_puts(o, "Made by stella doctor export. Begin with doctor.md.\n"
                   "Passwords in addresses, tokens and values of environment variables are left out (***).\n"
                   "Names of images are not. A file that says {\"error\": ...} could not be had.\n");
    return 0;
}

static int write_markdown(const struct bundle *b, struct st_out *o, struct st_err *err)
{
    st_doctor_markdown(b->report, o);
    return 0;
}

static int write_json(const struct bundle *b, struct st_out *o, struct st_err *err)
{
    st_doctor_json(b->report, o);
    return 0;
}

static int write_version(const struct bundle *b, struct st_out *o, struct st_err *err)
{
    return st_verb_version.run(&(struct st_call){.out = o}, err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Names only: a value may hold a password.
static void write_variables(struct st_out *o)
{
    const char *names[64] = {NULL};
    size_t n = 0;
    for (char **e = environ; *e && n < ST_LEN(names); e++)
        if (!strncmp(*e, "STELLA_", 7))
            names[n++] = *e;
    qsort(names, n, sizeof names[0], by_text);
    for (size_t i = 0; i < n; i++)
        st_out_fmt(o, "%.*s is set\n", (int)strcspn(names[i], "="), names[i]);
}

static int write_environment(const struct bundle *b, struct st_out *o, struct st_err *err)
{
    struct utsname u;
    if (uname(&u) == 0)
        st_out_fmt(o, "kernel: %s %s %s\n", u.sysname, u.release, u.machine);
    st_out_fmt(o, "cpus: %ld\nmemory: %llu MiB\nuid: %u\ncgroup: ", sysconf(_SC_NPROCESSORS_ONLN),
               (unsigned long long)sysconf(_SC_PHYS_PAGES) * (unsigned long long)sysconf(_SC_PAGESIZE) / ST_MIB,
               (unsigned)geteuid());
    st_out_safe(o, st_sv_of(b->report->facts.cgroup));
    st_out_puts(o, "\nstate directory: ");
    st_out_safe(o, st_sv_of(b->report->facts.home.path));
    st_out_putc(o, '\n');
    write_variables(o);
    return 0;
}

static int metric_line(void *ctx, const void *row, struct st_err *err)
{
    const struct st_metric_row *m = row;
    st_out_fmt(ctx, ST_SV_FMT ST_SV_FMT " %llu.%03llu\n", ST_SV_ARG(m->name), ST_SV_ARG(m->labels),
               (unsigned long long)(m->value / 1000), (unsigned long long)(m->value % 1000));
    return 0;
}

static int write_metrics(const struct bundle *b, struct st_out *o, struct st_err *err)
{
    struct st_req_metrics now = {0};
    return st_client_call(b->client, "metrics.read", &now, metric_line, o, err);
}

// ---- answers of the service ---------------------------------------------------------------------

static const struct st_req_list failed = {.status = ST_SV_INIT("failed"), .limit = 200};
static const struct st_req_list dead = {.dead = true, .limit = 200};
static const struct st_req_last day = {DAY};
static const struct st_req_key every_key = {.limit = 200};
static const struct st_req_logs last_day = {.level = ST_LOG_DEBUG, .has_level = true, .last_s = DAY, .tail = 4000};

static const struct {
    const char *name;
    int (*write)(const struct bundle *b, struct st_out *o, struct st_err *err); // or:
    const char *op;
    const void *request;
    enum st_format format;
    bool store, logs; // needs the store; only with --include-logs
} files[] = {
    {"README.txt", write_readme},
    {"doctor.md", write_markdown},
    {"doctor.json", write_json},
    {"version.txt", write_version},
    {"environment.txt", write_environment},
    {"status.json", .op = "status.get", .format = ST_FORMAT_JSON, .store = true},
    {"queue.json", .op = "queue.stats", .format = ST_FORMAT_JSON, .store = true},
    {"resources.json", .op = "resources.stats", .format = ST_FORMAT_JSON, .store = true},
    {"cache.json", .op = "cache.stats", .format = ST_FORMAT_JSON, .store = true},
    {"deadletter.json", .op = "deadletter.stats", .format = ST_FORMAT_JSON, .store = true},
    {"queue-pools.json", .op = "queue.pools", .format = ST_FORMAT_JSON, .store = true},
    {"pools.json", .op = "pools.list", .format = ST_FORMAT_JSON, .store = true},
    {"workers.json", .op = "workers.list", .format = ST_FORMAT_JSON, .store = true},
    {"config.json", .op = "config.list", .request = &every_key, .format = ST_FORMAT_JSON, .store = true},
    {"config-history.json", .op = "config.history", .request = &every_key, .format = ST_FORMAT_JSON, .store = true},
    {"stats.json", .op = "stats.totals", .request = &day, .format = ST_FORMAT_JSON, .store = true},
    {"reasons.json", .op = "stats.reasons", .request = &day, .format = ST_FORMAT_JSON, .store = true},
    {"jobs-failed.json", .op = "scans.list", .request = &failed, .format = ST_FORMAT_JSON, .store = true},
    {"jobs-dead.json", .op = "scans.list", .request = &dead, .format = ST_FORMAT_JSON, .store = true},
    {"metrics.txt", write_metrics, .store = true},
    {"logs.ndjson", .op = "logs.read", .request = &last_day, .format = ST_FORMAT_NDJSON, .store = true, .logs = true},
};

static int content(const struct bundle *b, size_t i, struct st_out *o, struct st_err *err)
{
    if (files[i].store && !b->client) {
        *err = b->why;
        return -1;
    }
    if (files[i].write)
        return files[i].write(b, o, err);
    const struct st_op *op = st_op_find(st_sv_of(files[i].op));
    struct st_sink sink = {.out = o, .format = files[i].format, .one = op && !op->many};
    return st_render_call(b->client, files[i].op, files[i].request, &sink, err);
}

static int add_file(struct bundle *b, size_t i, struct st_err *err)
{
    struct st_buf raw, clean;
    struct st_out o;
    struct st_err why = {0};
    st_buf_init(&raw, &b->mem);
    st_buf_init(&clean, &b->mem);
    st_out_init_buf(&o, &raw);
    int rc = content(b, i, &o, &why);
    if (st_out_finish(&o, rc ? NULL : &why) || rc) {
        struct st_json_out w;
        if (why.code != ST_E_MEMORY) // what is too long is cut, not lost
            st_buf_clear(&raw);
        st_out_init_buf(&o, &raw);
        st_json_out_init(&w, &o, 0);
        st_json_open(&w, '{');
        st_json_kv(&w, "error", st_sv_of(why.text));
        st_json_close(&w, '}');
        st_out_putc(&o, '\n');
        st_out_finish(&o, NULL);
    }
    rc = st_doctor_redact(st_sv_sub(st_buf_sv(&raw), 0, FILE_MAX), &clean, err);
    if (rc == 0)
        put_file(b->out, files[i].name, st_sv_sub(st_buf_sv(&clean), 0, FILE_MAX));
    st_buf_release(&raw);
    st_buf_release(&clean);
    return rc;
}

int st_doctor_bundle(const struct st_doctor_report *r, bool logs, struct st_out *out, struct st_err *err)
{
    struct bundle b = {.report = r, .out = out};
    int rc = 0;
    if (st_client_open(false, &b.client, &b.why))
        b.client = NULL;
    st_mem_init(&b.mem, MEMORY, -1);
    for (size_t i = 0; rc == 0 && i < ST_LEN(files); i++)
        if (!files[i].logs || logs)
            rc = add_file(&b, i, err);
    if (rc == 0)
        put_end(out);
    st_client_close(b.client);
    st_mem_release(&b.mem);
    return rc;
}

int st_doctor_bundle_file(const struct st_doctor_report *r, bool logs, const char *path, struct st_err *err)
{
    char aside[PATH_MAX];
    struct st_out o;
    if (snprintf(aside, sizeof aside, "%s.%ld.part", path, (long)getpid()) >= (int)sizeof aside)
        return st_err_set(err, ST_E_INPUT, "file name too long: %.100s", path);
    ST_AUTO_CLOSE int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return st_err_sys(err, "%s", aside);
    st_out_init_fd(&o, fd);
    int rc = st_doctor_bundle(r, logs, &o, err);
    if (st_out_finish(&o, rc ? NULL : err) || rc || rename(aside, path)) {
        if (rc == 0 && (!err || err->code == ST_E_NONE))
            st_err_sys(err, "%s", path);
        unlink(aside);
        return -1;
    }
    return 0;
}
