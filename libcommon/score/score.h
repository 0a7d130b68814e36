/* score.h - the numbers of an evaluation: pass@k, the majority's answer, means with intervals.
 * Not here: which rollouts belong to which problem (tally.h) and how results are shown (report.h). */
#ifndef JRL_SCORE_SCORE_H
#define JRL_SCORE_SCORE_H

#include <stdbool.h>
#include <stdint.h>

/* The chance that k of n samples, drawn without replacement, hold at least one of the c right ones:
 * 1 - C(n-c, k) / C(n, k), as a product (Chen et al. 2021, "Evaluating large language models trained on code").
 * 1 <= k <= n, 0 <= c <= n. */
double jrl_pass_at_k(int64_t n, int64_t c, int64_t k);

/* One sample's vote: a digest of its answer. A sample without an answer does not vote. */
struct jrl_vote {
    uint64_t answer;
    bool votes, correct;
};

/* Is the answer that most samples gave right? Votes stand in sample order; of answers with the same number of votes the one
 * that came first wins; its first sample says whether it is right. Nobody votes: false. SCRATCH: [n]. */
bool jrl_majority_correct(const struct jrl_vote *votes, int64_t n, int64_t *scratch);

/* A mean over problems. With n < 2 there is no deviation: stderr, low and high are NaN. */
struct jrl_estimate {
    int64_t n;
    double value, std_error; /* deviation (n - 1) / sqrt(n) */
    double low, high;        /* Student's interval with n - 1 degrees of freedom */
};
/* The mean of n values from LEAST to 1, to which the interval is cut: 0 for shares of right samples, -1 for differences of them.
 * n = 0: all NaN. */
struct jrl_estimate jrl_estimate_mean(const double *x, int64_t n, double least, double confidence);
/* The plain mean of n independent estimates: their variances add up, the degrees of freedom are those of all problems together.
 * One of them without problems: all NaN. */
struct jrl_estimate jrl_estimate_rows(const struct jrl_estimate *const *rows, int64_t n, double least, double confidence);

/* The t for which a Student variable with DOF degrees of freedom lies in [-t, t] with probability CONFIDENCE (0..1, exclusive). */
double jrl_student_quantile(double confidence, double dof);

#endif
