/* plan.c - see plan.h. */
#include "learn/plan.h"

#include <stdio.h>

#include "learn/old.h"

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

struct jrl_pass_plan jrl_trainer_pass(const struct jrl_model_config *config, enum jrl_dtype dtype, struct jrl_device *dev, int64_t n_rows,
                                      enum jrl_keep keep)
{
    return (struct jrl_pass_plan){ .config = config, .dtype = dtype, .dev = dev, .kind = JRL_PASS_TRAIN, .n_rows = n_rows, .keep = keep };
}

/* What jrl_trainer_open takes of the device's memory. */
void jrl_trainer_plan(struct jrl_memory_plan *plan, const struct jrl_policy *policy, struct jrl_device *dev, enum jrl_dtype dtype, int64_t n_rows,
                      enum jrl_keep keep)
{
    const struct jrl_model_config *c = jrl_policy_config(policy);
    const struct jrl_pass_plan pass = jrl_trainer_pass(c, dtype, dev, n_rows, keep);
    const int64_t f32 = sizeof(float);
    struct jrl_parameter *parameters = NULL;
    int64_t n_total, n = jrl_config_parameters(c, &parameters, &n_total);

    jrl_parameters_free(parameters, n);
    *plan = (struct jrl_memory_plan){ .n = 0 };
    if (jrl_device_is_host(dev))
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
    enum jrl_keep keep;
    bool score_old;
};

static void plan_rows(void *ctx, int64_t n_rows, struct jrl_memory_plan *plan)
{
    const struct rows *r = ctx;

    jrl_trainer_plan(plan, r->policy, r->dev, r->dtype, n_rows, r->keep);
    if (r->score_old) {
        jrl_plan_add(plan, jrl_device_is_host(r->dev) ? "old weights, converted" : "old weights", 0, 0, jrl_model_owned_bytes(r->policy, r->dtype, !jrl_device_is_host(r->dev)));
        jrl_plan_rotary(plan, jrl_policy_config(r->policy), 0);
    }
}

static bool fits(struct jrl_memory_plan *plan, struct rows *r, enum jrl_keep keep, int64_t n_rows, int64_t memory)
{
    r->keep = keep;
    plan_rows(r, n_rows, plan);
    return jrl_plan_bytes(plan) <= memory;
}

/* What to try instead of keeping so much, which is too much. */
static void help(char *out, size_t out_bytes, struct rows *r, const struct jrl_trainer_settings *s, int64_t memory, int64_t most)
{
    static const char *const names[] = { "layer", "mlp" };
    struct jrl_memory_plan plan;
    int64_t n_rows;

    for (int keep = (int)s->keep - 1; keep >= JRL_KEEP_INPUTS; keep--)
        if (fits(&plan, r, (enum jrl_keep)keep, s->micro_tokens, memory)) {
            snprintf(out, out_bytes, "--recompute %s fits", names[keep]);
            return;
        }
    r->keep = s->keep;
    if ((n_rows = jrl_plan_most_rows(plan_rows, r, memory, most)) > 0)
        snprintf(out, out_bytes, "--micro-tokens %lld fits", (long long)n_rows);
    else
        snprintf(out, out_bytes, "without its activations it does not fit either; more --memory or a smaller policy is needed");
}

/* A pass that is too large to keep its activations computes them again, so the longest sequence is that of --recompute layer. */
static int check(struct jrl_memory_plan *plan, struct rows *r, struct jrl_trainer_settings *s, int64_t memory, struct jrl_error *err)
{
    const int64_t most = max64(s->micro_tokens, jrl_policy_config(r->policy)->max_positions);
    char hint[160] = "";

    r->keep = JRL_KEEP_INPUTS;
    s->max_rows = jrl_plan_most_rows(plan_rows, r, memory, most);
    while (!fits(plan, r, s->keep, s->micro_tokens, memory) && s->keep_less && s->keep > JRL_KEEP_INPUTS)
        s->keep--;
    if (jrl_plan_bytes(plan) > memory)
        help(hint, sizeof hint, r, s, memory, most);
    return jrl_plan_check(plan, memory, hint, err);
}

int jrl_trainer_plan_check(struct jrl_memory_plan *plan, struct jrl_trainer_settings *settings, struct jrl_device *dev, const char *dir,
                           int64_t memory, struct jrl_error *err)
{
    struct jrl_policy *policy = NULL;
    struct rows rows = { .dev = dev, .score_old = jrl_old_wanted(settings) };
    int rc;

    *plan = (struct jrl_memory_plan){ .n = 0 };
    if ((rc = jrl_policy_open(&policy, dir, err)) < 0)
        return rc;
    rows.policy = policy;
    if ((rc = jrl_model_dtype(&rows.dtype, jrl_policy_config(policy), settings->dtype, err)) == JRL_OK)
        rc = check(plan, &rows, settings, memory, err);
    jrl_policy_close(policy);
    return rc;
}
