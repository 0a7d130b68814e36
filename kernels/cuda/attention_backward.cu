/* attention_backward.cu - the gradient of attention: checks, and the choice between tensor cores and the contract's own order. */
#include "kernels/cuda/attention_gpu.h"

static int check(struct jrl_device *dev, const struct jrl_attention *p, struct jrl_error *err)
{
    const int rc = gpu_check_attention(dev, p, "attention_backward", err);

    for (int64_t i = 0; rc == JRL_OK && i < p->n_seqs; i++)
        if (p->seqs[i].first_position != 0 || p->seqs[i].first_row % JRL_PAGE_TOKENS != 0)
            return gpu_fail(dev, err, "attention_backward: sequence %lld does not begin at position 0 and a row that is a multiple of %d", (long long)i,
                            JRL_PAGE_TOKENS);
    return rc;
}

int jrl_cuda_attention_backward(struct jrl_device *dev, const struct jrl_attention *p, float *dqkv, const float *dout, const void *q, const void *out,
                                const float *lse, struct jrl_error *err)
{
    struct gpu_backward_call c = {};
    int rc = check(dev, p, err);

    if (rc < 0 || p->n_rows == 0)
        return rc;
    if (gpu_of(dev)->bound->padded &&
        (rc = dev->backend->zero(dev, dqkv, (size_t)(p->n_rows * (p->n_heads + 2 * p->n_kv_heads) * p->head_dim) * sizeof(float), err)) < 0)
        return rc;
    c.rows = gpu_of(dev)->bound->rows;
    c.q = q;
    c.out = out;
    c.dout = dout;
    c.lse = lse;
    c.cos_table = p->rope_cos;
    c.sin_table = p->rope_sin;
    c.dqkv = dqkv;
    c.n_rows = p->n_rows;
    c.n_heads = p->n_heads;
    c.n_kv_heads = p->n_kv_heads;
    c.dim = p->head_dim;
    c.page_offset = p->page_offset;
    c.scale = 1.0f / sqrtf((float)p->head_dim);
    return gpu_attention_on_tensor(dev, p) ? gpu_attention_backward_tensor(dev, &c, err) : gpu_attention_backward_exact(dev, p->dtype, &c, err);
}
