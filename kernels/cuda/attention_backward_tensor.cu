/* attention_backward_tensor.cu - the gradient of attention of bf16 on tensor cores, in two passes that add nothing atomically: one over
 * tiles of 128 keys for dK and dV, one over tiles of 128 queries for dQ. Each works out P and dS of its squares for itself. Tiles are
 * counted from a sequence's first position, and every output has one accumulator: over heads, queries or keys in ascending order. So a
 * gradient depends on its sequence alone, whatever pack holds it.
 * A warp has 32 keys, or 32 queries, and meets 32 of the others at a time: a square.
 * What both ways need first is here, too (attention_prepare): on a GPU that has wgmma attention_backward_wgmma.cu does the rest. */
#include "kernels/cuda/attention_gpu.h"

#define TILE GPU_BACK_ROWS
#define STEP JRL_PAGE_TOKENS
#define STAGES 2 /* steps on their way */
#define PAD 8    /* elements behind a row: the eight rows that one load touches fall into different banks */
#define SQUARES (TILE / STEP)
#define KEYS_THREADS (2 * 32 * SQUARES)
#define QUERIES_THREADS (32 * SQUARES)

enum { KEYS, VALUES };

template <int D> struct keys_room {
    __align__(16) jrl_bf16 kv[2][TILE][D + PAD], queries[STAGES][2][STEP][D + PAD]; /* q and dO */
    __align__(16) float of_rows[STAGES][2][STEP];
    __align__(16) float4 probs[SQUARES][8][32]; /* from the warp of dV to that of dK, lane by lane */
};
template <int D> struct queries_room {
    __align__(16) jrl_bf16 queries[2][TILE][D + PAD], kv[STAGES][2][STEP][D + PAD];
    __align__(16) float of_rows[2][TILE];
};

/* A row and head by sixteen threads, the contract's lanes. */
template <int D> static __global__ void attention_prepare(struct gpu_backward_call c, struct gpu_prepared to)
{
    const int64_t i = first_index() / JRL_LANES;
    const int lane = threadIdx.x % JRL_LANES;
    const bool valid = i < c.n_rows * c.n_heads, exists = valid && c.rows[i / c.n_heads].pages; /* rows of nobody meet P of 0 */
    float sum = 0;

    if (first_index() < to.n_turns)
        to.turns[first_index()] = 0;
#pragma unroll
    for (int d = lane; d < D && valid; d += JRL_LANES) {
        const jrl_bf16 rounded = jrl_f32_to_bf16(exists ? c.dout[i * D + d] : 0.0f);

        to.dout[i * D + d] = rounded;
        sum = fmaf(jrl_bf16_to_f32(rounded), jrl_bf16_to_f32(static_cast<const jrl_bf16 *>(c.out)[i * D + d]), sum);
    }
    for (int bits = JRL_LANES / 2; bits; bits /= 2)
        sum += __shfl_xor_sync(ALL_LANES, sum, bits);
    if (lane == 0 && valid) {
        float *at = to.of_rows + i % c.n_heads * to.n_rows + i / c.n_heads;

        at[GPU_LSE] = c.lse[i] * (float)M_LOG2E;
        at[GPU_DELTA * c.n_heads * to.n_rows] = sum * c.scale;
    }
}

/* ---- to shared memory ---- */

/* 32 rows that lie ROW elements apart, of which N exist; zeros behind. */
template <int D> static __device__ __forceinline__ void load_rows(jrl_bf16 (*to)[D + PAD], const jrl_bf16 *from, int64_t row, int n)
{
    for (int i = threadIdx.x; i < STEP * D / 8; i += blockDim.x) {
        const int r = i / (D / 8), d = i % (D / 8) * 8;
        copy_16(&to[r][d], r < n ? from + r * row + d : from, r < n);
    }
}

