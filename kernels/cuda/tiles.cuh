/* tiles.cuh - what the product kernels on tensor cores share: classes of tiles, a block's work, the outputs of a thread. For the matmul files
 * of kernels/cuda only. */
#ifndef JRL_KERNELS_CUDA_TILES_CUH
#define JRL_KERNELS_CUDA_TILES_CUH

#include "kernels/cuda/product.h"

#define STEP 16 /* of the contracted index: one instruction */
#define PART 4480 /* of the contracted index in form nt */
#define BAND 16 /* tiles of rows whose blocks follow one another: those that run together share rows and columns */

/* A class: blocks of BM x BN outputs by WM x WN warps, of TM x TN each, BK of the contracted index at a time, STAGES of them on their way. RATE:
 * multiplications that a processor does in a cycle, as measured on an H200, of 2048 that there are; LOADS: cycles of shared memory for a step of the
 * contracted index, of which ldmatrix takes four a load. */
template <int BM_, int BN_, int BK_, int WM_, int WN_, int STAGES_> struct tile_class {
    static const int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, STAGES = STAGES_, THREADS = 32 * WM_ * WN_, TM = BM_ / WM_, TN = BN_ / WN_;
    static const int RATE = BM < 128 ? 250 : 450, LOADS = WM * WN * (TM / 16 + TN / 16) * 4;
};

/* Of matmul_wgmma.cu: two groups of four warps, 64 rows by 256 columns each, whose instructions read rows and columns themselves. */
struct wide : tile_class<128, 256, 64, 8, 1, 4> {
    static const int RATE = 1680, LOADS = 2 * (64 + 256) * STEP * 2 / 128;
};

/* What a launch multiplies: blocks from FIRST[i] on are product i's. PARTS: the parts lie side by side, and all but the first of them go to
 * SUMS[i], [part - 1][m][n]. */
struct products {
    struct gpu_product of[JRL_GROUP_PRODUCTS];
    int64_t first[JRL_GROUP_PRODUCTS];
    float *sums[JRL_GROUP_PRODUCTS];
    int64_t n, parts, n_tiles, n_items; /* items: tiles times parts */
};

/* A block's work: a tile of product WHICH, and the contracted index from BEGIN to END. */
struct block_work {
    struct gpu_product p;
    int64_t row, column, begin, end;
    int which;
};
template <class C> static __device__ __forceinline__ struct block_work work_of(const struct products &all, int64_t tile, int64_t part)
{
    struct block_work w = { all.of[0], 0, 0, 0, all.of[0].k, 0 };
    int64_t first = 0;
    float *sums = all.sums[0];

#pragma unroll
    for (int j = 1; j < JRL_GROUP_PRODUCTS; j++)
        if (j < all.n && tile >= all.first[j]) {
            w.p = all.of[j];
            w.which = j;
            first = all.first[j];
            sums = all.sums[j];
        }
    const unsigned n_rows = (unsigned)((w.p.m + C::BM - 1) / C::BM), n_columns = (unsigned)((w.p.n + C::BN - 1) / C::BN); /* of tiles */
    const unsigned i = (unsigned)(tile - first), band = i / (BAND * n_columns), in_band = i % (BAND * n_columns); /* 64 bits take long to divide */
    const unsigned rows = n_rows - band * BAND < BAND ? n_rows - band * BAND : BAND;
    w.row = (int64_t)(band * BAND + in_band % rows) * C::BM;
    w.column = (int64_t)(in_band / rows) * C::BN;
    if (all.parts > 1) {
        w.begin = part * PART;
        w.end = w.begin + PART < w.p.k ? w.begin + PART : w.p.k;
    }
    if (part > 0) {
        w.p.c = sums + (part - 1) * w.p.m * w.p.n;
        w.p.ldc = w.p.n;
        w.p.accumulate = false;
    }
    return w;
}

template <class C> struct accumulators {
    float of[C::TM / 16][C::TN / 8][4];
};

/* F(y, x, sums of columns x and x + 1): the thread's outputs. */
template <class C, class F> static __device__ __forceinline__ void for_outputs(struct accumulators<C> &acc, int64_t row, int64_t column, F f)
{
    const int lane = threadIdx.x % 32;

#pragma unroll
    for (int i = 0; i < C::TM / 16; i++)
#pragma unroll
        for (int j = 0; j < C::TN / 8; j++)
#pragma unroll
            for (int h = 0; h < 2; h++)
                f(row + 16 * i + lane / 4 + 8 * h, column + 8 * j + lane % 4 * 2, &acc.of[i][j][2 * h]);
}

/* The sums start from C in its first ROWS_BEFORE rows, from 0 behind. */
template <class C>
static __device__ __forceinline__ void start(struct accumulators<C> &acc, const struct gpu_product &p, int64_t row, int64_t column, int64_t rows_before)
{
    for_outputs<C>(acc, row, column, [&](int64_t y, int64_t x, float *sum) {
        sum[0] = y < rows_before && x < p.n ? p.c[y * p.ldc + x] : 0.0f;
        sum[1] = y < rows_before && x + 1 < p.n ? p.c[y * p.ldc + x + 1] : 0.0f;
    });
}

