// Completion for bash, zsh and fish, from the verb and option tables.
#include "base/ckd.h"
#include "base/fd.h"
#include "command/program.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

// Next words that may follow the words of `prefix` ("" for the first word), each once, separated by blanks.
static void next_words(struct st_out *o, const struct st_program *p, const char *prefix)
{
    struct st_sv last = ST_SV_NULL;
    for (const struct st_verb *const *v = p->verbs; *v; v++) {
        struct st_sv rest = st_sv_of((*v)->words), word;
        if (prefix[0] && !st_words_start((*v)->words, prefix))
            continue;
        rest = st_sv_from(rest, strlen(prefix));
        if (!st_sv_word(&rest, &word) || st_sv_eq(word, last)) // verbs of one group stand together
            continue;
        st_out_write(o, word);
        st_out_putc(o, ' ');
        last = word;
    }
}

static void option_names(struct st_out *o, const struct st_verb *v)
{
    for (size_t i = 0; i < v->n_opts; i++) {
        if (v->opts[i].name)
            st_out_fmt(o, "--%s ", v->opts[i].name);
        if (v->opts[i].letter)
            st_out_fmt(o, "-%c ", v->opts[i].letter);
    }
    st_out_puts(o, "--help");
}

static void choice_words(struct st_out *o, const struct st_choice *c)
{
    for (const char *blank = ""; c->word; c++)
        if (!c->alias) {
            st_out_fmt(o, "%s%s", blank, c->word);
            blank = " ";
        }
}

// The verb that a group's own words stand for too ("doctor" for "doctor run"), or NULL.
static const struct st_verb *of_group(const struct st_program *p, const struct st_group *g)
{
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        if ((*v)->alias && !strcmp((*v)->alias, g->word))
            return *v;
    return NULL;
}

// Shell code that sets `values` for the option `prev` of a verb, called by `words`: words, or "@file" where a file is
// meant.
static void value_cases(struct st_out *o, const struct st_verb *v, const char *words)
{
    for (size_t i = 0; i < v->n_opts; i++) {
        const struct st_opt *row = &v->opts[i];
        if (row->kind == ST_OPT_FLAG)
            continue;
        st_out_fmt(o, "        '%s|", words);
        if (row->name)
            st_out_fmt(o, "--%s'", row->name);
        else
            st_out_fmt(o, "-%c'", row->letter);
        if (row->name && row->letter)
            st_out_fmt(o, "|'%s|-%c'", words, row->letter);
        st_out_puts(o, ") values='");
        if (row->choices)
            choice_words(o, row->choices);
        else if (row->words)
            row->words(o);
        else
            st_out_puts(o, "@file");
        st_out_puts(o, "' ;;\n");
    }
}

// `case "$verb" in` of the words that may follow, for bash and zsh alike.
static void verb_cases(struct st_out *o, const struct st_program *p)
{
    st_out_puts(o, "        '') follow='");
    next_words(o, p, "");
    st_out_puts(o, "--help --version' ;;\n");
    for (const struct st_group *g = p->groups; g->word; g++) {
        st_out_fmt(o, "        '%s') follow='", g->word);
        next_words(o, p, g->word);
        if (of_group(p, g))
            option_names(o, of_group(p, g));
        else
            st_out_puts(o, "--help");
        st_out_puts(o, "' ;;\n");
    }
    for (const struct st_verb *const *v = p->verbs; *v; v++) {
        st_out_fmt(o, "        '%s') follow='", (*v)->words);
        option_names(o, *v);
        st_out_puts(o, "' ;;\n");
    }
}

static void known_verbs(struct st_out *o, const struct st_program *p)
{
    const char *bar = "";
    for (const struct st_group *g = p->groups; g->word; g++, bar = "|")
        st_out_fmt(o, "%s'%s'", bar, g->word);
    for (const struct st_verb *const *v = p->verbs; *v; v++, bar = "|")
        st_out_fmt(o, "%s'%s'", bar, (*v)->words);
}

