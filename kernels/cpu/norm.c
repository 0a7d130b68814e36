/* norm.c - RMSNorm and the embedding lookup: the plain loops, which define the bits, and the choice of faster ones. */
#include <math.h>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/layer_rows.h"
#include "kernels/norm.h"

#define ROWS_PER_PART 16
#define COLS_PER_PART 64

static int check(const char *name, enum jrl_dtype dtype, int64_t rows, int64_t dim, struct jrl_error *err)
{
    if (dtype != JRL_F32 && dtype != JRL_BF16)
        return jrl_fail(err, JRL_ERR_RUN, "%s: element type %d is not f32 or bf16", name, (int)dtype);
    if (rows < 0 || dim < 0)
        return jrl_fail(err, JRL_ERR_RUN, "%s: negative size %lld x %lld", name, (long long)rows, (long long)dim);
    return JRL_OK;
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t parts(int64_t n, int64_t each) { return (n + each - 1) / each; }

struct embedding {
    float *out;
    const float *dx;
    const void *table;
    enum jrl_dtype dtype;
    const uint32_t *ids;
    int64_t rows, dim;
};

static void embedding_part(void *ctx, int64_t part, int thread)
{
    const struct embedding *p = ctx;
    int64_t end = min64(p->rows, (part + 1) * ROWS_PER_PART);

    (void)thread;
    for (int64_t r = part * ROWS_PER_PART; r < end; r++)
        for (int64_t i = 0; i < p->dim; i++)
            p->out[r * p->dim + i] = p->ids[r] == UINT32_MAX ? 0.0f : jrl_load(p->table, p->dtype, p->ids[r] * p->dim + i);
}

int jrl_cpu_embedding(struct jrl_device *dev, float *x, const void *table, enum jrl_dtype dtype, const uint32_t *ids,
                  int64_t rows, int64_t dim, struct jrl_error *err)
{
    struct embedding p = { .out = x, .table = table, .dtype = dtype, .ids = ids, .rows = rows, .dim = dim };
    int rc = check("embedding", dtype, rows, dim, err);

    if (rc == JRL_OK)
        jrl_pool_run(jrl_device_pool(dev), parts(rows, ROWS_PER_PART), embedding_part, &p);
    return rc;
}

static void add(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void embedding_backward_part(void *ctx, int64_t part, int thread)
{
    const struct embedding *p = ctx;
    int64_t begin = part * COLS_PER_PART, end = min64(p->dim, begin + COLS_PER_PART);

    (void)thread;
    for (int64_t r = 0; r < p->rows; r++) {
        if (p->ids[r] == UINT32_MAX)
            continue;
        add(p->out + p->ids[r] * p->dim + begin, p->dx + r * p->dim + begin, end - begin);
    }
}

int jrl_cpu_embedding_backward(struct jrl_device *dev, float *dtable, const float *dx, const uint32_t *ids, int64_t rows,
                           int64_t dim, struct jrl_error *err)
{
    struct embedding p = { .out = dtable, .dx = dx, .ids = ids, .rows = rows, .dim = dim };
    int rc = check("embedding_backward", JRL_F32, rows, dim, err);

    if (rc == JRL_OK)
        jrl_pool_run(jrl_device_pool(dev), parts(dim, COLS_PER_PART), embedding_backward_part, &p);
    return rc;
}

struct rmsnorm {
    const struct jrl_layer_rows *rows_of_isa; /* NULL: plain loops */
    void *y;
    const float *x, *dy;
    float *dx, *dweight;
    float *inverse; /* [rows]: 1 / sqrt(mean square + eps) */
    const void *weight;
    enum jrl_dtype dtype;
    float eps;
    int64_t rows, dim;
};

static float inverse_rms(const float *x, int64_t dim, float eps)
{
    float lanes[JRL_LANES] = { 0 };

    for (int64_t i = 0; i < dim; i++)
        lanes[i % JRL_LANES] = fmaf(x[i], x[i], lanes[i % JRL_LANES]);
    return jrl_inverse_root(jrl_lanes_sum(lanes) / (float)dim + eps);
}

static void plain_rmsnorm(void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps, int64_t dim)
{
    float inverse = inverse_rms(x, dim, eps);

    for (int64_t i = 0; i < dim; i++)
        jrl_store(y, dtype, i, x[i] * inverse * jrl_load(weight, dtype, i));
}

/* With g = dy * weight and s = inverse: dx += s * (g - x * (g.x / dim) * s * s). Returns s. */
static float plain_rmsnorm_dx(float *dx, const float *dy, const float *x, const void *weight, enum jrl_dtype dtype, float eps,
                              int64_t dim)
{
    float inverse = inverse_rms(x, dim, eps), lanes[JRL_LANES] = { 0 };

    for (int64_t i = 0; i < dim; i++)
        lanes[i % JRL_LANES] = fmaf(dy[i] * jrl_load(weight, dtype, i), x[i], lanes[i % JRL_LANES]);
    float slope = jrl_lanes_sum(lanes) / (float)dim * inverse * inverse;
    for (int64_t i = 0; i < dim; i++)
        dx[i] += (dy[i] * jrl_load(weight, dtype, i) - x[i] * slope) * inverse;
    return inverse;
}

static void rmsnorm_part(void *ctx, int64_t part, int thread)
{
    const struct rmsnorm *p = ctx;
    int64_t end = min64(p->rows, (part + 1) * ROWS_PER_PART), row_bytes = p->dim * jrl_dtype_bytes(p->dtype);

    (void)thread;
    for (int64_t r = part * ROWS_PER_PART; r < end; r++)
        (p->rows_of_isa ? p->rows_of_isa->rmsnorm : plain_rmsnorm)((uint8_t *)p->y + r * row_bytes, p->x + r * p->dim, p->weight,
                                                                   p->dtype, p->eps, p->dim);
}

int jrl_cpu_rmsnorm(struct jrl_device *dev, void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps,
                int64_t rows, int64_t dim, struct jrl_error *err)
{
    struct rmsnorm p = { .rows_of_isa = jrl_layer_rows_for(dev), .y = y, .x = x, .weight = weight, .dtype = dtype, .eps = eps, .rows = rows, .dim = dim };
    int rc = check("rmsnorm", dtype, rows, dim, err);

    if (rc == JRL_OK)
        jrl_pool_run(jrl_device_pool(dev), parts(rows, ROWS_PER_PART), rmsnorm_part, &p);
    return rc;
}

static void rmsnorm_dx_part(void *ctx, int64_t part, int thread)
{
    const struct rmsnorm *p = ctx;
    int64_t end = min64(p->rows, (part + 1) * ROWS_PER_PART);

    (void)thread;
    for (int64_t r = part * ROWS_PER_PART; r < end; r++)
        p->inverse[r] = (p->rows_of_isa ? p->rows_of_isa->rmsnorm_dx : plain_rmsnorm_dx)(
            p->dx + r * p->dim, p->dy + r * p->dim, p->x + r * p->dim, p->weight, p->dtype, p->eps, p->dim);
}

static void add_products(float *restrict y, const float *restrict dy, const float *restrict x, float inverse, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += dy[i] * (x[i] * inverse);
}

static void rmsnorm_dweight_part(void *ctx, int64_t part, int thread)
{
    const struct rmsnorm *p = ctx;
    int64_t begin = part * COLS_PER_PART, end = min64(p->dim, begin + COLS_PER_PART);

    (void)thread;
    for (int64_t r = 0; r < p->rows; r++)
        add_products(p->dweight + begin, p->dy + r * p->dim + begin, p->x + r * p->dim + begin, p->inverse[r], end - begin);
}

int jrl_cpu_rmsnorm_backward(struct jrl_device *dev, float *dx, float *dweight, const float *dy, const float *x,
                         const void *weight, enum jrl_dtype dtype, float eps, int64_t rows, int64_t dim,
                         struct jrl_error *err)
{
    struct rmsnorm p = { .rows_of_isa = jrl_layer_rows_for(dev), .x = x, .dy = dy, .dx = dx, .dweight = dweight, .weight = weight, .dtype = dtype, .eps = eps,
                         .rows = rows, .dim = dim };
    void *inverse = NULL;
    int rc = check("rmsnorm_backward", dtype, rows, dim, err);

    if (rc == JRL_OK)
        rc = jrl_device_scratch(&inverse, dev, JRL_SCRATCH_ROWS, (size_t)rows, sizeof(float), err);
    if (rc < 0)
        return rc;
    p.inverse = inverse;
    jrl_pool_run(jrl_device_pool(dev), parts(rows, ROWS_PER_PART), rmsnorm_dx_part, &p);
    jrl_pool_run(jrl_device_pool(dev), parts(dim, COLS_PER_PART), rmsnorm_dweight_part, &p);
    return JRL_OK;
}