/* ADD: to the parts before. */
template <class C>
static __device__ __forceinline__ void finish(struct accumulators<C> &acc, const struct gpu_product &p, int64_t row, int64_t column, bool add)
{
    const bool pairs = p.ldc % 2 == 0 && p.n % 2 == 0 && (uintptr_t)p.c % 8 == 0;

    for_outputs<C>(acc, row, column, [&](int64_t y, int64_t x, float *sum) {
        float *c = p.c + y * p.ldc + x;

        if (y >= p.m || x >= p.n)
            return;
        if (pairs && add) {
            add_pair(c, sum[0], sum[1]);
            return;
        }
        if (pairs) {
            *reinterpret_cast<float2 *>(c) = { sum[0], sum[1] };
            return;
        }
        c[0] = add ? c[0] + sum[0] : sum[0];
        if (x + 1 < p.n)
            c[1] = add ? c[1] + sum[1] : sum[1];
    });
}

/* Gate and up as one product: the first half of a tile's sums is gate's, the second the same columns of up. ACT: [m][n], n even, the activations; TO_UP: where
 * up goes, as gate goes to C, or NULL: neither goes anywhere. */
template <class C>
static __device__ __forceinline__ void finish_gated(const struct accumulators<C> &acc, const struct gpu_product &p, int64_t row, int64_t column, jrl_bf16 *act,
                                                    float *to_up)
{
    const int lane = threadIdx.x % 32, HALF = C::TN / 16;

#pragma unroll
    for (int j = 0; j < HALF; j++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int64_t y = row + lane / 4 + 8 * h, x = column + 8 * j + lane % 4 * 2, at = y * p.n + x;
            const float *gate = &acc.of[0][j][2 * h], *up = &acc.of[0][j + HALF][2 * h];

            if (y >= p.m || x >= p.n)
                continue;
            if (to_up) {
                *reinterpret_cast<float2 *>(p.c + at) = { gate[0], gate[1] };
                *reinterpret_cast<float2 *>(to_up + at) = { up[0], up[1] };
            }
            *reinterpret_cast<uint32_t *>(act + at) = pair_of(gated_unit(gate[0], up[0]), gated_unit(gate[1], up[1]));
        }
}

/* ---- launching: products.cu ---- */

static inline int64_t gpu_tiles_of(const struct gpu_product *p, int64_t bm, int64_t bn) { return divide_up(p->m, bm) * divide_up(p->n, bn); }

/* Cycles of a processor for a step of the contracted index in tiles of class C, by the slowest of: tensor cores, shared memory (128 bytes a
 * cycle), and 40 bytes a cycle from L2; times the blocks that the busiest processor gets. */
template <class C> static double tile_cost(const struct jrl_device *dev, const struct gpu_product *p, int n)
{
    const double rows = p->m < C::BM ? (double)p->m : C::BM;
    const double multiply = (double)C::BM * C::BN * STEP / C::RATE, load = (rows + C::BN) * 2 * STEP / 40;
    const double shared = C::LOADS + (C::BM + C::BN) * 2 * STEP / 128.0;
    const double slowest = multiply > shared ? multiply : shared;
    int64_t blocks = 0;

    for (int i = 0; i < n; i++)
        blocks += gpu_tiles_of(&p[i], C::BM, C::BN);
    return (double)divide_up(blocks, gpu_of(dev)->n_processors) * (slowest > load ? slowest : load);
}

/* *all: N products of one form in tiles of BM x BN, each by one block. */
void gpu_products_list(struct products *all, const struct gpu_product *p, int n, int64_t bm, int64_t bn);
/* The same, in parts side by side where that gives more processors work; then the launch is followed by gpu_products_join. */
int gpu_products_set(struct jrl_device *dev, struct products *all, const struct gpu_product *p, int n, int64_t bm, int64_t bn,
                     struct jrl_error *err) JRL_MUST_CHECK;
/* Adds the parts that lay side by side, if any. */
int gpu_products_join(struct jrl_device *dev, const struct products *all, struct jrl_error *err) JRL_MUST_CHECK;
/* What products of several parts may rely on (gpu_parts_bytes): tiles of parts side by side have at most so many outputs; tiles whose last block adds the
 * parts have at most so many rows, of at most so many in all, and columns. */
#define GPU_TILE_OUTPUTS (128 * 256)
#define GPU_LAST_ADDS_ROWS 128
#define GPU_LAST_ADDS_MOST_ROWS 256
#define GPU_LAST_ADDS_COLUMNS 144
/* GPU_MOST_TILES counters in device memory that are 0 whenever no product runs: of a tile's parts that have arrived. */
#define GPU_MOST_TILES (1 << 16)
int gpu_arrival_counters(struct jrl_device *dev, unsigned **out, struct jrl_error *err) JRL_MUST_CHECK;

#endif
