/* gpu_peak.h - what a GPU can do, measured by the same kernels: copying inside its memory, and a large product of bf16. */
#ifndef JRL_TESTS_BENCH_GPU_PEAK_H
#define JRL_TESTS_BENCH_GPU_PEAK_H

#include "base/random.h"
#include "kernels/matmul.h"
#include "kernels/vmath.h"
#include "tests/bench/gpu_table.h"

struct copied {
    struct jrl_device *dev;
    void *from, *to;
    size_t n_bytes;
};
static inline int copy(void *ctx, struct jrl_error *err)
{
    const struct copied *c = ctx;

    return jrl_device_copy(c->dev, c->to, c->from, c->n_bytes, err);
}

static inline void measure_copy(struct bench *b)
{
    struct copied c = { .dev = b->dev, .n_bytes = (size_t)b->sizes.copied };
    double seconds;

    must(jrl_device_alloc(b->dev, &c.from, c.n_bytes, "a copy", &error));
    must(jrl_device_alloc(b->dev, &c.to, c.n_bytes, "a copy", &error));
    must(jrl_device_zero(b->dev, c.from, c.n_bytes, &error));
    seconds = seconds_of(b, b->sizes.repetitions, copy, &c);
    b->bandwidth = 2 * (double)c.n_bytes / seconds;
    row_bytes(b, "copy, read and written", seconds, 2 * (double)c.n_bytes, 0);
    jrl_device_free(b->dev, c.from);
    jrl_device_free(b->dev, c.to);
}

struct product {
    struct jrl_device *dev;
    struct jrl_matmul p;
};
static inline int multiply(void *ctx, struct jrl_error *err)
{
    const struct product *p = ctx;

    return jrl_matmul_nt(p->dev, &p->p, err);
}

/* Numbers around 1: with zeros a processor needs less power and its clock is higher. */
static inline void *new_numbers(const struct bench *b, int64_t n)
{
    float *x = jrl_xmalloc((size_t)n * sizeof *x);
    void *numbers, *wide;
    struct jrl_rng rng;

    jrl_rng_init(&rng, 1, 1);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(int32_t)jrl_rng_u32(&rng) * 0x1p-31f;
    must(jrl_device_alloc(b->dev, &wide, (size_t)n * sizeof *x, "a product", &error));
    must(jrl_device_alloc(b->dev, &numbers, (size_t)n * 2, "a product", &error));
    must(jrl_device_upload(b->dev, wide, x, (size_t)n * sizeof *x, &error));
    must(jrl_convert_from_f32(b->dev, numbers, JRL_BF16, wide, n, &error));
    must(jrl_device_synchronise(b->dev, &error));
    jrl_device_free(b->dev, wide);
    free(x);
    return numbers;
}

static inline void measure_product(struct bench *b)
{
    const int64_t n = b->sizes.product;
    void *x = new_numbers(b, n * n), *y = new_numbers(b, n * n), *z;
    struct product p = { b->dev, { .dtype = JRL_BF16, .m = n, .n = n, .k = n, .a = x, .b = y, .lda = n, .ldb = n, .ldc = n } };
    char name[64];
    double seconds;

    must(jrl_device_alloc(b->dev, &z, (size_t)(n * n) * 4, "a product", &error));
    p.p.c = z;
    seconds = seconds_of(b, b->sizes.repetitions / 2, multiply, &p);
    b->rate = 2 * (double)n * (double)n * (double)n / seconds;
    snprintf(name, sizeof name, "product of bf16, %lld cubed", (long long)n);
    row_flops(b, name, seconds, b->rate * seconds, 0);
    jrl_device_free(b->dev, x);
    jrl_device_free(b->dev, y);
    jrl_device_free(b->dev, z);
}

#endif
