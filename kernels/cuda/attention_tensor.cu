/* attention_tensor.cu - attention forward of bf16 on tensor cores, for whole sequences and for decoding more than a few.
 * The positions of a sequence are cut into parts of 256, counted from its first. In a part the pages follow one another with a running maximum, and
 * the parts are joined in ascending order. Both depend on the row's position alone, so decoding few sequences, where blocks take parts side by
 * side (attention_parts.cu), and what is here, where one warp takes some or all of them one after the other, give a row the same bits.
 * Whole sequences go to attention_wgmma.cu where that can run. A warp has 16 queries: rows of one sequence times the heads that share a key-value head. */
#include "kernels/cuda/attention_order.cuh"

#define WARPS 4
#define PAGE JRL_PAGE_TOKENS
#define STAGES 2 /* pages on their way */
#define ROWS_TOGETHER (WARPS * GPU_TILE_ROWS)
#define BLOCKS_WIDE (GPU_WIDE_ROWS / ROWS_TOGETHER) /* of a wide tile */

/* Keys and values of one head and page, as they lie in the page; 4 words more in a row of keys and 8 in one of pairs of values
 * let the words that one load of a warp takes fall into different banks. */
template <int D> struct page_tiles {
    __align__(16) uint32_t k[STAGES][PAGE][D / 2 + 4];
    __align__(16) uint32_t v[STAGES][PAGE / 2][D + 8];
    int last;
};
#define ROOM_ROWS(D) ((int)(offsetof(struct page_tiles<D>, last) / sizeof(struct part_row<D>))) /* for joins in the same place */

/* What a warp knows of its 16 queries, each thread of queries g and g + 8: of one part, or of all so far. */
template <int D> struct running {
    float max[2], sum[2], out[D / 8][4];
};

template <int D> static __device__ __forceinline__ void start(struct running<D> &s)
{
    for (int i = 0; i < 2; i++) {
        s.max[i] = -INFINITY;
        s.sum[i] = 0;
    }
#pragma unroll
    for (int j = 0; j < D / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            s.out[j][e] = 0;
}

/* WARPS_TOGETHER warps bring one page to shared memory. */
template <int D, int WARPS_TOGETHER>
static __device__ __forceinline__ void load_page(struct page_tiles<D> &s, const struct gpu_attention_call &c, const uint8_t *page, int64_t kv, int stage)
{
    const int thread = threadIdx.x % (32 * WARPS_TOGETHER), threads = 32 * WARPS_TOGETHER;
    const jrl_bf16 *k = reinterpret_cast<const jrl_bf16 *>(page + c.page_offset) + kv * PAGE * D, *v = k + c.n_kv_heads * PAGE * D;

    for (int i = thread; i < PAGE * D / 8; i += threads) {
        copy_16(&s.k[stage][i / (D / 8)][i % (D / 8) * 4], k + 8 * i, true);
        copy_16(&s.v[stage][i / (D / 4)][i % (D / 4) * 4], v + 8 * i, true);
    }
}

/* Adds a page to the part. POSITIONS: of the thread's two queries, -1 for none. */
template <int D>
static __device__ __forceinline__ void add_page(struct running<D> &s, const uint32_t (*k)[D / 2 + 4], const uint32_t (*v)[D + 8], const uint32_t (*q)[4], float scale,
                                                int first, const int positions[2])
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float score[PAGE / 8][4] = {};
    struct factors f[2];

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++)
#pragma unroll
        for (int j = 0; j < PAGE / 8; j++) {
            const uint32_t b[2] = { k[8 * j + g][8 * kk + t], k[8 * j + g][8 * kk + t + 4] };
            mma_bf16(score[j], q[kk], b);
        }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float max = -INFINITY, sum = 0;

#pragma unroll
        for (int j = 0; j < PAGE / 8; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++) {
                score[j][e] = first + 8 * j + 2 * t + e % 2 <= positions[i] ? score[j][e] * scale : -INFINITY;
                max = larger(max, score[j][e]);
            }
        max = larger(max, __shfl_xor_sync(ALL_LANES, max, 1));
        max = larger(max, __shfl_xor_sync(ALL_LANES, max, 2));
        f[i] = join_factors(s.max[i], max);
        const float base = f[i].max == -INFINITY ? 0.0f : f[i].max;
#pragma unroll
        for (int j = 0; j < PAGE / 8; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++) {
                score[j][e] = attention_exp(score[j][e] - base);
                sum += score[j][e];
            }
        s.max[i] = f[i].max;
        s.sum[i] = s.sum[i] * f[i].of_a + sum; /* the thread's own columns; joined over the four threads at the end of the part */
    }
