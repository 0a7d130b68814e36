/* dispatch.c - the public kernels: each goes to the device's table. Nothing is computed here. */
#include "kernels/backend.h"

/* A backend may leave out what only training takes. */
static int cannot(const char *what, struct jrl_error *err)
{
    return jrl_fail(err, JRL_ERR_USAGE, "this device has no %s: it cannot train", what);
}

int jrl_embedding(struct jrl_device *dev, float *x, const void *table, enum jrl_dtype dtype, const uint32_t *ids,
                  int64_t rows, int64_t dim, struct jrl_error *err)
{
    return dev->backend->embedding(dev, x, table, dtype, ids, rows, dim, err);
}

int jrl_embedding_backward(struct jrl_device *dev, float *dtable, const float *dx, const uint32_t *ids, int64_t rows,
                           int64_t dim, struct jrl_error *err)
{
    return dev->backend->embedding_backward ? dev->backend->embedding_backward(dev, dtable, dx, ids, rows, dim, err)
           : cannot("embedding_backward", err);
}

int jrl_rmsnorm(struct jrl_device *dev, void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps,
                int64_t rows, int64_t dim, struct jrl_error *err)
{
    return dev->backend->rmsnorm(dev, y, x, weight, dtype, eps, rows, dim, err);
}

int jrl_rmsnorm_backward(struct jrl_device *dev, float *dx, float *dweight, const float *dy, const float *x,
                         const void *weight, enum jrl_dtype dtype, float eps, int64_t rows, int64_t dim,
                         struct jrl_error *err)
{
    return dev->backend->rmsnorm_backward ? dev->backend->rmsnorm_backward(dev, dx, dweight, dy, x, weight, dtype, eps, rows, dim, err)
           : cannot("rmsnorm_backward", err);
}

int jrl_swiglu(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *gate, const float *up, int64_t rows,
               int64_t dim, struct jrl_error *err)
{
    return dev->backend->swiglu(dev, y, dtype, gate, up, rows, dim, err);
}

int jrl_swiglu_backward(struct jrl_device *dev, void *dgate, void *dup, enum jrl_dtype dtype, const float *dy,
                        const float *gate, const float *up, int64_t rows, int64_t dim, struct jrl_error *err)
{
    return dev->backend->swiglu_backward ? dev->backend->swiglu_backward(dev, dgate, dup, dtype, dy, gate, up, rows, dim, err)
           : cannot("swiglu_backward", err);
}

int jrl_gated(struct jrl_device *dev, const struct jrl_gated *p, void *act, struct jrl_error *err)
{
    return dev->backend->gated(dev, p, act, err);
}

int jrl_gated_backward(struct jrl_device *dev, const struct jrl_gated *p, void *act, void *dgate, void *dup, const void *dy,
                       const void *down, struct jrl_error *err)
{
    return dev->backend->gated_backward ? dev->backend->gated_backward(dev, p, act, dgate, dup, dy, down, err)
           : cannot("gated_backward", err);
}

int jrl_mlp_forward(struct jrl_device *dev, const struct jrl_mlp *p, const struct jrl_matmul_group *then, struct jrl_error *err)
{
    return dev->backend->mlp_forward(dev, p, then, err);
}

int jrl_matmul_nt(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err)
{
    return dev->backend->matmul_nt(dev, p, err);
}

int jrl_matmul_nn(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err)
{
    return dev->backend->matmul_nn ? dev->backend->matmul_nn(dev, p, err) : cannot("matmul_nn", err);
}

int jrl_matmul_tn_group(struct jrl_device *dev, const struct jrl_matmul *p, int n, struct jrl_error *err)
{
    return dev->backend->matmul_tn_group ? dev->backend->matmul_tn_group(dev, p, n, err) : cannot("matmul_tn_group", err);
}

int jrl_matmul_nt_group(struct jrl_device *dev, const struct jrl_matmul_group *group, const struct jrl_matmul_group *then, struct jrl_error *err)
{
    return dev->backend->matmul_nt_group(dev, group, then, err);
}

int jrl_attention_bind(struct jrl_device *dev, struct jrl_attention *p, struct jrl_error *err)
{
    return dev->backend->attention_bind(dev, p, err);
}

int jrl_qkv_rope(struct jrl_device *dev, const struct jrl_attention *p, void *q, const float *qkv, const void *bias, struct jrl_error *err)
{
    return dev->backend->qkv_rope(dev, p, q, qkv, bias, err);
}

int jrl_attention_forward(struct jrl_device *dev, const struct jrl_attention *p, void *out, float *lse, const void *q, struct jrl_error *err)
{
    return dev->backend->attention_forward(dev, p, out, lse, q, err);
}

