/* vec16.h - sixteen f32 lanes as one value, on AVX-512 or as two halves on AVX2, for files compiled for one of
 * them. The operations are those that round once (+ - * / fma), so both give the bits of the plain loops. */
#ifndef JRL_KERNELS_CPU_VEC16_H
#define JRL_KERNELS_CPU_VEC16_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>

#include "kernels/device.h"

#define VEC_FN static inline __attribute__((always_inline))

#if defined(__AVX512F__)

struct vec16 {
    __m512 v;
};

VEC_FN struct vec16 vec_of(__m512 v) { return (struct vec16){ v }; }
VEC_FN struct vec16 vec_set(float x) { return vec_of(_mm512_set1_ps(x)); }
VEC_FN struct vec16 vec_load(const float *p) { return vec_of(_mm512_loadu_ps(p)); }
VEC_FN void vec_store(float *p, struct vec16 a) { _mm512_storeu_ps(p, a.v); }
/* Past the caches; P at 64 bytes. Others see it after a full fence. */
VEC_FN void vec_stream(float *p, struct vec16 a) { _mm512_stream_ps(p, a.v); }
VEC_FN struct vec16 vec_add(struct vec16 a, struct vec16 b) { return vec_of(_mm512_add_ps(a.v, b.v)); }
VEC_FN struct vec16 vec_sub(struct vec16 a, struct vec16 b) { return vec_of(_mm512_sub_ps(a.v, b.v)); }
VEC_FN struct vec16 vec_mul(struct vec16 a, struct vec16 b) { return vec_of(_mm512_mul_ps(a.v, b.v)); }
VEC_FN struct vec16 vec_div(struct vec16 a, struct vec16 b) { return vec_of(_mm512_div_ps(a.v, b.v)); }
VEC_FN struct vec16 vec_fma(struct vec16 a, struct vec16 b, struct vec16 c) { return vec_of(_mm512_fmadd_ps(a.v, b.v, c.v)); }
/* a > b ? a : b in each lane: b when one is NaN */
VEC_FN struct vec16 vec_max(struct vec16 a, struct vec16 b) { return vec_of(_mm512_max_ps(a.v, b.v)); }
/* a < b ? a : b */
VEC_FN struct vec16 vec_min(struct vec16 a, struct vec16 b) { return vec_of(_mm512_min_ps(a.v, b.v)); }
/* a < b ? 0 : x */
VEC_FN struct vec16 vec_zero_below(struct vec16 a, struct vec16 b, struct vec16 x)
{
    return vec_of(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ), x.v));
}
/* y * 2^n for an integer n that keeps the result normal, or makes it infinite */
VEC_FN struct vec16 vec_scale(struct vec16 y, struct vec16 n) { return vec_of(_mm512_scalef_ps(y.v, n.v)); }

VEC_FN __mmask16 vec_mask(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }
/* Lanes from N on: FILL, and zero. */
VEC_FN struct vec16 vec_fill(struct vec16 a, int64_t n, float fill)
{
    return vec_of(_mm512_mask_mov_ps(_mm512_set1_ps(fill), vec_mask(n), a.v));
}
VEC_FN struct vec16 vec_first(struct vec16 a, int64_t n) { return vec_of(_mm512_maskz_mov_ps(vec_mask(n), a.v)); }
/* Lanes FIRST to END, the others zero. */
VEC_FN struct vec16 vec_range(struct vec16 a, int64_t first, int64_t end)
{
    return vec_of(_mm512_maskz_mov_ps((__mmask16)(vec_mask(end) & ~vec_mask(first)), a.v));
}
/* The first N (0 to 16) elements, the other lanes zero. */
VEC_FN struct vec16 vec_load_part(const float *p, int64_t n) { return vec_of(_mm512_maskz_loadu_ps(vec_mask(n), p)); }
VEC_FN void vec_store_part(float *p, struct vec16 a, int64_t n) { _mm512_mask_storeu_ps(p, vec_mask(n), a.v); }