#pragma unroll
    for (int j = 0; j < D / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            s.out[j][e] *= f[e / 2].of_a;
#pragma unroll
    for (int kk = 0; kk < PAGE / 16; kk++) {
        const uint32_t a[4] = { pair_of(score[2 * kk][0], score[2 * kk][1]), pair_of(score[2 * kk][2], score[2 * kk][3]),
                                pair_of(score[2 * kk + 1][0], score[2 * kk + 1][1]), pair_of(score[2 * kk + 1][2], score[2 * kk + 1][3]) };
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            const uint32_t b[2] = { v[8 * kk + t][8 * j + g], v[8 * kk + t + 4][8 * j + g] };
            mma_bf16(s.out[j], a, b);
        }
    }
}

template <int D> static __device__ __forceinline__ void join_part(struct running<D> &all, const struct running<D> &part)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const struct factors f = join_factors(all.max[i], part.max[i]);

        all.max[i] = f.max;
        all.sum[i] = joined(all.sum[i], part.sum[i], f);
#pragma unroll
        for (int j = 0; j < D / 8; j++)
#pragma unroll
            for (int e = 2 * i; e < 2 * i + 2; e++)
                all.out[j][e] = joined(all.out[j][e], part.out[j][e], f);
    }
}

/* The sums of a part over the four threads that share its queries. */
template <int D> static __device__ __forceinline__ void end_part(struct running<D> &part)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        part.sum[i] += __shfl_xor_sync(ALL_LANES, part.sum[i], 1);
        part.sum[i] += __shfl_xor_sync(ALL_LANES, part.sum[i], 2);
    }
}

/* Of queries F and F + 8 of those below END. */
template <int D> static __device__ __forceinline__ void write_slot(struct part_row<D> *slot, const struct running<D> &part, int f, int end)
{
    const int t = threadIdx.x % 4;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        struct part_row<D> &row = slot[f + 8 * i];

        if (f + 8 * i >= end)
            continue;
#pragma unroll
        for (int j = 0; j < D / 8; j++)
            *reinterpret_cast<float2 *>(row.out + 8 * j + 2 * t) = { part.out[j][2 * i], part.out[j][2 * i + 1] };
        if (t == 0)
            *reinterpret_cast<float2 *>(&row.max) = { part.max[i], part.sum[i] };
    }
}

template <int D> static __device__ void write_rows(const struct gpu_attention_call &c, const struct running<D> &s, int64_t row, int end, int f, int kv)
{
    const int t = threadIdx.x % 4;

    for (int i = 0; i < 2; i++) {
        const struct query q = query_of(c, row, end, f + 8 * i, kv);

        if (!q.valid)
            continue;
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            const float x[2] = { s.out[j][2 * i] / s.sum[i], s.out[j][2 * i + 1] / s.sum[i] };
            write_bf16(c, q, 8 * j + 2 * t, x, 2);
        }
        if (t == 0)
            write_lse(c, q, s.max[i], s.sum[i]);
    }
}

/* Blocks: tiles by key-value heads. WARPS_TOGETHER: warps that share a tile and the pages in shared memory. One warp alone takes a tile; four of them
 * are a block, of which a processor has room for one, so that none has more of them than others; the first warps of all blocks have the first tiles. */
