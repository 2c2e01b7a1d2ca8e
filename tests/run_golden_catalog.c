// Golden cases of the catalogers: DIR/<cataloger>/<case>/ with
//   path    the path in the image (one line)
//   input   the bytes of the file (absent: a cataloger that only needs the name)
//   expect  the records as tests/catalog_harness.c prints them
// UPDATE=1 in the environment writes `expect`; read the difference before committing it.
//
// Beside the comparison every case is run with each of its first allocations refused, with each emit call refused
// and cut short at many lengths: the parser must answer -1 or carry on, never crash or leak.
//
//   run_golden_catalog DIR                          all cases, TAP
//   run_golden_catalog --file PATH FILE [CATALOGER] what every cataloger that wants PATH (or only CATALOGER) says
#include "base/ckd.h"
#include "base/fd.h"
#include "catalog_harness.h"
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define NAME_MAX_ 4096
#define CUTS 200             // prefixes of the input that are tried
#define FAULTS 300           // refused allocations that are tried
#define EMITS 300            // refused emit calls that are tried
#define ONE_LOOK "-one-look" // in the name of a case: what the plan keeps of the file is enough
#define SMALL (1u << 20)     // larger inputs are not cut

struct golden_file {
    char *ptr; // owns
    size_t len;
    bool missing;
};

static struct golden_file load_file(const char *path)
{
    struct golden_file f = {.missing = true};
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
        return f;
    f.missing = false;
    f.ptr = malloc((size_t)st.st_size + 1);
    ssize_t n = f.ptr ? st_fd_read(fd, f.ptr, (size_t)st.st_size) : -1;
    f.len = n < 0 ? 0 : (size_t)n;
    return f;
}

static struct st_sv view_of(const struct golden_file *f)
{
    return (struct st_sv){f->ptr, f->len};
}

static int store_file(const char *path, struct st_sv text)
{
    ST_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : st_fd_write(fd, text.ptr, text.len);
}

// ---- one case ---------------------------------------------------------------------------------------

struct golden_case {
    const struct st_cataloger *cataloger;
    const char *name; // "<cataloger>/<case>"
    struct st_sv path, input;
};

// The first lines that differ, as TAP comments.
static void show_difference(struct st_sv want, struct st_sv got)
{
    struct st_sv a, b;
    for (unsigned line = 1;; line++) {
        bool more_a = st_sv_line(&want, &a), more_b = st_sv_line(&got, &b);
        if (!more_a && !more_b)
            return;
        if (!more_a || !more_b || !st_sv_eq(a, b)) {
            printf("# line %u\n#   expected: " ST_SV_FMT "\n#   got:      " ST_SV_FMT "\n", line,
                   ST_SV_ARG(more_a ? a : ST_SV("(end)")), ST_SV_ARG(more_b ? b : ST_SV("(end)")));
            return;
        }
    }
}

// What is printed has memory of its own: what the parser took is counted and refused alone.
static struct st_mem print_mem = {.limit = 512 << 20, .spill_fd = -1};

static void compare(struct st_mem *mem, const struct golden_case *g, const char *expect_path)
{
    struct st_buf buf;
    st_buf_init(&buf, &print_mem);
    struct st_out out;
    st_out_init_buf(&out, &buf);
    struct harness h = {.mem = mem, .out = &out};
    harness_print(&h, g->cataloger, g->path, g->input);
    int rc = st_out_finish(&out, NULL);
    const char *update = getenv("UPDATE");
    if (update && *update == '1')
        rc |= store_file(expect_path, st_buf_sv(&buf));
    struct golden_file want = load_file(expect_path);
    bool same = rc == 0 && !want.missing && st_sv_eq(view_of(&want), st_buf_sv(&buf));
    if (!TAP_OK(same, "%s", g->name))
        show_difference(view_of(&want), st_buf_sv(&buf));
    free(want.ptr);
    st_buf_release(&buf);
}

static void whole_and_sparse_agree(struct st_mem *mem, const struct golden_case *g)
{
    struct st_buf buf[2];
    bool again = false;
    for (int i = 0; i < 2; i++) {
        st_buf_init(&buf[i], &print_mem);
        struct st_out out;
        st_out_init_buf(&out, &buf[i]);
        struct harness h = {.mem = mem, .out = &out, .whole = i == 1};
        harness_print(&h, g->cataloger, g->path, g->input);
        st_out_finish(&out, NULL);
        again |= h.again;
    }
    TAP_OK(st_sv_eq(st_buf_sv(&buf[0]), st_buf_sv(&buf[1])), "%s: the same from the whole file", g->name);
    if (strstr(g->name, ONE_LOOK))
        TAP_OK(!again, "%s: the plan is enough", g->name);
    st_buf_release(&buf[0]);
    st_buf_release(&buf[1]);
}

static void refuse_allocations(struct st_mem *mem, const struct golden_case *g)
{
    struct harness h = {.mem = mem};
    uint64_t start = mem->requests, total;
    harness_run(&h, g->cataloger, g->path, g->input, NULL);
    total = mem->requests - start;
    unsigned wrong = 0;
    for (uint64_t i = 1; i <= ST_MIN(total, (uint64_t)FAULTS); i++) {
        struct st_err err = {0};
        mem->fail_at = mem->requests + i;
        int rc = harness_run(&h, g->cataloger, g->path, g->input, &err);
        mem->fail_at = 0;
        wrong += rc != -1 || err.code != ST_E_NOMEM;
    }
    if (total)
        TAP_OK(wrong == 0, "%s: %llu allocations refused", g->name, (unsigned long long)total);
}

