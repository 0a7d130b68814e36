/* verdict.h - a verdict in a record: whether the response is correct and what that is worth, beside what stood there before. */
#ifndef JRL_DATA_VERDICT_H
#define JRL_DATA_VERDICT_H

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

/* Set `correct`, and `reward` unless REWARD is NULL: what it is depends on `pred`, `why` and `finish`, so set those first. Where
 * another value stood there before it is kept (NAME_before): a verdict that is given again is no change. */
void jrl_verdict_set(struct jrl_record *rec, bool correct, const struct jrl_reward *reward);

/* What a judge said of an earlier verdict (jrl-judge(1)) goes. */
void jrl_verdict_forget_judge(struct jrl_record *rec);

#endif
