/* plan.h - the memory that an update takes, known before the weights are loaded. */
#ifndef JRL_LEARN_PLAN_H
#define JRL_LEARN_PLAN_H

#include "learn/trainer.h"
#include "model/plan.h"

/* A trainer of POLICY computing in DTYPE, with passes of N_ROWS rows that keep KEEP. */
void jrl_trainer_plan(struct jrl_memory_plan *plan, const struct jrl_policy *policy, struct jrl_device *dev, enum jrl_dtype dtype, int64_t n_rows,
                      enum jrl_keep keep);
struct jrl_pass_plan jrl_trainer_pass(const struct jrl_model_config *config, enum jrl_dtype dtype, struct jrl_device *dev, int64_t n_rows,
                                      enum jrl_keep keep);

/* The plan of the trainer that jrl_trainer_open would make of the policy in DIR, set even when it does not fit. JRL_ERR_USAGE
 * when it is more than MEMORY bytes: those missing, and the option that would help. Sets settings->max_rows and, as far as
 * settings->keep_less allows it, a settings->keep that fits. */
int jrl_trainer_plan_check(struct jrl_memory_plan *plan, struct jrl_trainer_settings *settings, struct jrl_device *dev, const char *dir,
                           int64_t memory, struct jrl_error *err) JRL_MUST_CHECK;

#endif
