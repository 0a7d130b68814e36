/* memory.c - the memory that the CPU's kernels take for themselves. */
#include "kernels/cpu/attention_cpu.h"

#define BYTES_PER_THREAD ((int64_t)2 << 20) /* panels of products, sums of rows */

int64_t jrl_cpu_kernel_memory(const struct jrl_device *dev, const struct jrl_kernel_sizes *p)
{
    const struct jrl_attention attention = { .dtype = p->dtype, .n_heads = p->n_heads, .n_kv_heads = p->n_kv_heads, .head_dim = p->head_dim,
                                             .n_rows = p->n_rows };

    return jrl_attention_bytes(dev, &attention, p->n_positions, p->back_rows > 0) + jrl_pool_size(dev->pool) * BYTES_PER_THREAD;
}
