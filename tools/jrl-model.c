/* jrl-model - policy folders: make, info, cast, compare, hash. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "kernels/attention.h"
#include "model/make.h"
#include "text/tokenizer.h"
#include "tool/cli.h"
#include "tool/log.h"

struct config {
    const char *output, *arch, *shape, *config, *tokenizer, *dtype;
    int64_t seed;
    bool json;
};

struct shape {
    int64_t dim, layers, heads, kv_heads, head_dim, mlp, positions, vocab, tied;
    double theta, eps;
};

static const struct preset {
    const char *name;
    const char *arch;
    struct shape shape;
} presets[] = {
    { "smollm2-135m", "llama", { 576, 30, 9, 3, 64, 1536, 8192, 49152, 1, 100000, 1e-5 } },
    { "smollm2-360m", "llama", { 960, 32, 15, 5, 64, 2560, 8192, 49152, 1, 100000, 1e-5 } },
    { "qwen2.5-0.5b", "qwen2", { 896, 24, 14, 2, 64, 4864, 32768, 151936, 1, 1000000, 1e-6 } },
    { "deepseek-r1-distill-qwen-1.5b", "qwen2", { 1536, 28, 12, 2, 128, 8960, 131072, 151936, 0, 10000, 1e-6 } },
};

/* Resources that all verbs share. */
struct run {
    const struct config *cfg;
    struct jrl_device *dev;
    struct jrl_error err;
};

/* ---- make ------------------------------------------------------------------------------------------------ */

static const struct preset *find_preset(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++)
        if (strlen(presets[i].name) == len && memcmp(presets[i].name, name, len) == 0)
            return &presets[i];
    return NULL;
}

/* "dim=96" of a --shape list into the field of that name. */
static void set_field(struct shape *shape, const char *item, size_t len)
{
    const struct { const char *name; int64_t *value; double max; } fields[] = {
        { "dim", &shape->dim, 65536 },           { "layers", &shape->layers, 1024 },    { "heads", &shape->heads, 1024 },
        { "kv-heads", &shape->kv_heads, 1024 },  { "head-dim", &shape->head_dim, 256 }, { "mlp", &shape->mlp, 1048576 },
        { "positions", &shape->positions, 16777216 }, { "vocab", &shape->vocab, 16777216 }, { "tied", &shape->tied, 1 },
    };
    const char *equals = memchr(item, '=', len);
    char *text = jrl_xstrndup(item, len), *end = NULL;

    for (size_t i = 0; equals && i < sizeof(fields) / sizeof(fields[0]); i++) {
        const size_t name_len = (size_t)(equals - item);
        const char *digits = text + name_len + 1;

        if (strlen(fields[i].name) != name_len || memcmp(fields[i].name, item, name_len) != 0)
            continue;
        errno = 0;
        *fields[i].value = strtoll(digits, &end, 10);
        if (*digits < '0' || *digits > '9' || *end || errno || (double)*fields[i].value > fields[i].max ||
            *fields[i].value < (fields[i].value == &shape->tied ? 0 : 1))
            jrl_cli_fail("--shape: '%s' is not a number from 1 to %.0f", text, fields[i].max);
        free(text);
        return;
    }
    jrl_cli_fail("--shape: '%s' is neither NAME=NUMBER nor a known shape; names are dim, layers, heads, kv-heads, head-dim, mlp, "
                 "positions, vocab, tied; known shapes smollm2-135m, smollm2-360m, qwen2.5-0.5b, deepseek-r1-distill-qwen-1.5b", text);
}

/* Returns the architecture. */
static const char *parse_shape(struct shape *shape, const struct config *cfg)
{
    const char *arch = cfg->arch;

    *shape = (struct shape){ .dim = 128, .layers = 4, .heads = 4, .kv_heads = 2, .mlp = 384, .positions = 2048, .tied = 1, .theta = 10000, .eps = 1e-6 };
    for (const char *item = cfg->shape ? cfg->shape : ""; *item;) {
        const size_t len = strcspn(item, ",");
        const struct preset *preset = find_preset(item, len);

        if (preset && item != cfg->shape)
            jrl_cli_fail("--shape: the known shape '%s' comes first", preset->name);
        if (preset) {
            *shape = preset->shape;
            arch = jrl_cli_given("arch") ? cfg->arch : preset->arch;
        } else {
            set_field(shape, item, len);
        }
        item += len + (item[len] == ',');
    }
    if (!shape->head_dim && shape->dim % shape->heads != 0)
        jrl_cli_fail("--shape: dim %" PRId64 " is no multiple of heads %" PRId64 ": give head-dim", shape->dim, shape->heads);
    if (!shape->head_dim)
        shape->head_dim = shape->dim / shape->heads;
    if (shape->heads % shape->kv_heads != 0)
        jrl_cli_fail("--shape: heads %" PRId64 " is no multiple of kv-heads %" PRId64, shape->heads, shape->kv_heads);
    if (shape->head_dim % 2 != 0 || shape->head_dim > 256)
        jrl_cli_fail("--shape: head-dim %" PRId64 " is not an even number up to 256", shape->head_dim);
    return arch;
}

