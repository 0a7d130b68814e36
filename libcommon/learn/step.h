/* step.h - one training step: rollouts of a batch come in, one at a time, and leave as optimiser updates. A
 * mini-batch is the next so many groups in stream order; the last of a batch may be smaller. Holds one mini-batch,
 * not the batch. Says nothing to anyone: what a user should hear is in the struct. */
#ifndef JRL_LEARN_STEP_H
#define JRL_LEARN_STEP_H

#include "data/group.h"
#include "learn/trainer.h"

/* Zero-initialise, set the first part; release at the end. */
struct jrl_step {
    struct jrl_trainer *trainer; /* borrowed */
    int64_t mini_batch;          /* groups; rollouts with JRL_OBJECTIVE_NLL */
    int64_t k;                   /* the training step; 0: what the records say, else the policy's next */
    bool allow_off_policy;
    const struct jrl_chat *chat; /* to read examples that are text (data/example.h); borrowed, may be NULL */
    const struct jrl_tokenizer *tokenizer;
    uint32_t end_id;

    struct jrl_step_metrics metrics;
    bool restricted_sampling; /* a rollout was drawn with top-p < 1 or top-k */
    bool has_seed;
    uint64_t seed;            /* of the last rollout */

    struct jrl_example *examples; /* of the mini-batch that is being filled */
    int64_t n, cap, n_groups;
    struct jrl_group group;
    double temperature; /* of the batch; 0: not known yet */
};
void jrl_step_release(struct jrl_step *s);

/* Take one rollout; every mini_batch groups this trains. JRL_ERR_INPUT says what is wrong with the record. */
int jrl_step_add(struct jrl_step *s, const struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;

/* The batch is whole: train on what is left. JRL_ERR_INPUT when a group is incomplete or nothing came at all. */
int jrl_step_end(struct jrl_step *s, struct jrl_error *err) JRL_MUST_CHECK;

/* Ready for batch k + 1. */
void jrl_step_next(struct jrl_step *s);

#endif
