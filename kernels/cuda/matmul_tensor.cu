/* matmul_tensor.cu - products of bf16 on tensor cores. Every class of tiles adds an output's terms in the same order: one accumulator,
 * the contracted index in steps of 16 from its start. The form of a layer forward, nt, cuts it into parts of 4480, whose sums are added in
 * ascending order, so that few rows can have the parts side by side. An output depends on its row and column alone, and a row has the
 * same bits whether it is multiplied alone or among thousands. */
#include "kernels/cuda/tiles.cuh"

#define PAD 8 /* elements behind a row of a tile: the rows that one load touches fall into different banks */

#define TILE_CLASS(bm, bn, ...) struct tiles_##bm##_##bn : tile_class<bm, bn, __VA_ARGS__> { static const char *name() { return "tensor_product<" #bm ", " #bn ">"; } }
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
static __device__ __forceinline__ void load_stage(tensor_tiles<C, a_transposed, b_transposed> &s, const struct gpu_product &p, int64_t row, int64_t column, int64_t k,
                                  int stage)
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

/* Parts that lay side by side, added as finish does. A row of blocks a product. */
static __global__ void product_joins(struct products all)
{
    const struct gpu_product p = all.of[blockIdx.y];
    const float *sums = all.sums[blockIdx.y];

    for (int64_t i = first_index(); i < p.m * p.n; i += index_step()) {
        float *c = p.c + i / p.n * p.ldc + i % p.n, sum = *c;

        for (int64_t part = 1; part < all.parts; part++)
            sum += sums[(part - 1) * p.m * p.n + i];
        *c = sum;
    }
}

bool gpu_product_aligned(const struct gpu_product *p)
{
    const int64_t lda = p->a_step == 1 ? p->a_row : p->a_step, ldb = p->b_step == 1 ? p->b_column : p->b_step;
    const int64_t a_columns = p->a_step == 1 ? p->k : p->m, b_columns = p->b_step == 1 ? p->k : p->n;

    return lda % 8 == 0 && ldb % 8 == 0 && a_columns % 8 == 0 && b_columns % 8 == 0 && (uintptr_t)p->a % 16 == 0 && (uintptr_t)p->b % 16 == 0;
}

/* ---- launching ---- */

static int64_t blocks_of(const struct gpu_product *p, int64_t bm, int64_t bn) { return divide_up(p->m, bm) * divide_up(p->n, bn); }

/* Cycles of a processor for a step of the contracted index, by the slowest of: tensor cores, shared memory (128 bytes a
 * cycle), and 40 bytes a cycle from L2; times the blocks that each processor gets. */
template <class C> static double cost(const struct jrl_device *dev, const struct gpu_product *p, int n)
{
    const double rows = p->m < C::BM ? (double)p->m : C::BM;
    const double multiply = (double)C::BM * C::BN * STEP / C::RATE, load = (rows + C::BN) * 2 * STEP / 40;
    const double shared = C::LOADS + (C::BM + C::BN) * 2 * STEP / 128.0;
    const double slowest = multiply > shared ? multiply : shared;
    int64_t blocks = 0;

    for (int i = 0; i < n; i++)
        blocks += blocks_of(&p[i], C::BM, C::BN);
    return (double)divide_up(blocks, gpu_of(dev)->n_processors) * (slowest > load ? slowest : load);
}

/* Parts side by side where one after the other would leave processors without work. */
static int set_parts(struct jrl_device *dev, struct products *all, struct jrl_error *err)
{
    const int64_t parts = divide_up(all->of[0].k, PART);
    int64_t n_sums = 0;
    void *memory;
    int rc;

    if (parts <= 1 || all->n_tiles >= 2 * gpu_of(dev)->n_processors)
        return JRL_OK;
    for (int i = 0; i < all->n; i++)
        n_sums += divide_up((parts - 1) * all->of[i].m * all->of[i].n, 2) * 2;
    if ((rc = gpu_scratch(dev, &memory, GPU_PARTS, (size_t)n_sums * sizeof(float), err)) < 0)
        return rc;
    all->parts = parts;
    all->sums[0] = static_cast<float *>(memory);
    for (int i = 1; i < all->n; i++)
        all->sums[i] = all->sums[i - 1] + divide_up((parts - 1) * all->of[i - 1].m * all->of[i - 1].n, 2) * 2;
    return JRL_OK;
}

void gpu_products_list(struct products *all, const struct gpu_product *p, int n, int64_t bm, int64_t bn)
{
    *all = {};
    all->n = n;
    all->parts = 1;
    for (int i = 0; i < n; i++) {
        all->of[i] = p[i];
        all->first[i] = all->n_tiles;
        all->n_tiles += blocks_of(&p[i], bm, bn);
    }
}

int gpu_products_set(struct jrl_device *dev, struct products *all, const struct gpu_product *p, int n, int64_t bm, int64_t bn, struct jrl_error *err)
{
    int rc = JRL_OK;

    gpu_products_list(all, p, n, bm, bn);
    if (p->b_step == 1 && p->a_step == 1)
        rc = set_parts(dev, all, err);
    all->n_items = all->n_tiles * all->parts;
    return rc;
}

int gpu_products_join(struct jrl_device *dev, const struct products *all, struct jrl_error *err)
{
    int64_t most = 0;

    for (int i = 0; i < all->n; i++)
        most = all->of[i].m * all->of[i].n > most ? all->of[i].m * all->of[i].n : most;
    return all->parts == 1 ? JRL_OK : LAUNCH(product_joins, dim3(gpu_blocks(dev, most, 256).x, (unsigned)all->n), 256, 0, *all);
}

template <class C, bool a_transposed, bool b_transposed> static int run_form(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
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

int gpu_product_tensor(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    const double costs[] = { cost<tiles_64_64>(dev, p, n), cost<tiles_128_128>(dev, p, n), cost<tiles_128_256>(dev, p, n), gpu_product_is_wide(dev, p, n) ? cost<wide>(dev, p, n) : INFINITY };
    int best = 0;

    if (gpu_product_is_slim(dev, p, n))
        return gpu_product_slim(dev, p, n, err);
    if (gpu_product_is_few(p, n))
        return gpu_product_few(dev, p, n, err);
    for (int i = 1; i < 4; i++)
        if (costs[i] <= costs[best])
            best = i;
    switch (best) {
    case 0: return run_class<tiles_64_64>(dev, p, n, err);
    case 1: return run_class<tiles_128_128>(dev, p, n, err);
    case 2: return run_class<tiles_128_256>(dev, p, n, err);
    default: return gpu_product_wgmma(dev, p, n, err);
    }
}
