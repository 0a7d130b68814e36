/* backward.c - the gradient of one layer, its inside kept by the forward or recomputed from the saved f32 input. Products take
 * operands of the model's dtype, so gradients are rounded where they enter one; sums stay in f32. */
#include "kernels/gated.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/vmath.h"
#include "model/workspace.h"

/* Elements of act (and of dgate, dup) held at a time: more rows at once amortise the pass over the weight
 * gradients, which are read and written for each group of rows, until the groups leave the last cache. */
#define MLP_ELEMENTS ((int64_t)6 << 20)
#define MLP_ELEMENTS_GPU ((int64_t)80 << 20)

static struct jrl_matmul to_weight(const struct jrl_pass *pass, float *dweight, const void *dy, int64_t lddy, int64_t out_dim, const void *x, int64_t in_dim, int64_t n_rows)
{
    return (struct jrl_matmul){ .dtype = pass->model->dtype, .m = out_dim, .n = in_dim, .k = n_rows, .a = dy, .lda = lddy, .b = x,
                                .ldb = in_dim, .c = dweight, .ldc = in_dim, .accumulate = true };
}

static int input_gradient(struct jrl_pass *pass, float *dx, const void *dy, int64_t lddy, int64_t out_dim, const void *weight, int64_t in_dim,
                          int64_t n_rows, bool accumulate, struct jrl_error *err)
{
    const struct jrl_matmul product = { .dtype = pass->model->dtype, .m = n_rows, .n = in_dim, .k = out_dim, .a = dy, .lda = lddy, .b = weight,
                                        .ldb = in_dim, .c = dx, .ldc = in_dim, .accumulate = accumulate };

    return jrl_matmul_nn(pass->model->dev, &product, err);
}

/* x as an operand of a product: itself in f32, a rounded copy otherwise. */
static int as_operand(struct jrl_pass *pass, enum jrl_scratch which, const float *x, int64_t n, const void **out, struct jrl_error *err)
{
    const enum jrl_dtype dtype = pass->model->dtype;
    void *rounded = NULL;
    int rc;

    *out = x;
    if (dtype == JRL_F32)
        return JRL_OK;
    if ((rc = jrl_workspace_need(pass->ws, which, n, jrl_dtype_bytes(dtype), &rounded, err)) < 0)
        return rc;
    *out = rounded;
    return jrl_convert_from_f32(pass->model->dev, rounded, dtype, x, n, err);
}

struct mlp_scratch {
    float *dnormed;
    void *normed, *act, *dgate, *dup;
};

static int mlp_scratch_init(struct mlp_scratch *s, struct jrl_pass *pass, int64_t n_rows, struct jrl_error *err)
{
    const struct jrl_model_config *c = &pass->model->config;
    const int64_t n = n_rows * c->mlp_dim, bytes = jrl_dtype_bytes(pass->model->dtype);
    struct jrl_workspace *ws = pass->ws;
    int rc;

    *s = (struct mlp_scratch){ 0 };
    if ((rc = jrl_workspace_need(ws, JRL_WS_DNORMED, pass->n_rows * c->dim, 4, &s->dnormed, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_MLP_NORMED, n_rows * c->dim, bytes, &s->normed, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_ACT, n, bytes, &s->act, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_DGATE, n, bytes, &s->dgate, err)) < 0)
        return rc;
    return jrl_workspace_need(ws, JRL_WS_DUP, n, bytes, &s->dup, err);
}

