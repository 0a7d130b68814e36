/* swiglu.c - the gated activation: the plain loops, which define the bits, and the choice of faster ones. */
#include <math.h>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/layer_rows.h"
#include "kernels/swiglu.h"

#define ELEMENTS_PER_PART 8192

struct swiglu {
    const struct jrl_layer_rows *rows; /* NULL: plain loops */
    void *y, *dgate, *dup;
    enum jrl_dtype dtype;
    const float *dy, *gate, *up;
    int64_t n;
};

static int run(struct jrl_device *dev, const char *name, struct swiglu *p, int64_t rows, int64_t dim,
               void (*fn)(void *ctx, int64_t part, int thread), struct jrl_error *err)
{
    if (p->dtype != JRL_F32 && p->dtype != JRL_BF16)
        return jrl_fail(err, JRL_ERR_RUN, "%s: element type %d is not f32 or bf16", name, (int)p->dtype);
    if (rows < 0 || dim < 0)
        return jrl_fail(err, JRL_ERR_RUN, "%s: negative size %lld x %lld", name, (long long)rows, (long long)dim);
    p->n = rows * dim;
    p->rows = jrl_layer_rows_for(dev);
    jrl_pool_run(jrl_device_pool(dev), (p->n + ELEMENTS_PER_PART - 1) / ELEMENTS_PER_PART, fn, p);
    return JRL_OK;
}

/* exp overflows to inf for a very negative x, and 1/inf is the right 0. */
static float sigmoid(float x)
{
    return 1.0f / (1.0f + jrl_expf(-x));
}

static void plain_swiglu(void *y, enum jrl_dtype dtype, const float *gate, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        jrl_store(y, dtype, i, gate[i] * sigmoid(gate[i]) * up[i]);
}

static void *offset(void *y, const struct swiglu *p, int64_t i)
{
    return (uint8_t *)y + i * jrl_dtype_bytes(p->dtype);
}

static void forward_part(void *ctx, int64_t part, int thread)
{
    const struct swiglu *p = ctx;
    int64_t begin = part * ELEMENTS_PER_PART, n = p->n - begin < ELEMENTS_PER_PART ? p->n - begin : ELEMENTS_PER_PART;

    (void)thread;
    (p->rows ? p->rows->swiglu : plain_swiglu)(offset(p->y, p, begin), p->dtype, p->gate + begin, p->up + begin, n);
}

int jrl_cpu_swiglu(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *gate, const float *up, int64_t rows,
               int64_t dim, struct jrl_error *err)
{
    struct swiglu p = { .y = y, .dtype = dtype, .gate = gate, .up = up };

    return run(dev, "swiglu", &p, rows, dim, forward_part, err);
}

static void plain_swiglu_backward(void *dgate, void *dup, enum jrl_dtype dtype, const float *dy, const float *gate, const float *up,
                                  int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float g = gate[i], s = sigmoid(g);
        jrl_store(dup, dtype, i, dy[i] * (g * s));
        jrl_store(dgate, dtype, i, dy[i] * up[i] * (s * fmaf(g, 1.0f - s, 1.0f)));
    }
}

static void backward_part(void *ctx, int64_t part, int thread)
{
    const struct swiglu *p = ctx;
    int64_t begin = part * ELEMENTS_PER_PART, n = p->n - begin < ELEMENTS_PER_PART ? p->n - begin : ELEMENTS_PER_PART;

    (void)thread;
    (p->rows ? p->rows->swiglu_backward : plain_swiglu_backward)(offset(p->dgate, p, begin), offset(p->dup, p, begin), p->dtype,
                                                                 p->dy + begin, p->gate + begin, p->up + begin, n);
}

int jrl_cpu_swiglu_backward(struct jrl_device *dev, void *dgate, void *dup, enum jrl_dtype dtype, const float *dy,
                        const float *gate, const float *up, int64_t rows, int64_t dim, struct jrl_error *err)
{
    struct swiglu p = { .dgate = dgate, .dup = dup, .dtype = dtype, .dy = dy, .gate = gate, .up = up };

    return run(dev, "swiglu_backward", &p, rows, dim, backward_part, err);
}
