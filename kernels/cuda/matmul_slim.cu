/* matmul_slim.cu - products of form nt with some dozens to some hundred rows by Hopper's matrix instructions, in the order of matmul_tensor.cu: for
 * decoding many sequences, which takes as long as reading the weights if all processors read. So a block has 64 rows and few columns, two blocks share
 * a processor, and parts of the contracted index lie side by side; the block that is through last adds them in order. */
#include "kernels/cuda/arrive.cuh"
#include "kernels/cuda/bulk.cuh"
#include "kernels/cuda/tiles.cuh"
#include "kernels/cuda/wgmma.cuh"

#define MULTIPLIERS 128 /* threads; a warp more brings the operands */
#define THREADS (MULTIPLIERS + 32)
#define MOST_ROWS 256

/* BN: rows of weights in shared memory. GATED: half of them are gate's, half up's, of the same columns. */
template <int BN_, int STAGES_, bool gated_> struct slim_class : tile_class<64, BN_, 64, 4, 1, STAGES_> {
    static const int BN = gated_ ? BN_ / 2 : BN_, WIDTH = BN_;
    static const bool gated = gated_;
};
typedef slim_class<32, 8, false> slim_32;
typedef slim_class<64, 6, false> slim_64;
typedef slim_class<128, 4, true> slim_gated;

template <class C> struct slim_tiles {
    __align__(1024) unsigned char a[C::STAGES][C::BM * C::BK * 2];
    unsigned char b[C::STAGES][C::WIDTH * C::BK * 2];
    arrivals full[C::STAGES], empty[C::STAGES];
    int last;
};
struct slim_boxes {
    box_map a, b[JRL_GROUP_PRODUCTS];
};
/* SUMS: [tile][part][pair of columns][thread]. */
struct slim_call {
    struct products all;
    jrl_bf16 *act;
    float4 *sums;
    unsigned *arrived;
    int64_t parts;
};

#if defined(WGMMA_EXISTS)

template <class C> static __device__ __forceinline__ void bring_slim(slim_tiles<C> &s, const struct slim_boxes &boxes, const struct block_work &w)
{
    const int n = (int)((w.end - w.begin + C::BK - 1) / C::BK), early = n < C::STAGES ? n : C::STAGES;
    const auto bring_weights = [&](int at) {
        const int stage = at % C::STAGES;

        arrive_before_bytes(&s.full[stage], (C::BM + C::WIDTH) * C::BK * 2);
        for (int i = 0; i < C::WIDTH / C::BN; i++)
            copy_box(s.b[stage] + i * C::BN * C::BK * 2, &boxes.b[w.which + i], (int)w.column, (int)w.begin + at * C::BK, &s.full[stage]);
    };
    const auto bring_rows = [&](int at) { copy_box(s.a[at % C::STAGES], &boxes.a, (int)w.row, (int)w.begin + at * C::BK, &s.full[at % C::STAGES]); };

    for (int at = 0; at < early; at++)
        bring_weights(at);
    wait_for_kernel_before();
    for (int at = 0; at < early; at++)
        bring_rows(at);
    for (int at = early; at < n; at++) {
        wait_arrivals(&s.empty[at % C::STAGES], (at / C::STAGES & 1) ^ 1);
        bring_weights(at);
        bring_rows(at);
    }
}

template <class C> static __device__ __forceinline__ void multiply_slim(struct accumulators<C> &acc, slim_tiles<C> &s, const struct block_work &w)
{
    int at = 0;

    for (int64_t k = w.begin; k < w.end; k += C::BK, at++) {
        const uint32_t a = shared_address(s.a[at % C::STAGES]), b = shared_address(s.b[at % C::STAGES]);
        const int left = w.end - k < C::BK ? (int)(w.end - k) : C::BK;

        wait_arrivals(&s.full[at % C::STAGES], at / C::STAGES & 1);
        fence_sums();
        if (left == C::BK) {
#pragma unroll
            for (int step = 0; step < C::BK / STEP; step++)
                wgmma_64<false, false>(acc.of[0], operand_at(a + step * STEP * 2, 0), operand_at(b + step * STEP * 2, 0), true);
        } else
            for (int step = 0; step * STEP < left; step++) { /* steps of zeros only are left out, as in all classes */
                fence_sums();
                wgmma_64<false, false>(acc.of[0], operand_at(a + step * STEP * 2, 0), operand_at(b + step * STEP * 2, 0), true);
            }
        commit_products();
        wait_products<1>();
        if (at > 0 && threadIdx.x == 0) /* the stage before has been read */
            arrive(&s.empty[(at - 1) % C::STAGES]);
    }
    wait_products<0>();
    settle(acc.of[0]);
}

