/* fours.cuh - loops over the elements of arrays, four at a time. For files of kernels/cuda only.
 * A loop over single elements asks for 8 KB of each array at a time and processor, and what comes from memory needs more under way: on an H200 such loops
 * reached half of its speed. Here a thread takes 16 bytes of f32, where all arrays lie and end so that it can. */
#ifndef JRL_KERNELS_CUDA_FOURS_CUH
#define JRL_KERNELS_CUDA_FOURS_CUH

#include "kernels/cuda/gpu.h"

/* Elements that one thread takes together: 1 or 4. */
template <int W> struct several {
    static const int N = W;
    float of[W];
};

static __device__ __forceinline__ void take(several<1> &v, const float *x) { v.of[0] = *x; }
static __device__ __forceinline__ void take(several<1> &v, const jrl_bf16 *x) { v.of[0] = to_f32(*x); }
static __device__ __forceinline__ void take(several<4> &v, const float *x)
{
    const float4 all = *reinterpret_cast<const float4 *>(x);

    v.of[0] = all.x;
    v.of[1] = all.y;
    v.of[2] = all.z;
    v.of[3] = all.w;
}
static __device__ __forceinline__ void take(several<4> &v, const jrl_bf16 *x)
{
    const uint64_t all = *reinterpret_cast<const uint64_t *>(x);

    for (int i = 0; i < 4; i++)
        v.of[i] = to_f32((jrl_bf16)(all >> (16 * i)));
}
/* As an expression: the elements at X. */
template <class V, class T> static __device__ __forceinline__ V taken(const T *x)
{
    V v;

    take(v, x);
    return v;
}

template <class T> static __device__ __forceinline__ void put(T *y, const several<1> &v) { store(y, v.of[0]); }
static __device__ __forceinline__ void put(float *y, const several<4> &v)
{
    *reinterpret_cast<float4 *>(y) = { v.of[0], v.of[1], v.of[2], v.of[3] };
}
static __device__ __forceinline__ void put(jrl_bf16 *y, const several<4> &v)
{
    const uint32_t low = jrl_f32_to_bf16(v.of[0]) | (uint32_t)jrl_f32_to_bf16(v.of[1]) << 16;
    const uint32_t high = jrl_f32_to_bf16(v.of[2]) | (uint32_t)jrl_f32_to_bf16(v.of[3]) << 16;

    *reinterpret_cast<uint64_t *>(y) = low | (uint64_t)high << 32;
}

/* F(several<W>(), I): elements I .. I + W - 1 of N, by all threads or by those of a block. */
template <class F> static __device__ __forceinline__ void for_elements(int64_t n, bool fours, F f)
{
    if (fours)
        for (int64_t i = 4 * first_index(); i < n; i += 4 * index_step())
            f(several<4>(), i);
    else
        for (int64_t i = first_index(); i < n; i += index_step())
            f(several<1>(), i);
}
template <class F> static __device__ __forceinline__ void for_elements_of_block(int n, bool fours, F f)
{
    if (fours)
        for (int i = 4 * threadIdx.x; i < n; i += 4 * blockDim.x)
            f(several<4>(), i);
    else
        for (int i = threadIdx.x; i < n; i += blockDim.x)
            f(several<1>(), i);
}

/* A thread for four elements: what blocks differ in then evens out over many. */
static inline dim3 four_blocks(int64_t n, int threads)
{
    return dim3((unsigned)smaller(divide_up(n, 4 * threads), INT32_MAX));
}

#endif
