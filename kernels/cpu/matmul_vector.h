/* matmul_vector.h - the micro-kernel for vectors of f32, written once; matmul_avx2.c and matmul_avx512.c define
 * what follows and include it.
 *   LANES       outputs in a vector                 ROWS  rows of A in a strip
 *   vector      the type                            FMA(a, b, c), BROADCAST(pointer), LOAD, STORE, ADD, ZERO
 *   lanes_from_rows(out, p, j, k)                   LANES columns of B whose k lie together, transposed
 * Packed A: [ROWS][MAX_BLOCKS * 32] f32. Packed B: [k][2 * LANES] f32. */
#include <string.h>

#include "kernels/cpu/matmul_cpu.h"

#define MAX_BLOCKS 12
#define STRIDE (MAX_BLOCKS * JRL_BLOCK + 16) /* of packed A; not a multiple of 4 KiB */
#define GROUP (2 * LANES)

static void pack_strip(void *packed, const struct jrl_product *p, int64_t i, int64_t rows, int64_t k, int64_t blocks)
{
    float *to = packed;
    const float *a = p->a;
    int64_t n = p->k - k < blocks * JRL_BLOCK ? p->k - k : blocks * JRL_BLOCK;
    if (p->a_step == 1) {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t step = 0; step < n; step++)
                to[r * STRIDE + step] = a[(i + r) * p->a_row + k + step];
    } else {
        for (int64_t step = 0; step < n; step++)
            for (int64_t r = 0; r < rows; r++)
                to[r * STRIDE + step] = a[i + r + (k + step) * p->a_step];
    }
    for (int64_t r = 0; r < rows; r++)
        memset(to + r * STRIDE + n, 0, (size_t)(blocks * JRL_BLOCK - n) * sizeof(float));
}

/* B with k along its rows: whole blocks through the transposing unit, the rest one by one. */
static void pack_group(void *packed, const struct jrl_product *p, int64_t j, int64_t columns, int64_t k, int64_t blocks)
{
    float *to = packed;
    const float *b = p->b;
    int64_t n = p->k - k < blocks * JRL_BLOCK ? p->k - k : blocks * JRL_BLOCK, step = 0;
    if (p->b_step == 1 && columns == GROUP) {
        for (; step + JRL_BLOCK <= n; step += JRL_BLOCK)
            for (int half = 0; half < 2; half++)
                lanes_from_rows(to + step * GROUP + half * LANES, p, j + half * LANES, k + step);
    }
    if (p->b_step == 1) {
        memset(to + step * GROUP, 0, (size_t)(blocks * JRL_BLOCK - step) * GROUP * sizeof(float));
        for (int64_t column = 0; column < columns; column++)
            for (int64_t s = step; s < n; s++)
                to[s * GROUP + column] = b[(j + column) * p->b_column + k + s];
        return;
    }
    if (columns < GROUP)
        memset(to, 0, (size_t)(blocks * JRL_BLOCK) * GROUP * sizeof(float));
    if (columns == GROUP) {
        for (; step < n; step++)
            for (int64_t column = 0; column < GROUP; column++)
                to[step * GROUP + column] = b[(k + step) * p->b_step + j + column];
    } else {
        for (; step < n; step++)
            for (int64_t column = 0; column < columns; column++)
                to[step * GROUP + column] = b[(k + step) * p->b_step + j + column];
    }
    memset(to + n * GROUP, 0, (size_t)(blocks * JRL_BLOCK - n) * GROUP * sizeof(float));
}

/* ROWS_HERE is a constant wherever this is inlined, so that all chains stay in registers; C is touched once
 * in 32 steps. */
static inline __attribute__((always_inline)) void multiply_rows(float *c, int64_t ldc, bool from_zero, const int rows_here,
                                                                const float *a, const float *b, int64_t blocks)
{
    for (int64_t block = 0; block < blocks; block++, a += JRL_BLOCK, b += JRL_BLOCK * GROUP) {
        vector even[ROWS][2], odd[ROWS][2];
#pragma GCC unroll 8
        for (int r = 0; r < rows_here; r++)
            even[r][0] = even[r][1] = odd[r][0] = odd[r][1] = ZERO;
        for (int k = 0; k < JRL_BLOCK; k += 2) {
            vector b0 = LOAD(b + k * GROUP), b1 = LOAD(b + k * GROUP + LANES);
#pragma GCC unroll 8
            for (int r = 0; r < rows_here; r++) {
                vector x = BROADCAST(a + r * STRIDE + k);
                even[r][0] = FMA(x, b0, even[r][0]);
                even[r][1] = FMA(x, b1, even[r][1]);
            }
            b0 = LOAD(b + (k + 1) * GROUP);
            b1 = LOAD(b + (k + 1) * GROUP + LANES);
#pragma GCC unroll 8
            for (int r = 0; r < rows_here; r++) {
                vector x = BROADCAST(a + r * STRIDE + k + 1);
                odd[r][0] = FMA(x, b0, odd[r][0]);
                odd[r][1] = FMA(x, b1, odd[r][1]);
            }
        }
        bool start = from_zero && block == 0;
#pragma GCC unroll 8
        for (int r = 0; r < rows_here; r++)
            for (int half = 0; half < 2; half++) {
                float *at = c + r * ldc + half * LANES;
                STORE(at, ADD(start ? ZERO : LOAD(at), ADD(even[r][half], odd[r][half])));
            }
    }
}

static void multiply(float *c, int64_t ldc, bool from_zero, int64_t rows, const void *a, const void *b, int64_t blocks)
{
    switch (rows) {
    case 1: multiply_rows(c, ldc, from_zero, 1, a, b, blocks); break;
    case 2: multiply_rows(c, ldc, from_zero, 2, a, b, blocks); break;
#if ROWS > 3
    case 3: multiply_rows(c, ldc, from_zero, 3, a, b, blocks); break;
    case 4: multiply_rows(c, ldc, from_zero, 4, a, b, blocks); break;
    case 5: multiply_rows(c, ldc, from_zero, 5, a, b, blocks); break;
#endif
    default: multiply_rows(c, ldc, from_zero, ROWS, a, b, blocks); break;
    }
}

#define PRODUCT_KERNEL                                                                                            \
    {                                                                                                             \
        .strip = ROWS, .group = GROUP, .max_blocks = MAX_BLOCKS, .panel_bytes = 512 << 10,                                                  \
        .strip_bytes = ROWS * STRIDE * (int64_t)sizeof(float),                                                       \
        .group_block_bytes = JRL_BLOCK * GROUP * (int64_t)sizeof(float), .a_pack_cost = 30, .b_pack_cost = 15,      \
        .pack_a = pack_strip, .pack_b = pack_group, .multiply = multiply,                                            \
    }
