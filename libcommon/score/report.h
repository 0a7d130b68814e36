/* report.h - an evaluation as rows of named numbers: all problems, those with one value of a field, and the mean of such rows.
 * The report is the JSON object that jrl-eval(1) describes; layouts.h shows it.
 * Not here: the numbers (summary.h) and their names (metrics.h). */
#ifndef JRL_SCORE_REPORT_H
#define JRL_SCORE_REPORT_H

#include <jansson.h>

#include "score/summary.h"

struct jrl_report_options {
    struct jrl_ks ks;
    double confidence;
    const struct jrl_index *verifiers; /* names of the rules whose verdict counts */
    const struct jrl_index *also;      /* names of the rules that judged besides, by their number */
    const char *other;                 /* the tally was paired with this file's; NULL: with none */
    const struct jrl_index *other_verifiers;
};

/* A new object; TALLY is finished. Keys may be any bytes: only the JSON layout needs UTF-8. */
json_t *jrl_report_make(const struct jrl_tally *tally, const struct jrl_report_options *options);

#endif
