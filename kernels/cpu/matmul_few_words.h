/* matmul_few_words.h - products with few rows of A on AVX-512 and AVX2. Outputs are lanes: sixteen rows of a weight are transposed to
 * a tile of words (words.h), one block of the contracted index at a time, which serves all rows. Written once: matmul_few_avx2.c,
 * matmul_few_avx512.c and matmul_few_avx512bf16.c include this file. Packed A: [block][row] of packed rows. */
#include <string.h>

#include "kernels/cpu/few_sums.h"
#include "kernels/cpu/words.h"

static int64_t block_bytes(int64_t rows)
{
    return rows * WORDS_PACKED_ROW * (int64_t)sizeof(words_packed);
}

static void pack_rows(const struct few *f, char *packed)
{
    words_packed *to = (words_packed *)packed;

    for (int64_t k = 0; k < f->k; k += JRL_BLOCK)
        for (int64_t i = 0; i < f->m; i++, to += WORDS_PACKED_ROW)
            words_pack_part(to, f->a + i * f->lda + k, f->k - k);
}

/* A tile of a strip: in place, or one block of it copied and filled up with zeros. */
struct tile {
    const char *rows;
    int64_t row_bytes;
};

static struct tile tile_at(char copy[TILE_ROWS][64], const struct few_strip *s, int half, int64_t block, int64_t k_left)
{
    const char *rows = s->data[half] + block * 64;

    if (s->rows[half] == TILE_ROWS && k_left >= JRL_BLOCK)
        return (struct tile){ rows, s->row_bytes };
    memset(copy, 0, TILE_ROWS * 64);
    for (int64_t i = 0; i < s->rows[half]; i++)
        words_copy_row(copy[i], rows + i * s->row_bytes, k_left);
    return (struct tile){ copy[0], 64 };
}

/* sums[row][STRIP_ROWS] += all rows of one block times a tile. A function of its own: inlined for both tiles of a strip, gcc
 * would keep A's broadcasts for the second and spill. */
static __attribute__((noinline)) void add_tile(float *sums, const words_packed *a, struct tile tile, int64_t rows)
{
    words_tile words;

    words_load(words, tile.rows, tile.row_bytes);
    words_add(sums, STRIP_ROWS, false, a, WORDS_PACKED_ROW, words, rows);
}

static void add_strip(const struct few *f, const struct few_strip *s, float *sums, const words_packed *a, struct few_ahead *ahead)
{
    char copies[2][TILE_ROWS][64] __attribute__((aligned(64)));

    for (int64_t block = 0; block < f->blocks; block++, a += f->m * WORDS_PACKED_ROW) {
        const int64_t k_left = f->k - block * JRL_BLOCK;
        const struct tile tiles[2] = { tile_at(copies[0], s, 0, block, k_left), tile_at(copies[1], s, 1, block, k_left) };
        for (int half = 0; half < 2; half++) {
            few_fetch(ahead, 2 * half);
            few_fetch(ahead, 2 * half + 1);
            add_tile(sums + half * TILE_ROWS, a, tiles[half], f->m);
        }
        few_fetched(ahead);
    }
}

/* The activation of 16 columns: strips of gate and up are 16 rows of each, two of them make a block of the next product. */
static void store_act(const struct few *f, const struct few_strip *s, const float *sums)
{
    words_packed *act = (words_packed *)(f->act + s->row / JRL_BLOCK * f->block_bytes);

    for (int64_t i = 0; i < f->m; i++, sums += STRIP_ROWS, act += WORDS_PACKED_ROW)
        words_pack_half(act, s->row % JRL_BLOCK / 16, vec_silu_times(vec_load(sums), vec_load(sums + TILE_ROWS)));
}

static void multiply(const struct few *f, struct jrl_range strips, const char *packed, struct few_ahead *ahead)
{
    float sums[JRL_FEW_ROWS * STRIP_ROWS] __attribute__((aligned(64)));
    const words_packed *a = (const words_packed *)packed;

    for (int64_t i = strips.begin; i < strips.end; i++) {
        const struct few_strip s = few_strip_at(&f->now, i);
        few_load_sums(f, &s, sums);
        add_strip(f, &s, sums, a, ahead);
        if (f->act)
            store_act(f, &s, sums);
        else
            few_store_sums(f, &s, sums);
    }
}

#define FEW_WORDS_KERNEL { .rows_a_step = JRL_FEW_ROWS, .block_bytes = block_bytes, .pack_rows = pack_rows, .multiply = multiply }
