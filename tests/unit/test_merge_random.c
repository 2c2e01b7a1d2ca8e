// Random layers over a small name space against a plain model of a file system: what evidence is visible, and where.
#include "image_maker.h"
#include "tap.h"

#include <stdlib.h>

#define ROUNDS 3000
#define LAYERS 4
#define OPS 7
#define NODES 128
#define NAME_BYTES 160
#define HOPS 12

// Only files and links are kept; a directory is whatever has something below it, or was named (dir).
struct node {
    char path[NAME_BYTES];
    char kind; // 'f', 'l', 'd'
    int layer, content;
    char target[NAME_BYTES];
};

struct model {
    struct node at[NODES];
    int n;
};

static uint64_t seed = 1;
static unsigned long long limited;

static unsigned pick(unsigned n)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(seed >> 33) % n;
}

static int find(const struct model *m, const char *path)
{
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->at[i].path, path) == 0)
            return i;
    return -1;
}

static int inside(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return n == 0 ? path[0] != 0 : strncmp(path, dir, n) == 0 && path[n] == '/';
}

// What is at (itself) and below path goes, when it is of a layer before `before`.
static void removing(struct model *m, const char *path, int itself, int before)
{
    int k = 0;
    for (int i = 0; i < m->n; i++) {
        int hit = inside(m->at[i].path, path) || (itself && strcmp(m->at[i].path, path) == 0);
        if (!hit || m->at[i].layer >= before)
            m->at[k++] = m->at[i];
    }
    m->n = k;
}

// Parent's links followed; 0 when the path leads through a file or too many links.
static int resolve(const struct model *m, const char *path, char *ret)
{
    char todo[4 * NAME_BYTES], done[NAME_BYTES] = "";
    int hops = 0;
    snprintf(todo, sizeof todo, "%s", path);
    while (*todo) {
        char part[NAME_BYTES], rest[2 * NAME_BYTES] = "", full[2 * NAME_BYTES];
        char *slash = strchr(todo, '/');
        if (slash)
            snprintf(rest, sizeof rest, "%s", slash + 1);
        snprintf(part, sizeof part, "%.*s", slash ? (int)(slash - todo) : NAME_BYTES - 1, todo);
        snprintf(full, sizeof full, "%s%s%s", done, *done ? "/" : "", part);
        if (strlen(full) >= NAME_BYTES)
            return 0;
        int i = find(m, full);
        if (*rest && i >= 0 && m->at[i].kind == 'f')
            return 0;
        if (*rest && i >= 0 && m->at[i].kind == 'l') { // targets of the test are absolute
            if (++hops > HOPS)
                return 0;
            snprintf(todo, sizeof todo, "%s/%s", m->at[i].target, rest);
            done[0] = 0;
            continue;
        }
        snprintf(done, sizeof done, "%s", full);
        memmove(todo, rest, strlen(rest) + 1);
    }
    snprintf(ret, NAME_BYTES, "%s", done);
    return 1;
}

static struct node *set(struct model *m, const char *path, char kind, int layer)
{
    int i = find(m, path);
    if (kind != 'd')
        removing(m, path, 1, LAYERS + 1);
    else if (i >= 0 && m->at[i].kind != 'd')
        removing(m, path, 1, LAYERS + 1);
    else if (i >= 0)
        return &m->at[i];
    if (m->n == NODES)
        abort();
    struct node *n = &m->at[m->n++];
    *n = (struct node){.kind = kind, .layer = layer};
    snprintf(n->path, sizeof n->path, "%s", path);
    return n;
}

static void random_dir(char *ret)
{
    static const char *const parts[] = {"a", "b", "c"};
    ret[0] = 0;
    for (unsigned k = 1 + pick(3); k; k--) {
        if (*ret)
            strcat(ret, "/"); // NOLINT: at most five bytes
        strcat(ret, parts[pick(3)]);
    }
}

static void random_file(char *ret)
{
    static const char *const leafs[] = {"x.egg-info", "y.egg-info", "n"};
    char dir[16];
    random_dir(dir);
    snprintf(ret, NAME_BYTES, "%s/%s", dir, leafs[pick(3)]);
}

static void say(char *script, const char *op, const char *path, const char *rest)
{
    size_t n = strlen(script);
    snprintf(script + n, 16384 - n, "%s %s%s%s\n", op, path, *rest ? " " : "", rest);
}

static void op_hardlink(struct model *m, int layer, char *script)
{
    char path[NAME_BYTES], real[NAME_BYTES];
    random_file(path);
    // The target is named as it was written, by its real path: what a tar program writes.
    int start = m->n ? (int)pick((unsigned)m->n) : 0;
    for (int k = 0; k < m->n; k++) {
        const struct node t = m->at[(start + k) % m->n];
        if (t.kind != 'f' || t.layer != layer || t.content < 0 || !resolve(m, path, real) ||
            strcmp(real, t.path) == 0 || strcmp(path, real) != 0 || t.target[0] == 0 || inside(t.path, real))
            continue;
        struct node *n = set(m, real, 'f', layer);
        n->content = t.content;
        snprintf(n->target, sizeof n->target, "%s", real);
        say(script, "h", path, t.path);
        return;
    }
}

