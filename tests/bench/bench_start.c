/* bench_start.c - how long a policy takes from being opened to its first token, part by part: what jrl-sample pays for each
 * step of a run that goes step by step. The second time is the one that counts: the files are in the page cache then.
 * Usage: bench_start [POLICY [threads [prompt]]]. Without a policy it makes one of SmolLM2-135M's shape, in TMPDIR. */
#include <stdio.h>
#include <stdlib.h>

#include "rollout/engine.h"
#include "tests/bench/bench.h"
#include "tests/bench/policy.h"

/* The seconds since the last call. */
static double lap(double *last)
{
    const double now = now_seconds(), seconds = now - *last;

    *last = now;
    return seconds;
}

static void start(const char *name, const char *folder, struct jrl_device *dev, int64_t n_prompt)
{
    const struct jrl_sampling sampling = { .temperature = 1, .top_p = 1, .max_tokens = 4 };
    const struct jrl_engine_limits limits = { 64, 512, 0, n_prompt };
    uint32_t *prompt = jrl_xcalloc((size_t)n_prompt, sizeof *prompt);
    struct jrl_policy *policy = NULL;
    struct jrl_model model;
    struct jrl_engine *e = NULL;
    double last = now_seconds(), opened, ready, prefill, token;

    must(jrl_policy_open(&policy, folder, &error));
    opened = lap(&last);
    must(jrl_model_open(&model, dev, policy, "auto", n_prompt + sampling.max_tokens, &error));
    must(jrl_engine_new(&e, &model, &sampling, &limits, &error));
    for (int64_t i = 0; i < n_prompt; i++)
        prompt[i] = (uint32_t)(i * 7919 % model.config.vocab);
    must(jrl_engine_add(e, 0, 0, prompt, n_prompt, 0, 1, NULL, &error));
    ready = lap(&last);
    for (struct jrl_engine_stats stats = { 0 }; stats.tokens == 0; jrl_engine_stats(e, &stats))
        must(jrl_engine_step(e, &error));
    prefill = lap(&last);
    must(jrl_engine_step(e, &error));
    token = lap(&last);
    printf("%-7s policy %6.2f s, model and cache %6.2f s: %6.2f s; prompt of %lld and first token %6.2f s, next token %6.3f s\n", name, opened, ready,
           opened + ready, (long long)n_prompt, prefill, token);
    fflush(stdout);
    jrl_engine_free(e);
    jrl_model_close(&model);
    jrl_policy_close(policy);
    free(prompt);
}

int main(int argc, char **argv)
{
    const int64_t n_prompt = argc > 3 ? atoll(argv[3]) : 200;
    struct jrl_device *dev = NULL;
    const char *folder;

    if (n_prompt < 1) {
        fprintf(stderr, "usage: bench_start [POLICY [threads [prompt]]]\n");
        return 2;
    }
    must(jrl_device_open(&dev, "cpu", argc > 2 ? atoi(argv[2]) : 0, &error));
    folder = argc > 1 ? argv[1] : bench_make_policy(dev);
    printf("# path %s, %d threads\n", jrl_device_path(dev), jrl_pool_size(jrl_device_pool(dev)));
    start("first", folder, dev, n_prompt);
    start("again", folder, dev, n_prompt);
    jrl_device_close(dev);
    return 0;
}
