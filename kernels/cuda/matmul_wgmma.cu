/* matmul_wgmma.cu - products of bf16 of many rows by Hopper's matrix instructions, in the order of matmul_tensor.cu: on a GPU of 9.0 a step of 16 of the
 * contracted index has the same bits by wgmma as by mma.sync (test_product_rows compares them). One thread of a block has boxes of both matrices brought to
 * shared memory, some stages ahead; two groups of four warps multiply them. Blocks stay and take one tile after the other, so that the next tile's first
 * stages arrive while the last one is written. */
#include "kernels/cuda/bulk.cuh"
#include "kernels/cuda/tiles.cuh"
#include "kernels/cuda/wgmma.cuh"

#define GROUP 128 /* threads that multiply together; the first group of a block brings */
#define THREADS (3 * GROUP)

/* A product's operands. */
struct boxes {
    box_map a[JRL_GROUP_PRODUCTS], b[JRL_GROUP_PRODUCTS];
};

/* Gate and up as one product: a block's columns are 128 of gate's and, behind them, the same 128 of up's, so that a thread has both. UP: where up goes, as
 * gate goes to its C; NULL: neither goes anywhere. */
struct gated : wide {
    static const int BN = wide::BN / 2;
};
struct gated_outputs {
    jrl_bf16 *act;
    float *up;
};

/* How an operand of SIZE rows lies in shared memory. Transposed, its rows are of the contracted index, and the next 64 of its own begin another box. */
template <int SIZE, bool transposed> struct layout {
    static const int BOXES = transposed ? SIZE / 64 : 1, BOX_ROWS = transposed ? wide::BK : SIZE, BOX_BYTES = 128 * BOX_ROWS;
    static const int STEP_BYTES = transposed ? STEP * 128 : STEP * 2; /* to the next step of the contracted index */
};
struct wide_tiles {
    __align__(1024) unsigned char a[wide::STAGES][wide::BM * wide::BK * 2];
    unsigned char b[wide::STAGES][wide::BN * wide::BK * 2];
    arrivals full[wide::STAGES], empty[wide::STAGES];
};
#define STAGE_BYTES ((wide::BM + wide::BN) * wide::BK * 2)

#if defined(WGMMA_EXISTS)

/* SIZE rows of an operand from ROW, and BK of the contracted index from K. */
template <int SIZE, bool transposed> static __device__ __forceinline__ void bring(unsigned char *to, const box_map *map, int64_t row, int64_t k, arrivals *full)
{
    typedef layout<SIZE, transposed> l;

    for (int i = 0; i < l::BOXES; i++)
        copy_box(to + i * l::BOX_BYTES, map, (int)(transposed ? k : row), (int)(transposed ? row + 64 * i : k), full);
}

/* One thread: all stages of all tiles of this block. C: wide, or gated. */
template <class C, bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void bring_all(struct wide_tiles &s, const struct boxes &boxes, const struct products &all)
{
    int at = 0;

    for (int64_t i = blockIdx.x; i < all.n_items; i += gridDim.x) {
        const struct block_work w = work_of<C>(all, (unsigned)i % (unsigned)all.n_tiles, (unsigned)i / (unsigned)all.n_tiles);

        for (int64_t k = w.begin; k < w.end; k += wide::BK, at++) {
            const int stage = at % wide::STAGES;

            wait_arrivals(&s.empty[stage], (at / wide::STAGES & 1) ^ 1);
            arrive_before_bytes(&s.full[stage], STAGE_BYTES);
            bring<wide::BM, a_transposed>(s.a[stage], &boxes.a[w.which], w.row, k, &s.full[stage]);
            bring<C::BN, !b_transposed>(s.b[stage], &boxes.b[w.which], w.column, k, &s.full[stage]);
            if (C::BN < wide::BN)
                bring<C::BN, !b_transposed>(s.b[stage] + C::BN * wide::BK * 2, &boxes.b[1], w.column, k, &s.full[stage]);
        }
    }
}

/* A group's 64 rows of a stage; LEFT: what is left of the contracted index. Steps of zeros only are left out, as in all classes. Each branch closes its own
 * group of instructions: ptxas closes an empty one behind them otherwise, and waiting for all but one is waiting for those just begun. */
template <bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void add_stage(struct accumulators<wide> &acc, struct wide_tiles &s, int group, int stage, int64_t left)
{
    typedef layout<wide::BM, a_transposed> of_a;
    typedef layout<wide::BN, !b_transposed> of_b;
    const uint32_t a = shared_address(s.a[stage]) + group * 64 * 128, b = shared_address(s.b[stage]);
    const auto add_step = [&](int step) {
        wgmma_64_256<a_transposed, !b_transposed>(acc.of[0], operand_at(a + step * of_a::STEP_BYTES, of_a::BOX_BYTES),
                                                  operand_at(b + step * of_b::STEP_BYTES, of_b::BOX_BYTES));
    };

    if (left >= wide::BK) {
        fence_sums();
#pragma unroll
        for (int step = 0; step < wide::BK / STEP; step++)
            add_step(step);
        commit_products();
        wait_products<1>();
    } else {
        for (int step = 0; step * STEP < left; step++) {
            fence_sums();
            add_step(step);
            commit_products();
        }
        wait_products<0>();
    }
}