static void one_op(struct model *m, int layer, int serial, char *script)
{
    char path[NAME_BYTES], real[NAME_BYTES], dir[NAME_BYTES], text[NAME_BYTES];
    unsigned what = pick(12);
    if (what < 5) {
        random_file(path);
        if (!resolve(m, path, real))
            return;
        struct node *n = set(m, real, 'f', layer);
        n->content = serial;
        snprintf(n->target, sizeof n->target, "%s", strcmp(path, real) == 0 ? real : "");
        snprintf(text, sizeof text, "p %d", serial);
        say(script, "f", path, text);
    } else if (what == 5) {
        op_hardlink(m, layer, script);
    } else if (what < 8) {
        random_dir(path);
        random_dir(dir);
        // A link to its own ancestor gives every file names without end; only the first few are followed (tree.c).
        if (!resolve(m, path, real) || inside(real, dir) || inside(dir, real) || strcmp(real, dir) == 0)
            return;
        struct node *n = set(m, real, 'l', layer);
        snprintf(n->target, sizeof n->target, "%s", dir);
        snprintf(text, sizeof text, "/%.100s", dir);
        say(script, "l", path, text);
    } else if (what == 8) {
        random_dir(path);
        if (!resolve(m, path, real))
            return;
        set(m, real, 'd', layer);
        say(script, "d", path, "");
    } else if (what < 11) {
        if (pick(2))
            random_dir(path);
        else
            random_file(path);
        if (!resolve(m, path, real))
            return;
        removing(m, real, 1, layer);
        char *base = strrchr(path, '/');
        snprintf(text, sizeof text, "%.*s.wh.%s", base ? (int)(base - path + 1) : 0, path, base ? base + 1 : path);
        say(script, "r", text, "");
    } else {
        random_dir(path);
        snprintf(text, sizeof text, "%.100s/.wh..wh..opq", path);
        if (!resolve(m, text, real))
            return;
        *strrchr(real, '/') = 0;
        removing(m, real, 0, layer);
        say(script, "r", text, "");
    }
}

static int by_content(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    char p[16], q[16]; // versions sort as text
    snprintf(p, sizeof p, "%d", x->content);
    snprintf(q, sizeof q, "%d", y->content);
    int c = strcmp(p, q);
    return c ? c : strcmp(x->path, y->path);
}

static void expected(struct model *m, char *ret)
{
    int last = -1, k = 0;
    for (int i = 0; i < m->n; i++) {
        size_t len = strlen(m->at[i].path);
        if (m->at[i].kind == 'f' && len > 9 && strcmp(m->at[i].path + len - 9, ".egg-info") == 0)
            m->at[k++] = m->at[i];
    }
    qsort(m->at, (size_t)k, sizeof m->at[0], by_content);
    ret[0] = 0;
    for (int i = 0; i < k; i++) {
        size_t n = strlen(ret);
        if (m->at[i].content == last)
            snprintf(ret + n, 16384 - n, ",%s", m->at[i].path);
        else
            snprintf(ret + n, 16384 - n, "%sp@%d %s", n ? "\n" : "", m->at[i].content, m->at[i].path);
        last = m->at[i].content;
    }
    if (*ret)
        strcat(ret, "\n"); // NOLINT: far below 16384
}

static int one_round(struct st_mem *mem, uint64_t with)
{
    static struct model m;
    static char script[16384], want[16384], got[16384];
    struct image_maker im;
    struct st_err err = {0};
    int serial = 1;
    seed = with * 0x9e3779b97f4a7c15ull + 7;
    pick(1);
    m.n = 0;
    script[0] = 0;
    for (int layer = 0; layer < LAYERS; layer++) {
        if (layer)
            say(script, "|", "", "");
        for (int i = 0; i < OPS; i++)
            one_op(&m, layer, serial++, script);
    }
    expected(&m, want);
    image_make(&im, script);
    int rc = image_scan(mem, &im, true, false, got, sizeof got, &err);
    image_free(&im);
    if (rc == 0 && strcmp(want, got) == 0)
        return 0;
    if (rc == 0 && strstr(got, "? limit")) { // links through links through links: says so
        limited++;
        return 0;
    }
    printf("# round %llu: %s\n# %s\n# want:\n%s# got:\n%s", (unsigned long long)with, rc ? err.text : "differs", script,
           want, got);
    return 1;
}

int main(int argc, char **argv)
{
    struct st_mem mem;
    st_mem_init(&mem, (size_t)512 << 20, -1);
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, n = argc > 2 ? strtoull(argv[2], NULL, 10) : ROUNDS;
    int bad = 0;
    for (uint64_t i = first; i < first + n && bad < 3; i++)
        bad += one_round(&mem, i);
    TAP_OK(bad == 0, "%llu random images", (unsigned long long)n);
    TAP_OK(limited * 100 <= n, "limits bite in few of them (%llu)", limited);
    TAP_OK(mem.used == 0, "nothing left in memory");
    st_mem_release(&mem);
    return tap_done();
}
