/* aggregate.h - how the losses of a mini-batch's tokens become one number: the weight of each token. In every
 * variant the weight is the same for all tokens of a response. */
#ifndef JRL_LEARN_AGGREGATE_H
#define JRL_LEARN_AGGREGATE_H

#include <stdint.h>

enum jrl_aggregate_kind {
    JRL_TOKEN_MEAN,          /* mean over all response tokens of the mini-batch */
    JRL_SEQ_MEAN_TOKEN_MEAN, /* mean over responses of the mean over their tokens */
    JRL_SEQ_MEAN_TOKEN_SUM,  /* mean over responses of the sum over their tokens */
    JRL_VERL_MICRO,          /* token means of micro-batches, weighted by their number of responses: see below */
};

/* verl-micro is the published run's arithmetic (verl 0.4 with dynamic batches): responses are dealt in order, one
 * at a time, to `ranks` virtual ranks; each rank's responses are cut greedily into micro-batches of at most
 * `micro_tokens` tokens (prompt and response; a longer one stands alone); the loss is the mean over the ranks that
 * got a response of sum over micro-batches of (responses in it / responses of the rank) * mean over its response tokens. */
struct jrl_aggregate {
    enum jrl_aggregate_kind kind;
    int64_t ranks, micro_tokens; /* of JRL_VERL_MICRO */
};

/* weights[i] for the tokens of response i, from the numbers of prompt and response tokens (each response >= 1). */
void jrl_aggregate_weights(double *weights, const struct jrl_aggregate *a, const int64_t *n_prompt, const int64_t *n_response,
                           int64_t n_sequences);

#endif
