/* dwords_avx512.h - tiles of 16 x 16 words of 32 bits, transposed; masks. For files compiled for AVX-512. */
#ifndef JRL_KERNELS_CPU_DWORDS_AVX512_H
#define JRL_KERNELS_CPU_DWORDS_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

/* The rest of a transposition, when the words of two rows have been unpacked: t[i] and t[i + 1], i even, hold the low and the
 * high words of each quarter of rows i and i + 1, turn about. Pairs of words within quarters, then the quarters. */
static inline __attribute__((always_inline)) void jrl_transpose_unpacked(__m512i r[16], __m512i t[16])
{
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

/* Row r, column c goes to row c, column r. */
static inline __attribute__((always_inline)) void jrl_transpose_dwords(__m512i r[16])
{
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    jrl_transpose_unpacked(r, t);
}

/* 16 words of each of 16 rows, transposed: r[i] holds word i of every row. */
static inline __attribute__((always_inline)) void jrl_load_words(__m512i r[16], const char *rows, int64_t row_bytes)
{
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < 16; lane++)
        r[lane] = _mm512_loadu_si512(rows + lane * row_bytes);
    jrl_transpose_dwords(r);
}

/* Sixteen bf16 of each of two rows, as words: those of LOW below, of HIGH above. */
static inline __attribute__((always_inline)) __m512i jrl_pairs_of_rows(const char *low, const char *high)
{
    const __m512i turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4,
                                           19, 3, 18, 2, 17, 1, 16, 0);
    const __m256i lower = _mm256_loadu_si256((const __m256i *)low), upper = _mm256_loadu_si256((const __m256i *)high);
    return _mm512_permutexvar_epi16(turns, _mm512_inserti64x4(_mm512_castsi256_si512(lower), upper, 1));
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