static void print_config(struct jrl_buffer *out, const struct shape *s, const char *arch, int64_t vocab, int64_t eos)
{
    const bool qwen2 = strcmp(arch, "qwen2") == 0;
    char theta[32], eps[32];

    jrl_format_f64(theta, s->theta);
    jrl_format_f64(eps, s->eps);
    jrl_buffer_printf(out, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n", qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM", arch);
    jrl_buffer_printf(out, "  \"vocab_size\": %" PRId64 ",\n  \"hidden_size\": %" PRId64 ",\n  \"intermediate_size\": %" PRId64 ",\n", vocab, s->dim, s->mlp);
    jrl_buffer_printf(out, "  \"num_hidden_layers\": %" PRId64 ",\n  \"num_attention_heads\": %" PRId64 ",\n  \"num_key_value_heads\": %" PRId64 ",\n",
                      s->layers, s->heads, s->kv_heads);
    jrl_buffer_printf(out, "  \"head_dim\": %" PRId64 ",\n  \"hidden_act\": \"silu\",\n  \"max_position_embeddings\": %" PRId64 ",\n", s->head_dim, s->positions);
    jrl_buffer_printf(out, "  \"rms_norm_eps\": %s,\n  \"rope_theta\": %s,\n  \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": %s},\n", eps, theta, theta);
    jrl_buffer_printf(out, "  %s,\n", qwen2 ? "\"use_sliding_window\": false,\n  \"sliding_window\": null" : "\"attention_bias\": false,\n  \"mlp_bias\": false");
    jrl_buffer_printf(out, "  \"attention_dropout\": 0.0,\n  \"initializer_range\": 0.02,\n  \"tie_word_embeddings\": %s,\n", s->tied ? "true" : "false");
    jrl_buffer_printf(out, "  \"bos_token_id\": null,\n  \"eos_token_id\": ");
    jrl_buffer_printf(out, eos < 0 ? "null" : "%" PRId64, eos);
    jrl_buffer_printf(out, ",\n  \"torch_dtype\": \"float32\"\n}\n");
}

/* The tokenizer of a new policy: a copy, or the bytes. */
static int write_tokenizer(void *ctx, const char *folder, struct jrl_error *err)
{
    const struct config *cfg = ctx;

    return cfg->tokenizer ? jrl_policy_copy_tokenizer(cfg->tokenizer, folder, err) : jrl_tokenizer_write_bytes(folder, err);
}

struct companions {
    const struct config *cfg;
    int64_t eos;
};

static int write_companions(void *ctx, const char *folder, struct jrl_error *err)
{
    const struct companions *c = ctx;
    char *path = jrl_path_join(folder, "generation_config.json");
    struct jrl_buffer text = { 0 };
    int rc;

    jrl_buffer_printf(&text, "{\n  \"eos_token_id\": %" PRId64 ",\n  \"do_sample\": true\n}\n", c->eos);
    rc = c->eos < 0 ? JRL_OK : jrl_file_write(path, text.data, text.len, err);
    if (rc == JRL_OK)
        rc = write_tokenizer((void *)c->cfg, folder, err);
    jrl_buffer_release(&text);
    free(path);
    return rc;
}

/* Number of ids and end token of the tokenizer that the policy will have. */
static int look_at_tokenizer(struct run *run, int64_t *n_ids, int64_t *eos)
{
    const int64_t byte_ids = 259, byte_eos = 258; /* jrl_tokenizer_write_bytes: 256 bytes and three special tokens */
    struct jrl_tokenizer *t;
    int rc;

    *n_ids = byte_ids;
    *eos = byte_eos;
    if (!run->cfg->tokenizer)
        return JRL_OK;
    if ((rc = jrl_tokenizer_open(&t, run->cfg->tokenizer, &run->err)) < 0)
        return rc;
    *n_ids = jrl_tokenizer_n_ids(t);
    *eos = jrl_tokenizer_eos(t);
    jrl_tokenizer_free(t);
    return JRL_OK;
}

