// Progress lines are a pure function of their facts; when they appear depends on a clock that the test owns.
#include "cli/progress.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t clock_ms;
static int64_t test_clock(void)
{
    return clock_ms;
}

static void test_format(void)
{
    static const struct {
        struct st_progress_line line;
        unsigned width;
        const char *text;
    } rows[] = {
        {{2, 7, "0123456789ab", 31 << 20, 124 << 20, 2000},
         80,
         "layer 3/7 0123456789ab  31.0Mi/124.0Mi  15.5Mi/s  6s left"},
        {{ST_PROGRESS_ALL, 7, "", 31 << 20, 124 << 20, 2000}, 80, "all 7 layers  31.0Mi/124.0Mi  15.5Mi/s  6s left"},
        {{0, 1, "", 0, 0, 0}, 80, "layer 1/1  0"},
        {{0, 1, "", 4096, 0, 1000}, 80, "layer 1/1  4.0Ki  4.0Ki/s"},
        {{0, 2, "ab", 4096, 4096, 100}, 80, "layer 1/2 ab  4.0Ki/4.0Ki"},
        {{0, 2, "ab", 4096, 4096, 1000}, 80, "layer 1/2 ab  4.0Ki/4.0Ki  4.0Ki/s"},
        {{0, 2, "ab", 9000, 4096, 1000}, 80, "layer 1/2 ab  8.8Ki/4.0Ki  8.8Ki/s"},
        {{2, 7, "0123456789ab", 31 << 20, 124 << 20, 2000}, 20, "layer 3/7 0123456789"},
        {{0, 1, "", 1, UINT64_MAX, 1000}, 80, "layer 1/1  1/16.0Ei  1/s  9999d 0h left"},
        {{0, 1, "", UINT64_MAX, UINT64_MAX, 500}, 80, "layer 1/1  16.0Ei/16.0Ei  16.0Ei/s"},
    };
    char got[ST_PROGRESS_LINE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = st_progress_format(&rows[i].line, rows[i].width, got);
        if (i + 1 < sizeof rows / sizeof *rows) // the last: any text, as long as it fits
            TAP_OK(!strcmp(got, rows[i].text), "line %zu: '%s'", i, got);
        TAP_OK(n == strlen(got) && n <= rows[i].width, "line %zu fits", i);
    }
}

// What a run writes into a file: layers of `each_ms`, one after the other.
static const char *run(enum st_progress_mode mode, unsigned layers, int64_t each_ms)
{
    static char text[8192];
    char path[] = "/tmp/stella-progress-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    struct st_progress p;
    st_progress_begin(&p, mode, fd, layers, layers * 1000ull);
    clock_ms = 1000000;
    p.now_ms = test_clock;
    p.start_ms = clock_ms;
    p.last_ms = clock_ms - 100000;
    for (unsigned i = 0; i < layers; i++) {
        st_progress_layer(&p, i, ST_SV("sha256:0123456789abcdef"), 1000);
        for (int k = 1; k <= 10; k++) {
            clock_ms += each_ms / 10;
            st_progress_bytes(&p, i, (uint64_t)k * 100);
        }
        st_progress_done(&p, i);
    }
    st_progress_end(&p);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    return text;
}

static unsigned lines(const char *s)
{
    unsigned n = 0;
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

static void test_when(void)
{
    TAP_OK(!run(ST_PROGRESS_OFF, 3, 60000)[0], "off says nothing");
    TAP_OK(!run(ST_PROGRESS_AUTO, 50, 10)[0], "short work says nothing");
    const char *got = run(ST_PROGRESS_AUTO, 1, 60000);
    TAP_OK(lines(got) == 11 && strstr(got, "  done\n") && !strchr(got, '\033'), "long work: now and then, and the end");
    got = run(ST_PROGRESS_AUTO, 1, 2000);
    TAP_OK(lines(got) == 2 && strstr(got, "stella: layer 1/1 0123456789ab  "), "first line after a second: %s", got);
    got = run(ST_PROGRESS_PLAIN, 3, 10);
    TAP_OK(lines(got) == 3, "plain, asked for: every layer's end");
}

static void test_odd(void)
{
    struct st_progress p;
    char text[256];
    int pipefd[2];
    if (pipe(pipefd))
        return;
    st_progress_begin(&p, ST_PROGRESS_PLAIN, pipefd[1], 20, 0);
    for (unsigned i = 0; i < 20; i++) // more at once than there are slots
        st_progress_layer(&p, i, ST_SV("\033[2J:\033[31mevil"), 0);
    st_progress_bytes(&p, 19, 5);
    st_progress_done(&p, 19);
    st_progress_done(&p, 0);
    st_progress_done(&p, 0);
    st_progress_end(&p);
    st_progress_done(&p, 1); // after the end: nothing
    ssize_t n = read(pipefd[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    TAP_OK(lines(text) == 1 && !strchr(text, '\033'), "a digest that is none reaches no terminal: %s", text);
    close(pipefd[0]);
    close(pipefd[1]);
    st_progress_begin(&p, ST_PROGRESS_PLAIN, -1, 1, 0);
    st_progress_layer(&p, 0, ST_SV(""), 0);
    st_progress_done(&p, 0);
    TAP_OK(p.how == ST_PROGRESS_SILENT_, "a closed descriptor ends the lines, not the scan");
}

int main(void)
{
    test_format();
    test_when();
    test_odd();
    return tap_done();
}
