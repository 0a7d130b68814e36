/* matmul_tensor.cu - products of bf16 on tensor cores by mma.sync, for every GPU. Every class of tiles adds an output's terms in the same order: one
 * accumulator, the contracted index in steps of 16 from its start. The form of a layer forward, nt, cuts it into parts of 4480, whose sums are added in
 * ascending order, so that few rows can have the parts side by side. An output depends on its row and column alone, and a row has the same bits whether it is
 * multiplied alone or among thousands. */
#include "kernels/cuda/tiles.cuh"

#define PAD 8 /* elements behind a row of a tile: the rows that one load touches fall into different banks */

#define TILE_CLASS(bm, bn, ...) \
    struct tiles_##bm##_##bn : tile_class<bm, bn, __VA_ARGS__> { \
        static const char *name() { return "tensor_product<" #bm ", " #bn ">"; } \
    }
TILE_CLASS(64, 64, 64, 2, 2, 4);
TILE_CLASS(128, 128, 32, 2, 2, 4);
TILE_CLASS(128, 256, 32, 2, 4, 4);

/* Tiles lie as the matrices do: the index that is contiguous in memory is contiguous here. */
template <class C, bool a_transposed, bool b_transposed> struct tensor_tiles {
    static const int A_ROWS = a_transposed ? C::BK : C::BM, A_COLUMNS = a_transposed ? C::BM : C::BK;
    static const int B_ROWS = b_transposed ? C::BN : C::BK, B_COLUMNS = b_transposed ? C::BK : C::BN;
    __align__(16) jrl_bf16 a[C::STAGES][A_ROWS][A_COLUMNS + PAD];
    __align__(16) jrl_bf16 b[C::STAGES][B_ROWS][B_COLUMNS + PAD];
};

/* Rows and columns of a tile out of a matrix whose rows are LD long, in pieces of 16 bytes; zeros outside. */
template <int ROWS, int COLUMNS, int THREADS>
static __device__ __forceinline__ void load_tile(jrl_bf16 (*tile)[COLUMNS + PAD], const void *matrix, int64_t ld, int64_t row, int64_t column, int64_t n_rows,
                                 int64_t n_columns)
{
    const jrl_bf16 *m = static_cast<const jrl_bf16 *>(matrix);

    for (int i = threadIdx.x; i < ROWS * COLUMNS / 8; i += THREADS) {
        const int r = i / (COLUMNS / 8), c = i % (COLUMNS / 8) * 8;
        const bool valid = row + r < n_rows && column + c < n_columns;
        copy_16(&tile[r][c], valid ? m + (row + r) * ld + column + c : m, valid);
    }
}

template <class C, bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void load_stage(tensor_tiles<C, a_transposed, b_transposed> &s, const struct gpu_product &p, int64_t row, int64_t column,
                                                  int64_t k, int stage)
{
    typedef tensor_tiles<C, a_transposed, b_transposed> tiles;

    if (a_transposed)
        load_tile<tiles::A_ROWS, tiles::A_COLUMNS, C::THREADS>(s.a[stage], p.a, p.a_step, k, row, p.k, p.m);
    else
        load_tile<tiles::A_ROWS, tiles::A_COLUMNS, C::THREADS>(s.a[stage], p.a, p.a_row, row, k, p.m, p.k);
    if (b_transposed)
        load_tile<tiles::B_ROWS, tiles::B_COLUMNS, C::THREADS>(s.b[stage], p.b, p.b_column, column, k, p.n, p.k);
    else
        load_tile<tiles::B_ROWS, tiles::B_COLUMNS, C::THREADS>(s.b[stage], p.b, p.b_step, k, column, p.k, p.n);
}

/* A warp's tile += one stage; LEFT: what is left of the contracted index. Steps of zeros only are left out: other classes have fewer of them. */
template <class C, bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void add_stage(struct accumulators<C> &acc, const tensor_tiles<C, a_transposed, b_transposed> &s, int stage, int64_t left)
{
    const int MI = C::TM / 16, NI = C::TN / 8, warp = threadIdx.x / 32, q = threadIdx.x % 32 / 8, r = threadIdx.x % 8;
    const int wm = warp / C::WN * C::TM, wn = warp % C::WN * C::TN;

#pragma unroll
    for (int kk = 0; kk < C::BK; kk += STEP) {
        uint32_t a[MI][4], b[NI / 2][4];

        if (kk >= left)
            break;
#pragma unroll
        for (int i = 0; i < MI; i++)
            load_matrices<a_transposed>(a[i], a_transposed ? &s.a[stage][kk + q / 2 * 8 + r][wm + 16 * i + q % 2 * 8]
                                                           : &s.a[stage][wm + 16 * i + q % 2 * 8 + r][kk + q / 2 * 8]);
#pragma unroll
        for (int j = 0; j < NI / 2; j++)
            load_matrices<!b_transposed>(b[j], b_transposed ? &s.b[stage][wn + 16 * j + q / 2 * 8 + r][kk + q % 2 * 8]
                                                            : &s.b[stage][kk + q % 2 * 8 + r][wn + 16 * j + q / 2 * 8]);
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int j = 0; j < NI; j++)
                mma_bf16(acc.of[i][j], a[i], &b[j / 2][j % 2 * 2]);
    }
}

