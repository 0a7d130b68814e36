/* columns.cuh - sums over the rows of a matrix, column by column, in the order of the rows. For files of kernels/cuda only.
 * A thread that adds a column all by itself waits for memory at every few rows: 16k rows took it milliseconds. Here sixteen warps bring the terms
 * of 32 columns to shared memory, many rows on their way at a time, and one of them adds. */
#ifndef JRL_KERNELS_CUDA_COLUMNS_CUH
#define JRL_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/cuda/gpu.h"

#define COLUMN_WARPS 16
#define COLUMN_THREADS (32 * COLUMN_WARPS)
#define COLUMN_ROWS 128 /* brought at a time */

struct column_terms {
    float of[COLUMN_ROWS][32];
};
static inline dim3 column_blocks(int64_t columns) { return dim3((unsigned)divide_up(columns, 32)); }

/* SUMS[column] += TERM(row, column) of all rows, by column_blocks blocks of COLUMN_THREADS. */
template <class F> static __device__ __forceinline__ void add_columns(struct column_terms &s, float *sums, int64_t rows, int64_t columns, F term)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int64_t column = (int64_t)blockIdx.x * 32 + lane;
    const bool adds = warp == 0 && column < columns;
    float sum = adds ? sums[column] : 0.0f;

    for (int64_t first = 0; first < rows; first += COLUMN_ROWS) {
        const int n = (int)(rows - first < COLUMN_ROWS ? rows - first : COLUMN_ROWS);
        float terms[COLUMN_ROWS / COLUMN_WARPS];

#pragma unroll
        for (int i = 0; i < COLUMN_ROWS / COLUMN_WARPS; i++)
            terms[i] = COLUMN_WARPS * i + warp < n && column < columns ? term(first + COLUMN_WARPS * i + warp, column) : 0.0f;
#pragma unroll
        for (int i = 0; i < COLUMN_ROWS / COLUMN_WARPS; i++)
            s.of[COLUMN_WARPS * i + warp][lane] = terms[i];
        __syncthreads();
#pragma unroll 16
        for (int r = 0; r < n && warp == 0; r++)
            sum += s.of[r][lane];
        __syncthreads(); /* before they are overwritten */
    }
    if (adds)
        sums[column] = sum;
}

#endif
