/* attention_backward_wgmma.cu - the gradient of attention by Hopper's matrix instructions, in one pass over tiles of 128 keys. A block keeps dK and dV
 * of its keys and meets all later queries of the heads that share them, from the last to the first. What it adds to their dQ goes to the output, in the
 * order of the tiles of keys: a block waits until the tile before it has been there. So every sum has one order, which depends on its sequence alone,
 * and nothing is worked out twice. Blocks take tiles in an order in which those that others wait for come first; where many start together, each is a
 * step behind the one before it, and then none waits.
 * Two groups of four warps have 64 keys each. Scores are kept with keys as rows: so P and dS enter the products for dV and dK from registers. */
#include "kernels/cuda/attention_wgmma.cuh"

#define THREADS 256 /* two groups of four warps */
#define TILE GPU_BACK_ROWS
#define STAGES 2 /* steps on their way */
#define TURN_THREAD (THREADS / 2) /* looks whether it is the block's turn; thread 0 passes turns on: neither waits for the other's memory */

template <int D> struct room {
    static const int ROWS = 64 * 128 / D; /* queries of a step */
    struct operand<TILE, D> keys, values;
    struct operand<ROWS, D> q[STAGES], dout[STAGES];
    struct operand<TILE, ROWS> dscores;
    __align__(16) float of_rows[STAGES][2][ROWS];
    int item;
};

#if defined(WGMMA_EXISTS)

/* The pages of ROWS positions, NULL where the sequence has none. */
template <int ROWS> struct page_list {
    const uint8_t *of[ROWS / JRL_PAGE_TOKENS];
};
template <int ROWS> static __device__ __forceinline__ struct page_list<ROWS> pages_from(uint8_t *const *pages, int first, int n_pages)
{
    struct page_list<ROWS> l;

#pragma unroll
    for (int i = 0; i < ROWS / JRL_PAGE_TOKENS; i++)
        l.of[i] = first + i < n_pages ? pages[first + i] : NULL;
    return l;
}

/* Keys, or values, of a head's pages, which lie OFFSET bytes from their beginning; zeros for those that are not there. A page's 64 columns are a piece a thread. */
template <int ROWS, int D>
static __device__ __forceinline__ void load_pages(struct operand<ROWS, D> &to, const struct page_list<ROWS> &pages, int64_t offset, const void *anywhere)
{
    const int BYTES = JRL_PAGE_TOKENS * 128;

    static_assert(BYTES == 16 * THREADS, "a piece a thread");
#pragma unroll
    for (int i = 0; i < ROWS / JRL_PAGE_TOKENS; i++)
#pragma unroll
        for (int chunk = 0; chunk < D / 64; chunk++) {
            const uint8_t *page = pages.of[i];
            copy_16(to.of + chunk * to.CHUNK + i * BYTES + 16 * threadIdx.x, page ? page + offset + chunk * BYTES + 16 * threadIdx.x : anywhere, page);
        }
}

/* A place among the steps of a block: queries from row FIRST of the sequence, of a head. */
struct step {
    int first;
    int64_t head;
};

/* ROWS rows that lie STRIDE elements apart, of which N exist; zeros behind. */
template <int ROWS, int D> static __device__ __forceinline__ void load_rows(struct operand<ROWS, D> &to, const jrl_bf16 *from, int64_t stride, int n)
{
#pragma unroll
    for (int i = 0; i < ROWS * D / 8 / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, r = at / (D / 8), piece = at % (D / 8);
        copy_16(to.of + piece / 8 * to.CHUNK + swizzled(r, piece % 8), r < n ? from + r * stride + 8 * piece : from, r < n);
    }
}