/* The threads that multiply. True in the block of a tile that is through last, whose ACC are then all parts added. */
template <class C> static __device__ __forceinline__ bool join_slim(struct accumulators<C> &acc, slim_tiles<C> &s, const struct slim_call &call)
{
    const int64_t one = C::TN / 8 * MULTIPLIERS, tile = blockIdx.x * call.parts;

#pragma unroll
    for (int j = 0; j < C::TN / 8; j++) {
        const float *x = acc.of[0][j];
        call.sums[(tile + blockIdx.y) * one + j * MULTIPLIERS + threadIdx.x] = { x[0], x[1], x[2], x[3] };
    }
    if (!is_last<MULTIPLIERS>(&s.last, &call.arrived[blockIdx.x], (int)call.parts)) /* the warp that brings has ended or does without */
        return false;
#pragma unroll
    for (int j = 0; j < C::TN / 8; j++)
        for (int64_t part = 0; part < call.parts; part++) {
            const struct piece<4> y = fresh_four(reinterpret_cast<const float *>(&call.sums[(tile + part) * one + j * MULTIPLIERS + threadIdx.x]));
            for (int e = 0; e < 4; e++)
                acc.of[0][j][e] = part ? acc.of[0][j][e] + y.of[e] : y.of[e];
        }
    return true;
}

#endif

template <class C> static __global__ void __launch_bounds__(THREADS) slim_product(const __grid_constant__ struct slim_boxes boxes, const __grid_constant__ struct slim_call call)
{
#if defined(WGMMA_EXISTS)
    struct block_work w = work_of<C>(call.all, blockIdx.x, 0);
    SHARED(slim_tiles<C>, s);

    if (call.parts > 1) {
        w.begin = blockIdx.y * PART;
        w.end = w.end - w.begin < PART ? w.end : w.begin + PART;
    }
    if (threadIdx.x == 0) {
        for (int i = 0; i < C::STAGES; i++) {
            init_arrivals(&s.full[i], 1);
            init_arrivals(&s.empty[i], 1);
        }
        fence_arrivals();
    }
    __syncthreads();
    if (threadIdx.x >= MULTIPLIERS) {
        if (threadIdx.x == MULTIPLIERS)
            bring_slim<C>(s, boxes, w);
    } else {
        const int64_t row = w.row + threadIdx.x / 32 * C::TM;
        struct accumulators<C> acc;

        wait_for_kernel_before();
        start<C>(acc, w.p, row, w.column, blockIdx.y == 0 && w.p.accumulate ? w.p.m : 0);
        multiply_slim<C>(acc, s, w);
        if (call.parts == 1 || join_slim<C>(acc, s, call)) {
            if (C::gated)
                finish_gated<C>(acc, w.p, row, w.column, call.act, NULL);
            else
                finish<C>(acc, w.p, row, w.column, false);
        }
    }
#endif
}

template <class C> static int run(struct jrl_device *dev, const char *name, const struct gpu_product *p, int n, jrl_bf16 *act, struct jrl_error *err)
{
    struct slim_boxes boxes = {};
    struct slim_call call = {};
    void *sums = NULL;
    int rc = gpu_check(dev, map_boxes(&boxes.a, p->a, p->m, p->k, p->a_row, C::BM), "a matrix for bulk copies", err);

    for (int i = 0; i < n && rc == JRL_OK; i++)
        rc = gpu_check(dev, map_boxes(&boxes.b[i], p[i].b, p[i].n, p[i].k, p[i].b_column, C::BN), "a matrix for bulk copies", err);
    gpu_products_list(&call.all, p, C::gated ? 1 : n, C::BM, C::BN);
    call.act = act;
    call.parts = divide_up(p->k, PART);
    if (rc == JRL_OK && call.parts > 1 &&
        (rc = gpu_scratch(dev, &sums, GPU_PARTS, (size_t)(call.all.n_tiles * call.parts * C::BM * C::TN) * sizeof(float), err)) == JRL_OK)
        rc = gpu_arrival_counters(dev, &call.arrived, err);
    call.sums = static_cast<float4 *>(sums);
    return rc < 0 ? rc : gpu_launch_early(dev, err, name, slim_product<C>, dim3((unsigned)call.all.n_tiles, (unsigned)call.parts), THREADS, sizeof(slim_tiles<C>), boxes, call);
}
#define RUN(C, p, n, act) run<C>(dev, "slim_product<" #C ">", p, n, act, err)

static int64_t tiles_of(const struct gpu_product *p, int n, int64_t columns)
{
    int64_t tiles = 0;

    for (int i = 0; i < n; i++)
        tiles += divide_up(p[i].n, columns) * divide_up(p->m, 64);
    return tiles;
}

bool gpu_product_is_slim(const struct jrl_device *dev, const struct gpu_product *p, int n)
{
    bool same = true; /* rows: A has one map */

    for (int i = 1; i < n; i++)
        same = same && p[i].a == p->a && p[i].a_row == p->a_row && p[i].m == p->m;
    if (p->m > 64 && gpu_product_is_wide(dev, p, n) && tiles_of(p, n, 2 * wide::BN) > 2 * gpu_of(dev)->n_processors)
        return false; /* wide tiles, of twice the rows and so about this many, keep all processors busy and read less from L2 */
    return gpu_of(dev)->wgmma && same && p->a_step == 1 && p->b_step == 1 && p->m > 32 && p->m <= MOST_ROWS && p->k > 0 && tiles_of(p, n, 32) <= GPU_MOST_TILES;
}

int gpu_product_slim(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    if (tiles_of(p, n, slim_64::BN) * divide_up(p->k, PART) < gpu_of(dev)->n_processors)
        return RUN(slim_32, p, n, NULL);
    return RUN(slim_64, p, n, NULL);
}

int gpu_gated_slim(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err)
{
    return RUN(slim_gated, gate_and_up, 2, act);
}
