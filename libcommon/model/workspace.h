/* workspace.h - the scratch memory of forward and training passes, private to this room. A buffer grows to
 * the largest size asked for and is then reused: fresh memory is slow to touch. */
#ifndef JRL_MODEL_WORKSPACE_H
#define JRL_MODEL_WORKSPACE_H

#include "kernels/memory.h"
#include "model/plan.h"
#include "model/train.h"

enum jrl_scratch {
    JRL_WS_IDS, JRL_WS_ROWS, JRL_WS_BIAS,                     /* token ids, attention rows, gathered bias */
    JRL_WS_X, JRL_WS_NORMED, JRL_WS_QKV, JRL_WS_Q, JRL_WS_MIXED, /* residual; block input; projections; query; attention output */
    JRL_WS_ACT,                                               /* of some rows of the MLP */
    JRL_WS_PICKED, JRL_WS_HEAD_X, JRL_WS_HEAD_NORMED, JRL_WS_LOGITS, /* indices of the wanted rows; of these rows */
    JRL_WS_PAGES, JRL_WS_PAGE_TABLE, JRL_WS_SAVED,            /* training: K and V of one layer; layer inputs */
    JRL_WS_HEAD_ROWS, JRL_WS_ANSWERS, JRL_WS_TARGETS, JRL_WS_TOKENS, JRL_WS_DERIVATIVES, JRL_WS_DLOGITS, JRL_WS_DHEAD_NORMED, JRL_WS_DHEAD_X,
    JRL_WS_DX, JRL_WS_DX_ROUNDED, JRL_WS_LSE, JRL_WS_DMIXED, JRL_WS_DQKV, JRL_WS_DQKV_ROUNDED, JRL_WS_DNORMED,
    JRL_WS_MLP_NORMED, JRL_WS_DGATE, JRL_WS_DUP,
    JRL_WS_KEPT_X, JRL_WS_KEPT_Q, JRL_WS_KEPT_MIXED, JRL_WS_KEPT_LSE, JRL_WS_KEPT_GATED, /* of all layers */
    JRL_WS_COUNT
};

/* Lists and numbers that the program itself writes and reads lie in its memory, everything else in the device's. */
struct jrl_workspace {
    struct jrl_device *dev; /* of the first pass, and of all others; NULL before */
    struct { void *data; size_t n_bytes; } scratch[JRL_WS_COUNT];
    struct { void *data; size_t n_bytes; } twin[JRL_WS_COUNT]; /* of lists, on a device with memory of its own */
    size_t expected[JRL_WS_COUNT]; /* bytes the largest pass needs; 0: not known */
    int64_t keep_rows;             /* training passes of up to so many rows keep what KEEP says */
    enum jrl_keep keep;
    struct jrl_pass_seconds seconds;
    struct jrl_trace *trace;
};

/* The plan of a pass: each buffer's rows, and the item of the memory plan that counts it. A buffer that is new here
 * is new in plan.c. */
enum jrl_need_part { JRL_NEED_KEPT, JRL_NEED_ROWS, JRL_NEED_MLP, JRL_NEED_HEAD, JRL_NEED_PARTS };
struct jrl_scratch_need { enum jrl_need_part part; int64_t n_rows, row_bytes; };
struct jrl_scratch_needs { struct jrl_scratch_need of[JRL_WS_COUNT]; };
void jrl_scratch_plan(struct jrl_scratch_needs *needs, const struct jrl_pass_plan *pass);
/* By which the kernels say what they take themselves; when sampling, in steps of decoding, too. */
struct jrl_kernel_sizes jrl_kernel_plan(const struct jrl_pass_plan *pass);

/* Rows of the MLP computed together, forward and backward, in a pass over n_rows rows; backward the most in any of up to so many. */
int64_t jrl_mlp_rows(const struct jrl_device *dev, int64_t n_rows);
int64_t jrl_mlp_backward_rows(const struct jrl_model_config *config, const struct jrl_device *dev, int64_t n_rows);
int64_t jrl_mlp_backward_most(const struct jrl_model_config *config, const struct jrl_device *dev, int64_t n_rows);

/* *out: memory of n elements of SIZE bytes, 64-byte aligned, contents anything; valid until the next
 * request for the same purpose. */
void jrl_workspace_use(struct jrl_workspace *ws, struct jrl_device *dev); /* before the first need of a pass */
int jrl_workspace_need(struct jrl_workspace *ws, enum jrl_scratch which, int64_t n, int64_t size_bytes, void *out, struct jrl_error *err) JRL_MUST_CHECK;

/* *out: where the device has the first n_bytes of a list: the list itself, or its twin; FILL: with what the list holds now. */
int jrl_workspace_on_device(struct jrl_workspace *ws, enum jrl_scratch which, size_t n_bytes, bool fill, void *out, struct jrl_error *err) JRL_MUST_CHECK;

/* The parts of a layer that sampling, scoring and training share. */

