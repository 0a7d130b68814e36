/* attention_parts.cu - attention forward of single rows and the like (tiles of 16 queries) on tensor cores, a block a part of the positions and
 * key-value head, so that few sequences keep a whole GPU busy. The bits are those of attention_tensor.cu: a warp works out the scores of one
 * page; from the maxima of all pages each warp knows what the running maximum was before and behind its own; then the warps take the pages'
 * products with V in order, each for its own columns. All keys and values of the part are asked for at the start: keys by copies to shared memory, values
 * into registers. Of a sequence with several parts the block that ends last joins them, in ascending order whichever that is. */
#include "kernels/cuda/attention_order.cuh"

#define WARPS GPU_SPLIT_PAGES
#define THREADS (32 * WARPS)
#define PAGE JRL_PAGE_TOKENS
#define JOINED 64 /* parts whose factors are worked out at a time */

template <int D> struct part_room {
    union {
        struct {
            __align__(16) uint32_t k[WARPS][PAGE][D / 2 + 4]; /* the four words more let ldmatrix meet each bank once */
            __align__(16) uint32_t q[GPU_TILE_ROWS][D / 2 + 4];
        };
        struct {
            struct factors factors[GPU_TILE_ROWS][JOINED];
            float maxima[GPU_TILE_ROWS][JOINED], sums[GPU_TILE_ROWS][JOINED];
        } joins;
    };
    uint4 p[WARPS][PAGE / 16][32]; /* as the lanes hold it */
    float max[WARPS][GPU_TILE_ROWS], of_before[WARPS][GPU_TILE_ROWS], sum[WARPS][GPU_TILE_ROWS][4];
    int last;
};

/* Values of a page for columns W g of the warp's own and W - 1 more: words of pairs of positions as the second operand of P V. */
template <int W> struct value_words {
    uint32_t of[PAGE / 16][2][W];
};
template <int W> static __device__ __forceinline__ void load_values(struct value_words<W> &v, const uint32_t *from, int row_words)
{
    const int t = threadIdx.x % 4;

#pragma unroll
    for (int kk = 0; kk < PAGE / 16; kk++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const uint32_t *word = from + (8 * kk + t + 4 * h) * row_words;
            if constexpr (W == 2) {
                const uint2 two = *reinterpret_cast<const uint2 *>(word);
                v.of[kk][h][0] = two.x, v.of[kk][h][1] = two.y;
            } else
                v.of[kk][h][0] = *word;
        }
}

/* Asks for the rows of queries F of the tile and for the warp's page of keys. */
template <int D>
static __device__ __forceinline__ void load_keys(struct part_room<D> &s, const struct gpu_attention_call &c, const struct gpu_tile &tile, const jrl_bf16 *k,
                                                 bool valid, int kv)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    for (int i = lane; valid && i < PAGE * D / 8; i += 32)
        copy_16(&s.k[warp][i / (D / 8)][i % (D / 8) * 4], k + 8 * i, true);
    static_assert(GPU_TILE_ROWS * D / 8 <= THREADS, "a thread has a piece of the queries at most");
    if (const int i = threadIdx.x; i < GPU_TILE_ROWS * D / 8) {
        const struct query q = query_of(c, tile.row, tile.end, tile.first + i / (D / 8), kv);
        const jrl_bf16 *from = static_cast<const jrl_bf16 *>(c.q) + (q.valid ? (q.row * c.n_heads + q.head) * D : 0);
        copy_16(&s.q[i / (D / 8)][i % (D / 8) * 4], from + i % (D / 8) * 8, q.valid);
    }
    commit_copies();
}

/* The scores of a page, as the first half of attention_tensor.cu's add_page has them. */
template <int D> static __device__ __forceinline__ void multiply(float score[PAGE / 8][4], const uint32_t (*q)[D / 2 + 4], const uint32_t (*k)[D / 2 + 4])
{
    const int lane = threadIdx.x % 32;

#pragma unroll
    for (int kk = 0; kk < D / 16; kk += 2) {
        uint32_t a[2][4], b[4];

        load_matrices<false>(a[0], &q[lane % 16][8 * kk + lane / 16 * 4]);
        load_matrices<false>(a[1], &q[lane % 16][8 * kk + 8 + lane / 16 * 4]);
#pragma unroll
        for (int j = 0; j < PAGE / 8; j++) {
            load_matrices<false>(b, &k[8 * j + lane % 8][8 * kk + lane / 8 * 4]);
            mma_bf16(score[j], a[0], b);
            mma_bf16(score[j], a[1], b + 2);
        }
    }
}

