/* forward.c - the forward pass over packed rows: scratch memory, the blocks of a layer, and
 * jrl_model_forward. Where a value is rounded to the model's dtype is listed in jrl-numerics(7). */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/gather.h"
#include "kernels/mlp.h"
#include "kernels/norm.h"
#include "model/workspace.h"

/* Rows of the MLP computed together: each part of the weights is packed once for so many. */
#define MLP_ROWS 2048
#define MLP_ROWS_GPU 8192 /* tiles of the way back for all processors, three times */

struct jrl_workspace *jrl_workspace_new(void)
{
    return jrl_xcalloc(1, sizeof(struct jrl_workspace));
}

/* Whether the program itself writes or reads it. */
static bool is_list(enum jrl_scratch which)
{
    return which == JRL_WS_IDS || which == JRL_WS_ROWS || which == JRL_WS_PICKED || which == JRL_WS_PAGE_TABLE || which == JRL_WS_HEAD_ROWS ||
           which == JRL_WS_TARGETS || which == JRL_WS_ANSWERS || which == JRL_WS_TOKENS;
}

static void release(struct jrl_workspace *ws, enum jrl_scratch which)
{
    if (is_list(which))
        free(ws->scratch[which].data);
    else
        jrl_device_free(ws->dev, ws->scratch[which].data);
    ws->scratch[which].data = NULL;
    ws->scratch[which].n_bytes = 0;
}

void jrl_workspace_free(struct jrl_workspace *ws)
{
    for (int i = 0; ws && i < JRL_WS_COUNT; i++) {
        release(ws, (enum jrl_scratch)i);
        jrl_device_free(ws->dev, ws->twin[i].data);
    }
    free(ws);
}

void jrl_workspace_use(struct jrl_workspace *ws, struct jrl_device *dev)
{
    ws->dev = dev;
}

void jrl_workspace_drop_kept(struct jrl_workspace *ws)
{
    for (int i = JRL_WS_KEPT_X; i <= JRL_WS_KEPT_GATED; i++)
        release(ws, (enum jrl_scratch)i);
}

int jrl_workspace_need(struct jrl_workspace *ws, enum jrl_scratch which, int64_t n, int64_t size_bytes, void *out, struct jrl_error *err)
{
    const size_t old_bytes = ws->scratch[which].n_bytes;
    size_t n_bytes = (size_t)n * (size_t)size_bytes;
    int rc;

    /* A buffer that grows takes a quarter more, so that sizes creeping up do not touch fresh memory each time; but no
     * more than the plan says. */
    if (old_bytes && old_bytes < n_bytes && n_bytes < old_bytes + old_bytes / 4)
        n_bytes = ws->expected[which] >= n_bytes && ws->expected[which] < old_bytes + old_bytes / 4 ? ws->expected[which] : old_bytes + old_bytes / 4;
    if (!ws->scratch[which].data || ws->scratch[which].n_bytes < n_bytes) {
        release(ws, which);
        if (is_list(which))
            rc = jrl_try_alloc_unset(&ws->scratch[which].data, n_bytes + 64, 1, "rows of a pass", err);
        else
            rc = jrl_device_alloc(ws->dev, &ws->scratch[which].data, n_bytes + 64, "activations", err);
        if (rc < 0)
            return rc;
        ws->scratch[which].n_bytes = n_bytes;
    }
    memcpy(out, &ws->scratch[which].data, sizeof(void *));
    return JRL_OK;
}

int jrl_workspace_on_device(struct jrl_workspace *ws, enum jrl_scratch which, size_t n_bytes, bool fill, void *out, struct jrl_error *err)
{
    int rc = JRL_OK;

    if (jrl_device_is_host(ws->dev)) {
        memcpy(out, &ws->scratch[which].data, sizeof(void *));
        return JRL_OK;
    }
    if (!ws->twin[which].data || ws->twin[which].n_bytes < n_bytes) {
        jrl_device_free(ws->dev, ws->twin[which].data);
        ws->twin[which].n_bytes = 0;
        if ((rc = jrl_device_alloc(ws->dev, &ws->twin[which].data, n_bytes + n_bytes / 4 + 64, "rows of a pass", err)) < 0)
            return rc;
        ws->twin[which].n_bytes = n_bytes + n_bytes / 4;
    }
    memcpy(out, &ws->twin[which].data, sizeof(void *));
    return fill ? jrl_device_upload(ws->dev, ws->twin[which].data, ws->scratch[which].data, n_bytes, err) : JRL_OK;
}

int jrl_pass_init(struct jrl_pass *pass, const struct jrl_model *model, struct jrl_workspace *ws, int64_t n_rows,
                  const struct jrl_attention_rows *seqs, int64_t n_seqs, struct jrl_error *err)
{
    const int rc = jrl_pass_buffers(pass, model, ws, n_rows, seqs, n_seqs, err);

    return rc < 0 ? rc : jrl_attention_bind(model->dev, &pass->attention, err);
}

