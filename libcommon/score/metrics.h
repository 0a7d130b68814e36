/* metrics.h - the public names of an evaluation's numbers: one JSON object a row. It is what --format json prints and what every
 * other layout reads, so a number has one name. Names are a contract: some are added, none is renamed. */
#ifndef JRL_SCORE_METRICS_H
#define JRL_SCORE_METRICS_H

#include <jansson.h>

#include "score/summary.h"

/* Rules that judged besides: their names, in the order they are shown in, and their numbers in jrl_summary.also. */
struct jrl_also_rules {
    int n;
    struct {
        char *name; /* owned */
        int number;
    } list[JRL_MAX_ALSO];
};

/* A new object. What is not known is null; verdicts of a judge, of other rules and of another policy are absent then. */
json_t *jrl_metrics(const struct jrl_summary *s, const struct jrl_also_rules *also);

#endif
