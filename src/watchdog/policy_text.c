// Words and sentences. No floating point reaches printf: glibc may allocate for it.
#include "base/ckd.h"
#include "base/quantity.h"
#include "watchdog/policy.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *word, *text;
    bool must_end;
} states[ST_WD_STATE_COUNT] = {
#define STATE_ROW(id, word, must_end, text) {word, text, must_end},
    ST_WD_STATES(STATE_ROW)
#undef STATE_ROW
};

static const struct {
    const char *word, *text;
} holds[ST_WD_HOLD_COUNT] = {
#define HOLD_ROW(id, word, text) {word, text},
    ST_WD_HOLDS(HOLD_ROW)
#undef HOLD_ROW
};

const char *st_wd_state_word(enum st_wd_state s)
{
    return (unsigned)s < ST_WD_STATE_COUNT ? states[s].word : "?";
}

const char *st_wd_state_text(enum st_wd_state s)
{
    return (unsigned)s < ST_WD_STATE_COUNT ? states[s].text : "?";
}

bool st_wd_state_must_end(enum st_wd_state s)
{
    return (unsigned)s < ST_WD_STATE_COUNT && states[s].must_end;
}

enum st_wd_state st_wd_state_find(struct st_sv word)
{
    unsigned s = 0;
    while (s < ST_WD_STATE_COUNT && !st_sv_eq(word, st_sv_of(states[s].word)))
        s++;
    return (enum st_wd_state)s;
}

const char *st_wd_hold_word(enum st_wd_hold h)
{
    return (unsigned)h < ST_WD_HOLD_COUNT ? holds[h].word : "?";
}

const char *st_wd_hold_text(enum st_wd_hold h)
{
    return (unsigned)h < ST_WD_HOLD_COUNT ? holds[h].text : "?";
}

const char *st_wd_confidence_word(enum st_wd_confidence c)
{
    static const char *const words[] = {"counters-only", "strong", "certain"};
    return (unsigned)c < ST_LEN(words) ? words[c] : "?";
}

struct line {
    char *buf;
    size_t cap, len;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
    if (l->len + 1 >= l->cap)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->buf + l->len, l->cap - l->len, fmt, ap);
    va_end(ap);
    if (n > 0)
        l->len = ST_MIN(l->len + (size_t)n, l->cap - 1);
}

static void add_bytes(struct line *l, uint64_t bytes)
{
    char text[ST_QUANTITY_TEXT];
    st_quantity_human(bytes, text);
    add(l, "%s", text);
}

static unsigned percent(double share)
{
    return share <= 0 ? 0 : (unsigned)(ST_MIN(share, 10.0) * 100 + 0.5);
}

static uint64_t whole(double v)
{
    return v <= 0 ? 0 : (uint64_t)(ST_MIN(v, 1e15) + 0.5);
}

static void add_cpus(struct line *l, double cpus)
{
    uint64_t tenth = whole(cpus * 10);
    add(l, "%" PRIu64 ".%" PRIu64, tenth / 10, tenth % 10);
}

static void add_name(struct line *l, struct st_sv name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c < ' ' || c >= 0x7f)
            add(l, "\\x%02x", c);
        else
            add(l, "%c", c);
    }
}

// "97% of memory.max 512.0Mi is pinned (...), 13.8Mi are left for files"
static void add_memory(struct line *l, const struct st_wd_numbers *n, struct st_sv owner)
{
    if (n->limit == ST_WD_NONE) {
        add(l, "no limit; ");
        add_bytes(l, n->pinned);
        add(l, " cannot be freed");
        return;
    }
    add(l, "%u%% of %s ", percent(n->pinned_share), n->limit_is_high ? "memory.high" : "memory.max");
    add_bytes(l, n->limit);
    if (owner.len) {
        add(l, " of ");
        add_name(l, owner);
    }
    add(l, " cannot be freed (anon ");
    add_bytes(l, n->anon);
    add(l, ", shmem ");
    add_bytes(l, n->shmem);
    add(l, ", kernel ");
    add_bytes(l, n->kernel);
    add(l, "), ");
    add_bytes(l, n->room);
    add(l, " are left for files");
    if (n->swap_room) {
        add(l, ", swap has room for ");
        add_bytes(l, n->swap_room);
    }
}

static void add_activity(struct line *l, const struct st_wd_numbers *n)
{
    if (n->major_faults >= 0)
        add(l, "; %" PRIu64 " major faults/s", whole(n->major_faults));
    if (n->refaults > 0)
        add(l, ", %" PRIu64 " pages/s read again", whole(n->refaults));
    if (n->mapped_left >= 0 && n->major_faults > 0)
        add(l, ", %u%% is left of what was mapped", percent(ST_MIN(n->mapped_left, 1.0)));
    if (n->swap_in > 0)
        add(l, ", %" PRIu64 " pages/s back from swap", whole(n->swap_in));
    if (n->mem_some >= 0)
        add(l, "; stalled on memory %u%%", percent(n->mem_some));
    if (n->io_some >= 0)
        add(l, "%s%u%%", n->mem_some >= 0 ? ", on files " : "; stalled on files ", percent(n->io_some));
    if (n->cpu_user >= 0) {
        add(l, "; CPU ");
        add_cpus(l, n->cpu_user);
        add(l, " user");
        if (n->cpu_user_before >= 0) {
            add(l, " (");
            add_cpus(l, n->cpu_user_before);
            add(l, " before)");
        }
        add(l, ", ");
        add_cpus(l, n->cpu_system);
        add(l, " kernel");
    }
}

size_t st_wd_verdict_text(const struct st_wd_verdict *v, struct st_sv owner, char *buf, size_t cap)
{
    struct line l = {buf, cap, 0};
    if (cap == 0)
        return 0;
    buf[0] = 0;
    char time[ST_QUANTITY_TEXT];
    st_duration_human(whole(v->seconds), time);
    add(&l, "%s (for %s): ", st_wd_state_text(v->state), time);
    add_memory(&l, &v->n, owner);
    add_activity(&l, &v->n);
    if (v->n.eta_s >= 0) {
        st_duration_human(whole(v->n.eta_s), time);
        add(&l, "; full in %s at this rate", time);
    }
    if (v->psi_blind)
        add(&l, "; pressure stall information is off or counts nothing, judged on counters alone");
    if (v->hold != ST_WD_HOLD_NONE)
        add(&l, "; left alone: %s", st_wd_hold_text(v->hold));
    if (v->suggested_limit) {
        add(&l, "; a limit of ");
        add_bytes(&l, v->suggested_limit);
        add(&l, " would have done");
    }
    return l.len;
}
