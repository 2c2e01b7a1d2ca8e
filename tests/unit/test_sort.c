#include "base/sort.h"
#include "tap.h"

#include <stdint.h>

static unsigned long compared;

static int by_value(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    compared++;
    return (x > y) - (x < y);
}

int main(void)
{
    enum { N = 20000 };
    static uint32_t v[N];
    static const char *const shapes[] = {"random",     "ascending",  "descending", "equal",
                                         "organ pipe", "two values", "sawtooth"};
    for (int shape = 0; shape < 7; shape++) {
        uint32_t x = 12345;
        uint64_t sum = 0, after = 0;
        for (uint32_t i = 0; i < N; i++) {
            x = x * 1664525 + 1013904223;
            const uint32_t make[] = {x, i, N - i, 7, i < N / 2 ? i : N - i, x >> 31, i % 100};
            v[i] = make[shape];
            sum += v[i];
        }
        compared = 0;
        st_sort(v, N, 4, by_value);
        int ok = 1;
        for (int i = 0; i < N; i++) {
            ok &= i == 0 || v[i - 1] <= v[i];
            after += v[i];
        }
        TAP_OK(ok && sum == after && compared < 60ul * N, "%s: %lu comparisons", shapes[shape], compared);
    }
    st_sort(v, 0, 4, by_value);
    uint8_t odd[5][7];
    for (int i = 0; i < 5; i++)
        memset(odd[i], 5 - i, 7);
    st_sort(odd, 5, 7, by_value);
    TAP_OK(odd[0][6] == 1 && odd[4][6] == 5, "elements of 7 bytes");
    return tap_done();
}