int jrl_pass_buffers(struct jrl_pass *pass, const struct jrl_model *model, struct jrl_workspace *ws, int64_t n_rows,
                     const struct jrl_attention_rows *seqs, int64_t n_seqs, struct jrl_error *err)
{
    const struct jrl_model_config *c = &model->config;
    const int64_t bytes = jrl_dtype_bytes(model->dtype), q_dim = c->n_heads * c->head_dim, qkv_dim = q_dim + 2 * c->n_kv_heads * c->head_dim;
    int rc;

    *pass = (struct jrl_pass){ .model = model, .ws = ws, .n_rows = n_rows };
    pass->attention = (struct jrl_attention){ .dtype = model->dtype, .n_heads = c->n_heads, .n_kv_heads = c->n_kv_heads,
                                              .head_dim = c->head_dim, .n_rows = n_rows, .n_seqs = n_seqs, .seqs = seqs,
                                              .rope_cos = model->rope_cos, .rope_sin = model->rope_sin };
    if ((rc = jrl_workspace_need(ws, JRL_WS_NORMED, n_rows * c->dim, bytes, &pass->normed, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_QKV, n_rows * qkv_dim, 4, &pass->qkv, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_Q, n_rows * q_dim, bytes, &pass->q, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_MIXED, n_rows * q_dim, bytes, &pass->mixed, err)) < 0)
        return rc;
    return jrl_workspace_need(ws, JRL_WS_BIAS, qkv_dim, bytes, &pass->bias, err);
}

/* *bias: the three of a layer, which files keep apart, side by side: a few kilobytes are copied, unless that was done once. */
static int gather_bias(const struct jrl_pass *pass, const struct jrl_layer *layer, const void **bias, struct jrl_error *err)
{
    const struct jrl_model_config *c = &pass->model->config;
    const size_t bytes = (size_t)jrl_dtype_bytes(pass->model->dtype);
    const size_t q = (size_t)(c->n_heads * c->head_dim) * bytes, kv = (size_t)(c->n_kv_heads * c->head_dim) * bytes;
    struct jrl_device *dev = pass->model->dev;
    uint8_t *to = pass->bias;
    int rc;

    *bias = layer->qkv_bias;
    if (!layer->q_bias || layer->qkv_bias)
        return JRL_OK;
    *bias = to;
    if ((rc = jrl_device_copy(dev, to, layer->q_bias, q, err)) < 0 || (rc = jrl_device_copy(dev, to + q, layer->k_bias, kv, err)) < 0)
        return rc;
    return jrl_device_copy(dev, to + q + kv, layer->v_bias, kv, err);
}

/* A weight [n, k] as the operand of a product with rows of A. */
static struct jrl_matmul with_weight(const struct jrl_pass *pass, const void *weight, int64_t n, int64_t k)
{
    return (struct jrl_matmul){ .dtype = pass->model->dtype, .m = pass->n_rows, .n = n, .k = k, .b = weight, .lda = k, .ldb = k };
}

/* The products of a layer in their order. qkv = normed [q; k; v]^T, side by side. */
static struct jrl_matmul_group qkv_products(const struct jrl_pass *pass, const struct jrl_layer *layer)
{
    const struct jrl_model_config *c = &pass->model->config;
    const int64_t q_dim = c->n_heads * c->head_dim, kv_dim = c->n_kv_heads * c->head_dim;
    struct jrl_matmul_group g = { .n = 3 };

    g.p[0] = with_weight(pass, layer->q, q_dim, c->dim);
    g.p[1] = with_weight(pass, layer->k, kv_dim, c->dim);
    g.p[2] = with_weight(pass, layer->v, kv_dim, c->dim);
    for (int i = 0; i < 3; i++) {
        g.p[i].a = pass->normed;
        g.p[i].c = pass->qkv + (i == 0 ? 0 : q_dim + (i - 1) * kv_dim);
        g.p[i].ldc = q_dim + 2 * kv_dim;
    }
    return g;
}

static struct jrl_matmul_group output_product(const struct jrl_pass *pass, const struct jrl_layer *layer, float *x)
{
    const struct jrl_model_config *c = &pass->model->config;
    struct jrl_matmul_group g = { .n = 1 };

    g.p[0] = with_weight(pass, layer->o, c->dim, c->n_heads * c->head_dim);
    g.p[0].a = pass->mixed;
    g.p[0].c = x;
    g.p[0].ldc = c->dim;
    g.p[0].accumulate = true;
    return g;
}

/* Only what is needed to fetch them: jrl_mlp_forward makes these products. */
static struct jrl_matmul_group gate_and_up(const struct jrl_pass *pass, const struct jrl_layer *layer)
{
    const struct jrl_model_config *c = &pass->model->config;

