/* matmul_few_amx.c - products with few rows of A on AMX tiles. The rows of a weight as they lie are the left operand,
 * packed A the right one, so each tile is a piece of C transposed: of two tiles of a weight and two of A at a time.
 * Packed A: [block][tile][16 pairs of k][16 rows][2]. */
#include "kernels/cpu/attention_amx.h"
#include "kernels/cpu/matmul_few.h"

#define TILE_FLOATS (TILE_ROWS * TILE_ROWS)

static int64_t block_bytes(int64_t rows)
{
    return (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_BYTES;
}

static void pack_rows(const struct few *f, char *packed)
{
    for (int64_t block = 0; block < f->blocks; block++)
        for (int64_t tile = 0; tile < f->tiles; tile++) {
            __m512i r[16];
            __mmask32 mask = jrl_first_of_32(f->k - block * JRL_BLOCK);
            for (int64_t i = 0; i < 16; i++) {
                bool there = tile * 16 + i < f->m;
                const jrl_bf16 *row = f->a + (there ? (tile * 16 + i) * f->lda + block * JRL_BLOCK : 0);
                r[i] = _mm512_maskz_loadu_epi16(there ? mask : 0, row);
            }
            jrl_transpose_dwords(r);
            for (int i = 0; i < 16; i++)
                _mm512_store_si512(packed + (block * f->tiles + tile) * TILE_BYTES + i * 64, r[i]);
        }
}

/* Two tiles of a weight times COUNT (1 or 2) tiles of packed A; what comes next is fetched in between: in one go the lines would fill the queue of misses and hold up the tiles. COUNT is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void add_block(const char *const w[2], int64_t row_bytes, const char *packed, const int count,
                                                            struct few_ahead *ahead)
{
    _tile_loadd(4, w[0], row_bytes);
    few_fetch(ahead, 0);
    _tile_loadd(6, packed, 64);
    _tile_dpbf16ps(0, 4, 6);
    few_fetch(ahead, 1);
    _tile_loadd(5, w[1], row_bytes);
    _tile_dpbf16ps(1, 5, 6);
    few_fetch(ahead, 2);
    if (count > 1) {
        _tile_loadd(7, packed + TILE_BYTES, 64);
        _tile_dpbf16ps(2, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
    few_fetch(ahead, 3);
    few_fetched(ahead);
}

/* One block of both tiles, filled up with zeros, where they cannot be read in place. */
static void copy_block(char copy[2][TILE_BYTES], const struct few_strip *s, int64_t k_left, int64_t block)
{
    __mmask32 mask = jrl_first_of_32(k_left);
    for (int half = 0; half < 2; half++)
        for (int64_t i = 0; i < TILE_ROWS; i++) {
            bool there = i < s->rows[half];
            __m512i row = _mm512_maskz_loadu_epi16(there ? mask : 0, s->data[half] + (there ? i * s->row_bytes + block * 64 : 0));
            _mm512_store_si512(copy[half] + i * 64, row);
        }
}

/* A tile of sums, [16 columns of C][16 rows of C], from C and back. */
static void load_sums(float *sums, const struct jrl_matmul *p, int64_t tile, int64_t j, int64_t columns)
{
    __mmask16 mask = jrl_first_of_16(columns);
    __m512i r[16];
    for (int64_t i = 0; i < 16; i++) {
        int64_t row = tile * 16 + i;
        r[i] = _mm512_maskz_loadu_epi32(row < p->m ? mask : 0, row < p->m ? p->c + row * p->ldc + j : p->c);
    }
    jrl_transpose_dwords(r);
    for (int i = 0; i < 16; i++)
        _mm512_store_si512(sums + i * 16, r[i]);
}

static void store_sums(const float *sums, const struct jrl_matmul *p, int64_t tile, int64_t j, int64_t columns)
{
    __mmask16 mask = jrl_first_of_16(columns);
    int64_t rows = p->m - tile * 16 < 16 ? p->m - tile * 16 : 16;
    __m512i r[16];
    for (int i = 0; i < 16; i++)
        r[i] = _mm512_load_si512(sums + i * 16);
    jrl_transpose_dwords(r);
    for (int64_t i = 0; i < rows; i++)
        _mm512_mask_storeu_epi32(p->c + (tile * 16 + i) * p->ldc + j, mask, r[i]);
}

/* Sixteen gates and ups of sixteen rows become eight pair rows of a packed tile: no transposing. */
static void store_act(char *pairs, const float *gate, const float *up)
{
    const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3,
                                                18, 2, 17, 1, 16, 0);
    for (int64_t j = 0; j < TILE_ROWS; j += 2) {
        struct vec16 even = vec_silu_times(vec_load(gate + j * 16), vec_load(up + j * 16));
        struct vec16 odd = vec_silu_times(vec_load(gate + (j + 1) * 16), vec_load(up + (j + 1) * 16));
        _mm512_store_si512(pairs + j / 2 * 64, _mm512_permutexvar_epi16(interleave, jrl_round_two(even, odd)));
    }
}

