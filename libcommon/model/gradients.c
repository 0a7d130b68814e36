/* gradients.c - the running gradients of a model: one flat f32 array in parameter order, and beside it what
 * must accumulate apart so that sums keep the token order. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/vmath.h"
#include "model/workspace.h"

static float *place_of(const struct jrl_gradients *g, const char *name)
{
    for (int64_t low = 0, high = g->n_parameters; low < high;) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(g->parameters[middle].name, name);

        if (order == 0)
            return g->data + g->parameters[middle].offset;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static float *layer_place(const struct jrl_gradients *g, int64_t layer, const char *name)
{
    char *full = jrl_xasprintf("model.layers.%lld.%s", (long long)layer, name);
    float *data = place_of(g, full);

    free(full);
    return data;
}

static int64_t qkv_dim(const struct jrl_model_config *c)
{
    return (c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
}

static void set_pointers(struct jrl_gradients *g)
{
    g->embedding = place_of(g, "model.embed_tokens.weight");
    g->final_norm = place_of(g, "model.norm.weight");
    g->head = g->tied_head ? g->tied_head : place_of(g, "lm_head.weight");
    g->layers = jrl_xcalloc((size_t)g->config.n_layers, sizeof(*g->layers));
    for (int64_t i = 0; i < g->config.n_layers; i++)
        g->layers[i] = (struct jrl_layer_gradients){
            .attn_norm = layer_place(g, i, "input_layernorm.weight"),
            .q = layer_place(g, i, "self_attn.q_proj.weight"),
            .k = layer_place(g, i, "self_attn.k_proj.weight"),
            .v = layer_place(g, i, "self_attn.v_proj.weight"),
            .o = layer_place(g, i, "self_attn.o_proj.weight"),
            .mlp_norm = layer_place(g, i, "post_attention_layernorm.weight"),
            .gate = layer_place(g, i, "mlp.gate_proj.weight"),
            .up = layer_place(g, i, "mlp.up_proj.weight"),
            .down = layer_place(g, i, "mlp.down_proj.weight"),
            .qkv_bias = g->biases ? g->biases + i * qkv_dim(&g->config) : NULL,
        };
}

int jrl_gradients_new(struct jrl_gradients **out, const struct jrl_model *model, struct jrl_error *err)
{
    struct jrl_gradients *g = jrl_xcalloc(1, sizeof(*g));
    const struct jrl_model_config *c = &model->config;
    void *data = NULL, *head = NULL, *biases = NULL;
    int rc;

    *out = NULL;
    g->dev = model->dev;
    g->config = *c;
    g->n_parameters = jrl_config_parameters(c, &g->parameters, &g->n_total);
    rc = jrl_device_alloc(g->dev, &data, (size_t)g->n_total * sizeof(float), "gradients", err);
    if (rc == JRL_OK && c->tied)
        rc = jrl_device_alloc(g->dev, &head, (size_t)(c->vocab * c->dim) * sizeof(float), "gradients of the head", err);
    if (rc == JRL_OK && c->qkv_bias)
        rc = jrl_device_alloc(g->dev, &biases, (size_t)(c->n_layers * qkv_dim(c)) * sizeof(float), "gradients of the biases", err);
    g->data = data;
    g->tied_head = head;
    g->biases = biases;
    if (rc < 0) {
        jrl_gradients_free(g);
        return rc;
    }
    set_pointers(g);
    *out = g;
    return JRL_OK;
}

void jrl_gradients_free(struct jrl_gradients *g)
{
    if (!g)
        return;
    jrl_parameters_free(g->parameters, g->n_parameters);
    jrl_device_free(g->dev, g->data);
    jrl_device_free(g->dev, g->tied_head);
    jrl_device_free(g->dev, g->biases);
    free(g->layers);
    free(g);
}

int jrl_gradients_zero(struct jrl_gradients *g, struct jrl_error *err)
{
    const struct jrl_model_config *c = &g->config;
    int rc = jrl_device_zero(g->dev, g->data, (size_t)g->n_total * 4, err);

    if (rc == JRL_OK && g->tied_head)
        rc = jrl_device_zero(g->dev, g->tied_head, (size_t)(c->vocab * c->dim) * 4, err);
    if (rc == JRL_OK && g->biases)
        rc = jrl_device_zero(g->dev, g->biases, (size_t)(c->n_layers * qkv_dim(c)) * 4, err);
    return rc;
}

int jrl_gradients_finish(struct jrl_gradients *g, struct jrl_error *err)
{
    const struct jrl_model_config *c = &g->config;
    const int64_t q_dim = c->n_heads * c->head_dim, kv_dim = c->n_kv_heads * c->head_dim;
    int rc = JRL_OK;

    for (int64_t i = 0; g->biases && i < c->n_layers && rc == JRL_OK; i++) {
        const float *from = g->layers[i].qkv_bias;

        if ((rc = jrl_device_copy(g->dev, layer_place(g, i, "self_attn.q_proj.bias"), from, (size_t)q_dim * 4, err)) == JRL_OK &&
            (rc = jrl_device_copy(g->dev, layer_place(g, i, "self_attn.k_proj.bias"), from + q_dim, (size_t)kv_dim * 4, err)) == JRL_OK)
            rc = jrl_device_copy(g->dev, layer_place(g, i, "self_attn.v_proj.bias"), from + q_dim + kv_dim, (size_t)kv_dim * 4, err);
    }
    return rc == JRL_OK && g->tied_head ? jrl_add(g->dev, g->embedding, g->tied_head, c->vocab * c->dim, err) : rc;
}

float *jrl_gradients_data(struct jrl_gradients *g, int64_t *n)
{
    *n = g->n_total;
    return g->data;
}
