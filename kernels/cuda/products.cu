/* products.cu - what a launch multiplies: its tiles, parts of the contracted index that lie side by side, and joining those. For the matmul files that use
 * tensor cores (tiles.cuh). */
#include "kernels/cuda/tiles.cuh"

/* Parts that lay side by side, added as finish does. A row of blocks a product. */
static __global__ void product_joins(struct products all)
{
    const struct gpu_product p = all.of[blockIdx.y];
    const float *sums = all.sums[blockIdx.y];

    for (int64_t i = first_index(); i < p.m * p.n; i += index_step()) {
        float *c = p.c + i / p.n * p.ldc + i % p.n, sum = *c;

        for (int64_t part = 1; part < all.parts; part++)
            sum += sums[(part - 1) * p.m * p.n + i];
        *c = sum;
    }
}

bool gpu_product_aligned(const struct gpu_product *p)
{
    const int64_t lda = p->a_step == 1 ? p->a_row : p->a_step, ldb = p->b_step == 1 ? p->b_column : p->b_step;
    const int64_t a_columns = p->a_step == 1 ? p->k : p->m, b_columns = p->b_step == 1 ? p->k : p->n;

    return lda % 8 == 0 && ldb % 8 == 0 && a_columns % 8 == 0 && b_columns % 8 == 0 && (uintptr_t)p->a % 16 == 0 && (uintptr_t)p->b % 16 == 0;
}

/* Parts side by side where one after the other would leave processors without work. */
static int set_parts(struct jrl_device *dev, struct products *all, struct jrl_error *err)
{
    const int64_t parts = divide_up(all->of[0].k, PART);
    int64_t n_sums = 0;
    void *memory;
    int rc;

    if (parts <= 1 || all->n_tiles >= 2 * gpu_of(dev)->n_processors)
        return JRL_OK;
    for (int i = 0; i < all->n; i++)
        n_sums += divide_up((parts - 1) * all->of[i].m * all->of[i].n, 2) * 2;
    if ((rc = gpu_scratch(dev, &memory, GPU_PARTS, (size_t)n_sums * sizeof(float), err)) < 0)
        return rc;
    all->parts = parts;
    all->sums[0] = static_cast<float *>(memory);
    for (int i = 1; i < all->n; i++)
        all->sums[i] = all->sums[i - 1] + divide_up((parts - 1) * all->of[i - 1].m * all->of[i - 1].n, 2) * 2;
    return JRL_OK;
}

/* Sums of a group of N_PRODUCTS of M rows or fewer and COLUMNS in all, form nt. */
static int64_t part_sums(const struct jrl_device *dev, int64_t m, int64_t columns, int64_t n_products, int64_t k)
{
    const int64_t parts = divide_up(k, PART), few = smaller(m, gpu_of(dev)->wgmma ? GPU_LAST_ADDS_MOST_ROWS : 64);
    const int64_t rows = few <= 16 ? 16 : few <= 32 ? 32 : few <= 64 ? 64 : divide_up(few, GPU_LAST_ADDS_ROWS) * GPU_LAST_ADDS_ROWS;
    const int64_t last_adds = parts * rows * (columns + n_products * GPU_LAST_ADDS_COLUMNS);
    const int64_t side_by_side = (parts - 1) * smaller(m * columns, (2 * gpu_of(dev)->n_processors - 1) * GPU_TILE_OUTPUTS) + n_products;

    return parts > 1 ? larger_of(last_adds, side_by_side) : 0;
}

int64_t gpu_parts_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p)
{
    const int64_t q_dim = p->n_heads * p->head_dim, kv_dim = p->n_kv_heads * p->head_dim, mlp_rows = larger_of(p->mlp_rows, p->back_rows);
    int64_t most = part_sums(dev, p->n_rows, q_dim + 2 * kv_dim, 3, p->dim);

    if (p->dtype != JRL_BF16 || gpu_of(dev)->exact)
        return 0;
    most = larger_of(most, part_sums(dev, p->n_rows, p->dim, 1, q_dim));
    most = larger_of(most, part_sums(dev, mlp_rows, 2 * p->mlp_dim, 2, p->dim));
    most = larger_of(most, part_sums(dev, mlp_rows, p->dim, 1, p->mlp_dim));
    most = larger_of(most, part_sums(dev, p->head_rows, p->vocab, 1, p->dim));
    return most * (int64_t)sizeof(float);
}

int64_t gpu_arrived_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p)
{
    return gpu_parts_bytes(dev, p) > 0 ? GPU_MOST_TILES * (int64_t)sizeof(unsigned) : 0;
}

void gpu_products_list(struct products *all, const struct gpu_product *p, int n, int64_t bm, int64_t bn)
{
    *all = {};
    all->n = n;
    all->parts = 1;
    for (int i = 0; i < n; i++) {
        all->of[i] = p[i];
        all->first[i] = all->n_tiles;
        all->n_tiles += gpu_tiles_of(&p[i], bm, bn);
    }
}

int gpu_products_set(struct jrl_device *dev, struct products *all, const struct gpu_product *p, int n, int64_t bm, int64_t bn, struct jrl_error *err)
{
    int rc = JRL_OK;

    gpu_products_list(all, p, n, bm, bn);
    if (p->b_step == 1 && p->a_step == 1)
        rc = set_parts(dev, all, err);
    all->n_items = all->n_tiles * all->parts;
    return rc;
}

int gpu_products_join(struct jrl_device *dev, const struct products *all, struct jrl_error *err)
{
    int64_t most = 0;

    for (int i = 0; i < all->n; i++)
        most = all->of[i].m * all->of[i].n > most ? all->of[i].m * all->of[i].n : most;
    return all->parts == 1 ? JRL_OK : LAUNCH(product_joins, dim3(gpu_blocks(dev, most, 256).x, (unsigned)all->n), 256, 0, *all);
}

int gpu_arrival_counters(struct jrl_device *dev, unsigned **out, struct jrl_error *err)
{
    const bool there = gpu_of(dev)->scratch[GPU_ARRIVED].memory != NULL;
    void *memory;
    int rc = gpu_scratch(dev, &memory, GPU_ARRIVED, GPU_MOST_TILES * sizeof(unsigned), err);

    if (rc == JRL_OK && !there)
        rc = gpu_check(dev, cudaMemsetAsync(memory, 0, GPU_MOST_TILES * sizeof(unsigned), gpu_of(dev)->stream), "zeros", err);
    *out = static_cast<unsigned *>(memory);
    return rc;
}
