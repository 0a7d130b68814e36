/* matmul_words.h - large products of bf16 with AVX-512 and AVX2: as with few rows, sixteen columns of B are a tile of words (words.h)
 * for all rows of a strip. Written once: matmul_words_avx2.c, matmul_words_avx512.c and matmul_words_avx512bf16.c include this file.
 * Packed A: [block][rows] of packed rows. Packed B: [block] of tiles. */
#include <string.h>

#include "kernels/cpu/matmul_cpu.h"
#include "kernels/cpu/words.h"

#define STRIP 64
#define GROUP 16
#define MAX_BLOCKS 18 /* of a strip: with a panel of B it lies in the second cache */

/* One block of sixteen rows (of A, or columns of B), filled up with zeros: x[row * row_step + k * k_step]. */
static void copy_tile(jrl_bf16 tile[16][JRL_BLOCK], const jrl_bf16 *x, int64_t row_step, int64_t k_step, int64_t rows, int64_t n)
{
    memset(tile, 0, sizeof(jrl_bf16[16][JRL_BLOCK]));
    for (int64_t i = 0; i < rows && i < 16; i++)
        for (int64_t k = 0; k < n && k < JRL_BLOCK; k++)
            tile[i][k] = x[i * row_step + k * k_step];
}

static void pack_a(void *memory, const struct jrl_product *p, int64_t i, int64_t rows, int64_t k, int64_t blocks)
{
    words_packed *to = memory;

    for (; blocks > 0; blocks--, k += JRL_BLOCK)
        for (int64_t r = 0; r < rows; r += 16) {
            const jrl_bf16 *a = (const jrl_bf16 *)p->a + (i + r) * p->a_row + k * p->a_step;
            const int64_t here = rows - r < 16 ? rows - r : 16;
            jrl_bf16 tile[16][JRL_BLOCK] __attribute__((aligned(64)));

            if (p->a_step != 1 && here == 16 && p->k - k >= JRL_BLOCK) {
                words_pack_across(to, (const char *)a, 2 * p->a_step);
            } else {
                const bool in_place = p->a_step == 1 && p->k - k >= JRL_BLOCK;
                if (!in_place)
                    copy_tile(tile, a, p->a_row, p->a_step, here, p->k - k);
                for (int64_t row = 0; row < here; row++)
                    words_pack_row(to + row * WORDS_PACKED_ROW, in_place ? a + row * p->a_row : tile[row]);
            }
            to += here * WORDS_PACKED_ROW;
        }
}

static void pack_b(void *memory, const struct jrl_product *p, int64_t j, int64_t columns, int64_t k, int64_t blocks)
{
    words_tile *to = memory;

    for (; blocks > 0; blocks--, k += JRL_BLOCK, to++) {
        const jrl_bf16 *b = (const jrl_bf16 *)p->b + j * p->b_column + k * p->b_step;
        jrl_bf16 tile[16][JRL_BLOCK] __attribute__((aligned(64)));
        words_tile words;

        if (columns < GROUP || p->k - k < JRL_BLOCK) {
            copy_tile(tile, b, p->b_column, p->b_step, columns, p->k - k);
            words_load(words, (const char *)tile, sizeof tile[0]);
        } else if (p->b_step == 1) {
            words_load(words, (const char *)b, 2 * p->b_column);
        } else {
            words_load_across(words, (const char *)b, 2 * p->b_step);
        }
        words_store(*to, words);
    }
}

/* Sums have a place of their own meanwhile: rows of C may lie in the same few sets of the first cache. */
static void multiply(float *c, int64_t ldc, bool from_zero, int64_t rows, const void *a, const void *b, int64_t blocks)
{
    float sums[STRIP * GROUP] __attribute__((aligned(64)));
    const words_packed *x = a;
    const words_tile *y = b;

    for (int64_t i = 0; i < rows; i++)
        vec_store(sums + i * GROUP, from_zero ? vec_zero() : vec_load(c + i * ldc));
    for (int64_t block = 0; block < blocks; block++, x += rows * WORDS_PACKED_ROW, y++)
        words_add_stored(sums, GROUP, false, x, WORDS_PACKED_ROW, *y, rows);
    for (int64_t i = 0; i < rows; i++)
        vec_store(c + i * ldc, vec_load(sums + i * GROUP));
}

#define WORDS_KERNEL                                                                                                   \
    {                                                                                                                  \
        .strip = STRIP, .group = GROUP, .max_blocks = MAX_BLOCKS, .panel_bytes = 384 << 10,                            \
        .strip_bytes = MAX_BLOCKS * STRIP * WORDS_PACKED_ROW * (int64_t)sizeof(words_packed),                          \
        .group_block_bytes = sizeof(words_tile), .a_pack_cost = 8, .b_pack_cost = 8, .pack_a = pack_a,               \
        .pack_b = pack_b, .multiply = multiply,                                                                        \
    }
