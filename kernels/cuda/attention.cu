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

int64_t jrl_cuda_attention_memory(const struct jrl_device *dev, const struct jrl_attention *p, int64_t n_positions, bool backward)
{
    const bool tensor = gpu_attention_on_tensor(dev, p);
    const int64_t n_parts = p->n_rows * divide_up(n_positions, GPU_SPLIT_PAGES * JRL_PAGE_TOKENS);
    const int64_t forth = tensor ? smaller(n_parts * p->n_kv_heads, gpu_most_slots(dev)) * gpu_slot_floats(p->head_dim) * (int64_t)sizeof(float)
                                 : gpu_attention_exact_bytes(dev, p->n_rows, p->n_heads, n_positions);
    const int64_t back = !backward ? 0 : tensor ? gpu_attention_backward_tensor_bytes(dev, p->n_rows, p->n_heads, p->head_dim)
                                                : gpu_attention_backward_exact_bytes(p->n_rows, p->n_heads);

    return gpu_bound_bytes(dev, p, n_positions) + larger_of(forth, back);
}
