/* matmul_slim.cu - products of form nt with some dozens to some hundred rows by Hopper's matrix instructions, in the order of matmul_tensor.cu: for
 * decoding many sequences, which takes as long as reading the weights if all processors read all the time. So a tile is as wide as gives each processor one,
 * and parts of the contracted index lie side by side; the block that is through last adds them in order. */
#include "kernels/cuda/arrive.cuh"
#include "kernels/cuda/bulk.cuh"
#include "kernels/cuda/tiles.cuh"
#include "kernels/cuda/wgmma.cuh"

#define GROUP 128 /* threads that multiply 64 rows together; behind them a warp brings the operands, or four that give registers to those with many sums */
#define MOST_ROWS GPU_LAST_ADDS_MOST_ROWS

/* GROUPS x 64 rows by WIDTH rows of weights; GATED: half of them are gate's, half up's, of the same columns. Gate and up have a processor's shared memory for
 * themselves, others leave half of it to the next kernel, which can begin to bring its weights. */
template <int GROUPS_, int WIDTH_, bool gated_>
struct slim_class : tile_class<64 * GROUPS_, WIDTH_, 64, 4 * GROUPS_, 1, ((gated_ ? 226 : 112) << 10) / ((64 * GROUPS_ + WIDTH_) * 128)> {
    static const int BN = gated_ ? WIDTH_ / 2 : WIDTH_, WIDTH = WIDTH_, GROUPS = GROUPS_, MULTIPLIERS = GROUP * GROUPS_;
    static const int THREADS = MULTIPLIERS + (WIDTH_ > 144 ? GROUP : 32);
    static const int AT_ONCE = WIDTH_ > 256 ? WIDTH_ / 2 : WIDTH_; /* columns of an instruction */
    static const bool gated = gated_, in_parts = WIDTH_ <= 256; /* more sums than that leave no registers to add parts with */
};

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

/* The stages of a block, one after the other: where the next one lies, and the parity of the phase in which it is filled. */
template <class C> struct slim_stage {
    int stage, parity;
};
template <class C> static __device__ __forceinline__ void next_stage(struct slim_stage<C> &at)
{
    at.parity ^= at.stage == C::STAGES - 1;
    at.stage = at.stage == C::STAGES - 1 ? 0 : at.stage + 1;
}

template <class C> static __device__ __forceinline__ void bring_slim(slim_tiles<C> &s, const struct slim_boxes &boxes, const struct block_work &w)
{
    const int end = (int)w.end, first = (int)w.begin, second = first + C::STAGES * C::BK;
    struct slim_stage<C> at = { 0, 0 };
    const auto bring_weights = [&](int stage, int k) {
        arrive_before_bytes(&s.full[stage], (C::BM + C::WIDTH) * C::BK * 2);
        for (int i = 0; i < C::WIDTH / C::BN; i++)
            copy_box(s.b[stage] + i * C::BN * C::BK * 2, &boxes.b[w.which + i], (int)w.column, k, &s.full[stage]);
    };
    const auto bring_rows = [&](int stage, int k) { copy_box(s.a[stage], &boxes.a, (int)w.row, k, &s.full[stage]); };

    fetch_map(&boxes.a);
    for (int k = first, stage = 0; k < end && k < second; k += C::BK, stage++)
        bring_weights(stage, k);
    wait_for_kernel_before();
    for (int k = first, stage = 0; k < end && k < second; k += C::BK, stage++)
        bring_rows(stage, k);
    for (int k = second; k < end; k += C::BK, next_stage<C>(at)) {
        wait_arrivals(&s.empty[at.stage], at.parity);
        bring_weights(at.stage, k);
        bring_rows(at.stage, k);
    }
}

/* The same in all threads of a warp, as the compiler does not see by itself: it keeps what is derived from X in registers of the warp. */
static __device__ __forceinline__ uint32_t uniform(uint32_t x) { return __shfl_sync(ALL_LANES, x, 0); }

/* Steps of a stage whose operands' first are at A and B: addresses of both count in units of 16 bytes. */
template <class C> static __device__ __forceinline__ void add_step(struct accumulators<C> &acc, uint64_t a, uint64_t b, int step)
{
    typedef float some[C::AT_ONCE / 8][4];

#pragma unroll
    for (int i = 0; i < C::WIDTH / C::AT_ONCE; i++)
        wgmma_64<false, false>(*reinterpret_cast<some *>(acc.of[0][i * C::AT_ONCE / 8]), a + step * STEP * 2 / 16,
                               b + (i * C::AT_ONCE * C::BK + step * STEP) * 2 / 16, true);
}

