/* make.c - random policies, casts and comparison: whole tensors in memory, one policy at a time. */
#include "model/make.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "kernels/vmath.h"
#include "model/internal.h"

/* Each piece of a tensor has a number stream of its own, so that threads can share the work. */
#define PIECE_ELEMENTS ((int64_t)1 << 16)

struct piece {
    void *to;
    int64_t n;
    uint64_t seed, stream;
    float deviation;
    enum jrl_dtype dtype;
};

static void fill_piece(void *ctx, int64_t part, int thread)
{
    const struct piece *p = (const struct piece *)ctx + part;
    struct jrl_rng rng;

    (void)thread;
    jrl_rng_init(&rng, p->seed, p->stream);
    for (int64_t i = 0; i < p->n; i++) {
        const float x = (float)(p->deviation * jrl_rng_normal(&rng));

        if (p->dtype == JRL_F32)
            ((float *)p->to)[i] = x;
        else
            ((jrl_bf16 *)p->to)[i] = jrl_f32_to_bf16(x);
    }
}

static void fill_ones(void *to, int64_t n, enum jrl_dtype dtype)
{
    for (int64_t i = 0; i < n; i++)
        if (dtype == JRL_F32)
            ((float *)to)[i] = 1.0f;
        else
            ((jrl_bf16 *)to)[i] = jrl_f32_to_bf16(1.0f);
}

static bool ends_with(const char *name, const char *suffix)
{
    const size_t len = strlen(name), n = strlen(suffix);

    return len >= n && strcmp(name + len - n, suffix) == 0;
}

/* Norms are 1, biases stay 0 (fresh memory), the rest is drawn. */
static void fill_random(uint8_t *weights, const struct jrl_parameter *parameters, int64_t n, const struct jrl_model_config *config,
                        uint64_t seed, enum jrl_dtype dtype, struct jrl_pool *pool)
{
    struct piece *pieces;
    int64_t n_pieces = 0;

    for (int64_t i = 0; i < n; i++)
        n_pieces += parameters[i].n_elements / PIECE_ELEMENTS + 1;
    pieces = jrl_xcalloc((size_t)n_pieces, sizeof(*pieces));
    n_pieces = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct jrl_parameter *p = &parameters[i];
        uint8_t *to = weights + p->offset * jrl_dtype_bytes(dtype);

        if (ends_with(p->name, "norm.weight"))
            fill_ones(to, p->n_elements, dtype);
        else if (ends_with(p->name, ".weight"))
            for (int64_t at = 0; at < p->n_elements; at += PIECE_ELEMENTS) {
                const int64_t left = p->n_elements - at;

                pieces[n_pieces++] = (struct piece){ .to = to + at * jrl_dtype_bytes(dtype), .n = left < PIECE_ELEMENTS ? left : PIECE_ELEMENTS,
                                                     .seed = seed, .stream = (uint64_t)i << 32 | (uint64_t)(at / PIECE_ELEMENTS),
                                                     .deviation = (float)config->initializer_range, .dtype = dtype };
            }
    }
    jrl_pool_run(pool, n_pieces, fill_piece, pieces);
    free(pieces);
}

/* Tensors of a flat array in parameter order. */
static struct jrl_tensor *describe(const uint8_t *weights, const struct jrl_parameter *parameters, int64_t n, enum jrl_dtype dtype)
{
    struct jrl_tensor *tensors = jrl_xcalloc((size_t)n, sizeof(*tensors));

    for (int64_t i = 0; i < n; i++) {
        const struct jrl_parameter *p = &parameters[i];

        tensors[i] = (struct jrl_tensor){ .name = p->name, .dtype = dtype, .n_dims = p->n_dims, .shape = { p->shape[0], p->shape[1] },
                                          .n_elements = p->n_elements, .data = weights + p->offset * jrl_dtype_bytes(dtype) };
    }
    return tensors;
}

struct made {
    const struct jrl_buffer *config;
    jrl_policy_prepare_fn *prepare;
    void *ctx;
};

static int prepare_made(void *ctx, const char *folder, struct jrl_error *err)
{
    const struct made *made = ctx;
    char *path = jrl_path_join(folder, "config.json");
    int rc = jrl_file_write(path, made->config->data, made->config->len, err);

    free(path);
    return rc == JRL_OK && made->prepare ? made->prepare(made->ctx, folder, err) : rc;
}