template <class C, bool a_transposed, bool b_transposed> static __global__ void __launch_bounds__(C::THREADS) tensor_product(struct products all)
{
    typedef tensor_tiles<C, a_transposed, b_transposed> tiles;
    const struct block_work w = work_of<C>(all, blockIdx.x, blockIdx.y);
    const int warp = threadIdx.x / 32, part_stages = PART / C::BK, n_stages = (int)((w.end - w.begin + C::BK - 1) / C::BK);
    const int64_t row = w.row + warp / C::WN * C::TM, column = w.column + warp % C::WN * C::TN;
    const bool cut = b_transposed && n_stages > part_stages;
    struct accumulators<C> acc;
    SHARED(tiles, s);

    start<C>(acc, w.p, row, column, w.p.accumulate ? w.p.m : 0);
    for (int stage = 0; stage < C::STAGES - 1; stage++) {
        if (stage < n_stages)
            load_stage<C, a_transposed, b_transposed>(s, w.p, w.row, w.column, w.begin + (int64_t)stage * C::BK, stage);
        commit_copies();
    }
    for (int at = 0; at < n_stages; at++) {
        const int next = at + C::STAGES - 1;

        wait_copies<C::STAGES - 2>();
        __syncthreads(); /* this stage is there for all, and the one before has been used by all */
        if (next < n_stages)
            load_stage<C, a_transposed, b_transposed>(s, w.p, w.row, w.column, w.begin + (int64_t)next * C::BK, next % C::STAGES);
        commit_copies();
        if (cut && at > 0 && at % part_stages == 0) {
            finish<C>(acc, w.p, row, column, at > part_stages);
            start<C>(acc, w.p, row, column, 0);
        }
        add_stage<C, a_transposed, b_transposed>(acc, s, at % C::STAGES, w.end - w.begin - (int64_t)at * C::BK);
    }
    wait_copies<0>();
    finish<C>(acc, w.p, row, column, cut);
}

/* ---- launching ---- */

template <class C, bool a_transposed, bool b_transposed> static int run_form(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    static_assert(C::BM * C::BN <= GPU_TILE_OUTPUTS, "the memory that is planned for parts");
    struct products all;
    int rc = gpu_products_set(dev, &all, p, n, C::BM, C::BN, err);

    if (rc == JRL_OK)
        rc = gpu_launch(dev, err, C::name(), tensor_product<C, a_transposed, b_transposed>,
                        dim3((unsigned)all.n_tiles, (unsigned)all.parts), C::THREADS, sizeof(tensor_tiles<C, a_transposed, b_transposed>), all);
    return rc < 0 ? rc : gpu_products_join(dev, &all, err);
}

template <class C> static int run_class(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    if (p->a_step != 1)
        return run_form<C, true, false>(dev, p, n, err);
    return p->b_step == 1 ? run_form<C, false, true>(dev, p, n, err) : run_form<C, false, false>(dev, p, n, err);
}

/* The number of the cheapest class and its cost. */
static int cheapest(const struct jrl_device *dev, const struct gpu_product *p, int n, double *cost)
{
    const double costs[] = { tile_cost<tiles_64_64>(dev, p, n), tile_cost<tiles_128_128>(dev, p, n), tile_cost<tiles_128_256>(dev, p, n) };
    int best = 0;

    for (int i = 1; i < 3; i++)
        if (costs[i] <= costs[best])
            best = i;
    *cost = costs[best];
    return best;
}

double gpu_product_mma_cost(const struct jrl_device *dev, const struct gpu_product *p, int n)
{
    double cost;

    (void)cheapest(dev, p, n, &cost);
    return cost;
}

int gpu_product_mma(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    double cost;

    switch (cheapest(dev, p, n, &cost)) {
    case 0: return run_class<tiles_64_64>(dev, p, n, err);
    case 1: return run_class<tiles_128_128>(dev, p, n, err);
    default: return run_class<tiles_128_256>(dev, p, n, err);
    }
}