template <int D> static __device__ __forceinline__ void load_step(struct room<D> &s, int stage, const struct gpu_backward_call &c, const struct gpu_prepared &p,
                                                                  const struct gpu_back_tile &tile, struct step step)
{
    const int64_t at = ((tile.row + step.first) * c.n_heads + step.head) * D, stride = c.n_heads * D;
    const int n = (int)tile.n - step.first, i = threadIdx.x;

    load_rows(s.q[stage], static_cast<const jrl_bf16 *>(c.q) + at, stride, n);
    load_rows(s.dout[stage], p.dout + at, stride, n);
    if (i < s.ROWS / 2) {
        const int which = i / (s.ROWS / 4), r = i % (s.ROWS / 4) * 4;
        copy_16(&s.of_rows[stage][which][r], p.of_rows + (which * c.n_heads + step.head) * p.n_rows + (r < n ? tile.row + step.first + r : 0), r < n);
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
template <int D> static __device__ __forceinline__ void multiply_keys(float (&sum)[8][4], const struct room<D> &s)
{
    const int g = threadIdx.x / 128;
    const uint32_t a = shared_address(s.dscores.of) + (D == 64 ? g : 0) * s.dscores.CHUNK, b = shared_address(s.keys.of) + (D == 128 ? g : 0) * s.keys.CHUNK;

    settle(sum);
    fence_sums();
#pragma unroll
    for (int k = 0; k < TILE / 16; k++)
        wgmma_64<true, true>(sum, operand_at(a + k * (16 * 128), s.dscores.CHUNK), operand_at(b + k * (16 * 128), s.keys.CHUNK), k > 0);
    commit_products();
}

/* ---- elements: thread (g, t) of a warp has rows g and g + 8 of its 16, columns 2t and 2t + 1 of each 8 ---- */

static __device__ __forceinline__ int row_of(int e) { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + e / 2 * 8; }
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

template <int n> static __device__ __forceinline__ void to_pairs(uint32_t (&pairs)[n / 2][4], const float (&square)[n][4])
{
#pragma unroll
    for (int k = 0; k < n / 2; k++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            pairs[k][e] = pair_of(square[2 * k + e / 2][e % 2 * 2], square[2 * k + e / 2][e % 2 * 2 + 1]);
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

/* A row of dQ, until attention_back_turn: columns 8j + 2t, + 1, 8j + 8 + 2t, + 1 of each 16 as piece t of them. */
template <int D>
static __device__ __forceinline__ void add_to_queries(const struct gpu_backward_call &c, const float (&sum)[8][4], const struct gpu_back_tile &tile,
                                                  struct step step)
{
    const int g = threadIdx.x / 128, row = step.first + row_of(0) - (D == 128 ? 64 * g : 0);
    const int64_t width = (c.n_heads + 2 * c.n_kv_heads) * D;
    float *to = c.dqkv + (tile.row + row) * width + step.head * D + (D == 128 ? 64 * g : 0) + threadIdx.x % 4 * 4;

#pragma unroll
    for (int i = 0; i < 2; i++, to += 8 * width) {
        if (row + 8 * i >= (int)tile.n)
            continue;
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            const float *a = &sum[j][2 * i], *b = &sum[j + 1][2 * i];

            if (tile.first == 0)
                *reinterpret_cast<float4 *>(to + 8 * j) = { a[0], a[1], b[0], b[1] };
            else
                add_to_memory(to + 8 * j, a[0], a[1], b[0], b[1]);
        }
    }
}

/* Columns D and D + 1, and those half a head further, rotated back. */
static __device__ __forceinline__ void turn_back(float2 &a, float2 &b, const struct gpu_backward_call &c, int64_t position, int d)
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

            turn_back(a, b, c, position, d);
            *reinterpret_cast<float2 *>(to + d) = a;
            *reinterpret_cast<float2 *>(to + D / 2 + d) = b;
            *reinterpret_cast<float2 *>(to_v + d) = { dv[j][2 * i], dv[j][2 * i + 1] };
            *reinterpret_cast<float2 *>(to_v + D / 2 + d) = { dv[j + D / 16][2 * i], dv[j + D / 16][2 * i + 1] };
        }
    }
}

/* Whose turn it is to add to the queries of a step: how many tiles of keys have done so. */
static __device__ __forceinline__ int *turn_of(const struct gpu_prepared &p, const struct gpu_back_tile &tile, struct step step)
{
    return p.turns + 1 + step.head * (p.n_rows / JRL_PAGE_TOKENS) + (tile.row + step.first) / JRL_PAGE_TOKENS;
}

#endif

