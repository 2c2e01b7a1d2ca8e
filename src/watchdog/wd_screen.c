#include "watchdog/wd_screen.h"

#include "base/ckd.h"
#include "base/quantity.h"

#include <stdio.h>

#define BAR 50
#define SHOWN 5 // processes

static const char *human(uint64_t bytes, char buf[static ST_QUANTITY_TEXT])
{
    st_quantity_human(bytes, buf);
    return buf;
}

static int percent(double share)
{
    return share < 0 ? 0 : (int)(ST_MIN(share, 9.99) * 100 + 0.5);
}

static void headline(struct st_out *o, const struct st_wd_screen *s)
{
    const struct st_wd_verdict *v = s->verdict;
    char since[ST_QUANTITY_TEXT];
    st_out_puts(o, "/");
    st_out_safe(o, s->path);
    st_out_puts(o, "\n\n");
    if (v->n.limit == ST_WD_NONE) {
        st_out_puts(o, "  HAS NO MEMORY LIMIT, neither its own nor an ancestor's: it cannot run into one.\n\n");
        return;
    }
    st_duration_human((uint64_t)v->seconds, since);
    st_out_puts(o, !st_wd_state_must_end(v->state) ? "  " : v->act ? "  HUNG: " : "  PERHAPS HUNG: ");
    st_out_fmt(o, "%s\n  (%s, for %s)\n", st_wd_state_text(v->state), st_wd_state_word(v->state), since);
    if (st_wd_state_must_end(v->state) && !v->act)
        st_out_fmt(o, "  not to be ended yet: %s\n", st_wd_hold_text(v->hold));
    if (v->psi_blind)
        st_out_puts(o, "  Pressure (PSI) is off or counts nothing here: judged on counters alone.\n");
    st_out_putc(o, '\n');
}

static void memory(struct st_out *o, const struct st_wd_screen *s)
{
    const struct st_wd_numbers *n = &s->verdict->n;
    char a[ST_QUANTITY_TEXT], b[ST_QUANTITY_TEXT], c[ST_QUANTITY_TEXT];
    if (n->limit != ST_WD_NONE) {
        st_out_fmt(o, "  limit    %-8s memory.%s of ", human(n->limit, a), n->limit_is_high ? "high" : "max");
        st_out_safe(o, s->owner);
        bool own = st_sv_eq(st_sv_from(s->owner, 1), s->path);
        st_out_puts(o, own ? "\n" : "  (an ancestor: others share it)\n");
    }
    st_out_fmt(o, "  pinned   %-8s", human(n->pinned, a));
    if (n->limit != ST_WD_NONE && n->limit) {
        int full = ST_MIN(BAR, (int)(n->pinned_share * BAR + 0.5));
        st_out_fmt(o, "%3d%% [", percent(n->pinned_share));
        for (int i = 0; i < BAR; i++)
            st_out_putc(o, i < full ? '#' : '.');
        st_out_puts(o, "]");
    }
    st_out_fmt(o, "\n           private %s, shared %s, kernel %s: reclaim cannot free it\n", human(n->anon, a),
               human(n->shmem, b), human(n->kernel, c));
    if (n->limit != ST_WD_NONE)
        st_out_fmt(o, "  room     %-8s for code and files; %s are cached now\n", human(n->room, a), human(n->cache, b));
    if (n->swap_room)
        st_out_fmt(o, "  swap     %-8s room left\n", human(n->swap_room, a));
    else
        st_out_puts(o, s->swap ? "  swap     full, or not allowed here\n" : "  swap     none\n");
}

static void activity(struct st_out *o, const struct st_wd_numbers *n)
{
    if (n->major_faults >= 0) {
        st_out_fmt(o, "  faults   %.0f/s had to read a file again", n->major_faults);
        if (n->refaults > 0)
            st_out_fmt(o, "; %.0f pages/s came back that reclaim had just dropped", n->refaults);
        st_out_putc(o, '\n');
    }
    if (n->mapped_left >= 0)
        st_out_fmt(o, "  mapped   %d%% is left of the code and files that were mapped while they had room\n",
                   percent(ST_MIN(n->mapped_left, 1.0)));
    if (n->mem_some >= 0)
        st_out_fmt(o, "  stalled  %d%% of the time on memory (all of it: %d%%), %d%% on files\n", percent(n->mem_some),
                   percent(n->mem_full), percent(n->io_some));
    if (n->cpu_user >= 0) {
        st_out_fmt(o, "  CPU      %.2f in programs", n->cpu_user);
        if (n->cpu_user_before >= 0)
            st_out_fmt(o, " (%.2f before the limit)", n->cpu_user_before);
        st_out_fmt(o, ", %.2f in the kernel\n", n->cpu_system);
    }
}

static void holders(struct st_out *o, const struct st_wd_screen *s)
{
    const struct st_wd_processes *ps = s->processes;
    const struct st_wd_process *shown[SHOWN] = {NULL};
    char a[ST_QUANTITY_TEXT];
    st_out_puts(o, "\n  WHO HOLDS IT\n");
    for (size_t i = 0; i < ps->n; i++) {
        const struct st_wd_process *p = &ps->at[i];
        for (size_t k = 0; k < SHOWN && st_wd_process_bytes(p); k++) { // insertion
            if (shown[k] && st_wd_process_bytes(shown[k]) >= st_wd_process_bytes(p))
                continue;
            const struct st_wd_process *t = shown[k];
            shown[k] = p;
            p = t;
            if (!p)
                break;
        }
    }
    for (size_t k = 0; k < SHOWN && shown[k]; k++) {
        st_out_fmt(o, "  %10d  %-8s  ", (int)shown[k]->pid, human(st_wd_process_bytes(shown[k]), a));
        st_out_safe(o, st_sv_of(shown[k]->comm));
        st_out_puts(o, shown[k]->flags & (ST_WD_P_NAMED | ST_WD_P_INIT) ? "  (never killed)"
                       : shown[k]->flags & ST_WD_P_ABOVE                ? "  (above an agent, never killed)"
                                                                        : "");
        st_out_putc(o, '\n');
    }
    if (!shown[0])
        st_out_puts(o, ps->unseen ? "  its processes are in another pid namespace\n" : "  no process holds any\n");
    if (ps->n > SHOWN)
        st_out_fmt(o, "  and %zu more processes\n", ps->n - SHOWN);
}