/* As start and finish of tiles.cuh, for outputs that lie in pairs: an address for two rows, constants for the columns. */
static __device__ __forceinline__ void start_pairs(struct accumulators<wide> &acc, const struct gpu_product &p, int64_t row, int64_t column,
                                                   int64_t rows_before)
{
    const int lane = threadIdx.x % 32, columns = (int)smaller(p.n - column, wide::BN) - lane % 4 * 2;

#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int64_t y = row + lane / 4 + 8 * h;
        const float *c = p.c + y * p.ldc + column + lane % 4 * 2;
        const int there = y < rows_before ? columns : 0;
#pragma unroll
        for (int j = 0; j < wide::BN / 8; j++) {
            const float2 before = 8 * j < there ? *reinterpret_cast<const float2 *>(c + 8 * j) : float2();
            acc.of[0][j][2 * h] = before.x;
            acc.of[0][j][2 * h + 1] = before.y;
        }
    }
}
static __device__ __forceinline__ void finish_pairs(struct accumulators<wide> &acc, const struct gpu_product &p, int64_t row, int64_t column, bool add)
{
    const int lane = threadIdx.x % 32, columns = (int)smaller(p.n - column, wide::BN) - lane % 4 * 2;

#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int64_t y = row + lane / 4 + 8 * h;
        float *c = p.c + y * p.ldc + column + lane % 4 * 2;
        const int there = y < p.m ? columns : 0;
#pragma unroll
        for (int j = 0; j < wide::BN / 8; j++) {
            const float *sum = &acc.of[0][j][2 * h];
            if (8 * j < there && add)
                add_pair(c + 8 * j, sum[0], sum[1]);
            else if (8 * j < there)
                *reinterpret_cast<float2 *>(c + 8 * j) = { sum[0], sum[1] };
        }
    }
}

/* A group: its rows of all tiles of this block. */
template <class C, bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void multiply_all(struct wide_tiles &s, const struct products &all, const struct gated_outputs &out)
{
    const int group = threadIdx.x / GROUP - 1;
    struct accumulators<wide> acc;
    int at = 0;

    for (int64_t i = blockIdx.x; i < all.n_items; i += gridDim.x) {
        const struct block_work w = work_of<C>(all, (unsigned)i % (unsigned)all.n_tiles, (unsigned)i / (unsigned)all.n_tiles);
        const int64_t row = w.row + 64 * group + threadIdx.x % GROUP / 32 * wide::TM, part = b_transposed ? PART : w.end - w.begin;
        int64_t rows_before = w.p.accumulate ? w.p.m : 0, k = w.begin; /* of C: one condition, or ptxas has each wgmma waited for (C7515) */

        do {
            const int64_t end = w.end - k < part ? w.end : k + part;
            const bool later = k > w.begin;

            start_pairs(acc, w.p, row, w.column, rows_before);
            for (; k < end; k += wide::BK, at++) {
                wait_arrivals(&s.full[at % wide::STAGES], at / wide::STAGES & 1);
                add_stage<a_transposed, b_transposed>(acc, s, group, at % wide::STAGES, w.end - k);
                if (at > 0 && threadIdx.x % GROUP == 0) /* the stage before has been read */
                    arrive(&s.empty[(at - 1) % wide::STAGES]);
            }
            wait_products<0>();
            if (C::BN < wide::BN)
                finish_gated<wide>(acc, w.p, row, w.column, out.act, out.up);
            else
                finish_pairs(acc, w.p, row, w.column, later);
            rows_before = 0;
        } while (k < w.end);
    }
}

template <class C, bool a_transposed, bool b_transposed>
static __device__ __forceinline__ void run_block(struct wide_tiles &s, const struct boxes &boxes, const struct products &all, const struct gated_outputs &out)
{
    if (threadIdx.x == 0) {
        for (int i = 0; i < wide::STAGES; i++) {
            init_arrivals(&s.full[i], 1);
            init_arrivals(&s.empty[i], THREADS / GROUP - 1);
        }
        fence_arrivals();
    }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        give_registers<40>();
        if (threadIdx.x == 0)
            bring_all<C, a_transposed, b_transposed>(s, boxes, all);
    } else {
        take_registers<232>();
        multiply_all<C, a_transposed, b_transposed>(s, all, out);
    }
}