/* N_ROWS rows, of the pass from AT. */
static int mlp_rows_backward(struct jrl_pass *pass, const struct jrl_layer *layer, struct jrl_layer_gradients *g, const struct mlp_scratch *s,
                             const float *x, float *dx, int64_t at, int64_t n_rows, struct jrl_error *err)
{
    const struct jrl_model *m = pass->model;
    const int64_t dim = m->config.dim, mlp_dim = m->config.mlp_dim;
    const struct jrl_gated gated = { m->dtype, n_rows, dim, mlp_dim, s->normed, layer->gate, layer->up, { pass->gate_and_up, pass->n_rows, at } };
    const struct jrl_matmul gate_and_up[] = { to_weight(pass, g->gate, s->dgate, mlp_dim, mlp_dim, s->normed, dim, n_rows),
                                              to_weight(pass, g->up, s->dup, mlp_dim, mlp_dim, s->normed, dim, n_rows) };
    struct jrl_matmul down;
    const void *dy = NULL;
    int rc;

    if ((rc = jrl_rmsnorm(m->dev, s->normed, x, layer->mlp_norm, m->dtype, m->config.norm_eps, n_rows, dim, err)) < 0 ||
        (rc = as_operand(pass, JRL_WS_DX_ROUNDED, dx, n_rows * dim, &dy, err)) < 0 ||
        (rc = jrl_gated_backward(m->dev, &gated, s->act, s->dgate, s->dup, dy, layer->down, err)) < 0)
        return rc;
    down = to_weight(pass, g->down, dy, dim, dim, s->act, mlp_dim, n_rows);
    if ((rc = jrl_matmul_tn(m->dev, &down, err)) < 0 || (rc = jrl_matmul_tn_group(m->dev, gate_and_up, 2, err)) < 0 ||
        (rc = input_gradient(pass, s->dnormed, s->dgate, mlp_dim, mlp_dim, layer->gate, dim, n_rows, false, err)) < 0 ||
        (rc = input_gradient(pass, s->dnormed, s->dup, mlp_dim, mlp_dim, layer->up, dim, n_rows, true, err)) < 0)
        return rc;
    return jrl_rmsnorm_backward(m->dev, dx, g->mlp_norm, s->dnormed, x, layer->mlp_norm, m->dtype, m->config.norm_eps, n_rows, dim, err);
}

int64_t jrl_mlp_backward_most(const struct jrl_model_config *config, const struct jrl_device *dev, int64_t n_rows)
{
    const int64_t most = (jrl_device_is_host(dev) ? MLP_ELEMENTS : MLP_ELEMENTS_GPU) / config->mlp_dim / 32 * 32;

    return most < 32 ? 32 : most < n_rows ? most : n_rows;
}

int64_t jrl_mlp_backward_rows(const struct jrl_model_config *config, const struct jrl_device *dev, int64_t n_rows)
{
    const int64_t most = jrl_mlp_backward_most(config, dev, n_rows);

    if (most >= n_rows || jrl_device_is_host(dev))
        return most;
    const int64_t groups = (n_rows + most - 1) / most, alike = (n_rows + groups - 1) / groups; /* a small last one would leave processors without work */

    return (alike + 127) / 128 * 128 < most ? (alike + 127) / 128 * 128 : most;
}

static int mlp_backward(struct jrl_pass *pass, const struct jrl_layer *layer, struct jrl_layer_gradients *g, const float *x, float *dx,
                        struct jrl_error *err)
{
    const int64_t dim = pass->model->config.dim;
    const int64_t most = jrl_mlp_backward_rows(&pass->model->config, pass->model->dev, pass->n_rows);
    struct mlp_scratch scratch;
    int rc;

    rc = mlp_scratch_init(&scratch, pass, most, err);
    for (int64_t at = 0; rc == JRL_OK && at < pass->n_rows; at += most) {
        const int64_t n = pass->n_rows - at < most ? pass->n_rows - at : most;

        rc = mlp_rows_backward(pass, layer, g, &scratch, x + at * dim, dx + at * dim, at, n, err);
    }
    return rc;
}

/* dqkv, rounded, to the gradients of the three projections and of the block's normed input. */
static int qkv_backward(struct jrl_pass *pass, const struct jrl_layer *layer, struct jrl_layer_gradients *g, const void *dqkv, float *dnormed,
                        struct jrl_error *err)
{
    const struct jrl_model_config *c = &pass->model->config;
    const int64_t q_dim = c->n_heads * c->head_dim, kv_dim = c->n_kv_heads * c->head_dim, width = q_dim + 2 * kv_dim;
    const struct { const void *weight; float *gradient; int64_t n, at; } parts[] = {
        { layer->q, g->q, q_dim, 0 }, { layer->k, g->k, kv_dim, q_dim }, { layer->v, g->v, kv_dim, q_dim + kv_dim },
    };
    struct jrl_matmul to_weights[3];
    int rc = JRL_OK;

    for (int i = 0; i < 3 && rc == JRL_OK; i++) {
        const uint8_t *dy = (const uint8_t *)dqkv + parts[i].at * jrl_dtype_bytes(pass->model->dtype);

        to_weights[i] = to_weight(pass, parts[i].gradient, dy, width, parts[i].n, pass->normed, c->dim, pass->n_rows);
        rc = input_gradient(pass, dnormed, dy, width, parts[i].n, parts[i].weight, c->dim, pass->n_rows, i > 0, err);
    }
    return rc < 0 ? rc : jrl_matmul_tn_group(pass->model->dev, to_weights, 3, err);
}

