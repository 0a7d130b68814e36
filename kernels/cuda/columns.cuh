/* columns.cuh - sums over the rows of a matrix, column by column, in the order of the rows. For files of kernels/cuda only.
 * The order leaves one chain of additions a column, four cycles each: 16k rows are 36 us at least, about what memory takes for two matrices of 1536 columns. So
 * the eight columns of a block, which are a sector of 32 bytes, are brought by eight warps, 512 rows at a time, while eight threads add the 512 before. */
#ifndef JRL_KERNELS_CUDA_COLUMNS_CUH
#define JRL_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/cuda/gpu.h"

#define COLUMNS 8 /* of a block */
#define COLUMN_THREADS 256
#define COLUMN_EACH 16 /* rows that a thread brings at a time */
#define COLUMN_STEP (COLUMN_THREADS / COLUMNS)
#define COLUMN_ROWS (COLUMN_STEP * COLUMN_EACH)

/* Terms of two times so many rows. The columns lie so that a warp's stores, four rows by eight columns, meet each bank once, as do reads of four rows. */
struct column_terms {
    __align__(16) float of[2][COLUMNS][COLUMN_ROWS + 4];
};
static inline dim3 column_blocks(int64_t columns) { return dim3((unsigned)divide_up(columns, COLUMNS)); }

/* Terms that are read from shared memory while as many are added. */
struct terms_ahead {
    float4 of[4];
};
static __device__ __forceinline__ struct terms_ahead read_ahead(const float *from)
{
    struct terms_ahead next;

#pragma unroll
    for (int i = 0; i < 4; i++)
        next.of[i] = *reinterpret_cast<const float4 *>(from + 4 * i);
    return next;
}

/* SUM and the first N terms at FROM, the start of a column. */
static __device__ __forceinline__ float add_terms(float sum, const float *from, int n)
{
    struct terms_ahead next = read_ahead(from);
    int r = 0;

#pragma unroll 2
    for (; r + 16 <= n; r += 16) {
        const struct terms_ahead terms = next;

        next = read_ahead(from + (r + 16) % COLUMN_ROWS); /* behind the last it is of no use */
#pragma unroll
        for (int i = 0; i < 4; i++)
            sum = sum + terms.of[i].x + terms.of[i].y + terms.of[i].z + terms.of[i].w;
    }
    for (; r < n; r++)
        sum += from[r];
    return sum;
}

/* SUMS[column] += TERM(LOAD(row, column)) of all rows, by column_blocks blocks of COLUMN_THREADS. LOAD only reads memory, so that nothing waits for it before
 * the additions; R is what it returns. */
template <class R, class L, class F>
static __device__ __forceinline__ void add_columns(struct column_terms &s, float *sums, int64_t rows, int64_t columns, L load, F term)
{
    const int mine = threadIdx.x % COLUMNS, at = threadIdx.x / COLUMNS;
    const int64_t column = (int64_t)blockIdx.x * COLUMNS + mine;
    const bool adds = threadIdx.x < COLUMNS && column < columns;
    float sum = adds ? sums[column] : 0.0f;
    int now = 1;

    for (int64_t first = -COLUMN_ROWS; first < rows; first += COLUMN_ROWS, now = 1 - now) {
        const int64_t row = first + COLUMN_ROWS + at;
        R raw[COLUMN_EACH];

        __syncthreads(); /* the terms from FIRST on are there, and those before them added */
#pragma unroll
        for (int i = 0; i < COLUMN_EACH; i++)
            raw[i] = row + COLUMN_STEP * i < rows && column < columns ? load(row + COLUMN_STEP * i, column) : R();
        if (adds && first >= 0)
            sum = add_terms(sum, s.of[now][mine], (int)(rows - first < COLUMN_ROWS ? rows - first : COLUMN_ROWS));
#pragma unroll
        for (int i = 0; i < COLUMN_EACH; i++)
            s.of[1 - now][mine][COLUMN_STEP * i + at] = term(raw[i]);
    }
    if (adds)
        sums[column] = sum;
}

#endif
