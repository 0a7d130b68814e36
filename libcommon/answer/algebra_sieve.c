/* algebra_sieve.c - runs the program in double arithmetic with a bound of the error, so that most pairs that differ never
 * need more. It can only say "surely different": wherever a bound does not hold for certain (near zero of a divisor, near the
 * cut of a root, beyond the range of a double) it gives up.
 * Bounds: a basic operation is right to UNIT of its result; libm's functions are within a few units in the last place, for
 * which FUNCTION_UNITS is ample. Errors are rounded down a little now and then; the factor in surely_different pays for that. */
#include <float.h>
#include <math.h>

#include "answer/algebra_private.h"

#ifndef CMPLX /* the C library's header has it for gcc only */
#define CMPLX(x, y) __builtin_complex((double)(x), (double)(y))
#endif

#define UNIT DBL_EPSILON
#define FUNCTION_UNITS (16 * UNIT)
/* What a product can lose below the normal numbers. */
#define UNDERFLOW_LOSS (4 * DBL_MIN)

struct estimate {
    double re, im;
    bool real; /* im is exactly zero */
    double error;
};

static double size(const struct estimate *z)
{
    return z->real ? fabs(z->re) : fabs(z->re) + fabs(z->im);
}

/* At most |z|, and not much less. */
static double smallest_size(const struct estimate *z)
{
    double least = fmax(fabs(z->re), fabs(z->im)) - z->error;

    return least > 0 ? least : 0;
}

static bool is_usable(const struct estimate *z)
{
    return size(z) < 1e150 && z->error < 1e150; /* false for NaN */
}

static void add(struct estimate *z, const struct estimate *y)
{
    z->error += y->error;
    z->re += y->re;
    z->im += y->im;
    z->real = z->real && y->real;
    z->error += UNIT * size(z);
}

static void multiply(struct estimate *z, const struct estimate *y)
{
    double a = size(z), b = size(y), re = z->re * y->re - z->im * y->im;

    z->im = z->re * y->im + z->im * y->re;
    z->re = re;
    z->real = z->real && y->real;
    z->error = a * y->error + b * z->error + z->error * y->error + 4 * UNIT * a * b + UNDERFLOW_LOSS;
}

static bool divide(struct estimate *z, const struct estimate *y)
{
    double least = smallest_size(y), norm = y->re * y->re + y->im * y->im, error = z->error;
    struct estimate conjugate = { y->re / norm, -y->im / norm, y->real, 0 };

    if (!(least > y->error) || least < 1e-100)
        return false;
    multiply(z, &conjugate);
    z->error = (error + size(z) * y->error) / least + 16 * UNIT * size(z) + UNDERFLOW_LOSS;
    return true;
}

/* Do all numbers within the error lie on one side of the negative real axis? */
static bool is_off_the_cut(const struct estimate *z)
{
    return z->real || z->re > z->error || fabs(z->im) > z->error;
}

static bool square_root(struct estimate *z)
{
    double least = smallest_size(z), half;

    if (!(least > z->error) || least < 1e-100 || !is_off_the_cut(z))
        return false;
    if (z->real && z->re > 0) {
        z->re = sqrt(z->re);
    } else { /* the part without cancellation first */
        half = sqrt((hypot(z->re, z->im) + fabs(z->re)) / 2);
        if (z->re > 0) {
            z->im = z->im / half / 2;
            z->re = half;
        } else {
            z->re = z->real ? 0 : fabs(z->im) / half / 2;
            z->im = z->real || z->im > 0 ? half : -half;
        }
        z->real = false;
    }
    z->error = z->error / sqrt(least) + FUNCTION_UNITS * size(z);
    return true;
}

static bool logarithm(struct estimate *z)
{
    double least = smallest_size(z), size_of_z = z->real ? fabs(z->re) : hypot(z->re, z->im);

    if (!(least > z->error) || least < 1e-100 || !is_off_the_cut(z))
        return false;
    if (!z->real || z->re < 0) {
        z->im = z->real ? M_PI : atan2(z->im, z->re);
        z->real = false;
    }
    z->re = log(size_of_z);
    z->error = z->error / least + FUNCTION_UNITS * (1 + size(z));
    return true;
}

