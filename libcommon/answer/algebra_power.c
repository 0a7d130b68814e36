/* algebra_power.c - powers, square roots and factorials of constants. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "answer/algebra_private.h"

bool jrl_constant_integer(struct jrl_algebra *a, const struct constant *x, int64_t *value)
{
    mpfr_srcptr real;

    switch (x->kind) {
    case CONSTANT_RATIO:
        *value = x->numerator;
        return x->denominator == 1;
    case CONSTANT_RATIONAL:
        return false; /* it would be a CONSTANT_RATIO */
    case CONSTANT_DOUBLE:
        if (fabs(x->real) > 0x1p62 || x->real != floor(x->real))
            return false;
        *value = (int64_t)x->real;
        return true;
    default:
        real = jrl_constant_number(a, x)->real;
        if (!mpfr_integer_p(real) || !mpfr_fits_slong_p(real, MPFR_RNDN))
            return false;
        *value = mpfr_get_si(real, MPFR_RNDN);
        return true;
    }
}

/* base^n, n > 0, in one word. */
static bool power_in_word(int64_t base, int64_t n, int64_t *out)
{
    int64_t result = 1;

    while (n-- > 0)
        if (__builtin_mul_overflow(result, base, &result) || result == INT64_MIN)
            return false;
    *out = result;
    return true;
}

static bool power_of_rational(struct jrl_algebra *a, struct constant *x, int64_t n)
{
    bool inverse = n < 0;
    uint64_t times = inverse ? -(uint64_t)n : (uint64_t)n;
    int64_t numerator, denominator;
    size_t bits, other_bits;
    mpq_ptr q;

    if (times < 64 && x->kind == CONSTANT_RATIO && power_in_word(x->numerator, (int64_t)times, &numerator) &&
        power_in_word(x->denominator, (int64_t)times, &denominator)) {
        x->numerator = !inverse ? numerator : numerator < 0 ? -denominator : denominator;
        x->denominator = !inverse ? denominator : llabs(numerator);
        return true;
    }
    jrl_constant_as_rational(a, x);
    q = jrl_constant_number(a, x)->rational;
    bits = mpz_sizeinbase(mpq_numref(q), 2);
    other_bits = mpz_sizeinbase(mpq_denref(q), 2);
    if (times > ALGEBRA_BITS / (bits > other_bits ? bits : other_bits))
        return algebra_limit(a);
    if (!algebra_spend(a, 2 + (int64_t)times * (int64_t)(bits + other_bits) / 200))
        return false;
    mpz_pow_ui(mpq_numref(q), mpq_numref(q), times);
    mpz_pow_ui(mpq_denref(q), mpq_denref(q), times);
    if (inverse)
        mpq_inv(q, q);
    return jrl_constant_settle(a, x);
}

/* x^y for an exact integer y. */
static bool integer_power(struct jrl_algebra *a, struct constant *x, const struct constant *y)
{
    int64_t n = 0;
    bool small = jrl_constant_integer(a, y, &n);
    int sign = small ? (n > 0) - (n < 0) : jrl_constant_sign(a, y);

    if (jrl_constant_sign(a, x) == 0) {
        if (sign < 0)
            return algebra_refuse(a);
        jrl_constant_set_integer(x, sign == 0);
        return true;
    }
    if (x->kind == CONSTANT_RATIO && x->denominator == 1 && llabs(x->numerator) == 1) {
        if (small ? n % 2 == 0 : mpz_even_p(mpq_numref(jrl_constant_number(a, y)->rational)))
            x->numerator = 1;
        return true;
    }
    if (!small)
        return algebra_limit(a);
    if (jrl_constant_is_exact(x))
        return power_of_rational(a, x, n);
    mpfr_set_prec(a->left, jrl_constant_precision(a, x));
    mpfr_set_prec(a->result, jrl_constant_precision(a, x));
    jrl_constant_as_float(a, a->left, x);
    mpfr_pow_si(a->result, a->left, n, MPFR_RNDN);
    return algebra_spend(a, 20 + mpfr_get_prec(a->left) / 2) && jrl_constant_set_float(a, x, a->result);
}

/* What a power of two floats costs. */
static int64_t float_price(mpfr_prec_t precision)
{
    return 100 + (int64_t)precision * precision / 16384;
}

