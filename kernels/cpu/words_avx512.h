/* words_avx512.h - words (words.h) in AVX-512's registers, for FMA and for VDPBF16PS, whose files are compiled with AVX512_BF16. That
 * instruction adds the product of the upper halves and then that of the lower ones, each rounded as by fma. So words whose halves are
 * neighbours in a chain of the contract's order (jrl-numerics(7)), the earlier one above, have its bits in half the time:
 *   FMA          word i: elements 2 i below, 2 i + 1 above;         a packed row of A: 32 f32 in order
 *   VDPBF16PS    word i: elements 4 i + 2 below, 4 i above (even chain);
 *                word 8 + i: 4 i + 3 below, 4 i + 1 above (odd);    a packed row of A: the same 16 words */
#ifndef JRL_KERNELS_CPU_WORDS_AVX512_H
#define JRL_KERNELS_CPU_WORDS_AVX512_H

#include "kernels/cpu/dwords_avx512.h"
#include "kernels/cpu/vec16.h"

#define WORDS_ROWS 6 /* at a time: 12 chains beside the 16 words of a tile */

typedef __m512i words_tile[16];

#if defined(__AVX512BF16__)

typedef uint32_t words_packed;
enum { WORDS_PACKED_ROW = 16 };

/* 32 elements in order, as words. */
WORDS_FN __m512i words_of_row(__m512i x)
{
    const __m512i turns = _mm512_set_epi16(29, 31, 25, 27, 21, 23, 17, 19, 13, 15, 9, 11, 5, 7, 1, 3, 28, 30, 24, 26, 20, 22, 16, 18,
                                           12, 14, 8, 10, 4, 6, 0, 2);
    return _mm512_permutexvar_epi16(turns, x);
}

/* 32 elements of each of 16 rows: words[i] holds word i of every row. */
WORDS_FN void words_load(__m512i words[16], const char *rows, int64_t row_bytes)
{
    /* words_of_row for two rows and the first step of a transposition in one */
    const __m512i low = _mm512_set_epi16(53, 55, 21, 23, 49, 51, 17, 19, 37, 39, 5, 7, 33, 35, 1, 3, 52, 54, 20, 22, 48, 50, 16, 18,
                                         36, 38, 4, 6, 32, 34, 0, 2);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(8));
    __m512i t[16];
#pragma GCC unroll 8
    for (int64_t i = 0; i < 16; i += 2) {
        const __m512i row = _mm512_loadu_si512(rows + i * row_bytes), next = _mm512_loadu_si512(rows + (i + 1) * row_bytes);
        t[i] = _mm512_permutex2var_epi16(row, low, next);
        t[i + 1] = _mm512_permutex2var_epi16(row, high, next);
    }
    jrl_transpose_unpacked(words, t);
}

/* Which of 32 rows lies in the lower and the upper half of word I. */
WORDS_FN int words_low(int i) { return i < 8 ? 4 * i + 2 : 4 * (i - 8) + 3; }
WORDS_FN int words_high(int i) { return i < 8 ? 4 * i : 4 * (i - 8) + 1; }

/* Words as pairs of neighbours, the earlier one below, lie in pages of values. */
WORDS_FN void words_from_neighbours(__m512i words[16])
{
    __m512i x[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        x[i] = _mm512_mask_mov_epi16(_mm512_slli_epi32(words[2 * i], 16), 0x55555555u, words[2 * i + 1]);
        x[i + 8] = _mm512_mask_mov_epi16(_mm512_srli_epi32(words[2 * i + 1], 16), 0xaaaaaaaau, words[2 * i]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        words[i] = x[i];
}

/* A row of A from 32 elements in order, and from words. */
WORDS_FN void words_pack(words_packed *to, __m512i x) { _mm512_storeu_si512(to, words_of_row(x)); }
WORDS_FN void words_pack_words(words_packed *to, __m512i words) { _mm512_storeu_si512(to, words); }
/* 32 f32 that are bf16 in value, in the same place. */
WORDS_FN void words_pack_in_place(float *row)
{
    words_pack((words_packed *)row, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(row + 16), _mm512_loadu_ps(row)));
}
/* The first or second sixteen elements of a row, rounded. */
WORDS_FN void words_pack_half(words_packed *to, int64_t half, struct vec16 x)
{
    const __m256i turns = _mm256_set_epi16(13, 15, 9, 11, 5, 7, 1, 3, 12, 14, 8, 10, 4, 6, 0, 2);
    const __m256i words = _mm256_permutexvar_epi16(turns, vec_narrow(x));
    _mm_storeu_si128((__m128i *)(to + 4 * half), _mm256_castsi256_si128(words));
    _mm_storeu_si128((__m128i *)(to + 8 + 4 * half), _mm256_extracti128_si256(words, 1));
}

/* even, odd += the words I of both chains, times those of a row of A. */
WORDS_FN void words_step(__m512 *even, __m512 *odd, const words_packed *row, __m512i words[16], int i)
{
    *even = _mm512_dpbf16_ps(*even, (__m512bh)_mm512_set1_epi32((int)row[i]), (__m512bh)words[i]);
    *odd = _mm512_dpbf16_ps(*odd, (__m512bh)_mm512_set1_epi32((int)row[8 + i]), (__m512bh)words[8 + i]);
}
enum { WORDS_STEPS = 8 };

#else

typedef float words_packed;
enum { WORDS_PACKED_ROW = 32 };

WORDS_FN void words_load(__m512i words[16], const char *rows, int64_t row_bytes) { jrl_load_words(words, rows, row_bytes); }
WORDS_FN int words_low(int i) { return 2 * i; }
WORDS_FN int words_high(int i) { return 2 * i + 1; }
WORDS_FN void words_from_neighbours(__m512i words[16]) { (void)words; }

WORDS_FN void words_pack(words_packed *to, __m512i x)
{
    _mm512_storeu_si512(to, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(x)), 16));
    _mm512_storeu_si512(to + 16, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1)), 16));
}
WORDS_FN void words_pack_words(words_packed *to, __m512i words) { words_pack(to, words); }
WORDS_FN void words_pack_in_place(float *row) { (void)row; }
WORDS_FN void words_pack_half(words_packed *to, int64_t half, struct vec16 x) { vec_store(to + 16 * half, vec_through_bf16(x)); }

