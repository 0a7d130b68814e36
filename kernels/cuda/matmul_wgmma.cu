/* matmul_wgmma.cu - products of bf16 of many rows by Hopper's matrix instructions, in the order of matmul_tensor.cu: on a GPU of 9.0 a step of 16 of the
 * contracted index has the same bits by wgmma as by mma.sync (test_product_rows compares them). */
#include "kernels/cuda/tiles.cuh"
#include "kernels/cuda/wgmma.cuh"

/* One operand's tiles. What is contiguous in memory lies in rows of 64: wgmma.cuh. */
template <int SIZE, bool transposed> struct wide_tile {
    static const int ROWS = transposed ? wide::BK : SIZE, COLUMNS = transposed ? SIZE : wide::BK, CHUNK = ROWS * 128;
    static const int STEP_BYTES = transposed ? STEP * 128 : STEP * 2, /* from one step of the contracted index to the next */ GROUP_BYTES = 64 * 128; /* to the next 64 of its own rows */
    __align__(1024) unsigned char of[SIZE * wide::BK * 2];
};
template <bool a_transposed, bool b_transposed> struct wide_tiles {
    wide_tile<wide::BM, a_transposed> a[wide::STAGES];
    wide_tile<wide::BN, !b_transposed> b[wide::STAGES];
};

#if defined(WGMMA_EXISTS)

template <class T>
static __device__ __forceinline__ void load_wide(T &tile, const void *matrix, int64_t ld, int64_t row, int64_t column, int64_t n_rows, int64_t n_columns)
{
    const jrl_bf16 *m = static_cast<const jrl_bf16 *>(matrix);

#pragma unroll
    for (int i = 0; i < T::ROWS * T::COLUMNS / 8 / wide::THREADS; i++) {
        const int at = i * wide::THREADS + threadIdx.x, r = at / (T::COLUMNS / 8), piece = at % (T::COLUMNS / 8);
        const bool valid = row + r < n_rows && column + 8 * piece < n_columns;
        copy_16(tile.of + piece / 8 * T::CHUNK + swizzled(r, piece % 8), valid ? m + (row + r) * ld + column + 8 * piece : m, valid);
    }
}

template <bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void load_wide_stage(wide_tiles<a_transposed, b_transposed> &s, const struct gpu_product &p, int64_t row, int64_t column, int64_t k, int stage)
{
    if (a_transposed)
        load_wide(s.a[stage], p.a, p.a_step, k, row, p.k, p.m);
    else
        load_wide(s.a[stage], p.a, p.a_row, row, k, p.m, p.k);
    if (b_transposed)
        load_wide(s.b[stage], p.b, p.b_column, column, k, p.n, p.k);
    else
        load_wide(s.b[stage], p.b, p.b_step, k, column, p.k, p.n);
}

/* One step of a stage. */
template <bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void add_step(struct accumulators<wide> &acc, const wide_tiles<a_transposed, b_transposed> &s, int stage, int step)
{
    typedef wide_tile<wide::BM, a_transposed> tile_a;
    typedef wide_tile<wide::BN, !b_transposed> tile_b;
    const uint32_t a = shared_address(s.a[stage].of) + threadIdx.x / 128 * tile_a::GROUP_BYTES + step * tile_a::STEP_BYTES;
    const uint32_t b = shared_address(s.b[stage].of) + step * tile_b::STEP_BYTES;

    wgmma_64_256<a_transposed, !b_transposed>(acc.of[0], operand_at(a, tile_a::CHUNK), operand_at(b, tile_b::CHUNK));
}

/* LEFT: what is left of the contracted index. Steps of zeros only are left out, as in all classes. */
template <bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void add_stage(struct accumulators<wide> &acc, const wide_tiles<a_transposed, b_transposed> &s, int stage, int64_t left)
{
    fence_sums();
    if (left >= wide::BK) {
#pragma unroll
        for (int step = 0; step < wide::BK / STEP; step++)
            add_step<a_transposed, b_transposed>(acc, s, stage, step);
    } else
        for (int step = 0; step * STEP < left; step++) {
            fence_sums();
            add_step<a_transposed, b_transposed>(acc, s, stage, step);
        }
}

#endif

/* A stage is read while later ones arrive: the instructions of stage AT are under way when copies go to the place of stage AT - 2, which all threads
 * have waited for before the barrier. */
template <bool a_transposed, bool b_transposed> static __global__ void __launch_bounds__(wide::THREADS, 1) wgmma_product(struct products all)
{
#if defined(WGMMA_EXISTS)
    typedef wide_tiles<a_transposed, b_transposed> tiles;
    const struct block_work w = work_of<wide>(all);
    const int n_stages = (int)((w.end - w.begin + wide::BK - 1) / wide::BK), part_stages = b_transposed ? PART / wide::BK : n_stages;
    const int64_t row = w.row + threadIdx.x / 32 * wide::TM;
    struct accumulators<wide> acc;
    int at = 0, part = 0;
    SHARED(tiles, s);

    for (int stage = 0; stage < wide::STAGES - 2; stage++) {
        if (stage < n_stages)
            load_wide_stage(s, w.p, w.row, w.column, w.begin + (int64_t)stage * wide::BK, stage);
        commit_copies();
    }
    do {
        const int end = n_stages - at < part_stages ? n_stages : at + part_stages;

        start<wide>(acc, w.p, row, w.column, part == 0 && w.p.accumulate);
        for (; at < end; at++) {
            const int next = at + wide::STAGES - 2;
            const int64_t left = w.end - w.begin - (int64_t)at * wide::BK;

            wait_copies<wide::STAGES - 3>();
            fence_operands();
            __syncthreads();
            add_stage<a_transposed, b_transposed>(acc, s, at % wide::STAGES, left);
            commit_products();
            if (next < n_stages)
                load_wide_stage(s, w.p, w.row, w.column, w.begin + (int64_t)next * wide::BK, next % wide::STAGES);
            commit_copies();
            wait_products<1>();
        }
        wait_products<0>();
        finish<wide>(acc, w.p, row, w.column, part++ > 0);
    } while (at < n_stages);
    wait_copies<0>();
#endif
}

template <bool a_transposed, bool b_transposed> static int run_form(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    struct products all;
    dim3 grid;
    int rc = gpu_products_set(dev, &all, p, n, wide::BM, wide::BN, &grid, err);

    if (rc == JRL_OK)
        rc = gpu_launch(dev, err, "wgmma_product", wgmma_product<a_transposed, b_transposed>, grid, wide::THREADS, sizeof(wide_tiles<a_transposed, b_transposed>), all);
    return rc < 0 ? rc : gpu_products_join(dev, &all, err);
}

int gpu_product_wgmma(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    if (p->a_step != 1)
        return run_form<true, false>(dev, p, n, err);
    return p->b_step == 1 ? run_form<false, true>(dev, p, n, err) : run_form<false, false>(dev, p, n, err);
}
