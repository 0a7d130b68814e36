/* attention_order.cuh - the order of additions of attention forward, which attention_tensor.cu, attention_parts.cu and attention_wgmma.cu share: they give a
 * row the same bits. For these only. */
#ifndef JRL_KERNELS_CUDA_ATTENTION_ORDER_CUH
#define JRL_KERNELS_CUDA_ATTENTION_ORDER_CUH

#include "kernels/cuda/attention_gpu.h"

#define HALF_POSITIONS (GPU_HALF_PAGES * JRL_PAGE_TOKENS)

/* ---- half a part ----
 * Its scores come first, of all its pages; their maximum, or that of the half before, is what P is relative to; then P V of its pages is added in order.
 * A maximum is that of the scores times UNIT, so that P is a power of two: the bits need not be the CPU's, and P is rounded to bf16 next. Tiles of scores lie
 * in a thread as mma_bf16 leaves them: of each 8 positions two of query g and two of query g + 8. */

static __device__ __forceinline__ float score_unit(const struct gpu_attention_call &c) { return c.scale * 0x1.715476p0f; }

/* -infinity where query I, the thread's first or second, at POSITION does not see; the first score is of position FIRST. */
template <int N> static __device__ __forceinline__ void hide(float (*score)[4], int i, int first, int position)
{
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int e = 2 * i; e < 2 * i + 2; e++)
            score[j][e] = first + 8 * j + 2 * (int)(threadIdx.x % 4) + e % 2 <= position ? score[j][e] : -INFINITY;
}

/* The largest score of query I over the four threads that share it. */
template <int N> static __device__ __forceinline__ float largest(const float (*score)[4], int i)
{
    float max = -INFINITY;

#pragma unroll
    for (int j = 0; j < N; j++)
        max = fmaxf(max, fmaxf(score[j][2 * i], score[j][2 * i + 1]));
    max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 1));
    return fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 2));
}

/* P of query I in place of its scores, relative to MAX. Gives the sum of the thread's own: of each page, then of the pages. */
template <int N> static __device__ __forceinline__ float weigh(float (*score)[4], int i, float unit, float max)
{
    const int TILES = JRL_PAGE_TOKENS / 8;
    const float base = max == -INFINITY ? 0.0f : max;
    float sum = 0;

#pragma unroll
    for (int page = 0; page < N / TILES; page++) {
        float of_page = 0;

#pragma unroll
        for (int j = page * TILES; j < (page + 1) * TILES; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++) {
                score[j][e] = quick_exp2(fmaf(score[j][e], unit, -base));
                of_page += score[j][e];
            }
        sum += of_page;
    }
    return sum;
}

/* ---- joining ---- */

/* The factors that bring two sums relative to their own maxima to the larger; both 1 or 0 where a side is empty. */
struct factors {
    float max, of_a, of_b;
};
static __device__ __forceinline__ struct factors join_factors(float a, float b)
{
    struct factors f;
    f.max = larger(a, b);
    const float base = f.max == -INFINITY ? 0.0f : f.max;
    f.of_a = quick_exp2(a - base);
    f.of_b = quick_exp2(b - base);
    return f;
}

/* All so far and one more part: in this order. */
static __device__ __forceinline__ float joined(float all, float part, const struct factors &f)
{
    return fmaf(part, f.of_b, all * f.of_a);
}

/* The scores of half a part: the maximum and the thread's part of the sum follow on. Gives the factors of what was there before. */
struct half_factors {
    float of[2];
};
static __device__ __forceinline__ struct half_factors weigh_half(uint32_t (*p)[4], float (*score)[4], float max[2], float sum[2], float unit)
{
    struct half_factors f;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const struct factors both = join_factors(max[i], largest<HALF_POSITIONS / 8>(score, i) * unit);

        max[i] = both.max;
        f.of[i] = both.of_a;
        sum[i] = fmaf(sum[i], both.of_a, weigh<HALF_POSITIONS / 8>(score, i, unit, both.max));
    }
    to_operand<HALF_POSITIONS / 8>(p, score);
    return f;
}

