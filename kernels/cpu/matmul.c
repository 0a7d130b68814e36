/* matmul.c - matrix products on the CPU: checks, the choice of a path, and the plain loops in the
 * contract's order that define the bits. */
#include "kernels/matmul.h"

#include <inttypes.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/matmul_cpu.h"
#include "kernels/vmath.h"

#define LANES 16
#define PORTABLE_ROWS 32 /* rows that share one converted block of B */

static float element(const void *x, enum jrl_dtype dtype, int64_t i)
{
    return dtype == JRL_F32 ? ((const float *)x)[i] : jrl_bf16_to_f32(((const jrl_bf16 *)x)[i]);
}

/* acc[lane] += the product over one block of 32, in the contract's order. */
static void block_product(float acc[LANES], const float a[JRL_BLOCK], float b[JRL_BLOCK][LANES])
{
    float even[LANES] = { 0 }, odd[LANES] = { 0 };
    for (int k = 0; k < JRL_BLOCK; k += 2)
        for (int lane = 0; lane < LANES; lane++) {
            even[lane] = __builtin_fmaf(a[k], b[k][lane], even[lane]);
            odd[lane] = __builtin_fmaf(a[k + 1], b[k + 1][lane], odd[lane]);
        }
    for (int lane = 0; lane < LANES; lane++)
        acc[lane] += even[lane] + odd[lane];
}

/* Outputs rows i .. i+rows-1, columns j .. j+cols-1; rows <= PORTABLE_ROWS, cols <= LANES. */
static void portable_tile(const struct jrl_product *p, int64_t i, int64_t rows, int64_t j, int64_t cols)
{
    float acc[PORTABLE_ROWS][LANES] = { { 0 } }, a[JRL_BLOCK], b[JRL_BLOCK][LANES];
    for (int64_t r = 0; r < rows && p->accumulate; r++)
        memcpy(acc[r], p->c + (i + r) * p->ldc + j, (size_t)cols * sizeof(float));
    for (int64_t block = 0; block < p->k; block += JRL_BLOCK) {
        int64_t filled = p->k - block < JRL_BLOCK ? p->k - block : JRL_BLOCK;
        memset(a, 0, sizeof a);
        memset(b, 0, sizeof b);
        for (int64_t k = 0; k < filled; k++)
            for (int64_t lane = 0; lane < cols; lane++)
                b[k][lane] = element(p->b, p->dtype, (block + k) * p->b_step + (j + lane) * p->b_column);
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t k = 0; k < filled; k++)
                a[k] = element(p->a, p->dtype, (i + r) * p->a_row + (block + k) * p->a_step);
            block_product(acc[r], a, b);
        }
    }
    for (int64_t r = 0; r < rows; r++)
        memcpy(p->c + (i + r) * p->ldc + j, acc[r], (size_t)cols * sizeof(float));
}

static void portable_part(void *ctx, int64_t part, int thread)
{
    const struct jrl_product *p = ctx;
    int64_t row_parts = (p->m + PORTABLE_ROWS - 1) / PORTABLE_ROWS;
    int64_t i = part % row_parts * PORTABLE_ROWS, j = part / row_parts * LANES;
    int64_t rows = p->m - i < PORTABLE_ROWS ? p->m - i : PORTABLE_ROWS;
    (void)thread;
    portable_tile(p, i, rows, j, p->n - j < LANES ? p->n - j : LANES);
}

static int run_portable(struct jrl_device *dev, const struct jrl_product *p)
{
    int64_t row_parts = (p->m + PORTABLE_ROWS - 1) / PORTABLE_ROWS, column_parts = (p->n + LANES - 1) / LANES;
    jrl_pool_run(dev->pool, row_parts * column_parts, portable_part, (void *)p);
    return JRL_OK;
}

const struct jrl_product_kernel *jrl_product_kernel_for(const struct jrl_device *dev, enum jrl_dtype dtype)
{
#if defined(__x86_64__)
    static const struct jrl_product_kernel *const bf16[] = {
        [JRL_ISA_AVX2] = &jrl_product_words_avx2, [JRL_ISA_AVX512] = &jrl_product_words_avx512,
        [JRL_ISA_AVX512BF16] = &jrl_product_words_avx512bf16, [JRL_ISA_AMX] = &jrl_product_amx,
    };
    if (dtype == JRL_BF16)
        return bf16[dev->isa];
    if (dev->isa >= JRL_ISA_AVX2)
        return dev->isa == JRL_ISA_AVX2 ? &jrl_product_avx2_f32 : &jrl_product_avx512_f32;
#endif
    (void)dev, (void)dtype;
    return NULL;
}

