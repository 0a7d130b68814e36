/* mathd.c - strips layout and units, and writes fractions and roots one way. */
#include "answer/mathd.h"

#include <string.h>

#include "base/unicode.h"

struct jrl_text jrl_text_argument(struct jrl_text s)
{
    static const char head[] = "\\text{";
    const size_t n_head = sizeof(head) - 1;
    const size_t end = s.len_bytes - (s.len_bytes > 0 && s.data[s.len_bytes - 1] == '\n');

    if (end < n_head + 2 || memcmp(s.data, head, n_head) != 0 || s.data[end - 1] != '}' || memchr(s.data + n_head, '\n', end - 1 - n_head))
        return s;
    return (struct jrl_text){ s.data + n_head, end - 1 - n_head };
}

/* What follows the only "=", when that has at most two characters before it. */
static void drop_short_left_side(struct jrl_edit *e)
{
    const size_t at = jrl_edit_find(e, "=", 0);
    const struct jrl_text s = jrl_edit_view(e);
    size_t i = 0, n;

    if (at == SIZE_MAX || jrl_edit_find(e, "=", at + 1) != SIZE_MAX)
        return;
    for (int k = 0; k < 2 && i < at; k++) {
        jrl_unicode_at(s, i, &n);
        i += n;
    }
    if (i >= at)
        jrl_edit_keep(e, at + 1, s.len_bytes);
}

static void append_braced(struct jrl_buffer *out, struct jrl_text s, size_t at, size_t n)
{
    jrl_buffer_append_byte(out, '{');
    jrl_buffer_append(out, s.data + at, n);
    jrl_buffer_append_byte(out, '}');
}

/* \sqrt3 is \sqrt{3}. False: a root without anything behind it, the original fails. */
static bool brace_roots(struct jrl_edit *e)
{
    const struct jrl_text s = jrl_edit_view(e);
    size_t at = jrl_edit_find(e, "\\sqrt", 0), done = 0, n;

    if (at == SIZE_MAX)
        return true;
    jrl_edit_begin(e);
    while (at != SIZE_MAX) {
        const size_t begin = at + 5;

        at = jrl_edit_find(e, "\\sqrt", begin);
        if (begin == s.len_bytes || at == begin)
            return false;
        jrl_buffer_append(&e->next, s.data + done, begin - done);
        done = begin;
        if (s.data[begin] != '{') {
            jrl_unicode_at(s, begin, &n);
            append_braced(&e->next, s, begin, n);
            done = begin + n;
        }
    }
    jrl_buffer_append(&e->next, s.data + done, s.len_bytes - done);
    jrl_edit_end(e);
    return true;
}

/* \frac12 is \frac{1}{2}. False: a fraction without anything behind it, the original fails; one with a single character
 * behind it leaves all of them as they are. */
static bool brace_fractions(struct jrl_edit *e)
{
    const struct jrl_text s = jrl_edit_view(e);
    size_t at = jrl_edit_find(e, "\\frac", 0), done = 0;

    if (at == SIZE_MAX)
        return true;
    jrl_edit_begin(e);
    while (at != SIZE_MAX) {
        const size_t begin = at + 5;
        size_t end, first, second;

        at = jrl_edit_find(e, "\\frac", begin);
        end = at == SIZE_MAX ? s.len_bytes : at;
        if (begin == end)
            return false;
        jrl_buffer_append(&e->next, s.data + done, begin - done);
        done = begin;
        if (s.data[begin] == '{')
            continue;
        jrl_unicode_at(s, begin, &first);
        if (begin + first >= end)
            return true;
        append_braced(&e->next, s, begin, first);
        done = begin + first;
        if (s.data[done] != '{') {
            jrl_unicode_at(s, done, &second);
            append_braced(&e->next, s, done, second);
            done += second;
        }
    }
    jrl_buffer_append(&e->next, s.data + done, s.len_bytes - done);
    jrl_edit_end(e);
    return true;
}

/* The length of an integer as it is printed, at S[I]; 0 when there is none. */
static size_t integer_at(struct jrl_text s, size_t i)
{
    const size_t start = i;

    if (i < s.len_bytes && s.data[i] == '0')
        return 1;
    i += i < s.len_bytes && s.data[i] == '-';
    if (i >= s.len_bytes || s.data[i] < '1' || s.data[i] > '9')
        return 0;
    while (i < s.len_bytes && s.data[i] >= '0' && s.data[i] <= '9')
        i++;
    return i - start;
}

/* 1/2, and one half as a decimal but no other, are \frac{1}{2}. */
static void write_quotient(struct jrl_edit *e)
{
    const struct jrl_text s = jrl_edit_view(e);
    size_t a, b;

    if (s.len_bytes == 3 && memcmp(s.data, "0.5", 3) == 0) {
        jrl_edit_set(e, (struct jrl_text){ "\\frac{1}{2}", 11 });
        return;
    }
    if (!jrl_edit_may_have(e, '/'))
        return;
    a = integer_at(s, 0);
    if (a == 0 || a >= s.len_bytes || s.data[a] != '/')
        return;
    b = integer_at(s, a + 1);
    if (b == 0 || a + 1 + b != s.len_bytes)
        return;
    jrl_edit_begin(e);
    jrl_buffer_append_str(&e->next, "\\frac");
    append_braced(&e->next, s, 0, a);
    append_braced(&e->next, s, a + 1, b);
    jrl_edit_end(e);
}

/* False: the original fails, and takes the text as it was before. */
static bool rewrite(struct jrl_edit *e)
{
    static const char *const first[][2] = {
        { "\n", "" }, { "\\!", "" }, { "\\\\", "\\" }, { "tfrac", "frac" }, { "dfrac", "frac" }, { "\\left", "" }, { "\\right", "" },
        { "^{\\circ}", "" }, { "^\\circ", "" }, { "\\$", "" },
    };
    size_t unit;

    for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
        jrl_edit_replace(e, first[i][0], first[i][1]);
    unit = jrl_edit_find(e, "\\text{ ", 0);
    if (unit != SIZE_MAX) {
        if (jrl_edit_find(e, "\\text{ ", unit + 7) != SIZE_MAX)
            return false;
        jrl_edit_keep(e, 0, unit);
    }
    jrl_edit_delete(e, "\\%");
    jrl_edit_replace(e, " .", " 0.");
    jrl_edit_replace(e, "{.", "{0.");
    if (e->text.len == 0)
        return true;
    if (e->text.data[0] == '.') {
        const struct jrl_text s = jrl_edit_view(e);

        jrl_edit_begin(e);
        jrl_buffer_append_byte(&e->next, '0');
        jrl_buffer_append(&e->next, s.data, s.len_bytes);
        jrl_edit_end(e);
    }
    drop_short_left_side(e);
    if (!brace_roots(e))
        return false;
    jrl_edit_delete(e, " ");
    if (!brace_fractions(e))
        return false;
    write_quotient(e);
    return true;
}

void jrl_mathd(struct jrl_edit *e, struct jrl_buffer *scratch)
{
    struct jrl_text inside;

    jrl_edit_trim(e);
    inside = jrl_text_argument(jrl_edit_view(e));
    if (inside.len_bytes < e->text.len) {
        const size_t begin = (size_t)(inside.data - (const char *)e->text.data);

        jrl_edit_keep(e, begin, begin + inside.len_bytes);
        jrl_edit_trim(e);
    }
    scratch->len = 0;
    jrl_buffer_append(scratch, e->text.data, e->text.len);
    if (!rewrite(e))
        jrl_edit_set(e, (struct jrl_text){ (const char *)scratch->data, scratch->len });
}
