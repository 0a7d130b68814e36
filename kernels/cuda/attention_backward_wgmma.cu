/* attention_backward_wgmma.cu - the gradient of attention by Hopper's matrix instructions, in one pass over tiles of 128 keys. A block keeps dK and dV
 * of its keys and meets all later queries of the heads that share them, from the last to the first. What it adds to their dQ goes to the output, in the
 * order of the tiles of keys: a block waits until the tile before it has been there. So every sum has one order, which depends on its sequence alone,
 * and nothing is worked out twice. Blocks take tiles in an order in which those that others wait for come first; where many start together, each is a
 * step behind the one before it, and then none waits.
 * A warp brings, and a thread sends dQ on, out of shared memory: who multiplies waits for neither. Two groups of four warps have 64 keys each. Scores are
 * kept with keys as rows: so P and dS enter the products for dV and dK from registers. */
#include "kernels/cuda/attention_wgmma.cuh"

#define GROUP 128 /* threads that multiply together; the first group of a block brings, and sends dQ */
#define THREADS (3 * GROUP)
#define WARPS 8 /* that multiply */
#define TILE GPU_BACK_ROWS
#define TILE_PAGES (TILE / JRL_PAGE_TOKENS)
#define STAGES 2 /* steps on their way */

template <int D> struct room {
    static const int ROWS = 64 * 128 / D; /* queries of a step */
    struct operand<TILE, D> keys, values;
    struct operand<ROWS, D> q[STAGES], dout[STAGES];
    struct operand<TILE, ROWS> dscores[STAGES];
    /* in blocks of 16 columns, pairs of which change places in odd rows: eight threads write two rows and meet no bank twice */
    __align__(128) float dq[ROWS][D];
    __align__(128) float of_rows[STAGES][2][ROWS];
    arrivals pages_there, step_there[STAGES], step_read[STAGES], dq_there, dq_sent;
    int item;
};

/* Where queries and dO are: [rows][heads, D]. */
struct maps {
    box_map q, dout;
};

#if defined(WGMMA_EXISTS)

/* A block's tile, and its steps: queries from row FIRST of the sequence, of a head. */
struct work {
    struct gpu_back_tile tile;
    int64_t kv;
    int n_steps, last; /* LAST: where the queries of a head begin that come first */
};
struct step {
    int first;
    int64_t head;
};
template <int D> static __device__ __forceinline__ struct work work_of(const struct gpu_backward_call &c, const struct gpu_back_tile *tiles, int item)
{
    const int ROWS = room<D>::ROWS, kv_heads = (int)c.n_kv_heads;
    struct work w = { tiles[item / kv_heads], item % kv_heads, 0, 0 };
    const int n = ((int)(w.tile.n - w.tile.first) + ROWS - 1) / ROWS;

    w.n_steps = n * ((int)c.n_heads / kv_heads);
    w.last = (int)w.tile.first + (n - 1) * ROWS;
    return w;
}
static __device__ __forceinline__ struct step first_step(const struct gpu_backward_call &c, const struct work &w)
{
    const struct step first = { w.last, w.kv * ((int)c.n_heads / (int)c.n_kv_heads) };
    return first;
}
template <int D> static __device__ __forceinline__ void next_step(const struct work &w, struct step *step)
{
    const bool same = step->first > (int)w.tile.first;

    step->first = same ? step->first - room<D>::ROWS : w.last;
    step->head += !same;
}

/* A warp: keys and values of the tile, a page a lane (behind the last the last again: P and dS are 0 there), then queries and dO of all steps. Rows behind a
 * sequence are others', or zeros: P and dS are 0 there, too. */
