/* attention_wgmma.cu - attention forward of whole sequences by Hopper's matrix instructions, with the bits of attention_tensor.cu: the same order of parts,
 * and a step of 16 of the contracted index has the same bits by wgmma as by mma.sync.
 * A block stays and takes one tile of 128 queries (rows times the heads that share a key-value head) after the other. One warp has keys and values brought,
 * 128 positions a step, and three bring the queries, all as long ahead as there is room. Two groups of four warps have 64 queries each and take turns: one
 * has its products in the matrix units, P V of a step and the scores of the next, be it the next tile's, while the other works out P. */
#include "kernels/cuda/attention_order.cuh"
#include "kernels/cuda/attention_wgmma.cuh"

#define PAGE JRL_PAGE_TOKENS
#define STEP HALF_POSITIONS
#define STEPS_OF_PART (GPU_SPLIT_PAGES / GPU_HALF_PAGES)
#define STAGES 2
#define GROUP 128 /* threads that multiply together; the first group of a block brings */
#define THREADS (3 * GROUP)
#define QUERY_THREADS (GROUP - 32)
#define READERS 8 /* warps */

/* What the groups must know of a tile. */
struct tile_of_block {
    int64_t row;
    int first, end, position, kv;
    int n_steps, n_uncut; /* UNCUT: steps that all queries see as a whole */
    int is_last;          /* of the block */
};
template <int D> struct sequence_room {
    struct operand<GPU_WIDE_ROWS, D> q[2]; /* of this tile and the next */
    struct operand<STEP, D> keys[STAGES], values[STAGES];
    struct tile_of_block tiles[2];
    arrivals keys_there[STAGES], keys_read[STAGES], values_there[STAGES], values_read[STAGES], queries_there[2], queries_read[2];
};

#if defined(WGMMA_EXISTS)

/* The block's Nth tile of all, those with most work first: there and back through the blocks, so that each has the same work in all. -1: there is none. */
static __device__ __forceinline__ int tile_number(int n, int n_all)
{
    const int i = n * (int)gridDim.x + (n % 2 ? (int)(gridDim.x - 1 - blockIdx.x) : (int)blockIdx.x);

    return i < n_all ? i : -1;
}

/* A warp: keys and values of all tiles, a page a lane. Where a step has fewer pages than it could, the last comes again: P is 0 there, and what it meets is a
 * number. */
template <int D>
static __device__ __forceinline__ void bring_pages(struct sequence_room<D> &s, const struct gpu_attention_call &c, const struct gpu_lists *lists)
{
    const int n_all = (int)(lists->n_wide * c.n_kv_heads), lane = (int)threadIdx.x, BYTES = PAGE * 128;
    const int to_values = (int)c.n_kv_heads * (PAGE * D * 2);
    int at = 0;

    for (int n = 0, i; (i = tile_number(n, n_all)) >= 0; n++) {
        const struct gpu_tile &tile = lists->wide[i / (int)c.n_kv_heads];
        const int n_pages = tile.end_page;
        const int64_t offset = c.page_offset + i % (int)c.n_kv_heads * (PAGE * D * 2);

#pragma unroll 1
        for (int first = 0; first < n_pages; first += GPU_HALF_PAGES, at++) {
            const int mine = first + lane % GPU_HALF_PAGES, stage = at % STAGES, parity = (at / STAGES & 1) ^ 1;
            const uint8_t *from = tile.pages[mine < n_pages ? mine : n_pages - 1] + offset;
            const auto bring = [&](struct operand<STEP, D> &to, arrivals *read, arrivals *there) {
                wait_arrivals(read, parity);
                if (lane == 0)
                    arrive_before_bytes(there, STEP * D * 2);
                __syncwarp();
#pragma unroll
                for (int chunk = 0; chunk < D / 64 && lane < GPU_HALF_PAGES; chunk++)
                    copy_bytes(to.of + chunk * to.CHUNK + lane * BYTES, from + chunk * BYTES, BYTES, there);
            };

            bring(s.keys[stage], &s.keys_read[stage], &s.keys_there[stage]);
            from += to_values;
            bring(s.values[stage], &s.values_read[stage], &s.values_there[stage]);
        }
    }
}

