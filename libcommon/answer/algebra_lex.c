/* algebra_lex.c - numbers and names as Python's tokenizer cuts them. Names that are no symbols of their own are split here:
 * each letter a symbol, each run of digits a number. The split happens between tokens, not in parentheses: 1/mt is (1/m)t. */
#include <string.h>

#include "answer/algebra_private.h"
#include "base/unicode.h"

struct lexer {
    struct jrl_algebra *a;
    struct jrl_text text;
    size_t at;
};

/* Names that SymPy gives a meaning, or Python: none can help to an equality. */
static const char *const refused[] = { "all", "as", "csc", "eye", "ff", "fft", "frac", "fu", "gff", "hn1", "hn2", "id", "if", "im", "in",
    "is", "jn", "li", "nan", "ntt", "oo", "or", "re", "rf", "yn", "zoo", NULL };
static const char *const unsplit[] = { "mu", "nu", "xi", NULL }; /* Greek letters within the gate's two letters */

static bool text_is(struct jrl_text text, const char *word)
{
    return strlen(word) == text.len_bytes && memcmp(text.data, word, text.len_bytes) == 0;
}

static bool is_among(struct jrl_text text, const char *const *words)
{
    while (*words && !text_is(text, *words))
        words++;
    return *words != NULL;
}

static char peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->text.len_bytes ? l->text.data[l->at + ahead] : '\0';
}

static bool add(struct jrl_algebra *a, struct token t)
{
    if (a->n_tokens == ALGEBRA_TOKENS)
        return algebra_limit(a);
    a->tokens[a->n_tokens++] = t;
    return true;
}

static bool add_kind(struct jrl_algebra *a, enum token_kind kind)
{
    return add(a, (struct token){ .kind = kind });
}

static bool add_symbol(struct jrl_algebra *a, struct jrl_text name, bool is_whole)
{
    int i = 0;

    while (i < a->n_symbols && (a->symbols[i].len_bytes != name.len_bytes || memcmp(a->symbols[i].data, name.data, name.len_bytes) != 0))
        i++;
    if (i == ALGEBRA_SYMBOLS)
        return algebra_limit(a);
    if (i == a->n_symbols)
        a->symbols[a->n_symbols++] = name;
    return add(a, (struct token){ .kind = TOKEN_SYMBOL, .unsplit = is_whole, .symbol = i });
}

static bool is_digit(char c, int base)
{
    if (base == 16 && (unsigned)((c | 0x20) - 'a') < 6)
        return true;
    return c >= '0' && c < (base < 10 ? '0' + base : '0' + 10);
}

/* The length of digits with single underscores between them at s[0..len-1]. */
static size_t digits_len(const char *s, size_t len, int base)
{
    size_t n = 0;

    while (n < len && (is_digit(s[n], base) || (s[n] == '_' && n > 0 && n + 1 < len && is_digit(s[n + 1], base))))
        n++;
    return n;
}

/* The length of 0x.., 0b.., 0o.., or 0: an underscore may also follow the letter. */
static size_t based_len(const char *s, size_t len)
{
    char letter = len > 2 && s[0] == '0' ? s[1] | 0x20 : '\0';
    size_t start = 2 + (len > 2 && s[2] == '_');
    size_t n = letter == 'x' ? digits_len(s + start, len - start, 16) : letter == 'b' ? digits_len(s + start, len - start, 2)
        : letter == 'o' ? digits_len(s + start, len - start, 8) : 0;

    return n ? start + n : 0;
}

/* The length of an exponent with its letter, or 0. */
static size_t exponent_len(const char *s, size_t len)
{
    size_t start, n;

    if (len < 2 || (s[0] | 0x20) != 'e')
        return 0;
    start = s[1] == '+' || s[1] == '-' ? 2 : 1;
    n = digits_len(s + start, len - start, 10);
    return n ? start + n : 0;
}

/* The length of the number that begins at s[0], or 0. */
static size_t number_len(const char *s, size_t len)
{
    size_t whole = based_len(s, len), n;
    bool is_decimal = false;

    if (whole)
        return whole;
    n = whole = digits_len(s, len, 10);
    if (n < len && s[n] == '.') {
        n += 1 + digits_len(s + n + 1, len - n - 1, 10);
        if (n == 1)
            return 0;
        is_decimal = true;
    }
    if (n == 0)
        return 0;
    if (exponent_len(s + n, len - n)) {
        n += exponent_len(s + n, len - n);
        is_decimal = true;
    }
    if (n < len && (s[n] | 0x20) == 'j')
        return n + 1;
    if (is_decimal || s[0] != '0')
        return n;
    n = 1; /* 007 is 00 and 7 */
    while (n < whole && (s[n] == '0' || (s[n] == '_' && n + 1 < whole && s[n + 1] == '0')))
        n++;
    return n;
}

static bool is_name_character(struct jrl_text text, size_t i, size_t *n_bytes)
{
    unsigned char c = (unsigned char)text.data[i];

    *n_bytes = 1;
    if (c < 0x80)
        return c == '_' || (unsigned)((c | 0x20) - 'a') < 26 || (c >= '0' && c <= '9');
    return jrl_unicode_is_alnum(jrl_unicode_at(text, i, n_bytes));
}