template <int D>
static __device__ __forceinline__ void bring(struct room<D> &s, const struct gpu_backward_call &c, const struct gpu_prepared &p, const struct maps &maps,
                                             const struct work &w)
{
    const int lane = (int)threadIdx.x, BYTES = JRL_PAGE_TOKENS * 128, ROWS = s.ROWS;
    struct step step = first_step(c, w);

    if (lane == 0)
        arrive_before_bytes(&s.pages_there, 2 * TILE * D * 2);
    __syncwarp();
    if (lane < TILE_PAGES) {
        const int page = (int)w.tile.first / JRL_PAGE_TOKENS + lane, n_pages = (int)(w.tile.n + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS;
        const uint8_t *from = w.tile.pages[page < n_pages ? page : n_pages - 1] + c.page_offset + w.kv * (JRL_PAGE_TOKENS * D * 2);

        for (int chunk = 0; chunk < D / 64; chunk++) {
            copy_bytes(s.keys.of + chunk * s.keys.CHUNK + lane * BYTES, from + chunk * BYTES, BYTES, &s.pages_there);
            copy_bytes(s.values.of + chunk * s.values.CHUNK + lane * BYTES, from + c.n_kv_heads * (JRL_PAGE_TOKENS * D * 2) + chunk * BYTES, BYTES,
                       &s.pages_there);
        }
    }
    if (lane > 0)
        return;
    for (int at = 0; at < w.n_steps; at++, next_step<D>(w, &step)) {
        const int stage = at % STAGES, row = (int)w.tile.row + step.first, n = (int)p.n_rows - row < ROWS ? (int)p.n_rows - row : ROWS;
        arrivals *there = &s.step_there[stage];

        wait_arrivals(&s.step_read[stage], (at / STAGES & 1) ^ 1);
        arrive_before_bytes(there, 2 * ROWS * D * 2 + 2 * n * 4);
        for (int chunk = 0; chunk < D / 64; chunk++) {
            copy_box(s.q[stage].of + chunk * s.q[stage].CHUNK, &maps.q, row, (int)step.head * D + 64 * chunk, there);
            copy_box(s.dout[stage].of + chunk * s.dout[stage].CHUNK, &maps.dout, row, (int)step.head * D + 64 * chunk, there);
        }
        for (int which = 0; which < 2; which++)
            copy_bytes(s.of_rows[stage][which], p.of_rows + (which * c.n_heads + step.head) * p.n_rows + row, n * 4, there);
    }
}

/* Whose turn it is to add to the queries of a step: how many tiles of keys have done so. */
static __device__ __forceinline__ int *turn_of(const struct gpu_prepared &p, const struct gpu_back_tile &tile, struct step step)
{
    return p.turns + 1 + step.head * (p.n_rows / JRL_PAGE_TOKENS) + (tile.row + step.first) / JRL_PAGE_TOKENS;
}

/* A thread: dQ of all steps to where it is summed, when it is the block's turn. The first tile's is stored, others are added. */
template <int D>
static __device__ __forceinline__ void send_all(struct room<D> &s, const struct gpu_backward_call &c, const struct gpu_prepared &p, const struct work &w)
{
    const int mine = (int)w.tile.first / TILE;
    struct step step = first_step(c, w);

    for (int at = 0; at < w.n_steps; at++, next_step<D>(w, &step)) {
        const int left = (int)w.tile.n - step.first, n = (left < s.ROWS ? left : s.ROWS) * D * 4;
        float *to = p.dq + (step.head * p.n_rows + w.tile.row + step.first) * D;

        wait_arrivals(&s.dq_there, at & 1);
        while (seen(turn_of(p, w.tile, step)) < mine)
            ;
        fence_sends();
        if (mine == 0)
            send_bytes(to, s.dq, n);
        else
            send_to_add(to, s.dq[0], n);
        commit_sends();
        wait_sends_read();
        arrive(&s.dq_sent);
        wait_sends();
        pass_on(turn_of(p, w.tile, step), mine + 1);
    }
}

/* ---- products: group G of four warps has keys 64 G to 64 G + 63 ---- */

/* sum += what SQUARE holds as pairs, by Z: its columns contracted with Z's rows. */
template <int ROWS, int D>
static __device__ __forceinline__ void add_product(float (&sum)[D / 8][4], uint32_t (&square)[ROWS / 16][4], const struct operand<ROWS, D> &z)
{
    const uint32_t b = shared_address(z.of);

    settle(square);
    fence_sums();
#pragma unroll
    for (int k = 0; k < ROWS / 16; k++)
        wgmma_64<true>(sum, square[k], operand_at(b + k * (16 * 128), z.CHUNK), true);
    commit_products();
}

/* A group's part of what the tile of keys adds to dQ: with heads of 128, 64 columns; else 64 queries. */
template <int D>
static __device__ __forceinline__ void multiply_keys(float (&sum)[8][4], const struct operand<TILE, room<D>::ROWS> &dscores,
                                                     const struct operand<TILE, D> &keys, int g)
{
    const uint32_t a = shared_address(dscores.of) + (D == 64 ? g : 0) * dscores.CHUNK, b = shared_address(keys.of) + (D == 128 ? g : 0) * keys.CHUNK;

    settle(sum);
    fence_sums();
#pragma unroll
    for (int k = 0; k < TILE / 16; k++)
        wgmma_64<true, true>(sum, operand_at(a + k * (16 * 128), dscores.CHUNK), operand_at(b + k * (16 * 128), keys.CHUNK), k > 0);
    commit_products();
}

/* ---- elements: thread (g, t) of a warp has rows g and g + 8 of its 16, columns 2t and 2t + 1 of each 8 ---- */

static __device__ __forceinline__ int row_of(int e) { return (threadIdx.x - GROUP) / 32 * 16 + threadIdx.x % 32 / 4 + e / 2 * 8; }
static __device__ __forceinline__ int column_of(int j, int e) { return 8 * j + threadIdx.x % 4 * 2 + e % 2; }

/* Pairs of a key and a query that do not exist or do not meet: 0. */
template <int n> static __device__ __forceinline__ void mask(float (&square)[n][4], const struct gpu_back_tile &tile, int first)
{
#pragma unroll
    for (int j = 0; j < n; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int query = first + column_of(j, e);
            square[j][e] = (int)tile.first + row_of(e) <= query && query < (int)tile.n ? square[j][e] : 0.0f;
        }
}

template <int n> static __device__ __forceinline__ void probabilities(float (&square)[n][4], const float *lse, float scale)
{
#pragma unroll
    for (int j = 0; j < n; j++) {
        const float2 of = *reinterpret_cast<const float2 *>(lse + column_of(j, 0));
#pragma unroll
        for (int e = 0; e < 4; e++)
            square[j][e] = quick_exp2(fmaf(square[j][e], scale, e % 2 ? -of.y : -of.x));
    }
}

template <int n> static __device__ __forceinline__ void dscores_of(float (&square)[n][4], const float (&probs)[n][4], const float *delta, float scale)
{
#pragma unroll
    for (int j = 0; j < n; j++) {
        const float2 of = *reinterpret_cast<const float2 *>(delta + column_of(j, 0));
#pragma unroll
        for (int e = 0; e < 4; e++)
            square[j][e] = probs[j][e] * fmaf(square[j][e], scale, e % 2 ? -of.y : -of.x);
    }
}

/* Keys are the rows there too: transposed, an operand. */
template <int ROWS> static __device__ __forceinline__ void write_dscores(struct operand<TILE, ROWS> &to, const uint32_t (&pairs)[ROWS / 16][4])
{
#pragma unroll
    for (int k = 0; k < ROWS / 16; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int piece = 2 * k + e / 2;
            *reinterpret_cast<uint32_t *>(to.of + piece / 8 * to.CHUNK + swizzled(row_of(e % 2 * 2), piece % 8) + threadIdx.x % 4 * 4) = pairs[k][e];
        }
}

/* ---- to the output ---- */

/* dQ of a step: columns 8j + 2t, + 1, 8j + 8 + 2t, + 1 of each 16 as piece t of them, until attention_back_rotate. */
template <int D> static __device__ __forceinline__ void write_queries(struct room<D> &s, const float (&sum)[8][4], int g)
{
    const int row = row_of(0) - (D == 128 ? 64 * g : 0), column = (D == 128 ? 64 * g : 0) + threadIdx.x % 4 * 4; /* rows row and row + 8 are both odd or not */

#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 8; j += 2)
            *reinterpret_cast<float4 *>(&s.dq[row + 8 * i][column + (8 * j ^ row % 2 * 16)]) =
                { sum[j][2 * i], sum[j][2 * i + 1], sum[j + 1][2 * i], sum[j + 1][2 * i + 1] };
}

/* Columns D and D + 1, and those half a head further, rotated back. */
static __device__ __forceinline__ void rotate_back(float2 &a, float2 &b, const struct gpu_backward_call &c, int64_t position, int d)
{
    const int64_t at = position * (c.dim / 2) + d;
    const float2 cosine = *reinterpret_cast<const float2 *>(c.cos_table + at), sine = *reinterpret_cast<const float2 *>(c.sin_table + at), x = a, y = b;

    a = { x.x * cosine.x + y.x * sine.x, x.y * cosine.y + y.y * sine.y };
    b = { y.x * cosine.x - x.x * sine.x, y.y * cosine.y - x.y * sine.y };
}

/* dK and dV of the tile. */
template <int D> static __device__ __forceinline__ void write_keys(const struct gpu_backward_call &c, const float (&dk)[D / 8][4], const float (&dv)[D / 8][4],
                                                                   const struct gpu_back_tile &tile, int64_t kv)
{
    const int64_t width = (c.n_heads + 2 * c.n_kv_heads) * D;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int64_t position = tile.first + row_of(2 * i);
        float *to = c.dqkv + (tile.row + position) * width + (c.n_heads + kv) * D, *to_v = to + c.n_kv_heads * D;

        if (position >= tile.n)
            continue;
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            const int d = column_of(j, 0);
            float2 a = { dk[j][2 * i], dk[j][2 * i + 1] }, b = { dk[j + D / 16][2 * i], dk[j + D / 16][2 * i + 1] };

            rotate_back(a, b, c, position, d);
            *reinterpret_cast<float2 *>(to + d) = a;
            *reinterpret_cast<float2 *>(to + D / 2 + d) = b;
            *reinterpret_cast<float2 *>(to_v + d) = { dv[j][2 * i], dv[j][2 * i + 1] };
            *reinterpret_cast<float2 *>(to_v + D / 2 + d) = { dv[j + D / 16][2 * i], dv[j + D / 16][2 * i + 1] };
        }
    }
}

