/* train.c - scoring and the training pass over whole sequences: forward with the layer inputs (or all activations) kept, head and
 * objective chunk by chunk, then the layers backwards. */
#include "base/machine.h"
#include "base/trace.h"
#include "kernels/gated.h"
#include "kernels/norm.h"
#include "model/workspace.h"

struct jrl_pass_seconds jrl_workspace_seconds(const struct jrl_workspace *ws)
{
    return ws->seconds;
}

void jrl_workspace_trace(struct jrl_workspace *ws, struct jrl_trace *trace)
{
    ws->trace = trace;
}

/* A part of a pass over N_ROWS rows that began at *start is over, also on the device, and the next begins. */
static int end_part(struct jrl_workspace *ws, const char *name, double *start, double *seconds, int64_t n_rows, struct jrl_error *err)
{
    const int rc = jrl_device_synchronise(ws->dev, err);

    jrl_trace_part(ws->trace, name, *start, "rows", n_rows);
    *seconds -= *start;
    *start = jrl_clock();
    *seconds += *start;
    return rc;
}

/* Room for activations of all layers; those that are NULL the backward computes again, with the same bits. */
struct kept {
    float *x_mid, *lse, *gate_and_up;
    uint8_t *q, *mixed;
};

static int keep_activations(struct kept *k, struct jrl_pass *pass, struct jrl_error *err)
{
    const struct jrl_model_config *c = &pass->model->config;
    const int64_t n = pass->n_rows * c->n_layers, q_dim = c->n_heads * c->head_dim, bytes = jrl_dtype_bytes(pass->model->dtype);
    struct jrl_workspace *ws = pass->ws;
    int rc;

    *k = (struct kept){ 0 };
    if (pass->n_rows > ws->keep_rows) {
        jrl_workspace_drop_kept(ws);
        return JRL_OK;
    }
    if ((rc = jrl_workspace_need(ws, JRL_WS_KEPT_X, n * c->dim, 4, &k->x_mid, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_KEPT_Q, n * q_dim, bytes, &k->q, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_KEPT_MIXED, n * q_dim, bytes, &k->mixed, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_KEPT_LSE, n * c->n_heads, 4, &k->lse, err)) < 0)
        return rc;
    return ws->keep < JRL_KEEP_ALL ? JRL_OK : jrl_workspace_need(ws, JRL_WS_KEPT_GATED, jrl_gated_kept_floats(n, c->mlp_dim), 4, &k->gate_and_up, err);
}

/* Point the pass at what is kept of a layer. */
static void use_layer(struct jrl_pass *pass, const struct kept *k, int64_t layer)
{
    const struct jrl_model_config *c = &pass->model->config;
    const int64_t at = layer * pass->n_rows, q_dim = c->n_heads * c->head_dim, bytes = jrl_dtype_bytes(pass->model->dtype);

    if (!k->x_mid)
        return;
    pass->x_mid = k->x_mid + at * c->dim;
    pass->q = k->q + at * q_dim * bytes;
    pass->mixed = k->mixed + at * q_dim * bytes;
    pass->lse = k->lse + at * c->n_heads;
    pass->gate_and_up = k->gate_and_up ? k->gate_and_up + jrl_gated_kept_floats(at, c->mlp_dim) : NULL;
    pass->attention.page_offset = at / JRL_PAGE_TOKENS * jrl_page_bytes(pass->model->dtype, c->n_kv_heads, c->head_dim);
}

/* The forward pass over a pack. SAVED: [n_layers + 1][n_rows, dim], the input of each layer and the final
 * residual; with KEPT NULL only one of them exists and *last is it. */
static int forward(struct jrl_pass *pass, const struct jrl_pack *pack, const struct kept *kept, float **saved, float **last, struct jrl_error *err)
{
    const bool keep = kept != NULL;
    const struct jrl_model *m = pass->model;
    const int64_t n = pack->n_rows * m->config.dim;
    float *x;
    int rc;

    if ((rc = jrl_workspace_need(pass->ws, JRL_WS_SAVED, n * (keep ? m->config.n_layers + 1 : 1), 4, saved, err)) < 0 ||
        (rc = jrl_embedding(m->dev, *saved, m->embedding, m->dtype, pack->ids, pack->n_rows, m->config.dim, err)) < 0)
        return rc;
    x = *saved;
    for (int64_t i = 0; i < m->config.n_layers; i++) {
        if (keep) {
            if ((rc = jrl_device_copy(m->dev, x + n, x, (size_t)n * 4, err)) < 0)
                return rc;
            x += n;
            use_layer(pass, kept, i);
        }
        if ((rc = jrl_attention_block(pass, &m->layers[i], x, pass->lse, err)) < 0 ||
            (pass->x_mid && (rc = jrl_device_copy(m->dev, pass->x_mid, x, (size_t)n * 4, err)) < 0) ||
            (rc = jrl_mlp_block(pass, &m->layers[i], x, err)) < 0)
            return rc;
    }
    *last = x;
    return JRL_OK;
}

