/* summary.h - the scores of a set of problems: one row of an evaluation. */
#ifndef JRL_SCORE_SUMMARY_H
#define JRL_SCORE_SUMMARY_H

#include "score/verdicts.h"

#define JRL_MAX_KS 24

/* The k of pass@k; n 0: the powers of two up to the smallest number of samples. */
struct jrl_ks {
    int n;
    int64_t k[JRL_MAX_KS];
};

struct jrl_summary_options {
    struct jrl_ks ks;
    double confidence; /* of intervals */
    int n_also;        /* rules that judged besides */
    bool versus;       /* the tally was paired with another */
};

struct jrl_summary {
    int64_t problems, rollouts;
    int64_t samples_min, samples_max; /* rollouts a problem */
    struct jrl_estimate avg;          /* avg@N: mean over problems of the share of right rollouts */
    struct jrl_estimate maj;          /* maj@N */
    struct jrl_estimate best;         /* best@N: share of problems with a right rollout */
    int64_t solve_none, solve_all;    /* problems without right rollouts, without wrong ones */
    struct jrl_ks ks;
    struct jrl_estimate pass[JRL_MAX_KS]; /* pass@k; n = 0 where a problem has fewer than k rollouts */
    /* means over rollouts, NaN unless every one has the field */
    double tokens, truncated, answered, entropy, reward;
    double distinct;        /* mean over problems of different / all 4-grams; NaN unless every rollout has a text */
    int64_t ngram_sampling; /* one 4-gram in how many was counted, at worst; 1: all */
    int64_t format_errors;  /* responses without a box; -1: not known */
    struct jrl_judged judged;
    struct jrl_agreement also[JRL_MAX_ALSO]; /* [n_also] */
    struct jrl_versus versus;
};

/* MEMBERS: [n] problems of a finished tally. */
void jrl_summarise(struct jrl_summary *s, const struct jrl_tally_problem *const *members, int64_t n, const struct jrl_summary_options *options);

/* The plain mean of rows ("average of benchmarks"), with the interval of a mean of independent rows; counts are added. What a row
 * does not know, the mean does not either: a pass@k counts when every row has it. */
void jrl_summary_mean(struct jrl_summary *s, const struct jrl_summary *rows, int64_t n, const struct jrl_summary_options *options);

#endif
