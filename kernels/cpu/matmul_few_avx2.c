/* matmul_few_avx2.c - products of bf16 with few rows of A on AVX2. Up to three rows are bound by reading the weights: lanes are eight
 * rows of a weight, used from end to end before the next, whose words are transposed in registers, four at a time, and sums stay there. */
#include "kernels/cpu/matmul_few_words.h"

const struct few_kernel jrl_few_avx2 = FEW_WORDS_KERNEL;

#define LANES 8
#define MOST_ROWS 3

/* Eight rows of a weight, or fewer. */
struct lanes {
    const char *rows;
    int64_t row_bytes, n;
};

/* sums[row] += one block, from AT on. */
WORDS_FN void add_block(__m256 *sums, const float *a, const char *at, int64_t row_bytes, const int rows)
{
    __m256 even[MOST_ROWS], odd[MOST_ROWS];

#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
        even[r] = odd[r] = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int word = 0; word < 16; word += 4) {
        __m256i words[4];

        words_transpose_corner(words, at + 4 * word, row_bytes);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const __m256 b_even = words_even(words[i]), b_odd = words_odd(words[i]);
#pragma GCC unroll 3
            for (int r = 0; r < rows; r++) {
                const float *x = a + r * WORDS_PACKED_ROW + 2 * (word + i);
                even[r] = _mm256_fmadd_ps(_mm256_set1_ps(x[0]), b_even, even[r]);
                odd[r] = _mm256_fmadd_ps(_mm256_set1_ps(x[1]), b_odd, odd[r]);
            }
        }
    }
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
        sums[r] = _mm256_add_ps(sums[r], _mm256_add_ps(even[r], odd[r]));
}

/* to[row][STRIP_ROWS] += eight rows of a weight times all rows of A. */
WORDS_FN void add_lanes(const struct few *f, const struct lanes *l, float *to, const float *a, struct few_ahead *ahead, const int rows)
{
    char copies[LANES][64] __attribute__((aligned(64)));
    __m256 sums[MOST_ROWS];

#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
        sums[r] = _mm256_loadu_ps(to + r * STRIP_ROWS);
    for (int64_t block = 0; block < f->blocks; block++, a += rows * WORDS_PACKED_ROW) {
        const int64_t k_left = f->k - block * JRL_BLOCK;
        const bool whole = l->n >= LANES && k_left >= JRL_BLOCK;

        few_fetch_rows(ahead, LANES);
        for (int64_t i = 0; i < LANES && !whole; i++)
            words_copy_row(copies[i], l->rows + (i < l->n ? i * l->row_bytes + block * 64 : 0), i < l->n ? k_left : 0);
        add_block(sums, a, whole ? l->rows + block * 64 : copies[0], whole ? l->row_bytes : 64, rows);
    }
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
        _mm256_storeu_ps(to + r * STRIP_ROWS, sums[r]);
}

typedef void add_fn(const struct few *f, const struct lanes *l, float *to, const float *a, struct few_ahead *ahead);
static void add_1(const struct few *f, const struct lanes *l, float *to, const float *a, struct few_ahead *ahead) { add_lanes(f, l, to, a, ahead, 1); }
static void add_2(const struct few *f, const struct lanes *l, float *to, const float *a, struct few_ahead *ahead) { add_lanes(f, l, to, a, ahead, 2); }
static void add_3(const struct few *f, const struct lanes *l, float *to, const float *a, struct few_ahead *ahead) { add_lanes(f, l, to, a, ahead, 3); }

static void multiply_fewest(const struct few *f, struct jrl_range strips, const char *packed, struct few_ahead *ahead)
{
    static add_fn *const add_rows[] = { add_1, add_2, add_3 };
    float sums[MOST_ROWS * STRIP_ROWS] __attribute__((aligned(64)));

    for (int64_t i = strips.begin; i < strips.end; i++) {
        const struct few_strip s = few_strip_at(&f->now, i);

        few_load_sums(f, &s, sums);
        for (int half = 0; half < 2; half++)
            for (int64_t at = 0; at < s.rows[half]; at += LANES) {
                const struct lanes l = { s.data[half] + at * s.row_bytes, s.row_bytes, s.rows[half] - at };
                add_rows[f->m - 1](f, &l, sums + half * TILE_ROWS + at, (const float *)packed, ahead);
            }
        if (f->act)
            store_act(f, &s, sums);
        else
            few_store_sums(f, &s, sums);
    }
}

const struct few_kernel jrl_fewest_avx2 = { .rows_a_step = MOST_ROWS, .weights_at_once = LANES, .block_bytes = block_bytes,
                                            .pack_rows = pack_rows, .multiply = multiply_fewest };
