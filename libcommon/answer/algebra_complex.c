/* algebra_complex.c - complex arithmetic on MPFR's reals, with a bound of the error beside each result. Errors are kept as
 * logarithms: values and their errors pass the range of a double. A bound may be coarse by a bit or two an operation. */
#include <math.h>

#include "answer/algebra_complex.h"
#include "answer/algebra_private.h"

/* A value below 2^SLACK times its error counts as zero, so what is not zero is known to three bits at least. */
enum { SLACK = 3, MAX_LOG2_ERROR_OF_EXPONENT = -8 };

static const mpfr_rnd_t nearest = MPFR_RNDN;

void jrl_complex_init(struct jrl_complex *z)
{
    mpfr_init2(z->re, ALGEBRA_PRECISION);
    mpfr_init2(z->im, ALGEBRA_PRECISION);
    jrl_complex_set_real(z, 0);
}

void jrl_complex_clear(struct jrl_complex *z)
{
    mpfr_clear(z->re);
    mpfr_clear(z->im);
}

void jrl_complex_scratch_init(struct jrl_complex_scratch *s)
{
    mpfr_inits2(ALGEBRA_PRECISION, s->re, s->im, s->other, (mpfr_ptr)NULL);
    jrl_complex_init(&s->factor);
    jrl_complex_init(&s->power);
}

void jrl_complex_scratch_clear(struct jrl_complex_scratch *s)
{
    mpfr_clears(s->re, s->im, s->other, (mpfr_ptr)NULL);
    jrl_complex_clear(&s->factor);
    jrl_complex_clear(&s->power);
}

void jrl_complex_set(struct jrl_complex *z, const struct jrl_complex *x)
{
    mpfr_set(z->re, x->re, nearest);
    mpfr_set(z->im, x->im, nearest);
    z->real = x->real;
    z->log2_error = x->log2_error;
}

void jrl_complex_set_real(struct jrl_complex *z, double x)
{
    mpfr_set_d(z->re, x, nearest);
    mpfr_set_zero(z->im, 1);
    z->real = true;
    z->log2_error = -INFINITY;
}

bool jrl_complex_is_zero(const struct jrl_complex *z)
{
    return z->real && mpfr_zero_p(z->re);
}

static double log2_of(mpfr_srcptr x)
{
    long exponent;
    double mantissa;

    if (mpfr_zero_p(x))
        return -INFINITY;
    mantissa = mpfr_get_d_2exp(&exponent, x, nearest);
    return log2(fabs(mantissa)) + (double)exponent;
}

/* log2(2^x + 2^y) */
static double log2_sum(double x, double y)
{
    double large = x > y ? x : y, small = x > y ? y : x;

    return small == -INFINITY ? large : large + log2(1 + exp2(small - large));
}

static double log2_abs(const struct jrl_complex *z)
{
    double re = log2_of(z->re);

    return z->real ? re : log2_sum(2 * re, 2 * log2_of(z->im)) / 2;
}

/* z was computed with this error: what it cannot tell from zero becomes zero. */
static enum jrl_complex_result finish(struct jrl_complex *z, double log2_error)
{
    if (!mpfr_number_p(z->re) || !mpfr_number_p(z->im) || isnan(log2_error))
        return JRL_COMPLEX_LIMIT;
    z->log2_error = log2_error;
    if (!z->real && log2_of(z->im) <= log2_error + SLACK)
        z->real = true;
    if (z->real)
        mpfr_set_zero(z->im, 1);
    if (log2_of(z->re) <= log2_error + SLACK)
        mpfr_set_zero(z->re, 1);
    return JRL_COMPLEX_DONE;
}

/* Half a unit in the last place of both parts, and some for intermediate results. */
static double rounding(double log2_value)
{
    return log2_value - ALGEBRA_PRECISION + 3;
}

void jrl_complex_rounded(struct jrl_complex *z)
{
    z->log2_error = rounding(log2_abs(z));
}

void jrl_complex_negate(struct jrl_complex *z)
{
    mpfr_neg(z->re, z->re, nearest);
    if (!z->real)
        mpfr_neg(z->im, z->im, nearest);
}

enum jrl_complex_result jrl_complex_add(struct jrl_complex *z, const struct jrl_complex *y)
{
    double error = log2_sum(z->log2_error, y->log2_error);

