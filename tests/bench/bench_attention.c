/* bench_attention.c - speed of attention at SmolLM2-135M's shape: forward and backward over whole sequences,
 * decoding one position each of many sequences; decoding a long one of a single key-value head; and the row kernels beside them.
 * Usage: bench_attention [--quick] [threads]. Each figure is the best of several runs; with one thread it is that
 * thread's processor time, which other load on the machine disturbs least, with more the time that passed. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/logprob.h"
#include "kernels/norm.h"
#include "kernels/swiglu.h"
#include "tests/bench/bench.h"

struct shape {
    int64_t heads, kv_heads, dim;
};
static const struct shape smollm2 = { 9, 3, 64 }, one_head = { 6, 1, 128 };

static int n_runs = 5;
static double min_seconds = 0.1;

static void fill(float *x, int64_t n)
{
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = ((float)(state >> 8) - 8388608.0f) / 8388608.0f;
    }
}

static double best_seconds(void (*fn)(void *ctx), void *ctx)
{
    double best = 1e30;
    fn(ctx);
    for (int run = 0; run < n_runs; run++) {
        int calls = 0;
        double start = now_seconds(), elapsed;
        do {
            fn(ctx);
            calls++;
        } while ((elapsed = now_seconds() - start) < min_seconds);
        best = elapsed / calls < best ? elapsed / calls : best;
    }
    return best;
}

struct bench {
    struct jrl_device *dev;
    struct jrl_attention p;
    struct jrl_attention_rows *seqs;
    void *q, *out;
    float *qkv, *lse, *dout, *dqkv;
    int64_t n_layers; /* whose pages lie one behind the other, as in the sampler's cache */
};

static void rope(void *ctx)
{
    struct bench *b = ctx;
    must(jrl_qkv_rope(b->dev, &b->p, b->q, b->qkv, NULL, &error));
}

static void forward(void *ctx)
{
    struct bench *b = ctx;
    must(jrl_attention_forward(b->dev, &b->p, b->out, b->lse, b->q, &error));
}

/* FN for each layer in turn. */
static void each_layer(struct bench *b, void (*fn)(void *ctx))
{
    for (int64_t layer = 0; layer < b->n_layers; layer++) {
        b->p.page_offset = layer * jrl_page_bytes(b->p.dtype, b->p.n_kv_heads, b->p.head_dim);
        fn(b);
    }
}

static void forward_layers(void *ctx)
{
    each_layer(ctx, forward);
}

static void backward(void *ctx)
{
    struct bench *b = ctx;
    must(jrl_attention_backward(b->dev, &b->p, b->dqkv, b->dout, b->q, b->out, b->lse, &error));
}

/* N_SEQS whole sequences of LENGTH positions, through qkv_rope once so that the pages are filled. */
static struct bench new_bench(struct jrl_device *dev, struct shape shape, enum jrl_dtype dtype, int64_t n_seqs, int64_t length, int64_t n_layers)
{
    const int64_t q_width = shape.heads * shape.dim, width = q_width + 2 * shape.kv_heads * shape.dim;
    int64_t rows = n_seqs * length, page_bytes = n_layers * jrl_page_bytes(dtype, shape.kv_heads, shape.dim), n_pages = length / JRL_PAGE_TOKENS;
    struct bench b = { .dev = dev, .seqs = take(n_seqs, sizeof *b.seqs), .q = take(rows, q_width * 4), .out = take(rows, q_width * 4),
                       .qkv = take(rows, width * 4), .lse = take(rows, shape.heads * 4), .dout = take(rows, q_width * 4),
                       .dqkv = take(rows, width * 4), .n_layers = n_layers };
    float *cos_table = take(length, shape.dim * 2), *sin_table = take(length, shape.dim * 2);

