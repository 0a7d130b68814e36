/* peer_llama.cpp - what llama.cpp thinks of given tokens: for each sequence an object of JSON with the log-probability of each token of
 * the response and that of the token it holds likeliest there. Takes the prompt in one batch and the response token by token, as its
 * benchmark does. Usage: peer_llama MODEL.gguf on|off THREADS PROMPT TOKEN,...  [TOKEN,...]: fused attention or not, how many of
 * the tokens are the prompt. */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "llama.h"

static llama_context *open_model(const char *path, bool fused, int threads, size_t n_tokens)
{
    llama_context_params params = llama_context_default_params();
    llama_model *model = llama_model_load_from_file(path, llama_model_default_params());

    params.n_ctx = params.n_batch = (uint32_t)n_tokens;
    params.n_threads = params.n_threads_batch = threads;
    params.flash_attn_type = fused ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    return model ? llama_init_from_model(model, params) : NULL;
}

/* The log of the sum of exponentials. */
static double log_sum(const float *logits, int n)
{
    const double top = *std::max_element(logits, logits + n);
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += std::exp(logits[i] - top);
    return top + std::log(sum);
}

static void print(const char *name, const std::vector<double> &values)
{
    printf("\"%s\": [", name);
    for (size_t i = 0; i < values.size(); i++)
        std::isfinite(values[i]) ? printf("%s%.6f", i ? ", " : "", values[i]) : printf("%sNaN", i ? ", " : "");
    printf("]");
}

/* False where llama.cpp fails. */
static bool score(llama_context *ctx, size_t n_prompt, std::vector<llama_token> tokens)
{
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx)));
    std::vector<double> logprobs, best;

    llama_memory_clear(llama_get_memory(ctx), true);
    for (size_t done = 0, n = n_prompt; done + n < tokens.size(); done += n, n = 1) {
        if (llama_decode(ctx, llama_batch_get_one(&tokens[done], (int32_t)n)) != 0)
            return false;
        const float *logits = llama_get_logits_ith(ctx, -1);
        const double sum = log_sum(logits, n_vocab);
        logprobs.push_back(logits[tokens[done + n]] - sum);
        best.push_back(*std::max_element(logits, logits + n_vocab) - sum);
    }
    printf("{");
    print("logprobs", logprobs);
    printf(", ");
    print("best", best);
    printf("}");
    return true;
}

static std::vector<llama_token> parse(const char *list)
{
    std::vector<llama_token> tokens;

    for (char *end; *list; list = *end ? end + 1 : end)
        tokens.push_back((llama_token)strtol(list, &end, 10));
    return tokens;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: peer_llama MODEL.gguf on|off THREADS PROMPT TOKEN,... [TOKEN,...]\n");
        return 2;
    }
    llama_log_set([](ggml_log_level, const char *, void *) {}, NULL);
    llama_context *ctx = open_model(argv[1], strcmp(argv[2], "on") == 0, atoi(argv[3]), 1024);
    if (!ctx) {
        fprintf(stderr, "peer_llama: error: cannot open '%s'\n", argv[1]);
        return 1;
    }
    for (int i = 5; i < argc; i++) {
        printf(i > 5 ? ", " : "[");
        if (!score(ctx, (size_t)atol(argv[4]), parse(argv[i]))) {
            fprintf(stderr, "peer_llama: error: llama_decode failed\n");
            return 1;
        }
    }
    printf("]\n");
    return 0;
}
