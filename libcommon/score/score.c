/* score.c - pass@k, majority, means with Student's intervals; see score.h. */
#include "score/score.h"

#include <math.h>
#include <stdlib.h>

double jrl_pass_at_k(int64_t n, int64_t c, int64_t k)
{
    double all_wrong = 1;

    if (n - c < k)
        return 1;
    for (int64_t i = n - c + 1; i <= n; i++)
        all_wrong *= 1 - (double)k / (double)i;
    return 1 - all_wrong;
}

static int by_answer_then_sample(const void *a, const void *b, void *ctx)
{
    const struct jrl_vote *votes = ctx;
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;

    if (votes[i].answer != votes[j].answer)
        return votes[i].answer < votes[j].answer ? -1 : 1;
    return (i > j) - (i < j);
}

bool jrl_majority_correct(const struct jrl_vote *votes, int64_t n, int64_t *scratch)
{
    int64_t n_votes = 0, best_count = 0, best_first = -1;

    for (int64_t i = 0; i < n; i++)
        if (votes[i].votes)
            scratch[n_votes++] = i;
    qsort_r(scratch, (size_t)n_votes, sizeof(*scratch), by_answer_then_sample, (void *)votes);
    for (int64_t i = 0, end; i < n_votes; i = end) {
        for (end = i + 1; end < n_votes && votes[scratch[end]].answer == votes[scratch[i]].answer; end++)
            continue;
        if (end - i > best_count || (end - i == best_count && scratch[i] < best_first)) {
            best_count = end - i;
            best_first = scratch[i];
        }
    }
    return best_first >= 0 && votes[best_first].correct;
}

/* The continued fraction of the incomplete beta function by Lentz's method; converges fast for x below its mean. */
static double beta_fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), h;

    d = 1 / (fabs(d) < tiny ? tiny : d);
    h = d;
    for (int m = 1; m <= 100000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double step;

        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        h *= d * c;
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        step = d * c;
        h *= step;
        if (fabs(step - 1) < 1e-15)
            break;
    }
    return h;
}

/* The regularised incomplete beta function. */
static double incomplete_beta(double x, double a, double b)
{
    int sign;
    double front;

    if (x <= 0 || x >= 1)
        return x >= 1;
    front = exp(lgamma_r(a + b, &sign) - lgamma_r(a, &sign) - lgamma_r(b, &sign) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(x, a, b) / a;
    return 1 - front * beta_fraction(1 - x, b, a) / b;
}

/* P(|T| > t) = I_x(dof/2, 1/2) with x = dof / (dof + t^2) grows with x: bisect. The middle is taken of t, which for many
 * degrees of freedom has the digits that x near 1 has not. */
double jrl_student_quantile(double confidence, double dof)
{
    double low = 0, high = 1;

    while (incomplete_beta(dof / (dof + high * high), dof / 2, 0.5) > 1 - confidence && high < 1e300)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double t = low + (high - low) / 2;

        if (incomplete_beta(dof / (dof + t * t), dof / 2, 0.5) > 1 - confidence)
            low = t;
        else
            high = t;
    }
    return low + (high - low) / 2;
}

/* No deviation, no width: DOF is not asked then, and may be 0. */
static void set_interval(struct jrl_estimate *e, double dof, double least, double confidence)
{
    double reach = e->std_error > 0 ? jrl_student_quantile(confidence, dof) * e->std_error : 0;

    e->low = fmax(least, e->value - reach);
    e->high = fmin(1, e->value + reach);
}

struct jrl_estimate jrl_estimate_mean(const double *x, int64_t n, double least, double confidence)
{
    struct jrl_estimate e = { n, NAN, NAN, NAN, NAN };
    double sum = 0, squares = 0;

    if (n == 0)
        return e;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    e.value = sum / (double)n;
    if (n < 2)
        return e;
    for (int64_t i = 0; i < n; i++)
        squares += (x[i] - e.value) * (x[i] - e.value);
    e.std_error = sqrt(squares / (double)(n - 1) / (double)n);
    set_interval(&e, (double)(n - 1), least, confidence);
    return e;
}

struct jrl_estimate jrl_estimate_rows(const struct jrl_estimate *const *rows, int64_t n, double least, double confidence)
{
    const struct jrl_estimate none = { 0, NAN, NAN, NAN, NAN };
    struct jrl_estimate e = none;
    double squares = 0;

    e.value = n > 0 ? 0 : NAN;
    for (int64_t i = 0; i < n; i++) {
        if (rows[i]->n == 0)
            return none;
        e.n += rows[i]->n;
        e.value += rows[i]->value / (double)n;
        squares += rows[i]->std_error * rows[i]->std_error;
    }
    if (n == 0 || isnan(squares))
        return e;
    e.std_error = sqrt(squares) / (double)n;
    set_interval(&e, (double)(e.n - n), least, confidence);
    return e;
}