/* The last stage may be cut: steps of zeros only are left out, as in all classes. It has a loop of its own: where a group of instructions is closed in another
 * branch than its last one, ptxas closes an empty one behind it, and waiting for all but one is waiting for those just begun. */
template <class C> static __device__ __forceinline__ void multiply_slim(struct accumulators<C> &acc, slim_tiles<C> &s, int k)
{
    const int group = threadIdx.x / GROUP, whole = k / C::BK, left = (k % C::BK + STEP - 1) / STEP;
    const uint64_t a = operand_at(uniform(shared_address(s.a[0]) + group * 64 * C::BK * 2), 0), b = operand_at(uniform(shared_address(s.b[0])), 0);
    const int next_a = C::BM * C::BK * 2 / 16, next_b = C::WIDTH * C::BK * 2 / 16;
    struct slim_stage<C> at = { 0, 0 };
    int before = 0;

    settle(acc.of[0]);
#pragma unroll 1
    for (int i = 0; i < whole; i++) {
        wait_arrivals(&s.full[at.stage], at.parity);
        fence_sums();
#pragma unroll
        for (int step = 0; step < C::BK / STEP; step++)
            add_step<C>(acc, a + at.stage * next_a, b + at.stage * next_b, step);
        commit_products();
        wait_products<1>();
        if (i > 0 && threadIdx.x % GROUP == 0) /* the stage before has been read */
            arrive(&s.empty[before]);
        before = at.stage;
        next_stage<C>(at);
    }
    if (left > 0)
        wait_arrivals(&s.full[at.stage], at.parity);
    for (int step = 0; step < left; step++) {
        fence_sums();
        add_step<C>(acc, a + at.stage * next_a, b + at.stage * next_b, step);
        commit_products();
    }
    wait_products<0>();
    settle(acc.of[0]);
}

/* The threads that multiply. True in the block of a tile that is through last, whose ACC are then all parts added. */
template <class C> static __device__ __forceinline__ bool join_slim(struct accumulators<C> &acc, slim_tiles<C> &s, const struct slim_call &call)
{
    const int64_t one = C::TN / 8 * C::MULTIPLIERS, tile = blockIdx.x * call.parts;

#pragma unroll
    for (int j = 0; j < C::TN / 8; j++) {
        const float *x = acc.of[0][j];
        call.sums[(tile + blockIdx.y) * one + j * C::MULTIPLIERS + threadIdx.x] = { x[0], x[1], x[2], x[3] };
    }
    if (!is_last<C::MULTIPLIERS>(&s.last, &call.arrived[blockIdx.x], (int)call.parts)) /* the warp that brings has ended or does without */
        return false;
#pragma unroll 1
    for (int64_t part = 0; part < call.parts; part++) /* all pairs of a part are on their way at once */
#pragma unroll
        for (int j = 0; j < C::TN / 8; j++) {
            const struct piece<4> y = fresh_four(reinterpret_cast<const float *>(&call.sums[(tile + part) * one + j * C::MULTIPLIERS + threadIdx.x]));
            for (int e = 0; e < 4; e++)
                acc.of[0][j][e] = part ? acc.of[0][j][e] + y.of[e] : y.of[e];
        }
    return true;
}

#endif

template <class C>
static __global__ void __launch_bounds__(C::THREADS, 1) slim_product(const __grid_constant__ struct slim_boxes boxes,
                                                                     const __grid_constant__ struct slim_call call)
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
            init_arrivals(&s.empty[i], C::GROUPS);
        }
        fence_arrivals();
    }
    __syncthreads();
    if (threadIdx.x >= C::MULTIPLIERS) {
        if (C::THREADS % GROUP == 0)
            give_registers<40>();
        if (threadIdx.x == C::MULTIPLIERS)
            bring_slim<C>(s, boxes, w);
    } else {
        const int64_t row = w.row + threadIdx.x / 32 * C::TM;
        struct accumulators<C> acc;

        if (C::THREADS % GROUP == 0)
            take_registers<232>();
        wait_for_kernel_before();
        start<C>(acc, w.p, row, w.column, !C::gated && blockIdx.y == 0 && w.p.accumulate ? w.p.m : 0);
        multiply_slim<C>(acc, s, (int)(w.end - w.begin));
        if (call.parts == 1 || (C::in_parts && join_slim<C>(acc, s, call))) {
            if (C::gated)
                finish_gated<C>(acc, w.p, row, w.column, call.act, NULL);
            else
                finish<C>(acc, w.p, row, w.column, false);
        }
    }
