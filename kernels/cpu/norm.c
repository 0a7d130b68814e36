/* norm.c - RMSNorm and embedding in plain C: the loops that define the bits. Vectors: norm_rows.h. */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/cpu/lanes.h"
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

int jrl_embedding(struct jrl_device *dev, float *x, const void *table, enum jrl_dtype dtype, const uint32_t *ids,
                  int64_t rows, int64_t dim, struct jrl_error *err)
{
    struct embedding p = { .out = x, .table = table, .dtype = dtype, .ids = ids, .rows = rows, .dim = dim };
    int rc = check("embedding", dtype, rows, dim, err);

    if (rc == JRL_OK)
        jrl_pool_run(jrl_device_pool(dev), parts(rows, ROWS_PER_PART), embedding_part, &p);
    return rc;
}

static void embedding_backward_part(void *ctx, int64_t part, int thread)
{
    const struct embedding *p = ctx;
    int64_t begin = part * COLS_PER_PART, end = min64(p->dim, begin + COLS_PER_PART);

    (void)thread;
    for (int64_t r = 0; r < p->rows; r++) {
        if (p->ids[r] == UINT32_MAX)
            continue;
        for (int64_t i = begin; i < end; i++)
            p->out[p->ids[r] * p->dim + i] += p->dx[r * p->dim + i];
    }
}

int jrl_embedding_backward(struct jrl_device *dev, float *dtable, const float *dx, const uint32_t *ids, int64_t rows,
                           int64_t dim, struct jrl_error *err)
{
    struct embedding p = { .out = dtable, .dx = dx, .ids = ids, .rows = rows, .dim = dim };
    int rc = check("embedding_backward", JRL_F32, rows, dim, err);

    if (rc == JRL_OK)
        jrl_pool_run(jrl_device_pool(dev), parts(dim, COLS_PER_PART), embedding_backward_part, &p);
    return rc;
}

struct rmsnorm {
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
    return 1.0f / sqrtf(jrl_lanes_sum(lanes) / (float)dim + eps);
}

static void rmsnorm_part(void *ctx, int64_t part, int thread)
{
    const struct rmsnorm *p = ctx;
    int64_t end = min64(p->rows, (part + 1) * ROWS_PER_PART);

    (void)thread;
    for (int64_t r = part * ROWS_PER_PART; r < end; r++) {
        const float *x = p->x + r * p->dim;
        float inverse = inverse_rms(x, p->dim, p->eps);
        for (int64_t i = 0; i < p->dim; i++)
            jrl_store(p->y, p->dtype, r * p->dim + i, x[i] * inverse * jrl_load(p->weight, p->dtype, i));
    }
}

int jrl_rmsnorm(struct jrl_device *dev, void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps,
                int64_t rows, int64_t dim, struct jrl_error *err)
{
    struct rmsnorm p = { .y = y, .x = x, .weight = weight, .dtype = dtype, .eps = eps, .rows = rows, .dim = dim };
    int rc = check("rmsnorm", dtype, rows, dim, err);

    if (rc == JRL_OK)
        jrl_pool_run(jrl_device_pool(dev), parts(rows, ROWS_PER_PART), rmsnorm_part, &p);
    return rc;
}

/* With g = dy * weight and s = inverse: dx = s * (g - x * (g.x / dim) * s * s). */
static void rmsnorm_dx_part(void *ctx, int64_t part, int thread)
{
    const struct rmsnorm *p = ctx;
    int64_t end = min64(p->rows, (part + 1) * ROWS_PER_PART);

    (void)thread;
    for (int64_t r = part * ROWS_PER_PART; r < end; r++) {
        const float *x = p->x + r * p->dim, *dy = p->dy + r * p->dim;
        float inverse = inverse_rms(x, p->dim, p->eps), lanes[JRL_LANES] = { 0 };
        for (int64_t i = 0; i < p->dim; i++)
            lanes[i % JRL_LANES] = fmaf(dy[i] * jrl_load(p->weight, p->dtype, i), x[i], lanes[i % JRL_LANES]);
        float slope = jrl_lanes_sum(lanes) / (float)p->dim * inverse * inverse;
        for (int64_t i = 0; i < p->dim; i++)
            p->dx[r * p->dim + i] += (dy[i] * jrl_load(p->weight, p->dtype, i) - x[i] * slope) * inverse;
        p->inverse[r] = inverse;
    }
}

static void rmsnorm_dweight_part(void *ctx, int64_t part, int thread)
{
    const struct rmsnorm *p = ctx;
    int64_t begin = part * COLS_PER_PART, end = min64(p->dim, begin + COLS_PER_PART);

    (void)thread;
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t i = begin; i < end; i++)
            p->dweight[i] += p->dy[r * p->dim + i] * (p->x[r * p->dim + i] * p->inverse[r]);
}

int jrl_rmsnorm_backward(struct jrl_device *dev, float *dx, float *dweight, const float *dy, const float *x,
                         const void *weight, enum jrl_dtype dtype, float eps, int64_t rows, int64_t dim,
                         struct jrl_error *err)
{
    struct rmsnorm p = { .x = x, .dy = dy, .dx = dx, .dweight = dweight, .weight = weight, .dtype = dtype, .eps = eps,
                         .rows = rows, .dim = dim };
    void *inverse = NULL;
    int rc = check("rmsnorm_backward", dtype, rows, dim, err);

    if (rc == JRL_OK)
        rc = jrl_try_alloc(&inverse, (size_t)rows, sizeof(float), "the norm's backward pass", err);
    if (rc < 0)
        return rc;
    p.inverse = inverse;
    jrl_pool_run(jrl_device_pool(dev), parts(rows, ROWS_PER_PART), rmsnorm_dx_part, &p);
    jrl_pool_run(jrl_device_pool(dev), parts(dim, COLS_PER_PART), rmsnorm_dweight_part, &p);
    free(inverse);
    return JRL_OK;
}
