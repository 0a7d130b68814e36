/* gsm8k.c - the number after "####", GSM8K's own form, and, for models that never learned it, the last number there is.
 * The strict form is verl's gsm8k.py; the flexible one is kinder than verl's, which keeps the full stop of a sentence. */
#include <string.h>

#include "answer/rules.h"
#include "base/unicode.h"

enum { WINDOW_CHARACTERS = 300 }; /* verl's clip */

static const char marker[] = "####";
enum { MARKER_LEN = sizeof(marker) - 1 };

static bool in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == ',';
}

/* The last "#### " that a number follows at once. */
static bool marked_number(struct jrl_text w, struct jrl_text *number)
{
    for (struct jrl_text head = w;;) {
        const size_t at = jrl_text_find_last(head, marker);
        size_t start, end;

        if (at == SIZE_MAX)
            return false;
        if (at + MARKER_LEN < w.len_bytes && w.data[at + MARKER_LEN] == ' ') {
            start = end = at + MARKER_LEN + 1;
            end += end < w.len_bytes && w.data[end] == '-';
            const size_t digits = end;
            while (end < w.len_bytes && in_number(w.data[end]))
                end++;
            if (end > digits) {
                *number = (struct jrl_text){ w.data + start, end - start };
                return true;
            }
        }
        head.len_bytes = at + MARKER_LEN - 1; /* markers may overlap */
    }
}

static bool last_number(struct jrl_text w, struct jrl_text *number)
{
    size_t start, end = w.len_bytes;

    while (end > 0 && !(w.data[end - 1] >= '0' && w.data[end - 1] <= '9'))
        end--;
    if (end == 0)
        return false;
    for (start = end; start > 0 && in_number(w.data[start - 1]);)
        start--;
    while (w.data[start] == ',') /* of the sentence before it */
        start++;
    if (start > 0 && w.data[start - 1] == '-')
        start--;
    *number = (struct jrl_text){ w.data + start, end - start };
    return true;
}

/* A decimal number: digits, perhaps a point and digits; the zeros that change nothing are left out. */
struct decimal {
    bool negative;
    struct jrl_text whole, fraction;
};

static bool read_decimal(struct jrl_text s, struct decimal *d)
{
    size_t i = s.len_bytes > 0 && s.data[0] == '-', point, end = s.len_bytes;

    d->negative = i > 0;
    while (i < end && s.data[i] == '0')
        i++;
    for (point = i; point < end && s.data[point] >= '0' && s.data[point] <= '9';)
        point++;
    d->whole = (struct jrl_text){ s.data + i, point - i };
    d->fraction = (struct jrl_text){ s.data + end, 0 };
    if (point < end) {
        if (s.data[point] != '.')
            return false;
        for (i = point + 1; i < end; i++)
            if (s.data[i] < '0' || s.data[i] > '9')
                return false;
        while (end > point + 1 && s.data[end - 1] == '0')
            end--;
        d->fraction = (struct jrl_text){ s.data + point + 1, end - point - 1 };
    }
    if (d->whole.len_bytes == 0 && d->fraction.len_bytes == 0)
        d->negative = false;
    return memchr(s.data, '0', s.len_bytes) || d->whole.len_bytes > 0 || d->fraction.len_bytes > 0;
}

static bool same_value(struct jrl_text a, struct jrl_text b)
{
    struct decimal x, y;

    return read_decimal(a, &x) && read_decimal(b, &y) && x.negative == y.negative && jrl_text_equal(x.whole, y.whole) &&
           jrl_text_equal(x.fraction, y.fraction);
}

static struct jrl_text without_marks(struct jrl_edit *e, struct jrl_text text)
{
    jrl_edit_set(e, text);
    jrl_edit_delete(e, ",");
    jrl_edit_delete(e, "$");
    return jrl_edit_view(e);
}

static void judge(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text number, const struct jrl_text *truths, size_t n_truths, bool by_value)
{
    const struct jrl_text pred = without_marks(&w->edit, number);

    jrl_verdict_found(v, pred);
    v->why = n_truths > 0 ? JRL_WHY_DIFFERS : JRL_WHY_NO_TRUTH;
    for (size_t i = 0; i < n_truths && !v->correct; i++) {
        struct jrl_text truth = truths[i];
        const size_t at = jrl_text_find_last(truth, marker); /* the data set's own rows: a solution, then the number */

        if (at != SIZE_MAX)
            truth = (struct jrl_text){ truth.data + at + MARKER_LEN, truth.len_bytes - at - MARKER_LEN };
        truth = without_marks(&w->reference, jrl_unicode_trim(truth));
        if (jrl_text_equal(pred, truth))
            v->why = JRL_WHY_EQUAL_TEXT;
        else if (by_value && same_value(pred, truth))
            v->why = JRL_WHY_EQUAL_VALUE;
        v->correct = v->why >= JRL_WHY_EQUAL_TEXT;
    }
}

void jrl_rule_gsm8k(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    struct jrl_text number;

    if (marked_number(jrl_last_characters(response, WINDOW_CHARACTERS), &number))
        judge(w, v, number, truths, n_truths, false);
}

void jrl_rule_gsm8k_flexible(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    struct jrl_text number;

    if (last_number(jrl_last_characters(response, WINDOW_CHARACTERS), &number))
        judge(w, v, number, truths, n_truths, true);
}
