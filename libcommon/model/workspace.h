/* workspace.h - the scratch memory of forward and training passes, private to this room. A buffer grows to
 * the largest size asked for and is then reused: fresh memory is slow to touch. */
#ifndef JRL_MODEL_WORKSPACE_H
#define JRL_MODEL_WORKSPACE_H

#include "model/model.h"

enum jrl_scratch {
    JRL_WS_IDS, JRL_WS_ROWS, JRL_WS_BIAS,                     /* token ids, attention rows, gathered bias */
    JRL_WS_X, JRL_WS_NORMED, JRL_WS_QKV, JRL_WS_Q, JRL_WS_MIXED, /* residual; block input; projections; query; attention output */
    JRL_WS_GATE, JRL_WS_UP, JRL_WS_ACT,                       /* of some rows of the MLP */
    JRL_WS_HEAD_X, JRL_WS_HEAD_NORMED, JRL_WS_LOGITS,         /* of the wanted rows */
    JRL_WS_PAGES, JRL_WS_PAGE_TABLE, JRL_WS_SAVED,            /* training: K and V of one layer; layer inputs */
    JRL_WS_SCORED, JRL_WS_STATS, JRL_WS_DLOGITS, JRL_WS_DHEAD, JRL_WS_DHEAD_X,
    JRL_WS_DX, JRL_WS_DX_ROUNDED, JRL_WS_LSE, JRL_WS_DMIXED, JRL_WS_DQKV, JRL_WS_DQKV_ROUNDED, JRL_WS_DNORMED,
    JRL_WS_DACT, JRL_WS_DGATE, JRL_WS_DUP,
    JRL_WS_COUNT
};

struct jrl_workspace {
    struct { void *data; size_t n_bytes; } scratch[JRL_WS_COUNT];
};

/* *out: memory of n elements of SIZE bytes, 64-byte aligned, contents anything; valid until the next
 * request for the same purpose. */
int jrl_workspace_need(struct jrl_workspace *ws, enum jrl_scratch which, int64_t n, int64_t size_bytes, void *out, struct jrl_error *err) JRL_MUST_CHECK;

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
};
int jrl_pass_init(struct jrl_pass *pass, const struct jrl_model *model, struct jrl_workspace *ws, int64_t n_rows,
                  const struct jrl_attention_rows *seqs, int64_t n_seqs, struct jrl_error *err) JRL_MUST_CHECK;

/* x += attention(norm(x)): fills the pages of the layer, leaves normed, q, mixed as the backward needs them; lse may be NULL. */
int jrl_attention_block(struct jrl_pass *pass, const struct jrl_layer *layer, float *x, float *lse, struct jrl_error *err) JRL_MUST_CHECK;
/* x += mlp(norm(x)) */
int jrl_mlp_block(struct jrl_pass *pass, const struct jrl_layer *layer, float *x, struct jrl_error *err) JRL_MUST_CHECK;
/* logits[n_rows, vocab] of residual rows x[n_rows, dim]; normed is left for the backward. */
int jrl_head_block(const struct jrl_model *model, const float *x, void *normed, float *logits, int64_t n_rows, struct jrl_error *err) JRL_MUST_CHECK;

#endif
