/* rows.h - the elementwise loops of one instruction set: conversion, addition, AdamW, squared norm, exp, log.
 * For files of kernels/cpu and their tests. */
#ifndef JRL_KERNELS_CPU_ROWS_H
#define JRL_KERNELS_CPU_ROWS_H

#include <math.h>

#include "kernels/cpu/cpu.h"

#define JRL_NORM_LANES 16

/* AdamW with everything that depends on the step alone worked out. */
struct jrl_adamw_scalars {
    float grad_scale, decay, one_minus_beta1, beta2, one_minus_beta2, step_size, sqrt_correction2, eps;
};

/* POWER: jrl_pow, which a plug-in has by address only. */
static inline struct jrl_adamw_scalars jrl_adamw_scalars_of(const struct jrl_adamw *p, double (*power)(double x, double y))
{
    const double correction1 = 1 - (p->beta1 > 0 ? power(p->beta1, (double)p->step) : 0);
    const double correction2 = 1 - (p->beta2 > 0 ? power(p->beta2, (double)p->step) : 0);
    const struct jrl_adamw_scalars scalars = {
        (float)p->grad_scale, (float)(1 - p->lr * p->weight_decay), (float)(1 - p->beta1), (float)p->beta2, (float)(1 - p->beta2),
        (float)(p->lr / correction1), (float)sqrt(correction2), (float)p->eps,
    };

    return scalars;
}

struct jrl_rows {
    void (*exp)(float *y, const float *x, int64_t n);
    void (*log)(float *y, const float *x, int64_t n);
    void (*to_bf16)(jrl_bf16 *y, const float *x, int64_t n);
    void (*from_bf16)(float *y, const jrl_bf16 *x, int64_t n);
    void (*from_f16)(float *y, const uint16_t *x, int64_t n);
    void (*add)(float *y, const float *x, int64_t n);
    void (*adamw)(const struct jrl_adamw_scalars *s, float *master, float *m, float *v, const float *grad, int64_t n);
    void (*square_lanes)(double lanes[JRL_NORM_LANES], const float *x, int64_t n);
};

extern const struct jrl_rows jrl_rows_portable, jrl_rows_avx2, jrl_rows_avx512;

const struct jrl_rows *jrl_rows_for(enum jrl_isa isa);

#endif
