/* minibatch.c - one update of the policy: its examples dealt into passes, their gradient, the optimiser's step. */
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "learn/old.h"
#include "learn/trainer.h"

/* What the objective needs of a response. Arrays: one value a response token. */
struct target {
    const float *old_logprobs;
    const float *ref_logprobs;     /* may be NULL while kl_coef is 0 */
    const float *sampler_logprobs; /* of the engine that drew the tokens; NULL: the old ones are */
    double advantage, weight;
};

/* Sequences first .. next-1 fit in one pass: the result is next. */
static int64_t micro_end(const struct jrl_sequence *seqs, int64_t n, int64_t first, int64_t micro_tokens)
{
    int64_t rows = jrl_sequence_rows(seqs[first].n), next = first + 1;

    while (next < n && rows + jrl_sequence_rows(seqs[next].n) <= micro_tokens)
        rows += jrl_sequence_rows(seqs[next++].n);
    return next;
}

static void set_weights(const struct jrl_aggregate *a, struct target *targets, const struct jrl_example *examples, int64_t n)
{
    double *weights = jrl_xcalloc((size_t)n, sizeof(*weights));
    int64_t *n_prompt = jrl_xcalloc((size_t)n, sizeof(*n_prompt)), *n_response = jrl_xcalloc((size_t)n, sizeof(*n_response));

    for (int64_t i = 0; i < n; i++) {
        n_prompt[i] = examples[i].n_prompt;
        n_response[i] = examples[i].n_response;
    }
    jrl_aggregate_weights(weights, a, n_prompt, n_response, n);
    for (int64_t i = 0; i < n; i++)
        targets[i].weight = weights[i];
    free(weights);
    free(n_prompt);
    free(n_response);
}

static int64_t n_scored(const struct jrl_sequence *seqs, int64_t n)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += seqs[i].n - seqs[i].n_prompt;
    return sum;
}

/* The pass over the old logprobs, where one is wanted. What it finds is compared; with is_cap it takes the place of what the
 * records say, which then are the sampler's. *OLD is what the targets point into, for the caller to free. */
static int score_old(struct jrl_trainer *t, const struct jrl_example *examples, const struct jrl_sequence *seqs, struct target *targets,
                     int64_t n, double temperature, float **old, struct jrl_step_metrics *m, struct jrl_error *err)
{
    const double start = jrl_clock();
    int64_t at = 0;
    int rc = JRL_OK;

    if (!jrl_old_wanted(&t->settings))
        return JRL_OK;
    *old = jrl_xmalloc((size_t)n_scored(seqs, n) * sizeof **old);
    for (int64_t first = 0, next; first < n && rc == JRL_OK; first = next) {
        next = micro_end(seqs, n, first, t->settings.micro_tokens);
        rc = jrl_old_score(t, examples + first, seqs + first, next - first, m->n_examples - n + first + 1, temperature, *old + at, m, err);
        for (int64_t i = first; i < next; at += examples[i++].n_response)
            if (t->settings.objective.is_cap != 0) {
                targets[i].sampler_logprobs = examples[i].old_logprobs;
                targets[i].old_logprobs = *old + at;
            }
    }
    m->seconds_check += jrl_clock() - start;
    jrl_trace_phase(t->trace, "check");
    return rc;
}

/* The sequences that have a gradient, then the others, each in their order. Returns how many have one. */
static int64_t part_by_gradient(const struct jrl_objective *o, struct jrl_sequence *seqs, struct target *targets, int64_t n)
{
    struct jrl_sequence *other_seqs = jrl_xcalloc((size_t)n, sizeof(*other_seqs));
    struct target *other_targets = jrl_xcalloc((size_t)n, sizeof(*other_targets));
    int64_t n_with = 0, n_others = 0;

    for (int64_t i = 0; i < n; i++) {
        bool with = jrl_objective_has_gradient(o, targets[i].advantage);

        *(with ? &seqs[n_with] : &other_seqs[n_others]) = seqs[i];
        *(with ? &targets[n_with++] : &other_targets[n_others++]) = targets[i];
    }
    memcpy(seqs + n_with, other_seqs, (size_t)n_others * sizeof(*seqs));
    memcpy(targets + n_with, other_targets, (size_t)n_others * sizeof(*targets));
    free(other_seqs);
    free(other_targets);
    return n_with;
}

/* What the objective needs of each token: for the caller to free. */
static struct jrl_objective_token *list_tokens(const struct jrl_sequence *seqs, const struct target *targets, int64_t n)
{
    struct jrl_objective_token *tokens = jrl_xcalloc((size_t)n_scored(seqs, n), sizeof *tokens), *token = tokens;

