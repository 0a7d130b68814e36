/* rate.h - the measure that sampling and updating are held against: the rate of one large product on this machine, and the
 * operations of a model's products for each token. */
#ifndef JRL_TESTS_BENCH_RATE_H
#define JRL_TESTS_BENCH_RATE_H

#include "kernels/matmul.h"
#include "model/config.h"
#include "tests/bench/bench.h"

/* Operations per second of a product of 512 rows, the best of thirty. */
static inline double bench_product_rate(struct jrl_device *dev, enum jrl_dtype dtype)
{
    enum { M = 512, N = 1536, K = 1536 };
    void *a = take(M * K, 4), *b = take(N * K, 4);
    struct jrl_matmul p = { .dtype = dtype, .m = M, .n = N, .k = K, .a = a, .b = b, .c = take(M * N, 4), .lda = K, .ldb = K, .ldc = N };
    double best = 0;

    for (int i = 0; i < 30; i++) {
        const double start = now_seconds();
        double rate;

        must(jrl_matmul_nt(dev, &p, &error));
        rate = 2.0 * M * N * K / (now_seconds() - start);
        best = rate > best ? rate : best;
    }
    free(a);
    free(b);
    free(p.c);
    return best;
}

/* Weights that take part in a product for each token: those of the layers, and of the head where it has logits (a prompt's
 * last token, every response token). Two operations each forward, six forward and backward; what is computed again is not
 * counted. */
static inline double bench_layer_weights(const struct jrl_model_config *c)
{
    const double q = (double)(c->n_heads * c->head_dim), kv = (double)(c->n_kv_heads * c->head_dim), dim = (double)c->dim;

    return (double)c->n_layers * (dim * (2 * q + 2 * kv) + 3 * dim * (double)c->mlp_dim);
}
static inline double bench_head_weights(const struct jrl_model_config *c)
{
    return (double)c->dim * (double)c->vocab;
}

#endif
