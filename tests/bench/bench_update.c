/* bench_update.c - the seconds of one training step by phase: opening a policy, forward and backward, the optimiser,
 * writing, and opening again with the optimiser's state. The passes alone are bench_train's business.
 * With one thread an update's time is processor time, which other processes disturb least.
 * Usage: bench_update [threads [rollouts [tokens [POLICY]]]]. Without POLICY: random weights of SmolLM2-135M's shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/random.h"
#include "learn/trainer.h"
#include "tests/bench/bench.h"
#include "tests/bench/policy.h"
#include "tests/bench/rate.h"

#define N_PROMPT 64
#define N_UPDATES 2

static struct jrl_example *make_examples(int64_t n, int64_t n_tokens, int64_t vocab)
{
    struct jrl_example *examples = jrl_xcalloc((size_t)n, sizeof(*examples));
    struct jrl_rng rng;

    jrl_rng_init(&rng, 1, 1);
    for (int64_t i = 0; i < n; i++) {
        struct jrl_example *e = &examples[i];

        *e = (struct jrl_example){ .n_prompt = N_PROMPT, .n_response = n_tokens, .advantage = i % 2 ? 1 : -1 };
        e->tokens = jrl_xcalloc((size_t)(N_PROMPT + n_tokens), sizeof(*e->tokens));
        e->old_logprobs = jrl_xcalloc((size_t)n_tokens, sizeof(*e->old_logprobs));
        for (int64_t j = 0; j < N_PROMPT + n_tokens; j++)
            e->tokens[j] = (uint32_t)jrl_rng_below(&rng, (uint64_t)vocab);
        for (int64_t j = 0; j < n_tokens; j++)
            e->old_logprobs[j] = -11;
    }
    return examples;
}

static void line(const char *phase, double seconds)
{
    printf("update   %-22s %8.3f s\n", phase, seconds);
}

static void line_rate(const struct jrl_trainer *t, int64_t n_tokens, double tokens_per_second)
{
    const double rate = bench_product_rate(t->dev, t->model.dtype);
    const struct jrl_model_config *c = &t->model.config;
    const double used = 6 * (bench_layer_weights(c) + bench_head_weights(c) * (double)n_tokens / (double)(N_PROMPT + n_tokens)) * tokens_per_second;

    printf("update   of the rate of products %7.1f %% (%.2f of %.2f TFLOP/s; what is computed again is not counted)\n", 100 * used / rate,
           used * 1e-12, rate * 1e-12);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 0;
    const int64_t n = argc > 2 ? atoll(argv[2]) : 16, n_tokens = argc > 3 ? atoll(argv[3]) : 448;
    const struct jrl_trainer_settings settings = {
        .objective = { JRL_OBJECTIVE_POLICY, 0.2, 0.28, 10, JRL_KL_K3, 0, 0, 0 },
        .optimizer = { .lr = 1e-6, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .grad_clip = 1 },
        .micro_tokens = 16384, .dtype = "auto",
    };
    struct jrl_train_state state = { .step = 1, .device = "cpu", .version = "bench" };
    struct jrl_step_metrics m = { 0 };
    struct jrl_example *examples;
    struct jrl_trainer trainer;
    struct jrl_device *dev = NULL;
    char *policy, *next;
    double start, update = 0;

    must(jrl_device_open(&dev, "cpu", threads, &error));
    if (jrl_pool_size(jrl_device_pool(dev)) == 1)
        bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    policy = argc > 4 ? jrl_xstrdup(argv[4]) : bench_make_policy(dev);
    next = jrl_path_join(bench_folder(), "next");
    start = jrl_clock();
    must(jrl_trainer_open(&trainer, dev, policy, &settings, &error));
    printf("update   %lld threads, %s, %lld parameters, %d updates from %lld rollouts of %d + %lld tokens\n",
           (long long)jrl_pool_size(jrl_device_pool(dev)), jrl_device_path(dev), (long long)trainer.n, N_UPDATES, (long long)n, N_PROMPT,
           (long long)n_tokens);
    line("open", jrl_clock() - start);
    examples = make_examples(n, n_tokens, trainer.model.config.vocab);
    for (int i = 0; i < N_UPDATES; i++) {
        bool skipped;

        m.seconds_train = m.seconds_optimizer = 0; /* the last update counts: the first one touches fresh memory */
        update = now_seconds();
        must(jrl_trainer_minibatch(&trainer, examples, n, 1, 1e-6, &m, &skipped, &error));
        update = now_seconds() - update;
    }
    line("an update", update);
    printf("update   of it the optimiser    %8.1f %%\n", 100 * m.seconds_optimizer / (m.seconds_train + m.seconds_optimizer));
    printf("update   tokens/s               %8.1f\n", (double)(n * (N_PROMPT + n_tokens)) / update);
    line_rate(&trainer, n_tokens, (double)(n * (N_PROMPT + n_tokens)) / update);
    start = jrl_clock();
    must(jrl_trainer_save(&trainer, next, &state, &m, &error));
    line("write", jrl_clock() - start);
    jrl_trainer_close(&trainer);
    start = jrl_clock();
    must(jrl_trainer_open(&trainer, dev, next, &settings, &error));
    line("open with its state", jrl_clock() - start);
    jrl_trainer_close(&trainer);
    for (int64_t i = 0; i < n; i++)
        jrl_example_release(&examples[i]);
    free(examples);
    free(policy);
    free(next);
    jrl_device_close(dev);
    return 0;
}
