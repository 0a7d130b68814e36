/* matmul_few.cu - products of up to 64 rows in the form nt, as decoding multiplies them: weights pass once through each processor at the speed of
 * memory. A block takes all rows and a tile of columns; a warp 16 rows by 8 columns at a time. The order of additions is that of matmul_tensor.cu: one
 * accumulator, steps of 16, parts of PART. Parts lie side by side, and the block of a tile that is through last adds them in ascending order.
 * Gate and up can be one product, whose outputs are the activations. */
#include "kernels/cuda/arrive.cuh"
#include "kernels/cuda/tiles.cuh"

/* Blocks of WARPS warps that have MT x 16 rows by R x 8 columns each, KC of the contracted index at a time, STAGES of them
 * on their way. */
template <int MT_, int WARPS_, int R_, int KC_, int STAGES_> struct few_class {
    static const int MT = MT_, R = R_, KC = KC_, STAGES = STAGES_, THREADS = 32 * WARPS_, BM = 16 * MT_, BN = 8 * WARPS_ * R_;
    static const int PIECES = KC / 8, PASS = THREADS / PIECES; /* pieces of 16 bytes in a row; rows that the block's threads copy at once */
    static const int A_PASSES = BM / PASS, B_PASSES = BN / PASS;
    static_assert(BN % PASS == 0 && PART % KC == 0 && BM % PASS == 0, "tiles are whole passes, parts whole stages");
};

/* Rows of KC elements; piece i of row r is at i ^ r % 8, so that the eight rows that ldmatrix reads lie in different banks. */
template <class C> struct few_tiles {
    __align__(128) unsigned char a[C::STAGES][C::BM][C::KC * 2];
    __align__(128) unsigned char b[C::STAGES][C::BN][C::KC * 2];
    int last;
};

struct few_call {
    struct {
        const jrl_bf16 *a, *b;
        float *c;
        int64_t lda, ldb, ldc;
        int n, first_tile, accumulate;
    } of[JRL_GROUP_PRODUCTS];
    int n_products, m, k;
    jrl_bf16 *act;     /* of product 0 as gate and product 1 as up: [m][n] */
    float4 *sums;      /* of parts: [tile][part][16 x 8 outputs of a warp][thread] */
    unsigned *arrived; /* parts of a tile that are through; 0 between launches */
};

/* What a thread copies: the same piece of some rows. */
template <class C> struct few_rows {
    const unsigned char *a[C::A_PASSES], *b[C::B_PASSES];
    int n_a; /* passes of A that this thread takes part in */
};

/* Which product, which columns of it: those of B's row R of the block. */
struct few_place {
    int product, column;
};
template <class C> static __device__ __forceinline__ struct few_place place_of(const struct few_call &call, bool gated)
{
    struct few_place at = { 0, (int)blockIdx.x * (gated ? C::BN / 2 : C::BN) };

#pragma unroll
    for (int i = 1; i < JRL_GROUP_PRODUCTS; i++)
        if (!gated && i < call.n_products && (int)blockIdx.x >= call.of[i].first_tile)
            at = { i, ((int)blockIdx.x - call.of[i].first_tile) * C::BN };
    return at;
}

/* B's rows of a block: a warp's R x 8 follow one another; gated, the first half of them is gate and the second the same columns of up. */
template <class C, bool gated>
static __device__ __forceinline__ void set_rows(struct few_rows<C> &rows, const struct few_call &call, const struct few_place &at, int begin)
{
    const auto &p = call.of[at.product];
    const int row = threadIdx.x / C::PIECES, k = begin + threadIdx.x % C::PIECES * 8, half = C::R > 1 ? C::R / 2 * 8 : 8;

    rows.n_a = 0;
#pragma unroll
    for (int j = 0; j < C::B_PASSES; j++) {
        const int y = row + j * C::PASS;
        const int x = gated ? y / (2 * half) * half + y % half : y, column = at.column + x < p.n ? at.column + x : p.n - 1;
        const auto &q = gated && y / half % 2 ? call.of[1] : p;
        rows.b[j] = reinterpret_cast<const unsigned char *>(q.b + column * q.ldb + k);
    }
#pragma unroll
    for (int j = 0; j < C::A_PASSES; j++) {
        const int y = row + j * C::PASS;
        rows.a[j] = reinterpret_cast<const unsigned char *>(p.a + (y < call.m ? y : 0) * p.lda + k);
        rows.n_a += y < call.m;
    }
}

