/* algebra_gamma.c - the factorial of a complex number, by Stirling's series for the logarithm of the gamma function.
 * Source: NIST Digital Library of Mathematical Functions, 5.11.1 (the series) and 5.11(ii) (its error). */
#include <math.h>

#include "answer/algebra_complex.h"
#include "answer/algebra_private.h"

/* The series is used from this real part on; below it, z! = (z+n)! / ((z+1)...(z+n)). There, and within 45 degrees of the
 * real axis, what comes after TERMS is below 2^-280; beyond, each term is at most sec(angle/2)^2 times as large. */
enum { SERIES_FROM = 60, TERMS = JRL_COMPLEX_GAMMA_TERMS, LOG2_TRUNCATION = -238, MAX_ARGUMENT = 500 };

void jrl_complex_gamma_clear(struct jrl_complex_gamma *g)
{
    if (!g->is_ready)
        return;
    for (int i = 0; i < TERMS; i++)
        mpfr_clear(g->coefficient[i]);
    jrl_complex_clear(&g->w);
    jrl_complex_clear(&g->product);
    jrl_complex_clear(&g->term);
    jrl_complex_clear(&g->step);
    g->is_ready = false;
}

/* coefficient[k-1] := B(2k) / (2k (2k-1)), with B(2k) = (-1)^(k+1) 2 (2k)! zeta(2k) / (2 pi)^(2k). */
static void prepare(struct jrl_complex_gamma *g)
{
    mpfr_t two_pi, x;

    if (g->is_ready)
        return;
    mpfr_inits2(ALGEBRA_PRECISION, two_pi, x, (mpfr_ptr)NULL);
    mpfr_const_pi(two_pi, MPFR_RNDN);
    mpfr_mul_2ui(two_pi, two_pi, 1, MPFR_RNDN);
    for (int k = 1; k <= TERMS; k++) {
        mpfr_ptr c = g->coefficient[k - 1];

        mpfr_init2(c, ALGEBRA_PRECISION);
        mpfr_zeta_ui(c, 2 * (unsigned long)k, MPFR_RNDN);
        mpfr_fac_ui(x, 2 * (unsigned long)k - 2, MPFR_RNDN);
        mpfr_mul(c, c, x, MPFR_RNDN);
        mpfr_pow_ui(x, two_pi, 2 * (unsigned long)k, MPFR_RNDN);
        mpfr_div(c, c, x, MPFR_RNDN);
        mpfr_mul_si(c, c, k % 2 ? 2 : -2, MPFR_RNDN);
    }
    mpfr_clears(two_pi, x, (mpfr_ptr)NULL);
    jrl_complex_init(&g->w);
    jrl_complex_init(&g->product);
    jrl_complex_init(&g->term);
    jrl_complex_init(&g->step);
    g->is_ready = true;
}

#define TRY(call)                           \
    do {                                    \
        enum jrl_complex_result rc_ = call; \
        if (rc_ != JRL_COMPLEX_DONE)        \
            return rc_;                     \
    } while (0)

/* w := the first z+1+n whose real part is large enough, product := (z+1)...(z+n). */
static enum jrl_complex_result shift(const struct jrl_complex *z, struct jrl_complex_gamma *g, struct jrl_complex_scratch *s)
{
    jrl_complex_set_real(&g->step, 1);
    jrl_complex_set_real(&g->product, 1);
    jrl_complex_set(&g->w, z);
    for (;;) {
        TRY(jrl_complex_add(&g->w, &g->step));
        if (mpfr_cmp_si(g->w.re, SERIES_FROM) >= 0)
            return JRL_COMPLEX_DONE;
        if (jrl_complex_is_zero(&g->w))
            return JRL_COMPLEX_NONE; /* a pole */
        TRY(jrl_complex_multiply(&g->product, &g->w, s));
    }
}

/* z := the series of w: (w - 1/2) log w - w + log(2 pi)/2 + sum of coefficient[k-1] / w^(2k-1). */
static enum jrl_complex_result log_gamma(struct jrl_complex *z, struct jrl_complex_gamma *g, struct jrl_complex_scratch *s)
{
    jrl_complex_set_real(&g->term, -0.5);
    TRY(jrl_complex_add(&g->term, &g->w));
    jrl_complex_set(z, &g->w);
    TRY(jrl_complex_log(z, s));
    TRY(jrl_complex_multiply(z, &g->term, s));
    jrl_complex_set(&g->term, &g->w);
    jrl_complex_negate(&g->term);
    TRY(jrl_complex_add(z, &g->term));

    jrl_complex_set_real(&g->term, 0);
    mpfr_const_pi(g->term.re, MPFR_RNDN);
    mpfr_mul_2ui(g->term.re, g->term.re, 1, MPFR_RNDN);
    mpfr_log(g->term.re, g->term.re, MPFR_RNDN);
    mpfr_div_2ui(g->term.re, g->term.re, 1, MPFR_RNDN);
    jrl_complex_rounded(&g->term);
    TRY(jrl_complex_add(z, &g->term));

    jrl_complex_set_real(&g->step, 1); /* 1/w, then divided by w^2 again and again */
    TRY(jrl_complex_divide(&g->step, &g->w, s));
    TRY(jrl_complex_multiply(&g->w, &g->w, s));
    for (int i = 0; i < TERMS; i++) {
        jrl_complex_set_real(&g->term, 0);
        mpfr_set(g->term.re, g->coefficient[i], MPFR_RNDN);
        jrl_complex_rounded(&g->term);
        TRY(jrl_complex_multiply(&g->term, &g->step, s));
        TRY(jrl_complex_add(z, &g->term));
        TRY(jrl_complex_divide(&g->step, &g->w, s));
    }
    z->log2_error = fmax(z->log2_error, LOG2_TRUNCATION) + 1;
    return JRL_COMPLEX_DONE;
}

enum jrl_complex_result jrl_complex_factorial(struct jrl_complex *z, struct jrl_complex_gamma *g, struct jrl_complex_scratch *s)
{
    if (mpfr_cmpabs_ui(z->re, MAX_ARGUMENT) > 0 || mpfr_cmpabs_ui(z->im, MAX_ARGUMENT) > 0)
        return JRL_COMPLEX_LIMIT;
    prepare(g);
    TRY(shift(z, g, s));
    TRY(log_gamma(z, g, s));
    TRY(jrl_complex_exp(z, s));
    return jrl_complex_divide(z, &g->product, s);
}
