/* step.c - see step.h. */
#include "learn/step.h"

#include <stdlib.h>
#include <string.h>

void jrl_step_release(struct jrl_step *s)
{
    for (int64_t i = 0; i < s->n; i++)
        jrl_example_release(&s->examples[i]);
    free(s->examples);
    jrl_group_release(&s->group);
    memset(s, 0, sizeof(*s));
}

static bool supervised(const struct jrl_step *s)
{
    return s->trainer->settings.objective.kind == JRL_OBJECTIVE_NLL;
}

/* Which training step this is: asked for, or said by the records, or the policy's next. Rollouts of another policy may
 * be of another step. */
static int check_step(struct jrl_step *s, const struct jrl_example *e, struct jrl_error *err)
{
    const struct jrl_trainer *t = s->trainer;

    if (s->k == 0)
        s->k = e->step && !(s->allow_off_policy && t->resumed) ? e->step : t->resumed ? t->state.step + 1 : 1;
    if (s->metrics.n_examples == 0 && t->resumed && s->k != t->state.step + 1)
        return jrl_fail(err, JRL_ERR_INPUT, "this is the batch of step %lld, but '%s' is the policy of step %lld",
                        (long long)s->k, jrl_policy_dir(t->policy), (long long)t->state.step);
    if (e->step && e->step != s->k && !s->allow_off_policy)
        return jrl_fail(err, JRL_ERR_INPUT, "field 'step' is %lld, but this is step %lld", (long long)e->step, (long long)s->k);
    return JRL_OK;
}

static int check_policy(struct jrl_step *s, const struct jrl_example *e, struct jrl_error *err)
{
    const struct jrl_trainer *t = s->trainer;

    if (strcmp(e->policy, t->policy_id) != 0) {
        if (!s->allow_off_policy)
            return jrl_fail(err, JRL_ERR_INPUT, "sampled from policy %s, but '%s' is %s; sample from it, or use --allow-off-policy",
                            e->policy, jrl_policy_dir(t->policy), t->policy_id);
        s->metrics.n_off_policy++;
    }
    if (s->temperature == 0)
        s->temperature = e->temperature;
    if (e->temperature != s->temperature)
        return jrl_fail(err, JRL_ERR_INPUT, "field 'temperature' is %g, but the batch began with %g; a batch has one temperature",
                        e->temperature, s->temperature);
    s->restricted_sampling |= e->top_p < 1 || e->top_k > 0;
    return JRL_OK;
}

static int train(struct jrl_step *s, struct jrl_error *err)
{
    const struct jrl_trainer *t = s->trainer;
    bool skipped;
    int rc;

    s->metrics.lr = jrl_learning_rate(&t->settings.optimizer, s->k);
    rc = jrl_trainer_minibatch(s->trainer, s->examples, s->n, supervised(s) ? 1 : s->temperature, s->metrics.lr, &s->metrics, &skipped, err);
    for (int64_t i = 0; i < s->n; i++)
        jrl_example_release(&s->examples[i]);
    s->n = s->n_groups = 0;
    return rc;
}

/* Take over the example; it is counted from here on. */
static void keep(struct jrl_step *s, struct jrl_example *e)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->examples = jrl_xrealloc(s->examples, (size_t)s->cap, sizeof(*s->examples));
    }
    s->examples[s->n++] = *e;
    jrl_metrics_example(&s->metrics, e);
    if (e->has_seed) {
        s->has_seed = true;
        s->seed = e->seed;
    }
    memset(e, 0, sizeof(*e));
}

/* The members of the complete group are the last ones kept. */
static void count_group(struct jrl_step *s, int64_t n)
{
    int64_t n_judged = 0, n_correct = 0;

    for (int64_t i = s->n - n; i < s->n; i++) {
        n_judged += s->examples[i].has_correct;
        n_correct += s->examples[i].has_correct && s->examples[i].correct;
    }
    jrl_metrics_group(&s->metrics, n, n_judged, n_correct);
    s->n_groups++;
}

static int add_example(struct jrl_step *s, struct jrl_example *e, const struct jrl_record *rec, struct jrl_error *err)
{
    const struct jrl_objective *o = &s->trainer->settings.objective;
    int rc;

    if (supervised(s))
        rc = jrl_example_read_text(e, rec, s->chat, s->tokenizer, s->end_id, err);
    else
        rc = jrl_example_read_policy(e, rec, (o->kl_coef != 0 ? JRL_EXAMPLE_REF : 0) | (o->is_cap != 0 ? JRL_EXAMPLE_SAMPLER : 0), err);
    if (rc < 0 || (rc = jrl_trainer_check(s->trainer, e, err)) < 0 || (!supervised(s) && (rc = check_policy(s, e, err)) < 0) ||
        (rc = check_step(s, e, err)) < 0)
        return rc;
    if (supervised(s)) {
        keep(s, e);
        count_group(s, 1);
        return JRL_OK;
    }
    if ((rc = jrl_group_add(&s->group, rec, err)) < 0)
        return rc;
    keep(s, e);
    if (jrl_group_complete(&s->group)) {
        count_group(s, s->group.n);
        jrl_group_clear(&s->group);
    }
    return JRL_OK;
}

int jrl_step_add(struct jrl_step *s, const struct jrl_record *rec, struct jrl_error *err)
{
    struct jrl_example example = { 0 };
    int rc = add_example(s, &example, rec, err);

    jrl_example_release(&example);
    if (rc == JRL_OK && s->n_groups == s->mini_batch)
        rc = train(s, err);
    return rc;
}

int jrl_step_end(struct jrl_step *s, struct jrl_error *err)
{
    int rc;

    if (s->metrics.n_examples == 0)
        return jrl_fail(err, JRL_ERR_INPUT, "the batch holds no rollouts: there is nothing to learn from");
    if ((rc = jrl_group_end(&s->group, err)) < 0 || (s->n > 0 && (rc = train(s, err)) < 0))
        return rc;
    s->metrics.step = s->k;
    s->metrics.objective = s->trainer->settings.objective.kind;
    s->metrics.is_cap = s->trainer->settings.objective.is_cap;
    memcpy(s->metrics.parent, s->trainer->policy_id, sizeof(s->metrics.parent));
    return JRL_OK;
}

void jrl_step_next(struct jrl_step *s)
{
    s->trainer->state.step = s->k++;
    s->temperature = 0;
    s->restricted_sampling = false;
    memset(&s->metrics, 0, sizeof(s->metrics));
}
