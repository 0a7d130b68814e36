/* algebra_complex.h - complex numbers of ALGEBRA_PRECISION bits that know how far they can be from the true value.
 * What lies within its own error of zero is taken for zero, the imaginary part alone too: at 256 bits that happens to
 * expressions whose true value is zero, and then roots and logarithms are on the right side of their cut. */
#ifndef JRL_ANSWER_ALGEBRA_COMPLEX_H
#define JRL_ANSWER_ALGEBRA_COMPLEX_H

#include <stdbool.h>
#include <stdint.h>

#include <mpfr.h>

struct jrl_complex {
    mpfr_t re, im;
    bool real;         /* im is zero, exactly */
    double log2_error; /* of the absolute error; -INFINITY: none */
};

/* Room for intermediate results. */
struct jrl_complex_scratch {
    mpfr_t re, im, other;
    struct jrl_complex factor, power;
};

void jrl_complex_scratch_init(struct jrl_complex_scratch *s);
void jrl_complex_scratch_clear(struct jrl_complex_scratch *s);
void jrl_complex_init(struct jrl_complex *z);
void jrl_complex_clear(struct jrl_complex *z);

void jrl_complex_set(struct jrl_complex *z, const struct jrl_complex *x);
void jrl_complex_set_real(struct jrl_complex *z, double x);
bool jrl_complex_is_zero(const struct jrl_complex *z); /* or taken for it; the error stays with it */
/* After a rounding to nearest of a value that fills z: its error. */
void jrl_complex_rounded(struct jrl_complex *z);

enum jrl_complex_result {
    JRL_COMPLEX_DONE,
    JRL_COMPLEX_NONE,  /* no value: a division by zero, the logarithm of zero */
    JRL_COMPLEX_LIMIT, /* too large, or nothing is known about its digits */
};

/* z becomes the result. */
void jrl_complex_negate(struct jrl_complex *z);
enum jrl_complex_result jrl_complex_add(struct jrl_complex *z, const struct jrl_complex *y);
enum jrl_complex_result jrl_complex_multiply(struct jrl_complex *z, const struct jrl_complex *y, struct jrl_complex_scratch *s);
enum jrl_complex_result jrl_complex_divide(struct jrl_complex *z, const struct jrl_complex *y, struct jrl_complex_scratch *s);
enum jrl_complex_result jrl_complex_sqrt(struct jrl_complex *z, struct jrl_complex_scratch *s);
enum jrl_complex_result jrl_complex_log(struct jrl_complex *z, struct jrl_complex_scratch *s);
enum jrl_complex_result jrl_complex_exp(struct jrl_complex *z, struct jrl_complex_scratch *s);
enum jrl_complex_result jrl_complex_power_integer(struct jrl_complex *z, int64_t n, struct jrl_complex_scratch *s);
enum jrl_complex_result jrl_complex_power(struct jrl_complex *z, const struct jrl_complex *y, struct jrl_complex_scratch *s);

/* algebra_gamma.c: what the factorial keeps, made at its first use. Zero-initialise. */
enum { JRL_COMPLEX_GAMMA_TERMS = 40 };
struct jrl_complex_gamma {
    bool is_ready;
    mpfr_t coefficient[JRL_COMPLEX_GAMMA_TERMS];
    struct jrl_complex w, product, term, step;
};

void jrl_complex_gamma_clear(struct jrl_complex_gamma *g);
/* z!, the gamma function of z + 1. */
enum jrl_complex_result jrl_complex_factorial(struct jrl_complex *z, struct jrl_complex_gamma *g, struct jrl_complex_scratch *s);

#endif
