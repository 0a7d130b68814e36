/* trainer.c - see trainer.h. */
#include "learn/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/machine.h"
#include "learn/old.h"
#include "learn/plan.h"

/* The state must have been written with the weights it lies beside. */
static int open_state(struct jrl_trainer *t, const char *dir, struct jrl_error *err)
{
    bool exists = jrl_optimizer_exists(dir);
    int rc;

    if (t->settings.fresh)
        return JRL_OK;
    if ((rc = jrl_train_state_read(&t->state, dir, err)) < 0)
        return rc;
    if (!exists)
        return JRL_OK;
    if (!t->state.present)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s' holds optimizer/ but no state.json that names its step; "
                        "--fresh-optimizer starts without it", dir);
    if (strcmp(t->state.policy, t->policy_id) != 0)
        return jrl_fail(err, JRL_ERR_INPUT, "optimizer/ of '%s' belongs to policy %s, but the weights are %s; "
                        "--fresh-optimizer starts without it", dir, t->state.policy, t->policy_id);
    if ((rc = jrl_optimizer_load(&t->optimizer, dir, err)) < 0)
        return rc;
    t->optimizer.updates = t->state.updates;
    t->resumed = true;
    return JRL_OK;
}

static void expect_passes(struct jrl_trainer *t)
{
    const struct jrl_pass_plan pass = jrl_trainer_pass(&t->model.config, t->model.dtype, t->dev, t->settings.micro_tokens,
                                                       t->settings.keep);

    jrl_workspace_expect(t->workspace, &pass);
}

int jrl_trainer_open(struct jrl_trainer *t, struct jrl_device *dev, const char *dir, const struct jrl_trainer_settings *settings,
                     struct jrl_error *err)
{
    int rc;

    *t = (struct jrl_trainer){ .settings = *settings, .dev = dev };
    if ((rc = jrl_policy_open(&t->policy, dir, err)) < 0 ||
        (rc = jrl_policy_id(t->policy, jrl_device_pool(dev), t->policy_id, err)) < 0 ||
        (rc = jrl_model_open_unbound(&t->model, dev, t->policy, settings->dtype, 0, err)) < 0 ||
        (jrl_old_wanted(settings) && (rc = jrl_model_open(&t->start, dev, t->policy, settings->dtype, 0, err)) < 0))
        goto out;
    t->n_parameters = jrl_config_parameters(&t->model.config, &t->parameters, &t->n);
    t->workspace = jrl_workspace_new();
    expect_passes(t);
    if ((rc = jrl_device_alloc(dev, &t->weights, (size_t)(t->n * jrl_dtype_bytes(t->model.dtype)), "weights", err)) < 0 ||
        (rc = jrl_optimizer_init(&t->optimizer, dev, &settings->optimizer, t->parameters, t->n_parameters, t->n, err)) < 0 ||
        (rc = jrl_weights_load(&t->model, t->policy, t->weights, t->optimizer.master, err)) < 0 ||
        (rc = open_state(t, dir, err)) < 0 || (rc = jrl_model_bind(&t->model, t->weights, err)) < 0)
        goto out;
    rc = jrl_gradients_new(&t->gradients, &t->model, err);
out:
    if (rc < 0)
        jrl_trainer_close(t);
    return rc;
}

void jrl_trainer_trace(struct jrl_trainer *t, struct jrl_trace *trace)
{
    t->trace = trace;
    jrl_workspace_trace(t->workspace, trace);
}

void jrl_trainer_close(struct jrl_trainer *t)
{
    jrl_gradients_free(t->gradients);
    jrl_workspace_free(t->workspace);
    jrl_model_close(&t->model);
    jrl_model_close(&t->start);
    jrl_policy_close(t->policy);
    jrl_optimizer_release(&t->optimizer);
    jrl_parameters_free(t->parameters, t->n_parameters);
    jrl_device_free(t->dev, t->weights);
    memset(t, 0, sizeof(*t));
}

