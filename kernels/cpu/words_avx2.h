/* words_avx2.h - words (words.h) on AVX2, widened to f32: a tile is [32 elements][16 outputs], a packed row of A 32 f32 in order. */
#ifndef JRL_KERNELS_CPU_WORDS_AVX2_H
#define JRL_KERNELS_CPU_WORDS_AVX2_H

#include <string.h>

#include "kernels/cpu/vec16.h"

#define WORDS_ROWS 3 /* at a time: 12 chains, two vectors of a tile, one broadcast */

typedef float words_tile[32 * 16] __attribute__((aligned(64)));
typedef float words_packed;
enum { WORDS_PACKED_ROW = 32 };

/* Four words of each of eight rows, transposed: words[i] holds word i of every row. */
WORDS_FN void words_transpose_corner(__m256i words[4], const char *rows, int64_t row_bytes)
{
    __m256i r[4], t[4];

#pragma GCC unroll 4
    for (int64_t i = 0; i < 4; i++)
        r[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(rows + i * row_bytes))),
                                       _mm_loadu_si128((const __m128i *)(rows + (i + 4) * row_bytes)), 1);
#pragma GCC unroll 2
    for (int i = 0; i < 4; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        words[2 * i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        words[2 * i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    }
}

/* The elements of words, widened: the earlier one lies below. */
WORDS_FN __m256 words_even(__m256i words) { return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16)); }
WORDS_FN __m256 words_odd(__m256i words) { return _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32((int)0xffff0000u))); }

WORDS_FN void words_load_corner(float *to, const char *rows, int64_t row_bytes)
{
    __m256i words[4];

    words_transpose_corner(words, rows, row_bytes);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + 32 * i, words_even(words[i]));
        _mm256_storeu_ps(to + 32 * i + 16, words_odd(words[i]));
    }
}

WORDS_FN void words_load(words_tile words, const char *rows, int64_t row_bytes)
{
#pragma GCC unroll 2
    for (int64_t half = 0; half < 2; half++)
#pragma GCC unroll 4
        for (int64_t word = 0; word < 16; word += 4)
            words_load_corner(words + word * 32 + half * 8, rows + half * 8 * row_bytes + word * 4, row_bytes);
}

WORDS_FN void words_load_across(words_tile words, const char *x, int64_t ld)
{
    for (int64_t k = 0; k < 32; k++)
        vec_store(words + 16 * k, vec_load_bf16((const jrl_bf16 *)(x + k * ld)));
}

WORDS_FN void words_load_pairs(words_tile words, const char *x, int64_t ld)
{
    for (int64_t i = 0; i < 16; i++) {
        struct vec16 even, odd;
        vec_load_pairs_bf16(&even, &odd, (const jrl_bf16 *)(x + i * ld));
        vec_store(words + 32 * i, even);
        vec_store(words + 32 * i + 16, odd);
    }
}

WORDS_FN void words_store(words_tile to, const words_tile words) { memcpy(to, words, sizeof(words_tile)); }

WORDS_FN void words_copy_row(char *to, const char *x, int64_t n)
{
    memset(to, 0, 64);
    memcpy(to, x, n >= 32 ? 64 : n <= 0 ? 0 : (size_t)n * 2);
}

WORDS_FN void words_pack_row(words_packed *to, const jrl_bf16 *x)
{
    vec_store(to, vec_load_bf16(x));
    vec_store(to + 16, vec_load_bf16(x + 16));
}

WORDS_FN void words_pack_part(words_packed *to, const jrl_bf16 *x, int64_t n)
{
    jrl_bf16 copy[32];

    if (n < 32)
        words_copy_row((char *)copy, (const char *)x, n);
    words_pack_row(to, n < 32 ? copy : x);
}

WORDS_FN void words_pack_pairs(words_packed *even_row, words_packed *odd_row, const jrl_bf16 *pairs)
{
    for (int64_t i = 0; i < 32; i += 16) {
        struct vec16 even, odd;
        vec_load_pairs_bf16(&even, &odd, pairs + 2 * i);
        vec_store(even_row + i, even);
        vec_store(odd_row + i, odd);
    }
}

WORDS_FN void words_pack_in_place(float *row) { (void)row; }
WORDS_FN void words_pack_half(words_packed *to, int64_t half, struct vec16 x) { vec_store(to + 16 * half, vec_through_bf16(x)); }

/* Eight rows of sixteen elements, transposed within the halves of a register: column i below, column i + 8 above. */
WORDS_FN void transpose_halves(__m256i r[8])
{
    __m256i t[8];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* rows 4 (i / 2) .. + 3, columns 4 (i % 2) .. + 3 */
        r[2 * i] = _mm256_unpacklo_epi32(t[i / 2 * 4 + i % 2], t[i / 2 * 4 + i % 2 + 2]);
        r[2 * i + 1] = _mm256_unpackhi_epi32(t[i / 2 * 4 + i % 2], t[i / 2 * 4 + i % 2 + 2]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_epi64(r[i], r[i + 4]);
        t[2 * i + 1] = _mm256_unpackhi_epi64(r[i], r[i + 4]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
}

WORDS_FN void words_pack_across(words_packed *to, const char *x, int64_t ld)
{
    for (int64_t k = 0; k < 32; k += 8) {
        __m256i r[8];
#pragma GCC unroll 8
        for (int64_t i = 0; i < 8; i++)
            r[i] = _mm256_loadu_si256((const __m256i *)(x + (k + i) * ld));
        transpose_halves(r);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            _mm256_storeu_ps(to + i * WORDS_PACKED_ROW + k, vec_widen_half(_mm256_castsi256_si128(r[i])));
            _mm256_storeu_ps(to + (i + 8) * WORDS_PACKED_ROW + k, vec_widen_half(_mm256_extracti128_si256(r[i], 1)));
        }
    }
}

/* ROWS is a constant wherever this is inlined. */
WORDS_FN void words_add_rows(float *sums, int64_t ld, bool from_zero, const words_packed *a, int64_t lda, const words_tile words, const int rows)
{
    struct vec16 even[WORDS_ROWS], odd[WORDS_ROWS];

#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
        even[r] = odd[r] = vec_zero();
    for (int64_t k = 0; k < 32; k += 2) {
        struct vec16 x = vec_load(words + 16 * k);
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++)
            even[r] = vec_fma(vec_set(a[r * lda + k]), x, even[r]);
        x = vec_load(words + 16 * k + 16);
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++)
            odd[r] = vec_fma(vec_set(a[r * lda + k + 1]), x, odd[r]);
    }
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
        vec_store(sums + r * ld, vec_add(from_zero ? vec_zero() : vec_load(sums + r * ld), vec_add(even[r], odd[r])));
}

WORDS_FN void words_add(float *sums, int64_t ld, bool from_zero, const words_packed *a, int64_t lda, const words_tile words, int64_t rows)
{
    for (; rows >= WORDS_ROWS; rows -= WORDS_ROWS, sums += WORDS_ROWS * ld, a += WORDS_ROWS * lda)
        words_add_rows(sums, ld, from_zero, a, lda, words, WORDS_ROWS);
    if (rows == 2)
        words_add_rows(sums, ld, from_zero, a, lda, words, 2);
    if (rows == 1)
        words_add_rows(sums, ld, from_zero, a, lda, words, 1);
}

WORDS_FN void words_add_stored(float *sums, int64_t ld, bool from_zero, const words_packed *a, int64_t lda, const words_tile tile, int64_t rows)
{
    words_add(sums, ld, from_zero, a, lda, tile, rows);
}

#endif