#else
    no_wgmma();
#endif
}

template <class C> static int run(struct jrl_device *dev, const char *name, const struct gpu_product *p, int n, jrl_bf16 *act, struct jrl_error *err)
{
    static_assert(!C::in_parts || (C::BM <= GPU_LAST_ADDS_ROWS && C::WIDTH <= GPU_LAST_ADDS_COLUMNS), "the memory that is planned for parts");
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
    return rc < 0 ? rc : gpu_launch_early(dev, err, name, slim_product<C>, dim3((unsigned)call.all.n_tiles, (unsigned)call.parts), C::THREADS,
                                          sizeof(slim_tiles<C>), boxes, call);
}

static int64_t tiles_of(const struct gpu_product *p, int n, int64_t rows, int64_t columns)
{
    int64_t tiles = 0;

    for (int i = 0; i < n; i++)
        tiles += divide_up(p[i].n, columns) * divide_up(p->m, rows);
    return tiles;
}

bool gpu_product_is_slim(const struct jrl_device *dev, const struct gpu_product *p, int n)
{
    bool same = true; /* rows: A has one map */

    for (int i = 1; i < n; i++)
        same = same && p[i].a == p->a && p[i].a_row == p->a_row && p[i].m == p->m;
    if (p->m > 64 && gpu_product_is_wide(dev, p, n) && tiles_of(p, n, 64, 2 * wide::BN) > 2 * gpu_of(dev)->n_processors)
        return false; /* wide tiles, of twice the rows and so about this many, keep all processors busy and read less from L2 */
    return gpu_of(dev)->wgmma && same && p->a_step == 1 && p->b_step == 1 && p->m > 32 && p->m <= MOST_ROWS && p->k > 0 && p->k < 1 << 30 &&
           (p->k <= PART || tiles_of(p, n, 64, 16) <= GPU_MOST_TILES);
}

/* Cycles of a step of 16 for the processor that has most tiles, by the slower of: what it takes from L2, 32 bytes a cycle as far as was seen, and the
 * multiplications, of which one follows another after 36 cycles at the soonest. What all processors take from memory is the same in each class. */
template <class C> static double cost(const struct jrl_device *dev, const struct gpu_product *p, int n)
{
    const double load = (double)(smaller(p->m, C::BM) + C::WIDTH) * 2 * STEP / 32;
    const double multiply = C::GROUPS * C::WIDTH / 2 > 36 ? C::GROUPS * C::WIDTH / 2 : 36;

    if (C::GROUPS > divide_up(p->m, 64) || (!C::in_parts && p->k > PART))
        return INFINITY;
    return (double)divide_up(tiles_of(p, n, C::BM, C::BN) * divide_up(p->k, PART), gpu_of(dev)->n_processors) * (load > multiply ? load : multiply);
}

struct choice {
    double cost;
    const char *name;
    int (*run)(struct jrl_device *dev, const char *name, const struct gpu_product *p, int n, jrl_bf16 *act, struct jrl_error *err);
};
#define CHOICE(name, n, ...) { cost<slim_class<__VA_ARGS__>>(dev, p, n), "slim_product<" name ">", run<slim_class<__VA_ARGS__>> }
#define SLIM(width) CHOICE(#width, n, 1, width, false)
#define GATED(groups, width) CHOICE(#groups ", " #width ", gated", 1, groups, width, true)

/* Of equal ones the last, whose tiles are wider. */
template <size_t N> static const struct choice &cheapest(const struct choice (&of)[N])
{
    size_t best = 0;

    for (size_t i = 1; i < N; i++)
        if (of[i].cost <= of[best].cost)
            best = i;
    return of[best];
}

int gpu_product_slim(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    const struct choice of[] = { SLIM(16), SLIM(24), SLIM(32), SLIM(48), SLIM(64), SLIM(96), SLIM(128) };
    const struct choice &c = cheapest(of);

    return c.run(dev, c.name, p, n, NULL, err);
}

int gpu_gated_slim(struct jrl_device *dev, const struct gpu_product *p, jrl_bf16 *act, struct jrl_error *err)
{
    const struct choice of[] = { GATED(1, 96), GATED(1, 144), GATED(2, 96), GATED(2, 144), GATED(2, 288) };
    const struct choice &c = cheapest(of);

    return c.run(dev, c.name, p, 2, act, err);
}
