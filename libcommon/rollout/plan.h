/* plan.h - the memory that sampling takes, known before the weights are loaded; the cache's pages follow the memory. */
#ifndef JRL_ROLLOUT_PLAN_H
#define JRL_ROLLOUT_PLAN_H

#include "model/plan.h"
#include "rollout/engine.h"

struct jrl_engine_plan {
    const struct jrl_policy *policy;
    const struct jrl_model_config *config; /* of the policy */
    enum jrl_dtype dtype;
    struct jrl_device *dev;
    struct jrl_engine_limits limits;       /* cache_bytes is a result */
    int64_t max_tokens;                    /* of a response */
};

/* Sets *plan and p->limits.cache_bytes: what all of max_seqs need at full length, or as many pages as MEMORY bytes leave
 * beside the rest, but no fewer than one sequence needs. */
void jrl_engine_plan(struct jrl_memory_plan *plan, struct jrl_engine_plan *p, int64_t memory);
/* JRL_ERR_USAGE when it does not fit: the bytes missing, and the option that would help. */
int jrl_engine_plan_check(const struct jrl_memory_plan *plan, const struct jrl_engine_plan *p, int64_t memory, struct jrl_error *err) JRL_MUST_CHECK;

/* The largest step of an engine with these limits; its longest sequence. */
struct jrl_pass_plan jrl_engine_pass(const struct jrl_engine_plan *p);
int64_t jrl_engine_positions(const struct jrl_engine_limits *limits, int64_t max_tokens);

#endif
