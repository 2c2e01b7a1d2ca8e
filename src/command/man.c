// Manual pages from the verb and option tables: the program's and one page a verb group.
#include "command/program.h"

#include <stdio.h>

// Text with what roff would read as a command or an escape made harmless. `at_start`: a line begins here.
static void roff(struct st_out *o, struct st_sv s, bool at_start)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (at_start && (c == '.' || c == '\''))
            st_out_puts(o, "\\&");
        at_start = c == '\n';
        if (c == '\\')
            st_out_puts(o, "\\e");
        else if (c == '-')
            st_out_puts(o, "\\-");
        else if (c == '\'')
            st_out_puts(o, "\\(aq");
        else if (c == '~')
            st_out_puts(o, "\\(ti");
        else
            st_out_putc(o, c);
    }
}

static void roff_line(struct st_out *o, const char *text)
{
    roff(o, st_sv_of(text), true);
    st_out_putc(o, '\n');
}

static void paragraphs(struct st_out *o, const char *text)
{
    struct st_sv rest = st_sv_of(text), line;
    while (st_sv_line(&rest, &line)) {
        if (line.len == 0) {
            st_out_puts(o, ".PP\n");
            continue;
        }
        roff(o, line, true);
        st_out_putc(o, '\n');
    }
}

static void tagged(struct st_out *o, const char *name, const char *text)
{
    st_out_puts(o, ".TP\n\\fB");
    roff(o, st_sv_of(name), false);
    st_out_puts(o, "\\fR\n");
    roff_line(o, text);
}

static void option(struct st_out *o, const struct st_opt *row)
{
    char words[200];
    st_out_puts(o, ".TP\n");
    if (row->letter)
        st_out_fmt(o, "\\fB\\-%c\\fR%s", row->letter, row->name ? ", " : "");
    if (row->name) {
        st_out_puts(o, "\\fB\\-\\-");
        roff(o, st_sv_of(row->name), false);
        st_out_puts(o, "\\fR");
    }
    if (row->arg) {
        st_out_puts(o, " \\fI");
        roff(o, st_sv_of(row->arg), false);
        st_out_puts(o, "\\fR");
    }
    st_out_putc(o, '\n');
    roff(o, st_sv_of(row->help), true);
    if (row->choices) {
        st_choice_words(row->choices, words, sizeof words);
        st_out_puts(o, ": ");
        roff(o, st_sv_of(words), false);
    }
    st_out_puts(o, ".\n");
    const char *def = row->def_text ? row->def_text : row->def;
    if (def) {
        st_out_puts(o, "Default: ");
        roff(o, st_sv_of(def), false);
        st_out_puts(o, ".\n");
    }
    if (row->env)
        st_out_fmt(o, "Environment: \\fB%s\\fR.\n", row->env);
}

static void verb(struct st_out *o, const struct st_program *p, const struct st_verb *v)
{
    st_out_puts(o, ".SS ");
    roff(o, st_sv_of(p->name), false);
    st_out_putc(o, ' ');
    roff(o, st_sv_of(v->words), false);
    st_out_puts(o, "\n\\fB");
    roff(o, st_sv_of(p->name), false);
    st_out_putc(o, ' ');
    roff(o, st_sv_of(v->words), false);
    st_out_fmt(o, "\\fR%s \\fI", v->n_opts ? " [options]" : "");
    roff(o, st_sv_of(v->args), false);
    st_out_puts(o, "\\fR\n.PP\n");
    paragraphs(o, v->about);
    if (v->terms) {
        st_out_fmt(o, ".PP\n%s may be:\n", v->args);
        for (const struct st_term *t = v->terms; t->term; t++)
            tagged(o, t->term, t->text);
    }
    if (v->n_opts)
        st_out_puts(o, ".PP\nOptions:\n");
    for (size_t i = 0; i < v->n_opts; i++)
        option(o, &v->opts[i]);
}

