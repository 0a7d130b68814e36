/* matmul_few.c - products with few rows of A: who multiplies which strips of the weights, and what is fetched ahead. */
#include "kernels/cpu/matmul_few.h"

#include <string.h>

#include "kernels/mlp.h"

static int64_t divide_up(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

static void few_part(void *ctx, int64_t part, int thread)
{
    const struct few *f = ctx;
    const int64_t size = few_part_strips(&f->now), n = few_strips(&f->now), end = (part + 1) * size < n ? (part + 1) * size : n;
    const struct jrl_range share = few_share(&f->now, f->pool, thread);
    char *packed = f->packed + thread * f->packed_bytes;
    struct few_ahead ahead = { .at = f->packed };

    if (part * size >= share.begin && end <= share.end) /* its own */
        ahead = few_ahead_of(&f->now, share, part * size, divide_up(f->m, f->kernel->rows_a_step) * f->blocks, f->kernel->weights_at_once,
                             f->then.n ? &f->then : NULL, f->then.n ? few_share(&f->then, f->pool, thread) : (struct jrl_range){ 0, 0 });
    if (f->a && !f->is_packed[thread]) {
        f->kernel->pack_rows(f, packed);
        f->is_packed[thread] = 1;
    }
    f->kernel->multiply(f, (struct jrl_range){ part * size, end }, packed, &ahead);
}

static struct few_weights weights_of(const struct jrl_matmul_group *g)
{
    struct few_weights w = { .n = g ? g->n : 0, .side_by_side = g && g->gated };
    for (int i = 0; i < w.n; i++) {
        w.matrix[i].data = g->p[i].b;
        w.matrix[i].rows = g->p[i].n;
        w.matrix[i].row_bytes = g->p[i].ldb * 2;
    }
    return w;
}

/* Each thread packs A for itself: into its own cache, and none waits. */
static int run_few(struct jrl_device *dev, struct few *f, const struct jrl_matmul *first, struct jrl_error *err)
{
    const int64_t n_threads = jrl_pool_size(dev->pool);
    void *scratch;
    int rc;

    f->pool = dev->pool;
    f->m = first->m;
    f->k = first->k;
    f->blocks = divide_up(f->k, JRL_BLOCK);
    f->block_bytes = f->kernel->block_bytes(f->m);
    f->tiles = divide_up(f->m, TILE_ROWS);
    if (!f->packed) {
        const int64_t flag_bytes = divide_up(n_threads, 64) * 64;
        f->a = first->a;
        f->lda = first->lda;
        f->packed_bytes = f->blocks * f->block_bytes;
        if ((rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_MATMUL, 1, (size_t)(flag_bytes + n_threads * f->packed_bytes), err)))
            return rc;
        f->is_packed = scratch;
        f->packed = (char *)scratch + flag_bytes;
        memset(f->is_packed, 0, (size_t)n_threads);
    }
    jrl_pool_run(dev->pool, few_parts(&f->now), few_part, f);
    return JRL_OK;
}

const struct few_kernel *jrl_few_kernel_for(const struct jrl_device *dev, enum jrl_dtype dtype, int64_t rows)
{
    if (dtype != JRL_BF16 || rows < 1 || rows > JRL_FEW_ROWS)
        return NULL;
#if defined(__x86_64__)
    if (dev->isa == JRL_ISA_AMX)
        return &jrl_few_amx;
    if (dev->isa == JRL_ISA_AVX512BF16)
        return rows <= 8 ? &jrl_fewest_avx512bf16 : rows <= 32 ? &jrl_fewer_avx512bf16 : &jrl_few_avx512bf16;
    if (dev->isa == JRL_ISA_AVX512)
        return &jrl_few_avx512;
    if (dev->isa == JRL_ISA_AVX2)
        return rows <= 3 ? &jrl_fewest_avx2 : &jrl_few_avx2;
#endif
    (void)dev;
    return NULL;
}

int jrl_group_few_rows(struct jrl_device *dev, const struct few_kernel *kernel, const struct jrl_matmul_group *group,
                       const struct jrl_matmul_group *then, struct jrl_error *err)
{
    struct few f = { .now = weights_of(group), .then = weights_of(then), .kernel = kernel, .products = group->p };

    return run_few(dev, &f, &group->p[0], err);
}

int jrl_mlp_few_rows(struct jrl_device *dev, const struct few_kernel *kernel, const struct jrl_mlp *p, const struct jrl_matmul_group *then,
                     struct jrl_error *err)
{
    const struct jrl_matmul wide = { .dtype = p->dtype, .m = p->rows, .n = p->mlp_dim, .k = p->dim, .a = p->normed, .lda = p->dim, .ldb = p->dim };
    const struct jrl_matmul back = { .dtype = p->dtype, .m = p->rows, .n = p->dim, .k = p->mlp_dim, .b = p->down, .ldb = p->mlp_dim,
                                     .c = p->x, .ldc = p->dim, .accumulate = true };
    struct jrl_matmul_group up = { .p = { wide, wide }, .n = 2, .gated = true }, down = { .p = { back }, .n = 1 };
    const int64_t block_bytes = kernel->block_bytes(p->rows), blocks = divide_up(p->mlp_dim, JRL_BLOCK);
    void *act;
    int rc = jrl_device_scratch(&act, dev, JRL_SCRATCH_ACT, (size_t)blocks, (size_t)block_bytes, err);

    if (rc)
        return rc;
    up.p[0].b = p->gate;
    up.p[1].b = p->up;
    memset((char *)act + (blocks - 1) * block_bytes, 0, (size_t)block_bytes); /* its second half may be no strip's */
    struct few first = { .now = weights_of(&up), .then = weights_of(&down), .kernel = kernel, .act = act };
    if ((rc = run_few(dev, &first, &wide, err)))
        return rc;
    struct few second = { .now = weights_of(&down), .then = weights_of(then), .kernel = kernel, .products = down.p, .packed = act };
    return run_few(dev, &second, &back, err);
}
