/* objective.c - see kernels/objective.h. */
#include "kernels/cpu/objective_token.h"

#include "kernels/cpu/cpu.h"

struct jrl_token_loss jrl_token_loss(const struct jrl_objective *o, const struct jrl_objective_token *t, float logprob, float entropy)
{
    return jrl_token_loss_inline(o, t, logprob, entropy);
}

int jrl_cpu_objective_backward(struct jrl_device *dev, float *dlogprob, float *dentropy, const struct jrl_objective *o,
                               const struct jrl_objective_token *tokens, const float *logprob, const float *entropy, int64_t n, struct jrl_error *err)
{
    (void)dev, (void)err;
    for (int64_t i = 0; i < n; i++)
        jrl_token_backward(&dlogprob[i], dentropy ? &dentropy[i] : NULL, o, &tokens[i], logprob[i], entropy[i]);
    return JRL_OK;
}
