/* engine.c - opening and closing, groups in, responses out. What a step does is in step.c. */
#include "rollout/engine.h"

#include <stdlib.h>

#include "base/memory.h"
#include "rollout/plan.h"
#include "rollout/sequence.h"

static int64_t positions(const struct jrl_engine *e)
{
    return jrl_engine_positions(&e->limits, e->sampling.max_tokens);
}

static int make_cache(struct jrl_engine *e, struct jrl_error *err)
{
    int64_t page_bytes = jrl_model_page_bytes(e->model), one = jrl_pages_for(positions(e));
    int64_t n = e->limits.cache_bytes ? e->limits.cache_bytes / page_bytes : one * e->limits.max_seqs + 1; /* as plan.c */

    if (n < one)
        return jrl_fail(err, JRL_ERR_USAGE, "the KV cache has room for %lld positions, but a prompt of %lld and a response of %lld tokens"
                        " need %lld (%lld MiB): more cache or shorter limits are needed", (long long)(n * JRL_PAGE_TOKENS),
                        (long long)e->limits.max_prompt_tokens, (long long)e->sampling.max_tokens, (long long)(one * JRL_PAGE_TOKENS),
                        (long long)(one * page_bytes >> 20) + 1);
    return jrl_pages_init(&e->pages, e->model->dev, n, (size_t)page_bytes, err);
}

struct jrl_choice_rule jrl_sampling_rule(const struct jrl_sampling *s)
{
    return (struct jrl_choice_rule){ .inv_temperature = s->greedy ? 1.0f : jrl_inv_temperature(s->temperature), .greedy = s->greedy,
                                     .top_k = s->top_k, .top_p = s->top_p, .seed = s->seed };
}

static int make_sums(struct jrl_engine *e, struct jrl_error *err)
{
    struct jrl_device *dev = e->model->dev;
    const size_t n = (size_t)e->limits.max_seqs * 2;
    const size_t row_bytes = sizeof(struct jrl_row_sums) + (size_t)jrl_logits_blocks(e->model->config.vocab) * sizeof(struct jrl_block_sums);
    int rc = jrl_device_alloc(dev, &e->sums, n * row_bytes, "sums of logits", err);

    e->row_sums = jrl_device_is_host(dev) ? e->sums : jrl_xcalloc(n, sizeof *e->row_sums);
    return rc;
}

/* Where the device can record. */
static int make_decoder(struct jrl_engine *e, struct jrl_error *err)
{
    const struct jrl_choice_rule rule = jrl_sampling_rule(&e->sampling);
    const size_t n = (size_t)e->limits.max_seqs;

    if (!jrl_device_can_record(e->model->dev))
        return JRL_OK;
    e->decode_rows = jrl_xcalloc(n, sizeof *e->decode_rows);
    for (int i = 0; i < 2; i++)
        e->begun[i].choices = jrl_xcalloc(n, sizeof *e->begun[i].choices);
    return jrl_decoder_new(&e->decoder, e->model, e->workspace, &rule, e->limits.max_seqs, err);
}

static void expect_steps(struct jrl_engine *e)
{
    const struct jrl_engine_plan plan = { .config = &e->model->config, .dtype = e->model->dtype, .dev = e->model->dev, .limits = e->limits,
                                          .max_tokens = e->sampling.max_tokens };
    const struct jrl_pass_plan pass = jrl_engine_pass(&plan);

    jrl_workspace_expect(e->workspace, &pass);
}

int jrl_engine_new(struct jrl_engine **out, const struct jrl_model *model, const struct jrl_sampling *sampling,
                   const struct jrl_engine_limits *limits, struct jrl_error *err)
{
    struct jrl_engine *e = jrl_xcalloc(1, sizeof *e);
    size_t n = (size_t)limits->max_seqs * 2;
    int rc = JRL_OK;

    e->model = model;
    e->sampling = *sampling;
    e->limits = *limits;
    if (positions(e) > model->n_positions)
        rc = jrl_fail(err, JRL_ERR_USAGE, "a prompt of %lld and a response of %lld tokens need more than the %lld positions the model has",
                      (long long)limits->max_prompt_tokens, (long long)sampling->max_tokens, (long long)model->n_positions);
    if (rc == JRL_OK)
        rc = make_cache(e, err);
    if (rc == JRL_OK)
        rc = make_sums(e, err);
    e->workspace = jrl_workspace_new();
    expect_steps(e);
    if (rc == JRL_OK)
        rc = make_decoder(e, err);
    e->spans = jrl_xcalloc(n, sizeof *e->spans);
    e->fed = jrl_xcalloc(n, sizeof *e->fed);
    e->fed_group = jrl_xcalloc(n, sizeof *e->fed_group);
    e->logits_rows = jrl_xcalloc(n, sizeof *e->logits_rows);
    e->logits_span = jrl_xcalloc(n, sizeof *e->logits_span);
    *out = e;
    if (rc < 0) {
        jrl_engine_free(e);
        *out = NULL;
    }
    return rc;
}

