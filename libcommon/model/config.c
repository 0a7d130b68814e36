/* config.c - config.json of Qwen2 and Llama models: what is read, what is refused by name, and the class
 * defaults of keys that Hugging Face leaves out when it writes a config. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "model/config.h"

#define MAX_CONFIG_BYTES ((size_t)4 << 20)

const char *jrl_arch_name(enum jrl_arch arch)
{
    return arch == JRL_ARCH_QWEN2 ? "qwen2" : "llama";
}

const char *jrl_dtype_name(enum jrl_dtype dtype)
{
    return dtype == JRL_BF16 ? "bfloat16" : dtype == JRL_F16 ? "float16" : "float32";
}

/* Features that a key switches on. A key that is absent, null, false, 0, or the harmless word is fine. */
static const struct feature {
    const char *key;
    const char *harmless; /* a string or NULL */
} refused[] = {
    { "attention_bias", NULL },
    { "mlp_bias", NULL },
    { "use_sliding_window", NULL },
    { "quantization_config", NULL },
    { "compression_config", NULL },
    { "use_mrope", NULL },
    { "rope_interleaved", NULL },
    { "use_qk_norm", NULL },
    { "qk_layernorm", NULL },
    { "attention_dropout", NULL },
    { "final_logit_softcapping", NULL },
    { "attn_logit_softcapping", NULL },
    { "num_experts", NULL },
    { "num_local_experts", NULL },
    { "hidden_act", "silu" },
    { "position_embedding_type", "rope" },
};

static bool is_on(const json_t *value, const char *harmless)
{
    if (!value || json_is_null(value) || json_is_false(value))
        return false;
    if (json_is_number(value))
        return json_number_value(value) != 0;
    return !(harmless && json_is_string(value) && strcmp(json_string_value(value), harmless) == 0);
}

static int refuse(const char *where, const char *key, const json_t *value, struct jrl_error *err)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    int rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': %s is %.80s: not supported by this program", where, key, text ? text : "set");

    free(text);
    return rc;
}

static int check_features(const json_t *root, const char *where, struct jrl_error *err)
{
    const json_t *types = json_object_get(root, "layer_types");
    const json_t *type;
    size_t i;

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const json_t *value = json_object_get(root, refused[i].key);

        if (is_on(value, refused[i].harmless))
            return refuse(where, refused[i].key, value, err);
    }
    json_array_foreach(types, i, type)
        if (!json_is_string(type) || strcmp(json_string_value(type), "full_attention") != 0)
            return refuse(where, "layer_types", types, err);
    return JRL_OK;
}