int jrl_attention_backward(struct jrl_device *dev, const struct jrl_attention *p, float *dqkv, const float *dout,
                           const void *q, const void *out, const float *lse, struct jrl_error *err)
{
    return dev->backend->attention_backward ? dev->backend->attention_backward(dev, p, dqkv, dout, q, out, lse, err)
           : cannot("attention_backward", err);
}

int64_t jrl_kernel_memory(const struct jrl_device *dev, const struct jrl_kernel_sizes *p)
{
    return dev->backend->kernel_memory(dev, p);
}

int jrl_bias_backward(struct jrl_device *dev, float *dbias, const float *x, int64_t rows, int64_t cols, struct jrl_error *err)
{
    return dev->backend->bias_backward ? dev->backend->bias_backward(dev, dbias, x, rows, cols, err)
           : cannot("bias_backward", err);
}

int jrl_logprob(struct jrl_device *dev, float *logprob, float *entropy, float *lse, const float *logits, int64_t ld,
                const uint32_t *targets, float inv_temperature, int64_t rows, int64_t vocab, struct jrl_error *err)
{
    return dev->backend->logprob(dev, logprob, entropy, lse, logits, ld, targets, inv_temperature, rows, vocab, err);
}

int jrl_logits_sums(struct jrl_device *dev, struct jrl_row_sums *row_sums, struct jrl_block_sums *block_sums,
                    const float *logits, int64_t ld, float inv_temperature, int64_t rows, int64_t vocab,
                    struct jrl_error *err)
{
    return dev->backend->logits_sums(dev, row_sums, block_sums, logits, ld, inv_temperature, rows, vocab, err);
}

int jrl_logprob_backward(struct jrl_device *dev, void *dlogits, enum jrl_dtype dtype, const float *logits, int64_t ld,
                         const uint32_t *targets, float inv_temperature, const float *lse, const float *entropy,
                         const float *dlogprob, const float *dentropy, int64_t rows, int64_t vocab, struct jrl_error *err)
{
    return dev->backend->logprob_backward ? dev->backend->logprob_backward(dev, dlogits, dtype, logits, ld, targets, inv_temperature, lse, entropy, dlogprob, dentropy, rows, vocab, err)
           : cannot("logprob_backward", err);
}

int jrl_objective_backward(struct jrl_device *dev, float *dlogprob, float *dentropy, const struct jrl_objective *o,
                           const struct jrl_objective_token *tokens, const float *logprob, const float *entropy, int64_t n, struct jrl_error *err)
{
    return dev->backend->objective_backward ? dev->backend->objective_backward(dev, dlogprob, dentropy, o, tokens, logprob, entropy, n, err)
           : cannot("objective_backward", err);
}

int jrl_choose_tokens(struct jrl_device *dev, const struct jrl_choose *p, struct jrl_error *err)
{
    return dev->backend->choose_tokens(dev, p, err);
}

int64_t jrl_choose_memory(const struct jrl_device *dev, int64_t vocab, int64_t n)
{
    return dev->backend->choose_memory(dev, vocab, n);
}

int jrl_gather_rows(struct jrl_device *dev, float *y, const float *x, const int64_t *rows, int64_t n, int64_t dim, struct jrl_error *err)
{
    return dev->backend->gather_rows(dev, y, x, rows, n, dim, err);
}

int jrl_feed_tokens(struct jrl_device *dev, uint32_t *ids, const uint32_t *tokens, const int64_t *sources, const uint32_t *chosen, int64_t n,
                    struct jrl_error *err)
{
    return dev->backend->feed_tokens(dev, ids, tokens, sources, chosen, n, err);
}

int jrl_adamw_step(struct jrl_device *dev, const struct jrl_adamw *p, float *master, float *m, float *v, const float *grad,
                   void *weights, enum jrl_dtype dtype, int64_t n, struct jrl_error *err)
{
    return dev->backend->adamw_step ? dev->backend->adamw_step(dev, p, master, m, v, grad, weights, dtype, n, err)
           : cannot("adamw_step", err);
}

int jrl_sum_squares(struct jrl_device *dev, double *out, const float *x, int64_t n, struct jrl_error *err)
{
    return dev->backend->sum_squares ? dev->backend->sum_squares(dev, out, x, n, err) : cannot("sum_squares", err);
}

int jrl_convert_from_f32(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *x, int64_t n, struct jrl_error *err)
{
    return dev->backend->convert_from_f32(dev, y, dtype, x, n, err);
}

int jrl_convert_to_f32(struct jrl_device *dev, float *y, const void *x, enum jrl_dtype dtype, int64_t n, struct jrl_error *err)
{
    return dev->backend->convert_to_f32(dev, y, x, dtype, n, err);
}

int jrl_add(struct jrl_device *dev, float *y, const float *x, int64_t n, struct jrl_error *err)
{
    return dev->backend->add(dev, y, x, n, err);
}
