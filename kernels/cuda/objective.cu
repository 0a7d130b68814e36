/* objective.cu - the derivatives of the objective, a thread a token. */
#include "kernels/cuda/gpu.h"

extern "C" {
#include "kernels/cpu/objective_token.h"
}

#define THREADS 256

static __global__ void objective_tokens(float *dlogprob, float *dentropy, struct jrl_objective o, const struct jrl_objective_token *tokens,
                                        const float *logprob, const float *entropy, int64_t n)
{
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += (int64_t)gridDim.x * THREADS)
        jrl_token_backward(&dlogprob[i], dentropy ? &dentropy[i] : NULL, &o, &tokens[i], logprob[i], entropy[i]);
}

int jrl_cuda_objective_backward(struct jrl_device *dev, float *dlogprob, float *dentropy, const struct jrl_objective *o,
                                const struct jrl_objective_token *tokens, const float *logprob, const float *entropy, int64_t n, struct jrl_error *err)
{
    const int rc = gpu_check_sizes(dev, "objective", n, 1, err);

    if (rc < 0 || n == 0)
        return rc;
    return LAUNCH(objective_tokens, gpu_blocks(dev, n, THREADS), THREADS, 0, dlogprob, dentropy, *o, tokens, logprob, entropy, n);
}