    return (struct jrl_matmul_group){ .p = { with_weight(pass, layer->gate, c->mlp_dim, c->dim), with_weight(pass, layer->up, c->mlp_dim, c->dim) },
                                      .n = 2, .gated = true };
}

/* What comes after the MLP of a layer: the next layer or the head. */
static struct jrl_matmul_group products_after(const struct jrl_pass *pass, const struct jrl_layer *layer)
{
    const struct jrl_model *m = pass->model;

    if (layer + 1 < m->layers + m->config.n_layers)
        return qkv_products(pass, layer + 1);
    return (struct jrl_matmul_group){ .p = { with_weight(pass, m->head, m->config.vocab, m->config.dim) }, .n = 1 };
}

int jrl_attention_block(struct jrl_pass *pass, const struct jrl_layer *layer, float *x, float *lse, struct jrl_error *err)
{
    const struct jrl_model *m = pass->model;
    const struct jrl_model_config *c = &m->config;
    const struct jrl_matmul_group qkv = qkv_products(pass, layer), output = output_product(pass, layer, x), wide = gate_and_up(pass, layer);
    const void *bias = NULL;
    int rc;

    if ((rc = gather_bias(pass, layer, &bias, err)) < 0 ||
        (rc = jrl_rmsnorm(m->dev, pass->normed, x, layer->attn_norm, m->dtype, c->norm_eps, pass->n_rows, c->dim, err)) < 0 ||
        (rc = jrl_matmul_nt_group(m->dev, &qkv, &output, err)) < 0 ||
        (rc = jrl_qkv_rope(m->dev, &pass->attention, pass->q, pass->qkv, bias, err)) < 0 ||
        (rc = jrl_attention_forward(m->dev, &pass->attention, pass->mixed, lse, pass->q, err)) < 0)
        return rc;
    return jrl_matmul_nt_group(m->dev, &output, &wide, err);
}

int64_t jrl_mlp_rows(const struct jrl_device *dev, int64_t n_rows)
{
    const int64_t most = jrl_device_is_host(dev) ? MLP_ROWS : MLP_ROWS_GPU;

    return n_rows < most ? n_rows : most;
}

int jrl_mlp_block(struct jrl_pass *pass, const struct jrl_layer *layer, float *x, struct jrl_error *err)
{
    const struct jrl_model *m = pass->model;
    const struct jrl_model_config *c = &m->config;
    const struct jrl_matmul_group then = products_after(pass, layer);
    const int64_t most = jrl_mlp_rows(m->dev, pass->n_rows);
    struct jrl_mlp mlp = { .dtype = m->dtype, .dim = c->dim, .mlp_dim = c->mlp_dim, .normed = pass->normed,
                           .gate = layer->gate, .up = layer->up, .down = layer->down };
    int rc;

    if ((rc = jrl_workspace_need(pass->ws, JRL_WS_ACT, most * c->mlp_dim, jrl_dtype_bytes(m->dtype), &mlp.act, err)) < 0)
        return rc;
    for (int64_t at = 0; at < pass->n_rows; at += most) {
        mlp.rows = pass->n_rows - at < most ? pass->n_rows - at : most;
        mlp.x = x + at * c->dim;
        mlp.kept = (struct jrl_gated_kept){ pass->gate_and_up, pass->n_rows, at };
        if ((rc = jrl_rmsnorm(m->dev, pass->normed, mlp.x, layer->mlp_norm, m->dtype, c->norm_eps, mlp.rows, c->dim, err)) < 0 ||
            (rc = jrl_mlp_forward(m->dev, &mlp, &then, err)) < 0)
            return rc;
    }
    return JRL_OK;
}

int jrl_head_block(const struct jrl_model *m, const float *x, void *normed, float *logits, int64_t n_rows, struct jrl_error *err)
{
    const struct jrl_model_config *c = &m->config;
    const struct jrl_matmul head = { .dtype = m->dtype, .m = n_rows, .n = c->vocab, .k = c->dim, .a = normed, .lda = c->dim,
                                     .b = m->head, .ldb = c->dim, .c = logits, .ldc = c->vocab };
    int rc = jrl_rmsnorm(m->dev, normed, x, m->final_norm, m->dtype, c->norm_eps, n_rows, c->dim, err);

    return rc < 0 ? rc : jrl_matmul_nt(m->dev, &head, err);
}

int jrl_pass_layers(struct jrl_pass *pass, float *x, struct jrl_error *err)
{
    const struct jrl_model *m = pass->model;
    const int64_t layer_page_bytes = jrl_page_bytes(m->dtype, m->config.n_kv_heads, m->config.head_dim);
    int rc;

    for (int64_t i = 0; i < m->config.n_layers; i++) {
        pass->attention.page_offset = i * layer_page_bytes;
        if ((rc = jrl_attention_block(pass, &m->layers[i], x, NULL, err)) < 0 || (rc = jrl_mlp_block(pass, &m->layers[i], x, err)) < 0)
            return rc;
    }
    return JRL_OK;
}