/* q and dO of 32 rows from row FIRST of the tile's sequence. */
template <int D> static __device__ __forceinline__ void load_queries(jrl_bf16 (*q)[D + PAD], jrl_bf16 (*dout)[D + PAD], const struct gpu_backward_call &c,
                                                                     const struct gpu_prepared &p, const struct gpu_back_tile &tile, int first, int64_t head)
{
    const int64_t at = ((tile.row + first) * c.n_heads + head) * D, row = c.n_heads * D;

    load_rows<D>(q, static_cast<const jrl_bf16 *>(c.q) + at, row, (int)tile.n - first);
    load_rows<D>(dout, p.dout + at, row, (int)tile.n - first);
}

/* lse and D of N rows from row FIRST, in pieces of four: rounded up they are there. */
template <int N> static __device__ __forceinline__ void load_of_rows(float (*to)[N], const struct gpu_backward_call &c, const struct gpu_prepared &p,
                                                                     const struct gpu_back_tile &tile, int first, int64_t head)
{
    for (int i = threadIdx.x; i < N / 2; i += blockDim.x) {
        const int which = i / (N / 4), r = i % (N / 4) * 4;
        const bool valid = first + r < (int)tile.n;
        copy_16(&to[which][r], p.of_rows + (which * c.n_heads + head) * p.n_rows + (valid ? tile.row + first + r : 0), valid);
    }
}

/* A page's keys and values of one head. */
template <int D>
static __device__ __forceinline__ void load_page(jrl_bf16 (*k)[D + PAD], jrl_bf16 (*v)[D + PAD], const struct gpu_backward_call &c, const uint8_t *page,
                                                 int64_t kv)
{
    const jrl_bf16 *keys = reinterpret_cast<const jrl_bf16 *>(page + c.page_offset) + kv * STEP * D, *values = keys + c.n_kv_heads * STEP * D;

#pragma unroll 1
    for (int i = threadIdx.x; i < STEP * D / 8; i += blockDim.x) {
        const int r = i / (D / 8), d = i % (D / 8) * 8, at = in_page<jrl_bf16>(r, d, D);
        copy_16(&k[r][d], keys + at, true);
        copy_16(&v[r][d], values + at, true);
    }
}

/* ---- squares: thread (g, t) has rows g and g + 8 of each 16, columns 2t and 2t + 1 of each 8 ---- */

/* square = rows of X by rows of Y, contracted over the head. */
template <int D> static __device__ __forceinline__ void multiply(float square[2][4][4], const jrl_bf16 (*x)[D + PAD], const jrl_bf16 (*y)[D + PAD])
{
    const int q = threadIdx.x % 32 / 8, r = threadIdx.x % 8;

#pragma unroll
    for (int i = 0; i < 32; i++)
        square[i / 16][i / 4 % 4][i % 4] = 0;
#pragma unroll
    for (int d = 0; d < D; d += 16) {
        uint32_t a[2][4], b[2][4];

#pragma unroll
        for (int i = 0; i < 2; i++) {
            load_matrices<false>(a[i], &x[16 * i + q % 2 * 8 + r][d + q / 2 * 8]);
            load_matrices<false>(b[i], &y[16 * i + q / 2 * 8 + r][d + q % 2 * 8]);
        }
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                mma_bf16(square[i][j], a[i], &b[j / 2][j % 2 * 2]);
    }
}

/* sum += the square, rounded to bf16, by Z: its columns contracted with Z's rows. */
template <int D> static __device__ __forceinline__ void add_product(float sum[2][D / 8][4], const float square[2][4][4], const jrl_bf16 (*z)[D + PAD])
{
    const int q = threadIdx.x % 32 / 8, r = threadIdx.x % 8;

#pragma unroll
    for (int k = 0; k < 2; k++) {
        uint32_t a[2][4], b[4];

#pragma unroll
        for (int i = 0; i < 2; i++)
            to_operand<2>(&a[i], &square[i][2 * k]);
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            load_matrices<true>(b, &z[16 * k + q % 2 * 8 + r][16 * j + q / 2 * 8]);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                mma_bf16(sum[i][2 * j], a[i], &b[0]);
                mma_bf16(sum[i][2 * j + 1], a[i], &b[2]);
            }
        }
    }
}

