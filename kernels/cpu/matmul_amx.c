/* matmul_amx.c - the bf16 micro-kernel on AMX tiles, and its packing. TDPBF16PS adds, per output, the even and
 * the odd chain of one block of 32: the contract's order is its order.
 * Packed A, for one block: two tiles of [16 rows][32 k]. Packed B: two tiles of [16 pairs of k][16 columns][2]. */
#include "kernels/cpu/dwords_avx512.h"
#include "kernels/cpu/matmul_cpu.h"
#include "kernels/cpu/tiles_amx.h"

#define MAX_BLOCKS 10 /* a strip and a group, 40 KiB, share a first cache of 48 KiB */

static void begin(void)
{
    jrl_tiles_begin();
}

static void end(void)
{
    jrl_tiles_end();
}

/* 16 rows whose k lie together; rows and k beyond the matrix are zero. */
static inline void load_rows(__m512i r[16], const jrl_bf16 *x, int64_t ld, int64_t rows, int64_t n)
{
    __mmask32 mask = jrl_first_of_32(n);
    for (int64_t i = 0; i < 16; i++)
        r[i] = _mm512_maskz_loadu_epi16(i < rows ? mask : 0, x + (i < rows ? i * ld : 0));
}

/* Rows k and k + 1 of 32 columns as pairs: columns 0..15 in *low, 16..31 in *high. */
static inline void load_pair(__m512i *low, __m512i *high, const jrl_bf16 *x, int64_t ld, int64_t columns, int64_t n)
{
    const __m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4,
                                           35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    __mmask32 mask = jrl_first_of_32(columns);
    __m512i even = _mm512_maskz_loadu_epi16(n > 0 ? mask : 0, x);
    __m512i odd = _mm512_maskz_loadu_epi16(n > 1 ? mask : 0, x + (n > 1 ? ld : 0));
    *low = _mm512_permutex2var_epi16(even, first, odd);
    *high = _mm512_permutex2var_epi16(even, second, odd);
}

/* A whole tile of rows, without masks: the loops are unrolled so that it stays in registers. */
static inline void load_whole_rows(__m512i r[16], const jrl_bf16 *x, int64_t ld)
{
#pragma GCC unroll 16
    for (int64_t i = 0; i < 16; i++)
        r[i] = _mm512_loadu_si512(x + i * ld);
}

static inline void store_tile(char *tile, const __m512i r[16])
{
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        _mm512_store_si512(tile + 64 * i, r[i]);
}

static void pack_a_block(char *to, const struct jrl_product *p, int64_t i, int64_t rows, int64_t k)
{
    const jrl_bf16 *a = p->a;
    __m512i low[16], high[16];
    if (p->a_step == 1) {
        load_rows(low, a + i * p->a_row + k, p->a_row, rows, p->k - k);
        load_rows(high, rows > 16 ? a + (i + 16) * p->a_row + k : a, p->a_row, rows - 16, p->k - k);
    } else {
        for (int64_t pair = 0; pair < 16; pair++) {
            int64_t n = p->k - k - 2 * pair;
            load_pair(&low[pair], &high[pair], n > 0 ? a + (k + 2 * pair) * p->a_step + i : a, p->a_step, rows, n);
        }
        jrl_transpose_dwords(low);
        jrl_transpose_dwords(high);
    }
    store_tile(to, low);
    store_tile(to + TILE_BYTES, high);
}

static inline void load_pairs(__m512i r[16], const jrl_bf16 *x, int64_t ld)
{
#pragma GCC unroll 16
    for (int64_t pair = 0; pair < 16; pair++, x += 2 * ld)
        r[pair] = jrl_pairs_of_rows((const char *)x, (const char *)(x + ld));
}

/* A tile within the matrix: X is its first element, and what does not lie together lies LD apart. */
static inline void pack_whole(char *to, const jrl_bf16 *x, int64_t ld, bool k_together, bool as_pairs)
{
    __m512i r[16];

    if (k_together)
        load_whole_rows(r, x, ld);
    else
        load_pairs(r, x, ld);
    if (k_together == as_pairs)
        jrl_transpose_dwords(r);
    store_tile(to, r);
}

