/* attention_tensor.cu - attention forward of bf16 on tensor cores, for whole sequences and for decoding more than a few.
 * The positions of a sequence are cut into parts of 256, counted from its first. In a part the halves follow one another with a running maximum, and
 * the parts are joined in ascending order. Both depend on the row's position alone, so decoding few sequences, where blocks take parts side by
 * side (attention_parts.cu), and what is here, where one warp takes some or all of them one after the other, give a row the same bits.
 * Whole sequences go to attention_wgmma.cu where that can run. A warp has 16 queries: rows of one sequence times the heads that share a key-value head. */
#include "kernels/cuda/attention_join.cuh"

#define WARPS 4
#define PAGE JRL_PAGE_TOKENS
#define UNITS 4 /* one that is used, and others on their way */
#define ROWS_TOGETHER (WARPS * GPU_TILE_ROWS)
#define BLOCKS_WIDE (GPU_WIDE_ROWS / ROWS_TOGETHER) /* of a wide tile */

/* A head's keys of a page, or its values, as they lie there; they come in the order in which they are used: keys of half a part, then its values. */
struct unit {
    int page, of_values;
};
static __device__ __forceinline__ struct unit after(struct unit u, int end_page)
{
    const int first = u.page / GPU_HALF_PAGES * GPU_HALF_PAGES, end = first + GPU_HALF_PAGES < end_page ? first + GPU_HALF_PAGES : end_page;
    const struct unit same = { u.page + 1, u.of_values }, other = { u.of_values ? end : first, !u.of_values };

    return u.page + 1 < end ? same : other;
}

template <int D, int WARPS_TOGETHER> struct tile_room {
    __align__(128) jrl_bf16 units[UNITS][PAGE * D];
    jrl_bf16 q[WARPS_TOGETHER][GPU_TILE_ROWS * D];
    int last;
};
static_assert(WARPS * sizeof(struct tile_room<128, 1>) <= GPU_LEAST_SHARED, "a GPU that was opened can decode");
#define ROOM_ROWS(room, D) ((int)(offsetof(room, last) / sizeof(struct part_row<D>))) /* for joins in the same place */

/* WARPS_TOGETHER warps bring a unit to shared memory. */
template <int D, int WARPS_TOGETHER>
static __device__ __forceinline__ void load_unit(jrl_bf16 *to, const struct gpu_attention_call &c, const uint8_t *page, int64_t head)
{
    const int thread = threadIdx.x % (32 * WARPS_TOGETHER), threads = 32 * WARPS_TOGETHER;
    const jrl_bf16 *from = reinterpret_cast<const jrl_bf16 *>(page + c.page_offset) + head * PAGE * D;

#pragma unroll
    for (int i = 0; i < PAGE * D / 8 / threads; i++)
        copy_16(to + 8 * (i * threads + thread), from + 8 * (i * threads + thread), true);
}

/* A warp's queries, from FIRST on of those below END. */
template <int D>
static __device__ __forceinline__ void load_queries(jrl_bf16 *to, const struct gpu_attention_call &c, const struct gpu_tile &tile, int first, int end, int kv)
{
    for (int i = threadIdx.x % 32; i < GPU_TILE_ROWS * D / 8; i += 32) {
        const int r = i / (D / 8), d = i % (D / 8) * 8;
        const struct query q = query_of(c, tile.row, end, first + r, kv);
        const jrl_bf16 *from = static_cast<const jrl_bf16 *>(c.q) + (q.valid ? (q.row * c.n_heads + q.head) * D : 0);
        copy_16(to + in_rows<GPU_TILE_ROWS>(r, d), from + d, q.valid);
    }
}

/* P V of a page. */
template <int D> static __device__ __forceinline__ void add_values(struct running<D> &part, const uint32_t (*p)[4], const jrl_bf16 *v)
{
    const int lane = threadIdx.x % 32;

#pragma unroll
    for (int k = 0; k < PAGE / 16; k++)
#pragma unroll
        for (int j = 0; j < D / 8; j += 2) {
            uint32_t b[4];

            load_matrices<true>(b, v + in_page<jrl_bf16>(16 * k + lane % 16, 8 * j + lane / 16 * 8, D));
            mma_bf16(part.out[j], p[k], b);
            mma_bf16(part.out[j + 1], p[k], b + 2);
        }
}

/* A part in its slot: of queries F and F + 8 of those below END. */
template <int D> static __device__ __forceinline__ void write_slot(struct part_row<D> *slot, const struct running<D> &part, int f, int end)
{
    const int t = threadIdx.x % 4;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        struct part_row<D> &row = slot[f + 8 * i];
        const float sum = shared_sum(part.sum[i]);

        if (f + 8 * i >= end)
            continue;
#pragma unroll
        for (int j = 0; j < D / 8; j++)
            *reinterpret_cast<float2 *>(row.out + 8 * j + 2 * t) = { part.out[j][2 * i], part.out[j][2 * i + 1] };
        if (t == 0)
            *reinterpret_cast<float2 *>(&row.max) = { part.max[i], sum };
    }
}

/* Blocks: tiles by key-value heads. WARPS_TOGETHER: warps that share a tile and the pages in shared memory. One warp alone takes a tile; four of them
 * are a block, of which a processor has room for one, so that none has more of them than others; the first warps of all blocks have the first tiles. */