/* The place of element (i, j, e) in a square, and which pairs of a key and a query of N exist. */
static __device__ __forceinline__ int row_of(int i, int e) { return 16 * i + threadIdx.x % 32 / 4 + e / 2 * 8; }
static __device__ __forceinline__ int column_of(int j, int e) { return 8 * j + threadIdx.x % 4 * 2 + e % 2; }
static __device__ __forceinline__ bool attends(int query, int key, int n) { return key <= query && query < n; }

static __device__ __forceinline__ float probability(float score, float scale, float lse) { return quick_exp2(fmaf(score, scale * (float)M_LOG2E, -lse)); }
static __device__ __forceinline__ float dscore(float prob, float dprob, float delta, float scale) { return prob * fmaf(dprob, scale, -delta); }

/* 32 rows by one head of dqkv, rotated back where ROTATE; FIRST: position of the first. */
template <int D>
static __device__ __forceinline__ void write_rows(const struct gpu_backward_call &c, const float sum[2][D / 8][4], const struct gpu_back_tile &tile, int first,
                                                  int64_t column, bool rotate)
{
    const int64_t width = (c.n_heads + 2 * c.n_kv_heads) * D;

#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < D / 16; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int position = first + row_of(i, e), d = column_of(j, e);
                const float a = sum[i][j][e], b = sum[i][j + D / 16][e];

                if (position >= (int)tile.n)
                    continue;
                const float cosine = rotate ? c.cos_table[(int64_t)position * (D / 2) + d] : 1.0f;
                const float sine = rotate ? c.sin_table[(int64_t)position * (D / 2) + d] : 0.0f;
                float *to = c.dqkv + (tile.row + position) * width + column * D + d;
                to[0] = rotate ? a * cosine + b * sine : a;
                to[D / 2] = rotate ? b * cosine - a * sine : b;
            }
}

/* ---- the passes ---- */

/* dK and dV of 128 keys and a key-value head. Two warps share a square: one works out P^T and adds to dV, the other, given P^T, works out
 * dS^T and adds to dK. Both do the same two products with other operands. */
