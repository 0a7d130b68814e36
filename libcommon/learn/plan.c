/* plan.c - see plan.h. */
#include "learn/plan.h"

#include <stdio.h>

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

struct jrl_pass_plan jrl_trainer_pass(const struct jrl_model_config *config, enum jrl_dtype dtype, struct jrl_device *dev, int64_t n_rows)
{
    return (struct jrl_pass_plan){ .config = config, .dtype = dtype, .dev = dev, .kind = JRL_PASS_TRAIN, .n_rows = n_rows };
}

/* What jrl_trainer_open takes. Weights of another type are converted while gradients are not there yet. */
void jrl_trainer_plan(struct jrl_memory_plan *plan, const struct jrl_policy *policy, struct jrl_device *dev, enum jrl_dtype dtype, int64_t n_rows)
{
    const struct jrl_model_config *c = jrl_policy_config(policy);
    const struct jrl_pass_plan pass = jrl_trainer_pass(c, dtype, dev, n_rows);
    const int64_t f32 = sizeof(float);
    struct jrl_parameter *parameters = NULL;
    int64_t n_total, n = jrl_config_parameters(c, &parameters, &n_total);

    jrl_parameters_free(parameters, n);
    *plan = (struct jrl_memory_plan){ .n = 0 };
    jrl_plan_mapped(plan, policy);
    jrl_plan_add(plan, "weights in training", 0, 0, n_total * jrl_dtype_bytes(dtype));
    jrl_plan_add(plan, "gradients", 0, 0, (n_total + (c->tied ? c->vocab * c->dim : 0)) * f32);
    jrl_plan_add(plan, "optimiser", 0, 0, 3 * n_total * f32);
    jrl_plan_rotary(plan, c, c->max_positions);
    jrl_plan_pass(plan, &pass);
}

struct rows {
    const struct jrl_policy *policy;
    struct jrl_device *dev;
    enum jrl_dtype dtype;
};

static void plan_rows(void *ctx, int64_t n_rows, struct jrl_memory_plan *plan)
{
    const struct rows *r = ctx;

    jrl_trainer_plan(plan, r->policy, r->dev, r->dtype, n_rows);
}

static int check(struct jrl_memory_plan *plan, struct rows *r, const struct jrl_trainer_settings *settings, int64_t memory, int64_t *max_rows,
                 struct jrl_error *err)
{
    char help[160] = "without its activations it does not fit either; more --memory or a smaller policy is needed";

    jrl_trainer_plan(plan, r->policy, r->dev, r->dtype, settings->micro_tokens);
    *max_rows = jrl_plan_most_rows(plan_rows, r, memory, max64(settings->micro_tokens, jrl_policy_config(r->policy)->max_positions));
    if (*max_rows > 0)
        snprintf(help, sizeof help, "--micro-tokens %lld fits", (long long)*max_rows);
    return jrl_plan_check(plan, memory, help, err);
}

int jrl_trainer_plan_check(struct jrl_memory_plan *plan, int64_t *max_rows, struct jrl_device *dev, const char *dir,
                           const struct jrl_trainer_settings *settings, int64_t memory, struct jrl_error *err)
{
    struct jrl_policy *policy = NULL;
    struct rows rows = { .dev = dev };
    int rc;

    *plan = (struct jrl_memory_plan){ .n = 0 };
    if ((rc = jrl_policy_open(&policy, dir, err)) < 0)
        return rc;
    rows.policy = policy;
    if ((rc = jrl_model_dtype(&rows.dtype, jrl_policy_config(policy), settings->dtype, err)) == JRL_OK)
        rc = check(plan, &rows, settings, memory, max_rows, err);
    jrl_policy_close(policy);
    return rc;
}
