/* gpu_table.h - the table that bench_gpu prints: what is measured with which sizes, the time of a piece of work, and a row of each kind. */
#ifndef JRL_TESTS_BENCH_GPU_TABLE_H
#define JRL_TESTS_BENCH_GPU_TABLE_H

#include <stdio.h>

#include "base/machine.h"
#include "kernels/device.h"
#include "model/model.h"
#include "tests/bench/bench.h"

#define MOST_REPETITIONS 50

/* What is measured. */
struct sizes {
    int64_t copied, product;              /* bytes; rows, columns and contracted index */
    int64_t context, batches[5];          /* decode: positions of each sequence, sequences */
    int64_t prompts[2];                   /* prefill: tokens */
    int64_t packed, sequences[3];         /* update: tokens of a pack, of a sequence */
    int64_t responses[2], longest;        /* step: responses, tokens of the longest */
    double mean_length;
    int points, repetitions;              /* of a step where decoding is timed; of a measurement */
};

struct bench {
    struct sizes sizes;
    struct jrl_device *dev;
    const char *folder;
    struct jrl_policy *policy;
    struct jrl_model model;
    double bandwidth, rate;              /* measured: bytes and operations a second */
    double prompt_token, trained_token;  /* seconds; 0: not measured */
    struct jrl_error refusal;            /* why there is no update */
};

/* The median seconds of WORK once it has run twice; it waits for the device itself or is waited for. */
static inline double seconds_of(const struct bench *b, int repetitions, int (*work)(void *ctx, struct jrl_error *err), void *ctx)
{
    double seconds[MOST_REPETITIONS];

    for (int i = -2; i < repetitions; i++) {
        const double start = jrl_clock();

        must(work(ctx, &error));
        must(jrl_device_synchronise(b->dev, &error));
        if (i >= 0)
            seconds[i] = jrl_clock() - start;
    }
    return median(seconds, repetitions);
}

/* ---- rows of the table ---- */

static inline void table_head(void)
{
    printf("| work | time | rate | of what was measured | tokens/s |\n|---|---|---|---|---|\n");
}

static inline void row_bytes(const struct bench *b, const char *work, double seconds, double bytes, double tokens)
{
    printf("| %s | %.3f ms | %.1f GB/s | %.0f %% | %.0f |\n", work, seconds * 1e3, bytes / seconds * 1e-9, 100 * bytes / seconds / b->bandwidth,
           tokens / seconds);
    fflush(stdout);
}

static inline void row_flops(const struct bench *b, const char *work, double seconds, double flops, double tokens)
{
    printf("| %s | %.3f ms | %.2f TFLOP/s | %.0f %% | %.0f |\n", work, seconds * 1e3, flops / seconds * 1e-12, 100 * flops / seconds / b->rate,
           tokens / seconds);
    fflush(stdout);
}

static inline void row_note(const char *work, const char *note)
{
    printf("| %s | %s | | | |\n", work, note);
    fflush(stdout);
}

#endif
