/* algebra_read.c - literals: integers of any base as exact numbers, decimals as binary floats. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "answer/algebra_private.h"

/* The text without its underscores, as a C string. */
static const char *digits_of(struct jrl_algebra *a, struct jrl_text text, size_t skip)
{
    struct jrl_buffer *b = &a->digits;
    size_t start = b->len;

    jrl_buffer_reserve(b, text.len_bytes + 1);
    for (size_t i = skip; i < text.len_bytes; i++)
        if (text.data[i] != '_')
            b->data[b->len++] = (uint8_t)text.data[i];
    b->data[b->len] = '\0';
    b->len = start; /* read at once */
    return (const char *)b->data + start;
}

static bool read_integer(struct jrl_algebra *a, struct constant *x, struct jrl_text text, int base)
{
    const char *digits = digits_of(a, text, base == 10 ? 0 : 2);
    size_t len = strlen(digits);
    int64_t value = 0;

    if (len > ALGEBRA_DIGITS)
        return algebra_limit(a);
    if (base == 10 && len <= 18) {
        for (size_t i = 0; i < len; i++)
            value = 10 * value + (digits[i] - '0');
        jrl_constant_set_integer(x, value);
        return true;
    }
    jrl_constant_set_integer(x, 1); /* the denominator */
    jrl_constant_as_rational(a, x);
    mpz_set_str(mpq_numref(jrl_constant_number(a, x)->rational), digits, base);
    return algebra_spend(a, 4 + (int64_t)len / 10) && jrl_constant_settle(a, x);
}

struct decimal {
    int64_t digits;    /* their value, of the first 18 */
    size_t significant; /* digits from the first that is not zero; trailing zeros count */
    int exponent;      /* the value is digits * 10^exponent, if there are at most 18 */
};

static bool take_decimal(struct jrl_algebra *a, const char *s, struct decimal *d)
{
    bool point = false, negative;
    int exponent = 0;

    *d = (struct decimal){ 0 };
    for (; *s && *s != 'e' && *s != 'E'; s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        d->exponent -= point;
        if (d->significant > 0 || *s != '0')
            d->significant++;
        if (d->significant <= 18)
            d->digits = 10 * d->digits + (*s - '0');
    }
    if (*s) {
        negative = s[1] == '-';
        for (s += s[1] == '-' || s[1] == '+' ? 2 : 1; *s; s++)
            if ((exponent = 10 * exponent + (*s - '0')) > ALGEBRA_EXPONENT)
                return algebra_limit(a);
        d->exponent += negative ? -exponent : exponent;
    }
    return d->significant <= ALGEBRA_DIGITS || algebra_limit(a);
}

static bool read_decimal(struct jrl_algebra *a, struct constant *x, struct jrl_text text)
{
    static const double powers[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    const char *digits = digits_of(a, text, 0);
    struct decimal d;

    if (!take_decimal(a, digits, &d))
        return false;
    if (d.significant <= DBL_DIG && d.exponent >= -22 && d.exponent <= 22) { /* two exact doubles, one rounding */
        x->kind = CONSTANT_DOUBLE;
        x->real = d.exponent < 0 ? (double)d.digits / powers[-d.exponent] : (double)d.digits * powers[d.exponent];
        return true;
    }
    mpfr_set_prec(a->result, d.significant <= DBL_DIG ? DBL_MANT_DIG : lrint(((double)d.significant + 1) * 3.3219280948873626));
    mpfr_strtofr(a->result, digits, NULL, 10, MPFR_RNDN);
    if (!algebra_spend(a, 8 + (int64_t)d.significant / 2) || !jrl_constant_set_float(a, x, a->result))
        return false;
    x->literal = text;
    x->literal_negated = false;
    return true;
}

bool jrl_constant_read(struct jrl_algebra *a, struct constant *x, struct jrl_text text)
{
    char second = text.len_bytes > 1 ? text.data[1] | 0x20 : 0;

    if (text.data[0] == '0' && (second == 'x' || second == 'b' || second == 'o'))
        return read_integer(a, x, text, second == 'x' ? 16 : second == 'b' ? 2 : 8);
    if (memchr(text.data, '.', text.len_bytes) || memchr(text.data, 'e', text.len_bytes) || memchr(text.data, 'E', text.len_bytes))
        return read_decimal(a, x, text);
    return read_integer(a, x, text, 10);
}

void jrl_constant_literal(struct jrl_algebra *a, mpfr_ptr out, const struct constant *x)
{
    mpfr_strtofr(out, digits_of(a, x->literal, 0), NULL, 10, MPFR_RNDN);
    if (x->literal_negated)
        mpfr_neg(out, out, MPFR_RNDN);
}
