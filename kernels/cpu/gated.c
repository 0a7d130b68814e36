/* gated.c - gate and up (and, backwards, the gradient of their product) are multiplied strip by strip into tiles that
 * stay in the second cache, and the activation works on a tile as soon as its last product is done. Packing and
 * micro-kernels are those of matmul_blocked.c; sums are cut nowhere, so neither path changes a bit. Where gate and up are kept,
 * each sixteen columns of them lie in a panel of their own, row by row, so that a tile is one run of memory (struct jrl_gated_tile). */
#include "kernels/gated.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "kernels/cpu/layer_rows.h"
#include "kernels/cpu/matmul_cpu.h"
#include "kernels/swiglu.h"

#define MAX_TILE (32 * 32)
#define PORTABLE_ROWS 64 /* of the path that keeps products in memory */
#define PART_ROWS 2048   /* weights are packed once for so many rows */

enum { GATE, UP, DACT, MAX_PRODUCTS };

struct call {
    const struct jrl_gated *p;
    struct jrl_product products[MAX_PRODUCTS]; /* C is unused */
    int first_product, n_products;             /* gate and up, on the way back dact, too, or dact alone where the others were kept */
    void *act, *dgate, *dup;
    const struct jrl_product_kernel *kernel;
    const struct jrl_layer_rows *rows_of_isa;
    int64_t part_rows, panel_groups, row_parts, panels;
    int64_t blocks, pass_blocks;               /* of the contracted index: in all, and in a packed strip */
    uint8_t *scratch;
    int64_t panel_bytes, thread_bytes;
};

/* What a thread works with. */
struct scratch {
    uint8_t *panel;  /* packed weights, in the order of their use */
    float *tiles;    /* [group][product from the first]: running sums */
    uint8_t *strip;
};

