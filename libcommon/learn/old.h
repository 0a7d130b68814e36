/* old.h - the logprobs of the policy that a step began with, by a forward pass of the trainer, and how far those of the
 * records are from them. They should be equal, bit for bit, where that policy sampled: sampler and trainer are the same code. */
#ifndef JRL_LEARN_OLD_H
#define JRL_LEARN_OLD_H

#include "learn/trainer.h"

/* Does an update begin with that pass: to check the records (check_old), or to correct for them (is_cap)? */
bool jrl_old_wanted(const struct jrl_trainer_settings *settings);

/* Score the examples (sequences SEQS, one pass) with t->start: LOGPROBS gets a value for each scored token, one example after
 * the other. Compared with the examples' old_logprobs and counted in *m. With check_old a difference is JRL_ERR_INPUT in an
 * example of the trainer's own policy; others are only counted. FIRST_RECORD: of examples[0] in the batch, counted from 1. */
int jrl_old_score(struct jrl_trainer *t, const struct jrl_example *examples, const struct jrl_sequence *seqs, int64_t n, int64_t first_record,
                  double temperature, float *logprobs, struct jrl_step_metrics *m, struct jrl_error *err) JRL_MUST_CHECK;

#endif
