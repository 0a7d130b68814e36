/* matmul_few_amx.c - nt products with few rows of A (decoding): bound by reading B, the weight. B's rows as
 * they lie are the left operand, packed A the right one, so each tile is a piece of C transposed. */
#include "kernels/cpu/dwords_avx512.h"
#include "kernels/cpu/matmul_cpu.h"
#include "kernels/cpu/tiles_amx.h"

struct few {
    const struct jrl_product *p;
    int64_t blocks, tiles; /* tiles of 16 rows of A */
    char *packed;          /* [block][tile][16 pairs of k][16 rows][2] */
    int lines;             /* of 64 bytes to fetch at each step */
};

/* Storing a tile of C takes about as long as this many blocks; memory must not idle meanwhile. */
#define STORE_STEPS 3

/* The next N lines into the second cache: past the first one, whose few misses in flight the packed rows need. */
static inline const char *fetch(const char *next, int n)
{
    for (int line = 0; line < n; line++)
        _mm_prefetch(next + line * 64, _MM_HINT_T1);
    return next + n * 64;
}

static void pack_rows(const struct few *f)
{
    const struct jrl_product *p = f->p;
    for (int64_t block = 0; block < f->blocks; block++)
        for (int64_t tile = 0; tile < f->tiles; tile++) {
            __m512i r[16];
            __mmask32 mask = jrl_first_of_32(p->k - block * JRL_BLOCK);
            for (int64_t i = 0; i < 16; i++) {
                bool there = tile * 16 + i < p->m;
                const jrl_bf16 *row = (const jrl_bf16 *)p->a + (there ? (tile * 16 + i) * p->a_row + block * JRL_BLOCK : 0);
                r[i] = _mm512_maskz_loadu_epi16(there ? mask : 0, row);
            }
            jrl_transpose_dwords(r);
            for (int i = 0; i < 16; i++)
                _mm512_store_si512(f->packed + (block * f->tiles + tile) * TILE_BYTES + i * 64, r[i]);
        }
}

/* One block of 16 rows of B, filled up with zeros, where a tile cannot be read in place. */
static void copy_block(char *to, const struct jrl_product *p, int64_t j, int64_t k)
{
    __mmask32 mask = jrl_first_of_32(p->k - k);
    for (int64_t i = 0; i < 16; i++) {
        bool there = j + i < p->n;
        __m512i row = _mm512_maskz_loadu_epi16(there ? mask : 0, (const jrl_bf16 *)p->b + (there ? (j + i) * p->b_column + k : 0));
        _mm512_store_si512(to + i * 64, row);
    }
}

/* The four tiles of C: [16 columns of C][16 rows of C] each. */
static void load_sums(const struct few *f, float sums[4][256], int64_t j)
{
    const struct jrl_product *p = f->p;
    __mmask16 mask = jrl_first_of_16(p->n - j);
    for (int64_t tile = 0; tile < f->tiles; tile++) {
        __m512i r[16];
        for (int64_t i = 0; i < 16; i++) {
            int64_t row = tile * 16 + i;
            r[i] = _mm512_maskz_loadu_epi32(row < p->m ? mask : 0, row < p->m ? p->c + row * p->ldc + j : p->c);
        }
        jrl_transpose_dwords(r);
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(&sums[tile][i * 16], r[i]);
    }
}

static void store_sums(const struct few *f, float sums[4][256], int64_t j, const char *next)
{
    const struct jrl_product *p = f->p;
    __mmask16 mask = jrl_first_of_16(p->n - j);
    for (int64_t tile = 0; tile < f->tiles; tile++) {
        __m512i r[16];
        int64_t rows = p->m - tile * 16 < 16 ? p->m - tile * 16 : 16;
        for (int i = 0; i < 16; i++)
            r[i] = _mm512_load_si512(&sums[tile][i * 16]);
        jrl_transpose_dwords(r);
        for (int64_t i = 0; i < rows; i++)
            _mm512_mask_storeu_epi32(p->c + (tile * 16 + i) * p->ldc + j, mask, r[i]);
        next = fetch(next, STORE_STEPS * f->lines);
    }
}

