/* matmul_fewer_avx512bf16.c - products of bf16 with up to 32 rows of A by VDPBF16PS. Lanes are rows of A: eight of them, each with the two chains of the
 * contract's order (jrl-numerics(7)) side by side. So four elements of a weight that lie together serve eight rows as one broadcast from the first cache; a row
 * of a weight takes one shuffle for 32 elements, and only the sums are transposed, in the end.
 *   words of 32 elements   word 2 i: elements 4 i + 2 below, 4 i above (even chain); word 2 i + 1: 4 i + 3 below, 4 i + 1 above (odd)
 *   packed A               [block][group of 8 rows][i = 0 .. 7] of a vector: words 2 i and 2 i + 1 of each row
 *   sums of 16 weights     [j = 0 .. 7] of a vector: two rows of A for weight 2 j, the same two for 2 j + 1, then the next two rows ... */
#include <string.h>

#include "kernels/cpu/dwords_avx512.h"
#include "kernels/cpu/few_sums.h"

#define GROUP 8 /* rows of A */
#define VECTORS 8 /* of a group: its packed words of a block; its sums of a tile */
#define MOST_GROUPS 4
#define FN static inline __attribute__((always_inline))

typedef float group_sums[VECTORS][16];

static int64_t groups_of(int64_t rows)
{
    return (rows + GROUP - 1) / GROUP;
}

static int64_t block_bytes(int64_t rows)
{
    return groups_of(rows) * VECTORS * 64;
}

FN __m512i words_of(__m512i x)
{
    const __m512i turns = _mm512_set_epi16(29, 31, 28, 30, 25, 27, 24, 26, 21, 23, 20, 22, 17, 19, 16, 18, 13, 15, 12, 14, 9, 11, 8, 10,
                                           5, 7, 4, 6, 1, 3, 0, 2);
    return _mm512_permutexvar_epi16(turns, x);
}

/* Eight rows of eight elements of 64 bits, transposed. */
FN void transpose_pairs(__m512i r[8])
{
    __m512i t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* quarters of four rows, the even and the odd ones */
        const int a = i % 2 + i / 2 * 4, b = a + 2;
        r[a] = _mm512_shuffle_i64x2(t[a], t[b], 0x88);
        r[b] = _mm512_shuffle_i64x2(t[a], t[b], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i64x2(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i64x2(r[i], r[i + 4], 0xdd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
}

/* The odd lanes of A and the even ones of B change places. */
FN void transpose_lanes(__m512i *a, __m512i *b)
{
    const __m512i x = *a, y = *b;
    *a = _mm512_mask_mov_epi32(x, 0xaaaa, _mm512_slli_epi64(y, 32));
    *b = _mm512_mask_mov_epi32(y, 0x5555, _mm512_srli_epi64(x, 32));
}

static void pack_rows(const struct few *f, char *packed)
{
    for (int64_t k = 0; k < f->k; k += JRL_BLOCK)
        for (int64_t first = 0; first < f->m; first += GROUP, packed += VECTORS * 64) {
            __m512i x[GROUP];

            for (int64_t i = 0; i < GROUP; i++) {
                const __mmask32 there = first + i < f->m ? jrl_first_of_32(f->k - k) : 0;
                x[i] = words_of(_mm512_maskz_loadu_epi16(there, f->a + (there ? (first + i) * f->lda + k : 0)));
            }
            transpose_pairs(x);
            for (int i = 0; i < VECTORS; i++)
                _mm512_store_si512(packed + 64 * i, x[i]);
        }
}

/* chains[weight][group], from zero: one block of N weights, as words, times GROUPS groups of rows. */
FN void run_chains(__m512 *chains, char (*words)[64], const char *a, const int n, const int groups)
{
#pragma GCC unroll 16
    for (int i = 0; i < n * groups; i++)
        chains[i] = _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int k = 0; k < VECTORS; k++) {
        __m512i rows[MOST_GROUPS];
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++) {
            rows[g] = _mm512_load_si512(a + (g * VECTORS + k) * 64);
            __asm__ volatile("" : "+v"(rows[g])); /* once for all weights */
        }
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            long long four;
            memcpy(&four, words[i] + 8 * k, sizeof four);
            __m512i weight = _mm512_set1_epi64(four);
            __asm__("" : "+v"(weight)); /* and this once for all groups */
#pragma GCC unroll 4
            for (int g = 0; g < groups; g++)
                chains[i * groups + g] = _mm512_dpbf16_ps(chains[i * groups + g], (__m512bh)rows[g], (__m512bh)weight);
        }
    }
}