/* The two groups: all steps. */
template <int D>
static __device__ __forceinline__ void multiply_all(struct room<D> &s, const struct gpu_backward_call &c, const struct work &w)
{
    const int g = __shfl_sync(ALL_LANES, (int)threadIdx.x / GROUP - 1, 0); /* in a register of the warp */
    struct step now = first_step(c, w);
    float dk[D / 8][4] = {}, dv[D / 8][4] = {};

    wait_arrivals(&s.pages_there, 0);
    for (int at = 0; at < w.n_steps; at++, next_step<D>(w, &now)) {
        const int stage = at % STAGES;
        const bool at_edge = now.first < (int)w.tile.first + TILE || now.first + s.ROWS > (int)w.tile.n;
        float probs[s.ROWS / 8][4] = {}, square[s.ROWS / 8][4] = {}, dq[8][4] = {};
        uint32_t pairs[s.ROWS / 16][4], dpairs[s.ROWS / 16][4];

        wait_arrivals(&s.step_there[stage], at / STAGES & 1);
        multiply(probs, s.keys, 64 * g, s.q[stage]);
        commit_products();
        multiply(square, s.values, 64 * g, s.dout[stage]);
        commit_products();
        wait_products<1>();
        settle(probs);
        probabilities(probs, s.of_rows[stage][GPU_LSE], c.scale * (float)M_LOG2E);
        if (at_edge)
            mask(probs, w.tile, now.first);
        to_operand<s.ROWS / 8>(pairs, probs);
        add_product(dv, pairs, s.dout[stage]);
        wait_products<1>();
        settle(square);
        dscores_of(square, probs, s.of_rows[stage][GPU_DELTA], c.scale);
        if (at_edge)
            mask(square, w.tile, now.first);
        to_operand<s.ROWS / 8>(dpairs, square);
        write_dscores(s.dscores[stage], dpairs);
        fence_operands();
        meet_some<2 * GROUP>(1); /* dS is there; who writes it in the same place two steps later has seen both groups done with it here, a step later */
        multiply_keys<D>(dq, s.dscores[stage], s.keys, g);
        add_product(dk, dpairs, s.q[stage]);
        wait_products<1>();
        settle(dq);
        wait_arrivals(&s.dq_sent, (at & 1) ^ 1);
        write_queries(s, dq, g);
        fence_operands();
        tell(&s.dq_there);
        wait_products<0>();
        settle(dk);
        settle(dv);
        tell(&s.step_read[stage]);
    }
    write_keys<D>(c, dk, dv, w.tile, w.kv);
}