static int check_vocab(struct run *run, int64_t vocab, int64_t n_ids)
{
    return vocab >= n_ids ? JRL_OK
                          : jrl_fail(&run->err, JRL_ERR_USAGE, "the tokenizer has ids up to %" PRId64 ", the vocabulary of the model only %" PRId64 " rows",
                                     n_ids - 1, vocab);
}

static int run_make(struct run *run, char **args)
{
    const struct config *cfg = run->cfg;
    const enum jrl_dtype dtype = strcmp(cfg->dtype, "f32") == 0 ? JRL_F32 : JRL_BF16;
    struct companions companions = { cfg, -1 };
    struct jrl_model_config parsed;
    struct jrl_buffer text = { 0 };
    char id[JRL_DIGEST_SIZE];
    struct shape shape;
    const char *arch = NULL;
    int64_t n_ids;
    int rc;

    (void)args;
    if (!cfg->config)
        arch = parse_shape(&shape, cfg);
    if ((rc = look_at_tokenizer(run, &n_ids, &companions.eos)) < 0)
        return rc;
    if (!cfg->config && shape.vocab && (rc = check_vocab(run, shape.vocab, n_ids)) < 0)
        return rc;
    if (cfg->config)
        rc = jrl_file_read(&text, cfg->config, (size_t)4 << 20, &run->err);
    else
        print_config(&text, &shape, arch, shape.vocab ? shape.vocab : n_ids, companions.eos);
    if (rc == JRL_OK)
        rc = jrl_config_parse(&parsed, (const char *)text.data, text.len, cfg->config ? cfg->config : "--shape", &run->err);
    if (rc == JRL_OK)
        rc = check_vocab(run, parsed.vocab, n_ids);
    if (rc == JRL_OK)
        rc = jrl_policy_make(cfg->output, (const char *)text.data, text.len, cfg->config ? cfg->config : "--shape", (uint64_t)cfg->seed, dtype,
                             write_companions, &companions, run->dev, id, &run->err);
    if (rc == JRL_OK)
        jrl_log_info("made '%s', policy %s", cfg->output, id);
    jrl_buffer_release(&text);
    return rc;
}

/* ---- info, hash, cast, compare --------------------------------------------------------------------------- */

static int64_t n_parameters(const struct jrl_policy *policy)
{
    int64_t n = 0;

    for (int64_t i = 0; i < jrl_policy_n_tensors(policy); i++)
        n += jrl_policy_tensor(policy, i)->n_elements;
    return n;
}

static int64_t n_weight_bytes(const struct jrl_policy *policy)
{
    int64_t n = 0;

    for (int64_t i = 0; i < jrl_policy_n_tensors(policy); i++)
        n += jrl_policy_tensor(policy, i)->n_elements * jrl_dtype_bytes(jrl_policy_tensor(policy, i)->dtype);
    return n;
}

static void print_info(const struct jrl_policy *policy, const char *id, bool json)
{
    const struct jrl_model_config *c = jrl_policy_config(policy);
    const int64_t n = n_parameters(policy), embedding = c->vocab * c->dim * (c->tied ? 1 : 2);
    const enum jrl_dtype compute = c->dtype == JRL_F32 ? JRL_F32 : JRL_BF16;
    const int64_t kv_bytes = c->n_layers * jrl_page_bytes(compute, c->n_kv_heads, c->head_dim) / JRL_PAGE_TOKENS;
    /* f32 master, m, v and gradients, and the weights computed with; a tied head's gradient is kept apart. */
    const int64_t train_bytes = n * (16 + jrl_dtype_bytes(compute)) + (c->tied ? 4 * c->vocab * c->dim : 0);
    const struct { const char *key, *label; int64_t value; } numbers[] = {
        { "parameters", "parameters", n },
        { "embedding_parameters", "  of them in embedding and head", embedding },
        { "layers", "layers", c->n_layers },
        { "dim", "dimension", c->dim },
        { "heads", "heads", c->n_heads },
        { "kv_heads", "key and value heads", c->n_kv_heads },
        { "head_dim", "dimension of a head", c->head_dim },
        { "mlp_dim", "dimension of the mlp", c->mlp_dim },
        { "vocab", "vocabulary", c->vocab },
        { "max_positions", "positions", c->max_positions },
        { "weight_bytes", "bytes of the weights", n_weight_bytes(policy) },
        { "kv_bytes_per_token", "bytes of the cache, per token", kv_bytes },
        { "train_bytes", "bytes of a training state", train_bytes },
    };

    if (json) {
        json_t *root = json_pack("{s:s,s:s,s:s,s:s,s:b}", "policy", jrl_policy_dir(policy), "id", id, "arch", jrl_arch_name(c->arch), "dtype",
                                 jrl_dtype_name(c->dtype), "tied", c->tied);
        char *text;

        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
            json_object_set_new(root, numbers[i].key, json_integer(numbers[i].value));
        text = json_dumps(root, JSON_COMPACT);
        printf("%s\n", text);
        free(text);
        json_decref(root);
        return;
    }
    printf("%-34s%s\n%-34s%s, %s head\n%-34s%s\n", "policy id", id, "architecture", jrl_arch_name(c->arch), c->tied ? "tied" : "untied", "dtype",
           jrl_dtype_name(c->dtype));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        printf("%-34s%" PRId64 "\n", numbers[i].label, numbers[i].value);
}