static void examples(struct st_out *o, const struct st_program *p, const char *prefix)
{
    st_out_puts(o, ".SH EXAMPLES\n");
    for (const struct st_verb *const *v = p->verbs; *v; v++) {
        if (prefix && !st_words_start((*v)->words, prefix))
            continue;
        for (size_t i = 0; i < ST_VERB_EXAMPLES && (*v)->examples[i].command; i++) {
            st_out_puts(o, ".TP\n");
            roff_line(o, (*v)->examples[i].what);
            st_out_puts(o, "\\fB");
            roff(o, st_sv_of((*v)->examples[i].command), false);
            st_out_puts(o, "\\fR\n");
        }
    }
}

// Is the verb described on the program's page, since no group with a page of its own has it?
static bool on_top_page(const struct st_program *p, const struct st_verb *v)
{
    for (const struct st_group *g = p->groups; g->word; g++)
        if (g->page && st_words_start(v->words, g->word))
            return false;
    return true;
}

static void commands(struct st_out *o, const struct st_program *p, const struct st_group *g)
{
    st_out_puts(o, ".SH COMMANDS\n");
    if (!g)
        for (const struct st_verb *const *v = p->verbs; *v; v++)
            tagged(o, (*v)->words, (*v)->summary);
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        if (g ? st_words_start((*v)->words, g->word) : on_top_page(p, *v))
            verb(o, p, *v);
}

static void environment(struct st_out *o, const struct st_program *p)
{
    if (!p->environment)
        return;
    st_out_puts(o, ".SH ENVIRONMENT\n");
    for (const struct st_term *t = p->environment; t->term; t++)
        tagged(o, t->term, t->text);
}

static void page_name(struct st_out *o, const char *page, unsigned section, bool *inout_first)
{
    st_out_puts(o, *inout_first ? "\\fB" : ",\n\\fB");
    roff(o, st_sv_of(page), false);
    st_out_fmt(o, "\\fR(%u)", section);
    *inout_first = false;
}

static void see_also(struct st_out *o, const struct st_program *p, const struct st_group *g)
{
    bool first = true;
    st_out_puts(o, ".SH SEE ALSO\n");
    if (g)
        page_name(o, p->name, p->section, &first);
    for (const struct st_group *h = p->groups; !g && h->word; h++)
        if (h->page)
            page_name(o, h->page, p->section, &first);
    for (const char *const *s = p->see_also; !g && s && *s; s++) {
        struct st_sv name, section;
        st_sv_cut(st_sv_of(*s), '(', &name, &section);
        st_out_puts(o, first ? "\\fB" : ",\n\\fB");
        roff(o, name, false);
        st_out_fmt(o, "\\fR(" ST_SV_FMT, ST_SV_ARG(section));
        first = false;
    }
    st_out_putc(o, '\n');
}

void st_man_page(struct st_out *o, const struct st_program *p, const struct st_group *g)
{
    const char *page = g ? g->page : p->name;
    st_out_fmt(o, ".\\\" Made from the option tables of %s " ST_VERSION "; do not edit.\n.TH ", p->name);
    for (const char *c = page; *c; c++)
        st_out_putc(o, *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c);
    st_out_fmt(o, " %u \"\" \"stella " ST_VERSION "\" \"stella manual\"\n.nh\n.ad l\n.SH NAME\n", p->section);
    roff(o, st_sv_of(page), false);
    st_out_puts(o, " \\- ");
    roff_line(o, g ? g->summary : p->summary);
    st_out_puts(o, ".SH SYNOPSIS\n\\fB");
    roff(o, st_sv_of(p->name), false);
    st_out_puts(o, g ? " " : "");
    roff(o, st_sv_of(g ? g->word : ""), false);
    st_out_puts(o, "\\fR \\fICOMMAND\\fR [options] [arguments]\n");
    if (!g) {
        st_out_puts(o, ".SH DESCRIPTION\n");
        paragraphs(o, p->description);
    }
    commands(o, p, g);
    examples(o, p, g ? g->word : NULL);
    st_out_puts(o, ".SH EXIT STATUS\n");
    for (const struct st_term *t = p->exit_codes; t->term; t++)
        tagged(o, t->term, t->text);
    environment(o, p);
    see_also(o, p, g);
}