/* Stage AT into its place. Rows of A behind the last are left as they are: each adds to outputs that nobody wants. A whole stage is told apart so
 * that copying costs one instruction a piece: a lone warp has time for a few of them between two that multiply. */
enum few_what { FEW_BOTH, FEW_A, FEW_B };
template <class C, bool whole>
static __device__ __forceinline__ void copy_few(few_tiles<C> &s, const struct few_rows<C> &rows, int at, int slot, int left, few_what what)
{
    const int row = threadIdx.x / C::PIECES, piece = threadIdx.x % C::PIECES;
    const bool valid = whole || piece * 8 < left;
    const int64_t from = valid ? (int64_t)at * C::KC * 2 : -(int64_t)piece * 16; /* else the part's first: an address must be one */

#pragma unroll
    for (int j = 0; j < C::B_PASSES && what != FEW_A; j++) {
        const int y = row + j * C::PASS;
        copy_16(&s.b[slot][y][(piece ^ y % 8) * 16], rows.b[j] + from, valid);
    }
#pragma unroll
    for (int j = 0; j < C::A_PASSES && what != FEW_B; j++) {
        const int y = row + j * C::PASS;
        if (j < rows.n_a)
            copy_16(&s.a[slot][y][(piece ^ y % 8) * 16], rows.a[j] + from, valid);
    }
}
template <class C>
static __device__ __forceinline__ void load_few(few_tiles<C> &s, const struct few_rows<C> &rows, int at, int slot, int left, few_what what = FEW_BOTH)
{
    if (left >= C::KC)
        copy_few<C, true>(s, rows, at, slot, left, what);
    else if (left > 0)
        copy_few<C, false>(s, rows, at, slot, left, what);
}

/* What two steps multiply. */
template <class C> struct few_pair {
    uint32_t a[2][C::MT][4], b[C::R][4];
};
template <class C> static __device__ __forceinline__ void load_pair(struct few_pair<C> &f, const few_tiles<C> &s, int slot, int pair)
{
    const int warp = threadIdx.x / 32, q = threadIdx.x % 32 / 8, r = threadIdx.x % 8;

#pragma unroll
    for (int j = 0; j < C::R; j++)
        load_matrices<false>(f.b[j], &s.b[slot][warp * C::R * 8 + 8 * j + r][((4 * pair + q) ^ r) * 16]);
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int i = 0; i < C::MT; i++)
            load_matrices<false>(f.a[h][i], &s.a[slot][16 * i + q % 2 * 8 + r][((4 * pair + 2 * h + q / 2) ^ r) * 16]);
}
/* LEFT: of the contracted index. Steps of zeros only are left out, as in every class. */
template <class C> static __device__ __forceinline__ void multiply_pair(float (&acc)[C::MT][C::R][4], const struct few_pair<C> &f, int left)
{
#pragma unroll
    for (int h = 0; h < 2; h++)
        if (STEP * h < left) {
#pragma unroll
            for (int i = 0; i < C::MT; i++)
#pragma unroll
                for (int j = 0; j < C::R; j++)
                    mma_bf16(acc[i][j], f.a[h][i], &f.b[j][2 * h]);
        }
}

/* F(i, j, h, y, x): outputs acc[i][j][2 h] and the one beside it are row y, columns x and x + 1 of the product (gated: of gate or up). */
template <class C, bool gated, class F> static __device__ __forceinline__ void for_few(int column, F f)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = gated ? C::R / 2 * 8 : C::R * 8;

#pragma unroll
    for (int i = 0; i < C::MT; i++)
#pragma unroll
        for (int j = 0; j < (gated ? C::R / 2 : C::R); j++)
#pragma unroll
            for (int h = 0; h < 2; h++)
                f(i, j, h, 16 * i + lane / 4 + 8 * h, column + warp * width + 8 * j + lane % 4 * 2);
}