/* The sum of a part over the four threads that share a query. */
static __device__ __forceinline__ float shared_sum(float sum)
{
    sum += __shfl_xor_sync(ALL_LANES, sum, 1);
    return sum + __shfl_xor_sync(ALL_LANES, sum, 2);
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
    const int group = (int)c.n_heads / (int)c.n_kv_heads;

    if (row >= c.n_rows || c.rows[row].pages)
        return;
    for (int i = thread; i < group * (int)c.dim; i += threads)
        static_cast<jrl_bf16 *>(c.out)[(row * c.n_heads + kv * group) * c.dim + i] = 0;
    for (int i = thread; c.lse && i < group; i += threads)
        c.lse[row * c.n_heads + kv * group + i] = 0;
}

/* Outputs of a query from COLUMN on: N, even. */
static __device__ __forceinline__ void write_bf16(const struct gpu_attention_call &c, const struct query &q, int column, const float *x, int n)
{
    uint32_t *out = reinterpret_cast<uint32_t *>(static_cast<jrl_bf16 *>(c.out) + (q.row * c.n_heads + q.head) * c.dim + column);

    for (int i = 0; i < n / 2; i++)
        out[i] = pair_of(x[2 * i], x[2 * i + 1]);
}
static __device__ __forceinline__ void write_lse(const struct gpu_attention_call &c, const struct query &q, float max, float sum)
{
    if (c.lse)
        c.lse[q.row * c.n_heads + q.head] = fmaf(max, (float)M_LN2, jrl_logf_inline(sum));
}

/* What a thread knows of queries g and g + 8 of its warp's 16: of a part, or of all so far. */
template <int D> struct running {
    float max[2], sum[2], out[D / 8][4];
};
template <int D> static __device__ __forceinline__ void start(struct running<D> &s)
{
    s.max[0] = s.max[1] = -INFINITY;
    s.sum[0] = s.sum[1] = 0;
#pragma unroll
    for (int i = 0; i < D / 2; i++)
        s.out[i / 4][i % 4] = 0;
}
template <int D> static __device__ __forceinline__ void scale_outputs(struct running<D> &part, const struct half_factors &f)
{
#pragma unroll
    for (int i = 0; i < D / 2; i++)
        part.out[i / 4][i % 4] *= f.of[i % 4 / 2];
}
/* PART is there as a whole but for the sums, which are the thread's own. */
template <int D> static __device__ __forceinline__ void join_part(struct running<D> &all, const struct running<D> &part)
{
    struct factors f[2];

#pragma unroll
    for (int i = 0; i < 2; i++) {
        f[i] = join_factors(all.max[i], part.max[i]);
        all.max[i] = f[i].max;
        all.sum[i] = joined(all.sum[i], shared_sum(part.sum[i]), f[i]);
    }
#pragma unroll
    for (int i = 0; i < D / 2; i++)
        all.out[i / 4][i % 4] = joined(all.out[i / 4][i % 4], part.out[i / 4][i % 4], f[i % 4 / 2]);
}
/* Of queries F and F + 8 of a tile. */
template <int D>
static __device__ __forceinline__ void write_rows(const struct gpu_attention_call &c, const struct running<D> &s, int64_t row, int end, int f, int kv)
{
    const int t = threadIdx.x % 4;

    for (int i = 0; i < 2; i++) {
        const struct query q = query_of(c, row, end, f + 8 * i, kv);
        const float inverse = 1.0f / s.sum[i];

        if (!q.valid)
            continue;
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            const float x[2] = { s.out[j][2 * i] * inverse, s.out[j][2 * i + 1] * inverse };
            write_bf16(c, q, 8 * j + 2 * t, x, 2);
        }
        if (t == 0)
            write_lse(c, q, s.max[i], s.sum[i]);
    }
}

#endif
