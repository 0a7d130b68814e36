/* vmath_inline.h - exp and log of one float, free of branches and calls: in a file compiled for a vector
 * instruction set, a plain loop over them becomes vector code with the same bits as one call.
 * Not here: the sweeps that bound their error (tests/kernels/test_vmath.c). */
#ifndef JRL_KERNELS_CPU_VMATH_INLINE_H
#define JRL_KERNELS_CPU_VMATH_INLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/inline.h"

JRL_INLINE float jrl_float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

JRL_INLINE uint32_t jrl_bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

/* YES where the condition holds, else NO. With masks, since a compiler that keeps floating-point traps in mind
 * would turn a choice between results into a branch, and then not make vectors of the loop around it. */
JRL_INLINE uint32_t jrl_choose(bool condition, uint32_t yes, uint32_t no)
{
    uint32_t mask = -(uint32_t)condition;
    return (yes & mask) | (no & ~mask);
}

/* e^x = 2^n e^r with n the integer nearest to x/ln 2, e^r = 1 + r + r^2 P(r). P is the minimax fit of degree 4 on
 * |r| <= 0.3476, relative error of e^r 3.2e-9. Adding 1.5 * 2^23 rounds to an integer and leaves it in
 * the low bits. 2^n is applied in two halves, since 2^128 has no float. */
JRL_INLINE float jrl_expf_inline(float x)
{
    const float round = 0x1.8p23f;
    float bounded = x < -88.0f ? -88.0f : x;
    bounded = bounded > 89.0f ? 89.0f : bounded;
    float shifted = __builtin_fmaf(bounded, 0x1.715476p0f, round);
    float n = shifted - round;
    int32_t exponent = (int32_t)(jrl_bits_of_float(shifted) - jrl_bits_of_float(round));
    float r = __builtin_fmaf(n, -0x1.62e430p-1f, bounded);
    r = __builtin_fmaf(n, 0x1.05c610p-29f, r);

    float p = 0x1.6db664p-10f;
    p = __builtin_fmaf(p, r, 0x1.123d02p-7f);
    p = __builtin_fmaf(p, r, 0x1.55545cp-5f);
    p = __builtin_fmaf(p, r, 0x1.55548cp-3f);
    p = __builtin_fmaf(p, r, 0.5f);
    p = __builtin_fmaf(p, r, 1.0f);
    float y = __builtin_fmaf(p, r, 1.0f);

    int32_t half = exponent >> 1;
    y = y * jrl_float_of_bits((uint32_t)(half + 127) << 23) * jrl_float_of_bits((uint32_t)(exponent - half + 127) << 23);
    return x < -87.3365f ? 0.0f : y;
}

/* log x = e ln 2 + log(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), log(1 + f) = f - f^2/2 + f^3 P(f); P is the
 * minimax fit of degree 8, absolute error of log(1 + f) over |f| 7.3e-10. A denormal counts as zero. */
JRL_INLINE float jrl_logf_inline(float x)
{
    uint32_t bits = jrl_bits_of_float(x);
    int32_t e = (int32_t)(bits - 0x3f3504f3u) >> 23;
    float f = jrl_float_of_bits(bits - ((uint32_t)e << 23)) - 1.0f;
    float exponent = (float)e, square = f * f;

    float p = 0x1.1b3dd4p-4f;
    p = __builtin_fmaf(p, f, -0x1.e2e78ap-4f);
    p = __builtin_fmaf(p, f, 0x1.e651bcp-4f);
    p = __builtin_fmaf(p, f, -0x1.fb439cp-4f);
    p = __builtin_fmaf(p, f, 0x1.2332b4p-3f);
    p = __builtin_fmaf(p, f, -0x1.5562e0p-3f);
    p = __builtin_fmaf(p, f, 0x1.99a546p-3f);
    p = __builtin_fmaf(p, f, -0x1.ffffeep-3f);
    p = __builtin_fmaf(p, f, 0x1.555546p-2f);
    float tail = __builtin_fmaf(f * square, p, exponent * -0x1.05c610p-29f);
    tail = __builtin_fmaf(-0.5f, square, tail);
    float y = __builtin_fmaf(exponent, 0x1.62e430p-1f, f + tail);

    uint32_t magnitude = bits & 0x7fffffffu, result = jrl_bits_of_float(y);
    result = jrl_choose(bits == 0x7f800000u, bits, result);
    result = jrl_choose(bits > 0x80000000u, 0x7fc00000u, result);
    result = jrl_choose(magnitude < 0x00800000u, 0xff800000u, result);
    return jrl_float_of_bits(jrl_choose(magnitude > 0x7f800000u, bits | 0x00400000u, result));
}

#endif