static int64_t divide_up(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

static int64_t smaller(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

/* Products of a group. */
static int n_multiplied(const struct call *c)
{
    return c->n_products - c->first_product;
}

static bool is_backward(const struct call *c)
{
    return c->n_products > DACT;
}

static struct scratch lay_out(const struct call *c, int thread)
{
    uint8_t *memory = c->scratch + thread * c->thread_bytes;
    const int64_t tile_bytes = c->panel_groups * n_multiplied(c) * MAX_TILE * (int64_t)sizeof(float);

    return (struct scratch){ memory, (float *)(memory + c->panel_bytes), memory + c->panel_bytes + tile_bytes };
}

/* Products that share their left operand follow one another: gate and up, then dact. */
static int end_of_set(int product)
{
    return product == GATE ? DACT : MAX_PRODUCTS;
}

static void pack_panel(const struct call *c, uint8_t *to, int64_t j, int64_t column_end)
{
    const struct jrl_product_kernel *kernel = c->kernel;

    for (int64_t block = 0; block < c->blocks; block += c->pass_blocks) {
        const int64_t blocks = smaller(c->pass_blocks, c->blocks - block);

        for (int set = c->first_product; set < c->n_products; set = end_of_set(set))
            for (int64_t at = j; at < column_end; at += kernel->group)
                for (int i = set; i < end_of_set(set); i++) {
                    kernel->pack_b(to, &c->products[i], at, smaller(kernel->group, column_end - at), block * JRL_BLOCK, blocks);
                    to += blocks * kernel->group_block_bytes;
                }
    }
}

/* Where gate and up of row I and column J, a multiple of 16, are kept, or NULL. */
static float *kept_at(const struct call *c, int64_t i, int64_t j)
{
    const struct jrl_gated_kept *k = &c->p->kept;

    return k->data ? k->data + (j / 16 * k->n_rows + k->row + i) * 32 : NULL;
}

/* The activation of a finished group: one tile of each product. */
static void activate(const struct call *c, const float *tiles, int64_t i, int64_t rows, int64_t j, int64_t columns)
{
    const bool backward = is_backward(c);
    const int64_t at = (i * c->p->mlp_dim + j) * jrl_dtype_bytes(c->p->dtype);
    const struct jrl_gated_tile tile = {
        .gate = tiles, .up = tiles + MAX_TILE, .dact = backward ? tiles + (DACT - c->first_product) * MAX_TILE : NULL,
        .kept = kept_at(c, i, j), .panel = c->p->kept.n_rows * 32,
        .act = (uint8_t *)c->act + at, .dgate = backward ? (uint8_t *)c->dgate + at : NULL, .dup = backward ? (uint8_t *)c->dup + at : NULL,
        .dtype = c->p->dtype, .rows = rows, .columns = columns, .stride = c->kernel->group, .ld = c->p->mlp_dim,
    };

    c->rows_of_isa->gated_tile(&tile);
}

/* Asks for some rows of the next strip: they lie apart, and the processor does not fetch so many streams by itself. */
static void fetch_ahead(const struct call *c, const struct jrl_product *p, int64_t i, int64_t rows, int64_t k, int64_t blocks)
{
    const int64_t bytes = jrl_dtype_bytes(p->dtype), end = smaller(p->m, i + rows);

    for (; i < end; i++)
        for (int64_t at = 0; at < blocks * JRL_BLOCK * bytes; at += 64)
            __builtin_prefetch((const uint8_t *)p->a + (i * c->p->dim + k) * bytes + at, 0, 2);
}

/* Rows i .. of one strip, times a panel. */
static void multiply_strip(const struct call *c, const struct scratch *s, int64_t i, int64_t rows, int64_t j, int64_t column_end)
{
    const struct jrl_product_kernel *kernel = c->kernel;
    const int64_t fetched = divide_up(kernel->strip * kernel->group, column_end - j);
    const uint8_t *group = s->panel;

    for (int64_t block = 0; block < c->blocks; block += c->pass_blocks) {
        const int64_t blocks = smaller(c->pass_blocks, c->blocks - block);

        for (int set = c->first_product; set < c->n_products; set = end_of_set(set)) {
            const bool done = block + blocks == c->blocks && end_of_set(set) >= c->n_products;
            float *tiles = s->tiles;

            kernel->pack_a(s->strip, &c->products[set], i, rows, block * JRL_BLOCK, blocks);
            for (int64_t at = j, next = i + kernel->strip; at < column_end; at += kernel->group, tiles += n_multiplied(c) * MAX_TILE) {
                fetch_ahead(c, &c->products[set], next, fetched, block * JRL_BLOCK, blocks);
                next += fetched;
                for (int k = set; k < end_of_set(set); k++, group += blocks * kernel->group_block_bytes)
                    kernel->multiply(tiles + (k - c->first_product) * MAX_TILE, kernel->group, block == 0, rows, s->strip, group, blocks);
                if (done)
                    activate(c, tiles, i, rows, at, smaller(kernel->group, column_end - at));
            }
        }
    }
}

static void run_part(void *ctx, int64_t part, int thread)
{
    const struct call *c = ctx;
    const int64_t first = part / c->panels * c->part_rows, end = smaller(c->p->rows, first + c->part_rows);
    const int64_t columns = c->panel_groups * c->kernel->group, j = part % c->panels * columns;
    const struct scratch s = lay_out(c, thread);

    if (c->kernel->begin)
        c->kernel->begin();
    pack_panel(c, s.panel, j, smaller(c->p->mlp_dim, j + columns));
    for (int64_t i = first; i < end; i += c->kernel->strip)
        multiply_strip(c, &s, i, smaller(c->kernel->strip, end - i), j, smaller(c->p->mlp_dim, j + columns));
    if (c->kernel->end)
        c->kernel->end();
    if (c->p->kept.data && !is_backward(c))
        atomic_thread_fence(memory_order_seq_cst); /* what was streamed is there before the part is over */
}

/* Panels that fit the second cache, and as many parts as give every thread the same number. */
static void cut(struct call *c, int n_threads)
{
    const struct jrl_product_kernel *kernel = c->kernel;
    const int64_t strips = divide_up(c->p->rows, kernel->strip), groups = divide_up(c->p->mlp_dim, kernel->group);
    const int64_t group_bytes = n_multiplied(c) * divide_up(c->p->dim, JRL_BLOCK) * kernel->group_block_bytes;
    const int64_t most = kernel->panel_bytes > group_bytes ? kernel->panel_bytes / group_bytes : 1;

    c->blocks = divide_up(c->p->dim, JRL_BLOCK);
    c->pass_blocks = divide_up(c->blocks, divide_up(c->blocks, kernel->max_blocks));
    c->row_parts = divide_up(c->p->rows, PART_ROWS);
    c->part_rows = divide_up(strips, c->row_parts) * kernel->strip;
    c->row_parts = divide_up(c->p->rows, c->part_rows);
    c->panels = divide_up(groups, most);
    while (c->panels < groups && (c->row_parts * c->panels < 2 * n_threads || c->row_parts * c->panels % n_threads))
        c->panels++;
    c->panel_groups = divide_up(groups, c->panels);
    c->panels = divide_up(groups, c->panel_groups);
    c->panel_bytes = c->panel_groups * group_bytes;
    c->thread_bytes = c->panel_bytes + c->panel_groups * n_multiplied(c) * MAX_TILE * (int64_t)sizeof(float) + divide_up(kernel->strip_bytes, 64) * 64;
}

static int run_blocked(struct jrl_device *dev, struct call *c, struct jrl_error *err)
{
    const int n_threads = jrl_pool_size(dev->pool);
    void *scratch;
    int rc;

    cut(c, n_threads);
    if ((rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_MATMUL, (size_t)n_threads, (size_t)c->thread_bytes, err)) < 0)
        return rc;
    c->scratch = scratch;
    jrl_pool_run(dev->pool, c->row_parts * c->panels, run_part, c);
    return JRL_OK;
}

static void *row_of(const void *matrix, const struct jrl_gated *p, int64_t i, int64_t columns)
{
    return (uint8_t *)(uintptr_t)matrix + i * columns * jrl_dtype_bytes(p->dtype);
}

/* Gate and up of some rows: products, which may be kept, or what was kept. */
static int some_gate_and_up(struct jrl_device *dev, const struct call *c, float *gate, float *up, int64_t i, int64_t rows, struct jrl_error *err)
{
    const struct jrl_gated *p = c->p;
    struct jrl_matmul m = { .dtype = p->dtype, .m = rows, .n = p->mlp_dim, .k = p->dim, .a = row_of(p->x, p, i, p->dim), .lda = p->dim,
                            .b = p->gate, .ldb = p->dim, .c = gate, .ldc = p->mlp_dim };
    int rc = c->first_product == GATE ? jrl_matmul_nt(dev, &m, err) : JRL_OK;

    m.b = p->up;
    m.c = up;
    if (rc == JRL_OK && c->first_product == GATE)
        rc = jrl_matmul_nt(dev, &m, err);
    for (int64_t r = 0; r < rows && p->kept.data && rc == JRL_OK; r++)
        for (int64_t j = 0; j < p->mlp_dim; j++) {
            float *kept = kept_at(c, i + r, j) + j % 16, *g = &gate[r * p->mlp_dim + j], *u = &up[r * p->mlp_dim + j];

            *(is_backward(c) ? g : kept) = *(is_backward(c) ? kept : g);
            *(is_backward(c) ? u : kept + 16) = *(is_backward(c) ? kept + 16 : u);
        }
    return rc;
}

/* Some rows with their products in memory, one kernel after the other. */
static int some_rows(struct jrl_device *dev, const struct call *c, float *products, int64_t i, int64_t rows, struct jrl_error *err)
{
    const struct jrl_gated *p = c->p;
    const int64_t n = PORTABLE_ROWS * p->mlp_dim;
    float *gate = products, *up = products + n, *dact = products + 2 * n;
    struct jrl_matmul m = { .dtype = p->dtype, .m = rows, .n = p->mlp_dim, .k = p->dim, .lda = p->dim, .ldc = p->mlp_dim };
    int rc = some_gate_and_up(dev, c, gate, up, i, rows, err);

    if (rc < 0 || (rc = jrl_swiglu(dev, row_of(c->act, p, i, p->mlp_dim), p->dtype, gate, up, rows, p->mlp_dim, err)) < 0 || !is_backward(c))
        return rc;
    m.a = row_of(c->products[DACT].a, p, i, p->dim);
    m.b = c->products[DACT].b;
    m.ldb = p->mlp_dim;
    m.c = dact;
    if ((rc = jrl_matmul_nn(dev, &m, err)) < 0)
        return rc;
    return jrl_swiglu_backward(dev, row_of(c->dgate, p, i, p->mlp_dim), row_of(c->dup, p, i, p->mlp_dim), p->dtype, dact, gate, up, rows,
                               p->mlp_dim, err);
}

static int run_plain(struct jrl_device *dev, const struct call *c, struct jrl_error *err)
{
    void *products;
    int rc = jrl_device_scratch(&products, dev, JRL_SCRATCH_GATED, (size_t)(c->n_products * PORTABLE_ROWS), (size_t)c->p->mlp_dim * sizeof(float), err);

    for (int64_t i = 0; i < c->p->rows && rc == JRL_OK; i += PORTABLE_ROWS)
        rc = some_rows(dev, c, products, i, smaller(PORTABLE_ROWS, c->p->rows - i), err);
    return rc;
}

static int run(struct jrl_device *dev, struct call *c, struct jrl_error *err)
{
    const struct jrl_gated *p = c->p;
    struct jrl_product product = { .dtype = p->dtype, .m = p->rows, .n = p->mlp_dim, .k = p->dim, .a = p->x, .a_row = p->dim, .a_step = 1,
                                   .b = p->gate, .b_column = p->dim, .b_step = 1 };

    if (p->dtype != JRL_F32 && p->dtype != JRL_BF16)
        return jrl_fail(err, JRL_ERR_RUN, "gated: element type %d is not f32 or bf16", (int)p->dtype);
    if (p->rows < 0 || p->dim < 1 || p->mlp_dim < 1)
        return jrl_fail(err, JRL_ERR_RUN, "gated: wrong sizes: %" PRId64 " rows, %" PRId64 " and %" PRId64 " columns", p->rows, p->dim, p->mlp_dim);
    if (p->rows == 0)
        return JRL_OK;
    c->products[GATE] = product;
    product.b = p->up;
    c->products[UP] = product;
    c->kernel = jrl_product_kernel_for(dev, p->dtype);
    c->rows_of_isa = jrl_layer_rows_for(dev);
    return c->kernel && c->rows_of_isa ? run_blocked(dev, c, err) : run_plain(dev, c, err);
}

int jrl_cpu_gated(struct jrl_device *dev, const struct jrl_gated *p, void *act, struct jrl_error *err)
{
    struct call c = { .p = p, .n_products = 2, .act = act };

    return run(dev, &c, err);
}

int jrl_cpu_gated_backward(struct jrl_device *dev, const struct jrl_gated *p, void *act, void *dgate, void *dup, const void *dy,
                       const void *down, struct jrl_error *err)
{
    struct call c = { .p = p, .first_product = p->kept.data ? DACT : GATE, .n_products = 3, .act = act, .dgate = dgate, .dup = dup };

    c.products[DACT] = (struct jrl_product){ .dtype = p->dtype, .m = p->rows, .n = p->mlp_dim, .k = p->dim, .a = dy, .a_row = p->dim,
                                             .a_step = 1, .b = down, .b_column = 1, .b_step = p->mlp_dim };
    return run(dev, &c, err);
}
