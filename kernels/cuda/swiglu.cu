/* swiglu.cu - the gated activation, its gradient, and the gated half of an MLP with the products around it. */
#include "kernels/cuda/fours.cuh"
#include "kernels/cuda/product.h"

#define THREADS 256
#define GATED_ROWS 8192 /* rows whose f32 products are in memory together */

template <class T> static __global__ void swiglu_all(T *y, const float *gate, const float *up, int64_t n, bool fours)
{
    for_elements(n, fours, [=](auto v, int64_t i) {
        const auto u = taken<decltype(v)>(up + i);

        v = taken<decltype(v)>(gate + i);
        for (int k = 0; k < v.N; k++)
            v.of[k] = gated_unit(v.of[k], u.of[k]);
        store_piece(y + i, v);
    });
}

/* ACT: the activation again, or NULL. */
template <class T> static __global__ void swiglu_all_back(T *act, T *dgate, T *dup, const float *dy, const float *gate, const float *up, int64_t n, bool fours)
{
    for_elements(n, fours, [=](auto v, int64_t i) {
        const auto d = taken<decltype(v)>(dy + i), u = taken<decltype(v)>(up + i);
        auto to_up = v, y = v;

        v = taken<decltype(v)>(gate + i);
        for (int k = 0; k < v.N; k++) {
            const float g = v.of[k], s = sigmoid(g);

            y.of[k] = g * s * u.of[k];
            to_up.of[k] = d.of[k] * (g * s);
            v.of[k] = d.of[k] * u.of[k] * (s * fmaf(g, 1.0f - s, 1.0f));
        }
        if (act)
            store_piece(act + i, y);
        store_piece(dup + i, to_up);
        store_piece(dgate + i, v);
    });
}

int jrl_cuda_swiglu(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *gate, const float *up, int64_t rows, int64_t dim,
                    struct jrl_error *err)
{
    const int64_t n = rows * dim;
    int rc = gpu_check_type(dev, "swiglu", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "swiglu", rows, dim, err)) < 0 || n == 0)
        return rc;
    const bool fours = in_fours(n, y, gate, up);
    if (dtype == JRL_F32)
        return LAUNCH(swiglu_all<float>, four_blocks(n, THREADS), THREADS, 0, static_cast<float *>(y), gate, up, n, fours);
    return LAUNCH(swiglu_all<jrl_bf16>, four_blocks(n, THREADS), THREADS, 0, static_cast<jrl_bf16 *>(y), gate, up, n, fours);
}

template <class T> static int activation_back(struct jrl_device *dev, void *act, void *dgate, void *dup, const float *dy, const float *gate, const float *up,
                                              int64_t n, struct jrl_error *err)
{
    const bool fours = in_fours(n, act ? act : dgate, dgate, dup, dy, gate, up);

    return LAUNCH(swiglu_all_back<T>, four_blocks(n, THREADS), THREADS, 0, static_cast<T *>(act), static_cast<T *>(dgate), static_cast<T *>(dup), dy, gate,
                  up, n, fours);
}

int jrl_cuda_swiglu_backward(struct jrl_device *dev, void *dgate, void *dup, enum jrl_dtype dtype, const float *dy, const float *gate,
                             const float *up, int64_t rows, int64_t dim, struct jrl_error *err)
{
    const int64_t n = rows * dim;
    int rc = gpu_check_type(dev, "swiglu_backward", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "swiglu_backward", rows, dim, err)) < 0 || n == 0)
        return rc;
    return dtype == JRL_F32 ? activation_back<float>(dev, NULL, dgate, dup, dy, gate, up, n, err)
                            : activation_back<jrl_bf16>(dev, NULL, dgate, dup, dy, gate, up, n, err);
}

static void *row_of(const void *matrix, enum jrl_dtype dtype, int64_t row, int64_t columns)
{
    return static_cast<char *>(const_cast<void *>(matrix)) + row * columns * jrl_dtype_bytes(dtype);
}

static int check_gated(struct jrl_device *dev, const struct jrl_gated *p, struct jrl_error *err)
{
    if (p->rows < 0 || p->dim < 1 || p->mlp_dim < 1)
        return gpu_fail(dev, err, "gated: wrong sizes: %lld rows, %lld and %lld columns", (long long)p->rows, (long long)p->dim, (long long)p->mlp_dim);
    return gpu_check_type(dev, "gated", p->dtype, err);
}

