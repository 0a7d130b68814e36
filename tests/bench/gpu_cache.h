/* gpu_cache.h - keys and values of many sequences that nobody computed, and steps of decoding over them, so that a step with 1024
 * sequences of 2.5k positions can be timed without 2.6 million positions being prefilled first. */
#ifndef JRL_TESTS_BENCH_GPU_CACHE_H
#define JRL_TESTS_BENCH_GPU_CACHE_H

#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "kernels/vmath.h"
#include "model/decode.h"

/* Every sequence has pages of its own; all pages hold the same made-up numbers. */
struct gpu_cache {
    const struct jrl_model *model;
    struct jrl_workspace *ws;
    struct jrl_decoder *decoder;
    uint8_t *memory, **pages;
    int64_t n_pages;
    struct jrl_decode_row *rows;
    bool under_way;
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
    const struct jrl_choice_rule rule = { .inv_temperature = 1, .top_p = 1, .seed = 1 };
    void *memory;
    int rc;

    *c = (struct gpu_cache){ .model = model, .ws = jrl_workspace_new(), .n_pages = n_pages };
    c->pages = jrl_xcalloc((size_t)n_pages, sizeof *c->pages);
    c->rows = jrl_xcalloc((size_t)n_seqs, sizeof *c->rows);
    if ((rc = jrl_device_alloc(model->dev, &memory, (size_t)(n_pages * jrl_model_page_bytes(model)), "the benchmark's cache", err)) < 0)
        return rc;
    c->memory = memory;
    for (int64_t i = 0; i < n_pages; i++)
        c->pages[i] = c->memory + i * jrl_model_page_bytes(model);
    if ((rc = jrl_decoder_new(&c->decoder, model, c->ws, &rule, n_seqs, err)) < 0)
        return rc;
    return gpu_cache_fill(c, err);
}

static inline void gpu_cache_close(struct gpu_cache *c)
{
    jrl_decoder_free(c->decoder);
    jrl_device_free(c->model->dev, c->memory);
    jrl_workspace_free(c->ws);
    free(c->pages);
    free(c->rows);
}

/* The tokens of the last step, as an engine takes them. */
static inline int gpu_cache_end(struct gpu_cache *c, struct jrl_error *err)
{
    struct jrl_decoded got;

    c->under_way = false;
    return jrl_decoder_end(c->decoder, &got, err);
}

/* STEPS steps of decoding, each asked for before the tokens of the one before are looked at: the token at position n_positions[i] - 1
 * of each of N sequences goes in, the next one is drawn, and goes in at the same position. Their pages together are at most the cache's. */
static inline int gpu_cache_decode(struct gpu_cache *c, const int64_t *n_positions, int64_t n, int steps, struct jrl_error *err)
{
    int rc = JRL_OK;

    for (int step = 0; step < steps && rc == JRL_OK; step++) {
        const bool before = c->under_way;
        int64_t page = 0;

        for (int64_t i = 0; i < n; i++) {
            c->rows[i] = (struct jrl_decode_row){ .source = before ? i : -1, .position = n_positions[i] - 1, .pages = c->pages + page,
                                                  .draw = { (uint64_t)i, 0, 0, (uint32_t)step } };
            page += gpu_cache_pages(n_positions[i]);
        }
        if ((rc = jrl_decoder_begin(c->decoder, c->rows, n, err)) < 0)
            break;
        if (before)
            rc = gpu_cache_end(c, err);
        c->under_way = true;
    }
    return rc < 0 ? rc : gpu_cache_end(c, err);
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