static int attention_backward(struct jrl_pass *pass, const struct jrl_layer *layer, struct jrl_layer_gradients *g, const float *x_in,
                              const float *lse, float *dx, struct jrl_error *err)
{
    const struct jrl_model *m = pass->model;
    const struct jrl_model_config *c = &m->config;
    const int64_t q_dim = c->n_heads * c->head_dim, width = q_dim + 2 * c->n_kv_heads * c->head_dim, n_rows = pass->n_rows;
    float *dmixed = NULL, *dqkv = NULL, *dnormed = NULL;
    const void *dy = NULL, *dqkv_rounded = NULL;
    struct jrl_matmul to_o;
    int rc;

    if ((rc = jrl_workspace_need(pass->ws, JRL_WS_DMIXED, n_rows * q_dim, 4, &dmixed, err)) < 0 ||
        (rc = jrl_workspace_need(pass->ws, JRL_WS_DQKV, n_rows * width, 4, &dqkv, err)) < 0 ||
        (rc = jrl_workspace_need(pass->ws, JRL_WS_DNORMED, n_rows * c->dim, 4, &dnormed, err)) < 0 ||
        (rc = as_operand(pass, JRL_WS_DX_ROUNDED, dx, n_rows * c->dim, &dy, err)) < 0 ||
        (rc = input_gradient(pass, dmixed, dy, c->dim, c->dim, layer->o, q_dim, n_rows, false, err)) < 0)
        return rc;
    to_o = to_weight(pass, g->o, dy, c->dim, c->dim, pass->mixed, q_dim, n_rows);
    if ((rc = jrl_matmul_tn(m->dev, &to_o, err)) < 0 ||
        (rc = jrl_attention_backward(m->dev, &pass->attention, dqkv, dmixed, pass->q, pass->mixed, lse, err)) < 0)
        return rc;
    if (g->qkv_bias && (rc = jrl_bias_backward(m->dev, g->qkv_bias, dqkv, n_rows, width, err)) < 0)
        return rc;
    if ((rc = as_operand(pass, JRL_WS_DQKV_ROUNDED, dqkv, n_rows * width, &dqkv_rounded, err)) < 0 ||
        (rc = qkv_backward(pass, layer, g, dqkv_rounded, dnormed, err)) < 0)
        return rc;
    return jrl_rmsnorm_backward(m->dev, dx, g->attn_norm, dnormed, x_in, layer->attn_norm, m->dtype, c->norm_eps, n_rows, c->dim, err);
}

/* The attention block again, from the layer's input: x becomes the residual behind it. */
static int attention_recompute(struct jrl_pass *pass, const struct jrl_layer *layer, const float *x_in, float **x, float **lse, struct jrl_error *err)
{
    const struct jrl_model_config *c = &pass->model->config;
    int rc;

    if ((rc = jrl_workspace_need(pass->ws, JRL_WS_X, pass->n_rows * c->dim, 4, x, err)) < 0 ||
        (rc = jrl_workspace_need(pass->ws, JRL_WS_LSE, pass->n_rows * c->n_heads, 4, lse, err)) < 0)
        return rc;
    if ((rc = jrl_device_copy(pass->model->dev, *x, x_in, (size_t)(pass->n_rows * c->dim * 4), err)) < 0)
        return rc;
    return jrl_attention_block(pass, layer, *x, *lse, err);
}

int jrl_layer_backward(struct jrl_pass *pass, const struct jrl_layer *layer, struct jrl_layer_gradients *g, const float *x_in, float *dx,
                       struct jrl_error *err)
{
    const struct jrl_model *m = pass->model;
    float *x = pass->x_mid, *lse = pass->lse;
    int rc;

    if (x)
        rc = jrl_rmsnorm(m->dev, pass->normed, x_in, layer->attn_norm, m->dtype, m->config.norm_eps, pass->n_rows, m->config.dim, err);
    else
        rc = attention_recompute(pass, layer, x_in, &x, &lse, err);
    if (rc < 0 || (rc = mlp_backward(pass, layer, g, x, dx, err)) < 0)
        return rc;
    return attention_backward(pass, layer, g, x_in, lse, dx, err);
}
