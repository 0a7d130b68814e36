/* matmul_tensor.cu - products of bf16 on tensor cores. Every class of tiles adds an output's terms in the same order: one
 * accumulator, the contracted index in steps of 16 from its start, never split. So an output depends on its row and column
 * alone, and a row has the same bits whether it is multiplied alone or among thousands. */
#include "kernels/cuda/product.h"

#define STEP 16 /* of the contracted index: one instruction */
#define PAD 8   /* elements behind a row of a tile: the rows that one load touches fall into different banks */

/* A class: blocks of BM x BN outputs by WM x WN warps, BK of the contracted index at a time, STAGES of them on their way. */
template <int BM_, int BN_, int BK_, int WM_, int WN_, int STAGES_> struct tile_class {
    static const int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, STAGES = STAGES_, THREADS = 32 * WM_ * WN_;
};
typedef tile_class<16, 32, 64, 1, 2, 6> few_rows;
typedef tile_class<64, 32, 64, 2, 2, 4> some_rows;
typedef tile_class<128, 128, 32, 2, 4, 4> many_rows;

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

template <class C, bool a_transposed, bool b_transposed> static __global__ void __launch_bounds__(C::THREADS) tensor_product(struct gpu_product p)
{
    typedef tensor_tiles<C, a_transposed, b_transposed> tiles;
    const int TM = C::BM / C::WM, TN = C::BN / C::WN, MI = TM / 16, NI = TN / 8; /* of a warp, and its instructions */
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, q = lane / 8, r = lane % 8;
    const int wm = warp / C::WN * TM, wn = warp % C::WN * TN;
    const int64_t row = (int64_t)blockIdx.x * C::BM, column = (int64_t)blockIdx.y * C::BN, n_stages = (p.k + C::BK - 1) / C::BK;
    float acc[MI][NI][4];
    SHARED(tiles, s);

#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
        for (int j = 0; j < NI; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int64_t y = row + wm + 16 * i + g + e / 2 * 8, x = column + wn + 8 * j + 2 * t + e % 2;
                acc[i][j][e] = p.accumulate && y < p.m && x < p.n ? p.c[y * p.ldc + x] : 0.0f;
            }
    for (int stage = 0; stage < C::STAGES - 1; stage++) {
        if (stage < n_stages)
            load_stage<C, a_transposed, b_transposed>(s, p, row, column, (int64_t)stage * C::BK, stage);
        commit_copies();
    }
    for (int64_t at = 0; at < n_stages; at++) {
        const int stage = (int)(at % C::STAGES);
        const int64_t next = at + C::STAGES - 1;

        wait_copies<C::STAGES - 2>();
        __syncthreads(); /* this stage is there for all, and the one before has been used by all */
        if (next < n_stages)
            load_stage<C, a_transposed, b_transposed>(s, p, row, column, next * C::BK, (int)(next % C::STAGES));
        commit_copies();
#pragma unroll
        for (int kk = 0; kk < C::BK; kk += STEP) {
            uint32_t a[MI][4], b[NI / 2][4];

            if (at * C::BK + kk >= p.k)
                break; /* zeros only: other classes have fewer of them */
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
                    mma_bf16(acc[i][j], a[i], &b[j / 2][j % 2 * 2]);
        }
    }
    wait_copies<0>();
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
        for (int j = 0; j < NI; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int64_t y = row + wm + 16 * i + g + e / 2 * 8, x = column + wn + 8 * j + 2 * t + e % 2;
                if (y < p.m && x < p.n)
                    p.c[y * p.ldc + x] = acc[i][j][e];
            }
}

bool gpu_product_aligned(const struct gpu_product *p)
{
    const int64_t lda = p->a_step == 1 ? p->a_row : p->a_step, ldb = p->b_step == 1 ? p->b_column : p->b_step;
    const int64_t a_columns = p->a_step == 1 ? p->k : p->m, b_columns = p->b_step == 1 ? p->k : p->n;

    return lda % 8 == 0 && ldb % 8 == 0 && a_columns % 8 == 0 && b_columns % 8 == 0 && (uintptr_t)p->a % 16 == 0 && (uintptr_t)p->b % 16 == 0;
}

template <class C, bool a_transposed, bool b_transposed> static int run_form(struct jrl_device *dev, const struct gpu_product *p, struct jrl_error *err)
{
    const dim3 grid((unsigned)divide_up(p->m, C::BM), (unsigned)divide_up(p->n, C::BN));
    const size_t bytes = sizeof(tensor_tiles<C, a_transposed, b_transposed>);

    return LAUNCH((tensor_product<C, a_transposed, b_transposed>), grid, C::THREADS, bytes, *p);
}

template <class C> static int run_class(struct jrl_device *dev, const struct gpu_product *p, struct jrl_error *err)
{
    if (p->a_step != 1)
        return run_form<C, true, false>(dev, p, err);
    return p->b_step == 1 ? run_form<C, false, true>(dev, p, err) : run_form<C, false, false>(dev, p, err);
}

int gpu_product_tensor(struct jrl_device *dev, const struct gpu_product *p, struct jrl_error *err)
{
    if (p->m <= few_rows::BM)
        return run_class<few_rows>(dev, p, err);
    return p->m <= some_rows::BM ? run_class<some_rows>(dev, p, err) : run_class<many_rows>(dev, p, err);
}