    jrl_rope_table(cos_table, sin_table, length, shape.dim, 100000);
    for (int64_t s = 0; s < n_seqs; s++) {
        uint8_t **pages = take(n_pages, sizeof *pages), *memory = take(n_pages, page_bytes);
        for (int64_t i = 0; i < n_pages; i++)
            pages[i] = memory + i * page_bytes;
        b.seqs[s] = (struct jrl_attention_rows){ s * length, length, 0, pages };
    }
    b.p = (struct jrl_attention){ .dtype = dtype, .n_heads = shape.heads, .n_kv_heads = shape.kv_heads, .head_dim = shape.dim, .n_rows = rows,
                                  .n_seqs = n_seqs, .seqs = b.seqs, .rope_cos = cos_table, .rope_sin = sin_table };
    fill(b.qkv, rows * width);
    fill(b.dout, rows * q_width);
    each_layer(&b, rope);
    return b;
}

static void free_bench(struct bench *b)
{
    for (int64_t s = 0; s < b->p.n_seqs; s++) {
        free(b->seqs[s].pages[0]);
        free((void *)(uintptr_t)b->seqs[s].pages);
    }
    free((void *)(uintptr_t)b->p.rope_cos);
    free((void *)(uintptr_t)b->p.rope_sin);
    void *all[] = { b->seqs, b->q, b->out, b->qkv, b->lse, b->dout, b->dqkv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void whole_sequences(struct jrl_device *dev, enum jrl_dtype dtype, int64_t n_seqs, int64_t length)
{
    struct bench b = new_bench(dev, smollm2, dtype, n_seqs, length, 1);
    double pairs = (double)n_seqs * (double)length * (double)(length + 1) / 2 * (double)(smollm2.heads * smollm2.dim); /* causal */
    double rope_seconds = best_seconds(rope, &b), seconds = best_seconds(forward, &b), back = best_seconds(backward, &b);

    printf("whole    %-5s %3" PRId64 " x %5" PRId64 "  forward %7.1f GFLOP/s %8.2f ms   backward %7.1f GFLOP/s %8.2f ms   rope %6.2f ms\n",
           dtype == JRL_BF16 ? "bf16" : "f32", n_seqs, length, 4 * pairs / seconds * 1e-9, seconds * 1e3, 10 * pairs / back * 1e-9,
           back * 1e3, rope_seconds * 1e3);
    free_bench(&b);
}

/* The last position of each sequence: the pages are read once, from memory when they outgrow the cache. */
static void decode(struct jrl_device *dev, struct shape shape, enum jrl_dtype dtype, int64_t n_seqs, int64_t length, int64_t n_layers)
{
    struct bench b = new_bench(dev, shape, dtype, n_seqs, length, n_layers);
    double bytes = (double)(n_layers * n_seqs * length / JRL_PAGE_TOKENS) * (double)jrl_page_bytes(dtype, shape.kv_heads, shape.dim);

    for (int64_t s = 0; s < n_seqs; s++)
        b.seqs[s] = (struct jrl_attention_rows){ s, 1, length - 1, b.seqs[s].pages };
    b.p.n_rows = n_seqs;
    double rope_seconds = best_seconds(rope, &b), seconds = best_seconds(forward_layers, &b);
    printf("decode   %-5s %3" PRId64 " x %5" PRId64 " x %2" PRId64 " layers x %" PRId64 " heads  %7.2f GB/s of keys and values %9.1f us "
           "  rope of one %6.1f us\n",
           dtype == JRL_BF16 ? "bf16" : "f32", n_seqs, length, n_layers, shape.kv_heads, bytes / seconds * 1e-9, seconds * 1e6, rope_seconds * 1e6);
    free_bench(&b);
}

struct rows_bench {
    struct jrl_device *dev;
    int64_t rows, dim, hidden, vocab;
    float *x, *up, *dy, *dx, *dweight, *logprob, *entropy, *lse;
    void *y, *dgate, *dup;
    jrl_bf16 *weight;
    uint32_t *targets;
};

static void norm(void *ctx)
{
    struct rows_bench *b = ctx;
    must(jrl_rmsnorm(b->dev, b->y, b->x, b->weight, JRL_BF16, 1e-5f, b->rows, b->dim, &error));
}

static void norm_backward(void *ctx)
{
    struct rows_bench *b = ctx;
    must(jrl_rmsnorm_backward(b->dev, b->dx, b->dweight, b->dy, b->x, b->weight, JRL_BF16, 1e-5f, b->rows, b->dim, &error));
}

static void gate(void *ctx)
{
    struct rows_bench *b = ctx;
    must(jrl_swiglu(b->dev, b->y, JRL_BF16, b->x, b->up, b->rows, b->hidden, &error));
}

static void gate_backward(void *ctx)
{
    struct rows_bench *b = ctx;
    must(jrl_swiglu_backward(b->dev, b->dgate, b->dup, JRL_BF16, b->dy, b->x, b->up, b->rows, b->hidden, &error));
}

static void logprob(void *ctx)
{
    struct rows_bench *b = ctx;
    must(jrl_logprob(b->dev, b->logprob, b->entropy, b->lse, b->x, b->vocab, b->targets, 1, 32, b->vocab, &error));
}

static void logprob_backward(void *ctx)
{
    struct rows_bench *b = ctx;
    must(jrl_logprob_backward(b->dev, b->y, JRL_BF16, b->x, b->vocab, b->targets, 1, b->lse, b->entropy, b->lse, NULL, 32, b->vocab, &error));
}

static void row_kernels(struct jrl_device *dev)
{
    struct rows_bench b = { .dev = dev, .rows = 1024, .dim = 576, .hidden = 1536, .vocab = 49152 };
    const struct {
        const char *name;
        void (*fn)(void *ctx);
        double elements;
    } jobs[] = {
        { "rmsnorm 1024 x 576", norm, 1024 * 576 }, { "rmsnorm backward 1024 x 576", norm_backward, 1024 * 576 },
        { "swiglu 1024 x 1536", gate, 1024 * 1536 }, { "swiglu backward 1024 x 1536", gate_backward, 1024 * 1536 },
        { "logprob 32 x 49152", logprob, 32 * 49152 }, { "logprob backward 32 x 49152", logprob_backward, 32 * 49152 },
    };
    float **floats[] = { &b.x, &b.up, &b.dy, &b.dx, &b.dweight, &b.logprob, &b.entropy, &b.lse };
    void **others[] = { &b.y, &b.dgate, &b.dup, (void **)&b.weight, (void **)&b.targets };

    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        fill(*floats[i] = take(1024 * 1536, 4), 1024 * 1536);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        *others[i] = take(1024 * 1536, 4);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        double seconds = best_seconds(jobs[i].fn, &b);
        printf("rows     bf16  %-28s %7.2f G elements/s %8.1f us\n", jobs[i].name, jobs[i].elements / seconds * 1e-9, seconds * 1e6);
    }
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        free(*floats[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        free(*others[i]);
}

int main(int argc, char **argv)
{
    struct jrl_device *dev;
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    int n_threads = argc > 1 + quick ? atoi(argv[1 + quick]) : 0;

    must(jrl_device_open(&dev, "cpu", n_threads, &error));
    if (jrl_pool_size(jrl_device_pool(dev)) == 1)
        bench_clock = CLOCK_THREAD_CPUTIME_ID;
    if (quick) {
        n_runs = 1;
        min_seconds = 0.005;
    }
    printf("# path %s, %d threads\n", jrl_device_path(dev), jrl_pool_size(jrl_device_pool(dev)));
    whole_sequences(dev, JRL_BF16, 8, 512);
    whole_sequences(dev, JRL_BF16, 4, 1024);
    if (!quick) {
        whole_sequences(dev, JRL_BF16, 1, 4096);
        whole_sequences(dev, JRL_BF16, 1, 8192);
    }
    whole_sequences(dev, JRL_F32, 4, 512);
    decode(dev, smollm2, JRL_BF16, 1, 1024, 1);
    decode(dev, smollm2, JRL_BF16, 32, 512, 1);
    decode(dev, smollm2, JRL_BF16, 32, 1024, 1);
    decode(dev, smollm2, JRL_BF16, 32, 4096, 1);
    if (!quick) {
        decode(dev, smollm2, JRL_BF16, 64, 320, 30); /* as a step of sampling finds them */
        decode(dev, one_head, JRL_BF16, 1, 4096, 28); /* a key-value head for all threads */
        decode(dev, one_head, JRL_BF16, 1, 8192, 28);
    }
    decode(dev, smollm2, JRL_F32, 32, 1024, 1);
    row_kernels(dev);
    jrl_device_close(dev);
    return 0;
}
