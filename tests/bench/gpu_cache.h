/* gpu_cache.h - keys and values of many sequences that nobody computed, and steps of decoding over them, so that a step with 1024
 * sequences of 2.5k positions can be timed without 2.6 million positions being prefilled first. */
#ifndef JRL_TESTS_BENCH_GPU_CACHE_H
#define JRL_TESTS_BENCH_GPU_CACHE_H

#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "kernels/choose.h"
#include "kernels/vmath.h"
#include "model/model.h"

/* Every sequence has pages of its own; all pages hold the same made-up numbers. */
struct gpu_cache {
    const struct jrl_model *model;
    struct jrl_workspace *ws;
    uint8_t *memory, **pages;
    int64_t n_pages, n_seqs;
    struct jrl_span *spans;
    struct jrl_draw *draws;
    int64_t *rows;
    uint32_t *tokens;
    float *logprobs;
    void *sums;
};

static inline int64_t gpu_cache_pages(int64_t n_positions)
{
    return (n_positions + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS;
}

/* One page from the host, then doubled on the device. */
static inline int gpu_cache_fill(struct gpu_cache *c, struct jrl_error *err)
{
    struct jrl_device *dev = c->model->dev;
    const size_t one = (size_t)jrl_model_page_bytes(c->model), n = one / (size_t)jrl_dtype_bytes(c->model->dtype);
    void *page = jrl_xmalloc(one);
    struct jrl_rng rng;
    int rc;

    jrl_rng_init(&rng, 1, 2);
    for (size_t i = 0; i < n; i++) {
        const float x = (float)(2 * jrl_rng_uniform(&rng) - 1);

        if (c->model->dtype == JRL_F32)
            ((float *)page)[i] = x;
        else
            ((jrl_bf16 *)page)[i] = jrl_f32_to_bf16(x);
    }
    rc = jrl_device_upload(dev, c->memory, page, one, err);
    for (int64_t have = 1; have < c->n_pages && rc == JRL_OK; have *= 2)
        rc = jrl_device_copy(dev, c->memory + have * (int64_t)one, c->memory, (size_t)(have < c->n_pages - have ? have : c->n_pages - have) * one, err);
    free(page);
    return rc;
}

/* Room for N_PAGES pages in all and steps of up to N_SEQS sequences. */
static inline int gpu_cache_open(struct gpu_cache *c, const struct jrl_model *model, int64_t n_pages, int64_t n_seqs, struct jrl_error *err)
{
    const size_t row_bytes = sizeof(struct jrl_row_sums) + (size_t)jrl_logits_blocks(model->config.vocab) * sizeof(struct jrl_block_sums);
    void *memory;
    int rc;

    *c = (struct gpu_cache){ .model = model, .ws = jrl_workspace_new(), .n_pages = n_pages, .n_seqs = n_seqs };
    c->pages = jrl_xcalloc((size_t)n_pages, sizeof *c->pages);
    c->spans = jrl_xcalloc((size_t)n_seqs, sizeof *c->spans);
    c->draws = jrl_xcalloc((size_t)n_seqs, sizeof *c->draws);
    c->rows = jrl_xcalloc((size_t)n_seqs, sizeof *c->rows);
    c->tokens = jrl_xcalloc((size_t)n_seqs, sizeof *c->tokens);
    c->logprobs = jrl_xcalloc((size_t)n_seqs, sizeof *c->logprobs);
    if ((rc = jrl_device_alloc(model->dev, &memory, (size_t)(n_pages * jrl_model_page_bytes(model)), "the benchmark's cache", err)) < 0)
        return rc;
    c->memory = memory;
    for (int64_t i = 0; i < n_pages; i++)
        c->pages[i] = c->memory + i * jrl_model_page_bytes(model);
    if ((rc = jrl_device_alloc(model->dev, &c->sums, (size_t)n_seqs * row_bytes, "sums of logits", err)) < 0)
        return rc;
    return gpu_cache_fill(c, err);
}

static inline void gpu_cache_close(struct gpu_cache *c)
{
    jrl_device_free(c->model->dev, c->sums);
    jrl_device_free(c->model->dev, c->memory);
    jrl_workspace_free(c->ws);
    free(c->pages);
    free(c->spans);
    free(c->draws);
    free(c->rows);
    free(c->tokens);
    free(c->logprobs);
}

/* One step of decoding: the token at position n_positions[i] - 1 of each of N sequences goes in, the next one is drawn. Their pages
 * together are at most the cache's. */
static inline int gpu_cache_decode(struct gpu_cache *c, const int64_t *n_positions, int64_t n, struct jrl_error *err)
{
    const int64_t vocab = c->model->config.vocab;
    struct jrl_block_sums *blocks = (struct jrl_block_sums *)((struct jrl_row_sums *)c->sums + c->n_seqs);
    struct jrl_choose choose = { .rule = { .inv_temperature = 1, .top_p = 1, .seed = 1 }, .vocab = vocab, .row_sums = c->sums, .block_sums = blocks,
                                 .n = n, .rows = c->rows, .draws = c->draws, .tokens = c->tokens, .logprobs = c->logprobs };
    float *logits;
    int64_t page = 0;
    int rc;

    for (int64_t i = 0; i < n; i++) {
        c->spans[i] = (struct jrl_span){ &c->tokens[i], 1, n_positions[i] - 1, c->pages + page };
        c->draws[i] = (struct jrl_draw){ (uint64_t)i, 0, 0, (uint32_t)n_positions[i] };
        c->rows[i] = i;
        page += gpu_cache_pages(n_positions[i]);
    }
    if ((rc = jrl_model_forward(c->model, c->ws, c->spans, n, c->rows, n, &logits, err)) < 0 ||
        (rc = jrl_logits_sums(c->model->dev, c->sums, blocks, logits, vocab, 1, n, vocab, err)) < 0)
        return rc;
    choose.logits = logits;
    return jrl_choose_tokens(c->model->dev, &choose, err);
}

/* A prompt of N tokens in the first pages, and the logits behind its last. */
static inline int gpu_cache_prefill(struct gpu_cache *c, int64_t n, struct jrl_error *err)
{
    uint32_t *tokens = jrl_xcalloc((size_t)n, sizeof *tokens);
    const int64_t last = n - 1;
    float *logits;
    int rc;

    for (int64_t i = 0; i < n; i++)
        tokens[i] = (uint32_t)(i * 7919 % c->model->config.vocab);
    const struct jrl_span span = { tokens, n, 0, c->pages };
    rc = jrl_model_forward(c->model, c->ws, &span, 1, &last, 1, &logits, err);
    free(tokens);
    return rc < 0 ? rc : jrl_device_synchronise(c->model->dev, err);
}

#endif