/* Scales and cuts what query I of the thread's two must not see, and gives the query's maximum over the page. */
static __device__ __forceinline__ float page_max(float score[PAGE / 8][4], int i, float scale, int first, int position)
{
    float max = -INFINITY;

#pragma unroll
    for (int j = 0; j < PAGE / 8; j++)
#pragma unroll
        for (int e = 2 * i; e < 2 * i + 2; e++) {
            score[j][e] = first + 8 * j + 2 * (int)(threadIdx.x % 4) + e % 2 <= position ? score[j][e] * scale : -INFINITY;
            max = larger(max, score[j][e]);
        }
    max = larger(max, __shfl_xor_sync(ALL_LANES, max, 1));
    return larger(max, __shfl_xor_sync(ALL_LANES, max, 2));
}

/* P of the warp's page relative to the running maximum, its sums, and the factor for what the pages before gave. */
template <int D> static __device__ __forceinline__ void exponentials(struct part_room<D> &s, float score[PAGE / 8][4])
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        float before = -INFINITY, sum = 0;

        for (int p = 0; p < warp; p++)
            before = larger(before, s.max[p][g + 8 * i]);
        const struct factors f = join_factors(before, s.max[warp][g + 8 * i]);
        const float base = f.max == -INFINITY ? 0.0f : f.max;
#pragma unroll
        for (int j = 0; j < PAGE / 8; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++) {
                score[j][e] = exp_below(score[j][e] - base);
                sum += score[j][e];
            }
        s.sum[warp][g + 8 * i][t] = sum;
        if (t == 0)
            s.of_before[warp][g + 8 * i] = f.of_a;
    }
#pragma unroll
    for (int kk = 0; kk < PAGE / 16; kk++)
        s.p[warp][kk][lane] = { pair_of(score[2 * kk][0], score[2 * kk][1]), pair_of(score[2 * kk][2], score[2 * kk][3]),
                                pair_of(score[2 * kk + 1][0], score[2 * kk + 1][1]), pair_of(score[2 * kk + 1][2], score[2 * kk + 1][3]) };
}

/* The part's outputs of query I of the thread, W elements of either of two columns of the products: those that lie side by side. */
template <int W> struct part_outputs {
    float of[W][4], max[2], sum[2];
};
template <int D, int W>
static __device__ __forceinline__ void add_pages(struct part_outputs<W> &o, const struct part_room<D> &s, const struct value_words<W> v[WARPS], int n)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;