static void wrapped(struct st_out *o, const char *text)
{
    struct st_sv rest = st_sv_of(text), word;
    size_t column = 0;
    while (st_sv_word(&rest, &word)) {
        if (column && column + 1 + word.len > 76) {
            st_out_putc(o, '\n');
            column = 0;
        }
        st_out_puts(o, column ? " " : "  ");
        st_out_safe(o, word);
        column += word.len + 1;
    }
    st_out_putc(o, '\n');
}

static void more_memory(struct st_out *o, const struct st_wd_screen *s, const char *give)
{
    char text[160], limit[ST_QUANTITY_TEXT];
    if (s->verdict->suggested_limit)
        snprintf(text, sizeof text, "%s it a limit of at least %s, or let it use less.", give,
                 human(s->verdict->suggested_limit, limit));
    else
        snprintf(text, sizeof text, "%s it more memory, or let it use less.", give);
    wrapped(o, text);
}

static void end_it(struct st_out *o, const struct st_wd_screen *s)
{
    char text[900], held[ST_QUANTITY_TEXT];
    const struct st_wd_process *p = st_wd_culprit(s->processes);
    bool to_blame = p && st_wd_process_bytes(p) >= s->verdict->n.pinned / ST_WD_CULPRIT_SHARE;
    if (to_blame)
        snprintf(text, sizeof text, "End %s: kill -9 %d frees up to %s, and the job around it can report its failure.",
                 p->comm, (int)p->pid, human(st_wd_process_bytes(p), held));
    else
        snprintf(text, sizeof text,
                 "No single process holds it (tmpfs, shared memory, or many small ones). End all of it: echo 1 > "
                 "cgroup.kill in its directory.");
    wrapped(o, text);
    wrapped(o, "The kernel will not do it: each reclaim still frees some page, so it never declares out-of-memory.");
    more_memory(o, s, "Then give");
    snprintf(text, sizeof text, "So that this ends by itself next time: stella-watchdog run --cgroup /" ST_SV_FMT,
             ST_SV_ARG(st_sv_sub(s->path, 0, 500)));
    wrapped(o, text);
}

static void look_again(struct st_out *o, const struct st_wd_screen *s)
{
    char text[700];
    wrapped(o, "End nothing yet. A healthy job may look like this for some seconds. Look longer:");
    snprintf(text, sizeof text, "stella-watchdog judge --seconds 30 /" ST_SV_FMT,
             ST_SV_ARG(st_sv_sub(s->path, 0, 500)));
    wrapped(o, text);
}

static void advice(struct st_out *o, const struct st_wd_screen *s)
{
    static const char *const texts[ST_WD_STATE_COUNT] = {
        [ST_WD_BELOW] = "Nothing: it is below its limit. If it hangs, memory is not the reason.",
        [ST_WD_HEALTHY] = "Nothing. What fills it is cache, which gives way when needed; that usage stands near 100% "
                          "means nothing. If it hangs, memory is not the reason.",
        [ST_WD_KERNEL] = "Wait: pinned memory grows into the limit and the kernel is about to kill. Then give it more "
                         "memory, or let it use less.",
        [ST_WD_FILE_THRASH] = "Kill nobody: no process holds the memory, killing frees nothing. The files it works on "
                              "are larger than its limit. Raise the limit, or let it read less at a time.",
        [ST_WD_LEAK] = "It grows steadily. Find out why before it is full, or restart it at a time of your choice.",
    };
    st_out_puts(o, "\n  WHAT TO DO\n");
    if (s->verdict->n.limit == ST_WD_NONE)
        wrapped(o, "Nothing here. If the whole host is short of memory, look at the host.");
    else if (st_wd_state_must_end(s->verdict->state) && !s->verdict->act)
        look_again(o, s);
    else if (st_wd_state_must_end(s->verdict->state))
        end_it(o, s);
    else if (s->verdict->hold == ST_WD_HOLD_PROGRESS && s->verdict->n.mapped_left < 0) {
        wrapped(o, "It is slow, and was not seen before: it may always have been (a database or an index larger than "
                   "its room), or it hangs. If its own log goes on, give it more memory. If it does not:");
        end_it(o, s);
    } else if (s->verdict->hold == ST_WD_HOLD_PROGRESS) {
        wrapped(
            o, "Kill nobody: it is slow, for files are read again and again in the room that is left, but it gets on.");
        more_memory(o, s, "Give");
    } else if (texts[s->verdict->state])
        wrapped(o, texts[s->verdict->state]);
    if (s->verdict->state == ST_WD_LEAK && s->verdict->n.eta_s >= 0) {
        char eta[ST_QUANTITY_TEXT];
        st_duration_human((uint64_t)s->verdict->n.eta_s, eta);
        st_out_fmt(o, "  At this rate it is full in %s.\n", eta);
    }
}

void st_wd_screen_write(struct st_out *o, const struct st_wd_screen *s)
{
    headline(o, s);
    memory(o, s);
    activity(o, &s->verdict->n);
    holders(o, s);
    advice(o, s);
}