VEC_FN struct vec16 vec_widen(__m256i x)
{
    return vec_of(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)));
}
VEC_FN struct vec16 vec_load_bf16(const jrl_bf16 *p) { return vec_widen(_mm256_loadu_si256((const __m256i *)p)); }
VEC_FN struct vec16 vec_load_part_bf16(const jrl_bf16 *p, int64_t n) { return vec_widen(_mm256_maskz_loadu_epi16(vec_mask(n), p)); }
/* Round to nearest even, NaN to quiet NaN, in the upper half of each lane; the lower half is not cleared. */
VEC_FN __m512i vec_round_bf16(struct vec16 a)
{
    __m512i bits = _mm512_castps_si512(a.v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 is_nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x400000));
}
#if defined(__AVX512BF16__)
/* The instruction flushes denormals: what arithmetic gave has none, and as operands they count as zero. */
VEC_FN __m256i vec_narrow(struct vec16 a) { return (__m256i)_mm512_cvtneps_pbh(a.v); }
#else
VEC_FN __m256i vec_narrow(struct vec16 a) { return _mm512_cvtepi32_epi16(_mm512_srli_epi32(vec_round_bf16(a), 16)); }
#endif
VEC_FN void vec_store_bf16(jrl_bf16 *p, struct vec16 a) { _mm256_storeu_si256((__m256i *)p, vec_narrow(a)); }
VEC_FN void vec_store_part_bf16(jrl_bf16 *p, struct vec16 a, int64_t n) { _mm256_mask_storeu_epi16(p, vec_mask(n), vec_narrow(a)); }
/* The value after rounding to bf16. */
VEC_FN struct vec16 vec_through_bf16(struct vec16 a)
{
    return vec_of(_mm512_castsi512_ps(_mm512_and_si512(vec_round_bf16(a), _mm512_set1_epi32((int)0xffff0000u))));
}
/* Sixteen pairs x0 y0 x1 y1 ... of bf16, or of f32, apart. */
VEC_FN void vec_load_pairs_bf16(struct vec16 *x, struct vec16 *y, const jrl_bf16 *p)
{
    __m512i pairs = _mm512_loadu_si512(p);
    *x = vec_of(_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)));
    *y = vec_of(_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u))));
}
VEC_FN void vec_load_pairs(struct vec16 *x, struct vec16 *y, const float *p)
{
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512 low = _mm512_loadu_ps(p), high = _mm512_loadu_ps(p + 16);
    *x = vec_of(_mm512_permutex2var_ps(low, even, high));
    *y = vec_of(_mm512_permutex2var_ps(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high));
}
VEC_FN __m256 vec_low(struct vec16 a) { return _mm512_castps512_ps256(a.v); }
VEC_FN __m256 vec_high(struct vec16 a) { return _mm512_extractf32x8_ps(a.v, 1); }

#else

struct vec16 {
    __m256 low, high;
};

