/* matmul_blocked.c - cuts a product into parts for threads and into panels for caches, and packs them for
 * a micro-kernel. No cut changes a bit: the contracted index is cut only where C holds the running sum. */
#include <string.h>

#include "kernels/cpu/matmul_cpu.h"

#define PANEL_BYTES (768 << 10) /* of packed B: most of a second-level cache of 1 or 2 MiB */
#define MAX_TILE (32 * 32)

struct plan {
    const struct jrl_product *p;
    const struct jrl_product_kernel *kernel;
    int64_t rows, columns;           /* of a part */
    int64_t row_parts, column_parts;
    int64_t pass_blocks;             /* blocks of the contracted index packed at once */
    int64_t panel_columns;
    uint8_t *scratch;
    int64_t strip_bytes, panel_bytes, thread_bytes;
};

static int64_t divide_up(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

static int64_t smaller(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

/* The time of one thread when the outputs are cut into row_parts x column_parts, in multiply-adds. */
static double part_cost(const struct jrl_product *p, const struct jrl_product_kernel *kernel, int64_t row_parts,
                        int64_t column_parts, int n_threads)
{
    double rows = (double)(divide_up(divide_up(p->m, kernel->strip), row_parts) * kernel->strip);
    double columns = (double)(divide_up(divide_up(p->n, kernel->group), column_parts) * kernel->group);
    double packing = rows * (double)kernel->a_pack_cost + columns * (double)kernel->b_pack_cost;
    return (rows * columns + packing) * (double)divide_up(row_parts * column_parts, n_threads);
}

/* Of the grids with up to eight parts a thread the cheapest; more parts share better with other processes,
 * so a finer grid wins when it costs no more than a twentieth extra. */
static void choose_grid(struct plan *plan, int n_threads)
{
    const struct jrl_product *p = plan->p;
    int64_t strips = divide_up(p->m, plan->kernel->strip), groups = divide_up(p->n, plan->kernel->group);
    double best = 0;
    for (int64_t row_parts = 1; row_parts <= smaller(strips, 8 * n_threads); row_parts++)
        for (int64_t column_parts = 1; column_parts <= smaller(groups, 8 * n_threads / row_parts); column_parts++) {
            double cost = part_cost(p, plan->kernel, row_parts, column_parts, n_threads);
            if (best == 0 || cost < best * (row_parts * column_parts > plan->row_parts * plan->column_parts ? 1.0 : 0.95)) {
                best = cost;
                plan->row_parts = row_parts;
                plan->column_parts = column_parts;
            }
        }
    plan->rows = divide_up(strips, plan->row_parts) * plan->kernel->strip;
    plan->columns = divide_up(groups, plan->column_parts) * plan->kernel->group;
    plan->row_parts = divide_up(p->m, plan->rows);
    plan->column_parts = divide_up(p->n, plan->columns);
}

/* One tile at an edge of C: the kernel writes whole tiles, so it works on a copy. */
static void multiply_edge(const struct plan *plan, float *c, bool from_zero, int64_t rows, int64_t columns,
                          const void *a, const void *b, int64_t blocks)
{
    const struct jrl_product_kernel *kernel = plan->kernel;
    float tile[MAX_TILE] __attribute__((aligned(64))) = { 0 };
    for (int64_t r = 0; r < rows && !from_zero; r++)
        memcpy(tile + r * kernel->group, c + r * plan->p->ldc, (size_t)columns * sizeof(float));
    kernel->multiply(tile, kernel->group, from_zero, rows, a, b, blocks);
    for (int64_t r = 0; r < rows; r++)
        memcpy(c + r * plan->p->ldc, tile + r * kernel->group, (size_t)columns * sizeof(float));
}

/* Rows i .. row_end-1 times the packed panel of columns j .. column_end-1, for one pass over k. */
static void multiply_panel(const struct plan *plan, int64_t i, int64_t row_end, int64_t j, int64_t column_end, int64_t k,
                           int64_t blocks, uint8_t *strip, const uint8_t *panel)
{
    const struct jrl_product *p = plan->p;
    const struct jrl_product_kernel *kernel = plan->kernel;
    bool from_zero = k == 0 && !p->accumulate;
    for (; i < row_end; i += kernel->strip) {
        int64_t rows = smaller(kernel->strip, row_end - i);
        const uint8_t *group = panel;
        kernel->pack_a(strip, p, i, rows, k, blocks);
        for (int64_t column = j; column < column_end; column += kernel->group) {
            int64_t columns = smaller(kernel->group, column_end - column);
            float *c = p->c + i * p->ldc + column;
            if (rows == kernel->strip && columns == kernel->group)
                kernel->multiply(c, p->ldc, from_zero, rows, strip, group, blocks);
            else
                multiply_edge(plan, c, from_zero, rows, columns, strip, group, blocks);
            group += blocks * kernel->group_block_bytes;
        }
    }
}

static void run_part(void *ctx, int64_t part, int thread)
{
    const struct plan *plan = ctx;
    const struct jrl_product *p = plan->p;
    const struct jrl_product_kernel *kernel = plan->kernel;
    int64_t i = part / plan->column_parts * plan->rows, j = part % plan->column_parts * plan->columns;
    int64_t row_end = smaller(p->m, i + plan->rows), column_end = smaller(p->n, j + plan->columns);
    int64_t all_blocks = divide_up(p->k, JRL_BLOCK);
    uint8_t *strip = plan->scratch + thread * plan->thread_bytes, *panel = strip + plan->strip_bytes;

    if (kernel->begin)
        kernel->begin();
    for (int64_t first = j; first < column_end; first += plan->panel_columns)
        for (int64_t block = 0; block < all_blocks; block += plan->pass_blocks) {
            int64_t blocks = smaller(plan->pass_blocks, all_blocks - block), end = smaller(column_end, first + plan->panel_columns);
            uint8_t *group = panel;
            for (int64_t column = first; column < end; column += kernel->group) {
                kernel->pack_b(group, p, column, smaller(kernel->group, end - column), block * JRL_BLOCK, blocks);
                group += blocks * kernel->group_block_bytes;
            }
            multiply_panel(plan, i, row_end, first, end, block * JRL_BLOCK, blocks, strip, panel);
        }
    if (kernel->end)
        kernel->end();
}

int jrl_product_blocked(struct jrl_device *dev, const struct jrl_product *p, const struct jrl_product_kernel *kernel,
                        struct jrl_error *err)
{
    struct plan plan = { .p = p, .kernel = kernel };
    int n_threads = jrl_pool_size(dev->pool);
    void *scratch;
    choose_grid(&plan, n_threads);

    /* Passes of nearly equal length; panels as wide as the cache takes, no wider than a part. */
    int64_t all_blocks = divide_up(p->k, JRL_BLOCK);
    plan.pass_blocks = divide_up(all_blocks, divide_up(all_blocks, kernel->max_blocks));
    int64_t groups = PANEL_BYTES / (plan.pass_blocks * kernel->group_block_bytes);
    int64_t part_groups = divide_up(plan.columns, kernel->group);
    groups = smaller(groups < 1 ? 1 : groups, part_groups);
    plan.panel_columns = divide_up(part_groups, divide_up(part_groups, groups)) * kernel->group;

    plan.strip_bytes = kernel->strip_bytes;
    plan.panel_bytes = plan.panel_columns / kernel->group * plan.pass_blocks * kernel->group_block_bytes;
    plan.thread_bytes = divide_up(plan.strip_bytes + plan.panel_bytes, 4096) * 4096 + 64;
    plan.thread_bytes = divide_up(plan.thread_bytes, 64) * 64;
    int rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_MATMUL, (size_t)n_threads, (size_t)plan.thread_bytes, err);
    if (rc)
        return rc;
    plan.scratch = scratch;
    jrl_pool_run(dev->pool, plan.row_parts * plan.column_parts, run_part, &plan);
    return JRL_OK;
}
