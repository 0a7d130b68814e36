/* arrive.cuh - threads that wait for each other, and the last of some blocks or warps that each leave a part of a result in memory: it joins the parts.
 * For the files of kernels/cuda that do so. */
#ifndef JRL_KERNELS_CUDA_ARRIVE_CUH
#define JRL_KERNELS_CUDA_ARRIVE_CUH

#include "kernels/cuda/cuda.cuh"

/* THREADS threads that share a tile wait for each other: a warp or the block. */
template <int THREADS> static __device__ __forceinline__ void meet()
{
    if (THREADS == 32)
        __syncwarp();
    else
        __syncthreads();
}

/* Whether N teams of THREADS threads have left their parts now, which the threads of the last are told. *LAST: shared memory of the team; *ARRIVED: 0, and 0
 * again afterwards.
 * Why all parts are there for all threads of the last team (PTX ISA, "Memory consistency model"): a part is written before its thread meets the one that
 * counts, and meeting synchronises them; its atomic releases at the scope of the GPU, which covers what came before it by that synchronisation too, not
 * only what its own thread wrote; the last team's atomic reads what those before it wrote, each a read-modify-write of the one before it, and acquires; then
 * its thread meets the others. No fence is needed besides, and the one atomic that does both is one trip to L2. */
template <int THREADS> static __device__ __forceinline__ bool is_last(int *last, unsigned *arrived, int n)
{
    meet<THREADS>();
    if (threadIdx.x % THREADS == 0) {
        *last = (int)count_arrival(arrived) == n - 1;
        if (*last)
            *arrived = 0;
    }
    meet<THREADS>();
    return *last;
}

#endif
