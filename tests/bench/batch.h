/* batch.h - a policy opened on the CPU and a micro-batch of sequences of one length, for what is measured in whole passes. */
#ifndef JRL_TESTS_BENCH_BATCH_H
#define JRL_TESTS_BENCH_BATCH_H

#include "model/train.h"
#include "tests/bench/bench.h"
#include "tests/bench/policy.h"

struct bench_batch {
    struct jrl_device *dev;
    struct jrl_policy *policy;
    struct jrl_model model;
    struct jrl_workspace *ws;
    struct jrl_sequence *seqs; /* [n_seqs], each of n_tokens to predict */
    uint32_t *tokens;
    int64_t n_seqs, n_tokens;
};

/* FOLDER NULL: random weights of SmolLM2-135M's shape. With one thread the clock is its processor time. */
static inline void bench_batch_open(struct bench_batch *b, int threads, int64_t n_seqs, int64_t n_tokens, const char *folder)
{
    char *made = NULL;

    *b = (struct bench_batch){ .ws = jrl_workspace_new(), .n_seqs = n_seqs, .n_tokens = n_tokens };
    must(jrl_device_open(&b->dev, "cpu", threads, &error));
    if (jrl_pool_size(jrl_device_pool(b->dev)) == 1)
        bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    if (!folder)
        folder = made = bench_make_policy(b->dev);
    must(jrl_policy_open(&b->policy, folder, &error));
    must(jrl_model_open(&b->model, b->dev, b->policy, "auto", n_tokens + 1, &error));
    free(made);
    b->seqs = take(n_seqs, sizeof(*b->seqs));
    b->tokens = take(n_tokens + 1, sizeof(*b->tokens));
    for (int64_t i = 0; i <= n_tokens; i++)
        b->tokens[i] = (uint32_t)(i * 7919 % b->model.config.vocab);
    for (int64_t i = 0; i < n_seqs; i++)
        b->seqs[i] = (struct jrl_sequence){ b->tokens, n_tokens + 1, 1 };
}

static inline void bench_batch_close(struct bench_batch *b)
{
    free(b->seqs);
    free(b->tokens);
    jrl_workspace_free(b->ws);
    jrl_model_close(&b->model);
    jrl_policy_close(b->policy);
    jrl_device_close(b->dev);
}

#endif