/* Three warps: the queries of all tiles, and what the groups must know of these. */
template <int D>
static __device__ __forceinline__ void bring_queries(struct sequence_room<D> &s, const struct gpu_attention_call &c, const struct gpu_lists *lists)
{
    const int n_all = (int)(lists->n_wide * c.n_kv_heads), thread = (int)threadIdx.x - 32, d = thread % (D / 8) * 8;
    const unsigned heads = (unsigned)c.n_heads / (unsigned)c.n_kv_heads;

    static_assert(QUERY_THREADS % (D / 8) == 0, "a thread has one piece of its rows");
    for (int n = 0, i; (i = tile_number(n, n_all)) >= 0; n++) {
        const struct gpu_tile &tile = lists->wide[i / (int)c.n_kv_heads];
        const int kv = i % (int)c.n_kv_heads, first = (int)tile.first, left = (int)tile.end - first, at = n % 2;
        const jrl_bf16 *from = static_cast<const jrl_bf16 *>(c.q) + (tile.row * c.n_heads + kv * heads) * D + d;

        wait_arrivals(&s.queries_read[at], (n / 2 & 1) ^ 1);
#pragma unroll 1
        for (int r = thread / (D / 8); r < GPU_WIDE_ROWS; r += QUERY_THREADS / (D / 8)) {
            const unsigned f = (unsigned)(first + (r < left ? r : 0));
            copy_16(s.q[at].of + 2 * in_rows<GPU_WIDE_ROWS>(r, d), from + (f / heads * c.n_heads + f % heads) * D, r < left);
        }
        if (thread == 0)
            s.tiles[at] = { tile.row, first, first + left, (int)tile.position, kv, (tile.end_page + GPU_HALF_PAGES - 1) / GPU_HALF_PAGES,
                            (int)((tile.position + (unsigned)first / heads + 1) / STEP), tile_number(n + 1, n_all) < 0 };
        commit_copies();
        wait_copies<0>();
        fence_operands();
        arrive(&s.queries_there[at]);
    }
}

/* P V of a step, which is under way then. FOLLOWS: on what the part has. */
template <int D>
static __device__ __forceinline__ void add_values(struct running<D> &part, uint32_t (&p)[STEP / 16][4], const struct operand<STEP, D> &values, bool follows)
{
    const uint32_t b = shared_address(values.of);

    settle(part.out);
    settle(p);
    fence_sums();
#pragma unroll
    for (int k = 0; k < STEP / 16; k++)
        wgmma_64<true>(part.out, p[k], operand_at(b + k * (16 * 128), values.CHUNK), k > 0 || follows);
    commit_products();
}

