/* bench_model.c - tokens per second of training, scoring and decoding a policy, and how much of that time the
 * matrix products alone would take.
 * Usage: bench_model [threads [sequences [tokens [POLICY]]]]. Without POLICY: random weights of SmolLM2-135M's shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "kernels/logprob.h"
#include "kernels/matmul.h"
#include "model/train.h"
#include "tests/bench/policy.h"

static struct jrl_error error;
static struct jrl_model model;
static struct jrl_workspace *ws;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "bench_model: error: %s\n", error.text);
        exit(1);
    }
}

static void *take(int64_t n, int64_t size_bytes)
{
    void *p = NULL;

    must(jrl_try_alloc(&p, (size_t)n, (size_t)size_bytes, "the benchmark", &error));
    return p;
}

static void flat_objective(void *ctx, int64_t sequence, int64_t first, int64_t n, const float *logprob, const float *entropy,
                           float *dlogprob, float *dentropy)
{
    (void)ctx, (void)sequence, (void)first, (void)logprob, (void)entropy, (void)dentropy;
    for (int64_t i = 0; i < n; i++)
        dlogprob[i] = -1e-4f;
}

/* Seconds of one product of this shape, over memory that is touched already. */
static double product_seconds(int (*product)(struct jrl_device *, const struct jrl_matmul *, struct jrl_error *), int64_t m, int64_t n, int64_t k)
{
    const int64_t bytes = jrl_dtype_bytes(model.dtype), most = (m > n ? m : n) > k ? (m > n ? m : n) : k;
    void *a = take(most * (k < most ? (m < k ? k : m) : m), bytes), *b = take(most * (k < most ? (n < k ? k : n) : n), bytes);
    struct jrl_matmul p = { .dtype = model.dtype, .m = m, .n = n, .k = k, .a = a, .b = b, .c = take(m * n, 4), .ldc = n, .accumulate = true };
    double best = 1e30;

    p.lda = product == jrl_matmul_tn ? m : k;
    p.ldb = product == jrl_matmul_nt ? k : n;
    for (int i = 0; i < 3; i++) {
        const double start = now_seconds();

        must(product(model.dev, &p, &error));
        best = now_seconds() - start < best ? now_seconds() - start : best;
    }
    free(a);
    free(b);
    free(p.c);
    return best;
}

/* Forward, recomputed forward, and both gradients of the products of one pass over these rows. */
static double all_products(int64_t rows, int64_t head_rows, bool train)
{
    const struct jrl_model_config *c = &model.config;
    const int64_t q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    const struct { int64_t out, in; int times; bool again; } shapes[] = {
        { q, c->dim, 1, true }, { kv, c->dim, 2, true }, { c->dim, q, 1, true }, { c->mlp_dim, c->dim, 2, true }, { c->dim, c->mlp_dim, 1, false },
    };
    double seconds = 0;

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        double one = product_seconds(jrl_matmul_nt, rows, shapes[i].out, shapes[i].in);

        if (train)
            one = one * (shapes[i].again ? 2 : 1) + product_seconds(jrl_matmul_nn, rows, shapes[i].in, shapes[i].out) +
                  product_seconds(jrl_matmul_tn, shapes[i].out, shapes[i].in, rows);
        seconds += one * shapes[i].times * (double)c->n_layers;
    }
    seconds += product_seconds(jrl_matmul_nt, head_rows, c->vocab, c->dim);
    if (train)
        seconds += product_seconds(jrl_matmul_nn, head_rows, c->dim, c->vocab) + product_seconds(jrl_matmul_tn, c->vocab, c->dim, head_rows);
    return seconds;
}

static void bench_train(const struct jrl_sequence *seqs, int64_t n_seqs, int64_t n_tokens)
{
    struct jrl_gradients *g = NULL;
    const int64_t rows = n_seqs * jrl_sequence_rows(n_tokens + 1);
    float *logprobs = take(n_seqs * n_tokens, 4);
    double best[2] = { 1e30, 1e30 }, products[2];

    must(jrl_gradients_new(&g, &model, &error));
    must(jrl_gradients_zero(g, model.dev, &error));
    for (int i = 0; i < 3; i++) {
        double start = now_seconds();

        must(jrl_train(&model, ws, seqs, n_seqs, 1.0, flat_objective, NULL, g, &error));
        best[0] = now_seconds() - start < best[0] ? now_seconds() - start : best[0];
        start = now_seconds();
        must(jrl_score(&model, ws, seqs, n_seqs, 1.0, logprobs, NULL, &error));
        best[1] = now_seconds() - start < best[1] ? now_seconds() - start : best[1];
    }
    products[0] = all_products(rows, rows, true);
    products[1] = all_products(rows, rows, false);
    for (int i = 0; i < 2; i++)
        printf("%-8s %4lld x %-5lld %8.1f tokens/s  %7.3f s  products alone %7.3f s  (%.0f %%)\n", i ? "score" : "train", (long long)n_seqs,
               (long long)n_tokens, (double)(n_seqs * n_tokens) / best[i], best[i], products[i], 100 * products[i] / best[i]);
    jrl_gradients_free(g);
    free(logprobs);
}

