/* attention_parts.cu - attention forward of single rows and the like (tiles of 16 queries) on tensor cores, a block a part of the positions and
 * key-value head, so that few sequences keep a whole GPU busy. The bits are those of attention_tensor.cu: a warp works out the scores of one
 * page; from the maxima of all pages each warp knows what its half of the part is relative to; then the warps take the pages' products with V in order, each
 * for its own columns. All keys and values of the part are asked for at the start: keys by copies to shared memory, values
 * into registers. Of a sequence with several parts the block that ends last joins them, in ascending order whichever that is. */
#include "kernels/cuda/attention_join.cuh"

#define WARPS GPU_SPLIT_PAGES
#define THREADS (32 * WARPS)
#define PAGE JRL_PAGE_TOKENS

template <int D> struct part_room {
    union {
        struct {
            __align__(128) jrl_bf16 k[WARPS][PAGE * D]; /* as it lies in the pages */
            jrl_bf16 q[GPU_TILE_ROWS * D];
        };
        struct part_row<D> joins[128];
    };
    uint4 p[WARPS][PAGE / 16][32]; /* as the lanes hold it */
    float max[WARPS][GPU_TILE_ROWS], sum[WARPS][GPU_TILE_ROWS][4]; /* of a page; maxima of scores as they are */
    int last;
};

/* Values of a page, two columns: for either half of the second operand of P V two positions that follow one another. */
#define COLUMNS 16 /* of a warp */
struct value_words {
    uint32_t of[PAGE / 16][2][2];
};
template <int D> static __device__ __forceinline__ void load_values(struct value_words &v, const jrl_bf16 *from)
{
    const int lane = threadIdx.x % 32;

#pragma unroll
    for (int i = 0; i < PAGE / 4; i++)
        v.of[i / 4][i / 2 % 2][i % 2] = *reinterpret_cast<const uint32_t *>(
            from + in_page<jrl_bf16>(i / 4 * 16 + i / 2 % 2 * 8 + lane % 4 * 2 + i % 2, threadIdx.x / 32 * COLUMNS + lane / 4 * 2, D));
}
/* The operand of either column. */
static __device__ __forceinline__ uint32_t column_of(const uint32_t (&rows)[2], int column)
{
    return column ? rows[0] >> 16 | (rows[1] & 0xffff0000u) : (rows[0] & 0xffff) | rows[1] << 16;
}

/* Ask for the warp's page of keys, and for the tile's queries. */
template <int D> static __device__ __forceinline__ void load_keys(jrl_bf16 *to, const jrl_bf16 *k, bool valid)
{
    if (!valid)
        return;
#pragma unroll
    for (int i = 0; i < PAGE * D / 8 / 32; i++)
        copy_16(to + 8 * (32 * i + threadIdx.x % 32), k + 8 * (32 * i + threadIdx.x % 32), true);
}
template <int D> static __device__ __forceinline__ void load_queries(jrl_bf16 *to, const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv)
{
    static_assert(GPU_TILE_ROWS * D / 8 <= THREADS, "a thread has a piece of the queries at most");
    if (const int i = threadIdx.x; i < GPU_TILE_ROWS * D / 8) {
        const struct query q = query_of(c, tile.row, tile.end, i / (D / 8), kv);
        const jrl_bf16 *from = static_cast<const jrl_bf16 *>(c.q) + (q.valid ? (q.row * c.n_heads + q.head) * D : 0);
        copy_16(to + in_rows<GPU_TILE_ROWS>(i / (D / 8), i % (D / 8) * 8), from + i % (D / 8) * 8, q.valid);
    }
}

/* The scores' maximum of a half, and the factors where it follows on MAX. */
template <int D> static __device__ __forceinline__ struct factors of_half(const struct part_room<D> &s, float max, int half, int row, float unit)
{
    float of_pages = -INFINITY;

#pragma unroll
    for (int p = 0; p < GPU_HALF_PAGES; p++)
        of_pages = fmaxf(of_pages, s.max[half * GPU_HALF_PAGES + p][row]);
    return join_factors(max, of_pages * unit);
}

/* P of the warp's page, and its sums. */
template <int D> static __device__ __forceinline__ void exponentials(struct part_room<D> &s, float score[PAGE / 8][4], float unit)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    uint32_t p[PAGE / 16][4];

#pragma unroll
    for (int i = 0; i < 2; i++) {
        float max = of_half(s, -INFINITY, 0, g + 8 * i, unit).max;

        if (warp >= GPU_HALF_PAGES)
            max = of_half(s, max, 1, g + 8 * i, unit).max;
        s.sum[warp][g + 8 * i][t] = weigh<PAGE / 8>(score, i, unit, max);
    }
    to_operand<PAGE / 8>(p, score);
#pragma unroll
    for (int k = 0; k < PAGE / 16; k++)
        s.p[warp][k][lane] = { p[k][0], p[k][1], p[k][2], p[k][3] };
}

/* The part's outputs of the thread: of queries g and g + 8, elements of either column of the products, which lie side by side. */
struct part_outputs {
    float of[2][4], max[2], sum[2];
};
template <int D>
static __device__ __forceinline__ void add_pages(struct part_outputs &o, const struct part_room<D> &s, const struct value_words v[WARPS], int n, float unit)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;

