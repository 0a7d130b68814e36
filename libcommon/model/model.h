/* model.h - the transformer of one policy in compute form, and its forward pass over spans of sequences:
 * the same code for prefill, decode and scoring. The training pass is in train.h. */
#ifndef JRL_MODEL_MODEL_H
#define JRL_MODEL_MODEL_H

#include "kernels/attention.h"
#include "model/policy.h"

struct jrl_layer { /* all of the model's dtype, row-major as stored: weight [out, in] */
    const void *attn_norm, *q, *k, *v, *o;
    const void *q_bias, *k_bias, *v_bias; /* NULL without bias */
    const void *qkv_bias;                 /* the three side by side, where they were laid so; else NULL */
    const void *mlp_norm, *gate, *up, *down;
};

struct jrl_model {
    struct jrl_model_config config;
    enum jrl_dtype dtype;       /* of compute: JRL_BF16 or JRL_F32 */
    struct jrl_device *dev;     /* borrowed */
    struct jrl_layer *layers;
    const void *embedding, *final_norm, *head; /* head == embedding when tied */
    float *rope_cos, *rope_sin; /* [n_positions, head_dim/2] */
    int64_t n_positions;
    void *owned;                /* weights that are not used where they lie */
    void *biases;               /* what the layers' qkv_bias point into */
};

/* DTYPE_NAME: "auto" (bf16 unless the file is f32), "bf16", "f32". Weights of that type are used where they lie
 * in the policy's mapping (which must outlive the model); others are converted. A device with memory of its own gets all of them. n_positions: how many
 * positions sequences may use (rope table), at most config.max_positions, 0: that. NaN weights are refused. */
int jrl_model_open(struct jrl_model *model, struct jrl_device *dev, struct jrl_policy *policy, const char *dtype_name,
                   int64_t n_positions, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_model_close(struct jrl_model *model); /* safe on a zeroed model */
/* What DTYPE_NAME means for such a model. JRL_ERR_USAGE for another word. */
int jrl_model_dtype(enum jrl_dtype *out, const struct jrl_model_config *config, const char *dtype_name, struct jrl_error *err) JRL_MUST_CHECK;
/* Bytes of the weights that cannot be used where they lie; with ALL, of all weights. */
int64_t jrl_model_owned_bytes(const struct jrl_policy *policy, enum jrl_dtype dtype, bool all);

/* Some next positions of one sequence: tokens[0..n-1] stand at positions start.. of it. pages: the sequence's
 * page table (attention.h); a page holds all layers, layer i at i * jrl_page_bytes(). Pages for the new
 * positions exist already; pages before `start` are filled. */
struct jrl_span {
    const uint32_t *tokens;
    int64_t n, start;
    uint8_t *const *pages;
};
int64_t jrl_model_page_bytes(const struct jrl_model *model); /* all layers */

/* What jrl_logprob takes for a temperature: sampler and trainer must round it the same way. */
static inline float jrl_inv_temperature(double temperature)
{
    return (float)(1.0 / temperature);
}

/* Scratch memory for forward passes of up to max_rows rows and max_logits logits rows; grown when needed. */
struct jrl_workspace;
struct jrl_workspace *jrl_workspace_new(void);
void jrl_workspace_free(struct jrl_workspace *ws);

/* Forward. logits_rows: indices (into the concatenation of the spans' tokens, ascending) of the rows whose logits
 * are wanted; *logits is [n_logits_rows, vocab] f32 in the workspace, valid until its next use. Bits of a row
 * depend on its sequence alone. */
int jrl_model_forward(const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_span *spans, int64_t n_spans,
                      const int64_t *logits_rows, int64_t n_logits_rows, float **logits, struct jrl_error *err) JRL_MUST_CHECK;

#endif
