/* attention_order.cuh - what attention_tensor.cu, attention_parts.cu and attention_wgmma.cu share, so that they give a row the same bits. For these only. */
#ifndef JRL_KERNELS_CUDA_ATTENTION_ORDER_CUH
#define JRL_KERNELS_CUDA_ATTENTION_ORDER_CUH

#include "kernels/cuda/attention_gpu.h"

/* The factors that bring two sums relative to their own maxima to the larger; both 1 or 0 where a side is empty. */
struct factors {
    float max, of_a, of_b;
};
static __device__ __forceinline__ struct factors join_factors(float a, float b)
{
    struct factors f;
    f.max = larger(a, b);
    const float base = f.max == -INFINITY ? 0.0f : f.max;
    f.of_a = exp_below(a - base);
    f.of_b = exp_below(b - base);
    return f;
}

/* All so far and one more part: in this order. */
static __device__ __forceinline__ float joined(float all, float part, const struct factors &f)
{
    return all * f.of_a + part * f.of_b;
}

/* Where a query's results go. */
struct query {
    int64_t row, head;
    bool valid;
};
static __device__ __forceinline__ struct query query_of(const struct gpu_attention_call &c, int64_t row, int64_t end, int64_t f, int64_t kv)
{
    const unsigned group = (unsigned)c.n_heads / (unsigned)c.n_kv_heads; /* divisions of 64 bits take a hundred instructions each */
    const struct query q = { row + (unsigned)f / group, kv * group + (unsigned)f % group, f < end };
    return q;
}

/* A row that belongs to no sequence gets zeros from THREADS threads, for the heads of KV; ROW may lie behind the last. */
static __device__ __forceinline__ void clear_row_of_nobody(const struct gpu_attention_call &c, int64_t row, int64_t kv, int thread, int threads)
{
    const int64_t group = c.n_heads / c.n_kv_heads;

    if (row >= c.n_rows || c.rows[row].pages)
        return;
    for (int64_t i = thread; i < group * c.dim; i += threads)
        static_cast<jrl_bf16 *>(c.out)[(row * c.n_heads + kv * group) * c.dim + i] = 0;
    for (int64_t i = thread; c.lse && i < group; i += threads)
        c.lse[row * c.n_heads + kv * group + i] = 0;
}

#endif