#pragma unroll
    for (int p = 0; p < WARPS; p++) {
        if (p >= n)
            break;
        for (int i = 0; i < 2 && p % GPU_HALF_PAGES == 0; i++) {
            const struct factors f = of_half(s, o.max[i], p / GPU_HALF_PAGES, g + 8 * i, unit);
            float sum = 0;

#pragma unroll
            for (int of_half = p; of_half < p + GPU_HALF_PAGES; of_half++)
                sum += of_half < n ? s.sum[of_half][g + 8 * i][t] : 0.0f;
            o.max[i] = f.max;
            o.sum[i] = fmaf(o.sum[i], f.of_a, sum);
#pragma unroll
            for (int e = 0; e < 4; e++)
                o.of[e / 2][2 * i + e % 2] *= f.of_a;
        }
#pragma unroll
        for (int k = 0; k < PAGE / 16; k++) {
            const uint4 of_p = s.p[p][k][lane];
            const uint32_t a[4] = { of_p.x, of_p.y, of_p.z, of_p.w };
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const uint32_t b[2] = { column_of(v[p].of[k][0], j), column_of(v[p].of[k][1], j) };
                mma_bf16(o.of[j], a, b);
            }
        }
    }
    for (int i = 0; i < 2; i++)
        o.sum[i] = shared_sum(o.sum[i]);
}

/* To the output, where the part is all there is (joined to nothing, as a whole sequence begins), or to its slot. */
template <int D>
static __device__ __forceinline__ void write_part(const struct gpu_attention_call &c, const struct gpu_tile &tile, int kv, const struct part_outputs &o)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, column = COLUMNS * warp + 4 * t;
    struct part_row<D> *slot = slot_of<D>(c, tile, kv, tile.first_page / GPU_SPLIT_PAGES);

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const struct query q = query_of(c, tile.row, tile.end, g + 8 * i, kv);
        struct part_row<D> &row = slot[g + 8 * i];
        float x[4];

        for (int e = 0; e < 4; e++)
            x[e] = o.of[e % 2][2 * i + e / 2];
        if (!q.valid)
            continue;
        if (tile.n_tiles > 1) {
            *reinterpret_cast<float4 *>(row.out + column) = { x[0], x[1], x[2], x[3] };
            if (warp == 0 && t == 0)
                *reinterpret_cast<float2 *>(&row.max) = { o.max[i], o.sum[i] };
            continue;
        }
        const struct factors f = join_factors(-INFINITY, o.max[i]);
        const float sum = joined(0, o.sum[i], f), inverse = 1.0f / sum;
        for (int e = 0; e < 4; e++)
            x[e] = joined(0, x[e], f) * inverse;
        write_bf16(c, q, column, x, 4);
        if (warp == 0 && t == 0)
            write_lse(c, q, f.max, sum);
    }
}

/* Blocks: tiles of one part by key-value heads. */
template <int D> static __global__ void __launch_bounds__(THREADS, 2) attention_parts(struct gpu_attention_call c, const struct gpu_lists *lists)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, kv = (int)blockIdx.y;
    const struct gpu_tile tile = c.narrow[blockIdx.x]; /* perhaps one that is not there, but all that is needed comes at once */
    const int64_t offset = c.page_offset + (int64_t)kv * PAGE * D * 2;
    const uint8_t *own = c.narrow[blockIdx.x].of_part[warp];
    const bool adds = warp < D / COLUMNS; /* with heads of 64 half of the warps have scores only */
    const float unit = score_unit(c);
    SHARED(struct part_room<D>, s);
    struct value_words v[WARPS];
    float score[PAGE / 8][4] = {};
    struct part_outputs o = { {}, { -INFINITY, -INFINITY }, {} };

    wait_for_kernel_before();
    if (c.clears)
        clear_row_of_nobody(c, blockIdx.x, kv, threadIdx.x, THREADS);
    if (blockIdx.x >= lists->n_narrow)
        return;
    const int n = tile.end_page - tile.first_page;
    load_keys<D>(s.k[warp], reinterpret_cast<const jrl_bf16 *>(own + offset), warp < n);
#pragma unroll
    for (int p = 0; p < WARPS; p++)
        if (p < n && adds)
            load_values<D>(v[p], reinterpret_cast<const jrl_bf16 *>(tile.of_part[p] + offset + c.n_kv_heads * PAGE * D * 2));
    load_queries<D>(s.q, c, tile, kv);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    if (warp < n)
        multiply_page<D>(score, s.q, s.k[warp]);
    for (int i = 0; i < 2; i++) {
        const struct query q = query_of(c, tile.row, tile.end, g + 8 * i, kv);

        hide<PAGE / 8>(score, i, (tile.first_page + warp) * PAGE, q.valid ? (int)(tile.position + q.row - tile.row) : -1); /* pages that are not there, too */
        const float max = largest<PAGE / 8>(score, i);
        if (lane % 4 == 0)
            s.max[warp][g + 8 * i] = max;
    }
    __syncthreads();
    if (warp < n)
        exponentials<D>(s, score, unit);
    __syncthreads();
    if (adds) {
        add_pages<D>(o, s, v, n, unit);
        write_part<D>(c, tile, kv, o);
    }
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
