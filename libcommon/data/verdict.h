/* verdict.h - a verdict in a record: whether the response is correct and what that is worth, beside what stood there before. */
#ifndef JRL_DATA_VERDICT_H
#define JRL_DATA_VERDICT_H

#include "stream/record.h"

struct jrl_reward { double right, wrong; };

/* "RIGHT:WRONG", two finite numbers. JRL_ERR_USAGE names the text. */
int jrl_reward_parse(struct jrl_reward *r, const char *text, struct jrl_error *err) JRL_MUST_CHECK;

/* Set `correct`, and `reward` unless REWARD is NULL. Where another value stood there before it is kept (NAME_before): a
 * verdict that is given again is no change. */
void jrl_verdict_set(struct jrl_record *rec, bool correct, const struct jrl_reward *reward);

/* What a judge said of an earlier verdict (jrl-judge(1)) goes. */
void jrl_verdict_forget_judge(struct jrl_record *rec);

#endif