/* One block: the weight tile at B times all tiles of packed A. TILES is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void add_block(const void *b, int64_t row_bytes, const char *packed, const int tiles)
{
    _tile_loadd(6, b, row_bytes);
    _tile_loadd(7, packed, 64);
    _tile_dpbf16ps(0, 6, 7);
    if (tiles > 1) {
        _tile_loadd(5, packed + TILE_BYTES, 64);
        _tile_dpbf16ps(1, 6, 5);
    }
    if (tiles > 2) {
        _tile_loadd(4, packed + 2 * TILE_BYTES, 64);
        _tile_dpbf16ps(2, 6, 4);
    }
    if (tiles > 3) {
        _tile_loadd(7, packed + 3 * TILE_BYTES, 64);
        _tile_dpbf16ps(3, 6, 7);
    }
}

/* Columns j .. j+15 of C. Meanwhile the next 16 rows of B are fetched, so that memory is read in order, evenly,
 * and a whole strip ahead. */
static inline __attribute__((always_inline)) void strip(const struct few *f, int64_t j, const int tiles)
{
    const struct jrl_product *p = f->p;
    const jrl_bf16 *b = (const jrl_bf16 *)p->b + j * p->b_column;
    const char *next = (const char *)(b + 16 * p->b_column);
    float sums[4][256] __attribute__((aligned(64)));
    char copy[TILE_BYTES] __attribute__((aligned(64)));
    int64_t in_place = p->n - j >= 16 ? p->k / JRL_BLOCK : 0;

    if (p->accumulate) {
        load_sums(f, sums, j);
        jrl_memory_is_written();
        _tile_loadd(0, sums[0], 64);
        _tile_loadd(1, sums[1], 64);
        _tile_loadd(2, sums[2], 64);
        _tile_loadd(3, sums[3], 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    int64_t block = 0;
    for (; block < in_place; block++) {
        next = fetch(next, f->lines);
        add_block(b + block * JRL_BLOCK, p->b_column * 2, f->packed + block * tiles * TILE_BYTES, tiles);
    }
    for (; block < f->blocks; block++) {
        copy_block(copy, p, j, block * JRL_BLOCK);
        jrl_memory_is_written();
        add_block(copy, 64, f->packed + block * tiles * TILE_BYTES, tiles);
        jrl_memory_is_written();
    }
    _tile_stored(0, sums[0], 64);
    if (tiles > 1)
        _tile_stored(1, sums[1], 64);
    if (tiles > 2)
        _tile_stored(2, sums[2], 64);
    if (tiles > 3)
        _tile_stored(3, sums[3], 64);
    jrl_memory_is_written();
    store_sums(f, sums, j, next);
}

static void columns(void *ctx, struct jrl_range range, int thread)
{
    const struct few *f = ctx;
    (void)thread;
    jrl_tiles_begin();
    for (int64_t j = range.begin; j < range.end; j += 16) {
        switch (f->tiles) {
        case 1: strip(f, j, 1); break;
        case 2: strip(f, j, 2); break;
        case 3: strip(f, j, 3); break;
        default: strip(f, j, 4); break;
        }
    }
    jrl_tiles_end();
}

int jrl_product_amx_few_rows(struct jrl_device *dev, const struct jrl_product *p, struct jrl_error *err)
{
    struct few f = { .p = p, .blocks = (p->k + JRL_BLOCK - 1) / JRL_BLOCK, .tiles = (p->m + 15) / 16 };
    void *packed;
    int rc = jrl_device_scratch(&packed, dev, JRL_SCRATCH_MATMUL, (size_t)(f.blocks * f.tiles), TILE_BYTES, err);
    if (rc)
        return rc;
    f.packed = packed;
    f.lines = (int)((16 * f.blocks + f.blocks + STORE_STEPS * f.tiles - 1) / (f.blocks + STORE_STEPS * f.tiles));
    pack_rows(&f);
    jrl_device_ranges(dev, p->n, 16, columns, &f);
    return JRL_OK;
}
