/* minerva.c - what follows the last "Answer:", normalised as Minerva's authors did: the other half of DAPO's verifier. */
#include <string.h>

#include "answer/rules.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { WINDOW_CHARACTERS = 300 };

/* The length of the word "answer" in any case at W[i], or 0. Folding case, a long s is an s. */
static size_t answer_word(struct jrl_text w, size_t i)
{
    static const char word[] = "answer";
    const size_t start = i;

    for (size_t k = 0; word[k]; k++) {
        if (i < w.len_bytes && (w.data[i] | 0x20) == word[k] && (unsigned char)w.data[i] < 0x80)
            i++;
        else if (word[k] == 's' && i + 1 < w.len_bytes && memcmp(w.data + i, "\xC5\xBF", 2) == 0)
            i += 2;
        else
            return 0;
    }
    return i - start;
}

static size_t skip_space(struct jrl_text w, size_t i)
{
    size_t n;

    while (i < w.len_bytes && jrl_is_space(jrl_unicode_at(w, i, &n)))
        i += n;
    return i;
}

static size_t line_end(struct jrl_text w, size_t i)
{
    const char *p = i < w.len_bytes ? memchr(w.data + i, '\n', w.len_bytes - i) : NULL;

    return p ? (size_t)(p - w.data) : w.len_bytes;
}

/* Where the capture behind a colon begins: after the white space, or, when that is all there is, with its last character
 * that is no line end. SIZE_MAX: there is none. */
static size_t capture_start(struct jrl_text w, size_t after_colon)
{
    size_t i = skip_space(w, after_colon), n;

    if (i < w.len_bytes)
        return i;
    while (i > after_colon) {
        const uint32_t c = jrl_unicode_before(w, i, &n);

        i -= n;
        if (c != '\n')
            return i;
    }
    return SIZE_MAX;
}

static bool last_answer(struct jrl_text w, struct jrl_text *answer)
{
    bool found = false;

    for (size_t i = 0; i < w.len_bytes;) {
        const size_t word = answer_word(w, i);
        size_t start, end;

        if (word > 0 && (start = skip_space(w, i + word)) < w.len_bytes && w.data[start] == ':' &&
            (start = capture_start(w, start + 1)) != SIZE_MAX) {
            end = line_end(w, start);
            *answer = (struct jrl_text){ w.data + start, end - start };
            found = true;
            i = end;
        } else {
            i++;
        }
    }
    return found;
}

/* Each line with two dollars becomes what is between them, with them. */
static void keep_first_formula(struct jrl_edit *e)
{
    const struct jrl_text s = jrl_edit_view(e);

    if (!jrl_edit_may_have(e, '$'))
        return;
    jrl_edit_begin(e);
    for (size_t i = 0; i <= s.len_bytes;) {
        const size_t end = line_end(s, i);
        const char *open = memchr(s.data + i, '$', end - i);
        const char *close = open ? memchr(open + 1, '$', (size_t)(s.data + end - open - 1)) : NULL;

        if (close)
            jrl_buffer_append(&e->next, open, (size_t)(close + 1 - open));
        else
            jrl_buffer_append(&e->next, s.data + i, end - i);
        if (end < s.len_bytes)
            jrl_buffer_append_byte(&e->next, '\n');
        i = end + 1;
    }
    jrl_edit_end(e);
}

/* OPENER X } becomes X, on one line, X as short as it can be, or as long. */
static void unwrap(struct jrl_edit *e, const char *opener, bool longest)
{
    const struct jrl_text s = jrl_edit_view(e);
    size_t at = jrl_edit_find(e, opener, 0), done = 0;

    if (at == SIZE_MAX)
        return;
    jrl_edit_begin(e);
    while (at != SIZE_MAX) {
        const size_t inside = at + strlen(opener), end = line_end(s, inside);
        const char *close = longest ? memrchr(s.data + inside, '}', end - inside) : memchr(s.data + inside, '}', end - inside);

        if (close) {
            jrl_buffer_append(&e->next, s.data + done, at - done);
            jrl_buffer_append(&e->next, s.data + inside, (size_t)(close - s.data) - inside);
            done = (size_t)(close + 1 - s.data);
            at = jrl_edit_find(e, opener, done);
        } else { /* nor is there one for any other opener of the line */
            at = jrl_edit_find(e, opener, end);
        }
    }
    jrl_buffer_append(&e->next, s.data + done, s.len_bytes - done);
    jrl_edit_end(e);
}