bool jrl_constant_power(struct jrl_algebra *a, struct constant *x, const struct constant *y, bool *folded)
{
    mpfr_prec_t precision, other;
    int sign = jrl_constant_sign(a, x);

    *folded = true;
    if (jrl_constant_is_exact(y) && (y->kind == CONSTANT_RATIO ? y->denominator == 1 : mpz_cmp_ui(mpq_denref(jrl_constant_number(a, y)->rational), 1) == 0))
        return integer_power(a, x, y);
    if (sign == 0) {
        if (jrl_constant_sign(a, y) < 0)
            return algebra_refuse(a);
        jrl_constant_set_integer(x, jrl_constant_sign(a, y) == 0);
        return true;
    }
    precision = jrl_constant_precision(a, x);
    other = jrl_constant_precision(a, y);
    if (precision < other)
        precision = other;
    if (precision == 0 || sign < 0) {
        *folded = false;
        return true;
    }
    mpfr_set_prec(a->left, precision);
    mpfr_set_prec(a->right, precision);
    mpfr_set_prec(a->result, precision);
    jrl_constant_as_float(a, a->left, x);
    jrl_constant_as_float(a, a->right, y);
    if (!algebra_spend(a, float_price(precision)))
        return false;
    mpfr_pow(a->result, a->left, a->right, MPFR_RNDN);
    return jrl_constant_set_float(a, x, a->result);
}

static bool sqrt_of_rational(struct jrl_algebra *a, struct constant *x, bool *folded)
{
    int64_t above, below;
    mpq_ptr q;

    if (x->kind == CONSTANT_RATIO && x->numerator < (int64_t)1 << 52 && x->denominator < (int64_t)1 << 52) {
        above = (int64_t)sqrt((double)x->numerator); /* exact for squares of this size */
        below = (int64_t)sqrt((double)x->denominator);
        *folded = above * above == x->numerator && below * below == x->denominator;
        if (*folded) {
            x->numerator = above;
            x->denominator = below;
        }
        return true;
    }
    jrl_constant_as_rational(a, x);
    q = jrl_constant_number(a, x)->rational;
    if (!algebra_spend(a, 4 + (int64_t)(mpz_size(mpq_numref(q)) + mpz_size(mpq_denref(q)))))
        return false;
    *folded = mpz_perfect_square_p(mpq_numref(q)) && mpz_perfect_square_p(mpq_denref(q));
    if (*folded) {
        mpz_sqrt(mpq_numref(q), mpq_numref(q));
        mpz_sqrt(mpq_denref(q), mpq_denref(q));
    }
    return jrl_constant_settle(a, x);
}

bool jrl_constant_sqrt(struct jrl_algebra *a, struct constant *x, bool *folded)
{
    *folded = false;
    if (jrl_constant_sign(a, x) < 0)
        return true;
    if (jrl_constant_is_exact(x))
        return sqrt_of_rational(a, x, folded);
    *folded = true;
    if (x->kind == CONSTANT_DOUBLE) {
        x->real = sqrt(x->real);
        return true;
    }
    mpfr_set_prec(a->result, jrl_constant_precision(a, x));
    mpfr_sqrt(a->result, jrl_constant_number(a, x)->real, MPFR_RNDN);
    return algebra_spend(a, 4 + mpfr_get_prec(a->result) / 100) && jrl_constant_set_float(a, x, a->result);
}

bool jrl_constant_factorial(struct jrl_algebra *a, struct constant *x, int step, bool *folded)
{
    int64_t n;
    mpq_ptr q;

    *folded = false;
    if (x->kind == CONSTANT_RATIONAL && jrl_constant_sign(a, x) > 0)
        return algebra_limit(a);
    if (x->kind != CONSTANT_RATIO || x->denominator != 1 || x->numerator < 0)
        return true;
    n = x->numerator;
    if (n > ALGEBRA_FACTORIAL)
        return algebra_limit(a);
    *folded = true;
    if (n <= 20) { /* 20! is the last in a word */
        jrl_constant_set_integer(x, 1);
        for (; n > 1; n -= step)
            x->numerator *= n;
        return true;
    }
    if (!algebra_spend(a, 4 + n / 4))
        return false;
    jrl_constant_as_rational(a, x);
    q = jrl_constant_number(a, x)->rational;
    if (step == 1)
        mpz_fac_ui(mpq_numref(q), (unsigned long)n);
    else
        mpz_2fac_ui(mpq_numref(q), (unsigned long)n);
    return jrl_constant_settle(a, x);
}
