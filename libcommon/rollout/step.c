/* step.c - one step of the engine: sequences are fed, tokens chosen and appended. Which sequences it feeds is decided in
 * schedule.c, which token follows in kernels/choose.h. */
#include <math.h>

#include "base/machine.h"
#include "base/memory.h"
#include "rollout/sequence.h"

/* ---- what the fed rows lead to ---- */

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

/* ---- choosing ---- */

static struct jrl_block_sums *block_sums(const struct jrl_engine *e)
{
    return (struct jrl_block_sums *)((struct jrl_row_sums *)e->sums + 2 * e->limits.max_seqs);
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

/* ---- the chosen tokens ---- */

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
    jrl_trace_part(e->trace, e->prefilling ? "prefill" : "decode", start, "rows", e->n_rows);
    chosen = jrl_clock(); /* behind the part, which ends when it is written */
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