int jrl_score(const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_sequence *seqs, int64_t n_seqs,
              double temperature, float *logprobs, float *entropies, struct jrl_error *err)
{
    struct jrl_head_chunk chunk;
    struct jrl_pack pack;
    struct jrl_pass pass;
    float *saved = NULL, *x = NULL;
    double start = jrl_clock();
    int rc;

    if ((rc = jrl_pack_init(&pack, model, ws, seqs, n_seqs, false, err)) < 0 ||
        (rc = jrl_pass_init(&pass, model, ws, pack.n_rows, pack.rows, n_seqs, err)) < 0 ||
        (rc = forward(&pass, &pack, NULL, &saved, &x, err)) < 0 ||
        (rc = end_part(ws, "forward", &start, &ws->seconds.forward, pack.n_rows, err)) < 0)
        return rc;
    for (int64_t at = 0; at < pack.n_head_rows; at += chunk.n)
        if ((rc = jrl_head_chunk_forward(&chunk, model, ws, &pack, at, temperature, x, err)) < 0)
            return rc;
    rc = jrl_pack_answers(&pack, ws, logprobs, entropies, err);
    return rc < 0 ? rc : end_part(ws, "head", &start, &ws->seconds.head, pack.n_head_rows, err);
}

int jrl_train(const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_sequence *seqs, int64_t n_seqs, double temperature,
              const struct jrl_objective *objective, const struct jrl_objective_token *tokens, float *logprobs, float *entropies, struct jrl_gradients *g,
              struct jrl_error *err)
{
    const int64_t dim = model->config.dim;
    struct jrl_head_chunk chunk;
    struct jrl_pack pack;
    struct jrl_pass pass;
    struct kept kept;
    float *saved = NULL, *x = NULL, *dx = NULL;
    double start = jrl_clock();
    int rc;

    if ((rc = jrl_pack_init(&pack, model, ws, seqs, n_seqs, true, err)) < 0 ||
        (rc = jrl_pass_init(&pass, model, ws, pack.n_rows, pack.rows, n_seqs, err)) < 0 || (rc = keep_activations(&kept, &pass, err)) < 0 ||
        (rc = forward(&pass, &pack, &kept, &saved, &x, err)) < 0 || (rc = jrl_workspace_need(ws, JRL_WS_DX, pack.n_rows * dim, 4, &dx, err)) < 0 ||
        (rc = jrl_device_zero(model->dev, dx, (size_t)(pack.n_rows * dim * 4), err)) < 0 ||
        (rc = end_part(ws, "forward", &start, &ws->seconds.forward, pack.n_rows, err)) < 0)
        return rc;
    for (int64_t at = 0; at < pack.n_head_rows; at += chunk.n)
        if ((rc = jrl_head_chunk_forward(&chunk, model, ws, &pack, at, temperature, x, err)) < 0 ||
            (rc = jrl_head_chunk_backward(&chunk, model, ws, &pack, temperature, objective, tokens, g, dx, err)) < 0)
            return rc;
    if ((rc = jrl_pack_answers(&pack, ws, logprobs, entropies, err)) < 0 ||
        (rc = end_part(ws, "head", &start, &ws->seconds.head, pack.n_head_rows, err)) < 0)
        return rc;
    for (int64_t i = model->config.n_layers - 1; i >= 0; i--) {
        use_layer(&pass, &kept, i);
        if ((rc = jrl_layer_backward(&pass, &model->layers[i], &g->layers[i], saved + i * pack.n_rows * dim, dx, err)) < 0)
            return rc;
    }
    rc = jrl_embedding_backward(model->dev, g->embedding, dx, pack.ids, pack.n_rows, dim, err);
    return rc < 0 ? rc : end_part(ws, "backward", &start, &ws->seconds.backward, pack.n_rows, err);
}
