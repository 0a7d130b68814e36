/* train.h - the training pass over a pack of whole sequences: logprobs and entropies of scored tokens, and
 * the gradient of a token-wise objective. Layer inputs are kept; the inside of a layer is kept where the
 * memory plan allows it and computed again elsewhere, with the same bits; logits
 * exist for a few rows at a time. Gradients follow the contract's token order: a micro-batch boundary between
 * sequences changes no bit. */
#ifndef JRL_MODEL_TRAIN_H
#define JRL_MODEL_TRAIN_H

#include "kernels/objective.h"
#include "model/model.h"

/* One sequence: prompt then response. The scored tokens are tokens[n_prompt .. n-1]; token t is predicted by
 * row t-1, so n_prompt >= 1 and the last token takes no row. A pack lays sequences out at multiples of 32 rows.
 * A sequence without scored tokens is left out. */
struct jrl_sequence {
    const uint32_t *tokens;
    int64_t n, n_prompt;
};
int64_t jrl_sequence_rows(int64_t n); /* rows a sequence of n tokens takes: n - 1 rounded up to 32 */

/* Running gradients, f32, one flat array in parameter order, in the memory of the model's device. Embedding and head of a tied model, and the biases, accumulate
 * apart; jrl_gradients_finish, called once after the last micro-batch, brings them to their places. */
struct jrl_gradients;
/* Contents anything until jrl_gradients_zero, which touches the memory with all threads. */
int jrl_gradients_new(struct jrl_gradients **out, const struct jrl_model *model, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_gradients_free(struct jrl_gradients *g);
int jrl_gradients_zero(struct jrl_gradients *g, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_gradients_finish(struct jrl_gradients *g, struct jrl_error *err) JRL_MUST_CHECK;
/* The flat gradient: parameters in name order (as jrl_parameters lists them), n elements in all. */
float *jrl_gradients_data(struct jrl_gradients *g, int64_t *n);

/* The trained parameters, as jrl_config_parameters lists them (config.h). */
int64_t jrl_parameters(const struct jrl_model *model, struct jrl_parameter **out); /* caller frees with jrl_parameters_free */
/* A model whose weights are updated in place: WEIGHTS is a flat array of model->dtype in parameter order, in the device's
 * memory (owned by the caller). jrl_model_open_unbound is jrl_model_open without weights of its own; jrl_model_bind points
 * the layers at the array, also those of a model that was opened with weights. */
int jrl_model_open_unbound(struct jrl_model *model, struct jrl_device *dev, struct jrl_policy *policy, const char *dtype_name,
                           int64_t n_positions, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_model_bind(struct jrl_model *model, void *weights, struct jrl_error *err) JRL_MUST_CHECK;
/* Fill the flat weights (model dtype) and f32 masters, both in the device's memory, from the policy's tensors. */
int jrl_weights_load(const struct jrl_model *model, const struct jrl_policy *policy, void *weights, float *master, struct jrl_error *err) JRL_MUST_CHECK;

/* Seconds that scoring and training passes spent so far, by part. */
struct jrl_pass_seconds { double forward, head, backward; };
struct jrl_pass_seconds jrl_workspace_seconds(const struct jrl_workspace *ws);
/* Passes leave these parts in TRACE (borrowed, may be NULL). */
struct jrl_trace;
void jrl_workspace_trace(struct jrl_workspace *ws, struct jrl_trace *trace);

/* Logprob (and entropy; may be NULL) of every scored token, concatenated over the sequences. */
int jrl_score(const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_sequence *seqs, int64_t n_seqs,
              double temperature, float *logprobs, float *entropies, struct jrl_error *err) JRL_MUST_CHECK;

/* The same, and the gradient of OBJECTIVE added to *g: forward and backward of one micro-batch. TOKENS: what the objective needs of
 * each scored token; which rows are scored the pass knows itself. */
int jrl_train(const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_sequence *seqs, int64_t n_seqs, double temperature,
              const struct jrl_objective *objective, const struct jrl_objective_token *tokens, float *logprobs, float *entropies, struct jrl_gradients *g,
              struct jrl_error *err) JRL_MUST_CHECK;

#endif