static void pack_a(void *to, const struct jrl_product *p, int64_t i, int64_t rows, int64_t k, int64_t blocks)
{
    const bool together = p->a_step == 1;
    const int64_t ld = together ? p->a_row : p->a_step;
    const jrl_bf16 *a = (const jrl_bf16 *)p->a + (together ? i * ld + k : k * ld + i);

    for (; rows == 32 && blocks > 0 && p->k - k >= JRL_BLOCK; blocks--, k += JRL_BLOCK, a += together ? JRL_BLOCK : JRL_BLOCK * ld) {
        pack_whole(to, a, ld, together, false);
        pack_whole((char *)to + TILE_BYTES, a + 16 * (together ? ld : 1), ld, together, false);
        to = (char *)to + 2 * TILE_BYTES;
    }
    for (int64_t block = 0; block < blocks; block++)
        pack_a_block((char *)to + block * 2 * TILE_BYTES, p, i, rows, k + block * JRL_BLOCK);
}

static void pack_b_block(char *to, const struct jrl_product *p, int64_t j, int64_t columns, int64_t k)
{
    const jrl_bf16 *b = p->b;
    __m512i low[16], high[16];
    if (p->b_step == 1) {
        load_rows(low, b + j * p->b_column + k, p->b_column, columns, p->k - k);
        load_rows(high, columns > 16 ? b + (j + 16) * p->b_column + k : b, p->b_column, columns - 16, p->k - k);
        jrl_transpose_dwords(low);
        jrl_transpose_dwords(high);
    } else {
        for (int64_t pair = 0; pair < 16; pair++) {
            int64_t n = p->k - k - 2 * pair;
            load_pair(&low[pair], &high[pair], n > 0 ? b + (k + 2 * pair) * p->b_step + j : b, p->b_step, columns, n);
        }
    }
    store_tile(to, low);
    store_tile(to + TILE_BYTES, high);
}

static void pack_b(void *to, const struct jrl_product *p, int64_t j, int64_t columns, int64_t k, int64_t blocks)
{
    const bool together = p->b_step == 1;
    const int64_t ld = together ? p->b_column : p->b_step;
    const jrl_bf16 *b = (const jrl_bf16 *)p->b + (together ? j * ld + k : k * ld + j);

    for (; columns == 32 && blocks > 0 && p->k - k >= JRL_BLOCK; blocks--, k += JRL_BLOCK, b += together ? JRL_BLOCK : JRL_BLOCK * ld) {
        pack_whole(to, b, ld, together, true);
        pack_whole((char *)to + TILE_BYTES, b + 16 * (together ? ld : 1), ld, together, true);
        to = (char *)to + 2 * TILE_BYTES;
    }
    for (int64_t block = 0; block < blocks; block++)
        pack_b_block((char *)to + block * 2 * TILE_BYTES, p, j, columns, k + block * JRL_BLOCK);
}

static void multiply(float *c, int64_t ldc, bool from_zero, int64_t rows, const void *a, const void *b, int64_t blocks)
{
    const char *x = a, *y = b;
    (void)rows;
    jrl_memory_is_written();
    if (from_zero) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, c, ldc * 4);
        _tile_loadd(1, c + 16, ldc * 4);
        _tile_loadd(2, c + 16 * ldc, ldc * 4);
        _tile_loadd(3, c + 16 * ldc + 16, ldc * 4);
    }
    for (int64_t block = 0; block < blocks; block++, x += 2 * TILE_BYTES, y += 2 * TILE_BYTES) {
        _tile_loadd(4, x, 64);
        _tile_loadd(6, y, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, y + TILE_BYTES, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, x + TILE_BYTES, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, ldc * 4);
    _tile_stored(1, c + 16, ldc * 4);
    _tile_stored(2, c + 16 * ldc, ldc * 4);
    _tile_stored(3, c + 16 * ldc + 16, ldc * 4);
    jrl_memory_is_written();
}

const struct jrl_product_kernel jrl_product_amx = {
    .strip = 32, .group = 32, .max_blocks = MAX_BLOCKS, .panel_bytes = 1280 << 10, .strip_bytes = MAX_BLOCKS * 2 * TILE_BYTES,
    .group_block_bytes = 2 * TILE_BYTES,
    .a_pack_cost = 100, .b_pack_cost = 130, .begin = begin, .end = end, .pack_a = pack_a, .pack_b = pack_b, .multiply = multiply,
};
