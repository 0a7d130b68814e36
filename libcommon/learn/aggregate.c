/* aggregate.c - see aggregate.h. */
#include "learn/aggregate.h"

/* One virtual rank: responses rank, rank + ranks, rank + 2 ranks, ... */
static void micro_weights(double *weights, const struct jrl_aggregate *a, const int64_t *n_prompt, const int64_t *n_response,
                          int64_t n_sequences, int64_t rank, int64_t n_ranks)
{
    int64_t n_rank = (n_sequences - rank + a->ranks - 1) / a->ranks;

    for (int64_t first = rank, next; first < n_sequences; first = next) {
        int64_t tokens = 0, responses = 0, response_tokens = 0;

        for (next = first; next < n_sequences; next += a->ranks) {
            int64_t n = n_prompt[next] + n_response[next];

            if (responses > 0 && tokens + n > a->micro_tokens)
                break;
            tokens += n;
            responses++;
            response_tokens += n_response[next];
        }
        for (int64_t i = first; i < next; i += a->ranks)
            weights[i] = (double)responses / (double)n_rank / (double)response_tokens / (double)n_ranks;
    }
}

void jrl_aggregate_weights(double *weights, const struct jrl_aggregate *a, const int64_t *n_prompt, const int64_t *n_response,
                           int64_t n_sequences)
{
    int64_t total = 0, n_ranks = a->ranks < n_sequences ? a->ranks : n_sequences;

    for (int64_t i = 0; i < n_sequences; i++)
        total += n_response[i];
    for (int64_t i = 0; i < n_sequences; i++) {
        switch (a->kind) {
        case JRL_TOKEN_MEAN:
            weights[i] = 1.0 / (double)total;
            break;
        case JRL_SEQ_MEAN_TOKEN_MEAN:
            weights[i] = 1.0 / (double)n_sequences / (double)n_response[i];
            break;
        case JRL_SEQ_MEAN_TOKEN_SUM:
            weights[i] = 1.0 / (double)n_sequences;
            break;
        case JRL_VERL_MICRO:
            break;
        }
    }
    if (a->kind == JRL_VERL_MICRO)
        for (int64_t rank = 0; rank < n_ranks; rank++)
            micro_weights(weights, a, n_prompt, n_response, n_sequences, rank, n_ranks);
}