static int run_info(struct run *run, char **args)
{
    struct jrl_policy *policy = NULL;
    char id[JRL_DIGEST_SIZE];
    int rc = jrl_policy_open(&policy, args[0], &run->err);

    if (rc == JRL_OK)
        rc = jrl_policy_id(policy, jrl_device_pool(run->dev), id, &run->err);
    if (rc == JRL_OK)
        print_info(policy, id, run->cfg->json);
    jrl_policy_close(policy);
    return rc;
}

static int run_hash(struct run *run, char **args)
{
    struct jrl_policy *policy = NULL;
    char id[JRL_DIGEST_SIZE];
    int rc = jrl_policy_open(&policy, args[0], &run->err);

    if (rc == JRL_OK)
        rc = jrl_policy_hash(policy, jrl_device_pool(run->dev), id, &run->err);
    if (rc == JRL_OK)
        printf("%s\n", id);
    jrl_policy_close(policy);
    return rc;
}

static int run_cast(struct run *run, char **args)
{
    struct jrl_policy *policy = NULL;
    char id[JRL_DIGEST_SIZE];
    int rc = jrl_policy_open(&policy, args[0], &run->err);

    if (rc == JRL_OK)
        rc = jrl_policy_cast(run->cfg->output, policy, strcmp(run->cfg->dtype, "f32") == 0 ? JRL_F32 : JRL_BF16, run->dev, id, &run->err);
    if (rc == JRL_OK)
        jrl_log_info("made '%s', policy %s", run->cfg->output, id);
    jrl_policy_close(policy);
    return rc;
}

static void print_difference(const char *name, const struct jrl_tensor_difference *d, int64_t n, bool json)
{
    if (!json) {
        printf("%-11.4g %-11.4g %-11.4g %12" PRId64 " of %-12" PRId64 " %s\n", d->max_abs, d->rms, d->relative, d->n_different, n, name);
        return;
    }
    json_t *root = json_pack("{s:s,s:I,s:I}", "tensor", name, "elements", (json_int_t)n, "different", (json_int_t)d->n_different);
    const struct { const char *key; double value; } numbers[] = { { "max_abs", d->max_abs }, { "rms", d->rms }, { "relative", d->relative } };
    char *text;

    for (int i = 0; i < 3; i++)
        json_object_set_new(root, numbers[i].key, isfinite(numbers[i].value) ? json_real(numbers[i].value) : json_string("NaN"));
    text = json_dumps(root, JSON_COMPACT);
    printf("%s\n", text);
    free(text);
    json_decref(root);
}

static int compare(struct run *run, const struct jrl_policy *a, const struct jrl_policy *b)
{
    const int64_t n = jrl_policy_n_tensors(a);
    int rc = JRL_OK;

    if (n != jrl_policy_n_tensors(b))
        return jrl_fail(&run->err, JRL_ERR_INPUT, "the policies have %" PRId64 " and %" PRId64 " tensors", n, jrl_policy_n_tensors(b));
    if (!run->cfg->json)
        printf("%-11s %-11s %-11s %28s  %s\n", "largest", "rms", "relative", "different elements", "tensor");
    for (int64_t i = 0; i < n && rc == JRL_OK; i++) {
        const struct jrl_tensor *x = jrl_policy_tensor(a, i), *y = jrl_policy_find(b, x->name);
        struct jrl_tensor_difference d;

        if (!y)
            return jrl_fail(&run->err, JRL_ERR_INPUT, "'%s' has no tensor '%s'", jrl_policy_dir(b), x->name);
        if ((rc = jrl_tensor_compare(&d, x, y, run->dev, &run->err)) == JRL_OK)
            print_difference(x->name, &d, x->n_elements, run->cfg->json);
    }
    return rc;
}