/* Buffers of one pass over n_rows rows. */
struct jrl_pass {
    const struct jrl_model *model;
    struct jrl_workspace *ws;
    int64_t n_rows;
    struct jrl_attention attention; /* its seqs and n_rows; page_offset is set per layer */
    void *normed, *q, *mixed;       /* of the model's dtype */
    float *qkv;
    void *bias;
    /* The layer whose activations are kept for the backward, with q, mixed and its pages: the residual between its blocks,
     * attention's lse. NULL: they are scratch memory and computed again. */
    float *x_mid, *lse;
    float *gate_and_up; /* of the MLP (struct jrl_gated_kept); NULL: not kept */
};
/* init: buffers, and attention bound to them. */
int jrl_pass_buffers(struct jrl_pass *pass, const struct jrl_model *model, struct jrl_workspace *ws, int64_t n_rows,
                     const struct jrl_attention_rows *seqs, int64_t n_seqs, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_pass_init(struct jrl_pass *pass, const struct jrl_model *model, struct jrl_workspace *ws, int64_t n_rows,
                  const struct jrl_attention_rows *seqs, int64_t n_seqs, struct jrl_error *err) JRL_MUST_CHECK;

/* Frees what a pass that keeps activations took, before a larger one that does not. */
void jrl_workspace_drop_kept(struct jrl_workspace *ws);

/* x += attention(norm(x)): fills the pages of the layer, leaves normed, q, mixed as the backward needs them; lse may be NULL. */
int jrl_attention_block(struct jrl_pass *pass, const struct jrl_layer *layer, float *x, float *lse, struct jrl_error *err) JRL_MUST_CHECK;
/* x += mlp(norm(x)) */
int jrl_mlp_block(struct jrl_pass *pass, const struct jrl_layer *layer, float *x, struct jrl_error *err) JRL_MUST_CHECK;
/* Both of every layer, whose pages hold all of them. */
int jrl_pass_layers(struct jrl_pass *pass, float *x, struct jrl_error *err) JRL_MUST_CHECK;
/* logits[n_rows, vocab] of residual rows x[n_rows, dim]; normed is left for the backward. */
int jrl_head_block(const struct jrl_model *model, const float *x, void *normed, float *logits, int64_t n_rows, struct jrl_error *err) JRL_MUST_CHECK;

/* Running gradients in the shapes the backward pass adds to. */
struct jrl_layer_gradients {
    float *attn_norm, *q, *k, *v, *o, *mlp_norm, *gate, *up, *down;
    float *qkv_bias; /* q, k, v side by side; NULL without bias */
};
struct jrl_gradients {
    struct jrl_device *dev; /* borrowed; the arrays lie in its memory */
    struct jrl_model_config config;
    struct jrl_parameter *parameters;
    int64_t n_parameters, n_total;
    float *data;      /* [n_total], in parameter order */
    float *tied_head; /* [vocab, dim] or NULL */
    float *biases;    /* [n_layers][q, k, v] or NULL */
    float *embedding, *final_norm, *head;
    struct jrl_layer_gradients *layers;
};

/* Whole sequences laid out as rows, for scoring and training. */
struct jrl_pack {
    const struct jrl_sequence *seqs;
    int64_t n_seqs, n_rows;
    uint32_t *ids;                    /* [n_rows], UINT32_MAX in padding rows */
    struct jrl_attention_rows *rows;  /* [n_seqs], without rows when nothing is scored */
    /* Scored rows, sequence by sequence, each filled up to a multiple of 32 with padding (row -1). */
    int64_t n_head_rows;
    struct jrl_head_row { int64_t row, sequence, token, scored; } *head_rows; /* scored: its place among all scored tokens */
    float *logprob, *entropy, *lse;   /* [n_head_rows], in the device's memory: chunk by chunk the head leaves them here */
};
/* TRAIN: the activations of all layers may be kept, then pages too. */
int jrl_pack_init(struct jrl_pack *pack, const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_sequence *seqs,
                  int64_t n_seqs, bool train, struct jrl_error *err) JRL_MUST_CHECK;

/* Logprobs and, unless NULL, entropies of the scored tokens, one behind the other, when all chunks have been forward. */
int jrl_pack_answers(const struct jrl_pack *pack, struct jrl_workspace *ws, float *logprobs, float *entropies, struct jrl_error *err) JRL_MUST_CHECK;

/* Head rows at..at+n-1 of the pack: their residuals, normed rows and logits; all in the device's memory. */
struct jrl_head_chunk {
    int64_t at, n;
    float *x, *logits;
    void *normed;
    uint32_t *targets;
};
int64_t jrl_head_chunk_rows(const struct jrl_model *model); /* most rows of a chunk */
/* X: final residual of all rows. The memory is valid until the next chunk. */
int jrl_head_chunk_forward(struct jrl_head_chunk *chunk, const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_pack *pack,
                           int64_t at, double temperature, const float *x, struct jrl_error *err) JRL_MUST_CHECK;
/* TOKENS: of all scored tokens. */
int jrl_head_chunk_backward(const struct jrl_head_chunk *chunk, const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_pack *pack,
                            double temperature, const struct jrl_objective *objective, const struct jrl_objective_token *tokens, struct jrl_gradients *g,
                            float *dx, struct jrl_error *err) JRL_MUST_CHECK;

/* From dx, the gradient of the layer's output, to that of its input, in place; x_in is the saved input. What the pass
 * did not keep is computed again. */
int jrl_layer_backward(struct jrl_pass *pass, const struct jrl_layer *layer, struct jrl_layer_gradients *g, const float *x_in, float *dx,
                       struct jrl_error *err) JRL_MUST_CHECK;

#endif
