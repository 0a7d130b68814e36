/* jrl-model - policy folders: make, info, cast, compare, hash. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "kernels/attention.h"
#include "model/make.h"
#include "model/shape.h"
#include "text/tokenizer.h"
#include "tool/cli.h"
#include "tool/log.h"

struct config {
    const char *output, *arch, *shape, *config, *tokenizer, *dtype;
    int64_t seed;
    bool json;
};

/* Resources that all verbs share. */
struct run {
    const struct config *cfg;
    struct jrl_device *dev;
    struct jrl_error err;
};

/* ---- make ------------------------------------------------------------------------------------------------ */

static int check_vocab(struct run *run, int64_t vocab, int64_t n_ids)
{
    return vocab >= n_ids ? JRL_OK
                          : jrl_fail(&run->err, JRL_ERR_USAGE, "the tokenizer has ids up to %" PRId64 ", the vocabulary of the model only %" PRId64 " rows",
                                     n_ids - 1, vocab);
}

/* The config.json of --shape and --arch. */
static int make_config(struct run *run, int64_t n_ids, int64_t eos, struct jrl_buffer *out)
{
    struct jrl_shape shape;
    int rc = jrl_shape_parse(&shape, run->cfg->shape ? run->cfg->shape : "", &run->err);

    if (rc < 0)
        return rc;
    if (jrl_cli_given("arch"))
        shape.arch = strcmp(run->cfg->arch, "qwen2") == 0 ? JRL_ARCH_QWEN2 : JRL_ARCH_LLAMA;
    if (!shape.vocab)
        shape.vocab = n_ids;
    if ((rc = check_vocab(run, shape.vocab, n_ids)) == JRL_OK)
        jrl_shape_config(out, &shape, eos);
    return rc;
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

static int run_make(struct run *run, char **args)
{
    const struct config *cfg = run->cfg;
    const enum jrl_dtype dtype = strcmp(cfg->dtype, "f32") == 0 ? JRL_F32 : JRL_BF16;
    struct companions companions = { cfg, -1 };
    const char *where = cfg->config ? cfg->config : "--shape";
    struct jrl_model_config parsed;
    struct jrl_buffer text = { 0 };
    char id[JRL_DIGEST_SIZE];
    int64_t n_ids;
    int rc;

    (void)args;
    if ((rc = look_at_tokenizer(run, &n_ids, &companions.eos)) < 0)
        return rc;
    rc = cfg->config ? jrl_file_or_pipe_read(&text, cfg->config, (size_t)4 << 20, &run->err) : make_config(run, n_ids, companions.eos, &text);
    if (rc == JRL_OK)
        rc = jrl_config_parse(&parsed, (const char *)text.data, text.len, where, &run->err);
    if (rc == JRL_OK)
        rc = check_vocab(run, parsed.vocab, n_ids);
    if (rc == JRL_OK)
        rc = jrl_policy_make(cfg->output, (const char *)text.data, text.len, where, (uint64_t)cfg->seed, dtype,
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
    const struct verb *verb = verbs, *end = verbs + sizeof(verbs) / sizeof(verbs[0]);

    while (verb < end && strcmp(args[0], verb->name) != 0)
        verb++;
    if (verb == end)
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
    if (verb->writes && access(cfg->output, F_OK) == 0)
        jrl_cli_fail("'--output %s' exists already; a policy is never replaced", cfg->output);
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