/* A group: its 64 queries of all tiles. */
template <int D> static __device__ __forceinline__ void attend(struct sequence_room<D> &s, const struct gpu_attention_call &c, const struct gpu_lists *lists)
{
    const int group = __shfl_sync(ALL_LANES, (int)threadIdx.x / GROUP - 1, 0); /* in a register of the warp: so are addresses of operands */
    const int mine = 64 * group + threadIdx.x % GROUP / 32 * 16 + threadIdx.x % 32 / 4;
    const float unit = score_unit(c);
    struct running<D> all, part;
    float score[STEP / 8][4] = {};
    int n = 0, step = 0;

    if (tile_number(0, (int)(lists->n_wide * c.n_kv_heads)) < 0)
        return;
    if (group == 1)
        pass_turn<2 * GROUP>(1);
    wait_arrivals(&s.queries_there[0], 0);
    wait_arrivals(&s.keys_there[0], 0);
    take_turn<2 * GROUP>(1 + group);
    multiply(score, s.q[0], 64 * group, s.keys[0]);
    commit_products();
    pass_turn<2 * GROUP>(2 - group);
    wait_products<0>();
    settle(score);
    tell(&s.keys_read[0]);
    start(all);
    start(part);
    for (int at = 0;; at++) {
        const struct tile_of_block &tile = s.tiles[n % 2];
        const int stage = at % STAGES, next = (at + 1) % STAGES;
        const bool ends = step + 1 == tile.n_steps, follows = step % STEPS_OF_PART > 0, is_last = ends && tile.is_last;
        const int next_tile = (n + ends) % 2;
        uint32_t p[STEP / 16][4];

        if (step >= tile.n_uncut)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const struct query q = query_of(c, tile.row, tile.end, tile.first + mine + 8 * i, tile.kv);
                hide<STEP / 8>(score, i, step * STEP, q.valid ? (int)(tile.position + q.row - tile.row) : -1);
            }
        const struct half_factors factors = weigh_half(p, score, part.max, part.sum, unit);
        if (follows)
            scale_outputs(part, factors);
        wait_arrivals(&s.values_there[stage], at / STAGES & 1);
        if (!is_last)
            wait_arrivals(&s.keys_there[next], (at + 1) / STAGES & 1);
        if (!is_last && ends)
            wait_arrivals(&s.queries_there[next_tile], (n + 1) / 2 & 1);
        take_turn<2 * GROUP>(1 + group);
        add_values<D>(part, p, s.values[stage], follows);
        multiply(score, s.q[next_tile], 64 * group, s.keys[next]); /* behind the last step of what happens to lie there, for nothing */
        commit_products();
        pass_turn<2 * GROUP>(2 - group);
        wait_products<1>();
        settle(part.out);
        tell(&s.values_read[stage]);
        if (follows || ends)
            join_part(all, part);
        wait_products<0>();
        settle(score);
        if (!is_last)
            tell(&s.keys_read[next]);
        step++;
        if (follows || ends) {
            part.max[0] = part.max[1] = -INFINITY;
            part.sum[0] = part.sum[1] = 0;
        }
        if (!ends)
            continue;
        write_rows(c, all, tile.row, tile.end, tile.first + mine, tile.kv);
        tell(&s.queries_read[n % 2]);
        if (is_last)
            break;
        start(all);
        n++;
        step = 0;
    }
    if (group == 0)
        take_turn<2 * GROUP>(1); /* what the other passed on last */
}

#endif

template <int D> static __global__ void __launch_bounds__(THREADS, 1) attention_sequences(struct gpu_attention_call c, const struct gpu_lists *lists)
{
#if defined(WGMMA_EXISTS)
    typedef struct sequence_room<D> room;
    SHARED(room, s);
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            init_arrivals(&s.keys_there[i], 1);
            init_arrivals(&s.values_there[i], 1);
            init_arrivals(&s.keys_read[i], READERS);
            init_arrivals(&s.values_read[i], READERS);
        }
        for (int i = 0; i < 2; i++) {
            init_arrivals(&s.queries_there[i], QUERY_THREADS);
            init_arrivals(&s.queries_read[i], READERS);
        }
        fence_arrivals();
    }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        give_registers<D == 64 ? 40 : 24>(); /* with heads of 128 the groups need all there are */
        if (threadIdx.x < 32)
            bring_pages(s, c, lists);
        else
            bring_queries(s, c, lists);
    } else {
        take_registers<D == 64 ? 232 : 240>();
        attend(s, c, lists);
    }
#else
    no_wgmma();
#endif
}

int gpu_attention_wgmma(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    const dim3 grid((unsigned)smaller(b->n_wide * c->n_kv_heads, gpu_of(dev)->n_processors));

    if (c->dim == 64)
        return LAUNCH(attention_sequences<64>, grid, THREADS, sizeof(struct sequence_room<64>), *c, b->lists);
    return LAUNCH(attention_sequences<128>, grid, THREADS, sizeof(struct sequence_room<128>), *c, b->lists);
}