static void free_group(struct jrl_engine *e, struct jrl_sequence_group *g)
{
    jrl_sequence_release(e, &g->prompt);
    for (int64_t i = 0; g->samples && i < g->n_samples; i++)
        jrl_sequence_release(e, &g->samples[i]);
    free(g->samples);
    free(g->responses);
    free(g);
}

void jrl_engine_trace(struct jrl_engine *e, struct jrl_trace *trace)
{
    e->trace = trace;
}

void jrl_engine_free(struct jrl_engine *e)
{
    if (!e)
        return;
    jrl_decoder_free(e->decoder); /* nothing is under way after that */
    while (e->head) {
        struct jrl_sequence_group *next = e->head->next;

        free_group(e, e->head);
        e->head = next;
    }
    jrl_pages_release(&e->pages);
    jrl_workspace_free(e->workspace);
    free(e->spans);
    free(e->fed);
    free(e->fed_group);
    free(e->logits_rows);
    free(e->logits_span);
    if (!jrl_device_is_host(e->model->dev))
        free(e->row_sums);
    jrl_device_free(e->model->dev, e->sums);
    jrl_device_free(e->model->dev, e->choice_lists);
    for (int i = 0; i < 2; i++)
        free(e->begun[i].choices);
    free(e->decode_rows);
    free(e->choices);
    free(e->choice_rows);
    free(e->draws);
    free(e->tokens);
    free(e->logprobs);
    free(e);
}

static int check_prompt(const struct jrl_engine *e, const uint32_t *prompt, int64_t n_prompt, struct jrl_error *err)
{
    if (n_prompt < 1)
        return jrl_fail(err, JRL_ERR_INPUT, "the prompt has no tokens");
    if (n_prompt > e->limits.max_prompt_tokens)
        return jrl_fail(err, JRL_ERR_INPUT, "the prompt has %lld tokens, more than %lld", (long long)n_prompt,
                        (long long)e->limits.max_prompt_tokens);
    for (int64_t i = 0; i < n_prompt; i++)
        if (prompt[i] >= e->model->config.vocab)
            return jrl_fail(err, JRL_ERR_INPUT, "token %lld of the prompt, id %u, has no embedding row (the model has %lld)",
                            (long long)i + 1, prompt[i], (long long)e->model->config.vocab);
    return JRL_OK;
}

int jrl_engine_add(struct jrl_engine *e, uint64_t uid, uint64_t draw, const uint32_t *prompt, int64_t n_prompt,
                   int64_t first_sample, int64_t n_samples, void *tag, struct jrl_error *err)
{
    struct jrl_sequence_group *g;
    int rc = check_prompt(e, prompt, n_prompt, err);

    if (rc < 0)
        return rc;
    g = jrl_xcalloc(1, sizeof *g);
    *g = (struct jrl_sequence_group){ .prev = e->tail, .uid = uid, .draw = draw, .n_prompt = n_prompt, .first_sample = first_sample,
                                      .n_samples = n_samples, .tag = tag };
    g->responses = jrl_xcalloc((size_t)n_samples, sizeof *g->responses);
    jrl_sequence_init(&g->prompt, -1, prompt, n_prompt, jrl_pages_for(n_prompt));
    *(e->tail ? &e->tail->next : &e->head) = g;
    e->tail = g;
    e->stats.groups++;
    return JRL_OK;
}

const struct jrl_response *jrl_engine_finished(struct jrl_engine *e, void **tag, int64_t *n_samples)
{
    struct jrl_sequence_group *g = e->head;

    if (!g || g->n_done < g->n_samples)
        return NULL;
    *tag = g->tag;
    *n_samples = g->n_samples;
    return g->responses;
}

void jrl_engine_pop(struct jrl_engine *e)
{
    struct jrl_sequence_group *g = e->head;

    e->head = g->next;
    *(e->head ? &e->head->prev : &e->tail) = NULL;
    e->stats.groups--;
    free_group(e, g);
}

void jrl_engine_stats(const struct jrl_engine *e, struct jrl_engine_stats *stats)
{
    *stats = e->stats;
    stats->pages = e->pages.n_pages;
    stats->pages_used = e->pages.n_used;
    for (const struct jrl_sequence_group *g = e->head; g; g = g->next) {
        int64_t running = 0;

        for (int64_t i = 0; g->samples && i < g->n_samples; i++) {
            const struct jrl_sequence *s = &g->samples[i];
            const int64_t n = s->n_tokens - g->n_prompt;

            running += s->state == JRL_SEQ_RUNNING;
            stats->unfinished_tokens += s->state == JRL_SEQ_DONE ? 0 : n;
            stats->longest = n > stats->longest ? n : stats->longest;
        }
        stats->running += running;
        stats->waiting += g->n_samples - g->n_done - running;
    }
}