static bool exponential(struct estimate *z)
{
    double error = z->error, size_of_result = exp(z->re);

    if (!(error < 0.01) || !(size(z) < 300))
        return false;
    z->re = z->real ? size_of_result : size_of_result * cos(z->im);
    z->im = z->real ? 0 : size_of_result * sin(z->im);
    z->error = 2 * size_of_result * (1.1 * error + FUNCTION_UNITS) + UNDERFLOW_LOSS;
    return true;
}

static bool power_integer(struct estimate *z, int64_t n)
{
    struct estimate square = *z, result = { 1, 0, true, 0 };
    uint64_t times = n < 0 ? -(uint64_t)n : (uint64_t)n;

    for (; times && is_usable(&square) && is_usable(&result); times >>= 1) {
        if (times & 1)
            multiply(&result, &square);
        if (times > 1)
            multiply(&square, &square);
    }
    *z = result;
    if (times || n >= 0)
        return !times;
    *z = (struct estimate){ 1, 0, true, 0 };
    return divide(z, &result);
}

static bool constant(struct jrl_algebra *a, struct estimate *z, const struct constant *c)
{
    z->real = true;
    z->im = 0;
    switch (c->kind) {
    case CONSTANT_RATIO: z->re = (double)c->numerator / (double)c->denominator; break;
    case CONSTANT_RATIONAL: z->re = mpq_get_d(jrl_constant_number(a, c)->rational); break;
    case CONSTANT_DOUBLE: z->re = c->real; break;
    default: z->re = mpfr_get_d(jrl_constant_number(a, c)->real, MPFR_RNDN);
    }
    z->error = 4 * UNIT * fabs(z->re);
    return z->re == 0 || fabs(z->re) > DBL_MIN;
}

static bool operand(struct jrl_algebra *a, struct estimate *z, const struct instruction *in, int point)
{
    *z = (struct estimate){ 0 };
    switch (in->op) {
    case OP_CONSTANT: return constant(a, z, &in->constant);
    case OP_PI:
        *z = (struct estimate){ M_PI, 0, true, UNIT * M_PI };
        return true;
    case OP_I:
        z->im = 1;
        return true;
    default:
        jrl_algebra_point(in->symbol, point, &z->re, &z->im);
        z->real = z->im == 0;
        return true;
    }
}

static bool apply(const struct instruction *in, struct estimate *x, const struct estimate *y)
{
    switch (in->op) {
    case OP_NEGATE:
        x->re = -x->re;
        x->im = -x->im;
        return true;
    case OP_SQRT: return square_root(x);
    case OP_LN: return logarithm(x);
    case OP_POWER_INTEGER: return power_integer(x, in->exponent);
    case OP_ADD: add(x, y); return true;
    case OP_MULTIPLY: multiply(x, y); return true;
    case OP_DIVIDE: return divide(x, y);
    case OP_POWER:
        if (!logarithm(x))
            return false;
        multiply(x, y);
        return exponential(x);
    default: return false; /* rare */
    }
}

bool jrl_algebra_surely_different(struct jrl_algebra *a, int point)
{
    struct estimate stack[ALGEBRA_STACK];
    int n = 0;

    stack[0] = (struct estimate){ 0 };
    for (int i = 0; i < a->n_code; i++) {
        const struct instruction *in = &a->code[i];

        if (in->op <= OP_I) {
            if (!operand(a, &stack[n++], in, point))
                return false;
        } else {
            n -= in->op >= OP_ADD;
            if (!apply(in, &stack[n - 1], &stack[n]))
                return false;
        }
        if (!is_usable(&stack[n - 1]))
            return false;
    }
    return smallest_size(&stack[0]) > 4 * stack[0].error + 1e-290;
}
