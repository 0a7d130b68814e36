/* model.c - a policy in compute form: which weights are used where they lie and which are converted, and
 * the pointers of each layer. The passes are in forward.c and train.c. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/vmath.h"
#include "model/internal.h"
#include "model/train.h"

#define SEND_ELEMENTS ((int64_t)1 << 20) /* converted at a time on their way to a GPU */

int64_t jrl_parameters(const struct jrl_model *model, struct jrl_parameter **out)
{
    return jrl_config_parameters(&model->config, out, NULL);
}

/* Parameters and, in the same order, where their elements are. */
struct places {
    struct jrl_parameter *parameters;
    const void **data;
    int64_t n, n_total;
};

static void places_init(struct places *p, const struct jrl_model_config *config)
{
    p->n = jrl_config_parameters(config, &p->parameters, &p->n_total);
    p->data = jrl_xcalloc((size_t)p->n, sizeof(*p->data));
}

static void places_release(struct places *p)
{
    jrl_parameters_free(p->parameters, p->n);
    free(p->data);
}

static const void *place_of(const struct places *p, const char *name)
{
    for (int64_t low = 0, high = p->n; low < high;) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(p->parameters[middle].name, name);

        if (order == 0)
            return p->data[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const void *layer_place(const struct places *p, int64_t layer, const char *name)
{
    char *full = jrl_xasprintf("model.layers.%lld.%s", (long long)layer, name);
    const void *data = place_of(p, full);

    free(full);
    return data;
}

static void set_pointers(struct jrl_model *model, const struct places *p)
{
    model->embedding = place_of(p, "model.embed_tokens.weight");
    model->final_norm = place_of(p, "model.norm.weight");
    model->head = model->config.tied ? model->embedding : place_of(p, "lm_head.weight");
    for (int64_t i = 0; i < model->config.n_layers; i++)
        model->layers[i] = (struct jrl_layer){
            .attn_norm = layer_place(p, i, "input_layernorm.weight"),
            .q = layer_place(p, i, "self_attn.q_proj.weight"),
            .k = layer_place(p, i, "self_attn.k_proj.weight"),
            .v = layer_place(p, i, "self_attn.v_proj.weight"),
            .o = layer_place(p, i, "self_attn.o_proj.weight"),
            .q_bias = layer_place(p, i, "self_attn.q_proj.bias"),
            .k_bias = layer_place(p, i, "self_attn.k_proj.bias"),
            .v_bias = layer_place(p, i, "self_attn.v_proj.bias"),
            .mlp_norm = layer_place(p, i, "post_attention_layernorm.weight"),
            .gate = layer_place(p, i, "mlp.gate_proj.weight"),
            .up = layer_place(p, i, "mlp.up_proj.weight"),
            .down = layer_place(p, i, "mlp.down_proj.weight"),
        };
}

static bool usable_in_place(const struct jrl_tensor *t, enum jrl_dtype dtype)
{
    return t->dtype == dtype && (uintptr_t)t->data % (uintptr_t)jrl_dtype_bytes(dtype) == 0;
}

int64_t jrl_model_owned_bytes(const struct jrl_policy *policy, enum jrl_dtype dtype, bool all)
{
    int64_t n = 0;

    for (int64_t i = 0; i < jrl_policy_n_tensors(policy); i++) {
        const struct jrl_tensor *t = jrl_policy_tensor(policy, i);

        n += usable_in_place(t, dtype) && !all ? 0 : (t->n_elements + 31) / 32 * 32;
    }
    return n * jrl_dtype_bytes(dtype);
}

/* One tensor, as DTYPE, to the memory of a device; piece by piece where it is converted first. */
static int send_tensor(struct jrl_device *dev, const struct jrl_tensor *t, enum jrl_dtype dtype, void *to, struct jrl_error *err)
{
    const int64_t bytes = jrl_dtype_bytes(dtype);
    void *converted = NULL;
    int rc;

    if (t->dtype == dtype)
        return jrl_device_upload(dev, to, t->data, (size_t)(t->n_elements * bytes), err);
    rc = jrl_try_alloc_unset(&converted, SEND_ELEMENTS, (size_t)bytes, "a converted tensor", err);
    for (int64_t at = 0; at < t->n_elements && rc == JRL_OK; at += SEND_ELEMENTS) {
        struct jrl_tensor piece = *t;

        piece.data = (const uint8_t *)t->data + at * jrl_dtype_bytes(t->dtype);
        piece.n_elements = t->n_elements - at < SEND_ELEMENTS ? t->n_elements - at : SEND_ELEMENTS;
        if ((rc = jrl_tensor_convert(jrl_device_host(dev), &piece, converted, dtype, NULL, err)) == JRL_OK)
            rc = jrl_device_upload(dev, (uint8_t *)to + at * bytes, converted, (size_t)(piece.n_elements * bytes), err);
    }
    free(converted);
    return rc;
}

/* Fills p->data with places in the device's own memory. */
static int send_weights(struct jrl_model *model, const struct jrl_policy *policy, struct places *p, struct jrl_error *err)
{
    uint8_t *to;
    int rc = jrl_device_alloc(model->dev, &model->owned, (size_t)jrl_model_owned_bytes(policy, model->dtype, true), "weights", err);

    to = model->owned;
    for (int64_t i = 0; i < p->n && rc == JRL_OK; i++) {
        const struct jrl_tensor *t = jrl_policy_tensor(policy, i);

        rc = send_tensor(model->dev, t, model->dtype, to, err);
        p->data[i] = to;
        to += (t->n_elements + 31) / 32 * 32 * jrl_dtype_bytes(model->dtype);
    }
    return rc;
}

/* The biases of each layer side by side, once: on a GPU three small copies a layer and step would be noticed. */
static int lay_biases(struct jrl_model *model, struct jrl_error *err)
{
    const struct jrl_model_config *c = &model->config;
    const size_t bytes = (size_t)jrl_dtype_bytes(model->dtype), q = (size_t)(c->n_heads * c->head_dim) * bytes, kv = (size_t)(c->n_kv_heads * c->head_dim) * bytes;
    uint8_t *to;
    int rc = JRL_OK;

    if (!c->qkv_bias)
        return JRL_OK;
    if ((rc = jrl_device_alloc(model->dev, &model->biases, (q + 2 * kv) * (size_t)c->n_layers, "biases", err)) < 0)
        return rc;
    to = model->biases;
    for (int64_t i = 0; i < c->n_layers && rc == JRL_OK; i++, to += q + 2 * kv) {
        struct jrl_layer *layer = &model->layers[i];

        layer->qkv_bias = to;
        if ((rc = jrl_device_copy(model->dev, to, layer->q_bias, q, err)) == JRL_OK &&
            (rc = jrl_device_copy(model->dev, to + q, layer->k_bias, kv, err)) == JRL_OK)
            rc = jrl_device_copy(model->dev, to + q + kv, layer->v_bias, kv, err);
    }
    return rc;
}

/* Fills p->data: into the mapping where type and alignment allow, else into model->owned. */
static int place_weights(struct jrl_model *model, const struct jrl_policy *policy, struct places *p, struct jrl_error *err)
{
    const int64_t bytes = jrl_dtype_bytes(model->dtype), n_owned = jrl_model_owned_bytes(policy, model->dtype, false);
    uint8_t *to;
    int rc;

    if (!jrl_device_is_host(model->dev))
        return send_weights(model, policy, p, err);
    if (n_owned == 0)
        model->owned = NULL;
    else if ((rc = jrl_try_alloc(&model->owned, (size_t)n_owned, 1, "converted weights", err)) < 0)
        return rc;
    to = model->owned;
    for (int64_t i = 0; i < p->n; i++) {
        const struct jrl_tensor *t = jrl_policy_tensor(policy, i);

        if (usable_in_place(t, model->dtype)) {
            p->data[i] = t->data;
            continue;
        }
        if ((rc = jrl_tensor_convert(model->dev, t, to, model->dtype, NULL, err)) < 0)
            return rc;
        p->data[i] = to;
        to += (t->n_elements + 31) / 32 * 32 * bytes;
    }
    return JRL_OK;
}

static int check_finite(const struct jrl_policy *policy, struct jrl_device *dev, struct jrl_error *err)
{
    const int64_t n = jrl_policy_n_tensors(policy);
    const struct jrl_tensor **tensors = jrl_xcalloc((size_t)n, sizeof(*tensors));
    int rc;

    for (int64_t i = 0; i < n; i++)
        tensors[i] = jrl_policy_tensor(policy, i);
    rc = jrl_tensors_check_finite(tensors, n, jrl_device_pool(dev), jrl_policy_dir(policy), err);
    free(tensors);
    return rc;
}

int jrl_model_dtype(enum jrl_dtype *out, const struct jrl_model_config *config, const char *name, struct jrl_error *err)
{
    if (strcmp(name, "auto") == 0)
        *out = config->dtype == JRL_F32 ? JRL_F32 : JRL_BF16;
    else if (strcmp(name, "bf16") == 0)
        *out = JRL_BF16;
    else if (strcmp(name, "f32") == 0)
        *out = JRL_F32;
    else
        return jrl_fail(err, JRL_ERR_USAGE, "dtype '%s' is not one of auto, bf16, f32", name);
    return JRL_OK;
}

static int make_rope(struct jrl_model *model, int64_t n_positions, struct jrl_error *err)
{
    const struct jrl_model_config *c = &model->config;
    int64_t n;
    void *table;
    int rc;

    if (n_positions > c->max_positions)
        return jrl_fail(err, JRL_ERR_USAGE, "sequences of %lld tokens do not fit: the model has %lld positions", (long long)n_positions,
                        (long long)c->max_positions);
    model->n_positions = n_positions > 0 ? n_positions : c->max_positions;
    n = model->n_positions * (c->head_dim / 2);
    if ((rc = jrl_try_alloc(&table, (size_t)model->n_positions, (size_t)c->head_dim * sizeof(float), "the rotary table", err)) < 0)
        return rc;
    jrl_rope_table(table, (float *)table + n, model->n_positions, c->head_dim, c->rope_theta);
    if (!jrl_device_is_host(model->dev)) {
        const size_t n_bytes = (size_t)(2 * n) * sizeof(float);
        void *there = NULL;

        if ((rc = jrl_device_alloc(model->dev, &there, n_bytes, "the rotary table", err)) == JRL_OK)
            rc = jrl_device_upload(model->dev, there, table, n_bytes, err);
        free(table);
        table = there;
    }
    model->rope_cos = table;
    model->rope_sin = model->rope_cos + n;
    return rc;
}

int jrl_model_open_unbound(struct jrl_model *model, struct jrl_device *dev, struct jrl_policy *policy, const char *dtype_name,
                           int64_t n_positions, struct jrl_error *err)
{
    int rc;

    *model = (struct jrl_model){ .config = *jrl_policy_config(policy), .dev = dev };
    model->layers = jrl_xcalloc((size_t)model->config.n_layers, sizeof(*model->layers));
    if ((rc = jrl_model_dtype(&model->dtype, &model->config, dtype_name, err)) < 0 || (rc = make_rope(model, n_positions, err)) < 0 ||
        (rc = check_finite(policy, dev, err)) < 0)
        jrl_model_close(model);
    return rc;
}

int jrl_model_open(struct jrl_model *model, struct jrl_device *dev, struct jrl_policy *policy, const char *dtype_name,
                   int64_t n_positions, struct jrl_error *err)
{
    struct places places = { 0 };
    int rc = jrl_model_open_unbound(model, dev, policy, dtype_name, n_positions, err);

    if (rc < 0)
        return rc;
    places_init(&places, &model->config);
    if ((rc = place_weights(model, policy, &places, err)) == JRL_OK) {
        set_pointers(model, &places);
        rc = jrl_device_is_host(dev) ? JRL_OK : lay_biases(model, err);
    }
    if (rc < 0)
        jrl_model_close(model);
    places_release(&places);
    return rc;
}

void jrl_model_close(struct jrl_model *model)
{
    free(model->layers);
    jrl_device_free(model->dev, model->rope_cos);
    jrl_device_free(model->dev, model->owned);
    jrl_device_free(model->dev, model->biases);
    *model = (struct jrl_model){ .n_positions = 0 };
}

int jrl_model_bind(struct jrl_model *model, void *weights, struct jrl_error *err)
{
    struct places places = { 0 };

    if ((uintptr_t)weights % (uintptr_t)jrl_dtype_bytes(model->dtype) != 0)
        return jrl_fail(err, JRL_ERR_RUN, "weights to bind are not aligned");
    places_init(&places, &model->config);
    for (int64_t i = 0; i < places.n; i++)
        places.data[i] = (uint8_t *)weights + places.parameters[i].offset * jrl_dtype_bytes(model->dtype);
    set_pointers(model, &places);
    places_release(&places);
    jrl_device_free(model->dev, model->owned);
    jrl_device_free(model->dev, model->biases);
    model->owned = model->biases = NULL;
    return JRL_OK;
}

/* A tensor as a weight and as its master. A GPU makes one of them from the other, so that the fewer bytes travel. */
static int load_tensor(const struct jrl_model *model, const struct jrl_tensor *t, void *weight, float *master, struct jrl_error *err)
{
    int rc;

    if (jrl_device_is_host(model->dev))
        return jrl_tensor_convert(model->dev, t, weight, model->dtype, master, err);
    if (t->dtype == JRL_BF16 && model->dtype == JRL_BF16) {
        rc = send_tensor(model->dev, t, JRL_BF16, weight, err);
        return rc < 0 ? rc : jrl_convert_to_f32(model->dev, master, weight, JRL_BF16, t->n_elements, err);
    }
    rc = send_tensor(model->dev, t, JRL_F32, master, err);
    return rc < 0 ? rc : jrl_convert_from_f32(model->dev, weight, model->dtype, master, t->n_elements, err);
}

int jrl_weights_load(const struct jrl_model *model, const struct jrl_policy *policy, void *weights, float *master, struct jrl_error *err)
{
    const int64_t bytes = jrl_dtype_bytes(model->dtype);
    struct jrl_parameter *parameters = NULL;
    int64_t n_total, n = jrl_config_parameters(&model->config, &parameters, &n_total);
    int rc = JRL_OK;

    for (int64_t i = 0; i < n && rc == JRL_OK; i++) {
        const struct jrl_parameter *p = &parameters[i];
        const int64_t end = p->offset + p->n_elements, next = i + 1 < n ? parameters[i + 1].offset : n_total;

        if ((rc = load_tensor(model, jrl_policy_tensor(policy, i), (uint8_t *)weights + p->offset * bytes, master + p->offset, err)) == JRL_OK &&
            (rc = jrl_device_zero(model->dev, (uint8_t *)weights + end * bytes, (size_t)((next - end) * bytes), err)) == JRL_OK)
            rc = jrl_device_zero(model->dev, master + end, (size_t)(next - end) * sizeof(float), err);
    }
    jrl_parameters_free(parameters, n);
    return rc;
}
