/* flat_training.h - a training pass whose loss has the same derivative with respect to every logprob: for tests and benchmarks that look at
 * something else. */
#ifndef JRL_TESTS_FLAT_TRAINING_H
#define JRL_TESTS_FLAT_TRAINING_H

#include "base/memory.h"
#include "model/train.h"

static inline int train_flat(const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_sequence *seqs, int64_t n_seqs, double derivative,
                             struct jrl_gradients *g, struct jrl_error *err)
{
    const struct jrl_objective objective = { .kind = JRL_OBJECTIVE_NLL };
    struct jrl_objective_token *tokens;
    float *answers;
    int64_t n = 0;
    int rc;

    for (int64_t i = 0; i < n_seqs; i++)
        n += seqs[i].n - seqs[i].n_prompt;
    tokens = jrl_xcalloc((size_t)n, sizeof *tokens);
    answers = jrl_xcalloc((size_t)n, 2 * sizeof *answers);
    for (int64_t i = 0; i < n; i++)
        tokens[i].weight = -derivative;
    rc = jrl_train(model, ws, seqs, n_seqs, 1, &objective, tokens, answers, answers + n, g, err);
    free(tokens);
    free(answers);
    return rc;
}

#endif
