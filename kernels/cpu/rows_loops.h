/* rows_loops.h - the loops behind rows.h, written once: each rows*.c includes this file and is compiled for
 * its instruction set, where the compiler makes vector code of them. No loop sums across elements except
 * square_lanes, whose lanes are part of the contract, so the bits are the same everywhere. */
#include <math.h>

#include "kernels/cpu/rows.h"
#include "kernels/cpu/vmath_inline.h"
#include "kernels/vmath.h"

static void exp_row(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = jrl_expf_inline(x[i]);
}

static void log_row(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = jrl_logf_inline(x[i]);
}

static void to_bf16_row(jrl_bf16 *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = jrl_f32_to_bf16(x[i]);
}

static void from_bf16_row(float *restrict y, const jrl_bf16 *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = jrl_bf16_to_f32(x[i]);
}

/* Exact, denormals of f16 included, which are normal as f32: their integer times 2^-24. */
static void from_f16_row(float *restrict y, const uint16_t *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t magnitude = x[i] & 0x7fffu, sign = (uint32_t)(x[i] & 0x8000u) << 16;
        uint32_t denormal = jrl_bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
        uint32_t normal = (magnitude << 13) + (112u << 23);
        uint32_t special = (magnitude << 13) | 0x7f800000u;
        special |= jrl_choose(magnitude > 0x7c00u, 0x00400000u, 0);
        uint32_t bits = jrl_choose(magnitude < 0x0400u, denormal, jrl_choose(magnitude < 0x7c00u, normal, special));
        y[i] = jrl_float_of_bits(bits | sign);
    }
}

static void add_row(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void adamw_row(const struct jrl_adamw_scalars *s, float *restrict master, float *restrict m, float *restrict v,
                      const float *restrict grad, int64_t n)
{
    const struct jrl_adamw_scalars c = *s;
    for (int64_t i = 0; i < n; i++) {
        float g = grad[i] * c.grad_scale;
        float mean = m[i] + (g - m[i]) * c.one_minus_beta1;
        float square = v[i] * c.beta2 + g * g * c.one_minus_beta2;
        m[i] = mean;
        v[i] = square;
        master[i] = master[i] * c.decay - c.step_size * mean / (sqrtf(square) / c.sqrt_correction2 + c.eps);
    }
}

static void square_lanes_row(double lanes[JRL_NORM_LANES], const float *x, int64_t n)
{
    double sum[JRL_NORM_LANES] = { 0 };
    int64_t i = 0;
    for (; i + JRL_NORM_LANES <= n; i += JRL_NORM_LANES)
        for (int lane = 0; lane < JRL_NORM_LANES; lane++)
            sum[lane] += (double)x[i + lane] * (double)x[i + lane];
    for (; i < n; i++)
        sum[i % JRL_NORM_LANES] += (double)x[i] * (double)x[i];
    memcpy(lanes, sum, sizeof sum);
}

#define JRL_ROWS_TABLE { exp_row, log_row, to_bf16_row, from_bf16_row, from_f16_row, add_row, adamw_row, square_lanes_row }
