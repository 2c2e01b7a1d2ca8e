// --help: teaches by example, fits 80 columns.
#include "base/ckd.h"
#include "command/program.h"

#include <stdio.h>

#define TERM_COLUMN 26 // where the text beside an option starts

// Words of `text` from column `at` (the cursor is there already) on, wrapped and indented to `at`.
static void wrap(struct st_out *o, struct st_sv text, size_t at)
{
    size_t column = at;
    struct st_sv word;
    while (st_sv_word(&text, &word)) {
        if (column > at && column + 1 + word.len > ST_HELP_WIDTH) {
            st_out_fmt(o, "\n%*s", (int)at, "");
            column = at;
        }
        if (column > at) {
            st_out_putc(o, ' ');
            column++;
        }
        st_out_write(o, word);
        column += word.len;
    }
    st_out_putc(o, '\n');
}

static void paragraphs(struct st_out *o, const char *text)
{
    struct st_sv rest = st_sv_of(text), line;
    while (st_sv_line(&rest, &line))
        wrap(o, line, 0);
}

// "  term       text", the text on its own line when the term is long.
static void term(struct st_out *o, const char *name, struct st_sv text, size_t column)
{
    st_out_fmt(o, "  %s", name);
    size_t n = 2 + strlen(name);
    if (n + 2 > column) {
        st_out_putc(o, '\n');
        n = 0;
    }
    st_out_fmt(o, "%*s", (int)(column - n), "");
    wrap(o, text, column);
}

static void terms(struct st_out *o, const char *head, const struct st_term *t)
{
    size_t column = 0;
    for (const struct st_term *u = t; u->term; u++)
        column = ST_MAX(column, strlen(u->term) + 4);
    column = ST_MIN(column, (size_t)TERM_COLUMN);
    st_out_fmt(o, "\n%s:\n", head);
    for (; t->term; t++)
        term(o, t->term, st_sv_of(t->text), column);
}

static void option(struct st_out *o, const struct st_opt *row)
{
    char name[80], text[700], words[200];
    char letter[8] = "    ";
    if (row->letter)
        snprintf(letter, sizeof letter, "-%c%s", row->letter, row->name ? ", " : " ");
    snprintf(name, sizeof name, "%s%s%s%s%s", letter, row->name ? "--" : "", row->name ? row->name : "",
             row->arg && row->name ? " " : "", row->arg ? row->arg : "");
    int n = snprintf(text, sizeof text, "%s", row->help);
    if (row->choices) {
        st_choice_words(row->choices, words, sizeof words);
        n += snprintf(text + n, sizeof text - (size_t)n, ": %s", words);
    }
    const char *def = row->def_text ? row->def_text : row->def;
    if (def)
        n += snprintf(text + n, sizeof text - (size_t)n, " (default: %s)", def);
    if (row->env)
        snprintf(text + n, sizeof text - (size_t)n, " [%s]", row->env);
    term(o, name, st_sv_of(text), TERM_COLUMN);
}

static void examples(struct st_out *o, const struct st_verb *v, size_t max)
{
    for (size_t i = 0; i < ST_VERB_EXAMPLES && i < max && v->examples[i].command; i++)
        st_out_fmt(o, "  %s\n      %s\n", v->examples[i].what, v->examples[i].command);
}

void st_help_verb(struct st_out *o, const struct st_program *p, const struct st_verb *v)
{
    st_out_fmt(o, "Usage: %s %s%s%s%s\n\n", p->name, v->words, v->n_opts ? " [options]" : "", v->args[0] ? " " : "",
               v->args);
    paragraphs(o, v->about);
    st_out_puts(o, "\nExamples:\n");
    examples(o, v, ST_VERB_EXAMPLES);
    if (v->terms)
        terms(o, v->args, v->terms);
    st_out_puts(o, "\nOptions:\n");
    for (size_t i = 0; i < v->n_opts; i++)
        option(o, &v->opts[i]);
    option(o, &(struct st_opt){.name = "help", .letter = 'h', .help = "show this text"});
    st_out_fmt(o, "\nThe manual has more: man %s", p->name);
    for (const struct st_group *g = p->groups; g->word; g++)
        if (g->page && st_words_start(v->words, g->word))
            st_out_fmt(o, "-%s", g->word);
    st_out_putc(o, '\n');
}

static void verb_list(struct st_out *o, const struct st_program *p, const char *prefix)
{
    size_t column = 0;
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        column = ST_MAX(column, strlen((*v)->words) + 4);
    st_out_puts(o, "Commands:\n");
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        if (!prefix || st_words_start((*v)->words, prefix))
            term(o, (*v)->words, st_sv_of((*v)->summary), column);
}

void st_help_group(struct st_out *o, const struct st_program *p, const struct st_group *g)
{
    st_out_fmt(o, "%s %s: %s\n\n", p->name, g->word, g->summary);
    verb_list(o, p, g->word);
    st_out_puts(o, "\nExamples:\n");
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        if (st_words_start((*v)->words, g->word))
            examples(o, *v, 2);
    st_out_fmt(o, "\n'%s help COMMAND' shows the options of a command.\n", p->name);
}

void st_help_top(struct st_out *o, const struct st_program *p)
{
    st_out_fmt(o, "Usage: %s COMMAND [options] [arguments]\n\n", p->name);
    paragraphs(o, p->about);
    st_out_putc(o, '\n');
    verb_list(o, p, NULL);
    st_out_puts(o, "\nExamples:\n");
    struct st_sv group = ST_SV_NULL, word, rest; // one of each group of commands
    for (const struct st_verb *const *v = p->verbs; *v; v++) {
        st_sv_cut(st_sv_of((*v)->words), ' ', &word, &rest);
        if (!st_sv_eq(word, group))
            examples(o, *v, v == p->verbs ? 2 : 1);
        group = word;
    }
    terms(o, "Exit codes", p->exit_codes);
    char last[200];
    snprintf(last, sizeof last,
             "'%s help COMMAND' shows the options of a command; %s --version what this build is made of.", p->name,
             p->name);
    st_out_putc(o, '\n');
    paragraphs(o, last);
}
