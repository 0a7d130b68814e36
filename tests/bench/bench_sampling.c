/* bench_sampling.c - tokens per second of the sampling engine, and the share of what the machine could do: a step of decoding
 * can be no faster than reading the weights and the keys and values once, nor than its products at the measured rate.
 * The last two columns are the share of that rate which the products of decoding and of prompts take.
 * With one thread all times are processor time, which other processes disturb least.
 * Usage: bench_sampling [POLICY [threads [prompt [response [batch]...]]]]. Without a policy it
 * makes one of SmolLM2-135M's shape with random weights, in TMPDIR. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rollout/engine.h"
#include "tests/bench/bench.h"
#include "tests/bench/policy.h"
#include "tests/bench/rate.h"

static struct jrl_model model;

struct reading {
    const uint64_t *data;
    int64_t words, parts;
    uint64_t sums[1024];
};

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#endif
static void read_part(void *ctx, int64_t part, int thread)
{
    struct reading *r = ctx;
    uint64_t sum = 0;

    for (int64_t i = r->words * part / r->parts; i < r->words * (part + 1) / r->parts; i++)
        sum ^= r->data[i];
    r->sums[thread & 1023] ^= sum;
}

/* Bytes per second of reading memory, over much more than the caches hold. */
static double read_rate(void)
{
    struct reading r = { .words = (int64_t)1 << 27, .parts = 256 };
    void *data = take(r.words, 8);
    double best = 0;

    memset(data, 1, (size_t)r.words * 8);
    r.data = data;
    for (int i = 0; i < 5; i++) {
        double start = now_seconds(), rate;

        jrl_pool_run(jrl_device_pool(model.dev), r.parts, read_part, &r);
        rate = (double)r.words * 8 / (now_seconds() - start);
        best = rate > best ? rate : best;
    }
    free(data);
    return best;
}

static void bench(int64_t batch, int64_t n_prompt, int64_t n_response, double bandwidth, double rate)
{
    struct jrl_sampling sampling = { .temperature = 1, .top_p = 1, .max_tokens = n_response };
    struct jrl_engine_limits limits = { batch, 512, 0, n_prompt };
    struct jrl_engine *e = NULL;
    struct jrl_engine_stats before = { 0 }, after;
    uint32_t *prompt = jrl_xcalloc((size_t)n_prompt, sizeof *prompt);
    double *steps = jrl_xcalloc((size_t)(n_response + batch * n_prompt), sizeof *steps), start, all = now_seconds();
    const double layers = bench_layer_weights(&model.config), head = bench_head_weights(&model.config);
    double weights = (layers + head) * (double)jrl_dtype_bytes(model.dtype), token = 2 * (layers + head) / rate; /* seconds of products alone */
    double work = token * (double)batch;
    double cached = (double)(batch * (n_prompt + n_response / 2)) * (double)jrl_model_page_bytes(&model) / JRL_PAGE_TOKENS;
    double read = (weights + cached) / bandwidth, bound = read > work ? read : work;
    double prefill = 0, decode = 0;
    int64_t n_steps = 0;
    int rc;

    must(jrl_engine_new(&e, &model, &sampling, &limits, &error));
    for (int64_t i = 0; i < batch; i++) {
        for (int64_t j = 0; j < n_prompt; j++)
            prompt[j] = (uint32_t)((i * 31 + j * 7919) % model.config.vocab);
        must(jrl_engine_add(e, (uint64_t)i, 0, prompt, n_prompt, 0, 1, NULL, &error));
    }
    for (;;) {
        start = now_seconds();
        must(rc = jrl_engine_step(e, &error));
        if (rc == JRL_EOF)
            break;
        jrl_engine_stats(e, &after);
        if (after.prefill_s == before.prefill_s && after.tokens - before.tokens == batch)
            steps[n_steps++] = now_seconds() - start;
        else if (after.prefill_s > before.prefill_s)
            prefill += now_seconds() - start;
        before = after;
    }
    all = now_seconds() - all;
    qsort(steps, (size_t)n_steps, sizeof *steps, rising);
    for (int64_t i = 0; i < n_steps; i++)
        decode += steps[i];
    printf("%5lld %9.1f %9.2f %9.2f %10.1f %9.2f %7.0f%% %9.3f %10.1f %10.1f %8.1f%% %8.1f%%\n", (long long)batch, (double)(batch * n_response) / all, steps[0] * 1e3,
           steps[n_steps / 2] * 1e3, (double)batch / steps[n_steps / 2], bound * 1e3, 100 * bound / steps[n_steps / 2], prefill,
           (double)(batch * n_prompt) / prefill, (double)(batch * n_steps) / decode, 100 * token * (double)(batch * n_steps) / decode,
           200 * (layers * (double)n_prompt + head) * (double)batch / rate / prefill);
    fflush(stdout);
    jrl_engine_free(e);
    free(prompt);
    free(steps);
}

int main(int argc, char **argv)
{
    static const int64_t batches[] = { 1, 8, 32, 64 };
    const int64_t n_prompt = argc > 3 ? atoll(argv[3]) : 200, n_response = argc > 4 ? atoll(argv[4]) : 128;
    struct jrl_policy *policy = NULL;
    struct jrl_device *dev = NULL;
    bool usable = n_prompt > 0 && n_response > 1;
    double bandwidth, rate;

    for (int i = 5; i < argc; i++)
        usable = usable && atoll(argv[i]) > 0;
    if (!usable) {
        fprintf(stderr, "usage: bench_sampling [POLICY [threads [prompt [response [batch]...]]]]\n");
        return 2;
    }
    must(jrl_device_open(&dev, "cpu", argc > 2 ? atoi(argv[2]) : 0, &error));
    if (jrl_pool_size(jrl_device_pool(dev)) == 1)
        bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    must(jrl_policy_open(&policy, argc > 1 ? argv[1] : bench_make_policy(dev), &error));
    must(jrl_model_open(&model, dev, policy, "auto", n_prompt + n_response, &error));
    bandwidth = read_rate();
    rate = bench_product_rate(dev, model.dtype);
    printf("%s, %d threads: reads %.1f GB/s, products %.2f TFLOP/s; prompts of %lld, responses of %lld tokens\n", jrl_device_path(dev),
           jrl_pool_size(jrl_device_pool(dev)), bandwidth * 1e-9, rate * 1e-12, (long long)n_prompt, (long long)n_response);
    printf("%5s %9s %9s %9s %10s %9s %8s %9s %10s %10s %9s %9s\n", "batch", "tokens/s", "step ms", "median", "decode t/s", "bound ms", "of bound", "prefill s",
           "prompt t/s", "mean t/s", "of rate", "prompts");
    for (int i = 5; i < argc; i++)
        bench(atoll(argv[i]), n_prompt, n_response, bandwidth, rate);
    for (size_t i = 0; argc <= 5 && i < sizeof batches / sizeof *batches; i++)
        bench(batches[i], n_prompt, n_response, bandwidth, rate);
    jrl_model_close(&model);
    jrl_policy_close(policy);
    jrl_device_close(dev);
    return 0;
}