    mpfr_add(z->re, z->re, y->re, nearest);
    if (!y->real)
        mpfr_add(z->im, z->im, y->im, nearest);
    z->real = z->real && y->real;
    return finish(z, log2_sum(error, rounding(log2_abs(z))));
}

enum jrl_complex_result jrl_complex_multiply(struct jrl_complex *z, const struct jrl_complex *y, struct jrl_complex_scratch *s)
{
    double error = log2_sum(log2_abs(z) + y->log2_error, log2_abs(y) + z->log2_error);

    error = log2_sum(error, z->log2_error + y->log2_error);
    if (y->real) {
        mpfr_mul(z->re, z->re, y->re, nearest);
        if (!z->real)
            mpfr_mul(z->im, z->im, y->re, nearest);
    } else if (z->real) {
        mpfr_mul(z->im, z->re, y->im, nearest);
        mpfr_mul(z->re, z->re, y->re, nearest);
        z->real = false;
    } else {
        mpfr_fmms(s->re, z->re, y->re, z->im, y->im, nearest);
        mpfr_fmma(z->im, z->re, y->im, z->im, y->re, nearest);
        mpfr_swap(z->re, s->re);
    }
    return finish(z, log2_sum(error, rounding(log2_abs(z))));
}

enum jrl_complex_result jrl_complex_divide(struct jrl_complex *z, const struct jrl_complex *y, struct jrl_complex_scratch *s)
{
    double log2_y = log2_abs(y), log2_quotient = log2_abs(z) - log2_y, error;

    if (jrl_complex_is_zero(y))
        return JRL_COMPLEX_NONE;
    error = log2_sum(z->log2_error, log2_quotient + y->log2_error) - log2_y + 0.25;
    if (y->real) {
        mpfr_div(z->re, z->re, y->re, nearest);
        if (!z->real)
            mpfr_div(z->im, z->im, y->re, nearest);
    } else {
        mpfr_fmma(s->other, y->re, y->re, y->im, y->im, nearest);
        mpfr_fmma(s->re, z->re, y->re, z->im, y->im, nearest);
        mpfr_fmms(s->im, z->im, y->re, z->re, y->im, nearest);
        mpfr_div(z->re, s->re, s->other, nearest);
        mpfr_div(z->im, s->im, s->other, nearest);
        z->real = false;
    }
    return finish(z, log2_sum(error, rounding(log2_quotient)));
}

enum jrl_complex_result jrl_complex_sqrt(struct jrl_complex *z, struct jrl_complex_scratch *s)
{
    double log2_root = log2_abs(z) / 2, error = z->log2_error - log2_root + 0.25;
    int im_sign = mpfr_sgn(z->im);

    if (jrl_complex_is_zero(z))
        return JRL_COMPLEX_DONE;
    if (z->real && mpfr_sgn(z->re) > 0) {
        mpfr_sqrt(z->re, z->re, nearest);
    } else if (z->real) {
        mpfr_neg(z->re, z->re, nearest);
        mpfr_sqrt(z->im, z->re, nearest);
        mpfr_set_zero(z->re, 1);
        z->real = false;
    } else { /* the larger part first: it has no cancellation; the other from re * im = z.im / 2 */
        mpfr_hypot(s->re, z->re, z->im, nearest);
        if (mpfr_sgn(z->re) >= 0) {
            mpfr_add(s->re, s->re, z->re, nearest);
            mpfr_div_2ui(s->re, s->re, 1, nearest);
            mpfr_sqrt(z->re, s->re, nearest);
            mpfr_div(z->im, z->im, z->re, nearest);
            mpfr_div_2ui(z->im, z->im, 1, nearest);
        } else {
            mpfr_sub(s->re, s->re, z->re, nearest);
            mpfr_div_2ui(s->re, s->re, 1, nearest);
            mpfr_sqrt(s->im, s->re, nearest);
            mpfr_setsign(s->im, s->im, im_sign < 0, nearest);
            mpfr_div(z->re, z->im, s->im, nearest);
            mpfr_div_2ui(z->re, z->re, 1, nearest);
            mpfr_swap(z->im, s->im);
        }
    }
    return finish(z, log2_sum(error, rounding(log2_root)));
}

enum jrl_complex_result jrl_complex_log(struct jrl_complex *z, struct jrl_complex_scratch *s)
{
    double error = z->log2_error - log2_abs(z) + 0.25, size;