    for (int64_t i = 0; i < n; i++) {
        const struct target *t = &targets[i];

        for (int64_t j = 0; j < seqs[i].n - seqs[i].n_prompt; j++, token++) {
            token->advantage = t->advantage;
            token->weight = t->weight;
            token->old_logprob = t->old_logprobs ? t->old_logprobs[j] : 0;
            token->ref_logprob = t->ref_logprobs ? t->ref_logprobs[j] : 0;
            token->sampler_logprob = t->sampler_logprobs ? t->sampler_logprobs[j] : token->old_logprob;
        }
    }
    return tokens;
}

/* One micro-batch; G NULL: its tokens are only counted. */
static int run_pass(struct jrl_trainer *t, const struct jrl_sequence *seqs, const struct target *targets, int64_t n, double temperature,
                    struct jrl_gradients *g, struct jrl_token_stats *stats, struct jrl_error *err)
{
    const struct jrl_objective *o = &t->settings.objective;
    const int64_t n_tokens = n_scored(seqs, n);
    struct jrl_objective_token *tokens = list_tokens(seqs, targets, n);
    float *logprobs = jrl_xmalloc((size_t)n_tokens * 2 * sizeof *logprobs), *entropies = logprobs + n_tokens;
    const int rc = g ? jrl_train(&t->model, t->workspace, seqs, n, temperature, o, tokens, logprobs, entropies, g, err)
                   : jrl_score(&t->model, t->workspace, seqs, n, temperature, logprobs, entropies, err);

    if (rc == JRL_OK)
        jrl_token_stats_count(stats, o, tokens, n_tokens, logprobs, entropies);
    free(tokens);
    free(logprobs);
    return rc;
}

static int run_passes(struct jrl_trainer *t, struct jrl_sequence *seqs, struct target *targets, int64_t n, double temperature,
                      struct jrl_token_stats *stats, struct jrl_error *err)
{
    const int64_t n_with = part_by_gradient(&t->settings.objective, seqs, targets, n);
    int64_t n_tokens = 0, n_done = 0;
    int rc = jrl_gradients_zero(t->gradients, err);

    for (int64_t i = 0; i < n; i++)
        n_tokens += seqs[i].n;
    for (int64_t first = 0, next; first < n && rc == JRL_OK; first = next) {
        const bool with = first < n_with;

        next = micro_end(seqs, with ? n_with : n, first, t->settings.micro_tokens);
        if (t->watch)
            t->watch(t->watch_ctx, n_done, n_tokens);
        for (int64_t i = first; i < next; i++)
            n_done += seqs[i].n;
        rc = run_pass(t, seqs + first, targets + first, next - first, temperature, with ? t->gradients : NULL, stats, err);
    }
    return rc < 0 ? rc : jrl_gradients_finish(t->gradients, err);
}

int jrl_trainer_minibatch(struct jrl_trainer *t, const struct jrl_example *examples, int64_t n, double temperature, double lr,
                          struct jrl_step_metrics *m, bool *skipped, struct jrl_error *err)
{
    struct jrl_sequence *seqs = jrl_xcalloc((size_t)n, sizeof(*seqs));
    struct target *targets = jrl_xcalloc((size_t)n, sizeof(*targets));
    struct jrl_token_stats stats = { 0 };
    float *old = NULL;
    struct jrl_pass_seconds before, after;
    double start, middle, norm = 0;
    int64_t n_gradient;
    int rc;

    for (int64_t i = 0; i < n; i++) {
        const struct jrl_example *e = &examples[i];

        seqs[i] = (struct jrl_sequence){ .tokens = e->tokens, .n = e->n_prompt + e->n_response, .n_prompt = e->n_prompt };
        targets[i] = (struct target){ .old_logprobs = e->old_logprobs, .ref_logprobs = e->ref_logprobs, .advantage = e->advantage };
    }
    set_weights(&t->settings.aggregate, targets, examples, n);
    jrl_trace_phase(t->trace, "read");
    rc = score_old(t, examples, seqs, targets, n, temperature, &old, m, err);
    start = jrl_clock();
    before = jrl_workspace_seconds(t->workspace);
    if (rc == JRL_OK)
        rc = run_passes(t, seqs, targets, n, temperature, &stats, err);
    jrl_trace_phase(t->trace, "train");
    middle = jrl_clock();
    if (rc == JRL_OK)
        rc = jrl_optimizer_step(&t->optimizer, lr, jrl_gradients_data(t->gradients, &n_gradient), t->weights, t->model.dtype,
                                &norm, skipped, err);
    jrl_trace_phase(t->trace, "optimiser");
    after = jrl_workspace_seconds(t->workspace);
    m->seconds_forward += after.forward - before.forward;
    m->seconds_head += after.head - before.head;
    m->seconds_backward += after.backward - before.backward;
    m->seconds_train += middle - start;
    m->seconds_optimizer += jrl_clock() - middle;
    if (rc == JRL_OK)
        jrl_metrics_minibatch(m, &stats, norm, *skipped);
    free(old);
    free(seqs);
    free(targets);
    return rc;
}