int jrl_policy_make(const char *dir, const char *config_text, size_t len_bytes, const char *where, uint64_t seed, enum jrl_dtype dtype,
                    jrl_policy_prepare_fn *prepare, void *ctx, struct jrl_device *dev, char id[JRL_DIGEST_SIZE], struct jrl_error *err)
{
    struct jrl_parameter *parameters = NULL;
    struct jrl_tensor *tensors = NULL;
    struct jrl_buffer text = { 0 };
    struct made made = { &text, prepare, ctx };
    struct jrl_model_config config;
    int64_t n = 0, n_total = 0;
    void *weights = NULL;
    int rc;

    if (dtype == JRL_F16)
        return jrl_fail(err, JRL_ERR_USAGE, "weights can be written as f32 or bf16 only");
    if ((rc = jrl_config_parse(&config, config_text, len_bytes, where, err)) < 0)
        return rc;
    if (config.dtype_given && config.dtype == dtype)
        jrl_buffer_append(&text, config_text, len_bytes);
    else
        jrl_config_set_dtype(&text, config_text, len_bytes, dtype);
    n = jrl_config_parameters(&config, &parameters, &n_total);
    if ((rc = jrl_try_alloc(&weights, (size_t)n_total, (size_t)jrl_dtype_bytes(dtype), "random weights", err)) == JRL_OK) {
        fill_random(weights, parameters, n, &config, seed, dtype, jrl_device_pool(dev));
        tensors = describe(weights, parameters, n, dtype);
        rc = jrl_policy_write_prepared(dir, prepare_made, &made, tensors, n, NULL, NULL, jrl_device_pool(dev), id, err);
    }
    free(tensors);
    free(weights);
    jrl_parameters_free(parameters, n);
    jrl_buffer_release(&text);
    return rc;
}

int jrl_policy_cast(const char *dir, const struct jrl_policy *from, enum jrl_dtype dtype, struct jrl_device *dev,
                    char id[JRL_DIGEST_SIZE], struct jrl_error *err)
{
    struct jrl_parameter *parameters = NULL;
    struct jrl_tensor *tensors = NULL;
    int64_t n_total, n = jrl_config_parameters(jrl_policy_config(from), &parameters, &n_total);
    void *weights = NULL;
    int rc;

    if (dtype == JRL_F16)
        rc = jrl_fail(err, JRL_ERR_USAGE, "weights can be written as f32 or bf16 only");
    else
        rc = jrl_try_alloc(&weights, (size_t)n_total, (size_t)jrl_dtype_bytes(dtype), "converted weights", err);
    for (int64_t i = 0; i < n && rc == JRL_OK; i++)
        rc = jrl_tensor_convert(dev, jrl_policy_tensor(from, i), (uint8_t *)weights + parameters[i].offset * jrl_dtype_bytes(dtype), dtype, NULL, err);
    if (rc == JRL_OK) {
        tensors = describe(weights, parameters, n, dtype);
        rc = jrl_policy_write(dir, jrl_policy_dir(from), tensors, n, NULL, NULL, jrl_device_pool(dev), id, err);
    }
    free(tensors);
    free(weights);
    jrl_parameters_free(parameters, n);
    return rc;
}

int jrl_tensor_compare(struct jrl_tensor_difference *out, const struct jrl_tensor *a, const struct jrl_tensor *b, struct jrl_device *dev,
                       struct jrl_error *err)
{
    const int64_t n = a->n_elements;
    void *x = NULL, *y = NULL;
    double sum = 0, size = 0;
    int rc;

    *out = (struct jrl_tensor_difference){ 0 };
    if (a->n_dims != b->n_dims || memcmp(a->shape, b->shape, sizeof(a->shape[0]) * (size_t)a->n_dims) != 0)
        return jrl_fail(err, JRL_ERR_INPUT, "tensor '%s' has different shapes in the two policies", a->name);
    if ((rc = jrl_try_alloc(&x, (size_t)n + 1, 4, "a tensor", err)) < 0 || (rc = jrl_try_alloc(&y, (size_t)n + 1, 4, "a tensor", err)) < 0 ||
        (rc = jrl_tensor_convert(dev, a, x, JRL_F32, NULL, err)) < 0 || (rc = jrl_tensor_convert(dev, b, y, JRL_F32, NULL, err)) < 0)
        goto out;
    for (int64_t i = 0; i < n; i++) {
        const double p = (double)((float *)x)[i], d = p - (double)((float *)y)[i];

        if (isnan(d) || fabs(d) > out->max_abs)
            out->max_abs = isnan(out->max_abs) ? out->max_abs : fabs(d);
        out->n_different += !(d == 0);
        sum += d * d;
        size += p * p;
    }
    out->rms = n ? sqrt(sum / (double)n) : 0;
    out->relative = sum == 0 ? 0 : sqrt(sum / size);
out:
    free(x);
    free(y);
    return rc;
}