#endif

template <bool a_transposed, bool b_transposed>
static __global__ void __launch_bounds__(THREADS, 1) wgmma_product(const __grid_constant__ struct boxes boxes, const __grid_constant__ struct products all)
{
#if defined(WGMMA_EXISTS)
    SHARED(struct wide_tiles, s);

    run_block<wide, a_transposed, b_transposed>(s, boxes, all, gated_outputs());
#else
    no_wgmma();
#endif
}

static __global__ void __launch_bounds__(THREADS, 1) wgmma_gated(const __grid_constant__ struct boxes boxes, const __grid_constant__ struct products all,
                                                                 struct gated_outputs out)
{
#if defined(WGMMA_EXISTS)
    SHARED(struct wide_tiles, s);

    run_block<gated, false, true>(s, boxes, all, out);
#else
    no_wgmma();
#endif
}

/* BN: rows of B in a box. */
template <int BN, bool a_transposed, bool b_transposed>
static int map_operands(struct jrl_device *dev, struct boxes *boxes, const struct gpu_product *p, int n, struct jrl_error *err)
{
    typedef layout<wide::BM, a_transposed> of_a;
    typedef layout<BN, !b_transposed> of_b;
    int rc = JRL_OK;

    for (int i = 0; i < n && rc == JRL_OK && p[i].k > 0; i++) {
        rc = gpu_check(dev, a_transposed ? map_boxes(&boxes->a[i], p[i].a, p[i].k, p[i].m, p[i].a_step, of_a::BOX_ROWS)
                                         : map_boxes(&boxes->a[i], p[i].a, p[i].m, p[i].k, p[i].a_row, of_a::BOX_ROWS), "a matrix for bulk copies", err);
        if (rc == JRL_OK)
            rc = gpu_check(dev, b_transposed ? map_boxes(&boxes->b[i], p[i].b, p[i].n, p[i].k, p[i].b_column, of_b::BOX_ROWS)
                                             : map_boxes(&boxes->b[i], p[i].b, p[i].k, p[i].n, p[i].b_step, of_b::BOX_ROWS), "a matrix for bulk copies", err);
    }
    return rc;
}

/* Those that can run at a time stay. */
static dim3 blocks_for(const struct jrl_device *dev, const struct products &all) { return dim3((unsigned)smaller(all.n_items, gpu_of(dev)->n_processors)); }

static_assert(wide::BM * wide::BN <= GPU_TILE_OUTPUTS, "the memory that is planned for parts");
template <bool a_transposed, bool b_transposed> static int run_form(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    struct boxes boxes = {};
    struct products all;
    int rc = gpu_products_set(dev, &all, p, n, wide::BM, wide::BN, err);

    if (rc == JRL_OK)
        rc = map_operands<wide::BN, a_transposed, b_transposed>(dev, &boxes, p, n, err);
    if (rc == JRL_OK)
        rc = gpu_launch(dev, err, "wgmma_product", wgmma_product<a_transposed, b_transposed>, blocks_for(dev, all), THREADS,
                        sizeof(struct wide_tiles), boxes, all);
    return rc < 0 ? rc : gpu_products_join(dev, &all, err);
}

int gpu_product_wgmma(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    if (p->a_step != 1)
        return run_form<true, false>(dev, p, n, err);
    return p->b_step == 1 ? run_form<false, true>(dev, p, n, err) : run_form<false, false>(dev, p, n, err);
}

bool gpu_product_is_wide(const struct jrl_device *dev, const struct gpu_product *p, int n)
{
    bool pairs = gpu_of(dev)->wgmma;

    for (int i = 0; i < n; i++)
        pairs = pairs && p[i].n % 2 == 0 && p[i].ldc % 2 == 0 && (uintptr_t)p[i].c % 8 == 0;
    return pairs;
}

double gpu_product_wgmma_cost(const struct jrl_device *dev, const struct gpu_product *p, int n) { return tile_cost<wide>(dev, p, n); }

bool gpu_gated_is_wide(const struct jrl_device *dev, const struct gpu_product *gate_and_up)
{
    return gpu_of(dev)->wgmma && gate_and_up->k <= PART && gate_and_up->n % 2 == 0;
}

int gpu_gated_wgmma(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err)
{
    const struct gated_outputs out = { act, gate_and_up[1].c };
    struct boxes boxes = {};
    struct products all;
    int rc = gpu_products_set(dev, &all, gate_and_up, 1, gated::BM, gated::BN, err);

    if (rc == JRL_OK)
        rc = map_operands<gated::BN, false, true>(dev, &boxes, gate_and_up, 2, err);
    return rc < 0 ? rc : LAUNCH(wgmma_gated, blocks_for(dev, all), THREADS, sizeof(struct wide_tiles), boxes, all, out);
}
