/* bench_score.c - tokens per second of scoring, jrl-logprob's pass over whole sequences, and its share of the rate of one large
 * product. Training's passes are bench_train's, decoding is bench_sampling's.
 * With one thread times are processor time, which other processes disturb least.
 * Usage: bench_score [threads [sequences [tokens [repetitions [POLICY]]]]]. Without POLICY: random weights of SmolLM2-135M's shape. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/batch.h"
#include "tests/bench/rate.h"

#define MAX_REPETITIONS 100

static double time_score(struct bench_batch *b, float *logprobs)
{
    const double start = now_seconds();

    must(jrl_score(&b->model, b->ws, b->seqs, b->n_seqs, 1.0, logprobs, NULL, &error));
    return now_seconds() - start;
}

static void run(struct bench_batch *b, int repetitions)
{
    const double n = (double)(b->n_seqs * b->n_tokens), flops = 2 * n * (bench_layer_weights(&b->model.config) + bench_head_weights(&b->model.config));
    const double rate = bench_product_rate(b->dev, b->model.dtype);
    float *logprobs = take(b->n_seqs * b->n_tokens, 4);
    double times[MAX_REPETITIONS], seconds;

    (void)time_score(b, logprobs);
    for (int i = 0; i < repetitions; i++)
        times[i] = time_score(b, logprobs);
    seconds = median(times, repetitions);
    printf("score %lld x %lld: median %.3f s (%.3f to %.3f), %.0f tokens/s; its products %.1f %% of the rate of one product (%.3f TFLOP/s)\n",
           (long long)b->n_seqs, (long long)b->n_tokens, seconds, times[0], times[repetitions - 1], n / seconds, 100 * flops / seconds / rate, rate * 1e-12);
    free(logprobs);
}

int main(int argc, char **argv)
{
    const int64_t n_seqs = argc > 2 ? atoll(argv[2]) : 8, n_tokens = argc > 3 ? atoll(argv[3]) : 512;
    const int repetitions = argc > 4 ? atoi(argv[4]) : 3;
    struct bench_batch b;

    if (argc > 6 || n_seqs < 1 || n_tokens < 2 || repetitions < 1 || repetitions > MAX_REPETITIONS) {
        fprintf(stderr, "usage: bench_score [threads [sequences [tokens [repetitions [POLICY]]]]]\n");
        return 2;
    }
    bench_batch_open(&b, argc > 1 ? atoi(argv[1]) : 0, n_seqs, n_tokens, argc > 5 ? argv[5] : NULL);
    run(&b, repetitions);
    bench_batch_close(&b);
    return 0;
}