/* sums[pair of weights][group] += even + odd, of one block of N weights. */
FN void add_block(__m512 *sums, const char *a, char (*words)[64], const int n, const int groups)
{
    __m512 chains[16];

    run_chains(chains, words, a, n, groups);
#pragma GCC unroll 4
    for (int i = 0; i < n; i += 2)
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++) {
            const __m512 x = chains[i * groups + g], y = chains[(i + 1) * groups + g];
            __m512 *sum = &sums[i / 2 * groups + g];
            *sum = _mm512_add_ps(*sum, _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x88), _mm512_shuffle_ps(x, y, 0xdd)));
        }
}

/* Up to 16 rows of a weight. */
struct tile {
    const char *rows;
    int64_t row_bytes, n;
};

/* A block of N weights from AT on, filled up with zeros. */
static void copy_block(char (*copy)[64], const struct tile *tile, int64_t at, int64_t block, int64_t k_left, int n)
{
    for (int64_t i = at; i < at + n; i++, copy++) {
        const __mmask32 there = i < tile->n ? jrl_first_of_32(k_left) : 0;
        _mm512_store_si512(*copy, _mm512_maskz_loadu_epi16(there, tile->rows + (there ? i * tile->row_bytes + block * 64 : 0)));
    }
}

/* A block of N weights from AT on, as words; filled up with zeros. */
FN void load_words(char (*words)[64], const struct few *f, const struct tile *tile, int64_t at, int64_t block, const int n)
{
    char copy[8][64] __attribute__((aligned(64)));
    const int64_t k_left = f->k - block * JRL_BLOCK;
    const bool whole = tile->n - at >= n && k_left >= JRL_BLOCK;
    const char *rows = whole ? tile->rows + at * tile->row_bytes + block * 64 : copy[0];
    const int64_t row_bytes = whole ? tile->row_bytes : 64;

    if (!whole)
        copy_block(copy, tile, at, block, k_left, n);
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        _mm512_store_si512(words[i], words_of(_mm512_loadu_si512(rows + i * row_bytes)));
    __asm__ volatile("" : "+r"(words) : : "memory"); /* or gcc broadcasts from registers, by shuffles */
}

/* N weights of a tile from AT on, from end to end. */
FN void add_weights(const struct few *f, const struct tile *tile, int64_t at, group_sums *to, const char *a, struct few_ahead *ahead, const int n, const int groups)
{
    char words[2][8][64] __attribute__((aligned(64)));
    __m512 sums[8];

#pragma GCC unroll 8
    for (int i = 0; i < n / 2 * groups; i++)
        sums[i] = _mm512_load_ps(to[i % groups][at / 2 + i / groups]);
    load_words(words[0], f, tile, at, 0, n);
    for (int64_t block = 0; block < f->blocks; block++, a += f->block_bytes) {
        few_fetch_rows(ahead, n);
        if (block + 1 < f->blocks)
            load_words(words[(block + 1) % 2], f, tile, at, block + 1, n);
        add_block(sums, a, words[block % 2], n, groups);
    }
#pragma GCC unroll 8
    for (int i = 0; i < n / 2 * groups; i++)
        _mm512_store_ps(to[i % groups][at / 2 + i / groups], sums[i]);
}

#define WEIGHTS_OF_FEWEST 8 /* by one group: 8 chains, 4 sums */
#define WEIGHTS 4 /* by two to four: up to 16 chains, 8 sums */
typedef void add_fn(const struct few *f, const struct tile *tile, int64_t at, group_sums *to, const char *a, struct few_ahead *ahead);
static void add_1(const struct few *f, const struct tile *tile, int64_t at, group_sums *to, const char *a, struct few_ahead *ahead)
{
    add_weights(f, tile, at, to, a, ahead, WEIGHTS_OF_FEWEST, 1);
}
static void add_2(const struct few *f, const struct tile *tile, int64_t at, group_sums *to, const char *a, struct few_ahead *ahead)
{
    add_weights(f, tile, at, to, a, ahead, WEIGHTS, 2);
}
static void add_3(const struct few *f, const struct tile *tile, int64_t at, group_sums *to, const char *a, struct few_ahead *ahead)
{
    add_weights(f, tile, at, to, a, ahead, WEIGHTS, 3);
}
static void add_4(const struct few *f, const struct tile *tile, int64_t at, group_sums *to, const char *a, struct few_ahead *ahead)
{
    add_weights(f, tile, at, to, a, ahead, WEIGHTS, 4);
}

