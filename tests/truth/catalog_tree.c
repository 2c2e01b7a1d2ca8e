// The catalogers over a directory tree, for comparisons with the tools that own the data.
//
//   catalog_tree DIR [CATALOGER]            one JSON object a line: every package, note and unreadable file below DIR
//   catalog_tree --bench N DIR CATALOGER    parse every file that the cataloger wants N times from memory
//
// Symbolic links are not followed: only regular files of the tree count, as in an image's layer.
#include "base/ckd.h"
#include "base/fd.h"
#include "base/json.h"
#include "catalog/catalog.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 8192
#define WANT_MAX 16

struct tree {
    struct st_classifier *classifier;
    struct st_mem *mem;
    struct st_arena *arena, *names;
    struct st_json_out json;
    struct st_out *out; // NULL: count only
    struct st_sv path;
    const struct st_cataloger *only;
    unsigned long packages, failed;
    struct loaded *files; // for --bench
    size_t n_files, cap_files;
    uint64_t bytes;
};

struct loaded {
    struct st_sv path, data;
    const struct st_cataloger *cataloger;
};

static void begin(struct tree *t, const char *kind)
{
    st_json_out_init(&t->json, t->out, 0);
    st_json_open(&t->json, '{');
    st_json_kv(&t->json, "record", st_sv_of(kind));
    st_json_kv(&t->json, "path", t->path);
}

static void end(struct tree *t)
{
    st_json_close(&t->json, '}');
    st_out_putc(t->out, '\n');
}

static void pairs(struct tree *t, const char *key, struct st_kvs list)
{
    st_json_key(&t->json, key);
    st_json_open(&t->json, '{');
    for (size_t i = 0; i < list.n; i++) {
        st_json_key_sv(&t->json, list.at[i].key);
        st_json_str(&t->json, list.at[i].value);
    }
    st_json_close(&t->json, '}');
}

static int on_package(void *ctx, const struct st_package *p, struct st_err *err)
{
    struct tree *t = ctx;
    t->packages++;
    if (!t->out)
        return 0;
    begin(t, "package");
    st_json_kv(&t->json, "type", st_sv_of(st_pkg_type_info(p->type)->word));
    st_json_kv(&t->json, "ns", p->ns);
    st_json_kv(&t->json, "name", p->name);
    st_json_kv(&t->json, "version", p->version);
    st_json_key(&t->json, "licenses");
    st_json_open(&t->json, '[');
    for (size_t i = 0; i < p->licenses.n; i++)
        st_json_str(&t->json, p->licenses.at[i]);
    st_json_close(&t->json, ']');
    pairs(t, "quals", p->quals);
    pairs(t, "meta", p->meta);
    end(t);
    return 0;
}

static int on_distro(void *ctx, const struct st_distro *distro, struct st_err *err)
{
    return 0;
}

static int on_owns(void *ctx, enum st_pkg_type type, struct st_sv owner, struct st_sv path, struct st_err *err)
{
    return 0;
}

static int on_note(void *ctx, const struct st_note *note, struct st_err *err)
{
    struct tree *t = ctx;
    if (!t->out)
        return 0;
    begin(t, "note");
    st_json_kv(&t->json, "of", note->path);
    st_json_kv(&t->json, "key", note->key);
    st_json_kv(&t->json, "value", note->value);
    end(t);
    return 0;
}

static void failed(struct tree *t, struct st_sv text)
{
    t->failed++;
    if (!t->out)
        return;
    begin(t, "unknown");
    st_json_kv(&t->json, "text", text);
    end(t);
}

static int on_unknown(void *ctx, enum st_unknown_reason reason, struct st_sv inner, struct st_sv text,
                      struct st_err *err)
{
    failed(ctx, text);
    return 0;
}

static void parse(struct tree *t, const struct st_cataloger *c, struct st_sv path, struct st_sv data)
{
    const struct st_emit emit = {t, on_package, on_distro, on_owns, on_note, on_unknown};
    const struct st_span span = {0, data};
    const struct st_view view = {data.len, &span, 1};
    struct st_parse p = {.path = path, .mode = 0644, .size = data.len, .arena = t->arena, .mem = t->mem, .emit = &emit};
    struct st_err err = {0};
    t->path = path;
    if (data.len > c->max_size)
        failed(t, ST_SV("too large"));
    else if (c->parse(&p, &view, &err))
        failed(t, st_sv_of(err.text));
    st_arena_reset(t->arena);
}

