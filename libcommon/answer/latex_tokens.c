/* latex_tokens.c - the tokens of LaTeX: macros, braces, comments, what typography writes with two characters, and single characters. */
#include <string.h>

#include "answer/latex_private.h"
#include "base/unicode.h"
#include "base/utf8.h"

static const struct { const char *token, *text; } specials[] = {
    { "---", "\xE2\x80\x94" }, { "``", "\xE2\x80\x9C" }, { "''", "\xE2\x80\x9D" }, { "--", "\xE2\x80\x93" },
    { "!`", "\xC2\xA1" }, { "?`", "\xC2\xBF" }, { "~", "\xC2\xA0" }, { "&", "   " },
};
enum { N_SPECIALS = sizeof(specials) / sizeof(specials[0]) };

static bool starts_with(struct jrl_text s, size_t at, const char *prefix)
{
    const size_t n = strlen(prefix);

    return n <= s.len_bytes - at && memcmp(s.data + at, prefix, n) == 0;
}

const char *jrl_latex_special_text(struct jrl_text special)
{
    for (int i = 0; i < N_SPECIALS; i++)
        if (special.len_bytes == strlen(specials[i].token) && starts_with(special, 0, specials[i].token))
            return specials[i].text;
    return "";
}

static bool is_space_at(struct jrl_text s, size_t i, size_t *n)
{
    return i < s.len_bytes && jrl_is_space(jrl_unicode_at(s, i, n));
}

/* Over white space from I, but not over a blank line: stops before two line ends in a row and says so. */
static size_t skip_space(struct jrl_text s, size_t i, bool *blank_line)
{
    const size_t start = i;
    size_t n;

    *blank_line = false;
    while (is_space_at(s, i, &n)) {
        i += n;
        if (i >= start + 2 && s.data[i - 1] == '\n' && s.data[i - 2] == '\n') {
            *blank_line = true;
            return i - 2;
        }
    }
    return i;
}

static bool in_environment_name(uint32_t c)
{
    return c == '*' || c == ' ' || c == '.' || c == '_' || c == '-' || jrl_unicode_is_alnum(c);
}

/* White space, { and a name and }: the name, and where it ends. */
static bool environment_name(struct jrl_text s, size_t at, struct jrl_text *name, size_t *end)
{
    size_t n, begin, i = at;

    while (is_space_at(s, i, &n))
        i += n;
    if (i >= s.len_bytes || s.data[i] != '{')
        return false;
    begin = ++i;
    while (i < s.len_bytes && in_environment_name(jrl_unicode_at(s, i, &n)))
        i += n;
    if (i == begin || i >= s.len_bytes || s.data[i] != '}')
        return false;
    *name = (struct jrl_text){ s.data + begin, i - begin };
    *end = i + 1;
    return true;
}

/* At a backslash that is not the last character. */
static void read_macro(struct jrl_latex_token *t, struct jrl_text s, bool environments)
{
    const size_t name = t->start + 1;
    size_t i = name, n;
    const bool is_word = jrl_unicode_is_alpha(jrl_unicode_at(s, i, &n));
    bool blank_line;

    for (i += n; is_word && i < s.len_bytes && jrl_unicode_is_alpha(jrl_unicode_at(s, i, &n));)
        i += n;
    t->kind = LATEX_MACRO;
    t->text = (struct jrl_text){ s.data + name, i - name };
    t->end = i;
    if (i - name == 1 && memchr("[]()", s.data[name], 4)) {
        t->kind = LATEX_MATH;
        t->text = (struct jrl_text){ s.data + t->start, 2 };
    } else if (environments && ((i - name == 5 && starts_with(s, name, "begin")) || (i - name == 3 && starts_with(s, name, "end")))) {
        t->kind = s.data[name] == 'b' ? LATEX_BEGIN : LATEX_END_OF;
        if (!environment_name(s, i, &t->text, &t->end)) {
            t->kind = LATEX_CHARACTER;
            t->text = (struct jrl_text){ s.data + t->start, i - t->start };
        }
    } else if (is_word) {
        t->end = skip_space(s, i, &blank_line);
    }
    if (t->kind == LATEX_MACRO)
        t->post = (struct jrl_text){ s.data + i, t->end - i };
}

/* Up to the end of the line and over the white space that follows; a blank line stays. */
static void read_comment(struct jrl_latex_token *t, struct jrl_text s)
{
    size_t i = t->start, n;

    t->kind = LATEX_COMMENT;
    while (i < s.len_bytes && s.data[i] != '\n' && s.data[i] != '\r')
        i++;
    t->end = i;
    if (i == s.len_bytes || (i + 1 < s.len_bytes && (s.data[i + 1] == '\n' || s.data[i + 1] == '\r')))
        return;
    while (is_space_at(s, t->end, &n))
        t->end += n;
    t->post = (struct jrl_text){ s.data + i, t->end - i };
}

void jrl_latex_token_read(struct jrl_latex_token *t, struct jrl_text s, size_t at, bool brackets, bool environments)
{
    bool blank_line;
    size_t n;

    *t = (struct jrl_latex_token){ .kind = LATEX_CHARACTER, .before = at, .start = skip_space(s, at, &blank_line) };
    t->end = t->start;
    if (blank_line) {
        t->end = t->start + 2;
        t->text = (struct jrl_text){ s.data + t->start, 2 };
        return;
    }
    if (t->start == s.len_bytes) {
        t->kind = LATEX_END;
        return;
    }
    if (s.data[t->start] == '\\') {
        if (t->start + 1 == s.len_bytes) { /* of no use, and neither is the white space before it */
            t->kind = LATEX_END;
            t->start = t->end = at;
            return;
        }
        read_macro(t, s, environments);
        return;
    }
    if (s.data[t->start] == '%') {
        read_comment(t, s);
        return;
    }
    t->end = t->start + 1;
    if (s.data[t->start] == '{' || (brackets && s.data[t->start] == '[')) {
        t->kind = LATEX_OPEN;
    } else if (s.data[t->start] == '}' || (brackets && s.data[t->start] == ']')) {
        t->kind = LATEX_CLOSE;
    } else {
        jrl_unicode_at(s, t->start, &n);
        t->end = t->start + n;
        for (int i = 0; i < N_SPECIALS && t->kind == LATEX_CHARACTER; i++) {
            if (starts_with(s, t->start, specials[i].token)) {
                t->kind = LATEX_SPECIAL;
                t->end = t->start + strlen(specials[i].token);
            }
        }
    }
    t->text = (struct jrl_text){ s.data + t->start, t->end - t->start };
}
