/* algebra_constant.c - arithmetic of constants: exact rationals, and binary floats whose every result is rounded to nearest.
 * The precision of a float is part of its value, as in SymPy: 53 bits, where plain double arithmetic gives the same, or as
 * many as the digits of the literal ask for. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "answer/algebra_private.h"

struct number *jrl_constant_number(struct jrl_algebra *a, const struct constant *x)
{
    struct number **n = &a->numbers[x->slot];

    if (!*n) {
        *n = jrl_xmalloc(sizeof **n);
        mpq_init((*n)->rational);
        mpfr_init2((*n)->real, DBL_MANT_DIG);
    }
    if (a->n_numbers <= x->slot)
        a->n_numbers = x->slot + 1;
    return *n;
}

bool jrl_constant_is_exact(const struct constant *x)
{
    return x->kind == CONSTANT_RATIO || x->kind == CONSTANT_RATIONAL;
}

mpfr_prec_t jrl_constant_precision(struct jrl_algebra *a, const struct constant *x)
{
    if (x->kind == CONSTANT_DOUBLE)
        return DBL_MANT_DIG;
    return x->kind == CONSTANT_FLOAT ? mpfr_get_prec(jrl_constant_number(a, x)->real) : 0;
}

int jrl_constant_sign(struct jrl_algebra *a, const struct constant *x)
{
    switch (x->kind) {
    case CONSTANT_RATIO: return (x->numerator > 0) - (x->numerator < 0);
    case CONSTANT_RATIONAL: return mpq_sgn(jrl_constant_number(a, x)->rational);
    case CONSTANT_DOUBLE: return (x->real > 0) - (x->real < 0);
    default: return mpfr_sgn(jrl_constant_number(a, x)->real);
    }
}

void jrl_constant_set_integer(struct constant *x, int64_t value)
{
    x->kind = CONSTANT_RATIO;
    x->numerator = value;
    x->denominator = 1;
}

bool jrl_constant_settle(struct jrl_algebra *a, struct constant *x)
{
    mpq_ptr q = jrl_constant_number(a, x)->rational;
    size_t numerator_bits = mpz_sizeinbase(mpq_numref(q), 2), denominator_bits = mpz_sizeinbase(mpq_denref(q), 2);

    if (numerator_bits > ALGEBRA_BITS || denominator_bits > ALGEBRA_BITS)
        return algebra_limit(a);
    x->kind = CONSTANT_RATIONAL;
    if (numerator_bits < 64 && denominator_bits < 64) {
        x->kind = CONSTANT_RATIO;
        x->numerator = mpz_get_si(mpq_numref(q));
        x->denominator = mpz_get_si(mpq_denref(q));
    }
    return true;
}

static void rational_of(struct jrl_algebra *a, mpq_ptr out, const struct constant *x)
{
    if (x->kind == CONSTANT_RATIONAL) {
        mpq_set(out, jrl_constant_number(a, x)->rational);
    } else {
        mpz_set_si(mpq_numref(out), x->numerator);
        mpz_set_si(mpq_denref(out), x->denominator);
    }
}

void jrl_constant_as_rational(struct jrl_algebra *a, struct constant *x)
{
    if (x->kind == CONSTANT_RATIO)
        rational_of(a, jrl_constant_number(a, x)->rational, x);
    x->kind = CONSTANT_RATIONAL;
}

void jrl_constant_as_float(struct jrl_algebra *a, mpfr_ptr out, const struct constant *x)
{
    switch (x->kind) {
    case CONSTANT_DOUBLE: mpfr_set_d(out, x->real, MPFR_RNDN); break;
    case CONSTANT_FLOAT: mpfr_set(out, jrl_constant_number(a, x)->real, MPFR_RNDN); break;
    default:
        rational_of(a, a->ratio, x);
        mpfr_set_q(out, a->ratio, MPFR_RNDN);
    }
}

static bool is_normal_or_zero(double x)
{
    return x == 0 || (fabs(x) >= DBL_MIN && fabs(x) <= DBL_MAX);
}

bool jrl_constant_set_float(struct jrl_algebra *a, struct constant *x, mpfr_srcptr value)
{
    struct number *n;

    if (!mpfr_number_p(value))
        return algebra_limit(a);
    x->literal.len_bytes = 0;
    if (mpfr_get_prec(value) == DBL_MANT_DIG) {
        x->real = mpfr_get_d(value, MPFR_RNDN);
        if (is_normal_or_zero(x->real) && (x->real != 0 || mpfr_zero_p(value))) {
            x->kind = CONSTANT_DOUBLE;
            return true;
        }
    }
    x->kind = CONSTANT_FLOAT;
    n = jrl_constant_number(a, x);
    mpfr_set_prec(n->real, mpfr_get_prec(value));
    mpfr_set(n->real, value, MPFR_RNDN);
    return true;
}

void jrl_constant_negate(struct jrl_algebra *a, struct constant *x)
{
    struct number *n;

    switch (x->kind) {
    case CONSTANT_RATIO: x->numerator = -x->numerator; break;
    case CONSTANT_DOUBLE: x->real = -x->real; break;
    case CONSTANT_RATIONAL:
        n = jrl_constant_number(a, x);
        mpq_neg(n->rational, n->rational);
        break;
    default:
        n = jrl_constant_number(a, x);
        mpfr_neg(n->real, n->real, MPFR_RNDN);
        x->literal_negated = !x->literal_negated;
    }
}

/* The double that is *x rounded to 53 bits, where one conversion or one division gives it. */
static bool quick_double(const struct constant *x, double *out)
{
    static const int64_t whole = (int64_t)1 << DBL_MANT_DIG;

    if (x->kind == CONSTANT_DOUBLE)
        *out = x->real;
    else if (x->kind == CONSTANT_RATIO && x->denominator == 1)
        *out = (double)x->numerator;
    else if (x->kind == CONSTANT_RATIO && llabs(x->numerator) <= whole && x->denominator <= whole)
        *out = (double)x->numerator / (double)x->denominator;
    else
        return false;
    return true;
}