#endif

/* A block a tile and key-value head, whichever is the next: so one that waits waits for blocks that run. */
template <int D>
static __global__ void __launch_bounds__(THREADS, 1) attention_back_tiles(struct gpu_backward_call c, struct gpu_prepared p, const struct gpu_back_tile *tiles,
                                                                          const __grid_constant__ struct maps maps)
{
#if defined(WGMMA_EXISTS)
    typedef struct room<D> room;
    SHARED(room, s);
    if (threadIdx.x == 0) {
        s.item = atomicAdd(p.turns, 1);
        for (int i = 0; i < STAGES; i++) {
            init_arrivals(&s.step_there[i], 1);
            init_arrivals(&s.step_read[i], WARPS);
        }
        init_arrivals(&s.pages_there, 1);
        init_arrivals(&s.dq_there, WARPS);
        init_arrivals(&s.dq_sent, 1);
        fence_arrivals();
    }
    __syncthreads();
    const struct work w = work_of<D>(c, tiles, s.item);
    if (threadIdx.x < GROUP) {
        give_registers<40>();
        if (threadIdx.x < 32)
            bring(s, c, p, maps, w);
        else if (threadIdx.x == 32)
            send_all(s, c, p, w);
    } else {
        take_registers<232>();
        multiply_all(s, c, w);
    }
#else
    no_wgmma();
#endif
}

