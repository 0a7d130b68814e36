/* mlp.c - the gated MLP: its first half and the product back one after the other, or fused for few rows. */
#include "kernels/mlp.h"

#include "kernels/cpu/matmul_cpu.h"
#include "kernels/gated.h"

int jrl_cpu_mlp_forward(struct jrl_device *dev, const struct jrl_mlp *p, const struct jrl_matmul_group *then, struct jrl_error *err)
{
    const struct jrl_gated gated = { p->dtype, p->rows, p->dim, p->mlp_dim, p->normed, p->gate, p->up };
    const struct jrl_matmul down = { .dtype = p->dtype, .m = p->rows, .n = p->dim, .k = p->mlp_dim, .a = p->act, .lda = p->mlp_dim,
                                     .b = p->down, .ldb = p->mlp_dim, .c = p->x, .ldc = p->dim, .accumulate = true };
    const struct jrl_matmul_group back = { .p = { down }, .n = 1 };
    int rc;

#if defined(__x86_64__)
    if (dev->isa == JRL_ISA_AMX && p->dtype == JRL_BF16 && p->rows > 0 && p->rows <= JRL_AMX_FEW_ROWS && p->dim > 0 && p->mlp_dim > 0)
        return jrl_mlp_amx_few_rows(dev, p, then, err);
#endif
    rc = jrl_gated(dev, &gated, p->act, err);
    return rc < 0 ? rc : jrl_matmul_nt_group(dev, &back, then, err);
}
