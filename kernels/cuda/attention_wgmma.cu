/* attention_wgmma.cu - attention forward of whole sequences by Hopper's matrix instructions, with the bits of attention_tensor.cu: the same order of pages
 * and parts, and a step of 16 of the contracted index has the same bits by wgmma as by mma.sync. A group of four warps has 64 queries (rows times the
 * heads that share a key-value head); two share the pages, two pages a step. The scores of the next step are under way while the exponentials of this
 * one are worked out. */
#include "kernels/cuda/attention_order.cuh"
#include "kernels/cuda/attention_wgmma.cuh"

#define PAGE JRL_PAGE_TOKENS
#define STEP 64 /* positions */
#define STEP_PAGES (STEP / PAGE)
#define STAGES 4 /* this step, the next, whose keys are read, and two on their way */

template <int D> struct sequence_room {
    struct operand<GPU_WIDE_ROWS, D> q;
    struct operand<STEP, D> keys[STAGES], values[STAGES];
};

#if defined(WGMMA_EXISTS)

/* Of a thread's queries, g and g + 8 of its warp's 16. */
template <int D> struct rows_so_far {
    float max[2], sum[2], out[D / 8][4];
};
template <int D> static __device__ __forceinline__ void start(struct rows_so_far<D> &s)
{
    s.max[0] = s.max[1] = -INFINITY;
    s.sum[0] = s.sum[1] = 0;
#pragma unroll
    for (int i = 0; i < D / 2; i++)
        s.out[i / 4][i % 4] = 0;
}

/* What a page gives: P as an operand, and the factors of what was there before. */
struct page_weights {
    uint32_t p[PAGE / 16][4];
    float factor[2];
};

/* Of the page whose first position is FIRST: the maximum and the sum follow on. The sum is of the thread's own columns until the end of the part. */
template <bool cut>
static __device__ __forceinline__ void exponentials(struct page_weights &w, float (*score)[4], float max[2], float sums[2], float scale, int first,
                                                    const int positions[2])
{
    const int t = threadIdx.x % 4;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        float page_max = -INFINITY, sum = 0;

#pragma unroll
        for (int j = 0; j < PAGE / 8; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++) {
                score[j][e] = !cut || first + 8 * j + 2 * t + e % 2 <= positions[i] ? score[j][e] * scale : -INFINITY;
                page_max = larger(page_max, score[j][e]);
            }
        page_max = larger(page_max, __shfl_xor_sync(ALL_LANES, page_max, 1));
        page_max = larger(page_max, __shfl_xor_sync(ALL_LANES, page_max, 2));
        const struct factors f = join_factors(max[i], page_max);
        const float base = f.max == -INFINITY ? 0.0f : f.max;
#pragma unroll
        for (int j = 0; j < PAGE / 8; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++) {
                score[j][e] = attention_exp(score[j][e] - base);
                sum += score[j][e];
            }
        max[i] = f.max;
        sums[i] = sums[i] * f.of_a + sum;
        w.factor[i] = f.of_a;
    }
#pragma unroll
    for (int k = 0; k < PAGE / 16; k++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            w.p[k][e] = pair_of(score[2 * k + e / 2][e % 2 * 2], score[2 * k + e / 2][e % 2 * 2 + 1]);
}

/* What was there before, by the factors, and a page's P V, which is under way then. */
template <int D>
static __device__ __forceinline__ void add_values(struct rows_so_far<D> &part, struct page_weights &w, const struct operand<STEP, D> &values, int page)
{
    const uint32_t b = shared_address(values.of) + page * (PAGE * 128);

    settle(part.out);
#pragma unroll
    for (int i = 0; i < D / 2; i++)
        part.out[i / 4][i % 4] *= w.factor[i % 4 / 2];
    settle(part.out);
    settle(w.p);
    fence_sums();
#pragma unroll
    for (int k = 0; k < PAGE / 16; k++)
        wgmma_64<true>(part.out, w.p[k], operand_at(b + k * (16 * 128), values.CHUNK), true);
    commit_products();
}

/* The end of a part, as attention_tensor.cu has it. */
template <int D> static __device__ __forceinline__ void join_part(struct rows_so_far<D> &all, struct rows_so_far<D> &part)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        part.sum[i] += __shfl_xor_sync(ALL_LANES, part.sum[i], 1);
        part.sum[i] += __shfl_xor_sync(ALL_LANES, part.sum[i], 2);
        const struct factors f = join_factors(all.max[i], part.max[i]);

        all.max[i] = f.max;
        all.sum[i] = joined(all.sum[i], part.sum[i], f);
#pragma unroll
        for (int j = 0; j < D / 8; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++)
                all.out[j][e] = joined(all.out[j][e], part.out[j][e], f);
    }
    start(part);
}

template <int D>
static __device__ __forceinline__ void load_queries(struct operand<GPU_WIDE_ROWS, D> &to, const struct gpu_attention_call &c, const struct gpu_tile &tile,
                                                    int kv)
{
    for (int i = 0; i < GPU_WIDE_ROWS * D / 8 / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, r = at / (D / 8), piece = at % (D / 8);
        const struct query q = query_of(c, tile.row, tile.end, tile.first + r, kv);
        const jrl_bf16 *from = static_cast<const jrl_bf16 *>(c.q) + (q.valid ? (q.row * c.n_heads + q.head) * D : 0);
        copy_16(to.of + piece / 8 * to.CHUNK + swizzled(r, piece % 8), from + 8 * piece, q.valid);
    }
}

