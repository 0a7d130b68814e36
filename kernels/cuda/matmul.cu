/* matmul.cu - matrix products: checks, and the choice between the library, the families of kernels on tensor cores, and the contract's own order. */
#include "kernels/cuda/product.h"

static int check(struct jrl_device *dev, const struct jrl_matmul *p, int64_t a_columns, int64_t b_columns, const char *form, struct jrl_error *err)
{
    if (p->m < 0 || p->n < 0 || p->k < 0)
        return gpu_fail(dev, err, "matmul %s: negative size in m %lld, n %lld, k %lld", form, (long long)p->m, (long long)p->n, (long long)p->k);
    if (p->lda < a_columns || p->ldb < b_columns || p->ldc < p->n)
        return gpu_fail(dev, err, "matmul %s: row lengths %lld, %lld, %lld are below the columns %lld, %lld, %lld", form, (long long)p->lda,
                        (long long)p->ldb, (long long)p->ldc, (long long)a_columns, (long long)b_columns, (long long)p->n);
    return gpu_check_type(dev, "matmul", p->dtype, err);
}

static struct gpu_product product_of(const struct jrl_matmul *p, bool a_transposed, bool b_transposed)
{
    struct gpu_product q = {};

    q.m = p->m;
    q.n = p->n;
    q.k = p->k;
    q.a_row = a_transposed ? 1 : p->lda;
    q.a_step = a_transposed ? p->lda : 1;
    q.b_column = b_transposed ? p->ldb : 1;
    q.b_step = b_transposed ? 1 : p->ldb;
    q.ldc = p->ldc;
    q.accumulate = p->accumulate;
    q.a = p->a;
    q.b = p->b;
    q.c = p->c;
    return q;
}

static bool on_tensor(const struct jrl_device *dev, const struct jrl_matmul *p, const struct gpu_product *q)
{
    return p->dtype == JRL_BF16 && !gpu_of(dev)->exact && gpu_product_aligned(q);
}

/* By the family that takes these products best. */
static int multiply_on_tensor(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err)
{
    if (gpu_product_is_slim(dev, p, n))
        return gpu_product_slim(dev, p, n, err);
    if (gpu_product_is_few(p, n))
        return gpu_product_few(dev, p, n, err);
    if (gpu_product_is_wide(dev, p, n) && gpu_product_wgmma_cost(dev, p, n) <= gpu_product_mma_cost(dev, p, n))
        return gpu_product_wgmma(dev, p, n, err);
    return gpu_product_mma(dev, p, n, err);
}

static int run(struct jrl_device *dev, const struct jrl_matmul *p, bool a_transposed, bool b_transposed, struct jrl_error *err)
{
    const struct gpu_product q = product_of(p, a_transposed, b_transposed);

    if (p->m == 0 || p->n == 0)
        return JRL_OK;
    if (!on_tensor(dev, p, &q))
        return gpu_product_exact(dev, p->dtype, &q, err);
    const int rc = gpu_of(dev)->library ? gpu_product_library(dev, &q, err) : JRL_EOF;
    return rc == JRL_EOF ? multiply_on_tensor(dev, &q, 1, err) : rc;
}

int jrl_cuda_matmul_nt(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err)
{
    const int rc = check(dev, p, p->k, p->k, "nt", err);

    return rc < 0 ? rc : run(dev, p, false, true, err);
}

int jrl_cuda_matmul_nn(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err)
{
    const int rc = check(dev, p, p->k, p->n, "nn", err);

    return rc < 0 ? rc : run(dev, p, false, false, err);
}

/* On tensor cores products of a form are one launch. */
static int run_group(struct jrl_device *dev, const struct jrl_matmul *p, int n, bool a_transposed, bool b_transposed, struct jrl_error *err)
{
    struct gpu_product q[JRL_GROUP_PRODUCTS];
    bool together = !gpu_of(dev)->library;
    int rc = JRL_OK;

    if (n < 1 || n > JRL_GROUP_PRODUCTS)
        return gpu_fail(dev, err, "matmul: a group of %d products", n);
    for (int i = 0; i < n && rc == JRL_OK; i++) {
        rc = check(dev, &p[i], a_transposed ? p[i].m : p[i].k, b_transposed ? p[i].k : p[i].n, a_transposed ? "tn" : "nt", err);
        q[i] = product_of(&p[i], a_transposed, b_transposed);
        together = together && on_tensor(dev, &p[i], &q[i]) && p[i].k == p[0].k && p[i].m > 0 && p[i].n > 0;
    }
    if (rc == JRL_OK && together)
        return multiply_on_tensor(dev, q, n, err);
    for (int i = 0; i < n && rc == JRL_OK; i++)
        rc = run(dev, &p[i], a_transposed, b_transposed, err);
    return rc;
}

int jrl_cuda_matmul_tn_group(struct jrl_device *dev, const struct jrl_matmul *p, int n, struct jrl_error *err)
{
    return run_group(dev, p, n, true, false, err);
}

int jrl_cuda_matmul_nt_group(struct jrl_device *dev, const struct jrl_matmul_group *group, const struct jrl_matmul_group *then, struct jrl_error *err)
{
    (void)then;
    return run_group(dev, group->p, group->n, false, true, err);
}