/* A block a tile and key-value head, whichever is the next: so one that waits waits for blocks that run. */
template <int D>
static __global__ void __launch_bounds__(THREADS, 1) attention_back_tiles(struct gpu_backward_call c, struct gpu_prepared p, const struct gpu_back_tile *tiles)
{
#if defined(WGMMA_EXISTS)
    typedef struct room<D> room;
    SHARED(room, s);
    if (threadIdx.x == 0)
        s.item = atomicAdd(p.turns, 1);
    __syncthreads();
    const int item = s.item, group = (int)(c.n_heads / c.n_kv_heads);
    const int64_t kv = item % (int)c.n_kv_heads;
    const struct gpu_back_tile tile = tiles[item / (int)c.n_kv_heads];
    const int n_head_steps = ((int)(tile.n - tile.first) + s.ROWS - 1) / s.ROWS, n_steps = n_head_steps * group, mine = (int)tile.first / TILE;
    const int last = (int)tile.first + (n_head_steps - 1) * s.ROWS;
    const auto after = [&](struct step step) {
        const struct step next = { step.first > (int)tile.first ? step.first - s.ROWS : last, step.first > (int)tile.first ? step.head : step.head + 1 };
        return next;
    };
    struct step now = { last, kv * group }, before = now;
    float dk[D / 8][4] = {}, dv[D / 8][4] = {};

    const struct page_list<TILE> pages = pages_from<TILE>(tile.pages, (int)tile.first / JRL_PAGE_TOKENS, (int)(tile.n + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS);
    load_pages(s.keys, pages, c.page_offset + kv * (JRL_PAGE_TOKENS * D * 2), c.q);
    load_pages(s.values, pages, c.page_offset + (c.n_kv_heads + kv) * (JRL_PAGE_TOKENS * D * 2), c.q);
    load_step(s, 0, c, p, tile, now);
    commit_copies();
    for (int at = 0; at < n_steps; at++) {
        const int stage = at % STAGES;
        const bool at_edge = now.first < (int)tile.first + TILE || now.first + s.ROWS > (int)tile.n;
        float probs[s.ROWS / 8][4] = {}, square[s.ROWS / 8][4] = {}, dq[8][4] = {};
        uint32_t pairs[s.ROWS / 16][4];

        wait_copies<0>();
        fence_operands();
        __syncthreads(); /* this step is there for all, and the last has been used by all */
        multiply(probs, s.keys, (int)threadIdx.x / 128 * 64, s.q[stage]);
        commit_products();
        multiply(square, s.values, (int)threadIdx.x / 128 * 64, s.dout[stage]);
        commit_products();
        if (at + 1 < n_steps)
            load_step(s, 1 - stage, c, p, tile, after(now));
        commit_copies();
        if (threadIdx.x == 0 && at > 0)
            pass_on(turn_of(p, tile, before), mine + 1);
        if (threadIdx.x == TURN_THREAD)
            while (seen(turn_of(p, tile, now)) < mine)
                ;
        wait_products<1>();
        settle(probs);
        probabilities(probs, s.of_rows[stage][GPU_LSE], c.scale * (float)M_LOG2E);
        if (at_edge)
            mask(probs, tile, now.first);
        to_pairs(pairs, probs);
        add_product(dv, pairs, s.dout[stage]);
        wait_products<1>();
        settle(square);
        dscores_of(square, probs, s.of_rows[stage][GPU_DELTA], c.scale);
        if (at_edge)
            mask(square, tile, now.first);
        uint32_t dpairs[s.ROWS / 16][4];
        to_pairs(dpairs, square);
        write_dscores(s.dscores, dpairs);
        fence_operands();
        __syncthreads(); /* dS is there, and it is the block's turn */
        multiply_keys<D>(dq, s);
        add_product(dk, dpairs, s.q[stage]);
        wait_products<1>();
        settle(dq);
        add_to_queries<D>(c, dq, tile, now);
        wait_products<0>();
        settle(dk);
        settle(dv);
        before = now;
        now = after(now);
    }
    __syncthreads();
    if (threadIdx.x == 0)
        pass_on(turn_of(p, tile, before), mine + 1);
    write_keys<D>(c, dk, dv, tile, kv);
#endif
}

/* dQ as it should be: its columns in order and rotated back. A row of a head by D / 4 threads of one warp. */
template <int D> static __global__ void attention_back_turn(struct gpu_backward_call c)
{
#if defined(WGMMA_EXISTS)
    const int64_t i = first_index() / (D / 4);
    const int piece = threadIdx.x % (D / 4), column = piece / 16 * 64 + piece % 16 / 4 * 16 + piece % 4 * 2;
    const bool exists = i < c.n_rows * c.n_heads && c.rows[i / c.n_heads].pages, upper = piece >= D / 8;
    float *row = c.dqkv + i / c.n_heads * ((c.n_heads + 2 * c.n_kv_heads) * D) + i % c.n_heads * D;
    float mine[4] = {}, other[4];

    if (exists)
        for (int e = 0; e < 4; e++)
            mine[e] = row[4 * piece + e];
    for (int e = 0; e < 4; e++)
        other[e] = __shfl_xor_sync(ALL_LANES, mine[e], D / 8);
    for (int e = 0; e < 4 && exists; e += 2) {
        float2 a = { upper ? other[e] : mine[e], upper ? other[e + 1] : mine[e + 1] }, b = { upper ? mine[e] : other[e], upper ? mine[e + 1] : other[e + 1] };

        turn_back(a, b, c, c.rows[i / c.n_heads].position, column % (D / 2) + 4 * e);
        *reinterpret_cast<float2 *>(row + column + 4 * e) = upper ? b : a;
    }
#endif
}

template <int D> static int run(struct jrl_device *dev, const struct gpu_backward_call *c, const struct gpu_prepared *p, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    const int rc = LAUNCH(attention_back_tiles<D>, dim3((unsigned)(b->n_back * c->n_kv_heads)), THREADS, sizeof(struct room<D>), *c, *p, b->keys_back);

    return rc < 0 ? rc : LAUNCH(attention_back_turn<D>, dim3((unsigned)divide_up(c->n_rows * c->n_heads * (D / 4), 256)), 256, 0, *c);
}

int gpu_attention_backward_wgmma(struct jrl_device *dev, const struct gpu_backward_call *c, const struct gpu_prepared *p, struct jrl_error *err)
{
    return c->dim == 64 ? run<64>(dev, c, p, err) : run<128>(dev, c, p, err);
}
