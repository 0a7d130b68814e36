/* bench_train.c - training throughput against the matrix products' own rate: micro-batches of packed sequences, and
 * between them the product [8192 x 576][576 x 1536]^T, so that both see the machine in the same state; medians.
 * FLOPs of a token: 6 N, N the parameters without the input embedding but with the head, and 12 for each position it
 * attends to, layer and element of the heads. What is computed again in the backward pass is not counted.
 * With one thread times are processor time, which other processes disturb least.
 * Usage: bench_train [threads [sequences [tokens [repetitions [none|layer [POLICY]]]]]]: what is computed again. Without
 * POLICY: random weights of SmolLM2-135M's shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "kernels/matmul.h"
#include "kernels/vmath.h"
#include "model/plan.h"
#include "model/train.h"
#include "tests/bench/policy.h"

#define MAX_REPETITIONS 100

static struct jrl_error error;

static clockid_t clock_used = CLOCK_MONOTONIC;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(clock_used, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "bench_train: error: %s\n", error.text);
        exit(1);
    }
}

static void *take(int64_t n, int64_t size_bytes)
{
    void *p = NULL;

    must(jrl_try_alloc(&p, (size_t)n, (size_t)size_bytes, "the benchmark", &error));
    return p;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof(*x), by_value);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static void flat_objective(void *ctx, int64_t sequence, int64_t first, int64_t n, const float *logprob, const float *entropy,
                           float *dlogprob, float *dentropy)
{
    (void)ctx, (void)sequence, (void)first, (void)logprob, (void)entropy, (void)dentropy;
    for (int64_t i = 0; i < n; i++)
        dlogprob[i] = -1e-4f;
}

static double token_flops(const struct jrl_model_config *c, int64_t n_tokens)
{
    const int64_t q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    const double layer = (double)(c->dim * (2 * q + 2 * kv + 3 * c->mlp_dim)), head = (double)(c->dim * c->vocab);

    return 6 * (layer * (double)c->n_layers + head) + 12 * (double)(q * c->n_layers) * (double)(n_tokens + 1) / 2;
}

/* Numbers around 1: with zeros the tile unit needs less power and runs at a higher clock. */
static void *take_noise(int64_t n, enum jrl_dtype dtype)
{
    void *p = take(n, jrl_dtype_bytes(dtype));
    uint32_t state = 1;

    for (int64_t i = 0; i < n; i++) {
        const float x = (float)(int32_t)(state = state * 1664525 + 1013904223) * 0x1p-31f;

        if (dtype == JRL_F32)
            ((float *)p)[i] = x;
        else
            ((jrl_bf16 *)p)[i] = jrl_f32_to_bf16(x);
    }
    return p;
}

struct bench {
    struct jrl_model model;
    struct jrl_workspace *ws;
    struct jrl_gradients *g;
    struct jrl_sequence *seqs;
    struct jrl_matmul product;
    int64_t n_seqs, n_tokens;
};

static double time_product(struct bench *b)
{
    const double start = now_seconds();

    must(jrl_matmul_nt(b->model.dev, &b->product, &error));
    return now_seconds() - start;
}

static double time_train(struct bench *b)
{
    const double start = now_seconds();

    must(jrl_train(&b->model, b->ws, b->seqs, b->n_seqs, 1.0, flat_objective, NULL, b->g, &error));
    return now_seconds() - start;
}

static void run(struct bench *b, int repetitions)
{
    const double flops = token_flops(&b->model.config, b->n_tokens) * (double)(b->n_seqs * b->n_tokens);
    const struct jrl_matmul *p = &b->product;
    double train[MAX_REPETITIONS], product[8 * MAX_REPETITIONS];
    const double product_flops = 2 * (double)p->m * (double)p->n * (double)p->k;

    (void)time_train(b);
    (void)time_product(b);
    for (int i = 0; i < repetitions; i++) {
        for (int j = 0; j < 8; j++)
            product[8 * i + j] = time_product(b);
        train[i] = time_train(b);
    }
    const double seconds = median(train, repetitions), rate = product_flops / median(product, 8 * repetitions);
    printf("train %lld x %lld: median %.3f s (%.3f to %.3f), %.0f tokens/s, %.3f TFLOP/s; product %.3f TFLOP/s (best %.3f); ratio %.1f %%\n",
           (long long)b->n_seqs, (long long)b->n_tokens, seconds, train[0], train[repetitions - 1],
           (double)(b->n_seqs * b->n_tokens) / seconds, flops / seconds * 1e-12, rate * 1e-12, product_flops / product[0] * 1e-12,
           100 * flops / seconds / rate);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 0, repetitions = argc > 4 ? atoi(argv[4]) : 3;
    struct bench b = { .n_seqs = argc > 2 ? atoll(argv[2]) : 8, .n_tokens = argc > 3 ? atoll(argv[3]) : 1024 };
    struct jrl_policy *policy = NULL;
    struct jrl_device *dev = NULL;
    uint32_t *tokens;
    char *folder;

    if (argc > 7 || b.n_seqs < 1 || b.n_tokens < 2 || repetitions < 1 || repetitions > MAX_REPETITIONS) {
        fprintf(stderr, "usage: bench_train [threads [sequences [tokens [repetitions [none|layer [POLICY]]]]]]\n");
        return 2;
    }
    must(jrl_device_open(&dev, "cpu", threads, &error));
    if (jrl_pool_size(jrl_device_pool(dev)) == 1)
        clock_used = CLOCK_PROCESS_CPUTIME_ID;
    folder = argc > 6 ? jrl_xstrdup(argv[6]) : bench_make_policy(dev);
    must(jrl_policy_open(&policy, folder, &error));
    must(jrl_model_open(&b.model, dev, policy, "auto", b.n_tokens + 1, &error));
    b.ws = jrl_workspace_new();
    const struct jrl_pass_plan pass = { .config = &b.model.config, .dtype = b.model.dtype, .dev = dev, .kind = JRL_PASS_TRAIN,
                                        .n_rows = b.n_seqs * jrl_sequence_rows(b.n_tokens + 1), .keep = argc <= 5 || strcmp(argv[5], "layer") != 0 };
    jrl_workspace_expect(b.ws, &pass);
    b.seqs = take(b.n_seqs, sizeof(*b.seqs));
    tokens = take(b.n_tokens + 1, sizeof(*tokens));
    for (int64_t i = 0; i <= b.n_tokens; i++)
        tokens[i] = (uint32_t)(i * 7919 % b.model.config.vocab);
    for (int64_t i = 0; i < b.n_seqs; i++)
        b.seqs[i] = (struct jrl_sequence){ tokens, b.n_tokens + 1, 1 };
    b.product = (struct jrl_matmul){ .dtype = b.model.dtype, .m = 8192, .n = 1536, .k = 576, .lda = 576, .ldb = 576, .ldc = 1536 };
    b.product.a = take_noise(b.product.m * b.product.k, b.model.dtype);
    b.product.b = take_noise(b.product.n * b.product.k, b.model.dtype);
    b.product.c = take(b.product.m * b.product.n, 4);
    must(jrl_gradients_new(&b.g, &b.model, &error));
    must(jrl_gradients_zero(b.g, dev, &error));
    run(&b, repetitions);
    jrl_gradients_free(b.g);
    free((void *)(uintptr_t)b.product.a);
    free((void *)(uintptr_t)b.product.b);
    free(b.product.c);
    free(folder);
    free(b.seqs);
    free(tokens);
    jrl_workspace_free(b.ws);
    jrl_model_close(&b.model);
    jrl_policy_close(policy);
    jrl_device_close(dev);
    return 0;
}