int jrl_trainer_check(const struct jrl_trainer *t, const struct jrl_example *e, struct jrl_error *err)
{
    const struct jrl_model_config *c = &t->model.config;
    int64_t n = e->n_prompt + e->n_response;

    if (n > c->max_positions)
        return jrl_fail(err, JRL_ERR_INPUT, "prompt and response have %lld tokens, the policy has %lld positions", (long long)n,
                        (long long)c->max_positions);
    if (t->settings.max_rows && jrl_sequence_rows(n) > t->settings.max_rows)
        return jrl_fail(err, JRL_ERR_USAGE, "prompt and response have %lld tokens, the memory is enough for %lld: more --memory is needed",
                        (long long)n, (long long)t->settings.max_rows + 1);
    for (int64_t i = 0; i < n; i++)
        if (e->tokens[i] >= c->vocab)
            return jrl_fail(err, JRL_ERR_INPUT, "token %u at place %lld has no row in the policy's embedding of %lld", e->tokens[i],
                            (long long)i, (long long)c->vocab);
    return JRL_OK;
}

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

/* The pass over the old logprobs, where one is wanted. What it finds is compared; with is_cap it takes the place of what the
 * records say, which then are the sampler's. *OLD is what the targets point into, for the caller to free. */
static int score_old(struct jrl_trainer *t, const struct jrl_example *examples, const struct jrl_sequence *seqs, struct target *targets,
                     int64_t n, double temperature, float **old, struct jrl_step_metrics *m, struct jrl_error *err)
{
    const double start = jrl_clock();
    int64_t n_tokens = 0, at = 0;
    int rc = JRL_OK;

    if (!jrl_old_wanted(&t->settings))
        return JRL_OK;
    for (int64_t i = 0; i < n; i++)
        n_tokens += examples[i].n_response;
    *old = jrl_xmalloc((size_t)n_tokens * sizeof **old);
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

static int64_t n_scored(const struct jrl_sequence *seqs, int64_t n)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += seqs[i].n - seqs[i].n_prompt;
    return sum;
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

/* The files beside the weights, while the folder still has its temporary name. */
struct save {
    struct jrl_trainer *t;
    struct jrl_train_state state;
    struct jrl_step_metrics *m;
    double start, opened; /* of writing, and of the step's clock at that moment */
};

static int write_extra(void *ctx, const char *dir, const char *id, struct jrl_error *err)
{
    struct save *s = ctx;
    struct jrl_buffer line = { 0 };
    char *path;
    int rc;

    if ((rc = jrl_optimizer_save(&s->t->optimizer, dir, err)) < 0 || (rc = jrl_train_state_write(&s->state, dir, err)) < 0)
        return rc;
    snprintf(s->m->policy, sizeof(s->m->policy), "%s", id);
    s->m->seconds_write = jrl_clock() - s->start;
    s->m->seconds = s->opened + s->m->seconds_write;
    jrl_metrics_json(s->m, &line);
    path = jrl_path_join(dir, "metrics.json");
    rc = jrl_file_write(path, line.data, line.len, err);
    free(path);
    jrl_buffer_release(&line);
    return rc;
}

int jrl_trainer_save(struct jrl_trainer *t, const char *out, const struct jrl_train_state *state, struct jrl_step_metrics *m,
                     struct jrl_error *err)
{
    struct save s = { .t = t, .state = *state, .m = m, .start = jrl_clock(), .opened = m->seconds };
    struct jrl_tensor *tensors = jrl_xcalloc((size_t)t->n_parameters, sizeof(*tensors));
    char id[JRL_DIGEST_SIZE];
    int rc;

    s.state.updates = t->optimizer.updates;
    s.state.ranks = 1;
    snprintf(s.state.parent, sizeof(s.state.parent), "%s", t->policy_id);
    snprintf(s.state.path, sizeof(s.state.path), "%s", jrl_device_path(t->dev));
    snprintf(s.state.dtype, sizeof(s.state.dtype), "%s", t->model.dtype == JRL_BF16 ? "bf16" : "f32");
    for (int64_t i = 0; i < t->n_parameters; i++) {
        const struct jrl_parameter *p = &t->parameters[i];

        tensors[i] = (struct jrl_tensor){ .name = p->name, .dtype = t->model.dtype, .n_dims = p->n_dims, .n_elements = p->n_elements,
                                          .shape = { p->shape[0], p->shape[1] },
                                          .data = (const char *)t->weights + p->offset * jrl_dtype_bytes(t->model.dtype),
                                          .dev = t->dev };
    }
    rc = jrl_policy_write(out, jrl_policy_dir(t->policy), tensors, t->n_parameters, write_extra, &s, jrl_device_pool(t->dev), id, err);
    free(tensors);
    return rc;
}
