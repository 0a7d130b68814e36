/* engine.c - groups in, steps, responses out. Which sequences a step feeds is decided in schedule.c, which token
 * follows in kernels/choose.h. */
#include "rollout/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
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

static struct jrl_block_sums *block_sums(const struct jrl_engine *e)
{
    return (struct jrl_block_sums *)((struct jrl_row_sums *)e->sums + 2 * e->limits.max_seqs);
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

/* The prompt is in the cache: its samples share the pages and go on from there. */
static void start_samples(struct jrl_engine *e, struct jrl_sequence_group *g)
{
    g->samples = jrl_xcalloc((size_t)g->n_samples, sizeof *g->samples);
    for (int64_t i = 0; i < g->n_samples; i++) {
        struct jrl_sequence *s = &g->samples[i];

        jrl_sequence_init(s, i, g->prompt.tokens, g->n_prompt, jrl_pages_for(g->n_prompt + e->sampling.max_tokens - 1));
        jrl_sequence_share(e, s, &g->prompt, g->prompt.n_pages);
        s->n_cached = g->n_prompt;
    }
    e->stats.prompt_tokens += g->n_prompt;
    g->prompt.state = JRL_SEQ_DONE;
    jrl_sequence_release(e, &g->prompt);
}

/* What the next token of the sample is drawn with. */
static struct jrl_draw draw_of(const struct jrl_sequence_group *g, const struct jrl_sequence *s)
{
    return (struct jrl_draw){ g->uid, g->draw, (uint32_t)(g->first_sample + s->sample), (uint32_t)(s->n_tokens + s->n_promised - g->n_prompt) };
}

static void add_choice(struct jrl_engine *e, struct jrl_sequence_group *g, struct jrl_sequence *s, int64_t row)
{
    if (e->n_choices == e->cap_choices) {
        e->cap_choices = e->cap_choices ? e->cap_choices * 2 : 64;
        e->choices = jrl_xrealloc(e->choices, (size_t)e->cap_choices, sizeof *e->choices);
        e->choice_rows = jrl_xrealloc(e->choice_rows, (size_t)e->cap_choices, sizeof *e->choice_rows);
        e->draws = jrl_xrealloc(e->draws, (size_t)e->cap_choices, sizeof *e->draws);
        e->tokens = jrl_xrealloc(e->tokens, (size_t)e->cap_choices, sizeof *e->tokens);
        e->logprobs = jrl_xrealloc(e->logprobs, (size_t)e->cap_choices, sizeof *e->logprobs);
    }
    e->choices[e->n_choices] = (struct jrl_choice){ .group = g, .sample = s };
    e->choice_rows[e->n_choices] = row;
    e->draws[e->n_choices++] = draw_of(g, s);
}

/* What the fed rows lead to: a row of a prompt gives the first token of all its samples. */
static void list_choices(struct jrl_engine *e)
{
    e->n_choices = 0;
    for (int64_t i = 0; i < e->n_spans; i++)
        e->fed[i]->n_cached += e->spans[i].n;
    for (int64_t row = 0; row < e->n_logits; row++) {
        struct jrl_sequence *s = e->fed[e->logits_span[row]];
        struct jrl_sequence_group *g = e->fed_group[e->logits_span[row]];

        if (s->sample >= 0) {
            add_choice(e, g, s, row);
            continue;
        }
        start_samples(e, g);
        for (int64_t i = 0; i < g->n_samples; i++)
            add_choice(e, g, &g->samples[i], row);
    }
}

/* The sums of the logits rows, and of each its sums where the host can read them. */
static int sum_logits(struct jrl_engine *e, const float *logits, struct jrl_error *err)
{
    struct jrl_device *dev = e->model->dev;
    const int64_t vocab = e->model->config.vocab;
    int rc = jrl_logits_sums(dev, e->sums, block_sums(e), logits, vocab, jrl_sampling_rule(&e->sampling).inv_temperature, e->n_logits, vocab, err);

    if (rc < 0 || jrl_device_is_host(dev))
        return rc;
    return jrl_device_download(dev, e->row_sums, e->sums, (size_t)e->n_logits * sizeof *e->row_sums, err);
}

/* The lists of *C, which are the program's, with their twins on the device around choosing. */
static int choose_on_device(struct jrl_engine *e, struct jrl_choose c, struct jrl_error *err)
{
    struct jrl_device *dev = e->model->dev;
    const size_t n = (size_t)c.n, bytes = n * (sizeof *c.draws + sizeof *c.rows + sizeof *c.tokens + sizeof *c.logprobs);
    struct jrl_draw *draws;
    int64_t *rows;
    int rc = JRL_OK;

    if (e->choice_lists_bytes < bytes) {
        jrl_device_free(dev, e->choice_lists);
        e->choice_lists_bytes = 0;
        if ((rc = jrl_device_alloc(dev, &e->choice_lists, bytes + bytes / 4, "choices", err)) < 0)
            return rc;
        e->choice_lists_bytes = bytes + bytes / 4;
    }
    draws = e->choice_lists;
    rows = (int64_t *)(draws + n);
    if ((rc = jrl_device_upload(dev, draws, c.draws, n * sizeof *draws, err)) < 0 || (rc = jrl_device_upload(dev, rows, c.rows, n * sizeof *rows, err)) < 0)
        return rc;
    c.draws = draws;
    c.rows = rows;
    c.tokens = (uint32_t *)(rows + n);
    c.logprobs = (float *)(c.tokens + n);
    if ((rc = jrl_choose_tokens(dev, &c, err)) < 0 || (rc = jrl_device_download(dev, e->tokens, c.tokens, n * sizeof *c.tokens, err)) < 0)
        return rc;
    return jrl_device_download(dev, e->logprobs, c.logprobs, n * sizeof *c.logprobs, err);
}

static int choose(struct jrl_engine *e, const float *logits, struct jrl_error *err)
{
    const struct jrl_choose c = { .rule = jrl_sampling_rule(&e->sampling), .logits = logits, .vocab = e->model->config.vocab, .row_sums = e->sums,
                                  .block_sums = block_sums(e), .n = e->n_choices, .rows = e->choice_rows, .draws = e->draws,
                                  .tokens = e->tokens, .logprobs = e->logprobs };

    return jrl_device_is_host(e->model->dev) ? jrl_choose_tokens(e->model->dev, &c, err) : choose_on_device(e, c, err);
}

static bool is_stop(const struct jrl_sampling *s, uint32_t token)
{
    for (int i = 0; i < s->n_stop; i++)
        if (s->stop_ids[i] == token)
            return true;
    return false;
}

/* A finished sample gives its pages back and becomes a response. */
static void finish_sample(struct jrl_engine *e, struct jrl_sequence_group *g, struct jrl_sequence *s, bool stop)
{
    const int64_t n = s->n_tokens - g->n_prompt;

    s->state = JRL_SEQ_DONE;
    jrl_sequence_drop_pages(e, s);
    g->responses[s->sample] = (struct jrl_response){
        .tokens = s->tokens + g->n_prompt, .logprobs = s->logprobs, .entropies = s->entropies, .entropy_sum = s->entropy_sum,
        .n = n, .finish = stop ? JRL_FINISH_STOP : JRL_FINISH_LENGTH,
    };
    g->n_done++;
    e->stats.done++;
    e->stats.longest = n > e->stats.longest ? n : e->stats.longest;
}

/* Append the chosen token. False: it was the sample's last. */
static bool apply_choice(struct jrl_engine *e, const struct jrl_choice *choice, uint32_t token, float logprob, float entropy)
{
    struct jrl_sequence *s = choice->sample;
    const bool stop = is_stop(&e->sampling, token);

    jrl_sequence_append(s, choice->group->n_prompt, token, logprob, entropy, e->sampling.entropies);
    e->stats.tokens++;
    if (!stop && s->n_tokens - choice->group->n_prompt < e->sampling.max_tokens)
        return true;
    finish_sample(e, choice->group, s, stop);
    return false;
}

static int check_finite(const struct jrl_sequence_group *g, const struct jrl_sequence *s, const struct jrl_row_sums *sums, struct jrl_error *err)
{
    if (isfinite(sums->lse))
        return JRL_OK;
    return jrl_fail(err, JRL_ERR_INPUT, "the logits after %lld tokens of the sequence with uid %llu are not finite: the policy's"
                    " weights are damaged or too large", (long long)s->n_tokens, (unsigned long long)g->uid);
}

/* ---- steps of the decoder: the tokens of one come while the next is computed ---- */

/* Whether the plan is one token of each of some responses. */
static bool can_decode(const struct jrl_engine *e)
{
    bool can = e->decoder && e->n_spans > 0 && e->n_logits == e->n_spans && e->n_rows == e->n_spans;

    for (int64_t i = 0; i < e->n_spans && can; i++)
        can = e->fed[i]->sample >= 0;
    return can;
}

static int begin_decode(struct jrl_engine *e, struct jrl_error *err)
{
    struct jrl_begun *now = &e->begun[0];
    const struct jrl_begun before = e->begun[0];

    e->begun[0] = e->begun[1];
    e->begun[1] = before;
    now->n = e->n_spans;
    for (int64_t i = 0; i < e->n_spans; i++) {
        struct jrl_sequence *s = e->fed[i];

        now->choices[i] = (struct jrl_choice){ e->fed_group[i], s };
        e->decode_rows[i] = (struct jrl_decode_row){ .source = s->n_promised ? s->row : -1, .token = s->n_promised ? 0 : s->tokens[s->n_cached],
                                                     .position = s->n_cached, .pages = s->pages, .draw = draw_of(e->fed_group[i], s) };
        s->n_cached++;
        s->n_promised++;
        s->row = i;
    }
    return jrl_decoder_begin(e->decoder, e->decode_rows, e->n_spans, err);
}

/* The tokens of the oldest step under way, STEP. A sample that they end has a row in the step after it, if that is under way too: LATER. */
static int end_decode(struct jrl_engine *e, const struct jrl_begun *step, struct jrl_begun *later, struct jrl_error *err)
{
    struct jrl_decoded got;
    int rc = jrl_decoder_end(e->decoder, &got, err);

    for (int64_t i = 0; i < step->n && rc == JRL_OK; i++) {
        const struct jrl_choice *c = &step->choices[i];

        if (!c->sample)
            continue;
        rc = check_finite(c->group, c->sample, &got.sums[i], err);
        c->sample->n_promised--;
        if (rc < 0 || apply_choice(e, c, got.tokens[i], got.logprobs[i], got.sums[i].entropy))
            continue;
        if (c->sample->n_promised > 0 && later)
            later->choices[c->sample->row].sample = NULL;
        c->sample->n_promised = 0;
    }
    return rc;
}

/* Begins the planned step, then takes the tokens of the one before. */
static int decode_step(struct jrl_engine *e, struct jrl_error *err)
{
    const double start = jrl_clock();
    const bool before = e->under_way;
    int rc = begin_decode(e, err);

    e->under_way = rc == JRL_OK;
    if (rc == JRL_OK && before)
        rc = end_decode(e, &e->begun[1], &e->begun[0], err);
    jrl_trace_part(e->trace, "decode", start, "rows", e->n_rows);
    e->stats.steps++;
    e->stats.decode_s += jrl_clock() - start;
    return rc;
}

/* ---- steps of any kind ---- */

static int check_rows(const struct jrl_engine *e, struct jrl_error *err)
{
    int rc = JRL_OK;

    for (int64_t row = 0; row < e->n_logits && rc == JRL_OK; row++)
        rc = check_finite(e->fed_group[e->logits_span[row]], e->fed[e->logits_span[row]], &e->row_sums[row], err);
    return rc;
}

static int plain_step(struct jrl_engine *e, struct jrl_error *err)
{
    double start = jrl_clock(), chosen;
    float *logits = NULL;
    int rc;

    rc = jrl_model_forward(e->model, e->workspace, e->spans, e->n_spans, e->logits_rows, e->n_logits, &logits, err);
    chosen = jrl_clock();
    jrl_trace_part(e->trace, e->prefilling ? "prefill" : "decode", start, "rows", e->n_rows);
    if (rc < 0 || (rc = sum_logits(e, logits, err)) < 0 || (rc = check_rows(e, err)) < 0)
        return rc;
    list_choices(e);
    if ((rc = choose(e, logits, err)) < 0)
        return rc;
    for (int64_t i = 0; i < e->n_choices; i++)
        (void)apply_choice(e, &e->choices[i], e->tokens[i], e->logprobs[i], e->row_sums[e->choice_rows[i]].entropy);
    jrl_trace_part(e->trace, "choose", chosen, "tokens", e->n_choices);
    e->stats.steps++;
    e->stats.choose_s += jrl_clock() - chosen;
    *(e->prefilling ? &e->stats.prefill_s : &e->stats.decode_s) += jrl_clock() - start;
    return JRL_OK;
}

int jrl_engine_step(struct jrl_engine *e, struct jrl_error *err)
{
    int ended = JRL_EOF;

    jrl_schedule(e);
    if (e->under_way && !can_decode(e)) { /* the plan may need tokens that have not come, or places that they make free */
        e->under_way = false;
        if ((ended = end_decode(e, &e->begun[0], NULL, err)) < 0)
            return ended;
        jrl_schedule(e);
    }
    if (e->pages.failure.status < 0)
        return jrl_fail(err, e->pages.failure.status, "%s", e->pages.failure.text);
    if (e->n_spans == 0)
        return ended;
    return can_decode(e) ? decode_step(e, err) : plain_step(e, err);
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
