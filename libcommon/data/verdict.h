/* verdict.h - a verdict in a record: whether the response is correct and what that is worth, beside what stood there before. */
#ifndef JRL_DATA_VERDICT_H
#define JRL_DATA_VERDICT_H

#include "base/text.h"
#include "stream/record.h"

/* What verdicts are worth. */
struct jrl_reward {
    double right, wrong;
    double no_answer;   /* wrong, and no answer was found: `pred` is nil or missing, or `why` is "no answer" */
    double truncated;   /* wrong, and cut at the limit of tokens: `finish` is "length"; comes before no_answer */
    bool has_truncated; /* else a cut response is like any other */
};

/* "RIGHT:WRONG[:NOFORMAT[:TRUNCATED]]", finite numbers. Without NOFORMAT it is WRONG. JRL_ERR_USAGE names the text. */
int jrl_reward_parse(struct jrl_reward *r, const char *text, struct jrl_error *err) JRL_MUST_CHECK;

/* Both functions set `correct`, and `reward` unless REWARD is NULL. Where another value stood there before it is kept (NAME_before):
 * a verdict that is given again is no change. Texts are borrowed for the call. */

/* What a rule or a program said, its name VERIFIER: PRED is the answer that it found, WHY what decided; either may be NULL. What
 * a judge said of an earlier verdict (jrl-judge(1)) goes. */
void jrl_verdict_set(struct jrl_record *rec, const char *verifier, bool correct, const struct jrl_text *pred, const char *why, const struct jrl_reward *reward);

/* What a judge said. */
struct jrl_judgement {
    const char *judge;        /* its id */
    bool rule_correct;        /* the verdict before */
    bool asked;               /* else the rest says nothing */
    struct jrl_text verdict;  /* well-formed UTF-8, of which the record gets the first 32 bytes */
    bool accepts;
    int64_t n_cut;            /* characters of the response that the judge did not see */
};
/* In place of what one said before. Correct is what the rule or the judge accepts. */
void jrl_verdict_set_judgement(struct jrl_record *rec, const struct jrl_judgement *j, const struct jrl_reward *reward);

#endif