/* One token each of n sequences that hold `position` tokens already. */
static void bench_decode(int64_t n, int64_t position)
{
    const int64_t bytes = jrl_model_page_bytes(&model), pages = position / JRL_PAGE_TOKENS + 1;
    uint8_t *memory = take(n * pages, bytes), **table = take(n * pages, sizeof(*table));
    struct jrl_span *spans = take(n, sizeof(*spans));
    int64_t *rows = take(n, sizeof(*rows));
    const uint32_t token = 1;
    float *logits = NULL, *logprob = take(n, 4);
    uint32_t *targets = take(n, 4);
    double best = 1e30, products;

    for (int64_t i = 0; i < n * pages; i++)
        table[i] = memory + i * bytes;
    memset(memory, 0, (size_t)(n * pages * bytes));
    for (int64_t i = 0; i < n; i++) {
        spans[i] = (struct jrl_span){ .tokens = &token, .n = 1, .start = position, .pages = table + i * pages };
        rows[i] = i;
    }
    for (int i = 0; i < 5; i++) {
        const double start = now_seconds();

        must(jrl_model_forward(&model, ws, spans, n, rows, n, &logits, &error));
        must(jrl_logprob(model.dev, logprob, NULL, NULL, logits, model.config.vocab, targets, 1.0f, n, model.config.vocab, &error));
        best = now_seconds() - start < best ? now_seconds() - start : best;
    }
    products = all_products(n, n, false);
    printf("%-8s %4lld @ %-5lld %8.1f tokens/s  %7.4f s  products alone %7.4f s  (%.0f %%)\n", "decode", (long long)n, (long long)position,
           (double)n / best, best, products, 100 * products / best);
    free(memory);
    free(table);
    free(spans);
    free(rows);
    free(logprob);
    free(targets);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 0;
    const int64_t n_seqs = argc > 2 ? atoll(argv[2]) : 8, n_tokens = argc > 3 ? atoll(argv[3]) : 512;
    struct jrl_policy *policy = NULL;
    struct jrl_device *dev = NULL;
    struct jrl_sequence *seqs;
    uint32_t *tokens;
    char *folder;
    double start;

    if (argc > 5 || n_seqs < 1 || n_tokens < 2) {
        fprintf(stderr, "usage: bench_model [threads [sequences [tokens [POLICY]]]]\n");
        return 2;
    }
    must(jrl_device_open(&dev, "cpu", threads, &error));
    folder = argc > 4 ? jrl_xstrdup(argv[4]) : bench_make_policy(dev);
    start = now_seconds();
    must(jrl_policy_open(&policy, folder, &error));
    must(jrl_model_open(&model, dev, policy, "auto", n_tokens + 1, &error));
    printf("opened in %.3f s; %s, %d threads\n", now_seconds() - start, jrl_device_path(dev), jrl_pool_size(jrl_device_pool(dev)));
    ws = jrl_workspace_new();
    seqs = take(n_seqs, sizeof(*seqs));
    tokens = take(n_tokens + 1, sizeof(*tokens));
    for (int64_t i = 0; i <= n_tokens; i++)
        tokens[i] = (uint32_t)(i * 7919 % model.config.vocab);
    for (int64_t i = 0; i < n_seqs; i++)
        seqs[i] = (struct jrl_sequence){ tokens, n_tokens + 1, 1 };
    bench_train(seqs, n_seqs, n_tokens);
    for (int64_t n = 1; n <= 64; n *= 8)
        bench_decode(n, n_tokens / 2);
    free(folder);
    free(seqs);
    free(tokens);
    jrl_workspace_free(ws);
    jrl_model_close(&model);
    jrl_policy_close(policy);
    jrl_device_close(dev);
    return 0;
}
