/* layer_rows.h - the row loops of norm, swiglu and logprob in one instruction set. The plain loops in norm.c,
 * swiglu.c and logprob.c define the bits; these give the same. Inside kernels/cpu only. */
#ifndef JRL_KERNELS_CPU_LAYER_ROWS_H
#define JRL_KERNELS_CPU_LAYER_ROWS_H

#include <float.h>
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/logprob.h"

/* The scale of a norm. Squares beyond f32 give NaN: 1 / inf would make zeros of the row, and nobody would notice. */
JRL_INLINE float jrl_inverse_root(float mean_square)
{
    return mean_square <= FLT_MAX ? 1.0f / sqrtf(mean_square) : NAN;
}

/* What every element of a row of dlogits needs; the target's own 1 comes in as its index, or -1. */
struct jrl_dlogits_row {
    float inv_temperature, lse, entropy, dlogprob, dentropy;
    bool with_entropy;
    int64_t target;
};

/* A tile of the gated activation: rows x columns out of sums whose rows lie STRIDE apart. Where gate and up are kept, sixteen columns
 * of a row are two neighbouring lines, gate's and up's, the next row behind them, and the next sixteen columns a panel further. */
struct jrl_gated_tile {
    const float *gate, *up, *dact; /* dact NULL: act alone; else gate and up are those kept, if any are */
    float *kept;                   /* of the tile's first row and column; NULL: not kept */
    int64_t panel;                 /* floats */
    void *act, *dgate, *dup;       /* first element of the tile, in matrices of row length LD */
    enum jrl_dtype dtype;
    int64_t rows, columns, stride, ld;
};

struct jrl_layer_rows {
    void (*rmsnorm)(void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps, int64_t dim);
    /* Adds to dx; returns 1 / sqrt(mean square + eps). */
    float (*rmsnorm_dx)(float *dx, const float *dy, const float *x, const void *weight, enum jrl_dtype dtype, float eps, int64_t dim);
    void (*swiglu)(void *y, enum jrl_dtype dtype, const float *gate, const float *up, int64_t n);
    void (*swiglu_backward)(void *dgate, void *dup, enum jrl_dtype dtype, const float *dy, const float *gate, const float *up, int64_t n);
    void (*gated_tile)(const struct jrl_gated_tile *t);
    struct jrl_block_sums (*sum_block)(const float *logits, int64_t n, float inv_temperature);
    void (*dlogits)(void *dlogits, enum jrl_dtype dtype, const float *logits, int64_t n, const struct jrl_dlogits_row *row);
};

extern const struct jrl_layer_rows jrl_layer_rows_avx2, jrl_layer_rows_avx512, jrl_layer_rows_avx512bf16;

/* NULL where the plain loops are all there is. */
static inline const struct jrl_layer_rows *jrl_layer_rows_for(const struct jrl_device *dev)
{
#if defined(__x86_64__)
    if (dev->isa >= JRL_ISA_AVX512BF16)
        return &jrl_layer_rows_avx512bf16;
    if (dev->isa >= JRL_ISA_AVX512)
        return &jrl_layer_rows_avx512;
    if (dev->isa == JRL_ISA_AVX2)
        return &jrl_layer_rows_avx2;
#endif
    (void)dev;
    return NULL;
}

#endif