WORDS_FN void words_step(__m512 *even, __m512 *odd, const words_packed *row, __m512i words[16], int i)
{
    const __m512 b_even = _mm512_castsi512_ps(_mm512_slli_epi32(words[i], 16));
    const __m512 b_odd = _mm512_castsi512_ps(_mm512_and_si512(words[i], _mm512_set1_epi32((int)0xffff0000)));
    *even = _mm512_fmadd_ps(_mm512_set1_ps(row[2 * i]), b_even, *even);
    *odd = _mm512_fmadd_ps(_mm512_set1_ps(row[2 * i + 1]), b_odd, *odd);
}
enum { WORDS_STEPS = 16 };

#endif

WORDS_FN void words_load_across(__m512i words[16], const char *x, int64_t ld)
{
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        words[i] = jrl_pairs_of_rows(x + words_low(i) * ld, x + words_high(i) * ld);
}

WORDS_FN void words_load_pairs(__m512i words[16], const char *x, int64_t ld)
{
#pragma GCC unroll 16
    for (int64_t i = 0; i < 16; i++)
        words[i] = _mm512_loadu_si512(x + i * ld);
    words_from_neighbours(words);
}

WORDS_FN void words_store(words_tile to, const __m512i words[16])
{
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        _mm512_store_si512(to + i, words[i]);
}

WORDS_FN void words_copy_row(char *to, const char *x, int64_t n)
{
    _mm512_store_si512(to, _mm512_maskz_loadu_epi16(jrl_first_of_32(n), x));
}

WORDS_FN void words_pack_row(words_packed *to, const jrl_bf16 *x) { words_pack(to, _mm512_loadu_si512(x)); }
WORDS_FN void words_pack_part(words_packed *to, const jrl_bf16 *x, int64_t n) { words_pack(to, _mm512_maskz_loadu_epi16(jrl_first_of_32(n), x)); }

WORDS_FN void words_pack_pairs(words_packed *even_row, words_packed *odd_row, const jrl_bf16 *pairs)
{
    const __m512i even = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20, 18, 16,
                                          14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i first = _mm512_loadu_si512(pairs), second = _mm512_loadu_si512(pairs + 32);
    words_pack(even_row, _mm512_permutex2var_epi16(first, even, second));
    words_pack(odd_row, _mm512_permutex2var_epi16(first, _mm512_add_epi16(even, _mm512_set1_epi16(1)), second));
}

WORDS_FN void words_pack_across(words_packed *to, const char *x, int64_t ld)
{
    __m512i r[16];

    words_load_across(r, x, ld);
    jrl_transpose_dwords(r);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        words_pack_words(to + i * WORDS_PACKED_ROW, r[i]);
}

/* ROWS is a constant wherever this is inlined. */
WORDS_FN void words_add_rows(float *sums, int64_t ld, bool from_zero, const words_packed *a, int64_t lda, __m512i words[16], const int rows)
{
    __m512 even[WORDS_ROWS], odd[WORDS_ROWS];
    const words_packed *row[WORDS_ROWS];

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
    for (int i = 0; i < WORDS_STEPS; i++)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            words_step(&even[r], &odd[r], row[r], words, i);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        const __m512 before = from_zero ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + r * ld);
        _mm512_storeu_ps(sums + r * ld, _mm512_add_ps(before, _mm512_add_ps(even[r], odd[r])));
    }
}

WORDS_FN void words_add(float *sums, int64_t ld, bool from_zero, const words_packed *a, int64_t lda, __m512i words[16], int64_t rows)
{
    for (; rows >= WORDS_ROWS; rows -= WORDS_ROWS, sums += WORDS_ROWS * ld, a += WORDS_ROWS * lda)
        words_add_rows(sums, ld, from_zero, a, lda, words, WORDS_ROWS);
    switch (rows) {
    case 1: words_add_rows(sums, ld, from_zero, a, lda, words, 1); break;
    case 2: words_add_rows(sums, ld, from_zero, a, lda, words, 2); break;
    case 3: words_add_rows(sums, ld, from_zero, a, lda, words, 3); break;
    case 4: words_add_rows(sums, ld, from_zero, a, lda, words, 4); break;
    case 5: words_add_rows(sums, ld, from_zero, a, lda, words, 5); break;
    default: break;
    }
}

WORDS_FN void words_add_stored(float *sums, int64_t ld, bool from_zero, const words_packed *a, int64_t lda, const words_tile tile, int64_t rows)
{
    words_tile words;
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        words[i] = _mm512_load_si512(tile + i);
    words_add(sums, ld, from_zero, a, lda, words, rows);
}

#endif