/* Both as doubles, when the result is a float of 53 bits. */
static bool quick_doubles(const struct constant *x, const struct constant *y, double *x_out, double *y_out)
{
    return (x->kind == CONSTANT_DOUBLE || y->kind == CONSTANT_DOUBLE) && quick_double(x, x_out) && quick_double(y, y_out);
}

static bool set_double(struct constant *x, double value)
{
    if (!is_normal_or_zero(value))
        return false;
    x->kind = CONSTANT_DOUBLE;
    x->real = value;
    return true;
}

/* Operands rounded to the larger precision, which is paid for: a->left, a->right, and a->result ready. */
static bool as_floats(struct jrl_algebra *a, const struct constant *x, const struct constant *y)
{
    mpfr_prec_t precision = jrl_constant_precision(a, x), other = jrl_constant_precision(a, y);

    if (precision < other)
        precision = other;
    mpfr_set_prec(a->left, precision);
    mpfr_set_prec(a->right, precision);
    mpfr_set_prec(a->result, precision);
    jrl_constant_as_float(a, a->left, x);
    jrl_constant_as_float(a, a->right, y);
    return algebra_spend(a, 2 + precision * precision / 65536);
}

static int64_t limbs(struct jrl_algebra *a, const struct constant *x)
{
    mpq_ptr q;

    if (x->kind != CONSTANT_RATIONAL)
        return 1;
    q = jrl_constant_number(a, x)->rational;
    return (int64_t)(mpz_size(mpq_numref(q)) + mpz_size(mpq_denref(q)));
}

/* Both as rationals: x's own number, and a->ratio. The price is that of the greatest common divisors. */
static bool as_rationals(struct jrl_algebra *a, struct constant *x, const struct constant *y)
{
    int64_t n = limbs(a, x) + limbs(a, y);

    jrl_constant_as_rational(a, x);
    rational_of(a, a->ratio, y);
    return algebra_spend(a, 2 + n / 4 + n * n / 512);
}

static uint64_t common_divisor(uint64_t x, uint64_t y)
{
    while (y) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    return x;
}

/* numerator / denominator in words, reduced; the denominator is positive. */
static void set_ratio(struct constant *x, int64_t numerator, int64_t denominator)
{
    int64_t divisor = denominator == 1 ? 1 : (int64_t)common_divisor((uint64_t)llabs(numerator), (uint64_t)denominator);

    x->kind = CONSTANT_RATIO;
    x->numerator = numerator / divisor;
    x->denominator = denominator / divisor;
}

static bool quick_add(struct constant *x, const struct constant *y)
{
    int64_t left, right, sum, denominator;

    if (x->kind != CONSTANT_RATIO || y->kind != CONSTANT_RATIO)
        return false;
    if (__builtin_mul_overflow(x->numerator, y->denominator, &left) || __builtin_mul_overflow(y->numerator, x->denominator, &right) ||
        __builtin_add_overflow(left, right, &sum) || sum == INT64_MIN || __builtin_mul_overflow(x->denominator, y->denominator, &denominator))
        return false;
    set_ratio(x, sum, denominator);
    return true;
}

