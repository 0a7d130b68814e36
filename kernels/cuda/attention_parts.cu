/* attention_parts.cu - attention forward of single rows and the like (tiles of 16 queries) on tensor cores, a block a part of the positions and
 * key-value head, so that few sequences keep a whole GPU busy. The bits are those of attention_tensor.cu: a warp works out the scores of one
 * page; from the maxima of all pages each warp knows what the running maximum was before and behind its own; then the warps take the pages'
 * products with V in order, each for its own columns. All keys and values of the part are asked for at the start: keys by copies to shared memory, values
 * into registers. Of a sequence with several parts the block that ends last joins them, in ascending order whichever that is. */
#include "kernels/cuda/attention_order.cuh"

#define WARPS GPU_SPLIT_PAGES
#define THREADS (32 * WARPS)
#define PAGE JRL_PAGE_TOKENS

template <int D> struct part_room {
    union {
        struct {
            __align__(16) uint32_t k[WARPS][PAGE][D / 2 + 4]; /* the four words more let ldmatrix meet each bank once */
            __align__(16) uint32_t q[GPU_TILE_ROWS][D / 2 + 4];
        };
        struct part_row<D> joins[128];
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

/* Ask for the warp's page of keys, and for the tile's queries. */
template <int D> static __device__ __forceinline__ void load_keys(uint32_t (*to)[D / 2 + 4], const jrl_bf16 *k, bool valid)
{
    const int lane = threadIdx.x % 32, row = lane / (D / 8), piece = lane % (D / 8);

    if (!valid)
        return;
#pragma unroll
    for (int i = 0; i < PAGE * D / 8 / 32; i++)
        copy_16(&to[i * (256 / D) + row][4 * piece], k + 8 * (32 * i + lane), true);
}
template <int D>
static __device__ __forceinline__ void load_queries(uint32_t (*to)[D / 2 + 4], const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv)
{
    static_assert(GPU_TILE_ROWS * D / 8 <= THREADS, "a thread has a piece of the queries at most");
    if (const int i = threadIdx.x; i < GPU_TILE_ROWS * D / 8) {
        const struct query q = query_of(c, tile.row, tile.end, i / (D / 8), kv);
        const jrl_bf16 *from = static_cast<const jrl_bf16 *>(c.q) + (q.valid ? (q.row * c.n_heads + q.head) * D : 0);
        copy_16(&to[i / (D / 8)][i % (D / 8) * 4], from + i % (D / 8) * 8, q.valid);
    }
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

#pragma unroll
        for (int p = 0; p < WARPS - 1; p++)
            before = larger(before, p < warp ? s.max[p][g + 8 * i] : -INFINITY);
        const struct factors f = join_factors(before, s.max[warp][g + 8 * i]);
        const float base = f.max == -INFINITY ? 0.0f : f.max;
#pragma unroll
        for (int j = 0; j < PAGE / 8; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++) {
                score[j][e] = attention_exp(score[j][e] - base);
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

/* To the output, where the part is all there is (joined to nothing, as a whole sequence begins), or to its slot. */
template <int D, int W>
static __device__ __forceinline__ void write_part(const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv, const struct part_outputs<W> &o)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, column = 8 * W * warp + 2 * W * t;

    struct part_row<D> *slot = slot_of<D>(c, tile, kv, tile.first_page / GPU_SPLIT_PAGES);

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const struct query q = query_of(c, tile.row, tile.end, g + 8 * i, kv);
        struct part_row<D> &row = slot[g + 8 * i];
        float x[2 * W];

        if (!q.valid)
            continue;
        if (tile.n_tiles > 1) {
            for (int e = 0; e < 2 * W; e++)
                x[e] = o.of[e % W][2 * i + e / W];
            for (int e = 0; e < W; e++)
                *reinterpret_cast<float2 *>(row.out + column + 2 * e) = { x[2 * e], x[2 * e + 1] };
            if (warp == 0 && t == 0)
                *reinterpret_cast<float2 *>(&row.max) = { o.max[i], o.sum[i] };
            continue;
        }
        const struct factors f = join_factors(-INFINITY, o.max[i]);
        const float sum = joined(0, o.sum[i], f);
        for (int e = 0; e < 2 * W; e++)
            x[e] = joined(0, o.of[e % W][2 * i + e / W], f) / sum;
        write_bf16(c, q, column, x, 2 * W);
        if (warp == 0 && t == 0)
            write_lse(c, q, f.max, sum);
    }
}

/* Blocks: tiles of one part by key-value heads. */
template <int D> static __global__ void __launch_bounds__(THREADS, 2) attention_parts(struct gpu_attention_call c, const struct gpu_lists *lists)
{
    const int W = D / 64, warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, kv = (int)blockIdx.y;
    const struct gpu_tile tile = c.narrow[blockIdx.x]; /* perhaps one that is not there, but all that is needed comes at once */
    const int64_t offset = c.page_offset + (int64_t)kv * PAGE * D * 2;
    const uint8_t *own = c.narrow[blockIdx.x].of_part[warp];
    SHARED(struct part_room<D>, s);
    struct value_words<W> v[WARPS];
    float score[PAGE / 8][4] = {};
    struct part_outputs<W> o = {};
    int positions[2];

    wait_for_kernel_before();
    if (c.clears)
        clear_row_of_nobody(c, blockIdx.x, kv, threadIdx.x, THREADS);
    if (blockIdx.x >= lists->n_narrow)
        return;
    const int n = tile.end_page - tile.first_page;
    load_keys<D>(s.k[warp], reinterpret_cast<const jrl_bf16 *>(own + offset), warp < n);
#pragma unroll
    for (int p = 0; p < WARPS; p++)
        if (p < n)
            load_values<W>(v[p], reinterpret_cast<const uint32_t *>(tile.of_part[p] + offset + c.n_kv_heads * PAGE * D * 2) + 8 * W * warp + W * g, D);
    load_queries<D>(s.q, c, tile, kv);
    commit_copies();
    for (int i = 0; i < 2; i++) {
        const struct query q = query_of(c, tile.row, tile.end, g + 8 * i, kv);
        positions[i] = q.valid ? (int)(tile.position + q.row - tile.row) : -1;
    }
    wait_copies<0>();
    __syncthreads();
    if (warp < n) {
        multiply<D>(score, s.q, s.k[warp]);
        for (int i = 0; i < 2; i++) {
            const float max = page_max(score, i, c.scale, (tile.first_page + warp) * PAGE, positions[i]);
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
    write_part<D, W>(c, tile, kv, o);
    if (tile.n_tiles > 1 && is_last_tile<THREADS>(&s.last, c, tile, kv))
        join_parts<D, THREADS>(c, tile, kv, s.joins, sizeof s.joins / sizeof *s.joins);
}

int gpu_attention_parts(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    const dim3 grid((unsigned)b->n_narrow, (unsigned)c->n_kv_heads);

    if (c->dim == 64)
        return LAUNCH_EARLY(attention_parts<64>, grid, THREADS, sizeof(struct part_room<64>), *c, b->lists);
    return LAUNCH_EARLY(attention_parts<128>, grid, THREADS, sizeof(struct part_room<128>), *c, b->lists);
}
