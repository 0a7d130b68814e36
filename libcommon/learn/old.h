/* old.h - do the old logprobs of the records equal those of a forward pass? They should, bit for bit, where the policy
 * is the one that sampled: sampler and trainer are the same code. */
#ifndef JRL_LEARN_OLD_H
#define JRL_LEARN_OLD_H

#include "learn/trainer.h"

/* Score the examples (sequences SEQS, one pass) with t->start and compare; counted in *m. JRL_ERR_INPUT when one of the
 * trainer's own policy differs; others are only counted. FIRST_RECORD: of examples[0] in the batch, counted from 1. */
int jrl_old_check(struct jrl_trainer *t, const struct jrl_example *examples, const struct jrl_sequence *seqs, int64_t n, int64_t first_record,
                  double temperature, struct jrl_step_metrics *m, struct jrl_error *err) JRL_MUST_CHECK;

#endif
