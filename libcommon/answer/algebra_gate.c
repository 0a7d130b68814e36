/* algebra_gate.c - which pairs are tried at all. The published rule guards SymPy's parser by these tests of the characters;
 * they are part of its verdicts. */
#include <string.h>

#include "answer/algebra_private.h"
#include "base/unicode.h"

enum { MAX_LETTERS = 2, WORD_LEN = 4 };

/* Copy TEXT to OUT, which may be the same, without the four characters of WORD wherever they stand. */
static size_t copy_without(char *out, struct jrl_text text, const char *word)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len_bytes;) {
        if (text.data[i] == word[0] && i + WORD_LEN <= text.len_bytes && memcmp(text.data + i, word, WORD_LEN) == 0)
            i += WORD_LEN;
        else
            out[n++] = text.data[i++];
    }
    return n;
}

static bool is_ascii_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_ascii_letter(char c)
{
    return (unsigned)((c | 0x20) - 'a') < 26;
}

/* `^{`, `^(`, `^12` and `^1^` are refused. */
static bool refuses_powers(struct jrl_text text)
{
    const char *s = text.data, *end = s + text.len_bytes;

    while ((s = s == end ? NULL : memchr(s, '^', (size_t)(end - s)))) {
        s++;
        if (s < end && (*s == '{' || *s == '('))
            return true;
        if (end - s >= 2 && is_ascii_digit(s[0]) && (s[1] == '^' || is_ascii_digit(s[1])))
            return true;
    }
    return false;
}

struct letters {
    uint32_t seen[MAX_LETTERS];
    int n;
};

static bool add_letter(struct letters *l, uint32_t letter)
{
    for (int i = 0; i < l->n; i++)
        if (l->seen[i] == letter)
            return true;
    if (l->n == MAX_LETTERS)
        return false;
    l->seen[l->n++] = letter;
    return true;
}

static bool add_letters(struct jrl_algebra *a, struct letters *l, struct jrl_text text)
{
    char *copy = (char *)a->digits.data;
    struct jrl_text rest = { copy, copy_without(copy, text, "sqrt") };
    size_t n_bytes;

    rest.len_bytes = copy_without(copy, rest, "frac");
    for (size_t i = 0; i < rest.len_bytes; i += n_bytes) {
        uint32_t c = (unsigned char)copy[i];

        n_bytes = 1;
        if (c >= 0x80)
            c = jrl_unicode_at(rest, i, &n_bytes);
        if ((c < 0x80 ? is_ascii_letter((char)c) : jrl_unicode_is_alpha(c)) && !add_letter(l, c))
            return false;
    }
    return true;
}

bool jrl_algebra_gate(struct jrl_algebra *a, struct jrl_text u, struct jrl_text v)
{
    struct letters l = { .n = 0 };

    if (u.len_bytes > ALGEBRA_TEXT_BYTES || v.len_bytes > ALGEBRA_TEXT_BYTES - u.len_bytes)
        return algebra_limit(a);
    if (refuses_powers(u) || refuses_powers(v) || !add_letters(a, &l, u) || !add_letters(a, &l, v))
        return algebra_refuse(a);
    return true;
}