#pragma unroll
    for (int p = 0; p < WARPS; p++) {
        if (p >= n)
            break;
        for (int i = 0; i < 2; i++) {
            const float factor = s.of_before[p][g + 8 * i];

            o.max[i] = larger(o.max[i], s.max[p][g + 8 * i]);
            o.sum[i] = o.sum[i] * factor + s.sum[p][g + 8 * i][t];
#pragma unroll
            for (int j = 0; j < W; j++) {
                o.of[j][2 * i] *= factor;
                o.of[j][2 * i + 1] *= factor;
            }
        }
#pragma unroll
        for (int kk = 0; kk < PAGE / 16; kk++) {
            const uint4 of_p = s.p[p][kk][lane];
            const uint32_t a[4] = { of_p.x, of_p.y, of_p.z, of_p.w };
#pragma unroll
            for (int j = 0; j < W; j++) {
                const uint32_t b[2] = { v[p].of[kk][0][j], v[p].of[kk][1][j] };
                mma_bf16(o.of[j], a, b);
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        o.sum[i] += __shfl_xor_sync(ALL_LANES, o.sum[i], 1);
        o.sum[i] += __shfl_xor_sync(ALL_LANES, o.sum[i], 2);
    }
}

/* Outputs of a query to FROM on; OUT[j][c] is column COLUMN + W c + j. */
static __device__ __forceinline__ void write_bf16(const struct gpu_attention_call &c, const struct query &q, int64_t column, const float *x, int n)
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

/* To the output, where the part is all there is (joined to nothing, as a whole sequence begins), or to the slot: of each query D outputs, then all
 * maxima, then all sums. */
template <int D, int W>
static __device__ __forceinline__ void write_part(const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv, float *slot, const struct part_outputs<W> &o)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, column = 8 * W * warp + 2 * W * t;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const struct query q = query_of(c, tile.row, tile.end, tile.first + g + 8 * i, kv);
        const struct factors f = join_factors(-INFINITY, o.max[i]);
        const float sum = joined(0, o.sum[i], f);
        float x[2 * W];

        if (!q.valid)
            continue;
#pragma unroll
        for (int e = 0; e < 2 * W; e++) {
            const float part = o.of[e % W][2 * i + e / W];
            x[e] = tile.split < 0 ? joined(0, part, f) / sum : part;
        }
        if (tile.split < 0)
            write_bf16(c, q, column, x, 2 * W);
        for (int e = 0; e < 2 * W && tile.split >= 0; e++)
            slot[(g + 8 * i) * D + column + e] = x[e];
        if (warp == 0 && t == 0) {
            if (tile.split < 0)
                write_lse(c, q, f.max, sum);
            else
                slot[GPU_TILE_ROWS * D + g + 8 * i] = o.max[i], slot[GPU_TILE_ROWS * (D + 1) + g + 8 * i] = o.sum[i];
        }
    }
}

/* Whether all N parts lie in their slots now, which one block is told; what the others wrote can be read then. */
static __device__ bool is_last(int *last, unsigned *arrived, int64_t n)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        *last = atomicAdd(arrived, 1u) == n - 1;
        if (*last)
            *arrived = 0; /* for the next layer */
        __threadfence();
    }
    __syncthreads();
    return *last;
}

/* The next N parts' maxima, sums and factors, for queries whose maximum so far is in BEFORE. */
template <int D> static __device__ void load_factors(struct part_room<D> &s, const float *from, int64_t stride, int n_rows, int n, const float *before)
{
    for (int i = threadIdx.x; i < n_rows * n; i += THREADS) {
        const float *maxima = from + i / n_rows * stride + GPU_TILE_ROWS * D + i % n_rows;

        s.joins.maxima[i % n_rows][i / n_rows] = fresh(maxima);
        s.joins.sums[i % n_rows][i / n_rows] = fresh(maxima + GPU_TILE_ROWS);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n_rows * n; i += THREADS) {
        float max = before[i % n_rows];

        for (int k = 0; k < i / n_rows; k++)
            max = larger(max, s.joins.maxima[i % n_rows][k]);
        s.joins.factors[i % n_rows][i / n_rows] = join_factors(max, s.joins.maxima[i % n_rows][i / n_rows]);
    }
    __syncthreads();
}

