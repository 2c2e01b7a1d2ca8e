#include "image_maker.h"

#include "scan/layer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORDS 4
#define LINE_MAX_BYTES 4096

static void add_line(struct tar_maker *t, char *line)
{
    char *w[WORDS] = {line, NULL, NULL, NULL}, *save = line;
    int n = 1, max = line[0] == 'r' ? 3 : WORDS;
    while (n < max && (save = strchr(save, ' '))) {
        *save++ = 0;
        w[n++] = save;
    }
    char body[LINE_MAX_BYTES] = "";
    if (line[0] == 'f') {
        snprintf(body, sizeof body, "Metadata-Version: 1.0\nName: %s\nVersion: %s\n", w[2], w[3]);
    } else if (line[0] == 'r') {
        size_t k = 0;
        for (const char *c = n > 2 ? w[2] : ""; *c && k + 1 < sizeof body; c++)
            if (c[0] == '\\' && c[1] == 'n') {
                body[k++] = '\n';
                c++;
            } else {
                body[k++] = *c;
            }
    }
    static const struct {
        char letter, type;
    } types[] = {{'f', '0'}, {'r', '0'}, {'d', '5'}, {'l', '2'}, {'h', '1'}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].letter == line[0] && w[1])
            tar_add(t, types[i].type, w[1], line[0] == 'l' || line[0] == 'h' ? w[2] : NULL, body, strlen(body));
}

void image_make(struct image_maker *im, const char *script)
{
    *im = (struct image_maker){.n = 1};
    while (*script) {
        char line[LINE_MAX_BYTES];
        size_t len = strcspn(script, "\n");
        snprintf(line, sizeof line, "%.*s", (int)len, script);
        script += len + (script[len] == '\n');
        if (line[0] == '|' && im->n < IMAGE_LAYERS_MAX)
            im->n++;
        else
            add_line(&im->tar[im->n - 1], line);
    }
    for (size_t i = 0; i < im->n; i++)
        tar_end(&im->tar[i]);
}

void image_free(struct image_maker *im)
{
    for (size_t i = 0; i < im->n; i++)
        tar_free(&im->tar[i]);
}

struct from_memory {
    struct st_mem *mem;
    struct st_sv bytes;
};

static int open_memory(void *ctx, struct st_stream **ret, struct st_err *err)
{
    const struct from_memory *f = ctx;
    *ret = st_stream_memory(f->mem, f->bytes, err);
    return *ret ? 0 : -1;
}

static int one_fragment(struct st_mem *mem, const struct tar_maker *t, const struct st_classifier *c, bool again,
                        int fd, struct st_err *err)
{
    struct from_memory from = {mem, {t->ptr, t->len}};
    struct st_layer_source src = {open_memory, &from, again};
    struct st_layer_options opt = {.classifier = c, .want_diff_id = true};
    struct st_layer_stats stats;
    struct st_frag_writer *w = st_frag_writer_new(mem, fd, NULL, err);
    int rc = w ? st_layer_scan(mem, &src, &opt, w, &stats, err) : -1;
    st_frag_writer_free(w);
    return rc;
}

void image_close(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int image_fragments(struct st_mem *mem, const struct image_maker *im, bool again, int *fds, struct st_err *err)
{
    for (size_t i = 0; i < im->n; i++)
        fds[i] = -1;
    struct st_classifier *c = st_classifier_new(mem, st_catalogers, err);
    int rc = c ? 0 : -1;
    for (size_t i = 0; i < im->n && rc == 0; i++) {
        fds[i] = memfd_create("fragment", MFD_CLOEXEC);
        rc = fds[i] < 0 ? st_err_sys(err, "memfd") : one_fragment(mem, &im->tar[i], c, again, fds[i], err);
    }
    st_classifier_free(c);
    if (rc)
        image_close(fds, im->n);
    return rc;
}

__attribute__((format(printf, 3, 4))) static void put(char *ret, size_t cap, const char *fmt, ...)
{
    size_t n = strlen(ret);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(ret + n, cap - n, fmt, ap);
    va_end(ap);
}

static int put_item(const struct st_inventory *inv, uint32_t i, bool full, char *ret, size_t cap, struct st_err *err)
{
    struct st_item it;
    uint32_t depends[32], owner;
    size_t n = 0;
    if (inv->package(inv->ctx, i, &it, err))
        return -1;
    put(ret, cap, ST_SV_FMT "@" ST_SV_FMT " ", ST_SV_ARG(it.pkg.name), ST_SV_ARG(it.pkg.version));
    if (full)
        put(ret, cap, "%u ", it.layer);
    for (size_t k = 0; k < it.n_evidence; k++)
        put(ret, cap, "%s" ST_SV_FMT, k ? "," : "", ST_SV_ARG(it.evidence[k].path));
    for (size_t k = 0; k < it.pkg.licenses.n && full; k++)
        put(ret, cap, " license=" ST_SV_FMT, ST_SV_ARG(it.pkg.licenses.at[k]));
    owner = it.owner;
    for (; n < it.n_depends && n < 32; n++)
        depends[n] = it.depends[n];
    if (owner != ST_ITEM_NONE) { // the views of `it` end here
        if (inv->package(inv->ctx, owner, &it, err))
            return -1;
        put(ret, cap, " owner=" ST_SV_FMT, ST_SV_ARG(it.pkg.name));
    }
    for (size_t k = 0; k < n; k++) {
        if (inv->package(inv->ctx, depends[k], &it, err))
            return -1;
        put(ret, cap, "%s" ST_SV_FMT, k ? "," : " needs=", ST_SV_ARG(it.pkg.name));
    }
    put(ret, cap, "\n");
    return 0;
}

int image_text(const struct st_inventory *inv, bool full, char *ret, size_t cap, struct st_err *err)
{
    ret[0] = 0;
    for (uint32_t i = 0; i < inv->n_packages; i++)
        if (put_item(inv, i, full, ret, cap, err))
            return -1;
    for (uint32_t i = 0; i < inv->n_unknowns; i++) {
        struct st_unknown u;
        if (inv->unknown(inv->ctx, i, &u, err))
            return -1;
        put(ret, cap, "? %s " ST_SV_FMT "\n", st_unknown_word(u.reason), ST_SV_ARG(u.path));
    }
    if (inv->distro)
        put(ret, cap, "distro " ST_SV_FMT "\n", ST_SV_ARG(inv->distro->id));
    return 0;
}

int image_scan(struct st_mem *mem, const struct image_maker *im, bool again, bool full, char *ret, size_t cap,
               struct st_err *err)
{
    int fds[IMAGE_LAYERS_MAX];
    const struct st_subject subject = {.name = ST_SV_INIT("test")};
    ret[0] = 0;
    if (image_fragments(mem, im, again, fds, err))
        return -1;
    struct st_merge *m = st_merge_new(mem, &subject, fds, im->n, NULL, 0, true, err);
    int rc = m ? image_text(st_merge_inventory(m), full, ret, cap, err) : -1;
    st_merge_free(m);
    image_close(fds, im->n);
    return rc;
}
