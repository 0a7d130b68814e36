/* bench_train.c - training throughput against the matrix products' own rate: micro-batches of packed sequences, and
 * between them the product [8192 x 576][576 x 1536]^T, so that both see the machine in the same state; medians.
 * FLOPs of a token: 6 N, N the parameters without the input embedding but with the head, and 12 for each position it
 * attends to, layer and element of the heads. What is computed again in the backward pass is not counted.
 * With one thread times are processor time, which other processes disturb least.
 * Usage: bench_train [threads [sequences [tokens [repetitions [none|mlp|layer [POLICY]]]]]]: what is computed again. Without
 * POLICY: random weights of SmolLM2-135M's shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/matmul.h"
#include "kernels/vmath.h"
#include "model/plan.h"
#include "tests/bench/batch.h"
#include "tests/bench/rate.h"
#include "tests/flat_training.h"

#define MAX_REPETITIONS 100

static double token_flops(const struct jrl_model_config *c, int64_t n_tokens)
{
    return 6 * (bench_layer_weights(c) + bench_head_weights(c)) + 12 * (double)(c->n_heads * c->head_dim * c->n_layers) * (double)(n_tokens + 1) / 2;
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
    struct bench_batch batch;
    struct jrl_gradients *g;
    struct jrl_matmul product;
};

static double time_product(struct bench *b)
{
    const double start = now_seconds();

    must(jrl_matmul_nt(b->batch.dev, &b->product, &error));
    return now_seconds() - start;
}

static double time_train(struct bench *b)
{
    const double start = now_seconds();

    must(train_flat(&b->batch.model, b->batch.ws, b->batch.seqs, b->batch.n_seqs, -1e-4, b->g, &error));
    return now_seconds() - start;
}

static void run(struct bench *b, int repetitions)
{
    const int64_t n_seqs = b->batch.n_seqs, n_tokens = b->batch.n_tokens;
    const double flops = token_flops(&b->batch.model.config, n_tokens) * (double)(n_seqs * n_tokens);
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
           (long long)n_seqs, (long long)n_tokens, seconds, train[0], train[repetitions - 1], (double)(n_seqs * n_tokens) / seconds,
           flops / seconds * 1e-12, rate * 1e-12, product_flops / product[0] * 1e-12, 100 * flops / seconds / rate);
}

/* What is computed again decides what the forward pass keeps. */
static void expect(struct bench_batch *b, enum jrl_keep keep)
{
    const struct jrl_pass_plan pass = { .config = &b->model.config, .dtype = b->model.dtype, .dev = b->dev, .kind = JRL_PASS_TRAIN,
                                        .n_rows = b->n_seqs * jrl_sequence_rows(b->n_tokens + 1), .keep = keep };
    jrl_workspace_expect(b->ws, &pass);
}

int main(int argc, char **argv)
{
    const int64_t n_seqs = argc > 2 ? atoll(argv[2]) : 8, n_tokens = argc > 3 ? atoll(argv[3]) : 1024;
    const int repetitions = argc > 4 ? atoi(argv[4]) : 3;
    struct jrl_matmul p = { .m = 8192, .n = 1536, .k = 576, .lda = 576, .ldb = 576, .ldc = 1536 };
    struct bench b = { 0 };

    if (argc > 7 || n_seqs < 1 || n_tokens < 2 || repetitions < 1 || repetitions > MAX_REPETITIONS) {
        fprintf(stderr, "usage: bench_train [threads [sequences [tokens [repetitions [none|mlp|layer [POLICY]]]]]]\n");
        return 2;
    }
    bench_batch_open(&b.batch, argc > 1 ? atoi(argv[1]) : 0, n_seqs, n_tokens, argc > 6 ? argv[6] : NULL);
    expect(&b.batch, argc <= 5 || strcmp(argv[5], "none") == 0 ? JRL_KEEP_ALL : strcmp(argv[5], "mlp") == 0 ? JRL_KEEP_ATTENTION : JRL_KEEP_INPUTS);
    p.dtype = b.batch.model.dtype;
    p.a = take_noise(p.m * p.k, p.dtype);
    p.b = take_noise(p.n * p.k, p.dtype);
    p.c = take(p.m * p.n, 4);
    b.product = p;
    must(jrl_gradients_new(&b.g, &b.batch.model, &error));
    must(jrl_gradients_zero(b.g, &error));
    run(&b, repetitions);
    jrl_gradients_free(b.g);
    free((void *)(uintptr_t)p.a);
    free((void *)(uintptr_t)p.b);
    free(p.c);
    bench_batch_close(&b.batch);
    return 0;
}