int64_t jrl_model_page_bytes(const struct jrl_model *model)
{
    return model->config.n_layers * jrl_page_bytes(model->dtype, model->config.n_kv_heads, model->config.head_dim);
}

/* Token ids and attention rows of the spans, one behind the other. */
static int pack_spans(const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_span *spans, int64_t n_spans,
                      int64_t *n_rows, uint32_t **ids, struct jrl_attention_rows **seqs, struct jrl_error *err)
{
    int64_t n = 0;
    int rc;

    jrl_workspace_use(ws, model->dev);
    for (int64_t i = 0; i < n_spans; i++) {
        if (spans[i].n < 0 || spans[i].start < 0 || spans[i].start + spans[i].n > model->n_positions)
            return jrl_fail(err, JRL_ERR_RUN, "positions %lld to %lld of a sequence do not fit the %lld positions of the model",
                            (long long)spans[i].start, (long long)(spans[i].start + spans[i].n), (long long)model->n_positions);
        n += spans[i].n;
    }
    if ((rc = jrl_workspace_need(ws, JRL_WS_IDS, n, sizeof(**ids), ids, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_ROWS, n_spans, sizeof(**seqs), seqs, err)) < 0)
        return rc;
    n = 0;
    for (int64_t i = 0; i < n_spans; i++) {
        (*seqs)[i] = (struct jrl_attention_rows){ .first_row = n, .n_rows = spans[i].n, .first_position = spans[i].start, .pages = spans[i].pages };
        for (int64_t j = 0; j < spans[i].n; j++) {
            if (spans[i].tokens[j] >= model->config.vocab)
                return jrl_fail(err, JRL_ERR_INPUT, "token id %lu has no row in the embedding of %lld", (unsigned long)spans[i].tokens[j],
                                (long long)model->config.vocab);
            (*ids)[n++] = spans[i].tokens[j];
        }
    }
    *n_rows = n;
    return jrl_workspace_on_device(ws, JRL_WS_IDS, (size_t)n * sizeof(**ids), true, ids, err);
}

/* Final norm and head on the wanted rows only. */
static int wanted_logits(const struct jrl_model *model, struct jrl_workspace *ws, const float *x, int64_t n_rows, const int64_t *rows,
                         int64_t n, float **logits, struct jrl_error *err)
{
    const int64_t dim = model->config.dim;
    int64_t *picked = NULL;
    float *wanted = NULL;
    void *normed = NULL;
    int rc;

    if ((rc = jrl_workspace_need(ws, JRL_WS_PICKED, n, sizeof(*picked), &picked, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_HEAD_X, n * dim, 4, &wanted, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_HEAD_NORMED, n * dim, jrl_dtype_bytes(model->dtype), &normed, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_LOGITS, n * model->config.vocab, 4, logits, err)) < 0)
        return rc;
    for (int64_t i = 0; i < n; i++) {
        if (rows[i] < 0 || rows[i] >= n_rows)
            return jrl_fail(err, JRL_ERR_RUN, "logits of row %lld are wanted, there are %lld rows", (long long)rows[i], (long long)n_rows);
        picked[i] = rows[i];
    }
    if ((rc = jrl_workspace_on_device(ws, JRL_WS_PICKED, (size_t)n * sizeof(*picked), true, &picked, err)) < 0 ||
        (rc = jrl_gather_rows(model->dev, wanted, x, picked, n, dim, err)) < 0)
        return rc;
    return jrl_head_block(model, wanted, normed, *logits, n, err);
}

int jrl_model_forward(const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_span *spans, int64_t n_spans,
                      const int64_t *logits_rows, int64_t n_logits_rows, float **logits, struct jrl_error *err)
{
    const int64_t dim = model->config.dim;
    struct jrl_attention_rows *seqs = NULL;
    struct jrl_pass pass;
    uint32_t *ids = NULL;
    int64_t n_rows = 0;
    float *x = NULL;
    int rc;

    if ((rc = pack_spans(model, ws, spans, n_spans, &n_rows, &ids, &seqs, err)) < 0 ||
        (rc = jrl_pass_init(&pass, model, ws, n_rows, seqs, n_spans, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_X, n_rows * dim, 4, &x, err)) < 0 ||
        (rc = jrl_embedding(model->dev, x, model->embedding, model->dtype, ids, n_rows, dim, err)) < 0)
        return rc;
    if ((rc = jrl_pass_layers(&pass, x, err)) < 0)
        return rc;
    return wanted_logits(model, ws, x, n_rows, logits_rows, n_logits_rows, logits, err);
}
