/* summary.c - one row of an evaluation; see summary.h. */
#include "score/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static int64_t n_correct(const struct jrl_tally_problem *p)
{
    int64_t n = 0;

    for (int64_t i = 0; i < p->n; i++)
        n += p->list[i].correct;
    return n;
}

static bool majority(const struct jrl_tally_problem *p, struct jrl_vote *votes, int64_t *scratch)
{
    for (int64_t i = 0; i < p->n; i++)
        votes[i] = (struct jrl_vote){ p->list[i].answer, p->list[i].answered, p->list[i].correct };
    return jrl_majority_correct(votes, p->n, scratch);
}

/* Means over rollouts; a field that one rollout lacks has no mean. */
static void rollout_means(struct jrl_summary *s, const struct jrl_tally_problem *const *members, int64_t n)
{
    double tokens = 0, truncated = 0, answered = 0, entropy = 0, reward = 0;

    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < members[i]->n; j++) {
            const struct jrl_tally_sample *r = &members[i]->list[j];

            tokens += r->n_tokens >= 0 ? (double)r->n_tokens : NAN;
            truncated += r->truncated >= 0 ? r->truncated : NAN;
            answered += r->answered;
            entropy += r->entropy;
            reward += r->reward;
        }
    }
    s->tokens = tokens / (double)s->rollouts;
    s->truncated = truncated / (double)s->rollouts;
    s->answered = answered / (double)s->rollouts;
    s->entropy = entropy / (double)s->rollouts;
    s->reward = reward / (double)s->rollouts;
}

static void choose_ks(struct jrl_summary *s, const struct jrl_ks *ks)
{
    s->ks = *ks;
    if (s->ks.n == 0)
        for (int64_t k = 1; k <= s->samples_min && s->ks.n < JRL_MAX_KS; k *= 2)
            s->ks.k[s->ks.n++] = k;
}

void jrl_summarise(struct jrl_summary *s, const struct jrl_tally_problem *const *members, int64_t n, const struct jrl_ks *ks, double confidence)
{
    double *x = jrl_xcalloc((size_t)n + 1, sizeof(*x));
    struct jrl_vote *votes;
    int64_t *scratch;

    memset(s, 0, sizeof(*s));
    s->problems = n;
    s->samples_min = n > 0 ? INT64_MAX : 0;
    for (int64_t i = 0; i < n; i++) {
        s->rollouts += members[i]->n;
        s->samples_min = members[i]->n < s->samples_min ? members[i]->n : s->samples_min;
        s->samples_max = members[i]->n > s->samples_max ? members[i]->n : s->samples_max;
        x[i] = (double)n_correct(members[i]) / (double)members[i]->n;
    }
    s->avg = jrl_estimate_mean(x, n, confidence);
    votes = jrl_xcalloc((size_t)s->samples_max + 1, sizeof(*votes));
    scratch = jrl_xcalloc((size_t)s->samples_max + 1, sizeof(*scratch));
    for (int64_t i = 0; i < n; i++)
        x[i] = majority(members[i], votes, scratch);
    s->maj = jrl_estimate_mean(x, n, confidence);
    choose_ks(s, ks);
    for (int j = 0; j < s->ks.n; j++) {
        int64_t k = s->ks.k[j];

        for (int64_t i = 0; i < n && k <= s->samples_min; i++)
            x[i] = jrl_pass_at_k(members[i]->n, n_correct(members[i]), k);
        s->pass[j] = jrl_estimate_mean(x, k <= s->samples_min ? n : 0, confidence);
    }
    rollout_means(s, members, n);
    free(x);
    free(votes);
    free(scratch);
}

/* Variances of independent rows add up; the degrees of freedom are those of all problems together. */
static struct jrl_estimate mean_estimate(const struct jrl_estimate *const *rows, int64_t n, double confidence)
{
    struct jrl_estimate e = { 0, 0, NAN, NAN, NAN };
    double squares = 0, reach;

    for (int64_t i = 0; i < n; i++) {
        if (rows[i]->n == 0)
            return (struct jrl_estimate){ 0, NAN, NAN, NAN, NAN };
        e.n += rows[i]->n;
        e.value += rows[i]->value / (double)n;
        squares += rows[i]->std_error * rows[i]->std_error;
    }
    if (isnan(squares))
        return e;
    e.std_error = sqrt(squares) / (double)n;
    reach = e.std_error > 0 ? jrl_student_quantile(confidence, (double)(e.n - n)) * e.std_error : 0;
    e.low = fmax(0, e.value - reach);
    e.high = fmin(1, e.value + reach);
    return e;
}

/* The estimate of pass@k in a row, or one without problems. */
static const struct jrl_estimate *find_pass(const struct jrl_summary *row, int64_t k)
{
    static const struct jrl_estimate none = { 0, 0, 0, 0, 0 };

    for (int j = 0; j < row->ks.n; j++)
        if (row->ks.k[j] == k)
            return &row->pass[j];
    return &none;
}

void jrl_summary_mean(struct jrl_summary *s, const struct jrl_summary *rows, int64_t n, double confidence)
{
    const struct jrl_estimate **list = jrl_xcalloc((size_t)n + 1, sizeof(*list));

    memset(s, 0, sizeof(*s));
    s->samples_min = n > 0 ? rows[0].samples_min : 0;
    s->tokens = s->truncated = s->answered = s->entropy = s->reward = n > 0 ? 0 : NAN;
    for (int64_t i = 0; i < n; i++) {
        s->problems += rows[i].problems;
        s->rollouts += rows[i].rollouts;
        s->samples_min = rows[i].samples_min < s->samples_min ? rows[i].samples_min : s->samples_min;
        s->samples_max = rows[i].samples_max > s->samples_max ? rows[i].samples_max : s->samples_max;
        s->tokens += rows[i].tokens / (double)n;
        s->truncated += rows[i].truncated / (double)n;
        s->answered += rows[i].answered / (double)n;
        s->entropy += rows[i].entropy / (double)n;
        s->reward += rows[i].reward / (double)n;
        list[i] = &rows[i].avg;
    }
    s->avg = mean_estimate(list, n, confidence);
    for (int64_t i = 0; i < n; i++)
        list[i] = &rows[i].maj;
    s->maj = mean_estimate(list, n, confidence);
    for (int64_t i = 0; i < n; i++)
        if (rows[i].samples_min == s->samples_min)
            s->ks = rows[i].ks;
    for (int j = 0; j < s->ks.n; j++) {
        for (int64_t i = 0; i < n; i++)
            list[i] = find_pass(&rows[i], s->ks.k[j]);
        s->pass[j] = mean_estimate(list, n, confidence);
    }
    free(list);
}
