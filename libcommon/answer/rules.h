/* rules.h - the rules' functions, for the table in answer.c and nobody else. */
#ifndef JRL_ANSWER_RULES_H
#define JRL_ANSWER_RULES_H

#include "answer/answer.h"

void jrl_judge_dapo(struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths);

/* For a rule that compares bytes: is the answer of *v, when there is one, exactly one of the truths? */
bool jrl_verdict_is_any(const struct jrl_verdict *v, const struct jrl_text *truths, size_t n_truths);
/* Make *v "nothing extracted, wrong", the start of every rule. */
void jrl_verdict_clear(struct jrl_verdict *v);

#endif
