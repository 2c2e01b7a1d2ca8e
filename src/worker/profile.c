#include "worker/profile.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const hows[] = {"scanned", "cached", "resumed", "same", "foreign", "failed"};

#define LAYERS_SHOWN 10

static double mib(uint64_t n)
{
    return (double)n / (1 << 20);
}

// Layers that took most, by budget used; ties by index. Few are shown, so they are picked one by one.
static size_t next_heaviest(const struct st_scan_layer *l, size_t n, uint64_t below, size_t after)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        if (l[i].how != ST_LAYER_SCANNED || l[i].stats.peak > below ||
            (l[i].stats.peak == below && i <= after && after != SIZE_MAX))
            continue;
        if (best == SIZE_MAX || l[i].stats.peak > l[best].stats.peak)
            best = i;
    }
    return best;
}

static void sentence(const struct st_scan *scan, uint64_t budget, struct st_out *o)
{
    const struct st_scan_profile *p = st_scan_profile(scan);
    const struct st_subject *sub = &st_scan_image_of(scan)->subject;
    st_out_fmt(o, "peak %.1f MiB of %.0f MiB", mib(p->peak_tree), mib(budget));
    if (p->peak_layer < sub->n_layers)
        st_out_fmt(o, " in layer %zu (%" PRIu64 " files)", p->peak_layer,
                   st_scan_layers(scan)[p->peak_layer].stats.files);
    else
        st_out_fmt(o, " in phase %s", p->peak_phase ? p->peak_phase : "none");
    st_out_puts(o, "\n");
}

void st_profile_text(const struct st_scan *scan, uint64_t budget, struct st_out *o)
{
    const struct st_scan_profile *p = st_scan_profile(scan);
    const struct st_scan_layer *l = st_scan_layers(scan);
    size_t n = st_scan_image_of(scan)->subject.n_layers;
    sentence(scan, budget, o);
    st_out_fmt(o, "phases: index %" PRIu64 " ms, layers %" PRIu64 " ms, merge %" PRIu64 " ms\n", p->index_ms,
               p->layers_ms, p->merge_ms);
    st_out_fmt(o, "analyzers started: %" PRIu64 ", died: %" PRIu64 "; spilled at most %.1f MiB at once\n", p->analyzers,
               p->crashes, mib(p->spilled));
    struct st_fetched f = st_scan_fetched(scan);
    st_out_fmt(o, "read %.1f of %.1f MiB as stored; %zu layers by their tables of contents\n", mib(f.bytes), mib(f.of),
               f.by_table);
    st_out_puts(o, "layer  how      budget MiB  spilled MiB  read twice  files      ms\n");
    uint64_t below = UINT64_MAX;
    size_t i = SIZE_MAX;
    for (int k = 0; k < LAYERS_SHOWN && (i = next_heaviest(l, n, below, i)) != SIZE_MAX; k++) {
        below = l[i].stats.peak;
        st_out_fmt(o, "%5zu  %-7s  %10.1f  %11.1f  %10" PRIu64 "  %-9" PRIu64 "  %" PRIu64 "\n", i, hows[l[i].how],
                   mib(l[i].stats.peak), mib(l[i].stats.spilled), l[i].stats.rereads, l[i].stats.files, l[i].ms);
    }
}

void st_profile_json(const struct st_scan *scan, uint64_t budget, struct st_out *o)
{
    const struct st_scan_profile *p = st_scan_profile(scan);
    const struct st_scan_layer *l = st_scan_layers(scan);
    size_t n = st_scan_image_of(scan)->subject.n_layers;
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"budgetBytes", budget},  {"peakBytes", p->peak_tree}, {"indexMs", p->index_ms}, {"layersMs", p->layers_ms},
        {"mergeMs", p->merge_ms}, {"analyzers", p->analyzers}, {"crashes", p->crashes},  {"spilledBytes", p->spilled},
    };
    struct st_json_out w;
    st_json_out_init(&w, o, 2);
    st_json_open(&w, '{');
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        st_json_key(&w, numbers[i].key);
        st_json_u64(&w, numbers[i].value);
    }
    st_json_kv(&w, "peakPhase", st_sv_of(p->peak_phase ? p->peak_phase : ""));
    st_json_key(&w, "layers");
    st_json_open(&w, '[');
    for (size_t i = 0; i < n; i++) {
        const struct {
            const char *key;
            uint64_t value;
        } of_layer[] = {
            {"index", i},
            {"budgetBytes", l[i].stats.peak},
            {"spilledBytes", l[i].stats.spilled},
            {"rereads", l[i].stats.rereads},
            {"rereadBytes", l[i].stats.reread_bytes},
            {"entries", l[i].stats.entries},
            {"files", l[i].stats.files},
            {"bytes", l[i].stats.bytes},
            {"storedBytes", st_scan_image_of(scan)->subject.layers[i].size},
            {"readBytes", l[i].how == ST_LAYER_SCANNED ? l[i].stats.stored : 0},
            {"byTable", l[i].stats.toc[0] != '\0'},
            {"ms", l[i].ms},
        };
        st_json_open(&w, '{');
        st_json_kv(&w, "how", st_sv_of(hows[l[i].how]));
        for (size_t k = 0; k < sizeof of_layer / sizeof *of_layer; k++) {
            st_json_key(&w, of_layer[k].key);
            st_json_u64(&w, of_layer[k].value);
        }
        st_json_close(&w, '}');
    }
    st_json_close(&w, ']');
    st_json_close(&w, '}');
    st_out_putc(o, '\n');
}