static void store_tiles(const struct few *f, const struct few_strip *s, float sums[4][TILE_FLOATS], int64_t tile, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (f->act) { /* strips of 16: two make a block of the next product */
            store_act(f->act + (s->row / JRL_BLOCK * f->tiles + tile + i) * TILE_BYTES + s->row % JRL_BLOCK / 2 * 64, sums[2 * i], sums[2 * i + 1]);
            continue;
        }
        const struct jrl_matmul *p = &f->products[s->matrix];
        for (int half = 0; half < 2 && s->rows[half]; half++)
            store_sums(sums[2 * i + half], p, tile + i, s->row + half * TILE_ROWS, s->rows[half]);
    }
}

/* A strip of the weight times COUNT tiles of A from TILE on. Meanwhile memory is read ahead, evenly. */
static inline __attribute__((always_inline)) void multiply_strip(const struct few *f, const struct few_strip *s, const char *packed, int64_t tile,
                                                                 const int count, struct few_ahead *ahead)
{
    float sums[4][TILE_FLOATS] __attribute__((aligned(64)));
    char copy[2][TILE_BYTES] __attribute__((aligned(64)));
    const struct jrl_matmul *p = f->act ? NULL : &f->products[s->matrix];
    const char *w[2] = { s->data[0], s->data[1] }, *copied[2] = { copy[0], copy[1] };
    const int64_t in_place = s->rows[0] == TILE_ROWS && s->rows[1] == TILE_ROWS ? f->k / JRL_BLOCK : 0;
    int64_t block = 0;

    packed += tile * TILE_BYTES;
    if (p && p->accumulate) {
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < count; i++)
                load_sums(sums[2 * i + half], p, tile + i, s->row + half * TILE_ROWS, s->rows[half]);
        jrl_memory_is_written();
        _tile_loadd(0, sums[0], 64);
        _tile_loadd(1, sums[1], 64);
        if (count > 1) {
            _tile_loadd(2, sums[2], 64);
            _tile_loadd(3, sums[3], 64);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (; block < in_place; block++) {
        add_block(w, s->row_bytes, packed + block * f->block_bytes, count, ahead);
        w[0] += 64;
        w[1] += 64;
    }
    for (; block < f->blocks; block++) {
        copy_block(copy, s, f->k - block * JRL_BLOCK, block);
        jrl_memory_is_written();
        add_block(copied, 64, packed + block * f->block_bytes, count, ahead);
        jrl_memory_is_written();
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    if (count > 1) {
        _tile_stored(2, sums[2], 64);
        _tile_stored(3, sums[3], 64);
    }
    jrl_memory_is_written();
    store_tiles(f, s, sums, tile, count);
}

static void multiply(const struct few *f, struct jrl_range strips, const char *packed, struct few_ahead *ahead)
{
    jrl_tiles_begin();
    for (int64_t i = strips.begin; i < strips.end; i++) {
        const struct few_strip s = few_strip_at(&f->now, i);
        int64_t tile = 0;
        for (; tile + 1 < f->tiles; tile += 2)
            multiply_strip(f, &s, packed, tile, 2, ahead);
        if (tile < f->tiles)
            multiply_strip(f, &s, packed, tile, 1, ahead);
    }
    jrl_tiles_end();
}

const struct few_kernel jrl_few_amx = { .rows_a_step = 2 * TILE_ROWS, .block_bytes = block_bytes, .pack_rows = pack_rows, .multiply = multiply };