/* dQ as it should be: its columns in order and rotated back. A row of a head by D / 4 threads of one warp. */
template <int D> static __global__ void attention_back_rotate(struct gpu_backward_call c, struct gpu_prepared p)
{
#if defined(WGMMA_EXISTS)
    const int64_t i = first_index() / (D / 4);
    const int piece = threadIdx.x % (D / 4), block = piece / 4 ^ (int)(i / c.n_heads % 2), column = block * 16 + piece % 4 * 2;
    const bool exists = i < c.n_rows * c.n_heads && c.rows[i / c.n_heads].pages, upper = piece >= D / 8;
    float *row = c.dqkv + i / c.n_heads * ((c.n_heads + 2 * c.n_kv_heads) * D) + i % c.n_heads * D;
    float mine[4] = {}, other[4];

    if (exists)
        for (int e = 0; e < 4; e++)
            mine[e] = p.dq[(i % c.n_heads * p.n_rows + i / c.n_heads) * D + 4 * piece + e];
    for (int e = 0; e < 4; e++)
        other[e] = __shfl_xor_sync(ALL_LANES, mine[e], D / 8);
    for (int e = 0; e < 4 && exists; e += 2) {
        float2 a = { upper ? other[e] : mine[e], upper ? other[e + 1] : mine[e + 1] }, b = { upper ? mine[e] : other[e], upper ? mine[e + 1] : other[e + 1] };

        rotate_back(a, b, c, c.rows[i / c.n_heads].position, column % (D / 2) + 4 * e);
        *reinterpret_cast<float2 *>(row + column + 4 * e) = upper ? b : a;
    }
#endif
}

template <int D> static int run(struct jrl_device *dev, const struct gpu_backward_call *c, const struct gpu_prepared *p, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    const int64_t columns = c->n_heads * D;
    struct maps maps;
    int rc = gpu_check(dev, map_boxes(&maps.q, c->q, c->n_rows, columns, columns, room<D>::ROWS), "queries for bulk copies", err);

    if (rc == JRL_OK)
        rc = gpu_check(dev, map_boxes(&maps.dout, p->dout, c->n_rows, columns, columns, room<D>::ROWS), "a gradient for bulk copies", err);
    if (rc == JRL_OK)
        rc = LAUNCH(attention_back_tiles<D>, dim3((unsigned)(b->n_back * c->n_kv_heads)), THREADS, sizeof(struct room<D>), *c, *p, b->keys_back, maps);

    return rc < 0 ? rc : LAUNCH(attention_back_rotate<D>, dim3((unsigned)divide_up(c->n_rows * c->n_heads * (D / 4), 256)), 256, 0, *c, *p);
}

int gpu_attention_backward_wgmma(struct jrl_device *dev, const struct gpu_backward_call *c, const struct gpu_prepared *p, struct jrl_error *err)
{
    return c->dim == 64 ? run<64>(dev, c, p, err) : run<128>(dev, c, p, err);
}