static int run_compare(struct run *run, char **args)
{
    struct jrl_policy *a = NULL, *b = NULL;
    int rc = jrl_policy_open(&a, args[0], &run->err);

    if (rc == JRL_OK)
        rc = jrl_policy_open(&b, args[1], &run->err);
    if (rc == JRL_OK)
        rc = compare(run, a, b);
    jrl_policy_close(a);
    jrl_policy_close(b);
    return rc;
}

/* ---- the verbs ------------------------------------------------------------------------------------------- */

static const struct verb {
    const char *name, *operands;
    int n_operands;
    const char *options; /* the names it knows, each between spaces */
    bool writes;
    int (*run)(struct run *run, char **args);
} verbs[] = {
    { "make", "", 0, " output arch shape config tokenizer dtype seed ", true, run_make },
    { "info", "DIR", 1, " json ", false, run_info },
    { "cast", "DIR", 1, " output dtype ", true, run_cast },
    { "compare", "DIR DIR", 2, " json ", false, run_compare },
    { "hash", "DIR", 1, " ", false, run_hash },
};

static const struct verb *choose_verb(const struct config *cfg, int n_args, char **args)
{
    static const char *const own[] = { "output", "arch", "shape", "config", "tokenizer", "dtype", "seed", "json" };
    const struct verb *verb = NULL;

    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(args[0], verbs[i].name) == 0)
            verb = &verbs[i];
    if (!verb)
        jrl_cli_fail("'%s' is not one of make, info, cast, compare, hash", args[0]);
    if (n_args != 1 + verb->n_operands)
        jrl_cli_fail("%s wants %s%s", verb->name, verb->n_operands ? "the operands " : "no operands", verb->operands);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        char padded[32];

        snprintf(padded, sizeof(padded), " %s ", own[i]);
        if (jrl_cli_given(own[i]) && !strstr(verb->options, padded))
            jrl_cli_fail("--%s has no effect on %s", own[i], verb->name);
    }
    if (verb->writes && (!cfg->output || !*cfg->output))
        jrl_cli_fail("%s wants --output DIR", verb->name);
    if (cfg->config && (jrl_cli_given("shape") || jrl_cli_given("arch")))
        jrl_cli_fail("--config and --%s exclude each other", jrl_cli_given("shape") ? "shape" : "arch");
    return verb;
}

int main(int argc, char **argv)
{
    struct config cfg = { .arch = "llama", .dtype = "bf16" };
    const struct jrl_option options[] = {
        JRL_OPT_STR('o', "output", &cfg.output, "DIR", "the policy folder to write (make, cast); it must not exist"),
        JRL_OPT_STR(0, "shape", &cfg.shape, "LIST", "sizes (make): dim=N,layers=N,heads=N,kv-heads=N,head-dim=N,mlp=N,positions=N,vocab=N,tied=0|1, "
                                                    "or a known shape and changes to it"),
        JRL_OPT_CHOICE(0, "arch", &cfg.arch, "llama|qwen2", "architecture (make)"),
        JRL_OPT_STR(0, "config", &cfg.config, "FILE", "take the sizes from this config.json (make)"),
        JRL_OPT_STR(0, "tokenizer", &cfg.tokenizer, "DIR", "copy the tokenizer of this folder (make); otherwise one of single bytes is written"),
        JRL_OPT_CHOICE(0, "dtype", &cfg.dtype, "bf16|f32", "how weights are stored (make, cast)"),
        JRL_OPT_INT('s', "seed", &cfg.seed, 0, 9007199254740992.0, "N", "of the random weights (make)"),
        JRL_OPT_FLAG('j', "json", &cfg.json, "JSON lines instead of a table (info, compare)"),
        JRL_OPT_THREADS,
        JRL_OPT_END
    };
    const struct jrl_tool tool = { "jrl-model", "make and look at policy folders", "make|info|cast|compare|hash [options] [DIR...]", options, 1, 3 };
    struct run run = { .cfg = &cfg };
    const struct verb *verb;
    char **args;
    int n_args, rc;

    jrl_common.threads = 0;
    n_args = jrl_cli_parse(&tool, argc, argv, &args);
    verb = choose_verb(&cfg, n_args, args);
    rc = jrl_device_open(&run.dev, "cpu", (int)jrl_common.threads, &run.err);
    if (rc == JRL_OK)
        rc = verb->run(&run, args + 1);
    jrl_device_close(run.dev);
    if ((fflush(stdout) != 0 || ferror(stdout) || fclose(stdout) != 0) && rc == JRL_OK)
        rc = jrl_fail_errno(&run.err, JRL_ERR_RUN, "cannot write standard output");
    if (rc < 0)
        jrl_die(&run.err);
    return 0;
}