VEC_FN struct vec16 vec_of(__m256 low, __m256 high) { return (struct vec16){ low, high }; }
VEC_FN struct vec16 vec_set(float x) { return vec_of(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
VEC_FN struct vec16 vec_load(const float *p) { return vec_of(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
VEC_FN void vec_store(float *p, struct vec16 a)
{
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
VEC_FN void vec_stream(float *p, struct vec16 a)
{
    _mm256_stream_ps(p, a.low);
    _mm256_stream_ps(p + 8, a.high);
}
VEC_FN struct vec16 vec_add(struct vec16 a, struct vec16 b) { return vec_of(_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)); }
VEC_FN struct vec16 vec_sub(struct vec16 a, struct vec16 b) { return vec_of(_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)); }
VEC_FN struct vec16 vec_mul(struct vec16 a, struct vec16 b) { return vec_of(_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)); }
VEC_FN struct vec16 vec_div(struct vec16 a, struct vec16 b) { return vec_of(_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)); }
VEC_FN struct vec16 vec_fma(struct vec16 a, struct vec16 b, struct vec16 c)
{
    return vec_of(_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high));
}
/* a > b ? a : b in each lane: b when one is NaN */
VEC_FN struct vec16 vec_max(struct vec16 a, struct vec16 b) { return vec_of(_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)); }
/* a < b ? a : b */
VEC_FN struct vec16 vec_min(struct vec16 a, struct vec16 b) { return vec_of(_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)); }
/* a < b ? 0 : x */
VEC_FN struct vec16 vec_zero_below(struct vec16 a, struct vec16 b, struct vec16 x)
{
    return vec_of(_mm256_and_ps(_mm256_cmp_ps(a.low, b.low, _CMP_NLT_UQ), x.low),
                  _mm256_and_ps(_mm256_cmp_ps(a.high, b.high, _CMP_NLT_UQ), x.high));
}
/* y * 2^n for an integer n that keeps the result normal, or makes it infinite: in two halves, for 2^128 has no float */
VEC_FN __m256 vec_scale_half(__m256 y, __m256 n)
{
    __m256i exponent = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(exponent, 1), bias = _mm256_set1_epi32(127);
    __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(exponent, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(y, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
VEC_FN struct vec16 vec_scale(struct vec16 y, struct vec16 n)
{
    return vec_of(vec_scale_half(y.low, n.low), vec_scale_half(y.high, n.high));
}

VEC_FN __m256i vec_mask_half(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n > 8 ? 8 : n)), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}
/* Lanes from N on: FILL, and zero. */
VEC_FN struct vec16 vec_fill(struct vec16 a, int64_t n, float fill)
{
    __m256 other = _mm256_set1_ps(fill);
    return vec_of(_mm256_blendv_ps(other, a.low, _mm256_castsi256_ps(vec_mask_half(n))),
                  _mm256_blendv_ps(other, a.high, _mm256_castsi256_ps(vec_mask_half(n - 8))));
}
VEC_FN struct vec16 vec_first(struct vec16 a, int64_t n) { return vec_fill(a, n, 0.0f); }
/* Lanes FIRST to END, the others zero. */
VEC_FN struct vec16 vec_range(struct vec16 a, int64_t first, int64_t end)
{
    const struct vec16 before_end = vec_first(a, end);
    return vec_of(_mm256_andnot_ps(_mm256_castsi256_ps(vec_mask_half(first)), before_end.low),
                  _mm256_andnot_ps(_mm256_castsi256_ps(vec_mask_half(first - 8)), before_end.high));
}
/* The first N (0 to 16) elements, the other lanes zero. Masked stores take some 20 operations on an AMD. */
VEC_FN struct vec16 vec_load_part(const float *p, int64_t n)
{
    if (n == 16)
        return vec_load(p);
    return vec_of(_mm256_maskload_ps(p, vec_mask_half(n)), _mm256_maskload_ps(p + 8, vec_mask_half(n - 8)));
}
VEC_FN void vec_store_part(float *p, struct vec16 a, int64_t n)
{
    if (n == 16) {
        vec_store(p, a);
    } else {
        _mm256_maskstore_ps(p, vec_mask_half(n), a.low);
        _mm256_maskstore_ps(p + 8, vec_mask_half(n - 8), a.high);
    }
}

VEC_FN __m256 vec_widen_half(__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); }
VEC_FN struct vec16 vec_load_bf16(const jrl_bf16 *p)
{
    return vec_of(vec_widen_half(_mm_loadu_si128((const __m128i *)p)), vec_widen_half(_mm_loadu_si128((const __m128i *)(p + 8))));
}
VEC_FN struct vec16 vec_load_part_bf16(const jrl_bf16 *p, int64_t n)
{
    jrl_bf16 copy[16] = { 0 };
    if (n == 16)
        return vec_load_bf16(p);
    for (int64_t i = 0; i < n; i++)
        copy[i] = p[i];
    return vec_load_bf16(copy);
}
/* Round to nearest even, NaN to quiet NaN, in the upper half of each lane; the lower half is not cleared. */
VEC_FN __m256i vec_round_half(__m256 a)
{
    __m256i bits = _mm256_castps_si256(a);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)));
}
VEC_FN __m256i vec_narrow(struct vec16 a)
{
    __m256i low = _mm256_srli_epi32(vec_round_half(a.low), 16), high = _mm256_srli_epi32(vec_round_half(a.high), 16);
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
}
VEC_FN void vec_store_bf16(jrl_bf16 *p, struct vec16 a) { _mm256_storeu_si256((__m256i *)p, vec_narrow(a)); }
VEC_FN void vec_store_part_bf16(jrl_bf16 *p, struct vec16 a, int64_t n)
{
    jrl_bf16 copy[16];
    vec_store_bf16(n == 16 ? p : copy, a);
    for (int64_t i = 0; i < n % 16; i++)
        p[i] = copy[i];
}
/* The value after rounding to bf16. */
VEC_FN struct vec16 vec_through_bf16(struct vec16 a)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    return vec_of(_mm256_castsi256_ps(_mm256_and_si256(vec_round_half(a.low), upper)),
                  _mm256_castsi256_ps(_mm256_and_si256(vec_round_half(a.high), upper)));
}
/* Sixteen pairs x0 y0 x1 y1 ... of bf16, or of f32, apart. */
VEC_FN void vec_load_pairs_bf16(struct vec16 *x, struct vec16 *y, const jrl_bf16 *p)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    __m256i low = _mm256_loadu_si256((const __m256i *)p), high = _mm256_loadu_si256((const __m256i *)(p + 16));
    *x = vec_of(_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(high, 16)));
    *y = vec_of(_mm256_castsi256_ps(_mm256_and_si256(low, upper)), _mm256_castsi256_ps(_mm256_and_si256(high, upper)));
}
VEC_FN void vec_load_pairs_half(__m256 *x, __m256 *y, const float *p)
{
    __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
    *x = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88)), 0xd8));
    *y = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd)), 0xd8));
}
VEC_FN void vec_load_pairs(struct vec16 *x, struct vec16 *y, const float *p)
{
    vec_load_pairs_half(&x->low, &y->low, p);
    vec_load_pairs_half(&x->high, &y->high, p + 16);
}
VEC_FN __m256 vec_low(struct vec16 a) { return a.low; }
VEC_FN __m256 vec_high(struct vec16 a) { return a.high; }

