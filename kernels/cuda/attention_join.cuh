/* attention_join.cuh - what decoding shares: a page's scores by mma.sync, parts of a sequence that several tiles work out, and joining them. For
 * attention_tensor.cu and attention_parts.cu. */
#ifndef JRL_KERNELS_CUDA_ATTENTION_JOIN_CUH
#define JRL_KERNELS_CUDA_ATTENTION_JOIN_CUH

#include "kernels/cuda/arrive.cuh"
#include "kernels/cuda/attention_order.cuh"

/* The scores of a page: a warp's 16 queries, which lie as in_rows says, by its keys. */
template <int D> static __device__ __forceinline__ void multiply_page(float (*score)[4], const jrl_bf16 *q, const jrl_bf16 *k)
{
    const int lane = threadIdx.x % 32;

#pragma unroll
    for (int d = 0; d < D; d += 32) {
        uint32_t a[2][4], b[4];

        load_matrices<false>(a[0], q + in_rows<GPU_TILE_ROWS>(lane % 16, d + lane / 16 * 8));
        load_matrices<false>(a[1], q + in_rows<GPU_TILE_ROWS>(lane % 16, d + 16 + lane / 16 * 8));
#pragma unroll
        for (int j = 0; j < JRL_PAGE_TOKENS / 8; j++) {
            load_matrices<false>(b, k + in_page<jrl_bf16>(8 * j + lane % 8, d + lane / 8 * 8, D));
            mma_bf16(score[j], a[0], b);
            mma_bf16(score[j], a[1], b + 2);
        }
    }
}

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

        const float inverse = 1.0f / all[f].sum;
        for (int e = 0; e < 4; e++)
            x.of[e] *= inverse;
        write_bf16(c, q, column, x.of, 4);
        if (column == 0)
            write_lse(c, q, all[f].max, all[f].sum);
    }
}

#endif
