/* mlp.c - the gated MLP: its first half and the product back one after the other, or fused for few rows. */
#include "kernels/mlp.h"

#include "kernels/cpu/matmul_cpu.h"

int jrl_cpu_mlp_forward(struct jrl_device *dev, const struct jrl_mlp *p, const struct jrl_matmul_group *then, struct jrl_error *err)
{
    const struct jrl_gated gated = { p->dtype, p->rows, p->dim, p->mlp_dim, p->normed, p->gate, p->up, p->kept };
    const struct jrl_matmul down = { .dtype = p->dtype, .m = p->rows, .n = p->dim, .k = p->mlp_dim, .a = p->act, .lda = p->mlp_dim,
                                     .b = p->down, .ldb = p->mlp_dim, .c = p->x, .ldc = p->dim, .accumulate = true };
    const struct jrl_matmul_group back = { .p = { down }, .n = 1 };
    const bool keep = p->kept.data != NULL; /* for a way back, which takes more time than this could save */
    const struct few_kernel *few = !keep && p->dim > 0 && p->mlp_dim > 0 ? jrl_few_kernel_for(dev, p->dtype, p->rows) : NULL;
    int rc;

    if (few)
        return jrl_mlp_few_rows(dev, few, p, then, err);
    rc = jrl_gated(dev, &gated, p->act, err);
    return rc < 0 ? rc : jrl_matmul_nt_group(dev, &back, then, err);
}
