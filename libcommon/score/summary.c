/* summary.c - one row of an evaluation; see summary.h. */
#include "score/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static double share_right(const struct jrl_tally_problem *p, const void *arg)
{
    (void)arg;
    return (double)jrl_problem_correct(p) / (double)p->n;
}

static double is_solved(const struct jrl_tally_problem *p, const void *arg)
{
    (void)arg;
    return jrl_problem_correct(p) > 0;
}

static double pass_at(const struct jrl_tally_problem *p, const void *arg)
{
    return jrl_pass_at_k(p->n, jrl_problem_correct(p), *(const int64_t *)arg);
}

static double majority_is_right(const struct jrl_tally_problem *p, const void *arg)
{
    struct jrl_vote *votes = jrl_xcalloc((size_t)p->n, sizeof(*votes));
    int64_t *scratch = jrl_xcalloc((size_t)p->n, sizeof(*scratch));
    bool right;

    (void)arg;
    for (int64_t i = 0; i < p->n; i++)
        votes[i] = (struct jrl_vote){ p->list[i].answer, p->list[i].answered, p->list[i].correct };
    right = jrl_majority_correct(votes, p->n, scratch);
    free(votes);
    free(scratch);
    return right;
}

static void count_problems(struct jrl_summary *s, const struct jrl_problems *set)
{
    s->problems = set->n;
    s->samples_min = set->n > 0 ? INT64_MAX : 0;
    for (int64_t i = 0; i < set->n; i++) {
        const struct jrl_tally_problem *p = set->members[i];
        int64_t n_correct = jrl_problem_correct(p);

        s->rollouts += p->n;
        s->samples_min = p->n < s->samples_min ? p->n : s->samples_min;
        s->samples_max = p->n > s->samples_max ? p->n : s->samples_max;
        s->solve_none += n_correct == 0;
        s->solve_all += n_correct == p->n;
    }
}

/* Means over rollouts; a field that one rollout lacks has no mean. */
static void describe_responses(struct jrl_summary *s, const struct jrl_problems *set)
{
    double n = (double)s->rollouts, tokens = 0, truncated = 0, answered = 0, entropy = 0, reward = 0, unboxed = 0, distinct = 0;

    s->ngram_sampling = 1;
    for (int64_t i = 0; i < set->n; i++) {
        const struct jrl_tally_problem *p = set->members[i];

        for (int64_t j = 0; j < p->n; j++) {
            const struct jrl_tally_sample *r = &p->list[j];

            tokens += r->n_tokens >= 0 ? (double)r->n_tokens : NAN;
            truncated += r->truncated >= 0 ? r->truncated : NAN;
            answered += r->answered;
            entropy += r->entropy;
            reward += r->reward;
            unboxed += r->boxed >= 0 ? !r->boxed : NAN;
        }
        distinct += jrl_ngrams_distinct(&p->ngrams);
        s->ngram_sampling = (int64_t)1 << p->ngrams.level > s->ngram_sampling ? (int64_t)1 << p->ngrams.level : s->ngram_sampling;
    }
    s->tokens = tokens / n;
    s->truncated = truncated / n;
    s->answered = answered / n;
    s->entropy = entropy / n;
    s->reward = reward / n;
    s->format_errors = isnan(unboxed) ? -1 : (int64_t)unboxed;
    s->distinct = isnan(unboxed) || set->n == 0 ? NAN : fmin(1, distinct / (double)set->n); /* estimates may come out above 1 */
}

static void choose_ks(struct jrl_summary *s, const struct jrl_ks *ks)
{
    s->ks = *ks;
    if (s->ks.n == 0)
        for (int64_t k = 1; k <= s->samples_min && s->ks.n < JRL_MAX_KS; k *= 2)
            s->ks.k[s->ks.n++] = k;
}

void jrl_summarise(struct jrl_summary *s, const struct jrl_tally_problem *const *members, int64_t n, const struct jrl_summary_options *options)
{
    const struct jrl_problems set = { members, n, options->confidence }, none = { members, 0, options->confidence };

    memset(s, 0, sizeof(*s));
    count_problems(s, &set);
    s->avg = jrl_problems_mean(&set, 0, share_right, NULL);
    s->maj = jrl_problems_mean(&set, 0, majority_is_right, NULL);
    s->best = jrl_problems_mean(&set, 0, is_solved, NULL);
    choose_ks(s, &options->ks);
    for (int j = 0; j < s->ks.n; j++)
        s->pass[j] = jrl_problems_mean(s->ks.k[j] <= s->samples_min ? &set : &none, 0, pass_at, &s->ks.k[j]);
    describe_responses(s, &set);
    s->judged = jrl_judged_count(&set);
    for (int i = 0; i < options->n_also; i++)
        s->also[i] = jrl_agreement_count(&set, i);
    if (options->versus)
        s->versus = jrl_versus_count(&set);
}
