/* vmath.h - exp, log, sin and cos from + - * and fmaf alone, so that every processor gives the same bits
 * (libm picks a variant by CPU), and conversions to and from bf16. Error bounds in jrl-numerics(7).
 * Scalar functions are the specification; the row functions give the same bits with vectors. */
#ifndef JRL_KERNELS_VMATH_H
#define JRL_KERNELS_VMATH_H

#include <stdint.h>
#include <string.h>

#include "kernels/device.h"

float jrl_expf(float x); /* 0 below -87.3 (no denormals), inf above 88.72, NaN passes */
float jrl_logf(float x); /* -inf at 0, NaN below */
void jrl_sincos(double x, float *sin_x, float *cos_x); /* |x| < 2^31 */
double jrl_pow(double x, double y);                     /* x > 0; for RoPE frequencies; error < 1e-14 relative */

JRL_INLINE float jrl_bf16_to_f32(jrl_bf16 x)
{
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}
/* Round to nearest even; NaN stays NaN (quiet); denormal results are flushed by the products, not here. */
JRL_INLINE jrl_bf16 jrl_f32_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (jrl_bf16)((bits >> 16) | 0x40);
    return (jrl_bf16)((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

/* Elements as DTYPE: copies f32 or rounds to bf16. Rows are split over threads. */
int jrl_convert_from_f32(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *x, int64_t n, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_convert_to_f32(struct jrl_device *dev, float *y, const void *x, enum jrl_dtype dtype, int64_t n, struct jrl_error *err) JRL_MUST_CHECK; /* also F16 */
/* y[i] += x[i] */
int jrl_add(struct jrl_device *dev, float *y, const float *x, int64_t n, struct jrl_error *err) JRL_MUST_CHECK;

#endif
