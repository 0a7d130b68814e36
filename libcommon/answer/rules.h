/* rules.h - the rules' functions, for the table in answer.c and nobody else, and what they share. */
#ifndef JRL_ANSWER_RULES_H
#define JRL_ANSWER_RULES_H

#include <string.h>

#include "answer/answer.h"
#include "answer/edit.h"
#include "answer/symbolic.h"

struct jrl_verifier {
    const struct jrl_rule *rule;
    struct jrl_rule_options options;
    struct jrl_edit edit, reference; /* an answer and a reference being rewritten */
    struct jrl_symbolic symbolic;
};

typedef void jrl_rule_function(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths);
jrl_rule_function jrl_rule_dapo, jrl_rule_dapo_minerva, jrl_rule_exact, jrl_rule_gsm8k, jrl_rule_gsm8k_flexible;
jrl_rule_function jrl_rule_polaris, jrl_rule_deepscaler, jrl_rule_deepscaler_v1;

/* An answer was extracted: PRED is copied. */
void jrl_verdict_found(struct jrl_verdict *v, struct jrl_text pred);
/* For a rule that compares bytes: *v, whose answer was found, is right when that is exactly one of the truths. */
void jrl_verdict_compare(struct jrl_verdict *v, const struct jrl_text *truths, size_t n_truths);

/* The last N characters (code points) of a text; all of a shorter one. Every byte of UTF-8 that is no continuation byte
 * starts a character. */
struct jrl_text jrl_last_characters(struct jrl_text text, int n);
/* Where NEEDLE occurs last, or SIZE_MAX. Its first byte should be a rare one. */
size_t jrl_text_find_last(struct jrl_text text, const char *needle);

static inline bool jrl_text_equal(struct jrl_text a, struct jrl_text b)
{
    return a.len_bytes == b.len_bytes && (a.len_bytes == 0 || memcmp(a.data, b.data, a.len_bytes) == 0);
}

#endif
