/* attention.cu - causal attention over pages: the choice between tensor cores and the contract's own order, and the memory that either takes. */
#include "kernels/cuda/attention_gpu.h"

int jrl_cuda_attention_forward(struct jrl_device *dev, const struct jrl_attention *p, void *out, float *lse, const void *q, struct jrl_error *err)
{
    struct gpu_attention_call c = {};
    int rc = gpu_check_attention(dev, p, "attention_forward", err);

    if (rc < 0 || p->n_rows == 0)
        return rc;
    c.rows = gpu_of(dev)->bound->rows;
    c.q = q;
    c.out = out;
    c.lse = lse;
    c.n_rows = p->n_rows;
    c.n_heads = p->n_heads;
    c.n_kv_heads = p->n_kv_heads;
    c.dim = p->head_dim;
    c.page_offset = p->page_offset;
    c.scale = 1.0f / sqrtf((float)p->head_dim);
    if (gpu_attention_on_tensor(dev, p))
        return gpu_attention_tensor(dev, &c, err);
    return gpu_attention_exact(dev, p->dtype, &c, err);
}

/* Of whole sequences those that are cut into parts at all have few rows, and one part. */
int64_t gpu_scores_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p)
{
    const int64_t n_parts = p->n_seqs * (p->whole ? 1 : divide_up(p->n_positions, GPU_SPLIT_PAGES * JRL_PAGE_TOKENS));
    struct jrl_attention a = {};

    a.dtype = p->dtype;
    a.head_dim = p->head_dim;
    const bool tensor = gpu_attention_on_tensor(dev, &a);
    const int64_t forth = tensor ? gpu_attention_slot_bytes(smaller(n_parts * p->n_kv_heads, gpu_most_slots(dev)), p->head_dim)
                                 : gpu_attention_exact_bytes(dev, p->n_rows, p->n_heads, p->n_positions);
    const int64_t back = p->back_rows == 0 ? 0 : tensor ? gpu_attention_backward_tensor_bytes(dev, p->n_rows, p->n_heads, p->head_dim)
                                                        : gpu_attention_backward_exact_bytes(p->n_rows, p->n_heads);

    return larger_of(forth, back);
}
