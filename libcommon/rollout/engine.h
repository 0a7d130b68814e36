/* engine.h - samples responses: continuous batching over a paged KV cache. The scheduler's decisions never
 * change a token (jrl-numerics(7)). Knows tokens, not text or records. */
#ifndef JRL_ROLLOUT_ENGINE_H
#define JRL_ROLLOUT_ENGINE_H

#include "base/trace.h"
#include "kernels/choose.h"
#include "model/model.h"

struct jrl_sampling {
    double temperature;  /* > 0; ignored when greedy */
    double top_p;        /* (0, 1]; 1: off */
    int64_t top_k;       /* 0: off */
    bool greedy;
    uint64_t seed;
    int64_t max_tokens;  /* of a response, its end token included; at least 1 */
    const uint32_t *stop_ids;
    int n_stop;
    bool entropies;      /* keep per-token entropies */
};

/* The same for the kernel that chooses a token. */
struct jrl_choice_rule jrl_sampling_rule(const struct jrl_sampling *sampling);

enum jrl_finish { JRL_FINISH_STOP, JRL_FINISH_LENGTH };

struct jrl_response {
    uint32_t *tokens;    /* the stop token is part of it */
    float *logprobs;     /* of softmax(logits / T), before top-k and top-p */
    float *entropies;    /* NULL unless asked for */
    double entropy_sum;
    int64_t n;
    enum jrl_finish finish;
};

struct jrl_engine;

/* max_seqs: responses decoded together; prefill_tokens: tokens of prompts (and of preempted responses) a step may take
 * besides; max_prompt_tokens: of one prompt; cache_bytes: KV memory, at least what one sequence of full length needs, 0:
 * what max_seqs of them need (jrl_engine_plan says what the memory allows). */
struct jrl_engine_limits { int64_t max_seqs, prefill_tokens, cache_bytes, max_prompt_tokens; };

/* The model and what sampling points at are borrowed until jrl_engine_free. JRL_ERR_USAGE when a prompt and a response
 * of full length are more positions than the model has, or do not fit into the cache. */
int jrl_engine_new(struct jrl_engine **out, const struct jrl_model *model, const struct jrl_sampling *sampling,
                   const struct jrl_engine_limits *limits, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_engine_free(struct jrl_engine *e); /* accepts NULL */
/* Steps leave their parts in TRACE (borrowed, may be NULL): prefill or decode, choose; decode alone where a step is one launch. */
void jrl_engine_trace(struct jrl_engine *e, struct jrl_trace *trace);

/* Queue a prompt (copied) to be answered n_samples times, starting at sample number first_sample. uid and draw key the
 * random numbers (draw 0 when there is none). tag comes back with the results. JRL_ERR_INPUT for an empty or too long
 * prompt and for a token id without an embedding row. */
int jrl_engine_add(struct jrl_engine *e, uint64_t uid, uint64_t draw, const uint32_t *prompt, int64_t n_prompt,
                   int64_t first_sample, int64_t n_samples, void *tag, struct jrl_error *err) JRL_MUST_CHECK;

/* One step: prefill some, decode one token of every running sequence; on a GPU these may come with the next step. JRL_EOF when every group is finished;
 * JRL_ERR_INPUT when the policy's logits are not finite. */
int jrl_engine_step(struct jrl_engine *e, struct jrl_error *err) JRL_MUST_CHECK;

/* The responses of the oldest group, in order of adding, when all its samples are done: n_samples responses,
 * valid until jrl_engine_pop. NULL when it is not finished or there is none. */
const struct jrl_response *jrl_engine_finished(struct jrl_engine *e, void **tag, int64_t *n_samples);
void jrl_engine_pop(struct jrl_engine *e);

/* running, waiting, done: responses; longest of them; unfinished_tokens: of those running or waiting, so far; groups: added and
 * not popped; tokens: sampled; prompt_tokens: of the prompts; shared_tokens: of prompts and of what was set back, those that
 * another sequence had computed; steps: forward passes, prefill_s of them with prompt tokens in them and decode_s without, in
 * seconds; preempted: sequences that lost their pages. */
struct jrl_engine_stats {
    int64_t running, waiting, done, unfinished_tokens, groups, tokens, prompt_tokens, shared_tokens, longest, pages_used, pages, steps, preempted;
    double prefill_s, decode_s, choose_s;
};
void jrl_engine_stats(const struct jrl_engine *e, struct jrl_engine_stats *stats);

#endif
