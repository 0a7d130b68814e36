/* tally.h - counts of a rule's verdicts: by reason, and beside those of another judge. */
#ifndef JRL_ANSWER_TALLY_H
#define JRL_ANSWER_TALLY_H

#include <stdint.h>

#include "answer/answer.h"

/* Zero-initialise. */
struct jrl_verdict_tally {
    int64_t n, why[JRL_N_WHY];
    int64_t small_numbers;          /* that another treatment of tiny numbers would turn */
    int64_t only_this, only_other;  /* right by this rule and wrong by the other, and the other way round */
};

void jrl_verdict_tally_add(struct jrl_verdict_tally *t, const struct jrl_verdict *v, bool other_correct);

/* Append "equal text 5, differs 3", in the order of enum jrl_why; "none" when there were none. */
void jrl_verdict_tally_reasons(const struct jrl_verdict_tally *t, struct jrl_buffer *out);

#endif