template <int D> static __device__ void write_row(const struct gpu_attention_call &c, const struct query &q, const struct rows_so_far<D> &s, int i)
{
    const int t = threadIdx.x % 4;
    uint32_t *out = reinterpret_cast<uint32_t *>(static_cast<jrl_bf16 *>(c.out) + (q.row * c.n_heads + q.head) * D);

#pragma unroll
    for (int j = 0; j < D / 8; j++)
        out[4 * j + t] = pair_of(s.out[j][2 * i] / s.sum[i], s.out[j][2 * i + 1] / s.sum[i]);
    if (c.lse && t == 0)
        c.lse[q.row * c.n_heads + q.head] = s.max[i] + jrl_logf_inline(s.sum[i]);
}

#endif

/* Blocks: wide tiles by key-value heads. */
template <int D> static __global__ void __launch_bounds__(THREADS, 1) attention_sequences(struct gpu_attention_call c, const struct gpu_lists *lists)
{
#if defined(WGMMA_EXISTS)
    typedef struct sequence_room<D> room;
    SHARED(room, s);
    if (blockIdx.x >= lists->n_wide)
        return;
    const struct gpu_tile tile = lists->wide[blockIdx.x];
    const int kv = (int)blockIdx.y, group = (int)c.n_heads / (int)c.n_kv_heads, first = (int)tile.first + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    const int n_pages = ((int)tile.position + ((int)tile.end - 1) / group) / PAGE + 1, n_steps = (n_pages + STEP_PAGES - 1) / STEP_PAGES;
    const int uncut = ((int)tile.position + (int)tile.first / group + 1) / STEP; /* steps that all queries see as a whole */
    const int64_t offset = c.page_offset + kv * (PAGE * D * 2), to_values = c.n_kv_heads * (PAGE * D * 2);
    const struct query queries[2] = { query_of(c, tile.row, tile.end, first, kv), query_of(c, tile.row, tile.end, first + 8, kv) };
    int positions[2];
    struct rows_so_far<D> all, part;
    float score[STEP / 8][4] = {};
    struct page_list<STEP> pages = pages_from<STEP>(tile.pages, 0, n_pages);
    const auto load = [&](int step) {
        if (step < n_steps)
            load_pages(s.keys[step % STAGES], s.values[step % STAGES], pages, offset, to_values, c.q);
        pages = pages_from<STEP>(tile.pages, (step + 1) * STEP_PAGES, n_pages);
        commit_copies();
    };

    for (int i = 0; i < 2; i++)
        positions[i] = queries[i].valid ? (int)(tile.position + queries[i].row - tile.row) : -1;
    start(all);
    start(part);
    load_queries<D>(s.q, c, tile, kv);
    for (int step = 0; step < 3; step++)
        load(step);
    wait_copies<2>();
    unpack_values(s.values[0]);
    fence_operands();
    __syncthreads();
    multiply(score, s.q, s.keys[0]);
    commit_products();
    wait_products<0>();
    settle(score);
    for (int step = 0; step < n_steps; step++) {
        const struct operand<STEP, D> &values = s.values[step % STAGES];
        struct page_weights w[STEP_PAGES];
        float next[STEP / 8][4] = {};

        wait_copies<1>();
        if (step + 1 < n_steps)
            unpack_values(s.values[(step + 1) % STAGES]);
        fence_operands();
        __syncthreads(); /* the next step is there for all; the one before the last has been used by all */
        multiply(next, s.q, s.keys[(step + 1) % STAGES]); /* behind the last step of what happens to lie there, for nothing */
        commit_products();
        load(step + 3);
#pragma unroll
        for (int i = 0; i < STEP_PAGES; i++)
            if (step < uncut)
                exponentials<false>(w[i], score + i * (PAGE / 8), part.max, part.sum, c.scale, 0, positions);
            else
                exponentials<true>(w[i], score + i * (PAGE / 8), part.max, part.sum, c.scale, step * STEP + i * PAGE, positions);
        add_values<D>(part, w[0], values, 0);
        wait_products<0>();
        add_values<D>(part, w[1], values, 1);
        wait_products<0>();
        settle(part.out);
        settle(next);
#pragma unroll
        for (int i = 0; i < STEP / 2; i++)
            score[i / 4][i % 4] = next[i / 4][i % 4];
        if ((step + 1) % (GPU_SPLIT_PAGES / STEP_PAGES) == 0 || step + 1 == n_steps)
            join_part(all, part);
    }
    wait_copies<0>();
    for (int i = 0; i < 2; i++)
        if (queries[i].valid)
            write_row(c, queries[i], all, i);
#endif
}

int gpu_attention_wgmma(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    const dim3 grid((unsigned)b->n_wide, (unsigned)c->n_kv_heads);

    if (c->dim == 64)
        return LAUNCH(attention_sequences<64>, grid, THREADS, sizeof(struct sequence_room<64>), *c, b->lists);
    return LAUNCH(attention_sequences<128>, grid, THREADS, sizeof(struct sequence_room<128>), *c, b->lists);
}
