/* matmul_exact.cu - products in the contract's order on the ordinary units: the CPU's bits, for f32 and for checks. */
#include "kernels/cuda/product.h"

#define ROWS 32
#define COLUMNS 64
#define BLOCK 32 /* of the contracted index, the contract's */
#define THREADS 128 /* each 4 rows by 4 columns */

struct exact_tiles {
    float a[BLOCK][ROWS + 1], b[BLOCK][COLUMNS + 1];
};

/* One block of the contracted index, zeros outside the matrices. Neighbouring threads read neighbouring elements. */
template <class T> static __device__ void load_tiles(struct exact_tiles &s, const struct gpu_product &p, int64_t row, int64_t column, int64_t block)
{
    const T *a = static_cast<const T *>(p.a), *b = static_cast<const T *>(p.b);

    for (int i = threadIdx.x; i < BLOCK * ROWS; i += THREADS) {
        const int k = p.a_step == 1 ? i % BLOCK : i / ROWS, r = p.a_step == 1 ? i / BLOCK : i % ROWS;
        s.a[k][r] = row + r < p.m && block + k < p.k ? to_f32(a[(row + r) * p.a_row + (block + k) * p.a_step]) : 0.0f;
    }
    for (int i = threadIdx.x; i < BLOCK * COLUMNS; i += THREADS) {
        const int k = p.b_step == 1 ? i % BLOCK : i / COLUMNS, c = p.b_step == 1 ? i / BLOCK : i % COLUMNS;
        s.b[k][c] = column + c < p.n && block + k < p.k ? to_f32(b[(column + c) * p.b_column + (block + k) * p.b_step]) : 0.0f;
    }
}

template <class T> static __global__ void __launch_bounds__(THREADS) exact_product(struct gpu_product p)
{
    const int ty = threadIdx.x / 16 * 4, tx = threadIdx.x % 16;
    const int64_t row = (int64_t)blockIdx.x * ROWS, column = (int64_t)blockIdx.y * COLUMNS;
    float acc[4][4];
    SHARED(struct exact_tiles, s);

    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int64_t r = row + ty + i, c = column + tx + 16 * j;
            acc[i][j] = p.accumulate && r < p.m && c < p.n ? p.c[r * p.ldc + c] : 0.0f;
        }
    for (int64_t block = 0; block < p.k; block += BLOCK) {
        float even[4][4] = {}, odd[4][4] = {};

        __syncthreads();
        load_tiles<T>(s, p, row, column, block);
        __syncthreads();
        for (int k = 0; k < BLOCK; k += 2)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) {
                    even[i][j] = fmaf(s.a[k][ty + i], s.b[k][tx + 16 * j], even[i][j]);
                    odd[i][j] = fmaf(s.a[k + 1][ty + i], s.b[k + 1][tx + 16 * j], odd[i][j]);
                }
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++)
                acc[i][j] += even[i][j] + odd[i][j];
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int64_t r = row + ty + i, c = column + tx + 16 * j;
            if (r < p.m && c < p.n)
                p.c[r * p.ldc + c] = acc[i][j];
        }
}

int gpu_product_exact(struct jrl_device *dev, enum jrl_dtype dtype, const struct gpu_product *p, struct jrl_error *err)
{
    const dim3 grid((unsigned)divide_up(p->m, ROWS), (unsigned)divide_up(p->n, COLUMNS));

    if (dtype == JRL_F32)
        return LAUNCH(exact_product<float>, grid, THREADS, sizeof(struct exact_tiles), *p);
    return LAUNCH(exact_product<jrl_bf16>, grid, THREADS, sizeof(struct exact_tiles), *p);
}