/* True for the block of a tile that is through last, whose ACC are all parts added. */
template <class C> static __device__ __forceinline__ bool join_parts(float (&acc)[C::MT][C::R][4], const struct few_call &call, few_tiles<C> &s)
{
    const int parts = gridDim.y, mine = blockIdx.y;
    float4 *sums = call.sums + (int64_t)blockIdx.x * parts * (C::MT * C::R * C::THREADS) + threadIdx.x;

#pragma unroll
    for (int o = 0; o < C::MT * C::R; o++) {
        const float *x = acc[o / C::R][o % C::R];
        sums[(mine * C::MT * C::R + o) * C::THREADS] = { x[0], x[1], x[2], x[3] };
    }
    if (!is_last<C::THREADS>(&s.last, &call.arrived[blockIdx.x], parts))
        return false;
#pragma unroll
    for (int o = 0; o < C::MT * C::R; o++) {
        float *x = acc[o / C::R][o % C::R];
        for (int part = 0; part < parts; part++) {
            const struct piece<4> y = fresh_four(reinterpret_cast<const float *>(&sums[(part * C::MT * C::R + o) * C::THREADS]));
            for (int e = 0; e < 4; e++)
                x[e] = part ? x[e] + y.of[e] : y.of[e];
        }
    }
    return true;
}

template <class C, bool gated>
static __device__ __forceinline__ void store_few(float (&acc)[C::MT][C::R][4], const struct few_call &call, const struct few_place &at)
{
    const auto &p = call.of[at.product];
    const bool pairs = p.ldc % 2 == 0 && (uintptr_t)p.c % 8 == 0;

    for_few<C, gated>(at.column, [&](int i, int j, int h, int y, int x) {
        const float *sum = &acc[i][j][2 * h];

        if (y >= call.m || x >= p.n)
            return;
        if (gated) {
            const float *up = &acc[i][(j + C::R / 2) % C::R][2 * h];
            for (int e = 0; e < 2 && x + e < p.n; e++)
                store(&call.act[(int64_t)y * p.n + x + e], gated_unit(sum[e], up[e]));
            return;
        }
        float *c = p.c + y * p.ldc + x;
        if (pairs && x + 1 < p.n) {
            *reinterpret_cast<float2 *>(c) = { sum[0], sum[1] };
            return;
        }
        c[0] = sum[0];
        if (x + 1 < p.n)
            c[1] = sum[1];
    });
}

template <class C, bool gated> static __global__ void __launch_bounds__(C::THREADS) few_product(struct few_call call)
{
    const int begin = (int)blockIdx.y * PART, end = gridDim.y > 1 && begin + PART < call.k ? begin + PART : call.k;
    const int n_stages = (end - begin + C::KC - 1) / C::KC, PAIRS = C::KC / (2 * STEP);
    const struct few_place at = place_of<C>(call, gated);
    struct few_rows<C> rows;
    struct few_pair<C> pair[2];
    float acc[C::MT][C::R][4] = {};
    SHARED(few_tiles<C>, s);

    set_rows<C, gated>(rows, call, at, begin);
#pragma unroll
    for (int stage = 0; stage < C::STAGES; stage++)
        load_few<C>(s, rows, stage, stage, end - begin - stage * C::KC, FEW_B);
    wait_for_kernel_before();
#pragma unroll
    for (int stage = 0; stage < C::STAGES; stage++) {
        load_few<C>(s, rows, stage, stage, end - begin - stage * C::KC, FEW_A);
        commit_copies();
    }
    if (!gated && call.of[at.product].accumulate && blockIdx.y == 0)
        for_few<C, false>(at.column, [&](int i, int j, int h, int y, int x) {
            const auto &p = call.of[at.product];
            for (int e = 0; e < 2; e++)
                if (y < call.m && x + e < p.n)
                    acc[i][j][2 * h + e] = p.c[y * p.ldc + x + e];
        });
    wait_copies<C::STAGES - 1>();
    __syncthreads();
    load_pair<C>(pair[0], s, 0, 0);
    for (int stage = 0, slot = 0; stage < n_stages; stage++) {
        const int left = end - begin - stage * C::KC, next = slot + 1 < C::STAGES ? slot + 1 : 0;

#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            if (i + 1 < PAIRS) {
                load_pair<C>(pair[(i + 1) % 2], s, slot, i + 1);
            } else { /* the next stage is there for all, and nobody reads this one any more */
                wait_copies<C::STAGES - 2>();
                __syncthreads();
                load_few<C>(s, rows, stage + C::STAGES, slot, left - C::STAGES * C::KC);
                commit_copies();
                load_pair<C>(pair[0], s, next, 0);
            }
            multiply_pair<C>(acc, pair[i % 2], left - i * 2 * STEP);
        }
        slot = next;
    }
    wait_copies<0>();
    if (gridDim.y == 1 || join_parts<C>(acc, call, s))
        store_few<C, gated>(acc, call, at);
}

