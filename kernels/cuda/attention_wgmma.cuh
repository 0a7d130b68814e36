/* attention_wgmma.cuh - what attention by Hopper's matrix instructions shares, forward and backward: pages as operands. For these files only. */
#ifndef JRL_KERNELS_CUDA_ATTENTION_WGMMA_CUH
#define JRL_KERNELS_CUDA_ATTENTION_WGMMA_CUH

#include "kernels/cuda/attention_gpu.h"
#include "kernels/cuda/bulk.cuh"
#include "kernels/cuda/wgmma.cuh"

/* Operands: 64 columns of all rows, then the next 64 (wgmma.cuh). */
template <int ROWS, int D> struct operand {
    static const int CHUNK = ROWS * 128;
    __align__(1024) unsigned char of[D / 64 * CHUNK];
};

#if defined(WGMMA_EXISTS)

/* A warp tells that it has read, or written for others, what a barrier stands for. */
static __device__ __forceinline__ void tell(arrivals *a)
{
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        arrive(a);
}

/* square = 64 rows of X from ROW on by the rows of Y, contracted over the head. */
template <int ROWS_OF_X, int ROWS, int D>
static __device__ __forceinline__ void multiply(float (&square)[ROWS / 8][4], const struct operand<ROWS_OF_X, D> &x, int row, const struct operand<ROWS, D> &y)
{
    const uint32_t a = shared_address(x.of) + row * 128, b = shared_address(y.of);

    settle(square);
    fence_sums();
#pragma unroll
    for (int k = 0; k < D / 16; k++)
        wgmma_64<false, false>(square, operand_at(a + k / 4 * x.CHUNK + k % 4 * 32, x.CHUNK), operand_at(b + k / 4 * y.CHUNK + k % 4 * 32, y.CHUNK), k > 0);
}

#endif

#endif