/* The sums of a tile as lines of the strip's, and back: each undoes the other. */
static void rows_from_sums(float *rows, group_sums *sums, int64_t groups)
{
    for (int64_t g = 0; g < groups; g++, rows += GROUP * STRIP_ROWS) {
        __m512i x[VECTORS];

        for (int i = 0; i < VECTORS; i++)
            x[i] = _mm512_load_si512(sums[g][i]);
        transpose_pairs(x);
        for (int i = 0; i < GROUP; i += 2)
            transpose_lanes(&x[i], &x[i + 1]);
        for (int i = 0; i < GROUP; i++)
            _mm512_store_si512(rows + i * STRIP_ROWS, x[i]);
    }
}
static void sums_from_rows(group_sums *sums, const float *rows, int64_t groups)
{
    for (int64_t g = 0; g < groups; g++, rows += GROUP * STRIP_ROWS) {
        __m512i x[VECTORS];

        for (int i = 0; i < GROUP; i++)
            x[i] = _mm512_load_si512(rows + i * STRIP_ROWS);
        for (int i = 0; i < GROUP; i += 2)
            transpose_lanes(&x[i], &x[i + 1]);
        transpose_pairs(x);
        for (int i = 0; i < VECTORS; i++)
            _mm512_store_si512(sums[g][i], x[i]);
    }
}

/* The activation of 16 columns, half a block of packed rows: strips of gate and up are 16 rows of each. */
static void store_act(const struct few *f, const struct few_strip *s, const float *rows)
{
    char *to = f->act + s->row / JRL_BLOCK * f->block_bytes + s->row % JRL_BLOCK / 16 * (VECTORS / 2 * 64);

    for (int64_t first = 0; first < f->m; first += GROUP, to += VECTORS * 64) {
        __m512i x[GROUP];

        for (int i = 0; i < GROUP; i++, rows += STRIP_ROWS)
            x[i] = words_of(_mm512_zextsi256_si512(vec_narrow(vec_silu_times(vec_load(rows), vec_load(rows + TILE_ROWS)))));
        transpose_pairs(x);
        for (int i = 0; i < VECTORS / 2; i++)
            _mm512_store_si512(to + 64 * i, x[i]);
    }
}

static void multiply(const struct few *f, struct jrl_range strips, const char *packed, struct few_ahead *ahead)
{
    static add_fn *const add_groups[] = { add_1, add_2, add_3, add_4 };
    const int64_t groups = groups_of(f->m), at_once = f->kernel->weights_at_once;
    float rows[MOST_GROUPS * GROUP * STRIP_ROWS] __attribute__((aligned(64))) = { 0 }; /* those behind the last of A count for nothing */
    group_sums sums[MOST_GROUPS] __attribute__((aligned(64)));

    for (int64_t i = strips.begin; i < strips.end; i++) {
        const struct few_strip s = few_strip_at(&f->now, i);

        few_load_sums(f, &s, rows);
        for (int half = 0; half < 2 && s.rows[half]; half++) {
            const struct tile tile = { s.data[half], s.row_bytes, s.rows[half] };

            sums_from_rows(sums, rows + half * TILE_ROWS, groups);
            for (int64_t at = 0; at < tile.n; at += at_once)
                add_groups[groups - 1](f, &tile, at, sums, packed, ahead);
            rows_from_sums(rows + half * TILE_ROWS, sums, groups);
        }
        if (f->act)
            store_act(f, &s, rows);
        else
            few_store_sums(f, &s, rows);
    }
}

const struct few_kernel jrl_fewest_avx512bf16 = { .rows_a_step = JRL_FEW_ROWS, .weights_at_once = WEIGHTS_OF_FEWEST, .block_bytes = block_bytes,
                                                  .pack_rows = pack_rows, .multiply = multiply };
const struct few_kernel jrl_fewer_avx512bf16 = { .rows_a_step = JRL_FEW_ROWS, .weights_at_once = WEIGHTS, .block_bytes = block_bytes,
                                                 .pack_rows = pack_rows, .multiply = multiply };
