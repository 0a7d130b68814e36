/* fours.cuh - loops over the elements of arrays, four at a time. For files of kernels/cuda only.
 * A loop over single elements asks for 8 KB of each array at a time and processor, and what comes from memory needs more under way: on an H200 such loops
 * reached half of its speed. Here a thread takes 16 bytes of f32, where all arrays lie and end so that it can. */
#ifndef JRL_KERNELS_CUDA_FOURS_CUH
#define JRL_KERNELS_CUDA_FOURS_CUH

#include "kernels/cuda/gpu.h"

/* The elements at X, as many as V has. */
template <class V, class T> static __device__ __forceinline__ V taken(const T *x) { return load_piece<V::N>(x); }

/* F(piece<W>(), I): elements I .. I + W - 1 of N, by all threads or by those of a block. */
template <class F> static __device__ __forceinline__ void for_elements(int64_t n, bool fours, F f)
{
    if (fours)
        for (int64_t i = 4 * first_index(); i < n; i += 4 * index_step())
            f(piece<4>(), i);
    else
        for (int64_t i = first_index(); i < n; i += index_step())
            f(piece<1>(), i);
}
template <class F> static __device__ __forceinline__ void for_elements_of_block(int n, bool fours, F f)
{
    if (fours)
        for (int i = 4 * threadIdx.x; i < n; i += 4 * blockDim.x)
            f(piece<4>(), i);
    else
        for (int i = threadIdx.x; i < n; i += blockDim.x)
            f(piece<1>(), i);
}

/* A thread for four elements: what blocks differ in then evens out over many. */
static inline dim3 four_blocks(int64_t n, int threads)
{
    return dim3((unsigned)smaller(divide_up(n, 4 * threads), INT32_MAX));
}

#endif
