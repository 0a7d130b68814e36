/* old.c - old logprobs against a forward pass of the policy that the step began with, bit for bit. */
#include "learn/old.h"

#include <math.h>
#include <string.h>

bool jrl_old_wanted(const struct jrl_trainer_settings *settings)
{
    return settings->check_old || settings->objective.is_cap != 0;
}

/* One example's scored tokens: how many differ from what the record says (NaN: one of both is). *FIRST: the first of them. */
static int64_t compare(const float *old, const float *now, int64_t n, int64_t *first, struct jrl_step_metrics *m)
{
    int64_t n_different = 0;

    for (int64_t i = 0; i < n; i++) {
        const double difference = fabs((double)old[i] - (double)now[i]);

        if (memcmp(&old[i], &now[i], sizeof *old) == 0)
            continue;
        if (n_different++ == 0)
            *first = i;
        m->old_difference_sum += difference;
        m->old_difference = difference > m->old_difference || isnan(difference) ? difference : m->old_difference;
    }
    m->n_old_compared += n;
    m->n_old_different += n_different;
    return n_different;
}

/* The policy is the one that sampled, so its logprobs must be these. */
static int refuse(const struct jrl_trainer *t, const struct jrl_step_metrics *m, int64_t record, int64_t first, float old, float now,
                  struct jrl_error *err)
{
    return jrl_fail(err, JRL_ERR_INPUT, "record %lld of the batch: the logprob of token %lld is %.9g, but '%s', which sampled it, gives %.9g in %s;"
                    " %lld of %lld tokens compared so far differ, by at most %.3g: was it sampled with another --dtype, --device or temperature, or changed?",
                    (long long)record, (long long)first, (double)old, jrl_policy_dir(t->policy), (double)now,
                    t->start.dtype == JRL_BF16 ? "bf16" : "f32", (long long)m->n_old_different, (long long)m->n_old_compared, m->old_difference);
}

int jrl_old_score(struct jrl_trainer *t, const struct jrl_example *examples, const struct jrl_sequence *seqs, int64_t n, int64_t first_record,
                  double temperature, float *logprobs, struct jrl_step_metrics *m, struct jrl_error *err)
{
    int rc = jrl_score(&t->start, t->workspace, seqs, n, temperature, logprobs, NULL, err);

    for (int64_t i = 0; i < n && rc == JRL_OK; i++) {
        const struct jrl_example *e = &examples[i];
        int64_t first = 0, n_different = compare(e->old_logprobs, logprobs, e->n_response, &first, m);

        if (t->settings.check_old && n_different && strcmp(e->policy, t->policy_id) == 0)
            rc = refuse(t, m, first_record + i, first, e->old_logprobs[first], logprobs[first], err);
        logprobs += e->n_response;
    }
    return rc;
}
