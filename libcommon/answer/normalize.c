/* normalize.c - the steps in the published order; each works on what the ones before left. */
#include "answer/normalize.h"

#include <string.h>

#include "answer/mathd.h"
#include "base/unicode.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Every UNIT, with a plural's ending, blanks and a power: also inside words. */
static void delete_unit(struct jrl_edit *e, const char *unit)
{
    const struct jrl_text s = jrl_edit_view(e);
    size_t at = jrl_edit_find(e, unit, 0), done = 0;

    if (at == SIZE_MAX)
        return;
    jrl_edit_begin(e);
    for (; at != SIZE_MAX; at = jrl_edit_find(e, unit, done)) {
        size_t i = at + strlen(unit);

        jrl_buffer_append(&e->next, s.data + done, at - done);
        if (s.len_bytes - i >= 2 && s.data[i] == 'e' && s.data[i + 1] == 's')
            i += 2;
        if (i < s.len_bytes && s.data[i] == 's')
            i++;
        while (i < s.len_bytes && s.data[i] == ' ')
            i++;
        if (s.len_bytes - i >= 2 && s.data[i] == '^' && is_digit((uint8_t)s.data[i + 1]))
            for (i += 2; i < s.len_bytes && is_digit((uint8_t)s.data[i]);)
                i++;
        done = i;
    }
    jrl_buffer_append(&e->next, s.data + done, s.len_bytes - done);
    jrl_edit_end(e);
}

/* HEAD, blanks and TAIL go, or HEAD and TAIL stay and only the blanks between them go. */
static void delete_blanks_between(struct jrl_edit *e, const char *head, const char *tail, bool keep)
{
    const struct jrl_text s = jrl_edit_view(e);
    const size_t n_head = strlen(head), n_tail = strlen(tail);
    size_t at = jrl_edit_find(e, head, 0), done = 0;

    if (at == SIZE_MAX || (keep ? !jrl_edit_may_have(e, ' ') : n_tail > 0 && jrl_edit_find(e, tail, 0) == SIZE_MAX))
        return;
    jrl_edit_begin(e);
    while (at != SIZE_MAX) {
        size_t i = at + n_head;

        while (i < s.len_bytes && s.data[i] == ' ')
            i++;
        if (s.len_bytes - i < n_tail || memcmp(s.data + i, tail, n_tail) != 0) {
            at = jrl_edit_find(e, head, at + 1);
            continue;
        }
        jrl_buffer_append(&e->next, s.data + done, at - done);
        if (keep)
            jrl_buffer_append(&e->next, head, n_head);
        done = i + n_tail;
        at = jrl_edit_find(e, head, done);
    }
    jrl_buffer_append(&e->next, s.data + done, s.len_bytes - done);
    jrl_edit_end(e);
}

/* 4 2/3 is 4+2/3. Of three numbers in a row the middle one joins the first only. */
static void add_mixed_numbers(struct jrl_edit *e)
{
    const struct jrl_text s = jrl_edit_view(e);
    size_t done = 0;

    if (!jrl_edit_may_have(e, ' '))
        return;
    jrl_edit_begin(e);
    for (size_t i = 0; i < s.len_bytes; i++) {
        size_t end = i + 1;

        if (!is_digit((uint8_t)s.data[i]))
            continue;
        while (end < s.len_bytes && s.data[end] == ' ')
            end++;
        if (end == i + 1 || end == s.len_bytes || !is_digit((uint8_t)s.data[end]))
            continue;
        jrl_buffer_append(&e->next, s.data + done, i + 1 - done);
        jrl_buffer_append_byte(&e->next, '+');
        jrl_buffer_append_byte(&e->next, (uint8_t)s.data[end]);
        done = end + 1;
        i = end;
    }
    jrl_buffer_append(&e->next, s.data + done, s.len_bytes - done);
    jrl_edit_end(e);
}

static void set_integer(struct jrl_edit *e, double value, bool truncate)
{
    jrl_edit_begin(e);
    jrl_number_append_integer(&e->next, value, truncate);
    jrl_edit_end(e);
}

static void round_to_integer(struct jrl_normalizer *n, struct jrl_edit *e, struct jrl_rounding *r)
{
    double value;

    if (jrl_number_parse(jrl_edit_view(e), &value, &n->scratch) && jrl_number_is_integer(value, r))
        set_integer(e, value, false);
}