/* model_type decides; architectures, where given, must be the causal language model of it. */
static int read_arch(struct jrl_model_config *c, const json_t *root, const char *where, struct jrl_error *err)
{
    const char *type = NULL, *architecture;
    const json_t *architectures = json_object_get(root, "architectures");
    int rc = jrl_json_get_str(root, "model_type", &type, where, err);

    if (rc < 0)
        return rc;
    if (!type)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': model_type is missing", where);
    if (strcmp(type, "qwen2") == 0)
        c->arch = JRL_ARCH_QWEN2;
    else if (strcmp(type, "llama") == 0)
        c->arch = JRL_ARCH_LLAMA;
    else
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': model_type '%.80s' is not supported: only qwen2 and llama are", where, type);
    c->qkv_bias = c->arch == JRL_ARCH_QWEN2;
    if (!architectures || json_is_null(architectures))
        return JRL_OK;
    architecture = json_string_value(json_array_get(architectures, 0));
    if (!architecture || json_array_size(architectures) != 1 ||
        strcmp(architecture, c->arch == JRL_ARCH_QWEN2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM") != 0)
        return refuse(where, "architectures", architectures, err);
    return JRL_OK;
}

static int get_size(const json_t *root, const char *key, int64_t max, int64_t *out, const char *where, struct jrl_error *err)
{
    *out = 0;
    if (jrl_json_get_i64(root, key, 1, max, out, where, err) < 0)
        return JRL_ERR_INPUT;
    return *out ? JRL_OK : jrl_fail(err, JRL_ERR_INPUT, "'%s': %s is missing", where, key);
}

static int read_sizes(struct jrl_model_config *c, const json_t *root, const char *where, struct jrl_error *err)
{
    int64_t head_dim = 0;
    double eps = 1e-6;

    c->initializer_range = 0.02;
    if (get_size(root, "vocab_size", INT64_C(1) << 24, &c->vocab, where, err) < 0 ||
        get_size(root, "hidden_size", 1 << 16, &c->dim, where, err) < 0 ||
        get_size(root, "num_hidden_layers", 1 << 10, &c->n_layers, where, err) < 0 ||
        get_size(root, "num_attention_heads", 1 << 10, &c->n_heads, where, err) < 0 ||
        get_size(root, "intermediate_size", 1 << 20, &c->mlp_dim, where, err) < 0)
        return JRL_ERR_INPUT;
    c->n_kv_heads = c->arch == JRL_ARCH_QWEN2 ? 32 : c->n_heads; /* defaults of the two classes */
    c->max_positions = c->arch == JRL_ARCH_QWEN2 ? 32768 : 2048;
    if (jrl_json_get_i64(root, "num_key_value_heads", 1, 1 << 10, &c->n_kv_heads, where, err) < 0 ||
        jrl_json_get_i64(root, "max_position_embeddings", 1, 1 << 24, &c->max_positions, where, err) < 0 ||
        jrl_json_get_i64(root, "head_dim", 1, 1 << 16, &head_dim, where, err) < 0 ||
        jrl_json_get_f64(root, "rms_norm_eps", &eps, where, err) < 0 ||
        jrl_json_get_f64(root, "initializer_range", &c->initializer_range, where, err) < 0 ||
        jrl_json_get_bool(root, "tie_word_embeddings", &c->tied, where, err) < 0)
        return JRL_ERR_INPUT;
    if (!head_dim && c->dim % c->n_heads != 0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': hidden_size %lld is no multiple of num_attention_heads %lld", where,
                        (long long)c->dim, (long long)c->n_heads);
    c->head_dim = head_dim ? head_dim : c->dim / c->n_heads;
    if (c->head_dim % 2 != 0 || c->head_dim > 256)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': head_dim %lld is not supported: only even ones up to 256", where, (long long)c->head_dim);
    if (c->n_heads % c->n_kv_heads != 0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': num_attention_heads %lld is no multiple of num_key_value_heads %lld", where,
                        (long long)c->n_heads, (long long)c->n_kv_heads);
    if (!(eps > 0 && eps < 1))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': rms_norm_eps %g is not between 0 and 1", where, eps);
    if (!(c->initializer_range >= 0 && c->initializer_range < 100))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': initializer_range %g is not between 0 and 100", where, c->initializer_range);
    c->norm_eps = (float)eps;
    return JRL_OK;
}

/* rope_parameters (new), or rope_theta with rope_scaling (old). */
static int read_rope(struct jrl_model_config *c, const json_t *root, const char *where, struct jrl_error *err)
{
    static const char *const keys[] = { "rope_parameters", "rope_scaling" };
    double rotated = 1.0;

    c->rope_theta = 10000.0;
    if (jrl_json_get_f64(root, "rope_theta", &c->rope_theta, where, err) < 0 ||
        jrl_json_get_f64(root, "partial_rotary_factor", &rotated, where, err) < 0)
        return JRL_ERR_INPUT;
    for (size_t i = 0; i < 2; i++) {
        const json_t *rope = json_object_get(root, keys[i]);
        const char *type = NULL;

        if (!rope || json_is_null(rope))
            continue;
        if (!json_is_object(rope))
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': %s is not an object", where, keys[i]);
        if (jrl_json_get_str(rope, "type", &type, where, err) < 0 || jrl_json_get_str(rope, "rope_type", &type, where, err) < 0 ||
            jrl_json_get_f64(rope, "rope_theta", &c->rope_theta, where, err) < 0 ||
            jrl_json_get_f64(rope, "partial_rotary_factor", &rotated, where, err) < 0)
            return JRL_ERR_INPUT;
        if (type ? strcmp(type, "default") != 0 : i == 1)
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': %s of type '%.80s' is not supported by this program", where, keys[i], type ? type : "?");
    }
    if (!(c->rope_theta > 1 && c->rope_theta < 1e12))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': rope_theta %g is not between 1 and 1e12", where, c->rope_theta);
    if (rotated != 1.0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': partial_rotary_factor %g is not supported by this program", where, rotated);
    return JRL_OK;
}

static int read_dtype(struct jrl_model_config *c, const json_t *root, const char *where, struct jrl_error *err)
{
    const char *name = NULL;

    if (jrl_json_get_str(root, "torch_dtype", &name, where, err) < 0 || jrl_json_get_str(root, "dtype", &name, where, err) < 0)
        return JRL_ERR_INPUT;
    if (!name)
        return JRL_OK;
    for (enum jrl_dtype dtype = JRL_F32; dtype <= JRL_F16; dtype++)
        if (strcmp(name, jrl_dtype_name(dtype)) == 0) {
            c->dtype = dtype;
            c->dtype_given = true;
            return JRL_OK;
        }
    return jrl_fail(err, JRL_ERR_INPUT, "'%s': dtype '%.80s' is not supported: only float32, bfloat16 and float16 are", where, name);
}

/* eos_token_id: a number, a list of numbers, or nothing. */
static int read_eos(struct jrl_model_config *c, const json_t *root, const char *where, struct jrl_error *err)
{
    const json_t *eos = json_object_get(root, "eos_token_id");
    const size_t max = sizeof(c->eos_ids) / sizeof(c->eos_ids[0]);
    const size_t n = json_is_array(eos) ? json_array_size(eos) : 1;

    if (!eos || json_is_null(eos))
        return JRL_OK;
    if (n > max)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': eos_token_id lists %zu ids, at most %zu are supported", where, n, max);
    c->n_eos = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(eos) ? json_array_get(eos, i) : eos;

        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= c->vocab)
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': eos_token_id is not a token id below the vocab_size %lld", where, (long long)c->vocab);
        c->eos_ids[c->n_eos++] = (uint32_t)json_integer_value(id);
    }
    return JRL_OK;
}

static int read_root(struct jrl_model_config *c, const json_t *root, const char *where, struct jrl_error *err)
{
    const json_t *window = json_object_get(root, "sliding_window");

    if (!json_is_object(root))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': not a JSON object", where);
    if (read_arch(c, root, where, err) < 0 || check_features(root, where, err) < 0)
        return JRL_ERR_INPUT;
    /* Qwen2 names a window and switches it by use_sliding_window; elsewhere naming one means using it. */
    if (c->arch != JRL_ARCH_QWEN2 && is_on(window, NULL) && !json_object_get(root, "use_sliding_window"))
        return refuse(where, "sliding_window", window, err);
    if (read_sizes(c, root, where, err) < 0 || read_rope(c, root, where, err) < 0 || read_dtype(c, root, where, err) < 0)
        return JRL_ERR_INPUT;
    return read_eos(c, root, where, err);
}

int jrl_config_parse(struct jrl_model_config *config, const char *text, size_t len_bytes, const char *where, struct jrl_error *err)
{
    json_t *root = NULL;
    int rc;

    *config = (struct jrl_model_config){ .dtype = JRL_F32 };
    if ((rc = jrl_json_parse(&root, text, len_bytes, where, err)) < 0)
        return rc;
    rc = read_root(config, root, where, err);
    json_decref(root);
    return rc;
}

int jrl_config_read(struct jrl_model_config *config, const char *policy_dir, struct jrl_error *err)
{
    char *path = jrl_path_join(policy_dir, "config.json");
    char *generation_path = jrl_path_join(policy_dir, "generation_config.json");
    struct jrl_buffer text = { 0 };
    json_t *generation = NULL;
    int rc;

    if ((rc = jrl_file_read(&text, path, MAX_CONFIG_BYTES, err)) < 0)
        goto out;
    if ((rc = jrl_config_parse(config, (const char *)text.data, text.len, path, err)) < 0)
        goto out;
    if (access(generation_path, F_OK) == 0) {
        if ((rc = jrl_json_read_file(&generation, generation_path, MAX_CONFIG_BYTES, err)) < 0)
            goto out;
        rc = read_eos(config, generation, generation_path, err);
    }
out:
    json_decref(generation);
    jrl_buffer_release(&text);
    free(generation_path);
    free(path);
    return rc;
}