/* A run of digits of any script inside a name, as ASCII. */
static bool add_digits(struct jrl_algebra *a, struct jrl_text name, size_t *at)
{
    struct jrl_buffer *b = &a->digits;
    struct jrl_text ascii = { (const char *)b->data + b->len, 0 };
    size_t n_bytes, zeros = 0;
    uint32_t c;

    for (; *at < name.len_bytes && jrl_unicode_is_digit(c = jrl_unicode_at(name, *at, &n_bytes)); *at += n_bytes) {
        if (jrl_unicode_decimal(c) < 0)
            return algebra_refuse(a);
        b->data[b->len++] = (uint8_t)('0' + jrl_unicode_decimal(c));
        ascii.len_bytes++;
    }
    while (zeros + 1 < ascii.len_bytes && ascii.data[zeros] == '0')
        zeros++;
    ascii.data += zeros;
    ascii.len_bytes -= zeros;
    return add(a, (struct token){ .kind = TOKEN_NUMBER, .text = ascii });
}

/* The factors of a name; in parentheses when a factorial follows. */
static bool split(struct jrl_algebra *a, struct jrl_text name, bool in_group)
{
    size_t n_bytes;

    if (in_group && !add_kind(a, TOKEN_OPEN))
        return false;
    for (size_t i = 0; i < name.len_bytes;) {
        if (jrl_unicode_is_digit(jrl_unicode_at(name, i, &n_bytes))) {
            if (!add_digits(a, name, &i))
                return false;
            continue;
        }
        if (!add_symbol(a, (struct jrl_text){ name.data + i, n_bytes }, false))
            return false;
        i += n_bytes;
    }
    return !in_group || add_kind(a, TOKEN_CLOSE);
}

static bool lex_name(struct lexer *l)
{
    struct jrl_text name = { l->text.data + l->at, 0 };
    size_t n_bytes, n_characters = 0, ahead = 0;

    for (; l->at < l->text.len_bytes && is_name_character(l->text, l->at, &n_bytes); l->at += n_bytes) {
        name.len_bytes += n_bytes;
        n_characters++;
    }
    if (n_characters == 1)
        return add_symbol(l->a, name, true);
    if (text_is(name, "pi"))
        return add_kind(l->a, TOKEN_PI);
    if (text_is(name, "sqrt"))
        return add_kind(l->a, TOKEN_SQRT);
    if (text_is(name, "ln"))
        return add_kind(l->a, TOKEN_LN);
    if (is_among(name, refused))
        return algebra_refuse(l->a);
    if (memchr(name.data, '_', name.len_bytes) || is_among(name, unsplit))
        return add_symbol(l->a, name, true);
    while (peek(l, ahead) == ' ' || peek(l, ahead) == '\t' || peek(l, ahead) == '\f')
        ahead++;
    return split(l->a, name, peek(l, ahead) == '!');
}

static bool lex_sign(struct lexer *l)
{
    char c = peek(l, 0), after = peek(l, 1);

    l->at++;
    switch (c) {
    case ' ': case '\t': case '\f': return true;
    case '\n': case '\r': return add_kind(l->a, TOKEN_LINE);
    case '+': return add_kind(l->a, TOKEN_PLUS);
    case '-': return add_kind(l->a, TOKEN_MINUS);
    case '(': return add_kind(l->a, TOKEN_OPEN);
    case ')': return add_kind(l->a, TOKEN_CLOSE);
    case '^': return add_kind(l->a, TOKEN_POWER);
    case '*':
        l->at += after == '*';
        return add_kind(l->a, after == '*' ? TOKEN_POWER : TOKEN_TIMES);
    case '/': return after == '/' ? algebra_refuse(l->a) : add_kind(l->a, TOKEN_OVER);
    case '!': return after == '=' ? algebra_refuse(l->a) : add_kind(l->a, TOKEN_FACTORIAL);
    default: return algebra_refuse(l->a);
    }
}

static bool lex(struct jrl_algebra *a, struct jrl_text text)
{
    struct lexer l = { .a = a, .text = text };
    size_t n_bytes;

    while (l.at < text.len_bytes) {
        const char *s = text.data + l.at;
        size_t n = *s == '.' || is_digit(*s, 10) ? number_len(s, text.len_bytes - l.at) : 0;

        if (n) {
            l.at += n;
            if (!add(a, (struct token){ .kind = TOKEN_NUMBER, .text = { s, n } }))
                return false;
        } else if (!(is_name_character(text, l.at, &n_bytes) ? lex_name(&l) : lex_sign(&l))) {
            return false;
        }
    }
    return true;
}

bool jrl_algebra_lex(struct jrl_algebra *a, struct jrl_text u, struct jrl_text v)
{
    a->n_tokens = a->n_symbols = 0;
    a->digits.len = 0;
    return add_kind(a, TOKEN_OPEN) && lex(a, u) && add_kind(a, TOKEN_CLOSE) && add_kind(a, TOKEN_MINUS) && add_kind(a, TOKEN_OPEN) &&
        lex(a, v) && add_kind(a, TOKEN_CLOSE) && add_kind(a, TOKEN_END);
}
