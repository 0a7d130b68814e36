/* matmul.cu - matrix products: checks, and the choice between the library, tensor cores and the contract's own order. */
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

static int run(struct jrl_device *dev, const struct jrl_matmul *p, bool a_transposed, bool b_transposed, struct jrl_error *err)
{
    const struct gpu_product q = product_of(p, a_transposed, b_transposed);

    if (p->m == 0 || p->n == 0)
        return JRL_OK;
    if (on_tensor(dev, p, &q))
        return gpu_of(dev)->library ? gpu_product_library(dev, &q, err) : gpu_product_tensor(dev, &q, 1, err);
    return gpu_product_exact(dev, p->dtype, &q, err);
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

int jrl_cuda_matmul_tn(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err)
{
    const int rc = check(dev, p, p->m, p->n, "tn", err);

    return rc < 0 ? rc : run(dev, p, true, false, err);
}

/* On tensor cores the products are one launch. */
int jrl_cuda_matmul_nt_group(struct jrl_device *dev, const struct jrl_matmul_group *group, const struct jrl_matmul_group *then, struct jrl_error *err)
{
    struct gpu_product q[JRL_GROUP_PRODUCTS];
    bool together = !gpu_of(dev)->library;
    int rc = JRL_OK;

    (void)then;
    if (group->n < 1 || group->n > JRL_GROUP_PRODUCTS)
        return gpu_fail(dev, err, "matmul nt: a group of %d products", group->n);
    for (int i = 0; i < group->n && rc == JRL_OK; i++) {
        const struct jrl_matmul *p = &group->p[i];

        rc = check(dev, p, p->k, p->k, "nt", err);
        q[i] = product_of(p, false, true);
        together = together && on_tensor(dev, p, &q[i]) && p->m == group->p[0].m && p->k == group->p[0].k && p->m > 0 && p->n > 0;
    }
    if (rc == JRL_OK && together)
        return gpu_product_tensor(dev, q, group->n, err);
    for (int i = 0; i < group->n && rc == JRL_OK; i++)
        rc = run(dev, &group->p[i], false, true, err);
    return rc;
}
