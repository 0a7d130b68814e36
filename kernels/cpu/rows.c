/* rows.c - elementwise operations over threads: conversion, addition, the AdamW step, the squared norm.
 * The loops themselves are in rows_loops.h. */
#include "kernels/cpu/rows.h"

#include "kernels/adamw.h"
#include "kernels/cpu/rows_loops.h"

#define GRAIN 4096 /* elements a thread takes at least; the block of jrl_sum_squares */

const struct jrl_rows jrl_rows_portable = JRL_ROWS_TABLE;

const struct jrl_rows *jrl_rows_for(enum jrl_isa isa)
{
#if defined(__x86_64__)
    if (isa >= JRL_ISA_AVX512)
        return &jrl_rows_avx512;
    if (isa == JRL_ISA_AVX2)
        return &jrl_rows_avx2;
#endif
    (void)isa;
    return &jrl_rows_portable;
}

struct conversion {
    const struct jrl_rows *rows;
    enum jrl_dtype dtype;
    void *y;
    const void *x;
};

static void convert_from_f32(void *ctx, struct jrl_range r, int thread)
{
    const struct conversion *p = ctx;
    const float *x = (const float *)p->x + r.begin;
    (void)thread;
    if (p->dtype == JRL_BF16)
        p->rows->to_bf16((jrl_bf16 *)p->y + r.begin, x, r.end - r.begin);
    else
        memcpy((float *)p->y + r.begin, x, (size_t)(r.end - r.begin) * sizeof(float));
}

static void convert_to_f32(void *ctx, struct jrl_range r, int thread)
{
    const struct conversion *p = ctx;
    float *y = (float *)p->y + r.begin;
    (void)thread;
    if (p->dtype == JRL_BF16)
        p->rows->from_bf16(y, (const jrl_bf16 *)p->x + r.begin, r.end - r.begin);
    else if (p->dtype == JRL_F16)
        p->rows->from_f16(y, (const uint16_t *)p->x + r.begin, r.end - r.begin);
    else
        memcpy(y, (const float *)p->x + r.begin, (size_t)(r.end - r.begin) * sizeof(float));
}

int jrl_cpu_convert_from_f32(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *x, int64_t n, struct jrl_error *err)
{
    if (n < 0 || (dtype != JRL_F32 && dtype != JRL_BF16))
        return jrl_fail(err, JRL_ERR_RUN, "conversion from f32: a negative count or a type other than f32 and bf16");
    struct conversion p = { jrl_rows_for(dev->isa), dtype, y, x };
    jrl_device_ranges(dev, n, GRAIN, convert_from_f32, &p);
    return JRL_OK;
}

int jrl_cpu_convert_to_f32(struct jrl_device *dev, float *y, const void *x, enum jrl_dtype dtype, int64_t n, struct jrl_error *err)
{
    if (n < 0 || dtype < JRL_F32 || dtype > JRL_F16)
        return jrl_fail(err, JRL_ERR_RUN, "conversion to f32: a negative count or an unknown type");
    struct conversion p = { jrl_rows_for(dev->isa), dtype, y, x };
    jrl_device_ranges(dev, n, GRAIN, convert_to_f32, &p);
    return JRL_OK;
}

static void add(void *ctx, struct jrl_range r, int thread)
{
    const struct conversion *p = ctx;
    (void)thread;
    p->rows->add((float *)p->y + r.begin, (const float *)p->x + r.begin, r.end - r.begin);
}

int jrl_cpu_add(struct jrl_device *dev, float *y, const float *x, int64_t n, struct jrl_error *err)
{
    if (n < 0)
        return jrl_fail(err, JRL_ERR_RUN, "addition: a negative count");
    struct conversion p = { jrl_rows_for(dev->isa), JRL_F32, y, x };
    jrl_device_ranges(dev, n, GRAIN, add, &p);
    return JRL_OK;
}

struct adamw {
    const struct jrl_rows *rows;
    struct jrl_adamw_scalars scalars;
    float *master, *m, *v;
    const float *grad;
    void *weights;
    enum jrl_dtype dtype;
};

static void adamw(void *ctx, struct jrl_range r, int thread)
{
    const struct adamw *p = ctx;
    int64_t n = r.end - r.begin;
    (void)thread;
    p->rows->adamw(&p->scalars, p->master + r.begin, p->m + r.begin, p->v + r.begin, p->grad + r.begin, n);
    if (p->weights && p->dtype == JRL_BF16)
        p->rows->to_bf16((jrl_bf16 *)p->weights + r.begin, p->master + r.begin, n);
    else if (p->weights)
        memcpy((float *)p->weights + r.begin, p->master + r.begin, (size_t)n * sizeof(float));
}

int jrl_cpu_adamw_step(struct jrl_device *dev, const struct jrl_adamw *p, float *master, float *m, float *v, const float *grad,
                   void *weights, enum jrl_dtype dtype, int64_t n, struct jrl_error *err)
{
    if (n < 0 || p->step < 1 || (dtype != JRL_F32 && dtype != JRL_BF16))
        return jrl_fail(err, JRL_ERR_RUN, "adamw: a negative count, a step below 1 or a type other than f32 and bf16");
    struct adamw job = {
        .rows = jrl_rows_for(dev->isa), .master = master, .m = m, .v = v, .grad = grad, .weights = weights, .dtype = dtype,
        .scalars = jrl_adamw_scalars_of(p, jrl_pow),
    };
    jrl_device_ranges(dev, n, GRAIN, adamw, &job);
    return JRL_OK;
}

struct norm {
    const struct jrl_rows *rows;
    const float *x;
    double *blocks;
    int64_t n;
};

static void sum_block(void *ctx, int64_t block, int thread)
{
    const struct norm *p = ctx;
    int64_t begin = block * GRAIN, n = p->n - begin < GRAIN ? p->n - begin : GRAIN;
    double lanes[JRL_NORM_LANES];
    (void)thread;
    p->rows->square_lanes(lanes, p->x + begin, n);
    for (int width = JRL_NORM_LANES / 2; width; width /= 2)
        for (int lane = 0; lane < width; lane++)
            lanes[lane] += lanes[lane + width];
    p->blocks[block] = lanes[0];
}

int jrl_cpu_sum_squares(struct jrl_device *dev, double *out, const float *x, int64_t n, struct jrl_error *err)
{
    void *blocks;
    *out = 0;
    if (n < 0)
        return jrl_fail(err, JRL_ERR_RUN, "sum of squares: a negative count");
    int64_t n_blocks = (n + GRAIN - 1) / GRAIN;
    int rc = jrl_device_scratch(&blocks, dev, JRL_SCRATCH_ROWS, (size_t)n_blocks, sizeof(double), err);
    if (rc)
        return rc;
    struct norm p = { jrl_rows_for(dev->isa), x, blocks, n };
    jrl_pool_run(dev->pool, n_blocks, sum_block, &p);
    double sum = 0;
    for (int64_t i = 0; i < n_blocks; i++)
        sum += p.blocks[i];
    *out = sum;
    return JRL_OK;
}
