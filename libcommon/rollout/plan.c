/* plan.c - the memory of the engine, and how many pages its cache gets. */
#include "rollout/plan.h"

#include <stdio.h>

#include "kernels/choose.h"
#include "rollout/sequence.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

struct jrl_pass_plan jrl_engine_pass(const struct jrl_engine_plan *p)
{
    /* a step feeds running samples and prompts that end, at most max_seqs of each, and pieces of prompts */
    const int64_t n_spans = 2 * p->limits.max_seqs;

    return (struct jrl_pass_plan){ .config = p->config, .dtype = p->dtype, .dev = p->dev, .kind = JRL_PASS_SAMPLE,
                                   .n_rows = n_spans + p->limits.prefill_tokens, .n_logits = n_spans, .n_spans = n_spans,
                                   .n_positions = jrl_engine_positions(&p->limits, p->max_tokens) };
}

int64_t jrl_engine_positions(const struct jrl_engine_limits *limits, int64_t max_tokens)
{
    return limits->max_prompt_tokens + max_tokens - 1; /* the last token of a response is never fed */
}

/* Choosing tokens: sums of rows and blocks of logits, sorting. */
static void add_choosing(struct jrl_memory_plan *plan, const struct jrl_engine_plan *p)
{
    const int64_t row_bytes = (int64_t)sizeof(struct jrl_row_sums) + jrl_logits_blocks(p->config->vocab) * (int64_t)sizeof(struct jrl_block_sums);
    const int64_t n_rows = 2 * p->limits.max_seqs;

    const int64_t decoder = jrl_device_can_record(p->dev) ? jrl_decoder_bytes(p->config, p->limits.max_seqs) : 0;

    jrl_plan_add(plan, "choice of tokens", row_bytes, n_rows, jrl_choose_memory(p->dev, p->config->vocab, n_rows) + decoder);
}

void jrl_engine_plan(struct jrl_memory_plan *plan, struct jrl_engine_plan *p, int64_t memory)
{
    const int64_t page_bytes = p->config->n_layers * jrl_page_bytes(p->dtype, p->config->n_kv_heads, p->config->head_dim);
    const int64_t one = jrl_pages_for(jrl_engine_positions(&p->limits, p->max_tokens));
    const struct jrl_pass_plan pass = jrl_engine_pass(p);
    int64_t n;

    *plan = (struct jrl_memory_plan){ .n = 0 };
    jrl_plan_model(plan, p->policy, p->dev, p->dtype, pass.n_positions);
    jrl_plan_pass(plan, &pass);
    add_choosing(plan, p);
    /* one more than all need: a partly filled prompt page that waiting samples hold while a running one has its copy */
    n = min64(one * p->limits.max_seqs + 1, (memory - jrl_plan_bytes(plan)) / page_bytes);
    n = n < one ? one : n;
    p->limits.cache_bytes = n * page_bytes;
    jrl_plan_add(plan, "keys and values", page_bytes / JRL_PAGE_TOKENS, n * JRL_PAGE_TOKENS, 0);
}

static bool fits(const struct jrl_engine_plan *p, int64_t max_seqs, int64_t max_tokens, int64_t memory)
{
    struct jrl_engine_plan smaller = *p;
    struct jrl_memory_plan plan;

    smaller.limits.max_seqs = max_seqs;
    smaller.max_tokens = max_tokens;
    jrl_engine_plan(&plan, &smaller, memory);
    return jrl_plan_bytes(&plan) <= memory;
}

/* The most that fits of what is asked for, 0 when nothing does: responses together, or tokens of a response. */
static int64_t most_seqs(const struct jrl_engine_plan *p, int64_t memory)
{
    int64_t n = p->limits.max_seqs;

    while (n > 0 && !fits(p, n, p->max_tokens, memory))
        n /= 2;
    return n;
}

static int64_t most_tokens(const struct jrl_engine_plan *p, int64_t memory)
{
    int64_t low = 0, high = p->max_tokens;

    while (low < high) {
        const int64_t middle = low + (high - low + 1) / 2;

        if (fits(p, p->limits.max_seqs, middle, memory))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int64_t most_prefill(const struct jrl_engine_plan *p, int64_t memory)
{
    struct jrl_engine_plan smaller = *p;

    while (smaller.limits.prefill_tokens > 0 && !fits(&smaller, p->limits.max_seqs, p->max_tokens, memory))
        smaller.limits.prefill_tokens /= 2;
    return smaller.limits.prefill_tokens;
}

int jrl_engine_plan_check(const struct jrl_memory_plan *plan, const struct jrl_engine_plan *p, int64_t memory, struct jrl_error *err)
{
    const int64_t seqs = most_seqs(p, memory), tokens = most_tokens(p, memory), prefill = most_prefill(p, memory);
    char help[200];

    if (seqs > 0)
        snprintf(help, sizeof help, "--batch %lld fits", (long long)seqs);
    else if (tokens > 0)
        snprintf(help, sizeof help, "the cache has no room for one sequence of full length; --max-tokens %lld fits", (long long)tokens);
    else if (prefill > 0)
        snprintf(help, sizeof help, "--prefill-tokens %lld fits", (long long)prefill);
    else
        snprintf(help, sizeof help, "even one short response does not fit; more --memory or a smaller policy is needed");
    return jrl_plan_check(plan, memory, help, err);
}