/* Gate and up of rows at .. at + rows - 1, side by side in GATE and UP; one launch where products can share one. */
static int gate_and_up(struct jrl_device *dev, const struct jrl_gated *p, float *gate, float *up, int64_t at, int64_t rows, struct jrl_error *err)
{
    struct jrl_matmul_group both = {};

    both.n = 2;
    for (int i = 0; i < 2; i++) {
        struct jrl_matmul *m = &both.p[i];

        m->dtype = p->dtype;
        m->m = rows;
        m->n = m->ldc = p->mlp_dim;
        m->k = m->lda = m->ldb = p->dim;
        m->a = row_of(p->x, p->dtype, at, p->dim);
        m->b = i ? p->up : p->gate;
        m->c = i ? up : gate;
    }
    return jrl_cuda_matmul_nt_group(dev, &both, NULL, err);
}

/* Where this GPU keeps gate and up of a call: as two matrices of the whole pass. */
static float *kept_gate(const struct jrl_gated *p) { return p->kept.data + p->kept.row * p->mlp_dim; }
static float *kept_up(const struct jrl_gated *p) { return kept_gate(p) + p->kept.n_rows * p->mlp_dim; }

/* The kernel that takes gate and up at once, and leaves them behind where they have a C. */
enum at_once { NO_KERNEL, SLIM, FEW, WIDE };
static enum at_once kernel_at_once(const struct jrl_device *dev, enum jrl_dtype dtype, const struct gpu_product *both)
{
    if (dtype != JRL_BF16 || gpu_of(dev)->exact || gpu_of(dev)->library || !gpu_product_aligned(&both[0]) || !gpu_product_aligned(&both[1]))
        return NO_KERNEL;
    if (!both->c && gpu_product_is_slim(dev, both, 2) && both->n % 2 == 0)
        return SLIM;
    if (!both->c && gpu_product_is_few(both, 2))
        return FEW;
    return gpu_gated_is_wide(dev, both) ? WIDE : NO_KERNEL;
}

static struct gpu_product gated_product(int64_t rows, int64_t dim, int64_t mlp_dim)
{
    struct gpu_product p = {};

    p.m = rows;
    p.n = p.ldc = mlp_dim;
    p.k = p.a_row = p.b_column = dim;
    p.a_step = p.b_step = 1;
    return p;
}

/* Rows from AT in one kernel, which leaves GATE and UP behind where they are not NULL. JRL_EOF: there is none for these. */
static int gated_at_once(struct jrl_device *dev, const struct jrl_gated *p, void *act, float *gate, float *up, int64_t at, int64_t rows, struct jrl_error *err)
{
    struct gpu_product both[2];
    jrl_bf16 *to = static_cast<jrl_bf16 *>(row_of(act, p->dtype, at, p->mlp_dim));

    for (int i = 0; i < 2; i++) {
        both[i] = gated_product(rows, p->dim, p->mlp_dim);
        both[i].a = row_of(p->x, p->dtype, at, p->dim);
        both[i].b = i ? p->up : p->gate;
        both[i].c = i ? up : gate;
    }
    switch (rows ? kernel_at_once(dev, p->dtype, both) : NO_KERNEL) {
    case SLIM: return gpu_gated_slim(dev, both, to, err);
    case FEW: return gpu_gated_few(dev, both, to, err);
    case WIDE: return gpu_gated_wgmma(dev, both, to, err);
    case NO_KERNEL: break;
    }
    return JRL_EOF;
}

/* ... or in several. */
static int gated_rows(struct jrl_device *dev, const struct jrl_gated *p, void *act, float *gate, float *up, int64_t at, int64_t rows, struct jrl_error *err)
{
    int rc = gated_at_once(dev, p, act, gate, up, at, rows, err);

    if (rc != JRL_EOF)
        return rc;
    rc = gate_and_up(dev, p, gate, up, at, rows, err);
    return rc < 0 ? rc : jrl_cuda_swiglu(dev, row_of(act, p->dtype, at, p->mlp_dim), p->dtype, gate, up, rows, p->mlp_dim, err);
}

