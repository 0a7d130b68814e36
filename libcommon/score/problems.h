/* problems.h - a set of problems and means over it: one value a problem, so that intervals are over problems, not rollouts. */
#ifndef JRL_SCORE_PROBLEMS_H
#define JRL_SCORE_PROBLEMS_H

#include "score/score.h"
#include "score/tally.h"

struct jrl_problems {
    const struct jrl_tally_problem *const *members; /* [n] of a finished tally; borrowed */
    int64_t n;
    double confidence; /* of intervals */
};

/* The mean of VALUE(problem, arg), which lies between LEAST and 1. */
struct jrl_estimate jrl_problems_mean(const struct jrl_problems *set, double least, double (*value)(const struct jrl_tally_problem *p, const void *arg), const void *arg);

#endif