static void keep(struct tree *t, struct loaded f)
{
    struct st_err err = {0};
    if (t->n_files == t->cap_files) {
        t->cap_files = t->cap_files ? t->cap_files * 2 : 1024;
        t->files = realloc(t->files, t->cap_files * sizeof *t->files);
    }
    if (!t->files || st_arena_dup(t->names, f.path, &f.path, &err) || st_arena_dup(t->names, f.data, &f.data, &err))
        abort();
    t->files[t->n_files++] = f;
    t->bytes += f.data.len;
}

static void visit_file(struct tree *t, const char *full, size_t size, struct st_sv path, bool bench)
{
    uint8_t want[WANT_MAX];
    size_t n = st_classify(t->classifier, path, want, WANT_MAX);
    if (n == 0)
        return;
    ST_AUTO_CLOSE int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *buf = malloc(size + 1);
    ssize_t got = fd >= 0 && buf ? st_fd_read(fd, buf, size) : -1;
    for (size_t i = 0; got >= 0 && i < n; i++) {
        const struct st_cataloger *c = st_catalogers[want[i]];
        if (c->need != ST_NEED_CONTENT || (t->only && c != t->only))
            continue;
        if (bench)
            keep(t, (struct loaded){path, {buf, (size_t)got}, c});
        else
            parse(t, c, path, (struct st_sv){buf, (size_t)got});
    }
    free(buf);
}

static void walk(struct tree *t, char *full, size_t root_len, bool bench)
{
    struct dirent **list = NULL;
    int n = scandir(full, &list, NULL, alphasort);
    size_t len = strlen(full);
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        struct stat st;
        if (strcmp(name, ".") && strcmp(name, "..") && len + strlen(name) + 2 < PATH_SIZE) {
            snprintf(full + len, PATH_SIZE - len, "/%s", name);
            if (lstat(full, &st) == 0 && S_ISDIR(st.st_mode))
                walk(t, full, root_len, bench);
            else if (S_ISREG(st.st_mode))
                visit_file(t, full, (size_t)st.st_size, st_sv_of(full + root_len + 1), bench);
            full[len] = 0;
        }
        free(list[i]);
    }
    free(list);
}

static void bench(struct tree *t, unsigned rounds)
{
    uint64_t best = UINT64_MAX;
    for (unsigned r = 0; r < rounds; r++) {
        struct timespec a, b;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        for (size_t i = 0; i < t->n_files; i++)
            parse(t, t->files[i].cataloger, t->files[i].path, t->files[i].data);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        uint64_t ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
        best = ST_MIN(best, ns);
    }
    printf("%zu files, %llu bytes, %lu packages: best of %u rounds %.0f ns a file, %.0f MB/s\n", t->n_files,
           (unsigned long long)t->bytes, t->packages / (rounds ? rounds : 1), rounds,
           (double)best / (double)ST_MAX(t->n_files, (size_t)1), (double)t->bytes * 1e3 / (double)ST_MAX(best, 1u));
    free(t->files);
}

static const struct st_cataloger *find(const char *name)
{
    for (const struct st_cataloger *const *c = st_catalogers; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    fprintf(stderr, "no cataloger is called %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    bool timed = argc == 5 && strcmp(argv[1], "--bench") == 0;
    if (!timed && argc != 2 && argc != 3) {
        fprintf(stderr, "usage: catalog_tree DIR [CATALOGER]\n       catalog_tree --bench N DIR CATALOGER\n");
        return 2;
    }
    struct st_mem mem;
    struct st_arena arena, names;
    struct st_out out;
    struct st_err err = {0};
    st_mem_init(&mem, (size_t)4 << 30, -1);
    st_arena_init(&arena, &mem);
    st_arena_init(&names, &mem);
    st_out_init_fd(&out, STDOUT_FILENO);
    struct tree t = {.mem = &mem, .arena = &arena, .names = &names, .out = timed ? NULL : &out};
    t.classifier = st_classifier_new(&mem, st_catalogers, &err);
    if (!t.classifier) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (timed || argc == 3)
        t.only = find(argv[timed ? 4 : 2]);
    char full[PATH_SIZE];
    snprintf(full, sizeof full, "%s", argv[timed ? 3 : 1]);
    walk(&t, full, strlen(full), timed);
    if (timed)
        bench(&t, (unsigned)strtoul(argv[2], NULL, 10));
    st_classifier_free(t.classifier);
    st_arena_release(&arena);
    st_arena_release(&names);
    int rc = st_out_finish(&out, NULL) ? 1 : 0;
    st_mem_release(&mem);
    return rc;
}
