/* lanes.h - the contract's reduction over a row: sixteen f32 lanes, element i in lane i mod 16 in ascending
 * order, then a fixed tree. Inside kernels/cpu only. */
#ifndef JRL_KERNELS_CPU_LANES_H
#define JRL_KERNELS_CPU_LANES_H

#include "kernels/vmath.h"

#define JRL_LANES 16

/* ((0+8)+(4+12))+((2+10)+(6+14)) + the same of the odd lanes: halves are added until one lane is left. */
JRL_INLINE float jrl_lanes_sum(const float lanes[JRL_LANES])
{
    float half[JRL_LANES / 2];

    for (int j = 0; j < 8; j++)
        half[j] = lanes[j] + lanes[j + 8];
    for (int n = 4; n > 0; n /= 2)
        for (int j = 0; j < n; j++)
            half[j] += half[j + n];
    return half[0];
}

/* Element i of an array of DTYPE, as f32. */
JRL_INLINE float jrl_load(const void *x, enum jrl_dtype dtype, int64_t i)
{
    return dtype == JRL_F32 ? ((const float *)x)[i] : jrl_bf16_to_f32(((const jrl_bf16 *)x)[i]);
}

JRL_INLINE void jrl_store(void *y, enum jrl_dtype dtype, int64_t i, float value)
{
    if (dtype == JRL_F32)
        ((float *)y)[i] = value;
    else
        ((jrl_bf16 *)y)[i] = jrl_f32_to_bf16(value);
}

/* The value an operand of DTYPE holds after rounding, as f32. */
JRL_INLINE float jrl_rounded(enum jrl_dtype dtype, float value)
{
    return dtype == JRL_F32 ? value : jrl_bf16_to_f32(jrl_f32_to_bf16(value));
}

#endif