/* ---- launching ---- */

template <class C, bool gated> static int run_few(struct jrl_device *dev, struct few_call *call, const char *name, struct jrl_error *err)
{
    static_assert(C::BM <= 64 && C::BN <= GPU_LAST_ADDS_COLUMNS, "the memory that is planned for parts");
    const int64_t parts = divide_up(call->k, PART);
    int64_t tiles = 0;
    int rc = JRL_OK;

    for (int i = 0; i < (gated ? 1 : call->n_products); i++) {
        call->of[i].first_tile = (int)tiles;
        tiles += divide_up(call->of[i].n, gated ? C::BN / 2 : C::BN);
    }
    if (parts > 1) {
        void *memory = NULL;
        rc = gpu_scratch(dev, &memory, GPU_PARTS, (size_t)(tiles * parts * C::BM * C::BN) * sizeof(float), err);
        call->sums = static_cast<float4 *>(memory);
        if (rc == JRL_OK)
            rc = gpu_arrival_counters(dev, &call->arrived, err);
    }
    return rc < 0 ? rc : gpu_launch_early(dev, err, name, few_product<C, gated>, dim3((unsigned)tiles, (unsigned)(parts ? parts : 1)), C::THREADS,
                                          sizeof(few_tiles<C>), *call);
}

/* As measured on an H200 among 30 classes. */
#define SIXTEEN few_class<1, 2, 1, 128, 8>
#define SIXTEEN_WIDE few_class<1, 4, 2, 64, 4>
#define THIRTY few_class<2, 2, 1, 128, 6>
#define THIRTY_WIDE few_class<2, 4, 2, 64, 4>
#define SIXTY few_class<4, 2, 1, 64, 8> /* on GPUs without wgmma, as the next */
#define SIXTY_WIDE few_class<4, 4, 4, 64, 4>
#define RUN(class, gated) run_few<class, gated>(dev, &call, "few_product<" #class ", " #gated ">", err)

/* Whether tiles of so many columns give so many blocks: rows are read from L2 by each block, so wide tiles are better where they leave no processor idle. */
static bool enough(const struct few_call *call, int columns, int64_t blocks)
{
    int64_t n = 0;

    for (int i = 0; i < call->n_products; i++)
        n += divide_up(call->of[i].n, columns) * divide_up(call->k, PART);
    return n >= blocks;
}

bool gpu_product_is_few(const struct gpu_product *p, int n)
{
    int64_t tiles = 0;

    for (int i = 0; i < n; i++)
        tiles += divide_up(p[i].n, 8);
    return p->a_step == 1 && p->b_step == 1 && p->m <= 64 && p->k > 0 && p->k < 1 << 30 && (p->k <= PART || tiles <= GPU_MOST_TILES);
}

static struct few_call few_call_of(const struct gpu_product *p, int n)
{
    struct few_call call = {};

    call.n_products = n;
    call.m = (int)p->m;
    call.k = (int)p->k;
    for (int i = 0; i < n; i++) {
        auto &q = call.of[i];
        q.a = static_cast<const jrl_bf16 *>(p[i].a);
        q.b = static_cast<const jrl_bf16 *>(p[i].b);
        q.c = p[i].c;
        q.lda = p[i].a_row;
        q.ldb = p[i].b_column;
        q.ldc = p[i].ldc;
        q.n = (int)p[i].n;
        q.accumulate = p[i].accumulate != 0;
    }
    return call;
}

int gpu_product_few(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    struct few_call call = few_call_of(p, n);
    const int processors = gpu_of(dev)->n_processors;

    if (p->m <= 16)
        return enough(&call, SIXTEEN_WIDE::BN, processors) ? RUN(SIXTEEN_WIDE, false) : RUN(SIXTEEN, false);
    if (p->m <= 32)
        return enough(&call, THIRTY_WIDE::BN, processors) ? RUN(THIRTY_WIDE, false) : RUN(THIRTY, false);
    return enough(&call, SIXTY_WIDE::BN, processors) ? RUN(SIXTY_WIDE, false) : RUN(SIXTY, false);
}

int gpu_gated_few(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err)
{
    struct few_call call = few_call_of(gate_and_up, 2);

    call.act = act;
    if (call.m <= 16)
        return RUN(SIXTEEN_WIDE, true);
    return call.m <= 32 ? RUN(THIRTY_WIDE, true) : RUN(SIXTY_WIDE, true);
}
