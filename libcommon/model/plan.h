/* plan.h - how much memory a model, and the largest pass over it, will take. Computed from the config and the sizes of
 * the pass, before anything is loaded; the buffers of a pass never grow beyond it (jrl_workspace_expect). */
#ifndef JRL_MODEL_PLAN_H
#define JRL_MODEL_PLAN_H

#include "base/plan.h"
#include "model/model.h"

enum jrl_pass_kind {
    JRL_PASS_SAMPLE, /* jrl_model_forward */
    JRL_PASS_SCORE,  /* jrl_score */
    JRL_PASS_TRAIN,  /* jrl_train */
};

/* What a training pass keeps of each layer for the way back: its input; what attention made, too; gate and up of the MLP, too. The rest
 * is computed again, with the same bits. */
enum jrl_keep { JRL_KEEP_INPUTS, JRL_KEEP_ATTENTION, JRL_KEEP_ALL };

struct jrl_pass_plan {
    const struct jrl_model_config *config;
    enum jrl_dtype dtype;   /* of compute */
    struct jrl_device *dev; /* its threads and instruction set decide about scratch memory */
    enum jrl_pass_kind kind;
    int64_t n_rows;         /* of the largest pass; scoring and training round it up to whole blocks of 32 */
    int64_t n_logits;       /* sampling: rows whose logits are wanted */
    int64_t n_spans;        /* sampling: sequences of a pass */
    int64_t n_positions;    /* sampling: of the longest sequence */
    enum jrl_keep keep;     /* training */
};

/* Weights and the rotary table, as jrl_model_open with DTYPE and N_POSITIONS (0: all) will have them; and parts of it. */
void jrl_plan_model(struct jrl_memory_plan *plan, const struct jrl_policy *policy, const struct jrl_device *dev, enum jrl_dtype dtype,
                    int64_t n_positions);
void jrl_plan_mapped(struct jrl_memory_plan *plan, const struct jrl_policy *policy);
void jrl_plan_rotary(struct jrl_memory_plan *plan, const struct jrl_model_config *config, int64_t n_positions);
void jrl_plan_pass(struct jrl_memory_plan *plan, const struct jrl_pass_plan *pass);

/* Let the workspace's buffers grow in steps, but not beyond what this pass needs, unless a larger pass comes. With
 * pass->keep, training passes that are not larger keep so much; larger ones the inputs of layers alone. */
void jrl_workspace_expect(struct jrl_workspace *ws, const struct jrl_pass_plan *pass);

/* The most rows of a pass, a multiple of 32, with which the plan that MAKE adds up stays within MEMORY bytes; at most
 * MOST, 0 when not even 32 rows fit. */
int64_t jrl_plan_most_rows(void (*make)(void *ctx, int64_t n_rows, struct jrl_memory_plan *plan), void *ctx, int64_t memory, int64_t most);

#endif
