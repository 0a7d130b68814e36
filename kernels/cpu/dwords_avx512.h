/* dwords_avx512.h - tiles of 16 x 16 words of 32 bits: transposed, taken apart, multiplied; masks. For files compiled for
 * AVX-512. */
#ifndef JRL_KERNELS_CPU_DWORDS_AVX512_H
#define JRL_KERNELS_CPU_DWORDS_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
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

/* 32 rows of 16 bf16 each, LD bytes apart, as words: r[i] holds the pairs of rows 2 i and 2 i + 1. */
static inline __attribute__((always_inline)) void jrl_load_pairs(__m512i r[16], const char *x, int64_t ld)
{
    const __m512i turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4,
                                           19, 3, 18, 2, 17, 1, 16, 0);
#pragma GCC unroll 16
    for (int64_t pair = 0; pair < 16; pair++) {
        const __m256i even = _mm256_loadu_si256((const __m256i *)(x + 2 * pair * ld));
        const __m256i odd = _mm256_loadu_si256((const __m256i *)(x + (2 * pair + 1) * ld));
        r[pair] = _mm512_permutexvar_epi16(turns, _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1));
    }
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

/* 32 bf16 as f32. */
static inline void jrl_store_widened(float *to, __m512i x)
{
    _mm512_storeu_si512(to, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(x)), 16));
    _mm512_storeu_si512(to + 16, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1)), 16));
}

#define JRL_WORDS_ROWS 6 /* at a time: 12 chains beside 16 words of a tile */

/* sums[r * ld] += the product of 32 elements of row r of A, f32, with the words of 16 outputs: one block of the contract's
 * order (jrl-numerics(7)). ROWS is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void jrl_add_words_of_rows(float *sums, int64_t ld, bool from_zero, const float *a, int64_t lda,
                                                                        __m512i words[16], const int rows)
{
    __m512 even[JRL_WORDS_ROWS], odd[JRL_WORDS_ROWS];
    const float *row[JRL_WORDS_ROWS];

#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        row[r] = a + r * lda;
        __asm__("" : "+r"(row[r])); /* a register for each, or gcc works out every address by itself and spills them */
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) /* gcc would widen the words once for all rows and lack registers */
        __asm__ volatile("" : "+v"(words[i]));
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        even[r] = odd[r] = _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        const __m512 b_even = jrl_even_half(words[i]), b_odd = jrl_odd_half(words[i]);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            even[r] = _mm512_fmadd_ps(_mm512_set1_ps(row[r][2 * i]), b_even, even[r]);
            odd[r] = _mm512_fmadd_ps(_mm512_set1_ps(row[r][2 * i + 1]), b_odd, odd[r]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        const __m512 before = from_zero ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + r * ld);
        _mm512_storeu_ps(sums + r * ld, _mm512_add_ps(before, _mm512_add_ps(even[r], odd[r])));
    }
}

/* The same for any number of rows. */
static inline __attribute__((always_inline)) void jrl_add_words(float *sums, int64_t ld, bool from_zero, const float *a, int64_t lda,
                                                                __m512i words[16], int64_t rows)
{
    for (; rows >= JRL_WORDS_ROWS; rows -= JRL_WORDS_ROWS, sums += JRL_WORDS_ROWS * ld, a += JRL_WORDS_ROWS * lda)
        jrl_add_words_of_rows(sums, ld, from_zero, a, lda, words, JRL_WORDS_ROWS);
    switch (rows) {
    case 1: jrl_add_words_of_rows(sums, ld, from_zero, a, lda, words, 1); break;
    case 2: jrl_add_words_of_rows(sums, ld, from_zero, a, lda, words, 2); break;
    case 3: jrl_add_words_of_rows(sums, ld, from_zero, a, lda, words, 3); break;
    case 4: jrl_add_words_of_rows(sums, ld, from_zero, a, lda, words, 4); break;
    case 5: jrl_add_words_of_rows(sums, ld, from_zero, a, lda, words, 5); break;
    default: break;
    }
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