int jrl_cuda_gated(struct jrl_device *dev, const struct jrl_gated *p, void *act, struct jrl_error *err)
{
    const int64_t most = smaller(p->rows, GATED_ROWS);
    void *memory;
    int rc = check_gated(dev, p, err);

    if (rc == JRL_OK && p->kept.data)
        return gated_rows(dev, p, act, kept_gate(p), kept_up(p), 0, p->rows, err);
    if (rc < 0 || (rc = gated_at_once(dev, p, act, NULL, NULL, 0, p->rows, err)) != JRL_EOF)
        return rc;
    if ((rc = gpu_scratch(dev, &memory, GPU_GATED, (size_t)(2 * most * p->mlp_dim) * sizeof(float), err)) < 0)
        return rc;
    float *gate = static_cast<float *>(memory), *up = gate + most * p->mlp_dim;
    for (int64_t at = 0; at < p->rows && rc == JRL_OK; at += most)
        rc = gated_rows(dev, p, act, gate, up, at, smaller(most, p->rows - at), err);
    return rc;
}

int jrl_cuda_gated_backward(struct jrl_device *dev, const struct jrl_gated *p, void *act, void *dgate, void *dup, const void *dy,
                            const void *down, struct jrl_error *err)
{
    const bool kept = p->kept.data != NULL;
    const int64_t most = smaller(p->rows, GATED_ROWS), n_most = most * p->mlp_dim;
    struct jrl_matmul m = {};
    void *memory;
    int rc = check_gated(dev, p, err);

    if (rc < 0 || (rc = gpu_scratch(dev, &memory, GPU_GATED, (size_t)((kept ? 1 : 3) * n_most) * sizeof(float), err)) < 0)
        return rc;
    float *dact = static_cast<float *>(memory), *gate = kept ? kept_gate(p) : dact + n_most, *up = kept ? kept_up(p) : gate + n_most;
    m.dtype = p->dtype;
    m.n = m.ldb = m.ldc = p->mlp_dim;
    m.k = m.lda = p->dim;
    m.b = down;
    m.c = dact;
    for (int64_t at = 0; at < p->rows && rc == JRL_OK; at += most) {
        const int64_t rows = smaller(most, p->rows - at), n = rows * p->mlp_dim;
        void *y = row_of(act, p->dtype, at, p->mlp_dim), *to_gate = row_of(dgate, p->dtype, at, p->mlp_dim), *to_up = row_of(dup, p->dtype, at, p->mlp_dim);
        const float *g = kept ? gate + at * p->mlp_dim : gate, *u = kept ? up + at * p->mlp_dim : up;

        m.m = rows;
        m.a = row_of(dy, p->dtype, at, p->dim);
        if ((!kept && (rc = gated_rows(dev, p, act, gate, up, at, rows, err)) < 0) || (rc = jrl_cuda_matmul_nn(dev, &m, err)) < 0)
            break;
        rc = p->dtype == JRL_F32 ? activation_back<float>(dev, kept ? y : NULL, to_gate, to_up, dact, g, u, n, err)
                                 : activation_back<jrl_bf16>(dev, kept ? y : NULL, to_gate, to_up, dact, g, u, n, err);
    }
    return rc;
}

/* Where the most rows have a kernel, fewer have one. Passes that keep nothing may come between those that do. */
int64_t gpu_gated_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p)
{
    const struct gpu_product one = gated_product(p->mlp_rows, p->dim, p->mlp_dim), both[] = { one, one };
    const int64_t forth = kernel_at_once(dev, p->dtype, both) == NO_KERNEL ? 2 * smaller(p->mlp_rows, GATED_ROWS) : 0;
    const int64_t back = (p->kept ? 1 : 3) * smaller(p->back_rows, GATED_ROWS);

    return larger_of(forth, back) * p->mlp_dim * (int64_t)sizeof(float);
}

/* The caches of a GPU hold no weights from one product to the next: THEN is of no use. */
int jrl_cuda_mlp_forward(struct jrl_device *dev, const struct jrl_mlp *p, const struct jrl_matmul_group *then, struct jrl_error *err)
{
    const struct jrl_gated gated = { p->dtype, p->rows, p->dim, p->mlp_dim, p->normed, p->gate, p->up, p->kept };
    struct jrl_matmul back = {};
    const int rc = jrl_cuda_gated(dev, &gated, p->act, err);

    (void)then;
    back.dtype = p->dtype;
    back.m = p->rows;
    back.n = back.ldc = p->dim;
    back.k = back.lda = back.ldb = p->mlp_dim;
    back.a = p->act;
    back.b = p->down;
    back.c = p->x;
    back.accumulate = true;
    return rc < 0 ? rc : jrl_cuda_matmul_nt(dev, &back, err);
}
