/* shape.c - lists of sizes, known shapes, and the config.json of either. */
#include "model/shape.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"

static const struct known {
    const char *name;
    struct jrl_shape shape;
} known[] = {
    { "smollm2-135m", { JRL_ARCH_LLAMA, 576, 30, 9, 3, 64, 1536, 8192, 49152, 1, 100000, 1e-5 } },
    { "smollm2-360m", { JRL_ARCH_LLAMA, 960, 32, 15, 5, 64, 2560, 8192, 49152, 1, 100000, 1e-5 } },
    { "qwen2.5-0.5b", { JRL_ARCH_QWEN2, 896, 24, 14, 2, 64, 4864, 32768, 151936, 1, 1000000, 1e-6 } },
    { "deepseek-r1-distill-qwen-1.5b", { JRL_ARCH_QWEN2, 1536, 28, 12, 2, 128, 8960, 131072, 151936, 0, 10000, 1e-6 } },
};

static const struct known *find_known(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strlen(known[i].name) == len && memcmp(known[i].name, name, len) == 0)
            return &known[i];
    return NULL;
}

/* "dim=96" into the field of that name. */
static int set_field(struct jrl_shape *shape, const char *item, struct jrl_error *err)
{
    const struct { const char *name; int64_t *value, min, max; } fields[] = {
        { "dim", &shape->dim, 1, 65536 },           { "layers", &shape->layers, 1, 1024 },    { "heads", &shape->heads, 1, 1024 },
        { "kv-heads", &shape->kv_heads, 1, 1024 },  { "head-dim", &shape->head_dim, 1, 256 }, { "mlp", &shape->mlp, 1, 1 << 20 },
        { "positions", &shape->positions, 1, 1 << 24 }, { "vocab", &shape->vocab, 1, 1 << 24 }, { "tied", &shape->tied, 0, 1 },
    };
    const char *equals = strchr(item, '=');

    for (size_t i = 0; equals && i < sizeof(fields) / sizeof(fields[0]); i++) {
        const size_t len = (size_t)(equals - item);
        char *end;

        if (strlen(fields[i].name) != len || memcmp(fields[i].name, item, len) != 0)
            continue;
        errno = 0;
        *fields[i].value = strtoll(equals + 1, &end, 10);
        if (equals[1] < '0' || equals[1] > '9' || *end || errno || *fields[i].value < fields[i].min || *fields[i].value > fields[i].max)
            return jrl_fail(err, JRL_ERR_USAGE, "shape: '%s' is not a number from %" PRId64 " to %" PRId64, item, fields[i].min, fields[i].max);
        return JRL_OK;
    }
    return jrl_fail(err, JRL_ERR_USAGE, "shape: '%s' is neither NAME=NUMBER nor a known shape; names are dim, layers, heads, kv-heads, head-dim, "
                    "mlp, positions, vocab, tied; known shapes smollm2-135m, smollm2-360m, qwen2.5-0.5b, deepseek-r1-distill-qwen-1.5b", item);
}

static int read_items(struct jrl_shape *shape, const char *list, struct jrl_error *err)
{
    int rc = JRL_OK;

    for (const char *at = list; *at && rc == JRL_OK;) {
        const size_t len = strcspn(at, ",");
        const struct known *k = find_known(at, len);
        char *item = jrl_xstrndup(at, len);

        if (k && at != list)
            rc = jrl_fail(err, JRL_ERR_USAGE, "shape: the known shape '%s' comes first", k->name);
        else if (k)
            *shape = k->shape;
        else
            rc = set_field(shape, item, err);
        free(item);
        at += len + (at[len] == ',');
    }
    return rc;
}

int jrl_shape_parse(struct jrl_shape *shape, const char *list, struct jrl_error *err)
{
    int rc;

    *shape = (struct jrl_shape){ .dim = 128, .layers = 4, .heads = 4, .kv_heads = 2, .mlp = 384, .positions = 2048, .tied = 1, .theta = 10000, .eps = 1e-6 };
    if ((rc = read_items(shape, list, err)) < 0)
        return rc;
    if (!shape->head_dim && shape->dim % shape->heads != 0)
        return jrl_fail(err, JRL_ERR_USAGE, "shape: dim %" PRId64 " is no multiple of heads %" PRId64 ": give head-dim", shape->dim, shape->heads);
    if (!shape->head_dim)
        shape->head_dim = shape->dim / shape->heads;
    if (shape->heads % shape->kv_heads != 0)
        return jrl_fail(err, JRL_ERR_USAGE, "shape: heads %" PRId64 " is no multiple of kv-heads %" PRId64, shape->heads, shape->kv_heads);
    if (shape->head_dim % 2 != 0 || shape->head_dim > 256)
        return jrl_fail(err, JRL_ERR_USAGE, "shape: head-dim %" PRId64 " is not an even number up to 256", shape->head_dim);
    return JRL_OK;
}

/* Both spellings of the rotary base: older and newer libraries read one each. */
void jrl_shape_config(struct jrl_buffer *out, const struct jrl_shape *s, int64_t eos)
{
    const bool qwen2 = s->arch == JRL_ARCH_QWEN2;
    char theta[32], eps[32];

    jrl_format_f64(theta, s->theta);
    jrl_format_f64(eps, s->eps);
    jrl_buffer_printf(out, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n", qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM",
                      jrl_arch_name(s->arch));
    jrl_buffer_printf(out, "  \"vocab_size\": %" PRId64 ",\n  \"hidden_size\": %" PRId64 ",\n  \"intermediate_size\": %" PRId64 ",\n", s->vocab, s->dim, s->mlp);
    jrl_buffer_printf(out, "  \"num_hidden_layers\": %" PRId64 ",\n  \"num_attention_heads\": %" PRId64 ",\n  \"num_key_value_heads\": %" PRId64 ",\n",
                      s->layers, s->heads, s->kv_heads);
    jrl_buffer_printf(out, "  \"head_dim\": %" PRId64 ",\n  \"hidden_act\": \"silu\",\n  \"max_position_embeddings\": %" PRId64 ",\n", s->head_dim, s->positions);
    jrl_buffer_printf(out, "  \"rms_norm_eps\": %s,\n  \"rope_theta\": %s,\n  \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": %s},\n", eps, theta, theta);
    jrl_buffer_printf(out, "  %s,\n", qwen2 ? "\"use_sliding_window\": false,\n  \"sliding_window\": null" : "\"attention_bias\": false,\n  \"mlp_bias\": false");
    jrl_buffer_printf(out, "  \"attention_dropout\": 0.0,\n  \"initializer_range\": 0.02,\n  \"tie_word_embeddings\": %s,\n", s->tied ? "true" : "false");
    jrl_buffer_append_str(out, "  \"bos_token_id\": null,\n  \"eos_token_id\": ");
    if (eos < 0)
        jrl_buffer_append_str(out, "null");
    else
        jrl_buffer_printf(out, "%" PRId64, eos);
    jrl_buffer_append_str(out, ",\n  \"torch_dtype\": \"float32\"\n}\n");
}
