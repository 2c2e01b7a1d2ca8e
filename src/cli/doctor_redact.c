// Text of a support bundle without secrets. Pure, one pass.
#include "base/ckd.h"
#include "cli/doctor_report.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

// Does `what` (small letters) stand in `s` at `at`?
static bool word_at(struct st_sv s, size_t at, const char *what)
{
    size_t i = 0;
    while (what[i] && at + i < s.len && lower(s.ptr[at + i]) == what[i])
        i++;
    return !what[i];
}

static bool in_value(char c)
{
    return (unsigned char)c > ' ' && c != '"' && c != '\'' && c != ',' && c != ';' && c != '}' && c != ']' &&
           c != ')' && c != '\\' && c != '&';
}

static size_t value_end(struct st_sv s, size_t at)
{
    while (at < s.len && in_value(s.ptr[at]))
        at++;
    return at;
}

// scheme://user:PASSWORD@host, from "://": where the password begins and ends, or false.
static bool password(struct st_sv s, size_t at, size_t *ret_from, size_t *ret_to)
{
    size_t from = 0;
    for (size_t i = at; i < s.len && in_value(s.ptr[i]) && s.ptr[i] != '/'; i++) {
        if (s.ptr[i] == ':' && !from)
            from = i + 1;
        if (s.ptr[i] == '@') { // the last one ends it: a password may hold '@'
            *ret_from = from ? from : at;
            *ret_to = i;
            while (++i < s.len && in_value(s.ptr[i]) && s.ptr[i] != '/')
                if (s.ptr[i] == '@')
                    *ret_to = i;
            return true;
        }
    }
    return false;
}

// What is assigned: from behind the name over quotes, blanks and one '=' or ':' to the value, or 0.
static size_t assigned(struct st_sv s, size_t at)
{
    size_t signs = 0;
    for (; at < s.len && (s.ptr[at] == '"' || s.ptr[at] == '\'' || s.ptr[at] == ' ' || s.ptr[at] == '\\' ||
                          s.ptr[at] == '=' || s.ptr[at] == ':');
         at++)
        signs += s.ptr[at] == '=' || s.ptr[at] == ':';
    return signs == 1 && at < s.len && in_value(s.ptr[at]) ? at : 0;
}

// A secret that is announced at `at`: where it begins and ends.
static bool announced(struct st_sv s, size_t at, size_t *ret_from, size_t *ret_to)
{
    static const char *const names[] = {"token", "password", "passwd", "secret", "_key", "-key", "authorization"};
    static const char *const schemes[] = {"bearer ", "basic "};
    if (word_at(s, at, "://"))
        return password(s, at + 3, ret_from, ret_to);
    for (size_t i = 0; i < ST_LEN(schemes); i++)
        if (word_at(s, at, schemes[i])) {
            *ret_from = at + strlen(schemes[i]);
            *ret_to = value_end(s, *ret_from);
            return *ret_to - *ret_from >= 8; // "basic check" is prose
        }
    for (size_t i = 0; i < ST_LEN(names); i++)
        if (word_at(s, at, names[i]) && (*ret_from = assigned(s, at + strlen(names[i]))) != 0) {
            for (size_t k = 0; k < ST_LEN(schemes); k++)
                if (word_at(s, *ret_from, schemes[k]))
                    *ret_from += strlen(schemes[k]);
            *ret_to = value_end(s, *ret_from);
            return true;
        }
    return false;
}

int st_doctor_redact(struct st_sv text, struct st_buf *to, struct st_err *err)
{
    size_t done = 0, from, end;
    for (size_t i = 0; i < text.len; i++)
        if (announced(text, i, &from, &end) && end > from) {
            if (st_buf_add(to, st_sv_sub(text, done, from - done), err) || st_buf_add(to, ST_SV("***"), err))
                return -1;
            done = end;
            i = end - 1;
        }
    return st_buf_add(to, st_sv_from(text, done), err);
}
