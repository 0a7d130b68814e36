/* rules.h - the rules' functions, for the table in answer.c and nobody else. */
#ifndef JRL_ANSWER_RULES_H
#define JRL_ANSWER_RULES_H

#include "answer/answer.h"

struct jrl_verifier {
    const struct jrl_rule *rule;
    struct jrl_rule_options options;
};

void jrl_rule_dapo(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths);

/* An answer was extracted: PRED is copied. */
void jrl_verdict_found(struct jrl_verdict *v, struct jrl_text pred);
/* For a rule that compares bytes: *v, whose answer was found, is right when that is exactly one of the truths. */
void jrl_verdict_compare(struct jrl_verdict *v, const struct jrl_text *truths, size_t n_truths);

#endif