static void refuse_emits(struct st_mem *mem, const struct golden_case *g)
{
    struct harness h = {.mem = mem};
    harness_run(&h, g->cataloger, g->path, g->input, NULL);
    unsigned long total = h.emits;
    unsigned wrong = 0;
    for (unsigned long i = 1; i <= ST_MIN(total, (unsigned long)EMITS); i++) {
        struct st_err err = {0};
        h.fail_emit = i;
        wrong += harness_run(&h, g->cataloger, g->path, g->input, &err) != -1 || err.code != ST_E_NOMEM;
    }
    if (total)
        TAP_OK(wrong == 0, "%s: %lu emits refused", g->name, total);
}

static void cut_short(struct st_mem *mem, const struct golden_case *g)
{
    struct harness h = {.mem = mem};
    if (g->input.len == 0 || g->input.len > SMALL)
        return;
    size_t step = g->input.len / CUTS + 1, cuts = 0;
    for (size_t n = 0; n < g->input.len; n += step, cuts++) {
        h.whole = cuts & 1;
        harness_run(&h, g->cataloger, g->path, st_sv_sub(g->input, 0, n), NULL);
    }
    TAP_OK(1, "%s: cut at %zu lengths", g->name, cuts);
}

static void run_case(struct st_mem *mem, const char *dir, const char *cataloger, const char *name)
{
    char label[NAME_MAX_], file[NAME_MAX_ + 32];
    snprintf(label, sizeof label, "%s/%s", cataloger, name);
    snprintf(file, sizeof file, "%s/%s/path", dir, label);
    struct golden_file path = load_file(file);
    snprintf(file, sizeof file, "%s/%s/input", dir, label);
    struct golden_file input = load_file(file);
    snprintf(file, sizeof file, "%s/%s/expect", dir, label);
    struct golden_case g = {.cataloger = harness_find(cataloger),
                            .name = label,
                            .path = st_sv_trim(view_of(&path)),
                            .input = view_of(&input)};
    if (TAP_OK(g.cataloger && harness_wants(g.cataloger, g.path, g.input), "%s: the cataloger wants this path",
               label)) {
        compare(mem, &g, file);
        if (g.cataloger->need == ST_NEED_SPARSE)
            whole_and_sparse_agree(mem, &g);
        refuse_allocations(mem, &g);
        refuse_emits(mem, &g);
        cut_short(mem, &g);
    }
    free(path.ptr);
    free(input.ptr);
}

// ---- all of them --------------------------------------------------------------------------------------

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void run_cataloger(struct st_mem *mem, const char *dir, const char *cataloger)
{
    char sub[NAME_MAX_];
    snprintf(sub, sizeof sub, "%s/%s", dir, cataloger);
    struct dirent **list = NULL;
    int n = scandir(sub, &list, visible, alphasort);
    TAP_OK(n > 0, "%s has cases", cataloger);
    for (int i = 0; i < n; i++) {
        run_case(mem, dir, cataloger, list[i]->d_name);
        free(list[i]);
    }
    free(list);
}

// Every cataloger has cases: a directory that is missing fails as well.
static int run_all(struct st_mem *mem, const char *dir)
{
    for (const struct st_cataloger *const *c = st_catalogers; *c; c++)
        run_cataloger(mem, dir, (*c)->name);
    struct dirent **list = NULL;
    int n = scandir(dir, &list, visible, alphasort);
    for (int i = 0; i < n; i++) {
        TAP_OK(harness_find(list[i]->d_name), "%s is a cataloger", list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return tap_done();
}

static int run_file(struct st_mem *mem, const char *path, const char *file, const char *only)
{
    struct golden_file input = load_file(file);
    if (input.missing) {
        perror(file);
        return 1;
    }
    struct st_out out;
    st_out_init_fd(&out, STDOUT_FILENO);
    struct harness h = {.mem = mem, .out = &out};
    for (const struct st_cataloger *const *c = st_catalogers; *c; c++)
        if (only ? strcmp(only, (*c)->name) == 0 : harness_wants(*c, st_sv_of(path), view_of(&input))) {
            st_out_fmt(&out, "cataloger %s\n", (*c)->name);
            harness_print(&h, *c, st_sv_of(path), view_of(&input));
        }
    free(input.ptr);
    return st_out_finish(&out, NULL) ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct st_mem mem;
    st_mem_init(&mem, 512 << 20, -1);
    int rc = 2;
    if (argc == 2)
        rc = run_all(&mem, argv[1]);
    else if ((argc == 4 || argc == 5) && strcmp(argv[1], "--file") == 0)
        rc = run_file(&mem, argv[2], argv[3], argv[4]);
    else
        fprintf(stderr, "usage: run_golden_catalog DIR\n       run_golden_catalog --file PATH FILE [CATALOGER]\n");
    st_mem_release(&mem);
    return rc;
}
