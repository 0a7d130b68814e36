/* swiglu.c - the gated activation in plain C: the loops that define the bits. */
#include <math.h>

#include "kernels/cpu/lanes.h"
#include "kernels/swiglu.h"

#define ELEMENTS_PER_PART 8192

struct swiglu {
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
    jrl_pool_run(jrl_device_pool(dev), (p->n + ELEMENTS_PER_PART - 1) / ELEMENTS_PER_PART, fn, p);
    return JRL_OK;
}

/* exp overflows to inf for a very negative x, and 1/inf is the right 0. */
static float sigmoid(float x)
{
    return 1.0f / (1.0f + jrl_expf(-x));
}

static void forward_part(void *ctx, int64_t part, int thread)
{
    const struct swiglu *p = ctx;
    int64_t begin = part * ELEMENTS_PER_PART, end = begin + ELEMENTS_PER_PART < p->n ? begin + ELEMENTS_PER_PART : p->n;

    (void)thread;
    for (int64_t i = begin; i < end; i++)
        jrl_store(p->y, p->dtype, i, p->gate[i] * sigmoid(p->gate[i]) * p->up[i]);
}

int jrl_swiglu(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *gate, const float *up, int64_t rows,
               int64_t dim, struct jrl_error *err)
{
    struct swiglu p = { .y = y, .dtype = dtype, .gate = gate, .up = up };

    return run(dev, "swiglu", &p, rows, dim, forward_part, err);
}

static void backward_part(void *ctx, int64_t part, int thread)
{
    const struct swiglu *p = ctx;
    int64_t begin = part * ELEMENTS_PER_PART, end = begin + ELEMENTS_PER_PART < p->n ? begin + ELEMENTS_PER_PART : p->n;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float g = p->gate[i], dy = p->dy[i], s = sigmoid(g);
        jrl_store(p->dup, p->dtype, i, dy * (g * s));
        jrl_store(p->dgate, p->dtype, i, dy * p->up[i] * (s * fmaf(g, 1.0f - s, 1.0f)));
    }
}

int jrl_swiglu_backward(struct jrl_device *dev, void *dgate, void *dup, enum jrl_dtype dtype, const float *dy,
                        const float *gate, const float *up, int64_t rows, int64_t dim, struct jrl_error *err)
{
    struct swiglu p = { .dgate = dgate, .dup = dup, .dtype = dtype, .dy = dy, .gate = gate, .up = up };

    return run(dev, "swiglu_backward", &p, rows, dim, backward_part, err);
}
