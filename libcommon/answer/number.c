/* number.c - reading floats, and the shapes of numbers. */
#include "answer/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/unicode.h"
#include "base/utf8.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Python's white space around a float: the separators U+001C..U+001F are not among it. */
static bool is_float_space(uint32_t c)
{
    return jrl_is_space(c) && !(c >= 0x1C && c <= 0x1F);
}

static struct jrl_text trim_float(struct jrl_text s)
{
    size_t begin = 0, end = s.len_bytes, n;

    while (begin < end && is_float_space(jrl_unicode_at(s, begin, &n)))
        begin += n;
    while (end > begin && is_float_space(jrl_unicode_before(s, end, &n)))
        end -= n;
    return (struct jrl_text){ s.data + begin, end - begin };
}

/* Digits, with single underscores between them, are copied without these. The number of digits; *i is behind them. */
static size_t copy_digits(struct jrl_buffer *out, struct jrl_text s, size_t *i)
{
    size_t count = 0, at = *i, n;

    while (at < s.len_bytes) {
        const bool underscore = count > 0 && s.data[at] == '_' && at + 1 < s.len_bytes;
        const int digit = jrl_unicode_decimal(jrl_unicode_at(s, at + underscore, &n));

        if (digit < 0)
            break;
        jrl_buffer_append_byte(out, (uint8_t)('0' + digit));
        at += n + underscore;
        count++;
    }
    *i = at;
    return count;
}

static bool is_word(struct jrl_text s, size_t at, const char *word)
{
    return s.len_bytes - at == strlen(word) && strncasecmp(s.data + at, word, s.len_bytes - at) == 0;
}

bool jrl_number_parse(struct jrl_text s, double *value, struct jrl_buffer *scratch)
{
    size_t i = 0, n_digits;
    bool negative;

    s = trim_float(s);
    if (s.len_bytes == 0)
        return false;
    scratch->len = 0;
    negative = s.data[0] == '-';
    i = negative || s.data[0] == '+';
    if (is_word(s, i, "inf") || is_word(s, i, "infinity") || is_word(s, i, "nan")) {
        *value = (s.data[i] | 0x20) == 'n' ? NAN : negative ? -INFINITY : INFINITY;
        return true;
    }
    if (negative)
        jrl_buffer_append_byte(scratch, '-');
    n_digits = copy_digits(scratch, s, &i);
    if (i < s.len_bytes && s.data[i] == '.') {
        i++;
        jrl_buffer_append_byte(scratch, '.');
        n_digits += copy_digits(scratch, s, &i);
    }
    if (n_digits == 0)
        return false;
    if (i < s.len_bytes && (s.data[i] | 0x20) == 'e') {
        i++;
        jrl_buffer_append_byte(scratch, 'e');
        if (i < s.len_bytes && (s.data[i] == '-' || s.data[i] == '+'))
            jrl_buffer_append_byte(scratch, (uint8_t)s.data[i++]);
        if (copy_digits(scratch, s, &i) == 0)
            return false;
    }
    if (i < s.len_bytes)
        return false;
    *value = strtod(jrl_buffer_str(scratch), NULL);
    return true;
}

bool jrl_number_is_integer(double value, struct jrl_rounding *r)
{
    double distance;

    if (!isfinite(value))
        return false;
    distance = fabs(value - rint(value));
    if (distance > 0 && distance <= 1e-7)
        r->used = true;
    return r->exact ? distance == 0 : distance <= 1e-7;
}

void jrl_number_append_integer(struct jrl_buffer *out, double value, bool truncate)
{
    value = truncate ? trunc(value) : rint(value);
    jrl_buffer_printf(out, "%.0f", value == 0 ? 0.0 : value); /* never -0 */
}

/* One pass: from left to right, and what one match covers (a digit, the comma, three digits and the character behind) no
 * other does. False when nothing changed. */
static bool drop_commas_once(struct jrl_edit *e)
{
    const struct jrl_text s = jrl_edit_view(e);
    size_t covered = 0, done = 0, n;
    bool changed = false;

    for (const char *p = memchr(s.data, ',', s.len_bytes); p; p = memchr(p + 1, ',', (size_t)(s.data + s.len_bytes - p - 1))) {
        const size_t comma = (size_t)(p - s.data);
        size_t i = comma + 1;
        int digits = 0;

        if (comma == 0 || jrl_unicode_decimal(jrl_unicode_before(s, comma, &n)) < 0 || comma - n < covered)
            continue;
        while (digits < 3 && i < s.len_bytes && jrl_unicode_decimal(jrl_unicode_at(s, i, &n)) >= 0) {
            i += n;
            digits++;
        }
        if (digits < 3 || (i < s.len_bytes && jrl_unicode_decimal(jrl_unicode_at(s, i, &n)) >= 0))
            continue;
        covered = i < s.len_bytes ? i + n : i;
        if (!changed)
            jrl_edit_begin(e);
        changed = true;
        jrl_buffer_append(&e->next, s.data + done, comma - done);
        done = comma + 1;
    }
    if (changed) {
        jrl_buffer_append(&e->next, s.data + done, s.len_bytes - done);
        jrl_edit_end(e);
    }
    return changed;
}

void jrl_number_drop_commas(struct jrl_edit *e)
{
    while (jrl_edit_may_have(e, ',') && drop_commas_once(e))
        ;
}

/* Over at most one character that is no line end, at I. */
static size_t skip_one(struct jrl_text s, size_t i)
{
    size_t n;

    if (i >= s.len_bytes || s.data[i] == '\n')
        return i;
    jrl_unicode_at(s, i, &n);
    return i + n;
}

bool jrl_number_is_fraction(struct jrl_text s)
{
    size_t i = s.len_bytes > 0 && s.data[0] == '-', start = i, end = s.len_bytes;
    bool positive = false;

    while (i < end && is_digit(s.data[i]))
        i++;
    if (i == start)
        return false;
    if (i >= end)
        return false;
    if (s.data[i] != '/' || (i + 1 < end && s.data[i + 1] == '/')) /* the one more may be a slash itself */
        i = skip_one(s, i);
    if (!(i < end && s.data[i] == '/'))
        return false;
    for (start = ++i; i < end && is_digit(s.data[i]); i++)
        positive |= s.data[i] != '0';
    /* The line end that may come last is not looked at. */
    if (end > i && s.data[end - 1] == '\n')
        end--;
    return positive && (i >= end || skip_one(s, i) == end);
}