/* The same with commas between thousands; and the fraction is cut off, so that 2,000.99999999 becomes 2000. */
static void cut_to_integer(struct jrl_normalizer *n, struct jrl_edit *e, struct jrl_rounding *r)
{
    struct jrl_edit *without = &n->source;
    struct jrl_text s = jrl_edit_view(e);
    double value;

    if (jrl_edit_may_have(e, ',')) {
        jrl_edit_set(without, s);
        jrl_number_drop_commas(without);
        s = jrl_edit_view(without);
    }
    if (jrl_number_parse(s, &value, &n->scratch) && jrl_number_is_integer(value, r))
        set_integer(e, value, true);
}

/* False at a limit. What the original aborts on stays LaTeX. */
static bool write_out_latex(struct jrl_normalizer *n, struct jrl_edit *e)
{
    static const char *const symbols[][2] = {
        { "\xE2\x88\x9A", "sqrt" }, { "\xCF\x80", "pi" }, { "\xE2\x88\x9E", "inf" }, { "\xE2\x88\xAA", "U" }, { "\xC2\xB7", "*" }, { "\xC3\x97", "*" },
    };
    enum jrl_latex_end end;

    if (jrl_edit_find(e, "\\", 0) == SIZE_MAX)
        return true;
    jrl_edit_set(&n->source, jrl_edit_view(e));
    jrl_edit_replace(&n->source, "\\tfrac", "\\frac");
    jrl_edit_replace(&n->source, "\\dfrac", "\\frac");
    jrl_edit_replace(&n->source, "\\frac", " \\frac");
    jrl_edit_begin(e);
    end = jrl_latex_to_text(&n->latex, &e->next, jrl_edit_view(&n->source));
    if (end != JRL_LATEX_DONE)
        return end == JRL_LATEX_ABORTED;
    jrl_edit_end(e);
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
        jrl_edit_replace(e, symbols[i][0], symbols[i][1]);
    jrl_edit_trim(e);
    return true;
}

static void lower(struct jrl_edit *e)
{
    static const uint64_t capitals = UINT64_C(0x07FFFFFE); /* A to Z, from '@' on */

    if (!(e->has[1] & capitals) && !e->has[2] && !e->has[3])
        return;
    jrl_edit_begin(e);
    jrl_unicode_append_lower(&e->next, jrl_edit_view(e));
    jrl_edit_end(e);
}

/* An integer as it is printed: no step changes it. */
static bool is_plain_integer(struct jrl_text s)
{
    const size_t sign = s.len_bytes > 0 && s.data[0] == '-';

    if (s.len_bytes == sign || s.len_bytes > 15 || (s.data[sign] == '0' && s.len_bytes > 1))
        return false;
    for (size_t i = sign; i < s.len_bytes; i++)
        if (!is_digit((uint8_t)s.data[i]))
            return false;
    return true;
}

bool jrl_normalize(struct jrl_normalizer *n, struct jrl_edit *e, struct jrl_rounding *r)
{
    static const char *const first[][2] = {
        { "\\%", "%" }, { "\\$", "$" }, { "$", "" }, { "%", "" }, { " or ", " , " }, { " and ", " , " },
        { "million", "*10^6" }, { "billion", "*10^9" }, { "trillion", "*10^12" },
    };
    static const char *const units[] = {
        "degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour", "day", "week", "month", "year", "foot", "feet", "inch", "yard",
    };
    const struct jrl_text all = jrl_edit_view(e), inside = jrl_text_argument(all);

    if (is_plain_integer(all))
        return true;
    if (inside.len_bytes < all.len_bytes)
        jrl_edit_keep(e, (size_t)(inside.data - all.data), (size_t)(inside.data - all.data) + inside.len_bytes);
    for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
        jrl_edit_replace(e, first[i][0], first[i][1]);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        delete_unit(e, units[i]);
    delete_blanks_between(e, "^", "\\circ", false);
    if (e->text.len > 1 && e->text.data[0] == '{' && e->text.data[e->text.len - 1] == '}')
        jrl_edit_keep(e, 1, e->text.len - 1);
    delete_blanks_between(e, ",\\!", "", false);
    round_to_integer(n, e, r);
    if (!write_out_latex(n, e))
        return false;
    delete_blanks_between(e, "-", "", true);
    add_mixed_numbers(e);
    jrl_edit_delete(e, " ");
    jrl_edit_delete(e, "{");
    jrl_edit_delete(e, "}");
    lower(e);
    cut_to_integer(n, e, r);
    return true;
}

void jrl_normalizer_release(struct jrl_normalizer *n)
{
    jrl_latex_release(&n->latex);
    jrl_edit_release(&n->source);
    jrl_buffer_release(&n->scratch);
}