template <int D, int WARPS_TOGETHER>
static __global__ void __launch_bounds__(32 * WARPS) attention_tiles(struct gpu_attention_call c, const struct gpu_lists *lists)
{
    typedef struct tile_room<D, WARPS_TOGETHER> room;
    struct rooms {
        room of[WARPS / WARPS_TOGETHER];
    };
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, kv = (int)blockIdx.y, threads = 32 * WARPS_TOGETHER, group = (int)c.n_heads / (int)c.n_kv_heads;
    const int at_tile = WARPS_TOGETHER == 1 ? warp * gridDim.x + blockIdx.x : blockIdx.x / BLOCKS_WIDE;
    SHARED(struct rooms, shared);
    room &s = shared.of[warp / WARPS_TOGETHER];
    jrl_bf16 *q = s.q[warp % WARPS_TOGETHER];
    struct running<D> all, part;
    int at = 0;

    wait_for_kernel_before();
    if (WARPS_TOGETHER == 1 && c.clears)
        clear_row_of_nobody(c, at_tile, kv, lane, threads);
    if (at_tile >= (WARPS_TOGETHER == 1 ? lists->n_narrow : lists->n_wide)) /* whole warps that no other waits for */
        return;
    const struct gpu_tile &tile = (WARPS_TOGETHER == 1 ? c.narrow : lists->wide)[at_tile]; /* no registers for what is read once */
    uint8_t *const *pages = tile.pages;
    int first_query = (int)tile.first, end = (int)tile.end, end_page = tile.end_page;
    if (WARPS_TOGETHER > 1) {
        first_query += blockIdx.x % BLOCKS_WIDE * ROWS_TOGETHER;
        if (first_query >= end)
            return;
        end = first_query + ROWS_TOGETHER < end ? first_query + ROWS_TOGETHER : end;
        end_page = ((int)tile.position + (end - 1) / group) / PAGE + 1;
    }
    const int own = first_query + warp % WARPS_TOGETHER * GPU_TILE_ROWS, f = own + lane / 4;
    const int seen_by_all = (int)tile.position + first_query / group + 1; /* positions */
    struct unit next = { tile.first_page, 0 };
    const auto bring_next = [&](int place) {
        if (next.page < end_page)
            load_unit<D, WARPS_TOGETHER>(s.units[place % UNITS], c, pages[next.page], next.of_values ? c.n_kv_heads + kv : kv);
        commit_copies();
        next = after(next, end_page);
    };
    const auto unit_there = [&]() -> const jrl_bf16 * {
        wait_copies<UNITS - 2>();
        meet<threads>(); /* it is there for all, and the one before it has been used by all */
        bring_next(at + UNITS - 1);
        return s.units[at++ % UNITS];
    };
    load_queries<D>(q, c, tile, own, end, kv);
    for (int i = 0; i < UNITS - 1; i++)
        bring_next(i);
    start(all);
    start(part);
    for (int first = tile.first_page; first < end_page; first += GPU_HALF_PAGES) {
        const int n = end_page - first;
        float score[HALF_POSITIONS / 8][4] = {};
        uint32_t p[HALF_POSITIONS / 16][4];

#pragma unroll
        for (int i = 0; i < GPU_HALF_PAGES; i++)
            if (i < n)
                multiply_page<D>(score + i * (PAGE / 8), q, unit_there());
        if ((first + GPU_HALF_PAGES) * PAGE > seen_by_all)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const struct query query = query_of(c, tile.row, end, f + 8 * i, kv);
                hide<HALF_POSITIONS / 8>(score, i, first * PAGE, query.valid ? (int)(tile.position + query.row - tile.row) : -1);
            }
        scale_outputs(part, weigh_half(p, score, part.max, part.sum, score_unit(c)));
#pragma unroll
        for (int i = 0; i < GPU_HALF_PAGES; i++)
            if (i < n)
                add_values<D>(part, p + i * (PAGE / 16), unit_there());
        if ((first + GPU_HALF_PAGES) % GPU_SPLIT_PAGES == 0 || n <= GPU_HALF_PAGES) {
            if (WARPS_TOGETHER > 1 || tile.n_tiles == 1)
                join_part(all, part);
            else
                write_slot<D>(slot_of<D>(c, tile, kv, first / GPU_SPLIT_PAGES), part, f, end);
            start(part);
        }
    }
    wait_copies<0>();
    if (WARPS_TOGETHER > 1 || tile.n_tiles == 1)
        write_rows(c, all, tile.row, end, f, kv);
    else if (is_last_tile<threads>(&s.last, c, tile, kv))
        join_parts<D, threads>(c, tile, kv, reinterpret_cast<struct part_row<D> *>(&s), ROOM_ROWS(room, D));
}

template <int D> static int run(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    const unsigned kv_heads = (unsigned)c->n_kv_heads;
    int rc = JRL_OK;

    if (b->n_wide && gpu_of(dev)->wgmma)
        rc = gpu_attention_wgmma(dev, c, err);
    else if (b->n_wide)
        rc = LAUNCH((attention_tiles<D, WARPS>), dim3((unsigned)b->n_wide * BLOCKS_WIDE, kv_heads), 32 * WARPS, sizeof(struct tile_room<D, WARPS>), *c,
                    b->lists);
    if (rc < 0 || b->n_narrow == 0)
        return rc;
    if (b->blocks)
        return gpu_attention_parts(dev, c, err);
    const int64_t places = larger_of(1, gpu_of(dev)->n_processors / c->n_kv_heads); /* all blocks at a time, if they are enough */
    const int64_t blocks = b->n_narrow <= WARPS * places ? smaller(b->n_narrow, places) : divide_up(b->n_narrow, WARPS);
    return LAUNCH_EARLY((attention_tiles<D, 1>), dim3((unsigned)blocks, kv_heads), 32 * WARPS, WARPS * sizeof(struct tile_room<D, 1>), *c, b->lists);
}

int gpu_attention_tensor(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    struct gpu_attention_call call = *c;
    int rc = gpu_scratch(dev, &call.slots, GPU_SCORES, (size_t)gpu_attention_slot_bytes(b->n_slots * c->n_kv_heads, c->dim), err);

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
