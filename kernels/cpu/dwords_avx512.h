/* dwords_avx512.h - tiles of 16 x 16 words of 32 bits, transposed and taken apart; masks. For files compiled for AVX-512. */
#ifndef JRL_KERNELS_CPU_DWORDS_AVX512_H
#define JRL_KERNELS_CPU_DWORDS_AVX512_H

#include <immintrin.h>
#include <stdint.h>

/* Row r, column c goes to row c, column r: words within quarters, quarters of 64 bits, then the quarters. */
static inline __attribute__((always_inline)) void jrl_transpose_dwords(__m512i r[16])
{
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* r[i + 4 q]: quarter l holds column 4 l + i of rows 4 q .. 4 q + 3 */
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* 16 words of each of 16 rows, transposed: r[i] holds word i of every row. */
static inline __attribute__((always_inline)) void jrl_load_words(__m512i r[16], const char *rows, int64_t row_bytes)
{
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < 16; lane++)
        r[lane] = _mm512_loadu_si512(rows + lane * row_bytes);
    jrl_transpose_dwords(r);
}

/* The bf16 of a word as f32: the one with the even index lies in the lower half. */
static inline __m512 jrl_even_half(__m512i words)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}
static inline __m512 jrl_odd_half(__m512i words)
{
    return _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32((int)0xffff0000)));
}

/* The first N of 32 bf16, zero beyond; n may be any number. */
static inline __mmask32 jrl_first_of_32(int64_t n)
{
    return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1;
}

static inline __mmask16 jrl_first_of_16(int64_t n)
{
    return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

#endif