// The part that bash and zsh share: finds the verb among the words typed, then sets `follow` and `values`.
static void shell_body(struct st_out *o, const struct st_program *p, const char *list, const char *last)
{
    st_out_fmt(o,
               "    local verb='' try='' word='' follow='' values=''\n"
               "    for word in \"${%s}\"; do\n"
               "        try=\"${verb:+$verb }$word\"\n"
               "        case \"$try\" in\n        ",
               list);
    known_verbs(o, p);
    st_out_fmt(o, ") verb=\"$try\" ;;\n"
                  "        *) break ;;\n"
                  "        esac\n"
                  "    done\n"
                  "    case \"$verb\" in\n");
    verb_cases(o, p);
    st_out_fmt(o,
               "    esac\n"
               "    case \"$verb|%s\" in\n",
               last);
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        value_cases(o, *v, (*v)->words);
    for (const struct st_group *g = p->groups; g->word; g++)
        if (of_group(p, g))
            value_cases(o, of_group(p, g), g->word);
    st_out_puts(o, "    esac\n");
}

// The program's name as a shell function may be called.
#define IDENT_MAX 64
static void ident(const struct st_program *p, char ret[static IDENT_MAX])
{
    snprintf(ret, IDENT_MAX, "_%s", p->name);
    for (char *c = ret; *c; c++)
        if (*c == '-')
            *c = '_';
}

void st_complete_bash(struct st_out *o, const struct st_program *p)
{
    char function[IDENT_MAX];
    ident(p, function);
    st_out_fmt(o,
               "# bash completion for %s " ST_VERSION ", made from its option tables; do not edit.\n"
               "%s() {\n"
               "    local cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
               "    local prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
               "    COMPREPLY=()\n",
               p->name, function);
    shell_body(o, p, "COMP_WORDS[@]:1:COMP_CWORD-1", "$prev");
    st_out_puts(o, "    if [ \"$values\" = '@file' ]; then\n"
                   "        compopt -o default\n"
                   "    elif [ -n \"$values\" ]; then\n"
                   "        mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$cur\")\n"
                   "    elif [ \"${cur:0:1}\" = - ] || [ \"${follow:0:1}\" != - ]; then\n"
                   "        mapfile -t COMPREPLY < <(compgen -W \"$follow\" -- \"$cur\")\n"
                   "    else\n"
                   "        compopt -o default\n"
                   "    fi\n"
                   "}\n");
    st_out_fmt(o, "complete -F %s %s\n", function, p->name);
}

void st_complete_zsh(struct st_out *o, const struct st_program *p)
{
    char function[IDENT_MAX];
    ident(p, function);
    st_out_fmt(o,
               "#compdef %s\n"
               "# zsh completion for %s " ST_VERSION ", made from its option tables; do not edit.\n"
               "%s() {\n"
               "    local -a typed=(\"${(@)words[2,CURRENT-1]}\")\n",
               p->name, p->name, function);
    shell_body(o, p, "typed[@]", "${typed[-1]}");
    st_out_puts(o, "    if [[ $values == '@file' ]]; then\n"
                   "        _files\n"
                   "    elif [[ -n $values ]]; then\n"
                   "        compadd -- ${=values}\n"
                   "    elif [[ $PREFIX == -* || $follow != -* ]]; then\n"
                   "        compadd -- ${=follow}\n"
                   "    else\n"
                   "        _files\n"
                   "    fi\n"
                   "}\n");
    st_out_fmt(o, "%s \"$@\"\n", function);
}

static void fish_text(struct st_out *o, const char *s)
{
    st_out_putc(o, '\'');
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            st_out_putc(o, '\\');
        st_out_putc(o, *s);
    }
    st_out_putc(o, '\'');
}

// Condition (at: exactly the words `words` are typed, in: they begin the line) of one completion. The functions carry
// the program's name, since fish has one name space.
static void fish_row(struct st_out *o, const struct st_program *p, const char *condition, const char *words)
{
    char function[IDENT_MAX];
    ident(p, function);
    st_out_fmt(o, "complete -c %s -n '_%s_%s %s' ", p->name, function, condition, words);
}