static bool quick_multiply(struct constant *x, int64_t numerator, int64_t denominator)
{
    int64_t above, below;

    if (__builtin_mul_overflow(x->numerator, numerator, &above) || __builtin_mul_overflow(x->denominator, denominator, &below) || above == INT64_MIN)
        return false;
    set_ratio(x, above, below);
    return true;
}

bool jrl_constant_add(struct jrl_algebra *a, struct constant *x, const struct constant *y)
{
    double left, right;
    mpq_ptr q;

    if (quick_add(x, y))
        return true;
    if (jrl_constant_is_exact(x) && jrl_constant_is_exact(y)) {
        if (!as_rationals(a, x, y))
            return false;
        q = jrl_constant_number(a, x)->rational;
        mpq_add(q, q, a->ratio);
        return jrl_constant_settle(a, x);
    }
    if (quick_doubles(x, y, &left, &right)) {
        if (left == -right) {
            jrl_constant_set_integer(x, 0);
            return true;
        }
        if (set_double(x, left + right))
            return true;
    }
    if (!as_floats(a, x, y))
        return false;
    mpfr_add(a->result, a->left, a->right, MPFR_RNDN);
    if (mpfr_zero_p(a->result)) {
        jrl_constant_set_integer(x, 0);
        return true;
    }
    return jrl_constant_set_float(a, x, a->result);
}

bool jrl_constant_multiply(struct jrl_algebra *a, struct constant *x, const struct constant *y)
{
    double left, right;
    mpq_ptr q;

    if (x->kind == CONSTANT_RATIO && y->kind == CONSTANT_RATIO && quick_multiply(x, y->numerator, y->denominator))
        return true;
    if ((jrl_constant_is_exact(x) && jrl_constant_sign(a, x) == 0) || (jrl_constant_is_exact(y) && jrl_constant_sign(a, y) == 0)) {
        jrl_constant_set_integer(x, 0);
        return true;
    }
    if (jrl_constant_is_exact(x) && jrl_constant_is_exact(y)) {
        if (!as_rationals(a, x, y))
            return false;
        q = jrl_constant_number(a, x)->rational;
        mpq_mul(q, q, a->ratio);
        return jrl_constant_settle(a, x);
    }
    if (quick_doubles(x, y, &left, &right) && (left * right != 0 || left == 0 || right == 0) && set_double(x, left * right))
        return true;
    if (!as_floats(a, x, y))
        return false;
    mpfr_mul(a->result, a->left, a->right, MPFR_RNDN);
    return jrl_constant_set_float(a, x, a->result);
}

static bool divide_floats(struct jrl_algebra *a, struct constant *x, const struct constant *y)
{
    bool exact = jrl_constant_is_exact(x);
    double left, right, quotient;

    if (quick_doubles(x, y, &left, &right) && is_normal_or_zero(1 / right)) {
        quotient = exact ? left * (1 / right) : left / right;
        if ((quotient != 0 || left == 0) && set_double(x, quotient))
            return true;
    }
    if (!as_floats(a, x, y))
        return false;
    if (exact) { /* the published rule multiplies by the rounded reciprocal */
        mpfr_ui_div(a->right, 1, a->right, MPFR_RNDN);
        mpfr_mul(a->result, a->left, a->right, MPFR_RNDN);
    } else {
        mpfr_div(a->result, a->left, a->right, MPFR_RNDN);
    }
    return jrl_constant_set_float(a, x, a->result);
}

bool jrl_constant_divide(struct jrl_algebra *a, struct constant *x, const struct constant *y)
{
    mpq_ptr q;

    if (jrl_constant_sign(a, y) == 0)
        return algebra_refuse(a);
    if (!jrl_constant_is_exact(x) || !jrl_constant_is_exact(y))
        return divide_floats(a, x, y);
    if (x->kind == CONSTANT_RATIO && y->kind == CONSTANT_RATIO &&
        quick_multiply(x, y->numerator < 0 ? -y->denominator : y->denominator, llabs(y->numerator)))
        return true;
    if (!as_rationals(a, x, y))
        return false;
    q = jrl_constant_number(a, x)->rational;
    mpq_div(q, q, a->ratio);
    return jrl_constant_settle(a, x);
}
