/* matmul_blocked.c - cuts a product into parts for threads and into panels for caches, and packs them for
 * a micro-kernel. No cut changes a bit: the contracted index is cut only where C holds the running sum. */
#include <string.h>

#include "kernels/cpu/matmul_cpu.h"

#define MAX_PANEL_BLOCKS 32 /* blocks of the contracted index in a panel: C is read and written once for each */
#define MAX_TILE (32 * 32)

struct plan {
    const struct jrl_product *p;
    const struct jrl_product_kernel *kernel;
    int64_t rows, columns;           /* of a part */
    int64_t row_parts, column_parts;
    int64_t panel_blocks;            /* blocks of the contracted index in a packed panel of B */
    int64_t pass_blocks;             /* and in a packed strip of A */
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

/* What the next strip will be packed from, some rows of which are fetched while each group is multiplied: they lie
 * apart, and the processor does not follow so many streams by itself. */
struct ahead {
    const uint8_t *at;
    int64_t rows, stride, width, rows_a_group; /* bytes */
};

static struct ahead look_ahead(const struct jrl_product *p, int64_t i, int64_t rows, int64_t k, int64_t blocks, int64_t groups)
{
    int64_t bytes = jrl_dtype_bytes(p->dtype), n = smaller(blocks * JRL_BLOCK, p->k - k);
    struct ahead a = { (const uint8_t *)p->a + (i * p->a_row + k * p->a_step) * bytes, 0, 0, 0, 0 };
    a.rows = p->a_step == 1 ? rows : n;
    a.width = (p->a_step == 1 ? n : rows) * bytes;
    a.stride = (p->a_step == 1 ? p->a_row : p->a_step) * bytes;
    a.rows_a_group = divide_up(a.rows, groups);
    return a;
}

static void fetch_some(struct ahead *a)
{
    int64_t end = smaller(a->rows, a->rows_a_group);
    for (int64_t r = 0; r < end; r++, a->at += a->stride)
        for (int64_t byte = 0; byte < a->width; byte += 64)
            __builtin_prefetch(a->at + byte, 0, 2);
    a->rows -= end;
}

/* The tile of C that comes next is fetched while one is multiplied. */
static void fetch_tile(const float *c, int64_t ldc, int64_t rows, int64_t columns)
{
    for (; rows > 0; rows--, c += ldc)
        for (int64_t column = 0; column < columns; column += 16)
            __builtin_prefetch(c + column, 1);
}

/* One strip of A times all groups of a panel, for the blocks of one pass. */
static void multiply_strip(const struct plan *plan, int64_t i, int64_t rows, int64_t j, int64_t column_end, bool from_zero,
                           int64_t blocks, const uint8_t *strip, const uint8_t *group, struct ahead *ahead)
{
    const struct jrl_product_kernel *kernel = plan->kernel;
    for (; j < column_end; j += kernel->group) {
        fetch_some(ahead);
        int64_t columns = smaller(kernel->group, column_end - j);
        float *c = plan->p->c + i * plan->p->ldc + j;
        fetch_tile(c + columns, plan->p->ldc, rows, smaller(kernel->group, column_end - j - columns));
        if (rows == kernel->strip && columns == kernel->group)
            kernel->multiply(c, plan->p->ldc, from_zero, rows, strip, group, blocks);
        else
            multiply_edge(plan, c, from_zero, rows, columns, strip, group, blocks);
        group += blocks * kernel->group_block_bytes;
    }
}

/* A panel: columns j .. column_end-1 and blocks .. of the contracted index from k on, packed pass by pass. */
struct panel {
    int64_t j, column_end, k, blocks;
    uint8_t *packed;
};

static void pack_panel(const struct plan *plan, const struct panel *panel)
{
    const struct jrl_product_kernel *kernel = plan->kernel;
    uint8_t *group = panel->packed;
    for (int64_t block = 0; block < panel->blocks; block += plan->pass_blocks) {
        int64_t blocks = smaller(plan->pass_blocks, panel->blocks - block);
        for (int64_t j = panel->j; j < panel->column_end; j += kernel->group) {
            kernel->pack_b(group, plan->p, j, smaller(kernel->group, panel->column_end - j), panel->k + block * JRL_BLOCK, blocks);
            group += blocks * kernel->group_block_bytes;
        }
    }
}

/* Rows i .. row_end-1 times a packed panel; the piece of C that a strip gives stays in cache over its passes. */
static void multiply_panel(const struct plan *plan, int64_t i, int64_t row_end, const struct panel *panel, uint8_t *strip)
{
    const struct jrl_product_kernel *kernel = plan->kernel;
    int64_t groups = divide_up(panel->column_end - panel->j, kernel->group);
    for (; i < row_end; i += kernel->strip) {
        int64_t rows = smaller(kernel->strip, row_end - i);
        for (int64_t block = 0; block < panel->blocks; block += plan->pass_blocks) {
            int64_t blocks = smaller(plan->pass_blocks, panel->blocks - block), k = panel->k + block * JRL_BLOCK;
            bool last = block + blocks == panel->blocks;
            int64_t next = last ? i + kernel->strip : i, next_k = last ? panel->k : k + blocks * JRL_BLOCK;
            struct ahead ahead = { NULL, 0, 0, 0, 0 };
            if (next < row_end)
                ahead = look_ahead(plan->p, next, smaller(kernel->strip, row_end - next), next_k, plan->pass_blocks, groups);
            kernel->pack_a(strip, plan->p, i, rows, k, blocks);
            multiply_strip(plan, i, rows, panel->j, panel->column_end, k == 0 && !plan->p->accumulate, blocks, strip,
                           panel->packed + block * groups * kernel->group_block_bytes, &ahead);
        }
    }
}

static void run_part(void *ctx, int64_t part, int thread)
{
    const struct plan *plan = ctx;
    const struct jrl_product *p = plan->p;
    int64_t i = part / plan->column_parts * plan->rows, j = part % plan->column_parts * plan->columns;
    int64_t row_end = smaller(p->m, i + plan->rows), column_end = smaller(p->n, j + plan->columns);
    int64_t all_blocks = divide_up(p->k, JRL_BLOCK);
    uint8_t *strip = plan->scratch + thread * plan->thread_bytes;

    if (plan->kernel->begin)
        plan->kernel->begin();
    for (; j < column_end; j += plan->panel_columns)
        for (int64_t block = 0; block < all_blocks; block += plan->panel_blocks) {
            struct panel panel = {
                .j = j, .column_end = smaller(column_end, j + plan->panel_columns), .k = block * JRL_BLOCK,
                .blocks = smaller(plan->panel_blocks, all_blocks - block), .packed = strip + plan->strip_bytes,
            };
            pack_panel(plan, &panel);
            multiply_panel(plan, i, row_end, &panel, strip);
        }
    if (plan->kernel->end)
        plan->kernel->end();
}

/* x cut into pieces of at most LIMIT: the length of a piece when they are nearly equal. */
static int64_t even_pieces(int64_t x, int64_t limit)
{
    return divide_up(x, divide_up(x, limit < 1 ? 1 : limit));
}

int jrl_product_blocked(struct jrl_device *dev, const struct jrl_product *p, const struct jrl_product_kernel *kernel,
                        struct jrl_error *err)
{
    struct plan plan = { .p = p, .kernel = kernel };
    int n_threads = jrl_pool_size(dev->pool);
    void *scratch;
    choose_grid(&plan, n_threads);

    plan.panel_blocks = even_pieces(divide_up(p->k, JRL_BLOCK), MAX_PANEL_BLOCKS);
    plan.pass_blocks = even_pieces(plan.panel_blocks, kernel->max_blocks);
    int64_t groups = kernel->panel_bytes / (plan.panel_blocks * kernel->group_block_bytes);
    plan.panel_columns = even_pieces(divide_up(plan.columns, kernel->group), groups) * kernel->group;

    plan.strip_bytes = kernel->strip_bytes;
    plan.panel_bytes = plan.panel_columns / kernel->group * plan.panel_blocks * kernel->group_block_bytes;
    plan.thread_bytes = divide_up(plan.strip_bytes + plan.panel_bytes, 64) * 64;
    int rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_MATMUL, (size_t)n_threads, (size_t)plan.thread_bytes, err);
    if (rc)
        return rc;
    plan.scratch = scratch;
    jrl_pool_run(dev->pool, plan.row_parts * plan.column_parts, run_part, &plan);
    return JRL_OK;
}