/* NAME and its N_ARGUMENTS characters, none of which opens a group: each gets braces. */
static void brace_arguments(struct jrl_edit *e, const char *name, int n_arguments)
{
    const struct jrl_text s = jrl_edit_view(e);
    const size_t n_name = strlen(name);
    size_t at = jrl_edit_find(e, name, 0), done = 0;

    if (at == SIZE_MAX)
        return;
    jrl_edit_begin(e);
    while (at != SIZE_MAX) {
        size_t i = at + n_name, n[2];
        bool fits = true;

        for (int k = 0; k < n_arguments && fits; i += n[k++]) {
            fits = i < s.len_bytes && s.data[i] != (k == 0 ? '{' : '\n');
            n[k] = 0;
            if (fits)
                jrl_unicode_at(s, i, &n[k]);
        }
        if (fits) {
            size_t argument = at + n_name;

            jrl_buffer_append(&e->next, s.data + done, argument - done);
            for (int k = 0; k < n_arguments; argument += n[k++]) {
                jrl_buffer_append_byte(&e->next, '{');
                jrl_buffer_append(&e->next, s.data + argument, n[k]);
                jrl_buffer_append_byte(&e->next, '}');
            }
            done = i;
        }
        at = jrl_edit_find(e, name, fits ? done : at + 1);
    }
    jrl_buffer_append(&e->next, s.data + done, s.len_bytes - done);
    jrl_edit_end(e);
}

/* 1,234 is 1234, as is 1,2,3,4: when all else is digits. */
static void drop_commas_of_digits(struct jrl_edit *e)
{
    const struct jrl_text s = jrl_edit_view(e);
    bool any = false;
    size_t n;

    for (size_t i = 0; i < s.len_bytes; i += n) {
        const uint32_t c = jrl_unicode_at(s, i, &n);

        if (c != ',' && !jrl_unicode_is_digit(c))
            return;
        any |= c != ',';
    }
    if (any)
        jrl_edit_delete(e, ",");
}

static void normalise(struct jrl_edit *e, struct jrl_text text)
{
    static const char *const replaced[][2] = {
        { "an ", "" }, { "a ", "" }, { ".$", "$" }, { "\\$", "" }, { "\\ ", "" }, { " ", "" },
        { "mbox", "text" }, { ",\\text{and}", "," }, { "\\text{and}", "," }, { "\\text{m}", "\\text{}" },
    };
    /* In this order: one deletion can make another or prevent it. */
    static const char *const removed[] = {
        "square", "ways", "integers", "dollars", "mph", "inches", "hours", "km", "units", "\\ldots", "sue", "points", "feet", "minutes",
        "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students", "childrentickets", "multiples",
        "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2", "\\text{}^3", "\\text{\n}", "\\text{}", "\\mathrm{th}", "^\\circ",
        "^{\\circ}", "\\;", ",\\!", "{,}", "\"", "\\dots",
    };
    const char *equals = text.len_bytes > 0 ? memrchr(text.data, '=', text.len_bytes) : NULL;

    if (equals)
        text = (struct jrl_text){ equals + 1, (size_t)(text.data + text.len_bytes - equals - 1) };
    jrl_edit_set(e, text);
    for (size_t i = 0; i < sizeof(replaced) / sizeof(replaced[0]); i++)
        jrl_edit_replace(e, replaced[i][0], replaced[i][1]);
    for (size_t i = 0; i < sizeof(removed) / sizeof(removed[0]); i++)
        jrl_edit_delete(e, removed[i]);
    keep_first_formula(e);
    unwrap(e, "\\text{", false);
    unwrap(e, "\\textbf{", false);
    unwrap(e, "\\overline{", false);
    unwrap(e, "\\boxed{", true);
    brace_arguments(e, "frac", 2);
    brace_arguments(e, "sqrt", 1);
    jrl_edit_delete(e, "$");
    drop_commas_of_digits(e);
    jrl_edit_trim(e);
}

/* Without "Answer:" the published code judges this text instead, and reports it. */
static const struct jrl_text no_answer = { "[INVALID]", 9 };

void jrl_rule_dapo_minerva(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    struct jrl_text answer = no_answer;
    const bool found = last_answer(jrl_last_characters(response, WINDOW_CHARACTERS), &answer);

    normalise(&w->edit, answer);
    jrl_verdict_found(v, jrl_edit_view(&w->edit));
    v->why = !found ? JRL_WHY_NO_ANSWER : n_truths > 0 ? JRL_WHY_DIFFERS : JRL_WHY_NO_TRUTH;
    for (size_t i = 0; i < n_truths && !v->correct; i++) {
        if (truths[i].len_bytes > JRL_ANSWER_MAX_BYTES) {
            v->why = JRL_WHY_LIMIT;
            continue;
        }
        normalise(&w->edit, truths[i]);
        v->correct = jrl_text_equal(jrl_edit_view(&w->edit), (struct jrl_text){ (const char *)v->pred.data, v->pred.len });
    }
    if (v->correct)
        v->why = JRL_WHY_EQUAL_TEXT;
}
