/* optimizer.h - AdamW over flat f32 state (master weights, first and second moment) with warm-up and a bound on
 * the gradient's norm, and its folder optimizer/ beside the weights of a policy. */
#ifndef JRL_LEARN_OPTIMIZER_H
#define JRL_LEARN_OPTIMIZER_H

#include <stdbool.h>

#include "kernels/device.h"
#include "model/config.h"

struct jrl_optimizer_settings {
    double lr;      /* peak */
    int64_t warmup; /* training steps */
    double beta1, beta2, eps, weight_decay;
    double grad_clip; /* largest norm of the gradient; 0: no bound */
};

/* The learning rate of training step k >= 1, the same for all its updates: lr * min(1, (k - 1) / warmup), so that
 * with warm-up the first step only fills the moments; lr when warmup is 0. */
double jrl_learning_rate(const struct jrl_optimizer_settings *s, int64_t k);

/* The arrays have n elements laid out as jrl_config_parameters says, in the memory of the device; the gaps between tensors
 * stay zero. */
struct jrl_optimizer {
    struct jrl_device *dev; /* borrowed */
    struct jrl_optimizer_settings settings;
    const struct jrl_parameter *parameters; /* borrowed */
    int64_t n_parameters, n;
    float *master, *m, *v;
    int64_t updates; /* made so far, skipped ones not counted: the exponent of the bias correction */
};

/* Moments zero, no updates; the caller fills master (jrl_weights_load). */
int jrl_optimizer_init(struct jrl_optimizer *o, struct jrl_device *dev, const struct jrl_optimizer_settings *s,
                       const struct jrl_parameter *parameters, int64_t n_parameters, int64_t n, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_optimizer_release(struct jrl_optimizer *o); /* safe on a zeroed one */

/* One update from the gradient; then weights (DTYPE) = master rounded. *norm is the gradient's norm before it is
 * bounded. A norm that is not finite leaves everything as it was and sets *skipped. */
int jrl_optimizer_step(struct jrl_optimizer *o, double lr, const float *grad, void *weights, enum jrl_dtype dtype, double *norm,
                       bool *skipped, struct jrl_error *err) JRL_MUST_CHECK;

/* Is there a folder optimizer/ in this policy? */
bool jrl_optimizer_exists(const char *policy_dir);
/* Read master, m and v from POLICY_DIR/optimizer; names and shapes must be the model's, values finite. The
 * number of updates is in state.json (state.h), for the caller to set. */
int jrl_optimizer_load(struct jrl_optimizer *o, const char *policy_dir, struct jrl_error *err) JRL_MUST_CHECK;
/* Write the folder optimizer/ into POLICY_DIR, every file and the folder fsynced. */
int jrl_optimizer_save(const struct jrl_optimizer *o, const char *policy_dir, struct jrl_error *err) JRL_MUST_CHECK;

#endif
