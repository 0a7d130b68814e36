/* algebra_precise.c - runs the program with the arithmetic of algebra_complex.h at one test point. */
#include <math.h>
#include <stdlib.h>

#include "answer/algebra_private.h"
#include "base/decimal.h"

/* A power with a decimal exponent is another function than the one with the exact exponent: it is marked by a factor. */
#define FLOAT_EXPONENT_MARK 1.2345678912345

/* What operations cost in units of work, as measured at 256 bits. */
enum { QUICK = 1, FUNCTION = 50, POWER = 120, GAMMA = 1200 };

/* A float stands for its shortest decimal form, exactly; so does a literal. */
static void set_float(struct jrl_algebra *a, mpfr_ptr out, const struct constant *c)
{
    char text[32];

    if (c->kind == CONSTANT_FLOAT && c->literal.len_bytes > 0) {
        jrl_constant_literal(a, out, c);
    } else if (c->kind == CONSTANT_DOUBLE && (c->real != floor(c->real) || fabs(c->real) > 0x1p53)) {
        jrl_format_f64(text, c->real);
        mpfr_strtofr(out, text, NULL, 10, MPFR_RNDN);
    } else {
        jrl_constant_as_float(a, out, c);
    }
}

static void set_constant(struct jrl_algebra *a, struct jrl_complex *z, const struct constant *c)
{
    jrl_complex_set_real(z, 0);
    if (c->kind == CONSTANT_RATIO) {
        mpfr_set_si(z->re, c->numerator, MPFR_RNDN);
        mpfr_div_si(z->re, z->re, c->denominator, MPFR_RNDN);
    } else if (c->kind == CONSTANT_RATIONAL) {
        jrl_constant_as_float(a, z->re, c);
    } else {
        set_float(a, z->re, c);
    }
    jrl_complex_rounded(z);
}

static void set_operand(struct jrl_algebra *a, struct jrl_complex *z, const struct instruction *in, int point)
{
    double re = 0, im = 0;

    switch (in->op) {
    case OP_CONSTANT: set_constant(a, z, &in->constant); break;
    case OP_PI:
        jrl_complex_set_real(z, 0);
        mpfr_const_pi(z->re, MPFR_RNDN);
        jrl_complex_rounded(z);
        break;
    default:
        if (in->op == OP_SYMBOL)
            jrl_algebra_point(in->symbol, point, &re, &im);
        else
            im = 1;
        jrl_complex_set_real(z, re);
        mpfr_set_d(z->im, im, MPFR_RNDN);
        z->real = im == 0;
    }
}

static int price(const struct instruction *in)
{
    switch (in->op) {
    case OP_LN: return FUNCTION;
    case OP_FACTORIAL: return GAMMA;
    case OP_POWER: case OP_POWER_FLOAT: return POWER;
    case OP_POWER_INTEGER: return 4 + 2 * (64 - __builtin_clzll((uint64_t)llabs(in->exponent) | 1));
    default: return QUICK;
    }
}

static enum jrl_complex_result apply(struct jrl_algebra *a, const struct instruction *in, struct jrl_complex *x, const struct jrl_complex *y)
{
    enum jrl_complex_result rc;

    switch (in->op) {
    case OP_NEGATE: jrl_complex_negate(x); return JRL_COMPLEX_DONE;
    case OP_SQRT: return jrl_complex_sqrt(x, &a->scratch);
    case OP_LN: return jrl_complex_log(x, &a->scratch);
    case OP_FACTORIAL: return jrl_complex_factorial(x, &a->gamma, &a->scratch);
    case OP_POWER_INTEGER: return jrl_complex_power_integer(x, in->exponent, &a->scratch);
    case OP_ADD: return jrl_complex_add(x, y);
    case OP_MULTIPLY: return jrl_complex_multiply(x, y, &a->scratch);
    case OP_DIVIDE: return jrl_complex_divide(x, y, &a->scratch);
    default:
        rc = jrl_complex_power(x, y, &a->scratch);
        if (rc == JRL_COMPLEX_DONE && in->op == OP_POWER_FLOAT) {
            jrl_complex_set_real(&a->scratch.factor, FLOAT_EXPONENT_MARK);
            rc = jrl_complex_multiply(x, &a->scratch.factor, &a->scratch);
        }
        return rc;
    }
}

bool jrl_algebra_precise(struct jrl_algebra *a, int point, bool *zero)
{
    enum jrl_complex_result rc = JRL_COMPLEX_DONE;
    int n = 0; /* operands on the stack */

    for (int i = 0; i < a->n_code; i++) {
        const struct instruction *in = &a->code[i];

        if (!algebra_spend(a, price(in)))
            return false;
        if (in->op <= OP_I) {
            if (n == a->n_stack)
                jrl_complex_init(&a->stack[a->n_stack++]);
            set_operand(a, &a->stack[n++], in, point);
            continue;
        }
        n -= in->op >= OP_ADD;
        rc = apply(a, in, &a->stack[n - 1], &a->stack[n]);
        if (rc != JRL_COMPLEX_DONE)
            return rc == JRL_COMPLEX_NONE ? algebra_refuse(a) : algebra_limit(a);
    }
    *zero = jrl_complex_is_zero(&a->stack[0]);
    return true;
}
