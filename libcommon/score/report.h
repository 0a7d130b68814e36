/* report.h - an evaluation for people (an aligned table) and for machines (one JSON object). Both are described in jrl-eval(1).
 * Writes to memory; the tool prints. */
#ifndef JRL_SCORE_REPORT_H
#define JRL_SCORE_REPORT_H

#include "score/summary.h"

struct jrl_report_options {
    struct jrl_ks ks;
    double confidence;
    const char *verifiers; /* names of the rules that judged, for the JSON; NULL: not known */
};

/* One row for each value of one field; values in order, numbers before texts. */
struct jrl_report_part {
    const char *field;        /* borrowed */
    int64_t n;
    int64_t *values;          /* [n] numbers in tally.texts; -1: problems without the field */
    struct jrl_summary *rows; /* [n] */
};

struct jrl_report {
    const struct jrl_tally *tally; /* borrowed; finished */
    struct jrl_report_options options;
    struct jrl_summary all;
    struct jrl_report_part *parts; /* [tally->n_fields] */
};
void jrl_report_make(struct jrl_report *r, const struct jrl_tally *tally, const struct jrl_report_options *options);
void jrl_report_release(struct jrl_report *r);

void jrl_report_table(const struct jrl_report *r, struct jrl_buffer *out);
int jrl_report_json(const struct jrl_report *r, struct jrl_buffer *out, struct jrl_error *err) JRL_MUST_CHECK; /* one line */

#endif