template <int D>
static __global__ void __launch_bounds__(KEYS_THREADS) attention_keys_tiles(struct gpu_backward_call c, struct gpu_prepared p,
                                                                                   const struct gpu_back_tile *tiles)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, of_keys = warp / SQUARES, mine = warp % SQUARES * STEP;
    const int64_t kv = blockIdx.x % c.n_kv_heads, group = c.n_heads / c.n_kv_heads;
    const struct gpu_back_tile tile = tiles[blockIdx.x / c.n_kv_heads];
    const int n = (int)tile.n, tile_first = (int)tile.first;
    const int n_head_steps = (n - tile_first + STEP - 1) / STEP, n_steps = n_head_steps * (int)group; /* query rows of one head, then of the next */
    const auto load_step = [&](struct keys_room<D> &s, int at) {
        const int first = tile_first + at % n_head_steps * STEP, stage = at % STAGES;
        const int64_t head = kv * group + at / n_head_steps;

        load_queries<D>(s.queries[stage][0], s.queries[stage][1], c, p, tile, first, head);
        load_of_rows(s.of_rows[stage], c, p, tile, first, head);
    };
    float sum[2][D / 8][4] = {};
    SHARED(struct keys_room<D>, s);

    for (int i = 0; i < SQUARES && tile_first + i * STEP < n; i++)
        load_page<D>(&s.kv[KEYS][i * STEP], &s.kv[VALUES][i * STEP], c, tile.pages[tile_first / STEP + i], kv);
    load_step(s, 0);
    commit_copies();
    for (int at = 0; at < n_steps; at++) {
        const int stage = at % STAGES, first = tile_first + at % n_head_steps * STEP, first_key = tile_first + mine;
        const bool used = first_key <= first; /* else every pair is masked */
        float square[2][4][4];

        wait_copies<0>();
        __syncthreads(); /* this step is there for all, and the last has been used by all */
        if (at + 1 < n_steps)
            load_step(s, at + 1);
        commit_copies();
        if (used)
            multiply<D>(square, &s.kv[of_keys ? VALUES : KEYS][mine], s.queries[stage][of_keys]);
#pragma unroll
        for (int i = 0; i < 8 && used && !of_keys; i++) {
            float *to = square[i / 4][i % 4];
#pragma unroll
            for (int e = 0; e < 4; e++)
                to[e] = attends(first + column_of(i % 4, e), first_key + row_of(i / 4, e), n)
                            ? probability(to[e], c.scale, s.of_rows[stage][GPU_LSE][column_of(i % 4, e)]) : 0.0f;
            s.probs[mine / STEP][i][lane] = { to[0], to[1], to[2], to[3] };
        }
        __syncthreads(); /* the probabilities are there */
#pragma unroll
        for (int i = 0; i < 8 && used && of_keys; i++) {
            const float4 from = s.probs[mine / STEP][i][lane];
            const float prob[4] = { from.x, from.y, from.z, from.w };
            float *to = square[i / 4][i % 4];
#pragma unroll
            for (int e = 0; e < 4; e++)
                to[e] = attends(first + column_of(i % 4, e), first_key + row_of(i / 4, e), n)
                            ? dscore(prob[e], to[e], s.of_rows[stage][GPU_DELTA][column_of(i % 4, e)], c.scale) : 0.0f;
        }
        if (used)
            add_product<D>(sum, square, s.queries[stage][1 - of_keys]);
    }
    wait_copies<0>();
    write_rows<D>(c, sum, tile, tile_first + mine, c.n_heads + (of_keys ? 0 : c.n_kv_heads) + kv, of_keys);
}

/* dQ of 128 queries and a head. */
template <int D>
static __global__ void __launch_bounds__(QUERIES_THREADS) attention_queries_tiles(struct gpu_backward_call c, struct gpu_prepared p,
                                                                                         const struct gpu_back_tile *tiles)
{
    const int mine = threadIdx.x / 32 * STEP;
    const int64_t head = blockIdx.x % c.n_heads, kv = head / (c.n_heads / c.n_kv_heads);
    const struct gpu_back_tile tile = tiles[blockIdx.x / c.n_heads];
    const int n = (int)tile.n, tile_first = (int)tile.first, first = tile_first + mine;
    const int n_pages = ((n < tile_first + TILE ? n : tile_first + TILE) + STEP - 1) / STEP;
    float sum[2][D / 8][4] = {};
    SHARED(struct queries_room<D>, s);

    for (int i = 0; i < SQUARES && tile_first + i * STEP < n; i++)
        load_queries<D>(&s.queries[0][i * STEP], &s.queries[1][i * STEP], c, p, tile, tile_first + i * STEP, head);
    load_of_rows(s.of_rows, c, p, tile, tile_first, head);
    load_page<D>(s.kv[0][KEYS], s.kv[0][VALUES], c, tile.pages[0], kv);
    commit_copies();
    for (int page = 0; page < n_pages; page++) {
        const int stage = page % STAGES, first_key = page * STEP;
        float square[2][4][4], probs[2][4][4];

        wait_copies<0>();
        __syncthreads(); /* this page is there for all, and the last has been used by all */
        if (page + 1 < n_pages)
            load_page<D>(s.kv[1 - stage][KEYS], s.kv[1 - stage][VALUES], c, tile.pages[page + 1], kv);
        commit_copies();
        if (first_key > first || first >= n)
            continue; /* every pair is masked */
        multiply<D>(probs, &s.queries[0][mine], s.kv[stage][KEYS]);
        multiply<D>(square, &s.queries[1][mine], s.kv[stage][VALUES]);
#pragma unroll
        for (int i = 0; i < 32; i++) {
            const int row = row_of(i / 16, i % 4);
            float &to = square[i / 16][i / 4 % 4][i % 4];
            const float prob = probability(probs[i / 16][i / 4 % 4][i % 4], c.scale, s.of_rows[GPU_LSE][mine + row]);
            to = attends(first + row, first_key + column_of(i / 4 % 4, i % 4), n) ? dscore(prob, to, s.of_rows[GPU_DELTA][mine + row], c.scale) : 0.0f;
        }
        add_product<D>(sum, square, s.kv[stage][KEYS]);
    }
    wait_copies<0>();
    if (first < n)
        write_rows<D>(c, sum, tile, first, head, true);
}

