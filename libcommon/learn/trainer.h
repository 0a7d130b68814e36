/* trainer.h - a policy being updated: weights, gradient and optimiser in memory, one mini-batch at a time, and the
 * new policy on disk. Knows examples, not records; says nothing to anyone. */
#ifndef JRL_LEARN_TRAINER_H
#define JRL_LEARN_TRAINER_H

#include "base/trace.h"
#include "learn/aggregate.h"
#include "learn/metrics.h"
#include "learn/optimizer.h"
#include "learn/state.h"
#include "model/plan.h"
#include "model/train.h"

struct jrl_trainer_settings {
    struct jrl_objective objective;
    struct jrl_aggregate aggregate;
    struct jrl_optimizer_settings optimizer;
    int64_t micro_tokens;  /* rows of one pass (jrl_sequence_rows); a longer sequence stands alone. Changes no bit */
    enum jrl_keep keep;    /* of passes of micro_tokens rows; changes no bit */
    bool keep_less;        /* where the memory is not enough: the plan lowers KEEP */
    int64_t max_rows;      /* of a sequence, as the memory allows (plan.h); 0: any */
    bool check_old;        /* refuse old logprobs that are not those of the policy that the step began with (old.h) */
    bool fresh;            /* ignore optimizer/ and the step count of the policy */
    const char *dtype;     /* of jrl_model_open */
};

struct jrl_trainer {
    struct jrl_trainer_settings settings;
    struct jrl_device *dev; /* borrowed */
    struct jrl_policy *policy;
    char policy_id[JRL_DIGEST_SIZE];
    struct jrl_train_state state; /* as read; present false when fresh */
    bool resumed;                 /* optimizer/ was read */
    struct jrl_model model;
    struct jrl_model start;       /* of the weights as they lie in the folder; opened where they are wanted (old.h) */
    struct jrl_workspace *workspace;
    struct jrl_gradients *gradients;
    struct jrl_parameter *parameters;
    int64_t n_parameters, n;
    void *weights; /* flat, of model.dtype, in the device's memory as all that is trained */
    struct jrl_optimizer optimizer;
    struct jrl_trace *trace;
    /* Called, where not NULL, as an update goes on: tokens of the mini-batch that are through, and all of them. */
    void (*watch)(void *ctx, int64_t n_done, int64_t n_tokens);
    void *watch_ctx;
};

/* Open the policy in DIR, its optimiser state and step. JRL_ERR_INPUT when that state belongs to other weights. */
int jrl_trainer_open(struct jrl_trainer *t, struct jrl_device *dev, const char *dir, const struct jrl_trainer_settings *settings,
                     struct jrl_error *err) JRL_MUST_CHECK;
/* Updates leave their phases (read, check, train, optimiser) and the parts of passes in TRACE: borrowed, may be NULL. */
void jrl_trainer_trace(struct jrl_trainer *t, struct jrl_trace *trace);
void jrl_trainer_close(struct jrl_trainer *t); /* safe on a zeroed one */

/* Does the model have a row for every token, and a position for the last one? JRL_ERR_INPUT says what not. JRL_ERR_USAGE:
 * the sequence is longer than the memory allows. */
int jrl_trainer_check(const struct jrl_trainer *t, const struct jrl_example *e, struct jrl_error *err) JRL_MUST_CHECK;

/* One update from these examples (at one temperature); counted in *m. *skipped: the gradient was not finite. */
int jrl_trainer_minibatch(struct jrl_trainer *t, const struct jrl_example *examples, int64_t n, double temperature, double lr,
                          struct jrl_step_metrics *m, bool *skipped, struct jrl_error *err) JRL_MUST_CHECK;

/* Write weights, optimizer/, state.json (STATE: step, seed and version are the caller's) and metrics.json (*m, with the
 * new id and the seconds spent so far) as the new policy OUT, whole or not at all. Its id is left in m->policy. */
int jrl_trainer_save(struct jrl_trainer *t, const char *out, const struct jrl_train_state *state, struct jrl_step_metrics *m,
                     struct jrl_error *err) JRL_MUST_CHECK;

#endif