/* N_SPLITS parts from the slot FROM on, STRIDE floats from one to the next. A thread has four columns of a query, or of two. */
template <int D>
static __device__ void join(struct part_room<D> &s, const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv, const float *from, int64_t stride, int n_splits)
{
    const int n_rows = (int)tile.end, passes = GPU_TILE_ROWS * D / (4 * THREADS);
    float out[passes][4] = {}, sum[passes] = {}, *maxima = s.of_before[0];

    if (threadIdx.x < GPU_TILE_ROWS)
        maxima[threadIdx.x] = -INFINITY;
    for (int first = 0; first < n_splits; first += JOINED, from += JOINED * stride) {
        const int n = n_splits - first < JOINED ? n_splits - first : JOINED;

        __syncthreads();
        load_factors<D>(s, from, stride, n_rows, n, maxima);
        if ((int)threadIdx.x < n_rows)
            maxima[threadIdx.x] = s.joins.factors[threadIdx.x][n - 1].max;
#pragma unroll
        for (int pass = 0; pass < passes; pass++) {
            const int at = 4 * (threadIdx.x + pass * THREADS), f = at / D;
#pragma unroll 8
            for (int i = 0; i < n && f < n_rows; i++) {
                const struct piece<4> part = fresh_four(from + i * stride + at);

                sum[pass] = joined(sum[pass], s.joins.sums[f][i], s.joins.factors[f][i]);
#pragma unroll
                for (int e = 0; e < 4; e++)
                    out[pass][e] = joined(out[pass][e], part.of[e], s.joins.factors[f][i]);
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int pass = 0; pass < passes; pass++) {
        const int at = 4 * (threadIdx.x + pass * THREADS), f = at / D;
        const struct query q = query_of(c, tile.row, tile.end, f, kv);

        for (int e = 0; e < 4; e++)
            out[pass][e] = out[pass][e] / sum[pass];
        if (q.valid)
            write_bf16(c, q, at % D, out[pass], 4);
        if (q.valid && at % D == 0)
            write_lse(c, q, maxima[f], sum[pass]);
    }
}

/* Blocks: tiles by key-value heads. */
template <int D> static __global__ void __launch_bounds__(THREADS, 2) attention_parts(struct gpu_attention_call c, const struct gpu_lists *lists, float *slots)
{
    const int W = D / 64, warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, kv = (int)blockIdx.y, group = (int)c.n_heads / (int)c.n_kv_heads;
    SHARED(struct part_room<D>, s);
    struct value_words<W> v[WARPS];
    float score[PAGE / 8][4] = {};
    struct part_outputs<W> o = {};

    if (c.clears)
        clear_row_of_nobody(c, blockIdx.x, kv, threadIdx.x, THREADS);
    if (blockIdx.x >= lists->n_narrow)
        return;
    const struct gpu_tile tile = lists->narrow[blockIdx.x];
    const int n_pages = ((int)tile.position + ((int)tile.end - 1) / group) / PAGE + 1, begin = tile.split < 0 ? 0 : (int)tile.split * GPU_SPLIT_PAGES;
    const int n = n_pages - begin < GPU_SPLIT_PAGES ? n_pages - begin : GPU_SPLIT_PAGES;
    const auto keys_of = [&](int page) { return reinterpret_cast<const jrl_bf16 *>(tile.pages[begin + page] + c.page_offset) + kv * PAGE * D; };
    load_keys<D>(s, c, tile, keys_of(warp < n ? warp : 0), warp < n, kv);
#pragma unroll
    for (int p = 0; p < WARPS; p++)
        if (p < n)
            load_values<W>(v[p], reinterpret_cast<const uint32_t *>(keys_of(p) + c.n_kv_heads * PAGE * D) + 8 * W * warp + W * g, D);
    wait_copies<0>();
    __syncthreads();
    if (warp < n) {
        multiply<D>(score, s.q, s.k[warp]);
        for (int i = 0; i < 2; i++) {
            const int f = (int)tile.first + g + 8 * i, position = f < (int)tile.end ? (int)tile.position + f / group : -1;
            const float max = page_max(score, i, c.scale, (begin + warp) * PAGE, position);
            if (lane % 4 == 0)
                s.max[warp][g + 8 * i] = max;
        }
    }
    __syncthreads();
    if (warp < n)
        exponentials<D>(s, score);
    __syncthreads();
    o.max[0] = o.max[1] = -INFINITY;
    add_pages<D, W>(o, s, v, n);
    const int64_t floats = GPU_TILE_ROWS * (D + 2), stride = c.n_kv_heads * floats;
    write_part<D, W>(c, tile, kv, slots + tile.slot * stride + kv * floats, o);
    const int n_splits = (n_pages + GPU_SPLIT_PAGES - 1) / GPU_SPLIT_PAGES;
    if (tile.split >= 0 && is_last(&s.last, lists->arrived + tile.row * c.n_kv_heads + kv, n_splits))
        join<D>(s, c, tile, kv, slots + (tile.slot - tile.split) * stride + kv * floats, stride, n_splits);
}

int gpu_attention_parts(struct jrl_device *dev, const struct gpu_attention_call *c, float *slots, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    const dim3 grid((unsigned)b->n_narrow, (unsigned)c->n_kv_heads);

    if (c->dim == 64)
        return LAUNCH(attention_parts<64>, grid, THREADS, sizeof(struct part_room<64>), *c, b->lists, slots);
    return LAUNCH(attention_parts<128>, grid, THREADS, sizeof(struct part_room<128>), *c, b->lists, slots);
}