template <int D> static int run(struct jrl_device *dev, const struct gpu_backward_call *c, const struct gpu_prepared *p, struct jrl_error *err)
{
    const struct gpu_bound *b = gpu_of(dev)->bound;
    int rc = LAUNCH(attention_prepare<D>, dim3((unsigned)divide_up(c->n_rows * c->n_heads * JRL_LANES, 256)), 256, 0, *c, *p);

    if (rc == JRL_OK && b->n_back && gpu_of(dev)->wgmma)
        return gpu_attention_backward_wgmma(dev, c, p, err);
    if (rc == JRL_OK && b->n_back)
        rc = LAUNCH(attention_keys_tiles<D>, dim3((unsigned)(b->n_back * c->n_kv_heads)), KEYS_THREADS, sizeof(struct keys_room<D>), *c, *p, b->keys_back);
    if (rc == JRL_OK && b->n_back)
        rc = LAUNCH(attention_queries_tiles<D>, dim3((unsigned)(b->n_back * c->n_heads)), QUERIES_THREADS, sizeof(struct queries_room<D>), *c, *p,
                    b->queries_back);
    return rc;
}

static int64_t rows_of_head(int64_t n_rows) { return divide_up(n_rows, STEP) * STEP; }

/* One for each head and page of rows, and one that counts blocks; there are more threads that set them to 0. */
static int64_t turns_of(int64_t n_rows, int64_t n_heads) { return rows_of_head(n_rows) / STEP * n_heads + 1; }

static int64_t dq_bytes(const struct jrl_device *dev, int64_t n_rows, int64_t n_heads, int64_t dim)
{
    return gpu_of(dev)->wgmma ? rows_of_head(n_rows) * n_heads * dim * (int64_t)sizeof(float) : 0;
}

int64_t gpu_attention_backward_tensor_bytes(const struct jrl_device *dev, int64_t n_rows, int64_t n_heads, int64_t dim)
{
    const int64_t row_bytes = dim * (int64_t)sizeof(jrl_bf16) + 2 * (int64_t)sizeof(float);

    return dq_bytes(dev, n_rows, n_heads, dim) + rows_of_head(n_rows) * n_heads * row_bytes + turns_of(n_rows, n_heads) * (int64_t)sizeof(int);
}

int gpu_attention_backward_tensor(struct jrl_device *dev, const struct gpu_backward_call *c, struct jrl_error *err)
{
    const int64_t rows = rows_of_head(c->n_rows);
    void *memory;
    const int rc = gpu_scratch(dev, &memory, GPU_SCORES, (size_t)gpu_attention_backward_tensor_bytes(dev, c->n_rows, c->n_heads, c->dim), err);
    struct gpu_prepared p = {};

    if (rc < 0)
        return rc;
    p.dq = static_cast<float *>(memory);
    p.dout = reinterpret_cast<jrl_bf16 *>(static_cast<char *>(memory) + dq_bytes(dev, c->n_rows, c->n_heads, c->dim));
    p.of_rows = reinterpret_cast<float *>(p.dout + rows * c->n_heads * c->dim);
    p.turns = reinterpret_cast<int *>(p.of_rows + 2 * rows * c->n_heads);
    p.n_rows = rows;
    p.n_turns = turns_of(c->n_rows, c->n_heads);
    return c->dim == 64 ? run<64>(dev, c, &p, err) : run<128>(dev, c, &p, err);
}