#endif

VEC_FN struct vec16 vec_zero(void) { return vec_set(0.0f); }

/* The contract's tree (lanes.h): halves are added until one lane is left. */
VEC_FN float vec_sum(struct vec16 a)
{
    __m256 eight = _mm256_add_ps(vec_low(a), vec_high(a));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
VEC_FN float vec_largest(struct vec16 a)
{
    __m256 eight = _mm256_max_ps(vec_low(a), vec_high(a));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* jrl_expf in every lane: the same operations as jrl_expf_inline (vmath_inline.h). */
VEC_FN struct vec16 vec_exp(struct vec16 x)
{
    const struct vec16 round = vec_set(0x1.8p23f);
    struct vec16 bounded = vec_min(vec_set(89.0f), vec_max(vec_set(-88.0f), x));
    struct vec16 n = vec_sub(vec_fma(bounded, vec_set(0x1.715476p0f), round), round);
    struct vec16 r = vec_fma(n, vec_set(-0x1.62e430p-1f), bounded);
    r = vec_fma(n, vec_set(0x1.05c610p-29f), r);

    struct vec16 p = vec_fma(vec_set(0x1.6db664p-10f), r, vec_set(0x1.123d02p-7f));
    p = vec_fma(p, r, vec_set(0x1.55545cp-5f));
    p = vec_fma(p, r, vec_set(0x1.55548cp-3f));
    p = vec_fma(p, r, vec_set(0.5f));
    p = vec_fma(p, r, vec_set(1.0f));
    return vec_zero_below(x, vec_set(-87.3365f), vec_scale(vec_fma(p, r, vec_set(1.0f)), n));
}

VEC_FN struct vec16 vec_sigmoid(struct vec16 x)
{
    const struct vec16 one = vec_set(1.0f);
    return vec_div(one, vec_add(one, vec_exp(vec_mul(x, vec_set(-1.0f)))));
}
VEC_FN struct vec16 vec_silu_times(struct vec16 gate, struct vec16 up)
{
    return vec_mul(vec_mul(gate, vec_sigmoid(gate)), up);
}

#endif