static void fish_words(struct st_out *o, const struct st_program *p, const char *prefix)
{
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        if (!prefix[0] || st_words_start((*v)->words, prefix)) {
            struct st_sv rest = st_sv_from(st_sv_of((*v)->words), strlen(prefix)), word;
            st_sv_word(&rest, &word);
            fish_row(o, p, "at", prefix);
            st_out_fmt(o, "-f -a " ST_SV_FMT " -d ", ST_SV_ARG(word));
            const char *text = (*v)->summary;
            for (const struct st_group *g = p->groups; g->word; g++)
                if (g->page && !prefix[0] && st_sv_eq(st_sv_of(g->word), word))
                    text = g->summary;
            fish_text(o, text);
            st_out_putc(o, '\n');
        }
}

static void fish_option(struct st_out *o, const struct st_program *p, const struct st_verb *v, const struct st_opt *row)
{
    fish_row(o, p, "in", v->words);
    if (row->name)
        st_out_fmt(o, "-l %s ", row->name);
    if (row->letter)
        st_out_fmt(o, "-s %c ", row->letter);
    if (row->choices || row->words) {
        st_out_puts(o, "-x -a '");
        row->choices ? choice_words(o, row->choices) : row->words(o);
        st_out_puts(o, "' ");
    } else if (row->kind != ST_OPT_FLAG) {
        st_out_puts(o, "-r ");
    }
    st_out_puts(o, "-d ");
    fish_text(o, row->help);
    st_out_putc(o, '\n');
}

void st_complete_fish(struct st_out *o, const struct st_program *p)
{
    char function[IDENT_MAX];
    ident(p, function);
    st_out_fmt(o,
               "# fish completion for %s " ST_VERSION ", made from its option tables; do not edit.\n"
               "function _%s_at\n"
               "    set -l typed (commandline -opc)\n"
               "    test \"$typed[2..-1]\" = \"$argv\"\n"
               "end\n"
               "function _%s_in\n"
               "    set -l typed (commandline -opc)\n"
               "    set -l n (math (count $argv) + 1)\n"
               "    test (count $typed) -ge $n; and test \"$typed[2..$n]\" = \"$argv\"\n"
               "end\n",
               p->name, function, function);
    fish_words(o, p, "");
    for (const struct st_group *g = p->groups; g->word; g++)
        fish_words(o, p, g->word);
    for (const struct st_verb *const *v = p->verbs; *v; v++)
        for (size_t i = 0; i < (*v)->n_opts; i++)
            fish_option(o, p, *v, &(*v)->opts[i]);
}

// ---- files --------------------------------------------------------------------------------------

static void page_top(struct st_out *o, const struct st_program *p)
{
    st_man_page(o, p, NULL);
}

static const struct {
    const char *prefix, *suffix; // around the program's name; suffix NULL: the manual's section
    void (*write)(struct st_out *o, const struct st_program *p);
} files[] = {
    {"", NULL, page_top},
    {"", ".bash", st_complete_bash},
    {"_", "", st_complete_zsh},
    {"", ".fish", st_complete_fish},
};

static int create(const char *dir, const char *prefix, const char *name, const char *suffix, struct st_out *o,
                  struct st_err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s%s%s", dir, prefix, name, suffix) >= (int)sizeof path)
        return st_err_set(err, ST_E_INPUT, "directory name too long");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return st_err_sys(err, "create %s", path);
    st_out_init_fd(o, fd);
    return fd;
}

int st_docs_write(const struct st_program *p, const char *dir, struct st_err *err)
{
    struct st_out o;
    char section[16];
    snprintf(section, sizeof section, ".%u", p->section);
    for (size_t i = 0; i < ST_LEN(files); i++) {
        const char *suffix = files[i].suffix ? files[i].suffix : section;
        ST_AUTO_CLOSE int fd = create(dir, files[i].prefix, p->name, suffix, &o, err);
        if (fd < 0)
            return -1;
        files[i].write(&o, p);
        if (st_out_finish(&o, err))
            return -1;
    }
    for (const struct st_group *g = p->groups; g->word; g++) {
        if (!g->page)
            continue;
        ST_AUTO_CLOSE int fd = create(dir, "", g->page, section, &o, err);
        if (fd < 0)
            return -1;
        st_man_page(&o, p, g);
        if (st_out_finish(&o, err))
            return -1;
    }
    return 0;
}
