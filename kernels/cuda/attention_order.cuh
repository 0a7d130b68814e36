/* attention_order.cuh - what attention_tensor.cu, attention_parts.cu and attention_wgmma.cu share, so that they give a row the same bits. For these only. */
#ifndef JRL_KERNELS_CUDA_ATTENTION_ORDER_CUH
#define JRL_KERNELS_CUDA_ATTENTION_ORDER_CUH

#include "kernels/cuda/arrive.cuh"
#include "kernels/cuda/attention_gpu.h"

/* e^x of x <= 0 for scores relative to a maximum: both ways of going through positions take it, so its bits need not be the CPU's; P is rounded to bf16 next. */
static __device__ __forceinline__ float attention_exp(float x) { return quick_exp2(x * 0x1.715476p0f); }

/* The factors that bring two sums relative to their own maxima to the larger; both 1 or 0 where a side is empty. */
struct factors {
    float max, of_a, of_b;
};
static __device__ __forceinline__ struct factors join_factors(float a, float b)
{
    struct factors f;
    f.max = larger(a, b);
    const float base = f.max == -INFINITY ? 0.0f : f.max;
    f.of_a = attention_exp(a - base);
    f.of_b = attention_exp(b - base);
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
    const int group = (int)c.n_heads / (int)c.n_kv_heads;

    if (row >= c.n_rows || c.rows[row].pages)
        return;
    for (int i = thread; i < group * (int)c.dim; i += threads)
        static_cast<jrl_bf16 *>(c.out)[(row * c.n_heads + kv * group) * c.dim + i] = 0;
    for (int i = thread; c.lse && i < group; i += threads)
        c.lse[row * c.n_heads + kv * group + i] = 0;
}

/* ---- parts that several tiles of a sequence work out, and joining them ---- */

/* What a part gives a query, in its slot and where parts are joined; the factors are for the latter. */
template <int D> struct part_row {
    __align__(16) float out[D];
    float max, sum, of_all, of_part;
};
template <int D>
static __device__ __forceinline__ struct part_row<D> *slot_of(const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv, int part)
{
    return static_cast<struct part_row<D> *>(c.slots) + ((tile.slot + part) * c.n_kv_heads + kv) * GPU_TILE_ROWS;
}

/* Whether all tiles of the sequence have left their parts now. */
template <int THREADS> static __device__ __forceinline__ bool is_last_tile(int *last, const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv)
{
    return is_last<THREADS>(last, c.arrived + tile.row * c.n_kv_heads + kv, tile.n_tiles);
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
        c.lse[q.row * c.n_heads + q.head] = max + jrl_logf_inline(sum);
}

/* The factors of N parts of N_ROWS queries, for what is joined before each and for itself. */
template <int D, int THREADS>
static __device__ __forceinline__ void find_factors(const struct part_row<D> *all, struct part_row<D> *parts, int n_rows, int n)
{
    for (int i = threadIdx.x % THREADS; i < n * GPU_TILE_ROWS; i += THREADS) {
        const int f = i % GPU_TILE_ROWS;
        struct part_row<D> *part = parts + i / GPU_TILE_ROWS * n_rows + f;

        if (f >= n_rows)
            continue;
        float before = all[f].max;
        for (const struct part_row<D> *earlier = parts + f; earlier < part; earlier += n_rows)
            before = larger(before, earlier->max);
        const struct factors factors = join_factors(before, part->max);
        part->of_all = factors.of_a;
        part->of_part = factors.of_b;
    }
}

/* Adds N parts, in order, to what is joined so far. */
template <int D, int THREADS>
static __device__ __forceinline__ void add_parts(struct part_row<D> *all, const struct part_row<D> *parts, int n_rows, int n)
{
    const int thread = threadIdx.x % THREADS, of_sums = THREADS - 1 - thread; /* those that have the fewest columns */

    for (int at = thread; at < n_rows * (D / 4); at += THREADS) {
        const int f = at / (D / 4), column = at % (D / 4) * 4;
        struct piece<4> sum = load_piece<4>(all[f].out + column);
#pragma unroll 4
        for (int p = 0; p < n; p++) {
            const struct part_row<D> &part = parts[p * n_rows + f];
            const struct factors factors = { 0, part.of_all, part.of_part };
            const struct piece<4> x = load_piece<4>(part.out + column);

#pragma unroll
            for (int e = 0; e < 4; e++)
                sum.of[e] = joined(sum.of[e], x.of[e], factors);
        }
        store_piece<4>(all[f].out + column, sum);
    }
    if (of_sums >= n_rows)
        return;
    for (const struct part_row<D> *part = parts + of_sums; part < parts + n * n_rows; part += n_rows) {
        const struct factors factors = { 0, part->of_all, part->of_part };

        all[of_sums].max = larger(all[of_sums].max, part->max);
        all[of_sums].sum = joined(all[of_sums].sum, part->sum, factors);
    }
}

/* Joins the parts of a sequence in ascending order and writes the outputs. By THREADS threads with ROOM_ROWS rows of shared memory: what is joined so
 * far, and behind it as many parts at a time as fit, all on their way at once. */
template <int D, int THREADS>
static __device__ __forceinline__ void join_parts(const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv, struct part_row<D> *all,
                                                  int room_rows)
{
    const int thread = threadIdx.x % THREADS, n_rows = (int)tile.end, at_once = room_rows / n_rows - 1;
    struct part_row<D> *parts = all + n_rows;

    for (int i = thread; i < n_rows * (D + 4); i += THREADS)
        reinterpret_cast<float *>(all)[i] = 0;
    meet<THREADS>();
    if (thread < n_rows)
        all[thread].max = -INFINITY;
    for (int first = 0; first < tile.n_parts; first += at_once) {
        const int n = tile.n_parts - first < at_once ? tile.n_parts - first : at_once;

        for (int p = 0; p < n; p++) {
            const float *from = slot_of<D>(c, tile, kv, first + p)->out;
            for (int i = thread; i < n_rows * (D + 4) / 4; i += THREADS)
                copy_16(parts[p * n_rows].out + 4 * i, from + 4 * i, true);
        }
        commit_copies();
        wait_copies<0>();
        meet<THREADS>();
        find_factors<D, THREADS>(all, parts, n_rows, n);
        meet<THREADS>();
        add_parts<D, THREADS>(all, parts, n_rows, n);
        meet<THREADS>();
    }
#pragma unroll 1
    for (int at = thread; at < n_rows * (D / 4); at += THREADS) {
        const int f = at / (D / 4), column = at % (D / 4) * 4;
        const struct query q = query_of(c, tile.row, tile.end, f, kv);
        struct piece<4> x = load_piece<4>(all[f].out + column);

        for (int e = 0; e < 4; e++)
            x.of[e] /= all[f].sum;
        write_bf16(c, q, column, x.of, 4);
        if (column == 0)
            write_lse(c, q, all[f].max, all[f].sum);
    }
}

#endif