    if (jrl_complex_is_zero(z))
        return JRL_COMPLEX_NONE;
    if (z->real) {
        z->real = mpfr_sgn(z->re) > 0;
        if (!z->real)
            mpfr_const_pi(z->im, nearest);
        mpfr_abs(z->re, z->re, nearest);
    } else {
        mpfr_hypot(s->re, z->re, z->im, nearest);
        mpfr_atan2(z->im, z->im, z->re, nearest);
        mpfr_swap(z->re, s->re);
    }
    mpfr_log(z->re, z->re, nearest);
    size = log2_abs(z);
    return finish(z, log2_sum(error, rounding(size > 0 ? size : 0)));
}

enum jrl_complex_result jrl_complex_exp(struct jrl_complex *z, struct jrl_complex_scratch *s)
{
    double error = z->log2_error;

    /* Beyond this, an argument of sine and cosine has no digits left. */
    if (error > MAX_LOG2_ERROR_OF_EXPONENT || (!z->real && mpfr_get_exp(z->im) > ALGEBRA_PRECISION))
        return JRL_COMPLEX_LIMIT;
    mpfr_exp(z->re, z->re, nearest);
    if (!z->real) {
        mpfr_sin_cos(s->im, s->re, z->im, nearest);
        mpfr_mul(z->im, z->re, s->im, nearest);
        mpfr_mul(z->re, z->re, s->re, nearest);
    }
    return finish(z, log2_abs(z) + log2_sum(error + 0.25, rounding(0)));
}

/* power := z^n, n > 0, z is changed. */
static void power_by_squares(struct jrl_complex *z, uint64_t n, struct jrl_complex *power, mpfr_ptr scratch)
{
    jrl_complex_set_real(power, 1);
    for (;; n >>= 1) {
        if (n & 1) {
            mpfr_fmms(scratch, power->re, z->re, power->im, z->im, nearest);
            mpfr_fmma(power->im, power->re, z->im, power->im, z->re, nearest);
            mpfr_swap(power->re, scratch);
        }
        if (n == 1)
            break;
        mpfr_fmms(scratch, z->re, z->re, z->im, z->im, nearest);
        mpfr_mul(z->im, z->re, z->im, nearest);
        mpfr_mul_2ui(z->im, z->im, 1, nearest);
        mpfr_swap(z->re, scratch);
    }
    power->real = false;
}

enum jrl_complex_result jrl_complex_power_integer(struct jrl_complex *z, int64_t n, struct jrl_complex_scratch *s)
{
    uint64_t times = n < 0 ? -(uint64_t)n : (uint64_t)n;
    enum jrl_complex_result rc;
    double relative; /* log2 of the relative error of the power */

    if (n == 0) {
        jrl_complex_set_real(z, 1);
        return JRL_COMPLEX_DONE;
    }
    if (jrl_complex_is_zero(z))
        return n < 0 ? JRL_COMPLEX_NONE : JRL_COMPLEX_DONE;
    relative = log2_sum(z->log2_error - log2_abs(z), rounding(0)) + log2((double)times);
    if (relative > -4)
        return JRL_COMPLEX_LIMIT;
    if (z->real) {
        mpfr_pow_si(z->re, z->re, n, nearest);
        return finish(z, log2_abs(z) + relative + 0.25);
    }
    power_by_squares(z, times, &s->power, s->re);
    rc = finish(&s->power, log2_abs(&s->power) + relative + 0.25);
    if (n > 0 || rc != JRL_COMPLEX_DONE) {
        jrl_complex_set(z, &s->power);
        return rc;
    }
    jrl_complex_set_real(z, 1);
    return jrl_complex_divide(z, &s->power, s);
}

enum jrl_complex_result jrl_complex_power(struct jrl_complex *z, const struct jrl_complex *y, struct jrl_complex_scratch *s)
{
    enum jrl_complex_result rc;

    if (jrl_complex_is_zero(z) && jrl_complex_is_zero(y)) {
        jrl_complex_set_real(z, 1);
        return JRL_COMPLEX_DONE;
    }
    if (jrl_complex_is_zero(z))
        return y->real && mpfr_sgn(y->re) > 0 ? JRL_COMPLEX_DONE : JRL_COMPLEX_NONE;
    rc = jrl_complex_log(z, s);
    if (rc == JRL_COMPLEX_DONE)
        rc = jrl_complex_multiply(z, y, s);
    return rc == JRL_COMPLEX_DONE ? jrl_complex_exp(z, s) : rc;
}
