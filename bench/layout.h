// Layers of an OCI layout directory, for the bench programs: the first manifest that index.json leads to. Digests are
// looked for in the text; this is no parser, and the layouts are ours.
#ifndef BENCH_LAYOUT_H
#define BENCH_LAYOUT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define LAYERS_MAX 512
#define DOCUMENT_MAX (4 << 20)

static char *layout_load(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, DOCUMENT_MAX + 1);
    if (!f || !text || fread(text, 1, DOCUMENT_MAX, f) == 0) {
        perror(path);
        exit(1);
    }
    fclose(f);
    return text;
}

static const char *layout_digest(const char *text)
{
    const char *p = strstr(text, "\"sha256:");
    return p && strspn(p + 8, "0123456789abcdef") == 64 ? p + 8 : NULL;
}

// Paths of the layer blobs, bottom first; their number is returned.
static size_t layout_layers(const char *dir, char *paths[LAYERS_MAX])
{
    char path[4096];
    snprintf(path, sizeof path, "%s/index.json", dir);
    char *text = layout_load(path);
    const char *layers;
    while (!(layers = strstr(text, "\"layers\""))) {
        const char *digest = layout_digest(text);
        if (!digest) {
            fprintf(stderr, "%s: no manifest\n", dir);
            exit(1);
        }
        snprintf(path, sizeof path, "%s/blobs/sha256/%.64s", dir, digest);
        free(text);
        text = layout_load(path);
    }
    size_t n = 0;
    for (const char *d; n < LAYERS_MAX && (d = layout_digest(layers)); layers = d) {
        snprintf(path, sizeof path, "%s/blobs/sha256/%.64s", dir, d);
        paths[n++] = strdup(path);
    }
    free(text);
    return n;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Run `once` over the layout named last on the command line, --runs N times, and print each run's CPU and the median.
__attribute__((unused)) static int bench_main(int argc, char **argv,
                                              void (*once)(char **paths, size_t n, char *ret_note))
{
    int runs = 1;
    if (argc == 4 && strcmp(argv[1], "--runs") == 0)
        runs = atoi(argv[2]);
    else if (argc != 2)
        argc = 0;
    if (argc == 0 || runs < 1 || runs > 100) {
        fprintf(stderr, "usage: %s [--runs N] OCI-LAYOUT-DIRECTORY\n", argv[0]);
        return 2;
    }
    char *paths[LAYERS_MAX];
    size_t n = layout_layers(argv[argc - 1], paths);
    double cpu[100];
    char note[256] = "";
    for (int i = 0; i < runs; i++) {
        double before = cpu_seconds();
        once(paths, n, note);
        cpu[i] = cpu_seconds() - before;
        printf("run %d: %.3f s CPU  %s\n", i + 1, cpu[i], note);
    }
    qsort(cpu, (size_t)runs, sizeof *cpu, by_value);
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("median %.3f s CPU of %d, %zu layers, peak %ld KiB\n", cpu[runs / 2], runs, n, u.ru_maxrss);
    return 0;
}

#endif