static int run_product(struct jrl_device *dev, const struct jrl_product *p, struct jrl_error *err)
{
    const struct jrl_product_kernel *kernel = jrl_product_kernel_for(dev, p->dtype);

    if (p->m == 0 || p->n == 0)
        return JRL_OK;
    return kernel && p->k > 0 ? jrl_product_blocked(dev, p, kernel, err) : run_portable(dev, p);
}

static int check(const struct jrl_matmul *p, int64_t a_columns, int64_t b_columns, const char *form, struct jrl_error *err)
{
    if (p->dtype != JRL_F32 && p->dtype != JRL_BF16)
        return jrl_fail(err, JRL_ERR_RUN, "matmul %s: elements are f32 or bf16", form);
    if (p->m < 0 || p->n < 0 || p->k < 0)
        return jrl_fail(err, JRL_ERR_RUN, "matmul %s: negative size in m %" PRId64 ", n %" PRId64 ", k %" PRId64, form, p->m, p->n, p->k);
    if (p->lda < a_columns || p->ldb < b_columns || p->ldc < p->n)
        return jrl_fail(err, JRL_ERR_RUN, "matmul %s: row lengths %" PRId64 ", %" PRId64 ", %" PRId64 " are below the columns %" PRId64
                        ", %" PRId64 ", %" PRId64, form, p->lda, p->ldb, p->ldc, a_columns, b_columns, p->n);
    return JRL_OK;
}

static struct jrl_product product_of(const struct jrl_matmul *p)
{
    return (struct jrl_product){
        .dtype = p->dtype, .m = p->m, .n = p->n, .k = p->k, .a = p->a, .b = p->b, .c = p->c,
        .a_row = p->lda, .a_step = 1, .b_column = 1, .b_step = p->ldb, .ldc = p->ldc, .accumulate = p->accumulate,
    };
}

/* Decoding: the weights are read as they lie, and all at once. */
static const struct few_kernel *few_rows(const struct jrl_device *dev, const struct jrl_matmul_group *g)
{
    const struct few_kernel *kernel = jrl_few_kernel_for(dev, g->p[0].dtype, g->p[0].m);
    for (int i = 0; i < g->n; i++)
        if (g->p[i].n == 0 || g->p[i].k == 0)
            return NULL;
    return kernel;
}

static int check_group(const struct jrl_matmul_group *g, struct jrl_error *err)
{
    const struct jrl_matmul *first = &g->p[0];
    if (g->n < 1 || g->n > JRL_GROUP_PRODUCTS)
        return jrl_fail(err, JRL_ERR_RUN, "matmul nt: a group of %d products", g->n);
    for (int i = 0; i < g->n; i++) {
        const struct jrl_matmul *p = &g->p[i];
        int rc = check(p, p->k, p->k, "nt", err);
        if (rc)
            return rc;
        if (p->dtype != first->dtype || p->m != first->m || p->k != first->k || p->a != first->a || p->lda != first->lda)
            return jrl_fail(err, JRL_ERR_RUN, "matmul nt: product %d of a group has other rows than the first", i);
    }
    return JRL_OK;
}

int jrl_cpu_matmul_nt_group(struct jrl_device *dev, const struct jrl_matmul_group *group, const struct jrl_matmul_group *then,
                        struct jrl_error *err)
{
    int rc = check_group(group, err);
    const struct few_kernel *few = rc ? NULL : few_rows(dev, group);
    if (few)
        return jrl_group_few_rows(dev, few, group, then, err);
    for (int i = 0; i < group->n && !rc; i++) {
        struct jrl_product q = product_of(&group->p[i]);
        q.b_column = group->p[i].ldb;
        q.b_step = 1;
        rc = run_product(dev, &q, err);
    }
    return rc;
}

int jrl_cpu_matmul_nt(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err)
{
    const struct jrl_matmul_group one = { .p = { *p }, .n = 1 };
    return jrl_matmul_nt_group(dev, &one, NULL, err);
}

int jrl_cpu_matmul_nn(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err)
{
    int rc = check(p, p->k, p->n, "nn", err);
    if (rc)
        return rc;
    struct jrl_product q = product_of(p);
    return run_product(dev, &q, err);
}

int jrl_cpu_matmul_tn_group(struct jrl_device *dev, const struct jrl_matmul *p, int n, struct jrl_error *err)
{
    int rc = 0;

    for (int i = 0; i < n && !rc; i++) {
        if ((rc = check(&p[i], p[i].m, p[i].n, "tn", err)))
            break;
        struct jrl_product q = product_of(&p[i]);
        q.a_row = 1;
        q.a_step = p[i].lda;
        rc = run_product(dev, &q, err);
    }
    return rc;
}
