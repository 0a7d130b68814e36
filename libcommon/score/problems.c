/* problems.c - see problems.h. */
#include "score/problems.h"

#include <stdlib.h>

struct jrl_estimate jrl_problems_mean(const struct jrl_problems *set, double least, double (*value)(const struct jrl_tally_problem *p, const void *arg), const void *arg)
{
    double *x = jrl_xcalloc((size_t)set->n + 1, sizeof(*x));
    struct jrl_estimate e;

    for (int64_t i = 0; i < set->n; i++)
        x[i] = value(set->members[i], arg);
    e = jrl_estimate_mean(x, set->n, least, set->confidence);
    free(x);
    return e;
}