template <int D, int WARPS_TOGETHER>
static __global__ void __launch_bounds__(32 * WARPS) attention_tiles(struct gpu_attention_call c, const struct gpu_lists *lists)
{
    struct groups_of_pages {
        struct page_tiles<D> of[WARPS / WARPS_TOGETHER];
    };
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, kv = (int)blockIdx.y, threads = 32 * WARPS_TOGETHER;
    const int at = WARPS_TOGETHER == 1 ? warp * gridDim.x + blockIdx.x : blockIdx.x / BLOCKS_WIDE;
    SHARED(struct groups_of_pages, shared);
    struct page_tiles<D> &s = shared.of[warp / WARPS_TOGETHER];
    struct running<D> all, part;
    uint32_t q[D / 16][4];
    int positions[2];

    wait_for_kernel_before();
    if (WARPS_TOGETHER == 1 && c.clears)
        clear_row_of_nobody(c, at, kv, lane, threads);
    if (at >= (WARPS_TOGETHER == 1 ? lists->n_narrow : lists->n_wide)) /* whole warps that no other waits for */
        return;
    struct gpu_tile tile = (WARPS_TOGETHER == 1 ? c.narrow : lists->wide)[at];
    if (WARPS_TOGETHER > 1) {
        tile.first += blockIdx.x % BLOCKS_WIDE * ROWS_TOGETHER;
        if (tile.first >= tile.end)
            return;
        tile.end = tile.first + ROWS_TOGETHER < tile.end ? tile.first + ROWS_TOGETHER : tile.end;
        tile.end_page = ((int)tile.position + ((int)tile.end - 1) / ((int)c.n_heads / (int)c.n_kv_heads)) / PAGE + 1;
    }
    const int f = (int)tile.first + warp % WARPS_TOGETHER * GPU_TILE_ROWS + g, end = (int)tile.end;
    load_page<D, WARPS_TOGETHER>(s, c, tile.pages[tile.first_page], kv, 0);
    commit_copies();
    for (int i = 0; i < 2; i++) {
        const struct query query = query_of(c, tile.row, end, f + 8 * i, kv);
        const uint32_t *from = reinterpret_cast<const uint32_t *>(static_cast<const jrl_bf16 *>(c.q) + (query.row * c.n_heads + query.head) * D);

        positions[i] = query.valid ? (int)(tile.position + query.row - tile.row) : -1;
        for (int kk = 0; kk < D / 16; kk++) {
            q[kk][i] = query.valid ? from[8 * kk + t] : 0;
            q[kk][i + 2] = query.valid ? from[8 * kk + t + 4] : 0;
        }
    }
    start(all);
    start(part);
    for (int page = tile.first_page; page < tile.end_page; page++) {
        const int stage = (page - tile.first_page) % STAGES;

        if (page + 1 < tile.end_page)
            load_page<D, WARPS_TOGETHER>(s, c, tile.pages[page + 1], kv, (stage + 1) % STAGES);
        commit_copies();
        wait_copies<1>();
        meet<threads>();
        add_page<D>(part, s.k[stage], s.v[stage], q, c.scale, page * PAGE, positions);
        meet<threads>(); /* before the stage is filled again */
        if ((page + 1) % GPU_SPLIT_PAGES == 0 || page + 1 == tile.end_page) {
            end_part(part);
            if (WARPS_TOGETHER > 1 || tile.n_tiles == 1)
                join_part(all, part);
            else
                write_slot<D>(slot_of<D>(c, tile, kv, page / GPU_SPLIT_PAGES), part, f, end);
            start(part);
        }
    }
    wait_copies<0>();
    if (WARPS_TOGETHER > 1 || tile.n_tiles == 1)
        write_rows(c, all, tile.row, end, f, kv);
    else if (is_last_tile<threads>(&s.last, c, tile, kv))
        join_parts<D, threads>(c, tile, kv, reinterpret_cast<struct part_row<D> *>(&s), ROOM_ROWS(D));
}

template <int D> static int run(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    const unsigned kv_heads = (unsigned)c->n_kv_heads;
    int rc = JRL_OK;

    if (b->n_wide && gpu_of(dev)->wgmma)
        rc = gpu_attention_wgmma(dev, c, err);
    else if (b->n_wide)
        rc = LAUNCH((attention_tiles<D, WARPS>), dim3((unsigned)b->n_wide * BLOCKS_WIDE, kv_heads), 32 * WARPS, sizeof(struct page_tiles<D>), *c, b->lists);
    if (rc < 0 || b->n_narrow == 0)
        return rc;
    if (b->blocks)
        return gpu_attention_parts(dev, c, err);
    const int64_t places = larger_of(1, gpu_of(dev)->n_processors / c->n_kv_heads); /* all blocks at a time, if they are enough */
    const int64_t blocks = b->n_narrow <= WARPS * places ? smaller(b->n_narrow, places) : divide_up(b->n_narrow, WARPS);
    return LAUNCH_EARLY((attention_tiles<D, 1>), dim3((unsigned)blocks, kv_heads), 32 * WARPS, WARPS * sizeof(struct page_tiles<D>), *c, b->lists);
}

int gpu_attention_tensor(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    struct gpu_attention_call call = *c;
    int rc = gpu_scratch(dev, &call.slots, GPU_SCORES, (size_t)(b->n_slots * c->n_kv_heads * gpu_slot_floats(c->dim)) * sizeof(float) + 16, err);

    call.narrow = b->narrow;
    call.arrived = b->arrived;
    call.clears = b->padded && b->n_wide == 0 && b->n_narrow >= c->n_rows; /* each row has a tile of the launch */
    if (rc == JRL_OK && b->padded && !call.clears)
        rc = dev->backend->zero(dev, c->out, (size_t)(c->n_rows * c->n_heads * c->dim) * sizeof(jrl_bf16), err);
    if (rc == JRL_OK && b->padded && !call.clears && c->lse)
        rc = dev->backend->zero(dev, c->lse, (size_t)(c->n_rows * c->n_heads) * sizeof(float), err);
    if (rc < 0)
        return rc;
    return c->dim == 64 ? run<64>(dev, &call, err) : run<128>(dev, &call, err);
}
